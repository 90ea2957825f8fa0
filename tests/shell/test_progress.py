"""Progress: one line on a terminal, a plain one now and then elsewhere, nothing where nothing is to be seen."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest

from corelib.pure.outcomes import Ledger, RowCount
from corelib.shell.progress import Progress, Standing
from corelib.shell.report import Report


class Terminal(StringIO):
    """A stream that says it is a terminal, and keeps what is visible on it."""

    def isatty(self) -> bool:
        return True

    @property
    def visible(self) -> str:
        line = ""
        for piece in self.getvalue().split("\r"):
            line = piece + line[len(piece) :]
        return line.rstrip()


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def progress(stream: Any, **options: Any) -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress("corelib", stream=stream, clock=clock, **options), clock


def at(settled: int, written: int = 10_000, size: int = 100, place: str = "host") -> Standing:
    return Standing(place, settled, written, settled * size)


def run(shown: Progress, clock: Clock, steps: int, each: int = 500, seconds: float = 0.25) -> None:
    """Show so many steps of a delivery that goes on evenly."""
    for number in range(steps):
        shown.show([at(each * number)])
        clock.now += seconds


def test_one_line_on_a_terminal() -> None:
    """What is left, its size, the rate and the place, on a line that is written anew and taken away at the end."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    run(shown, clock, 5)

    assert terminal.visible == "corelib: 8,000 rows (800.0 kB) left, 2,000 rows/s, to host"
    assert "\n" not in terminal.getvalue()
    shown.end()
    assert terminal.visible == ""
    shown.end()
    assert terminal.getvalue().endswith("\r")


def test_a_shorter_line_covers_a_longer_one() -> None:
    """Nothing of the line before stays."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    clock.now += 1
    shown.show([at(0, written=10_000_000)])
    clock.now += 1
    shown.show([at(9_999_999, written=10_000_000)])

    assert terminal.visible.startswith("corelib: 1 row (")
    assert terminal.visible.endswith("rows/s, to host")


def test_plain_lines_elsewhere() -> None:
    """In a file there is a line after five seconds, then one every fifteen, and no other character."""
    stream = StringIO()
    shown, clock = progress(stream)
    run(shown, clock, 20, each=50)
    assert stream.getvalue() == ""
    run(shown, clock, 80, each=50)
    shown.end()
    lines = stream.getvalue().splitlines()

    assert len(lines) == 2
    assert all(line.endswith(", to host") for line in lines)
    assert "\r" not in stream.getvalue()


@pytest.mark.parametrize("kind", [StringIO, Terminal])
def test_nothing_when_silent(kind: Any) -> None:
    """Who wants to see nothing sees nothing."""
    stream = kind()
    shown, clock = progress(stream, shown=False)
    run(shown, clock, 20)
    shown.end()

    assert stream.getvalue() == ""


def test_nothing_for_a_short_wait() -> None:
    """What is over in a moment needs no words."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    shown.show([at(0)])
    clock.now += 0.4
    shown.show([at(10_000)])
    shown.end()

    assert terminal.getvalue() == ""


def test_what_is_not_known_is_not_said() -> None:
    """Before anything was answered nobody knows how large a record is; after all was, nothing is left to say."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    clock.now += 1
    shown.show([at(0)])
    assert terminal.visible == "corelib: 10,000 rows left, no answer just now, to host"
    clock.now += 1
    shown.show([at(10_000)])
    assert terminal.visible == "corelib: all rows delivered, waiting for the last answer of host"


def test_several_transports_are_one_line() -> None:
    """What is left of all is added up, and those that are done are not named any more."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    clock.now += 1
    shown.show([at(5_000, place="one"), at(9_000, place="two"), at(10_000, place="three")])

    assert terminal.visible.startswith("corelib: 6,000 rows (600.0 kB) left, ")
    assert terminal.visible.endswith(", to one, two")


@pytest.mark.parametrize(
    ("size", "text"),
    [(1, "1 B"), (2_500, "2.5 kB"), (3_000_000, "3.0 MB"), (4 * 10**9, "4.0 GB"), (10**13, "10.0 TB")],
)
def test_sizes_have_units(size: int, text: str) -> None:
    """Bytes are shown with the unit that leaves a readable number."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    clock.now += 1
    shown.show([Standing("host", 1, 2, size)])

    assert f"({text}) left" in terminal.visible


def test_a_narrow_terminal_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line longer than the terminal is wide would scroll instead of being written anew."""
    import os

    class Narrow(Terminal):
        def fileno(self) -> int:
            return 0

    monkeypatch.setattr(os, "get_terminal_size", lambda fd: os.terminal_size((40, 10)))
    terminal = Narrow()
    shown, clock = progress(terminal)
    run(shown, clock, 5)

    assert len(terminal.visible) <= 37, "room for the ^C that a terminal shows"


class Broken(StringIO):
    """A stream that cannot be written, nor asked anything."""

    def write(self, text: str) -> int:
        raise ValueError("closed")

    def isatty(self) -> bool:
        raise ValueError("closed")


def test_a_broken_stream_is_let_be() -> None:
    """Nobody's finish() fails over a closed terminal; it is not tried again and again either."""
    shown, clock = progress(Broken())
    run(shown, clock, 5)
    shown.end()


def test_without_a_stream_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs without standard error, as under pythonw, finish as well."""
    import sys

    monkeypatch.setattr(sys, "stderr", None)
    shown, clock = progress(None)
    run(shown, clock, 5)
    shown.end()


def test_couriers_are_watched() -> None:
    """What couriers of any kind say is what is shown; more than was written cannot be left."""

    class Someone:
        place = "host"
        ledger = Ledger(
            accepted=70,
            delivered=50,
            pending=10,
            reasons={"no": 10},
            rows=RowCount(delivered=40, reasons={"no": 10}),
        )
        settled_bytes = 5_000

    terminal = Terminal()
    shown, clock = progress(terminal)
    look = shown.watch([(Someone(), 70), (Someone(), 70)])  # type: ignore[list-item]
    clock.now += 1
    look()

    assert terminal.visible.startswith("corelib: 40 rows (4.0 kB) left")


def test_the_line_makes_way_for_messages() -> None:
    """A message stands on a line of its own, with nothing of the progress before or behind it; that comes again."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    report = Report("corelib", stream=terminal)
    report.make_way = shown.end
    run(shown, clock, 5)
    report.warn("hello")
    assert terminal.visible.endswith("corelib: WARNING hello")
    assert terminal.getvalue().endswith("\rcorelib: WARNING hello\n")
    run(shown, clock, 1)
    assert "rows" in terminal.getvalue().rpartition("\n")[2]


def test_a_ctrl_c_leaves_nothing_behind_the_line() -> None:
    """What a terminal echoes of a Ctrl-C stands behind the line and within its columns, and goes with it."""
    terminal = Terminal()
    shown, clock = progress(terminal)
    run(shown, clock, 5)
    terminal.write("^C")
    shown.end()

    assert terminal.visible == ""
