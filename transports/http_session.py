"""One HTTP exchange over `requests`: a value goes out, a value comes back.

Law: this is the only room that knows `requests`, and nothing that it raises leaves here: each foreign exception
is mapped once, to a failure that names operation, host and what happened. Credentials go to the base URL and
nowhere else; a redirect is never followed. The key stands in one object, which never shows it, and in one header;
where a server repeats it in an answer, it is blotted out before anybody sees it.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from corelib.errors import UsageError
from transports.wandb_exchange import (
    FailureKind,
    HttpAnswer,
    HttpFailure,
    HttpRequest,
    HttpResult,
    LocalFile,
    host_of,
)

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

__all__ = ["HttpSession", "Timeouts", "checked_base_url"]

_MOST_ANSWER_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 16
_COMPRESSION_LEVELS: Final = {"gzip": 5, "zstd": 3}
_BLOT: Final = b"***"


@frozen(kw_only=True)
class Timeouts:
    """How long an exchange may take, in seconds.

    `connect_s` until there is a connection, and for each write; `read_s` until the answer begins, and for each
    further part of it.
    """

    connect_s: float = 10.0
    read_s: float = 60.0


class _Credentials:
    """Puts the key into requests for the server. Called by `requests` last, when cookies are in their place."""

    __slots__ = ("_header", "_secrets")

    def __init__(self, key: str) -> None:
        encoded = b64encode(f"api:{key}".encode())
        self._header = "Basic " + encoded.decode("ascii")
        self._secrets = (key.encode(), encoded)

    def __call__(self, prepared: PreparedRequest) -> PreparedRequest:
        prepared.headers["Authorization"] = self._header
        return prepared

    def blotted(self, text: bytes) -> bytes:
        for secret in self._secrets:
            text = text.replace(secret, _BLOT)
        return text

    def __repr__(self) -> str:
        return "<_Credentials ***>"


class _NoCredentials:
    """Keeps what belongs to the server out of requests to others, whatever the session or a netrc file would add."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, prepared: PreparedRequest) -> PreparedRequest:
        for name in ("Authorization", "Cookie"):
            prepared.headers.pop(name, None)
        prepared.headers.update(self._headers)
        return prepared


class _FileProblem(Exception):
    """A file on this machine cannot be read; the text says why. No OSError, which would pass for the network's."""


class _FileBody:
    """The first `size` bytes of a file, as a body with a length; a file that has shrunk is a problem.

    `alive` is called now and then while a large file is on its way.
    """

    def __init__(self, source: LocalFile, alive: Callable[[], None] | None) -> None:
        self._left = source.size
        self._size = source.size
        self._alive = alive
        try:
            self._file = open(source.path, "rb")  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise _FileProblem(error.strerror or str(error)) from None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(_CHUNK_BYTES), b"")

    def read(self, size: int = -1) -> bytes:
        if self._alive is not None:
            self._alive()
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            data = self._file.read(wanted)
        except OSError as error:
            raise _FileProblem(error.strerror or str(error)) from None
        if wanted and not data:
            raise _FileProblem("it became shorter while it was sent")
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._file.close()


def checked_base_url(url: str) -> str:
    """Return a base URL without a slash at its end.

    Raises:
        UsageError: it is no http or https URL of a host, or it holds what may be secret: a user, a query.
    """
    scheme, separator, rest = url.strip().partition("://")
    scheme, rest = scheme.lower(), rest.rstrip("/")
    authority, _, path = rest.partition("/")
    if scheme not in ("http", "https") or not separator or not authority:
        raise UsageError("base_url must be an address such as https://api.example.com.")
    if "@" in authority or set("?#") & set(rest):
        raise UsageError(
            "base_url must be an address alone, without user, password, query or fragment: the key is given apart."
        )
    return f"{scheme}://{authority.lower()}" + (f"/{path}" if path else "")


class HttpSession:
    """Exchanges with one server and the places it sends files to. Connections are kept and used again.

    Args:
        base_url: where the API is, as `checked_base_url` returns it.
        key: the secret that the server wants; None: requests go out without one.
        session: a session to use, for tests and for special networks; it is not closed for good.
        headers: further headers for requests to the server.
        timeouts: how long an exchange may take.

    Proxies and certificates are those of the environment: HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE or
    CURL_CA_BUNDLE and, where neither is set, SSL_CERT_FILE.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        session: Session | None = None,
        headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._base_url = base_url
        self._credentials = None if key is None else _Credentials(key)
        self._session = session
        self._headers = dict(headers or {})
        self._timeouts = Timeouts() if timeouts is None else timeouts

    def send(
        self,
        request: HttpRequest,
        *,
        timeout_s: float | None = None,
        alive: Callable[[], None] | None = None,
    ) -> HttpResult:
        """Perform one exchange.

        Args:
            request: what to send.
            timeout_s: a bound for the connection and for each wait after that; `ask` bounds it all.
            alive: called now and then while a file is on its way.
        """
        place = self._base_url if request.is_authorized else request.target
        what = f"{request.operation} at {host_of(place) or 'no host'}"
        body: _FileBody | None = None
        try:
            if isinstance(request.body, LocalFile) and request.body.size:
                body = _FileBody(request.body, alive)
            return self._exchange(request, body, timeout_s)
        except _FileProblem as problem:
            return HttpFailure("unusable", f"{what}: the file cannot be read: {problem}")
        except Exception as error:  # noqa: BLE001  mapped here, once, and never shown as it is
            kind, happened = _explained(error, self._timeouts)
            return HttpFailure(kind, f"{what}: {happened}")
        finally:
            if body is not None:
                body.close()

    def ask(self, request: HttpRequest, timeout_s: float) -> HttpResult:
        """Perform one exchange for somebody who waits: within `timeout_s` seconds, whatever holds it up."""
        if timeout_s <= 0:
            return HttpFailure(
                "timeout", f"{request.operation} at {host_of(self._base_url)}: no time is left"
            )
        results: list[HttpResult] = []

        def perform() -> None:
            results.append(self.send(request, timeout_s=timeout_s))

        # The system's look-up of a name knows no bound, and a server that drips its headers keeps to ours.
        thread = Thread(target=perform, name="corelib-http", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread to be had: bounded as far as the sockets are
            perform()
        else:
            thread.join(timeout_s)
        late = HttpFailure(
            "timeout", f"{request.operation} at {host_of(self._base_url)}: no answer in {timeout_s:g} s"
        )
        return results[0] if results else late

    def close(self) -> None:
        """Close connections that are idle; the next exchange opens new ones."""
        if self._session is not None:
            self._session.close()

    def _exchange(self, request: HttpRequest, body: _FileBody | None, timeout_s: float | None) -> HttpAnswer:
        import requests

        if self._session is None:
            self._session = requests.Session()
        session = self._session
        prepared = session.prepare_request(self._unprepared(request, body))
        # What a session was told comes before the environment, which `requests` has the other way round.
        settings = session.merge_environment_settings(prepared.url or "", {}, True, session.verify, None)
        if settings["verify"] is True and session.trust_env:
            settings["verify"] = os.environ.get("SSL_CERT_FILE") or True
        limits = self._timeouts.connect_s, self._timeouts.read_s
        if timeout_s is not None:
            limits = min(limits[0], timeout_s), min(limits[1], timeout_s)
        # `requests` follows no redirect here: it would take our body, and perhaps more, to an address of its own.
        response = session.send(prepared, timeout=limits, allow_redirects=False, **settings)
        try:
            return self._read(response)
        finally:
            response.close()

    def _unprepared(self, request: HttpRequest, body: _FileBody | None) -> Any:
        import requests

        data: bytes | _FileBody = body if body is not None else b""
        if isinstance(request.body, bytes):
            data = request.body
        headers: dict[str, str | None] = {"User-Agent": _user_agent()}
        if not request.is_authorized:
            return requests.Request(
                request.method,
                request.target,
                headers={**headers, "Accept-Encoding": None},
                data=data,
                auth=_NoCredentials(request.headers),
            )
        headers |= {**self._headers, **request.headers}
        if request.encoding is not None and isinstance(data, bytes):
            data = _compressed(data, request.encoding)
            headers["Content-Encoding"] = request.encoding
        return requests.Request(
            request.method,
            self._base_url + request.target,
            headers=headers,
            data=data,
            auth=self._credentials or _NoCredentials({}),
        )

    def _read(self, response: Response) -> HttpAnswer:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_content(_CHUNK_BYTES):
            parts.append(part)
            size += len(part)
            if size > _MOST_ANSWER_BYTES:
                raise _AnswerTooLong
        content = b"".join(parts)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if self._credentials is not None:
            content = self._credentials.blotted(content)
            headers = {
                name: self._credentials.blotted(value.encode("latin-1", "replace")).decode("latin-1")
                for name, value in headers.items()
            }
        return HttpAnswer(response.status_code, headers, content)


class _AnswerTooLong(Exception):
    """An answer of a size that no answer of ours has."""


def _compressed(data: bytes, encoding: str) -> bytes:
    """Return the same bytes for the same data, every time."""
    if encoding == "gzip":
        import gzip

        return gzip.compress(data, _COMPRESSION_LEVELS[encoding], mtime=0)
    import zstandard

    return zstandard.ZstdCompressor(level=_COMPRESSION_LEVELS[encoding]).compress(data)


def _user_agent() -> str:
    from corelib import __version__

    return f"corelib/{__version__}"


# ------------------------------------------------------------------------------------ what went wrong, in our words


def _explained(error: Exception, timeouts: Timeouts) -> tuple[FailureKind, str]:
    """Return kind and words for a foreign exception. Its own text is not used: it may hold an address with secrets."""
    from socket import gaierror

    from requests import exceptions as foreign
    from urllib3 import exceptions as below

    causes = list(_causes(error))
    said = next((one.strerror.lower() for one in causes if isinstance(one, OSError) and one.strerror), "")
    system = f" ({said})" if said else ""
    if isinstance(error, foreign.ProxyError):
        return "proxy", f"the proxy cannot be used{system}"
    if isinstance(error, foreign.SSLError):
        return "tls", f"no trusted connection ({_tls_reason(causes)})"
    if any(isinstance(one, gaierror) for one in causes):
        return "unresolved", "there is no such host, or no way to ask for it"
    if isinstance(error, foreign.ConnectTimeout):
        return "timeout", f"no connection within {timeouts.connect_s:g} s"
    if any(isinstance(one, below.NewConnectionError) for one in causes):
        return "unreachable", f"no connection{system}"
    if any(isinstance(one, (TimeoutError, foreign.Timeout, below.TimeoutError)) for one in causes):
        return "timeout", "no answer in time"
    if isinstance(
        error, (foreign.ConnectionError, foreign.ChunkedEncodingError, foreign.ContentDecodingError)
    ):
        return "dropped", f"the connection was cut{system}"
    if isinstance(error, _AnswerTooLong):
        return "dropped", f"the answer is longer than {_MOST_ANSWER_BYTES >> 20} MiB"
    if isinstance(error, OSError) and not isinstance(error, foreign.RequestException):
        # The file of certificates is looked for when a connection is made, and only there.
        return "tls", "the certificates of REQUESTS_CA_BUNDLE or SSL_CERT_FILE cannot be read"
    return "unusable", f"the request cannot be sent ({type(error).__name__})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what is behind it; libraries put that into arguments as well as into the chain."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _tls_reason(causes: list[BaseException]) -> str:
    for one in causes:
        told = getattr(one, "verify_message", None) or getattr(one, "reason", None)
        if isinstance(told, str):
            return told.replace("_", " ").lower()
    return "no reason given"
