"""What becomes of records: the answers of a transport, and the ledger that adds them up.

Law: expected failure is a value. Every record a transport was to carry is delivered, pending or rejected with
a reason, and a `Ledger` whose numbers do not add up cannot be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from attrs import evolve, field, frozen

from corelib.errors import UsageError
from corelib.pure.records import Record

__all__ = ["Delivered", "LateLoss", "Ledger", "Outcome", "Rejected", "RemoteAddress", "Retry", "RowCount"]


class RemoteAddress(NamedTuple):
    """What the backend calls a run, where it may know better than we do, and where people can look at it."""

    entity: str | None
    project: str
    run_id: str
    name: str | None = None
    url: str | None = None


class LateLoss(NamedTuple):
    """A record that an earlier answer called safe, and that is lost for good after all, and why. No row is."""

    writer: str
    record: Record
    reason: str


@frozen(kw_only=True)
class Delivered:
    """All records of the batch are safe with the backend, or the transport keeps by `save` what it still owes of them.

    `notices` are lines for the user, each told once. `stop`: the backend asks that the run be ended. `remote` is
    what it calls the run, None if it calls it nothing of its own. `late` is what was owed and will not come.
    """

    notices: tuple[str, ...] = ()
    late: tuple[LateLoss, ...] = ()
    stop: bool = False
    remote: RemoteAddress | None = None


@frozen(kw_only=True)
class Retry:
    """Not now: send the same batch again, after `after` seconds if the backend said so."""

    reason: str
    after: float | None = None


@frozen(kw_only=True)
class Rejected:
    """Never: the backend refuses these records for good; the rest of the batch is safe.

    `seqs` names the refused records. Where it names none of the batch, the whole batch counts as refused:
    nothing is called safe on a doubtful answer. `reasons` says why by record, where it is not `reason`. `notices` are
    further lines for the user, each told once. `late` is what was owed of earlier batches and will not come.
    """

    reason: str
    seqs: tuple[int, ...] = ()
    notices: tuple[str, ...] = ()
    late: tuple[LateLoss, ...] = ()
    reasons: Mapping[int, str] = field(factory=dict)


Outcome: TypeAlias = Delivered | Retry | Rejected


@frozen(kw_only=True)
class RowCount:
    """How many of the settled records are rows of the process that began the run, that is calls of its `log()`."""

    delivered: int = 0
    reasons: Mapping[str, int] = field(factory=dict)

    @property
    def rejected(self) -> int:
        """The number of rows the backend refused for good."""
        return sum(self.reasons.values())


@frozen(kw_only=True)
class Ledger:
    """Records accepted for one transport, and where they are now; the rejected ones are counted by reason.

    `rows` counts some of the same records apart, so it does not tell two ledgers from each other.

    Raises:
        UsageError: the numbers do not add up, or one of them is negative.
    """

    accepted: int = 0
    delivered: int = 0
    pending: int = 0
    reasons: Mapping[str, int] = field(factory=dict)
    rows: RowCount = field(factory=RowCount, eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse numbers that do not add up."""
        adds_up = self.accepted == self.delivered + self.pending + self.rejected
        if not adds_up or min(self.delivered, self.pending, *self.reasons.values()) < 0:
            message = (
                f"A ledger must add up: accepted = delivered + pending + rejected does not hold for {self}."
            )
            raise UsageError(message)

    @property
    def rejected(self) -> int:
        """The number of records the backend refused for good."""
        return sum(self.reasons.values())

    @property
    def settled(self) -> bool:
        """Whether nothing is pending any more."""
        return not self.pending

    def without_pending(self) -> Ledger:
        """Return the ledger of what was answered for good."""
        return evolve(self, accepted=self.accepted - self.pending, pending=0)

    def including(self, accepted: int) -> Ledger:
        """Return the ledger of a run known to have written so many records: those not read are pending."""
        unread = max(accepted - self.accepted, 0)
        return evolve(self, accepted=self.accepted + unread, pending=self.pending + unread)
