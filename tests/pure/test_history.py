"""Steps of calls and rows of history. A call is written here as (data, step, commit), as `log()` takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import pytest

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.history import Assembled, Assembler, Placement, Steps, check_step, flatten, merge
from corelib.pure.records import Row

Call: TypeAlias = tuple[dict[str, Any], int | None, bool | None]


def call(step: int | None = None, commit: bool | None = None, **data: Any) -> Call:
    """Return one call of `log()`."""
    return data, step, commit


def rows_of(
    calls: Sequence[Call], policy: str = "keep", start: int = 0
) -> tuple[list[dict[str, Any]], list[int]]:
    """Log calls, read them back; return the rows with `_step`, and the counter after each call."""
    steps, assembler = Steps(start), Assembler()
    rows: list[Assembled] = []
    counter = []
    for time, (data, step, commit) in enumerate(calls):
        placed = steps.place(step, commit, policy)
        if placed.keep:
            row = Row(
                seq=time,
                time=float(time),
                step=placed.step,
                data=data,
                commit=placed.commit,
                late=placed.late,
            )
            rows += assembler.feed(row)
        counter.append(steps.step)
    rows += assembler.finish()
    return [{"_step": row.step, **row.data} for row in rows], counter


@pytest.mark.parametrize(
    ("calls", "rows", "counter"),
    [
        pytest.param(
            [call(a=1), call(b=2)],
            [{"_step": 0, "a": 1}, {"_step": 1, "b": 2}],
            [1, 2],
            marks=pytest.mark.case("log-basic"),
            id="plain",
        ),
        pytest.param(
            [call(5, a=1), call(5, b=1), call(6, c=1), call(d=1)],
            [{"_step": 5, "a": 1, "b": 1}, {"_step": 6, "c": 1, "d": 1}],
            [5, 5, 6, 7],
            marks=pytest.mark.case("log-same-step-merge"),
            id="one step in several calls",
        ),
        pytest.param(
            [call(a=1, commit=False), call(b=2), call(c=3, commit=False)],
            [{"_step": 0, "a": 1, "b": 2}, {"_step": 1, "c": 3}],
            [0, 1, 1],
            marks=pytest.mark.case("log-commit-false"),
            id="open row",
        ),
        pytest.param(
            [call(2, commit=True, a=1)],
            [{"_step": 2, "a": 1}],
            [3],
            marks=pytest.mark.case("log-commit-true-step"),
            id="step and commit",
        ),
        pytest.param(
            [call(a=1, commit=False), call(a=2)],
            [{"_step": 0, "a": 2}],
            [0, 1],
            marks=pytest.mark.case("log-overwrite"),
            id="later value wins",
        ),
        pytest.param(
            [call(), call(a=1)],
            [{"_step": 1, "a": 1}],
            [1, 2],
            marks=pytest.mark.case("log-empty"),
            id="empty call",
        ),
        pytest.param(
            [call(10), call(b=1)],
            [{"_step": 10, "b": 1}],
            [10, 11],
            marks=pytest.mark.case("log-empty-step"),
            id="empty call with step",
        ),
        pytest.param(
            [call(commit=False), call(commit=False)],
            [],
            [0, 0],
            id="nothing at all",
        ),
        pytest.param(
            [call(3, a=1), call(7, b=1), call(9, commit=True, c=1)],
            [{"_step": 3, "a": 1}, {"_step": 7, "b": 1}, {"_step": 9, "c": 1}],
            [3, 7, 10],
            id="a greater step closes the open row",
        ),
    ],
)
@pytest.mark.parametrize("policy", ["keep", "drop", "error"])
def test_steps_that_grow(
    calls: list[Call], rows: list[dict[str, Any]], counter: list[int], policy: str
) -> None:
    """Where steps grow, rows and counter are those of the reference, under every policy."""
    assert rows_of(calls, policy) == (rows, counter)


BACKWARDS = [call(5, commit=True, a=1), call(3, b=1), call(c=1)]
SAME_AGAIN = [call(4, commit=True, a=1), call(4, commit=True, bad=1)]
EXAMPLE = [
    call(n=1),
    call(n=11, commit=False),
    call(100, n=2),
    call(100, n=3),
    call(101, n=8),
    call(102, n=5),
    call(2, cool=2),
    call(4, cool=2),
]


@pytest.mark.parametrize(
    ("calls", "kept", "dropped"),
    [
        (BACKWARDS, [(5, "a"), (3, "b"), (6, "c")], [(5, "a"), (6, "c")]),
        (SAME_AGAIN, [(4, "a"), (4, "bad")], [(4, "a")]),
        (
            EXAMPLE,
            [(0, "n"), (1, "n"), (100, "n"), (101, "n"), (2, "cool"), (4, "cool"), (102, "n")],
            [(0, "n"), (1, "n"), (100, "n"), (101, "n"), (102, "n")],
        ),
    ],
    ids=["backwards", "same step after commit", "example"],
)
def test_steps_behind(calls: list[Call], kept: list[tuple[int, str]], dropped: list[tuple[int, str]]) -> None:
    """A call behind becomes a row of its own under "keep", is absent under "drop", and never moves the counter."""
    rows, counter = rows_of(calls, "keep")
    fewer, same_counter = rows_of(calls, "drop")

    assert [(row["_step"], next(reversed(row))) for row in rows] == kept
    assert [(row["_step"], next(reversed(row))) for row in fewer] == dropped
    assert same_counter == counter


@pytest.mark.case("log-example")
def test_the_example_of_the_reference() -> None:
    """The example of the reference's own test: its rows in their order, and the two calls behind kept beside them."""
    rows, _ = rows_of(EXAMPLE)
    numbered = [(row["_step"], row["n"]) for row in rows if "n" in row]

    assert numbered == [(0, 1), (1, 11), (100, 3), (101, 8), (102, 5)]
    assert [row for row in rows if "cool" in row] == [{"_step": 2, "cool": 2}, {"_step": 4, "cool": 2}]


def test_step_behind_as_an_error() -> None:
    """Under "error" a step behind raises, says what to do, and changes nothing."""
    steps = Steps(7)
    steps.place(None, False, "error")
    with pytest.raises(UsageError, match=r'step 3, but the run is already at step 7.*step_policy="keep"'):
        steps.place(3, None, "error")

    assert (steps.step, steps.open) == (7, True)


def test_placements() -> None:
    """A placement says step, whether the row closes, whether it is late and whether it is kept."""
    steps = Steps(5)

    assert steps.place(None, None, "keep") == Placement(5, commit=True, late=False, keep=True)
    assert steps.place(9, None, "keep") == Placement(9, commit=False, late=False, keep=True)
    assert steps.open
    assert steps.place(2, False, "keep") == Placement(2, commit=True, late=True, keep=True)
    assert steps.place(2, None, "drop") == Placement(2, commit=True, late=True, keep=False)
    assert steps.open
    assert steps.advance() == 9
    assert (steps.step, steps.open) == (10, False)


def test_a_late_call_leaves_the_open_row_open() -> None:
    """A late call is a row of its own in the middle of another one."""
    rows, _ = rows_of([call(8, a=1), call(3, b=2), call(8, commit=True, c=3)])

    assert rows == [{"_step": 3, "b": 2}, {"_step": 8, "a": 1, "c": 3}]


def test_empty_late_and_empty_committed_calls_make_no_row() -> None:
    """A row that holds no value is none, whatever its marks."""
    rows, counter = rows_of([call(8, commit=True, a=1), call(3), call(commit=True)])

    assert rows == [{"_step": 8, "a": 1}]
    assert counter == [9, 9, 10]


def test_rows_without_a_step() -> None:
    """Calls of a secondary writer that name no step are merged all the same, and numbered by the reader."""
    assembler = Assembler()
    open_row = Row(seq=1, time=1.0, step=None, data={"a": 1}, commit=False)
    closing = Row(seq=2, time=2.0, step=None, data={"b": 2})

    assert assembler.feed(open_row) == []
    assert assembler.feed(closing) == [Assembled(None, 2.0, {"a": 1, "b": 2})]
    assert assembler.finish() == []


def test_the_row_that_a_call_would_join() -> None:
    """The open row is known to a call of its step, and to no other one."""
    assembler = Assembler()
    assert assembler.open_row(4) == {}
    assembler.feed(Row(seq=1, time=1.0, step=4, data={"a": 1}, commit=False))

    assert (assembler.open_row(4), assembler.open_row(5)) == ({"a": 1}, {})
    assembler.feed(Row(seq=2, time=2.0, step=4, data={"b": 2}))
    assert assembler.open_row(4) == {}


@pytest.mark.parametrize(
    ("step", "number"),
    [
        (None, None),
        (0, 0),
        (2**70, 2**70),
        pytest.param(np.int64(7), 7, marks=pytest.mark.case("log-np-step")),
        (np.uint8(3), 3),
    ],
)
def test_steps_that_are_integers(step: object, number: int | None) -> None:
    """Integers of any size and any library are steps, as plain integers."""
    found = check_step(step)

    assert found == number
    assert type(found) in (int, type(None))


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1.5, marks=pytest.mark.case("log-float-step")),
        pytest.param("3", marks=pytest.mark.case("log-str-step")),
        pytest.param(True, marks=pytest.mark.case("log-bool-step")),
        1.0,
        [1],
        np.float64(2),
    ],
)
def test_steps_that_are_none(step: object) -> None:
    """Floats, texts and bools are no steps: a TypeError that is a ValueError as well."""
    with pytest.raises(TypeError, match="must be an integer") as caught:
        check_step(step)
    assert isinstance(caught.value, UsageTypeError)


def test_negative_step() -> None:
    """A negative step is bad input, not a step behind."""
    with pytest.raises(UsageError, match="must not be negative, and is -1"):
        check_step(-1)


def test_merging_is_deep_and_shares_nothing_that_changes() -> None:
    """Dictionaries merge key by key, anything else is replaced; a later merge leaves its sources alone."""
    target: dict[str, Any] = {}
    first = {"d": {"a": 1, "b": {"x": 1}}, "l": [1]}
    second = {"d": {"b": {"y": 2}, "c": 3}, "l": {"now": "a dictionary"}}
    third = {"d": 5}
    merge(target, first)
    merge(target, second)

    assert target == {"d": {"a": 1, "b": {"x": 1, "y": 2}, "c": 3}, "l": {"now": "a dictionary"}}
    assert first == {"d": {"a": 1, "b": {"x": 1}}, "l": [1]}
    merge(target, third)
    assert target["d"] == 5
    assert second == {"d": {"b": {"y": 2}, "c": 3}, "l": {"now": "a dictionary"}}


@pytest.mark.case("log-dotted-key")
def test_nested_keys_are_paths() -> None:
    """Nested dictionaries become paths; a dot in a key separates nothing."""
    assert list(flatten({"a.b": 1, "x": {"y": 2, "z.w": 3}})) == ["a.b", "x/y", "x/z.w"]
    assert flatten({"x": {"y": {"z": [1, {"a": 1}]}}}) == {"x/y/z": [1, {"a": 1}]}


def test_empty_dictionaries_store_nothing() -> None:
    """An empty dictionary leaves no key behind."""
    assert flatten({"k": {}, "d": {"e": {}}}) == {}


def test_a_typed_dictionary_is_one_value() -> None:
    """A histogram, or whatever else says its `_type`, is neither taken apart nor mixed with another."""
    histogram = {"_type": "histogram", "values": [1], "bins": [0, 1]}
    table = {"_type": "table", "path": "t.json"}
    target: dict[str, Any] = {"h": histogram, "d": {"h": histogram}}
    merge(target, {"h": table, "d": {"h": table, "x": 1}})

    assert target == {"h": table, "d": {"h": table, "x": 1}}
    assert flatten(target) == {"h": table, "d/h": table, "d/x": 1}
    merge(target, {"h": {"x": 1}})
    assert target["h"] == {"x": 1}
