"""What goes over the wire, as values: a request that has arrived whole, and an answer that is to be sent.

Law: no socket and no state here. A handler either returns an `Answer` or raises `Refused`, which is the
answer of a real server to a request that it will not carry out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

__all__ = ["Answer", "Endpoint", "Incoming", "Refused", "Role", "json_answer", "refusal_answer"]

Role: TypeAlias = Literal["api", "uploads"]
"""Which of the two ports: the one that wants credentials, or the "other host" that takes files."""

Endpoint: TypeAlias = Literal["graphql", "file_stream", "upload", "telemetry", "other"]


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A request as it arrived. Names of `headers` are lower case; `time` is monotonic seconds."""

    number: int
    role: Role
    endpoint: Endpoint
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    time: float
    run: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """The request is not carried out.

    Args:
        status: the HTTP status that says so.
        message: what the answer tells the client.
        violation: the rule of `tests.servers.state.VIOLATIONS` that the client broke; None where the client
            is in order and the server just says no.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        violation: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.violation = violation
        self.headers = dict(headers or {})


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return an answer whose body is strict JSON."""
    return Answer(status, json.dumps(value, allow_nan=False).encode())


def refusal_answer(endpoint: Endpoint, refused: Refused) -> Answer:
    """Return what a real server says: an envelope for GraphQL, `error` on the stream, XML for uploads."""
    if endpoint == "upload":
        body = f"<Error><Code>{refused.status}</Code><Message>{refused.message}</Message></Error>"
        return Answer(refused.status, body.encode(), "application/xml", refused.headers)
    value: dict[str, Any] = {"error": refused.message}
    if endpoint == "graphql":
        value = {"data": None, "errors": [{"message": refused.message}]}
    return Answer(refused.status, json.dumps(value).encode(), headers=refused.headers)
