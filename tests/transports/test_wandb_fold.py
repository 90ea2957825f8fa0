"""Rows name the records that they are made of, and a record counts once."""

from __future__ import annotations

import math
from typing import Any

from corelib.pure.records import MetricDefined, Row, SummaryChange
from corelib.testing.specimens import TIME, start_record
from transports.wandb_encoding import json_text
from transports.wandb_fold import RunFold


def row(seq: int, step: int | None, commit: bool = True, *, late: bool = False, **data: Any) -> Row:
    return Row(seq=seq, time=TIME + seq, step=step, data=data or {"x": seq}, commit=commit, late=late)


def keys_of(fold: RunFold, *records: Row) -> list[list[int]]:
    return [[seq for _, seq in found.keys] for record in records for found in fold.feed("w", record)]


def test_a_plain_row_names_its_record() -> None:
    """One call, one row, one record."""
    assert keys_of(RunFold(), row(1, 0), row(2, 1)) == [[1], [2]]


def test_an_open_row_names_all_its_records() -> None:
    """A row of several calls names them all."""
    assert keys_of(RunFold(), row(1, 0, False), row(2, 0, False), row(3, 0), row(4, 1)) == [[1, 2, 3], [4]]


def test_a_row_that_is_closed_by_the_next_step_names_that_too() -> None:
    """Better one too many than a refusal that is not counted."""
    fold = RunFold()

    assert keys_of(fold, row(1, 0, False), row(2, 5, False), row(3, 5)) == [[1, 2], [2, 3]]
    assert keys_of(fold, row(4, 6, False), row(5, 7)) == [[4, 5], [4, 5]]


def test_a_late_row_leaves_the_open_one_alone() -> None:
    """A row behind the current step is a row of its own."""
    assert keys_of(RunFold(), row(1, 5, False), row(2, 3, late=True), row(3, 5)) == [[2], [1, 3]]


def test_the_end_closes_rows_on_its_own_behalf() -> None:
    """What is open at the end names the record that ends the run; without one, nobody."""
    fold = RunFold()
    keys_of(fold, row(1, 0, False))
    fold.feed("v", row(1, None, False))

    assert [found.keys for found in fold.finish(("w", 9))] == [(("w", 9),)] * 2
    keys_of(fold, row(2, 1, False))
    assert [found.keys for found in fold.finish(None)] == [()]
    assert keys_of(fold, row(3, 2)) == [[3]]


def test_answered_records_are_not_named_later() -> None:
    """A record whose batch was answered for good is not refused after all."""
    fold = RunFold()
    keys_of(fold, row(1, 0, False))
    fold.forget_open_keys()

    assert keys_of(fold, row(2, 0)) == [[2]]


def test_records_are_known_by_their_numbers() -> None:
    """Each writer is a sequence of its own."""
    fold = RunFold()
    fold.feed("w", row(3, 0))

    assert fold.is_known("w", row(3, 0))
    assert fold.is_known("w", row(2, 0))
    assert not fold.is_known("w", row(4, 0))
    assert not fold.is_known("v", row(1, 0))


def test_the_step_of_the_summary_is_the_greatest() -> None:
    """A resumed run goes on behind the greatest step, also where the last row came late."""
    fold = RunFold()
    fold.feed("w", start_record(summary={"_step": 3, "loss": 1.0}))
    assert fold.summary["_step"] == 3
    fold.feed("w", row(2, 10))
    fold.feed("w", row(3, 4, late=True))

    assert fold.summary["_step"] == 10


def test_definitions_add_up() -> None:
    """A later definition adds to the earlier one of the same name, or replaces it."""
    fold = RunFold()
    fold.feed("w", MetricDefined(seq=1, time=TIME, name="loss", summary=("min",)))
    fold.feed("w", MetricDefined(seq=2, time=TIME, name="loss", hidden=True))
    fold.feed("w", MetricDefined(seq=3, time=TIME, name="acc", summary=("max",)))
    fold.feed("w", MetricDefined(seq=4, time=TIME, name="acc", hidden=True, overwrite=True))

    loss, accuracy = fold.definitions
    assert (loss.summary, loss.hidden) == (("min",), True)
    assert (accuracy.summary, accuracy.hidden) == (None, True)


def test_the_summary_is_as_servers_keep_it() -> None:
    """A NaN of a row is bare and a None absent; of a NaN that was set by hand a null is made, but not in a list."""
    fold = RunFold()
    nan = math.nan
    by_hand = {"set": nan, "in": {"x": nan, "list": [nan]}, "up": math.inf, "none": None}
    fold.feed("w", start_record(summary={"stored": nan}))
    fold.feed("w", row(1, 0, loss=nan, nothing=None, nested={"x": nan, "nothing": None}))
    fold.feed("w", SummaryChange(seq=2, time=TIME, update=by_hand, remove=()))
    text = json_text({key: value for key, value in fold.summary.items() if not key.startswith("_")})

    assert text == (
        b'{"stored":NaN,"loss":NaN,"nested":{"x":NaN},'
        b'"set":null,"in":{"x":null,"list":[NaN]},"up":Infinity,"none":null}'
    )
    assert math.isnan(fold.replay.summary["set"])
    fold.feed("w", row(3, 1, set=nan))
    assert math.isnan(fold.summary["set"])


def test_aggregations_keep_their_nan() -> None:
    """What rows have made NaN is NaN at the server."""
    fold = RunFold()
    fold.feed("w", MetricDefined(seq=1, time=TIME, name="x", summary=("min",)))
    fold.feed("w", row(2, 0, x=math.nan))

    assert json_text(fold.summary["x"]) == b'{"min":NaN}'
