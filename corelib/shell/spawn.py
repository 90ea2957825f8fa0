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

__all__ = ["private_pipe", "scrubbed", "spawn_python"]

_FIRST_FREE_FD: Final = 3
_SHORTEST_SECRET: Final = 8  # a shorter one would be found in anything
_OUR_VARIABLES: Final = ("PYTHON", "WANDB_")
_DEFAULT_SIGNALS: Final = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)


def spawn_python(
    executable: str, code: str, *, label: str, environment: Mapping[str, str], stdin: int, stdout: int
) -> int:
    """Start an interpreter with a piece of code that can import this package; return its process id.

    Args:
        executable: the Python to run.
        code: what it executes.
        label: what the list of processes shows of it.
        environment: its whole environment.
        stdin: the file descriptor of its standard input.
        stdout: that of its standard output; it has no others.

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
    options: dict[str, Any] = {
        "file_actions": [
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
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
