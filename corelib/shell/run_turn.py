"""Whose turn it is to deliver a run on this machine, wherever its parts were recorded.

Law: one delivery at a time speaks to a server about a run, or two would take the same lines for their own. The kernel
takes the turn back however its holder ends, and a lock that is left on disk means nothing. From where parts have begun
to arrive is remembered until each was delivered whole: that says where to look, and the cursor there says what is so.
Where nothing can be kept, as in a container without a home, nobody waits.

    $XDG_STATE_HOME/corelib/turns/<hash of destination and run>.lock     there while somebody delivers
    $XDG_STATE_HOME/corelib/turns/<hash of destination and run>.begun    run directories, one per line
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from corelib.descriptors import beyond_standard, is_locked
from corelib.ports import RunRef
from corelib.shell.cursor_place import state_root

__all__ = ["RunTurn", "turn_at"]

_HASH_DIGITS: Final = 32


def turn_at(destination: str, run: RunRef) -> RunTurn | None:
    """Return the turn of a run at a destination; None: it is no server with an address, and whom it serves is its own.

    Args:
        destination: what the destination is called.
        run: the address of the run there.
    """
    return RunTurn(destination, run) if "://" in destination else None


class RunTurn:
    """The right to deliver one run to one destination.

    Args:
        destination: what the destination is called.
        run: the address of the run there.
    """

    def __init__(self, destination: str, run: RunRef) -> None:
        words = (destination, run.entity or "", run.project, run.run_id)
        name = sha256("\0".join(words).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
        self.path = os.path.join(state_root(), "turns", f"{name}.lock")
        self._begun_path = os.path.join(state_root(), "turns", f"{name}.begun")
        self._fd = -1

    def take(self) -> bool:
        """Take the right; return whether it is ours now."""
        while self._fd < 0:
            try:
                os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
                fd = beyond_standard(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            except OSError:
                return True
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError:  # a file system without locks
                os.close(fd)
                return True
            if self._is_there(fd):
                self._fd = fd
            else:
                os.close(fd)  # its holder took it away between our two calls
        return True

    def is_taken(self) -> bool:
        """Return whether somebody else has it just now."""
        try:
            return is_locked(self.path)
        except OSError:
            return False

    def release(self) -> None:
        """Give the right back. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if self._is_there(fd):
                os.unlink(self.path)
            # Not by closing alone: a child that was forked meanwhile still holds the same lock.
            fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError:
            pass  # an empty file stays, which means nothing
        finally:
            os.close(fd)

    def abandon(self) -> None:
        """Let go in a forked child: the right stays with the parent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def begun(self) -> tuple[str, ...]:
        """Return the run directories from which the run has begun to arrive, and perhaps not to its end."""
        try:
            with open(self._begun_path, encoding="utf-8", errors="surrogateescape") as file:
                return tuple(path for path in file.read().split("\n") if os.path.isdir(path))
        except OSError:
            return ()

    def begins(self, directory: str) -> None:
        """Take that a part begins to arrive."""
        own = os.path.realpath(directory)
        others = [path for path in self.begun() if path != own]
        if "\n" not in own:
            self._remember([*others, own])

    def ends(self, directory: str) -> None:
        """Take that all of a part has arrived."""
        own, begun = os.path.realpath(directory), self.begun()
        if own in begun:
            self._remember([path for path in begun if path != own])

    def _remember(self, directories: Sequence[str]) -> None:
        try:
            if not directories:
                os.unlink(self._begun_path)
                return
            temporary = self._begun_path + ".tmp"
            with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write("\n".join(directories))
            os.replace(temporary, self._begun_path)
        except OSError:
            return  # nobody will look there then, and what has no place is refused by name

    def _is_there(self, fd: int) -> bool:
        """Return whether a file still stands under the name."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self.path))
        except OSError:
            return False
