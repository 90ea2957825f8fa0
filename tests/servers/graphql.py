"""`POST /graphql`: from the envelope to the operation, and on to the answer.

Law: dispatch is by operationName, else by the operation in the text; what is answered is exactly what was
selected. An operation this server does not know is answered `{"data": {<field>: null}}` with 200. Nothing is
changed by a request whose document, variables or arguments a real server would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tests.servers.document import DocumentError, Operation, parse, resolved_arguments, select
from tests.servers.exchange import Answer, Refused, json_answer
from tests.servers.runs_api import MUTATIONS, QUERIES
from tests.servers.schema import check_arguments, check_selection, check_variables
from tests.servers.state import World

__all__ = ["GraphqlRequest", "execute", "label", "read_envelope", "run_named"]

# The old client gives four operations one name; the text tells them apart.
_OLD_NAME: Final = "Model"
_OLD_OPERATIONS: Final = (
    ("historyTail", "RunResumeStatus"),
    ("uploadHeaders", "RunUploadUrls"),
    ("stopped", "RunStoppedStatus"),
)
_RUN_VARIABLES: Final = ("name", "runName", "run", "runId")


class GraphqlRequest(NamedTuple):
    """An envelope that was understood."""

    operation: Operation
    variables: Mapping[str, Any]
    label: str


def label(envelope: object) -> str | None:
    """Return what the operation is called in the log and in fault plans; None if that cannot be told."""
    if not isinstance(envelope, Mapping) or not isinstance(envelope.get("query"), str):
        return None
    text, name = envelope["query"], envelope.get("operationName")
    if not isinstance(name, str) or not name:
        try:
            name = parse(text).name
        except DocumentError:
            return None
    if name in (_OLD_NAME, ""):
        return next((new for mark, new in _OLD_OPERATIONS if mark in text), name)
    return name


def run_named(envelope: object) -> str | None:
    """Return the run id that the variables of an envelope name, if they do."""
    variables = envelope.get("variables") if isinstance(envelope, Mapping) else None
    if not isinstance(variables, Mapping):
        return None
    found = (variables.get(name) for name in _RUN_VARIABLES)
    return next((name for name in found if isinstance(name, str)), None)


def read_envelope(envelope: object) -> GraphqlRequest:
    """Return the operation and its variables.

    Raises:
        Refused: a real server would answer 400.
    """
    if not isinstance(envelope, Mapping) or not isinstance(envelope.get("query"), str):
        raise Refused(400, "a GraphQL request is a JSON object with the text `query`", "bad-graphql")
    variables, name = envelope.get("variables"), envelope.get("operationName")
    if variables is not None and not isinstance(variables, Mapping):
        raise Refused(400, "`variables` must be a JSON object", "wrong-type")
    if name is not None and not isinstance(name, str):
        raise Refused(400, "`operationName` must be a text", "wrong-type")
    try:
        operation = parse(envelope["query"], name or None)
        for field in operation.fields:
            check_selection(field)
    except DocumentError as error:
        kind = "operation-mismatch" if "Must provide operation" in str(error) else "bad-graphql"
        raise Refused(400, str(error), kind) from None
    try:
        values = check_variables(operation, variables or {})
        for field in operation.fields:
            check_arguments(operation, field, values)
    except DocumentError as error:
        raise Refused(400, str(error), "wrong-type") from None
    return GraphqlRequest(operation, values, label(envelope) or operation.name)


def execute(world: World, request: GraphqlRequest, number: int) -> Answer:
    """Carry an operation out and answer what it selects.

    Raises:
        Refused: the world says no.
    """
    resolvers = MUTATIONS if request.operation.kind == "mutation" else QUERIES
    data: dict[str, Any] = {}
    for field in request.operation.fields:
        resolver = resolvers.get(field.name)
        if resolver is None:
            data[field.key] = None
            continue
        tree = resolver(world, resolved_arguments(field, request.variables), number)
        data[field.key] = select(tree, field, request.variables)
    return json_answer({"data": data})
