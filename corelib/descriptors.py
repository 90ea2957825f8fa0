"""File descriptors: kept away from the standard streams, and asked whether somebody holds a lock.

Law: what stays open has no number of a standard stream. Where one is closed, as in daemons, the kernel gives its number
to whatever is opened next: what a library prints would go there, and a `dup2` onto the stream would close it.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

__all__ = ["beyond_standard", "is_locked"]

_FIRST_FREE_FD: Final = 3


def beyond_standard(fd: int) -> int:
    """Return the descriptor, or where it was moved to if it had the number of a standard stream.

    Raises:
        OSError: it cannot be moved, and is closed.
    """
    if fd >= _FIRST_FREE_FD:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    finally:
        os.close(fd)


def is_locked(path: str | os.PathLike[str]) -> bool:
    """Return whether somebody on this host holds the lock of a file or directory just now.

    Where there are no locks, as on some network file systems, nobody does.

    Raises:
        OSError: it cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
