"""What came, in order, and what became of it; the only place where tests see requests as such.

Law: of credentials the log holds what they were (`key`), never what they said.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias

from tests.servers.exchange import Endpoint, Role

__all__ = ["KeyKind", "LoggedRequest", "RequestLog", "key_kind", "redacted"]

KeyKind: TypeAlias = Literal["absent", "correct", "revoked", "wrong", "malformed"]
"""Revoked: the key was valid once on this server, and is not now."""

_SECRET_HEADERS: Final = ("authorization", "proxy-authorization", "cookie")


@dataclass(kw_only=True)
class LoggedRequest:
    """One request. Times are monotonic seconds, sizes bytes: as they came, and decompressed.

    `operation` is the GraphQL operation or None; `run` the run id if the request names one; `status` is None
    where no answer was sent; `applied` says whether the world was asked to carry the request out; `fault`
    names what the fault plan did; `aborted` says why a request did not arrive whole or was not answered.
    """

    number: int
    connection: int
    role: Role
    endpoint: Endpoint
    method: str
    target: str
    arrived: float
    headers: Mapping[str, str]
    key: KeyKind
    operation: str | None = None
    run: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    wire_bytes: int = 0
    body_bytes: int = 0
    status: int | None = None
    answered: float | None = None
    applied: bool = False
    fault: str | None = None
    aborted: str | None = None


def key_kind(authorization: str | None, valid: Collection[str], known: Collection[str]) -> KeyKind:
    """Return what an Authorization header says about its sender."""
    if authorization is None:
        return "absent"
    scheme, _blank, encoded = authorization.partition(" ")
    try:
        user, colon, key = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "malformed"
    if scheme.lower() != "basic" or user != "api" or not colon:
        return "malformed"
    if key in valid:
        return "correct"
    return "revoked" if key in known else "wrong"


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers without the values of secret ones."""
    return {name: "<redacted>" if name in _SECRET_HEADERS else value for name, value in headers.items()}


class RequestLog:
    """All requests in the order in which their heads arrived; telemetry (protocol 1.6) is not counted."""

    def __init__(self) -> None:
        self._entries: list[LoggedRequest] = []

    def next_number(self) -> int:
        """Return the number of the request that is added next; numbers are counted from 1."""
        return len(self._entries) + 1

    def add(self, entry: LoggedRequest) -> None:
        """Append a request; what becomes of it is written into it later."""
        self._entries.append(entry)

    def found(
        self, endpoint: Endpoint | None = None, operation: str | None = None, run: str | None = None
    ) -> list[LoggedRequest]:
        """Return copies of the requests that agree with everything that is given."""
        return [
            replace(entry)
            for entry in self._entries
            if endpoint in (None, entry.endpoint)
            and operation in (None, entry.operation)
            and run in (None, entry.run)
        ]
