"""The courier: a delivery on a thread of its own.

Law: it never blocks the training code and never raises into it, and it shares no lock with anything that logs. In
a forked child it does nothing, for the parent's courier carries the child's records too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from threading import TIMEOUT_MAX, Thread
from time import monotonic
from typing import Any, Final, Protocol

from corelib.pure.outcomes import Ledger
from corelib.shell.delivery import Delivery, check_timeout, policy_for
from corelib.shell.source import Source
from corelib.shell.transport_calls import World

__all__ = ["AnyCourier", "Courier", "Source", "World", "close_all", "policy_for"]

_LOOK_EVERY_S: Final = 0.2


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

    def ask_to_close(self, timeout: float) -> None:
        """Begin what `close` does, without waiting for it."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work, so many seconds at most; return whether it has come."""
        ...

    def leave(self) -> None:
        """Stop waiting: say what becomes of what is left."""
        ...

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, and return where the records are, within `timeout` seconds."""
        ...

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""
        ...


class Courier(Delivery):
    """Carries the records of one run to one transport, on a thread, until it is closed.

    The arguments are those of `Delivery`; from `start()` on the transport belongs to the thread.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._started = False
        self._pid = os.getpid()

    @property
    def place(self) -> str:
        """Where it goes, for people."""
        return self.name

    @property
    def ledger(self) -> Ledger:
        """Where the records are that were read from the journal so far."""
        return super().ledger if self._pid == os.getpid() else Ledger()

    @property
    def is_carrying(self) -> bool:
        """Whether the courier is at work, in this process."""
        return self._started and not self.ended.is_set() and self._pid == os.getpid()

    def start(self) -> None:
        """Begin to carry on a thread of its own. Where none can be had, say so: all stays in the journal."""
        self._started = True
        thread = Thread(target=self.carry, name=f"corelib-courier-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.ended.set()
            self._calls.tell(f"no courier can be started ({error}); the records stay in the journal.")

    def carry(self) -> None:
        """Carry on the calling thread until closed; `start()` does this on a thread of its own."""
        self._started = True
        super().carry()

    def poke(self) -> None:
        """Have the journal looked at now. For urgent things, not for each row: the courier looks by itself."""
        if self.is_carrying:
            super().poke()

    def ask_to_close(self, timeout: float) -> None:
        """Begin what `close` does, without waiting for it.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        check_timeout(timeout)
        if self.is_carrying:
            super().ask_to_close(timeout)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work, so many seconds at most; return whether it has come."""
        if self.is_carrying:
            self.ended.wait(min(max(seconds, 0.0), TIMEOUT_MAX))
        return not self.is_carrying

    def leave(self) -> None:
        """Stop waiting: say what becomes of what is left."""
        if self._pid == os.getpid() and not self.is_drained:
            self._calls.tell(
                "not everything is delivered; the rest is in the journal: `corelib sync` delivers it."
            )

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, stop, and return where the records are, within `timeout` seconds.

        The courier itself stops by then too, as soon as the transport lets it. May be called again, to wait
        longer.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        return close_all([self], timeout)[0]

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""
        if self._keeper is not None:
            self._keeper.cursor.abandon()


def close_all(
    couriers: Sequence[AnyCourier], timeout: float, look: Callable[[], None] | None = None
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
    for courier in left:
        courier.leave()
    return tuple(courier.ledger for courier in couriers)
