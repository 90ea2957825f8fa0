"""What the known fields of the GraphQL schema do: queries show runs, mutations change them.

Law: types are exact, as a strict decoder wants them: ids are strings, counts integers, JSON-in-text fields
strings. Counts and tails come from the stored lines, `wandbConfig` from the stored config; nothing is
answered from memory of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from tests.servers.exchange import Refused
from tests.servers.state import CONSOLE, EVENTS, HISTORY, Alert, RunKey, RunState, World
from tests.servers.uploads import issue

__all__ = ["MUTATIONS", "QUERIES", "Resolver"]

Resolver: TypeAlias = Callable[[World, Mapping[str, Any], int], Any]
"""World, arguments, number of the request → a tree of data for `document.select`."""

_TAIL_ROWS: Final = 5
_PROJECT_FORBIDS: Final = re.compile(r"[/\\#?%:]")
_RUN_FORBIDS: Final = re.compile(r"[:;,#?/']|^\s|\s$")
_MOST_PROJECT: Final = 128
_SEVERITIES: Final = ("INFO", "WARN", "ERROR")

# What an upsert may set, by input field; a field that is null or absent keeps what is stored.
_PLAIN_FIELDS: Final = {
    "displayName": "display_name",
    "notes": "notes",
    "groupName": "group",
    "jobType": "job_type",
    "jobProgram": "program",
    "jobRepo": "repo",
    "host": "host",
    "commit": "commit",
    "sweep": "sweep",
    "description": "description",
}


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Refused(400, f"{what} is not JSON: {error}", "wrong-type") from None
    if not isinstance(value, dict):
        raise Refused(400, f"{what} is not a JSON object", "wrong-type")
    return value


def _check_names(key: RunKey) -> None:
    _entity, project, name = key
    if _PROJECT_FORBIDS.search(project) or len(project) > _MOST_PROJECT:
        raise Refused(400, f"invalid project name {project!r}", "bad-name")
    if not name or _RUN_FORBIDS.search(name):
        raise Refused(400, f"invalid run id {name!r}", "bad-name")


def _check_allowed(world: World, key: RunKey) -> None:
    if key[1] in world.forbidden:
        raise Refused(403, f"permission denied: project {key[0]}/{key[1]}")


def _run_at(world: World, name: Any, project: Any, entity: Any) -> RunState:
    if not isinstance(name, str):
        raise Refused(400, "a run id is missing", "wrong-type")
    key = world.key_of(name, project, entity)
    _check_allowed(world, key)
    if key not in world.runs:
        raise Refused(404, f"run {'/'.join(key)} not found")
    return world.runs[key]


# -------------------------------------------------------------------------------------------- how a run looks


def _tail(run: RunState, name: str) -> str:
    return json.dumps(run.lines[name].last(_TAIL_ROWS))


def _entity(name: str) -> dict[str, Any]:
    return {"id": f"entity-{name}", "name": name}


def _run_tree(world: World, run: RunState) -> dict[str, Any]:
    """Return every field of a run that a client may select."""

    def internals(arguments: Mapping[str, Any]) -> str:
        wanted = arguments.get("keys")
        return json.dumps(
            {name: value for name, value in run.internals.items() if wanted is None or name in wanted}
        )

    def files(arguments: Mapping[str, Any]) -> dict[str, Any]:
        edges = []
        for name in arguments.get("names") or sorted(run.files):
            url = issue(world, run.key, name)
            edges.append({"node": {"name": name, "url": lambda _arguments, url=url: url, "updatedAt": None}})
        return {"uploadHeaders": list(world.upload_headers), "edges": edges}

    return {
        "id": run.storage_id,
        "name": run.name,
        "displayName": run.display_name,
        "description": run.description,
        "notes": run.notes,
        "tags": list(run.tags),
        "group": run.group,
        "jobType": run.job_type,
        "sweepName": run.sweep,
        "config": json.dumps(run.config),
        "summaryMetrics": run.summary_text,
        "historyLineCount": run.line_count(HISTORY),
        "eventsLineCount": run.line_count(EVENTS),
        "logLineCount": run.line_count(CONSOLE),
        "historyTail": _tail(run, HISTORY),
        "eventsTail": _tail(run, EVENTS),
        "wandbConfig": internals,
        "stopped": run.stop_asked,
        "files": files,
        "project": {
            "id": f"project-{run.project}",
            "name": run.project,
            "entity": _entity(run.entity),
        },
    }


# ---------------------------------------------------------------------------------------------------- queries


def _viewer(world: World, _arguments: Mapping[str, Any], _number: int) -> Any:
    return world.viewer


def _server_info(world: World, _arguments: Mapping[str, Any], _number: int) -> Any:
    features = [{"name": name, "isEnabled": enabled} for name, enabled in sorted(world.features.items())]
    return {
        "features": features or None,
        "cliVersionInfo": '{"max_cli_version":"0.31.0"}',
        "latestLocalVersionInfo": None,
    }


def _project(world: World, arguments: Mapping[str, Any], *, run_field: str) -> Any:
    """Answer `model{bucket}` and `project{run}`, which show the same things under two names."""
    entity, project, _name = world.key_of("", arguments.get("name"), arguments.get("entityName"))
    _check_allowed(world, (entity, project, ""))
    if not any(key[:2] == (entity, project) for key in world.runs):
        return None

    def bucket(inner: Mapping[str, Any]) -> Any:
        key = world.key_of(str(inner.get("name")), project, entity)
        run = world.runs.get(key)
        if run is None:
            if run_field == "bucket" and not inner.get("missingOk"):
                raise Refused(404, f"run {'/'.join(key)} not found")
            return None
        return {**_run_tree(world, run), **run.corrupt}

    return {"id": f"project-{project}", "name": project, "entity": _entity(entity), run_field: bucket}


def _model(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    return _project(world, arguments, run_field="bucket")


def _project_with_runs(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    return _project(world, arguments, run_field="run")


# -------------------------------------------------------------------------------------------------- mutations


def _find_for_upsert(world: World, given: Mapping[str, Any], number: int) -> tuple[RunState, bool]:
    """Return the run that an upsert means, and whether it was made just now."""
    entity, project, name = given.get("entityName"), given.get("modelName"), given.get("name")
    storage_id = given.get("id")
    if storage_id is not None:
        found = next((run for run in world.runs.values() if run.storage_id == storage_id), None)
        if found is None:
            raise Refused(404, f"no run has the id {storage_id!r}")
        _check_allowed(world, found.key)
        if name is not None and world.key_of(name, project, entity)[2] != found.name:
            world.violate("id-mismatch", f"{storage_id} is {found.name}, not {name}", request=number)
        return found, False
    key = world.key_of(name if name is not None else f"run{world.next_serial():05d}", project, entity)
    _check_names(key)
    _check_allowed(world, key)
    if key in world.deleted:
        raise Refused(409, f"run {'/'.join(key)} was previously created and deleted; try a new run name")
    if key in world.runs:
        return world.runs[key], False
    return world.create_run(key), True


def _upsert_bucket(world: World, arguments: Mapping[str, Any], number: int) -> Any:
    given = arguments.get("input") or {}
    config = None
    if given.get("config") is not None:
        config = _json_object(given["config"], "config")
    if given.get("summaryMetrics") is not None:
        _json_object(given["summaryMetrics"], "summaryMetrics")
    run, inserted = _find_for_upsert(world, given, number)
    if config is not None:
        for name, wrapper in config.items():
            if not isinstance(wrapper, dict) or "value" not in wrapper:
                world.violate("config-unwrapped", f"key {name!r}", run=run.key, request=number)
        run.config = config
    for field, attribute in _PLAIN_FIELDS.items():
        if given.get(field) is not None:
            setattr(run, attribute, given[field])
    if given.get("tags") is not None:
        run.tags = tuple(given["tags"])
    if given.get("summaryMetrics") is not None:
        run.lines["wandb-summary.json"].write(0, [given["summaryMetrics"]])
    run.upserts.append({name: value for name, value in given.items() if value is not None})
    # What was upserted may be the beginning of a new life of the run.
    run.reopened = True
    return {"bucket": _run_tree(world, run), "inserted": inserted}


def _create_run_files(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    given = arguments.get("input") or {}
    run = _run_at(world, given.get("runName"), given.get("projectName"), given.get("entityName"))
    names = given.get("files") or []
    return {
        "runID": run.storage_id,
        "uploadHeaders": list(world.upload_headers),
        "files": [{"name": name, "uploadUrl": issue(world, run.key, name)} for name in names],
    }


def _notify_alert(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    given = arguments.get("input") or {}
    run = _run_at(world, given.get("runName"), given.get("projectName"), given.get("entityName"))
    severity = given.get("severity") or "INFO"
    if severity not in _SEVERITIES or not given.get("title") or given.get("text") is None:
        raise Refused(400, "an alert needs title, text and a severity of INFO, WARN or ERROR", "wrong-type")
    run.alerts.append(Alert(run.name, given["title"], given["text"], severity, given.get("waitDuration")))
    return {"success": True}


def _create_anonymous_entity(world: World, _arguments: Mapping[str, Any], _number: int) -> Any:
    if not world.anonymous:
        return None
    key = f"{world.next_serial():040x}"
    world.set_keys({*world.keys, key})
    return {"apiKey": {"name": key}}


def _rewind_run(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    given = arguments.get("input") or {}
    key = world.key_of(str(given.get("runName")), given.get("projectName"), given.get("entityName"))
    run = world.runs.get(key)
    if run is None or given.get("metricName") != "_step":
        return None
    kept = sum(1 for step in run.steps if step <= given["metricValue"])
    run.lines[HISTORY].cut(kept)
    run.acknowledged[HISTORY] = kept
    run.reopened = True
    return {"rewoundRun": _run_tree(world, run)}


def _mark_files_uploaded(world: World, arguments: Mapping[str, Any], _number: int) -> Any:
    given = arguments.get("input") or {}
    _run_at(world, given.get("runName"), given.get("projectName"), given.get("entityName"))
    return {"success": True}


def _null(_world: World, _arguments: Mapping[str, Any], _number: int) -> Any:
    return None


QUERIES: Final[Mapping[str, Resolver]] = {
    "viewer": _viewer,
    "serverInfo": _server_info,
    "model": _model,
    "project": _project_with_runs,
    "entity": _null,
}
"""Root fields of queries. An unknown one is answered with null."""

MUTATIONS: Final[Mapping[str, Resolver]] = {
    "upsertBucket": _upsert_bucket,
    "createRunFiles": _create_run_files,
    "notifyScriptableRunAlert": _notify_alert,
    "createAnonymousEntity": _create_anonymous_entity,
    "rewindRun": _rewind_run,
    "markRunFilesUploaded": _mark_files_uploaded,
}
"""Root fields of mutations. An unknown one is answered with null."""
