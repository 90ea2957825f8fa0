"""Where a part of a run begins is noted in the stored config, and found there again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.parts import (
    Base,
    base_of,
    end_of,
    has_begun_since,
    next_place,
    with_base,
    with_bases_of,
    with_later_bases_of,
)

COUNTS = st.integers(0, 2**53)
BASES = st.builds(Base, COUNTS, COUNTS, COUNTS, COUNTS, st.floats(0, 1e12), COUNTS, st.floats(0, 1e12))
WRITERS = st.text(min_size=1, max_size=8)
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3)
TREES = st.recursive(
    LEAVES, lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=6
)
CONFIGS = st.dictionaries(st.sampled_from(["lr", "_wandb"]), TREES) | st.builds(
    lambda inside: {"_wandb": {"corelib": inside, "viz": 1}},
    TREES | st.builds(lambda tree: {"parts": tree}, TREES),
)


@given(CONFIGS, WRITERS, BASES, WRITERS, BASES)
def test_what_is_noted_is_found(
    config: dict[str, Any], writer: str, base: Base, other: str, earlier: Base
) -> None:
    """Whatever stood there, a note survives the backend's JSON, and so do those of others and the user's keys."""
    noted = with_base(with_base(config, other, earlier), writer, base)
    stored = json.loads(json.dumps(noted))

    assert base_of(stored, writer) == base
    assert base_of(stored, other) == (base if other == writer else earlier)
    assert stored.get("lr") == config.get("lr")
    inside = config.get("_wandb")
    if isinstance(inside, dict):
        assert all(stored["_wandb"][key] == value for key, value in inside.items() if key != "corelib")


@pytest.mark.parametrize(
    "noted",
    [
        None,
        [],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, -1],
        [0, 0, 0, 0, 0, 0, "0"],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [-1, 0, 0, 0, 0, 0],
        [0.5, 0, 0, 0, 0, 0],
        [True, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, -1, 0],
        [0, 0, 0, 0, "1", 0],
        [0, 0, 0, 0, float("inf"), 0],
        [0, 0, 0, 0, 0, -1],
        {"history": 0},
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_not_noted(noted: Any) -> None:
    """Nobody begins at a line that somebody else's text may mean."""
    assert base_of({"_wandb": {"corelib": {"parts": {"w": noted}}}}, "w") is None
    assert base_of({}, None) is None


def test_the_notes_of_a_stored_config_are_taken_over() -> None:
    """They hold where both configs have one, and those that cannot be understood are left behind."""
    stored = with_base(with_base({}, "a", Base(history=3)), "b", Base(history=4))
    stored["_wandb"]["corelib"]["parts"]["broken"] = "?"
    config = with_base(with_base({"lr": 1}, "b", Base(history=9)), "c", Base(history=5))

    taken = with_bases_of(config, stored)

    assert [base_of(taken, writer) for writer in ("a", "b", "c", "broken")] == [
        Base(history=3),
        Base(history=4),
        Base(history=5),
        None,
    ]
    assert taken["lr"] == 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_each_part_ends_where_the_next_one_begins(lengths: list[int]) -> None:
    """Also where parts have no lines; the last one has no end, and who is not noted has none either."""
    config: dict[str, Any] = {}
    lines = 0
    begins = []
    for number, length in enumerate(lengths):
        base = Base(history=lines, events=2 * lines, console=3 * lines, place=next_place(config))
        config = with_base(config, f"w{number}", base)
        begins.append(lines)
        lines += length

    ends = [end_of(config, f"w{number}") for number in range(len(lengths))]

    assert [end and end[:3] for end in ends] == [*((line, 2 * line, 3 * line) for line in begins[1:]), None]
    assert end_of(config, "another") is None


def test_a_part_whose_note_is_gone_lies_before_those_that_are_new() -> None:
    """Who began the run anew took it away; what was known before that keeps its place."""
    known = with_base(with_base({}, "first", Base()), "own", Base(history=3, place=1))
    stored = with_base(with_base({}, "first", Base()), "anew", Base(history=0))

    config = with_later_bases_of(known, stored, "own", Base(history=3, place=1))

    assert [end and end.history for end in (end_of(config, name) for name in ("own", "first", "anew"))] == [
        0,
        0,
        None,
    ]
    assert with_later_bases_of({}, {"_wandb": {"corelib": {"parts": {"a": 0}}}}, "own", Base()) == with_base(
        {}, "own", Base()
    )


def test_what_was_begun_since_a_moment() -> None:
    """A note that says nothing of when, as the first ones did, says no such thing."""
    config = with_base({}, "w", Base(began=5.0))

    assert has_begun_since(config, 4.0)
    assert not has_begun_since(config, 5.0)
    assert base_of({"_wandb": {"corelib": {"parts": {"w": [1, 2, 3, 4, 5, 6]}}}}, "w") == Base(
        1, 2, 3, 4, 5.0, 6
    )
