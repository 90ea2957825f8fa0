"""What stands in a run directory, as far as delivering it needs to know.

Law: a survey reads the first and the last segment of each writer, never a whole journal, and changes nothing. What it
cannot read it says, and never takes for "not there".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from time import time
from typing import Final, NamedTuple

from attrs import frozen

from corelib.errors import JournalError
from corelib.pure.lifecycle import state_of
from corelib.pure.paths import RunPaths, parse_folder_name
from corelib.pure.records import Exit, Header, RunStart
from corelib.segments import Damage, Entry, is_live, read_segment, segments, writers
from corelib.shell.ending import read_status

__all__ = ["Part", "survey"]

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
        written: how many records were written, headers left out.
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


def _ends(writer_dir: Path) -> _Ends:
    present = segments(writer_dir)
    if not present:
        return _NOTHING
    header, start, damage = _beginning(read_segment(present[0][1]), writer_dir)
    ending: Exit | None = None
    last_seq, count = -1, 0
    for entry in read_segment(present[-1][1]):
        if type(entry) is Entry:
            count += type(entry.record) is not Header
            last_seq = max(last_seq, entry.record.seq)
            ending = entry.record if type(entry.record) is Exit else ending
        elif type(entry) is Damage and entry.kind != "torn":
            damage = damage or f"{writer_dir.name}/{entry.segment}: {entry.reason}"
    # Every segment begins with a header, which takes a number as well.
    written = count if len(present) == 1 else last_seq + 1 - len(present)
    return _Ends(header, start, ending, written, _touched(present), damage)


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


def _touched(present: list[tuple[int, Path]]) -> float:
    try:
        return present[-1][1].stat().st_mtime
    except FileNotFoundError:  # sealed meanwhile, so it was alive just now
        return time()


def _run_id(paths: RunPaths[Path], header: Header | None) -> str:
    if header is not None:
        return header.run_id
    name = parse_folder_name(paths.folder)
    return paths.folder if name is None else name.run_id
