"""A run under another address."""

from __future__ import annotations

from attrs import evolve

from corelib.ports import RunRef
from corelib.pure.records import Header, Record
from corelib.shell.readdressed import Readdressed, start_at
from corelib.tail import Position
from corelib.testing.specimens import header_of, rows_from, start_record

OLD = RunRef(run_id="old", project="p", entity="e")
NEW = RunRef(run_id="new", project="q")


class Source:
    """A source that gives what it was given."""

    def __init__(self, *records: Record) -> None:
        self.entries = [("w", record, 10) for record in records]
        self.positions = {"w": Position(1, 3)}
        self.heard: list[object] = []

    def poll(self, limit: int) -> list[tuple[str, Record, int]]:
        return self.entries[:limit]

    def before(self, last_seq: object) -> list[tuple[str, Record, int]]:
        self.heard.append(last_seq)
        return self.entries

    def headers(self) -> dict[str, Header]:
        return {"w": header_of(OLD, "w")}

    def seek(self, positions: object, *, ended: bool, exit_code: int | None = None) -> None:
        self.heard.append((positions, ended, exit_code))

    def close(self) -> None:
        self.heard.append("close")


def test_only_the_address_is_changed() -> None:
    """Header and start name the new address; rows, sizes, numbers and positions are what they were."""
    header, start = (
        header_of(OLD, "w"),
        evolve(start_record(), entity="e", previous="run-20260101_000000-old"),
    )
    (row,) = rows_from(2, 1)
    source = Source(header, start, row)
    there = Readdressed(source, NEW)
    expected = [
        ("w", evolve(header, run_id="new"), 10),
        ("w", evolve(start, project="q", entity=None, previous="run-20260101_000000-new"), 10),
        ("w", row, 10),
    ]

    assert there.poll(10) == expected
    assert there.poll(1) == expected[:1]
    assert list(there.before({"w": 3})) == expected
    assert there.headers() == {"w": evolve(header, run_id="new")}
    assert there.positions == {"w": Position(1, 3)}


def test_the_rest_is_passed_on() -> None:
    """Positions and the end go to the journal as they come."""
    source = Source()
    there = Readdressed(source, NEW)
    there.seek({"w": Position(2, 1)}, ended=True, exit_code=9)
    list(there.before({"w": 7}))
    there.close()

    assert source.heard == [({"w": Position(2, 1)}, True, 9), {"w": 7}, "close"]


def test_a_start_that_continues_nothing() -> None:
    """A run that continues no other does so at the new address as well."""
    assert start_at(start_record(), NEW).previous is None


def test_what_continues_nothing_there() -> None:
    """A part without those before it begins, unless the run is there already; what began, begins as it did."""
    start = evolve(start_record(), previous="run-20260101_000000-old", resumed=True, deferred="must")
    begun = start_at(start, NEW, begins=True)
    assert (begun.previous, begun.resumed, begun.deferred, begun.project) == (None, False, "allow", "q")
    assert start_at(start_record(), NEW, begins=True) == start_at(start_record(), NEW)

    ((_, first, _),) = Readdressed(Source(start), NEW, begins=True).poll(1)  # type: ignore[arg-type]
    assert first == begun
