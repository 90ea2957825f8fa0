"""From what a program prints to the lines that are recorded of it.

Law: the lines depend on the text alone, not on how it is cut into writes. A carriage return begins the line anew, so a
progress bar is its last state; colours and tabs are kept as they come. Of a line its first `LONGEST_LINE` characters
are kept, and no more of it is held in memory. Lines are recorded at once as long as they are few; many at once are
recorded together, so that there is a bound to the records a second.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST_LINE", "LineAssembler", "Pace"]

LONGEST_LINE: Final = 1 << 16
"""How many characters of a line are kept."""


class LineAssembler:
    """Makes lines of what is written to one stream."""

    def __init__(self) -> None:
        """Begin at the start of a line."""
        self._parts: list[str] = []
        self._room = LONGEST_LINE
        self._returned = False
        self._rewritten = False

    def feed(self, text: str) -> list[str]:
        """Take what was written; return the lines that it ends."""
        *ended, rest = text.split("\n")
        lines = []
        for part in ended:
            self._add(part)
            lines.append(self._end())
        self._add(rest)
        return lines

    def rest(self) -> list[str]:
        """Return the line that was begun and not ended, if there is one, and begin another."""
        line = self._end()
        return [line] if line else []

    def _add(self, part: str) -> None:
        first, *again = part.split("\r")
        self._write(first)
        for text in again:
            self._returned = True
            self._write(text)

    def _write(self, text: str) -> None:
        if not text:
            return
        if self._returned:
            self._begin()
            self._rewritten = True
        if self._room:
            kept = text[: self._room]
            self._room -= len(kept)
            self._parts.append(kept)

    def _end(self) -> str:
        line = "".join(self._parts)
        if self._rewritten:
            line = line.rstrip(" ")  # with which a bar covers what was longer before
        self._begin()
        self._rewritten = False
        return line

    def _begin(self) -> None:
        self._parts = []
        self._room = LONGEST_LINE
        self._returned = False


class Pace:
    """Says when something may be done: `burst` times in a row, and `rate` times a second in the long run.

    Args:
        burst: how often at once.
        rate: how often a second.
        now: seconds on a clock that is never set back.
    """

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = burst
        self._at = now

    def allows(self, now: float) -> bool:
        """Whether it may be done now."""
        self._left = min(self._left + max(now - self._at, 0.0) * self._rate, self._burst)
        self._at = now
        return self._left >= 1

    def spend(self, times: int) -> None:
        """Take that it was done so many times, also where that was not asked for."""
        self._left -= times
