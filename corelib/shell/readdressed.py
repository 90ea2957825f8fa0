"""A run under another address: its journal as it would be, had the run gone by that id, project and entity.

Law: nothing but the address is changed, and nothing on disk. The numbers of the records stay, for they are what keeps a
record from being delivered twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve

from corelib.ports import RunRef
from corelib.pure.paths import folder_under
from corelib.pure.records import Header, Record, RunStart
from corelib.shell.source import ResumableSource
from corelib.tail import Position

__all__ = ["Readdressed", "start_at"]


def start_at(start: RunStart, run: RunRef, *, begins: bool = False) -> RunStart:
    """Return how the run began, at the address `run`.

    `begins`: what it continues is not delivered there. It begins there then, unless the run is there already: then it
    goes on behind it, as under resume="allow".
    """
    if begins and (start.resumed or start.previous is not None):
        start = evolve(start, previous=None, resumed=False, deferred="allow")
    previous = None if start.previous is None else folder_under(start.previous, run.run_id)
    return evolve(start, project=run.project, entity=run.entity, previous=previous)


class Readdressed:
    """A source whose records name another address.

    Args:
        source: what the run has recorded.
        run: the address.
        begins: what it continues is not delivered there.
    """

    def __init__(self, source: ResumableSource, run: RunRef, *, begins: bool = False) -> None:
        self._source = source
        self._run = run
        self._begins = begins

    @property
    def positions(self) -> Mapping[str, Position]:
        """Where each writer stands after what `poll` has returned so far."""
        return self._source.positions

    def poll(self, limit: int) -> Sequence[tuple[str, Record, int]]:
        """Return up to `limit` new records.

        Raises:
            OSError: the journal cannot be read just now.
            NotYet: there is more, and it cannot be given yet.
        """
        return [(writer, self._at(record), size) for writer, record, size in self._source.poll(limit)]

    def seek(self, positions: Mapping[str, Position], *, ended: bool, exit_code: int | None = None) -> None:
        """Go on from these positions; `ended`: the end of the run was given before, `exit_code`: with this code."""
        self._source.seek(positions, ended=ended, exit_code=exit_code)

    def headers(self) -> Mapping[str, Header]:
        """Return the header of each writer's current segment, as far as it can be read."""
        return {
            writer: evolve(header, run_id=self._run.run_id)
            for writer, header in self._source.headers().items()
        }

    def before(self, last_seq: Mapping[str, int]) -> Iterator[tuple[str, Record, int]]:
        """Yield once more what stands up to `last_seq` of each writer, headers included."""
        for writer, record, size in self._source.before(last_seq):
            yield writer, self._at(record), size

    def close(self) -> None:
        """Close what is open."""
        self._source.close()

    def _at(self, record: Record) -> Record:
        if type(record) is Header:
            return evolve(record, run_id=self._run.run_id)
        return start_at(record, self._run, begins=self._begins) if type(record) is RunStart else record
