"""The books of the delivery machine: what answers mean for the records that they are about.

Law: accepted = delivered + pending + rejected, whatever is answered: each record is in one place, and moves from
refused to delivered when it is taken after all, or the other way when it is lost after all. Reasons are bounded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from attrs import evolve

from corelib.pure.delivery_events import Effect, SetAside, TakeBack
from corelib.pure.delivery_state import Chance, Parcel, State
from corelib.pure.outcomes import Outcome, Rejected, Retry, RowCount
from corelib.pure.records import Alert, Record, Row

__all__ = [
    "OTHER_REASONS",
    "REASONS_KEPT",
    "count_rows",
    "counted",
    "lost",
    "next_chances",
    "redelivered",
    "refused_in",
    "shortened",
]

REASONS_KEPT: Final = 20  # reasons counted apart; a backend that words each refusal anew must not fill memory
OTHER_REASONS: Final = "other reasons"
_REASON_CHARACTERS: Final = 300


def refused_in(records: Sequence[Record], outcome: Outcome) -> dict[int, str]:
    """Return why each refused record is refused; where none is named, all are."""
    if not isinstance(outcome, Rejected):
        return {}
    seqs = [record.seq for record in records]
    named = set(outcome.seqs).intersection(seqs) or seqs
    return {seq: shortened(outcome.reasons.get(seq, outcome.reason)) for seq in named}


def count_rows(state: State, parcels: Sequence[Parcel], refused: Mapping[int, str]) -> RowCount:
    """Count the rows of the process that began the run."""
    rows = state.rows
    reasons, delivered = rows.reasons, rows.delivered
    for parcel in parcels:
        header = state.headers.get(parcel.writer)
        if type(parcel.record) is Row and (header is None or header.primary):
            reason = refused.get(parcel.record.seq)
            if reason is None:
                delivered += 1
            else:
                reasons = counted(reasons, reason, 1)
    return RowCount(delivered=delivered, reasons=reasons)


def redelivered(state: State, outcome: Outcome) -> tuple[State, tuple[Effect, ...]]:
    """Count what is taken after all as delivered; what is refused again stays what it is."""
    tried, left = next_chances(state)
    refused = refused_in([chance.record for chance in tried], outcome)
    taken = tuple(chance for chance in tried if chance.record.seq not in refused)
    reasons, delivered = dict(state.reasons), state.delivered
    for chance in taken:
        reason = OTHER_REASONS if chance.reason not in reasons else chance.reason
        if chance.reason is not None and reason in reasons:
            delivered += 1
            reasons[reason] -= 1
            if not reasons[reason]:
                del reasons[reason]
    said: tuple[Effect, ...] = ()
    if taken:
        said = (TakeBack(writer=taken[0].writer, records=tuple(chance.record for chance in taken)),)
    return evolve(state, chances=left, delivered=delivered, reasons=MappingProxyType(reasons)), said


def next_chances(state: State) -> tuple[tuple[Chance, ...], tuple[Chance, ...]]:
    """Return those that go next, which are of one writer and of one kind, and the others.

    Of one kind, for an alert that is taken is to be noted before a file is on its way for long; people wait for it.
    """
    head = next((chance for chance in state.chances if type(chance.record) is Alert), state.chances[0])
    writer, kind = head.writer, type(head.record)
    first: list[Chance] = []
    others: list[Chance] = []
    for chance in state.chances:
        is_alike = chance.writer == writer and type(chance.record) is kind
        fits = is_alike and len(first) < state.policy.batch_records
        (first if fits else others).append(chance)
    return tuple(first), tuple(others)


def lost(state: State, outcome: Outcome) -> tuple[State, tuple[Effect, ...]]:
    """Count as refused what earlier answers called safe, and what will not come after all."""
    said: tuple[Effect, ...] = ()
    for loss in () if isinstance(outcome, Retry) else outcome.late:
        if state.delivered and loss.record.seq <= state.settled.get(loss.writer, -1):
            reason = shortened(loss.reason)
            state = evolve(state, delivered=state.delivered - 1, reasons=counted(state.reasons, reason, 1))
            said += (SetAside(writer=loss.writer, records=(loss.record,), reason=reason),)
    return state, said


def counted(reasons: Mapping[str, int], reason: str, number: int) -> Mapping[str, int]:
    """Return the counts with so many more under a reason, or under the common one when there are too many."""
    if reason not in reasons and len(reasons) >= REASONS_KEPT:
        reason = OTHER_REASONS
    return MappingProxyType({**reasons, reason: reasons.get(reason, 0) + number})


def shortened(reason: str) -> str:
    """Return a reason as it is kept."""
    return reason if len(reason) <= _REASON_CHARACTERS else reason[: _REASON_CHARACTERS - 1] + "…"
