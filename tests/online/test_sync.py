"""`sync` against a server: one state, whatever is synced, in whatever order, from wherever, however interrupted."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib.api.core import default
from corelib.api.syncing import Prospect, SyncInterrupted, SyncRequest, SyncResult, sync
from corelib.errors import AuthenticationError, UsageError
from corelib.shell.cursor_place import state_directory
from tests.online.conftest import Program
from tests.online.processes import ROOT, environment_for
from tests.servers.black_hole import black_hole
from tests.servers.faults import answer, delay, drop_after
from tests.servers.wandb_server import WandbServer

CLI = [sys.executable, "-m", "corelib", "sync"]


@pytest.fixture(autouse=True)
def _logged_in(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", server.key)


def record(rows: int = 3, first: int = 0, **words: Any) -> Path:
    """Record an offline run of project "p" and return its directory."""
    with corelib.init(**({"project": "p", "mode": "offline", "settings": {"silent": True}} | words)) as run:
        for number in range(first, first + rows):
            run.log({"x": number})
    return Path(run.sync_dir)


def record_parts(parts: int = 2, rows: int = 3, id: str = "chain") -> list[Path]:
    """Record a run and go on with it."""
    return [
        record(rows, first=number * rows, id=id, resume="must" if number else None) for number in range(parts)
    ]


def synced(*paths: str | Path, **words: Any) -> list[SyncResult]:
    words = {"paths": paths, "everything": not paths, "patience_s": 20.0} | words
    return sync(default.names, default.session, SyncRequest(**words))


def logged(server: WandbServer, run_id: str, project: str | None = None) -> list[int]:
    return [row["x"] for row in server.run(run_id, project=project).rows]


# ---------------------------------------------------------------------------------------------------- one destination


def spelled(url: str) -> list[dict[str, Any]]:
    """Return ways to say what need not be said."""
    return [
        {"project": "p"},
        {"run_id": "chain"},
        {"project": "p", "run_id": "chain"},
        {"transport": "wandb"},
        {"transport": url + "/"},
        {"transport": url.replace("http", "HTTP")},
    ]


@pytest.mark.parametrize("number", range(6))
def test_what_is_recorded_already_can_be_said(server: WandbServer, number: int) -> None:
    """An address that is the recorded one has the same cursor, however it was typed: nothing is delivered again."""
    parts = record_parts()
    synced(*parts)
    requests = len(server.requests("file_stream"))
    words = spelled(server.url)[number]
    (result,) = synced(*parts, **words)

    assert result.outcome == "delivered"
    assert len(server.requests("file_stream")) == requests
    assert logged(server, "chain") == list(range(6))


def read_only(monkeypatch: pytest.MonkeyPatch, *roots: Path) -> None:
    """Have the system say that nothing below can be written; root would be let in by the mode."""
    allowed = os.access

    def access(path: str, mode: int) -> bool:
        return not os.fspath(path).startswith(tuple(map(str, roots))) and allowed(path, mode)

    monkeypatch.setattr("corelib.shell.cursor_place.os.access", access)


def test_run_directories_that_are_read_only(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a run arrive once also where no cursor can be kept beside them, and what is pending is known."""
    parts = record_parts()
    read_only(monkeypatch, tmp_path / "wandb")
    prospect = Prospect(default.names, default.session)
    assert [list(prospect.pending(part).values()) for part in parts] == [[5], [5]]
    for _ in range(3):
        assert [result.outcome for result in synced(*parts)] == ["delivered"]

    assert logged(server, "chain") == list(range(6))
    assert [list(prospect.pending(part).values()) for part in parts] == [[0], [0]]
    assert not list(tmp_path.glob("wandb/*/cursor-*"))
    assert os.listdir(state_directory(str(parts[1]))) != []


def test_nowhere_to_keep_a_cursor(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on behind what is there is refused then, with the reason; it would be doubled by the next sync."""
    parts = record_parts()
    read_only(monkeypatch, tmp_path / "wandb", Path.home())
    monkeypatch.setattr("corelib.shell.cursor.os.open", _no_locks(os.open))
    server.allow("offset-back")  # the first part may be repeated: it begins anew
    for _ in range(2):
        (result,) = synced(*parts)
        assert result.outcome == "pending"
        assert "XDG_STATE_HOME" in result.reason

    assert logged(server, "chain") == [0, 1, 2]


def _no_locks(real: Any) -> Any:
    def refuse(path: Any, flags: int, *rest: Any, **words: Any) -> int:
        if str(path).endswith(".lock"):
            raise OSError(30, "Read-only file system", path)
        return int(real(path, flags, *rest, **words))

    return refuse


# ------------------------------------------------------------------------------------------------- several runs


def test_one_id_in_two_projects(server: WandbServer) -> None:
    """They are two runs, each where it belongs; to make them one is refused."""
    record(3, id="same", project="a")
    record(3, first=10, id="same", project="b")
    with pytest.raises(UsageError, match="two runs"):
        synced(project="q")
    with pytest.raises(UsageError, match="2 runs"):
        synced("same", run_id="new")
    assert server.runs == []
    results = synced()

    assert [(one.project, one.outcome, len(one.directories)) for one in results] == [
        ("a", "delivered", 1),
        ("b", "delivered", 1),
    ]
    assert logged(server, "same", "a") == [0, 1, 2]
    assert logged(server, "same", "b") == [10, 11, 12]


@pytest.mark.parametrize("order", [[[0], [1]], [[1], [0]], [[0, 1]], [[1, 0], [0]]])
def test_an_id_that_was_begun_anew(server: WandbServer, order: Sequence[Sequence[int]]) -> None:
    """The later beginning stands, in whatever order they are synced; the earlier one can have another id."""
    first = [record(5, id="again")]
    first.append(record(2, first=5, id="again", resume="must"))
    later = record(2, first=100, id="again")
    for named in order:
        for result in synced(
            *[path for number in named for path in ([*first, later] if number else first)][::-1]
        ):
            assert result.outcome == "pending"
            assert later.name in result.reason
            assert f"`corelib sync {first[0].name} --id OTHER`" in result.reason
    synced(later)
    assert logged(server, "again") == [100, 101]

    assert synced(first[1], run_id="kept")[0].outcome == "delivered"
    assert logged(server, "kept") == list(range(7))


@pytest.mark.parametrize("policy", [None, "allow"])
def test_an_offline_beginning_and_a_later_online_one(
    server: WandbServer, program: Program, policy: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    """What was recorded first and never delivered overwrites nothing: it goes behind, where `resume=` was said."""
    first = record(5, id="again", resume=policy)
    with program.init(id="again", resume="allow") as run:
        run.log({"x": 100})
    assert "exists" not in capfd.readouterr().err.replace("does not exist yet", "")
    (result,) = synced(first)

    assert result.outcome == ("delivered" if policy else "rejected")
    assert all("--id" in reason for reason in result.ledger.reasons)
    assert logged(server, "again") == [100, *(range(5) if policy else ())]


def test_a_beginning_that_was_delivered_before_it_was_superseded(server: WandbServer) -> None:
    """It has arrived, and is not asked for again."""
    record(5, id="again")
    assert synced()[0].outcome == "delivered"
    record(7, first=100, id="again")
    server.allow("offset-back", "overlap-differs")  # that is what overwriting is
    (result,) = synced()

    assert result.outcome == "delivered"
    assert logged(server, "again") == list(range(100, 107))


# -------------------------------------------------------------------------------------------------- what goes wrong


def damage_beginning(directory: Path) -> None:
    (segment,) = directory.rglob("*.zst")
    segment.write_bytes(segment.read_bytes()[:-1])


def test_a_lost_beginning_has_a_way_out(server: WandbServer) -> None:
    """What continues a run that is lost waits, and is delivered under an id that is said."""
    parts = record_parts()
    damage_beginning(parts[0])
    for named in (parts, parts[1:]):
        (result,) = synced(*named)
        assert result.outcome == "pending"
        assert f"`corelib sync {parts[1].name} --id ID`" in result.reason
    assert server.runs == []
    (result,) = synced(parts[1], run_id="rescued")
    assert (result.outcome, result.directories) == ("delivered", (str(parts[1]),))
    assert synced(parts[1], run_id="rescued")[0].outcome == "delivered"
    assert logged(server, "rescued") == [3, 4, 5]

    (result,) = synced(*parts, run_id="both")  # what is lost is not forgotten over it
    assert result.outcome == "pending"
    assert logged(server, "both") == [3, 4, 5]


def test_a_part_whose_beginning_is_not_here(server: WandbServer) -> None:
    """A part by itself waits for what it continues; under another id it begins, or goes on behind what is there."""
    parts = record_parts()
    shutil.rmtree(parts[0])
    (result,) = synced(parts[1], patience_s=0.5)
    assert result.outcome == "pending"
    assert "corelib sync --id" in result.reason
    for _ in range(2):
        assert synced(parts[1], run_id="alone")[0].outcome == "delivered"
        assert logged(server, "alone") == [3, 4, 5]

    record(2, first=100, id="there")
    synced("there")
    for _ in range(2):
        assert synced(parts[1], run_id="there")[0].outcome == "delivered"
        assert logged(server, "there") == [100, 101, 3, 4, 5]


def test_files_that_are_ignored(server: WandbServer, tmp_path: Path) -> None:
    """What `ignore_globs` excludes is not uploaded by a sync either."""
    for name in ("secret.txt", "open.txt"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    with corelib.init(project="p", id="files", mode="offline") as run:
        run.save("secret.txt")
        run.save("open.txt")
    corelib.setup(settings={"ignore_globs": ["*secret*"]})
    synced("files")

    assert "open.txt" in server.run("files").files
    assert "secret.txt" not in server.run("files").files


def test_refused_files_and_alerts_arrive_when_they_are_taken(server: WandbServer, tmp_path: Path) -> None:
    """One letter for each, under its own record; the next sync sends them as they are now, and then none is left."""
    (tmp_path / "model").write_text("old", encoding="utf-8")
    with corelib.init(project="p", id="refused", mode="offline") as run:
        run.save("model")
        run.log({"x": 1})
        run.alert("title", "text")
    uploads = server.faults.add(answer(413), endpoint="upload")
    alerts = server.faults.add(answer(400), operation="NotifyScriptableRunAlert")
    (result,) = synced("refused")
    assert (result.outcome, result.ledger.rejected, result.ledger.pending) == ("rejected", 2, 0)
    (letters,) = Path(run.sync_dir).glob("dead-letters-*")
    assert {json.loads(line)["record"]["type"] for line in letters.read_text().splitlines()} == {
        "alert",
        "file",
    }
    assert len(letters.read_text().splitlines()) == 2
    assert server.run("refused").complete

    for count in (2, 1):
        (result,) = synced("refused")
        assert (result.outcome, result.ledger.rejected) == ("rejected", count)
        assert len(letters.read_text().splitlines()) == count
        alerts.remove()
    uploads.remove()
    (tmp_path / "model").write_text("new", encoding="utf-8")
    for _ in range(2):
        (result,) = synced("refused")
        assert (result.outcome, result.ledger.rejected, result.ledger.pending) == ("delivered", 0, 0)
        assert not letters.exists()
    held = server.run("refused")
    assert held.files["model"] == b"new"
    assert [one.title for one in server.alerts] == ["title"]
    assert (len(held.rows), held.complete, held.exit_code) == (1, True, 0)
    assert not server.violations


def test_a_key_that_is_refused(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names host, status and what to do; only the first run has all of the patience."""
    for run_id in ("a1", "a2", "a3"):
        record(id=run_id)
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    server.allow("wrong-key")
    results = synced(patience_s=1.5)

    assert {result.outcome for result in results} == {"pending"}
    for result in results:
        assert "HTTP 401" in result.reason
        assert server.url.removeprefix("http://") in result.reason
        assert "corelib login" in result.reason
    assert len(server.requests(run="a2")) <= 1
    monkeypatch.setenv("WANDB_API_KEY", server.key)
    assert {result.outcome for result in synced()} == {"delivered"}


def test_no_key(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent, and the message says where the server is named and how to log in; a dry run needs no key."""
    record()
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(AuthenticationError, match=r"WANDB_BASE_URL.*corelib login"):
        synced()
    assert synced(dry_run=True)[0].ledger.pending == 5
    assert server.requests() == []


def test_a_server_that_is_down(server: WandbServer) -> None:
    """All runs are pending with the reason, and the second one does not wait as long as the first."""
    for run_id in ("a1", "a2", "a3"):
        record(id=run_id)
    server.stop_listening()
    began = time.monotonic()
    results = synced(patience_s=1.5)

    assert time.monotonic() - began < 4.5
    assert {result.outcome for result in results} == {"pending"}
    assert all(server.url.removeprefix("http://") in result.reason for result in results)
    server.resume_listening()
    assert {result.outcome for result in synced()} == {"delivered"}


def test_what_is_delivered_waits_for_nobody(server: WandbServer) -> None:
    """Where nothing is left to be sent, a server that is down or refuses the key is no reason to wait."""
    record()
    synced()
    server.stop_listening()
    began = time.monotonic()
    (result,) = synced(patience_s=60.0)

    assert time.monotonic() - began < 30.0
    assert (result.outcome, result.ledger.delivered, result.ledger.rows.delivered) == ("delivered", 5, 3)


def test_the_time_limit_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`http_timeout` holds for a sync as well: a server that never answers is given up after it."""
    record(id="a1")
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "0.5")
    with black_hole() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        began = time.monotonic()
        (result,) = synced(patience_s=0.5)

    assert result.outcome == "pending"
    assert time.monotonic() - began < 5.0


def test_an_interrupt_does_not_wait_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call under way is left to its thread; what is pending is said, of what was not begun as well."""
    for run_id in ("a1", "a2"):
        record(id=run_id)

    def interrupted(under_way: Sequence[object]) -> None:
        if under_way:
            raise KeyboardInterrupt

    with black_hole() as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        began = time.monotonic()
        with pytest.raises(SyncInterrupted) as caught:
            sync(default.names, default.session, SyncRequest(everything=True), interrupted)

    assert time.monotonic() - began < 4.0
    assert [result.ledger.pending for result in caught.value.results] == [5, 5]
    assert {result.reason for result in caught.value.results} == {"the sync was interrupted"}
    deadline = time.monotonic() + 30
    while any(thread.name == "corelib-sync" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c(server: WandbServer, tmp_path: Path) -> None:
    """On the command line it shows what is pending, and the exit code is that of an interrupt."""
    record(id="a1")
    with black_hole() as url:
        environment = environment_for(server, tmp_path) | {"WANDB_BASE_URL": url}
        with subprocess.Popen(
            [*CLI, "--all"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as command:
            time.sleep(2.0)
            began = time.monotonic()
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=60)

    assert time.monotonic() - began < 3.0
    assert command.returncode == 130
    assert "a1: 5 pending: the sync was interrupted" in out
    assert "Traceback" not in err


def test_a_running_program_is_delivered_so_far(server: WandbServer) -> None:
    """A sync of a run that writes faster than it can be delivered ends all the same."""
    server.faults.add(delay(after=0.2), endpoint="file_stream")
    stop = threading.Event()

    with corelib.init(project="p", id="live", mode="offline", settings={"silent": True}) as run:

        def train() -> None:
            number = 0
            while not stop.wait(0.005):
                run.log({"x": number})
                number += 1

        training = threading.Thread(target=train)
        training.start()
        try:
            time.sleep(0.5)
            (result,) = synced("live", patience_s=60.0)
            assert not stop.is_set()
        finally:
            stop.set()
            training.join()
    assert (result.state, result.outcome) == ("running", "delivered")
    server.faults.clear()
    assert synced("live")[0].outcome == "delivered"
    assert logged(server, "live") == list(range(run.step))


def test_what_is_pending_without_a_cursor(server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that were never sent are pending where a destination is set, with the end that a crash has left out."""
    parts = record_parts()
    code = "import corelib, os; corelib.init(project='p', id='dead', mode='offline').log({}); os._exit(0)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL, env=environment)
    (dead,) = Path("wandb").glob("*-dead")
    prospect = Prospect(default.names, default.session)
    assert [list(prospect.pending(path).values()) for path in (*parts, dead)] == [[5], [5], [3]]
    results = synced(dry_run=True)
    assert [result.ledger.pending for result in results] == [10, 3]
    assert server.requests() == []
    synced()
    assert [list(prospect.pending(path).values()) for path in (*parts, dead)] == [[0], [0], [0]]

    monkeypatch.delenv("WANDB_BASE_URL")
    other = record(id="other")
    assert Prospect(default.names, default.session).pending(other) == {}


# ------------------------------------------------------------------------------------------------- several at once


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_three_syncs_at_once_some_of_them_killed(server: WandbServer, tmp_path: Path, seed: int) -> None:
    """Whoever syncs, and however it ends, every row of a run of several parts is there once and in order."""
    chance = random.Random(seed)
    record_parts(parts=3, rows=1500)
    record(1500, id="single")
    server.faults.add(delay(before=0.05, after=0.05), endpoint="file_stream")
    server.faults.add([drop_after(), None, None] * 3, endpoint="file_stream")
    # Whoever goes on after a kill does not know that the last push arrived, which may have been the final one.
    server.allow("offset-back", "push-after-complete")
    environment = environment_for(server, tmp_path)
    commands: list[subprocess.Popen[bytes]] = []
    killed = 0
    try:
        while killed < 15:
            commands = [one for one in commands if one.poll() is None]
            while len(commands) < 3:
                words = chance.choice([["--all"], ["--all", "--jobs", "2"], ["chain"]])
                commands.append(
                    subprocess.Popen(
                        [*CLI, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                    )
                )
            time.sleep(chance.uniform(0.2, 1.5))
            victim = chance.choice(commands)
            if victim.poll() is None:
                victim.kill()
                killed += 1
        for command in commands:
            command.wait(120)
    finally:
        for command in commands:
            command.kill()
            command.wait()
    last = subprocess.run([*CLI, "--all"], env=environment, capture_output=True, text=True, check=False)

    assert last.returncode == 0, last.stdout + last.stderr
    assert logged(server, "chain") == list(range(4500))
    assert server.run("chain").steps == list(range(4500))
    assert logged(server, "single") == list(range(1500))
    assert {violation.kind for violation in server.violations} <= {"offset-back", "push-after-complete"}
