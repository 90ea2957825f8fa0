"""The laws of steps and rows: monotony, conservation, agreement with a slow model, merging and flattening."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.history import Assembled, Assembler, Placement, Steps, flatten, merge
from corelib.pure.records import Row
from corelib.testing.strategies.journal import Call, calls, row_trees

POLICIES = ("keep", "drop", "error")

starts = st.integers(min_value=0, max_value=4)
policies = st.sampled_from(POLICIES)


class Placed(NamedTuple):
    """A call with what became of it; no placement means that it raised."""

    call: Call
    before: int
    placement: Placement | None
    after: int


def placed(script: list[Call], policy: str, start: int = 0) -> list[Placed]:
    """Place the calls of a script, one after the other."""
    steps = Steps(start)
    found = []
    for call in script:
        before = steps.step
        try:
            placement = steps.place(call.step, call.commit, policy)
        except UsageError:
            placement = None
        found.append(Placed(call, before, placement, steps.step))
    return found


def rows_of(script: list[Placed]) -> list[Assembled]:
    """Journal what was kept, and read it back as rows."""
    assembler = Assembler()
    rows: list[Assembled] = []
    for time, (call, _, placement, _) in enumerate(script):
        if placement is not None and placement.keep:
            step, commit, late, _ = placement
            rows += assembler.feed(
                Row(seq=time, time=float(time), step=step, data=call.data, commit=commit, late=late)
            )
    return rows + assembler.finish()


def merged(one: Any, other: Any) -> Any:
    """Return the merge of two values, written down as its definition."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    both = {key: merged(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def model(script: list[Call], policy: str, start: int) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]]]:
    """Return the rows in order and the late rows as the rules say, computed the slow way: (step, values) each.

    Every call in order belongs to a numbered row: the number grows where a row was closed or the step moved on.
    """
    current, number = start, 0
    numbered: list[tuple[int, int, Any]] = []
    late = []
    for data, step, commit in script:
        named = current if step is None else step
        if named < current:
            late += [(named, data)] if policy == "keep" and data else []
            continue
        number += named > current
        numbered.append((number, named, data))
        closes = commit if commit is not None else step is None
        number, current = (number + 1, named + 1) if closes else (number, named)
    rows = []
    for _, group in groupby(numbered, key=lambda one: one[0]):
        members = list(group)
        total = reduce(merged, (data for _, _, data in members))
        rows += [(members[-1][1], total)] if total else []
    return rows, late


@given(script=calls(), policy=policies, start=starts)
def test_steps_are_monotone(script: list[Call], policy: str, start: int) -> None:
    """The counter never falls, a call is late exactly if it names a step behind, and late calls move nothing."""
    for call, before, placement, after in placed(script, policy, start):
        behind = call.step is not None and call.step < before
        assert after >= before
        if placement is None:
            assert (behind, policy, after) == (True, "error", before)
            continue
        assert placement.late == behind
        assert placement.step == (before if call.step is None else call.step)
        if behind:
            assert (placement.keep, after) == (policy == "keep", before)
        else:
            assert placement.keep
            assert after == placement.step + placement.commit


@given(script=calls(), policy=policies, start=starts)
def test_rows_in_order_have_growing_steps(script: list[Call], policy: str, start: int) -> None:
    """Among the rows that are not late, each step is greater than the one before."""
    calls_in_order = [
        one for one in placed(script, policy, start) if one.placement and not one.placement.late
    ]
    steps = [row.step for row in rows_of(calls_in_order)]

    assert steps == sorted({step for step in steps if step is not None})


@given(script=calls(), policy=policies, start=starts)
def test_rows_are_those_of_the_slow_model(script: list[Call], policy: str, start: int) -> None:
    """What is read back is what the rules say, row by row, value by value, under every policy."""
    rows = [(row.step, row.data) for row in rows_of(placed(script, policy, start))]
    in_order, late = model(script, policy, start)

    assert sorted(map(repr, rows)) == sorted(map(repr, in_order + late))
    if policy != "keep":
        assert rows == in_order


@given(script=calls(max_size=6), start=starts)
def test_rows_in_equal_rows_out(script: list[Call], start: int) -> None:
    """Under "keep" no call is lost: each leaves its values in one row, or they are overwritten in that very row."""
    for index, one in enumerate(placed(script, "keep", start)):
        marked = [
            Call({"mark": number, **call.data}, call.step, call.commit)
            for number, call in enumerate(script[: index + 1])
        ]
        rows = rows_of(placed(marked, "keep", start))
        assert one.placement is not None
        assert [row.step for row in rows if row.data["mark"] == index] == [one.placement.step]


@given(script=calls(), start=starts)
def test_policies_differ_only_in_late_rows(script: list[Call], start: int) -> None:
    """What "drop" keeps is what "keep" keeps but for the late rows, and "error" drops the same calls by raising."""
    kept, dropped, refused = (placed(script, policy, start) for policy in POLICIES)
    late = [one.placement is not None and one.placement.late for one in kept]

    in_order = [
        one._replace(placement=None) if lies_behind else one
        for one, lies_behind in zip(kept, late, strict=True)
    ]
    assert rows_of(in_order) == rows_of(dropped)
    assert rows_of(dropped) == rows_of(refused)
    assert [one.placement is None for one in refused] == late
    assert [one.after for one in kept] == [one.after for one in dropped] == [one.after for one in refused]


@given(script=calls(), policy=policies, start=starts)
def test_advance_is_place_without_arguments(script: list[Call], policy: str, start: int) -> None:
    """The short way of a plain call leads to the same place, whatever came before."""
    short, general = Steps(start), Steps(start)
    for call in script:
        if call.step is None and call.commit in (None, True):
            assert (short.advance(), True, False, True) == tuple(
                general.place(call.step, call.commit, policy)
            )
        else:
            for steps in (short, general):
                try:
                    steps.place(call.step, call.commit, policy)
                except UsageError:
                    assert policy == "error"
        assert (short.step, short.open) == (general.step, general.open)


@given(script=calls(), start=starts)
def test_records_are_not_changed_by_reading(script: list[Call], start: int) -> None:
    """Assembling writes into no record, though rows and records may share values."""
    before = deepcopy(script)
    rows_of(placed(script, "keep", start))

    assert script == before


@given(one=row_trees(), other=row_trees())
def test_merging_is_its_definition(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Merging equals its definition, changes no source, and merging the same again changes nothing."""
    before = deepcopy((one, other))
    target: dict[str, Any] = {}
    merge(target, one)
    assert target == one
    merge(target, other)

    assert target == merged(one, other)
    assert (one, other) == before
    merge(target, other)
    assert target == merged(one, other)
    assert (one, other) == before


def leaves(data: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a row with their paths."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield "/".join((*path, key)), value


@given(data=row_trees())
def test_flattening_keeps_every_leaf(data: dict[str, Any]) -> None:
    """A flat row has exactly the leaves, in their order, under their paths; flattening again changes nothing."""
    flat = flatten(data)

    assert list(flat.items()) == list(leaves(data))
    assert flatten(flat) == flat


@given(one=row_trees(), other=row_trees())
def test_later_leaves_win(one: dict[str, Any], other: dict[str, Any]) -> None:
    """After a merge every leaf of the later row stands as it was logged."""
    target = deepcopy(one)
    merge(target, other)

    assert flatten(other).items() <= flatten(target).items()
