"""Uploads on a thread of their own, so that rows and signs of life go on while files are on their way.

Law: one file after the other, each streamed from the disk; the thread knows requests and answers and nothing else, and
who has the conversation fetches the answers. Behind an answer that says that the place is down nothing more is sent.
The thread keeps no process alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeAlias

from transports.wandb_exchange import HttpRequest, HttpResult, is_place_down

__all__ = ["Aside", "Start", "start_thread"]

Start: TypeAlias = Callable[[Callable[[], None]], None]
"""Has some work done, now or on another thread."""


def start_thread(work: Callable[[], None]) -> None:
    """Start a thread for it; where none is to be had, do it at once."""
    try:
        Thread(target=work, name="corelib-upload", daemon=True).start()
    except RuntimeError:
        work()


class Aside:
    """The uploads of one run that are under way. One thread has them begun, and fetches what came of them."""

    def __init__(self) -> None:
        self.is_under_way = False
        self._results: SimpleQueue[HttpResult | None] = SimpleQueue()

    def begin(
        self, requests: Iterable[HttpRequest], send: Callable[[HttpRequest], HttpResult], start: Start
    ) -> None:
        """Have these requests sent, one after the other."""
        self.is_under_way = True
        start(partial(self._work, tuple(requests), send))

    def fetch(self, timeout_s: float = 0.0) -> list[HttpResult]:
        """Return the answers that have come, in the order of their requests.

        Args:
            timeout_s: how long to wait for the first one, or for the end, in seconds.
        """
        found: list[HttpResult] = []
        with suppress(Empty):
            while self.is_under_way:
                result = self._results.get(block=timeout_s > 0 and not found, timeout=timeout_s or None)
                if result is None:
                    self.is_under_way = False
                else:
                    found.append(result)
        return found

    def _work(self, requests: Iterable[HttpRequest], send: Callable[[HttpRequest], HttpResult]) -> None:
        try:
            for request in requests:
                result = send(request)
                self._results.put(result)
                if is_place_down(result):
                    break
        finally:
            self._results.put(None)
