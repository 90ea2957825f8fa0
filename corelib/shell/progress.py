"""What people see while a run is delivered: what is left, how fast it goes, and where to.

Law: one line that is written anew on a terminal, a plain line now and then elsewhere, nothing where nothing is to be
shown; and nothing at all where there is hardly anything to wait for. What matters most comes first, for a narrow
terminal shows no more; other messages stand on lines of their own. Showing never fails and changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TextIO

if TYPE_CHECKING:
    from corelib.shell.closing import AnyCourier

__all__ = ["Progress", "Standing"]

_PATIENCE_S: Final = 0.5  # what is over by then needs no words
_PLAIN_PATIENCE_S: Final = 5.0  # a line in a file stays
_PLAIN_EVERY_S: Final = 15.0
_TERMINAL_EVERY_S: Final = 0.2
_RATE_OVER_S: Final = 5.0
_FEWEST_COLUMNS: Final = 20
_ECHO_COLUMNS: Final = 2
_KILO: Final = 1000


class Standing(NamedTuple):
    """How one delivery stands.

    Args:
        place: where it goes, for people.
        settled: how many rows were answered for good.
        written: how many there are.
        settled_bytes: the size of what was answered.
    """

    place: str
    settled: int
    written: int
    settled_bytes: int

    @property
    def left(self) -> int:
        """How many rows are left."""
        return max(self.written - self.settled, 0)

    @property
    def bytes_left(self) -> int | None:
        """About how many bytes are left, from the size of those that were answered; None: nobody knows yet."""
        return self.left * self.settled_bytes // self.settled if self.settled else None


class Progress:
    """Shows how deliveries stand, as long as somebody waits for them.

    Args:
        name: who speaks.
        shown: whether anything is to be seen at all.
        stream: where; by default whatever `sys.stderr` is at the time.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        name: str,
        *,
        shown: bool = True,
        stream: TextIO | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._name = name
        self._shown = shown
        self._stream = stream
        self._clock = clock
        self._began_at = clock()
        self._next_at = self._began_at
        self._seen: deque[tuple[float, int]] = deque()
        self._width = 0

    def watch(self, couriers: Sequence[tuple[AnyCourier, int]]) -> Callable[[], None]:
        """Return what `close_all` is to call: it shows how couriers stand, each with how many rows there are for it."""

        def look() -> None:
            self.show(_standing(courier, written) for courier, written in couriers)

        return look

    def show(self, standings: Iterable[Standing]) -> None:
        """Show how deliveries stand, if it is time for that."""
        if not self._shown:
            return
        now = self._clock()
        known = list(standings)
        settled = sum(standing.settled for standing in known)
        while len(self._seen) > 1 and now - self._seen[0][0] > _RATE_OVER_S:
            self._seen.popleft()
        self._seen.append((now, settled))
        is_terminal = self._is_terminal()
        patience_s = _PATIENCE_S if is_terminal else _PLAIN_PATIENCE_S
        if now < max(self._next_at, self._began_at + patience_s):
            return
        text = f"{self._name}: {_text(known, self._rate())}"
        if is_terminal:
            self._next_at = now + _TERMINAL_EVERY_S
            self._rewrite(text[: self._columns() - _ECHO_COLUMNS - 1])
        else:
            self._next_at = now + _PLAIN_EVERY_S
            self._write(text + "\n")

    def end(self) -> None:
        """Take the line away again, if there is one; also before another message, after which it comes again."""
        width, self._width = self._width, 0
        if width:
            # A terminal shows the ^C of whoever presses it behind the line.
            self._write("\r" + " " * (width + _ECHO_COLUMNS) + "\r")

    def _rate(self) -> float:
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else 0.0

    def _rewrite(self, text: str) -> None:
        self._write("\r" + text.ljust(self._width))
        self._width = len(text)

    def _write(self, text: str) -> None:
        stream = self._target()
        if stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except Exception:  # noqa: BLE001  streams are anybody's code, and there is nobody else to tell
            self._shown = False

    def _target(self) -> TextIO | None:
        return sys.stderr if self._stream is None else self._stream

    def _is_terminal(self) -> bool:
        stream = self._target()
        try:
            return stream is not None and stream.isatty()
        except Exception:  # noqa: BLE001  as above
            return False

    def _columns(self) -> int:
        stream = self._target()
        try:
            columns = os.get_terminal_size(stream.fileno()).columns if stream is not None else 0
        except (AttributeError, OSError, ValueError):
            columns = 0
        return max(columns or 80, _FEWEST_COLUMNS)


def _standing(courier: AnyCourier, written: int) -> Standing:
    rows = courier.ledger.rows
    settled = rows.delivered + rows.rejected
    return Standing(courier.place, settled, max(written, settled), courier.settled_bytes)


def _text(standings: Sequence[Standing], rate: float) -> str:
    waiting = [standing for standing in standings if standing.left]
    places = ", ".join(dict.fromkeys(standing.place for standing in waiting or standings))
    left = sum(standing.left for standing in waiting)
    if not left:
        return f"all rows delivered, waiting for the last answer of {places}"
    sizes = [standing.bytes_left for standing in waiting]
    known = [size for size in sizes if size is not None]
    size = f" ({_size(sum(known))})" if known and len(known) == len(sizes) else ""
    pace = f"{rate:,.0f} rows/s" if rate else "no answer just now"
    return f"{left:,} row{'s' * (left > 1)}{size} left, {pace}, to {places}"


def _size(count: int) -> str:
    if count < _KILO:
        return f"{count} B"
    scaled = float(count)
    for unit in ("kB", "MB", "GB"):
        scaled /= _KILO
        if scaled < _KILO:
            return f"{scaled:.1f} {unit}"
    return f"{scaled / _KILO:.1f} TB"
