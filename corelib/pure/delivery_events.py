"""What the delivery machine hears and says: its events, in past tense, and its effects, in the imperative.

Law: each effect but `Notice`, `SetAside`, `TakeBack` and `Stop` is answered by exactly one event. They carry values
only; who performs an effect (a thread, a process, a test) is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from corelib.pure.outcomes import Outcome
from corelib.pure.records import Header, Record

__all__ = [
    "Answered",
    "Beat",
    "CloseAsked",
    "Effect",
    "Event",
    "Notice",
    "Offered",
    "Open",
    "Poll",
    "ReadFailed",
    "Send",
    "SetAside",
    "Stop",
    "TakeBack",
    "Ticked",
    "Wait",
]


@frozen
class Ticked:
    """The wait is over, or was cut short. `now` is in seconds of any clock that never goes back."""

    now: float


@frozen
class Offered:
    """Records read from the journal, as (writer, record, encoded size); `end`: there are no more yet."""

    now: float
    entries: Sequence[tuple[str, Record, int]]
    end: bool


@frozen
class ReadFailed:
    """The journal could not be read just now: what is in it stays unknown."""

    now: float


@frozen
class Answered:
    """The transport has answered. `entropy` is a number in [0, 1), drawn for the wait that may follow."""

    now: float
    outcome: Outcome
    entropy: float


@frozen
class CloseAsked:
    """Deliver what is there and stop, within `timeout` seconds."""

    now: float
    timeout: float


Event: TypeAlias = Ticked | Offered | ReadFailed | Answered | CloseAsked


@frozen
class Wait:
    """Do nothing until the clock shows `until`, or until poked. Answered by `Ticked`."""

    until: float


@frozen
class Poll:
    """Read up to `limit` new records from the journal. Answered by `Offered` or `ReadFailed`."""

    limit: int


@frozen
class Open:
    """Call the transport's `open`. Answered by `Answered`."""


@frozen(kw_only=True)
class Send:
    """Call the transport's `deliver` with consecutive records of one writer. Answered by `Answered`.

    `header` is the writer's latest header; None where it could not be read. `again`: they were refused before, so it
    is `redeliver` that is called, and they need not be consecutive.
    """

    writer: str
    header: Header | None
    records: tuple[Record, ...]
    again: bool = False


@frozen
class Beat:
    """Call the transport's `heartbeat`. Answered by `Answered`."""


@frozen(kw_only=True)
class SetAside:
    """Keep records that are refused for good where the user finds them. None and no records: the whole run."""

    writer: str | None
    records: tuple[Record, ...]
    reason: str


@frozen(kw_only=True)
class TakeBack:
    """Drop records from what was set aside: they are delivered after all."""

    writer: str
    records: tuple[Record, ...]


@frozen
class Notice:
    """Tell the user, in one line."""

    text: str


@frozen
class Stop:
    """Close the transport; nothing follows."""


Effect: TypeAlias = Wait | Poll | Open | Send | Beat | SetAside | TakeBack | Notice | Stop
