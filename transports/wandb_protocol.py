"""What to ask a W&B server next for one run, and what its answers mean: records in, requests and outcomes out.

Law: nothing here sends, waits or looks at a clock. One request is under way at a time, and files beside it where they
are sent aside; a push comes again, byte for byte, until it is answered for good. Rows go first, and wait for nothing
but the opening: whatever else there is goes beside them, on lanes of its own. `complete` goes last. What the server
refuses for good is named with its reason, once, and the rest goes on.

    opening     RunResumeStatus, if the run continues another    where its lines go on
                UpsertBucket                                     what the server calls the run
                ServerFeaturesQuery                              what it can do
    delivering  file_stream                                      rows and summary, or that the run is alive
                UpsertBucket, where the stream is not found      whether the run is still there
    beside it   UpsertBucket                                     config, name, notes, tags, metrics
                NotifyScriptableRunAlert                         alerts
                CreateRunFiles, PUT …                            files
    ending      file_stream                                      `complete`, when all else is out

A call of the core begins with `begin_call`; `take` takes a batch; `next_request` and `answered` alternate until there
is no request or `answered` says `Retry`; `outcome` says what became of the batch. `Retry` has three causes: the
opening, the stream, and a lane that is not settled when the run ends. What a line stands for is decided when it is
taken, and its number when it is sent: a new process that takes the same records from the same cursor sends the
same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Literal, NamedTuple, TypeAlias

from attrs import evolve

from corelib.ports import Batch, Delivered, Outcome, Rejected, Retry, RunRef
from corelib.pure.parts import base_of
from corelib.pure.records import Record, RunStart
from transports.wandb_answers import judge_push, says_gone, says_stop
from transports.wandb_documents import STREAM, ProtocolSettings, push_request, remote_address, stream_target
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult, Verdict
from transports.wandb_files import FileState
from transports.wandb_graphql import Bucket, Reader, upsert_request
from transports.wandb_lanes import Lane, Lanes
from transports.wandb_opening import Opening
from transports.wandb_patience import Patience
from transports.wandb_saved import NOTHING_OWED, SavedRun
from transports.wandb_stream import Push
from transports.wandb_work import RunWork

__all__ = ["RunProtocol"]

_LEAST_TO_COMPRESS: Final = 1024
_PERHAPS_ENCODING: Final = (400, 415)
_LARGE_BYTES: Final = 256 << 10
_MOST_CUTS: Final = 3  # how often in a row a large push is cut before it is made smaller

_Settle: TypeAlias = Callable[[HttpRequest, HttpResult, float], Retry | None]


class _Flight(NamedTuple):
    """A request under way, who takes its answer, and the push that it is, which comes again until that is final."""

    request: HttpRequest
    settle: _Settle
    push: Push | None = None
    is_beside: bool = False


class RunProtocol:
    """The conversation with a server about one run.

    Args:
        run: the address of the run.
        settings: the settings of the transport.
        saved: how far an earlier process came; `rebuild` follows.

    `saved` is how far delivery has come as of the last batch that was answered; None before the run was opened.
    `heard_at` is when a push was answered last, None if none was.
    """

    def __init__(self, run: RunRef, settings: ProtocolSettings, saved: SavedRun | None = None) -> None:
        self.saved = saved
        self.heard_at: float | None = None
        self._run = run
        self._settings = settings
        self._work = RunWork(
            settings, saved.offsets if saved else None, saved.owed if saved else NOTHING_OWED
        )
        self._lanes = Lanes(self._work, settings, self._adopt)
        self._patience = Patience(settings.doubts, settings.slow_s)
        self._opening: Opening | None = None
        self._bucket: Bucket | None = None
        self._encoding: Literal["gzip", "zstd"] | None = None
        self._flight: _Flight | None = None
        self._refusal: str | None = None
        self._cuts = 0
        self._pushes = 0
        self._doubted: tuple[Push, HttpRequest, Verdict] | None = None
        self._now = 0.0
        self._lanes_until: float | None = None
        self._is_stopped = False
        self._again: tuple[str, Sequence[Record]] | None = None
        self._is_sending_again = False
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
        self._work.begin(start)
        self._refusal = None

    def rebuild(self, batch: Batch) -> None:
        """Take a batch that an earlier process has delivered: all of it is known, and only what is owed is sent."""
        self._work.rebuild(batch)

    def begin_call(self, now: float, *, lanes_until: float | None = None) -> None:
        """Take that a call of the core begins.

        Args:
            now: seconds since the epoch.
            lanes_until: after that moment nothing more is begun beside the rows, for new ones may wait; None:
                nothing is at all.
        """
        self._now, self._lanes_until = now, lanes_until
        self._lanes.begin_call()
        if self._flight is not None and self._flight.is_beside:
            self._flight = None  # an earlier call was cut off
            if not self._lanes.files.is_busy:
                self._work.uploads.stopped()

    def take(self, batch: Batch) -> None:
        """Take a batch; records that were taken before are passed over."""
        self._is_sending_again = False
        if self._bucket is not None and self._work.start is not None:
            self._work.is_described_by_another()
        was_ending = self._work.stream.is_ending
        self._work.take(batch)
        if self._work.stream.is_ending and not was_ending:
            self._lanes.hurry()

    def take_again(self, batch: Batch) -> None:
        """Take files and alerts that were refused for good; those that are on their way already are passed over."""
        self._is_sending_again = True
        if (batch.writer, batch.records) != self._again:
            self._again = (batch.writer, batch.records)
            self._work.take_again(batch)

    def to_look_at(self) -> tuple[str, ...]:
        """Return the names of files of which somebody must look what is there, before the next request."""
        if self._is_sending_again:
            return self._work.asked_files  # the others are as they were when the run ended
        is_ended = self._work.is_complete or (
            self._flight and self._flight.push and self._flight.push.complete
        )
        return () if is_ended else self._work.to_look_at()

    def looked_at(self, states: Mapping[str, FileState | str]) -> None:
        """Take what is there under these names, or why it cannot be had."""
        self._work.looked_at(states)

    def next_request(self, now: float, *, alive: bool = False) -> HttpRequest | None:
        """Return the request to send; the same one until it is answered; None if all is done, or is for later.

        Args:
            now: seconds since the epoch.
            alive: say at least that the run is alive.
        """
        self._now = now
        if self._flight is None:
            self._flight = self._plan(alive=alive)
        return None if self._flight is None else self._flight.request

    def put_off(self) -> bool:
        """Take that the request cannot be sent in this call; return whether the core must come again for it."""
        flight = self._flight
        if flight is None or not flight.is_beside:
            return True
        self._flight = None
        return self._work.stream.is_ending

    @property
    def is_waiting_for_uploads(self) -> bool:
        """Whether a call goes on for as long as files are on their way: nothing else is left to be delivered."""
        return self._work.stream.is_ending or self._is_sending_again

    def send_aside(self) -> tuple[HttpRequest, ...]:
        """Take that the upload at hand is sent beside all else; return it, with those that can go behind it."""
        flight, self._flight = self._flight, None
        first = () if flight is None else (flight.request,)
        self._lanes.files.is_busy = True
        return (*first, *iter(self._work.uploads.next_upload, None))

    def answered_aside(self, request: HttpRequest, result: HttpResult, now: float) -> None:
        """Take what came back for the next of those that are sent aside."""
        self._lanes.files.answered(request, result, now, self._pushes)

    def stopped_aside(self) -> None:
        """Take that no more of them are sent."""
        self._lanes.files.is_busy = False
        self._work.uploads.stopped()

    def sign_of_life(self) -> HttpRequest | None:
        """Return a push that says nothing else, to be sent while an upload takes long; its answer is not needed."""
        if self._bucket is None:
            return None
        return push_request(self._bucket.run, b"{}")

    def answered(self, result: HttpResult, now: float) -> Retry | None:
        """Take what came back for the last request; `Retry`: not now. `now` is in seconds since the epoch."""
        flight = self._flight
        if flight is None:
            return None
        self._now = now
        self._flight = None
        retry = flight.settle(flight.request, result, now)
        if retry is not None and flight.push is not None and self._flight is None:
            self._flight = flight
        return retry

    def _plan(self, *, alive: bool) -> _Flight | None:
        work, bucket = self._work, self._bucket
        if self._refusal is not None or work.start is None:
            return None
        if bucket is None:
            return self._ask_to_open(work.start)
        if work.is_followed:
            return None
        if self._doubted is not None:
            address = {"id": bucket.storage_id, "name": bucket.run.run_id}
            question = upsert_request({**address, "project": bucket.run.project, "entity": bucket.run.entity})
            return _Flight(question, partial(self._asked, *self._doubted))
        lane = self._next_lane()
        if lane is not None and lane is self._lanes.description and work.is_reopening:
            return self._ask_beside(lane, bucket)
        # A push to a run that is complete would make it one that goes on.
        is_silent = alive and not work.is_complete
        is_unproven = lane is not None and lane.needs_proof(self._pushes) and not work.is_complete
        if work.stream.has_lines or is_silent or is_unproven:
            return self._ask_to_push(bucket, may_complete=False)
        flight = None if lane is None else self._ask_beside(lane, bucket)
        if flight is None and work.stream.is_ending and self._lanes.are_settled():
            return self._ask_to_push(bucket, may_complete=True)
        return flight

    def _next_lane(self) -> Lane | None:
        if self._lanes_until is None:
            return None
        # Behind the end of the run no rows wait.
        in_time = self._now < self._lanes_until or self._work.stream.is_ending
        return self._lanes.next(self._now, in_time=in_time)

    def _ask_beside(self, lane: Lane, bucket: Bucket) -> _Flight | None:
        request = lane.request(bucket)
        if request is None:
            return None
        self._lanes.served(lane)
        return _Flight(request, partial(self._beside, lane), is_beside=True)

    def _beside(self, lane: Lane, request: HttpRequest, result: HttpResult, now: float) -> None:
        lane.answered(request, result, now, self._pushes)

    def _adopt(self, bucket: Bucket) -> None:
        known = self._bucket.storage_id if self._bucket else None
        self._bucket = bucket._replace(storage_id=bucket.storage_id or known)

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
                base=base_of(start.config, start.writer),
                is_followed=self._work.is_followed,
                variables={**variables, **address},
                settings=self._settings,
            )
        return _Flight(self._opening.next_request(), partial(self._opened, self._opening))

    def _opened(self, opening: Opening, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        verdict = opening.answered(request, result, now)
        if verdict is not None:
            is_gone = says_gone(result, by_id=bool(opening.variables.get("id")))
            if verdict.meaning == "doubtful" and not is_gone:
                verdict = verdict._replace(meaning="slowly")  # pending is better than refused by mistake
            retry = self._patience.again("opening", verdict)
            if retry is None:
                self._refusal, self._opening = verdict.reason, None
            return retry
        if opening.is_done:
            self._patience.rewarded("opening")
            self._bucket, self._encoding = opening.bucket, opening.encoding
            self._work.stream.offsets |= opening.offsets
            for notice in opening.notices:
                self._work.losses.notice(notice)
        return None

    def _ask_to_push(self, bucket: Bucket, *, may_complete: bool) -> _Flight:
        push = self._work.stream.next_push(may_complete=may_complete)
        encoding = self._encoding if len(push.body) >= _LEAST_TO_COMPRESS else None
        request = evolve(push_request(bucket.run, push.body), encoding=encoding)
        return _Flight(request, partial(self._pushed, push), push)

    def _pushed(self, push: Push, request: HttpRequest, result: HttpResult, now: float) -> Retry | None:
        stream, losses = self._work.stream, self._work.losses
        verdict = judge_push(request, result, self._settings.host, now)
        if verdict.meaning == "done":
            self._patience.rewarded(STREAM)
            self._pushes, self.heard_at = self._pushes + 1, now
            stream.taken(push)
            self._work.is_complete = self._work.is_complete or push.complete
            self._is_stopped = self._is_stopped or says_stop(result)
        elif request.encoding and isinstance(result, HttpAnswer) and result.status in _PERHAPS_ENCODING:
            self._encoding = None  # what the server announced, something on the way to it does not take
        elif verdict.meaning == "too large":
            if not (push.has_summary and push.items == 1 and self._work.shorten_summary()):
                losses.refuse(stream.too_large(push, verdict.reason))
                self._pushes += not push.items
        elif verdict.meaning == "refused":
            losses.refuse(stream.refused(push, verdict.reason))
            self._pushes += not push.items  # an answer too: whoever waits for one goes on
        elif verdict.meaning == "doubtful" and isinstance(result, HttpFailure):
            retry = self._patience.again(STREAM, verdict)  # something of ours: the server never saw it
            if retry is not None:
                return retry
            losses.refuse(stream.give_up(push, verdict.reason))
            self._pushes += not push.items
        elif verdict.meaning == "doubtful" and self._bucket is not None and self._bucket.storage_id:
            self._doubted = push, request, verdict
        else:
            self._make_room(push, result)
            return self._slow(verdict)
        return None

    def _asked(
        self,
        push: Push,
        pushed: HttpRequest,
        doubt: Verdict,
        request: HttpRequest,
        result: HttpResult,
        now: float,
    ) -> Retry | None:
        """Take what the server says of a run whose stream it did not find; unless it is gone, that comes again."""
        self._doubted = None
        bucket = Reader(request, result, self._settings.host, now).bucket()
        if isinstance(bucket, Bucket):
            self._patience.rewarded(STREAM)
            self._adopt(bucket)
            pushed = evolve(pushed, target=stream_target(bucket.run))
        elif says_gone(result, by_id=True) and self._patience.again(STREAM, doubt) is None:
            self._work.losses.refuse(self._work.stream.give_up(push, doubt.reason))
            self._pushes += 1
            return None
        self._flight = _Flight(pushed, partial(self._pushed, push), push)
        return self._slow(doubt)

    def _slow(self, verdict: Verdict) -> Retry:
        """Return when to push again: as the server says, and slowly where nobody says that it will pass."""
        if verdict.meaning == "later":
            return Retry(reason=verdict.advice, after=verdict.after)
        return Retry(reason=verdict.advice, after=max(verdict.after or 0.0, self._settings.slow_s))

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

    # -------------------------------------------------------------------------------------- what the core is told

    def outcome(self, batch: Batch | None = None) -> Outcome:
        """Return what became of a batch, or without one of the opening, when no request is left."""
        work = self._work
        if self._refusal is not None:
            return Rejected(reason=self._refusal, notices=work.losses.untold())
        if self._bucket is None:
            return Retry(reason="the run has not been opened")
        is_again = batch is not None and (batch.writer, batch.records) == self._again
        if batch is not None and (work.stream.is_ending or (is_again and not self._lanes.are_settled())):
            return self._lanes.retry(self._now)
        if is_again:
            self._again = None
        refused = {} if batch is None else work.answered(batch)
        notices, late = work.losses.untold(), work.losses.late()
        self._save(self._bucket)
        if refused:
            reason = next(iter(refused.values()))
            others = {seq: one for seq, one in refused.items() if one != reason}
            return Rejected(reason=reason, seqs=tuple(refused), notices=notices, late=late, reasons=others)
        remote = remote_address(self._settings.app_url, self._bucket)
        return Delivered(notices=notices, late=late, stop=self._is_stopped, remote=remote)

    def _save(self, bucket: Bucket) -> None:
        self.saved = SavedRun(
            run=bucket.run,
            storage_id=bucket.storage_id,
            name=bucket.display_name,
            offsets=dict(self._work.stream.offsets),
            uploaded=tuple(self._work.stream.uploaded),
            complete=self._work.is_complete,
            encoding=self._encoding,
            owed=self._work.owed(),
        )
