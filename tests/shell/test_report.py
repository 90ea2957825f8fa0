"""What people see: which lines are shown, which only noted, and that a message never raises."""

from __future__ import annotations

import io
import logging
import sys
import threading
from typing import Any, TextIO

import pytest

from corelib.shell.report import Report


class Memory(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def memory() -> Memory:
    """Return a handler of a debug log."""
    return Memory()


def speaking(memory: Memory, **options: bool) -> tuple[Report, io.StringIO]:
    """Return a report with a debug log, and the stream that it speaks to."""
    stream = io.StringIO()
    report = Report("lib", stream=stream, **options)
    report.logger = logging.Logger("test")  # noqa: LOG001  a logger of this test alone
    report.logger.addHandler(memory)
    return report, stream


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "lib: hello\nlib: WARNING careful\n"),
        ({"quiet": True}, "lib: WARNING careful\n"),
        ({"silent": True}, ""),
        ({"silent": True, "quiet": True}, ""),
    ],
)
def test_what_is_shown(memory: Memory, options: dict[str, bool], shown: str) -> None:
    """`quiet` leaves out what is only good to know, `silent` everything; the debug log has it all."""
    report, stream = speaking(memory, **options)
    report.say("hello")
    report.warn("careful")
    report.debug("details")

    assert stream.getvalue() == shown
    assert memory.lines == [("INFO", "hello"), ("WARNING", "careful"), ("DEBUG", "details")]


def test_texts_are_not_templates(memory: Memory) -> None:
    """A text with percent signs or braces is shown and noted as it is."""
    report, stream = speaking(memory)
    report.warn("100 % {of} %s")

    assert stream.getvalue() == "lib: WARNING 100 % {of} %s\n"
    assert memory.lines == [("WARNING", "100 % {of} %s")]


def test_once(memory: Memory) -> None:
    """A warning with a key is given the first time only, whatever its text; other keys and no key stand alone."""
    report, stream = speaking(memory)
    for text in ("a", "b"):
        report.warn(text, once="key")
        report.warn(text, once=f"key {text}")
        report.warn(text)

    assert stream.getvalue().split() == [word for text in "aaabb" for word in ("lib:", "WARNING", text)]
    assert len(memory.lines) == 5


def test_once_for_what_is_good_to_know(memory: Memory) -> None:
    """A message has its key as a warning has, and shares it with the warnings."""
    report, stream = speaking(memory)
    report.say("a", once="key")
    report.say("b", once="key")
    report.warn("c", once="key")
    report.say("d")

    assert stream.getvalue() == "lib: a\nlib: d\n"
    assert len(memory.lines) == 2


def test_keys_do_not_fill_the_memory() -> None:
    """After a thousand keys new ones are not remembered: such warnings come again rather than not at all."""
    stream = io.StringIO()
    report = Report("lib", stream=stream)
    for number in range(1200):
        report.warn("x", once=str(number))
    report.warn("known", once="0")
    report.warn("new", once="1100")

    assert stream.getvalue().count("\n") == 1201
    assert stream.getvalue().endswith("new\n")
    assert len(report._said) == 1000


def test_standard_error_of_the_moment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a stream, it speaks to what `sys.stderr` is when it speaks, and to nobody where there is none."""
    report = Report("lib")
    report.say("one")
    assert capsys.readouterr() == ("", "lib: one\n")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    report.say("two")
    monkeypatch.setattr(sys, "stderr", None)
    report.say("three")

    assert stream.getvalue() == "lib: two\n"


def broken(failure: BaseException) -> TextIO:
    """Return a stream that fails."""

    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise failure

    return Broken()


@pytest.mark.parametrize(
    "failure",
    [
        BrokenPipeError(),
        OSError(28, "No space left on device"),
        ValueError("I/O operation on closed file"),
        UnicodeEncodeError("ascii", "ü", 0, 1, "ordinal not in range"),
        RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_streams_that_fail(memory: Memory, failure: Exception) -> None:
    """Whatever a stream does, a message raises nothing, and the debug log has it."""
    report, _ = speaking(memory)
    report._stream = broken(failure)
    report.say("hello")
    report.warn("careful")

    assert memory.lines == [("INFO", "hello"), ("WARNING", "careful")]


def test_a_closed_stream_and_a_narrow_one() -> None:
    """A stream that is closed, or cannot encode the text, is no reason to raise."""
    closed = io.StringIO()
    closed.close()
    Report("lib", stream=closed).say("hello")
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Report("lib", stream=narrow).say("ü")
    Report("lib", stream=narrow).say("u")

    narrow.flush()
    assert narrow.buffer.getvalue() == b"lib: u\n"  # type: ignore[attr-defined]  # it is a BytesIO


def test_a_log_that_fails() -> None:
    """A handler that raises does not keep a message from being shown."""

    class Failing(logging.Logger):
        def _log(self, *_: Any, **__: Any) -> None:
            raise OSError("No space left on device")

    stream = io.StringIO()
    report = Report("lib", stream=stream)
    report.logger = Failing("test")
    report.say("hello")
    report.debug("details")

    assert stream.getvalue() == "lib: hello\n"


def test_interrupts_are_not_failures() -> None:
    """Control-C while a line is written ends the program as it should."""
    report = Report("lib", stream=broken(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        report.say("hello")


def test_lines_of_threads_are_whole() -> None:
    """Lines of several threads do not mix."""
    written: list[str] = []

    class Stream(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    report = Report("lib", stream=Stream())

    def speak() -> None:
        for _ in range(50):
            report.say("x" * 50)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert written == ["lib: " + "x" * 50 + "\n"] * 200
