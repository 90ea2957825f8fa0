"""Calling a transport, which is anybody's code.

Law: whatever a transport does, its caller gets a proper answer. What is none counts as `Retry` and is told once,
without the text of foreign exceptions, which may hold a key.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import Event
from time import monotonic
from typing import Any, Final, NamedTuple, cast

from corelib.ports import Batch, CompleteTransport, Delivered, Outcome, Rejected, Retry, RunRef, Transport
from corelib.pure.delivery_events import Answered
from corelib.pure.records import RunStart
from corelib.pure.remote import Answer

__all__ = ["TransportCalls", "World", "described"]

_ENTROPY_BYTES: Final = 4


def _draw() -> float:
    return int.from_bytes(os.urandom(_ENTROPY_BYTES), "big") / (1 << 8 * _ENTROPY_BYTES)


class World(NamedTuple):
    """The time and chance that a delivery lives by; tests bring their own.

    Args:
        clock: seconds, never going back.
        wait: wait until the event is set, or for so many seconds.
        draw: a number in [0, 1).
    """

    clock: Callable[[], float] = monotonic
    wait: Callable[[Event, float], object] = Event.wait
    draw: Callable[[], float] = _draw


class TransportCalls:
    """Calls one transport for one run; from one thread.

    Args:
        transport: the transport.
        name: what it is called in messages.
        report: takes lines for the user.
        world: time and chance.
    """

    def __init__(
        self, transport: Transport, *, name: str, report: Callable[[str], None], world: World
    ) -> None:
        self.capabilities = transport.capabilities
        self._transport = cast("CompleteTransport", transport)  # what is not declared is not called
        self._name = name
        self._report = report
        self._world = world
        self._told: set[str] = set()

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        """Ask what the backend knows of the run, for `timeout` seconds at most."""
        from corelib.shell.drive import answer_of  # few deliveries have anything to ask

        return answer_of(lambda _, seconds: self._transport.lookup(run, seconds), run.run_id, timeout)

    def open(self, run: RunRef, start: RunStart) -> Answered:
        """Open the run."""
        return self._answer("open", lambda: self._transport.open(run, start))

    def deliver(self, batch: Batch) -> Answered:
        """Deliver a batch."""
        return self._answer("deliver", lambda: self._transport.deliver(batch))

    def redeliver(self, batch: Batch) -> Answered:
        """Deliver once more what was refused."""
        return self._answer("redeliver", lambda: self._transport.redeliver(batch))

    def heartbeat(self, run: RunRef) -> Answered:
        """Give a sign of life."""
        return self._answer("heartbeat", lambda: self._transport.heartbeat(run))

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        """Return what the transport wants kept with the cursor; None: nothing.

        Raises:
            Exception: whatever its bug raises.
        """
        return self._transport.save(run) if self.capabilities.restartable else None

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        """Give back what it wanted kept.

        Raises:
            Exception: whatever its bug raises.
        """
        self._transport.load(run, saved)

    def rebuild(self, batch: Batch) -> None:
        """Tell what an earlier transport has delivered.

        Raises:
            Exception: whatever its bug raises.
        """
        self._transport.rebuild(batch)

    def close(self) -> None:
        """Close it, if it wants that."""
        if self.capabilities.close:
            try:
                self._transport.close()
            except Exception as error:  # noqa: BLE001  all is delivered or counted; only resources may stay open
                self.tell_once("close", f"close() raised {described(error)}. This is a bug of the transport.")

    def tell(self, text: str) -> None:
        """Tell the user something about this transport."""
        self._report(f"transport {self._name}: {text}")

    def tell_once(self, about: str, text: str) -> None:
        """Tell it, unless something about the same was told before."""
        if about not in self._told:
            self._told.add(about)
            self.tell(text)

    def _answer(self, method: str, call: Callable[[], object]) -> Answered:
        outcome: Outcome
        began = self._world.clock()
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001  a transport's bug must not end the delivery
            outcome = self._bug(method, f"raised {described(error)}")
        else:
            if isinstance(answer, (Delivered, Retry, Rejected)):
                outcome = answer
            else:
                outcome = self._bug(method, f"returned {type(answer).__name__}, which is no outcome")
        now = self._world.clock()
        budget_s = self.capabilities.time_budget_s
        if now - began > budget_s:
            self.tell_once(
                "budget", f"{method}() took longer than the {budget_s:g} s that the transport declares."
            )
        return Answered(now, outcome, self._world.draw())

    def _bug(self, method: str, what: str) -> Retry:
        self.tell_once(
            method, f"{method}() {what}. This is a bug of the transport; the records are sent again."
        )
        return Retry(reason=f"{method}() {what}")


def described(error: BaseException) -> str:
    """Return kind and place of an exception. Not its text: foreign texts may hold a key."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return type(error).__name__
    return f"{type(error).__name__} at {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
