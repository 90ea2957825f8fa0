"""What people see: one line per message on stderr, and the same in the run's debug log.

Law: a message never raises, never blocks on a full terminal more than a write does, and never holds a secret (its
makers see to that). `silent` shows nothing, `quiet` only warnings and errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from logging import Logger

__all__ = ["Report"]

_MOST_ONCE_KEYS = 1000  # bounds the memory of `once`


class Report:
    """The voice of one core or one run."""

    def __init__(
        self, name: str, *, silent: bool = False, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        """Speak as `name` to `stream`, by default to whatever `sys.stderr` is at the time."""
        self._name = name
        self._silent = silent
        self._quiet = quiet
        self._stream = stream
        self._said: set[str] = set()
        self.logger: Logger | None = None
        self.make_way: Callable[[], None] | None = None
        """Called before a line is shown, where something stands on the line of the cursor."""

    @property
    def name(self) -> str:
        """Who speaks."""
        return self._name

    @property
    def is_talkative(self) -> bool:
        """Whether things that are good to know are shown."""
        return not (self._silent or self._quiet)

    def say(self, text: str, *, once: str | None = None) -> None:
        """Show something good to know; with `once`, only the first time for that key."""
        if self._is_repeated(once):
            return
        self._note("info", text)
        if self.is_talkative:
            self._show(f"{self._name}: {text}")

    def warn(self, text: str, *, once: str | None = None) -> None:
        """Show something the user should act on; with `once`, only the first time for that key."""
        if self._is_repeated(once):
            return
        self._note("warning", text)
        if not self._silent:
            self._show(f"{self._name}: WARNING {text}")

    def _is_repeated(self, key: str | None) -> bool:
        if key is None or key in self._said:
            return key is not None
        if len(self._said) < _MOST_ONCE_KEYS:
            self._said.add(key)
        return False

    def debug(self, text: str) -> None:
        """Leave a line in the debug log only."""
        self._note("debug", text)

    def _note(self, level: str, text: str) -> None:
        if self.logger is not None:
            try:
                getattr(self.logger, level)(text)
            except Exception:  # noqa: BLE001  so are the handlers that a user attaches
                return

    def _show(self, line: str) -> None:
        stream = self._stream if self._stream is not None else sys.stderr
        if stream is None:  # as under pythonw or with a closed descriptor at start
            return
        try:
            if self.make_way is not None:
                self.make_way()
            stream.write(line + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001  streams are anybody's code, and nobody can be told that nobody can be told
            return
