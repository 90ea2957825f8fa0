"""Which requests have not been answered yet.

Law: a request is in flight from the end of its head until its answer begins to be written, or until its
connection is gone, whichever comes first. So a client that gave up and hung up may try again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.servers.exchange import Endpoint
from tests.servers.state import RunKey

__all__ = ["InFlight"]


class _Entry(NamedTuple):
    endpoint: Endpoint
    run: RunKey
    is_alive: Callable[[], bool]


class InFlight:
    """The requests that are under way, by number."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}

    def begin(self, number: int, endpoint: Endpoint, run: RunKey, is_alive: Callable[[], bool]) -> None:
        """Note that a request is under way; `is_alive` says whether its client still waits."""
        self._entries[number] = _Entry(endpoint, run, is_alive)

    def end(self, number: int) -> None:
        """Note that a request is answered, or never will be."""
        self._entries.pop(number, None)

    def others(self, number: int, endpoint: Endpoint, run: RunKey) -> list[int]:
        """Return the numbers of the other requests of this kind for this run whose clients still wait."""
        return [
            other
            for other, entry in self._entries.items()
            if other != number and entry.endpoint == endpoint and entry.run == run and entry.is_alive()
        ]
