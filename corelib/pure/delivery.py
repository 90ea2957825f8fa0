"""The delivery machine: what to do next with the records of a journal and one transport.

Law: accepted = delivered + pending + rejected, at every moment. Records of one writer leave in their order,
one batch is in flight at a time and comes again unchanged until it is answered for good. What was refused and gets
another chance goes when nothing else waits, and counts as refused until it is taken. Every wait has an
end, and a machine that was asked to close stops, at its deadline at the latest. Time and chance arrive with
the events.

    stage      effect that leads there   event that leads on
    WAITING    Wait(until)               Ticked       time has passed, or somebody poked
    READING    Poll(limit)               Offered      what the journal had
                                         ReadFailed   it cannot be read just now
    OPENING    Open()                    Answered     the transport's answer to `open`
    SENDING    Send(…)                   Answered     the transport's answer to `deliver` or `redeliver`
    BEATING    Beat()                    Answered     the transport's answer to `heartbeat`
    STOPPED    Stop()                    none

Every event but `CloseAsked` answers one effect and yields the next one, as the last of `effects`; notices and
records to be set aside may stand before it. `CloseAsked` changes the aim and not the step under way: it may
come at any time before the stop, and has no effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isfinite, nextafter
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from attrs import evolve

from corelib.errors import UsageError
from corelib.pure.backoff import was_told
from corelib.pure.delivery_counts import (
    OTHER_REASONS,
    REASONS_KEPT,
    count_rows,
    counted,
    lost,
    next_chances,
    redelivered,
    refused_in,
    shortened,
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
    Ticked,
    Wait,
)
from corelib.pure.delivery_state import (
    Chance,
    Parcel,
    Policy,
    Stage,
    State,
    begin,
    is_drained,
    ledger,
)
from corelib.pure.outcomes import Rejected, Retry
from corelib.pure.records import Alert, Exit, Header, Preempting, Record

__all__ = [
    "LONG_WAIT_S",
    "OTHER_REASONS",
    "OUTAGE_FAILURES",
    "REASONS_KEPT",
    "TRANSITIONS",
    "Chance",
    "Parcel",
    "Policy",
    "Stage",
    "State",
    "begin",
    "is_drained",
    "ledger",
    "step",
]

OUTAGE_FAILURES: Final = 3  # failures in a row before anybody is told: one lost answer is no news
LONG_WAIT_S: Final = 10.0  # such a wait, in seconds, is told at once: a key is refused, or a proxy answers
_URGENT: Final = (Alert, Preempting)

Step: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> Step:
    """Return the next state and what to do.

    Raises:
        UsageError: the event answers nothing that is under way; the state stays as it was.
    """
    transition = TRANSITIONS.get((state.stage, type(event)))
    if transition is None:
        raise UsageError(f"A delivery that is {state.stage.value} awaits no {type(event).__name__}.")
    return transition(state, event)


def _ticked(state: State, event: Ticked) -> Step:
    state = evolve(state, caught_up=False)
    if state.policy.backoff.is_open(state.doublings) and not state.told:
        # The wait is over, or somebody poked: while the breaker is open, that is worth one attempt.
        state = evolve(state, retry_at=None)
    return _proceed(state, event.now)


def _offered(state: State, event: Offered) -> Step:
    headers, last_seq = dict(state.headers), dict(state.last_seq)
    parcels: list[Parcel] = []
    for writer, record, size in event.entries:
        if type(record) is Header:
            headers[writer] = record
        elif record.seq > last_seq.get(writer, -1):
            last_seq[writer] = record.seq
            parcels.append(Parcel(writer, record, size, event.now))
    state = evolve(
        state,
        headers=MappingProxyType(headers),
        last_seq=MappingProxyType(last_seq),
        accepted=state.accepted + len(parcels),
        caught_up=event.end,
        blind=False,
    )
    if state.refusal is None:
        state = evolve(state, queue=(*state.queue, *parcels))
    elif parcels:
        # Counted and not settled: who may deliver the run one day begins where this one was refused.
        state = evolve(
            state,
            reasons=counted(state.reasons, state.refusal, len(parcels)),
            rows=count_rows(state, parcels, {parcel.record.seq: state.refusal for parcel in parcels}),
        )
    return _proceed(state, event.now)


def _read_failed(state: State, event: ReadFailed) -> Step:
    return _proceed(evolve(state, caught_up=True, blind=True), event.now)


def _opened(state: State, event: Answered) -> Step:
    if isinstance(event.outcome, Retry):
        return _postponed(state, event, event.outcome)
    said = _recovery(state)
    if isinstance(event.outcome, Rejected):
        refusal = shortened(event.outcome.reason)
        state = evolve(state, refusal=refusal, chances=())
        said += (
            Notice(f"The run is refused for good, and none of its records can be delivered: {refusal}"),
            SetAside(writer=None, records=(), reason=refusal),
        )
    state, set_aside = lost(_answered_for_good(state, event.now, opened=True), event.outcome)
    return _after(said + set_aside, _proceed(state, event.now))


def _delivered(state: State, event: Answered) -> Step:
    if isinstance(event.outcome, Retry):
        return _postponed(state, event, event.outcome)
    said = _recovery(state)
    if not state.flight:
        state, taken_back = redelivered(_answered_for_good(state, event.now), event.outcome)
        state, set_aside = lost(state, event.outcome)
        return _after(said + taken_back + set_aside, _proceed(state, event.now))
    flight = state.flight
    refused = refused_in([parcel.record for parcel in flight], event.outcome)
    by_reason: dict[str, list[Record]] = {}
    for parcel in flight:
        if parcel.record.seq in refused:
            by_reason.setdefault(refused[parcel.record.seq], []).append(parcel.record)
    for reason, records in by_reason.items():
        if reason not in state.reasons and len(state.reasons) < REASONS_KEPT:
            said += (Notice(f"{len(records)} of {len(flight)} records are refused for good: {reason}"),)
        said += (SetAside(writer=flight[0].writer, records=tuple(records), reason=reason),)
        state = evolve(state, reasons=counted(state.reasons, reason, len(records)))
    state = _answered_for_good(
        state,
        event.now,
        flight=(),
        rows=count_rows(state, flight, refused),
        delivered=state.delivered + len(flight) - len(refused),
        settled=MappingProxyType({**state.settled, flight[0].writer: flight[-1].record.seq}),
        settled_bytes=state.settled_bytes + sum(parcel.size for parcel in flight),
    )
    state, set_aside = lost(state, event.outcome)
    return _after(said + set_aside, _proceed(state, event.now))


def _beaten(state: State, event: Answered) -> Step:
    if isinstance(event.outcome, Retry):
        return _postponed(state, event, event.outcome)
    # A heartbeat that the backend will not have is an answer as well: it shows that the backend is there.
    said = _recovery(state)
    state, set_aside = lost(_answered_for_good(state, event.now), event.outcome)
    return _after(said + set_aside, _proceed(state, event.now))


def _answered_for_good(state: State, now: float, **changes: Any) -> State:
    """Forget the failures; and the journal may have grown while the answer was awaited."""
    return evolve(
        state,
        contact_at=now,
        failures=0,
        doublings=0,
        retry_at=None,
        told=False,
        reported=False,
        hindrance=None,
        caught_up=False,
        **changes,
    )


def _postponed(state: State, event: Answered, retry: Retry) -> Step:
    backoff = state.policy.backoff
    told = was_told(retry.after)
    failures, doublings = state.failures + 1, state.doublings + (not told)
    wait_s = backoff.wait_s(doublings, event.entropy, retry.after)
    said: tuple[Effect, ...] = ()
    if not state.reported and (failures >= OUTAGE_FAILURES or wait_s >= LONG_WAIT_S):
        state = evolve(state, reported=True)
        said = (Notice(f"Delivery has to wait and goes on trying: {shortened(retry.reason)}"),)
    if doublings == backoff.breaker_failures and not told:
        every_s = f"{backoff.breaker_wait_s:g} s"
        said += (
            Notice(
                f"{failures} attempts in a row have failed, so one is made every {every_s} from now on; nothing is "
                f"lost meanwhile. The last reason: {shortened(retry.reason)}"
            ),
        )
    state = evolve(
        state,
        failures=failures,
        doublings=doublings,
        retry_at=event.now + wait_s,
        told=told,
        hindrance=shortened(retry.reason),
    )
    return _after(said, _proceed(state, event.now))


def _close_asked(state: State, event: CloseAsked) -> Step:
    if not isfinite(event.timeout):
        raise UsageError(f"Closing needs a finite number of seconds, and was given {event.timeout}.")
    # Somebody waits now: our own caution starts anew, what the backend asked for stands.
    retry_at = state.retry_at if state.told else None
    deadline = event.now + max(event.timeout, 0.0)
    return evolve(state, deadline=deadline, retry_at=retry_at, doublings=0, caught_up=False), ()


def _proceed(state: State, now: float) -> Step:
    """Choose what comes next."""
    policy = state.policy
    if state.deadline is not None and (now >= state.deadline or is_drained(state)):
        return evolve(state, stage=Stage.STOPPED), (Stop(),)
    if state.retry_at is not None and now < state.retry_at:
        return _wait(state, state.retry_at)
    if not state.opened:
        return evolve(state, stage=Stage.OPENING), (Open(),)
    if state.flight:
        return _send(state)
    room = _room(state)
    if room and not state.caught_up:
        return evolve(state, stage=Stage.READING), (Poll(room),)
    if state.chances and not state.queue:
        return _send(state)
    look_at = now + policy.poll_every_s
    if not state.queue:
        return _idle(state, now, look_at)
    due = _due(state)
    if not room or now >= due or state.deadline is not None:
        return _send(_batched(state, now))
    return _idle(state, now, min(due, look_at))


def _idle(state: State, now: float, until: float) -> Step:
    """Wait; with a sign of life where the backend has had none for long."""
    every_s = state.policy.heartbeat_s
    if every_s is None or state.refusal is not None or state.deadline is not None:
        return _wait(state, until)
    contact_at = now if state.contact_at is None else state.contact_at
    state = evolve(state, contact_at=contact_at)
    if now - contact_at >= every_s:
        return evolve(state, stage=Stage.BEATING), (Beat(),)
    # Never a wait of nothing, which adding a small number to a large one can be.
    return _wait(state, max(min(until, contact_at + every_s), nextafter(now, inf)))


def _due(state: State) -> float:
    """Return when the oldest record in the queue is to leave: with its round, or when the next one may begin.

    What people or machines are waiting for does not wait for company, and takes along what stands before it.
    """
    oldest = state.queue[0].read_at
    if any(type(parcel.record) in _URGENT for parcel in state.queue):
        return oldest
    return oldest if oldest <= state.round_at else state.round_at + state.policy.batch_age_s


def _room(state: State) -> int:
    """How many records may still be read: what is held is the batch in flight and the next one, no more."""
    if sum(parcel.size for parcel in state.queue) >= state.policy.batch_bytes:
        return 0
    return max(state.policy.batch_records - len(state.queue), 0)


def _batched(state: State, now: float) -> State:
    """Take the next batch of the writer that has waited longest from the queue; it may begin a new round.

    The end of the run waits for what other writers have recorded: behind it a backend takes a run for complete. And it
    never goes with what stands before it, for it may wait for what no row has to wait for.
    """
    policy, oldest = state.policy, state.queue[0]
    writer = next((parcel.writer for parcel in state.queue if type(parcel.record) is not Exit), oldest.writer)
    is_alone = all(parcel.writer == writer for parcel in state.queue)
    round_at = state.round_at if oldest.read_at <= state.round_at else now
    taken: list[Parcel] = []
    left: list[Parcel] = []
    size, fits = 0, True
    for parcel in state.queue:
        if parcel.writer == writer and fits:
            size += parcel.size
            fits = not taken or (len(taken) < policy.batch_records and size <= policy.batch_bytes)
            fits = fits and (type(parcel.record) is not Exit or (is_alone and not taken))
        (taken if parcel.writer == writer and fits else left).append(parcel)
    return evolve(state, queue=tuple(left), flight=tuple(taken), round_at=round_at)


def _send(state: State) -> Step:
    if not state.flight:
        chances, _ = next_chances(state)
        writer = chances[0].writer
        again = tuple(chance.record for chance in chances)
        send = Send(writer=writer, header=state.headers.get(writer), records=again, again=True)
        return evolve(state, stage=Stage.SENDING), (send,)
    writer = state.flight[0].writer
    records = tuple(parcel.record for parcel in state.flight)
    send = Send(writer=writer, header=state.headers.get(writer), records=records)
    return evolve(state, stage=Stage.SENDING), (send,)


def _wait(state: State, until: float) -> Step:
    if state.deadline is not None:
        until = min(until, state.deadline)
    return evolve(state, stage=Stage.WAITING), (Wait(until),)


def _after(said: tuple[Effect, ...], following: Step) -> Step:
    state, effects = following
    return state, said + effects


def _recovery(state: State) -> tuple[Effect, ...]:
    return (Notice("The backend answers again."),) if state.reported else ()


TRANSITIONS: Final[Mapping[tuple[Stage, type[Any]], Callable[[State, Any], Step]]] = MappingProxyType(
    {
        (Stage.WAITING, Ticked): _ticked,
        (Stage.READING, Offered): _offered,
        (Stage.READING, ReadFailed): _read_failed,
        (Stage.OPENING, Answered): _opened,
        (Stage.SENDING, Answered): _delivered,
        (Stage.BEATING, Answered): _beaten,
        (Stage.WAITING, CloseAsked): _close_asked,
        (Stage.READING, CloseAsked): _close_asked,
        (Stage.OPENING, CloseAsked): _close_asked,
        (Stage.SENDING, CloseAsked): _close_asked,
        (Stage.BEATING, CloseAsked): _close_asked,
    }
)
"""Which event leads on from which stage; an absent entry is an error and leaves the state alone."""
