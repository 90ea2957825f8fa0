"""One HTTP exchange over `requests`: a value goes out, a value comes back.

Law: nothing that `requests` raises leaves here: each foreign exception is mapped once, to a failure that names
operation, host and what happened. Credentials go to the base URL and nowhere else; no redirect is followed but that of
an upload, which has none. The key stands in one object, which never shows it, and in one header; where a server
repeats it in an answer, it is blotted out before anybody sees it.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from corelib.errors import UsageError
from transports.http_deadline import Watch, new_session, within
from transports.http_failures import (
    MOST_ANSWER_BYTES,
    AnswerTooLong,
    FileProblem,
    Limits,
    ProxyProblem,
    explained,
    proxy_of,
    seconds_text,
)
from transports.wandb_exchange import (
    HttpAnswer,
    HttpFailure,
    HttpRequest,
    HttpResult,
    LocalFile,
    host_of,
    refuses_key,
)

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

__all__ = ["HttpSession", "Timeouts", "checked_base_url"]

_CHUNK_BYTES: Final = 1 << 16
_COMPRESSION_LEVELS: Final = {"gzip": 5, "zstd": 3}
_BLOT: Final = b"***"
_MOST_HOPS: Final = 3
_SAME_METHOD: Final = (307, 308)  # the redirects that mean: send the same there
_PRIVATE: Final = frozenset({"authorization", "cookie"})


@frozen(kw_only=True)
class Timeouts:
    """How long an exchange may take, in seconds.

    `connect_s` until there is a connection. `read_s` for an exchange with the server as a whole: connection, request
    and answer. An upload takes as long as its bytes flow; for it, `read_s` is the longest time without progress, and
    the time for the answer when all bytes are out.
    """

    connect_s: float = 10.0
    read_s: float = 60.0

    @classmethod
    def of(cls, seconds: float) -> Timeouts:
        """Return what the setting http_timeout means.

        Raises:
            UsageError: no time is left for any request.
        """
        if seconds <= 0:
            raise UsageError(f"http_timeout has to be more than 0 seconds, and is {seconds:g}.")
        return cls(connect_s=min(seconds, 10.0), read_s=seconds)


class _Credentials:
    """Puts the key into requests for the server. Called by `requests` last, when cookies are in their place."""

    __slots__ = ("_header", "_secrets")

    def __init__(self, key: str) -> None:
        self._header = ""
        self._secrets: tuple[bytes, ...] = ()
        self.replace(key)

    def replace(self, key: str) -> bool:
        """Use another key from now on; False: it is the one in use."""
        encoded = b64encode(f"api:{key}".encode())
        header = "Basic " + encoded.decode("ascii")
        if header == self._header:
            return False
        self._secrets = (*self._secrets, key.encode(), encoded)  # an answer to the old one may be on its way
        self._header = header
        return True

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
        from requests.utils import check_header_validity

        for name in ("Authorization", "Cookie"):
            prepared.headers.pop(name, None)
        for header in self._headers.items():
            check_header_validity(header)
        prepared.headers.update(self._headers)
        return prepared


class _FileBody:
    """The first `size` bytes of a file, as a body with a length; a file that has shrunk is a problem.

    `watch` hears of each part that is asked for.
    """

    def __init__(self, source: LocalFile, watch: Watch) -> None:
        self._left = source.size
        self._size = source.size
        self._watch = watch
        try:
            self._file = open(source.path, "rb")  # noqa: SIM115  closed by `close`
        except OSError as error:
            raise FileProblem(error.strerror or str(error)) from None

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(_CHUNK_BYTES), b"")

    def read(self, size: int = -1) -> bytes:
        self._watch.moved_on()
        wanted = self._left if size < 0 else min(size, self._left)
        try:
            data = self._file.read(wanted)
        except OSError as error:
            raise FileProblem(error.strerror or str(error)) from None
        if wanted and not data:
            raise FileProblem("it became shorter while it was sent")
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
        session: a session to use, for tests and for special networks; it is not closed for good. Time limits hold
            for it as for our own, but a connection of its that is too slow is left alone, not cut.
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
        fresh_key: Callable[[], str | None] | None = None,
    ) -> None:
        self._base_url = base_url
        self._fresh_key = fresh_key
        self._credentials = None if key is None else _Credentials(key)
        self._session = session
        self._headers = dict(headers or {})
        self._timeouts = Timeouts() if timeouts is None else timeouts

    def send(self, request: HttpRequest, *, timeout_s: float | None = None) -> HttpResult:
        """Perform one exchange, within the time that `Timeouts` allow, whatever holds it up.

        Args:
            request: what to send.
            timeout_s: no more time than this, in seconds.
        """
        seconds = self._timeouts.read_s if timeout_s is None else min(self._timeouts.read_s, timeout_s)
        place = self._base_url if request.is_authorized else request.target
        what = f"{request.operation} at {host_of(place) or 'no host'}"
        if seconds <= 0:
            return HttpFailure("timeout", f"{what}: no time is left")
        limits = Limits(min(self._timeouts.connect_s, seconds), seconds)

        def perform(watch: Watch) -> HttpResult:
            try:
                return self._followed(request, limits, watch)
            except Exception as error:  # noqa: BLE001  mapped here, once, and never shown as it is
                kind, happened = explained(error, limits)
                return HttpFailure(kind, f"{what}: {happened}")

        waited = "answer" if request.is_authorized else "progress"
        late = HttpFailure("timeout", f"{what}: no {waited} in {seconds_text(seconds)}")
        return within(seconds, perform) or late

    def ask(self, request: HttpRequest, timeout_s: float) -> HttpResult:
        """Perform one exchange for somebody who waits no longer than `timeout_s` seconds."""
        return self.send(request, timeout_s=timeout_s)

    def close(self) -> None:
        """Close connections that are idle; the next exchange opens new ones."""
        if self._session is not None:
            self._session.close()

    def _followed(self, request: HttpRequest, limits: Limits, watch: Watch) -> HttpAnswer:
        """Perform an exchange, and again where there is another key for it, or an upload is to go elsewhere."""
        for _ in range(_MOST_HOPS):
            answer = self._exchanged(request, limits, watch)
            if request.is_authorized and refuses_key(answer) and self._has_fresh_key():
                continue
            elsewhere = None if request.is_authorized else _redirected(request, answer)
            if elsewhere is None:
                return answer
            request = elsewhere
        return self._exchanged(request, limits, watch)

    def _has_fresh_key(self) -> bool:
        """Whether people have put another key in the place of the refused one; it is used from now on."""
        key = None if self._credentials is None or self._fresh_key is None else self._fresh_key()
        return key is not None and self._credentials is not None and self._credentials.replace(key)

    def _exchanged(self, request: HttpRequest, limits: Limits, watch: Watch) -> HttpAnswer:
        body: _FileBody | None = None
        try:
            if isinstance(request.body, LocalFile) and request.body.size:
                body = _FileBody(request.body, watch)
            watch.moved_on()
            return self._exchange(request, body, limits)
        finally:
            if body is not None:
                body.close()

    def _exchange(self, request: HttpRequest, body: _FileBody | None, limits: Limits) -> HttpAnswer:
        from requests import exceptions as foreign

        if self._session is None:
            self._session = new_session()
        session = self._session
        prepared = session.prepare_request(self._unprepared(request, body))
        url = prepared.url or ""
        # What a session was told comes before the environment, which `requests` has the other way round.
        settings = session.merge_environment_settings(url, {}, True, session.verify, None)
        if settings["verify"] is True and session.trust_env:
            settings["verify"] = os.environ.get("SSL_CERT_FILE") or True
        try:
            # `requests` follows no redirect here: it would take our body, and perhaps more, to an address of its own.
            response = session.send(prepared, timeout=limits, allow_redirects=False, **settings)
        except (foreign.ProxyError, foreign.InvalidURL, foreign.InvalidSchema) as error:
            # Our own address was understood when the request was prepared.
            proxy = proxy_of(url, settings["proxies"])
            if proxy is None:
                raise
            raise ProxyProblem(proxy) from error
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
            if size > MOST_ANSWER_BYTES:
                raise AnswerTooLong
        content = b"".join(parts)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if self._credentials is not None:
            content = self._credentials.blotted(content)
            headers = {
                name: self._credentials.blotted(value.encode("latin-1", "replace")).decode("latin-1")
                for name, value in headers.items()
            }
        return HttpAnswer(response.status_code, headers, content)


def _redirected(request: HttpRequest, answer: HttpAnswer) -> HttpRequest | None:
    """Return the upload that an answer to one asks for; None: none, or one that we do not do.

    What is encrypted stays so, and another host does not get what may be credentials for this one.
    """
    from urllib.parse import urljoin, urlsplit

    location = answer.headers.get("location")
    if answer.status not in _SAME_METHOD or not location:
        return None
    target = urljoin(request.target, location)
    before, after = urlsplit(request.target), urlsplit(target)
    if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
        return None
    headers = request.headers
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        headers = {name: value for name, value in headers.items() if name.lower() not in _PRIVATE}
    return evolve(request, target=target, headers=headers)


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
