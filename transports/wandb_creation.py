"""Starting a run at the server, and learning who was first.

Law: the first request names the run and says nothing else, so that a run which somebody has started already stays
as it is; the answer says who was first. Only who was first, or finds the run made ahead and never started,
describes it, and from then on it counts as started. Nothing is repeated: after a lost answer the second attempt
would meet the first as a rival.
"""

from __future__ import annotations

from typing import Any

from corelib.ports import RunRef, UpsertAnswered
from corelib.pure.records import RunStart
from corelib.pure.replay import Replay
from transports.wandb_documents import ProtocolSettings, description
from transports.wandb_exchange import HttpRequest, HttpResult, Verdict
from transports.wandb_graphql import Bucket, Reader, upsert_request
from transports.wandb_resume import lookup_failure

__all__ = ["Creation"]


class Creation:
    """Starts one run. `next_request` and `answered` alternate; then `answer` is there.

    Raises:
        ValueError: the config cannot be written as JSON.
    """

    def __init__(self, run: RunRef, start: RunStart, settings: ProtocolSettings) -> None:
        self.answer: UpsertAnswered | None = None
        self._settings = settings
        self._address: dict[str, Any] = {
            "name": run.run_id,
            "project": run.project,
            "entity": run.entity or settings.entity,
        }
        self._variables = description(start, Replay(), (), settings)
        self._is_named = False

    def next_request(self) -> HttpRequest | None:
        """Return what to send next; None: nothing any more."""
        if not self._is_named:
            return upsert_request(self._address)
        if self._variables:
            return upsert_request({**self._variables, **self._address})
        return None

    def answered(self, request: HttpRequest, result: HttpResult, now: float) -> None:
        """Take an answer."""
        if self._is_named:
            # Whatever became of the description: the run is ours, and its opening sends it again.
            self._variables = {}
            return
        self._is_named = True
        bucket = Reader(request, result, self._settings.host, now).bucket()
        if isinstance(bucket, Verdict):
            self._variables = {}
            self.answer = UpsertAnswered(failure=lookup_failure(result, bucket))
            return
        self.answer = UpsertAnswered(inserted=bucket.inserted, started=_started(bucket))
        if self.answer.started or bucket.inserted is None:
            self._variables = {}
        else:
            self._address["id"] = bucket.storage_id


def _started(bucket: Bucket) -> bool | None:
    return False if bucket.inserted else bucket.started
