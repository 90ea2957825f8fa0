"""What goes beside the rows: the description, alerts and uploads, each on a lane of its own.

Law: no lane holds up the rows or another lane. One that fails rests, by its own back-off or as long as its server
asks. After a failure it is tried again only when the stream has got through since: where nothing reaches the
server nothing is counted, and where rows do, a lane that goes on failing is given up in the end. What the
server refuses is refused at once. After that it gets one attempt each time, until one succeeds.

In one call of the core a lane fails once at most. When the call has had its time no lane begins anything more, but
for the one that waited longest, if the rows took all the time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

from corelib.ports import Retry
from transports.wandb_documents import ProtocolSettings
from transports.wandb_exchange import HttpRequest, HttpResult, Verdict, judge
from transports.wandb_graphql import Bucket, Reader, alert_request, upsert_request
from transports.wandb_uploads import Moved
from transports.wandb_work import RunWork

__all__ = ["Lane", "Lanes"]

_FIRST_REST_S: Final = 1.0
_SLOWEST: Final = 4  # times `slow_s`: the longest rest by our own caution
_MOST_ASKED_S: Final = 900.0  # the longest rest that a server can ask for
_MOST_DOUBLINGS: Final = 10


class Lane(ABC):
    """One lane: what waits on it, and when it is tried.

    Args:
        work: what is still to be told.
        settings: the settings of the transport.

    `reason` is why it failed last; `turn`, when it was served last, in requests.
    """

    def __init__(self, work: RunWork, settings: ProtocolSettings) -> None:
        self.reason = ""
        self.turn = 0
        self._work = work
        self._settings = settings
        self._failures = 0
        self._failed_at = 0.0
        self._not_before = 0.0
        self._was_asked = False
        self._has_failed_in_call = False
        self._pushes: int | None = None
        self.is_busy = False
        """Whether an answer is awaited on another thread."""

    @abstractmethod
    def waits(self) -> bool:
        """Whether anything waits on this lane."""

    @abstractmethod
    def request(self, bucket: Bucket) -> HttpRequest | None:
        """Return what to send next; None if nothing can be sent in this call."""

    @abstractmethod
    def answered(self, request: HttpRequest, result: HttpResult, now: float, pushes: int) -> None:
        """Take what came back. `pushes` is how many pushes have got through."""

    def begin_call(self) -> None:
        """Take that a call of the core begins."""
        self._has_failed_in_call = False

    def rests_for(self, now: float) -> float:
        """Return the seconds until the lane may be tried; a clock that was set back ends the rest."""
        return self._not_before - now if self._failed_at <= now < self._not_before else 0.0

    def is_due(self, now: float) -> bool:
        """Whether the lane may be tried now."""
        return not (self.is_busy or self._has_failed_in_call) and self.rests_for(now) <= 0

    def needs_proof(self, pushes: int) -> bool:
        """Whether the stream is to get through first, since the lane failed."""
        return self._pushes == pushes

    def hurry(self) -> None:
        """End a rest that nobody asked for: the run ends, and somebody waits."""
        if not self._was_asked:
            self._not_before = 0.0

    def _rest(self, verdict: Verdict, now: float, pushes: int) -> None:
        slow_s = self._settings.slow_s
        rest_s = slow_s
        if verdict.meaning == "later":
            doublings = min(max(self._failures - 1, 0), _MOST_DOUBLINGS)
            rest_s = min(min(_FIRST_REST_S, slow_s) * 2.0**doublings, _SLOWEST * slow_s)
        self._was_asked = verdict.after is not None
        if verdict.after is not None:
            asked_s = min(verdict.after, _MOST_ASKED_S)
            rest_s = asked_s if verdict.meaning == "later" else max(asked_s, slow_s)
        self.reason = verdict.reason
        self._failed_at, self._not_before = now, now + rest_s
        self._has_failed_in_call = True
        self._pushes = pushes

    def _gives_up(self, verdict: Verdict, now: float, pushes: int) -> bool:
        """Count a failure; return whether it was the last one."""
        if verdict.meaning not in ("later", "slowly", "doubtful"):
            return True
        self._failures += 1
        settings = self._settings
        most = (
            settings.doubts if verdict.meaning == "doubtful" else max(settings.doubts, settings.upload_tries)
        )
        if self._failures >= most:
            self._pushes = pushes
            return True
        self._rest(verdict, now, pushes)
        return False

    def _succeeded(self) -> None:
        self._failures = 0
        self._not_before = 0.0
        self._pushes = None


class _Description(Lane):
    """Config, name, notes, tags and metrics."""

    def __init__(self, work: RunWork, settings: ProtocolSettings, adopt: Callable[[Bucket], None]) -> None:
        super().__init__(work, settings)
        self._adopt = adopt
        self._sent: Mapping[str, Any] = {}

    def waits(self) -> bool:
        return self._work.changed_description() is not None

    def request(self, bucket: Bucket) -> HttpRequest | None:
        self._sent = self._work.changed_description() or {}
        run = bucket.run
        address = {
            "id": bucket.storage_id,
            "name": run.run_id,
            "project": run.project,
            "entity": run.entity,
        }
        return upsert_request({**self._sent, **address})

    def answered(self, request: HttpRequest, result: HttpResult, now: float, pushes: int) -> None:
        bucket = Reader(request, result, self._settings.host, now).bucket()
        if not isinstance(bucket, Verdict):
            self._succeeded()
            self._adopt(bucket)
            self._work.described(self._sent)
        elif self._gives_up(bucket, now, pushes):
            self._work.not_described(bucket.reason)


class _Alerts(Lane):
    """Messages to people, in their order."""

    def waits(self) -> bool:
        return bool(self._work.alerts)

    def request(self, bucket: Bucket) -> HttpRequest | None:
        _, alert = self._work.alerts[0]
        return alert_request(bucket.run, alert.title, alert.text, alert.level, alert.wait_duration)

    def answered(self, request: HttpRequest, result: HttpResult, now: float, pushes: int) -> None:
        key, alert = self._work.alerts[0]
        success = Reader(request, result, self._settings.host, now).success()
        if isinstance(success, Verdict):
            if not self._gives_up(success, now, pushes):
                return
            self._work.losses.refuse_record(key, alert, success.reason)
        else:
            self._succeeded()
            if not success:
                reason = f"{self._settings.host} did not take the alert"
                self._work.losses.refuse_record(key, alert, reason)
        self._work.alerts.popleft()


class _Files(Lane):
    """Files: the question for addresses, and each to its own. How often, `transports.wandb_uploads` counts."""

    def waits(self) -> bool:
        return self._work.has_files_left

    def request(self, bucket: Bucket) -> HttpRequest | None:
        return self._work.uploads.next_request(bucket.run)

    def answered(self, request: HttpRequest, result: HttpResult, now: float, pushes: int) -> None:
        uploads, host = self._work.uploads, self._settings.host
        if request.is_authorized:
            moved = uploads.addressed(Reader(request, result, host, now).slots())
        else:
            moved = uploads.answered(judge(request, result, host, now), result)
        self._moved(moved, now, pushes)

    def _moved(self, moved: Moved, now: float, pushes: int) -> None:
        for refusal in moved.refusals:
            self._work.losses.refuse(refusal)
        if moved.broken is not None:
            self._work.is_broken(*moved.broken)
        if moved.uploaded is not None:
            self._succeeded()
            self._work.uploaded(moved.uploaded)
        if moved.rest is not None:
            self._failures += 1
            self._rest(moved.rest, now, pushes)


class Lanes:
    """All lanes of one run, in the order of planning.

    Args:
        work: what is still to be told.
        settings: the settings of the transport.
        adopt: takes what the server calls the run.
    """

    def __init__(self, work: RunWork, settings: ProtocolSettings, adopt: Callable[[Bucket], None]) -> None:
        self.description: Lane = _Description(work, settings, adopt)
        self.files: Lane = _Files(work, settings)
        self._lanes = (self.description, _Alerts(work, settings), self.files)
        self._turn = 0
        self._has_served = False

    def begin_call(self) -> None:
        """Take that a call of the core begins."""
        self._has_served = False
        for lane in self._lanes:
            lane.begin_call()

    def next(self, now: float, *, in_time: bool) -> Lane | None:
        """Return the lane to serve; None if none is due, or the call has had its time."""
        if not in_time and self._has_served:
            return None
        lanes = self._lanes if in_time else sorted(self._lanes, key=lambda lane: lane.turn)
        return next((lane for lane in lanes if lane.is_due(now) and lane.waits()), None)

    def served(self, lane: Lane) -> None:
        """Take that a request of this lane goes out."""
        self._turn += 1
        lane.turn, self._has_served = self._turn, True

    def hurry(self) -> None:
        """End the rests that nobody asked for."""
        for lane in self._lanes:
            lane.hurry()

    def are_settled(self) -> bool:
        """Whether nothing waits on any lane."""
        return not any(lane.waits() for lane in self._lanes)

    def retry(self, now: float) -> Retry:
        """Return when to come again for what is left."""
        waiting = [lane for lane in self._lanes if lane.waits()]
        first = min(waiting, key=lambda lane: lane.rests_for(now), default=self.description)
        reason = first.reason or "files, alerts or changes of the run are still to be sent"
        return Retry(reason=reason, after=first.rests_for(now) or None)
