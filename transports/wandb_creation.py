"""Starting a run at the server, and learning who was first.

Law: the first request names the run and says nothing else, so that a run which somebody has started already stays
as it is; the answer says who was first. Only who was first, or finds the run made ahead and never started,
describes it, and from then on it counts as started. Nothing is repeated: after a lost answer the second attempt
would meet the first as a rival.

The server has no request that starts a run only if nobody has. Who finds one that was made and not started cannot tell
a sweep from somebody who is in the middle of starting it; so it waits for `settle_s`, looks once more, and starts the
run then. The waits are drawn, so that of two who wait the first one is seen by the other. And who finds rows in a run
that it has just described was not the first.
"""

from __future__ import annotations

from typing import Any, Final

from corelib.ports import RunRef, UpsertAnswered
from corelib.pure.records import RunStart
from corelib.pure.replay import Replay
from transports.wandb_documents import ProtocolSettings, description
from transports.wandb_exchange import HttpRequest, HttpResult, Verdict
from transports.wandb_graphql import Bucket, Reader, upsert_request
from transports.wandb_resume import lookup_failure

__all__ = ["Creation"]

_SETTLE_S: Final = 1.0


class Creation:
    """Starts one run. `next_request` and `answered` alternate, after a wait of `settle_s`; then `answer` is there.

    Args:
        run: the address of the run.
        start: how it begins.
        settings: the settings of the transport.
        entropy: a number in [0, 1), drawn for this run.

    Raises:
        ValueError: the config cannot be written as JSON.
    """

    def __init__(self, run: RunRef, start: RunStart, settings: ProtocolSettings, entropy: float) -> None:
        self.answer: UpsertAnswered | None = None
        self.settle_s = 0.0
        """How long to wait before the next request, in seconds."""
        self._settings = settings
        self._entropy = entropy
        self._address: dict[str, Any] = {
            "name": run.run_id,
            "project": run.project,
            "entity": run.entity or settings.entity,
        }
        self._variables = description(start, Replay(), (), settings)
        self._looks = 0

    def next_request(self) -> HttpRequest | None:
        """Return what to send next; None: nothing any more."""
        if self.answer is None:
            return upsert_request(self._address)
        if self._variables:
            return upsert_request({**self._variables, **self._address})
        return None

    def answered(self, request: HttpRequest, result: HttpResult, now: float) -> None:
        """Take an answer."""
        bucket = Reader(request, result, self._settings.host, now).bucket()
        if self.answer is not None:
            # Whatever became of the description: the run is ours, and its opening sends it again.
            self._variables = {}
            if isinstance(bucket, Bucket) and bucket.history_lines:
                self.answer = self.answer._replace(started=True)
            return
        self._looks += 1
        self.settle_s = 0.0
        if isinstance(bucket, Verdict):
            self._variables = {}
            self.answer = UpsertAnswered(failure=lookup_failure(result, bucket))
            return
        started = _started(bucket)
        if not bucket.inserted and started is False and self._looks == 1:
            self.settle_s = _SETTLE_S * (1 + self._entropy)
            return
        self.answer = UpsertAnswered(inserted=bucket.inserted, started=started)
        if started or bucket.inserted is None:
            self._variables = {}
        else:
            self._address["id"] = bucket.storage_id


def _started(bucket: Bucket) -> bool | None:
    if bucket.inserted:
        return False
    return True if bucket.history_lines else bucket.started
