"""What a delivery reads from: a journal, with an end that is always told.

Law: a record is given once, in its writer's order. A run whose process died without a word gets the end that it
could not write: known to the backend and not to the journal, and so under no number of the journal. It comes from a
writer of its own, for the process may turn out to live and give all its numbers to records. What is recorded behind
such an end is given, and then an end once more. An exit code that Python hid is given when it is known, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from attrs import evolve

from corelib.errors import JournalError
from corelib.pure.records import Exit, Header, Record, RunStart
from corelib.segments import Entry, read_segment, read_writer, segments, writers
from corelib.tail import Position, Tail

__all__ = ["CompletedSource", "NotYet", "ResumableSource", "Source", "is_end_writer", "read_start"]

_EXIT_BYTES: Final = 100  # about what it would have been in the journal
_END_SUFFIX: Final = ".end"  # no writer id has a full stop in it


def is_end_writer(writer: str) -> bool:
    """Return whether a writer is the one that gives an end which is not in the journal."""
    return writer.endswith(_END_SUFFIX)


class NotYet(Exception):
    """There is more, and nothing of it can be given yet."""


class Source(Protocol):
    """What a delivery reads from."""

    def poll(self, limit: int) -> Sequence[tuple[str, Record, int]]:
        """Return up to `limit` new records with writer and size; fewer mean that there are no more yet.

        Raises:
            OSError, JournalError: it cannot be read just now.
            NotYet: there is more, and nothing of it can be given yet.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class ResumableSource(Source, Protocol):
    """A source that a later delivery can take up again."""

    @property
    def positions(self) -> Mapping[str, Position]:
        """Where each writer stands after what `poll` has returned so far."""
        ...

    def seek(self, positions: Mapping[str, Position], *, ended: bool, exit_code: int | None = None) -> None:
        """Go on from these positions; `ended`: the end of the run was given before.

        `exit_code`: that of an end which was given before and is not in the journal; another one has the same.
        """
        ...

    def headers(self) -> Mapping[str, Header]:
        """Return the header of each writer's current segment, as far as it can be read."""
        ...

    def before(self, last_seq: Mapping[str, int]) -> Iterator[tuple[str, Record, int]]:
        """Yield once more what stands up to `last_seq` of each writer, headers included."""
        ...


class CompletedSource:
    """A journal with an end.

    Args:
        journal_dir: the directory of the journal.
        primary: the writer that ends the run.
        start: how the run began.
        start_time: when it did, in seconds since the epoch.
        fate: the exit code of the process that wrote the journal; None as long as it may still write.
    """

    def __init__(
        self,
        journal_dir: Path,
        *,
        primary: str,
        start: RunStart,
        start_time: float,
        fate: Callable[[], int | None],
    ) -> None:
        self._tail = Tail(journal_dir, first=primary)
        self._directory = journal_dir / primary
        self._primary = primary
        self._start = start
        self._start_time = start_time
        self._fate = fate
        self._ended = False
        """An end was given, and there is no need to give one more."""
        self._exit_code: int | None = None
        """The code of an end that was given before, and is not in the journal."""
        self._held: Entry | None = None
        self._headers: list[Entry] = []

    @property
    def positions(self) -> dict[str, Position]:
        """Where each writer stands; an end that is held back counts as not read."""
        positions = self._tail.positions
        if self._held is not None:
            segment, records = positions[self._primary]
            positions[self._primary] = Position(segment, records - 1)
        return positions

    @property
    def is_holding(self) -> bool:
        """Whether the end is there but for its exit code, which is known when the process is gone."""
        return self._held is not None

    def poll(self, limit: int) -> list[Entry]:
        """Return up to `limit` new records.

        Raises:
            OSError: the journal cannot be read just now.
            NotYet: the exit code is not known yet.
        """
        code = self._fate()  # asked before reading: what a living process wrote in between is read first
        if self._held is not None and code is not None:
            held, self._held = self._held, None
            return [_with_code(held, code)]
        waiting, self._headers = self._headers, []
        found = self._tail.poll(max(limit - len(waiting), 1))
        is_all = len(found) < limit - len(waiting)
        found = waiting + found
        end = next((entry for entry in found if self._is_end(entry)), None)
        if any(type(entry.record) is not Header for entry in found):
            self._ended = False  # whether what was given as the end still is one, `_missing_end` finds out
        if end is not None:
            self._ended = True
            found.remove(end)
            # What other writers had written by then belongs before it, also where this poll was past them already.
            try:
                found += self._tail.poll(max(limit - len(found) - 1, 0))
            except OSError:
                pass  # it is read again, and what was found already must not be lost over it
            if end.record.exit_code is None and code is None:  # type: ignore[union-attr]  # it is an Exit
                self._held = end
            else:
                found.append(end if code is None else _with_code(end, code))
        if is_all and code is not None and not self._ended:
            found += self._missing_end_or_more(code, max(limit - len(found), 1))
        if self._held is not None and all(type(entry.record) is Header for entry in found):
            # Headers are no records: a delivery that got nothing else would take the journal for wholly read.
            self._headers = found
            raise NotYet
        return found

    def seek(self, positions: Mapping[str, Position], *, ended: bool, exit_code: int | None = None) -> None:
        """Go on from these positions; `ended`: the end of the run was given before, `exit_code`: with this code."""
        self._tail.seek(positions)
        self._ended = ended
        self._exit_code = exit_code

    def headers(self) -> dict[str, Header]:
        """Return the header of each writer's current segment, as far as it can be read."""
        return self._tail.headers()

    def before(self, last_seq: Mapping[str, int]) -> Iterator[Entry]:
        """Yield once more what stands up to `last_seq` of each writer, headers included; the end with its code."""
        code = self._fate()
        for entry in self._tail.before(last_seq):
            yield entry if code is None else _with_code(entry, code)

    def close(self) -> None:
        """Close the files."""
        self._tail.close()

    def _is_end(self, entry: Entry) -> bool:
        return entry.writer == self._primary and type(entry.record) is Exit

    def _missing_end_or_more(self, code: int, limit: int) -> list[Entry]:
        """Return the end that is missing, if any; but what was recorded until its number was known comes before it."""
        missing = self._missing_end(code if self._exit_code is None else self._exit_code)
        try:
            late = self._tail.poll(limit) if missing else []
        except OSError:
            return []  # it is read again
        if all(type(entry.record) is Header for entry in late):
            self._ended = True
            return late + missing
        end = next((entry for entry in late if self._is_end(entry)), None)
        if end is not None:  # its process lives, or did so a moment ago
            self._ended = True
            late.remove(end)
            late.append(_with_code(end, code))
        return late

    def _missing_end(self, code: int) -> list[Entry]:
        """Return the end that the process did not write, at the time of its last sign; nothing if it did write one.

        Its number grows with all that was recorded before it: who finds the same journal gives the same end.
        """
        time, number = self._start.time, 0
        header: Header | None = None
        for name in writers(self._directory.parent):
            records = _last_records(self._directory.parent / name)
            number += records[-1].seq if records else 0
            if name == self._primary:
                if any(type(record) is Exit for record in records):
                    return []
                header = next((record for record in records if type(record) is Header), None)
                time = max((record.time for record in records), default=time)
        writer = self._primary + _END_SUFFIX
        runtime = max(time - self._start_time, 0.0) + self._start.runtime_offset
        end = Entry(writer, Exit(seq=number, time=time, exit_code=code, runtime=runtime), _EXIT_BYTES)
        if header is None:
            return [end]
        return [Entry(writer, evolve(header, seq=0, writer=writer, segment=1), 0), end]


def _last_records(writer_dir: Path) -> list[Record]:
    """Return what can be read of the last segment of a writer that has anything to read."""
    for _, path in reversed(segments(writer_dir)):
        records = [entry.record for entry in read_segment(path) if type(entry) is Entry]
        if records:
            return records
    return []


def read_start(journal_dir: Path, writer: str) -> tuple[Header, RunStart]:
    """Return how a run began, from the journal of the writer that began it.

    Raises:
        JournalError: that cannot be read.
        OSError: likewise.
    """
    header: Header | None = None
    for entry in read_writer(journal_dir / writer):
        record = entry.record if type(entry) is Entry else None
        if type(record) is Header:
            header = header or record
        elif type(record) is RunStart and header is not None:
            return header, record
    raise JournalError(f"{journal_dir} does not say how its run began: nobody can be told of it.")


def _with_code(entry: Entry, code: int) -> Entry:
    record = entry.record
    if type(record) is Exit and record.exit_code is None:
        return entry._replace(record=evolve(record, exit_code=code))
    return entry
