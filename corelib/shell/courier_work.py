"""What a courier process does: it delivers, and says how it goes.

Law: nobody waits for a listener. What people should know also stands in the run's `logs/courier-<name>.log`, for
those who come when the process of the run is gone.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import Final

from corelib.errors import Error
from corelib.ports import RemoteAddress
from corelib.shell.courier_log import CourierLog
from corelib.shell.courier_messages import LineReader, LineWriter, ledger_message
from corelib.shell.delivery import Delivery, Observer
from corelib.shell.delivery_spec import DeliverySpec, delivery_of, transport_of
from corelib.shell.lifeline import Lifeline
from corelib.shell.source import CompletedSource
from corelib.shell.transport_calls import described

__all__ = ["Voice", "deliver"]

_SAY_EVERY_S: Final = 0.2
_LAST_WORDS_S: Final = 5.0


def deliver(
    line: bytes, rest: bytes, stdin: int, stdout: int, wake: int | None, process: int | None = None
) -> None:
    """Deliver what a spec says, until it is done or no more is to be done.

    Args:
        line: the spec.
        rest: what was read behind it.
        stdin: where more messages come from.
        stdout: where messages go.
        wake: becomes readable when this process is asked to end.
        process: becomes readable when the process of the run is gone.
    """
    channel = LineWriter(stdout)
    try:
        spec = DeliverySpec.read(line)
        _deliver(spec, Lifeline(spec, LineReader(stdin, rest), process), channel, wake)
    except Error as error:
        channel.send("failed", text=_plain(str(error)))
    except Exception as error:  # noqa: BLE001  nobody sees a traceback of this process
        channel.send("failed", text=_plain(f"the courier ended by {described(error)}."))
    channel.flush(_LAST_WORDS_S)


def _deliver(spec: DeliverySpec, lifeline: Lifeline, channel: LineWriter, wake: int | None) -> None:
    voice = Voice(spec, channel)
    delivery, source = delivery_of(
        Delivery,
        spec,
        transport=transport_of(spec),
        report=voice.report,
        fate=lifeline.fate,
        observer=voice,
    )
    voice.observe(delivery, source, lifeline)
    channel.send("hello", pid=os.getpid())
    lifeline.watch(delivery, wake, voice.tick)
    delivery.carry()
    if lifeline.is_closing and not (lifeline.is_terminated or delivery.is_broken):
        voice.say("final")  # else whoever listens has this courier replaced


class Voice(Observer):
    """Tells the process of the run what happens, and the log what people should know.

    Args:
        spec: what is delivered.
        channel: where the process of the run listens.
    """

    def __init__(self, spec: DeliverySpec, channel: LineWriter) -> None:
        super().__init__()
        self._channel = channel
        self._log = CourierLog(spec.directory, spec.cursor_name)
        self._delivery: Delivery | None = None
        self._source: CompletedSource | None = None
        self._lifeline: Lifeline | None = None
        self._said: object = None
        self._said_at = 0.0
        self._is_held = False

    def observe(self, delivery: Delivery, source: CompletedSource, lifeline: Lifeline) -> None:
        """Take whose voice this is."""
        self._delivery, self._source, self._lifeline = delivery, source, lifeline

    def report(self, text: str) -> None:
        """Take a line for the user."""
        text = _plain(text)
        self._channel.send("notice", text=text)
        self._log.append(text)

    def stepped(self) -> None:
        """Say where the records are, a few times a second; and once when nothing but an exit code is missing."""
        delivery, source, lifeline = self._delivery, self._source, self._lifeline
        if delivery is None or source is None or lifeline is None:
            return
        ledger = delivery.ledger
        if source.is_holding and ledger.settled and lifeline.is_closing and not self._is_held:
            self._is_held = True
            self.say("held")
        if ledger.settled or monotonic() - self._said_at >= _SAY_EVERY_S:
            self.tick()

    def tick(self) -> None:
        """Say where the records are, if that is news."""
        delivery = self._delivery
        said = None if delivery is None else (delivery.ledger, delivery.is_drained)
        if said != self._said:
            self._said, self._said_at = said, monotonic()
            self.say("ledger")

    def found(self, remote: RemoteAddress) -> None:
        """Say what the backend calls the run."""
        self._channel.send("remote", remote=list(remote))

    def stopped(self) -> None:
        """Say that the backend asks that the run be ended."""
        self._channel.send("stopped")

    def say(self, type: str) -> None:
        """Say where the records are."""
        delivery = self._delivery
        if delivery is not None:
            is_drained = delivery.is_drained or self._is_held
            values = ledger_message(delivery.ledger, delivery.settled_bytes, is_drained=is_drained)
            self._channel.send(type, **values)


def _plain(text: str) -> str:
    """Return a text that can be sent: paths may hold bytes that are no characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
