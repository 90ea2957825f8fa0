"""What to ask a W&B server next for one run, and what its answers mean: records in, requests and outcomes out.

Law: nothing here sends, waits or looks at a clock. One request is under way at a time; it comes again, byte for
byte, until it is answered for good. Rows go first, so that nothing else holds them up; `complete` goes last. What
the server refuses for good is named with its reason, once, and the rest goes on.

    opening     RunResumeStatus, if the run continues another    where its lines go on
                UpsertBucket                                     what the server calls the run
                ServerFeaturesQuery                              what it can do
    delivering  file_stream                                      rows and summary
                UpsertBucket                                     config, name, notes, tags, metrics
                NotifyScriptableRunAlert                         alerts
                CreateRunFiles, PUT …                            files
    ending      file_stream                                      `complete`, when all else is out

`take` takes a batch; `next_request` and `answered` alternate until there is no request or `answered` says
`Retry`; `outcome` says what became of the batch. What a line stands for is decided when it is taken, and its
number when it is sent: a new process that takes the same records from the same cursor sends the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import orjson

from corelib.ports import Batch, Delivered, Outcome, Rejected, RemoteAddress, Retry, RunRef
from corelib.pure.records import RunStart
from transports.wandb_documents import ProtocolSettings, run_url, stream_target
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult, Verdict, judge
from transports.wandb_files import FileState
from transports.wandb_graphql import Bucket, Reader, alert_request, upsert_request
from transports.wandb_opening import Opening
from transports.wandb_patience import Patience
from transports.wandb_saved import SavedRun
from transports.wandb_stream import Key, Push, Refusal
from transports.wandb_work import RunWork

__all__ = ["STREAM", "RunProtocol"]

STREAM: Final = "file_stream"
"""What a push is called in messages."""

_JSON: Final = {"Content-Type": "application/json"}
_LEAST_TO_COMPRESS: Final = 1024
_PERHAPS_ENCODING: Final = (400, 415)
_LARGE_BYTES: Final = 256 << 10
_MOST_CUTS: Final = 3  # how often in a row a large push is cut before it is made smaller

_Settle: TypeAlias = Callable[[HttpRequest, HttpResult, float], Retry | None]


class _Flight(NamedTuple):
    """A request under way, who takes its answer, and whether the very same comes again where that is not final."""

    request: HttpRequest
    settle: _Settle
    repeats: bool = True


class RunProtocol:
    """The conversation with a server about one run.

    Args:
        run: the address of the run.
        settings: the settings of the transport.
        saved: how far an earlier process came; `rebuild` follows.

    `saved` is how far delivery has come as of the last batch that was answered; None before the run was opened.
    """

    def __init__(self, run: RunRef, settings: ProtocolSettings, saved: SavedRun | None = None) -> None:
        self.saved = saved
        self._run = run
        self._settings = settings
        self._work = RunWork(settings, saved.offsets if saved else None)
        self._patience = Patience(settings.doubts, settings.slow_s)
        self._opening: Opening | None = None
        self._bucket: Bucket | None = None
        self._encoding: Literal["gzip", "zstd"] | None = None
        self._flight: _Flight | None = None
        self._refusal: str | None = None
        self._cuts = 0
        self._is_stopped = False
        if saved is not None:
            self._bucket, self._encoding = saved.bucket(), saved.encoding
            self._work.is_complete = saved.complete
            self._work.stream.uploaded += saved.uploaded

    @property
    def start(self) -> RunStart | None:
        """How the run began; None as long as nobody has said."""
        return self._work.start

    def open(self, start: RunStart) -> None:
        """Begin to open the run; where it is open, nothing is asked again."""
        self._work.start = self._work.start or start
        self._refusal = None

    def rebuild(self, batch: Batch) -> None:
        """Take a batch that an earlier process has delivered: all of it is known, nothing of it is sent."""
        self._work.rebuild(batch)

    def take(self, batch: Batch) -> None:
        """Take a batch; records that were taken before are passed over."""
        if self._bucket is not None and self._work.start is not None:
            self._work.is_described_by_another()
        self._work.take(batch)

    def to_look_at(self) -> tuple[str, ...]:
        """Return the names of files of which somebody must look what is there, before the next request."""
        return self._work.to_look_at()

    def looked_at(self, states: Mapping[str, FileState | str]) -> None:
        """Take what is there under these names, or why it cannot be had."""
        self._work.looked_at(states)

    def next_request(self, *, alive: bool = False) -> HttpRequest | None:
        """Return the request to send; the same one until it is answered for good; None if all is done.

        Args:
            alive: say at least that the run is alive.
        """
        if self._flight is None:
            self._flight = self._plan(alive=alive)
        return None if self._flight is None else self._flight.request

    def sign_of_life(self) -> HttpRequest | None:
        """Return a push that says nothing else, to be sent while an upload takes long; its answer is not needed."""
        if self._bucket is None:
            return None
        return HttpRequest(
            method="POST",
            target=stream_target(self._bucket.run),
            operation=STREAM,
            headers=_JSON,
            body=b"{}",
        )

    def answered(self, result: HttpResult, now: float) -> Retry | None:
        """Take what came back for the last request; `Retry`: not now. `now` is in seconds since the epoch."""
        flight = self._flight
        if flight is None:
            return None
        self._flight = None
        retry = flight.settle(flight.request, result, now)
        if retry is not None and flight.repeats and self._flight is None:
            self._flight = flight
        return retry

    def _plan(self, *, alive: bool) -> _Flight | None:
        work = self._work
        if self._refusal is not None or work.start is None:
            return None
        if self._bucket is None:
            return self._ask_to_open(work.start)
        description = work.changed_description()
        if description is not None and (work.is_reopening or not work.stream.has_lines):
            return self._ask_to_describe(description, self._bucket)
        if work.stream.has_lines:
            return self._ask_to_push(self._bucket, may_complete=False)
        if work.alerts:
            key, alert = work.alerts[0]
            request = alert_request(
                self._bucket.run, alert.title, alert.text, alert.level, alert.wait_duration
            )
            return _Flight(request, partial(self._alerted, key))
        upload = work.uploads.next_request(self._bucket.run)
        if upload is not None:
            # After a failure another request comes: for a fresh address.
            return _Flight(upload, self._addressed if upload.is_authorized else self._uploaded, repeats=False)
        if work.stream.is_ending or (alive and not work.is_complete):
            return self._ask_to_push(self._bucket, may_complete=True)
        return None

    def _ask_to_open(self, start: RunStart) -> _Flight | None:
        if self._opening is None:
            try:
                variables = self._work.description()
            except ValueError as error:
                self._refusal = f"the config cannot be sent: {error}"
                return None
            self._work.described(variables)
            address = {
                "name": self._run.run_id,
                "project": self._run.project,
                "entity": self._run.entity or self._settings.entity,
            }
            self._opening = Opening(
                self._run,
                resumed=start.resumed,
                variables={**variables, **address},
                settings=self._settings,
            )
        return _Flight(self._opening.next_request(), partial(self._opened, self._opening))

    def _opened(self, opening: Opening, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        verdict = opening.answered(request, result, now)
        if verdict is not None:
            retry = self._patience.again("opening", verdict)
            if retry is None:
                self._refusal, self._opening = verdict.reason, None
            return retry
        if opening.is_done:
            self._patience.rewarded("opening")
            self._bucket, self._encoding = opening.bucket, opening.encoding
            self._work.stream.offsets |= opening.offsets
            for notice in opening.notices:
                self._work.notice(notice)
        return None

    def _ask_to_describe(self, variables: Mapping[str, Any], bucket: Bucket) -> _Flight:
        run = bucket.run
        address = {
            "id": bucket.storage_id,
            "name": run.run_id,
            "project": run.project,
            "entity": run.entity,
        }
        return _Flight(upsert_request({**variables, **address}), partial(self._described, variables))

    def _described(
        self, variables: Mapping[str, Any], request: HttpRequest, result: HttpResult, now: float
    ) -> Retry | None:
        bucket = Reader(request, result, self._settings.host, now).bucket()
        if isinstance(bucket, Verdict):
            retry = self._patience.again(request.operation, bucket)
            if retry is not None:
                return retry
            self._work.described(variables, refusal=bucket.reason)
            return None
        self._patience.rewarded(request.operation)
        known = self._bucket.storage_id if self._bucket else None
        self._bucket = bucket._replace(storage_id=bucket.storage_id or known)
        self._work.described(variables)
        return None

    def _ask_to_push(self, bucket: Bucket, *, may_complete: bool) -> _Flight:
        push = self._work.stream.next_push(may_complete=may_complete)
        request = HttpRequest(
            method="POST",
            target=stream_target(bucket.run),
            operation=STREAM,
            headers=_JSON,
            body=push.body,
            encoding=self._encoding if len(push.body) >= _LEAST_TO_COMPRESS else None,
        )
        return _Flight(request, partial(self._pushed, push))

    def _pushed(self, push: Push, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        verdict = judge(request, result, self._settings.host, now)
        if verdict.meaning == "done":
            self._patience.rewarded(STREAM)
            self._work.stream.taken(push)
            self._work.is_complete = self._work.is_complete or push.complete
            self._is_stopped = self._is_stopped or _says_stop(result)
        elif request.encoding and isinstance(result, HttpAnswer) and result.status in _PERHAPS_ENCODING:
            self._encoding = None  # what the server announced, something on the way to it does not take
        elif verdict.meaning == "too large":
            self._work.refuse(self._work.stream.too_large(push, verdict.reason))
        elif verdict.meaning == "refused":
            self._work.refuse(self._work.stream.refused(push, verdict.reason))
        else:
            retry = self._patience.again(STREAM, verdict)
            if retry is not None:
                self._make_room(push, result)
                return retry
            self._work.refuse(self._work.stream.give_up(push, verdict.reason))
        return None

    def _make_room(self, push: Push, result: HttpResult) -> None:
        """Send less at a time where large pushes are cut again and again.

        So they are by a proxy that takes no large body and does not wait for its end to say so, and by a line too
        slow for the time that a push may take.
        """
        is_cut = isinstance(result, HttpFailure) and result.kind in ("dropped", "timeout")
        self._cuts = self._cuts + 1 if is_cut and len(push.body) > _LARGE_BYTES else 0
        if self._cuts >= _MOST_CUTS and self._bucket is not None:
            self._cuts = 0
            self._work.stream.narrow(push)
            self._flight = self._ask_to_push(self._bucket, may_complete=push.complete)

    def _alerted(self, key: Key, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        success = Reader(request, result, self._settings.host, now).success()
        if isinstance(success, Verdict):
            retry = self._patience.again(request.operation, success)
            if retry is not None:
                return retry
            self._work.refuse(Refusal((key,), success.reason))
        else:
            self._patience.rewarded(request.operation)
            if not success:
                self._work.refuse(Refusal((key,), f"{self._settings.host} did not take the alert"))
        self._work.alerts.popleft()
        return None

    def _addressed(self, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        slots = Reader(request, result, self._settings.host, now).slots()
        return self._moved(self._work.uploads.addressed(slots, result))

    def _uploaded(self, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        moved = self._work.uploads.answered(judge(request, result, self._settings.host, now), result)
        if not isinstance(moved, str):
            return self._moved(moved)
        self._work.uploaded(moved)
        return None

    def _moved(self, moved: Verdict | list[Refusal]) -> Retry | None:
        if isinstance(moved, Verdict):
            is_slow = moved.meaning in ("slowly", "doubtful")
            after = max(moved.after or 0.0, self._settings.slow_s) if is_slow else moved.after
            return Retry(reason=moved.reason, after=after)
        for refusal in moved:
            self._work.refuse(refusal)
        return None

    # -------------------------------------------------------------------------------------- what the core is told

    def outcome(self, batch: Batch | None = None) -> Outcome:
        """Return what became of a batch, or without one of the opening, when no request is left."""
        notices = self._work.untold()
        if self._refusal is not None:
            return Rejected(reason=self._refusal, notices=notices)
        if self._bucket is None:
            return Retry(reason="the run has not been opened")
        self._save(self._bucket)
        keys = [] if batch is None else [(batch.writer, record.seq) for record in batch.records]
        refused = {key: self._work.refused[key] for key in keys if key in self._work.refused}
        if refused:
            reason = next(iter(refused.values()))
            return Rejected(reason=reason, seqs=tuple(seq for _, seq in refused), notices=notices)
        return Delivered(notices=notices, stop=self._is_stopped, remote=self._address(self._bucket))

    def _save(self, bucket: Bucket) -> None:
        self.saved = SavedRun(
            run=bucket.run,
            storage_id=bucket.storage_id,
            name=bucket.display_name,
            offsets=dict(self._work.stream.offsets),
            uploaded=tuple(self._work.stream.uploaded),
            complete=self._work.is_complete,
            encoding=self._encoding,
        )

    def _address(self, bucket: Bucket) -> RemoteAddress:
        return RemoteAddress(
            *bucket.run, name=bucket.display_name, url=run_url(self._settings.app_url, bucket.run)
        )


def _says_stop(result: HttpResult) -> bool:
    try:
        answer = orjson.loads(result.body) if isinstance(result, HttpAnswer) else None
    except ValueError:
        return False  # any 2xx will do
    return isinstance(answer, dict) and answer.get("stopped") is True
