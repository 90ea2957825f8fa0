"""What a server says about keys, over real sockets."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from corelib.shell.accounts import AnonymousAnswer, KeyAnswer, anonymous_key, verify_key
from tests.servers.faults import answer as fault
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import WandbServer, serve

__all__ = ["wandb_server"]

TIMEOUT_S = 20.0


def test_a_key_that_is_accepted(wandb_server: WandbServer) -> None:
    """The answer says whose key it is, and it takes one request."""
    assert verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S) == KeyAnswer("accepted", "bob")
    assert [request.operation for request in wandb_server.requests()] == ["Viewer"]


def test_a_key_that_is_rejected(wandb_server: WandbServer) -> None:
    """401 is a rejection, with the operation and the host; so is an account that is nobody's."""
    wandb_server.allow("wrong-key")
    answer = verify_key(wandb_server.url, "x" * 40, TIMEOUT_S)
    assert answer.verdict == "rejected"
    assert "401" in answer.reason
    assert "xxx" not in answer.reason

    with wandb_server.changing() as world:
        world.viewer = None
    assert verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S).verdict == "rejected"


def test_a_viewer_without_a_name(wandb_server: WandbServer) -> None:
    """A server that does not say who it is has accepted the key all the same."""
    with wandb_server.changing() as world:
        world.viewer = {**(world.viewer or {}), "username": None, "entity": None}

    assert verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S) == KeyAnswer("accepted")


def test_nobody_answers() -> None:
    """A server that cannot be reached has rejected nothing."""
    with closing(socket.socket()) as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        answer = verify_key(url, "x" * 40, TIMEOUT_S)
        asked = anonymous_key(url, TIMEOUT_S)

    assert (answer.verdict, answer.answered) == ("unreachable", False)
    assert answer.reason.endswith(".")
    assert (asked.key, asked.grant) == (None, "unanswered")
    assert "127.0.0.1" in asked.reason


@pytest.mark.parametrize("status", [302, 403, 404, 500])
def test_an_answer_that_says_nothing_about_the_key(wandb_server: WandbServer, status: int) -> None:
    """Any other answer leaves open whose key it is, and is an answer: it is not taken for silence."""
    wandb_server.faults.add(fault(status), operation="Viewer")
    answer = verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S)

    assert (answer.verdict, answer.answered) == ("unreachable", True)
    assert f"HTTP {status}" in answer.reason


def test_words_that_reject_a_key(wandb_server: WandbServer) -> None:
    """A denial in words, with HTTP 200, is a rejection as 401 is."""
    denial = {"errors": [{"message": "user is not logged in"}]}
    wandb_server.faults.add(fault(200, body=denial), operation="Viewer")

    assert verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S).verdict == "rejected"


def test_a_gateway_gets_its_headers(wandb_server: WandbServer) -> None:
    """Both questions may have to pass one before the server."""
    headers = {"X-Gateway": "s3cret"}
    verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S, headers)
    anonymous_key(wandb_server.url, TIMEOUT_S, headers)

    assert [logged.headers.get("x-gateway") for logged in wandb_server.requests("graphql")] == ["s3cret"] * 2


def test_what_a_terminal_would_act_upon(wandb_server: WandbServer) -> None:
    """Names and words of a server are on one line, with escapes to be seen instead of obeyed."""
    evil = {"data": {"viewer": {"username": "a\x1b[2Jb\nc"}}}
    wandb_server.faults.add(fault(200, body=evil), operation="Viewer", times=1)
    assert verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S).account == r"a\x1b[2Jb\nc"
    wandb_server.faults.add(fault(200, body={"errors": [{"message": "a\x1b[2Jb"}]}), operation="Viewer")

    assert r"a\x1b[2Jb" in verify_key(wandb_server.url, wandb_server.key, TIMEOUT_S).reason


def test_anonymous_keys() -> None:
    """A server that offers anonymous keys gives one that works; another says that it offers none."""
    with serve(anonymous=True) as server:
        answer = anonymous_key(server.url, TIMEOUT_S)
        assert answer.key is not None
        assert answer.key not in repr(answer)
        assert verify_key(server.url, answer.key, TIMEOUT_S).verdict == "accepted"
    with serve() as server:
        assert anonymous_key(server.url, TIMEOUT_S) == AnonymousAnswer(
            None, "refused", "The server offers no keys without an account."
        )


def test_what_is_no_key_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An anonymous key that cannot be a key is as good as none."""
    monkeypatch.setattr("transports.http_accounts.make_anonymous_key", lambda *_, **__: "too short")

    assert anonymous_key("http://host", TIMEOUT_S).key is None
