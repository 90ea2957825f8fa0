"""The GraphQL operations of a W&B server: the request of each, and what its answer says.

Law: a reader returns what it was asked for, or the verdict that says why there is none; it never guesses. Types
are exact, as in the reference: ids are texts, counts integers. An answer that is no JSON is not the server's (a
login page, a proxy), so it is asked again; one that holds errors may come right, so it is asked a few times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from transports.wandb_exchange import (
    HttpAnswer,
    HttpRequest,
    HttpResult,
    Meaning,
    Verdict,
    denial_in,
    judge,
)

__all__ = [
    "Bucket",
    "Reader",
    "RunName",
    "Slot",
    "Viewer",
    "alert_request",
    "anonymous_key_request",
    "create_files_request",
    "features_request",
    "graphql_request",
    "says_started",
    "upsert_request",
    "viewer_request",
]

_UPSERT: Final = """mutation UpsertBucket($id:String,$name:String,$project:String,$entity:String,\
$groupName:String,$displayName:String,$notes:String,$commit:String,$config:JSONString,$host:String,\
$program:String,$jobType:String,$sweep:String,$tags:[String!]){upsertBucket(input:{id:$id,name:$name,\
modelName:$project,entityName:$entity,groupName:$groupName,displayName:$displayName,notes:$notes,commit:$commit,\
config:$config,host:$host,jobProgram:$program,jobType:$jobType,sweep:$sweep,tags:$tags}){bucket{id name \
displayName historyLineCount wandbConfig(keys:["t"]) project{name entity{name}}} inserted}}"""
_UPSERT_VARIABLES: Final = (
    *("id", "name", "project", "entity", "groupName", "displayName", "notes", "commit", "config"),
    *("host", "program", "jobType", "sweep", "tags"),
)
_FILES: Final = """mutation CreateRunFiles($entity:String!,$project:String!,$run:String!,$files:[String!]!){\
createRunFiles(input:{entityName:$entity,projectName:$project,runName:$run,files:$files}){runID uploadHeaders \
files{name uploadUrl}}}"""
_ALERT: Final = """mutation NotifyScriptableRunAlert($entityName:String!,$projectName:String!,$runName:String!,\
$title:String!,$text:String!,$severity:AlertSeverity,$waitDuration:Duration){notifyScriptableRunAlert(input:{\
entityName:$entityName,projectName:$projectName,runName:$runName,title:$title,text:$text,severity:$severity,\
waitDuration:$waitDuration}){success}}"""
_VIEWER: Final = "query Viewer{viewer{id entity username email flags teams{edges{node{name}}}}}"
_FEATURES: Final = "query ServerFeaturesQuery{serverInfo{features{name isEnabled}}}"
_ANONYMOUS: Final = "mutation CreateAnonymousApiKey{createAnonymousEntity(input:{}){apiKey{name}}}"


class RunName(NamedTuple):
    """What the server calls a run: all later requests follow it."""

    entity: str
    project: str
    run_id: str


class Bucket(NamedTuple):
    """What an upsert answers. `inserted`: it was not there before. `started`: somebody had started it.

    Both are None where the server does not say.
    """

    run: RunName
    storage_id: str | None
    display_name: str | None
    history_lines: int
    inserted: bool | None
    started: bool | None


class Slot(NamedTuple):
    """Where one file goes; `url` None: the server does not want it."""

    url: str | None
    headers: Mapping[str, str]


class Viewer(NamedTuple):
    """Who the key belongs to."""

    entity: str | None
    username: str | None
    email: str | None


def graphql_request(operation: str, query: str, variables: Mapping[str, Any] | None = None) -> HttpRequest:
    """Return the request for an operation."""
    envelope: dict[str, Any] = {"operationName": operation, "query": query}
    if variables is not None:
        envelope["variables"] = variables
    try:
        body = orjson.dumps(envelope)
    except TypeError:  # a lone surrogate in a text of the user's
        body = json.dumps(envelope, separators=(",", ":")).encode("ascii")
    headers = {"Content-Type": "application/json"}
    return HttpRequest(method="POST", target="/graphql", operation=operation, headers=headers, body=body)


def upsert_request(variables: Mapping[str, Any]) -> HttpRequest:
    """Return the request that makes or changes a run; a variable that is left out keeps what is stored."""
    return graphql_request("UpsertBucket", _UPSERT, {name: variables.get(name) for name in _UPSERT_VARIABLES})


def create_files_request(run: RunName, files: Sequence[str]) -> HttpRequest:
    """Return the request for addresses to upload files to."""
    variables = {"entity": run.entity, "project": run.project, "run": run.run_id, "files": list(files)}
    return graphql_request("CreateRunFiles", _FILES, variables)


def alert_request(run: RunName, title: str, text: str, severity: str, wait_s: float) -> HttpRequest:
    """Return the request that sends a message to people, at most one with this title per `wait_s` seconds."""
    variables = {
        "entityName": run.entity,
        "projectName": run.project,
        "runName": run.run_id,
        "title": title,
        "text": text,
        "severity": severity,
        "waitDuration": round(wait_s * 1000),
    }
    return graphql_request("NotifyScriptableRunAlert", _ALERT, variables)


def viewer_request() -> HttpRequest:
    """Return the question whose key this is."""
    return graphql_request("Viewer", _VIEWER)


def features_request() -> HttpRequest:
    """Return the question what the server can do beyond the ordinary."""
    return graphql_request("ServerFeaturesQuery", _FEATURES)


def anonymous_key_request() -> HttpRequest:
    """Return the request for a key without an account; it goes out without credentials."""
    return graphql_request("CreateAnonymousApiKey", _ANONYMOUS)


class Reader:
    """Reads answers.

    Args:
        request: what was asked.
        result: what came back.
        host: the host of the base URL.
        now: seconds since the epoch.
    """

    def __init__(self, request: HttpRequest, result: HttpResult, host: str, now: float) -> None:
        self._request = request
        self._place = f"{request.operation} at {host}"
        self.verdict = judge(request, result, host, now)
        self.data: Mapping[str, Any] | None = None
        """What was answered; None where the verdict is not "done". An absent or empty answer is empty."""
        if isinstance(result, HttpAnswer) and self.verdict.meaning == "done":
            self.verdict = self._read(result.body)

    def _read(self, body: bytes) -> Verdict:
        try:
            envelope = json.loads(body)
        except (ValueError, RecursionError):
            return Verdict("slowly", f"{self._place}: the answer is not JSON, so it is not the server's")
        if not isinstance(envelope, dict) or not {"data", "errors"} & envelope.keys():
            return Verdict("slowly", f"{self._place}: the answer is not GraphQL, so it is not the server's")
        errors = envelope.get("errors")
        if errors:
            texts = (
                [str(one.get("message")) for one in errors if isinstance(one, dict)]
                if isinstance(errors, list)
                else []
            )
            said = " ".join("; ".join(texts).split()) or "errors without a message"
            denial = denial_in(said)
            # Somebody can mend a key or a permission, and delivery goes on then.
            meaning: Meaning = "slowly" if denial else "doubtful"
            return Verdict(meaning, f"{self._place}: {said[:200]}", denial=denial)
        data = envelope.get("data")
        if data is not None and not isinstance(data, dict):
            return self._malformed("data")
        self.data = data or {}
        return self.verdict

    def _malformed(self, what: str) -> Verdict:
        self.data = None
        return Verdict("doubtful", f"{self._place}: the answer cannot be understood ({what})")

    def bucket(self) -> Bucket | Verdict:
        """Return the run that an upsert made or changed."""
        if self.data is None:
            return self.verdict
        answer = self.data.get("upsertBucket")
        bucket = _member(answer, "bucket")
        project = _member(bucket, "project")
        names = (
            _member(_member(project, "entity"), "name"),
            _member(project, "name"),
            _member(bucket, "name"),
        )
        entity, project_name, run_id = (name if isinstance(name, str) else "" for name in names)
        if not (entity and project_name and run_id):
            return self._malformed("entity, project or name is missing")
        lines = _member(bucket, "historyLineCount")
        storage_id, name = _member(bucket, "id"), _member(bucket, "displayName")
        if not _is_count(lines) or not all(one is None or isinstance(one, str) for one in (storage_id, name)):
            return self._malformed("id, displayName or historyLineCount")
        inserted = _member(answer, "inserted")
        return Bucket(
            run=RunName(entity, project_name, run_id),
            storage_id=storage_id,
            display_name=name,
            history_lines=lines or 0,
            inserted=inserted if isinstance(inserted, bool) else None,
            started=says_started(_member(bucket, "wandbConfig")),
        )

    def slots(self) -> Mapping[str, Slot] | Verdict:
        """Return where files go, by name."""
        if self.data is None:
            return self.verdict
        answer = self.data.get("createRunFiles")
        files, lines = _member(answer, "files"), _member(answer, "uploadHeaders") or []
        if not isinstance(files, list) or not isinstance(lines, list):
            return self._malformed("files")
        pairs = [line.partition(":") for line in lines if isinstance(line, str) and ":" in line]
        headers = {name.strip(): value.strip() for name, _, value in pairs}
        slots: dict[str, Slot] = {}
        for one in files:
            name, url = _member(one, "name"), _member(one, "uploadUrl")
            if isinstance(name, str) and (url is None or isinstance(url, str)):
                slots[name] = Slot(url, headers)
        return slots

    def features(self) -> frozenset[str] | Verdict:
        """Return the names of the features that are enabled."""
        if self.data is None:
            return self.verdict
        features = _member(self.data.get("serverInfo"), "features")
        listed = features if isinstance(features, list) else []
        return frozenset(str(_member(one, "name")) for one in listed if _member(one, "isEnabled") is True)

    def success(self) -> bool | Verdict:
        """Return whether an alert was taken."""
        if self.data is None:
            return self.verdict
        return _member(self.data.get("notifyScriptableRunAlert"), "success") is True

    def viewer(self) -> Viewer | Verdict | None:
        """Return whose key it is; None: nobody's."""
        if self.data is None:
            return self.verdict
        viewer = self.data.get("viewer")
        if not isinstance(viewer, dict):
            return None
        values = (viewer.get(name) for name in ("entity", "username", "email"))
        return Viewer(*(value if isinstance(value, str) else None for value in values))

    def anonymous_key(self) -> str | Verdict | None:
        """Return a new key without an account; None: the server offers none."""
        if self.data is None:
            return self.verdict
        key = _member(_member(self.data.get("createAnonymousEntity"), "apiKey"), "name")
        return key if isinstance(key, str) and key else None


def says_started(internals: object) -> bool | None:
    """Say whether what is stored under `wandbConfig` shows that the run has started; None: it cannot be told."""
    if not isinstance(internals, str):
        return None
    try:
        value = json.loads(internals)
    except (ValueError, RecursionError):
        return None
    return "t" in value if isinstance(value, dict) else None


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)
