"""How did the interpreter end?

Law: this room only looks. It installs no signal handler and no exception hook and replaces no function;
after `close()` nothing of it is left in the process. What it cannot know it says it does not know.
"""

# Theory of operation
#
# An atexit callback is told nothing about why it runs. After an uncaught exception the interpreter leaves
# that in `sys.last_value`. After a SystemExit it leaves nothing: it reads the code, frees the exception, and
# then calls us. Three observations put the ending together again; tests/shell/test_ending.py shows them for
# scripts, -m, -c and stdin, and was run on CPython 3.10 to 3.14.
#
# 1. The outermost frame of the main thread is the program. A frame that somebody holds stays readable after
#    it has ended, and `f_lasti` still points at its last instruction: a return if the program came to its
#    end, anything else (a call, a raise, the inline cache of a call) if an exception left through it. So a
#    SystemExit is seen although it is gone. `sys.last_value` counts only if an exception left the frame and
#    its traceback starts in that very frame: interactive shells and test runners leave stale ones.
# 2. The code of the SystemExit, from Python 3.12 on: `sys.monitoring` reports each frame that an exception
#    leaves, with the exception. It is made for observers: several look at once, none changes the program.
#    The event cannot be had for one code object alone, so every frame in the process that an exception
#    leaves costs one short call (about 50 ns). Code that raises nothing pays nothing.
# 3. The same before 3.12, or where others hold both free tool ids. Inside atexit the process has not ended
#    yet: its status is still to come. GNU libc calls `on_exit` functions with the status and an argument of
#    ours, and `fputc(status, stream)` has that shape: so libc itself writes the status as one byte into a
#    file, when the interpreter is gone, and with no code of ours. Not elegant, but exact. Whoever reads the
#    run later reads the file.
#
# What this does not see
# - The code of a SystemExit where neither 2 nor 3 exists: before 3.12 on musl, macOS and Windows.
# - How a classic interactive shell ended: each statement there is an outermost frame of its own. We say 0.
# - How the program ended if the watch was made in a bare greenlet: its outermost frame is not the program's.
# - An exception out of a tracer or a monitoring tool at the very moment of the last return.
# - os._exit, SIGKILL and SIGTERM: nothing runs then. The missing end in the journal is what tells.

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from opcode import opname
from types import CodeType, FrameType

from corelib.errors import UsageError

__all__ = ["EndingWatch", "code_of", "read_status"]

_TOOL_NAME = "corelib.shell.ending"
# PEP 669 names 0, 1, 2 and 5 for debuggers, coverage, profilers and optimizers, which may come after us.
_FREE_TOOL_IDS = (4, 3)

_RETURNS = frozenset({"RETURN_VALUE", "RETURN_CONST"})

_INTERRUPTED = 255


def code_of(exc: BaseException | None) -> int:
    """Return the exit code that an exception stands for when it ends a program or a `with` body.

    None is 0, KeyboardInterrupt 255, any other exception 1. A SystemExit counts as the interpreter counts it:
    no code is 0, a text or another object 1, an integer itself, as given (the system may cut it to a byte).
    """
    if exc is None:
        return 0
    if isinstance(exc, SystemExit):
        if exc.code is None:
            return 0
        return int(exc.code) if isinstance(exc.code, int) else 1
    return _INTERRUPTED if isinstance(exc, KeyboardInterrupt) else 1


class EndingWatch:
    """Watches how the main program of this process ends: made while it runs, asked inside atexit.

    Any thread may make one. A forked child inherits the object but not the task: there it is inert, so that
    the child's exit is never taken for the parent's.

    Args:
        frame: the outermost frame of the program, for a host that knows better than the default, which is the
            outermost frame of the main thread.
    """

    __slots__ = ("_frame", "_pid", "_seen", "_tool")

    def __init__(self, frame: FrameType | None = None) -> None:
        self._pid: int | None = os.getpid()
        self._frame = frame or _program_frame()
        self._seen: int | None = None
        self._tool = None if self._frame is None else _observe_unwinding(self._frame, self._see)

    @property
    def inert(self) -> bool:
        """Whether this watch has nothing to say: it is closed, or the parent of this process made it."""
        return self._pid != os.getpid()

    def exit_code(self) -> int | None:
        """Return the code with which the program ended; to be called inside an atexit callback.

        0 for a normal end, 255 for KeyboardInterrupt, 1 for another uncaught exception, n for SystemExit(n).
        None: it ended by a SystemExit whose code cannot be seen from here; `leave_status` may still get it.

        A program that is still running, because somebody calls the atexit callbacks early, counts as a normal
        end. Where the main thread has no frame that can be read (embedded or compiled programs, a run started
        by a thread that outlives the program), an uncaught exception is still seen, a SystemExit is not.

        Raises:
            UsageError: the watch is inert.
        """
        if self.inert:
            raise UsageError(
                "Asked how the program ended, but this watch is closed or belongs to the parent process. "
                "Ask before close(), in the process that made it."
            )
        uncaught = getattr(sys, "last_value", None)
        frame = self._frame
        if frame is None:
            return code_of(uncaught)
        if _is_running(frame) or _has_returned(frame):
            return 0
        if self._seen is not None:
            return self._seen
        traceback = getattr(sys, "last_traceback", None)
        return code_of(uncaught) if traceback is not None and traceback.tb_frame is frame else None

    def leave_status(self, path: str) -> bool:
        """Let the C library write the exit status of this process into a file when the process really ends.

        To be called when `exit_code()` is None. The file is made (or emptied) at once and stays empty until
        then; `read_status` reads it. Returns whether it could be arranged: only with GNU libc, only for a
        path that can be written, and not by an inert watch.
        """
        return not self.inert and _write_status_on_exit(path)

    def close(self) -> None:
        """Stop watching and give everything back. Any number of times, also in a forked child."""
        if self._tool is not None:
            _stop_observing(self._tool)
        self._pid = self._frame = self._tool = None

    def _see(self, exception: BaseException) -> None:
        self._seen = code_of(exception)


def read_status(path: str) -> int | None:
    """Return the exit status (0 to 255) that `EndingWatch.leave_status` left in a file; None: there is none.

    There is none if the file is missing, if the process was killed after its atexit callbacks, and if there
    are two, because a child forked at that last moment ended through the same C library.

    Raises:
        OSError: the file is there but cannot be read.
    """
    try:
        with open(path, "rb") as file:
            status = file.read(2)
    except FileNotFoundError:
        return None
    return status[0] if len(status) == 1 else None


# ---------------------------------------------------------------------------------------------- 1: the frame


def _program_frame() -> FrameType | None:
    """Return the outermost frame of the main thread, None if it has none that tells how the program ends."""
    main = threading.main_thread().ident
    if main == threading.get_ident():
        # Not from `_current_frames`, which also makes objects of the frames of other interpreters: 3.12 crashes.
        innermost: FrameType | None = sys._getframe()  # noqa: SLF001  documented
    else:
        innermost = sys._current_frames().get(main or 0)  # noqa: SLF001  documented
    if innermost is None:
        return None
    frame = _outermost(innermost)
    # In `threading` the main thread either waits for the others, the program being over, or it is a child
    # forked from one of those. Compilers such as Nuitka make frames without byte code.
    if frame.f_globals.get("__name__") == "threading" or not frame.f_code.co_code:
        return None
    return frame


def _outermost(frame: FrameType) -> FrameType:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def _is_running(frame: FrameType) -> bool:
    # The interpreter calls atexit callbacks with an empty stack; whoever calls them early has the program below.
    return _outermost(sys._getframe()) is frame  # noqa: SLF001  documented


def _has_returned(frame: FrameType) -> bool:
    # `co_code` is the code as compiled: neither specialised by the interpreter nor instrumented by tracers.
    return opname[frame.f_code.co_code[frame.f_lasti]] in _RETURNS


# --------------------------------------------------------------------------------------- 2: sys.monitoring


def _observe_unwinding(frame: FrameType, see: Callable[[BaseException], None]) -> int | None:
    """Have `see` called with an exception that leaves the frame; return the tool id, None if none is free."""
    if sys.version_info >= (3, 12):
        program = frame.f_code

        def unwound(code: CodeType, _offset: int, exception: BaseException) -> None:
            # Called for every frame of the process that an exception leaves: the comparison is what costs.
            if code is program and sys._getframe(1) is frame:  # noqa: SLF001  documented
                see(exception)

        monitoring = sys.monitoring
        for tool in _FREE_TOOL_IDS:
            try:
                monitoring.use_tool_id(tool, _TOOL_NAME)
            except ValueError:
                # Taken by another tool, or by the watch of another core.
                continue
            monitoring.register_callback(tool, monitoring.events.PY_UNWIND, unwound)
            monitoring.set_events(tool, monitoring.events.PY_UNWIND)
            return tool
    return None


def _stop_observing(tool: int) -> None:
    if sys.version_info >= (3, 12):
        monitoring = sys.monitoring
        monitoring.set_events(tool, monitoring.events.NO_EVENTS)
        monitoring.register_callback(tool, monitoring.events.PY_UNWIND, None)
        monitoring.free_tool_id(tool)


# ---------------------------------------------------------------------------------------- 3: the C library


def _write_status_on_exit(path: str) -> bool:
    if sys.platform != "linux":
        return False
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        on_exit, fopen, fputc, fclose = libc.on_exit, libc.fopen, libc.fputc, libc.fclose
    except (ImportError, OSError, AttributeError):
        # No ctypes in this build, a static interpreter, or a C library without on_exit (musl).
        return False
    fopen.argtypes, fopen.restype = (ctypes.c_char_p, ctypes.c_char_p), ctypes.c_void_p
    fclose.argtypes = (ctypes.c_void_p,)
    on_exit.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    # "e": a program started from here does not inherit the file.
    stream = fopen(os.fsencode(path), b"wbe")
    if stream is None:
        return False
    if on_exit(ctypes.cast(fputc, ctypes.c_void_p), stream) != 0:
        fclose(stream)
        return False
    return True
