"""Metric definitions: what is accepted, how they add up, which holds for a name."""

from __future__ import annotations

from typing import Any

import pytest

from corelib.errors import Error, UsageError, UsageTypeError
from corelib.pure.metrics import Definitions, MetricDefinition, parse_definition


@pytest.mark.parametrize(
    ("summary", "parsed"),
    [
        (None, None),
        ("", ("copy",)),
        ("copy", ("copy",)),
        ("none", ("none",)),
        ("max", ("max",)),
        ("MAX,Min", ("min", "max")),
        pytest.param("min, max", ("min", "max"), marks=pytest.mark.case("metric-space")),
        (" first ,last,mean,", ("mean", "last", "first")),
    ],
)
def test_aggregations(summary: str | None, parsed: tuple[str, ...] | None) -> None:
    """Aggregations are separated by commas, in any case, with blanks, in one canonical order."""
    assert parse_definition("v", summary=summary).summary == parsed


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"name": "v", "summary": "best"}, marks=pytest.mark.case("metric-best")),
        pytest.param({"name": "a*b"}, marks=pytest.mark.case("metric-inner-glob")),
        {"name": "**"},
        {"name": ""},
        {"name": "v", "step_metric": ""},
        {"name": "v", "step_metric": "s*"},
        {"name": "v", "summary": "median"},
        {"name": "v", "summary": "none,max"},
        {"name": "v", "summary": "copy,none"},
    ],
)
def test_refused_definitions(arguments: dict[str, Any]) -> None:
    """Unknown aggregations, globs but at the end, and empty names are errors of the family."""
    with pytest.raises(UsageError):
        parse_definition(**arguments)


@pytest.mark.case("metric-types")
@pytest.mark.parametrize(
    "arguments",
    [
        {"name": 5},
        {"name": None},
        {"name": "v", "step_metric": 1},
        {"name": "v", "summary": ["min"]},
        {"name": "v", "hidden": "x"},
        {"name": "v", "step_sync": 1},
        {"name": "v", "overwrite": "yes"},
    ],
)
def test_types_of_definitions(arguments: dict[str, Any]) -> None:
    """A wrong type is an error of the family, and a TypeError."""
    with pytest.raises(Error) as caught:
        parse_definition(**arguments)

    assert isinstance(caught.value, UsageTypeError)


def test_a_whole_definition() -> None:
    """All arguments are kept; `overwrite` unset is False."""
    definition = parse_definition("train/*", "epoch", False, True, "max", None)

    assert definition == MetricDefinition("train/*", "epoch", False, True, ("max",), overwrite=False)
    assert definition.is_glob
    assert not definition.synchronises


def test_step_sync_goes_with_a_step_metric() -> None:
    """Step metrics are filled in unless the definition says no; without a step metric there is nothing to fill in."""
    assert parse_definition("v", "epoch").synchronises
    assert parse_definition("v", "epoch", True).synchronises
    assert not parse_definition("v", step_sync=True).synchronises


@pytest.mark.case("metric-overwrite-false")
@pytest.mark.parametrize(
    ("earlier", "later", "held"),
    [
        (("min",), ("max",), ("min", "max")),
        (("max",), ("min", "max"), ("min", "max")),
        (("min",), None, ("min",)),
        (None, ("max",), ("max",)),
        (("min",), ("none",), ("none",)),
        (("copy",), ("max",), ("max",)),
    ],
)
def test_definitions_add_up(earlier: Any, later: Any, held: Any) -> None:
    """A repeated definition adds its aggregations; copy and none replace and are replaced; overwrite forgets."""
    definitions = Definitions()
    definitions.add(MetricDefinition("m", "epoch", hidden=True, summary=earlier))
    definitions.add(MetricDefinition("m", step_sync=False, summary=later))

    assert definitions.of("m") == MetricDefinition("m", "epoch", False, True, held)

    definitions.add(MetricDefinition("m", summary=("last",), overwrite=True))

    assert definitions.of("m") == MetricDefinition("m", summary=("last",), overwrite=True)


def test_globs() -> None:
    """The longest prefix holds, under what the name's own definition leaves open; other names are undefined."""
    definitions = Definitions()
    assert not definitions
    definitions.add(MetricDefinition("*", summary=("max",)))
    definitions.add(MetricDefinition("train/*", "epoch", summary=("min",)))
    definitions.add(MetricDefinition("train/loss", hidden=True))

    assert definitions
    assert definitions.synchronises
    assert definitions.of("acc") == MetricDefinition("*", summary=("max",))
    assert definitions.of("train/acc") == MetricDefinition("train/*", "epoch", summary=("min",))
    assert definitions.of("train/loss") == MetricDefinition("train/loss", "epoch", None, True, ("min",))

    one = Definitions()
    one.add(MetricDefinition("train/*"))

    assert one.of("val") is None
    assert not one.synchronises
