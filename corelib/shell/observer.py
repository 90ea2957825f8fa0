"""Hearing what a delivery does.

Law: an observer is told on the thread that carries, decides nothing, and raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from corelib.ports import RemoteAddress

__all__ = ["Observer"]


class Observer:
    """Hears what happens, on the thread that carries.

    Args:
        on_remote: called with what the backend calls the run, when it changes.
        on_stopped: called once when the backend asks that the run be ended.
    """

    def __init__(
        self,
        on_remote: Callable[[RemoteAddress], None] | None = None,
        on_stopped: Callable[[], None] | None = None,
    ) -> None:
        self._on_remote = on_remote
        self._on_stopped = on_stopped

    def stepped(self) -> None:
        """Take that the delivery has made a step."""

    def found(self, remote: RemoteAddress) -> None:
        """Take what the backend calls the run."""
        if self._on_remote is not None:
            self._on_remote(remote)

    def stopped(self) -> None:
        """Take that the backend asks that the run be ended."""
        if self._on_stopped is not None:
            self._on_stopped()
