"""Values become the JSON texts of the protocol, and come back as they were."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.replay import HistoryRow
from corelib.pure.trees import equal_trees
from corelib.testing.specimens import ODD_ROWS
from corelib.testing.strategies.records import trees
from transports.wandb_encoding import json_text, quoted, read_json_text, row_text


def deep(levels: int) -> Any:
    tree: Any = 1
    for _ in range(levels):
        tree = [tree]
    return tree


def portable(tree: Any) -> Any:
    """Return a tree with integers beyond 64 bits as the server will read them."""
    if isinstance(tree, dict):
        return {key: portable(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [portable(value) for value in tree]
    if type(tree) is int and not -(2**63) <= tree < 2**64:
        try:
            return float(tree)
        except OverflowError:
            return math.inf if tree > 0 else -math.inf
    return tree


@given(trees())
def test_a_text_reads_back_as_the_tree(tree: dict[str, Any]) -> None:
    """Whatever may be logged comes back, not-finite numbers included, and twice the same bytes go out."""
    text = json_text(tree)

    assert equal_trees(json.loads(text), portable(tree))
    assert json_text(tree) == text
    assert b"\n" not in text


@pytest.mark.parametrize("name", ODD_ROWS)
def test_odd_rows_read_back(name: str) -> None:
    """What real metrics contain on a bad day comes back."""
    assert equal_trees(json.loads(json_text(ODD_ROWS[name])), portable(ODD_ROWS[name]))


def test_not_finite_numbers_are_bare() -> None:
    """NaN and the infinities are the bare words of the reference, a None is null, and a text stays a text."""
    tree = {"nan": math.nan, "up": [math.inf], "down": {"x": -math.inf}, "none": None, "text": "NaN"}

    assert json_text(tree) == b'{"nan":NaN,"up":[Infinity],"down":{"x":-Infinity},"none":null,"text":"NaN"}'


def test_numbers_beyond_64_bits() -> None:
    """They are doubles, or infinite where there is no double so large."""
    assert json_text([2**64 - 1, -(2**63)]) == b"[18446744073709551615,-9223372036854775808]"
    assert json_text([2**70, 10**400, -(10**400)]) == b"[1.1805916207174113e+21,Infinity,-Infinity]"


def test_endless_nesting_is_an_error() -> None:
    """What no JSON writer can write is a ValueError, not a crash."""
    with pytest.raises(ValueError, match="nested too deeply"):
        json_text(deep(100_000))


@given(trees())
def test_quoting_is_strict_json(tree: dict[str, Any]) -> None:
    """A quoted text is a strict JSON string of that text."""
    text = json_text(tree)

    assert json.loads(quoted(text), parse_constant=lambda word: 1 / 0) == text.decode()


@pytest.mark.parametrize("text", [None, 7, {"a": 1}, "", "{loss", "[" * 100_000])
def test_what_is_no_text_of_json_is_an_error(text: object) -> None:
    """Null, a value that is not encoded, and broken JSON are all the same error."""
    with pytest.raises(ValueError, match=r"."):
        read_json_text(text)


def test_bare_words_are_read() -> None:
    """A stored NaN is understood."""
    assert math.isnan(read_json_text('{"loss":NaN}')["loss"])


def test_a_row_has_step_runtime_and_timestamp() -> None:
    """Step and runtime are ours, a logged timestamp stays, nested values stay nested, a step is an integer."""
    row = HistoryRow(3, 100.5, 2.25, {"d": {"a": 1}, "_step": 99, "_runtime": 99, "_wandb": {"x": 1}})
    logged = HistoryRow(0, 100.5, 2.25, {"_timestamp": 5})

    assert json.loads(row_text(row)) == {
        "d": {"a": 1},
        "_step": 3,
        "_runtime": 2.25,
        "_timestamp": 100.5,
        "_wandb": {"x": 1},
    }
    assert b'"_step":3' in row_text(row)
    assert json.loads(row_text(logged))["_timestamp"] == 5


@given(st.integers(0, 2**63))
def test_steps_are_integers(step: int) -> None:
    """No step gets a point or an exponent."""
    assert b'"_step":%d,' % step in row_text(HistoryRow(step, 0.0, 0.0, {"x": 1.0}))
