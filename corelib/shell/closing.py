"""The end of couriers, as the process of the run sees it: what is asked of them, and how long they are waited for.

Law: all couriers are closed at the same time and share one deadline; a Ctrl-C ends the waiting and nothing else; and
whatever ends it, each courier is told that nobody waits any more, so that none leaves people in the dark. This room is
light, because every online run enters it: what delivers is not loaded here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from corelib.pure.outcomes import Ledger

__all__ = ["WITHDRAWAL_S", "AnyCourier", "Fate", "close_all", "is_lost"]

WITHDRAWAL_S: Final = 1.0
"""How long a courier that is withdrawn is waited for: longer only if its transport does not return."""
_LOOK_EVERY_S: Final = 0.2
_HIDDEN: Final = 1


class AnyCourier(Protocol):
    """What carries a run to one transport, on a thread or in a process of its own."""

    @property
    def name(self) -> str:
        """What the transport is called."""
        ...

    @property
    def place(self) -> str:
        """Where it goes, for people: a host, or what there is in place of one."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Where the records are that were read from the journal so far."""
        ...

    @property
    def settled_bytes(self) -> int:
        """The encoded size of all records that were answered for good."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether all that the journal had at the last look is answered for good."""
        ...

    def start(self) -> None:
        """Begin to carry; returns at once."""
        ...

    def poke(self) -> None:
        """Have the journal looked at now."""
        ...

    def tell_end(self, exit_code: int | None) -> None:
        """Take that the run has ended, and how; None: Python hides that until this process is gone."""
        ...

    def ask_to_close(self, timeout: float) -> None:
        """Begin what `close` does, without waiting for it."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work, so many seconds at most; return whether it has come."""
        ...

    def leave(self) -> None:
        """Stop waiting: say what becomes of what is left, if there is any."""
        ...

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, and return where the records are, within `timeout` seconds."""
        ...

    def withdraw(self) -> None:
        """Stop without a word, and deliver nothing more: the run never was."""
        ...

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""
        ...


class Fate:
    """How the run of this process ends, for a courier that lives in it: nobody will be there to see it afterwards.

    Called, it returns the exit code; None as long as the run may go on, and in a process that is not the run's.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._exit_code: int | None = None

    def settle(self, exit_code: int | None) -> None:
        """Take the exit code. A code that Python hides is told nobody before this process is gone: a failure."""
        self._exit_code = _HIDDEN if exit_code is None else exit_code

    def __call__(self) -> int | None:
        """Return the exit code, once the run has ended."""
        return self._exit_code if self._pid == os.getpid() else None


def close_all(
    couriers: Sequence[AnyCourier],
    timeout: float,
    look: Callable[[], None] | None = None,
) -> tuple[Ledger, ...]:
    """Close couriers at the same time: all together take `timeout` seconds at most, not each.

    A Ctrl-C ends the waiting, and not the program: whoever presses it here has had enough of waiting.

    Args:
        couriers: couriers of any kind.
        timeout: seconds.
        look: called a few times a second while there is something to wait for.

    Raises:
        UsageError: `timeout` is not a finite number.
    """
    deadline = monotonic() + timeout
    for courier in couriers:
        courier.ask_to_close(timeout)
    left = list(couriers)
    try:
        while left:
            remaining = deadline - monotonic()
            if left[0].wait(remaining if look is None else min(remaining, _LOOK_EVERY_S)):
                left.pop(0)
            elif remaining <= 0:
                break
            if look is not None:
                look()
    except KeyboardInterrupt:
        pass  # the couriers go on without us, or the journal keeps what is left; `leave` says which
    finally:
        # All of them: one that ended by its own deadline a moment ago has left something as well.
        _leave(couriers)
    return tuple(courier.ledger for courier in couriers)


def _leave(couriers: Sequence[AnyCourier]) -> None:
    """Leave all, also where leaving one is interrupted: the interrupt goes on when all have been left."""
    for number, courier in enumerate(couriers):
        try:
            courier.leave()
        except BaseException:
            _leave(couriers[number + 1 :])
            raise


def is_lost(directory: str | None) -> str | None:
    """Return what to say of what is not delivered, if its run directory is gone; None: it is there."""
    if directory is None or os.path.isdir(directory):
        return None
    return f"the run directory {directory} was removed, and what of the run was not delivered went with it."
