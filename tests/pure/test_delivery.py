"""The delivery machine, transition by transition."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from corelib.errors import UsageError
from corelib.pure.backoff import Backoff
from corelib.pure.delivery import (
    OTHER_REASONS,
    OUTAGE_FAILURES,
    REASONS_KEPT,
    TRANSITIONS,
    Policy,
    Stage,
    State,
    begin,
    ledger,
    step,
)
from corelib.pure.delivery_events import (
    Answered,
    CloseAsked,
    Effect,
    Event,
    Notice,
    Offered,
    Open,
    Poll,
    ReadFailed,
    Send,
    Stop,
    Ticked,
    Wait,
)
from corelib.pure.outcomes import Delivered, Ledger, Outcome, Rejected, Retry
from corelib.pure.records import FORMAT_VERSION, Header, Preempting, Record

POLICY = Policy(
    batch_records=3,
    batch_bytes=100,
    batch_age_s=10.0,
    poll_every_s=2.0,
    backoff=Backoff(first_s=1.0, limit_s=60.0, jitter=0.5, told_limit_s=900.0),
)
OPENING = Policy(opens=True, batch_age_s=10.0, backoff=POLICY.backoff)
OK = Delivered()
BUSY = Retry(reason="busy")


def entry(seq: int, writer: str = "w", size: int = 10) -> tuple[str, Record, int]:
    return (writer, Preempting(seq=seq, time=0.0), size)


def header(writer: str = "w", segment: int = 1, seq: int = 0) -> tuple[str, Record, int]:
    record = Header(
        seq=seq,
        time=0.0,
        version=FORMAT_VERSION,
        run_id="r",
        writer=writer,
        segment=segment,
        start_time=0.0,
        host="h",
        pid=1,
        primary=True,
    )
    return (writer, record, 50)


def offered(now: float, *entries: tuple[str, Record, int], end: bool = True) -> Offered:
    return Offered(now, entries, end)


def answered(now: float, outcome: Outcome, entropy: float = 0.0) -> Answered:
    return Answered(now, outcome, entropy)


def after(*events: Event, policy: Policy = POLICY) -> tuple[State, tuple[Effect, ...]]:
    """Return state and effects after the events, the first tick at 0 included."""
    state, effects = step(begin(policy), Ticked(0.0))
    for event in events:
        state, effects = step(state, event)
    return state, effects


def sent(effects: tuple[Effect, ...]) -> list[int]:
    """Return the numbers of the records that the last effect sends."""
    send = effects[-1]
    assert isinstance(send, Send)
    return [record.seq for record in send.records]


def texts(effects: tuple[Effect, ...]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Notice)]


# Reading and batching.


def test_the_first_thing_is_to_read() -> None:
    """A machine begins by reading as much as one batch."""
    assert after()[1] == (Poll(3),)


def test_an_opening_machine_opens_first() -> None:
    """Where the transport wants to be opened, nothing is read before."""
    assert after(policy=OPENING)[1] == (Open(),)
    assert after(answered(1.0, OK), policy=OPENING)[1] == (Poll(1000),)


def test_an_idle_machine_looks_again() -> None:
    """With nothing to send it waits one interval, and reads again."""
    assert after(offered(0.0))[1] == (Wait(2.0),)
    assert after(offered(0.0), Ticked(2.0))[1] == (Poll(3),)


def test_a_poke_reads_at_once() -> None:
    """A wait that is cut short reads the journal, and waits on."""
    assert after(offered(0.0), Ticked(0.1))[1] == (Poll(3),)
    assert after(offered(0.0), Ticked(0.1), offered(0.1))[1] == (Wait(2.1),)


def test_a_record_waits_for_company() -> None:
    """A batch that is not full waits until its first record has the age, looking at the journal meanwhile."""
    state, effects = after(offered(0.0, entry(1)))
    assert effects == (Wait(2.0),)
    for now in (2.0, 4.0, 6.0, 8.0):
        state, effects = step(state, Ticked(now))
        assert effects == (Poll(2),)
        state, effects = step(state, offered(now))
    assert effects == (Wait(10.0),)
    state, _ = step(state, Ticked(10.0))
    _, effects = step(state, offered(10.0, entry(2)))

    assert sent(effects) == [1, 2]


def test_a_full_batch_goes_at_once() -> None:
    """As many records as a batch holds do not wait."""
    assert sent(after(offered(0.0, entry(1), entry(2), entry(3), end=False))[1]) == [1, 2, 3]


def test_a_batch_full_by_bytes_goes_at_once() -> None:
    """As many bytes as a batch holds do not wait; what is over stays for the next batch."""
    state, effects = after(offered(0.0, entry(1, size=60), entry(2, size=60)))
    assert sent(effects) == [1]
    _, effects = step(state, answered(1.0, OK))
    assert effects == (Poll(2),)


def test_exactly_the_bytes_of_a_batch_fit() -> None:
    """The bound in bytes is the last size that fits."""
    assert sent(after(offered(0.0, entry(1, size=60), entry(2, size=40)))[1]) == [1, 2]


def test_a_larger_record_goes_alone() -> None:
    """A record larger than a batch is sent by itself, in its place."""
    state, effects = after(offered(0.0, entry(1), entry(2, size=500), entry(3)))
    assert sent(effects) == [1]
    state, effects = step(state, answered(0.0, OK))
    assert sent(effects) == [2]
    state, effects = step(state, answered(0.0, OK))
    assert effects == (Poll(2),)
    assert ledger(state) == Ledger(accepted=3, delivered=2, pending=1)


def test_what_was_not_read_to_its_end_is_read_on() -> None:
    """A journal that has more is read until the batch is full, without a wait."""
    assert after(offered(0.0, entry(1), end=False))[1] == (Poll(2),)


def test_a_batch_is_of_one_writer() -> None:
    """Writers are not mixed in a batch; the writer that has waited longest comes first."""
    state, effects = after(offered(0.0, entry(1, "a"), entry(1, "b"), entry(2, "a")))
    assert isinstance(effects[-1], Send)
    assert (effects[-1].writer, sent(effects)) == ("a", [1, 2])
    state, _ = step(state, answered(0.0, OK))
    state, effects = step(state, offered(0.0, entry(3, "a"), entry(4, "a")))
    assert isinstance(effects[-1], Send)
    assert (effects[-1].writer, sent(effects)) == ("b", [1])


def test_headers_accompany_and_are_not_counted() -> None:
    """A batch names the writer's latest header; headers are no records of the ledger."""
    state, effects = after(offered(0.0, header(), entry(1), entry(2), entry(3)))
    send = effects[-1]
    assert isinstance(send, Send)
    assert send.header is not None
    assert send.header.segment == 1
    assert ledger(state).accepted == 3

    state, _ = step(state, answered(0.0, OK))
    _, effects = step(state, offered(0.0, header(segment=2, seq=3), entry(4), entry(5), entry(6)))
    send = effects[-1]
    assert isinstance(send, Send)
    assert send.header is not None
    assert send.header.segment == 2
    assert sent(effects) == [4, 5, 6]


def test_a_writer_without_header_is_sent_all_the_same() -> None:
    """Where the header was lost, the batch says so with None."""
    send = after(offered(0.0, entry(1), entry(2), entry(3)))[1][-1]

    assert isinstance(send, Send)
    assert send.header is None


def test_what_is_offered_again_is_not_taken_again() -> None:
    """Records up to the last one taken are passed over, also those a former delivery has settled."""
    state, _ = after(offered(0.0, entry(1), entry(2)))
    state, _ = step(state, Ticked(1.0))
    state, _ = step(state, offered(1.0, entry(1), entry(2), entry(2, "b")))
    assert ledger(state) == Ledger(accepted=3, pending=3)

    state, _ = step(begin(POLICY, {"w": 2}), Ticked(0.0))
    state, _ = step(state, offered(0.0, entry(1), entry(2), entry(3)))
    assert ledger(state) == Ledger(accepted=1, pending=1)


def test_an_unreadable_journal_is_read_again_later() -> None:
    """After a failed read the machine waits; it does not take the journal for empty, nor read in a circle."""
    state, effects = after(ReadFailed(0.0))
    assert effects == (Wait(2.0),)
    _, effects = step(state, Ticked(2.0))
    assert effects == (Poll(3),)


def test_what_is_in_hand_is_sent_while_the_journal_cannot_be_read() -> None:
    """Records that were read go out when they are due, whatever happens to the journal."""
    _, effects = after(offered(0.0, entry(1)), Ticked(10.0), ReadFailed(10.0))

    assert sent(effects) == [1]


# Answers.


def test_a_delivered_batch_is_counted() -> None:
    """Delivered records leave the machine."""
    state, effects = after(offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, OK))

    assert effects == (Poll(3),)
    assert ledger(state) == Ledger(accepted=3, delivered=3)


def test_a_batch_comes_again_unchanged() -> None:
    """After Retry the same records are sent again before any others, and not before the wait is over."""
    state, effects = after(offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, BUSY))
    assert effects == (Wait(2.0),)
    assert ledger(state) == Ledger(accepted=3, pending=3)
    state, effects = step(state, Ticked(1.5))
    assert effects == (Wait(2.0),)
    _, effects = step(state, Ticked(2.0))
    assert sent(effects) == [1, 2, 3]


def test_waits_grow_with_each_failure_and_are_forgotten() -> None:
    """Each failure in a row doubles the wait, with the drawn jitter; a success starts anew."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)))
    for expected in (1.25, 2.5, 5.0):
        state, effects = step(state, answered(100.0, BUSY, entropy=0.5))
        assert effects[-1] == Wait(100.0 + expected)
        state, _ = step(state, Ticked(200.0))
    state, _ = step(state, answered(200.0, OK))
    state, _ = step(state, offered(200.0, entry(4), entry(5), entry(6)))
    _, effects = step(state, answered(200.0, BUSY))

    assert effects == (Wait(201.0),)


def test_what_the_backend_asks_for_is_waited_for() -> None:
    """A wait the backend asks for replaces the computed one."""
    _, effects = after(
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Retry(reason="r", after=30.0))
    )

    assert effects == (Wait(31.0),)


def test_an_asked_for_wait_of_nothing_sends_at_once() -> None:
    """A backend that asks for 0 seconds gets the batch again at once."""
    _, effects = after(
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Retry(reason="r", after=0.0))
    )

    assert sent(effects) == [1, 2, 3]


def test_an_outage_is_told_once_and_so_is_its_end() -> None:
    """One line when failures pile up, one when the backend answers again, none for a single lost answer."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)))
    told: list[str] = []
    for _ in range(OUTAGE_FAILURES + 3):
        state, effects = step(state, answered(0.0, BUSY))
        told += texts(effects)
        state, _ = step(state, Ticked(1e6))
    assert told == ["Delivery has to wait and goes on trying: busy"]
    _, effects = step(state, answered(1e6, OK))
    assert texts(effects) == ["The backend answers again."]

    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)), answered(0.0, BUSY), Ticked(1.0))
    assert texts(step(state, answered(1.0, OK))[1]) == []


def test_named_records_are_rejected_and_the_rest_is_delivered() -> None:
    """A rejection that names records counts those, with the reason, and the others as delivered."""
    state, effects = after(
        offered(0.0, entry(1), entry(2), entry(3)),
        answered(1.0, Rejected(reason="too long", seqs=(2, 2, 99))),
    )

    assert ledger(state) == Ledger(accepted=3, delivered=2, reasons={"too long": 1})
    assert texts(effects) == ["1 of 3 records are refused for good: too long"]
    assert effects[-1] == Poll(3)


@pytest.mark.parametrize("seqs", [(), (77, 78)])
def test_a_rejection_that_names_none_of_the_batch_rejects_all(seqs: tuple[int, ...]) -> None:
    """Nothing is called safe on a doubtful answer."""
    state, _ = after(
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Rejected(reason="no", seqs=seqs))
    )

    assert ledger(state) == Ledger(accepted=3, reasons={"no": 3})


def test_each_reason_is_told_once() -> None:
    """A reason that comes again is counted and not told again."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)), answered(0.0, Rejected(reason="no")))
    state, _ = step(state, offered(0.0, entry(4), entry(5), entry(6)))
    state, effects = step(state, answered(0.0, Rejected(reason="no", seqs=(4,))))

    assert texts(effects) == []
    assert ledger(state) == Ledger(accepted=6, delivered=2, reasons={"no": 4})


def test_reasons_do_not_fill_the_memory() -> None:
    """Distinct reasons are counted apart up to a number and a length; the rest is counted together."""
    state, _ = after(policy=Policy(batch_records=1))
    told: list[str] = []
    for number in range(REASONS_KEPT + 5):
        state, _ = step(state, offered(0.0, entry(number)))
        state, effects = step(state, answered(0.0, Rejected(reason=f"{number} {'x' * 1000}")))
        told += texts(effects)

    account = ledger(state)
    assert account.rejected == REASONS_KEPT + 5
    assert len(account.reasons) == REASONS_KEPT + 1
    assert account.reasons[OTHER_REASONS] == 5
    assert len(told) == REASONS_KEPT
    assert max(map(len, account.reasons)) == 300


# Opening.


def test_opening_is_tried_again() -> None:
    """A backend that is not there when the run begins is asked again; nothing is read before it answers."""
    state, effects = after(answered(0.0, BUSY), policy=OPENING)
    assert effects == (Wait(1.0),)
    state, effects = step(state, Ticked(1.0))
    assert effects == (Open(),)
    _, effects = step(state, answered(1.0, OK))
    assert effects == (Poll(1000),)


def test_a_refused_run_is_counted_to_its_end() -> None:
    """A run that the backend refuses is told of once, and each of its records is counted as rejected."""
    state, effects = after(answered(0.0, Rejected(reason="no such project")), policy=OPENING)
    assert texts(effects) == [
        "The run is refused for good, and none of its records can be delivered: no such project"
    ]
    state, effects = step(state, offered(0.0, entry(1), entry(2)))
    assert effects == (Wait(1.0),)
    assert ledger(state) == Ledger(accepted=2, reasons={"no such project": 2})
    state, _ = step(state, Ticked(1.0))
    state, _ = step(state, offered(1.0))
    state, _ = step(state, CloseAsked(1.0, 5.0))
    state, _ = step(state, Ticked(1.0))
    state, effects = step(state, offered(1.0, entry(3)))

    assert effects == (Stop(),)
    assert ledger(state) == Ledger(accepted=3, reasons={"no such project": 3})


# Closing.


def test_closing_has_no_effects_of_its_own() -> None:
    """A request to close changes the aim and leaves the step under way."""
    for state in (after()[0], after(offered(0.0))[0], after(policy=OPENING)[0]):
        closing, effects = step(state, CloseAsked(0.0, 5.0))

        assert effects == ()
        assert closing.stage is state.stage


def test_closing_drains_what_is_there() -> None:
    """After the request everything is read and sent without waiting for company, then it stops."""
    state, _ = after(offered(0.0, entry(1)))
    state, _ = step(state, CloseAsked(0.5, 5.0))
    state, effects = step(state, Ticked(0.5))
    assert effects == (Poll(2),)
    state, effects = step(state, offered(0.5, entry(2)))
    assert sent(effects) == [1, 2]
    state, effects = step(state, answered(0.6, OK))
    assert effects == (Poll(3),)
    state, effects = step(state, offered(0.6))

    assert effects == (Stop(),)
    assert state.stage is Stage.STOPPED
    assert ledger(state) == Ledger(accepted=2, delivered=2)


def test_closing_stops_at_the_deadline() -> None:
    """At the deadline it stops, and what could not be delivered is pending."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)), answered(0.0, BUSY))
    state, _ = step(state, CloseAsked(0.5, 5.0))
    state, effects = step(state, Ticked(0.5))
    assert sent(effects) == [1, 2, 3]
    state, effects = step(state, answered(5.0, BUSY))
    assert effects == (Wait(5.5),)
    state, effects = step(state, Ticked(5.5))

    assert effects == (Stop(),)
    assert ledger(state) == Ledger(accepted=3, pending=3)


@pytest.mark.parametrize("timeout", [0.0, -3.0])
def test_closing_without_time_stops_at_once(timeout: float) -> None:
    """No time at all stops at the next step, whatever is pending."""
    state, _ = after(offered(0.0, entry(1)))
    state, _ = step(state, CloseAsked(0.5, timeout))

    assert step(state, Ticked(0.5))[1] == (Stop(),)


def test_closing_tries_once_more_at_once() -> None:
    """Somebody waits: our own long wait is cut short, and the waits start small again."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)))
    for _ in range(5):
        state, effects = step(state, answered(0.0, BUSY))
        state, _ = step(state, Ticked(1000.0))
    state, effects = step(state, answered(1000.0, BUSY))
    assert effects == (Wait(1032.0),)
    state, _ = step(state, CloseAsked(1001.0, 30.0))
    state, effects = step(state, Ticked(1001.0))
    assert sent(effects) == [1, 2, 3]
    assert step(state, answered(1001.0, BUSY))[1] == (Wait(1002.0),)


def test_closing_respects_what_the_backend_asked_for() -> None:
    """A wait the backend asked for stands, up to the deadline."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)), answered(0.0, Retry(reason="r", after=20.0)))
    state, _ = step(state, CloseAsked(1.0, 5.0))

    assert step(state, Ticked(1.0))[1] == (Wait(6.0),)


def test_closing_while_opening_fails() -> None:
    """A backend that never opened does not keep the machine from stopping."""
    state, _ = after(answered(0.0, BUSY), policy=OPENING)
    state, _ = step(state, CloseAsked(0.0, 5.0))
    state, effects = step(state, Ticked(0.0))
    assert effects == (Open(),)
    state, effects = step(state, answered(6.0, BUSY))

    assert effects == (Stop(),)


def test_closing_does_not_take_an_unreadable_journal_for_empty() -> None:
    """While the journal cannot be read nobody knows that all is delivered: it is tried until the deadline."""
    state, _ = after()
    state, _ = step(state, CloseAsked(0.0, 5.0))
    state, effects = step(state, ReadFailed(0.0))
    assert effects == (Wait(2.0),)
    state, effects = step(state, Ticked(2.0))
    assert effects == (Poll(3),)
    assert step(state, offered(2.0))[1] == (Stop(),)
    assert step(state, ReadFailed(5.0))[1] == (Stop(),)


def test_a_later_request_moves_the_deadline() -> None:
    """Closing again, to wait longer or shorter, counts from the last request."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)), answered(0.0, Retry(reason="r", after=20.0)))
    state, _ = step(state, CloseAsked(0.0, 5.0))
    state, _ = step(state, CloseAsked(4.0, 5.0))

    assert step(state, Ticked(4.0))[1] == (Wait(9.0),)


@pytest.mark.parametrize("timeout", [inf, nan, -inf])
def test_closing_needs_an_end(timeout: float) -> None:
    """A request without a finite time is refused and changes nothing."""
    with pytest.raises(UsageError, match="finite"):
        step(after()[0], CloseAsked(0.0, timeout))


# The table, and bounds.

EVENTS: dict[type[Any], Event] = {
    Ticked: Ticked(0.0),
    Offered: offered(0.0),
    ReadFailed: ReadFailed(0.0),
    Answered: answered(0.0, OK),
    CloseAsked: CloseAsked(0.0, 1.0),
}


def in_stage(stage: Stage) -> State:
    closing = step(after()[0], CloseAsked(0.0, 0.0))[0]
    return {
        Stage.WAITING: begin(POLICY),
        Stage.READING: after()[0],
        Stage.OPENING: after(policy=OPENING)[0],
        Stage.SENDING: after(offered(0.0, entry(1), entry(2), entry(3)))[0],
        Stage.STOPPED: step(closing, offered(0.0))[0],
    }[stage]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("kind", EVENTS)
def test_only_the_table_is_legal(stage: Stage, kind: type[Any]) -> None:
    """An event that the table does not name for the stage is an error and leaves the state alone."""
    state = in_stage(stage)
    assert state.stage is stage
    if (stage, kind) in TRANSITIONS:
        step(state, EVENTS[kind])
    else:
        with pytest.raises(UsageError, match=f"{stage.value} awaits no {kind.__name__}"):
            step(state, EVENTS[kind])
        assert state == in_stage(stage)


@pytest.mark.parametrize("name", ["batch_records", "batch_bytes"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_batch_holds_something(name: str, value: int) -> None:
    """Bounds by which no record could ever leave are refused."""
    bounds: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=name):
        Policy(**bounds)


@pytest.mark.parametrize("name", ["batch_age_s", "poll_every_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, inf, nan])
def test_ages_are_positive_and_finite(name: str, value: float) -> None:
    """Bounds by which the machine would spin, or wait for ever, are refused."""
    bounds: dict[str, Any] = {name: value}
    with pytest.raises(UsageError, match=name):
        Policy(**bounds)
