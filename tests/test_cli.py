"""The command line: what each command shows, in words and as JSON, and the exit codes that scripts rely on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import corelib
from corelib import cli
from corelib.commands import verify
from corelib.pure.resume_listing import format_table

COMMANDS = ("demo", "ls", "show", "tail", "verify", "settings", "resume-table", "doctor", "login", "sync")


class Answer(NamedTuple):
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The output as strict JSON."""
        return json.loads(self.out, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that runs `corelib` with some words in this process."""

    def answer(*words: str | Path) -> Answer:
        capsys.readouterr()
        try:
            status = cli.main([str(word) for word in words])
        except SystemExit as error:  # as argparse ends for help and for wrong words
            status = int(error.code or 0)
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return answer


@pytest.fixture
def run_dir() -> Path:
    """Record a run that says a bit of everything, and return its directory."""
    config = {"optimizer": {"name": "adam", "lr": 0.1}, "limit": float("inf")}
    with corelib.init(
        project="iris", name="first", tags=["a", "b"], notes="on two\nlines", config=config, mode="offline"
    ) as run:
        for step in range(50):
            run.log({"loss": 1 / (step + 1), "nested": {"accuracy": step / 50}, "note": "text"})
        run.log({"loss": float("nan")})
        run.summary["best"] = 0.02
        Path(run.dir, "weights.bin").write_bytes(b"\x00")
    return Path(run.sync_dir)


def _segment(run_dir: Path) -> Path:
    (found,) = run_dir.glob("journal/*/*.jsonl*")
    return found


def _child(code: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# --------------------------------------------------------------------------------------------------- words and codes


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_clean(command: str, ask: Ask) -> None:
    """Every command explains itself, exits with 0, and names the exit codes."""
    answer = ask(command, "--help")

    assert answer.status == 0
    assert answer.out.startswith(f"usage: corelib {command}")
    assert "exit codes: 0" in answer.out
    assert answer.err == ""


def test_help_names_every_command(ask: Ask) -> None:
    """The general help lists the commands with a line each."""
    listed = re.findall(r"^    ([a-z-]+)(?: |$)", ask("--help").out, re.MULTILINE)

    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("words", [(), ("fly",), ("show",), ("ls", "--jso"), ("tail", "x", "-n", "-1")])
def test_wrong_words_exit_with_2(words: tuple[str, ...], ask: Ask) -> None:
    """A command line that is no command is answered on standard error with exit code 2; options are not abbreviated."""
    answer = ask(*words)

    assert answer.status == 2
    assert answer.out == ""
    assert "usage: corelib" in answer.err


@pytest.mark.parametrize("command", ["show", "tail", "verify"])
def test_a_run_that_is_not_there_exits_with_2(command: str, ask: Ask, run_dir: Path) -> None:
    """A RUN that names nothing is answered with what is there, and exit code 2."""
    answer = ask(command, "nowhere")

    assert answer.status == 2
    assert answer.out == ""
    assert answer.err.startswith("corelib: ")
    assert run_dir.name in answer.err


def test_version(ask: Ask) -> None:
    """`--version` tells the version of the package."""
    assert ask("--version").out == f"corelib {corelib.__version__}\n"


def test_a_disk_that_fails_is_a_problem_and_no_traceback(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the operating system is one line with the file's name, and exit code 1."""
    from corelib.api.core import default

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr(type(default), "list_runs", fail)

    assert ask("ls") == Answer(1, "", "corelib: /somewhere: Permission denied\n")


def test_interrupt_exits_with_130(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command quietly, with the code that shells give it."""
    from corelib.api.core import default

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(default), "list_runs", interrupt)

    assert ask("ls") == Answer(130, "", "")


def test_a_reader_that_goes_away_is_no_error(run_dir: Path) -> None:
    """`corelib … | head` ends without a complaint, with the exit code of a broken pipe."""
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "corelib", "resume-table"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


# ------------------------------------------------------------------------------------------------------- ls and show


def test_ls_lists_runs_with_the_newest_last(ask: Ask, tmp_path: Path) -> None:
    """Each run is a line with its id, project and state; DIR may be the directory of `wandb` or `wandb` itself."""
    ids = []
    for project in ("one", "two"):
        with corelib.init(project=project, mode="offline") as run:
            ids.append(run.id)
    here = ask("ls")

    assert here.status == 0
    assert [line.split()[:3] for line in here.out.splitlines()[2:]] == [
        [ids[0], "one", "-"],
        [ids[1], "two", "-"],
    ]
    assert ask("ls", tmp_path) == ask("ls", tmp_path / "wandb") == here


def test_ls_as_json(ask: Ask, run_dir: Path) -> None:
    """With --json each run is an object."""
    (run,) = ask("ls", "--json").document

    assert (run["project"], run["name"], run["state"], run["exit_code"]) == ("iris", "first", "finished", 0)
    assert Path(run["path"]) == run_dir


def test_ls_of_an_empty_directory(ask: Ask, tmp_path: Path) -> None:
    """No runs is no problem, and makes no directory."""
    answer = ask("ls")

    assert answer.status == 0
    assert "No runs" in answer.out
    assert ask("ls", "--json").document == []
    assert list(tmp_path.iterdir()) == []


def test_show_tells_the_run(ask: Ask, run_dir: Path) -> None:
    """Config, summary, a curve per metric, state, resume decision, receipt and files are shown."""
    answer = ask("show", "latest")
    text = answer.out

    assert answer.status == 0
    for part in (
        "optimizer.lr",
        "0.1",
        "inf",
        "best",
        "0.02",
        "finished, exit code 0",
        "a, b",
        "on two\\nlines",
    ):
        assert part in text
    assert re.search(r"^loss +█[▁▂▃▄▅▆▇█]+ ", text, re.MULTILINE)
    assert re.search(r"^nested/accuracy +▁[▁▂▃▄▅▆▇█]+█ .* 50$", text, re.MULTILINE)
    assert "\nnote " not in text
    assert re.search(r"accepted +51 log\(\) calls", text)
    assert corelib.open_run(run_dir).decision in text
    assert str(run_dir / "journal") in text
    assert "weights.bin" in text


def test_show_as_json(ask: Ask, run_dir: Path) -> None:
    """With --json the same is one strict document: non-finite numbers are texts, as in the journal."""
    document = ask("show", run_dir, "--json").document

    assert document["config"] == {"optimizer": {"name": "adam", "lr": 0.1}, "limit": "Infinity"}
    assert document["summary"]["best"] == 0.02
    assert document["summary"]["loss"] == "NaN"
    assert document["metrics"]["loss"] == {
        "first": 1.0,
        "last": "NaN",
        "least": 0.02,
        "most": 1.0,
        "values": 51,
    }
    assert document["receipt"]["accepted"] == 51
    assert document["receipt"]["damaged"] == 0
    assert document["files"] == ["weights.bin"]
    assert document["notes"] == "on two\nlines"


def test_show_of_a_run_that_said_nothing(ask: Ask) -> None:
    """A run without config, metrics or files is shown by what there is, without empty headings."""
    with corelib.init(project="p", mode="offline") as run:
        pass
    text = ask("show", run.id).out

    assert "finished" in text
    assert not re.search(r"^(config|metric|files)", text, re.MULTILINE)


def test_show_counts_samples_of_the_machine(ask: Ask) -> None:
    """Samples are no rows and no metrics, and are counted by themselves."""
    with corelib.init(project="p", mode="offline") as run:
        run.log_system({"cpu": 1})
    document = ask("show", run.id, "--json").document

    assert (document["metrics"], document["receipt"]["samples"]) == ({}, 1)
    assert re.search(r"machine +1 sample$", ask("show", run.id).out, re.MULTILINE)


def test_show_draws_what_can_be_drawn(ask: Ask) -> None:
    """An integer beyond any float, and a truth value, are no points of a curve and no reason to fail."""
    with corelib.init(project="p", mode="offline") as run:
        run.log({"huge": 10**400, "yes": True, "small": 1})
    document = ask("show", run.id, "--json").document

    assert document["metrics"] == {
        "small": {"first": 1.0, "last": 1.0, "least": 1.0, "most": 1.0, "values": 1}
    }
    assert "huge" in ask("show", run.id).out


def test_a_run_is_named_in_four_ways(
    ask: Ask, run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RUN is an id, a folder name, a path, or `latest`; --dir says where to look."""
    run_id = corelib.open_run(run_dir).id
    shown = ask("show", "latest")

    assert ask("show", run_id) == ask("show", run_dir.name) == ask("show", run_dir) == shown
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert ask("show", run_id).status == 2
    assert ask("show", run_id, "--dir", tmp_path) == shown


def test_a_logged_text_commands_no_terminal(ask: Ask) -> None:
    """Names, notes and keys with escape sequences are shown, not obeyed."""
    evil = "\x1b[2J\x07"
    with corelib.init(project="p", name=evil, notes=evil, config={evil: evil}, mode="offline") as run:
        run.log({evil: 1.0})
        run.log({evil: 2.0})

    for words in (("ls",), ("show", "latest"), ("tail", "latest")):
        assert not set(ask(*words).out) & {"\x1b", "\x07"}


# ------------------------------------------------------------------------------------------------------------ verify


def test_verify_of_a_sound_journal(ask: Ask, run_dir: Path) -> None:
    """A journal as it was written is answered with what was checked, and 0."""
    answer = ask("verify", "latest")

    assert answer.status == 0
    assert "every checksum fits" in answer.out
    (journal,) = ask("verify", run_dir, "--json").document["journals"]
    assert journal["findings"] == []
    assert journal["records"] >= 53
    assert Path(journal["journal"]) == run_dir / "journal"


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9])
def test_verify_names_a_flipped_bit_in_a_sealed_segment(place: float, ask: Ask, run_dir: Path) -> None:
    """One flipped bit in a sealed segment is found, its segment named, exit code 1."""
    segment = _segment(run_dir)
    data = bytearray(segment.read_bytes())
    data[int(len(data) * place)] ^= 0x10
    segment.write_bytes(data)

    answer = ask("verify", run_dir)

    assert answer.status == 1
    assert segment.name in answer.out
    assert ask("verify", run_dir, "--json").document["journals"][0]["findings"] != []


def _crashed(cwd: Path) -> Path:
    code = (
        "import corelib, os\n"
        "run = corelib.init(project='p', mode='offline')\n"
        "for step in range(20): run.log({'loss': step})\n"
        "print(run.sync_dir, flush=True)\n"
        "os._exit(3)\n"
    )
    out, err = _child(code, cwd).communicate(timeout=60)
    assert out, err
    return Path(out.strip())


def test_verify_names_a_flipped_bit_in_a_hot_segment(ask: Ask, tmp_path: Path) -> None:
    """A hot line whose checksum does not fit is named with its place; the others are counted as sound."""
    run_dir = _crashed(tmp_path)
    segment = _segment(run_dir)
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:5], lines[5].replace(b"loss", b"loSs"), *lines[6:]]))

    (journal,) = ask("verify", run_dir, "--json").document["journals"]

    (finding,) = journal["findings"]
    assert (finding["kind"], finding["segment"]) == ("corrupt", segment.name)
    assert (finding["offset"], finding["length"]) == (len(b"".join(lines[:5])), len(lines[5]))
    assert journal["records"] == len(lines) - 1
    assert f"{len(lines[5])} bytes at {finding['offset']}: corrupt" in ask("verify", run_dir).out


def test_verify_explains_a_torn_end(ask: Ask, tmp_path: Path) -> None:
    """Half a line at the end of a dead run is named, with the word that it may be normal."""
    run_dir = _crashed(tmp_path)
    segment = _segment(run_dir)
    segment.write_bytes(segment.read_bytes()[:-7])

    answer = ask("verify", run_dir)

    assert answer.status == 1
    assert "torn" in answer.out
    assert "normal after a power cut" in answer.out


def test_verify_misses_a_segment_that_was_deleted(tmp_path: Path, run_dir: Path) -> None:
    """A hole in the numbers of the segments, or an order of records that nobody wrote, is found."""
    segment = _segment(run_dir)
    writer = segment.parent
    shutil.copy(segment, writer / "000003.jsonl.zst")

    found = verify.examine(run_dir / "journal").findings

    assert ("missing", "000003.jsonl.zst") in {(one.kind, one.segment) for one in found}
    assert ("order", "000003.jsonl.zst") in {(one.kind, one.segment) for one in found}


def test_verify_misses_a_journal_that_was_deleted(tmp_path: Path) -> None:
    """A directory without a journal is a finding, not a success."""
    assert [one.kind for one in verify.examine(tmp_path / "journal").findings] == ["missing"]


def test_verify_and_show_look_at_every_part_of_a_resumed_run(ask: Ask, run_dir: Path) -> None:
    """A resumed run is one run: damage in the directory that it continues is its damage, and the rows are its rows."""
    run_id = corelib.open_run(run_dir).id
    with corelib.init(project="iris", id=run_id, resume="must", mode="offline") as run:
        run.log({"loss": 0.01})
    assert ask("verify", run_id).status == 0
    shown = ask("show", run_id, "--json").document
    assert shown["receipt"]["accepted"] == 52
    assert shown["metrics"]["loss"]["values"] == 52
    assert shown["receipt"]["journals"] == [str(run_dir / "journal"), str(Path(run.sync_dir) / "journal")]

    _segment(run_dir).unlink()

    answer = ask("verify", run_id)
    assert answer.status == 1
    assert str(run_dir) in answer.out


def test_verify_lets_a_live_run_be_half_way_through_a_line(ask: Ask) -> None:
    """While a run is written, its last line may be incomplete."""
    run = corelib.init(project="p", mode="offline")
    run.log({"loss": 1.0})
    with open(_segment(Path(run.sync_dir)), "ab") as file:
        file.write(b'01234567 {"type"')
    answer = ask("verify", run.sync_dir)
    run.finish()

    assert answer.status == 0


# -------------------------------------------------------------------------------------------------------------- tail


def test_tail_prints_the_last_rows_and_how_it_ended(ask: Ask, run_dir: Path) -> None:
    """A finished run's last rows are printed, as many as asked for, then its end; exit code 0."""
    answer = ask("tail", "latest", "-n", "2")

    assert answer.status == 0
    assert answer.out.splitlines()[:-1] == [
        "step 49  loss 0.02  nested/accuracy 0.98  note text",
        "step 50  loss nan",
    ]
    assert "finished" in answer.out.splitlines()[-1]
    assert len(ask("tail", run_dir, "--no-follow").out.splitlines()) == 11


def test_tail_as_json_is_one_row_a_line(ask: Ask, run_dir: Path) -> None:
    """With --json each row is a strict JSON object on a line, and nothing else is printed."""
    rows = [
        json.loads(line, parse_constant=_refuse)
        for line in ask("tail", run_dir, "-n", "2", "--json").out.splitlines()
    ]

    assert [(row["_step"], row["loss"]) for row in rows] == [(49, 0.02), (50, "NaN")]


@pytest.mark.parametrize(
    ("ending", "state", "status"), [("finish()", "finished", 0), ("finish(4)", "failed", 1)]
)
def test_tail_follows_a_live_run_to_its_end(ending: str, state: str, status: int, tmp_path: Path) -> None:
    """Rows of a live run are printed once each, in order, then its end; the exit code says how it ended."""
    code = (
        "import corelib, sys\n"
        "run = corelib.init(project='p', mode='offline')\n"
        "run.log({'x': 0})\n"
        "print(run.id, flush=True)\n"
        "for x in range(1, 6): sys.stdin.readline(); run.log({'x': x})\n"
        f"sys.stdin.readline(); run.{ending}\n"
    )
    training = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert training.stdin is not None
    assert training.stdout is not None
    run_id = training.stdout.readline().strip()
    following = subprocess.Popen(
        [sys.executable, "-m", "corelib", "tail", run_id], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None

    seen = [following.stdout.readline()]
    for _ in range(5):
        training.stdin.write("\n")
        training.stdin.flush()
        seen.append(following.stdout.readline())
    training.stdin.write("\n")
    training.stdin.flush()
    training.communicate(timeout=60)
    rest, _ = following.communicate(timeout=60)

    assert seen == [f"step {x}  x {x}\n" for x in range(6)]
    assert rest.startswith(f"run {run_id}: {state}")
    assert following.returncode == status


def test_tail_follows_a_run_of_its_own_process(ask: Ask) -> None:
    """What is logged while it follows is printed once, and the end of the run ends it."""
    run = corelib.init(project="p", mode="offline")
    run.log({"x": 0})

    def train() -> None:
        time.sleep(0.5)
        run.log({"x": 1})
        run.finish()

    training = threading.Thread(target=train)
    training.start()
    answer = ask("tail", run.id, "-n", "1")
    training.join()

    assert answer.status == 0
    assert [line for line in answer.out.splitlines() if line.startswith("step")] == [
        "step 0  x 0",
        "step 1  x 1",
    ]


def test_tail_of_a_crashed_run_exits_with_1(ask: Ask, tmp_path: Path) -> None:
    """A run that died without a word is read to its end and called crashed."""
    run_dir = _crashed(tmp_path)
    answer = ask("tail", run_dir, "-n", "1")

    assert answer.status == 1
    assert answer.out.splitlines()[0] == "step 19  loss 19"
    assert "crashed" in answer.out.splitlines()[1]


def test_tail_without_follow_returns_while_the_run_goes_on(ask: Ask) -> None:
    """With --no-follow a live run is shown as it is, and that it runs is no problem."""
    run = corelib.init(project="p", mode="offline")
    run.log({"x": 1})
    answer = ask("tail", run.id, "--no-follow")
    run.finish()

    assert answer.status == 0
    assert answer.out.splitlines() == ["step 0  x 1", f"run {run.id}: running"]


def test_tail_ends_at_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends following at once and quietly, and leaves the run alone."""
    run = corelib.init(project="p", mode="offline")
    run.log({"x": 1})
    following = subprocess.Popen(
        [sys.executable, "-m", "corelib", "tail", run.id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    assert following.stdout.readline() == "step 0  x 1\n"

    following.send_signal(signal.SIGINT)
    _, complaint = following.communicate(timeout=60)
    receipt = run.finish()

    assert (following.returncode, complaint) == (130, "")
    assert receipt.accepted == 1


# ------------------------------------------------------------------------------------------------------ resume-table


def test_resume_table_is_the_table(ask: Ask) -> None:
    """The command prints what the machine runs on, as text or as Markdown."""
    assert ask("resume-table", "--markdown").out.strip() == format_table("markdown").strip()
    assert ask("resume-table").out.strip() == format_table("text").strip()


# ---------------------------------------------------------------------------------------------- settings and doctor


def test_settings_name_the_source_of_each(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every setting is listed with its value and who decided it."""
    monkeypatch.setenv("WANDB_PROJECT", "from-env")
    answer = ask("settings")
    document = ask("settings", "--json").document

    assert answer.status == 0
    assert re.search(r"^project +'from-env' +environment +WANDB_PROJECT$", answer.out, re.MULTILINE)
    assert (document["project"]["value"], document["project"]["source"]) == ("from-env", "environment")
    assert (document["mode"]["value"], document["mode"]["source"]) == ("online", "default")
    assert list(tmp_path.iterdir()) == []


def test_settings_explain_what_was_overridden(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One setting is explained with its meaning, its source and what that overrode, down to the line of the file."""
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nproject = from-file\n", encoding="utf-8")
    monkeypatch.setenv("WANDB_PROJECT", "from-env")
    answer = ask("settings", "--explain", "project")

    assert answer.status == 0
    assert "'from-env'  (environment: WANDB_PROJECT)" in answer.out
    assert f"instead of 'from-file'  (workspace_file: {tmp_path / 'wandb' / 'settings'}:2)" in answer.out
    (document,) = ask("settings", "--explain", "project", "--json").document.values()
    assert document["overridden"][0]["source"] == "workspace_file"


def test_settings_suggest_the_nearest_name(ask: Ask) -> None:
    """A setting that there is not is answered with the nearest there is, and exit code 2."""
    answer = ask("settings", "--explain", "projct")

    assert answer.status == 2
    assert "'project'" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ("settings",),
        ("settings", "--json"),
        ("settings", "--explain", "api_key"),
        ("doctor",),
        ("doctor", "--json"),
    ],
)
def test_no_command_shows_a_secret(words: tuple[str, ...], ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is named as set, and its value appears nowhere."""
    secret = "s3cr3t" * 7
    monkeypatch.setenv("WANDB_API_KEY", secret)
    answer = ask(*words)

    assert "***" in answer.out
    assert secret not in answer.out + answer.err


@pytest.mark.parametrize("command", ["settings", "doctor"])
def test_a_setting_that_cannot_be_used_is_a_problem(
    command: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where `init()` would raise, the command says why and exits with 1."""
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    answer = ask(command)

    assert answer.status == 1
    assert "WANDB_MODE" in answer.err


@pytest.mark.parametrize("command", ["settings", "doctor"])
def test_an_unknown_key_in_a_file_is_a_problem(command: str, ask: Ask, tmp_path: Path) -> None:
    """Where `init()` would warn, the command does, and exits with 1."""
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nprojct = x\n", encoding="utf-8")
    answer = ask(command)

    assert answer.status == 1
    assert "'project'" in answer.out + answer.err


def test_doctor_says_what_init_would_do_and_makes_nothing(ask: Ask, tmp_path: Path) -> None:
    """Where the run would be recorded and why, with which rights, and what is resumed; the disk is as before."""
    answer = ask("doctor")
    document = ask("doctor", "--json").document

    assert answer.status == 0
    assert str(tmp_path / "wandb") in answer.out
    assert "can be written" in answer.out
    assert document["directory"]["made_in"] == str(tmp_path)
    assert (document["directory"]["exists"], document["directory"]["writable"]) == (False, True)
    assert (document["recorded"], document["resume"]["plan"]) == ("on this machine", "new")
    assert document["problems"] == []
    assert list(tmp_path.iterdir()) == []


def test_doctor_foretells_the_resume(ask: Ask, monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> None:
    """The plan is the decision that `init()` then takes, and asking for it changes nothing."""
    run_id = corelib.open_run(run_dir).id
    monkeypatch.setenv("WANDB_RUN_ID", run_id)
    monkeypatch.setenv("WANDB_RESUME", "must")
    monkeypatch.setenv("WANDB_MODE", "offline")
    foretold = ask("doctor", "--json").document["resume"]
    with corelib.init() as run:
        decision = run.resume_decision

    assert (foretold["plan"], foretold["rule"], foretold["reason"]) == (
        decision.action,
        decision.rule,
        decision.reason,
    )
    assert (foretold["run_id"], foretold["starting_step"]) == (run_id, 51)


def test_doctor_foretells_a_refusal(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that `init()` would refuse is a problem, with the reason."""
    monkeypatch.setenv("WANDB_RUN_ID", "nowhere1")
    monkeypatch.setenv("WANDB_RESUME", "must")
    answer = ask("doctor")

    assert answer.status == 1
    assert "nowhere1" in answer.out
    with pytest.raises(corelib.Error):
        corelib.init(mode="offline")


def test_doctor_reads_the_resume_file_and_leaves_it(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    """With resume="auto" the file's run is the plan; a file that names no run is a problem. It stays as it is."""
    marker = run_dir.parent / "wandb-resume.json"
    run_id = corelib.open_run(run_dir).id
    monkeypatch.setenv("WANDB_RESUME", "auto")
    marker.write_text(json.dumps({"run_id": run_id}), encoding="utf-8")
    assert ask("doctor", "--json").document["resume"]["marker"] == f"names run {run_id}"

    marker.write_text("{", encoding="utf-8")
    answer = ask("doctor")

    assert answer.status == 1
    assert "names no run" in answer.out
    assert marker.read_text(encoding="utf-8") == "{"


def test_doctor_sees_a_directory_that_cannot_be_written(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without the right to write is a problem, said before a training run meets it."""
    monkeypatch.setattr(os, "access", lambda *_: False)  # tests may run as root, whom rights do not stop
    answer = ask("doctor")

    assert answer.status == 1
    assert "cannot be written" in answer.out


def test_doctor_sees_a_disk_that_is_nearly_full(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Little space is a problem, said before a training run meets it."""
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((real.f_bsize, 1, 10, 1, 1, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    answer = ask("doctor")

    assert answer.status == 1
    assert "are free" in answer.out


def test_doctor_of_a_disabled_run(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disabled run is recorded nowhere, and no directory can be in its way."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(os, "access", lambda *_: False)
    document = ask("doctor", "--json").document

    assert document["recorded"] == "nowhere"
    assert document["problems"] == []


def test_doctor_says_what_force_would_break(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """force=True without a server is what `init()` refuses, so it is a problem."""
    monkeypatch.setenv("WANDB_FORCE", "true")
    answer = ask("doctor")

    assert answer.status == 1
    assert "force=True" in answer.out


# ------------------------------------------------------------------------------------------------------------- demo


def test_demo_is_a_command(ask: Ask, tmp_path: Path) -> None:
    """`corelib demo` tells its story and leaves runs that the other commands read."""
    answer = ask("demo", "--dir", tmp_path / "there")

    assert answer.status == 0
    assert "journals" in answer.out
    assert len(ask("ls", tmp_path / "there", "--json").document) == 4


@pytest.mark.parametrize("command", ["ls", "settings", "resume-table", "doctor"])
def test_a_closed_standard_output_is_a_problem_and_no_traceback(command: str, tmp_path: Path) -> None:
    """With `>&-` there is nowhere to answer: one line says so, and the exit code is 1."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -m corelib {command} >&-'],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["corelib: standard output is closed, so there is nowhere to answer."]


def test_verify_misses_the_directory_that_a_run_continues(ask: Ask, run_dir: Path) -> None:
    """Rows that lay in a part of the run which is gone are named as missing."""
    run_id = corelib.open_run(run_dir).id
    with corelib.init(id=run_id, resume="must", mode="offline") as resumed:
        resumed.log({"loss": 0.0})
    shutil.rmtree(run_dir)

    answer = ask("verify", run_id)

    assert answer.status == 1
    assert f"missing: it continues {run_dir.name}, which is not there" in answer.out


def test_the_package_is_the_command() -> None:
    """Where the script is not on the path, Python itself knows the way."""
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(corelib.__version__)
