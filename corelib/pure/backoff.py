"""How long to wait before trying again.

Law: waits double from failure to failure up to a limit, with a drawn share on top so that many clients do not
return in step. After many failures in a row the breaker is open: it is tried rarely. What the other side asks for
replaces the computed wait. No wait is longer than `Backoff.longest_s`.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from attrs import field, frozen

from corelib.errors import UsageError

__all__ = ["Backoff", "was_told"]

_MOST_DOUBLINGS: Final = 60


def _positive_seconds(_: object, attribute: Any, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise UsageError(
            f"A back-off needs {attribute.name} as a positive finite number, and was given {value}."
        )


def _at_least_one(_: object, attribute: Any, value: int) -> None:
    if value < 1:
        raise UsageError(f"A back-off needs {attribute.name} of at least 1, and was given {value}.")


def _share(_: object, attribute: Any, value: float) -> None:
    if not 0 <= value <= 1:
        raise UsageError(f"A back-off needs {attribute.name} between 0 and 1, and was given {value}.")


@frozen(kw_only=True)
class Backoff:
    """The rule of waiting.

    Args:
        first_s: the wait after the first failure, in seconds.
        limit_s: the longest computed wait, in seconds, before jitter.
        jitter: up to this share is added to a computed wait.
        told_limit_s: the longest wait the other side can ask for, in seconds.
        breaker_failures: so many failures in a row open the breaker.
        breaker_wait_s: the computed wait while it is open, in seconds, before jitter.

    Raises:
        UsageError: a number with which there would be no wait, or no end of it.
    """

    first_s: float = field(default=1.0, validator=_positive_seconds)
    limit_s: float = field(default=60.0, validator=_positive_seconds)
    jitter: float = field(default=0.25, validator=_share)
    told_limit_s: float = field(default=900.0, validator=_positive_seconds)
    breaker_failures: int = field(default=10, validator=_at_least_one)
    breaker_wait_s: float = field(default=300.0, validator=_positive_seconds)

    @property
    def longest_s(self) -> float:
        """The longest wait there can be, in seconds."""
        return max(max(self.limit_s, self.breaker_wait_s) * (1 + self.jitter), self.told_limit_s)

    def is_open(self, failures: int) -> bool:
        """Return whether the breaker is open after so many failures in a row."""
        return failures >= self.breaker_failures

    def wait_s(self, failures: int, entropy: float, told: float | None = None) -> float:
        """Return the seconds to wait after so many failures in a row.

        Args:
            failures: 1 for the first.
            entropy: a number in [0, 1), drawn for this wait.
            told: the seconds the other side asked for; None or no usable number: it asked for nothing.
        """
        if told is not None and was_told(told):
            return min(told, self.told_limit_s)
        doubled = min(self.first_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), self.limit_s)
        return (self.breaker_wait_s if self.is_open(failures) else doubled) * (1 + self.jitter * entropy)


def was_told(seconds: float | None) -> bool:
    """Return whether the other side asked for a wait: a number from 0 on, infinity included, but no NaN."""
    return seconds is not None and seconds >= 0
