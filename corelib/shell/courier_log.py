"""What a courier process has to say, for those who come when the process of the run is gone.

Law: a line is what the courier reported, with the time in front of it, and nobody fails over the log: without one,
there are no last words.

    <run directory>/logs/courier-<name>.log
"""

from __future__ import annotations

import os
from time import localtime, strftime
from typing import Final

from corelib.shell.cursor import file_label

__all__ = ["CourierLog"]

_LAST_BYTES: Final = 4096


class CourierLog:
    """The log of the couriers of one run to one destination.

    Args:
        directory: the run directory.
        name: what the destination is called, as its cursor is.
    """

    def __init__(self, directory: str, name: str) -> None:
        self._path = os.path.join(directory, "logs", f"courier-{file_label(name)}.log")

    def append(self, text: str) -> None:
        """Add a line."""
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{strftime('%Y-%m-%d %H:%M:%S', localtime())} {text}\n")
        except OSError:
            return  # a full disk, or a directory that is gone: there is nobody else to tell

    def last_words(self) -> str:
        """Return the last line, "" if there is none."""
        try:
            with open(self._path, "rb") as file:
                file.seek(max(os.fstat(file.fileno()).st_size - _LAST_BYTES, 0))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return lines[-1] if lines else ""
