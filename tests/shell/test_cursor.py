"""The cursor on disk: replaced as a whole, read or reported, and the lock that a death gives back."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from attrs import evolve

from corelib.errors import JournalError, UsageError
from corelib.pure.cursor import Cursor
from corelib.pure.outcomes import Ledger
from corelib.shell.cursor import CursorFile, file_label, is_delivering, read_cursors

CURSOR = Cursor(run_id="r", positions={"w": (1, 4)}, settled={"w": 3}, ledger=Ledger(accepted=3, delivered=3))


def file_in(path: Path, name: str = "t") -> CursorFile:
    return CursorFile(str(path), name)


def test_a_cursor_is_kept(tmp_path: Path) -> None:
    """What was written is read back, by another object as by another process; nothing was written at first."""
    assert file_in(tmp_path).read("r") is None
    file_in(tmp_path).write(CURSOR)

    assert file_in(tmp_path).read("r") == CURSOR
    assert [path.name for path in tmp_path.iterdir()] == ["cursor-t.json"]


def test_a_cursor_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed while writing leaves the cursor before it."""
    file_in(tmp_path).write(CURSOR)

    def killed(source: str, target: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            file_in(tmp_path).write(evolve(CURSOR, settled={"w": 9}))

    assert file_in(tmp_path).read("r") == CURSOR


def test_what_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    """A cursor that cannot be written leaves the one before it, and no other file."""
    file_in(tmp_path).write(CURSOR)
    with pytest.raises(UsageError):
        file_in(tmp_path).write(evolve(CURSOR, transport={"an object": object()}))

    assert file_in(tmp_path).read("r") == CURSOR
    assert [path.name for path in tmp_path.iterdir()] == ["cursor-t.json"]


def test_an_unreadable_cursor_is_reported(tmp_path: Path) -> None:
    """Damage, another run's cursor and a place that cannot be read are errors, never an empty cursor."""
    cursor = file_in(tmp_path)
    cursor.write(CURSOR)
    with pytest.raises(JournalError, match="of another run, 'r'"):
        cursor.read("s")
    Path(cursor.path).write_bytes(b"\0" * 100)
    with pytest.raises(JournalError, match="damaged"):
        cursor.read("r")
    os.unlink(cursor.path)
    os.mkdir(cursor.path)
    with pytest.raises(JournalError, match="cannot be read"):
        cursor.read("r")


def test_a_cursor_can_be_forgotten(tmp_path: Path) -> None:
    """After that there is none, and forgetting it again is no error."""
    cursor = file_in(tmp_path)
    cursor.write(CURSOR)
    cursor.forget()
    cursor.forget()

    assert cursor.read("r") is None


@pytest.mark.parametrize("name", ["file", "wandb", "my-transport_2.0"])
def test_simple_names_name_their_files(name: str) -> None:
    """Who looks into a run directory sees which transport a file belongs to."""
    assert file_label(name) == name


def test_other_names_get_files_of_their_own() -> None:
    """Names that no file can bear, or that differ only there, do not share a cursor."""
    names = [
        "https://host/a",
        "https://host_a",
        "https___host_a",
        "ü",
        "ö",
        "x" * 300,
        "x" * 299 + "y",
        "\udc80",
    ]
    labels = [file_label(name) for name in names]

    assert len(set(labels)) == len(names)
    assert all("/" not in label and len(label) < 100 and label.isascii() for label in labels)


def test_one_at_a_time_may_deliver(tmp_path: Path) -> None:
    """The lock is held by one; taking it twice is harmless, and whoever gives it back makes room."""
    first, second = file_in(tmp_path), file_in(tmp_path)
    assert not is_delivering(str(tmp_path), "t")
    assert first.lock()
    assert first.lock()
    assert not second.lock()
    assert is_delivering(str(tmp_path), "t")
    assert not is_delivering(str(tmp_path), "another")
    assert file_in(tmp_path, "another").lock()
    first.release()
    first.release()

    assert not is_delivering(str(tmp_path), "t")
    assert second.lock()


def test_a_death_gives_the_lock_back(tmp_path: Path) -> None:
    """A process that is killed leaves no lock behind."""
    code = (
        "import os, signal, sys\n"
        "from corelib.shell.cursor import CursorFile\n"
        "assert CursorFile(sys.argv[1], 't').lock()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)

    assert Path(file_in(tmp_path).lock_path).exists()
    assert file_in(tmp_path).lock()


@pytest.mark.parametrize("abandons", [True, False])
def test_forked_children_do_not_keep_the_lock(tmp_path: Path, abandons: bool) -> None:
    """The lock goes when its holder gives it back, whatever children have inherited it; and who abandons has none."""
    holder = file_in(tmp_path)
    assert holder.lock()
    said, say = os.pipe()
    wait, go = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests may still be there
        child = os.fork()
    if child == 0:
        if abandons:
            holder.abandon()
            holder.abandon()
        os.write(say, b"x")
        os.read(wait, 1)
        os._exit(0)
    os.read(said, 1)
    assert not file_in(tmp_path).lock(), "the child has taken the lock from its parent"
    holder.release() if not abandons else os.close(holder._lock_fd)  # as the kernel does when the parent dies
    taken = file_in(tmp_path).lock()
    os.write(go, b"x")
    os.waitpid(child, 0)
    for fd in (said, say, wait, go):
        os.close(fd)

    assert taken


def test_no_locks_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without locks everybody may deliver, and nobody is taken to be at it."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = file_in(tmp_path), file_in(tmp_path)

    assert first.lock()
    assert second.lock()
    assert not is_delivering(str(tmp_path), "t")
    first.release()


def test_a_lock_needs_a_directory(tmp_path: Path) -> None:
    """Where nothing can be written, there is an error and no lock."""
    with pytest.raises(FileNotFoundError):
        file_in(tmp_path / "gone").lock()


def test_cursors_of_a_run_are_listed(tmp_path: Path) -> None:
    """All that can be read, by label; what is damaged is left out, as the next delivery will."""
    file_in(tmp_path, "one").write(CURSOR)
    file_in(tmp_path, "two").write(evolve(CURSOR, exited=True))
    (tmp_path / "cursor-bad.json").write_bytes(b"{")
    (tmp_path / "cursor-one.lock").touch()
    (tmp_path / "cursor-three.json").mkdir()

    assert read_cursors(str(tmp_path)) == {"one": CURSOR, "two": evolve(CURSOR, exited=True)}
    assert read_cursors(str(tmp_path / "gone")) == {}
