"""The end of the other process is noticed however it comes, and never guessed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from corelib.shell import lifeline as module
from corelib.shell.courier_messages import LineReader, LineWriter
from corelib.shell.lifeline import Lifeline
from tests.couriers import LONG_S, RunOnDisk, eventually

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs pidfd and /proc")


class Told:
    """A delivery that writes down what it is asked for."""

    def __init__(self) -> None:
        self.pokes = 0
        self.closings: list[float] = []
        self.poked = Event()
        self.asked = Event()
        self.ended = Event()

    def poke(self) -> None:
        self.pokes += 1
        self.poked.set()

    def ask_to_close(self, timeout: float) -> None:
        self.closings.append(timeout)
        self.asked.set()


class Other:
    """Another process, which lives until it is told to end."""

    def __init__(self, code: str = "import sys; sys.stdin.read()") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self.pid = self.process.pid

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def other() -> Iterator[Other]:
    other = Other()
    yield other
    other.process.kill()
    other.end()


class Line:
    """A lifeline, the pipe to it, and the delivery that it tells."""

    def __init__(
        self,
        run: RunOnDisk,
        pid: int,
        *,
        data: bytes = b"",
        wake: int | None = None,
        process: int | None = None,
        linger_s: float = 77.0,
    ) -> None:
        read, write = os.pipe()
        self.writer = LineWriter(write)
        self.told = Told()
        self.lifeline = Lifeline(run.spec(pid=pid, linger_s=linger_s), LineReader(read, data), process)
        self.ticks = Event()
        lines.append(self)
        self.lifeline.watch(self.told, wake, self.ticks.set)  # type: ignore[arg-type]


lines: list[Line] = []


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunOnDisk]:
    """Give a run directory, and end the threads that listened to it."""
    yield RunOnDisk(tmp_path)
    for line in lines:
        line.told.ended.set()
        line.writer.send("poke")
    for thread in [one for one in enumerate_threads() if one.name == "corelib-lifeline"]:
        thread.join(LONG_S)
    for line in lines:
        line.writer.close()
        os.close(line.lifeline._reader.fd)
    lines.clear()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it looked often whether somebody still writes."""
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.02)


def test_messages_are_passed_on(run: RunOnDisk, other: Other) -> None:
    """A poke pokes; what cannot be understood is passed over; the time of a close is the courier's own."""
    line = Line(run, other.pid, data=b'{"type":"poke"}\n')
    assert line.told.poked.wait(LONG_S)
    line.writer.send("surprise")
    line.writer.send("close", timeout=3.0)
    assert line.told.asked.wait(LONG_S)

    assert line.told.closings == [77.0]
    assert line.lifeline.is_closing
    assert not line.lifeline.is_terminated
    assert line.lifeline.fate() is None
    line.writer.send("detach")
    line.writer.send("close", timeout=1000.0)
    line.writer.send("poke")
    eventually(lambda: line.told.pokes == 2)
    assert line.told.closings == [77.0], "the first request counts"


@pytest.mark.parametrize(
    ("message", "seconds"), [({"timeout": 500.0}, 500.0), ({"timeout": "x"}, 77.0), ({}, 77.0)]
)
def test_a_long_close_is_granted(
    run: RunOnDisk, other: Other, message: dict[str, Any], seconds: float
) -> None:
    """Who is willing to wait longer than the courier would stay keeps it that long."""
    line = Line(run, other.pid)
    line.writer.send("close", **message)
    assert line.told.asked.wait(LONG_S)

    assert line.told.closings == [seconds]


def test_it_ticks_while_nothing_happens(run: RunOnDisk, other: Other) -> None:
    """Somebody looks at the delivery about once a second, also while it waits for its transport."""
    line = Line(run, other.pid)

    assert line.ticks.wait(LONG_S)


def test_a_closed_pipe_alone_is_no_end(run: RunOnDisk, other: Other) -> None:
    """As long as the writer of the journal holds its lock, the process may still write."""
    line = Line(run, other.pid)
    line.writer.close()
    eventually(lambda: line.lifeline._is_cut)
    assert line.ticks.wait(LONG_S)
    assert line.lifeline.fate() is None
    run.writer.abandon()
    assert line.told.asked.wait(LONG_S)

    assert eventually(line.lifeline.fate) == 1
    assert line.told.closings == [77.0]


@linux
def test_the_end_of_the_process_is_the_end(run: RunOnDisk, other: Other) -> None:
    """A process that is gone is gone, whoever holds its pipes or its locks open."""
    line = Line(run, other.pid)
    other.end()
    assert line.told.asked.wait(LONG_S)

    assert eventually(line.lifeline.fate) == 1
    assert line.lifeline.is_closing
    line.writer.send("poke")
    eventually(lambda: line.told.pokes >= 1)


def test_a_child_that_still_writes_keeps_its_courier(run: RunOnDisk, other: Other) -> None:
    """The run goes on as long as somebody writes to it: neither is its end told, nor the courier asked to close."""
    child = run.child()
    line = Line(run, other.pid)
    other.end()
    run.writer.abandon()
    line.writer.close()
    eventually(lambda: line.lifeline._gone_at is not None)
    line.ticks.clear()
    assert line.ticks.wait(LONG_S)
    assert (line.told.closings, line.lifeline.fate()) == ([], None)
    child.abandon()
    assert line.told.asked.wait(LONG_S)

    assert eventually(line.lifeline.fate) == 1
    assert 0.0 < line.told.closings[0] < 77.0, "the time runs from the end of the process"


def test_a_run_that_was_begun_again_does_not_wait_for_a_child(run: RunOnDisk, other: Other) -> None:
    """Another run beside it changes nothing; a later part of the same waits until this one is delivered."""
    child = run.child()
    (run.wandb_dir / "run-20260102_030406-another").mkdir()
    (run.wandb_dir / "run-20260102_030404-abc").mkdir()
    line = Line(run, other.pid)
    run.writer.abandon()
    line.writer.close()
    eventually(lambda: line.lifeline._gone_at is not None)
    line.ticks.clear()
    assert line.ticks.wait(LONG_S)
    assert line.lifeline.fate() is None
    (run.wandb_dir / "run-20260102_030406-abc").mkdir()

    assert eventually(line.lifeline.fate) == 1
    child.abandon()


def test_a_child_does_not_keep_it_for_ever(run: RunOnDisk, other: Other) -> None:
    """Behind the time of the courier the end is told, whoever lives."""
    child = run.child()
    line = Line(run, other.pid, linger_s=0.0)
    run.writer.abandon()
    line.writer.close()

    assert eventually(line.lifeline.fate) == 1
    assert line.told.closings == [0.0]
    child.abandon()


@linux
def test_a_process_that_is_forgotten_is_known_by_its_handle(run: RunOnDisk) -> None:
    """It may be over, and its status taken, before its courier has begun: who started that has opened the handle."""
    if not knows_exits():
        pytest.skip("this kernel forgets how a process ended")
    other = Other()
    process = os.pidfd_open(other.pid)
    other.process.kill()
    other.end()
    line = Line(run, other.pid, process=process)

    assert eventually(line.lifeline.fate) == 255
    os.close(process)


@linux
def test_a_signal_is_known_while_the_system_knows_it(run: RunOnDisk, other: Other) -> None:
    """A process that was killed, and that nobody has waited for yet, has the code of an interrupt."""
    line = Line(run, other.pid)
    other.process.send_signal(signal.SIGKILL)  # and is not waited for
    assert line.told.asked.wait(LONG_S)

    assert eventually(line.lifeline.fate) == 255


def knows_exits() -> bool:
    """Return whether this kernel tells how a process ended when its parent has taken its status."""
    other = Other("import os; os._exit(3)")
    process = os.pidfd_open(other.pid)
    other.end()
    try:
        return module._status_of(process) is not None
    finally:
        os.close(process)


@linux
def test_a_signal_is_known_whoever_was_first_to_take_the_status(other: Other) -> None:
    """The parent may have waited for the process before anybody could look; newer kernels remember."""
    if not knows_exits():
        pytest.skip("this kernel forgets how a process ended")
    process = os.pidfd_open(other.pid)
    assert not module._was_killed(other.pid, process)
    other.process.kill()
    other.process.wait()

    assert module._was_killed(other.pid, process)
    assert not module._was_killed(other.pid), "only the file descriptor knows"
    os.close(process)


@linux
def test_an_end_of_its_own_is_no_signal() -> None:
    """A process that ended by itself was not killed, before its status is taken and after."""
    other = Other("import os; os._exit(3)")
    process = os.pidfd_open(other.pid)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert not module._was_killed(other.pid, process)
    other.end()

    assert not module._was_killed(other.pid, process)
    os.close(process)


@linux
def test_a_kernel_that_does_not_know_is_asked_in_vain(other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such question, /proc is what is left."""

    def refuse(*_: object) -> None:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr("fcntl.ioctl", refuse)
    process = os.pidfd_open(other.pid)
    other.process.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)

    assert module._was_killed(other.pid, process)
    os.close(process)


@pytest.mark.parametrize("exit_code", [0, 7])
def test_a_close_may_say_how_the_run_ends(run: RunOnDisk, other: Other, exit_code: int) -> None:
    """Whatever the journal could still take: the process knew it, and said it, while it was there."""
    line = Line(run, other.pid)
    line.writer.send("close", timeout=3.0, exit_code=exit_code)
    assert line.told.asked.wait(LONG_S)

    assert line.lifeline.fate() == exit_code


def test_a_close_that_hides_the_code_says_nothing(run: RunOnDisk, other: Other) -> None:
    """What nobody knows yet shows when the process is gone."""
    line = Line(run, other.pid)
    line.writer.send("close", timeout=3.0, exit_code=None)
    assert line.told.asked.wait(LONG_S)

    assert line.lifeline.fate() is None


def test_a_run_that_never_was_ends_its_courier(
    run: RunOnDisk, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Withdrawn, it ends at once, and delivers nothing more."""
    left: list[int] = []
    monkeypatch.setattr(os, "_exit", left.append)
    line = Line(run, other.pid)
    line.writer.send("withdraw")

    assert eventually(lambda: left) == [0]
    assert line.told.closings == []


def test_a_run_whose_directory_is_gone_does_not_hold_its_courier(run: RunOnDisk, other: Other) -> None:
    """Once the run is over: what is lost comes by no waiting. While the process lives, what it still has is read."""
    shutil.rmtree(run.directory)
    line = Line(run, other.pid)
    assert line.ticks.wait(LONG_S)
    assert line.told.closings == []
    line.writer.send("close", timeout=500.0)
    eventually(lambda: len(line.told.closings) == 2)

    assert line.told.closings == [500.0, module._ORPHANED_S]


@pytest.mark.parametrize("status", [0, 5, 255])
def test_a_status_that_was_left_is_the_exit_code(run: RunOnDisk, other: Other, status: int) -> None:
    """Where libc has written the exit status of the process, that is its exit code."""
    line = Line(run, other.pid)
    (run.directory / "exit-status").write_bytes(bytes([status]))
    assert line.lifeline.fate() is None, "the process is still there"
    line.writer.close()
    run.writer.abandon()
    assert line.told.asked.wait(LONG_S)

    assert eventually(lambda: line.lifeline.fate() is not None)
    assert line.lifeline.fate() == status


def test_an_unreadable_status_is_none(run: RunOnDisk, other: Other) -> None:
    """A status file that cannot be read does not hide that the process is gone."""
    line = Line(run, other.pid)
    (run.directory / "exit-status").mkdir()
    line.writer.close()
    run.writer.abandon()

    assert eventually(line.lifeline.fate) == 1


def test_a_request_to_end_leaves_little_time(run: RunOnDisk, other: Other) -> None:
    """SIGTERM means that SIGKILL follows: what comes after it does not give more time."""
    wake, waker = os.pipe()
    line = Line(run, other.pid, wake=wake)
    os.write(waker, b"x")
    assert line.told.asked.wait(LONG_S)
    assert line.lifeline.is_terminated
    assert not line.lifeline.is_closing
    line.writer.send("close", timeout=3.0)
    eventually(lambda: line.lifeline.is_closing)

    assert len(line.told.closings) == 2
    assert all(seconds <= 20.0 for seconds in line.told.closings)


def test_without_pidfd_the_pipe_tells(run: RunOnDisk, other: Other, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other systems a closed pipe and a free lock are the end."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    line = Line(run, other.pid)
    run.writer.abandon()
    line.writer.close()

    assert eventually(line.lifeline.fate) == 1


def test_nobody_s_signal_is_guessed() -> None:
    """A process that is not there, or lives, was not killed as far as anybody knows."""
    assert not module._was_killed(2**22 + 1)
    assert not module._was_killed(os.getpid())


def test_a_transport_that_never_returns_is_left(
    run: RunOnDisk, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind its last moment a courier ends itself, whatever its transport is doing."""
    left: list[int] = []
    line = Line(run, other.pid)

    def leave(status: int) -> None:
        left.append(status)
        line.told.ended.set()  # a real one does not come back

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(module, "_GRACE_S", -1000.0)
    line.writer.send("close", timeout=1.0)
    assert line.told.ended.wait(LONG_S)

    assert eventually(lambda: left) == [1]
