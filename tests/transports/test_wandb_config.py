"""The config as the server keeps it, the list of metrics, and YAML that reads back."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given

from corelib.pure.metrics import MetricDefinition
from corelib.pure.trees import equal_trees, without_nan
from corelib.testing.strategies.records import trees
from transports.wandb_config import ClientFacts, metric_list, unwrapped_config, wrapped_config, yaml_text
from transports.wandb_encoding import json_text

CLIENT = ClientFacts("0.31.0", "3.11.7", "linux-x86_64")


def test_keys_are_wrapped_and_internals_beside_them() -> None:
    """Each key is wrapped, nothing below it is, and the mark of a run that has started is always there."""
    wrapped = wrapped_config({"lr": 0.1, "deep": {"a": 1}}, (), CLIENT, resumed=False)

    assert wrapped == {
        "lr": {"value": 0.1},
        "deep": {"value": {"a": 1}},
        "_wandb": {
            "value": {
                "cli_version": "0.31.0",
                "python_version": "3.11.7",
                "t": {"4": "3.11.7", "5": "0.31.0", "13": "linux-x86_64"},
                "m": [],
            }
        },
    }


def test_internals_of_the_continued_run_are_kept() -> None:
    """What the earlier run stored stays, but for what this one says itself."""
    stored = {"_wandb": {"viz": {"x": 1}, "t": {"5": "0.1"}, "m": [{"1": "loss", "6": [3], "7": [1]}]}}
    internals = wrapped_config(stored, (), CLIENT, resumed=True)["_wandb"]["value"]

    assert internals["viz"] == {"x": 1}
    assert internals["t"] == {"3": [5], "4": "3.11.7", "5": "0.31.0", "13": "linux-x86_64"}
    assert internals["m"] == [{"1": "loss", "6": [3], "7": [1]}]


@pytest.mark.parametrize("stored", [None, 7, "x", []])
def test_strange_internals_are_replaced(stored: Any) -> None:
    """What is stored under the name of the internals and is none does no harm."""
    assert "t" in wrapped_config({"_wandb": stored}, (), CLIENT, resumed=False)["_wandb"]["value"]


@given(trees())
def test_unwrapping_undoes_wrapping(config: dict[str, Any]) -> None:
    """A config comes back as it was given, but that every NaN is None."""
    config.pop("_wandb", None)
    found = unwrapped_config(wrapped_config(config, (), CLIENT, resumed=False))
    found.pop("_wandb")

    assert equal_trees(found, without_nan(config))


def test_a_nan_is_null() -> None:
    """Wherever it stands, as JSON and as YAML; an infinity stays what it is, and the config of the run as well."""
    config = {"lr": math.nan, "deep": {"x": math.nan, "list": [math.nan, 1]}, "up": math.inf}
    wrapped = wrapped_config(config, (), CLIENT, resumed=False)

    assert b'"lr":{"value":null},"deep":{"value":{"x":null,"list":[null,1]}}' in json_text(wrapped)
    assert b'"up":{"value":Infinity}' in json_text(wrapped)
    assert yaml.safe_load(yaml_text(wrapped))["deep"] == {"value": {"x": None, "list": [None, 1]}}
    assert math.isnan(config["lr"])


@pytest.mark.skipif(
    sys.version_info[:2] == (3, 13), reason="3.13.0 does not count all calls, and finds the bottom"
)
def test_a_config_without_bottom_is_an_error() -> None:
    """It is a ValueError, which the config is refused for."""
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ValueError, match="nested too deeply"):
        wrapped_config({"deep": tree}, (), CLIENT, resumed=False)


def test_a_wrapper_without_value_is_left_out() -> None:
    """A key of which only a description is stored has no value."""
    assert unwrapped_config({"lr": {"desc": "x"}, "a": {"desc": None, "value": 1}}) == {"a": 1}


@pytest.mark.parametrize("tree", [None, [], "x", {"lr": 0.1}, {"lr": None}])
def test_what_is_not_wrapped_is_an_error(tree: Any) -> None:
    """An unwrapped value is never taken for one."""
    with pytest.raises(ValueError, match="not"):
        unwrapped_config(tree)


# ------------------------------------------------------------------------------------------------------------ metrics


def test_metrics_are_numbered_fields() -> None:
    """Name or glob, step metric by place, options and aggregations by number, as the reference writes them."""
    definitions = [
        MetricDefinition("loss", summary=("min",)),
        MetricDefinition("epoch", hidden=True),
        MetricDefinition("train/*", step_metric="epoch"),
        MetricDefinition(
            "val/*", step_metric="late", step_sync=False, summary=("max", "last", "first", "mean")
        ),
        MetricDefinition("none", summary=("none",)),
        MetricDefinition("copy", summary=("copy",)),
    ]

    assert metric_list(None, definitions) == [
        {"1": "loss", "6": [3], "7": [1]},
        {"1": "epoch", "6": [2, 3], "7": []},
        {"2": "train/*", "5": 2, "6": [1], "7": []},
        {"2": "val/*", "5": 5, "6": [], "7": [2, 5, 8, 3]},
        {"1": "late", "6": [], "7": []},
        {"1": "none", "6": [3], "7": [6]},
        {"1": "copy", "6": [3], "7": [7]},
    ]


def test_stored_metrics_keep_their_places() -> None:
    """Entries refer to each other by number, so an earlier run's stay where they are, and are redefined in place."""
    stored = [{"1": "epoch", "6": [3]}, {"2": "train/*", "5": 1}, "junk", {"1": "loss", "7": [1]}]

    assert metric_list(stored, [MetricDefinition("loss", summary=("max",)), MetricDefinition("new")]) == [
        {"1": "epoch", "6": [3]},
        {"2": "train/*", "5": 1},
        {"1": "loss", "6": [3], "7": [2]},
        {"1": "new", "6": [3], "7": []},
    ]


# --------------------------------------------------------------------------------------------------------------- YAML


@given(trees())
def test_yaml_reads_back_as_the_tree(tree: dict[str, Any]) -> None:
    """Whatever a config may hold comes back from its YAML, text for text and number for number."""
    assert equal_trees(yaml.safe_load(yaml_text({"a": tree})), {"a": tree})


def test_yaml_is_blocks_of_four_blanks() -> None:
    """It looks as the reference's does."""
    tree = {"lr": {"value": 1e-05}, "list": {"value": [1, {"a": True}, []]}, "no": {"value": "yes"}}

    assert yaml_text(tree) == (
        "lr:\n    value: 1.0e-05\nlist:\n    value:\n        - 1\n        -\n            a: true\n        - []\n"
        '"no":\n    value: "yes"\n'
    )


def test_awkward_yaml_reads_back() -> None:
    """Long keys, control characters, other scripts, words that YAML takes for values, numbers without a point."""
    tree = {
        "k" * 2000: {"a": [[1, 2], [3, [4]]], "b": {}},
        "text": 'a\u2028b\U0001f98a\x7f\x1b"\\\ud800',
        "null": None,
        "": "",
        "1": "1",
        "-": "- x",
        "inf": [float("inf"), float("-inf"), 1e16, 1e300, 0.1, -0.0, 2**70],
        "é": "日本",
    }

    assert yaml.safe_load(yaml_text(tree)) == tree
    assert "nan" in yaml_text({"x": float("nan")})


def test_endless_nesting_is_an_error() -> None:
    """A config that no YAML writer can write is a ValueError."""
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ValueError, match="nested too deeply"):
        yaml_text({"a": tree})
