"""Interrupting the program from another thread, as a Ctrl-C does.

Law: what sleeps or waits for a lock is woken up, as by a real signal; a program that takes no Ctrl-C is left alone, and
never killed.
"""

from __future__ import annotations

import signal
from threading import main_thread

__all__ = ["can_be_interrupted", "interrupt"]


def can_be_interrupted() -> bool:
    """Return whether the program has a handler for Ctrl-C; ignoring it is none, and its default would kill."""
    return callable(signal.getsignal(signal.SIGINT))


def interrupt() -> None:
    """Send the main thread the signal of a Ctrl-C, if it has a handler for it."""
    thread = main_thread().ident
    if thread is None or not can_be_interrupted():
        return
    try:
        signal.pthread_kill(thread, signal.SIGINT)
    except (OSError, ValueError):  # it is over
        return
