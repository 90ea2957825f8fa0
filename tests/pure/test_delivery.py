"""The delivery machine, transition by transition."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest
from attrs import evolve

from corelib.errors import UsageError
from corelib.pure.backoff import Backoff
from corelib.pure.delivery import (
    LONG_WAIT_S,
    OTHER_REASONS,
    OUTAGE_FAILURES,
    REASONS_KEPT,
    TRANSITIONS,
    Chance,
    Policy,
    Stage,
    State,
    begin,
    is_drained,
    ledger,
    step,
)
from corelib.pure.delivery_events import (
    Answered,
    Beat,
    CloseAsked,
    Effect,
    Event,
    Notice,
    Offered,
    Open,
    Poll,
    ReadFailed,
    Send,
    SetAside,
    Stop,
    TakeBack,
    Ticked,
    Wait,
)
from corelib.pure.outcomes import Delivered, LateLoss, Ledger, Outcome, Rejected, Retry, RowCount
from corelib.pure.records import FORMAT_VERSION, Alert, ConfigChange, Exit, Header, Preempting, Record, Row

PUSHED = (
    Offered(0.0, [("before", ConfigChange(seq=1, time=0.0, update={}), 10)], end=True),
    Answered(0.0, Delivered(), 0.0),
)
"""A delivery at 0: the next one that is not full has to keep its distance."""

POLICY = Policy(
    batch_records=3,
    batch_bytes=100,
    batch_age_s=10.0,
    poll_every_s=2.0,
    backoff=Backoff(first_s=1.0, limit_s=60.0, jitter=0.5, told_limit_s=900.0),
)
BEATING = evolve(POLICY, heartbeat_s=5.0)
OPENING = Policy(opens=True, batch_age_s=10.0, backoff=POLICY.backoff)
OK = Delivered()
BUSY = Retry(reason="busy")


def entry(seq: int, writer: str = "w", size: int = 10) -> tuple[str, Record, int]:
    return (writer, ConfigChange(seq=seq, time=0.0, update={}), size)


def header(writer: str = "w", segment: int = 1, seq: int = 0) -> tuple[str, Header, int]:
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


def test_the_first_delivery_is_at_once() -> None:
    """A machine that has sent nothing yet does not let a record wait, nor does one that has been idle."""
    state, effects = after(offered(0.0, entry(1)))
    assert sent(effects) == [1]
    state, _ = step(state, answered(0.5, OK))
    state, _ = step(state, offered(0.5))
    state, _ = step(state, Ticked(10.0))
    _, effects = step(state, offered(10.0, entry(2)))

    assert sent(effects) == [2]


def test_a_record_waits_for_company() -> None:
    """A batch that is not full keeps its distance from the last delivery, looking at the journal meanwhile."""
    state, effects = after(*PUSHED, offered(0.1, entry(1)))
    assert effects == (Wait(2.1),)
    for now in (2.0, 4.0, 6.0, 8.0):
        state, effects = step(state, Ticked(now))
        assert effects == (Poll(2),)
        state, effects = step(state, offered(now))
    assert effects == (Wait(10.0),)
    state, _ = step(state, Ticked(10.0))
    _, effects = step(state, offered(10.0, entry(2)))

    assert sent(effects) == [1, 2]


def test_the_distance_counts_from_the_beginning_of_a_delivery() -> None:
    """A backend that answers late does not make the next delivery later than one that answers at once."""
    state, _ = after(offered(0.0, entry(1)))
    state, _ = step(state, answered(9.5, OK))
    state, effects = step(state, offered(9.5, entry(2)))
    assert effects == (Wait(10.0),)

    state, _ = after(offered(0.0, entry(1)))
    state, _ = step(state, answered(50.0, OK))
    assert sent(step(state, offered(50.0, entry(2)))[1]) == [2]


def test_the_writers_of_one_round_do_not_wait_for_each_other() -> None:
    """What was read before a round began leaves in it, of whichever writer; what came later waits for the next."""
    state, effects = after(offered(0.0, entry(1, "a"), entry(1, "b")))
    assert sent(effects) == [1]
    state, _ = step(state, answered(1.0, OK))
    state, effects = step(state, offered(1.0, entry(2, "a")))
    assert isinstance(effects[-1], Send)
    assert (effects[-1].writer, sent(effects)) == ("b", [1])
    _, effects = step(state, answered(1.5, OK))
    assert effects == (Poll(2),)
    state, effects = step(step(state, answered(1.5, OK))[0], offered(1.5))

    assert effects == (Wait(3.5),)


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
    state, _ = after(*PUSHED, offered(0.1, entry(1), entry(2)))
    state, _ = step(state, Ticked(1.0))
    state, _ = step(state, offered(1.0, entry(1), entry(2), entry(2, "b")))
    assert ledger(state) == Ledger(accepted=4, delivered=1, pending=3)

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
    _, effects = after(*PUSHED, offered(0.1, entry(1)), Ticked(10.0), ReadFailed(10.0))

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
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Retry(reason="r", after=5.0))
    )

    assert effects == (Wait(6.0),)


def test_a_long_wait_is_told_at_once_and_only_once() -> None:
    """A backend that wants to be left alone so long refuses a key, or is none: people can do something about it."""
    state, effects = after(
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Retry(reason="401", after=LONG_WAIT_S))
    )
    assert effects == (Notice("Delivery has to wait and goes on trying: 401"), Wait(1.0 + LONG_WAIT_S))
    for count in range(1, OUTAGE_FAILURES + 2):
        state, _ = step(state, Ticked(100.0 * count))
        state, effects = step(state, answered(100.0 * count, Retry(reason="401", after=LONG_WAIT_S)))
        assert texts(effects) == []
    state, _ = step(state, Ticked(1e6))
    assert texts(step(state, answered(1e6, OK))[1]) == ["The backend answers again."]


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


def test_the_end_waits_for_what_other_writers_have_recorded() -> None:
    """Behind the end a backend takes a run for complete, so whatever else is queued leaves before it."""
    end = ("w", Exit(seq=2, time=0.0, exit_code=0, runtime=1.0), 10)
    state, effects = after(offered(0.0, entry(1), end, entry(5, "child")))
    batches = [sent(effects)]
    while state.queue:
        state, _ = step(state, answered(0.0, OK))
        state, effects = step(state, offered(0.0))
        batches.append(sent(effects))
    assert batches == [[1], [5], [2]]


def test_the_end_alone_does_not_keep_its_writer_in_front() -> None:
    """Also where the end has waited longest, the others go first."""
    end = ("w", Exit(seq=1, time=0.0, exit_code=0, runtime=1.0), 10)
    state, effects = after(offered(0.0, end, entry(5, "child"), entry(6, "child")))
    assert sent(effects) == [5, 6]
    state, _ = step(state, answered(0.0, OK))
    assert sent(step(state, offered(0.0))[1]) == [1]


def test_named_records_are_rejected_and_the_rest_is_delivered() -> None:
    """A rejection that names records counts those, with the reason, and the others as delivered."""
    state, effects = after(
        offered(0.0, entry(1), entry(2), entry(3)),
        answered(1.0, Rejected(reason="too long", seqs=(2, 2, 99))),
    )

    assert ledger(state) == Ledger(accepted=3, delivered=2, reasons={"too long": 1})
    assert texts(effects) == ["1 of 3 records are refused for good: too long"]
    assert effects[1:] == (
        SetAside(writer="w", records=(ConfigChange(seq=2, time=0.0, update={}),), reason="too long"),
        Poll(3),
    )


@pytest.mark.parametrize("seqs", [(), (77, 78)])
def test_a_rejection_that_names_none_of_the_batch_rejects_all(seqs: tuple[int, ...]) -> None:
    """Nothing is called safe on a doubtful answer."""
    state, _ = after(
        offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, Rejected(reason="no", seqs=seqs))
    )

    assert ledger(state) == Ledger(accepted=3, reasons={"no": 3})
    assert state.settled == {"w": 3}


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


# What an earlier delivery left.


def test_an_earlier_delivery_is_continued() -> None:
    """Its books are taken over, its settled records are not taken again, its headers accompany what follows."""
    earlier = Ledger(accepted=5, delivered=3, pending=1, reasons={"no": 1})
    state = begin(POLICY, {"w": 4}, headers={"w": header()[1]}, earlier=earlier, settled_bytes=40)
    assert ledger(state) == Ledger(accepted=4, delivered=3, reasons={"no": 1})
    state, _ = step(state, Ticked(0.0))
    state, effects = step(state, offered(0.0, entry(4), entry(5)))
    assert sent(effects) == [5]
    assert isinstance(effects[-1], Send)
    assert effects[-1].header == header()[1]
    state, _ = step(state, answered(0.0, OK))

    assert ledger(state) == Ledger(accepted=5, delivered=4, reasons={"no": 1})
    assert (state.settled, state.settled_bytes) == ({"w": 5}, 50)


# Signs of life.


def test_an_idle_backend_gets_a_sign_of_life() -> None:
    """After so long without contact there is a heartbeat, and the next one as long after its answer."""
    state, effects = after(offered(0.0), policy=BEATING)
    assert effects == (Wait(2.0),)
    for now in (2.0, 4.0):
        state, _ = step(state, Ticked(now))
        state, effects = step(state, offered(now))
    assert effects == (Wait(5.0),)
    state, _ = step(state, Ticked(5.0))
    state, effects = step(state, offered(5.0))
    assert effects == (Beat(),)
    state, effects = step(state, answered(6.0, OK))
    assert effects == (Poll(3),)
    state, _ = step(state, offered(6.0))
    state, _ = step(state, Ticked(10.5))
    assert step(state, offered(10.5))[1] == (Wait(11.0),)


def test_a_delivery_is_a_sign_of_life() -> None:
    """Contact counts from the last answer, whatever was asked."""
    state, _ = after(offered(0.0), Ticked(4.0), offered(4.0, entry(1)), answered(4.5, OK), policy=BEATING)
    state, _ = step(state, offered(4.5))
    state, _ = step(state, Ticked(5.0))

    assert step(state, offered(5.0))[1] == (Wait(7.0),)


def test_a_failing_heartbeat_is_a_failure() -> None:
    """A backend that cannot be reached idle is waited for as in a delivery; one that refuses is there."""
    beating = (offered(0.0), Ticked(5.0), offered(5.0))
    state, effects = after(*beating, answered(5.0, BUSY), policy=BEATING)
    assert effects == (Wait(6.0),)
    state, _ = step(state, Ticked(6.0))
    state, effects = step(state, offered(6.0))
    assert effects == (Beat(),)
    state, _ = step(state, answered(6.0, Rejected(reason="no such thing")))

    assert state.failures == 0
    assert step(state, offered(6.0))[1] == (Wait(8.0),)


def test_no_sign_of_life_where_none_is_due() -> None:
    """A run that is refused gets none, nor does one that is being closed, nor a backend that wants none."""
    refused = evolve(OPENING, heartbeat_s=5.0)
    _, effects = after(
        answered(0.0, Rejected(reason="no")), offered(0.0), Ticked(9.0), offered(9.0), policy=refused
    )
    assert effects == (Wait(10.0),)
    state, _ = after(offered(0.0), Ticked(9.0), policy=BEATING)
    state, _ = step(state, CloseAsked(9.0, 5.0))
    assert step(state, ReadFailed(9.0))[1] == (Wait(11.0),)
    assert after(offered(0.0), Ticked(900.0), offered(900.0))[1] == (Wait(902.0),)


def test_a_wait_is_never_of_nothing() -> None:
    """Where the clock is so large that a heartbeat is due a rounding error from now, the machine still waits."""
    policy = evolve(POLICY, heartbeat_s=0.1)
    begun = 2.0**52
    state, _ = step(begin(policy), Ticked(begun))
    _, effects = step(state, offered(begun))

    assert effects == (Wait(begun + 1.0),)


# The breaker.


def failing(number: int, told: float | None = None) -> tuple[State, list[str]]:
    """Let so many attempts fail; return the state, and what was told."""
    state, _ = after(offered(0.0, entry(1), entry(2), entry(3)))
    said: list[str] = []
    for count in range(number):
        state, effects = step(state, answered(1000.0 * count, Retry(reason="down", after=told)))
        said += texts(effects)
        if count < number - 1:
            state, _ = step(state, Ticked(1000.0 * (count + 1)))
    return state, said


def test_the_breaker_makes_attempts_rare_and_says_so_once() -> None:
    """After many failures in a row the wait stays long, and one line tells that."""
    state, said = failing(10)
    assert state.retry_at == 9000.0 + 300.0
    assert said[1:] == [
        "10 attempts in a row have failed, so one is made every 300 s from now on; nothing is lost meanwhile. "
        "The last reason: down"
    ]
    state, _ = step(state, Ticked(9300.0))
    state, effects = step(state, answered(9300.0, BUSY))
    assert effects == (Wait(9600.0),)


def test_a_poke_tries_an_open_breaker_once() -> None:
    """While the breaker is open, whoever pokes gets one attempt, and after its failure the long wait again."""
    state, effects = step(failing(10)[0], Ticked(9001.0))
    assert sent(effects) == [1, 2, 3]
    state, effects = step(state, answered(9001.0, BUSY))
    assert effects == (Wait(9301.0),)
    assert step(failing(9)[0], Ticked(8001.0))[1] == (Wait(8060.0),)


def test_closing_an_open_breaker_tries_at_once() -> None:
    """Somebody waits: the breaker is tried, and waits start small again."""
    state, _ = step(failing(10)[0], CloseAsked(9001.0, 30.0))
    state, effects = step(state, Ticked(9001.0))
    assert sent(effects) == [1, 2, 3]

    assert step(state, answered(9001.0, BUSY))[1] == (Wait(9002.0),)


def test_waits_that_were_asked_for_do_not_open_the_breaker() -> None:
    """A backend that says when it wants the batch again is asked then, however often, and poked for nothing."""
    state, said = failing(30, told=20.0)
    assert len(said) == 1
    assert state.retry_at == 29_000.0 + 20.0
    assert step(state, Ticked(29_001.0))[1] == (Wait(29_020.0),)


def test_the_breaker_closes_with_the_first_answer() -> None:
    """After an answer the waits begin small."""
    state, _ = step(failing(12)[0], Ticked(11_300.0))
    state, effects = step(state, answered(11_300.0, OK))
    assert texts(effects) == ["The backend answers again."]
    state, _ = step(state, offered(11_300.0, entry(4), entry(5), entry(6)))

    assert step(state, answered(11_300.0, BUSY))[1] == (Wait(11_301.0),)


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
    assert effects[1:] == (SetAside(writer=None, records=(), reason="no such project"), Poll(1000))
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
    assert state.settled == {}  # whoever delivers the run one day begins where this one was refused


# Closing.


def test_closing_has_no_effects_of_its_own() -> None:
    """A request to close changes the aim and leaves the step under way."""
    for state in (after()[0], after(offered(0.0))[0], after(policy=OPENING)[0]):
        closing, effects = step(state, CloseAsked(0.0, 5.0))

        assert effects == ()
        assert closing.stage is state.stage


def test_closing_drains_what_is_there() -> None:
    """After the request everything is read and sent without waiting for company, then it stops."""
    state, _ = after(*PUSHED, offered(0.1, entry(1)))
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
    assert is_drained(state)
    assert ledger(state) == Ledger(accepted=3, delivered=3)


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
    state, _ = after(*PUSHED, offered(0.1, entry(1)))
    state, _ = step(state, CloseAsked(0.5, timeout))
    state, effects = step(state, Ticked(0.5))

    assert effects == (Stop(),)
    assert not is_drained(state)


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
        Stage.BEATING: after(offered(0.0), Ticked(5.0), offered(5.0), policy=BEATING)[0],
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


# What does not wait, and what is told apart.


@pytest.mark.parametrize(
    "record",
    [
        Preempting(seq=2, time=0.0),
        Alert(seq=2, time=0.0, title="t", text="t", level="INFO", wait_duration=0.0),
    ],
)
def test_what_somebody_waits_for_does_not_wait_for_company(record: Record) -> None:
    """An alert or a preemption leaves at once, with all that stands before it."""
    assert not isinstance(after(*PUSHED, offered(0.1, entry(1)))[1][-1], Send)
    assert sent(after(*PUSHED, offered(0.1, entry(1), ("w", record, 10)))[1]) == [1, 2]


def test_each_refused_record_is_set_aside_with_its_own_reason() -> None:
    """A transport that refuses records for several reasons is quoted on each of them."""
    refusal = Rejected(reason="too long", seqs=(1, 3), reasons={3: "missing"})
    state, effects = after(offered(0.0, entry(1), entry(2), entry(3)), answered(1.0, refusal))

    aside = [effect for effect in effects if isinstance(effect, SetAside)]
    assert [(one.reason, [record.seq for record in one.records]) for one in aside] == [
        ("too long", [1]),
        ("missing", [3]),
    ]
    assert ledger(state).reasons == {"too long": 1, "missing": 1}
    assert ledger(state).delivered == 1


def row(seq: int, writer: str = "w") -> tuple[str, Record, int]:
    return (writer, Row(seq=seq, time=0.0, step=seq, data={}), 10)


def test_rows_are_counted_apart() -> None:
    """What counts is what the process that began the run has logged, delivered or refused."""
    _, other, size = header("child")
    child = ("child", evolve(other, primary=False), size)
    state, _ = after(
        offered(0.0, header(), row(1), entry(2), row(3)),
        answered(1.0, Rejected(reason="too long", seqs=(2, 3))),
        offered(1.0, child, row(1, "child"), end=True),
        Ticked(11.0),
        offered(11.0),
        answered(12.0, OK),
    )

    assert ledger(state).rows == RowCount(delivered=1, reasons={"too long": 1})
    assert ledger(state).rejected == 2


def test_the_rows_of_a_refused_run_are_refused() -> None:
    """Where the whole run is refused, its rows are counted with the same reason."""
    refused = answered(0.0, Rejected(reason="no such project"))
    state, _ = after(refused, offered(0.0, row(1), entry(2)), policy=OPENING)

    assert ledger(state).rows == RowCount(reasons={"no such project": 1})


def test_the_rows_of_an_earlier_delivery_are_kept() -> None:
    """A delivery goes on counting where the one before it ended."""
    earlier = Ledger(accepted=3, delivered=3, rows=RowCount(delivered=2))

    assert ledger(begin(POLICY, earlier=earlier)).rows == RowCount(delivered=2)


def test_what_is_in_the_way_is_known_until_it_is_gone() -> None:
    """The words of the latest failure stay until something is answered for good."""
    state, _ = after(offered(0.0, entry(1)), answered(1.0, BUSY))
    assert state.hindrance == "busy"

    state, _ = step(state, Ticked(3.0))
    state, _ = step(state, answered(3.0, OK))
    assert state.hindrance is None


def test_the_end_of_a_run_goes_behind_all_else() -> None:
    """What stands before it is answered without it, and nothing of its writer overtakes it."""
    end = ("w", Exit(seq=2, time=0.0, exit_code=0, runtime=1.0), 10)
    state, effects = after(offered(0.0, entry(1), end, entry(3)))
    assert sent(effects) == [1]

    state, _ = step(state, answered(1.0, OK))
    assert sent(step(state, offered(1.0))[1]) == [2, 3]


# What was refused gets another chance; what was called safe may be lost.


def chance(seq: int, reason: str | None, writer: str = "w") -> Chance:
    return Chance(writer, entry(seq)[1], reason)


def through(state: State, *events: Event) -> tuple[State, tuple[Effect, ...]]:
    """Return where these events lead, one after the other, and the last effects."""
    effects: tuple[Effect, ...] = ()
    for event in events:
        state, effects = step(state, event)
    return state, effects


def continued(*chances: Chance, **reasons: int) -> State:
    """Return a delivery that goes on behind one in which records were refused, and has found nothing else to do."""
    earlier = Ledger(accepted=2 + sum(reasons.values()), delivered=2, reasons=reasons)
    state = begin(POLICY, {"w": 9, "v": 9}, earlier=earlier, chances=chances)
    return through(state, Ticked(0.0), offered(0.0))[0]


def test_chances_go_last_by_writer_and_count_as_refused_until_they_are_taken() -> None:
    """In batches as others, and again as long as the backend is busy; what it refuses again stays what it is."""
    chances = (chance(1, "no"), chance(2, "no", "v"), chance(3, "gone"), chance(4, "no"), chance(5, None))
    state = continued(*chances, no=3, gone=1)
    state, effects = step(state, answered(1.0, BUSY))
    assert ledger(state).reasons == {"no": 3, "gone": 1}
    state, effects = through(state, Ticked(9.0), offered(9.0))
    assert sent(effects) == [1, 3, 4]
    assert isinstance(effects[-1], Send)
    assert effects[-1].again
    assert not is_drained(evolve(state, caught_up=True))

    state, effects = step(state, answered(10.0, Rejected(reason="other", seqs=(4,))))
    assert effects == (TakeBack(writer="w", records=(chances[0].record, chances[2].record)), Poll(3))
    assert ledger(state) == Ledger(accepted=6, delivered=4, reasons={"no": 2})
    state, effects = step(state, offered(10.0))
    assert sent(effects) == [2]
    state, effects = step(state, answered(11.0, Rejected(reason="all of it")))
    assert effects == (Poll(3),)
    state, effects = step(state, offered(11.0))
    assert sent(effects) == [5]
    state, effects = step(state, answered(12.0, OK))
    assert effects == (TakeBack(writer="w", records=(chances[4].record,)), Poll(3))  # it was counted before
    assert ledger(state) == Ledger(accepted=6, delivered=4, reasons={"no": 2})
    state, _ = step(state, offered(13.0))
    assert is_drained(state)


def test_nothing_waits_for_what_is_sent_again() -> None:
    """What the journal has goes first, also when it came while the backend was busy with what it had refused."""
    state = begin(POLICY, {"w": 9}, earlier=Ledger(accepted=1, reasons={"no": 1}), chances=(chance(1, "no"),))
    state, effects = through(state, Ticked(0.0), offered(0.0, entry(10)))
    assert sent(effects) == [10]
    state, effects = through(state, answered(0.0, OK), offered(0.0))
    assert sent(effects) == [1]
    state, effects = through(state, answered(1.0, BUSY), Ticked(20.0), offered(20.0, entry(11)))
    assert sent(effects) == [11]
    assert isinstance(effects[-1], Send)
    assert not effects[-1].again
    state, effects = through(state, answered(20.0, OK), offered(20.0))
    assert sent(effects) == [1]


def test_chances_of_one_kind_go_together_and_alerts_first() -> None:
    """An alert that was taken is noted before a file is on its way, for longer than the machine may last."""
    alert = Alert(seq=2, time=0.0, title="t", text="", level="INFO", wait_duration=0.0)
    chances = (chance(1, "no"), Chance("w", alert, "no"), chance(3, "no"))
    state, effects = step(continued(*chances, no=3), answered(1.0, OK))
    assert effects == (TakeBack(writer="w", records=(alert,)), Poll(3))
    state, effects = step(state, offered(1.0))
    assert sent(effects) == [1, 3]
    state, effects = step(state, answered(2.0, OK))
    assert effects[0] == TakeBack(writer="w", records=(chances[0].record, chances[2].record))
    assert ledger(state) == Ledger(accepted=5, delivered=5)


def test_a_chance_whose_reason_was_counted_with_others() -> None:
    """It is one of them; where nothing is counted, nothing moves."""
    state, _ = step(continued(chance(1, "no"), **{OTHER_REASONS: 2}), answered(1.0, OK))
    assert ledger(state) == Ledger(accepted=4, delivered=3, reasons={OTHER_REASONS: 1})
    state, _ = step(continued(chance(1, "no"), gone=1), answered(1.0, OK))
    assert ledger(state) == Ledger(accepted=3, delivered=2, reasons={"gone": 1})


def test_a_refused_run_has_no_chances() -> None:
    """So it comes to its end."""
    state = begin(OPENING, chances=(chance(1, "no"),))
    for event in (Ticked(0.0), answered(0.0, Rejected(reason="no project")), offered(1.0)):
        state, _ = step(state, event)
    assert is_drained(state)


@pytest.mark.parametrize("stage", ["open", "deliver", "redeliver", "heartbeat"])
def test_what_was_called_safe_and_is_lost_is_counted_so(stage: str) -> None:
    """With every answer, once it was settled; what was not, or was never delivered, is not counted twice."""
    lost = entry(1)[1]
    outcome = Delivered(late=(LateLoss("w", lost, "x" * 400), LateLoss("w", entry(99)[1], "not sent yet")))
    chances = (chance(2, "no"),) if stage == "redeliver" else ()
    policy = evolve(BEATING, opens=stage == "open")
    reasons = {"no": 1} if chances else {}
    earlier = Ledger(accepted=1 + len(chances), delivered=1, reasons=reasons)
    state = begin(policy, {"w": 9}, earlier=earlier, chances=chances)
    events: dict[str, tuple[Event, ...]] = {
        "deliver": (offered(0.0, entry(10)),),
        "redeliver": (offered(0.0),),
        "heartbeat": (offered(0.0), Ticked(2.0), offered(2.0), Ticked(9.0), offered(9.0)),
    }
    for event in (Ticked(0.0), *events.get(stage, ())):
        state, _ = step(state, event)
    before = ledger(state)
    state, effects = step(state, answered(9.0, outcome))

    (aside,) = [effect for effect in effects if isinstance(effect, SetAside)]
    assert aside == SetAside(writer="w", records=(lost,), reason="x" * 299 + "…")
    after_all = ledger(state)
    assert after_all.accepted == before.accepted
    assert after_all.rejected == 1
    state = evolve(state, delivered=0, accepted=1)
    assert ledger(step(evolve(state, stage=Stage.BEATING), answered(10.0, outcome))[0]) == ledger(state)
