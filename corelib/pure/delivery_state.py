"""What the delivery machine knows, and the bounds it keeps.

Law: a state is a value, and its books balance: accepted = delivered + pending + rejected. Everything of a writer
up to `settled` is delivered or rejected for good, and nothing beyond it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from math import inf, isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from corelib.errors import UsageError
from corelib.pure.backoff import Backoff
from corelib.pure.outcomes import Ledger, RowCount
from corelib.pure.records import Header, Record

__all__ = ["Chance", "Parcel", "Policy", "Stage", "State", "begin", "is_drained", "ledger"]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_NO_ROWS: Final = RowCount()


class Stage(Enum):
    """Which effect is being performed."""

    WAITING = "waiting"
    READING = "reading"
    OPENING = "opening"
    SENDING = "sending"
    BEATING = "beating"
    STOPPED = "stopped"


def _at_least_one(_: object, attribute: Any, value: int) -> None:
    if value < 1:
        raise UsageError(f"A delivery needs {attribute.name} of at least 1, and was given {value}.")


def _positive_seconds(_: object, attribute: Any, value: float | None) -> None:
    if value is not None and not (isfinite(value) and value > 0):
        raise UsageError(
            f"A delivery needs {attribute.name} as a positive finite number, and was given {value}."
        )


@frozen(kw_only=True)
class Policy:
    """The bounds of one delivery.

    Args:
        opens: the transport is to be opened before the first batch.
        batch_records, batch_bytes: a batch is full at either; a single larger record goes alone.
        batch_age_s: the distance of deliveries that are not full, in seconds: what comes in meanwhile waits for
            company. The first goes at once.
        poll_every_s: how often an idle machine looks at the journal, in seconds.
        heartbeat_s: after so many seconds without a sign of life the backend gets one; None: it wants none.
        backoff: how long to wait after a failure.

    Raises:
        UsageError: a bound with which no delivery could go on.
    """

    opens: bool = False
    batch_records: int = field(default=1000, validator=_at_least_one)
    batch_bytes: int = field(default=1 << 20, validator=_at_least_one)
    batch_age_s: float = field(default=1.0, validator=_positive_seconds)
    poll_every_s: float = field(default=1.0, validator=_positive_seconds)
    heartbeat_s: float | None = field(default=None, validator=_positive_seconds)
    backoff: Backoff = field(factory=Backoff)


class Parcel(NamedTuple):
    """A record under way: its writer, its encoded size in bytes, and when it was read."""

    writer: str
    record: Record
    size: int
    read_at: float


class Chance(NamedTuple):
    """A record that an earlier delivery was refused, and that is sent once more.

    `reason` is what it is counted under; None: it is counted as delivered, and only nobody has noted that.
    """

    writer: str
    record: Record
    reason: str | None


@frozen(kw_only=True)
class State:
    """Everything the machine knows.

    `flight` is the batch being sent, or waiting to be sent again. `last_seq` is the last record taken per
    writer: what is offered again is not taken again; `settled` is the last one that was answered for good, and
    `settled_bytes` the size of all of those. `chances` are some of those that were refused, and count as such until
    the backend has taken them; they go last. `headers` is the latest header per writer; headers accompany
    records and are none. `round_at` is when the last round of deliveries began: all that was read by then
    belongs to it. `contact_at` is when the backend last answered. `caught_up`: reading on is of no use before
    time passes; `blind`: because the journal could not be read. `failures` counts the failures in a row,
    `doublings` those that lengthen the wait. `told` says that the wait until `retry_at` was asked for by the
    backend, `reported` that people were told of the failures; `hindrance` is the latest of them. `deadline` is set
    once somebody has asked to close.
    """

    policy: Policy
    opened: bool
    stage: Stage = Stage.WAITING
    refusal: str | None = None
    queue: tuple[Parcel, ...] = ()
    flight: tuple[Parcel, ...] = ()
    last_seq: Mapping[str, int] = _NOTHING
    settled: Mapping[str, int] = _NOTHING
    settled_bytes: int = 0
    chances: tuple[Chance, ...] = ()
    headers: Mapping[str, Header] = _NOTHING
    round_at: float = -inf
    contact_at: float | None = None
    caught_up: bool = False
    blind: bool = False
    failures: int = 0
    doublings: int = 0
    retry_at: float | None = None
    told: bool = False
    reported: bool = False
    hindrance: str | None = None
    deadline: float | None = None
    accepted: int = 0
    delivered: int = 0
    reasons: Mapping[str, int] = _NOTHING
    rows: RowCount = _NO_ROWS


def begin(
    policy: Policy,
    last_seq: Mapping[str, int] = _NOTHING,
    *,
    headers: Mapping[str, Header] = _NOTHING,
    earlier: Ledger | None = None,
    settled_bytes: int = 0,
    chances: Sequence[Chance] = (),
) -> State:
    """Return the first state; the first event is `Ticked`.

    Args:
        policy: the bounds to keep.
        last_seq: per writer, the last record that an earlier delivery settled.
        headers: per writer, the header of records that follow.
        earlier: the account of the earlier delivery. What was pending there is read again, and counted then.
        settled_bytes: how many bytes it settled.
        chances: what it was refused and is to be sent once more.
    """
    settled = MappingProxyType(dict(last_seq))
    earlier = Ledger() if earlier is None else earlier
    return State(
        policy=policy,
        opened=not policy.opens,
        last_seq=settled,
        settled=settled,
        settled_bytes=settled_bytes,
        chances=tuple(chances),
        headers=MappingProxyType(dict(headers)),
        accepted=earlier.delivered + earlier.rejected,
        delivered=earlier.delivered,
        reasons=MappingProxyType(dict(earlier.reasons)),
        rows=earlier.rows,
    )


def ledger(state: State) -> Ledger:
    """Return where the records are that the machine has taken."""
    pending = len(state.queue) + len(state.flight)
    return Ledger(
        accepted=state.accepted,
        delivered=state.delivered,
        pending=pending,
        reasons=dict(state.reasons),
        rows=state.rows,
    )


def is_drained(state: State) -> bool:
    """Return whether all that the journal had at the last look is answered for good."""
    return (
        state.opened and state.caught_up and not (state.blind or state.queue or state.flight or state.chances)
    )
