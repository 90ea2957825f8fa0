"""A person at the terminal: is there one, and what do they answer?

Law: nobody is asked but through a terminal that is in front of a person, and no answer is waited for longer than was
said. What is hidden is never shown, and the terminal is left as it was found, whatever happens meanwhile.
"""

# Not `getpass`: it cannot be told to wait only so long, and a thread that sits in it cannot be ended.

from __future__ import annotations

import os
import select
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from typing import Final, TextIO

__all__ = ["Person", "person_at_terminal"]

_LONGEST_LINE: Final = 4096
_LOCAL_MODES: Final = 3  # the place of these flags in what termios returns


class Person:
    """Somebody who can be asked.

    Args:
        fd: the terminal they type at.
        shown: where questions are shown.
        timeout: seconds for all questions together; None: as long as it takes.
        clock: seconds, never going back.
    """

    def __init__(
        self, fd: int, shown: TextIO, timeout: float | None, clock: Callable[[], float] = monotonic
    ) -> None:
        self._fd = fd
        self._shown = shown
        self._clock = clock
        self._deadline = None if timeout is None else clock() + timeout

    def tell(self, text: str) -> None:
        """Show a line."""
        self._shown.write(f"{text}\n")
        self._shown.flush()

    def ask(self, question: str, *, hidden: bool = False) -> str | None:
        """Return the line that is typed, without white space around it; None: the time is up, or the input ended.

        Args:
            question: what to show before the cursor.
            hidden: do not show what is typed.

        Raises:
            KeyboardInterrupt: the person interrupted.
        """
        with self._without_echo() if hidden else nullcontext():
            self._shown.write(question)
            self._shown.flush()
            line = self._line()
        if hidden or line is None:
            self.tell("")
        return line

    def _line(self) -> str | None:
        left = None if self._deadline is None else max(self._deadline - self._clock(), 0.0)
        ready, _, _ = select.select([self._fd], [], [], left)
        # The terminal gives whole lines, so what is ready is one, or the end.
        data = os.read(self._fd, _LONGEST_LINE) if ready else b""
        return data.decode(errors="replace").strip() if data else None

    @contextmanager
    def _without_echo(self) -> Iterator[None]:
        modes = termios.tcgetattr(self._fd)
        hidden = list(modes)
        hidden[_LOCAL_MODES] &= ~termios.ECHO
        # What was typed before the question is thrown away: it was not meant as its answer.
        termios.tcsetattr(self._fd, termios.TCSAFLUSH, hidden)
        try:
            yield
        finally:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, modes)


def person_at_terminal(timeout: float | None = None) -> Person | None:
    """Return who can be asked just now; None where nobody is, as in a job, a pipe, or behind another program.

    Args:
        timeout: seconds for all questions together; None: as long as it takes.
    """
    try:
        fd = sys.stdin.fileno()
        # A job in the background that reads from its terminal is stopped by the kernel, for good if nobody looks.
        if os.isatty(fd) and sys.stderr.isatty() and os.tcgetpgrp(fd) == os.getpgrp():
            return Person(fd, sys.stderr, timeout)
    except (AttributeError, OSError, ValueError):  # no such stream, not a real one, or closed
        return None
    return None
