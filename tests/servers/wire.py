"""HTTP/1.1 on one socket: reading a request, writing an answer, waiting without going deaf.

Law: bytes in, values out, nothing about what they mean. Every wait ends when the other side hangs up or the
server closes the connection, so nobody sleeps longer than told.
"""

from __future__ import annotations

import email.utils
import http.client
import io
import math
import select
import socket
import time
from collections.abc import Mapping
from typing import Final, NamedTuple

from tests.servers.exchange import Answer

__all__ = ["Aborted", "Head", "Malformed", "Wire", "is_open"]

_MOST_HEAD: Final = 256 * 1024
_CHUNK: Final = 1 << 16
_TICK_S: Final = 0.05
_NO_BODY: Final = (204, 304)


class Aborted(Exception):
    """The other side hung up in the middle."""


class Malformed(Exception):
    """What came is no HTTP request."""


class Head(NamedTuple):
    """Request line and headers; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


def is_open(connection: socket.socket) -> bool:
    """Return whether the other side still holds the connection, as far as can be known without waiting."""
    return _holds_on(connection, 0.0)


def _holds_on(connection: socket.socket, seconds: float | None) -> bool:
    """Wait for either side to hang up; return whether both still hold on after so many seconds."""
    hang_up = getattr(select, "POLLRDHUP", 0)
    poll = select.poll()
    try:
        poll.register(connection, hang_up or select.POLLIN)
    except (OSError, ValueError):
        return False  # closed on our side already
    if not poll.poll(None if seconds is None else math.ceil(seconds * 1000)):
        return True
    if hang_up:
        return False
    # Without POLLRDHUP (macOS) a hang-up can only be told from data by looking.
    try:
        return connection.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


class Wire:
    """One connection, seen from the server."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = b""

    def read_head(self) -> Head | None:
        """Return the next request's head; None if the client hung up between requests.

        Raises:
            Malformed: what came is no HTTP/1.1 request.
            Aborted: the client hung up within the head.
        """
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > _MOST_HEAD:
                raise Malformed(f"no end of the head within {_MOST_HEAD} bytes")
            more = self._receive(_CHUNK)
            if not more:
                if self._buffer:
                    raise Aborted("hung up within the head")
                return None
            self._buffer += more
        head, _blank, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return _parsed(head)

    def read_body(self, length: int, bytes_per_second: int | None = None) -> bytes:
        """Return the body.

        Raises:
            Aborted: the client hung up before the end.
        """
        parts: list[bytes] = []
        missing = length
        size = _CHUNK
        if bytes_per_second is not None:
            # Without this the kernel would take most bodies in at once, whatever we do.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            size = max(1, int(bytes_per_second * _TICK_S))
        while missing:
            if bytes_per_second is not None:
                self.wait(_TICK_S)
            more = self._take(min(size, missing))
            if not more:
                raise Aborted(f"hung up {missing} bytes before the end of the body")
            parts.append(more)
            missing -= len(more)
        return b"".join(parts)

    def allow_body(self) -> None:
        """Answer `Expect: 100-continue`.

        Raises:
            Aborted: the client has gone.
        """
        self._send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def write(self, answer: Answer, *, close: bool, keep_bytes: int | None = None) -> None:
        """Send an answer; of its body only `keep_bytes`, if given, though all of it is announced.

        Raises:
            Aborted: the client has gone.
        """
        reason = http.client.responses.get(answer.status, "Unknown")
        lines = [f"HTTP/1.1 {answer.status} {reason}", f"Date: {email.utils.formatdate(usegmt=True)}"]
        body = b"" if answer.status in _NO_BODY else answer.body
        if answer.status not in _NO_BODY:
            lines += [f"Content-Type: {answer.content_type}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        lines += ["Connection: close" if close else "Connection: keep-alive", "", ""]
        self._send("\r\n".join(lines).encode("latin-1") + body[:keep_bytes])

    def wait(self, seconds: float | None) -> None:
        """Wait so many seconds, for ever if None.

        Raises:
            Aborted: the other side hung up meanwhile, or the server closes.
        """
        until = None if seconds is None else time.monotonic() + seconds
        while until is None or time.monotonic() < until:
            left = None if until is None else max(0.0, until - time.monotonic())
            if not _holds_on(self._socket, left):
                raise Aborted("hung up while waiting for the answer")
            if until is None or time.monotonic() < until:
                time.sleep(_TICK_S)  # only without POLLRDHUP, and only if data came that nobody waits for

    def _take(self, size: int) -> bytes:
        if not self._buffer:
            return self._receive(size)
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _receive(self, size: int) -> bytes:
        try:
            return self._socket.recv(size)
        except OSError:
            return b""  # reset by the client, or cut by the server: an end like any other

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Aborted(f"the answer could not be written: {error}") from None


def _parsed(head: bytes) -> Head:
    line, _end, rest = head.partition(b"\r\n")
    try:
        method, target, version = line.decode("ascii").split(" ")
    except ValueError:
        raise Malformed(f"no request line: {line[:80]!r}") from None
    if version != "HTTP/1.1" or not method.isalpha():
        raise Malformed(f"no HTTP/1.1 request: {line[:80]!r}")
    try:
        message = http.client.parse_headers(io.BytesIO(rest + b"\r\n\r\n"))
    except http.client.HTTPException as error:
        raise Malformed(str(error)) from None
    headers = {name.lower(): value for name, value in message.items()}
    if "host" not in headers:
        raise Malformed("no Host")
    return Head(method, target, headers)
