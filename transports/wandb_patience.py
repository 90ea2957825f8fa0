"""How often something is tried again, and how soon.

Law: what passes by itself or can be mended by people is tried for ever; what is merely doubtful, so many times
in a row, and once each time after that, until it succeeds. What can never succeed is not tried again.
"""

from __future__ import annotations

from corelib.ports import Retry
from transports.wandb_exchange import Verdict

__all__ = ["Patience"]


class Patience:
    """Counts doubtful answers per operation.

    Args:
        doubts: how many in a row there may be, the last one being final.
        slow_s: how long to wait before something is tried again slowly, in seconds.
    """

    def __init__(self, doubts: int, slow_s: float) -> None:
        self._doubts = doubts
        self._slow_s = slow_s
        self._counted: dict[str, int] = {}

    def again(self, operation: str, verdict: Verdict) -> Retry | None:
        """Return when to try again; None: not any more."""
        if verdict.meaning == "later":
            return Retry(reason=verdict.advice, after=verdict.after)
        if verdict.meaning == "doubtful":
            self._counted[operation] = self._counted.get(operation, 0) + 1
            if self._counted[operation] >= self._doubts:
                return None
        elif verdict.meaning != "slowly":
            return None
        return Retry(reason=verdict.advice, after=max(verdict.after or 0.0, self._slow_s))

    def rewarded(self, operation: str) -> None:
        """Take that an operation has succeeded."""
        self._counted.pop(operation, None)
