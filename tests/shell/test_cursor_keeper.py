"""The cursor of a run that was taken for dead and lives: nothing is lost, and the account is that of its journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.cursor import Cursor
from corelib.pure.records import Exit, Row
from corelib.shell.cursor import CursorFile
from corelib.shell.delivery import Delivery
from corelib.shell.delivery_spec import delivery_of
from corelib.testing.specimens import TIME
from tests.couriers import LONG_S, RUN_ID, WRITER, RunOnDisk, records_in
from transports.memory import MemoryTransport


def deliver(run: RunOnDisk, transport: Any, fate: int | None) -> Cursor:
    """Deliver what there is, as the next courier or a sync does; return the cursor it leaves."""
    delivery, _ = delivery_of(
        Delivery, run.spec(), transport=transport, report=lambda _: None, fate=lambda: fate
    )
    delivery.ask_to_close(LONG_S)
    delivery.carry()
    assert delivery.is_drained
    cursor = CursorFile(str(run.directory), "t").read(RUN_ID)
    assert cursor is not None
    return cursor


def written(run: RunOnDisk) -> int:
    return sum(map(len, records_in(run.journal).values()))


@pytest.fixture
def run(tmp_path: Path) -> RunOnDisk:
    run = RunOnDisk(tmp_path)
    run.log(3)
    return run


def test_a_run_that_was_taken_for_dead_loses_no_row(run: RunOnDisk) -> None:
    """The end that was made up takes no number from the records that come after all."""
    transport = MemoryTransport()
    assert deliver(run, transport, fate=1).exited
    run.log(3)
    run.end(exit_code=0)
    cursor = deliver(run, transport, fate=None)

    records = transport.records(RUN_ID, WRITER)
    assert [record.seq for record in records] == list(range(1, 9))
    assert isinstance(records[-1], Exit)
    assert cursor.exited
    assert cursor.ledger.delivered == written(run) == 8


def test_as_long_as_it_goes_on_it_has_no_end(run: RunOnDisk) -> None:
    """What was recorded behind an end takes it back, and it is not in the account any more."""
    transport = MemoryTransport()
    cursor = deliver(run, transport, fate=1)
    assert (cursor.exited, cursor.ledger.delivered) == (True, written(run) + 1)
    run.log(1)
    cursor = deliver(run, transport, fate=None)

    assert not cursor.exited
    assert cursor.ledger.delivered == written(run)
    assert set(cursor.settled) == {WRITER}


def test_a_child_that_outlives_a_crash_is_followed_by_an_end(run: RunOnDisk) -> None:
    """Behind its rows the end is given once more; after that there is nothing to deliver."""
    transport = MemoryTransport()
    deliver(run, transport, fate=255)
    run.child().row(TIME, None, {"a": 1})
    cursor = deliver(run, transport, fate=255)

    assert [type(record) for record in transport.records()][-2:] == [Row, Exit]
    assert (cursor.exited, cursor.ledger.delivered) == (True, written(run) + 1)
    count = len(transport.records())
    assert deliver(run, transport, fate=255) == cursor
    assert len(transport.records()) == count


def test_an_end_that_comes_twice_is_counted_once(run: RunOnDisk) -> None:
    """As by a delivery, which passes over what has the number of an end that it had."""
    transport = MemoryTransport()
    cursor = CursorFile(str(run.directory), "t")
    delivery, source = delivery_of(
        Delivery, run.spec(), transport=transport, report=lambda _: None, fate=lambda: 1
    )
    real = source.poll
    again: list[Any] = []

    def poll(limit: int) -> Any:
        found = real(limit)
        again.extend(entry for entry in found if isinstance(entry.record, Exit))
        return found + (again * 2 if found else [])

    source.poll = poll  # type: ignore[method-assign]
    delivery.ask_to_close(LONG_S)
    delivery.carry()
    found = cursor.read(RUN_ID)
    assert found is not None
    assert (found.ledger.delivered, found.exit_code) == (written(run) + 1, 1)
    run.log(1)

    assert deliver(run, transport, fate=255).ledger.delivered == written(run) + 1
    assert [getattr(record, "exit_code", None) for record in transport.records()][-1] == 1


@given(
    parts=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([None, 1, 255])), max_size=6),
    own=st.booleans(),
)
def test_the_account_is_that_of_the_journal(
    tmp_path_factory: Any, parts: list[tuple[int, int | None]], own: bool
) -> None:
    """However often a run is taken for dead: every record arrives and is counted once; an end only if it is one."""
    run = RunOnDisk(tmp_path_factory.mktemp("run"), segment_bytes=400)
    transport = MemoryTransport()
    for rows, fate in parts:
        run.log(rows)
        cursor = deliver(run, transport, fate)
        assert cursor.ledger.delivered == written(run) + cursor.exited
        assert cursor.exited or fate is None
    if own:
        run.end()
        cursor = deliver(run, transport, None)
        assert (cursor.exited, cursor.ledger.delivered) == (True, written(run))
    arrived = [record.seq for record in transport.records(RUN_ID, WRITER)]

    assert arrived == sorted(set(arrived))
    if own:
        assert arrived == [record.seq for record in records_in(run.journal)[WRITER]]
    run.writer.close()
