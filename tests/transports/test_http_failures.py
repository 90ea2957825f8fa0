"""What went wrong is told in our words, with what can be done, and without a secret."""

from __future__ import annotations

import pytest

from tests.servers.small_server import CERTIFICATE, small_server
from transports import http_session
from transports.http_failures import proxy_of, seconds_text
from transports.http_session import HttpSession, Timeouts
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult, judge

KEY = "k" * 40
PUSH = HttpRequest(method="POST", target="/files", operation="file_stream", body=b"{}" * 600, encoding="gzip")


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the proxies of whoever starts the tests."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def sent(url: str, request: HttpRequest = PUSH) -> HttpResult:
    http = HttpSession(url, KEY, timeouts=Timeouts(connect_s=2.0, read_s=2.0))
    try:
        return http.send(request)
    finally:
        http.close()


# -------------------------------------------------------------------------------------------------------------- proxies


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        ("socks5://127.0.0.1:1080", "requests[socks]"),
        ("socks5h://user:hunter2@127.0.0.1:1080", "requests[socks]"),
        ("foo://user:hunter2@127.0.0.1:1", "correct the variable"),
        ("http://", "correct the variable"),
        ("http://[::1", "correct the variable"),
        ("http://user:hunter2@127.0.0.1:99999", "correct the variable"),
        ("127.0.0.1:1", "connection refused"),
        ("http://user:hunter2@127.0.0.1:1", "connection refused"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used(
    proxy: str, words: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is not refused for it: somebody can mend it. The variable is named, its password is not."""
    monkeypatch.setenv(variable, proxy)
    result = sent("http://api.example.com")

    assert isinstance(result, HttpFailure)
    assert result.kind == "proxy"
    assert f"the proxy of {variable} (" in result.reason
    assert words in result.reason
    assert "hunter2" not in result.reason
    assert judge(PUSH, result, "h", 0.0).meaning == "slowly"


def test_an_address_that_is_none_is_not_the_proxys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be understood before a proxy was asked stays what it is."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    result = sent("http://api.example.com:99999")

    assert isinstance(result, HttpFailure)
    assert result.kind == "unusable"


def test_what_a_proxy_is_called() -> None:
    """It is called after the variable that names it; one of a session has none."""
    proxies = {"http": "http://u:p@one:1", "all": "two"}

    assert proxy_of("http://x/y", proxies, {"http_proxy": "http://u:p@one:1"}) == (
        "the proxy of http_proxy (http://one:1)"
    )
    assert proxy_of("https://x/y", proxies, {"ALL_PROXY": "two"}) == "the proxy of ALL_PROXY (http://two)"
    assert proxy_of("http://x/y", proxies, {}) == "the proxy of this session (http://one:1)"
    assert proxy_of("http://x/y", {}, {}) is None


# -------------------------------------------------------------------------------------------------- what nobody foresaw


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a bug"), ValueError("another")])
def test_what_nobody_has_foreseen_is_tried_again(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory while a body is compressed, or a bug somewhere: records are not lost for it at once."""

    def broken(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(http_session, "_compressed", broken)
    result = sent("http://127.0.0.1:1")

    assert result == HttpFailure(
        "unforeseen", f"file_stream at 127.0.0.1:1: the request cannot be sent ({type(error).__name__})"
    )
    assert judge(PUSH, result, "h", 0.0).meaning == "doubtful"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.192_07, "0.19 s"),
        (0.3, "0.3 s"),
        (5.0, "5 s"),
        (9.96, "10 s"),
        (20.0, "20 s"),
        (123.456, "123.5 s"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """What was set is told as it was set; what is left of it, with two digits."""
    assert seconds_text(seconds) == text


# ------------------------------------------------------------------------------------------------------------ redirects


def put(url: str) -> HttpRequest:
    headers = {"Authorization": "Bearer of-the-store", "X-Store": "1"}
    return HttpRequest(method="PUT", target=url, operation="upload of x", headers=headers, body=b"bytes")


def moved(location: str, status: int = 307) -> bytes:
    return f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("status", [307, 308])
def test_an_upload_goes_where_the_store_sends_it(status: int) -> None:
    """Object stores send the bytes on; the headers go along, but nothing that may be a credential."""
    with (
        small_server(DONE) as there,
        small_server(moved(f"http://127.0.0.1:{there.port}/y?s=1", status)) as here,
    ):
        result = sent("http://127.0.0.1:1", put(f"http://127.0.0.1:{here.port}/x"))

    assert isinstance(result, HttpAnswer)
    assert result.status == 200
    assert there.heard[0].startswith(b"PUT /y?s=1 HTTP/1.1\r\n")
    assert there.heard[0].endswith(b"\r\n\r\nbytes")
    assert b"X-Store: 1" in there.heard[0]
    assert b"Authorization: Bearer of-the-store" in here.heard[0]
    assert b"uthorization" not in there.heard[0]


def test_an_upload_is_not_sent_round_in_circles() -> None:
    """After a few hops, also to paths of the same host, the redirect is the answer."""
    with small_server(moved("/again")) as store:
        result = sent("http://127.0.0.1:1", put(f"http://127.0.0.1:{store.port}/x"))

    assert isinstance(result, HttpAnswer)
    assert result.status == 307
    assert len(store.heard) == 4
    assert b"Authorization: Bearer of-the-store" in store.heard[3]
    assert judge(put("http://h/x"), result, "api", 0.0).reason.startswith(
        "upload of x at h: HTTP 307 (redirected to another path in a way that an upload does not follow"
    )


def test_what_was_encrypted_is_not_sent_in_the_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """No upload goes from https to http, or to something that is no web address."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(CERTIFICATE))
    with small_server(DONE) as there:
        for location in (f"http://127.0.0.1:{there.port}/y", "ftp://127.0.0.1/y"):
            with small_server(moved(location), tls=True) as here:
                result = sent("http://127.0.0.1:1", put(f"https://localhost:{here.port}/x"))
            assert isinstance(result, HttpAnswer)
            assert result.status == 307

    assert there.heard == []


@pytest.mark.parametrize("status", [301, 302, 303])
def test_other_redirects_of_an_upload_are_not_followed(status: int) -> None:
    """They ask for another request than ours."""
    with small_server(DONE) as there, small_server(moved(f"http://127.0.0.1:{there.port}/y", status)) as here:
        result = sent("http://127.0.0.1:1", put(f"http://127.0.0.1:{here.port}/x"))

    assert isinstance(result, HttpAnswer)
    assert (result.status, there.heard) == (status, [])
