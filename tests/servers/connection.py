"""One connection: requests come in, faults are done, the backend answers.

Law: the order of things is fixed. Head, early faults, body, log and violations of form, fault plan, waiting,
carrying out under the lock, waiting, answer. Whether a request was carried out, answered or lost stands in
its log entry.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from threading import Condition
from typing import Final, NamedTuple

from tests.servers import file_stream, graphql
from tests.servers.backend import Backend, Handled
from tests.servers.document import OMIT
from tests.servers.exchange import Answer, Incoming, Refused, Role, refusal_answer
from tests.servers.faults import Fault, FaultPlan, replaced_in
from tests.servers.in_flight import InFlight
from tests.servers.request_log import LoggedRequest, RequestLog, redacted
from tests.servers.wire import Aborted, Head, Malformed, Wire, is_open

__all__ = ["Connection", "Shared"]

_NO_FAULT: Final = Fault()
_FITS_ANY_BUFFER: Final = 16 * 1024


class Shared(NamedTuple):
    """What all connections share. `changed` is the lock over everything else, and notified after changes."""

    changed: Condition
    backend: Backend
    faults: FaultPlan
    log: RequestLog
    in_flight: InFlight
    keep_alive: bool


class _Over(Exception):
    """This connection ends here."""


class Connection:
    """Serves one socket until either side ends it."""

    def __init__(self, shared: Shared, role: Role, connection: socket.socket, number: int) -> None:
        self._shared = shared
        self._role: Role = role
        self._socket = connection
        self._wire = Wire(connection)
        self._number = number

    def serve(self) -> None:
        """Serve requests one after the other."""
        try:
            while (head := self._head()) is not None:
                self._request(head)
        except (Aborted, _Over):
            pass  # how it ended stands in the log, if it was within a request

    def _head(self) -> Head | None:
        try:
            return self._wire.read_head()
        except Malformed as error:
            with self._shared.changed:
                self._shared.backend.world.violate("malformed-http", str(error))
            self._wire.write(Answer(400, str(error).encode(), "text/plain"), close=True)
            raise _Over from None

    # -------------------------------------------------------------------------------------------- one request

    def _request(self, head: Head) -> None:
        shared = self._shared
        incoming, entry = self._arrived(head)
        if incoming.endpoint == "telemetry":
            self._wire.read_body(self._length(head.headers))
            self._wire.write(Answer(404), close=True)
            raise _Over
        try:
            incoming = self._read(head, incoming, entry)
            with shared.changed:
                entry.wire_bytes = len(incoming.body)
                entry.body_bytes = shared.backend.body_size(incoming)
                envelope = shared.backend.envelope(incoming) if incoming.endpoint == "graphql" else None
                entry.operation = graphql.label(envelope)
                entry.run = incoming.run[2] if incoming.run else graphql.run_named(envelope)
                if isinstance(envelope, Mapping) and isinstance(envelope.get("variables"), Mapping):
                    entry.variables = envelope["variables"]
            fault = (
                shared.faults.fault_for(incoming.endpoint, entry.operation, entry.run, early=False)
                or _NO_FAULT
            )
            self._serve_with(fault, incoming, entry)
        except Aborted as aborted:
            entry.aborted = str(aborted)
            raise
        finally:
            with shared.changed:
                shared.in_flight.end(incoming.number)
                shared.changed.notify_all()

    def _arrived(self, head: Head) -> tuple[Incoming, LoggedRequest]:
        shared = self._shared
        with shared.changed:
            route = shared.backend.route(self._role, head.method, head.target)
            run = route.run
            if route.endpoint == "upload" and head.target in shared.backend.world.slots:
                run = shared.backend.world.slots[head.target].run
            incoming = Incoming(
                number=0 if route.endpoint == "telemetry" else shared.log.next_number(),
                role=self._role,
                endpoint=route.endpoint,
                method=head.method,
                target=head.target,
                headers=head.headers,
                body=b"",
                time=time.monotonic(),
                run=run,
            )
            entry = LoggedRequest(
                number=incoming.number,
                connection=self._number,
                role=self._role,
                endpoint=route.endpoint,
                method=head.method,
                target=head.target,
                arrived=incoming.time,
                headers=redacted(head.headers),
                key=shared.backend.key_of(incoming),
                run=run[2] if run else None,
            )
            if route.endpoint != "telemetry":
                shared.log.add(entry)
                self._enter(incoming)
                shared.changed.notify_all()
        return incoming, entry

    def _enter(self, incoming: Incoming) -> None:
        """Note that a request for a run is under way, and whether it should have waited."""
        shared = self._shared
        if incoming.run is None:
            return
        connection = self._socket
        shared.in_flight.begin(incoming.number, incoming.endpoint, incoming.run, lambda: is_open(connection))
        others = shared.in_flight.others(incoming.number, incoming.endpoint, incoming.run)
        if incoming.endpoint == "file_stream" and others:
            shared.backend.world.violate(
                "concurrent-push",
                f"requests {others} are not answered yet",
                run=incoming.run,
                request=incoming.number,
            )

    def _length(self, headers: Mapping[str, str]) -> int:
        text = headers.get("content-length", "0").strip()
        return int(text) if text.isdigit() else 0

    def _read(self, head: Head, incoming: Incoming, entry: LoggedRequest) -> Incoming:
        """Return the request with its body."""
        headers = head.headers
        early = self._shared.faults.fault_for(incoming.endpoint, None, entry.run, early=True)
        if early is not None:
            entry.fault = str(early)
            if early.unread:
                self._unread(early, incoming, entry)
        if "transfer-encoding" in headers or (head.method != "GET" and "content-length" not in headers):
            kind = "chunked-body" if "transfer-encoding" in headers else "no-content-length"
            refused = Refused(411, "a body must come with Content-Length, in one piece", kind)
            with self._shared.changed:
                self._shared.backend.violate_refusal(refused, incoming)
            self._answer(refusal_answer(incoming.endpoint, refused), incoming, entry, close=True)
        if headers.get("expect", "").lower() == "100-continue":
            self._wire.allow_body()
        body = self._wire.read_body(
            self._length(headers), early.bytes_per_second if early is not None else None
        )
        return replace(incoming, body=body)

    def _unread(self, fault: Fault, incoming: Incoming, entry: LoggedRequest) -> None:
        """Do a fault that leaves the body where it is; the connection does not survive it."""
        if fault.delay_before_s:
            self._wire.wait(fault.delay_before_s)
        if fault.hold:
            self._wire.wait(None)
        if fault.status is not None:
            self._answer(self._faulty(fault, incoming), incoming, entry, close=True)
        entry.aborted = "dropped by the fault plan"
        raise _Over

    def _serve_with(self, fault: Fault, incoming: Incoming, entry: LoggedRequest) -> None:
        if fault is not _NO_FAULT:
            entry.fault = str(fault)
        if fault.before_handling is not None:
            fault.before_handling()
        if fault.delay_before_s:
            self._wire.wait(fault.delay_before_s)
        handled = self._handle(fault, incoming, entry)
        if fault.drop:
            entry.aborted = "dropped by the fault plan"
            raise _Over
        if fault.hold:
            self._wire.wait(None)
        if fault.delay_after_s:
            self._wire.wait(fault.delay_after_s)
        answer = self._faulty(fault, incoming) if fault.status is not None else handled.answer
        if fault.replace:
            answer = replace(answer, body=replaced_in(answer.body, fault.replace, OMIT))
        if fault.headers:
            answer = replace(answer, headers={**answer.headers, **fault.headers})
        self._answer(answer, incoming, entry, close=fault.close, keep_bytes=fault.keep_bytes, push=handled)

    def _handle(self, fault: Fault, incoming: Incoming, entry: LoggedRequest) -> Handled:
        """Carry the request out unless the fault forbids it; look at its form in any case."""
        backend = self._shared.backend
        undone = fault.drop == "before" or fault.hold == "before"
        undone = undone or (fault.status is not None and not fault.carried_out)
        with self._shared.changed:
            try:
                said = backend.check(incoming)
                if undone:
                    return Handled(Answer(500))
                entry.applied = True
                return backend.handle(incoming, said, self._uploads_under_way(incoming))
            except Refused as refused:
                entry.applied = False
                backend.violate_refusal(refused, incoming)
                return Handled(refusal_answer(incoming.endpoint, refused))
            finally:
                self._shared.changed.notify_all()

    def _uploads_under_way(self, incoming: Incoming) -> int:
        if incoming.run is None:
            return 0
        return len(self._shared.in_flight.others(incoming.number, "upload", incoming.run))

    def _faulty(self, fault: Fault, incoming: Incoming) -> Answer:
        assert fault.status is not None
        if fault.body is None:
            refused = Refused(fault.status, "the fault plan says so", headers=fault.headers)
            return refusal_answer(incoming.endpoint, refused)
        if isinstance(fault.body, bytes):
            return Answer(fault.status, fault.body, headers=fault.headers)
        if isinstance(fault.body, str):
            return Answer(fault.status, fault.body.encode(), "text/html", fault.headers)
        return Answer(fault.status, json.dumps(fault.body).encode(), headers=fault.headers)

    def _answer(
        self,
        answer: Answer,
        incoming: Incoming,
        entry: LoggedRequest,
        *,
        close: bool,
        keep_bytes: int | None = None,
        push: Handled | None = None,
    ) -> None:
        """Write an answer, and note a push as acknowledged if the client can know of it now."""
        shared = self._shared
        close = close or not shared.keep_alive or incoming.headers.get("connection", "").lower() == "close"
        if not is_open(self._socket):
            # The kernel would take the bytes all the same, and the answer would count as given.
            raise Aborted("hung up before the answer")
        if incoming.method == "HEAD":
            answer = replace(answer, body=b"")
        with shared.changed:
            # Whoever reads this answer may send the next request at once.
            shared.in_flight.end(incoming.number)
            entry.status = answer.status
        whole = keep_bytes is None or keep_bytes >= len(answer.body)
        # Who has read an answer finds everything noted. A long answer may block, so the lock is not held for it.
        with shared.changed if len(answer.body) <= _FITS_ANY_BUFFER else nullcontext():
            self._wire.write(answer, close=close, keep_bytes=keep_bytes)
            with shared.changed:
                entry.answered = time.monotonic()
                if push is not None and whole and 200 <= answer.status < 300:
                    self._acknowledge(push, incoming)
                shared.changed.notify_all()
        if close or not whole:
            raise _Over

    def _acknowledge(self, handled: Handled, incoming: Incoming) -> None:
        if handled.push is not None and incoming.run is not None:
            run = self._shared.backend.world.runs.get(incoming.run)
            if run is not None:
                file_stream.acknowledge(run, handled.push)
