"""Text for people: columns stay in line, curves show what is there, and no terminal is commanded or failed."""

from __future__ import annotations

import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.terminal import (
    Curve,
    counted,
    duration,
    emit,
    figure,
    leaves,
    moment,
    outline,
    size,
    sparkline,
    table,
    width,
)

NUMBERS = st.lists(st.floats() | st.none(), max_size=300)


def test_sparkline_draws_low_to_high() -> None:
    """The least value is the lowest bar and the greatest the highest."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"


def test_sparkline_of_a_constant_is_level() -> None:
    """A constant series is a level line in the middle."""
    assert sparkline([3.0, 3.0, 3.0]) == "▄▄▄"


def test_sparkline_shows_what_is_no_number_as_a_gap() -> None:
    """NaN, infinities and missing values leave gaps, and do not bend the rest."""
    assert sparkline([0.0, math.nan, math.inf, None, 1.0]) == "▁   █"
    assert sparkline([math.nan, math.nan]) == "  "
    assert sparkline([]) == ""


@given(values=NUMBERS, columns=st.integers(1, 60))
def test_sparkline_has_as_many_columns_as_there_is_room_for(values: list[float | None], columns: int) -> None:
    """Any series fits: as wide as it is long, at most `columns`, whatever the numbers."""
    drawn = sparkline(values, columns)

    assert len(drawn) == min(len(values), columns)
    assert set(drawn) <= set("▁▂▃▄▅▆▇█ ")


@given(values=st.lists(st.floats(), max_size=400), columns=st.integers(1, 20))
def test_curve_remembers_ends_and_extremes_in_bounded_memory(values: list[float], columns: int) -> None:
    """However long the series, a curve keeps at most twice its columns, and its ends, extremes and count are exact."""
    curve = Curve(columns)
    for value in values:
        curve.add(value)
    finite = [value for value in values if math.isfinite(value)]

    assert len(curve.means()) <= 2 * columns
    assert curve.count == len(values)
    assert str((curve.first, curve.last)) == str((values[0], values[-1]) if values else (None, None))
    assert (curve.least, curve.most) == ((min(finite), max(finite)) if finite else (None, None))


@given(count=st.integers(1, 500), columns=st.integers(1, 20))
def test_curve_keeps_the_shape(count: int, columns: int) -> None:
    """The means of a rising series rise, and lie between its ends."""
    curve = Curve(columns)
    for value in range(count):
        curve.add(float(value))
    means = [mean for mean in curve.means() if mean is not None]

    assert means == sorted(means)
    assert means[0] >= 0
    assert means[-1] <= count - 1


def test_curve_of_nothing_finite_has_gaps() -> None:
    """A stretch without a finite value has no mean."""
    curve = Curve(2)
    for value in (math.nan, 1.0):
        curve.add(value)

    assert curve.means() == [None, 1.0]


def test_table_lines_up() -> None:
    """Numbers stand flush right and words flush left, also where characters are two columns wide."""
    lines = table(("name", "loss"), [("虹彩", 0.25), ("iris", 12)], "<>")

    assert lines == ["name  loss", "────  ────", "虹彩  0.25", "iris    12"]


@given(cells=st.lists(st.tuples(st.text(), st.floats(), st.none() | st.integers()), max_size=5))
def test_table_is_as_wide_in_every_line(cells: list[tuple[str, float, int | None]]) -> None:
    """No text, of whatever characters, pushes a column out of line or breaks it."""
    lines = table(("a", "b", "c", "end"), [(*row, "|") for row in cells])

    assert len({width(line) for line in lines[2:]}) <= 1
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (0.123456, "0.1235"),
        (123456.0, "123456"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (7, "7"),
        (True, "True"),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_figure(value: object, shown: str) -> None:
    """A value is shown on one line, floats with four significant digits."""
    assert figure(value) == shown


def test_figure_is_cut_where_there_is_no_room() -> None:
    """A long value is cut only on request, and one sees that it was."""
    assert figure("x" * 100) == "x" * 100
    assert figure("x" * 100, 60) == "x" * 59 + "…"
    assert figure("x" * 60, 60) == "x" * 60


def test_counted() -> None:
    """One thing is singular."""
    assert [counted(number, "segment") for number in (0, 1, 2)] == ["0 segments", "1 segment", "2 segments"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.4219, "0.42 s"),
        (2.0, "2.0 s"),
        (186.0, "3.1 min"),
        (7200.0, "2.0 h"),
        (172_800.0, "2.0 d"),
    ],
)
def test_duration(seconds: float | None, shown: str) -> None:
    """A length of time is shown in the unit that people would use."""
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("count", "shown"), [(812, "812 B"), (4_100, "4.1 kB"), (3_000_000, "3.0 MB"), (2 * 10**13, "20.0 TB")]
)
def test_size(count: int, shown: str) -> None:
    """A number of bytes is shown in decimal units."""
    assert size(count) == shown


def test_moment_is_local_time() -> None:
    """A point in time is shown as the clock on the wall says it; an unknown one as a dash."""
    assert len(moment(0.0)) == len("1970-01-01 00:00:00")
    assert moment(None) == "-"


def test_leaves_are_paths() -> None:
    """Nested values come with their path; an empty mapping is itself a value."""
    assert list(leaves({"a": {"b": 1, "c": {}}, "d": 2})) == [("a.b", 1), ("a.c", {}), ("d", 2)]


def test_outline_of_nothing_is_nothing() -> None:
    """A title without pairs is left out; with pairs, values stand in one column."""
    assert outline("config", []) == []
    assert outline("config", [("lr", 0.1), ("epochs", 3)]) == ["config", "  lr      0.1", "  epochs  3"]
    assert outline("at", [("path", "/a"), ("path", "/b")]) == ["at", "  path  /a", "        /b"]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_emit_fails_on_no_terminal(encoding: str) -> None:
    """What a terminal cannot encode is drawn in plain characters."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")

    emit([sparkline([0, 1]) + " 虹", "plain"], stream)
    stream.flush()

    expected = "▁█ 虹\nplain\n" if encoding == "utf-8" else "_# \\u8679\nplain\n"
    assert raw.getvalue().decode(encoding) == expected
