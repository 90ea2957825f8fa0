"""Read-only trees, and values in messages."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from corelib.errors import UsageTypeError
from corelib.pure.trees import (
    ReadOnlyDict,
    ReadOnlyList,
    equal_trees,
    read_only,
    shorten,
    type_phrase,
    without_nan,
)

TREE = {"a": [1, {"b": 2}], "n": {"x": 1}}


def changes() -> list[Callable[[Any], Any]]:
    """Return every way to change a dict or a list in place."""

    def into_dict(view: Any) -> None:
        view["n"] |= {"y": 1}

    def into_list(view: Any) -> None:
        view["a"] += [1]

    def repeated(view: Any) -> None:
        view["a"] *= 2

    return [
        into_dict,
        into_list,
        repeated,
        lambda view: view["n"].__setitem__("x", 2),
        lambda view: view["n"].__delitem__("x"),
        lambda view: view["n"].update(x=2),
        lambda view: view["n"].setdefault("y", 2),
        lambda view: view["n"].pop("x"),
        lambda view: view["n"].popitem(),
        lambda view: view["n"].clear(),
        lambda view: view["a"].__setitem__(0, 2),
        lambda view: view["a"].__delitem__(0),
        lambda view: view["a"].append(2),
        lambda view: view["a"].extend([2]),
        lambda view: view["a"].insert(0, 2),
        lambda view: view["a"].pop(),
        lambda view: view["a"].remove(1),
        lambda view: view["a"].reverse(),
        lambda view: view["a"].sort(),
        lambda view: view["a"].clear(),
        lambda view: view["a"][1].clear(),
    ]


@pytest.mark.parametrize("change", changes())
def test_a_read_only_tree_refuses_every_change(change: Callable[[Any], Any]) -> None:
    """No method of dict or list changes a read-only tree, at any depth: it raises a TypeError with the way out."""
    view = read_only(TREE)

    with pytest.raises(TypeError, match="assign the whole value") as caught:
        change(view)

    assert isinstance(caught.value, UsageTypeError)
    assert view == TREE


def test_every_changing_method_is_refused() -> None:
    """No public method of dict and list is left that changes without being refused."""
    readers = {"copy", "fromkeys", "get", "items", "keys", "values", "count", "index"}

    for kind, plain in ((ReadOnlyDict, dict), (ReadOnlyList, list)):
        methods = {name for name in dir(plain) if not name.startswith("_")}
        assert {name for name in methods if getattr(kind, name) == getattr(plain, name)} <= readers


def test_a_read_only_tree_passes_for_a_plain_one() -> None:
    """It is a dict and a list, can be written as JSON, and copies or pickles into plain ones that may be changed."""
    view = read_only(TREE)

    assert isinstance(view["n"], dict)
    assert isinstance(view["a"], list)
    assert json.loads(json.dumps(view)) == TREE
    for plain in (copy.deepcopy(view), copy.copy(view), pickle.loads(pickle.dumps(view))):  # noqa: S301  our own
        assert plain == TREE
        assert type(plain["a"][1]) is dict
    assert type(copy.copy(view["a"])) is list


@pytest.mark.parametrize(
    ("left", "right", "equal", "exactly"),
    [
        (1, True, True, False),
        (1, 1.0, True, False),
        (float("nan"), float("nan"), True, True),
        ([1], [1, 2], False, False),
        ({"a": 1}, {"b": 1}, False, False),
        ({"a": [float("nan")]}, {"a": [float("nan")]}, True, True),
        ({}, [], False, False),
        ("1", 1, False, False),
    ],
)
def test_equality(left: Any, right: Any, equal: bool, exactly: bool) -> None:
    """Equality is Python's with NaN equal to NaN; exactness also compares types."""
    assert equal_trees(left, right) is equal
    assert equal_trees(left, right, exact=True) is exactly


def test_shortened_values() -> None:
    """A value in a message is its repr, cut where it gets long, described where it cannot be written."""

    class Broken:
        def __repr__(self) -> str:
            raise ValueError

    assert shorten("abc") == "'abc'"
    assert shorten("x" * 100, 10) == "'xxxxxxxx…"
    assert shorten(-(10**5000)) == "an integer of 16610 bits"
    assert shorten([10**5000]) == "a list"
    assert shorten(Broken()) == type_phrase(Broken())
    assert (type_phrase(None), type_phrase(1), type_phrase("")) == ("None", "an int", "a str")


def test_a_tree_without_nan() -> None:
    """NaN becomes None, everywhere or everywhere but in lists; nothing else changes."""
    nan, up = float("nan"), float("inf")
    tree = {"a": nan, "b": {"c": nan, "d": [nan, (up, {"e": nan})]}, "f": "NaN", "g": None, "h": True}

    assert without_nan(tree) == {**tree, "a": None, "b": {"c": None, "d": [None, [up, {"e": None}]]}}
    assert without_nan(tree, in_lists=False)["b"] == {"c": None, "d": tree["b"]["d"]}  # type: ignore[index]
    assert without_nan({"x": 1}) == {"x": 1}
