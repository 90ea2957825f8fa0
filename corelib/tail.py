"""Following a journal that is being written.

Law: `poll` returns every record exactly once per `Tail`, in each writer's order, whether a segment is hot, being sealed
or sealed. A position is (segment number, records read of it), so it can be kept and taken up again by another process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple

from corelib.errors import JournalError
from corelib.pure.frames import Frame, FrameReader, NeedData
from corelib.pure.records import Header
from corelib.pure.wire import decode
from corelib.segments import READ_BYTES, Entry, read, read_segment, segments, writers

__all__ = ["Position", "Tail"]

_FIRST_SEGMENT: Final = 1


class Position(NamedTuple):
    """How far one writer has been read: a segment number and the count of records taken from it."""

    segment: int = _FIRST_SEGMENT
    records: int = 0


class Tail:
    """Reads what was appended since the last `poll`, from all writers of a journal.

    Args:
        journal_dir: the directory of the journal, which need not exist yet.
        positions: where to begin; by default at the beginning.
        first: the writer that is read before the others, whose rows are numbered behind what is there already.
    """

    def __init__(
        self, journal_dir: Path, positions: Mapping[str, Position] | None = None, *, first: str | None = None
    ) -> None:
        self._first = first
        self._journal_dir = journal_dir
        self._positions = dict(positions or {})
        self._followed: dict[str, _WriterTail] = {}

    @property
    def positions(self) -> dict[str, Position]:
        """Where each writer stands after what `poll` has returned so far."""
        return {**self._positions, **{name: tail.position for name, tail in self._followed.items()}}

    def poll(self, limit: int) -> list[Entry]:
        """Return up to `limit` new records; an empty list means that nothing new is complete.

        Damaged lines are passed over: `corelib.segments.read` names them.

        Raises:
            OSError: a segment cannot be read, and nothing else is new; the next poll tries again.
        """
        for name in writers(self._journal_dir):
            if name not in self._followed:
                position = self._positions.get(name, Position())
                self._followed[name] = _WriterTail(self._journal_dir / name, position)
        found: list[Entry] = []
        problem: OSError | None = None
        for name in sorted(self._followed, key=lambda name: name != self._first):
            tail = self._followed[name]
            try:
                while len(found) < limit and (entry := tail.next_entry()):
                    found.append(entry)
            except OSError as error:  # one writer's trouble keeps nothing from the others
                problem = error
        if problem is not None and not found:
            raise problem
        return found

    def seek(self, positions: Mapping[str, Position]) -> None:
        """Go on from the given positions, as `positions` named them once; other writers are read on."""
        for name, position in positions.items():
            tail = self._followed.pop(name, None)
            if tail is not None:
                tail.close()
            self._positions[name] = position

    def headers(self) -> dict[str, Header]:
        """Return, for each writer that was begun, the header of the segment where it stands, if it can be read."""
        found: dict[str, Header] = {}
        for name, position in self.positions.items():
            try:
                path = dict(segments(self._journal_dir / name)).get(position.segment)
                first = next(iter(read_segment(path)), None) if path is not None else None
            except OSError:  # `poll` meets it too, and says so
                continue
            if type(first) is Entry and type(first.record) is Header:
                found[name] = first.record
        return found

    def before(self, last_seq: Mapping[str, int]) -> Iterator[Entry]:
        """Yield once more what stands up to `last_seq` of each writer, headers included, merged by time.

        Raises:
            OSError, JournalError: it cannot be read.
        """
        return (entry for entry in read(self._journal_dir, last_seq) if type(entry) is Entry)

    def close(self) -> None:
        """Close the files. `poll` opens them again."""
        for name, tail in self._followed.items():
            self._positions[name] = tail.position
            tail.close()
        self._followed.clear()


class _WriterTail:
    """Follows one writer: the open hot segment, then the next one once its successor exists."""

    def __init__(self, writer_dir: Path, position: Position) -> None:
        self._writer_dir = writer_dir
        self.position = position
        self._file: IO[bytes] | None = None
        self._reader = FrameReader()
        self._to_skip = 0
        self._entries: Iterator[Entry] = iter(())

    def next_entry(self) -> Entry | None:
        """Return the next complete record, None if there is none yet. The position moves with each."""
        entry = next(self._entries, None)
        if entry is None:
            self._entries = self._complete()
            entry = next(self._entries, None)
        return entry

    def _complete(self) -> Iterator[Entry]:
        """Yield what is complete by now."""
        while True:
            present = dict(segments(self._writer_dir))
            path = present.get(self.position.segment)
            file = self._file
            if file is None:
                if path is None:
                    later = [number for number in present if number > self.position.segment]
                    if not later:
                        return
                    self.position = Position(min(later))  # what lies between is lost
                    continue
                if path.suffix == ".zst":
                    yield from self._sealed(path)
                    self._advance()
                    continue
                try:
                    file = self._open(path)
                except FileNotFoundError:  # sealed between listing and opening
                    continue
            # Listed before reading on: what the list calls complete cannot grow any more.
            complete = path is None or path.suffix == ".zst" or max(present) > self.position.segment
            yield from self._hot(file, complete=complete)
            if not complete:
                return
            self._advance()

    def _open(self, path: Path) -> IO[bytes]:
        # Kept open between polls, and without a buffer, which would still show what was taken back.
        self._file = file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._reader = FrameReader()
        self._to_skip = self.position.records
        return file

    def _advance(self) -> None:
        self._let_go()
        self.position = Position(self.position.segment + 1)

    def _hot(self, file: IO[bytes], *, complete: bool) -> Iterator[Entry]:
        at_end = False
        while True:
            event = self._reader.next_event()
            if type(event) is Frame:
                if self._to_skip:
                    self._to_skip -= 1
                    continue
                entry = self._count(event)
                if entry is not None:
                    yield entry
            elif type(event) is NeedData:
                if at_end:
                    # Its writer may still take half a line back, so that is read anew the next time.
                    file.seek(self._reader.offset)
                    self._reader = FrameReader(self._reader.offset)
                    return
                data = file.read(READ_BYTES)
                at_end = not data if complete else len(data) < READ_BYTES
                self._reader.receive(data)

    def _count(self, event: Frame) -> Entry | None:
        self.position = Position(self.position.segment, self.position.records + 1)
        try:
            return Entry(self._writer_dir.name, decode(event.payload), len(event.payload))
        except JournalError:
            return None  # of a newer version: counted, so that positions stay true, and passed over

    def _sealed(self, path: Path) -> Iterator[Entry]:
        segment, taken = self.position
        for index, entry in enumerate(read_segment(path)):
            if index < taken:
                continue
            self.position = Position(segment, index + 1)
            if type(entry) is Entry:
                yield entry

    def close(self) -> None:
        """Close what is open; `next_entry` opens it again."""
        self._entries = iter(())
        self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
