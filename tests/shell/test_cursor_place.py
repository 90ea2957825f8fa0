"""Where the cursor of a run directory is kept, where the run directory cannot be written, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corelib.errors import JournalError
from corelib.pure.cursor import Cursor
from corelib.pure.outcomes import Ledger
from corelib.shell.cursor import CursorFile
from corelib.shell.cursor_place import PlacedCursor, is_under_way, placed_cursors, state_directory


def cursor(delivered: int) -> Cursor:
    return Cursor(run_id="r1", ledger=Ledger(accepted=delivered, delivered=delivered))


@pytest.fixture(name="run_directory")
def _run_directory(tmp_path: Path) -> str:
    (tmp_path / "run").mkdir()
    return str(tmp_path / "run")


@pytest.fixture(name="read_only")
def _read_only(run_directory: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the system say that nothing below the run directory can be written; root would be let in by the mode."""
    allowed = os.access

    def access(path: str, mode: int) -> bool:
        return not os.fspath(path).startswith(run_directory) and allowed(path, mode)

    monkeypatch.setattr("corelib.shell.cursor_place.os.access", access)
    return run_directory


def test_in_the_run_directory(run_directory: str) -> None:
    """As a rule a cursor is where a courier looks for it, and nothing is made elsewhere."""
    placed = PlacedCursor(run_directory, "there")
    assert placed.lock()
    placed.write(cursor(3))
    placed.release()

    assert CursorFile(run_directory, "there").read("r1") == cursor(3)
    assert not os.path.exists(state_directory(run_directory))


def test_beside_a_directory_that_is_read_only(read_only: str) -> None:
    """There it is kept with the user, and the next one finds it; nothing is made before somebody delivers."""
    placed = PlacedCursor(read_only, "there")
    assert placed.place == state_directory(read_only)
    assert not os.path.exists(placed.place)
    assert placed.read("r1") is None

    assert placed.lock()
    assert is_under_way(read_only, "there")
    assert not PlacedCursor(read_only, "there").lock()
    placed.write(cursor(3))
    placed.release()
    assert not is_under_way(read_only, "there")
    assert os.listdir(read_only) == []
    assert PlacedCursor(read_only, "there").read("r1") == cursor(3)
    assert placed_cursors(read_only) == {"there": cursor(3)}


@pytest.mark.parametrize(("here", "there"), [(3, 5), (5, 3)])
def test_the_furthest_counts(run_directory: str, here: int, there: int) -> None:
    """Where a directory was read-only for a time there are two cursors; the one that has come further counts."""
    os.makedirs(state_directory(run_directory))
    CursorFile(run_directory, "x").write(cursor(here))
    CursorFile(state_directory(run_directory), "x").write(cursor(there))

    assert PlacedCursor(run_directory, "x").read("r1") == cursor(5)
    assert placed_cursors(run_directory) == {"x": cursor(5)}


def test_a_damaged_cursor(run_directory: str) -> None:
    """One that cannot be read hides no other; by itself it is an error."""
    Path(CursorFile(run_directory, "x").path).write_text("{", encoding="utf-8")
    with pytest.raises(JournalError):
        PlacedCursor(run_directory, "x").read("r1")
    os.makedirs(state_directory(run_directory))
    CursorFile(state_directory(run_directory), "x").write(cursor(5))

    assert PlacedCursor(run_directory, "x").read("r1") == cursor(5)


def test_nowhere(run_directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither can be written there is no place, and whoever delivers is told by the lock."""
    monkeypatch.setattr("corelib.shell.cursor_place.os.access", lambda *_: False)
    monkeypatch.setenv("HOME", "/proc/none")
    placed = PlacedCursor(run_directory, "x")

    assert placed.place is None
    assert PlacedCursor("/proc/none", "x").place is None
    with pytest.raises(OSError, match="none"):
        PlacedCursor("/proc/none", "x").lock()


def test_somebody_elses_lock(run_directory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another user has left and that cannot be opened makes the directory one that cannot be used."""
    lock_path = CursorFile(run_directory, "x").lock_path
    Path(lock_path).touch()
    allowed = os.access
    monkeypatch.setattr(
        "corelib.shell.cursor_place.os.access", lambda path, mode: path != lock_path and allowed(path, mode)
    )

    assert PlacedCursor(run_directory, "x").place == state_directory(run_directory)


def test_the_state_directory(run_directory: str) -> None:
    """It is the user's, named by where the run directory really is."""
    home = state_directory(run_directory, {"HOME": "/home/me"})
    assert os.path.dirname(home) == "/home/me/.local/state/corelib"
    xdg = state_directory(run_directory, {"HOME": "/home/me", "XDG_STATE_HOME": "/var/me"})
    assert xdg == "/var/me/corelib/" + os.path.basename(home)
    assert state_directory(run_directory, {"HOME": "/home/me", "XDG_STATE_HOME": "relative"}) == home

    link = run_directory + "-link"
    os.symlink(run_directory, link)
    assert state_directory(link, {"HOME": "/home/me"}) == home
    assert state_directory(os.path.dirname(run_directory), {"HOME": "/home/me"}) != home
