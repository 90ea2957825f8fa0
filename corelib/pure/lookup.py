"""What the records at hand answer when somebody asks for a run: is it there, and how far did it get.

Law: the answer follows from the records alone, wherever they are kept. A run is known by its newest part that
tells anything; the parts that it continues add their rows. What cannot be understood is said to be so, and
never taken for "not there": nobody overwrites what we cannot read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import frozen

from corelib.pure.records import RunStart
from corelib.pure.remote import Absent, Created, RemoteRun, Started, Unreadable
from corelib.pure.replay import Replay

__all__ = ["LocalAnswer", "Part", "answer"]

LocalAnswer: TypeAlias = Absent | Created | Started | Unreadable


@frozen(kw_only=True)
class Part:
    """What one process run left: one run directory, or what a memory kept of it.

    Args:
        where: how to name it to people.
        replay: the fold of its records, finished.
        damage: what is damaged in it beyond the torn end that a power cut leaves; None if nothing is.
        exit_code: the exit code, where it is known from elsewhere than the exit record.
    """

    where: str
    replay: Replay
    damage: str | None = None
    exit_code: int | None = None


def answer(run_id: str, parts: Sequence[Part]) -> LocalAnswer:
    """Answer for a run from its parts, newest first: the newest itself, then those that it continues.

    A part without start and without damage is the trace of a process that was killed before the run began: it
    says no more than that the run was created. With damage, nobody knows what the lost records said: that is
    unreadable.
    """
    for number, part in enumerate(parts):
        start = part.replay.start
        if start is not None:
            earlier = [one.replay for one in parts[number + 1 :]]
            return Started(_remote(run_id, part, start, earlier))
        if part.damage is not None:
            return Unreadable(f"{part.where} holds no readable start of the run: {part.damage}")
    return Created() if parts else Absent()


def _remote(run_id: str, part: Part, start: RunStart, earlier: Sequence[Replay]) -> RemoteRun:
    replay, ending = part.replay, part.replay.exit
    lines = replay.rows + sum(one.rows for one in earlier)
    exit_code = ending.exit_code if ending is not None else None
    return RemoteRun(
        run_id=run_id,
        where=part.where,
        config=replay.config,
        summary=replay.summary,
        # Without any row the starting step was announced and never written, so it is used again.
        last_step=replay.last_step if lines else start.starting_step,
        history_lines=lines,
        history_runtime=replay.runtime,
        tags=replay.tags,
        notes=replay.notes,
        name=replay.name,
        exit_code=part.exit_code if exit_code is None else exit_code,
    )
