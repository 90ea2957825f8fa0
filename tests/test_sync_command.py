"""`corelib sync` and what `corelib ls` says of it: words, tables, JSON, exit codes."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import corelib
from corelib import cli
from corelib.api.syncing import SyncProgress
from corelib.commands.sync import _HEADINGS, _Line
from corelib.terminal import width
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import WandbServer

__all__ = ["wandb_server"]


class Answer(NamedTuple):
    """What a command said."""

    status: int
    out: str
    err: str


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Return a function that runs `corelib` with some words in this process."""

    def answer(*words: str | Path) -> Answer:
        capsys.readouterr()
        status = cli.main([str(word) for word in words])
        return Answer(status, *capsys.readouterr())

    return answer


@pytest.fixture(name="backup")
def _backup(tmp_path: Path) -> str:
    return f"file://{tmp_path}/backup"


def record(rows: int = 3, **words: Any) -> Path:
    with corelib.init(**({"project": "p", "mode": "offline"} | words)) as run:
        for number in range(rows):
            run.log({"row": number})
    return Path(run.sync_dir)


def pending_of(ask: Ask) -> list[list[int]]:
    return [list(one["pending"].values()) for one in json.loads(ask("ls", "--json").out)]


def test_a_sync_and_its_table(ask: Ask, backup: str) -> None:
    """Every run is a line of the table; the exit code is 0 if all of them are delivered."""
    record(id="aa")
    record(id="bb")
    answer = ask("sync", "--all", "--transport", backup, "--jobs", "2")

    assert answer.status == 0
    heading, _, first, second, _, last = answer.out.splitlines()
    assert heading.split() == list(_HEADINGS)
    assert first.split() == ["aa", "p", "finished", "file", "5", "5", "0", "0"]
    assert second.split()[0] == "bb"
    assert last == "Everything is delivered."


def test_as_json(ask: Ask, backup: str) -> None:
    """The same as data."""
    directory = record(id="aa")
    (document,) = json.loads(ask("sync", "aa", "--transport", backup, "--json").out)

    assert document == {
        "id": "aa",
        "project": "p",
        "state": "finished",
        "transport": "file",
        "directories": [str(directory)],
        "outcome": "delivered",
        "reason": "",
        "records": 5,
        "delivered": 5,
        "pending": 0,
        "rejected": 0,
        "reasons": {},
    }


def test_a_dry_run(ask: Ask, backup: str, tmp_path: Path) -> None:
    """It says what would be sent, with exit code 1 as long as there is something; nothing is sent."""
    record()
    answer = ask("sync", "latest", "--transport", backup, "--dry-run")

    assert answer.status == 1
    assert "Nothing was sent. 5 records would be." in answer.out
    assert not (tmp_path / "backup").exists()
    ask("sync", "latest", "--transport", backup)
    assert ask("sync", "latest", "--transport", backup, "--dry-run").status == 0


def test_what_is_pending(ask: Ask, backup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be delivered is named with the reason, and the exit code is 1."""
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "0.3")
    record(id="aa")
    (tmp_path / "backup").write_text("in the way")
    answer = ask("sync", "aa", "--transport", backup)

    assert answer.status == 1
    assert "aa: 5 pending: the destination did not take it" in answer.out
    (tmp_path / "backup").unlink()
    assert ask("sync", "aa", "--transport", backup).status == 0


def test_what_is_rejected(ask: Ask, backup: str) -> None:
    """What is refused for good is counted with the reason, kept beside the journal, and the exit code is 1."""
    with corelib.init(project="p", mode="offline", id="bb") as run:
        Path(run.dir, "gone.txt").write_text("x", encoding="utf-8")
        run.save(os.path.join(run.dir, "gone.txt"), base_path=run.dir, policy="end")
        directory = Path(run.sync_dir)
    (directory / "files" / "gone.txt").unlink()
    answer = ask("sync", "bb", "--transport", backup)

    assert answer.status == 1
    assert "bb: 1 rejected: gone.txt: No such file" in answer.out
    assert "dead-letters" in answer.out
    (letters,) = directory.glob("dead-letters-*.jsonl")
    assert json.loads(letters.read_text().splitlines()[0])["run_id"] == "bb"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--all"),
        (("nowhere",), "No run 'nowhere'"),
        (("--all",), "Nobody said where to sync to"),
        (("--all", "--transport", "nonsense"), "no transport 'nonsense'"),
        (("--all",), "WANDB_BASE_URL"),
        (("--all",), "corelib login"),
        (("--all", "--dry-run"), "Nobody said where to sync to"),
        (("--all", "--transport", "file", "--id", "a/b"), "Invalid run id"),
        (("--all", "--transport", "file", "--watch", "--dry-run"), "leave one out"),
        (("",), "names no run"),
    ],
)
def test_wrong_words(ask: Ask, words: tuple[str, ...], text: str) -> None:
    """What cannot be meant is exit code 2, with what to do."""
    record()
    answer = ask("sync", *words)

    assert answer.status == 2
    assert text in answer.err


def test_nothing_to_sync(ask: Ask) -> None:
    """A directory without runs is no error."""
    assert ask("sync", "--all", "--transport", "file") == Answer(0, "No runs to sync.\n", "")


def test_not_logged_in(ask: Ask, wandb_server: WandbServer) -> None:
    """Without a key for the server it is exit code 2, and how to log in is said; a dry run needs none."""
    record()
    answer = ask("sync", "--all", "--transport", wandb_server.url)

    assert answer.status == 2
    assert "corelib login" in answer.err
    assert "WANDB_BASE_URL" in answer.err
    assert ask("sync", "--all", "--transport", wandb_server.url, "--dry-run").status == 1
    assert wandb_server.requests() == []


def test_a_server(ask: Ask, wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the settings of the environment a run arrives at the server, under the address that was said."""
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setenv("WANDB_API_KEY", wandb_server.key)
    record(id="aa")
    assert ask("sync", "aa", "--id", "zz", "--project", "q").status == 0

    assert wandb_server.run("zz", project="q").steps == [0, 1, 2]


# -------------------------------------------------------------------------------------------------------------- watch

CHILD = """
import sys, corelib
with corelib.init(project="p", mode="offline", id="live") as run:
    run.log({"row": 0})
    print("recording", flush=True)
    sys.stdin.readline()
    run.log({"row": 1})
"""


def test_a_watch_follows_a_run_to_its_end(backup: str, tmp_path: Path) -> None:
    """A watch delivers what a running program writes, and ends when that has ended."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "recording\n"
        words = [sys.executable, "-m", "corelib", "sync", "live", "--watch", "--transport", backup]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
            _await_copies(tmp_path, 1)
            assert watch.poll() is None
            program.communicate("go on\n")
            out, _ = watch.communicate(timeout=60)

    assert watch.returncode == 0
    assert "finished" in out
    assert corelib.open_run("live", tmp_path / "backup" / "wandb").rows == 2


def test_a_watch_ends_where_nothing_more_can_be_done(ask: Ask, backup: str) -> None:
    """A run that nothing can be delivered of is no reason to wait; why, is shown."""
    directory = record(id="aa")
    (segment,) = directory.rglob("*.zst")
    segment.write_bytes(segment.read_bytes()[:-1])
    record(id="bb")
    Path("empty").mkdir()
    answer = ask("sync", "aa", "bb", "empty", "--watch", "--transport", backup)

    assert answer.status == 1
    assert answer.err.count("is left out") == 1  # however many rounds there were
    assert "aa: 1 pending: " in answer.out
    assert "cannot be believed" in answer.out
    assert answer.out.splitlines()[3].split()[:3] == ["bb", "p", "finished"]


def test_a_watch_goes_on_while_that_helps(
    ask: Ask, backup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a destination takes some and not all, it is tried again; where it takes nothing, the watch ends."""
    monkeypatch.setenv("WANDB_FINISH_TIMEOUT", "0.3")
    record(id="aa")
    (tmp_path / "backup").write_text("in the way")
    answer = ask("sync", "aa", "--watch", "--transport", backup)

    assert answer.status == 1
    assert "aa: 5 pending: the destination did not take it" in answer.out


def test_a_watch_of_everything_is_ended_by_an_interrupt(backup: str, tmp_path: Path) -> None:
    """A watch of all runs takes up new ones, until Ctrl-C, which shows the table."""
    record(id="aa")
    words = [sys.executable, "-m", "corelib", "sync", "--all", "--watch", "--transport", backup]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as watch:
        _await_copies(tmp_path, 1)
        record(id="bb")  # too late for the first round, which has begun
        _await_copies(tmp_path, 2)
        _await_delivery(backup)  # else what is still under way is pending, and the exit code says so
        watch.send_signal(signal.SIGINT)
        out, _ = watch.communicate(timeout=60)

    assert watch.returncode == 0
    assert "aa" in out


def _await_copies(tmp_path: Path, number: int) -> None:
    """Wait until the backup holds the rows of so many runs."""
    deadline = time.monotonic() + 60
    while sum(view.rows > 0 for view in corelib.list_runs(tmp_path / "backup" / "wandb")) < number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _await_delivery(backup: str) -> None:
    """Wait until nothing that is recorded here is left to be delivered to the backup."""
    deadline = time.monotonic() + 60
    while any(
        result.ledger.pending for result in corelib.sync(everything=True, dry_run=True, transport=backup)
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ----------------------------------------------------------------------------------------------------------- progress


def test_progress_at_a_terminal(backup: str) -> None:
    """At a terminal a bar shows what is under way, and is gone afterwards."""
    record(2000, id="aa")
    screen, program = pty.openpty()
    words = [sys.executable, "-m", "corelib", "sync", "aa", "--transport", backup]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=program) as command:
        os.close(program)
        assert command.wait(60) == 0
    seen = b""
    while select.select([screen], [], [], 0.5)[0]:
        try:
            seen += os.read(screen, 65536)
        except OSError:
            break
    os.close(screen)

    assert b"\n" not in seen
    if seen:  # a fast machine may be done before the first look
        assert b" of 2002 records" in seen
        assert seen.endswith(b"\r")


def test_the_line_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """The bar shows the share of all that is under way, in one line that is drawn over itself."""
    line = _Line()
    line.show([])
    line.show([SyncProgress("aa", "file", 50, 100, 12_000), SyncProgress("bb", "file", 0, 100, 0)])
    line.show([SyncProgress("aa", "file", 100, 100, 24_000)])
    line.clear()
    line.clear()
    _, first, second, _, end = capsys.readouterr().err.split("\r")

    assert first == "[#####...............] 50 of 200 records, 12.0 kB: aa, bb"
    assert second.rstrip() == "[####################] 100 of 100 records, 24.0 kB: aa"
    assert len(second) == len(first)
    assert end == ""


class Screen(io.StringIO):
    """A terminal of so many columns."""

    def isatty(self) -> bool:
        return True


def test_the_line_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the ids are, and however wide their characters, the line is one line, with room for ^C."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr("corelib.commands.sync._columns", lambda: 60)
    line = _Line()
    for run_id in ("x" * 100, "長い名前" * 20):
        line.show([SyncProgress(run_id, "file", 50, 100, 12_000)])
    line.clear()

    for text in screen.getvalue().split("\r"):
        assert width(text) < 60


def test_messages_stand_above_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message is written where the line was, and the line below it."""
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    line = _Line()
    line.show([SyncProgress("aa", "file", 50, 100, 12_000)])
    line.write("corelib: WARNING beware\n")
    line.flush()
    shown = screen.getvalue().split("\r")

    assert shown[1].startswith("[")
    assert shown[-2] == "corelib: WARNING beware\n"
    assert shown[-1] == shown[1]


def test_a_command_at_a_terminal(ask: Ask, backup: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There messages go through the line, which is gone in the end."""
    record(id="aa")
    Path("wandb/offline-run-20260101_000000-empty").mkdir()
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    assert ask("sync", *Path("wandb").iterdir(), "--transport", backup).status == 0

    assert "empty holds no journal, and is left out.\n" in screen.getvalue()
    assert screen.getvalue().endswith(("\n", "\r"))


# ----------------------------------------------------------------------------------------------------------------- ls


def test_ls_shows_what_is_pending(ask: Ask, backup: str) -> None:
    """A run that was never sent has no number; one that was has what is left of it, per destination."""
    with corelib.init(project="p", mode="offline", id="aa") as run:
        run.log({"row": 0})
        assert pending_of(ask) == [[]]
        ask("sync", "aa", "--transport", backup)
        assert pending_of(ask) == [[0]]
        run.log({"row": 1})
        assert pending_of(ask) == [[1]]
        assert ask("ls").out.splitlines()[2].split()[-2] == "1"
    ask("sync", "aa", "--transport", backup)

    assert pending_of(ask) == [[0]]


def test_ls_shows_what_is_pending_at_the_destination_of_the_settings(
    ask: Ask, backup: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a destination is set, what was never sent is pending there; where none is, nothing can be."""
    record(id="aa")
    assert ask("ls").out.splitlines()[2].split()[-2] == "-"
    monkeypatch.setenv("WANDB_TRANSPORT", backup)
    assert pending_of(ask) == [[5]]
    assert ask("ls").out.splitlines()[2].split()[-2] == "5"
    ask("sync", "aa")
    assert pending_of(ask) == [[0]]
    monkeypatch.setenv("WANDB_TRANSPORT", "nonsense")
    assert ask("ls").status == 0
    monkeypatch.setenv("WANDB_TRANSPORT", "file")
    assert pending_of(ask) == [[0]]
