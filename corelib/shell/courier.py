"""The courier: carries a run's journal to one transport, on a thread of its own.

Law: the courier decides nothing; it performs what `corelib.pure.delivery` says and reports back. It never
blocks the training code and never raises into it: what a transport does wrong is counted, told once, and
tried again. It shares no lock with anything that logs. In a forked child it does nothing, for the parent's
courier carries the child's records too.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from math import isfinite
from threading import TIMEOUT_MAX, Event, Thread
from time import monotonic
from typing import Final, NamedTuple, Protocol, cast

from corelib.errors import JournalError, UsageError
from corelib.ports import (
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
from corelib.pure import delivery
from corelib.pure.delivery_events import (
    Answered,
    CloseAsked,
    Effect,
    Notice,
    Offered,
    Open,
    Poll,
    ReadFailed,
    Send,
    Ticked,
    Wait,
)
from corelib.pure.delivery_events import Event as DeliveryEvent
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Record, RunStart

__all__ = ["Courier", "Source", "World", "close_all", "policy_for"]

_ENTROPY_BYTES: Final = 4


class Source(Protocol):
    """What the courier reads from; `corelib.tail.Tail` is one."""

    def poll(self, limit: int) -> Sequence[tuple[str, Record, int]]:
        """Return up to `limit` new records with writer and size; fewer mean that there are no more yet."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


def _draw() -> float:
    return int.from_bytes(os.urandom(_ENTROPY_BYTES), "big") / (1 << 8 * _ENTROPY_BYTES)


class World(NamedTuple):
    """The time and chance that a courier lives by; tests bring their own.

    Args:
        clock: seconds, never going back.
        wait: wait until the event is set, or for so many seconds.
        draw: a number in [0, 1).
    """

    clock: Callable[[], float] = monotonic
    wait: Callable[[Event, float], object] = Event.wait
    draw: Callable[[], float] = _draw


def policy_for(capabilities: Capabilities) -> delivery.Policy:
    """Return the bounds of delivery that a transport asks for.

    Raises:
        UsageError: it asks for bounds with which nothing could be delivered.
    """
    return delivery.Policy(
        opens=capabilities.open,
        batch_records=capabilities.max_batch_records,
        batch_bytes=capabilities.max_batch_bytes,
        batch_age_s=capabilities.max_batch_age_s,
    )


class Courier:
    """Carries the records of one run to one transport until it is closed.

    Args:
        transport: the transport; from `start()` on it belongs to the courier's thread.
        source: the run's journal.
        run: the address of the run.
        start: how the run began, for `open`.
        name: what the transport is called in messages.
        report: takes lines for the user; called on the courier's thread.
        policy: the bounds of delivery; by default what the transport declares.
        world: time and chance.

    Raises:
        UsageError: the transport declares bounds with which nothing could be delivered.
    """

    def __init__(
        self,
        transport: Transport,
        source: Source,
        *,
        run: RunRef,
        start: RunStart,
        name: str,
        report: Callable[[str], None],
        policy: delivery.Policy | None = None,
        world: World | None = None,
    ) -> None:
        self.name = name
        self._transport = cast("CompleteTransport", transport)  # what is not declared is not called
        self._source = source
        self._run = run
        self._start = start
        self._report = report
        self._world = World() if world is None else world
        self._state = delivery.begin(policy_for(transport.capabilities) if policy is None else policy)
        self._reported: set[str] = set()
        self._requests: deque[CloseAsked] = deque()
        self._poked = Event()
        self._ended = Event()
        self._started = False
        self._pid = os.getpid()

    @property
    def ledger(self) -> Ledger:
        """Where the records are that were read from the journal so far."""
        return delivery.ledger(self._state)

    @property
    def is_carrying(self) -> bool:
        """Whether the courier is at work, in this process."""
        return self._started and not self._ended.is_set() and self._pid == os.getpid()

    def start(self) -> None:
        """Begin to carry on a thread of its own. Where none can be had, say so: all stays in the journal."""
        self._started = True
        thread = Thread(target=self.carry, name=f"corelib-courier-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._ended.set()
            self._tell(f"no courier can be started ({error}); the records stay in the journal.")

    def poke(self) -> None:
        """Have the journal looked at now. For what is urgent, not for each row: it looks by itself."""
        if self.is_carrying:
            self._poked.set()

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, stop, and return where the records are, within `timeout` seconds.

        The courier itself stops by then too, as soon as the transport lets it. May be called again, to wait
        longer.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        self.ask_to_close(timeout)
        if self.is_carrying:
            self._ended.wait(min(max(timeout, 0.0), TIMEOUT_MAX))
        return self.ledger if self._pid == os.getpid() else Ledger()

    def ask_to_close(self, timeout: float) -> None:
        """Begin what `close` does, without waiting for it.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        if not isfinite(timeout):
            raise UsageError(f"Closing a courier needs a finite number of seconds, and was given {timeout}.")
        if self.is_carrying:
            self._requests.append(CloseAsked(self._world.clock(), timeout))
            self._poked.set()

    def carry(self) -> None:
        """Carry on the calling thread until closed; `start()` does this on a thread of its own."""
        self._started = True
        try:
            self._carry()
        except BaseException as error:  # noqa: BLE001  the last place where anybody could be told
            self._tell(f"the courier ended by {_described(error)}; the records stay in the journal.")
        finally:
            self._let_go()
            self._ended.set()

    def _carry(self) -> None:
        event: DeliveryEvent | None = Ticked(self._world.clock())
        while event is not None:
            while self._requests:
                self._state, _ = delivery.step(self._state, self._requests.popleft())
            self._state, effects = delivery.step(self._state, event)
            for effect in effects:
                event = self._perform(effect)

    def _perform(self, effect: Effect) -> DeliveryEvent | None:
        if isinstance(effect, Wait):
            return self._wait(effect)
        if isinstance(effect, Poll):
            return self._poll(effect)
        if isinstance(effect, Send):
            batch = Batch(run=self._run, writer=effect.writer, header=effect.header, records=effect.records)
            return self._answer("deliver", lambda: self._transport.deliver(batch))
        if isinstance(effect, Open):
            return self._answer("open", lambda: self._transport.open(self._run, self._start))
        if isinstance(effect, Notice):
            self._tell(effect.text)
        return None

    def _wait(self, effect: Wait) -> Ticked:
        seconds = effect.until - self._world.clock()
        if seconds > 0:
            self._world.wait(self._poked, seconds)
        self._poked.clear()
        return Ticked(self._world.clock())

    def _poll(self, effect: Poll) -> Offered | ReadFailed:
        try:
            entries = self._source.poll(effect.limit)
        except (OSError, JournalError) as error:
            self._tell_once("poll", f"the journal cannot be read just now ({error}).")
            return ReadFailed(self._world.clock())
        return Offered(self._world.clock(), entries, end=len(entries) < effect.limit)

    def _answer(self, method: str, call: Callable[[], object]) -> Answered:
        """Call the transport, and take everything but a proper answer as `Retry`."""
        outcome: Outcome
        began = self._world.clock()
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001  a transport's bug must not end the delivery
            outcome = self._bug(method, f"raised {_described(error)}")
        else:
            if isinstance(answer, (Delivered, Retry, Rejected)):
                outcome = answer
            else:
                outcome = self._bug(method, f"returned {type(answer).__name__}, which is no outcome")
        now = self._world.clock()
        budget_s = self._transport.capabilities.time_budget_s
        if now - began > budget_s:
            self._tell_once(
                "budget", f"{method}() took longer than the {budget_s:g} s that the transport declares."
            )
        return Answered(now, outcome, self._world.draw())

    def _bug(self, method: str, what: str) -> Retry:
        self._tell_once(
            method, f"{method}() {what}. This is a bug of the transport; the records are sent again."
        )
        return Retry(reason=f"{method}() {what}")

    def _let_go(self) -> None:
        try:
            self._source.close()
            if self._transport.capabilities.close:
                self._transport.close()
        except Exception as error:  # noqa: BLE001  all is delivered or counted by now
            self._tell_once("close", f"close() raised {_described(error)}. This is a bug of the transport.")

    def _tell_once(self, about: str, text: str) -> None:
        if about not in self._reported:
            self._reported.add(about)
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._report(f"transport {self.name}: {text}")


def close_all(couriers: Sequence[Courier], timeout: float) -> tuple[Ledger, ...]:
    """Close couriers at the same time: all together take `timeout` seconds at most, not each.

    Raises:
        UsageError: `timeout` is not a finite number.
    """
    deadline = monotonic() + timeout
    for courier in couriers:
        courier.ask_to_close(timeout)
    return tuple(courier.close(deadline - monotonic()) for courier in couriers)


def _described(error: BaseException) -> str:
    """Return kind and place of an exception that was caught. Not its text: foreign texts may hold a key."""
    from traceback import walk_tb

    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{type(error).__name__} at {frame.f_code.co_filename}:{line}"
