"""Where a run goes: what is chosen from the settings before anything is asked or made."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from corelib.api.destination import Destination, choose_destination
from corelib.errors import AuthenticationError, UsageError
from corelib.pure.resolve import resolve
from corelib.pure.sources import Identity
from corelib.shell.gather import gather
from corelib.shell.report import Report

A, B = "http://127.0.0.1:9", "http://127.0.0.1:8"
KEY = "k" * 40
OTHER = "o" * 40


class Chosen:
    """A choice, and what was said on the way."""

    def __init__(self, *, quiet: bool = False, login: Any = None, **settings: Any) -> None:
        found = gather(Identity(), settings=settings, login=login)
        stream = io.StringIO()
        report = Report("corelib", quiet=quiet, stream=stream)
        self.destination: Destination = choose_destination(
            resolve(found.layers, found.problems), "/nowhere/wandb", report=report
        )
        self.said = stream.getvalue()

    @property
    def keys(self) -> dict[str, str | None]:
        """The key of each carrier, by how it was asked for."""
        return {str(carrier.spec): carrier.address.key for carrier in self.destination.carriers}


@pytest.mark.parametrize("transport", [None, "http", "wandb", A])
def test_why_a_run_is_offline_is_found_afterwards(transport: str | None) -> None:
    """The one line is a warning that quiet does not swallow, and the destination has it for the run's log."""
    chosen = Chosen(quiet=True, base_url=A, transport=transport)

    assert chosen.destination.mode == "offline"
    assert (chosen.destination.carriers, chosen.destination.server) == ((), None)
    (reason,) = chosen.destination.warnings
    assert reason.startswith("There is no API key for 127.0.0.1:9.")
    assert chosen.said == f"corelib: WARNING {reason}\n"
    assert chosen.destination.offline().warnings == (reason,)


def test_without_a_server_it_is_said_too() -> None:
    """A run that wants to be online and knows no server is offline with a warning, found afterwards."""
    chosen = Chosen(quiet=True)

    assert chosen.destination.mode == "offline"
    assert "No server is known" in chosen.said
    assert len(chosen.destination.warnings) == 1


def test_a_netrc_file_in_the_way_is_said_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is wrong with the netrc file is said once, however many servers are asked for, and is found afterwards."""
    monkeypatch.setenv("NETRC", str(tmp_path))
    chosen = Chosen(transport=(A, B))

    assert chosen.said.count("is ignored") == 1
    assert len(chosen.destination.warnings) == 3


def test_each_server_has_its_own_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The key of the settings goes to base_url, and each other server has the one that netrc has for it, or none."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1:8 password {OTHER}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    chosen = Chosen(base_url=A, api_key=KEY, transport=("http", B))

    assert chosen.keys == {"http": KEY, B: OTHER}
    assert chosen.destination.server is chosen.destination.carriers[0]


def test_a_server_without_a_key_is_left_out() -> None:
    """Of two servers, the one that there is a key for is used, and the other is named in a warning."""
    chosen = Chosen(base_url=A, api_key=KEY, transport=(A, B), resume="must", run_id="abc")

    assert chosen.keys == {A: KEY}
    assert chosen.destination.mode == "online"
    assert f"no API key for {B}: the run is not delivered there" in chosen.said
    assert "this machine only" not in chosen.said


def test_a_login_to_another_server_is_none() -> None:
    """What login() left for A does not go to B, whichever way B is named."""
    login = {"base_url": A, "api_key": KEY}
    assert Chosen(login=login).keys == {"http": KEY}
    assert Chosen(login=login, base_url=B).keys == {}
    assert Chosen(login=login, transport=B).keys == {}
    assert Chosen(login=login, base_url=B, transport=A).keys == {A: KEY}


@pytest.mark.parametrize("transport", ["http", A, (A, "memory")])
def test_force_and_malformed_keys_are_errors_for_every_server(transport: Any) -> None:
    """G4, G11 and G17 hold however the server is named."""
    with pytest.raises(UsageError, match="force=True"):
        Chosen(base_url=A, transport=transport, force=True)
    with pytest.raises(AuthenticationError, match="malformed"):
        Chosen(base_url=A, transport=transport, api_key="short")
    with pytest.raises(UsageError, match="need the server's answer"):
        Chosen(base_url=A, transport=transport, resume="must", run_id="abc")
    assert Chosen(base_url=A, transport=transport, resume="never").destination.mode == "offline"


def test_a_name_without_an_address_is_a_mistake() -> None:
    """Whoever asks for the transport "http" and names no server is told to, not taken offline."""
    with pytest.raises(UsageError, match="set base_url"):
        Chosen(transport="http", api_key=KEY)


def test_offline_uses_no_server() -> None:
    """G1: in mode offline a server that is named as transport is left out, and other transports are not."""
    chosen = Chosen(mode="offline", base_url=A, api_key=KEY, transport=("http", "memory"))

    assert list(chosen.keys) == ["memory"]
    assert (chosen.destination.mode, chosen.destination.server) == ("offline", None)
    assert "no server is used" in chosen.said
