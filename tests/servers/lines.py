"""The lines of one streamed file, and the offset rule.

Law: `content[i]` IS line `offset + i`. Writing sets those lines, keeps all others (those after the range too)
and never appends, so that a repeated write changes nothing. A gap is allowed and stays visible.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Lines", "Written"]


class Written(NamedTuple):
    """What a write did: how many lines were new, how many the same, and which differed."""

    new: int
    same: int
    changed: tuple[int, ...]
    leaves_gap: bool


class Lines:
    """Numbered lines from 0. `extent`, the last number plus one, is the line count a server reports."""

    def __init__(self) -> None:
        self._by_number: dict[int, str] = {}
        self.extent = 0

    def write(self, offset: int, content: Sequence[str]) -> Written:
        """Set the lines from `offset` on."""
        new = same = 0
        changed: list[int] = []
        leaves_gap = bool(content) and offset > self.extent
        for number, line in enumerate(content, offset):
            known = self._by_number.get(number)
            if known is None:
                new += 1
            elif known == line:
                same += 1
            else:
                changed.append(number)
            self._by_number[number] = line
        if content:
            self.extent = max(self.extent, offset + len(content))
        return Written(new, same, tuple(changed), leaves_gap)

    def cut(self, extent: int) -> None:
        """Forget all lines from number `extent` on."""
        self._by_number = {number: line for number, line in self._by_number.items() if number < extent}
        self.extent = min(self.extent, extent)

    def in_order(self) -> list[str]:
        """Return the lines that are there, by number."""
        return [self._by_number[number] for number in sorted(self._by_number)]

    def numbered(self) -> dict[int, str]:
        """Return a copy of the lines by number."""
        return dict(self._by_number)

    def missing(self) -> list[int]:
        """Return the numbers below `extent` that were never written."""
        if len(self._by_number) == self.extent:
            return []
        return [number for number in range(self.extent) if number not in self._by_number]

    def last(self, count: int) -> list[str]:
        """Return up to `count` last lines, oldest first."""
        if len(self._by_number) == self.extent:
            return [self._by_number[number] for number in range(max(0, self.extent - count), self.extent)]
        return self.in_order()[-count:]

    def copy(self) -> Lines:
        """Return lines that later writes do not change."""
        other = Lines()
        other._by_number = dict(self._by_number)
        other.extent = self.extent
        return other
