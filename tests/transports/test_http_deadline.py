"""No exchange takes longer than it may, and nothing is left of one that was given up."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers.small_server import CERTIFICATE, small_server
from transports import http_deadline
from transports.http_deadline import Watch, within
from transports.http_session import HttpSession, Timeouts
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult, LocalFile
from transports.wandb_graphql import viewer_request

KEY = "k" * 40
SHORT = Timeouts(connect_s=5.0, read_s=0.4)
SLOW_HEAD = b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 10_000
SLOW_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"x" * 10_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def exchanges() -> list[threading.Thread]:
    """Return the threads of the exchanges that are under way."""
    return [thread for thread in threading.enumerate() if thread.name == "corelib-http"]


def ends_soon() -> bool:
    """Return whether exchanges that were given up end by themselves, long before their servers do."""
    deadline = time.monotonic() + 3
    while exchanges() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not exchanges()


def timed(http: HttpSession, request: HttpRequest) -> tuple[HttpResult, float]:
    began = time.monotonic()
    return http.send(request), time.monotonic() - began


@contextmanager
def deaf_server() -> Iterator[int]:
    """Run a server that takes connections and never reads from them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("answer", [SLOW_HEAD, SLOW_BODY], ids=["headers", "body"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_an_answer_in_drops_has_an_end(answer: bytes, tls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte after the other holds nobody up, be it of the headers or of the body, and the connection is cut."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with small_server(answer, chunk=1, pause=0.05, tls=tls) as server:
        http = HttpSession(f"{'https' if tls else 'http'}://localhost:{server.port}", KEY, timeouts=SHORT)
        result, seconds = timed(http, viewer_request())
        assert ends_soon()

    assert result == HttpFailure("timeout", f"Viewer at localhost:{server.port}: no answer in 0.4 s")
    assert seconds < 2


def test_a_session_that_was_given_is_bounded_as_well() -> None:
    """Whoever brings a session of his own does not wait longer."""
    with small_server(SLOW_HEAD, chunk=1, pause=0.05) as server:
        http = HttpSession(f"http://127.0.0.1:{server.port}", KEY, timeouts=SHORT, session=requests.Session())
        result, seconds = timed(http, viewer_request())

    assert isinstance(result, HttpFailure)
    assert (result.kind, seconds < 2) == ("timeout", True)
    assert ends_soon()  # the server is gone


def test_a_push_that_is_not_read_has_an_end() -> None:
    """A server that takes the connection and not the body is not waited for."""
    push = HttpRequest(method="POST", target="/files", operation="file_stream", body=b"x" * 30_000_000)
    with deaf_server() as port:
        result, seconds = timed(HttpSession(f"http://127.0.0.1:{port}", KEY, timeouts=SHORT), push)
        assert ends_soon()

    assert isinstance(result, HttpFailure)
    assert (result.kind, seconds < 2) == ("timeout", True)


def test_what_was_given_up_is_not_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is found when nobody waits any more: the request, which has been repeated meanwhile, stays here."""
    found = threading.Event()
    look_up = socket.getaddrinfo

    def hang(_host: object, port: Any, *others: Any, **options: Any) -> Any:
        found.wait(30)
        return look_up("127.0.0.1", port, *others, **options)

    with small_server(OK) as server:
        http = HttpSession(f"http://slow.invalid:{server.port}", KEY, timeouts=SHORT)
        monkeypatch.setattr(socket, "getaddrinfo", hang)
        result, _ = timed(http, viewer_request())
        found.set()
        assert ends_soon()
        heard = list(server.heard)

    assert isinstance(result, HttpFailure)
    assert heard in ([], [b""])


def test_an_upload_takes_as_long_as_its_bytes_flow(tmp_path: Path) -> None:
    """A large file on a slow line is no failure, however long it takes; a body that is not taken is one."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 30_000_000)
    received = 0

    def read_slowly(listening: socket.socket) -> None:
        nonlocal received
        connection, _ = listening.accept()
        with connection:
            while received < 30_000_000:
                received += len(connection.recv(60_000))
                time.sleep(0.002)
            connection.sendall(OK)

    with socket.socket() as listening:
        # Small, so that bytes flow as they are read.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threading.Thread(target=read_slowly, args=(listening,), daemon=True).start()
        http = HttpSession("http://127.0.0.1:1", KEY, timeouts=Timeouts(connect_s=5.0, read_s=0.7))
        put = HttpRequest(
            method="PUT",
            target=f"http://127.0.0.1:{listening.getsockname()[1]}/x",
            operation="upload of x",
            body=LocalFile(str(path), 30_000_000),
        )
        result, seconds = timed(http, put)

    assert isinstance(result, HttpAnswer), result
    assert seconds > 0.9


def test_an_upload_that_stands_still_has_an_end(tmp_path: Path) -> None:
    """No byte is taken for too long, or the answer drips: that is told, with the time without progress."""
    path = tmp_path / "large"
    path.write_bytes(b"x" * 30_000_000)
    http = HttpSession("http://127.0.0.1:1", KEY, timeouts=SHORT)

    def put(port: int, body: bytes | LocalFile) -> HttpRequest:
        return HttpRequest(
            method="PUT", target=f"http://127.0.0.1:{port}/x", operation="upload of x", body=body
        )

    with deaf_server() as port:
        stuck, _ = timed(http, put(port, LocalFile(str(path), 30_000_000)))
    with small_server(SLOW_HEAD, chunk=1, pause=0.05) as server:
        drips, seconds = timed(http, put(server.port, b"small"))
        assert ends_soon()

    assert isinstance(stuck, HttpFailure)
    assert stuck.kind == "timeout"
    assert drips == HttpFailure("timeout", f"upload of x at 127.0.0.1:{server.port}: no progress in 0.4 s")
    assert seconds < 2


def test_an_exchange_that_breaks_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for the answer of a thread that has died."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def perform(_: Watch) -> str:
        raise SystemExit

    began = time.monotonic()
    assert within(30.0, perform) is None
    assert time.monotonic() - began < 5


def test_a_socket_that_is_gone_already_is_no_matter() -> None:
    """Cutting what has been closed meanwhile does nothing."""
    watch = Watch()
    with socket.socket() as closed:
        watch.uses(closed)
    watch.give_up()

    with pytest.raises(TimeoutError):
        watch.uses(closed)


def test_proxies_of_every_kind_have_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of an HTTP proxy can be cut as well; those of a SOCKS proxy are left to its own library."""
    adapter: Any = http_deadline.new_session().get_adapter("http://x")
    pools = adapter.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme
    assert pools == adapter.poolmanager.pool_classes_by_scheme
    own: dict[str, Any] = {"http": object()}

    class Manager:
        pool_classes_by_scheme = own

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", lambda *_, **__: Manager())
    assert adapter.proxy_manager_for("socks5://127.0.0.1:1").pool_classes_by_scheme is own
