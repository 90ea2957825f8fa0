"""What has to be delivered before a run: the earlier parts of it that this machine recorded online or began to send.

Law: parts of one run reach a destination one after the other, in the order of their beginning. A part that another
process still delivers is waited for, one that nobody delivers any more is delivered first; else a late part would
overwrite, or be overwritten by, the lines of another. What was recorded offline, or in another runs directory, is left
to `corelib sync` as long as nothing of it has arrived.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from attrs import evolve

from corelib.errors import JournalError
from corelib.ports import Retry, RunRef, Transport
from corelib.pure.paths import parse_folder_name
from corelib.pure.records import RunStart
from corelib.segments import run_directories
from corelib.shell.cursor_place import PlacedCursor
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.delivery import Delivery
from corelib.shell.run_turn import turn_at
from corelib.shell.source import CompletedSource
from corelib.shell.survey import Part, survey

__all__ = ["Predecessors", "has_backlog"]

_CRASHED: Final = 1  # the exit code of a process that died without a word
_LOOK_AGAIN_S: Final = 1.0


def has_backlog(data_directory: str, run: RunRef, cursor_name: str) -> bool:
    """Return whether something of this run may still be on its way from this machine to a destination.

    Args:
        data_directory: the directory that holds the run directories.
        run: the address of the run.
        cursor_name: what the destination's cursor is called.
    """
    turn = turn_at(cursor_name, run)
    if turn is not None and turn.is_taken():
        return True
    return any(True for _ in _undelivered(Path(data_directory), run, cursor_name))


class Predecessors:
    """The earlier parts of one run, seen by who delivers a later one.

    Args:
        run: the address of the run, with the directory of the later part.
        start: how the later part began.
        transport: what carries it; it carries the earlier ones as well.
        cursor_name: what the destination's cursor is called.
        name: what the transport is called in messages.
        tell: takes lines for the user.
    """

    def __init__(
        self,
        run: RunRef,
        start: RunStart,
        *,
        transport: Transport,
        cursor_name: str,
        name: str,
        tell: Callable[[str], None],
    ) -> None:
        self._run = run
        self._start = start
        self._transport = transport
        self._cursor_name = cursor_name
        self._name = name
        self._tell = tell

    def deliver(self, later: Delivery) -> Retry | None:
        """Have all of them delivered; return why the later part cannot be delivered yet."""
        for part in self._parts():
            cursor = PlacedCursor(str(part.directory), self._cursor_name)
            if not _take(cursor):
                return Retry(
                    reason=f"another process delivers an earlier part of the run just now, {part.directory.name}",
                    after=_LOOK_AGAIN_S,
                )
            earlier = self._delivery(part, later, cursor)
            if earlier is not None:
                later.carry_first(earlier)
                if not earlier.is_drained and not earlier.is_refused:
                    why = f" ({earlier.hindrance})" if earlier.hindrance else ""
                    reason = (
                        f"an earlier part of the run, {part.directory.name}, is still to be delivered{why}"
                    )
                    return Retry(reason=reason, after=_LOOK_AGAIN_S)
        return None

    def _parts(self) -> Iterator[Part]:
        own = Path(os.path.realpath(self._run.directory or ""))
        run = evolve(self._run, entity=self._start.entity, project=self._start.project)
        for part in _undelivered(own.parent, run, self._cursor_name):
            if part.directory == own:
                return
            yield part

    def _delivery(self, part: Part, later: Delivery, cursor: PlacedCursor) -> Delivery | None:
        header, start = part.header, part.start
        if header is None or start is None:
            cursor.release()
            return None
        directory = str(part.directory)
        run = RunRef(
            run_id=self._run.run_id,
            project=self._run.project,
            entity=self._run.entity,
            directory=directory,
        )
        return Delivery(
            self._transport,
            CompletedSource(
                part.directory / "journal",
                primary=header.writer,
                start=start,
                start_time=header.start_time,
                fate=lambda: _fate(part),
            ),
            run=run,
            start=start,
            name=self._name,
            report=self._tell,
            world=later.world,
            cursor=cursor,
            dead_letters=DeadLetters(cursor.place or directory, self._cursor_name, run.run_id),
            may_repeat=True,
        )


def _take(cursor: PlacedCursor) -> bool:
    """Take the right to deliver a part; return whether it is ours, or nobody's.

    It is not waited for: who has it may wait for the turn that we have.
    """
    try:
        return cursor.lock()
    except OSError:  # the delivery says that no cursor can be kept
        return True


def _fate(part: Part) -> int | None:
    if part.is_running:
        return None
    return _CRASHED if part.exit_code is None else part.exit_code


def _undelivered(root: Path, run: RunRef, cursor_name: str) -> Iterator[Part]:
    """Yield the parts of a run whose end was not delivered; no journal of another run is read.

    Those elsewhere come first, of which something has arrived; then those of one runs directory, oldest first.
    """
    turn = turn_at(cursor_name, run)
    begun = [Path(path) for path in (turn.begun() if turn is not None else ())]
    for directory in (*(path for path in begun if path.parent != root), *run_directories(root)):
        name = parse_folder_name(directory.name)
        if name is None or not name.names(run.run_id):
            continue
        is_elsewhere = directory.parent != root
        try:
            cursor = PlacedCursor(str(directory), cursor_name).read(run.run_id)
        except JournalError:
            cursor = None  # it is delivered anew
        if cursor is not None and cursor.exited:
            continue
        if cursor is None and (is_elsewhere or name.run_mode != "run"):
            continue
        try:
            part = survey(directory)
        except (JournalError, OSError):
            continue  # a journal that cannot be read holds nobody up
        start = part.start
        if start is None or (start.entity, start.project) != (run.entity, run.project):
            continue
        if cursor is not None or start.mode == "online":
            yield part
