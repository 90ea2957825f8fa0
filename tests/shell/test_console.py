"""Capture of the console: what is recorded of what is printed, and that printing never suffers for it."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.console import LONGEST_LINE, LineAssembler
from corelib.pure.records import ConsoleLines, FileSaved
from corelib.shell.hooks import console
from corelib.shell.hooks.console import OUTPUT, ConsoleCapture

PATIENCE_S = 30.0


class LateTimer:
    """Stands in for a timer; it rings when a test says so."""

    made: list[LateTimer]

    def __init__(self, _: float, ring: Callable[[], None]) -> None:
        self.ring = ring
        self.is_cancelled = self.is_started = self.daemon = False
        LateTimer.made.append(self)

    def start(self) -> None:
        self.is_started = True

    def cancel(self) -> None:
        self.is_cancelled = True


class Recorder:
    """What a run is told: `lines` by stream, `kinds` in order. `meddle` is called with each record before that."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.kinds: list[type[Any]] = []
        self.warnings: list[str] = []
        self.meddle: Callable[[type[Any]], object] = lambda _: None

    def __call__(self, kind: type[Any], **values: Any) -> None:
        self.meddle(kind)
        self.kinds.append(kind)
        if kind is ConsoleLines:
            self.lines += [(values["stream"], line) for line in values["lines"]]

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]

    def capture(self, directory: str = "files") -> ConsoleCapture:
        return ConsoleCapture(self, directory, self.warnings.append)


@pytest.fixture(autouse=True)
def _own_console(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Give a console of the test's own, a clock that stands, and a timer that rings by hand."""
    LateTimer.made = []
    monkeypatch.setattr(console, "monotonic", lambda: 0.0)
    monkeypatch.setattr(console, "Timer", LateTimer)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def capture(recorder: Recorder) -> Iterator[ConsoleCapture]:
    """Give a capture to start: in the test, for pytest changes the streams between setting up and testing."""
    capture = recorder.capture()
    yield capture
    capture.stop()


def shown(stream: str = "stdout") -> str:
    written: str = getattr(sys, stream).getvalue()
    return written


def test_lines_of_both_streams_are_recorded_at_once(capture: ConsoleCapture, recorder: Recorder) -> None:
    """A line is recorded when it ends; the console shows all as before; the file holds the same lines."""
    capture.start()
    print("hello")
    print("oops", file=sys.stderr)
    sys.stdout.write("10%\r20%\r")
    assert recorder.lines == [("stdout", "hello"), ("stderr", "oops")]
    assert (shown(), shown("stderr")) == ("hello\n10%\r20%\r", "oops\n")
    assert recorder.kinds == [FileSaved, ConsoleLines, ConsoleLines]

    capture.stop()
    assert recorder.lines[2:] == [("stdout", "20%")]
    assert Path("files", OUTPUT).read_text() == "hello\noops\n20%\n"
    print("later")
    assert len(recorder.lines) == 3
    assert "write" not in vars(sys.stdout)
    assert recorder.warnings == []


@given(st.lists(st.tuples(st.sampled_from(("stdout", "stderr")), st.text("ab\r\n", max_size=8))))
def test_what_is_recorded_is_what_is_printed(writes: list[tuple[str, str]]) -> None:
    """Whatever is written where in which pieces: the lines of each stream are recorded, once, in order."""
    recorder = Recorder()
    capture = recorder.capture()
    capture.start()
    expected = {}
    for stream, text in writes:
        getattr(sys, stream).write(text)
    capture.stop()
    for stream in ("stdout", "stderr"):
        assembler = LineAssembler()
        text = "".join(text for name, text in writes if name == stream)
        expected[stream] = assembler.feed(text) + assembler.rest()
        assert [text for name, text in recorder.lines if name == stream] == expected[stream]


def test_many_lines_make_few_records(capture: ConsoleCapture, recorder: Recorder) -> None:
    """A burst is recorded line by line, then some hundred at a time; the last ones are recorded a moment later."""
    capture.start()
    for number in range(2000):
        print(number)
    assert recorder.kinds.count(ConsoleLines) <= 64 + 4
    (timer,) = LateTimer.made
    assert timer.is_started
    assert timer.daemon
    timer.ring()

    assert recorder.texts == [str(number) for number in range(2000)]
    print("again")
    capture.stop()
    assert recorder.texts[2000:] == ["again"]
    assert LateTimer.made[-1].is_cancelled
    LateTimer.made[-1].ring()  # it was too late to take it back


def test_long_lines_do_not_wait(capture: ConsoleCapture, recorder: Recorder) -> None:
    """What waits is bounded in characters, too."""
    capture.start()
    for _ in range(64):
        print("burst")
    for _ in range(8):
        print("x" * LONGEST_LINE)

    assert recorder.kinds.count(ConsoleLines) > 64


def test_a_print_without_end_is_bounded(capture: ConsoleCapture, recorder: Recorder) -> None:
    """Twenty megabytes on one line are printed, and their beginning is recorded."""
    capture.start()
    text = "x" * 20_000_000
    assert sys.stdout.write(text) == len(text)
    del text
    assert sum(len(part) for one in capture._assemblers.values() for part in one._parts) == LONGEST_LINE
    assert capture._held == 0
    print()

    assert recorder.texts == ["x" * LONGEST_LINE]


def test_only_prints_of_text_are_taken(capture: ConsoleCapture, recorder: Recorder) -> None:
    """What the stream refuses is refused as ever, and is no line; an empty text is none either."""
    capture.start()
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes\n")  # type: ignore[call-overload]  # it is refused
    with pytest.raises(TypeError):
        sys.stdout.write()  # type: ignore[call-overload]  # likewise
    sys.stdout.write("")
    sys.stdout.writelines(["a\n", "b\n"])

    assert recorder.texts == ["a", "b"]


# ---------------------------------------------------------------------------------------------------- what goes wrong


def test_a_failure_to_record_is_said_once_and_printing_goes_on(
    recorder: Recorder, capture: ConsoleCapture
) -> None:
    """Neither the program nor the end of the run hears of it as an error."""
    capture.start()

    def fail(_: type[Any]) -> None:
        raise OSError("No space left on device")

    recorder.meddle = fail
    print("one")
    print("two")
    capture.stop()

    assert shown() == "one\ntwo\n"
    assert [text for text in recorder.warnings if "No space left" in text] == recorder.warnings
    assert len(recorder.warnings) == 1


@pytest.mark.parametrize("when", ["late", "at the end"])
def test_a_later_failure_to_record_is_said(recorder: Recorder, capture: ConsoleCapture, when: str) -> None:
    """Also where nobody prints at the time."""
    capture.start()

    def fail(_: type[Any]) -> None:
        raise OSError("No space left on device")

    for number in range(65):
        print(number)
    recorder.meddle = fail
    if when == "late":
        LateTimer.made[-1].ring()
    capture.stop()

    assert len(recorder.warnings) == 1


def test_what_recording_prints_is_no_loop(recorder: Recorder, capture: ConsoleCapture) -> None:
    """A warning about what was printed is printed itself: it is recorded with the next print, once."""
    capture.start()
    recorder.meddle = lambda kind: print("warning") if kind is ConsoleLines else None
    print("one")
    assert recorder.texts == ["one"]
    recorder.meddle = lambda _: None
    print("two")

    assert recorder.texts == ["one", "warning", "two"]


def test_a_print_does_not_wait_for_recording(recorder: Recorder, capture: ConsoleCapture) -> None:
    """While another thread waits for the disk, prints return; what they printed is recorded when the disk answers."""
    capture.start()
    is_stuck, goes_on = threading.Event(), threading.Event()

    def stick(_: type[Any]) -> None:
        recorder.meddle = lambda _: None
        is_stuck.set()
        goes_on.wait(PATIENCE_S)

    recorder.meddle = stick
    thread = threading.Thread(target=print, args=("first",))
    thread.start()
    assert is_stuck.wait(PATIENCE_S)
    print("second")
    print("third")
    assert recorder.texts == []
    goes_on.set()
    thread.join(PATIENCE_S)

    assert recorder.texts == ["first", "second", "third"]


def test_a_stuck_disk_does_not_fill_the_memory(
    recorder: Recorder, capture: ConsoleCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is printed meanwhile is held up to a bound; how much is not recorded is said at the end."""
    capture.start()
    monkeypatch.setattr(console, "_MOST_HELD", 10)
    monkeypatch.setattr(console, "_STOP_WAITS_S", 0.0)

    def print_meanwhile(_: type[Any]) -> None:
        recorder.meddle = lambda _: None
        thread = threading.Thread(target=lambda: [print("x" * 10) for _ in range(5)])
        thread.start()
        thread.join(PATIENCE_S)
        assert capture._held <= 10 + 2 * 10

    recorder.meddle = print_meanwhile
    print("first")
    capture.stop()

    assert recorder.texts[:2] == ["first", "x" * 10]
    assert len(recorder.texts) < 6
    assert any("faster than the disk" in text for text in recorder.warnings)


def test_a_program_out_of_stack_prints_on(recorder: Recorder, capture: ConsoleCapture) -> None:
    """What is printed where the stack ends may be missing; what is printed later is not."""
    capture.start()

    def deeper() -> None:
        sys.stdout.write("deeper\n")
        deeper()

    with pytest.raises(RecursionError):
        deeper()
    print("later")
    capture.stop()

    assert recorder.texts[0] == "deeper"
    assert recorder.texts[-1] == "later"
    assert not any("any more" in text for text in recorder.warnings)


def test_the_end_does_not_wait_for_itself(recorder: Recorder, capture: ConsoleCapture) -> None:
    """A signal handler may end the run while a print is being recorded."""
    capture.start()
    recorder.meddle = lambda _: capture.stop()
    print("one")

    assert recorder.texts == ["one"]
    assert any("The last of what was printed" in text for text in recorder.warnings)


def test_no_thread_to_be_had(
    recorder: Recorder, capture: ConsoleCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the lines wait for the next print, or for the end."""
    capture.start()

    def refuse(_: LateTimer) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(LateTimer, "start", refuse)
    for number in range(70):
        print(number)
    assert len(recorder.texts) == 64
    capture.stop()

    assert len(recorder.texts) == 70
    assert recorder.warnings == []


def test_no_file_to_be_had(recorder: Recorder) -> None:
    """It is said once; the lines are in the journal, and no file is told of."""
    Path("occupied").write_text("")
    capture = recorder.capture("occupied")
    capture.start()
    print("one")
    print("two")
    capture.stop()

    assert recorder.texts == ["one", "two"]
    assert FileSaved not in recorder.kinds
    assert len(recorder.warnings) == 1
    assert "cannot be kept" in recorder.warnings[0]


def test_the_disk_is_full_for_the_file(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise where it has begun."""
    capture = recorder.capture()
    capture.start()
    print("one")

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", refuse)
    print("two")
    monkeypatch.undo()

    assert recorder.texts == ["one", "two"]
    assert "No space left" in recorder.warnings[0]
    assert capture._file == -1


# --------------------------------------------------------------------------------------------------- whose stream it is


def test_streams_that_are_not_there(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a console nothing is captured; one that allows no wrapping is told of and left alone; two may be one."""

    class Closed:
        __slots__ = ()

        def write(self, text: str) -> int:
            return len(text)

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", Closed())
    capture = recorder.capture()
    capture.start()
    print("lost", file=sys.stderr)
    capture.stop()
    assert recorder.lines == []
    assert len(recorder.warnings) == 1
    assert "stderr cannot be recorded" in recorder.warnings[0]

    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    capture = recorder.capture()
    capture.start()
    print("once")
    capture.stop()
    assert recorder.lines == [("stdout", "once")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (0, 2, 1), (2, 0, 1)])
def test_captures_end_in_any_order(order: tuple[int, ...]) -> None:
    """Of runs side by side each records all until it ends; after the last the stream is as it was."""
    recorders = [Recorder() for _ in order]
    captures = [recorder.capture(str(number)) for number, recorder in enumerate(recorders)]
    for capture in captures:
        capture.start()
    for number in order:
        print(f"before {number}")
        captures[number].stop()

    assert [recorders[number].texts for number in order] == [
        [f"before {one}" for one in order[: count + 1]] for count in range(len(order))
    ]
    assert "write" not in vars(sys.stdout)


def test_who_wraps_after_us_is_left_alone(recorder: Recorder) -> None:
    """What another tool puts before our wrap stays when we let go, and works on; so does what was there before."""
    calls = []
    stream: Any = sys.stdout
    original = stream.write

    def earlier(text: str) -> int:
        calls.append(("earlier", text))
        written: int = original(text)
        return written

    stream.write = earlier
    capture = recorder.capture()
    capture.start()
    ours = stream.write

    def later(text: str) -> int:
        calls.append(("later", text))
        written: int = ours(text)
        return written

    stream.write = later
    stream.write("a\n")
    capture.stop()
    assert stream.write is later
    stream.write("b\n")

    assert calls == [("later", "a\n"), ("earlier", "a\n"), ("later", "b\n"), ("earlier", "b\n")]
    assert recorder.texts == ["a"]
    capture.stop()
    stream.write = earlier
    second = recorder.capture()
    second.start()
    second.stop()
    assert stream.write is earlier
    del stream.write


def test_a_stream_that_changes_its_mind(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that does not give its `write` back keeps one that does nothing more."""

    class Stubborn(io.StringIO):
        def __delattr__(self, name: str) -> None:
            raise AttributeError(name)

    monkeypatch.setattr(sys, "stdout", Stubborn())
    capture = recorder.capture()
    capture.start()
    print("one")
    capture.stop()
    print("two")

    assert recorder.texts == ["one"]
    assert shown() == "one\ntwo\n"


def test_a_forked_child_prints_for_itself(recorder: Recorder, capture: ConsoleCapture) -> None:
    """What it prints is not recorded; what waits is recorded once, by the parent; no lock of its is waited for."""
    capture.start()
    sys.stdout.write("half a ")
    with capture._recording:
        child = os.fork()
        if child == 0:
            print("in the child")
            capture.abandon()
            print("in the child, too")
            is_well = recorder.lines == [] and "write" not in vars(sys.stdout)
            os._exit(0 if is_well else 1)
    _, status = os.waitpid(child, 0)
    print("line")

    assert os.waitstatus_to_exitcode(status) == 0
    assert recorder.texts == ["half a line"]
