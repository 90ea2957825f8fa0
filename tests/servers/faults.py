"""The fault plan: what goes wrong, and with which request.

Law: a plan only answers the question "what is to go wrong with this request?"; the answer depends on the
requests that were asked about and their order, on nothing else. Doing it is the connection's affair.

    plan.add(answer(503, retry_after=1), endpoint="file_stream", times=3)  the first three pushes
    plan.add(drop_after(), operation="UpsertBucket", nth=2)                a lost answer
    plan.add([answer(429), None, truncated(10)], endpoint="file_stream")   one after the other, then no more
    rule = plan.add(hold()); ...; rule.remove()                            everything, until it is over
    delay(before=0.1) | answer(500)                                        both
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal

from tests.servers.exchange import Endpoint

__all__ = [
    "Fault",
    "FaultPlan",
    "Rule",
    "answer",
    "call",
    "close_connection",
    "delay",
    "drop_after",
    "drop_before",
    "errors",
    "hold",
    "not_json",
    "redirect",
    "replaced",
    "replaced_in",
    "slow_reader",
    "truncated",
]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request. Made by the functions of this module, joined with `|`.

    Args:
        before_handling: called before anything is done with the request, e.g. to change the world under it.
        bytes_per_second: the request's body is read this slowly.
        unread: the body is not read at all; the answer, if any, comes at once and ends the connection.
        delay_before_s: waited before the request is carried out; a client that leaves meanwhile is not
            served.
        delay_after_s: waited after it has been carried out, before the answer.
        drop: the connection is cut before or after the request has been carried out, instead of an answer.
        hold: nothing more is sent, before or after the request has been carried out, until the client leaves.
        status: is answered instead.
        carried_out: with `status`: whether the request is carried out all the same.
        body: of the answer: bytes as they are, a text, or a value that becomes JSON. None: what a real server
            says.
        headers: are added to the answer, also to one that is in order.
        replace: paths such as `data.upsertBucket.bucket.id` in a JSON answer, and what is put there.
        keep_bytes: only so many bytes of the answer's body are sent, then the connection is cut.
        close: the answer says `Connection: close`, and the server does it.
    """

    before_handling: Callable[[], Any] | None = None
    bytes_per_second: int | None = None
    unread: bool = False
    delay_before_s: float = 0.0
    delay_after_s: float = 0.0
    drop: Literal["", "before", "after"] = ""
    hold: Literal["", "before", "after"] = ""
    status: int | None = None
    carried_out: bool = False
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    replace: Mapping[str, Any] = field(default_factory=dict)
    keep_bytes: int | None = None
    close: bool = False

    def __or__(self, other: Fault) -> Fault:
        """Return both faults in one; where both say something, `other` wins."""
        return replace(self, **other._said())

    @property
    def is_early(self) -> bool:
        """It must be known before the body is read, so it cannot depend on the body."""
        return self.unread or self.bytes_per_second is not None

    def _said(self) -> dict[str, Any]:
        untouched = Fault()
        return {
            member.name: getattr(self, member.name)
            for member in fields(self)
            if getattr(self, member.name) != getattr(untouched, member.name)
        }

    def __str__(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._said().items())


def answer(
    status: int,
    *,
    retry_after: float | str | None = None,
    rate_limit: tuple[float, float] | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    carried_out: bool = False,
    unread: bool = False,
) -> Fault:
    """Answer with this status; not carried out unless said.

    `retry_after` is seconds or an HTTP date; `rate_limit` is (remaining units, seconds until reset). `unread`
    answers before the body is read and cuts the connection, as a proxy does with a body that is too large for
    it.
    """
    given = dict(headers or {})
    if retry_after is not None:
        given["Retry-After"] = str(retry_after)
    if rate_limit is not None:
        given["RateLimit-Remaining"], given["RateLimit-Reset"] = (str(number) for number in rate_limit)
    return Fault(status=status, body=body, headers=given, carried_out=carried_out, unread=unread)


def errors(message: str, *, status: int = 200, path: Iterable[str] = (), carried_out: bool = False) -> Fault:
    """Answer a GraphQL envelope with errors; with status 200 that is a failure all the same."""
    body = {"data": None, "errors": [{"message": message, "path": list(path)}]}
    return Fault(status=status, body=body, carried_out=carried_out)


def not_json(text: str = "<html>it works</html>", *, status: int = 200, carried_out: bool = True) -> Fault:
    """Answer a text that is no JSON, as a captive portal or a proxy does."""
    return Fault(status=status, body=text, carried_out=carried_out)


def replaced(**paths: Any) -> Fault:
    """Put other values into a JSON answer.

    `replaced(**{"data.upsertBucket.bucket.id": 5})`; a number in a path is an index of a list, and the
    value `OMIT` leaves a field out.
    """
    return Fault(replace=paths)


def drop_before() -> Fault:
    """Cut the connection when the request has arrived; nothing is carried out."""
    return Fault(drop="before")


def drop_after() -> Fault:
    """Carry the request out and cut the connection: the answer is lost."""
    return Fault(drop="after")


def delay(*, before: float = 0.0, after: float = 0.0) -> Fault:
    """Wait so many seconds before and after the request is carried out."""
    return Fault(delay_before_s=before, delay_after_s=after)


def truncated(keep_bytes: int) -> Fault:
    """Carry the request out, announce the whole answer, send so many bytes of its body, and hang up."""
    return Fault(keep_bytes=keep_bytes)


def hold(*, carried_out: bool = False, unread: bool = False) -> Fault:
    """Never answer: a black hole behind a connection that stands."""
    return Fault(hold="after" if carried_out else "before", unread=unread)


def slow_reader(bytes_per_second: int) -> Fault:
    """Read the body this slowly. What the kernel takes in beforehand is fast all the same."""
    return Fault(bytes_per_second=bytes_per_second)


def redirect(location: str, *, status: int = 307) -> Fault:
    """Send the client elsewhere."""
    return Fault(status=status, headers={"Location": location})


def close_connection() -> Fault:
    """Answer with `Connection: close`."""
    return Fault(close=True)


def call(before_handling: Callable[[], Any]) -> Fault:
    """Call something before the request is handled, e.g. seed a run between a query and its upsert."""
    return Fault(before_handling=before_handling)


_ENDLESS: Final = -1


class Rule:
    """One line of the plan. `matched` counts the requests it was for, `hits` those that it harmed."""

    def __init__(
        self,
        script: tuple[Fault | None, ...],
        matches: Callable[[Endpoint, str | None, str | None], bool],
        first: int,
        times: int,
    ) -> None:
        self._script = script
        self._matches = matches
        self._first = first
        self._times = times
        self._removed = False
        self.matched = 0
        self.hits = 0

    @property
    def is_early(self) -> bool:
        """Its faults must be known before the body is read."""
        return any(fault is not None and fault.is_early for fault in self._script)

    def remove(self) -> None:
        """Let it do nothing from now on."""
        self._removed = True

    def consider(self, endpoint: Endpoint, operation: str | None, run: str | None) -> Fault | None:
        """Count a request that this rule is for, and say what it does to it."""
        if self._removed or not self._matches(endpoint, operation, run):
            return None
        self.matched += 1
        at = self.matched - self._first
        if at < 0 or (self._times != _ENDLESS and at >= self._times):
            return None
        return self._script[at % len(self._script)]


class FaultPlan:
    """The rules in force. Every rule counts all requests it is for; the first one with a fault does it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(
        self,
        fault: Fault | Iterable[Fault | None],
        *,
        endpoint: Endpoint | None = None,
        operation: str | None = None,
        run: str | None = None,
        nth: int | None = None,
        times: int | None = None,
    ) -> Rule:
        """Add a rule.

        Args:
            fault: what goes wrong; several are done one after the other, None among them means that nothing
                does.
            endpoint: only requests to it.
            operation: only this GraphQL operation.
            run: only requests that name this run id.
            nth: counted from 1 and from now, the first request that is harmed; without `times` the only one.
            times: how many requests are harmed (or let pass by a None); default: a script runs once, a single
                fault for ever.

        Raises:
            ValueError: the fault happens before the body is read, but the rule depends on what the body says.
        """
        script = (fault,) if isinstance(fault, Fault) else tuple(fault)
        if times is None:
            endless = isinstance(fault, Fault) and nth is None
            times = _ENDLESS if endless else len(script)

        def matches(at: Endpoint, called: str | None, named: str | None) -> bool:
            return endpoint in (None, at) and operation in (None, called) and run in (None, named)

        rule = Rule(script, matches, nth or 1, times)
        in_body = operation is not None or (run is not None and endpoint not in ("file_stream", "upload"))
        if rule.is_early and in_body:
            raise ValueError("a fault before the body is read cannot depend on what the body says")
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Remove all rules."""
        with self._lock:
            for rule in self._rules:
                rule.remove()
            self._rules.clear()

    def fault_for(
        self, endpoint: Endpoint, operation: str | None, run: str | None, *, early: bool
    ) -> Fault | None:
        """Return what goes wrong with a request; `early` asks about what happens before its body is read."""
        with self._lock:
            found = None
            for rule in self._rules:
                if rule.is_early == early:
                    fault = rule.consider(endpoint, operation, run)
                    if fault is not None and found is None:
                        found = fault
                        rule.hits += 1
            return found


def replaced_in(body: bytes, paths: Mapping[str, Any], omit: object) -> bytes:
    """Return a JSON body with other values at some paths; a path to nowhere is an error of the test."""
    value = json.loads(body)
    for path, new in paths.items():
        *parents, last = path.split(".")
        place: Any = value
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        at: Any = int(last) if isinstance(place, list) else last
        if new is omit:
            del place[at]
        else:
            place[at] = new
    return json.dumps(value).encode()
