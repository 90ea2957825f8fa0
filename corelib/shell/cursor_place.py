"""Where the cursor of a run directory is kept: in it, or in a directory of the user's where it cannot be written.

Law: who delivers a run finds how far it has come, whoever delivered it before and from whatever place it could write
then: of several cursors the one that has come furthest counts. Nothing is made before somebody wants to deliver.

    <run directory>/cursor-<name>.json                                      as a rule
    $XDG_STATE_HOME/corelib/<hash of the run directory>/cursor-<name>.json  where the run directory is read-only
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from corelib.errors import JournalError
from corelib.pure.cursor import Cursor
from corelib.shell.cursor import CursorFile, is_delivering, read_cursors
from corelib.shell.gather import home_directory

__all__ = ["PlacedCursor", "is_under_way", "placed_cursors", "state_directory", "state_root"]

_HASH_DIGITS: Final = 32


def state_directory(directory: str, environ: Mapping[str, str] | None = None) -> str:
    """Return where the user's own files about a run directory are.

    Args:
        directory: the run directory.
        environ: the environment, by default the process's own as it is now.
    """
    name = sha256(os.fsencode(os.path.realpath(directory))).hexdigest()[:_HASH_DIGITS]
    return os.path.join(state_root(environ), name)


def state_root(environ: Mapping[str, str] | None = None) -> str:
    """Return where all files of the user's own are that outlive a process.

    Args:
        environ: the environment, by default the process's own as it is now.
    """
    environ = os.environ if environ is None else environ
    root = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(root):  # the specification has it ignored then
        root = os.path.join(home_directory(environ), ".local", "state")
    return os.path.join(root, "corelib")


class PlacedCursor(CursorFile):
    """The cursor of one run and one destination, wherever it can be kept.

    `place` is the directory that it is kept in; None where there is none: then nothing is remembered.

    Args:
        directory: the run directory.
        name: what the destination is called.
    """

    def __init__(self, directory: str, name: str) -> None:
        places = _places(directory)
        self.place = next((place for place in places if _can_keep(place, name)), None)
        super().__init__(directory if self.place is None else self.place, name)
        others = (CursorFile(place, name) for place in places)
        self._others = [other for other in others if other.path != self.path]

    def lock(self) -> bool:
        """Take the right to deliver; return whether it is ours now.

        Raises:
            OSError: the cursor can be kept nowhere.
        """
        if self.place is not None:
            os.makedirs(self.place, mode=0o700, exist_ok=True)
        return super().lock()

    def read(self, run_id: str) -> Cursor | None:
        """Return the cursor that has come furthest; None where nothing was delivered yet.

        Raises:
            JournalError: none can be read, though there is one.
        """
        found: list[Cursor] = []
        problem: JournalError | None = None
        for read in (super().read, *(other.read for other in self._others)):
            try:
                cursor = read(run_id)
            except JournalError as error:
                problem = problem or error
            else:
                found += [] if cursor is None else [cursor]
        if not found and problem is not None:
            raise problem
        return _furthest(found)


def placed_cursors(directory: str) -> dict[str, Cursor]:
    """Return the cursors of a run directory by the label of their destination; those that can be read."""
    found: dict[str, Cursor] = {}
    for place in _places(directory):
        for label, cursor in read_cursors(place).items():
            found[label] = _furthest([found.get(label, cursor), cursor]) or cursor
    return found


def is_under_way(directory: str, name: str) -> bool:
    """Return whether somebody on this host is delivering the run to the destination just now."""
    return any(is_delivering(place, name) for place in _places(directory))


def _places(directory: str) -> tuple[str, str]:
    return directory, state_directory(directory)


def _furthest(cursors: Iterable[Cursor]) -> Cursor | None:
    return max(cursors, key=lambda cursor: (cursor.exited, cursor.ledger.accepted), default=None)


def _can_keep(place: str, name: str) -> bool:
    """Return whether a cursor can be kept in a directory, which need not be there yet."""
    lock_path = CursorFile(place, name).lock_path
    if os.path.exists(lock_path) and not os.access(lock_path, os.W_OK):
        return False
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return os.path.isdir(place) and os.access(place, os.W_OK | os.X_OK)
