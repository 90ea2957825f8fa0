"""What a server holds of a run: everything the run was told, once and in order, and how it ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib.shell.cursor import is_delivering
from tests.online.conftest import Program, wait_for
from tests.servers.black_hole import black_hole
from tests.servers.state import RunState, World
from transports.memory import MemoryTransport

_SCRIPT_S = 60
DELIVERIES = pytest.mark.parametrize("delivery", ["thread", "process"])


def started(program: Program, body: str, stdin: int | None = None) -> subprocess.Popen[str]:
    """Start a program of its own that has begun run "abc" with a courier process, and does `body`."""
    script = textwrap.dedent(
        """
        import os, signal, sys, time
        import corelib
        run = corelib.init(project="p", id="abc", settings={"x_push_interval": 0.2})
        """
    ) + textwrap.dedent(body)
    environ = {
        **os.environ,
        "WANDB_BASE_URL": program.server.url,
        "WANDB_API_KEY": program.server.key,
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environ,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(program: Program, body: str) -> tuple[int, str]:
    """Run such a program to its end; return its exit status and what its user has seen."""
    process = started(program, body)
    _, shown = process.communicate(timeout=_SCRIPT_S)
    return process.returncode, shown


def is_complete(world: World) -> bool:
    """Return whether run "abc" has ended, and its courier was told: one that was not would go on asking."""
    last = world.run("abc").final_push
    return last is not None and last.acknowledged


# ------------------------------------------------------------------------------------------------- what is recorded


@DELIVERIES
def test_everything_that_a_run_is_told_arrives(program: Program, delivery: str) -> None:
    """Config, tags, notes, name, group, job type and summary: as given, and as changed on the way."""
    run = program.init(
        settings={"delivery": delivery},
        id="abc",
        config={"lr": 0.1, "deep": {"layers": [1, 2]}},
        tags=["a", "b"],
        notes="first\nsecond",
        name="named",
        group="g",
        job_type="eval",
    )
    for number in range(20):
        run.log({"loss": number / 10, "nested": {"x": number}})
    run.config["late"] = "yes"
    run.config.update({"lr": 0.2}, allow_val_change=True)
    run.tags += ("c",)
    run.notes = "changed"
    run.name = "renamed"
    run.summary["best"] = 42
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered, receipt.pending) == (20, 20, 0)
    stored = program.server.run("abc", project="p", entity="ent")
    assert stored.steps == list(range(20))
    assert [row["loss"] for row in stored.rows] == [number / 10 for number in range(20)]
    assert stored.plain_config == {"lr": 0.2, "deep": {"layers": [1, 2]}, "late": "yes"}
    assert (stored.tags, stored.notes, stored.display_name) == (("a", "b", "c"), "changed", "renamed")
    assert (stored.group, stored.job_type) == ("g", "eval")
    assert (stored.summary["best"], stored.summary["loss"]) == (42, 1.9)
    assert (stored.started, stored.complete, stored.exit_code) == (True, True, 0)


@DELIVERIES
def test_where_a_run_comes_from_is_told_first(program: Program, delivery: str, tmp_path: Path) -> None:
    """The first upsert has host and commit, the metadata the remote without its password; a NaN is null."""
    git = tmp_path / "repo" / ".git"
    git.mkdir(parents=True)
    (git / "HEAD").write_text("c0ffee" * 6 + "c0ff\n", encoding="utf-8")
    (git / "config").write_text('[remote "origin"]\nurl = https://me:hunter2@host/x.git\n', encoding="utf-8")
    settings = {"delivery": delivery, "program": str(tmp_path / "repo" / "train.py"), "host": "node-7"}
    run = program.init(id="abc", settings=settings, config={"lr": float("nan")})
    run.summary["best"] = float("nan")
    run.finish()
    first = program.server.requests("graphql", "UpsertBucket")[0].variables
    assert (first["host"], first["commit"]) == ("node-7", "c0ffee" * 6 + "c0ff")
    stored = program.server.run("abc")
    metadata = json.loads(stored.files["wandb-metadata.json"])
    assert metadata["git"] == {"remote": "https://host/x.git", "commit": first["commit"]}
    assert metadata["codePath"] == "train.py"
    assert stored.plain_config["lr"] is None
    assert stored.summary["best"] is None


@DELIVERIES
def test_extra_headers_go_to_the_server_alone(program: Program, delivery: str) -> None:
    """A gateway gets what it wants with every request of ours; where files go, and on disk, there is nothing of it."""
    headers = {"X-Gateway": "hunter2-hunter2"}
    run = program.init(id="abc", settings={"delivery": delivery, "x_extra_http_headers": headers})
    run.log({"loss": 1})
    run.finish()
    heard = {(one.endpoint, one.headers.get("x-gateway")) for one in program.server.requests()}
    assert heard == {
        ("graphql", "hunter2-hunter2"),
        ("file_stream", "hunter2-hunter2"),
        ("upload", None),
    }
    files = [path for path in Path(run.sync_dir).rglob("*") if path.is_file()]
    assert not [path for path in files if b"hunter2" in path.read_bytes()]


def test_steps_are_those_of_the_program(program: Program) -> None:
    """Chosen steps, gaps and merged calls arrive as they are recorded here."""
    run = program.init(id="abc")
    run.log({"a": 1}, step=5)
    run.log({"b": 2}, step=5)
    run.log({"a": 3}, step=100)
    run.finish()
    rows = program.server.run("abc").rows
    assert [row["_step"] for row in rows] == [5, 100]
    assert (rows[0]["a"], rows[0]["b"]) == (1, 2)


def test_defined_metrics_shape_the_summary(program: Program) -> None:
    """`summary="min"` gives the least value, at the server as in the run."""
    run = program.init(id="abc")
    run.define_metric("loss", summary="min")
    for value in (3, 1, 2):
        run.log({"loss": value})
    run.finish()
    assert program.server.run("abc").summary["loss"] == {"min": 1}


@DELIVERIES
def test_an_alert_reaches_people(program: Program, delivery: str) -> None:
    """Title, text, severity, and the wait in milliseconds."""
    run = program.init(id="abc", settings={"delivery": delivery})
    run.alert("Loss is NaN", "look here", level="ERROR", wait_duration=2)
    run.finish()
    (alert,) = program.server.alerts
    assert (alert.run, alert.title, alert.text) == ("abc", "Loss is NaN", "look here")
    assert (alert.severity, alert.wait_duration) == ("ERROR", 2000)


@DELIVERIES
def test_saved_files_are_uploaded_whole(program: Program, delivery: str) -> None:
    """`save()` takes files along, folders and bytes as they are."""
    Path("out/deep").mkdir(parents=True)
    Path("out/model.bin").write_bytes(bytes(range(256)) * 100)
    Path("out/deep/notes.txt").write_text("ä\n", encoding="utf-8")
    run = program.init(id="abc", settings={"delivery": delivery})
    run.save("out/model.bin", base_path="out", policy="now")
    run.save("out/deep/*", base_path="out", policy="end")
    run.finish()
    files = program.server.run("abc").files
    assert files["model.bin"] == bytes(range(256)) * 100
    assert files["deep/notes.txt"] == "ä\n".encode()


def test_a_run_without_rows_is_complete(program: Program) -> None:
    """A run that logs nothing has begun and ended all the same."""
    program.init(id="abc").finish()
    stored = program.server.run("abc")
    assert (stored.rows, stored.complete, stored.exit_code) == ([], True, 0)


# ------------------------------------------------------------------------------------------------------ how it ends


@DELIVERIES
@pytest.mark.parametrize("exit_code", [0, 1, 7, 255])
def test_finish_tells_its_exit_code(program: Program, delivery: str, exit_code: int) -> None:
    """`finish(exit_code)` is what the server shows."""
    program.init(id="abc", settings={"delivery": delivery}).finish(exit_code)
    stored = program.server.run("abc")
    assert (stored.complete, stored.exit_code) == (True, exit_code)


def test_an_exception_in_the_with_block_is_a_failure(program: Program) -> None:
    """The exception goes on its way; the rows before it are there, and the code is 1."""

    def train() -> None:
        with program.init(id="abc") as run:
            run.log({"loss": 1})
            run.log({"loss": 1 / (run.step - 1)})

    with pytest.raises(ZeroDivisionError):
        train()
    stored = program.server.run("abc")
    assert (stored.steps, stored.complete, stored.exit_code) == ([0], True, 1)


@pytest.mark.parametrize(
    ("body", "exit_code"),
    [
        ("run.log({'loss': 1})", 0),
        ("run.log({'loss': 1}); sys.exit(0)", 0),
        ("run.log({'loss': 1}); sys.exit(3)", 3),
        ("run.log({'loss': 1}); 1 / 0", 1),
        ("run.log({'loss': 1}); raise KeyboardInterrupt", 255),
    ],
    ids=["end", "exit-0", "exit-3", "exception", "ctrl-c"],
)
def test_the_end_of_a_program_is_told(program: Program, body: str, exit_code: int) -> None:
    """Without `finish()`: every row is there, and the code is the program's own; 255 for a Ctrl-C."""
    _, shown = ran(program, body)
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    stored = program.server.run("abc")
    assert (stored.steps, stored.exit_code) == ([0], exit_code), shown


@pytest.mark.parametrize(("exit_code", "told"), [(3, {3, 1}), (0, {0, 1})])
def test_a_thread_tells_the_end_of_a_program_without_waiting_for_it(
    program: Program, exit_code: int, told: set[int]
) -> None:
    """A code that Python hides before 3.12 is told as a failure: nobody will be there to tell it later."""
    _, shown = ran(
        program,
        f"""
        run.finish()
        run = corelib.init(
            project="p", id="thread", settings={{"delivery": "thread", "finish_timeout": {10 * _SCRIPT_S}}}
        )
        run.log({{"loss": 1}})
        sys.exit({exit_code})
        """,
    )
    stored = program.server.run("thread")
    assert (stored.steps, stored.complete) == ([0], True), shown
    assert stored.exit_code in told


@pytest.mark.parametrize("ends", ["os._exit(3)", "sys.exit(5)"], ids=["crash", "hidden code"])
def test_a_child_that_outlives_the_program_leaves_the_run_complete(program: Program, ends: str) -> None:
    """Its rows come by a sync, and behind them the end once more, with the code that it had."""
    process = started(
        program,
        f"""
        run.log({{"who": "parent"}})
        if os.fork() == 0:
            sys.stdin.readline()
            run.log({{"who": "child"}})
            print("logged", flush=True)
            os._exit(0)
        {ends}
        """,
        stdin=subprocess.PIPE,
    )
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    exit_code = program.server.run("abc").exit_code
    process.wait()
    (directory,) = Path("wandb").glob("run-*-abc")
    (lock,) = directory.glob("cursor-*.lock")
    name = lock.stem.removeprefix("cursor-")
    wait_for(lambda: not is_delivering(str(directory), name), "the courier is gone")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "logged\n"
    process.communicate()
    corelib.setup({"base_url": program.server.url, "api_key": program.server.key})
    (result,) = corelib.sync([directory])
    stored = program.server.run("abc")
    assert result.ledger.pending == 0
    assert [row["who"] for row in stored.rows] == ["parent", "child"]
    assert (stored.complete, stored.exit_code) == (True, exit_code)
    assert exit_code in {1, 5}


def test_a_child_that_still_logs_keeps_the_courier_of_a_killed_program(program: Program) -> None:
    """What it logs arrives without a sync; the end is told once, when it is gone, with the code of the program."""
    process = started(
        program,
        """
        run.log({"who": "parent"})
        if os.fork() == 0:
            run.log({"who": "child"})
            sys.stdin.readline()
            run.log({"who": "child again"})
            os._exit(0)
        time.sleep(600)
        """,
        stdin=subprocess.PIPE,
    )
    program.server.wait_until(lambda world: len(world.run("abc").rows) == 2, timeout_s=_SCRIPT_S)
    process.kill()
    process.wait()
    assert not program.server.run("abc").complete
    process.communicate("\n")
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    stored = program.server.run("abc")
    assert sorted(row["who"] for row in stored.rows) == ["child", "child again", "parent"]
    assert stored.exit_code in {1, 255}


@pytest.mark.parametrize("waits", ["time.sleep(600)", "threading.Event().wait()"], ids=["sleep", "lock"])
def test_a_program_that_waits_is_stopped(program: Program, waits: str) -> None:
    """Stopped at the server, it is interrupted, whatever its main thread waits in, and ends as by a Ctrl-C."""
    process = started(
        program,
        f"""
        import threading
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def log():
            while True:
                run.log({{"n": 1}})
                time.sleep(0.05)
        threading.Thread(target=log, daemon=True).start()
        print("logging", flush=True)
        {waits}
        """,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "logging\n"
    program.server.wait_until(lambda world: bool(world.run("abc").rows), timeout_s=_SCRIPT_S)
    program.server.stop_run("abc")
    _, shown = process.communicate(timeout=_SCRIPT_S)
    assert "asks to stop this run: the program is interrupted" in shown
    assert process.returncode == -signal.SIGINT
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    assert program.server.run("abc").exit_code == 255


def test_a_program_that_takes_no_interrupt_is_told_of(program: Program) -> None:
    """Where a Ctrl-C does nothing, nothing is done, and the user learns that the run was to be stopped."""
    process = started(
        program,
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        run.log({"n": 1})
        while not sys.stdin.readline():
            pass
        run.log({"n": 2})
        """,
        stdin=subprocess.PIPE,
    )
    program.server.wait_until(lambda world: bool(world.run("abc").rows), timeout_s=_SCRIPT_S)
    program.server.stop_run("abc")
    _, shown = process.communicate("go on\n", timeout=_SCRIPT_S)
    assert process.returncode == 0, shown
    assert program.server.run("abc").exit_code == 0


def test_a_killed_program_is_crashed_with_every_row(program: Program) -> None:
    """SIGKILL: the courier outlives the program, delivers what was accepted, and marks the run as crashed."""
    process = started(
        program, "[run.log({'n': n}) for n in range(50)]; print('logged', flush=True); time.sleep(600)"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=_SCRIPT_S)
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    stored = program.server.run("abc")
    assert [row["n"] for row in stored.rows] == list(range(50))
    assert stored.exit_code not in (0, None)


# ------------------------------------------------------------------------------------------------- more than one


@DELIVERIES
def test_several_runs_at_once_do_not_mix(program: Program, delivery: str) -> None:
    """Each run has its own courier, its own rows and its own end."""
    runs = [
        program.init(id=f"run-{number}", reinit="create_new", settings={"delivery": delivery})
        for number in range(3)
    ]
    for step in range(5):
        for number, run in enumerate(runs):
            run.log({"value": 10 * number + step})
    for number, run in enumerate(runs):
        run.finish(number)
    for number in range(3):
        stored: RunState = program.server.run(f"run-{number}")
        assert [row["value"] for row in stored.rows] == [10 * number + step for step in range(5)]
        assert stored.exit_code == number


def test_one_run_after_the_other(program: Program) -> None:
    """reinit="finish_previous": the former run is complete before the next one begins."""
    program.init(id="first").log({"loss": 1})
    program.init(id="second", reinit="finish_previous").log({"loss": 2})
    assert program.server.run("first").complete
    corelib.finish()
    assert program.server.run("second").steps == [0]


def test_rows_of_a_forked_child_arrive(program: Program) -> None:
    """The child's rows go to the same run; its end is not the run's end."""
    status, shown = ran(
        program,
        """
        run.log({"who": "parent"})
        pid = os.fork()
        if pid == 0:
            run.log({"who": "child"})
            run.finish()
            os._exit(0)
        os.waitpid(pid, 0)
        run.log({"who": "parent again"})
        run.finish()
        """,
    )
    assert status == 0, shown
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)
    stored = program.server.run("abc")
    assert sorted(row["who"] for row in stored.rows) == ["child", "parent", "parent again"]
    assert (stored.exit_code, sum(push.complete for push in stored.pushes)) == (0, 1)


def test_two_transports_carry_the_same_run(program: Program) -> None:
    """A server and an object in this process: both have every row, and the receipt accounts for both."""
    memory = MemoryTransport()
    run = program.init(id="abc", settings={"transport": ("http", memory)})
    for number in range(10):
        run.log({"n": number})
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered) == (10, 10)
    assert len(receipt.transports) == 2
    assert all(ledger.pending == 0 for ledger in receipt.transports.values())
    assert program.server.run("abc").steps == list(range(10))


def test_a_server_that_never_answers_does_not_hold_the_other_transport(program: Program) -> None:
    """One transport in a black hole: the other delivers all, and `finish(timeout=…)` returns."""
    memory = MemoryTransport()
    with black_hole() as url:
        run = program.init(id="abc", settings={"transport": ("http", memory), "base_url": url})
        run.log({"n": 1})
        receipt = run.finish(timeout=0.5)
    pending: dict[str, Any] = {name: ledger.pending for name, ledger in receipt.transports.items()}
    assert pending["MemoryTransport"] == 0
    assert pending["http"] > 0
    assert (receipt.accepted, receipt.pending) == (1, 1)
