"""The fold of records into the run they tell of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from corelib.pure.records import (
    Alert,
    ConfigChange,
    Exit,
    FileSaved,
    Header,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    RunStart,
    SummaryChange,
)
from corelib.pure.replay import HistoryRow, Replay

MAIN = "main"
CHILD = "child"


def header(
    writer: str = MAIN, *, primary: bool = True, start_time: float = 100.0, segment: int = 1
) -> Header:
    """Return a header of a run that began at second 100."""
    return Header(
        seq=0,
        time=start_time,
        version=1,
        run_id="abc",
        writer=writer,
        segment=segment,
        start_time=start_time,
        host="node",
        pid=1,
        primary=primary,
    )


def start(**changes: Any) -> RunStart:
    """Return the start of a new run, with some fields changed."""
    fields: dict[str, Any] = {
        "seq": 1,
        "time": 100.0,
        "project": "iris",
        "entity": None,
        "name": None,
        "group": None,
        "job_type": "train",
        "notes": None,
        "tags": (),
        "mode": "offline",
        "resumed": False,
        "starting_step": 0,
        "runtime_offset": 0.0,
        "previous": None,
        "decision": "A new run.",
        "config": {},
        "summary": {},
        "program": None,
        "sweep_id": None,
    }
    return RunStart(**{**fields, **changes})


def row(time: float, step: int | None, *, commit: bool = True, late: bool = False, **data: Any) -> Row:
    """Return one call of `log()`."""
    return Row(seq=2, time=time, step=step, data=data, commit=commit, late=late)


def replayed(records: Iterable[Record | tuple[str, Record]]) -> tuple[Replay, list[HistoryRow]]:
    """Feed records, of the main writer unless they name another; return the run and its rows, the end included."""
    replay = Replay()
    rows: list[HistoryRow] = []
    for one in records:
        writer, record = one if isinstance(one, tuple) else (MAIN, one)
        rows += replay.feed(writer, record)
    rows += replay.finish()
    return replay, rows


def test_nothing() -> None:
    """A run of which nothing is known has no rows, an empty summary, and has run for no time."""
    replay, rows = replayed([])

    assert (rows, replay.summary, replay.config, replay.runtime, replay.exit) == ([], {}, {}, 0.0, None)


@pytest.mark.case("log-basic")
def test_rows_as_users_see_them() -> None:
    """A row has its values, its step, its time, and the seconds since the run began."""
    _, rows = replayed([header(), start(), row(101.5, 0, a=1), row(103.0, 1, b={"c": 2})])

    assert [one.flat() for one in rows] == [
        {"a": 1, "_step": 0, "_runtime": 1.5, "_timestamp": 101.5},
        {"b/c": 2, "_step": 1, "_runtime": 3.0, "_timestamp": 103.0},
    ]


@pytest.mark.case("log-timestamp-key")
def test_timestamp_of_the_user_is_kept() -> None:
    """A `_timestamp` that was logged stands, in the row and in the summary."""
    replay, rows = replayed([header(), row(101.0, 0, _timestamp=5, b=1)])

    assert rows[0].flat() == {"_timestamp": 5, "b": 1, "_step": 0, "_runtime": 1.0}
    assert replay.summary["_timestamp"] == 5


def test_summary_carries_the_place_of_the_last_row() -> None:
    """The summary shows the last values, and where the last row stands."""
    replay, _ = replayed([header(), start(), row(101.0, 0, a=1, d={"x": 1}), row(102.0, 1, a=2)])

    assert replay.summary == {
        "a": 2,
        "d": {"x": 1},
        "_step": 1,
        "_runtime": 2.0,
        "_timestamp": 102.0,
        "_wandb": {"runtime": 2},
    }


def test_many_rows_are_reduced_in_between() -> None:
    """Rows are not kept: the summary is the same however many there were since anybody asked."""
    replay, rows = replayed([header(), start(), *(row(100.0 + n, n, a=n) for n in range(1000))])

    assert (len(rows), replay.rows, replay.last_step) == (1000, 1000, 999)
    assert replay.summary["a"] == 999


def test_open_row_at_the_end() -> None:
    """An open row belongs to the run, but only its end closes it."""
    replay = Replay()
    replay.feed(MAIN, header())

    assert replay.feed(MAIN, row(101.0, 4, commit=False, a=1)) == []
    assert replay.rows == 0
    assert replay.finish() == [HistoryRow(4, 101.0, 1.0, {"a": 1})]
    assert replay.finish() == []
    assert replay.rows == 1


def test_late_row_moves_nothing() -> None:
    """A late row keeps its own step, and what follows goes on behind the highest one."""
    replay, rows = replayed(
        [header(), row(101.0, 9, a=1), row(102.0, 3, late=True, a=2), (CHILD, row(103.0, None, a=3))]
    )

    assert [one.step for one in rows] == [9, 3, 10]
    assert replay.last_step == 10


def test_rows_of_children_are_numbered_by_the_reader() -> None:
    """Rows without a step follow each other, from the starting step on; rows of several writers never mix."""
    _, rows = replayed(
        [
            header(),
            start(starting_step=7),
            (CHILD, header(CHILD, primary=False, start_time=100.0)),
            (CHILD, row(101.0, None, commit=False, a=1)),
            row(101.5, 7, m=1),
            (CHILD, row(102.0, None, b=2)),
            (CHILD, row(103.0, None, b=3)),
        ]
    )

    assert [(one.step, dict(one.data)) for one in rows] == [
        (7, {"m": 1}),
        (8, {"a": 1, "b": 2}),
        (9, {"b": 3}),
    ]


def test_first_row_of_a_child_without_a_start() -> None:
    """Where the start of the run is lost, numbering begins at 0."""
    _, rows = replayed([(CHILD, row(101.0, None, a=1)), (CHILD, row(102.0, None, a=1))])

    assert [(one.step, one.runtime) for one in rows] == [(0, 0.0), (1, 0.0)]


def test_header_of_the_primary_writer_counts() -> None:
    """Whichever header is read first, the primary writer's is the run's; its later ones change nothing."""
    child, primary = header(CHILD, primary=False, start_time=50.0), header()
    replay, _ = replayed([(CHILD, child), primary, header(segment=2), (CHILD, child)])

    assert replay.header == primary


def test_resumed_run() -> None:
    """A resumed run begins with config, summary, step and runtime of the one it continues."""
    replay, rows = replayed(
        [
            header(),
            start(
                starting_step=16,
                runtime_offset=30.0,
                resumed=True,
                config={"lr": 0.1},
                summary={"loss": 0.5, "old": 1},
                name="swift",
                notes="n",
                tags=("a",),
            ),
            (CHILD, row(101.0, None, loss=0.4)),
        ]
    )

    assert [(one.step, one.runtime) for one in rows] == [(16, 31.0)]
    assert (replay.config, replay.name, replay.notes, replay.tags) == ({"lr": 0.1}, "swift", "n", ("a",))
    assert (replay.summary["loss"], replay.summary["old"]) == (0.4, 1)
    assert replay.runtime == 31.0


def test_starting_at_step_zero() -> None:
    """A start at 0 makes the first row that names no step row 0, and forgets nothing that was read before."""
    _, rows = replayed([(CHILD, row(100.0, None, a=1)), start(), (CHILD, row(101.0, None, a=1))])

    assert [one.step for one in rows] == [0, 1]


def test_changes_of_the_config() -> None:
    """Whole top-level values are set, keys are removed, and removing what is not there is harmless."""
    replay, _ = replayed(
        [
            start(config={"a": 1, "n": {"x": 1}}),
            ConfigChange(seq=2, time=101.0, update={"n": {"y": 2}, "b": 3}),
            ConfigChange(seq=3, time=102.0, update={}, remove=("a", "never")),
        ]
    )

    assert replay.config == {"n": {"y": 2}, "b": 3}


@pytest.mark.case("sum-explicit-then-log")
def test_changes_of_the_summary_keep_their_place() -> None:
    """An explicit value holds until the next row that names the key: order of the records decides."""
    before: list[Record] = [
        header(),
        row(101.0, 0, a=1),
        SummaryChange(seq=3, time=101.5, update={"a": 9, "b": 2}),
    ]

    assert replayed(before)[0].summary["a"] == 9
    assert replayed([*before, row(102.0, 1, a=1)])[0].summary["a"] == 1
    removed = SummaryChange(seq=4, time=103.0, update={}, remove=("a",))
    summary = replayed([*before, removed])[0].summary
    assert "a" not in summary
    assert summary["b"] == 2


def test_definitions_see_earlier_rows() -> None:
    """A definition that comes late holds for the rows before it as well."""
    replay, _ = replayed(
        [
            header(),
            row(101.0, 0, v=9),
            MetricDefined(seq=3, time=101.5, name="v", summary=("max",)),
            row(102.0, 1, v=1),
        ]
    )

    assert replay.summary["v"] == {"max": 9}


def test_changes_of_name_notes_and_tags() -> None:
    """None leaves a field alone; an empty text or an empty list clears it."""
    replay, _ = replayed(
        [
            start(name="a", notes="b", tags=("c",)),
            RunChange(seq=2, time=101.0, name="d"),
            RunChange(seq=3, time=102.0, notes=""),
        ]
    )

    assert (replay.name, replay.notes, replay.tags) == ("d", "", ("c",))
    assert replay.feed(MAIN, RunChange(seq=4, time=103.0, tags=())) == []
    assert (replay.name, replay.notes, replay.tags) == ("d", "", ())


def test_files_alerts_preemption() -> None:
    """Files are known with their last policy, alerts in their order, and an announced preemption is remembered."""
    alerts = [
        Alert(seq=n, time=101.0, title=str(n), text="x", level="INFO", wait_duration=60.0) for n in (4, 5)
    ]
    replay, _ = replayed(
        [
            FileSaved(seq=2, time=101.0, path="a.txt", policy="live"),
            FileSaved(seq=3, time=101.0, path="a.txt", policy="end"),
            *alerts,
            Preempting(seq=6, time=101.0),
        ]
    )

    assert (replay.files, replay.alerts, replay.preempting) == ({"a.txt": "end"}, alerts, True)


def test_runtime() -> None:
    """The exit record knows how long the run ran; without one the last record is the last sign of life."""
    begun: list[Record] = [header(), start(runtime_offset=10.0), row(105.0, 0, a=1)]
    ending = Exit(seq=3, time=106.0, exit_code=0, runtime=16.25)

    assert replayed(begun)[0].runtime == 15.0
    assert replayed([*begun, Preempting(seq=3, time=107.0)])[0].runtime == 17.0
    assert replayed([*begun, ending])[0].runtime == 16.25
    assert replayed([*begun, ending])[0].exit == ending


def test_clock_that_was_set_back() -> None:
    """A row from before the start of the run, as a clock that was set back makes it, has a runtime of 0."""
    _, rows = replayed([header(), row(40.0, 0, a=1)])

    assert rows[0].runtime == 0.0
