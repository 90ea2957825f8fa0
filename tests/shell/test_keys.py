"""Where the API key is, on real files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corelib.pure.credentials import FoundKey
from corelib.pure.resolve import resolve
from corelib.pure.sources import Identity
from corelib.shell.gather import gather
from corelib.shell.keys import KeySearch, netrc_paths, search_key

URL = "https://host:8080"
NETRC = "machine host:8080\n  login user\n  password from-netrc\n"


def searched(environ: dict[str, str] | None = None, **words: Any) -> KeySearch:
    """Gather, resolve and look for the key, with an environment of its own."""
    environ = {"HOME": str(Path.home()), "WANDB_BASE_URL": URL} | (environ or {})
    found = gather(Identity(), environ=environ, **words)
    return search_key(resolve(found.layers, found.problems), environ)


@pytest.fixture(name="netrc")
def _netrc() -> Path:
    path = Path.home() / ".netrc"
    path.write_text(NETRC, encoding="utf-8")
    return path


@pytest.mark.case("login-key-order")
def test_the_order_of_the_places(netrc: Path) -> None:
    """The session's key, then the environment's, then that of a settings file, then netrc's."""
    settings_file = Path.home() / ".config" / "wandb" / "settings"

    assert searched().key == FoundKey("from-netrc", "netrc")
    settings_file.parent.mkdir(parents=True)
    settings_file.write_text("[default]\napi_key = from-file", encoding="utf-8")
    assert searched().key == FoundKey("from-file", "settings_file")
    assert searched({"WANDB_API_KEY": "from-env"}).key == FoundKey("from-env", "environment")
    for source in ("login", "setup", "settings"):
        words = {source: {"api_key": f"from-{source}", "base_url": URL}}
        assert searched({"WANDB_API_KEY": "from-env"}, **words).key == FoundKey(f"from-{source}", "session")


def test_netrc_can_be_elsewhere(tmp_path: Path, netrc: Path) -> None:
    """$NETRC stands in for the file at home, also where it is missing."""
    (tmp_path / "mine").write_text("machine host password mine", encoding="utf-8")

    assert searched({"NETRC": str(tmp_path / "mine")}).key == FoundKey("mine", "netrc")
    assert searched({"NETRC": str(tmp_path / "none")}) == KeySearch(None, ())


def test_the_other_name_of_netrc() -> None:
    """`_netrc` is read where `.netrc` is not there."""
    (Path.home() / "_netrc").write_text(NETRC, encoding="utf-8")

    assert searched().key == FoundKey("from-netrc", "netrc")


def test_no_key_anywhere(netrc: Path) -> None:
    """Without a server nobody's key is looked up, and another server's key is nobody's."""
    assert searched({"WANDB_BASE_URL": ""}).key is None
    assert searched({"WANDB_BASE_URL": "https://elsewhere"}).key is None


def test_the_home_directory_in_netrc(netrc: Path) -> None:
    """A tilde in $NETRC is the home directory, as a shell would have it, and another user's with their name."""
    (Path.home() / "mine").write_text("machine host password mine", encoding="utf-8")

    assert searched({"NETRC": "~/mine"}).key == FoundKey("mine", "netrc")
    assert netrc_paths({"HOME": "/h", "NETRC": "~"}) == ("/h",)
    assert netrc_paths({"HOME": "/h", "NETRC": "~no-such-user/x"}) == ("~no-such-user/x",)


def test_what_a_login_left_is_for_its_server(netrc: Path) -> None:
    """A key that login() left for another server is passed over; the environment's, or netrc's own, is found."""
    login = {"api_key": "from-login", "base_url": "https://elsewhere"}
    here = {"login": login, "settings": {"base_url": URL}}

    assert searched(login=login).key == FoundKey("from-login", "session")
    assert searched(**here).key == FoundKey("from-netrc", "netrc")
    assert searched({"WANDB_API_KEY": "from-env"}, **here).key == FoundKey("from-env", "environment")
    elsewhere = {"login": login, "settings": {"base_url": "https://third"}}
    assert searched(**elsewhere) == KeySearch(None, ())


def test_the_key_of_another_server_than_the_set_one(netrc: Path) -> None:
    """For a URL of its own, a transport gets the key of that URL: netrc's, and not the one that goes with base_url."""
    environ = {"HOME": str(Path.home()), "WANDB_BASE_URL": "https://elsewhere", "WANDB_API_KEY": "from-env"}
    found = gather(Identity(), environ=environ, settings={"transport": URL})
    resolution = resolve(found.layers, found.problems)

    assert search_key(resolution, environ).key == FoundKey("from-env", "environment")
    assert search_key(resolution, environ, url=URL).key == FoundKey("from-netrc", "netrc")
    assert search_key(resolution, environ, url="https://third").key is None


def test_what_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    """A pipe, or a file of no sensible size, is ignored and said; the null device is a way to say none."""
    pipe, flood = tmp_path / "pipe", tmp_path / "flood"
    os.mkfifo(pipe)
    flood.write_bytes(b" " * (1 << 20) + b" ")

    assert "no regular file" in searched({"NETRC": str(pipe)}).problems[0].text
    assert "larger than 1 MiB" in searched({"NETRC": str(flood)}).problems[0].text
    (Path.home() / ".netrc").symlink_to(os.devnull)
    assert searched() == searched({"NETRC": os.devnull}) == KeySearch(None, ())


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_an_unreadable_netrc_is_a_warning(content: bytes | None) -> None:
    """A netrc file that is no text, or a directory, is ignored and said; nothing of it is repeated."""
    path = Path.home() / ".netrc"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(b"machine host password s3cret" + content)
    key, problems = searched()

    assert key is None
    assert len(problems) == 1
    assert problems[0].text.startswith(f"The netrc file {path} is ignored: ")
    assert "s3cret" not in problems[0].text


def test_the_process_environment_is_the_default(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being told, the process's own environment is read as it is now."""
    monkeypatch.setenv("WANDB_BASE_URL", URL)
    found = gather(Identity())

    assert search_key(resolve(found.layers)).key == FoundKey("from-netrc", "netrc")


def test_a_key_that_was_given_spares_netrc(tmp_path: Path) -> None:
    """With a key at hand, netrc is not opened at all."""
    (Path.home() / ".netrc").mkdir()

    assert searched({"WANDB_API_KEY": "k"}) == KeySearch(FoundKey("k", "environment"), ())
