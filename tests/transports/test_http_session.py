"""Values go out and come back; nothing that a network does raises, and the key goes to its server alone."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from corelib.errors import UsageError
from tests.servers.black_hole import black_hole
from tests.servers.faults import answer, delay, drop_after, drop_before, errors, redirect, truncated
from tests.servers.fixtures import wandb_server
from tests.servers.small_server import CERTIFICATE, small_server
from tests.servers.wandb_server import KEY, WandbServer
from transports import http_session
from transports.http_deadline import Watch
from transports.http_failures import Limits, explained
from transports.http_session import HttpSession, Timeouts, checked_base_url
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult, LocalFile, Verdict
from transports.wandb_graphql import (
    Reader,
    RunName,
    create_files_request,
    upsert_request,
    viewer_request,
)

__all__ = ["wandb_server"]

QUICK = Timeouts(connect_s=0.3, read_s=0.3)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies and certificates of whoever starts the tests."""
    for name in (
        "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
        "SSL_CERT_FILE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def http(wandb_server: WandbServer) -> Iterator[HttpSession]:
    session = HttpSession(wandb_server.url, wandb_server.key)
    yield session
    session.close()


def ask(url: str, timeouts: Timeouts = QUICK, **options: Any) -> HttpResult:
    session = HttpSession(url, KEY, timeouts=timeouts, **options)
    try:
        return session.send(viewer_request())
    finally:
        session.close()


def failed(result: HttpResult) -> HttpFailure:
    assert isinstance(result, HttpFailure), result
    assert KEY not in result.reason
    return result


def wait_for_quiet() -> None:
    """Wait until no exchange of an earlier question is under way any more."""
    for thread in threading.enumerate():
        if thread.name == "corelib-http":
            thread.join(30)


def put(url: str, body: bytes | LocalFile, **headers: str) -> HttpRequest:
    return HttpRequest(method="PUT", target=url, operation="upload of x", headers=headers, body=body)


def slot(server: WandbServer, http: HttpSession) -> tuple[str, dict[str, str]]:
    """Return an address to upload the file x of run r to."""
    upsert = upsert_request({"name": "r", "project": "p"})
    assert isinstance(http.send(upsert), HttpAnswer)
    request = create_files_request(RunName("ent", "p", "r"), ["x"])
    slots = Reader(request, http.send(request), "h", 0.0).slots()
    assert not isinstance(slots, Verdict)
    found = slots["x"]
    assert found.url is not None
    return found.url, dict(found.headers)


# ---------------------------------------------------------------------------------------------------------- exchanges


def test_an_exchange(wandb_server: WandbServer, http: HttpSession) -> None:
    """A request goes out whole with credentials, an answer comes back whole, names of headers in lower case."""
    result = http.send(viewer_request())

    assert isinstance(result, HttpAnswer)
    assert result.status == 200
    assert json.loads(result.body)["data"]["viewer"]["username"] == "bob"
    assert result.headers["content-type"] == "application/json"
    (logged,) = wandb_server.requests()
    assert logged.key == "correct"
    assert logged.headers["user-agent"].startswith("corelib/")
    assert logged.headers["content-type"] == "application/json"


def test_a_prefix_of_the_base_url_is_kept() -> None:
    """A server may live below a path."""
    with small_server(OK) as server:
        ask(f"http://127.0.0.1:{server.port}/pre/fix")

    assert server.heard[0].startswith(b"POST /pre/fix/graphql HTTP/1.1\r\n")


def test_connections_are_kept(wandb_server: WandbServer, http: HttpSession) -> None:
    """Several requests go over one connection."""
    for _ in range(5):
        http.send(viewer_request())

    assert len({logged.connection for logged in wandb_server.requests()}) == 1


def test_a_closed_connection_is_opened_again(wandb_server: WandbServer, http: HttpSession) -> None:
    """A session that was closed, and a connection that was cut while idle, are no end."""
    http.send(viewer_request())
    http.close()
    assert isinstance(http.send(viewer_request()), HttpAnswer)
    wandb_server.drop_connections()
    time.sleep(0.05)
    assert isinstance(http.send(viewer_request()), HttpAnswer)


def test_statuses_are_answers(wandb_server: WandbServer, http: HttpSession) -> None:
    """An answer that says no is an answer, with its headers and its words."""
    wandb_server.faults.add(answer(503, retry_after=7), times=1)
    result = http.send(viewer_request())

    assert isinstance(result, HttpAnswer)
    assert (result.status, result.headers["retry-after"]) == (503, "7")


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bodies_are_compressed_where_that_is_asked_for(wandb_server: WandbServer, encoding: Any) -> None:
    """The server understands them, and the same body gives the same bytes."""
    wandb_server.announce("FILESTREAM_GZIP")
    wandb_server.announce("FILESTREAM_ZSTD")
    http = HttpSession(wandb_server.url, wandb_server.key)
    http.send(upsert_request({"name": "r", "project": "p"}))
    body = json.dumps({"files": {"output.log": {"offset": 0, "content": ["x" * 5000]}}}).encode()
    request = HttpRequest(
        method="POST",
        target="/files/ent/p/r/file_stream",
        operation="file_stream",
        headers={"Content-Type": "application/json"},
        body=body,
        encoding=encoding,
    )
    first, second = http.send(request), http.send(request)

    assert [first.status, second.status] == [200, 200]  # type: ignore[union-attr]
    assert wandb_server.run("r").console == ["x" * 5000]
    one, other = (logged for logged in wandb_server.requests("file_stream"))
    assert one.wire_bytes == other.wire_bytes < 500
    assert len({push.digest for push in wandb_server.run("r").pushes}) == 1


@pytest.mark.parametrize("refusal", [answer(401), answer(403), errors("user is not logged in")])
def test_a_refused_key_gives_way_to_a_fresh_one(wandb_server: WandbServer, refusal: Any) -> None:
    """The same request goes out again with the key that people have put in its place, and so do all that follow."""
    fresh = "f" * 40
    wandb_server.set_keys(fresh)
    http = HttpSession(wandb_server.url, KEY, fresh_key=lambda: fresh)
    wandb_server.faults.add(refusal, times=1)
    results = [http.send(viewer_request()), http.send(viewer_request())]
    http.close()

    assert [result.status for result in results if isinstance(result, HttpAnswer)] == [200, 200]
    assert [logged.key for logged in wandb_server.requests("graphql")] == ["revoked", "correct", "correct"]


@pytest.mark.parametrize("fresh", [None, KEY])
def test_a_refusal_stands_where_there_is_no_fresh_key(wandb_server: WandbServer, fresh: str | None) -> None:
    """The key in use is not tried once more, and what is no matter of keys is not asked about."""
    asked: list[str] = []

    def ask_people() -> str | None:
        asked.append("once")
        return fresh

    http = HttpSession(wandb_server.url, KEY, fresh_key=ask_people)
    wandb_server.faults.add(answer(401), times=1)
    refused, taken = http.send(viewer_request()), http.send(viewer_request())
    http.close()

    assert isinstance(refused, HttpAnswer)
    assert isinstance(taken, HttpAnswer)
    assert (refused.status, taken.status, asked) == (401, 200, ["once"])


def test_further_headers_go_to_the_server_alone(wandb_server: WandbServer) -> None:
    """A header of a gateway may be a secret as well."""
    http = HttpSession(
        wandb_server.url, wandb_server.key, headers={"X-Gateway": "secret", "User-Agent": "mine"}
    )
    url, headers = slot(wandb_server, http)
    http.send(put(url, b"1", **headers))

    upload = wandb_server.requests("upload")[0]
    assert "x-gateway" not in upload.headers
    assert {logged.headers["x-gateway"] for logged in wandb_server.requests("graphql")} == {"secret"}
    assert {logged.headers["user-agent"] for logged in wandb_server.requests("graphql")} == {"mine"}


# ------------------------------------------------------------------------------------------------------------- uploads


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_files_are_sent_as_they_are(
    wandb_server: WandbServer, http: HttpSession, tmp_path: Path, size: int
) -> None:
    """Every byte arrives, with its length, nothing else of ours, and an empty file is a file."""
    url, headers = slot(wandb_server, http)
    path = tmp_path / "x"
    path.write_bytes(b"\x00\xff" * (size // 2) + b"x" * (size % 2))
    result = http.send(put(url, LocalFile(str(path), size), **headers))

    assert isinstance(result, HttpAnswer)
    assert result.status == 200
    assert wandb_server.run("r").files["x"] == path.read_bytes()
    upload = wandb_server.requests("upload")[0]
    assert upload.key == "absent"
    assert upload.headers["content-length"] == str(size)
    assert "content-type" not in upload.headers


def test_a_file_that_grows_is_sent_as_long_as_it_was(
    wandb_server: WandbServer, http: HttpSession, tmp_path: Path
) -> None:
    """What is written meanwhile belongs to the next version."""
    url, headers = slot(wandb_server, http)
    path = tmp_path / "x"
    path.write_bytes(b"x" * 50_000)
    http.send(put(url, LocalFile(str(path), 30_000), **headers))

    assert len(wandb_server.run("r").files["x"]) == 30_000


def test_a_file_that_cannot_be_read(wandb_server: WandbServer, http: HttpSession, tmp_path: Path) -> None:
    """A missing file, and one that became shorter, are failures that say so; a directory is no file."""
    url, headers = slot(wandb_server, http)
    missing = failed(http.send(put(url, LocalFile(str(tmp_path / "no"), 5), **headers)))
    short = tmp_path / "short"
    short.write_bytes(b"x" * 100)
    shrunk = failed(http.send(put(url, LocalFile(str(short), 100_000), **headers)))

    assert (missing.kind, shrunk.kind) == ("unusable", "unusable")
    assert "No such file" in missing.reason
    assert "became shorter" in shrunk.reason
    assert failed(http.send(put(url, LocalFile(str(tmp_path), 5), **headers))).kind == "unusable"
    assert isinstance(http.send(viewer_request()), HttpAnswer)
    wandb_server.allow("malformed-http")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens and cannot be read")
def test_a_file_that_breaks_off(http: HttpSession) -> None:
    """An error of our own disk is no error of the network."""
    with small_server(OK) as server:
        request = put(f"http://127.0.0.1:{server.port}/x", LocalFile("/proc/self/mem", 10))
        failure = failed(http.send(request))

    assert failure.kind == "unusable"
    assert "the file cannot be read" in failure.reason


def test_a_file_body_is_its_bytes(tmp_path: Path) -> None:
    """Whoever sends it may ask for its length, read it, or go through it."""
    path = tmp_path / "x"
    path.write_bytes(b"abcdef")
    body = http_session._FileBody(LocalFile(str(path), 5), Watch())

    assert len(body) == 5
    assert body.read(2) + b"".join(body) == b"abcde"
    assert body.read() == b""
    body.close()


# ----------------------------------------------------------------------------------------------------------- the secret


def test_credentials_go_to_the_server_and_nowhere_else(
    wandb_server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the key, nor what the session knows, nor a netrc entry, nor a cookie goes to where files go."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1\nlogin somebody\npassword something\n")
    monkeypatch.setenv("NETRC", str(netrc))
    session = requests.Session()
    session.auth = ("user", "password")
    session.headers["Authorization"] = "Bearer token"
    session.cookies.set("session", "secret")
    http = HttpSession(wandb_server.url, wandb_server.key, session=session)
    url, headers = slot(wandb_server, http)
    result = http.send(put(url, b"1", **headers))

    assert isinstance(result, HttpAnswer)
    assert result.status == 200
    assert {logged.key for logged in wandb_server.requests("graphql")} == {"correct"}
    assert wandb_server.requests("upload")[0].key == "absent"


def test_headers_that_the_server_asks_for_may_be_credentials() -> None:
    """What the server wants with an upload goes along, whatever it is."""
    with small_server(OK) as server:
        http = HttpSession("http://127.0.0.1:1", KEY)
        http.send(put(f"http://127.0.0.1:{server.port}/x", b"1", Authorization="Bearer of-the-store"))

    assert b"Authorization: Bearer of-the-store" in server.heard[0]


def test_without_a_key_nothing_is_sent_in_its_place(
    wandb_server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request without credentials stays one, also where a netrc file has some."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1\nlogin user\npassword {KEY}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    wandb_server.allow("no-authorization")
    result = HttpSession(wandb_server.url, None).send(viewer_request())

    assert isinstance(result, HttpAnswer)
    assert result.status == 401
    assert wandb_server.requests()[0].key == "absent"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(wandb_server: WandbServer, http: HttpSession, status: int) -> None:
    """The answer comes back as it is, and nobody else hears of the request."""
    wandb_server.faults.add(redirect(f"{wandb_server.uploads_url}/elsewhere", status=status), times=1)
    result = http.send(viewer_request())

    assert isinstance(result, HttpAnswer)
    assert result.status == status
    assert len(wandb_server.requests()) == 1


def test_a_key_that_a_server_repeats_is_blotted_out() -> None:
    """Whatever a server puts into its answer, the key does not come back to us."""
    body = f'{{"error":"{KEY} is wrong"}}'.encode()
    head = f"HTTP/1.1 400 No\r\nX-Echo: {KEY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with small_server(head + body) as server:
        result = ask(f"http://127.0.0.1:{server.port}")

    assert isinstance(result, HttpAnswer)
    assert KEY not in repr(result) + repr(result.headers) + repr(result.body)
    assert b"*** is wrong" in result.body


def test_the_key_is_not_shown(
    wandb_server: WandbServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No representation, no log at any level, and no local variable of any traceback holds it."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []
    http = HttpSession(wandb_server.url, KEY)
    http.send(viewer_request())

    def broken(self: Any, prepared: Any, **options: Any) -> Any:
        shown.extend(repr(vars(self)) for self in (http, prepared) if self is http)
        shown.append(repr(prepared))
        raise RuntimeError(f"a bug at {prepared.url}")

    monkeypatch.setattr(requests.Session, "send", broken)
    result = failed(http.send(viewer_request()))
    try:
        http._exchange(viewer_request(), None, Limits(1.0, 1.0))
    except RuntimeError as error:
        captured = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown += captured.format()

    assert result.kind == "unforeseen"
    assert result.reason.endswith("the request cannot be sent (RuntimeError)")
    everything = "\n".join([*shown, caplog.text, repr(http), repr(vars(http)), result.reason])
    assert KEY not in everything
    assert "YXBpO" not in everything  # the beginning of base64("api:…")


# ---------------------------------------------------------------------------------------------------- what goes wrong


def test_nobody_listens() -> None:
    """A refused connection names operation and host."""
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    failure = failed(ask(f"http://127.0.0.1:{port}"))

    assert failure == HttpFailure(
        "unreachable", f"Viewer at 127.0.0.1:{port}: no connection (connection refused)"
    )


def test_nobody_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that cannot be looked up is told apart from a server that is down."""

    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    assert failed(ask("http://nowhere.invalid")) == HttpFailure(
        "unresolved", "Viewer at nowhere.invalid: there is no such host, or no way to ask for it"
    )


def test_a_connection_that_hangs() -> None:
    """There is an end to waiting for a connection."""
    with black_hole(accept=False) as url:
        failure = failed(ask(url, Timeouts(connect_s=0.3, read_s=30.0)))

    assert failure.kind == "timeout"
    assert failure.reason.endswith("no connection within 0.3 s")


def test_an_answer_that_never_comes() -> None:
    """There is an end to waiting for an answer."""
    with black_hole() as url:
        failure = failed(ask(url))

    assert failure.kind == "timeout"
    assert failure.reason.endswith("no answer in 0.3 s")


@pytest.mark.parametrize(
    "fault",
    [drop_before(), drop_after(), truncated(10)],
    ids=["before", "after", "in the middle"],
)
def test_a_connection_that_is_cut(wandb_server: WandbServer, http: HttpSession, fault: Any) -> None:
    """Half an answer is none, and whether the request was carried out nobody knows."""
    wandb_server.faults.add(fault, endpoint="graphql", times=1)
    failure = failed(http.send(viewer_request()))

    assert failure.kind == "dropped"
    assert "the connection was cut" in failure.reason
    assert isinstance(http.send(viewer_request()), HttpAnswer)


def test_a_server_that_does_not_read(tmp_path: Path) -> None:
    """A body that nobody takes is not waited with for ever."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 30_000_000)
    with black_hole() as url:
        http = HttpSession(url, KEY, timeouts=QUICK)
        failure = failed(http.send(put(f"{url}/x", LocalFile(str(path), 30_000_000))))

    assert failure.kind == "timeout"


def test_no_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that nobody vouches for ends the exchange before anything is sent; with one that does, it works."""
    with small_server(OK, tls=True) as server:
        url = f"https://localhost:{server.port}"
        failure = failed(ask(url))
        assert failure.kind == "tls"
        assert "no trusted connection" in failure.reason
        assert server.heard == []
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(CERTIFICATE))
            assert isinstance(ask(url), HttpAnswer)
            monkeypatch.delenv(name)
        session = requests.Session()
        session.verify = str(CERTIFICATE)
        assert isinstance(ask(url, session=session), HttpAnswer)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
        assert isinstance(ask(url, session=session), HttpAnswer)
        session.trust_env, session.verify = False, True
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        assert failed(ask(url, session=session)).kind == "tls"


def test_trust_that_is_refused_without_a_word() -> None:
    """Where a library does not say why, that is said."""
    assert explained(requests.exceptions.SSLError(), Limits(1.0, 1.0)) == (
        "tls",
        "no trusted connection (no reason given)",
    )


def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that names no file is told by its name."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with small_server(OK, tls=True) as server:
        failure = failed(ask(f"https://localhost:{server.port}"))

    assert failure.kind == "tls"
    assert "REQUESTS_CA_BUNDLE" in failure.reason


def test_tls_to_a_server_without() -> None:
    """An https address of a plain server is a failure of trust."""
    with small_server(OK) as server:
        assert failed(ask(f"https://localhost:{server.port}")).kind == "tls"


def test_proxies_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests go by the proxy that the environment names, and past it where that says so."""
    with small_server(OK) as proxy, small_server(OK) as server:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        assert isinstance(ask("http://api.example.com"), HttpAnswer)
        assert proxy.heard[0].startswith(b"POST http://api.example.com/graphql HTTP/1.1\r\n")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert isinstance(ask(f"http://127.0.0.1:{server.port}"), HttpAnswer)

    assert len(proxy.heard) == len(server.heard) == 1


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is to blame, and its password is not shown."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    failure = failed(ask("https://api.example.com"))

    assert failure.kind == "proxy"
    assert "hunter2" not in failure.reason


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("https://", {}),
        ("ftp://x/y", {}),
        ("no url at all", {}),
        ("http://127.0.0.1:99999/x", {}),
        ("http://[::1", {}),
        ("http://127.0.0.1:1/x", {"X-Bad": "a\r\nb"}),
    ],
)
def test_what_cannot_be_sent_at_all(target: str, headers: dict[str, str]) -> None:
    """An address or a header that is none is not tried again."""
    failure = failed(HttpSession("http://127.0.0.1:1", KEY).send(put(target, b"1", **headers)))

    assert failure.kind == "unusable"
    assert failure.reason.startswith("upload of x at ")


def test_an_answer_without_end() -> None:
    """What is longer than any answer is not kept in memory."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with small_server(head + b"x" * (65 << 20)) as server:
        failure = failed(ask(f"http://127.0.0.1:{server.port}", Timeouts()))

    assert failure.kind == "dropped"
    assert "longer than 64 MiB" in failure.reason


def test_what_is_no_http_is_no_answer() -> None:
    """Some other service that listens there has not answered."""
    with small_server(b"220 mail.example.com ESMTP\r\n") as server:
        assert failed(ask(f"http://127.0.0.1:{server.port}")).kind == "dropped"


# --------------------------------------------------------------------------------------------------- somebody waits


def test_asking_is_bounded_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system's look-up of a name hangs, which no time limit of a socket reaches."""
    hanging = threading.Event()

    def hang(*_: object, **__: object) -> Any:
        hanging.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    failure = failed(HttpSession("http://slow.invalid", KEY).ask(viewer_request(), 0.2))
    hanging.set()
    wait_for_quiet()

    assert time.monotonic() - began < 5
    assert failure == HttpFailure("timeout", "Viewer at slow.invalid: no answer in 0.2 s")


def test_an_answer_in_drops_is_not_waited_for() -> None:
    """A server that sends its answer byte by byte keeps to the time of whoever waits."""
    slow = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000
    with small_server(slow, chunk=1, pause=0.05) as server:
        began = time.monotonic()
        failure = failed(HttpSession(f"http://127.0.0.1:{server.port}", KEY).ask(viewer_request(), 0.3))
        assert time.monotonic() - began < 5
    assert failure.kind == "timeout"
    wait_for_quiet()


def test_asking_returns_the_answer(wandb_server: WandbServer, http: HttpSession) -> None:
    """Who waits gets what came."""
    wandb_server.faults.add(delay(before=0.05))

    assert isinstance(http.ask(viewer_request(), 10.0), HttpAnswer)


def test_asking_without_time_is_not_begun(wandb_server: WandbServer, http: HttpSession) -> None:
    """Where no time is left nothing is sent."""
    assert failed(http.ask(viewer_request(), 0.0)).kind == "timeout"
    assert wandb_server.requests() == []


def test_asking_where_no_thread_can_be_had(
    wandb_server: WandbServer, http: HttpSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is asked all the same, on the caller's thread."""
    start = threading.Thread.start

    def ours_cannot(thread: threading.Thread) -> None:
        if thread.name == "corelib-http":
            raise RuntimeError("can't start new thread")
        start(thread)  # the server needs its own

    monkeypatch.setattr(threading.Thread, "start", ours_cannot)

    assert isinstance(http.ask(viewer_request(), 10.0), HttpAnswer)


# ---------------------------------------------------------------------------------------------------------- base URLs


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://api.example.com", "https://api.example.com"),
        (" https://api.example.com// ", "https://api.example.com"),
        ("HTTP://Host:8080/Pre/Fix/", "http://host:8080/Pre/Fix"),
    ],
)
def test_base_urls(url: str, checked: str) -> None:
    """A slash at the end goes, a path stays, and a host is written small."""
    assert checked_base_url(url) == checked


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.example.com",
        "ftp://x",
        "https://",
        "https:///x",
        "https://user:hunter2@host",
        "https://host?key=hunter2",
        "https://host/#hunter2",
    ],
)
def test_what_is_no_base_url(url: str) -> None:
    """A text that is no address, or holds what may be secret, is refused without being shown."""
    with pytest.raises(UsageError, match="base_url must be an address") as caught:
        checked_base_url(url)
    assert "hunter2" not in str(caught.value)
