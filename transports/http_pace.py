"""The pace that a server wishes for.

Law: it is obeyed across all runs. A short wait is slept away, a longer one is for the core to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from corelib.ports import Retry
from transports.wandb_exchange import HttpAnswer, HttpResult, rate_limit_wait_s

__all__ = ["Pace"]

_LONGEST_SLEEP_S: Final = 1.0


class Pace:
    """When the server is to be asked again. `host` is what it is called."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._not_before = 0.0

    def wait(self, now: float, sleep: Callable[[float], object]) -> Retry | None:
        """Wait until it may be asked; `Retry`: that takes long. `now` is in seconds of any clock that goes on."""
        wait_s = self._not_before - now
        if wait_s > _LONGEST_SLEEP_S:
            return Retry(reason=f"{self._host} asks for a slower pace", after=wait_s)
        if wait_s > 0:
            sleep(wait_s)
        return None

    def keep(self, result: HttpResult, now: float) -> None:
        """Take what an answer of the server says about it."""
        wait_s = rate_limit_wait_s(result.headers) if isinstance(result, HttpAnswer) else None
        if wait_s is not None:
            self._not_before = now + wait_s
