"""Strategies for what users hand in: values, rows, configs, and the events that a summary is made of.

Law: what is drawn is what users may give, with the awkward values often: non-finite numbers, signed zeros, integers
beyond 64 bits, the texts that stand for non-finite numbers, names that look like paths. The pools of names are small,
so that names meet again.
"""

from __future__ import annotations

import enum
from collections import OrderedDict, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from corelib.pure.metrics import AGGREGATIONS, MetricDefinition

__all__ = [
    "Colour",
    "Point",
    "config_trees",
    "definitions",
    "json_trees",
    "leaves",
    "log_rows",
    "names",
    "numbers",
    "python_values",
    "summary_rows",
]

_AWKWARD_TEXTS: Final = ("", "NaN", "Infinity", "\\NaN", "a/b", "a.b", "é", "🦊", "\x00", "_step", "--lr")
_AWKWARD_NUMBERS: Final = (
    *(0, -1, 2**53 + 1, 2**63, -(2**64), 10**30, 10**400, True),
    *(0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, float("nan"), float("inf"), float("-inf")),
)


class Colour(enum.Enum):
    """An enumeration whose names and values differ."""

    RED = 1
    BLUE = "blue"


class Point(NamedTuple):
    """A named tuple."""

    x: Any
    y: Any


def names() -> st.SearchStrategy[str]:
    """Draw names from a small pool: plain ones, paths, globs' prey, hidden ones."""
    return st.sampled_from(("a", "b", "loss", "train", "train/loss", "a.b", "_hidden"))


def numbers() -> st.SearchStrategy[Any]:
    """Draw numbers of any kind, bools included."""
    return st.sampled_from(_AWKWARD_NUMBERS) | st.integers() | st.floats()


def leaves() -> st.SearchStrategy[Any]:
    """Draw the values that JSON does not nest, non-finite numbers included."""
    return st.none() | st.booleans() | numbers() | st.sampled_from(_AWKWARD_TEXTS) | st.text(max_size=10)


def json_trees(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Draw JSON trees in which floats may be non-finite."""
    return st.recursive(
        leaves(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names(), inner, max_size=3),
        max_leaves=max_leaves,
    )


def python_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Draw Python values that rows, configs and summaries all accept."""
    single = st.one_of(
        leaves(),
        st.binary(max_size=5),
        st.dates(),
        st.datetimes(),
        st.timedeltas(),
        st.complex_numbers(),
        st.fractions(),
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-1000, max_value=1000),
        st.sampled_from(
            (len, dict, Colour.RED, Colour.BLUE, slice(1, None), range(3), Fraction(1, 3), Decimal("1e9"))
        ),
        st.frozensets(st.integers() | st.text(max_size=3), max_size=4),
    )
    return st.recursive(
        single,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.lists(inner, max_size=3).map(deque),
            st.builds(Point, inner, inner),
            st.dictionaries(names(), inner, max_size=3),
            st.dictionaries(st.integers(), inner, max_size=3).map(OrderedDict),
        ),
        max_leaves=max_leaves,
    )


def log_rows() -> st.SearchStrategy[dict[str, Any]]:
    """Draw mappings for `log()`."""
    return st.dictionaries(names(), python_values(), max_size=4)


def config_trees() -> st.SearchStrategy[dict[str, Any]]:
    """Draw configs: values under names that need no stripping."""
    return st.dictionaries(names(), json_trees(), max_size=4)


def summary_rows() -> st.SearchStrategy[dict[str, Any]]:
    """Draw committed rows in which a name is now a number, now a text, a list, a dictionary or a histogram."""
    histogram = st.just({"_type": "histogram", "values": [1], "bins": [0.0, 1.0]})
    leaf = numbers() | st.sampled_from(("text", None, [1.0]))
    nested = st.dictionaries(st.sampled_from(("a", "loss")), leaf | histogram, min_size=1, max_size=2)
    return st.dictionaries(
        st.sampled_from(("a", "loss", "train")), leaf | nested | histogram, min_size=1, max_size=3
    )


def definitions() -> st.SearchStrategy[MetricDefinition]:
    """Draw metric definitions, of names and of prefixes."""
    several = st.sets(st.sampled_from(AGGREGATIONS), min_size=1).map(
        lambda chosen: tuple(one for one in AGGREGATIONS if one in chosen)
    )
    return st.builds(
        MetricDefinition,
        name=st.sampled_from(("a", "loss", "train", "train/loss", "train/*", "*", "a*")),
        step_metric=st.none() | st.just("a"),
        step_sync=st.none() | st.booleans(),
        summary=st.none() | st.sampled_from((("copy",), ("none",))) | several,
        overwrite=st.booleans(),
    )
