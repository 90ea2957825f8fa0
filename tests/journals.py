"""What the tests of the journal share: writers with rows to tell apart, journals read back, bytes damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from weakref import finalize

from corelib.journal import SEGMENT_BYTES, JournalWriter
from corelib.pure.records import Record, Row
from corelib.segments import Damage, Entry, read

__all__ = ["damage_in", "entries_in", "flip", "log", "open_writer", "records_in", "steps_in"]


def open_writer(
    journal_dir: Path,
    writer: str = "w1",
    *,
    segment_bytes: int = SEGMENT_BYTES,
    now: float = 100.0,
    primary: bool = True,
) -> JournalWriter:
    """Begin to write a journal. A writer that is forgotten lets go of its files, as a killed process does."""
    opened = JournalWriter(
        journal_dir,
        run_id="abc",
        writer=writer,
        start_time=100.0,
        now=now,
        host="node",
        primary=primary,
        segment_bytes=segment_bytes,
    )
    finalize(opened, _let_go, vars(opened)).atexit = False
    return opened


def _let_go(state: dict[str, Any]) -> None:
    for fd in (state["_fd"], state["_lock_fd"]):
        if fd >= 0:
            os.close(fd)


def log(writer: JournalWriter, steps: range, **data: Any) -> None:
    """Append one row per step, a second apart; the step is among the data, too."""
    for step in steps:
        writer.row(100.0 + step, step, {"n": step, **data})


def entries_in(journal_dir: Path) -> list[Entry | Damage]:
    """Return all that reading a journal yields."""
    return list(read(journal_dir))


def records_in(journal_dir: Path, writer: str | None = None) -> list[Record]:
    """Return the records of a journal, or of one of its writers."""
    return [
        entry.record
        for entry in entries_in(journal_dir)
        if isinstance(entry, Entry) and writer in (None, entry.writer)
    ]


def damage_in(journal_dir: Path) -> list[Damage]:
    """Return what is damaged in a journal."""
    return [entry for entry in entries_in(journal_dir) if isinstance(entry, Damage)]


def steps_in(journal_dir: Path, writer: str | None = None) -> list[int | None]:
    """Return the steps of the rows of a journal, or of one of its writers."""
    return [record.step for record in records_in(journal_dir, writer) if isinstance(record, Row)]


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip one bit of a file, counted from its end where `place` is negative."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)
