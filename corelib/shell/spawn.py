"""Starting a Python program that has nothing of this one: no terminal, no open file, no secret, no settings.

Law: what the program is to know comes through its standard input. It is started by one system call, so that a large
process pays no more than a small one, and in a session of its own, where no Ctrl-C of this terminal reaches it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["PARENT_FD", "handle_on", "private_pipe", "scrubbed", "spawn_python"]

PARENT_FD: Final = 3
"""Where a program that was given one finds what becomes readable when the process is gone that it works for."""

_FIRST_FREE_FD: Final = 3
_SHORTEST_SECRET: Final = 8  # a shorter one would be found in anything
_OUR_VARIABLES: Final = ("PYTHON", "WANDB_")
_DEFAULT_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)


def spawn_python(
    executable: str,
    code: str,
    *,
    label: str,
    environment: Mapping[str, str],
    stdin: int,
    stdout: int,
    parent: int | None = None,
) -> int:
    """Start an interpreter with a piece of code that can import this package; return its process id.

    Args:
        executable: the Python to run.
        code: what it executes.
        label: what the list of processes shows of it.
        environment: its whole environment.
        stdin: the file descriptor of its standard input.
        stdout: that of its standard output.
        parent: what becomes readable when the process is gone that it works for; at `PARENT_FD` there. Beside it and
            the standard streams it has no others.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    if not executable:
        raise OSError(None, "this interpreter has no program of its own")
    flags = ["-I"]
    if sys.flags.utf8_mode:
        flags += ["-X", "utf8"]
    if sys.dont_write_bytecode:
        flags.append("-B")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    code = f"import sys; sys.path.insert(0, sys.argv[1]); {code}"
    actions: list[tuple[Any, ...]] = [
        (os.POSIX_SPAWN_DUP2, stdin, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    if parent is not None:
        actions.append((os.POSIX_SPAWN_DUP2, parent, PARENT_FD))
    options: dict[str, Any] = {
        "file_actions": actions,
        "setsigmask": (),
        "setsigdef": _DEFAULT_SIGNALS,
    }
    arguments = [executable, *flags, "-c", code, root, label]
    try:
        return os.posix_spawn(executable, arguments, environment, setsid=True, **options)
    except NotImplementedError:  # the program is to make a session itself then, a moment later
        return os.posix_spawn(executable, arguments, environment, **options)


def private_pipe() -> tuple[int, int]:
    """Return the ends of a pipe that no other program inherits, at numbers above those of the standard streams.

    Raises:
        OSError: there is none to be had.
    """
    ends = list(os.pipe())
    try:
        for number, fd in enumerate(ends):
            if fd < _FIRST_FREE_FD:
                ends[number] = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
                os.close(fd)
    except OSError:
        for fd in ends:
            os.close(fd)
        raise
    return ends[0], ends[1]


def handle_on(pid: int) -> int | None:
    """Return a file descriptor for a process that `spawn_python` can pass on; None where there is no such thing.

    It becomes readable when the process is gone. Whoever has it may be told afterwards how that came.
    """
    try:
        fd = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on Linux, or not on this one; or the process is gone already
        return None
    if fd > PARENT_FD:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, PARENT_FD + 1)
    except OSError:
        return None
    finally:
        os.close(fd)


def scrubbed(environ: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    """Return an environment without our own settings, and without any variable that holds one of the secrets.

    What is left is for the system and for transports: proxies, certificates, places of temporary files.
    """
    secrets = [secret for secret in secrets if len(secret) >= _SHORTEST_SECRET]
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_OUR_VARIABLES) and not any(secret in value for secret in secrets)
    }
