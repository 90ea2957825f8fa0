"""What the command line and the demo show: tables, sparklines, figures.

Law: text in a terminal is data shown to a person. It never wraps a column out of line, never lets a logged
text move the cursor, and never fails because a terminal cannot draw a character. Nothing here reads a run or
a setting.
"""

from __future__ import annotations

import math
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from corelib.pure.printable import printable

__all__ = [
    "LONGEST_VALUE",
    "SPARK_WIDTH",
    "Curve",
    "counted",
    "duration",
    "emit",
    "figure",
    "leaves",
    "moment",
    "outline",
    "size",
    "sparkline",
    "table",
    "width",
]

SPARK_WIDTH: Final = 40
LONGEST_VALUE: Final = 60

_BARS: Final = "▁▂▃▄▅▆▇█"
_GAP: Final = " "
_PLAIN: Final = str.maketrans(
    {**dict(zip(_BARS, "_.,-=+*#", strict=True)), "─": "-", "…": "~", "→": ">", "·": "-"}
)
_UNITS_S: Final = (("d", 86_400), ("h", 3_600), ("min", 60))


def emit(lines: Iterable[str], stream: TextIO | None = None) -> None:
    """Print lines, to standard output unless told otherwise; what it cannot encode is drawn in plain characters."""
    target = sys.stdout if stream is None else stream
    encoding = target.encoding or "utf-8"
    for line in lines:
        try:
            line.encode(encoding)
        except UnicodeEncodeError:
            text = line.translate(_PLAIN).encode(encoding, "backslashreplace").decode(encoding)
        else:
            text = line
        print(text, file=target)
    # Messages of the library go to standard error meanwhile: what a person sees stays in order.
    target.flush()


def width(text: str) -> int:
    """Return how many columns a printable text takes: two for wide East Asian characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1
        for one in text
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 segment`, `2 segments`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def figure(value: Any, longest: int | None = None) -> str:
    """Return a value as text on one line: floats with four significant digits, None as a dash.

    Args:
        value: anything that was logged or configured.
        longest: how many characters there may be; what is cut off is marked. None: as many as there are.
    """
    if value is None:
        return "-"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.6g}"  # noqa: PLR2004  where .4g turns to exponents
    text = printable(str(value))
    return text if longest is None or len(text) <= longest else text[: longest - 1] + "…"


def duration(seconds: float | None) -> str:
    """Return a length of time in the largest unit that keeps it above one: `0.42 s`, `3.1 min`, `2.0 h`."""
    if seconds is None:
        return "-"
    for unit, length in _UNITS_S:
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def moment(time: float | None) -> str:
    """Return a point in time (seconds since the epoch) in local time: `2026-11-23 07:41:02`."""
    from time import localtime, strftime

    return "-" if time is None else strftime("%Y-%m-%d %H:%M:%S", localtime(time))


def size(count: int) -> str:
    """Return a number of bytes with a decimal unit: `812 B`, `4.1 kB`, `3.0 MB`."""
    if count < 1000:  # noqa: PLR2004  decimal units
        return f"{count} B"
    scaled = float(count)
    for unit in ("kB", "MB", "GB"):
        scaled /= 1000
        if scaled < 1000:  # noqa: PLR2004  decimal units
            return f"{scaled:.1f} {unit}"
    return f"{scaled / 1000:.1f} TB"


class Curve:
    """A series of any length in a fixed number of stretches, for drawing; its extremes and ends are exact.

    A stretch holds the mean of equally many values. When all are in use, neighbours are joined and each holds twice as
    many, so that a million values need no more memory than a hundred.
    """

    __slots__ = (
        "_counts",
        "_filled",
        "_limit",
        "_per_stretch",
        "_sums",
        "count",
        "first",
        "last",
        "least",
        "most",
    )

    def __init__(self, columns: int = SPARK_WIDTH) -> None:
        self._limit = 2 * columns
        self._per_stretch = 1
        self._filled = 0
        self._sums: list[float] = []
        self._counts: list[int] = []
        self.count = 0
        self.first: float | None = None
        self.last: float | None = None
        self.least: float | None = None
        self.most: float | None = None

    def add(self, value: float) -> None:
        """Take the next value. One that is not finite is counted and leaves a gap."""
        self.count += 1
        self.last = value
        self.first = value if self.first is None else self.first
        if self._filled % self._per_stretch == 0:
            if len(self._sums) == self._limit:
                self._join()
            self._sums.append(0.0)
            self._counts.append(0)
        self._filled += 1
        if math.isfinite(value):
            self._sums[-1] += value
            self._counts[-1] += 1
            self.least = value if self.least is None else min(self.least, value)
            self.most = value if self.most is None else max(self.most, value)

    def _join(self) -> None:
        self._sums = [sum(pair) for pair in zip(self._sums[::2], self._sums[1::2], strict=True)]
        self._counts = [sum(pair) for pair in zip(self._counts[::2], self._counts[1::2], strict=True)]
        self._per_stretch *= 2

    def means(self) -> list[float | None]:
        """Return the mean of each stretch; None where it holds no finite value."""
        return [one / count if count else None for one, count in zip(self._sums, self._counts, strict=True)]


def sparkline(values: Iterable[float | None], columns: int = SPARK_WIDTH) -> str:
    """Draw a series in one line of at most `columns` characters.

    A longer series is cut into `columns` stretches of about equal length and the mean of each is drawn. What is
    no finite number leaves a gap: a gap in the middle of a curve is how a NaN in the loss is noticed.
    """
    means = _stretch(
        [value if value is not None and math.isfinite(value) else None for value in values], columns
    )
    known = [value for value in means if value is not None]
    if not known:
        return _GAP * len(means)
    low, high = min(known), max(known)
    # Halved before subtracting: the span of a series from -1e308 to 1e308 is finite.
    span = high / 2 - low / 2
    top = len(_BARS) - 1

    def bar(value: float | None) -> str:
        if value is None:
            return _GAP
        return _BARS[round((value / 2 - low / 2) / span * top)] if span else _BARS[top // 2]

    return "".join(bar(value) for value in means)


def _stretch(series: Sequence[float | None], columns: int) -> list[float | None]:
    count = len(series)
    if count <= columns:
        return list(series)
    means: list[float | None] = []
    for column in range(columns):
        stretch = series[column * count // columns : (column + 1) * count // columns]
        known = [value for value in stretch if value is not None]
        # Divided before summing: a mean lies between the extremes even where their sum overflows.
        means.append(sum(value / len(known) for value in known) if known else None)
    return means


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], right: str = "") -> list[str]:
    """Lay out rows under their headings, columns two blanks apart, and return the lines.

    Args:
        headings: one text per column.
        rows: values of any kind; they are shown by `figure`.
        right: one character per column, `>` for columns set flush right (numbers); missing ones are flush left.
    """
    cells = [[figure(value) for value in row] for row in rows]
    widths = [max(width(row[column]) for row in [headings, *cells]) for column in range(len(headings))]
    sides = right.ljust(len(headings), "<")

    def line(row: Sequence[str]) -> str:
        return "  ".join(_pad(*cell) for cell in zip(row, widths, sides, strict=True)).rstrip()

    return [line(headings), line(["─" * columns for columns in widths]), *(line(row) for row in cells)]


def _pad(text: str, columns: int, side: str) -> str:
    blanks = " " * (columns - width(text))
    return blanks + text if side == ">" else text + blanks


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield every value of a nested mapping with its path, `optimizer.lr`; an empty mapping is a value itself."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def outline(title: str, pairs: Iterable[tuple[str, Any]], longest: int | None = None) -> list[str]:
    """Return a titled list of names and values in two columns; nothing at all where there are no pairs.

    Args:
        title: the first line.
        pairs: names and values; a name may come again, and is then left out.
        longest: how many characters of a value are shown; None: all.
    """
    shown = [(printable(name), figure(value, longest)) for name, value in pairs]
    if not shown:
        return []
    column = max(width(name) for name, _ in shown)
    lines = [title]
    before = ""
    for name, value in shown:
        lines.append(f"  {_pad('' if name == before else name, column, '<')}  {value}".rstrip())
        before = name
    return lines
