"""What a run still has to say, where the conversation never asks."""

from __future__ import annotations

import pytest
from attrs import evolve

from corelib.ports import Batch, RunRef
from corelib.pure.parts import Base, with_base
from corelib.pure.records import (
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    Record,
    Row,
    SummaryChange,
    SystemMetrics,
)
from corelib.testing.specimens import TIME, start_record
from tests.properties.wandb_world import settings
from transports.wandb_saved import Owed
from transports.wandb_work import RunWork


def test_a_run_without_a_start_cannot_be_described() -> None:
    """Nobody can be told what nobody has said."""
    with pytest.raises(ValueError, match="how the run began"):
        RunWork(settings()).description()


def test_a_part_that_another_one_follows_has_nothing_more_to_say() -> None:
    """Its lines are there up to where the other one begins, later ones have no place, and all else is over."""
    config = with_base(with_base({}, "w", Base()), "later", Base(history=2, events=1, console=1, place=1))
    start = start_record(writer="w", config=config)
    records = (
        start,
        *(Row(seq=seq, time=TIME, step=seq, data={"x": seq}) for seq in (2, 3, 4)),
        ConsoleLines(seq=5, time=TIME, stream="stdout", lines=("one", "two")),
        *(SystemMetrics(seq=seq, time=TIME, data={"cpu": 1.0}) for seq in (6, 7)),
        SummaryChange(seq=8, time=TIME, update={"best": 1}),
        Alert(seq=9, time=TIME, title="t", text="", level="INFO", wait_duration=0.0),
        FileSaved(seq=10, time=TIME, path="model.bin", policy="now"),
        Exit(seq=11, time=TIME, exit_code=1, runtime=1.0),
    )
    batch = Batch(
        run=RunRef(run_id="abc", project="p", entity=None, directory=None),
        writer="w",
        header=None,
        records=records,
    )
    work = RunWork(settings())
    work.is_complete = True
    work.begin(start)

    work.take(batch)

    refused = work.answered(batch)
    assert set(refused) == {4, 5, 7}
    assert all("--id" in reason for reason in refused.values())
    assert work.is_followed
    assert work.is_complete
    left = (work.stream.has_lines, work.stream.is_ending, bool(work.alerts), work.has_files_left)
    assert not any(left)
    assert work.changed_description() is None

    again = evolve(batch, records=records[-3:-1])
    work.take_again(again)
    assert set(work.answered(again)) == {9, 10}
    assert not work.alerts
    assert not work.has_files_left


def test_what_a_followed_part_still_owed_is_told() -> None:
    """Nobody is to find out by chance that a file is missing."""
    config = with_base(with_base({}, "w", Base()), "later", Base(place=1))
    work = RunWork(settings(), owed=Owed(files=("model.bin",)))

    work.begin(start_record(writer="w", config=config))

    (notice,) = work.losses.untold()
    assert "--id" in notice


@pytest.mark.parametrize(("moment", "step"), [(10, 0), (5.01, 1)])
def test_a_copy_that_is_older_than_what_the_server_knows_does_not_have_the_last_word(
    moment: float, step: int
) -> None:
    """Until it has got as far as the server, and a copy that was made meanwhile never does."""
    start = start_record(writer="w", latest=TIME + moment, latest_step=step)
    run = RunRef(run_id="abc", project="p", entity=None, directory=None)

    def batch(*records: Record) -> Batch:
        return Batch(run=run, writer="w", header=None, records=records)

    def left(work: RunWork) -> tuple[bool, bool, bool]:
        push = work.stream.next_push(may_complete=True)
        return push.has_summary, push.complete, work.changed_description() is not None

    rows = [
        Row(seq=2 + place, time=TIME + later, step=place, data={"x": place})
        for place, later in enumerate((5, moment))
    ]
    change = ConfigChange(seq=8, time=TIME, update={"lr": 1})
    end = Exit(seq=9, time=TIME, exit_code=1, runtime=1.0)
    work, copy, heir = (RunWork(settings()) for _ in range(3))
    for one in (work, copy, heir):
        one.begin(start)

    copy.take(batch(start, rows[0], change, end))
    work.take(batch(start, *rows, change, end))
    heir.rebuild(batch(start, *rows))
    heir.take(batch(change, end))

    assert left(copy) == (False, False, False)
    assert copy.stream.has_lines
    assert left(work) == left(heir) == (True, True, True)
