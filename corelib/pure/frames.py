r"""Framing of a hot journal segment: `<crc32 in 8 lower-case hex> <json object>\n`.

Law: a reader believes a line only if its checksum fits. Any prefix of a segment yields a prefix of its payloads
and then `Torn`; any flipped bit yields `Corrupt` for the record it hit and never a wrong record; where the bit was
the line feed between two records, the second is still found. How the input is cut into pieces changes nothing.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

__all__ = ["PREFIX_BYTES", "Corrupt", "End", "Event", "Frame", "FrameReader", "NeedData", "Torn", "frame"]

PREFIX_BYTES: Final = 9  # eight hex digits and a blank

# In compact JSON no letter follows the quote that ends a text, so a text within a payload never looks like this.
_START = re.compile(rb'[0-9a-f]{8} \{"[A-Za-z]')


class Frame(NamedTuple):
    """A payload whose checksum fits, and where its line begins in the segment (bytes)."""

    offset: int
    payload: bytes


class Corrupt(NamedTuple):
    """`length` bytes at `offset` that are not a frame; they were skipped."""

    offset: int
    length: int


class Torn(NamedTuple):
    """The segment ends inside a line: `length` bytes from `offset` on, as after a power cut."""

    offset: int
    length: int


class NeedData(NamedTuple):
    """Nothing whole is buffered: feed more, or `close()`."""


class End(NamedTuple):
    """The input is closed and wholly read."""


Event: TypeAlias = Frame | Corrupt | Torn | NeedData | End


def frame(payload: bytes) -> bytes:
    """Return the line that stands for a payload: one compact JSON object whose first key begins with a letter."""
    return b"%08x %b\n" % (crc32(payload), payload)


def _check(line: bytes, start: int) -> bytes | None:
    """Return the payload of the frame that fills `line` from `start` on, or None."""
    payload = line[start + PREFIX_BYTES :]
    return payload if line[start : start + PREFIX_BYTES] == b"%08x " % crc32(payload) else None


class FrameReader:
    """Turns the bytes of one hot segment into events. Feed with `receive`, drain with `next_event`."""

    __slots__ = ("_base", "_buffer", "_closed", "_position", "_queued", "_scanned")

    def __init__(self, offset: int = 0) -> None:
        """Start at `offset` bytes into the segment; it only shifts what events report."""
        self._buffer = b""
        self._position = 0
        self._base = offset
        self._scanned = 0
        self._closed = False
        self._queued: Frame | None = None

    @property
    def offset(self) -> int:
        """Where the next line begins: everything before it has become an event."""
        return self._base + self._position

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the segment."""
        rest = self._buffer[self._position :]
        self._base += self._position
        self._scanned = max(self._scanned - self._position, 0)
        self._buffer = rest + data
        self._position = 0

    def close(self) -> None:
        """Say that nothing follows."""
        self._closed = True

    def next_event(self) -> Event:
        """Return the next event; `NeedData` or `End` when there is none."""
        if self._queued is not None:
            queued, self._queued = self._queued, None
            return queued
        start = self._position
        end = self._buffer.find(b"\n", max(start, self._scanned))
        if end < 0:
            return self._without_line(start)
        self._position = end + 1
        line = self._buffer[start:end]
        payload = _check(line, 0)
        if payload is not None:
            return Frame(self._base + start, payload)
        return self._resynchronise(line, self._base + start)

    def _without_line(self, start: int) -> Event:
        if not self._closed:
            self._scanned = len(self._buffer)
            return NeedData()
        length = len(self._buffer) - start
        if not length:
            return End()
        self._position = len(self._buffer)
        return Torn(self._base + start, length)

    def _resynchronise(self, line: bytes, offset: int) -> Corrupt:
        """Look for a whole frame at the end of a bad line, as a damaged line feed leaves it."""
        start = 0
        for match in _START.finditer(line, 1):
            start = match.start()
        payload = _check(line, start) if start else None
        if payload is None:
            return Corrupt(offset, len(line) + 1)
        self._queued = Frame(offset + start, payload)
        return Corrupt(offset, start)
