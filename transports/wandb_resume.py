"""Whether a W&B server knows a run, and how far it got: the question, and what every possible answer means.

Law: "it does not exist" is said only where the server says so. A run that is there and cannot be read whole is
unreadable: nobody continues half of it, and nobody overwrites it for want of understanding. A run without lines
whose config lacks `_wandb.t` was never started; one with lines was, whoever forgot the mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from corelib.pure.remote import (
    Absent,
    Answer,
    Created,
    FailureKind,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
)
from transports.wandb_config import unwrapped_config
from transports.wandb_encoding import read_json_text
from transports.wandb_exchange import Denial, HttpFailure, HttpRequest, HttpResult, Verdict
from transports.wandb_graphql import Reader, graphql_request, says_started

__all__ = ["Lines", "lookup_failure", "read_answer", "read_lines", "resume_request"]

_QUERY: Final = """query RunResumeStatus($project:String,$entity:String,$name:String!){\
model(name:$project,entityName:$entity){id name entity{id name} bucket(name:$name,missingOk:true){id name \
summaryMetrics displayName logLineCount historyLineCount eventsLineCount historyTail eventsTail config tags \
notes wandbConfig(keys:["t"])}}}"""

_DENIED: Final[Mapping[Denial, FailureKind]] = {"key": "auth", "permission": "forbidden"}
_REFUSING: Final = (409, 410)
_GREATEST: Final = 2**53  # beyond it some servers and pages do not tell neighbours apart
_COUNTS: Final = ("historyLineCount", "eventsLineCount", "logLineCount")


class Lines(NamedTuple):
    """How many lines the server holds of each streamed file, and its key of the run."""

    history: int
    events: int
    console: int
    storage_id: str


def resume_request(run_id: str, project: str, entity: str | None) -> HttpRequest:
    """Return the question."""
    variables = {"project": project, "entity": entity, "name": run_id}
    return graphql_request("RunResumeStatus", _QUERY, variables)


def read_answer(
    request: HttpRequest, result: HttpResult, *, host: str, now: float, run_id: str, app_url: str
) -> Answer:
    """Return the answer. `app_url` is the address of the server's pages, to say where the run is."""
    reader = Reader(request, result, host, now)
    if reader.data is None:
        return lookup_failure(result, reader.verdict)
    try:
        bucket = _bucket(reader.data)
        if bucket is None:
            return Absent()
        names = _text(bucket, "id"), _text(bucket, "name")
        if not says_started(bucket.get("wandbConfig")) and not _has_lines(bucket):
            return Created()
        return Started(_remote(bucket, *names, where=_where(reader.data, app_url, run_id)))
    except ValueError as error:
        return Unreadable(f"{request.operation} at {host}: {error}")


def read_lines(request: HttpRequest, result: HttpResult, host: str, now: float) -> Lines | Verdict | None:
    """Return how many lines are stored, which is where a run that was resumed goes on; None: there is no run."""
    reader = Reader(request, result, host, now)
    if reader.data is None:
        return reader.verdict
    try:
        bucket = _bucket(reader.data)
        if bucket is None:
            return None
        history, events, console = (_count(bucket, name) for name in _COUNTS)
        return Lines(history, events, console, _text(bucket, "id"))
    except ValueError as error:
        return Verdict("doubtful", f"{request.operation} at {host}: {error}")


def lookup_failure(result: HttpResult, verdict: Verdict) -> LookupFailed:
    """Return why nobody could tell, from the verdict on a result that holds no data."""
    if isinstance(result, HttpFailure):
        return LookupFailed(
            "unreachable", result.reason, retry=result.kind in {"timeout", "dropped", "unreachable"}
        )
    kind: FailureKind = "refused" if result.status in _REFUSING else "server"
    if verdict.denial is not None:
        kind = _DENIED[verdict.denial]
    return LookupFailed(kind, verdict.reason, retry=verdict.meaning == "later", after=verdict.after)


def _bucket(data: Mapping[str, Any]) -> Mapping[str, Any] | None:
    model = data.get("model")
    bucket = model.get("bucket") if isinstance(model, dict) else model
    if bucket is not None and not isinstance(bucket, dict):
        raise ValueError("the answer is not about a run")
    return bucket


def _where(data: Mapping[str, Any], app_url: str, run_id: str) -> str:
    model = data["model"]
    entity = model.get("entity")
    names = (entity.get("name") if isinstance(entity, dict) else None, model.get("name"))
    return "/".join((app_url, *(name for name in names if isinstance(name, str)), "runs", run_id))


def _remote(bucket: Mapping[str, Any], storage_id: str, run_id: str, where: str) -> RemoteRun:
    summary = _object(bucket, "summaryMetrics")
    history, events = _last_row(bucket, "historyTail"), _last_row(bucket, "eventsTail")
    steps = [step for step in (_step(row.get("_step")) for row in (history, summary)) if step is not None]
    try:
        config = unwrapped_config(_json(bucket, "config"))
    except ValueError as error:
        raise ValueError(f"config: {error}") from None
    counts = [_count(bucket, name) for name in _COUNTS]
    return RemoteRun(
        run_id=run_id,
        where=where,
        config=config,
        summary=summary,
        # The summary may be ahead of the last row or behind it, as a crash leaves them: no step is given out twice.
        last_step=max(steps, default=None),
        history_lines=counts[0],
        events_lines=counts[1],
        console_lines=counts[2],
        history_runtime=_seconds(history.get("_runtime")),
        events_runtime=_seconds(events.get("_runtime")),
        tags=_tags(bucket.get("tags")),
        notes=_optional_text(bucket, "notes"),
        name=_optional_text(bucket, "displayName"),
        storage_id=storage_id,
    )


# ---------------------------------------------------------------------------------------------------- fields


def _json(bucket: Mapping[str, Any], name: str) -> Any:
    try:
        return read_json_text(bucket.get(name))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _object(bucket: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = _json(bucket, name)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: it is not an object")  # noqa: TRY004  one error for all that cannot be read
    return value


def _last_row(bucket: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the last row of a tail: a text that holds a list of texts, each a row, oldest first."""
    rows = _json(bucket, name)
    if not isinstance(rows, list):
        raise ValueError(f"{name}: it is not a list")  # noqa: TRY004  as above
    return _object({name: rows[-1]}, name) if rows else {}


def _has_lines(bucket: Mapping[str, Any]) -> bool:
    counts = (bucket.get(name) for name in _COUNTS)
    return any(isinstance(count, int) and count > 0 for count in counts)


def _count(bucket: Mapping[str, Any], name: str) -> int:
    value = bucket.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _GREATEST:
        raise ValueError(f"{name}: it is not a count")
    return value


def _text(bucket: Mapping[str, Any], name: str) -> str:
    value = bucket.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: it is not a text")
    return value


def _optional_text(bucket: Mapping[str, Any], name: str) -> str | None:
    value = bucket.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name}: it is not a text")
    return value


def _tags(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(tag, str) for tag in value):
        raise ValueError("tags: it is not a list of texts")
    return tuple(value)


def _step(value: object) -> int | None:
    # A store that keeps every number as a float says 15.0.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value > _GREATEST:
        raise ValueError("_step: no run can go on behind it")
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
    except OverflowError:
        return None
