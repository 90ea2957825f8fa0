"""The watch without a process of its own (whole programs: test_ending_processes.py)."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import platform
import signal
import sys
import threading
import weakref
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from corelib.errors import UsageError
from corelib.shell.ending import EndingWatch, code_of, read_status

MONITORING = sys.version_info >= (3, 12)
GLIBC = platform.libc_ver()[0] == "glibc"

needs_glibc = pytest.mark.skipif(not GLIBC, reason="only GNU libc has on_exit")
needs_monitoring = pytest.mark.skipif(not MONITORING, reason="sys.monitoring came with Python 3.12")


# ------------------------------------------------------------------------------------------ the C library's word


@pytest.mark.parametrize(
    ("content", "status"), [(None, None), (b"", None), (b"\0", 0), (b"\xff", 255), (b"\x03\0", None)]
)
def test_read_status(tmp_path: Path, content: bytes | None, status: int | None) -> None:
    """One byte is a status; no file, an empty one and one that two processes wrote are none."""
    path = tmp_path / "status"
    if content is not None:
        path.write_bytes(content)

    assert status == read_status(str(path))


def test_unreadable_status_is_not_hidden(tmp_path: Path) -> None:
    """A status that is there but cannot be read is an error, not an absence."""
    with pytest.raises(OSError, match=tmp_path.name):
        read_status(str(tmp_path))


def test_leave_status_where_no_file_can_be(tmp_path: Path) -> None:
    """A path that cannot be written is answered with False."""
    watch = EndingWatch()

    assert not watch.leave_status(str(tmp_path / "missing" / "status"))
    watch.close()


def _no_library(_name: object) -> Any:
    raise OSError("no dynamic loading")


@pytest.mark.parametrize("library", [_no_library, lambda _name: SimpleNamespace()], ids=["static", "musl"])
def test_leave_status_without_gnu_libc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    """Without a C library that has on_exit nothing is arranged and no file appears."""
    monkeypatch.setattr(ctypes, "CDLL", library)
    watch = EndingWatch()

    assert not watch.leave_status(str(tmp_path / "status"))
    assert not (tmp_path / "status").exists()
    watch.close()


def test_leave_status_on_another_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux nothing is tried."""
    watch = EndingWatch()
    monkeypatch.setattr(sys, "platform", "darwin")

    assert not watch.leave_status(str(tmp_path / "status"))
    watch.close()


@needs_glibc
def test_leave_status_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the C library takes no more exit functions, the file is closed again and the answer is False."""
    closed: list[object] = []
    real = ctypes.CDLL(None)

    def on_exit(_function: object, _stream: object) -> int:
        return 1

    def fopen(_path: bytes, _mode: bytes) -> int:
        return 1234

    def fclose(stream: object) -> None:
        closed.append(stream)

    library = SimpleNamespace(on_exit=on_exit, fopen=fopen, fputc=real.fputc, fclose=fclose)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    watch = EndingWatch()

    assert not watch.leave_status(str(tmp_path / "status"))
    assert closed == [1234]
    watch.close()


# ---------------------------------------------------------------------------------------- what the frame tells


@pytest.mark.parametrize(
    ("exc", "code"),
    [
        (None, 0),
        (ValueError("x"), 1),
        (KeyboardInterrupt(), 255),
        (type("Stop", (KeyboardInterrupt,), {})(), 255),
        (GeneratorExit(), 1),
        (SystemExit(), 0),
        (SystemExit(None), 0),
        (SystemExit(0), 0),
        (SystemExit(3), 3),
        (SystemExit(-1), -1),
        (SystemExit(300), 300),
        (SystemExit(False), 0),
        (SystemExit("3"), 1),
        (SystemExit(3.0), 1),
        (SystemExit(3, 4), 1),
        (type("Done", (SystemExit,), {"code": 7})(), 7),
    ],
    ids=repr,
)
def test_code_of(exc: BaseException | None, code: int) -> None:
    """The code of an exception is what the interpreter would make of it, with 255 for Ctrl-C."""
    result = code_of(exc)

    assert code == result
    assert type(result) is int


def _ended(exc: BaseException | None) -> tuple[EndingWatch, FrameType]:
    """Return a watch over a small program that has ended, normally or by the exception, and its frame."""
    frames: list[FrameType] = []
    watches: list[EndingWatch] = []

    def program() -> None:
        frames.append(sys._getframe())
        watches.append(EndingWatch(frame=frames[0]))
        if exc is not None:
            raise exc

    try:
        program()
    except BaseException as caught:
        if caught is not exc:
            raise
    return watches[0], frames[0]


def _show_as_uncaught(monkeypatch: pytest.MonkeyPatch, exc: BaseException, frame: FrameType) -> None:
    """Leave what the interpreter leaves for an exception that got out of the outermost frame."""
    monkeypatch.setattr(sys, "last_value", exc, raising=False)
    monkeypatch.setattr(sys, "last_traceback", SimpleNamespace(tb_frame=frame, tb_next=None), raising=False)


def test_frame_that_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose frame returned ended normally, also if an exception of its own was shown before."""
    watch, frame = _ended(None)
    _show_as_uncaught(monkeypatch, ValueError(), frame)

    assert watch.exit_code() == 0
    watch.close()


@pytest.mark.parametrize(("exc", "code"), [(ValueError(), 1), (KeyboardInterrupt(), 255)])
def test_frame_left_by_an_uncaught_exception(
    monkeypatch: pytest.MonkeyPatch, exc: BaseException, code: int
) -> None:
    """A frame left by an exception, and an uncaught exception whose traceback starts in it, belong together."""
    watch, frame = _ended(exc)
    _show_as_uncaught(monkeypatch, exc, frame)

    assert code == watch.exit_code()
    watch.close()


def test_frame_left_by_a_system_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame left by an exception that was not shown was left by a SystemExit; who saw it knows the code."""
    watch, _ = _ended(SystemExit(7))
    _show_as_uncaught(monkeypatch, KeyboardInterrupt(), sys._getframe())

    assert (7 if MONITORING else None) == watch.exit_code()
    watch.close()


@needs_monitoring
def test_only_the_programs_own_frame_counts() -> None:
    """A SystemExit that leaves another frame of the same code, here or in another thread, is not the program's end."""
    watches: list[EndingWatch] = []

    def program(code: int) -> None:
        if not watches:
            watches.append(EndingWatch(frame=sys._getframe()))
        raise SystemExit(code)

    def again() -> None:
        with pytest.raises(SystemExit):
            program(9)

    with pytest.raises(SystemExit):
        program(2)
    again()
    thread = threading.Thread(target=again)
    thread.start()
    thread.join()

    assert watches[0].exit_code() == 2
    watches[0].close()


@pytest.mark.parametrize("bare", [True, False], ids=["no-byte-code", "no-frame"])
def test_main_thread_without_a_readable_frame(monkeypatch: pytest.MonkeyPatch, bare: bool) -> None:
    """Without a frame to read, an uncaught exception is all there is to see."""
    unreadable = SimpleNamespace(f_back=None, f_globals={}, f_code=SimpleNamespace(co_code=b""))
    frames = {threading.main_thread().ident: unreadable} if bare else {}
    watches: list[EndingWatch] = []
    monkeypatch.setattr(sys, "_current_frames", lambda: frames)
    thread = threading.Thread(target=lambda: watches.append(EndingWatch()))
    thread.start()
    thread.join()

    monkeypatch.delattr(sys, "last_value", raising=False)
    assert watches[0].exit_code() == 0
    monkeypatch.setattr(sys, "last_value", KeyboardInterrupt(), raising=False)
    assert watches[0].exit_code() == 255


def test_running_program_counts_as_a_normal_end() -> None:
    """While the program runs, no exception has ended it."""
    watch = EndingWatch()

    assert watch.exit_code() == 0
    watch.close()


@pytest.mark.parametrize("state", ["closed", "forked"])
def test_inert_watch_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A closed watch, and one that the parent process made, neither answers nor leaves a status."""
    watch = EndingWatch()
    if state == "closed":
        watch.close()
    else:
        monkeypatch.setattr(os, "getpid", lambda: -1)

    assert watch.inert
    assert not watch.leave_status(str(tmp_path / "status"))
    with pytest.raises(UsageError, match="closed or belongs to the parent"):
        watch.exit_code()
    watch.close()


# ------------------------------------------------------------------------------------------- nothing left behind


def _touched() -> dict[str, object]:
    """Return everything in the process that a less careful watch would change."""
    monitoring = vars(sys).get("monitoring")
    return {
        "exit": sys.exit,
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook),
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "atexit": vars(atexit)["_ncallbacks"](),
        "trace": (sys.gettrace(), sys.getprofile()),
        "threads": threading.enumerate(),
        "tools": [monitoring.get_tool(tool) for tool in range(6)] if monitoring else [],
    }


def test_looks_and_changes_nothing() -> None:
    """No handler, hook, callback, tracer or thread appears; the monitoring tool is the only trace, and goes again."""
    before = _touched()

    watch = EndingWatch()
    during = _touched()
    watch.close()
    watch.close()

    before_tools, during_tools = before.pop("tools"), during.pop("tools")
    assert before == during
    assert (before_tools != during_tools) == MONITORING
    assert {**before, "tools": before_tools} == _touched()


def test_close_lets_go_of_the_program() -> None:
    """A closed watch keeps nothing of the program alive, neither itself nor through the monitoring callback."""

    class Model:
        pass

    def program() -> tuple[EndingWatch, weakref.ref[Model]]:
        model = Model()
        return EndingWatch(frame=sys._getframe()), weakref.ref(model)

    watch, model = program()
    assert model() is not None

    watch.close()
    gc.collect()

    assert model() is None


@needs_monitoring
def test_ids_of_other_tools_are_left_alone() -> None:
    """Two watches take the two ids that nobody owns, a third takes none, and closing gives back one's own."""
    monitoring: Any = vars(sys)["monitoring"]
    reserved = [monitoring.get_tool(tool) for tool in (0, 1, 2, 5)]
    watches = [EndingWatch() for _ in range(3)]

    assert reserved == [monitoring.get_tool(tool) for tool in (0, 1, 2, 5)]
    watches[2].close()
    assert None not in [monitoring.get_tool(tool) for tool in (3, 4)]
    watches[0].close()
    watches[1].close()
    assert [monitoring.get_tool(tool) for tool in (3, 4)] == [None, None]
