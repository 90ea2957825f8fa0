"""Tests of `corelib.shell.directories`: the link to the latest run, and whether there is room."""

from __future__ import annotations

import os
from contextlib import nullcontext
from errno import EACCES, EIO, ENOSPC, EROFS
from pathlib import Path

import pytest

from corelib.shell.directories import check_room, link, linked, unlink


def test_a_link_names_the_latest(tmp_path: Path) -> None:
    """A second link replaces the first, and nothing else is left there."""
    place = tmp_path / "latest-run"
    said: list[str] = []

    link(place, "first", said.append)
    link(place, "second", said.append)

    assert linked(place) == "second"
    assert os.listdir(tmp_path) == ["latest-run"]
    assert said == []


def test_a_directory_in_the_way_of_the_link(tmp_path: Path) -> None:
    """Where a directory has the link's name, that stays, and no half-made link is left beside it."""
    place = tmp_path / "latest-run"
    place.mkdir()
    said: list[str] = []

    link(place, "first", said.append)

    assert os.listdir(tmp_path) == ["latest-run"]
    assert linked(place) is None
    assert len(said) == 1


def test_what_a_killed_process_left_is_in_the_way_once(tmp_path: Path, monkeypatch) -> None:
    """In containers process numbers come again: the half-made link of an earlier process is cleared away."""
    place = tmp_path / "latest-run"

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: None)
        link(place, "first", lambda _: None)
    assert linked(place) is None

    link(place, "second", lambda _: None)
    link(place, "third", lambda _: None)

    assert linked(place) == "third"
    assert os.listdir(tmp_path) == ["latest-run"]


def test_only_links_are_unlinked(tmp_path: Path) -> None:
    """A link is removed, its absence is no error, and a file of the same name stays."""
    place = tmp_path / "latest-run"
    said: list[str] = []
    unlink(place, said.append)
    place.symlink_to("run")
    unlink(place, said.append)
    assert os.listdir(tmp_path) == []
    place.write_text("of the user", encoding="utf-8")
    unlink(place, said.append)

    assert place.read_text(encoding="utf-8") == "of the user"
    assert said == []


def test_room_is_looked_for_where_runs_go(tmp_path: Path) -> None:
    """Where there is room nothing is left behind, and what does not exist yet is not made for it."""
    check_room(str(tmp_path))
    check_room(str(tmp_path / "not" / "there"))

    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is told; a place that may not be written is not, for the temporary directory takes its part."""
    for code, expected in ((ENOSPC, OSError), (EIO, OSError), (EACCES, None), (EROFS, None)):

        def refuse(*arguments: object, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patched, pytest.raises(expected) if expected else nullcontext():
            patched.setattr("builtins.open", refuse)
            check_room(str(tmp_path))
