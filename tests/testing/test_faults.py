"""A faulty transport fails by its script and lets through what a real fault would."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from corelib.ports import Batch, Delivered, Rejected, Retry, RunRef, Started
from corelib.pure.records import Record
from corelib.testing.faults import Delay, FaultyTransport, LoseAnswer, Postpone, Raise, Refuse
from corelib.testing.specimens import header_of, rows_from, start_record
from transports.memory import MemoryTransport

RUN = RunRef(run_id="r", project="p")
BUG = RuntimeError("a bug")


def batch(records: Sequence[Record]) -> Batch:
    return Batch(run=RUN, writer="w", header=header_of(RUN, "w"), records=tuple(records))


def seqs(transport: FaultyTransport) -> list[int]:
    memory = transport.transport
    assert isinstance(memory, MemoryTransport)
    return [record.seq for record in memory.records()]


def test_without_a_script_nothing_goes_wrong() -> None:
    """After the end of the script, and where it holds None, calls pass."""
    transport = FaultyTransport(MemoryTransport(), deliver=[None])
    for seq in (1, 2, 3):
        assert transport.deliver(batch(rows_from(seq, 1))) == Delivered()

    assert seqs(transport) == [1, 2, 3]
    assert transport.capabilities is transport.transport.capabilities
    assert repr(transport).startswith("<FaultyTransport around <MemoryTransport 3 records")


def test_a_lost_answer_was_applied() -> None:
    """The caller hears Retry, and the backend has the records."""
    transport = FaultyTransport(MemoryTransport(), deliver=[LoseAnswer("lost")])

    assert transport.deliver(batch(rows_from(1, 2))) == Retry(reason="lost")
    assert seqs(transport) == [1, 2]


def test_what_is_postponed_does_not_arrive() -> None:
    """The caller hears Retry with the wait, and the backend has nothing."""
    transport = FaultyTransport(MemoryTransport(), deliver=[Postpone(after=3.0, reason="busy")])

    assert transport.deliver(batch(rows_from(1, 2))) == Retry(reason="busy", after=3.0)
    assert seqs(transport) == []


@pytest.mark.parametrize(
    ("named", "refused", "arrived"), [((2,), (2,), [1, 3]), ((), (1, 2, 3), []), ((1, 2, 3), (1, 2, 3), [])]
)
def test_what_is_refused_does_not_arrive(
    named: tuple[int, ...], refused: tuple[int, ...], arrived: list[int]
) -> None:
    """Refused records are named and do not arrive; the others do."""
    transport = FaultyTransport(MemoryTransport(), deliver=[Refuse(named, "no")])

    assert transport.deliver(batch(rows_from(1, 3))) == Rejected(reason="no", seqs=refused)
    assert seqs(transport) == arrived


def test_a_refusal_that_names_others_refuses_nothing() -> None:
    """Numbers that are not in the batch leave it alone."""
    transport = FaultyTransport(MemoryTransport(), deliver=[Refuse((9,))])

    assert transport.deliver(batch(rows_from(1, 2))) == Delivered()
    assert seqs(transport) == [1, 2]


def test_a_refusal_in_front_of_a_failing_backend() -> None:
    """Where the wrapped transport postpones or refuses the others, both answers count."""
    memory = MemoryTransport(
        outcomes=[Retry(reason="busy"), Rejected(reason="x", seqs=(3,)), Rejected(reason="y")]
    )
    transport = FaultyTransport(memory, deliver=[Refuse((1,), "no")] * 3)
    rows = rows_from(1, 3)

    assert transport.deliver(batch(rows)) == Retry(reason="busy")
    assert transport.deliver(batch(rows)) == Rejected(reason="no", seqs=(1, 3))
    assert transport.deliver(batch(rows)) == Rejected(reason="no", seqs=(1, 2, 3))
    assert seqs(transport) == [2]


def test_a_bug_raises_before_or_after() -> None:
    """The exception leaves the method; whether the records arrived is the script's choice."""
    transport = FaultyTransport(MemoryTransport(), deliver=[Raise(BUG), Raise(BUG, applied=True)])
    with pytest.raises(RuntimeError, match="a bug"):
        transport.deliver(batch(rows_from(1, 1)))
    assert seqs(transport) == []
    with pytest.raises(RuntimeError, match="a bug"):
        transport.deliver(batch(rows_from(1, 1)))
    assert seqs(transport) == [1]


def test_a_delay_passes_as_the_test_says() -> None:
    """Time is the test's: a delay calls the given sleep and then works."""
    slept: list[float] = []
    transport = FaultyTransport(MemoryTransport(), deliver=[Delay(30.0)], sleep=slept.append)

    assert transport.deliver(batch(rows_from(1, 1))) == Delivered()
    assert slept == [30.0]


def test_opening_has_faults_of_its_own() -> None:
    """Each method has its script; lookup and close pass through."""
    memory = MemoryTransport()
    transport = FaultyTransport(memory, open=[Postpone(), LoseAnswer(), Refuse(reason="no"), None])
    start = start_record()
    outcomes = [transport.open(RUN, start) for _ in range(4)]

    assert [type(outcome) for outcome in outcomes] == [Retry, Retry, Rejected, Delivered]
    assert memory.calls == ["open", "open"]
    transport.deliver(batch([start, *rows_from(2, 1)]))
    assert isinstance(transport.lookup(RUN, 1.0), Started)
    transport.close()
    assert memory.calls[-1] == "close"
