"""Messages between processes: whole or not at all, and nobody waits for a reader."""

from __future__ import annotations

import os
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest

from corelib.pure.outcomes import Ledger
from corelib.shell.courier_messages import LineReader, LineWriter, ledger_message, read_ledger
from tests.couriers import LONG_S

Pipe = tuple[LineReader, LineWriter]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    writer = LineWriter(write)
    yield LineReader(read), writer
    writer.close()
    os.close(read)


def test_messages_arrive_in_order(pipe: Pipe) -> None:
    """What is sent is read, message by message, whatever texts it holds."""
    reader, writer = pipe
    writer.send("notice", text='line\nfeed "quoted" ü')
    writer.send("close", timeout=1.5)

    assert list(reader.read()) == [
        {"type": "notice", "text": 'line\nfeed "quoted" ü'},
        {"type": "close", "timeout": 1.5},
    ]
    assert not reader.is_at_end


def test_what_came_before_is_read_too() -> None:
    """What was read of the pipe by somebody else is not lost; half a message waits for its end."""
    read, write = os.pipe()
    reader = LineReader(read, b'{"type":"poke"}\n{"type":')
    assert list(reader.buffered()) == [{"type": "poke"}]
    assert list(reader.buffered()) == []
    os.write(write, b'"close"}\n')
    assert list(reader.read()) == [{"type": "close"}]
    os.close(write)
    os.close(read)


def test_the_end_is_seen() -> None:
    """When all writers are gone, or the pipe itself is, the reader says so, and half a message is none."""
    read, write = os.pipe()
    reader = LineReader(read)
    os.write(write, b'{"type":"ledger","acc')
    os.close(write)
    assert list(reader.read()) == []
    assert list(reader.read()) == []
    assert reader.is_at_end
    os.close(read)
    assert list(LineReader(read).read()) == []


def test_what_is_no_message_is_passed_over() -> None:
    """Something else that writes to the pipe does not stop the conversation."""
    read, write = os.pipe()
    os.write(write, b'Traceback\n\n[1]\n\xff\xfe\n{"type":"poke"}\n')

    assert list(LineReader(read).read()) == [{"type": "poke"}]
    os.close(write)
    os.close(read)


def test_nobody_waits_for_a_reader(pipe: Pipe) -> None:
    """Where nobody reads, messages are kept, then dropped; those that arrive are whole."""
    reader, writer = pipe
    for number in range(3000):
        writer.send("notice", number=number, text="x" * 500)
    assert not writer.flush(0.0)
    numbers: list[Any] = []
    while not writer.flush(0.0):
        numbers += [message["number"] for message in reader.read()]
    os.set_blocking(reader.fd, False)
    while (found := list(reader.read())) or not reader.is_at_end:
        numbers += [message["number"] for message in found]

    assert 100 < len(numbers) < 3000
    assert numbers == list(range(len(numbers)))


def test_flushing_waits_for_the_reader(pipe: Pipe) -> None:
    """Who has last words waits until they are in the pipe, and not longer than asked."""
    reader, writer = pipe
    writer.send("notice", text="x" * 200_000)
    assert not writer.flush(0.01)
    found: list[Any] = []

    def read() -> None:
        while not found:
            found.extend(reader.read())

    thread = Thread(target=read)
    thread.start()
    assert writer.flush(LONG_S)
    thread.join()

    assert len(found[0]["text"]) == 200_000


def test_a_reader_that_is_gone_is_no_error() -> None:
    """What is sent to nobody is forgotten, and so is what is sent after closing."""
    read, write = os.pipe()
    writer = LineWriter(write)
    os.close(read)
    writer.send("notice", text="x")
    assert writer.flush(LONG_S)
    writer.close()
    writer.close()
    writer.send("notice", text="x")

    assert writer.fd == -1
    assert not writer.flush(0.0)


@pytest.mark.parametrize(
    "ledger", [Ledger(), Ledger(accepted=9, delivered=3, pending=4, reasons={"too long": 1, "ü": 1})]
)
def test_a_ledger_arrives(pipe: Pipe, ledger: Ledger) -> None:
    """The books are the same on both sides."""
    reader, writer = pipe
    writer.send("ledger", **ledger_message(ledger, 77, is_drained=True))
    (message,) = reader.read()

    assert read_ledger(message) == ledger
    assert (message["bytes"], message["drained"]) == (77, True)


@pytest.mark.parametrize("message", [{}, {"accepted": 1, "delivered": 2, "pending": 0, "reasons": {}}])
def test_books_that_do_not_balance_are_refused(message: dict[str, Any]) -> None:
    """A garbled message is an error and no ledger."""
    with pytest.raises((KeyError, ValueError)):
        read_ledger(message)
