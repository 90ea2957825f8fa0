"""What stands in a run directory, as far as delivering it needs to know.

Law: a survey reads the first and the last segment of each writer, never a whole journal, and changes nothing. What it
cannot read it says, and never takes for "not there". `lost_records` reads all, for whoever misses something.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import time
from typing import Final, NamedTuple

from attrs import frozen

from corelib.errors import JournalError
from corelib.pure.lifecycle import state_of
from corelib.pure.paths import RunPaths, parse_folder_name
from corelib.pure.records import Exit, Header, RunStart
from corelib.segments import Damage, Entry, is_live, read_segment, read_writer, segments, writers
from corelib.shell.ending import read_status

__all__ = ["Part", "lost_records", "survey"]

_QUIET_S: Final = 3600.0
"""How long a journal that another host writes must have been quiet before its writer counts as dead, in seconds."""


@frozen(kw_only=True)
class Part:
    """One run directory: a run, or the part of it that one process recorded.

    Args:
        directory: its absolute path.
        run_id: the run.
        header: the first header of the primary writer; None where it is lost.
        start: how the run began; None where it never did, or where that is lost.
        ending: the exit record of the primary writer; None where there is none (yet).
        exit_code: the exit code, also where it stands beside the journal.
        is_running: somebody may still be writing.
        written: how many records were written, headers left out, as far as the first and the last segment tell.
        damage: what cannot be read of the beginning or the end, where that is so.
    """

    directory: Path
    run_id: str
    header: Header | None
    start: RunStart | None
    ending: Exit | None
    exit_code: int | None
    is_running: bool
    written: int
    damage: str | None

    @property
    def is_lost(self) -> bool:
        """Whether nothing of it can be delivered, for nobody knows what it is."""
        return self.start is None or self.header is None

    @property
    def state(self) -> str:
        """running, finished, failed or crashed; empty where no run ever began."""
        if self.start is None and self.damage is None:
            return "empty"
        return state_of(ended=self.ending is not None, exit_code=self.exit_code, live=self.is_running)


def survey(directory: Path, host: str | None = None) -> Part:
    """Look what is in a run directory.

    Args:
        directory: the run directory.
        host: the name of this machine. On others nobody can see whether a writer lives: a journal that was written
            elsewhere is taken for running until it has been quiet for an hour.

    Raises:
        JournalError: there is no journal in it.
        OSError: it cannot be read.
    """
    paths = RunPaths(Path(os.path.abspath(directory)))
    if not paths.journal.is_dir():
        raise JournalError(f"{directory} is no run directory: it holds no journal.")
    live = is_live(paths.journal)
    ends = [_ends(paths.writer(name)) for name in writers(paths.journal)]
    primary = next((one for one in ends if one.header is not None and one.header.primary), _NOTHING)
    header = primary.header or next((one.header for one in ends if one.header is not None), None)
    ending = primary.ending
    if not live and ending is None and header is not None and host not in (None, header.host):
        live = time() - max((one.touched for one in ends), default=0.0) < _QUIET_S
    hidden = ending is not None and ending.exit_code is None
    return Part(
        directory=paths.run_dir,
        run_id=_run_id(paths, header),
        header=header,
        start=primary.start,
        ending=ending,
        exit_code=read_status(str(paths.exit_status)) if hidden else ending.exit_code if ending else None,
        is_running=live,
        written=sum(one.written for one in ends),
        damage=next((one.damage for one in ends if one.damage is not None), None),
    )


class _Ends(NamedTuple):
    """The beginning and the end of one writer's journal; `touched` is when it grew last, in seconds since the epoch."""

    header: Header | None = None
    start: RunStart | None = None
    ending: Exit | None = None
    written: int = 0
    touched: float = 0.0
    damage: str | None = None


_NOTHING: Final = _Ends()


def lost_records(directory: Path) -> int:
    """Return how many records of a run directory are damaged; all of its journal is read for that.

    Where a whole segment is not there and nothing follows it, nobody knows how many it held: it counts as one.

    Raises:
        OSError: it cannot be read.
    """
    journal = RunPaths(directory).journal
    lost = 0
    for name in writers(journal):
        losses = _Losses()
        for entry in read_writer(journal / name):
            losses.hear(entry)
        lost += losses.count + sum(_is_empty(path) for _, path in segments(journal / name))
    return lost


class _Losses:
    """Counts the records that damage took, by the numbers of those on either side of it.

    A number that is missing elsewhere is no loss: a record that `log()` could not write took it along.
    """

    def __init__(self) -> None:
        self._known = 0
        self._last_seq = -1
        self._segment = 0
        self._damaged = 0

    @property
    def behind(self) -> int:
        """How many there are behind the last record, as far as that can be known."""
        return self._damaged

    @property
    def count(self) -> int:
        """How many there are, those behind the last record included."""
        return self._known + self._damaged

    def hear(self, entry: Entry | Damage) -> None:
        """Take what was read next."""
        if isinstance(entry, Damage):
            self._damaged += entry.kind != "torn"
            return
        record = entry.record
        headers = record.segment - self._segment - 1 if type(record) is Header else 0
        if self._damaged:
            self._known += max(record.seq - self._last_seq - 1 - headers, 1)
            self._damaged = 0
        self._segment = record.segment if type(record) is Header else self._segment
        self._last_seq = max(self._last_seq, record.seq)


def _ends(writer_dir: Path) -> _Ends:
    present = segments(writer_dir)
    if not present:
        return _NOTHING
    header, start, damage = _beginning(read_segment(present[0][1]), writer_dir)
    touched = _touched(present[-1][1])
    left = list(present)
    number, last, unread = 0, _NO_LAST, 0
    while left and last.seq < 0:  # the last segment, or the last one of which anything can be read
        unread += last.losses.count
        number, path = left.pop()
        last = _read(path)
        damage = damage or last.damage
    # Every segment begins with a header, which takes a number as well.
    counted = last.seq + 1 - number + last.losses.behind if left else last.records + last.losses.count
    return _Ends(header, start, last.ending, counted + unread, touched, damage)


class _Last(NamedTuple):
    """What stands in a segment: how many records, the last number, the end of the run, and what is damaged."""

    records: int
    seq: int
    ending: Exit | None
    losses: _Losses
    damage: str | None


_NO_LAST: Final = _Last(0, -1, None, _Losses(), None)


def _read(path: Path) -> _Last:
    records, seq, ending, damage, losses = 0, -1, None, None, _Losses()
    for entry in _entries(path):
        losses.hear(entry)
        if type(entry) is Entry:
            records += type(entry.record) is not Header
            seq = max(seq, entry.record.seq)
            ending = entry.record if type(entry.record) is Exit else ending
        elif type(entry) is Damage and entry.kind != "torn":
            damage = damage or f"{path.parent.name}/{entry.segment}: {entry.reason}"
    return _Last(records, seq, ending, losses, damage)


def _entries(path: Path) -> Iterator[Entry | Damage]:
    """Read a segment; one that is empty is damaged, for it gets its name when its header is in it."""
    if _is_empty(path):
        yield Damage(path.parent.name, path.name, 0, 0, "missing", "the file is empty")
    yield from read_segment(path)


def _is_empty(path: Path) -> bool:
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:  # sealed meanwhile
        return False


def _beginning(
    entries: Iterable[Entry | Damage], writer_dir: Path
) -> tuple[Header | None, RunStart | None, str | None]:
    header: Header | None = None
    for entry in entries:
        if isinstance(entry, Damage):
            torn = entry.kind == "torn"
            return header, None, None if torn else f"{writer_dir.name}/{entry.segment}: {entry.reason}"
        if type(entry.record) is Header:
            header = header or entry.record
        elif type(entry.record) is RunStart:
            return header, entry.record, None
        else:
            break
    return header, None, None


def _touched(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # sealed meanwhile, so it was alive just now
        return time()


def _run_id(paths: RunPaths[Path], header: Header | None) -> str:
    if header is not None:
        return header.run_id
    name = parse_folder_name(paths.folder)
    return paths.folder if name is None else name.run_id
