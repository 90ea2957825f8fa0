"""The reduction of rows: last values, aggregations, explicit writes, resumed summaries, step metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from corelib.pure.summary import MetricDefinition, Reduction, parse_definition
from corelib.pure.trees import equal_trees

NAN = float("nan")


def reduced(values: Sequence[Any], summary: str | None = None, name: str = "v") -> dict[str, Any]:
    """Return the summary of rows of one metric."""
    reduction = Reduction()
    if summary is not None:
        reduction.define(parse_definition(name, summary=summary))
    reduction.absorb([{"v": value} for value in values])
    return reduction.view()


@pytest.mark.parametrize(
    ("summary", "values", "found"),
    [
        pytest.param("max", [2, 8, 3], {"v": {"max": 8}}, marks=pytest.mark.case("metric-max")),
        pytest.param("mean", [2, 8, 3], {"v": {"mean": 13 / 3}}, marks=pytest.mark.case("metric-mean")),
        pytest.param(
            "min,max", [2, 8, 3], {"v": {"min": 2, "max": 8}}, marks=pytest.mark.case("metric-min-max")
        ),
        pytest.param("copy", [2, 8, 3], {"v": 3}, marks=pytest.mark.case("metric-copy")),
        pytest.param("", [2, 8, 3], {"v": 3}, marks=pytest.mark.case("metric-empty")),
        pytest.param("none", [2, 8, 3], {}, marks=pytest.mark.case("metric-none")),
        pytest.param(
            "min,max,mean",
            [1, "oops", 3],
            {"v": {"min": 1, "max": 3, "mean": 2.0}},
            marks=pytest.mark.case("metric-string-value"),
        ),
        pytest.param(
            "min,mean", [NAN, 4], {"v": {"min": NAN, "mean": NAN}}, marks=pytest.mark.case("metric-nan")
        ),
        ("max", [4, NAN, 5], {"v": {"max": NAN}}),
        ("last,first", [2, 8, 3], {"v": {"last": 3, "first": 2}}),
        ("last,first,max", ["a", None], {"v": {"last": None, "first": "a"}}),
        ("min", ["a", [1], None], {}),
        ("min,mean", [True, False, 3], {"v": {"min": 0, "mean": 4 / 3}}),
        (None, [1, None], {"v": None}),
        ("mean", [math.inf, -math.inf], {"v": {"mean": NAN}}),
        ("min,max", [math.inf, -math.inf, 1], {"v": {"min": -math.inf, "max": math.inf}}),
    ],
)
def test_aggregations(summary: str | None, values: list[Any], found: dict[str, Any]) -> None:
    """Each aggregation is what its name says; text does not count, NaN makes min, max and mean NaN."""
    assert equal_trees(reduced(values, summary), found)


def test_integers_beyond_floats() -> None:
    """Integers of any size are compared and added exactly, and count as infinite where they meet floats."""
    huge = 10**400

    assert reduced([huge, -1], "min,max,mean") == {"v": {"min": -1, "max": huge, "mean": math.inf}}
    assert reduced([-huge, 1], "mean") == {"v": {"mean": -math.inf}}
    assert reduced([huge, 0.5], "mean,min") == {"v": {"mean": math.inf, "min": 0.5}}
    assert reduced([0.5, 1, -huge], "mean,min") == {"v": {"mean": -math.inf, "min": -huge}}
    assert equal_trees(reduced([NAN, huge], "mean"), {"v": {"mean": NAN}})


@pytest.mark.case("metric-late")
def test_a_late_definition_sees_earlier_rows() -> None:
    """Statistics begin with the first row, not with the definition."""
    reduction = Reduction()
    reduction.absorb([{"v": 9}])
    reduction.define(parse_definition("v", summary="max"))
    reduction.absorb([{"v": 1}])

    assert reduction.view() == {"v": {"max": 9}}


@pytest.mark.case("metric-explicit-resets")
def test_an_explicit_write_sets_the_aggregation_aside() -> None:
    """After an explicit write the key is a plain last value, until the metric is defined anew."""
    reduction = Reduction()
    reduction.define(parse_definition("v", summary="min"))
    reduction.absorb([{"v": 1}])
    reduction.change({"v": 100})
    assert reduction.view() == {"v": 100}

    reduction.absorb([{"v": 2}])
    assert reduction.view() == {"v": 2}

    reduction.define(parse_definition("v*", summary="max"))
    assert reduction.view() == {"v": {"min": 2}}
    reduction.absorb([{"v": 1}])
    assert reduction.view()["v"]["min"] == 1


def test_an_explicit_value_shows_although_the_metric_is_defined() -> None:
    """A definition after an explicit write waits for the next row, and sees only what came after the write."""
    reduction = Reduction()
    reduction.absorb([{"v": 50}])
    reduction.change({"v": 100})
    reduction.define(parse_definition("v", summary="max,first"))
    assert reduction.view() == {"v": 100}

    reduction.absorb([{"v": 3}, {"v": 2}])
    assert reduction.view() == {"v": {"max": 3, "first": 3}}


@pytest.mark.case("sum-explicit-then-log")
def test_a_row_replaces_an_explicit_value() -> None:
    """An explicit value holds until the next row that names the key."""
    reduction = Reduction()
    reduction.change({"a": 9})
    reduction.absorb([{"b": 1}])
    assert reduction.view() == {"a": 9, "b": 1}

    reduction.absorb([{"a": 1}])
    assert reduction.view() == {"a": 1, "b": 1}


@pytest.mark.case("sum-del")
def test_a_removed_key_is_forgotten() -> None:
    """A removed key is absent; a later row starts it anew, statistics included."""
    reduction = Reduction()
    reduction.define(parse_definition("a", summary="copy"))
    reduction.absorb([{"a": 1, "n": {"x": 1}}])
    reduction.change({}, ("a", "n", "unknown"))
    assert reduction.view() == {}

    reduction.absorb([{"a": 7}])
    assert reduction.view() == {"a": 7}
    reduction.define(parse_definition("a", summary="min", overwrite=True))
    assert reduction.view() == {"a": {"min": 7}}


@pytest.mark.case("sum-update-replaces")
def test_an_explicit_dictionary_replaces_the_whole_value() -> None:
    """Explicit writes are shallow, rows are merged."""
    reduction = Reduction()
    reduction.change({"n": {"x": 1}})
    reduction.change({"n": {"w": 1}})
    assert reduction.view() == {"n": {"w": 1}}

    reduction.absorb([{"n": {"x": 2}}])
    assert reduction.view() == {"n": {"w": 1, "x": 2}}


@pytest.mark.case("sum-nan")
def test_nan_is_kept() -> None:
    """NaN is a value like others."""
    reduction = Reduction()
    reduction.change({"x": NAN})

    assert math.isnan(reduction.view()["x"])


def test_nested_values() -> None:
    """Nested values merge, are defined by their path, and give way to a plain value and back."""
    reduction = Reduction()
    reduction.define(parse_definition("d/a", summary="max"))
    reduction.define(parse_definition("d/*", summary="min"))
    reduction.absorb([{"d": {"a": 1, "b": 5}}, {"d": {"a": 3}}, {"d": {"b": 7}}])
    assert reduction.view() == {"d": {"a": {"max": 3}, "b": {"min": 5}}}

    reduction.absorb([{"d": 4}])
    assert reduction.view() == {"d": 4}

    reduction.absorb([{"d": {"a": 2}}])
    assert reduction.view() == {"d": {"a": {"max": 3}}}


def test_a_nested_write_leaves_its_neighbours_aggregated() -> None:
    """Writing inside of a dictionary sets aside the aggregation of what changed, not of its neighbours."""
    reduction = Reduction()
    reduction.define(parse_definition("d/*", summary="min"))
    reduction.absorb([{"d": {"a": 1, "b": 5, "c": 2}}])

    reduction.change({"d": {"a": {"min": 1}, "b": 100, "note": "x"}})
    assert reduction.view() == {"d": {"a": {"min": 1}, "b": 100, "note": "x"}}

    reduction.absorb([{"d": {"a": 3, "b": 7, "c": 4}}])
    assert reduction.view() == {"d": {"a": {"min": 1}, "b": 7, "note": "x", "c": {"min": 4}}}


def test_a_dictionary_over_a_value() -> None:
    """An explicit dictionary in the place of a value, and an empty one, show as they are."""
    reduction = Reduction()
    reduction.define(parse_definition("v", summary="min"))
    reduction.absorb([{"v": 1, "w": 1}])

    reduction.change({"v": {"x": 1}, "w": {}})
    assert reduction.view() == {"v": {"x": 1}, "w": {}}

    reduction.absorb([{"v": 3}])
    assert reduction.view() == {"v": 3, "w": {}}


def test_media_are_single_values() -> None:
    """A dictionary with a `_type` replaces the value before it as a whole."""
    first = {"_type": "histogram", "values": [1], "bins": [0, 1]}
    second = {"_type": "image-file", "path": "a"}
    reduction = Reduction()

    reduction.absorb([{"m": first}, {"m": second}])
    assert reduction.view() == {"m": second}

    reduction.absorb([{"m": {"plain": 1}}, {"m": first}])
    assert reduction.view() == {"m": first}
    reduction.change({"m": second})
    assert reduction.view() == {"m": second}


def test_rows_of_different_shape() -> None:
    """Rows need not have the same names, nor as many of them."""
    reduction = Reduction()
    reduction.absorb([])
    reduction.absorb([{"a": 1}, {"b": 2}, {"a": 3, "b": 4}, {}])

    assert reduction.view() == {"a": 3, "b": 4}


def test_the_stamp() -> None:
    """Step, runtime and time stamp of the last row stand in the summary, and whole seconds under `_wandb`."""
    reduction = Reduction()
    reduction.stamp(3, 12.7, 1e9)
    assert reduction.view() == {"_step": 3, "_runtime": 12.7, "_timestamp": 1e9, "_wandb": {"runtime": 12}}

    reduction.absorb([{"_wandb": {"x": 1, "runtime": 0}}])
    assert reduction.view()["_wandb"] == {"x": 1, "runtime": 12}
    reduction.absorb([{"_wandb": 5}])
    assert reduction.view()["_wandb"] == {"runtime": 12}


def test_a_resumed_summary() -> None:
    """Stored values show until rows replace them; stored min, max and first count on, a mean begins anew."""
    reduction = Reduction()
    reduction.load(
        {
            "acc": 0.5,
            "v": {"min": 2, "max": 8, "first": 5, "mean": 4},
            "n": {"x": 1},
            "e": {},
            "w": {"max": 1},
        }
    )
    reduction.define(parse_definition("v", summary="min,max,first,mean"))
    reduction.define(parse_definition("w", summary="min,max"))
    assert reduction.view()["v"] == {"min": 2, "max": 8, "first": 5, "mean": 4}

    reduction.absorb([{"v": 3, "w": 0, "n": {"y": 2}}])

    assert reduction.view() == {
        "acc": 0.5,
        "v": {"min": 2, "max": 8, "mean": 3, "first": 5},
        "n": {"x": 1, "y": 2},
        "e": {},
        "w": {"min": 0, "max": 1},
    }


@pytest.mark.parametrize("stored", [{"min": NAN}, {"max": NAN, "min": 3}])
def test_a_resumed_nan(stored: dict[str, Any]) -> None:
    """A minimum that was NaN before the resume stays NaN."""
    reduction = Reduction()
    reduction.load({"v": stored})
    reduction.define(parse_definition("v", summary="min,max"))
    reduction.absorb([{"v": 3}])

    assert equal_trees(reduction.view(), {"v": {"min": NAN, "max": NAN}})


def test_stored_dictionaries_that_only_look_aggregated() -> None:
    """Texts under the names of aggregations are no bounds."""
    reduction = Reduction()
    reduction.load({"v": {"min": "x"}})
    reduction.define(parse_definition("v", summary="min"))
    reduction.absorb([{"v": 3}])

    assert reduction.view() == {"v": {"min": 3}}


def test_step_metrics_are_filled_in() -> None:
    """A row that lacks the step metric of one of its metrics gets the last committed value of it."""
    reduction = Reduction()
    assert not reduction.synchronises
    for name in ("loss", "train/acc"):
        reduction.define(parse_definition(name, "epoch"))
    reduction.define(parse_definition("calm", "epoch", step_sync=False))
    reduction.define(parse_definition("timed", "_timestamp"))
    assert reduction.synchronises
    assert reduction.missing_steps({"loss": 1}) == {}

    reduction.absorb([{"epoch": 1, "_timestamp": 5}, {"epoch": 2}])

    assert reduction.missing_steps({"loss": 1}) == {"epoch": 2}
    assert reduction.missing_steps({"train": {"acc": 1}}) == {"epoch": 2}
    assert reduction.missing_steps({"loss": 1, "epoch": 7}) == {}
    assert reduction.missing_steps({"loss": 1}, {"epoch": 7}) == {}
    assert reduction.missing_steps({"calm": 1, "other": 2, "timed": 3}) == {}

    reduction.absorb([{"epoch": {"nested": 1}}])

    assert reduction.missing_steps({"loss": 1}) == {}


def test_definitions_are_exported() -> None:
    """The room of summaries offers what its users need of definitions."""
    assert parse_definition("v") == MetricDefinition("v")
