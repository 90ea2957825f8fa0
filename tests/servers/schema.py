"""What a client's document is checked against: arguments with their types, and selectable fields.

Law: data and three checks, all done before anything is carried out. A type is written without `!`; whether a
value must be there is decided where it is used. Root fields that are not named here are not checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from tests.servers.document import DocumentError, Field, Operation, Variable, resolve

__all__ = ["ARGUMENTS", "JSON_TEXT", "SELECTIONS", "check_arguments", "check_selection", "check_variables"]

JSON_TEXT: Final = "JSONString"
"""JSON in a string."""

Types: TypeAlias = Mapping[str, Any]

_RUN_INPUT: Final = {"entityName": "String", "projectName": "String", "runName": "String"}

ARGUMENTS: Final[Mapping[str, Types]] = {
    "upsertBucket": {
        "input": {
            **dict.fromkeys(
                (
                    *("id", "name", "modelName", "entityName", "groupName", "description", "displayName"),
                    *("notes", "commit", "host", "jobProgram", "jobRepo", "jobType", "state", "sweep"),
                ),
                "String",
            ),
            "debug": "Boolean",
            "config": JSON_TEXT,
            "summaryMetrics": JSON_TEXT,
            "tags": "[String]",
        }
    },
    "createRunFiles": {"input": {**_RUN_INPUT, "files": "[String]"}},
    "markRunFilesUploaded": {"input": {**_RUN_INPUT, "files": "[String]"}},
    "notifyScriptableRunAlert": {
        "input": {
            **_RUN_INPUT,
            "title": "String",
            "text": "String",
            "severity": "AlertSeverity",
            "waitDuration": "Duration",
        }
    },
    "rewindRun": {
        "input": {
            "runName": "String",
            "entityName": "String",
            "projectName": "String",
            "metricName": "String",
            "metricValue": "Float",
        }
    },
    "model": {"name": "String", "entityName": "String"},
    "project": {"name": "String", "entityName": "String"},
}
"""Arguments of the root fields this server knows. An input object is a mapping of its own."""

_ENTITY: Final = {"id": None, "name": None}
_RUN: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        (
            *("id", "name", "displayName", "description", "notes", "tags", "group", "jobType", "sweepName"),
            *("config", "summaryMetrics", "historyLineCount", "eventsLineCount", "logLineCount"),
            *("historyTail", "eventsTail", "wandbConfig", "stopped"),
        )
    ),
    "files": {"uploadHeaders": None, "edges": {"node": {"name": None, "url": None, "updatedAt": None}}},
    "project": {"id": None, "name": None, "entity": _ENTITY},
}

SELECTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "viewer": {
        **dict.fromkeys(("id", "entity", "username", "email", "flags")),
        "teams": {"edges": {"node": {"name": None}}},
    },
    "serverInfo": {
        "features": {"name": None, "isEnabled": None},
        "cliVersionInfo": None,
        "latestLocalVersionInfo": dict.fromkeys(
            ("outOfDate", "latestVersionString", "versionOnThisInstanceString")
        ),
    },
    "model": {"id": None, "name": None, "entity": _ENTITY, "bucket": _RUN},
    "project": {"id": None, "name": None, "entity": _ENTITY, "run": _RUN},
    "upsertBucket": {"bucket": _RUN, "inserted": None},
    "createRunFiles": {"runID": None, "uploadHeaders": None, "files": {"name": None, "uploadUrl": None}},
    "markRunFilesUploaded": {"success": None},
    "notifyScriptableRunAlert": {"success": None},
    "createAnonymousEntity": {"apiKey": {"name": None}},
    "rewindRun": {"rewoundRun": _RUN},
}
"""What may be selected inside the root fields this server knows; None is a leaf."""


def _is(value: Any, kind: str) -> bool:
    if value is None:
        return True
    if kind.startswith("["):
        return isinstance(value, list) and all(_is(item, kind[1:-1]) and item is not None for item in value)
    if kind in ("String", "ID", JSON_TEXT, "AlertSeverity"):
        return isinstance(value, str)
    if kind == "Boolean":
        return isinstance(value, bool)
    if kind in ("Int", "Float", "Duration"):
        return isinstance(value, int if kind == "Int" else (int, float)) and not isinstance(value, bool)
    return True


def check_variables(operation: Operation, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables with their defaults.

    Raises:
        DocumentError: a value does not have the declared type, or is missing where it must be there.
    """
    values: dict[str, Any] = {}
    for declaration in operation.declarations:
        given = declaration.name in variables
        if given or declaration.has_default:
            values[declaration.name] = variables.get(declaration.name, declaration.default)
        value = values.get(declaration.name)
        if declaration.type.endswith("!") and value is None:
            raise DocumentError(
                f'Variable "${declaration.name}" of type "{declaration.type}" was not provided.'
            )
        if not _is(value, declaration.type.replace("!", "")):
            raise DocumentError(
                f'Variable "${declaration.name}" got an invalid value; expected type {declaration.type}.'
            )
    return values


def check_arguments(operation: Operation, field: Field, variables: Mapping[str, Any]) -> None:
    """Check a root field's arguments against the schema.

    Raises:
        DocumentError: an argument is unknown, or a variable or value has another type than its place.
    """
    declared = {found.name: found.type.replace("!", "") for found in operation.declarations}
    if field.name in ARGUMENTS:
        _check(dict(field.arguments), ARGUMENTS[field.name], field.name, declared, variables)


def _check(
    given: Mapping[str, Any],
    types: Types,
    place: str,
    declared: Mapping[str, str],
    variables: Mapping[str, Any],
) -> None:
    for name, value in given.items():
        if name not in types:
            raise DocumentError(f'Unknown argument or input field "{name}" on "{place}".')
        kind, inner = types[name], f"{place}.{name}"
        if isinstance(kind, Mapping):
            members = value if isinstance(value, dict) else resolve(value, variables)
            if not isinstance(members, dict):
                raise DocumentError(f'"{inner}" must be an input object.')
            _check(members, kind, inner, declared, variables)
            continue
        if isinstance(value, Variable) and declared[value.name] != kind:
            raise DocumentError(
                f'Variable "${value.name}" of type "{declared[value.name]}" used in position "{inner}" '
                f'expecting type "{kind}".'
            )
        if not _is(resolve(value, variables), kind):
            raise DocumentError(f'"{inner}" got an invalid value; expected type {kind}.')


def check_selection(field: Field) -> None:
    """Check what a root field selects inside against the schema.

    Raises:
        DocumentError: a field is unknown, a leaf has a selection, or an object has none.
    """
    if field.name in SELECTIONS:
        _check_inside(field, SELECTIONS[field.name])


def _check_inside(field: Field, shape: Mapping[str, Any] | None) -> None:
    if shape is None:
        if field.fields is not None:
            raise DocumentError(f'Field "{field.name}" must not have a selection since it has no subfields.')
        return
    if field.fields is None:
        raise DocumentError(f'Field "{field.name}" must have a selection of subfields.')
    for inner in field.fields:
        if inner.name != "__typename":
            if inner.name not in shape:
                raise DocumentError(f'Cannot query field "{inner.name}" inside "{field.name}".')
            _check_inside(inner, shape[inner.name])
