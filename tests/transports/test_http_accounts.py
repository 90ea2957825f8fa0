"""Questions about accounts are bounded, and each answer is one of a few."""

from __future__ import annotations

import pytest
import requests

from corelib.errors import UsageError
from corelib.ports import LookupFailed
from tests.servers.black_hole import black_hole
from tests.servers.faults import answer, not_json
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import KEY, WandbServer, serve
from transports.http_accounts import ask_viewer, make_anonymous_key
from transports.wandb_graphql import Viewer

__all__ = ["wandb_server"]


def test_a_key_is_somebody_s(wandb_server: WandbServer) -> None:
    """A valid key has an owner."""
    expected = Viewer("ent", "bob", "bob@example.invalid")

    assert ask_viewer(wandb_server.url, wandb_server.key, 10.0) == expected
    with requests.Session() as session:
        assert ask_viewer(wandb_server.url + "/", wandb_server.key, 10.0, session) == expected


def test_a_key_is_nobody_s(wandb_server: WandbServer) -> None:
    """A server that knows nobody for it says so."""
    with wandb_server.changing() as world:
        world.viewer = None

    assert ask_viewer(wandb_server.url, wandb_server.key, 10.0) is None


def test_a_key_that_is_rejected(wandb_server: WandbServer) -> None:
    """401 speaks against the key, and the words do not hold it."""
    wandb_server.allow("wrong-key")
    found = ask_viewer(wandb_server.url, "w" * 40, 10.0)

    assert isinstance(found, LookupFailed)
    assert found.kind == "auth"
    assert "w" * 40 not in found.reason


@pytest.mark.parametrize(
    ("fault", "kind"), [(answer(503), "server"), (not_json(), "server"), (answer(403), "forbidden")]
)
def test_a_server_that_does_not_say(wandb_server: WandbServer, fault: object, kind: str) -> None:
    """What is not an answer leaves open whose key it is."""
    wandb_server.faults.add(fault)
    found = ask_viewer(wandb_server.url, wandb_server.key, 10.0)

    assert isinstance(found, LookupFailed)
    assert found.kind == kind


def test_a_server_that_is_silent() -> None:
    """Nobody waits longer than was said."""
    with black_hole() as url:
        found = ask_viewer(url, KEY, 0.2)

    assert isinstance(found, LookupFailed)
    assert found.kind == "unreachable"


def test_a_key_without_an_account() -> None:
    """A server that offers keys gives one, which then works, and is asked without credentials."""
    with serve(anonymous=True) as server:
        key = make_anonymous_key(server.url, 10.0)
        assert isinstance(key, str)
        assert isinstance(ask_viewer(server.url, key, 10.0), Viewer)
        assert server.requests(operation="CreateAnonymousApiKey")[0].key == "absent"
        server.assert_clean()


def test_no_key_without_an_account(wandb_server: WandbServer) -> None:
    """A server that offers none says so, or refuses; that is no key."""
    assert make_anonymous_key(wandb_server.url, 10.0) is None
    wandb_server.faults.add(answer(500))
    assert isinstance(make_anonymous_key(wandb_server.url, 10.0), LookupFailed)


def test_what_is_no_address() -> None:
    """A text that is no base URL is a mistake of whoever gave it."""
    with pytest.raises(UsageError, match="base_url"):
        ask_viewer("example.com", KEY, 1.0)
    with pytest.raises(UsageError, match="base_url"):
        make_anonymous_key("https://user:pw@example.com", 1.0)
