"""What may be recorded, value by value: the readings that differ by purpose, the refusals, the bounds."""

from __future__ import annotations

import array
import enum
import inspect
import io
import itertools
import pathlib
import sys
import types
from collections import ChainMap, UserDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, ClassVar

import attrs
import numpy as np
import pandas as pd
import pytest

from corelib.errors import UsageError, UsageTypeError
from corelib.pure import values
from corelib.pure.histogram import Histogram
from corelib.pure.trees import equal_trees
from corelib.pure.values import Purpose, fields_of, is_mapping, json_tree, row_tree
from corelib.pure.wire import plain

NAN = float("nan")


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Words(str):
    __slots__ = ()


class Count(int):
    pass


class Ratio(float):
    pass


@dataclass
class Optimiser:
    kind: ClassVar[str] = "optimiser"
    lr: float = 0.1
    betas: tuple[float, ...] = (0.9, 0.99)
    unset: int = field(init=False)


@attrs.define
class Model:
    depth: int = 3
    inner: Optimiser = attrs.Factory(Optimiser)


class Bare:
    pass


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class OnlyKeys:
    """Maps without being registered as a Mapping, as some config libraries do."""

    def keys(self) -> list[str]:
        return ["x"]

    def __getitem__(self, key: str) -> str:
        return key * 2


class Whole:
    def __index__(self) -> int:
        return 7


class Symbol:
    """Offers a conversion to float and refuses it, as symbolic expressions do."""

    def __float__(self) -> float:
        raise TypeError("not a number")


def logged(value: Any) -> Any:
    """Return what the journal holds of a logged value."""
    return plain(row_tree({"k": value})["k"])


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        pytest.param(np.float32("nan"), "NaN", marks=pytest.mark.case("log-np-nan")),
        pytest.param(np.float32(1.5), 1.5, marks=pytest.mark.case("log-np-float32")),
        pytest.param(np.int64(3), 3, marks=pytest.mark.case("log-np-int")),
        pytest.param(np.array(3.0), 3.0, marks=pytest.mark.case("log-np-0d")),
        pytest.param(np.array([7.0]), 7.0, marks=pytest.mark.case("log-np-one")),
        pytest.param(np.arange(3), [0, 1, 2], marks=pytest.mark.case("log-np-small")),
        pytest.param(np.array([]), [], marks=pytest.mark.case("log-np-empty")),
        pytest.param("x", "x", marks=pytest.mark.case("log-str")),
        pytest.param(None, None, marks=pytest.mark.case("log-none-value")),
        pytest.param({1}, [1], marks=pytest.mark.case("log-set")),
        pytest.param((1, 2), [1, 2], marks=pytest.mark.case("log-tuple")),
        pytest.param(Decimal("1.5"), 1.5, marks=pytest.mark.case("log-decimal")),
        pytest.param(2**70, 2**70, marks=pytest.mark.case("log-bigint")),
        pytest.param([NAN], ["NaN"], marks=pytest.mark.case("log-list-nan")),
        pytest.param("x" * 2_000_000, "x" * 2_000_000, marks=pytest.mark.case("log-2mb-string")),
    ],
)
def test_logged_values(value: Any, stored: Any) -> None:
    """A logged value is stored as the reference stores it, or better where it loses something."""
    found = logged(value)

    assert found == stored
    assert type(found) is type(stored)


@pytest.mark.case("log-np-2d-36")
def test_long_arrays_are_logged_as_histograms() -> None:
    """An array of more than 32 numbers becomes a histogram of 32 bins."""
    found = logged(np.ones((6, 6)))

    assert found["_type"] == "histogram"
    assert (len(found["values"]), len(found["bins"])) == (32, 33)
    assert sum(found["values"]) == 36


@pytest.mark.case("log-hist")
def test_histograms_are_logged() -> None:
    """A Histogram is stored with its 64 counts and 65 edges."""
    found = logged(Histogram([1, 2, 2, 3]))

    assert found["_type"] == "histogram"
    assert (len(found["values"]), len(found["bins"])) == (64, 65)


EVERYWHERE: list[tuple[Any, Any]] = [
    (Words("w"), "w"),
    (Count(4), 4),
    (Ratio(0.5), 0.5),
    (np.str_("w"), "w"),
    (b"ab\xff", "ab\ufffd"),
    (bytearray(b"ab"), "ab"),
    (1 + 2j, "1+2j"),
    (np.complex64(1 + 2j), "1+2j"),
    (date(2020, 1, 2), "2020-01-02"),
    (datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),  # noqa: DTZ001  a naive time is what users have
    (datetime(2020, 1, 2, tzinfo=timezone.utc), "2020-01-02T00:00:00+00:00"),
    (time(3, 4), "03:04:00"),
    (timedelta(seconds=90), 90.0),
    (pd.Timedelta("5s"), 5.0),
    (pd.Timestamp("2020-01-02"), "2020-01-02T00:00:00"),
    (np.datetime64("2020-01-02T03:04:05.123456789"), "2020-01-02T03:04:05.123456"),
    (np.timedelta64(90_000_000_000, "ns"), 90.0),
    (np.array(["2020-01-02"], dtype="M8[ns]"), "2020-01-02T00:00:00"),
    (Fraction(1, 4), 0.25),
    (Decimal("Infinity"), float("inf")),
    (Whole(), 7),
    (np.longdouble(1.5), 1.5),
    (np.clongdouble(1 + 2j), "1+2j"),
    (np.arange(2, dtype=np.longdouble), [0.0, 1.0]),
    (np.bool_(True), True),
    (np.array([["a", "b"]]), [["a", "b"]]),
    (np.array([{"a": (1,)}, None], dtype=object), [{"a": [1]}, None]),
    (pd.Series([1, 2]), [1, 2]),
    (pd.DataFrame({"a": [1, 2]}), [[1], [2]]),
    (memoryview(b"ab"), [97, 98]),
    (array.array("d", [1.0, 2.0]), [1.0, 2.0]),
    (range(3), [0, 1, 2]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    ({"a": 1}.items(), [["a", 1]]),
    (defaultdict(int, a=1), {"a": 1}),
    (UserDict({"a": 1}), {"a": 1}),
    (ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
    (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
    (OnlyKeys(), {"x": "xx"}),
    (types.SimpleNamespace(a=(1,)), {"a": [1]}),
    (Optimiser(), {"lr": 0.1, "betas": [0.9, 0.99]}),
    (Model(), {"depth": 3, "inner": {"lr": 0.1, "betas": [0.9, 0.99]}}),
    (slice(1, 2), {"slice_start": 1, "slice_stop": 2, "slice_step": None}),
    (len, "builtins.len"),
    ([].append, "list.append"),
    (Optimiser, f"{__name__}.Optimiser"),
    (pathlib.PurePosixPath("a/b"), "a/b"),
    (
        {1: "a", None: "b", 2.5: "c", Words("w"): "d", np.int64(9): "e"},
        {"1": "a", "None": "b", "2.5": "c", "w": "d", "9": "e"},
    ),
]


@pytest.mark.parametrize("purpose", ["config", "log", "summary"])
@pytest.mark.parametrize(("value", "tree"), EVERYWHERE, ids=lambda one: type(one).__name__)
def test_values_of_every_purpose(purpose: Purpose, value: Any, tree: Any) -> None:
    """Values of many libraries become the same tree in rows, configs and summaries."""
    assert equal_trees(json_tree(value, purpose=purpose), tree, exact=True)


@pytest.mark.parametrize(
    ("value", "config", "log"),
    [
        (Colour.RED, "RED", 1),
        (Level.HIGH, "HIGH", 3),
        ({Colour.RED: Colour.RED}, {"RED": "RED"}, {"1": 1}),
        ({"a": {"b": {}}, "c": 1}, {"a": {"b": {}}, "c": 1}, {"c": 1}),
        ([{}], [{}], [{}]),
    ],
)
def test_config_and_log_differ(value: Any, config: Any, log: Any) -> None:
    """A config keeps the name of an enumeration and empty dictionaries, a row its value and nothing."""
    assert json_tree(value, purpose="config") == config
    assert json_tree(value, purpose="log") == log


def test_combined_flags_have_a_text() -> None:
    """A combination of flags is a text in a config, whether Python names it or not, and its number in a row."""
    both = Access.READ | Access.WRITE

    assert "READ" in json_tree(both, purpose="config")
    assert json_tree(both, purpose="log") == 3


@pytest.mark.parametrize(
    "value", [object(), Bare(), types, partial(int), Symbol(), Decimal("1e400"), Decimal("sNaN")]
)
def test_unknown_objects(value: Any) -> None:
    """An object of which nothing is known is its text in a config and refused in a row, by name."""
    assert json_tree(value, purpose="config") == str(value)
    with pytest.raises(UsageTypeError, match=r"'a/b\[1\]', .*cannot be logged"):
        row_tree({"a": {"b": [0, value]}})


def test_an_object_cannot_be_logged() -> None:
    """`object()` in a row is a TypeError, before anything is recorded."""
    with pytest.raises(TypeError, match="'k', an object, cannot be logged"):
        row_tree({"k": object()})


def test_an_object_without_text_is_refused() -> None:
    """An object whose text cannot be had is an error of ours, also in a config."""
    with pytest.raises(UsageTypeError, match="has no text: no text"):
        json_tree(Mute(), purpose="config", key="k")


@pytest.mark.parametrize("value", [(i for i in "a"), map(str, []), iter([]), itertools.count()])
def test_iterators_are_not_used_up(value: Iterator[Any]) -> None:
    """A generator or another iterator is refused everywhere, and not touched."""
    for purpose in ("config", "log", "summary"):
        with pytest.raises(UsageTypeError, match="would be used up"):
            json_tree({"deep": [value]}, purpose=purpose)


def test_an_open_file_in_a_config_is_an_object() -> None:
    """An open file is an iterator only in passing: in a config it is its text, and it is not read."""
    with io.StringIO("line") as file:
        assert json_tree(file, purpose="config") == str(file)
        assert file.read() == "line"


@pytest.mark.case("cfg-media")
def test_no_histogram_in_a_config() -> None:
    """A Histogram is data of a row, and a TypeError in a config."""
    with pytest.raises(TypeError, match=r"'img', a corelib\.pure\.histogram\.Histogram, has no place"):
        json_tree(Histogram([1]), purpose="config", key="img")

    assert json_tree(Histogram([1]), purpose="summary")["_type"] == "histogram"


def test_arrays_by_purpose() -> None:
    """A longer array is listed in a config up to a bound, then described; it is described in a summary."""
    forty = np.arange(40)
    long = np.arange(2000.0)

    assert json_tree(forty, purpose="config") == list(range(40))
    assert json_tree(long, purpose="config")["size"] == 2000
    assert json_tree(forty, purpose="summary")["mean"] == 19.5
    assert json_tree(np.arange(32), purpose="summary") == list(range(32))
    assert json_tree(np.array(["text"] * 40), purpose="log") == ["text"] * 40


def test_an_array_of_one_container_is_that_container() -> None:
    """The single entry of an array is taken out once per dimension, not further."""
    holder: Any = np.empty((1, 1), dtype=object)
    holder[0, 0] = [1, 2]

    assert json_tree(holder, purpose="log") == [1, 2]


def test_sets_have_one_order() -> None:
    """Equal sets of anything give equal lists: None, numbers, NaN, texts, lists, dictionaries."""
    members: list[Any] = ["b", 2, None, 1.5, "a", (2, 1), (1, "x"), NAN, True]
    members.append(attrs.make_class("Item", ["n"], frozen=True)(n=2))
    members.append(attrs.make_class("Item", ["n"], frozen=True)(n=1))
    ordered = [None, True, 1.5, 2, NAN, "a", "b", [1, "x"], [2, 1], {"n": 1}, {"n": 2}]

    for order in (members, members[::-1]):
        assert equal_trees(json_tree(dict.fromkeys(order).keys(), purpose="config"), ordered, exact=True)


def test_keys_of_inner_mappings() -> None:
    """Inner keys become texts; those that collide or are neither text nor number are refused with their place."""
    with pytest.raises(UsageError, match="'k' has two keys that both become the text '1'"):
        row_tree({"k": {1: "a", "1": "b"}})
    with pytest.raises(UsageTypeError, match="'k' has a key that is a tuple"):
        row_tree({"k": {(1, 2): "a"}})


@pytest.mark.case("log-deep-200")
def test_deep_values_are_kept() -> None:
    """200 levels of dictionaries are logged."""
    value: Any = 1
    for _ in range(200):
        value = {"d": value}

    assert row_tree(value) == value


@pytest.mark.parametrize("kind", ["dict", "list", "object"])
def test_a_value_that_contains_itself(kind: str) -> None:
    """A value inside of itself is a ValueError that says so, never a crash."""
    looped: dict[str, Any] = {}
    looped["self"] = {"dict": looped, "list": [looped], "object": types.SimpleNamespace(inner=looped)}[kind]

    with pytest.raises(ValueError, match="contains itself"):
        row_tree(looped)


def test_absurd_depth() -> None:
    """More than 240 levels are refused."""
    value: Any = 1
    for _ in range(100_000):
        value = [value]

    with pytest.raises(UsageError, match="nested deeper than 240 levels"):
        row_tree({"k": value})


def test_depth_at_the_edge_of_the_stack() -> None:
    """Where the caller's stack leaves no room, a deep value is refused as well, not a RecursionError."""
    value: Any = 1
    for _ in range(200):
        value = types.SimpleNamespace(value=value)
    before = sys.getrecursionlimit()

    sys.setrecursionlimit(len(inspect.stack(0)) + 150)
    try:
        with pytest.raises(UsageError, match="is nested too deeply for the stack"):
            row_tree({"k": value})
    finally:
        sys.setrecursionlimit(before)


def test_what_fans_out_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared containers and huge ranges cannot make a row of unbounded size."""
    monkeypatch.setattr(values, "MOST_ENTRIES", 1000)
    doubled: list[Any] = [1]
    for _ in range(50):
        doubled = [doubled, doubled]

    for value in (doubled, range(2000), range(10**30)):
        with pytest.raises(UsageError, match="has more than 1000 entries"):
            row_tree({"k": value})


def test_unreadable_arrays() -> None:
    """An array that fails to turn into lists is refused, not passed through or raised bare."""

    class Broken:
        shape = (2,)

        def tolist(self) -> Any:
            raise RuntimeError("sparse")

    with pytest.raises(UsageTypeError, match="Broken could not be read: sparse"):
        row_tree({"k": Broken()})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(10, marks=pytest.mark.case("log-not-dict")),
        pytest.param(None, marks=pytest.mark.case("log-none")),
        pytest.param({1: 1000}, marks=pytest.mark.case("log-int-key")),
        pytest.param({("tup", "idx"): 1}, marks=pytest.mark.case("log-tuple-key")),
        [("a", 1)],
        "text",
        {"_timestamp": "now"},
        {"_timestamp": True},
    ],
)
def test_what_is_no_row(data: Any) -> None:
    """What is no mapping of texts is both a TypeError and a ValueError."""
    with pytest.raises(TypeError) as caught:
        row_tree(data)

    assert isinstance(caught.value, ValueError)


def test_an_empty_name_is_refused() -> None:
    """An empty name is an error, not silently dropped."""
    with pytest.raises(UsageError, match="empty name"):
        row_tree({"": 1})


def test_reserved_names() -> None:
    """`_step` and `_runtime` are dropped unread, a numeric `_timestamp` is kept, other hidden names too."""
    row = row_tree({"_step": object(), "_runtime": 3, "_timestamp": np.float64(5), "_x": 1, "a": 2})

    assert row == {"_timestamp": 5.0, "_x": 1, "a": 2}
    assert row_tree({"_timestamp": np.float32(5)}) == {"_timestamp": 5.0}


@pytest.mark.case("log-caller-dict")
def test_the_callers_dictionary_stays() -> None:
    """Logging changes nothing of what it was given, and keeps nothing of it."""
    inner = {"x": [1]}
    data = {"this": 1, "inner": inner, "_step": 3}

    row = row_tree(data)
    inner["x"].append(2)

    assert data == {"this": 1, "inner": {"x": [1, 2]}, "_step": 3}
    assert row == {"this": 1, "inner": {"x": [1]}}


def test_rows_of_other_mappings() -> None:
    """Any mapping can be logged, keys of text subclasses become plain texts."""
    row = row_tree(types.MappingProxyType({Words("w"): 1, "e": {}, "n": {"e": {}}}))

    assert row == {"w": 1}
    assert [type(key) for key in row] == [str]
    assert row_tree(OnlyKeys()) == {"x": "xx"}  # type: ignore[arg-type]


def test_long_paths_are_shortened_in_messages() -> None:
    """A message names the first and the last keys of a deep place."""
    value: Any = object()
    for name in "jihgfedcba":
        value = {name: value}

    with pytest.raises(UsageTypeError, match="'a/b/c/d/…/h/i/j'"):
        row_tree(value)
    with pytest.raises(UsageTypeError, match="The summary value, an object"):
        json_tree(object(), purpose="summary")


def test_fields_and_mappings() -> None:
    """Only dataclasses, attrs classes and namespaces have fields; only what maps is a mapping."""
    assert fields_of(Bare()) is None
    assert fields_of({"a": 1}) is None
    assert is_mapping(OnlyKeys())
    assert not is_mapping([("a", 1)])
