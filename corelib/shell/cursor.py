"""The durable cursor of one transport, beside the journal, and the right to carry the run there.

Law: one courier at a time carries a run to a transport: who holds the lock. The kernel drops it however its holder
ends, so a crash leaves nothing behind that would have to be cleared away. A cursor is replaced as a whole; one
that cannot be read costs a repetition and never a record.

    <run directory>/cursor-<name>.json     how far the delivery has come (`corelib.pure.cursor`)
    <run directory>/cursor-<name>.lock     empty; locked while somebody delivers
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from corelib.descriptors import beyond_standard, is_locked
from corelib.errors import JournalError
from corelib.pure.cursor import Cursor, decode_cursor, encode_cursor

__all__ = ["CursorFile", "file_label", "is_delivering", "read_cursors"]

_LABEL_CHARACTERS: Final = 60
_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_CURSOR: Final = re.compile(r"cursor-(.+)\.json")


def file_label(name: str) -> str:
    """Return what to call the files of a transport: its name, where a file can be called so; else like it."""
    label = _STRANGE.sub("_", name)[:_LABEL_CHARACTERS]
    return label if label == name else f"{label}-{crc32(name.encode('utf-8', 'surrogatepass')):08x}"


class CursorFile:
    """The cursor of one run and one transport.

    Args:
        directory: the run directory.
        name: what the transport is called; two transports of one run have two names.
    """

    def __init__(self, directory: str, name: str) -> None:
        label = file_label(name)
        self.path = os.path.join(directory, f"cursor-{label}.json")
        self.lock_path = os.path.join(directory, f"cursor-{label}.lock")
        self._lock_fd = -1

    def lock(self) -> bool:
        """Take the right to deliver; return whether it is ours now. Where there are no locks, it always is.

        Raises:
            OSError: the run directory cannot be written.
        """
        if self._lock_fd >= 0:
            return True
        fd = beyond_standard(os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError:
            pass  # some network file systems have no locks; there nobody else may deliver at the same time
        self._lock_fd = fd
        return True

    def read(self, run_id: str) -> Cursor | None:
        """Return the cursor; None where nothing was delivered yet.

        Raises:
            JournalError: it cannot be read, or is of another run.
        """
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror or error}") from error
        cursor = decode_cursor(data)
        if cursor.run_id != run_id:
            raise JournalError(f"{self.path} is of another run, {cursor.run_id!r}.")
        return cursor

    def write(self, cursor: Cursor) -> None:
        """Replace the cursor.

        Raises:
            OSError: it cannot be written; the one before stays.
            UsageError: the transport wants something kept that cannot be written as JSON; likewise.
        """
        data = encode_cursor(cursor)
        # Not synced: after a power cut an older cursor, or none, repeats what was delivered since.
        temporary = self.path + ".tmp"
        with open(temporary, "wb") as file:
            file.write(data)
        os.replace(temporary, self.path)

    def forget(self) -> None:
        """Remove the cursor, so that the next delivery begins anew.

        Raises:
            OSError: it cannot be removed.
        """
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return

    def release(self) -> None:
        """Give the right to deliver back. Idempotent."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            try:
                # Not by closing alone: a child that was forked meanwhile still holds the same lock.
                fcntl.flock(fd, fcntl.LOCK_UN)
            except OSError:
                pass  # there are no locks here
            os.close(fd)

    def abandon(self) -> None:
        """Let go in a forked child: the lock stays with the parent, and does not outlive it."""
        fd, self._lock_fd = self._lock_fd, -1
        if fd >= 0:
            os.close(fd)


def read_cursors(directory: str) -> Mapping[str, Cursor]:
    """Return the cursors of a run directory by the label of their transport; those that can be read."""
    found: dict[str, Cursor] = {}
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return found
    for name in names:
        match = _CURSOR.fullmatch(name)
        if match is not None:
            try:
                with open(os.path.join(directory, name), "rb") as file:
                    found[match[1]] = decode_cursor(file.read())
            except (OSError, JournalError):  # as if it were not there: the next delivery begins anew
                continue
    return found


def is_delivering(directory: str, name: str) -> bool:
    """Return whether somebody on this host is delivering the run to the transport just now."""
    try:
        return is_locked(CursorFile(directory, name).lock_path)
    except OSError:
        return False
