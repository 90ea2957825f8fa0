"""One courier process: it gets all of its work, is not waited for without end, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from corelib.shell import courier_link
from corelib.shell.courier_link import CourierLink
from corelib.shell.spawn import private_pipe, spawn_python
from tests.couriers import RunOnDisk, eventually


@pytest.fixture
def run(tmp_path: Path) -> RunOnDisk:
    return RunOnDisk(tmp_path)


def link_of(run: RunOnDisk, executable: str = sys.executable) -> CourierLink:
    return CourierLink(run.spec(), executable=executable, environ=os.environ)


def program(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_work_that_no_pipe_can_hold_at_once_is_handed_over(
    run: RunOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs with thousands of places to look for modules have couriers as well."""
    places = [f"/nonexistent/a/rather/long/path/to/some/place/with/modules/{n:06d}" for n in range(3000)]
    monkeypatch.setattr(sys, "path", [*sys.path, *places])
    link = link_of(run)
    link.start()
    link.send("close", timeout=60.0)
    run.end()
    kinds = [message["type"] for message in link.listen()]
    link.end()

    assert kinds[0] == "hello"
    assert kinds[-1] == "final"


def test_who_never_says_hello_is_ended(
    run: RunOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that starts and says nothing holds nobody for ever; it is killed, with all that it has started."""
    monkeypatch.setattr(courier_link, "_HELLO_S", 0.2)
    pids = tmp_path / "pids"
    link = link_of(run, program(tmp_path, f"sleep 1000 & echo $$ $! > {pids}; wait"))
    link.start()
    link._hello_by += 1000.0
    eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    link._hello_by = 0.1

    assert list(link.listen()) == []
    assert link.is_mute
    assert "does not say that it works" in str(link.unfit)
    link.end()
    for pid in map(int, pids.read_text().split()):
        eventually(partial(is_gone, pid))


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("text", "is_unfit"), [("exit 0", True), ("exit 1", True), ("exit 42", False), ("kill -KILL $$", False)]
)
def test_an_accident_is_told_from_a_machine_that_cannot(
    run: RunOnDisk, tmp_path: Path, text: str, is_unfit: bool
) -> None:
    """A program that is no Python ends by itself; one that was killed, or had started its courier, is no such sign."""
    link = link_of(run, program(tmp_path, text))
    link.start()
    assert list(link.listen()) == []
    link.end()

    assert (link.unfit is not None) == is_unfit


def test_a_courier_that_cannot_load_what_it_needs_says_so(
    run: RunOnDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules may be where only the program finds them: then a thread of that has them."""

    def spawn(executable: str, code: str, **options: Any) -> int:
        hidden = "import sys; sys.modules['corelib.shell.courier_work'] = None; "
        return spawn_python(executable, hidden + code, **options)

    monkeypatch.setattr(courier_link, "spawn_python", spawn)
    link = link_of(run)
    link.start()
    assert [message["type"] for message in link.listen()] == ["unfit"]
    link.end()

    assert "ModuleNotFoundError" in str(link.unfit)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_failed_start_leaves_no_file_open(
    run: RunOnDisk, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    """Where only one of the two pipes can be had, that one is closed again."""
    real, calls = private_pipe, 0

    def pipe() -> tuple[int, int]:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(24, "Too many open files")
        return real()

    monkeypatch.setattr(courier_link, "private_pipe", pipe)
    before = open_files()
    link = link_of(run)
    with pytest.raises(OSError, match="Too many"):
        link.start()

    assert open_files() == before
    assert not link.is_started


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreapers are of Linux")
def test_a_courier_that_became_our_child_leaves_no_zombie(run: RunOnDisk) -> None:
    """Where training is process 1, or takes orphans in, the courier is its child: its status is taken."""
    import ctypes

    prctl, set_child_subreaper = ctypes.CDLL(None).prctl, 36
    assert prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    try:
        link = link_of(run)
        link.start()
        pids = []
        for message in link.listen():
            if message["type"] == "hello":
                pids.append(int(message["pid"]))
                os.kill(pids[0], signal.SIGKILL)
        link.end()
        with pytest.raises(ChildProcessError):
            os.waitpid(pids[0], os.WNOHANG)
    finally:
        prctl(set_child_subreaper, 0, 0, 0, 0)


def test_no_stranger_is_killed(run: RunOnDisk) -> None:
    """A number that is none of our children's is not signalled, whoever has it."""
    link = link_of(run)
    link._spawned = os.getppid()
    link.kill()
    link._spawned = None
    link.kill()
