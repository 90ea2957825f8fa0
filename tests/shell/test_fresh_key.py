"""A key that was written after another was refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corelib.pure.resolve import resolve
from corelib.pure.sources import Identity
from corelib.shell.fresh_key import FreshKey
from corelib.shell.gather import gather
from corelib.shell.server_address import address_of

URL = "https://host:8080"
KEY = "n" * 40
OLD = "o" * 40


def written(path: Path, key: str, at: float | None = None, host: str = "host:8080") -> str:
    path.write_text(f"machine {host}\n  login user\n  password {key}\n", encoding="utf-8")
    if at is not None:
        os.utime(path, (at, at))
    return str(path)


def test_the_first_file_that_is_there_counts(tmp_path: Path) -> None:
    """As where a key is looked for the first time."""
    there = written(tmp_path / "_netrc", KEY)

    assert FreshKey(URL, (str(tmp_path / "none"), there))() == KEY
    assert FreshKey(URL, (written(tmp_path / ".netrc", OLD), there))() == OLD
    assert FreshKey(URL, (str(tmp_path / "none"),))() is None


def test_only_a_key_for_this_server_leaves_the_file(tmp_path: Path) -> None:
    """Another server's key, and what is no key, is none."""
    assert FreshKey(URL, (written(tmp_path / "a", KEY, host="elsewhere"),))() is None
    assert FreshKey(URL, (written(tmp_path / "b", "short"),))() is None
    assert FreshKey(URL, (str(tmp_path),))() is None


def test_an_older_file_does_not_replace_what_the_user_said(tmp_path: Path) -> None:
    """It counts when it is written again."""
    path = written(tmp_path / "netrc", KEY, at=1000.0)

    assert FreshKey(URL, (path,), since=1001.0)() is None
    assert FreshKey(URL, (written(tmp_path / "netrc", KEY, at=1002.0),), since=1001.0)() == KEY


@pytest.mark.parametrize("given", [None, OLD])
def test_the_address_of_a_server_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """A file named by a relative path is found from any directory; a key that was given in words has its time."""
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "mine", KEY, at=1000.0)
    environ = {"HOME": "/nowhere", "NETRC": "mine", "WANDB_BASE_URL": URL}
    environ |= {} if given is None else {"WANDB_API_KEY": given}
    gathered = gather(Identity(), environ=environ)

    fresh = address_of("http", resolve(gathered.layers, gathered.problems), environ=environ).address.fresh_key

    assert isinstance(fresh, FreshKey)
    assert (fresh.url, fresh.paths) == (URL, (path,))
    assert (fresh.since is None, fresh()) == (given is None, KEY if given is None else None)
