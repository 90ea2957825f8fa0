"""Tests of `corelib.shell.marker`: the resume file on a real disk."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest

from corelib.pure.resume import Corrupt
from corelib.shell.marker import MarkerFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the resume file is to stand."""
    return tmp_path / "wandb-resume.json"


def test_what_is_written_is_read(path) -> None:
    """The file holds the documented JSON and is read back, and a second write replaces the first."""
    marker = MarkerFile(path)

    marker.write("abc")
    first = json.loads(path.read_text(encoding="utf-8"))
    marker.write("Läufer 7 🦊")

    assert first == {"run_id": "abc"}
    assert marker.read() == "Läufer 7 🦊"
    assert os.listdir(path.parent) == [path.name]


def test_a_relative_path_will_do(path, monkeypatch) -> None:
    """The file may be named relative to the current directory."""
    monkeypatch.chdir(path.parent)

    MarkerFile(path.name).write("abc")

    assert MarkerFile(path).read() == "abc"


def test_an_absent_file_is_none(path) -> None:
    """A file that is not there names no run, and looking for it does not make it."""
    assert MarkerFile(path).read() is None
    assert not path.exists()


def test_more_in_the_object_is_no_damage(path) -> None:
    """Keys that another version may have added are passed over."""
    path.write_text('{"version": 2, "run_id": "abc"}', encoding="utf-8")

    assert MarkerFile(path).read() == "abc"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "not JSON"),
        (b"", "not JSON"),
        (b'{"run_id": "abc"', "not JSON"),
        (b'{"run_id": "\xff"}', "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"abc"', "not a JSON object"),
        (b"{}", "run_id"),
        (b'{"run_id": null}', "run_id"),
        (b'{"run_id": 5}', "run_id"),
        (b'{"run_id": ""}', "run_id"),
        (b'{"run_id": "../up"}', "run_id"),
        (b'{"run_id": "a\\nb"}', "run_id"),
        (b'{"run_id": "' + b"a" * 200 + b'"}', "run_id"),
        (b" " * 70000 + b'{"run_id": "abc"}', "bytes"),
    ],
)
def test_an_unusable_file_says_why(path, content, words) -> None:
    """Whatever stands in the file, reading says what is wrong, raises nothing and changes nothing."""
    path.write_bytes(content)

    answer = MarkerFile(path).read()

    assert isinstance(answer, Corrupt)
    assert words in answer.reason
    assert path.read_bytes() == content


def test_a_directory_in_its_place_says_why(path) -> None:
    """What cannot even be opened is unusable as well."""
    path.mkdir()

    answer = MarkerFile(path).read()

    assert isinstance(answer, Corrupt)
    assert "cannot be read" in answer.reason


def test_it_is_removed_only_for_the_run_it_names(path) -> None:
    """Removing for a run leaves a file that names another one or none; None removes whatever is there."""
    marker = MarkerFile(path)
    marker.write("abc")

    marker.remove("other")
    kept = marker.read()
    marker.remove("abc")
    removed = marker.read()
    path.write_bytes(b"not json")
    marker.remove("abc")
    damaged = path.exists()
    marker.remove(None)

    assert (kept, removed, damaged, path.exists()) == ("abc", None, True, False)


def test_removing_what_is_not_there_is_fine(path) -> None:
    """The aim of removing is that the file is not there."""
    MarkerFile(path).remove(None)
    MarkerFile(path).remove("abc")

    assert not path.exists()


def test_nothing_is_removed_from_a_read_only_file_system_where_nothing_is(path, monkeypatch) -> None:
    """Such a one refuses any removal: who never had a resume file is not told that it cannot be removed."""

    def refused(_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refused)

    MarkerFile(path).remove(None)


def test_a_failed_write_leaves_the_old_file(path, monkeypatch) -> None:
    """If writing fails before the end, the old file stands whole and nothing is left beside it."""
    marker = MarkerFile(path)
    marker.write("abc")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        marker.write("other")

    assert marker.read() == "abc"
    assert os.listdir(path.parent) == [path.name]


def test_readers_never_see_half_a_file(path) -> None:
    """While others write, a reader sees one of the ids, whole, at any moment."""
    marker = MarkerFile(path)
    marker.write("a" * 100)
    stop = threading.Event()

    def write(run_id: str) -> None:
        while not stop.is_set():
            marker.write(run_id)

    writers = [threading.Thread(target=write, args=(letter * 100,)) for letter in "ab"]
    for writer in writers:
        writer.start()
    seen = {marker.read() for _ in range(300)}
    stop.set()
    for writer in writers:
        writer.join()

    assert seen <= {"a" * 100, "b" * 100}
    assert os.listdir(path.parent) == [path.name]


def test_ctrl_c_leaves_nothing_beside_the_file(path, monkeypatch) -> None:
    """An interrupt while the disk is waited for leaves the former content, and no temporary file."""
    marker = MarkerFile(path)
    marker.write("abc")

    def interrupted(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        marker.write("other")

    assert marker.read() == "abc"
    assert os.listdir(path.parent) == [path.name]
