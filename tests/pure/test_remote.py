"""Tests of `corelib.pure.remote`."""

from __future__ import annotations

import math

import pytest

from corelib.pure.remote import (
    Absent,
    Created,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
    merged_config,
    runtime_offset,
    starting_step,
)


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        pytest.param(RemoteRun(run_id="r", last_step=15, history_lines=16), 16, id="the step after the last"),
        pytest.param(RemoteRun(run_id="r"), 0, id="nothing stored"),
        pytest.param(
            RemoteRun(run_id="r", last_step=1, history_lines=0, summary={"_step": 1}),
            1,
            marks=pytest.mark.case("res-lines0-step1"),
            id="announced but never written",
        ),
        pytest.param(RemoteRun(run_id="r", last_step=0, history_lines=1), 1, id="one row at step 0"),
        pytest.param(
            RemoteRun(run_id="r", last_step=3, history_lines=4, summary={"_step": 9}),
            4,
            id="history over summary",
        ),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": 9}), 10, id="summary alone"),
        pytest.param(RemoteRun(run_id="r", history_lines=4), 1, id="lines whose step is unknown"),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": 50.0}), 51, id="a whole float"),
        pytest.param(
            RemoteRun(run_id="r", history_lines=4, summary={"_step": 50.5}), 1, id="no whole number"
        ),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": math.nan}), 1, id="NaN"),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": math.inf}), 1, id="infinity"),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": True}), 1, id="a bool"),
        pytest.param(RemoteRun(run_id="r", history_lines=4, summary={"_step": "7"}), 1, id="a text"),
        pytest.param(RemoteRun(run_id="r", history_lines=4, last_step=-5), 1, id="a negative step"),
        pytest.param(
            RemoteRun(run_id="r", history_lines=1, last_step=10**400), 10**400 + 1, id="a huge step"
        ),
    ],
)
def test_starting_step(remote, expected) -> None:
    """The first step is the last one of the history, else of the summary, plus one iff lines are stored."""
    assert starting_step(remote) == expected


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        pytest.param(RemoteRun(run_id="r"), 0.0, id="nothing told"),
        pytest.param(RemoteRun(run_id="r", events_runtime=60, history_runtime=50.5), 60.0, id="events"),
        pytest.param(RemoteRun(run_id="r", events_runtime=6, history_runtime=50.5), 50.5, id="history"),
        pytest.param(
            RemoteRun(run_id="r", summary={"_wandb": {"runtime": 130}}),
            130.0,
            marks=pytest.mark.case("res-runtime-summary"),
            id="summary, internal",
        ),
        pytest.param(RemoteRun(run_id="r", summary={"_runtime": 7}), 7.0, id="summary, plain"),
        pytest.param(
            RemoteRun(run_id="r", summary={"_wandb": {"runtime": 3}, "_runtime": 7}),
            3.0,
            id="internal over plain",
        ),
        pytest.param(
            RemoteRun(run_id="r", summary={"_wandb": {}, "_runtime": 7}), 7.0, id="internal tells nothing"
        ),
        pytest.param(
            RemoteRun(run_id="r", summary={"_wandb": 5, "_runtime": 7}), 7.0, id="internal is no mapping"
        ),
        pytest.param(
            RemoteRun(
                run_id="r", history_runtime=math.nan, events_runtime=math.inf, summary={"_runtime": -1}
            ),
            0.0,
            id="no usable number",
        ),
        pytest.param(RemoteRun(run_id="r", summary={"_runtime": True}), 0.0, id="a bool"),
        pytest.param(RemoteRun(run_id="r", summary={"_runtime": 10**400}), 0.0, id="beyond all floats"),
        pytest.param(RemoteRun(run_id="r", summary={"_runtime": "9"}), 0.0, id="a text"),
    ],
)
def test_runtime_offset(remote, expected) -> None:
    """The runtime goes on from the largest finite figure that events, history and summary tell."""
    assert runtime_offset(remote) == expected


@pytest.mark.parametrize(
    ("stored", "given", "expected"),
    [
        ({"lr": 0.1, "old": 1}, {"lr": 0.2, "new": 2}, {"lr": 0.2, "old": 1, "new": 2}),
        ({"d": {"a": 1}}, {"d": {"b": 2}}, {"d": {"b": 2}}),
        ({"_wandb": {"a": 1, "b": 1}}, {"_wandb": {"b": 2}}, {"_wandb": {"a": 1, "b": 2}}),
        ({"_wandb": {"a": 1}}, {}, {"_wandb": {"a": 1}}),
        ({"_wandb": 3}, {"_wandb": {"b": 2}}, {"_wandb": {"b": 2}}),
    ],
)
def test_merged_config(stored, given, expected) -> None:
    """Stored keys stay, given ones win as wholes, and only the internals merge one level deeper."""
    assert merged_config(stored, given) == expected


def test_merged_config_changes_no_argument() -> None:
    """Merging makes a new config and leaves both sources as they are."""
    stored, given = {"_wandb": {"a": 1}, "x": 1}, {"_wandb": {"b": 1}, "y": 2}

    merged_config(stored, given)["z"] = 3

    assert (stored, given) == ({"_wandb": {"a": 1}, "x": 1}, {"_wandb": {"b": 1}, "y": 2})


def test_answers_are_told_apart() -> None:
    """Answers of different types are never equal, although they are tuples of the same content."""
    remote = RemoteRun(run_id="r")

    assert Absent() == Absent()
    assert hash(Absent()) == hash(Absent())
    assert Started(remote) == Started(RemoteRun(run_id="r"))
    others: list[object] = [Absent(), Created(), (), Unreadable("x"), ("x",), Started(remote)]
    for number, one in enumerate(others):
        assert [one == other for other in others].count(True) == 1
        assert [one != other for other in others].index(False) == number
    assert len({Absent(), Absent(), Created()}) == 2
    assert len({LookupFailed("auth", "no"), LookupFailed("auth", "no")}) == 1
