"""The courier: a delivery on a thread of its own.

Law: it never blocks the training code and never raises into it, and it shares no lock with anything that logs. In
a forked child it does nothing, for the parent's courier carries the child's records too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, Any

from corelib.pure.outcomes import Ledger
from corelib.shell.closing import WITHDRAWAL_S, AnyCourier, Fate, close_all, is_lost
from corelib.shell.delivery import Delivery, check_timeout, policy_for
from corelib.shell.delivery_spec import DeliverySpec, delivery_of
from corelib.shell.observer import Observer
from corelib.shell.source import Source
from corelib.shell.transport_calls import World

if TYPE_CHECKING:
    from corelib.ports import Transport

__all__ = ["AnyCourier", "Courier", "Source", "World", "close_all", "courier_for", "policy_for"]


class Courier(Delivery):
    """Carries the records of one run to one transport, on a thread, until it is closed.

    The arguments are those of `Delivery`; from `start()` on the transport belongs to the thread.
    """

    def __init__(self, *arguments: Any, report: Callable[[str], None], **named: Any) -> None:
        super().__init__(*arguments, report=self._say, **named)
        self.fate: Fate | None = None
        """What the source asks how the run ends, where that is known here."""
        self._listener = report
        self._is_withdrawn = False
        self._is_rest_told = False
        self._thread: Thread | None = None
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
        self._thread = Thread(target=self.carry, name=f"corelib-courier-{self.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self.ended.set()
            self._is_rest_told = True
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

    def tell_end(self, exit_code: int | None) -> None:
        """Take that the run has ended, and how; None: Python hides that until this process is gone."""
        if self.fate is not None:
            self.fate.settle(exit_code)

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work, so many seconds at most; return whether it has come."""
        if self.is_carrying:
            self.ended.wait(min(max(seconds, 0.0), TIMEOUT_MAX))
        return not self.is_carrying

    def leave(self) -> None:
        """Stop waiting: say what becomes of what is left."""
        if self._pid != os.getpid() or self.is_drained or not self._started:
            return
        if not (self._is_rest_told or self.is_broken):
            self._calls.tell(
                is_lost(self._run.directory)
                or "not everything is delivered; the rest is in the journal: `corelib sync` delivers it."
            )

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, stop, and return where the records are, within `timeout` seconds.

        The courier itself stops by then too, as soon as the transport lets it. May be called again, to wait
        longer.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        return close_all([self], timeout)[0]

    def withdraw(self) -> None:
        """Stop without a word, and deliver nothing more: the run never was."""
        self._is_withdrawn = True
        self._observer = Observer()
        self.ask_to_close(0.0)
        if self.is_carrying and self._thread is not None:
            self._thread.join(WITHDRAWAL_S)

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent."""
        if self._keeper is not None:
            self._keeper.cursor.abandon()
        if self._turn is not None:
            self._turn.abandon()

    def _say(self, text: str) -> None:
        if not self._is_withdrawn:
            self._listener(text)


def courier_for(
    spec: DeliverySpec, transport: Transport, *, report: Callable[[str], None], observer: Observer
) -> Courier:
    """Return a courier on a thread of the process whose run it carries.

    Args:
        spec: what is delivered where.
        transport: the transport to it.
        report: takes lines for the user.
        observer: hears what happens.

    Raises:
        JournalError, OSError: the journal does not say how the run began.
        UsageError: the transport declares bounds with which nothing could be delivered.
    """
    fate = Fate()
    courier, _ = delivery_of(Courier, spec, transport=transport, report=report, fate=fate, observer=observer)
    courier.fate = fate
    return courier
