"""The courier carries everything, tells what goes wrong once, and never holds anybody up."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import JournalError, UsageError
from corelib.journal import JournalWriter
from corelib.ports import Batch, Capabilities, Delivered, Outcome, Rejected, Retry, RunRef
from corelib.pure.backoff import Backoff
from corelib.pure.delivery import Policy
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Exit, Record, Row, RunStart
from corelib.shell.courier import Courier, World, close_all, policy_for
from corelib.tail import Tail
from corelib.testing.faults import Delay, FaultyTransport, LoseAnswer, Postpone, Raise, Refuse
from corelib.testing.specimens import TIME, header_of, rows_from, start_record
from transports.memory import MemoryTransport

RUN = RunRef(run_id="r", project="p")
LONG_S = 60.0  # longer than any machine needs; nothing waits for it
QUICK = Policy(batch_age_s=0.01, poll_every_s=0.01, backoff=Backoff(first_s=0.01, limit_s=0.02))

Entry = tuple[str, Record, int]


class Simulated:
    """A world whose time passes by waiting only; after so many waits the courier is asked to close."""

    def __init__(self, close_after: int = 0, timeout: float = 1e6) -> None:
        self.now = 0.0
        self.close_after = close_after
        self.timeout = timeout
        self.courier: Courier | None = None
        self.waits = 0

    @property
    def world(self) -> World:
        return World(clock=lambda: self.now, wait=self.wait, draw=lambda: 0.0)

    def wait(self, event: Event, seconds: float) -> None:
        if self.waits == self.close_after and self.courier is not None:
            self.courier.ask_to_close(self.timeout)
        else:
            self.now += seconds
        self.waits += 1

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Listed:
    """A journal that is a list. `failures` are raised first, poll by poll."""

    def __init__(self, records: Sequence[Record] = (), failures: Iterable[Exception | None] = ()) -> None:
        self.entries: list[Entry] = [("w", record, 50) for record in (header_of(RUN, "w"), *records)]
        self.failures = iter(failures)
        self.closed = False

    def poll(self, limit: int) -> list[Entry]:
        failure = next(self.failures, None)
        if failure is not None:
            raise failure
        found, self.entries = self.entries[:limit], self.entries[limit:]
        return found

    def close(self) -> None:
        self.closed = True


def courier_of(
    transport: Any,
    source: Any,
    *,
    told: list[str] | None = None,
    policy: Policy | None = None,
    world: World | None = None,
) -> Courier:
    report = (lambda text: None) if told is None else told.append
    return Courier(
        transport, source, run=RUN, start=start_record(), name="t", report=report, policy=policy, world=world
    )


def carry(transport: Any, source: Any, simulated: Simulated | None = None) -> tuple[Courier, list[str]]:
    """Carry to the end on this thread, in simulated time; return the courier and what was told."""
    told: list[str] = []
    simulated = Simulated() if simulated is None else simulated
    courier = courier_of(transport, source, told=told, world=simulated.world)
    simulated.courier = courier
    courier.carry()
    return courier, told


def journal(path: Path, **options: Any) -> JournalWriter:
    return JournalWriter(
        path, run_id="r", writer="w", start_time=TIME, now=TIME, host="h", primary=True, **options
    )


def begin(writer: JournalWriter) -> None:
    fields = asdict(start_record(), recurse=False)
    del fields["seq"], fields["time"]
    writer.append(RunStart, time=TIME, **fields)


# Carrying.


def test_everything_arrives_in_order(tmp_path: Path) -> None:
    """What was journalled before the start, on the way and right before the close is delivered, in order."""
    transport = MemoryTransport()
    writer = journal(tmp_path / "journal")
    begin(writer)
    for step in range(5):
        writer.row(TIME, step, {"loss": 1.0 / (step + 1)})
    courier = courier_of(transport, Tail(tmp_path / "journal"), policy=QUICK)
    courier.start()
    for step in range(5, 500):
        writer.row(TIME, step, {"loss": 1.0 / (step + 1)})
    writer.append(Exit, time=TIME, exit_code=0, runtime=1.0)
    ledger = courier.close(LONG_S)
    writer.close()

    assert ledger == Ledger(accepted=502, delivered=502)
    assert ledger.including(writer.seq) == ledger
    assert [record.seq for record in transport.records()] == list(range(1, 503))
    assert [row["_step"] for row in transport.rows()] == list(range(500))
    assert transport.batches[0].header is not None
    assert {batch.run for batch in transport.batches} == {RUN}
    assert transport.calls[-1] == "close"
    assert transport.calls.count("close") == 1


def test_segments_that_are_sealed_on_the_way_arrive_once(tmp_path: Path) -> None:
    """Rotation and sealing under the courier's hands neither lose nor double a record."""
    transport = MemoryTransport()
    writer = journal(tmp_path / "journal", segment_bytes=500)
    courier = courier_of(transport, Tail(tmp_path / "journal"), policy=QUICK)
    courier.start()
    for step in range(200):
        writer.row(TIME, step, {"loss": float(step)})
    writer.close()
    ledger = courier.close(LONG_S)

    assert ledger == Ledger(accepted=200, delivered=200)
    assert [record.step for record in transport.records() if isinstance(record, Row)] == list(range(200))


def test_writers_of_forked_children_are_carried_too(tmp_path: Path) -> None:
    """Every writer of the journal is carried, under its own id."""
    transport = MemoryTransport()
    first = journal(tmp_path / "journal")
    second = JournalWriter(
        tmp_path / "journal", run_id="r", writer="child", start_time=TIME, now=TIME, host="h", primary=False
    )
    first.row(TIME, 0, {"a": 1})
    second.row(TIME, None, {"b": 1})
    courier = courier_of(transport, Tail(tmp_path / "journal"), policy=QUICK)
    courier.start()
    courier.close(LONG_S)
    first.close()
    second.close()

    assert {(batch.writer, len(batch.records)) for batch in transport.batches} == {("w", 1), ("child", 1)}


def test_a_poke_is_heard() -> None:
    """An idle courier looks at the journal when it is poked, however long it would have waited."""
    source = Listed()
    patient = Policy(batch_age_s=0.001, poll_every_s=1e6)
    transport = MemoryTransport()
    delivered = Event()
    idle = Event()

    def wait(event: Event, seconds: float) -> None:
        idle.set()
        if transport.batches:
            delivered.set()
        event.wait(seconds)

    courier = courier_of(transport, source, policy=patient, world=World(wait=wait))
    courier.start()
    assert idle.wait(LONG_S)
    source.entries += [("w", row, 50) for row in rows_from(1, 3)]
    courier.poke()
    assert delivered.wait(LONG_S)
    courier.close(LONG_S)

    assert len(transport.records()) == 3


def test_opening_comes_first_and_only_where_it_is_declared() -> None:
    """`open` comes before the first `deliver`, until it succeeds; undeclared methods are not called."""
    transport = MemoryTransport(openings=[Retry(reason="busy")])
    carry(transport, Listed(rows_from(1, 2)))
    assert transport.calls == ["open", "open", "deliver", "close"]

    plain = MemoryTransport(capabilities=Capabilities())
    carry(plain, Listed(rows_from(1, 2)))
    assert plain.calls == ["deliver"]


def test_the_transport_s_bounds_are_kept() -> None:
    """Batches are as large and as old as the transport declares."""
    declared = Capabilities(open=True, max_batch_records=7, max_batch_bytes=999, max_batch_age_s=3.0)

    assert policy_for(declared) == Policy(opens=True, batch_records=7, batch_bytes=999, batch_age_s=3.0)
    transport = MemoryTransport(capabilities=declared)
    carry(transport, Listed(rows_from(1, 20)))
    assert [len(batch.records) for batch in transport.batches] == [7, 7, 6]


@pytest.mark.parametrize("declared", [{"max_batch_records": 0}, {"max_batch_age_s": 0.0}])
def test_bounds_that_cannot_be_kept_are_refused_at_once(declared: dict[str, Any]) -> None:
    """A declaration by which nothing could be delivered is an error where the courier is made."""
    with pytest.raises(UsageError):
        courier_of(MemoryTransport(capabilities=Capabilities(**declared)), Listed())


@given(
    faults=st.lists(
        st.sampled_from(
            [
                None,
                LoseAnswer(),
                Postpone(),
                Postpone(after=30.0),
                Delay(5.0),
                Raise(RuntimeError("x")),
                Raise(KeyError("x"), applied=True),
                Refuse(seqs=(2, 5, 11)),
            ]
        ),
        max_size=12,
    ),
    number=st.integers(0, 15),
    close_after=st.integers(0, 10),
)
def test_under_any_faults_every_record_arrives_once_or_is_counted(
    faults: list[Any], number: int, close_after: int
) -> None:
    """Whatever goes wrong: what is called delivered is there, once and in order; the rest is rejected."""
    simulated = Simulated(close_after)
    memory = MemoryTransport(capabilities=Capabilities(max_batch_records=4))
    transport = FaultyTransport(memory, deliver=faults, sleep=simulated.sleep)
    courier, _ = carry(transport, Listed(rows_from(1, number)), simulated)
    held = [record.seq for record in memory.records()]

    assert courier.ledger.accepted == number
    assert courier.ledger.settled
    assert courier.ledger.delivered <= len(held) == len(set(held))
    assert held == sorted(held)
    assert number - courier.ledger.rejected <= len(held)


def test_time_that_passes_meanwhile_is_not_waited_for() -> None:
    """Where the moment to wait for is over before the wait begins, there is no wait."""
    times = iter(range(0, 10**9, 100))  # every look at the clock finds a hundred seconds gone
    waits: list[float] = []
    world = World(clock=lambda: float(next(times)), wait=lambda event, seconds: waits.append(seconds))
    transport = MemoryTransport(outcomes=[Retry(reason="busy")] * 3)
    courier = courier_of(transport, Listed(rows_from(1, 2)), world=world)
    transport.close = lambda: None  # type: ignore[method-assign]
    polls = courier._source.poll

    def poll(limit: int) -> Sequence[Entry]:
        if len(transport.records()) == 2:
            courier.ask_to_close(1e6)
        return polls(limit)

    courier._source.poll = poll  # type: ignore[method-assign]
    courier.carry()

    assert courier.ledger == Ledger(accepted=2, delivered=2)
    assert waits == []


# What goes wrong.


def secret_bug(_: Batch) -> Outcome:
    raise RuntimeError("the key is hunter2")


class Scripted:
    """A transport of one function."""

    def __init__(self, deliver: Callable[[Batch], Any], **capabilities: Any) -> None:
        self.capabilities = Capabilities(**capabilities)
        self.deliver = deliver
        self.closings = 0

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        return Delivered()

    def close(self) -> None:
        self.closings += 1


def failing(times: int, failure: Callable[[Batch], Any]) -> tuple[Callable[[Batch], Any], list[int]]:
    """Return a `deliver` that fails so many times, and the list of what it then took."""
    taken: list[int] = []
    left = [times]

    def deliver(batch: Batch) -> Any:
        if left[0]:
            left[0] -= 1
            return failure(batch)
        taken.extend(record.seq for record in batch.records)
        return Delivered()

    return deliver, taken


def test_an_exception_is_told_once_without_its_text_and_tried_again() -> None:
    """A bug counts as Retry; kind and place are told once, the text, which may hold a key, never."""
    deliver, taken = failing(5, secret_bug)
    courier, told = carry(Scripted(deliver), Listed(rows_from(1, 3)))

    assert taken == [1, 2, 3]
    assert courier.ledger == Ledger(accepted=3, delivered=3)
    bugs = [line for line in told if "bug of the transport" in line]
    assert len(bugs) == 1
    assert bugs[0].startswith("transport t: deliver() raised RuntimeError at ")
    assert "test_courier.py:" in bugs[0]
    assert "hunter2" not in "".join(told)


@pytest.mark.parametrize("answer", [None, True, "ok", Delivered])
def test_an_answer_that_is_none_counts_as_retry(answer: object) -> None:
    """Whatever is not one of the three outcomes is told once and tried again."""
    deliver, taken = failing(2, lambda batch: answer)
    _, told = carry(Scripted(deliver), Listed(rows_from(1, 1)))

    assert taken == [1]
    assert [line for line in told if f"returned {type(answer).__name__}, which is no outcome" in line] == told


def test_an_exception_in_open_is_told_and_tried_again() -> None:
    """`open` is treated like `deliver`."""
    transport = MemoryTransport(openings=[ValueError("x"), ValueError("x")])
    courier, told = carry(transport, Listed(rows_from(1, 1)))

    assert courier.ledger.delivered == 1
    assert [line for line in told if "open() raised ValueError" in line] == told
    assert len(told) == 1


def test_an_exception_in_close_is_told() -> None:
    """A transport that cannot be closed changes nothing about what it delivered."""
    transport = Scripted(lambda batch: Delivered(), close=True)
    transport.close = lambda: secret_bug(None)  # type: ignore[method-assign, assignment, arg-type]
    source = Listed(rows_from(1, 1))
    courier, told = carry(transport, source)

    assert courier.ledger.delivered == 1
    assert source.closed
    assert ["close() raised RuntimeError" in line for line in told] == [True]


def test_an_outage_is_told_by_the_name_of_the_transport() -> None:
    """What the machine wants told comes with the name of the transport."""
    transport = MemoryTransport(outcomes=[Retry(reason="connection refused")] * 5)
    _, told = carry(transport, Listed(rows_from(1, 1)))

    assert told == [
        "transport t: Delivery has to wait and goes on trying: connection refused",
        "transport t: The backend answers again.",
    ]


def test_a_slow_call_is_told_once() -> None:
    """A call beyond the declared budget is waited for, told once, and counts."""
    simulated = Simulated()
    memory = MemoryTransport(capabilities=Capabilities(max_batch_records=1, time_budget_s=2.0))
    transport = FaultyTransport(memory, deliver=[Delay(2.0), Delay(3.0), Delay(4.0)], sleep=simulated.sleep)
    courier, told = carry(transport, Listed(rows_from(1, 3)), simulated)

    assert courier.ledger.delivered == 3
    assert told == ["transport t: deliver() took longer than the 2 s that the transport declares."]


@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), JournalError("not a directory")])
def test_a_journal_that_cannot_be_read_is_read_later(failure: Exception) -> None:
    """A failing disk under the journal is told once; what is there is carried when it can be read again."""
    transport = MemoryTransport()
    courier, told = carry(
        transport, Listed(rows_from(1, 2), failures=[failure, None, failure, failure]), Simulated(5)
    )

    assert courier.ledger == Ledger(accepted=2, delivered=2)
    assert len(told) == 1
    assert "the journal cannot be read just now" in told[0]


def test_a_journal_that_can_never_be_read_is_not_taken_for_empty() -> None:
    """Closing tries until its time is over, instead of calling an unread journal delivered."""
    failures = [OSError(5, "Input/output error")] * 1000
    simulated = Simulated(close_after=3, timeout=10.0)
    courier, _ = carry(MemoryTransport(), Listed(rows_from(1, 2), failures=failures), simulated)

    assert simulated.now >= 10.0
    assert courier.ledger.including(2) == Ledger(accepted=2, pending=2)


def test_a_courier_that_breaks_says_so() -> None:
    """An error nobody foresaw ends the courier: it is told, everything is let go, and nobody waits for it."""
    transport = MemoryTransport()
    source = Listed(failures=[ZeroDivisionError("x")])
    courier, told = carry(transport, source)

    assert len(told) == 1
    assert "the courier ended by ZeroDivisionError at " in told[0]
    assert "stay in the journal" in told[0]
    assert source.closed
    assert transport.calls == ["open", "close"]
    assert courier.close(LONG_S) == Ledger()


def test_a_transport_that_leaves_the_interpreter_ends_its_courier_alone() -> None:
    """A transport that calls sys.exit() ends no more than its own thread."""

    def leave(batch: Batch) -> Outcome:
        raise SystemExit(3)

    told: list[str] = []
    courier = courier_of(Scripted(leave), Listed(rows_from(1, 1)), told=told, policy=QUICK)
    courier.start()
    ledger = courier.close(LONG_S)

    assert ledger == Ledger(accepted=1, pending=1)
    assert "SystemExit" in told[0]


def test_rejected_records_are_counted() -> None:
    """The ledger tells how many were refused, and why."""
    transport = MemoryTransport(outcomes=[Rejected(reason="too long", seqs=(2,))])
    courier, _ = carry(transport, Listed(rows_from(1, 3)))

    assert courier.ledger == Ledger(accepted=3, delivered=2, reasons={"too long": 1})


# Starting and closing.


def test_closing_returns_in_time_whatever_the_transport_does() -> None:
    """A transport that never returns holds up its own courier alone; the ledger says what is pending."""
    release, entered = Event(), Event()

    def hang(batch: Batch) -> Outcome:
        entered.set()
        release.wait()
        return Delivered()

    transport = Scripted(hang, close=True)
    courier = courier_of(transport, Listed(rows_from(1, 4)), policy=QUICK)
    courier.start()
    assert entered.wait(LONG_S)

    assert courier.close(0.01) == Ledger(accepted=4, pending=4)
    assert courier.is_carrying
    assert transport.closings == 0
    release.set()
    assert courier.close(LONG_S) == Ledger(accepted=4, delivered=4)
    assert not courier.is_carrying
    assert transport.closings == 1


def test_closing_twice_is_harmless() -> None:
    """After the end a further close returns the same ledger at once."""
    courier, _ = carry(MemoryTransport(), Listed(rows_from(1, 2)))

    assert courier.close(0.0) == courier.close(LONG_S) == Ledger(accepted=2, delivered=2)


def test_closing_what_was_never_started() -> None:
    """A courier that never began has nothing, and touches nothing."""
    transport = MemoryTransport()
    courier = courier_of(transport, Listed(rows_from(1, 2)))
    courier.poke()

    assert courier.close(LONG_S) == Ledger()
    assert transport.calls == []


@pytest.mark.parametrize("timeout", [float("inf"), float("nan")])
def test_closing_needs_an_end(timeout: float) -> None:
    """Nobody can wait for ever by accident."""
    with pytest.raises(UsageError, match="finite"):
        courier_of(MemoryTransport(), Listed()).close(timeout)
    with pytest.raises(UsageError, match="finite"):
        close_all([courier_of(MemoryTransport(), Listed())], timeout)


def test_endless_time_is_no_error() -> None:
    """A number of seconds beyond what the system can wait for is as good as very long."""
    courier = courier_of(MemoryTransport(), Listed(rows_from(1, 1)), policy=QUICK)
    courier.start()

    assert courier.close(1e300).settled


def test_couriers_close_at_the_same_time() -> None:
    """All are asked before any is waited for: one whose end hangs on another's does not use up the time."""
    second_closed = Event()
    first = Scripted(lambda batch: Delivered() if second_closed.wait(LONG_S) else Retry(reason="x"))
    second = Scripted(lambda batch: Delivered(), close=True)
    second.close = second_closed.set  # type: ignore[method-assign]
    couriers = [courier_of(transport, Listed(rows_from(1, 1)), policy=QUICK) for transport in (first, second)]
    for courier in couriers:
        courier.start()

    assert close_all(couriers, LONG_S) == (Ledger(accepted=1, delivered=1),) * 2
    assert second_closed.is_set()


def test_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without room for a thread the run goes on; the user is told where the records are."""

    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    told: list[str] = []
    courier = courier_of(MemoryTransport(), Listed(rows_from(1, 1)), told=told)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        courier.start()

    assert courier.close(LONG_S) == Ledger()
    assert told == [
        "transport t: no courier can be started (can't start new thread); the records stay in the journal."
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_no_courier() -> None:
    """In a forked child every call returns at once and does nothing; the parent's courier does not notice."""
    transport = MemoryTransport()
    courier = courier_of(transport, Listed(rows_from(1, 2)), policy=QUICK)
    courier.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        child = os.fork()
    if child == 0:
        try:
            courier.poke()
            quiet = not courier.is_carrying and courier.close(LONG_S) == Ledger()
            os._exit(0 if quiet else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert courier.close(LONG_S) == Ledger(accepted=2, delivered=2)
    assert transport.calls.count("close") == 1


def test_the_interpreter_ends_without_waiting_for_a_courier() -> None:
    """A transport that hangs keeps no process alive."""
    code = """
import threading
from corelib.ports import Capabilities
from corelib.shell.courier import Courier
from tests.shell.test_courier import Listed, RUN, rows_from, start_record
entered = threading.Event()
class Hanging:
    capabilities = Capabilities(max_batch_age_s=0.001)
    def deliver(self, batch):
        entered.set()
        threading.Event().wait()
courier = Courier(Hanging(), Listed(rows_from(1, 1)), run=RUN, start=start_record(), name="t", report=print)
courier.start()
entered.wait()
"""
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, timeout=LONG_S, check=False)

    assert done.returncode == 0


def test_chance_is_a_share() -> None:
    """The number drawn for the jitter lies in [0, 1)."""
    drawn = [World().draw() for _ in range(1000)]

    assert min(drawn) >= 0
    assert max(drawn) < 1
    assert len(set(drawn)) > 1
