"""The courier process: its first steps, up to where it knows what to do.

Law: it knows what comes through its standard input, and nothing else of the process that started it. Until it has
read there where to look for modules, it loads nothing but this one and the standard library.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["STARTED", "main", "work"]

STARTED: Final = 42
"""The exit status of a process that has started a courier: no program that is no Python ends so by chance."""

_PARENT_FD: Final = 3  # as in `corelib.shell.spawn`
_FIRST_FREE_FD: Final = 4
_MOST_FDS: Final = 1 << 16
_READ_BYTES: Final = 1 << 16


def main() -> None:
    """Be a courier: to be called first thing in a fresh interpreter."""
    try:
        if os.fork():
            # Nobody's child: whoever ends all children of the run's process, or waits for any of them, is not
            # concerned with this one.
            os._exit(STARTED)
    except OSError:
        pass  # no room for another process: then this one stays what it is
    _settle()
    process = _handle(_PARENT_FD)
    work(_private(0, os.O_RDONLY), _private(1, os.O_WRONLY), _wake_on_termination(), process)
    os._exit(0)  # whatever threads a transport has left


def work(stdin: int, stdout: int, wake: int | None = None, process: int | None = None) -> None:
    """Read what is to be delivered, and deliver it.

    Args:
        stdin: where the spec and the messages come from.
        stdout: where messages go.
        wake: becomes readable when this process is asked to end.
        process: becomes readable when the process is gone that wants this courier.
    """
    data = b""
    while b"\n" not in data:
        more = os.read(stdin, _READ_BYTES)
        if not more:
            return  # who wanted this courier is gone
        data += more
    line, _, rest = data.partition(b"\n")
    _extend(sys.path, json.loads(line)["sys_path"])
    try:
        from corelib.shell.courier_work import deliver
    except Exception as error:  # noqa: BLE001  who started this process has the same modules, and another way to use them
        # Not its text: this is told to people, and nothing of this process was checked for secrets.
        os.write(stdout, json.dumps({"type": "unfit", "text": type(error).__name__}).encode() + b"\n")
        return

    deliver(line, rest, stdin, stdout, wake, process)


def _settle() -> None:
    """Let go of everything that this process was given and that is not its own."""
    os.closerange(_FIRST_FREE_FD, _MOST_FDS)  # what others left inheritable: devices, sockets, terminals
    try:
        os.setsid()
    except OSError:
        pass  # it has a session of its own already
    os.chdir("/")
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)


def _handle(fd: int) -> int | None:
    """Return a file descriptor if it is the handle on a process that it should be; else it is let go of."""
    try:
        signal.pidfd_send_signal(fd, 0)
    except ProcessLookupError:
        pass  # that process is gone already
    except (AttributeError, OSError):
        os.closerange(fd, fd + 1)
        return None
    os.set_inheritable(fd, False)
    return fd


def _private(fd: int, flags: int) -> int:
    """Move a standard stream to where no `print` and no child process of a transport finds it."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    nothing = os.open(os.devnull, flags)
    os.dup2(nothing, fd)
    os.close(nothing)
    return moved


def _wake_on_termination() -> int:
    """Have SIGTERM make a file descriptor readable, rather than end this process; return that descriptor."""
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    return wake


def _extend(path: list[str], entries: Sequence[str]) -> None:
    """Look for modules also where the process of the run does."""
    # The standard library stays first: what lies beside the user's script must not stand in for it.
    path += [entry for entry in entries if entry not in path]
