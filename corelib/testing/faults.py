"""A transport with faults: wraps any transport and makes it fail by a script.

Law: the script says call by call what goes wrong, and after its end nothing does. What reaches the wrapped
transport is what a real fault would let through: an answer that is lost was applied, a refused record never
arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import sleep as real_sleep
from typing import Any, Final, TypeAlias, cast

from attrs import evolve, frozen

from corelib.ports import (
    Answer,
    Batch,
    Capabilities,
    CompleteTransport,
    Delivered,
    Outcome,
    Rejected,
    Retry,
    RunRef,
    Transport,
)
from corelib.pure.records import RunStart

__all__ = ["Delay", "Fault", "FaultyTransport", "LoseAnswer", "Postpone", "Raise", "Refuse"]


@frozen
class LoseAnswer:
    """The call is made, and its answer never arrives: the caller hears `Retry`."""

    reason: str = "the answer was lost"


@frozen
class Postpone:
    """The call does not arrive: the caller hears `Retry`, with the wait that the backend asks for."""

    after: float | None = None
    reason: str = "the backend is not available"


@frozen
class Refuse:
    """The backend refuses the records with these numbers, or all, for good; the others arrive."""

    seqs: tuple[int, ...] = ()
    reason: str = "the backend refuses this"


@frozen
class Raise:
    """The transport has a bug: the exception leaves the method. `applied`: the call was made before."""

    exception: Exception
    applied: bool = False


@frozen
class Delay:
    """The call takes so many seconds, and works."""

    seconds: float


_PASSED_ON: Final = frozenset({"create", "heartbeat", "load", "rebuild", "save"})

Fault: TypeAlias = LoseAnswer | Postpone | Refuse | Raise | Delay


class FaultyTransport:
    """A transport that fails by a script.

    Args:
        transport: the transport that is wrapped; what it declares is declared.
        deliver: what goes wrong with each call of `deliver`, in order; None for nothing.
        open: the same for `open`.
        sleep: how a delay passes, given its seconds.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        deliver: Iterable[Fault | None] = (),
        open: Iterable[Fault | None] = (),
        sleep: Callable[[float], object] = real_sleep,
    ) -> None:
        self.transport = transport
        self._deliver_faults = iter(deliver)
        self._open_faults = iter(open)
        self._sleep = sleep

    @property
    def capabilities(self) -> Capabilities:
        """What the wrapped transport declares."""
        return self.transport.capabilities

    def deliver(self, batch: Batch) -> Outcome:
        """Deliver, with the next fault of the script."""
        fault = next(self._deliver_faults, None)
        if isinstance(fault, Refuse):
            return self._refuse(batch, fault)
        return self._perform(fault, lambda: self.transport.deliver(batch))

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        """Open, with the next fault of the script."""
        fault = next(self._open_faults, None)
        if isinstance(fault, Refuse):
            return Rejected(reason=fault.reason)
        return self._perform(fault, lambda: self._complete.open(run, start))

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        """Ask the wrapped transport."""
        return self._complete.lookup(run, timeout)

    def close(self) -> None:
        """Close the wrapped transport."""
        self._complete.close()

    def __getattr__(self, name: str) -> Any:
        """Give what else the wrapped transport offers, as it is."""
        if name not in _PASSED_ON:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self.transport, name)

    @property
    def _complete(self) -> CompleteTransport:
        return cast("CompleteTransport", self.transport)

    def _refuse(self, batch: Batch, fault: Refuse) -> Outcome:
        refused = [record.seq for record in batch.records if not fault.seqs or record.seq in fault.seqs]
        arriving = tuple(record for record in batch.records if record.seq not in refused)
        if not refused:
            return self.transport.deliver(batch)
        outcome = self.transport.deliver(evolve(batch, records=arriving)) if arriving else Delivered()
        if isinstance(outcome, Retry):
            return outcome
        if isinstance(outcome, Rejected):
            refused += outcome.seqs or [record.seq for record in arriving]
        return Rejected(reason=fault.reason, seqs=tuple(refused))

    def _perform(self, fault: Fault | None, call: Callable[[], Outcome]) -> Outcome:
        if isinstance(fault, Postpone):
            return Retry(reason=fault.reason, after=fault.after)
        if isinstance(fault, Delay):
            self._sleep(fault.seconds)
        if isinstance(fault, Raise) and not fault.applied:
            raise fault.exception
        outcome = call()
        if isinstance(fault, Raise):
            raise fault.exception
        return Retry(reason=fault.reason) if isinstance(fault, LoseAnswer) else outcome

    def __repr__(self) -> str:
        return f"<FaultyTransport around {self.transport!r}>"
