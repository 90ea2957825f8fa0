"""Capture of the console: what the program prints is recorded as lines, and kept as `files/output.log`.

Law: a print never fails or loses anything because of us, and waits for no other print: taking a text in is one append
to a queue. Whoever finds the recording free makes lines of what is there and records them by a journal's write, as
`log()` makes one; whoever does not, goes on, and the other one, a later print, or a short-lived thread sees to it. A
line that stands alone is recorded at once; of many, some at a time, at most a second late. What is held in memory is
bounded.

Only where `console` is "wrap", or one of the reference's words for it: a core to build upon touches nothing of the
world unasked, so its "auto" is off. What is printed past `sys.stdout` and `sys.stderr`, by child processes, by
libraries in other languages and by forked children, is not seen; nor is anything that was printed before `init()`.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from threading import Lock, Timer, get_ident
from time import monotonic
from typing import Any, Final

from corelib.descriptors import beyond_standard
from corelib.pure.console import LineAssembler, Pace
from corelib.pure.records import ConsoleLines, FileSaved
from corelib.shell.hooks.streams import StreamTap

__all__ = ["OUTPUT", "ConsoleCapture"]

OUTPUT: Final = "output.log"
"""The file of the run that holds what was printed, without times."""

_NAMES: Final = ("stdout", "stderr")
_AT_ONCE: Final = 64  # records in a row, each with a line or a few
_PER_SECOND: Final = 20.0  # and so many in the long run, unless lines are so many that they fill some
_LATE_S: Final = 1.0
_MOST_LINES: Final = 500  # of one record
_MOST_CHARACTERS: Final = 1 << 18  # of lines that wait to be recorded
_MOST_HELD: Final = 1 << 24  # characters of the queue, while the disk does not answer
_PIECE: Final = 1 << 20  # characters of which lines are made in one go
_STOP_WAITS_S: Final = 1.0


class ConsoleCapture:
    """Captures stdout and stderr of this process for one run.

    Args:
        record: records something in the run: a kind of record, and its values.
        directory: where `output.log` is put.
        warn: tells the user something.
    """

    def __init__(self, record: Callable[..., None], directory: str, warn: Callable[[str], None]) -> None:
        """Capture nothing yet."""
        self._record_in_run = record
        self._path = os.path.join(directory, OUTPUT)
        self._warn = warn
        self._pid = os.getpid()
        self._is_on = False
        self._taps: list[StreamTap] = []
        self._queue: deque[tuple[str, str]] = deque()
        self._echo: deque[tuple[str, str]] = deque()
        self._held = 0
        self._lost = 0
        self._recording = Lock()
        self._recorder: int | None = None
        self._assemblers = {name: LineAssembler() for name in _NAMES}
        self._waiting: list[tuple[str, list[str]]] = []
        self._waiting_lines = self._waiting_characters = 0
        self._pace = Pace(_AT_ONCE, _PER_SECOND, monotonic())
        self._timer: Timer | None = None
        self._file = -1
        self._keeps_file = True
        self._is_saved = False

    def start(self) -> None:
        """Begin to capture. A stream that cannot be wrapped is told of, and left alone."""
        self._is_on = True
        seen: list[Any] = []
        for name in _NAMES:
            stream = getattr(sys, name)
            if stream is None or any(stream is one for one in seen):  # no console, or both are one
                continue
            seen.append(stream)
            try:
                self._taps.append(StreamTap(stream, self._taker(name)))
            except (AttributeError, TypeError) as error:
                self._warn(f"What is printed to {name} cannot be recorded: {error}.")

    def stop(self) -> None:
        """Give the streams back and record what is left, a line without an end included. It raises nothing."""
        if not self._is_on:
            return
        self._is_on = False
        self._let_go()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        # Not for ever: whoever records may wait for a disk. And not for oneself, in a signal handler.
        if self._recorder == get_ident() or not self._recording.acquire(timeout=_STOP_WAITS_S):
            self._warn("The last of what was printed is not recorded: recording it was under way.")
            return
        try:
            self._recorder = get_ident()
            self._finish()
        except Exception as error:  # noqa: BLE001  the run must end all the same
            self._say_broken(error)
        finally:
            self._recorder = None
            self._recording.release()

    def abandon(self) -> None:
        """Let go in a forked child: what it prints is not the run's, and what is held is the parent's to record."""
        self._is_on = False
        self._let_go()

    def _let_go(self) -> None:
        for tap in reversed(self._taps):
            tap.close()

    # Taking in: on the thread that prints.

    def _taker(self, name: str) -> Callable[[str], None]:
        def take(text: str) -> None:
            if self._is_on and text and os.getpid() == self._pid:
                try:
                    self._take(name, text)
                except (MemoryError, RecursionError):  # the program's own, and perhaps it gets over it
                    self._lost += len(text)
                except Exception as error:  # noqa: BLE001  a print never fails because of us
                    self._is_on = False
                    self._say_broken(error)

        return take

    def _take(self, name: str, text: str) -> None:
        if self._held > _MOST_HELD:
            self._lost += len(text)
            return
        self._held += len(text)
        if self._recorder == get_ident():
            # Printed by what recording calls, as a warning of ours. With the next print, or it could go on for ever.
            self._echo.append((name, text))
            return
        self._queue.append((name, text))
        # Again, where somebody printed between the last look at the queue and the release.
        for _ in range(2):
            if not (self._queue and self._recording.acquire(blocking=False)):
                return
            try:
                self._recorder = get_ident()
                self._make_lines()
                self._record_in_time()
            finally:
                self._recorder = None
                self._recording.release()

    # All below: by one thread at a time.

    def _make_lines(self) -> None:
        while self._echo:  # printed before what is in the queue by now
            self._queue.appendleft(self._echo.pop())
        for _ in range(len(self._queue)):
            name, text = self._queue.popleft()
            for start in range(0, len(text), _PIECE):
                self._add(name, self._assemblers[name].feed(text[start : start + _PIECE]))
        if not self._queue:
            self._held = 0  # threads add to it without a lock, so it is no exact count

    def _add(self, name: str, lines: list[str]) -> None:
        for line in lines:
            if not self._waiting or self._waiting[-1][0] != name:
                self._waiting.append((name, []))
            self._waiting[-1][1].append(line)
            self._waiting_lines += 1
            self._waiting_characters += len(line)
            if self._waiting_lines >= _MOST_LINES or self._waiting_characters >= _MOST_CHARACTERS:
                self._record()

    def _record_in_time(self) -> None:
        if not self._waiting and not self._queue:
            return
        if self._waiting and self._pace.allows(monotonic()):
            self._record()
        elif self._timer is None:
            self._timer = timer = Timer(_LATE_S, self._record_late)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no thread can be had; the next print tries again
                self._timer = None

    def _record_late(self) -> None:
        with self._recording:
            self._timer = None
            if not self._is_on or os.getpid() != self._pid:
                return
            try:
                self._recorder = get_ident()
                self._make_lines()
                self._record()
            except Exception as error:  # noqa: BLE001  as above
                self._is_on = False
                self._say_broken(error)
            finally:
                self._recorder = None

    def _record(self) -> None:
        self._pace.spend(len(self._waiting))
        while self._waiting:
            name, lines = self._waiting[0]
            self._keep(lines)
            self._record_in_run(ConsoleLines, stream=name, lines=tuple(lines))
            del self._waiting[0]  # now, and not before: a Ctrl-C may come at any time
        self._waiting_lines = self._waiting_characters = 0

    def _finish(self) -> None:
        self._make_lines()
        for name in _NAMES:
            self._add(name, self._assemblers[name].rest())
        self._record()
        self._close_file()
        if self._lost:
            self._warn(
                f"{self._lost} characters that were printed are not recorded: faster than the disk, or out of memory."
            )

    def _keep(self, lines: list[str]) -> None:
        """Append lines to the file; where that cannot be, it is said once, and the lines are in the journal only."""
        if not self._keeps_file:
            return
        try:
            if self._file < 0:
                os.makedirs(os.path.dirname(self._path), exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._file = beyond_standard(os.open(self._path, flags, 0o666))
            data = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
            while data:
                data = data[os.write(self._file, data) :]
        except OSError as error:
            self._keeps_file = False
            self._close_file()
            self._warn(f"What is printed cannot be kept in {self._path}: {error.strerror or error}.")
            return
        if not self._is_saved:
            self._is_saved = True
            self._record_in_run(FileSaved, path=OUTPUT, policy="end")

    def _close_file(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)

    def _say_broken(self, error: Exception) -> None:
        self._warn(f"What is printed is not recorded any more: {type(error).__name__}: {error}.")
