"""Descriptors beyond the standard streams, and who holds a lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corelib.descriptors import beyond_standard, is_locked
from corelib.journal import JournalWriter


@pytest.fixture
def without_stdin() -> Iterator[None]:
    """Run with the number of standard input free, as in a daemon."""
    saved = os.dup(0)
    os.close(0)
    yield
    os.dup2(saved, 0)
    os.close(saved)


@pytest.mark.usefixtures("without_stdin")
def test_nothing_takes_the_number_of_a_standard_stream() -> None:
    """A descriptor with such a number is moved, stays private, and gives the number back; others stay."""
    low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    moved = beyond_standard(low)

    assert (low, moved > 2, os.get_inheritable(moved)) == (0, True, False)
    assert beyond_standard(moved) == moved
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(low)
    os.close(moved)


@pytest.mark.usefixtures("without_stdin")
def test_one_that_cannot_be_moved_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of descriptors, nothing is left behind."""

    def full(*_: int) -> int:
        raise OSError(24, "Too many open files")

    low = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", full)
        with pytest.raises(OSError, match="Too many"):
            beyond_standard(low)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(low)


@pytest.mark.usefixtures("without_stdin")
def test_a_journal_is_no_standard_stream(tmp_path: Path) -> None:
    """Neither a print of a library nor a `dup2` of a daemon reaches a journal that was begun without streams."""
    journal = JournalWriter(
        tmp_path,
        writer="w",
        run_id="r",
        start_time=0.0,
        host="h",
        primary=True,
        segment_bytes=1 << 20,
        now=0.0,
    )
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(0)
    journal.close()


def test_who_holds_a_lock(tmp_path: Path) -> None:
    """A lock is seen while it is held, and its absence does not take it."""
    path = tmp_path / "lock"
    path.touch()
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert is_locked(path)
    assert not is_locked(path)
    with pytest.raises(FileNotFoundError):
        is_locked(tmp_path / "none")
