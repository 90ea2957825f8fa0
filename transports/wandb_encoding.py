"""From values to the JSON texts that a W&B server reads, and back.

Law: two layers of JSON. The inner texts (a row, a summary, a config) may hold bare NaN, Infinity and -Infinity,
as the reference writes them; the outer body is strict JSON, in which each inner text is a string. The same
value gives the same bytes every time. Nothing here decides where a NaN may stand: in a row it may; `wandb_config`
makes a null of one, and the summary of `wandb_fold` of one that somebody has set by hand.

Integers are exact up to 64 bits. Beyond, they become the nearest double, as the reference makes them, and
infinite where there is none: a server that reads numbers as doubles would refuse the whole push otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from corelib.pure.replay import HistoryRow

__all__ = ["json_text", "quoted", "read_json_text", "row_text"]

_LEAST_INTEGER: Final = -(2**63)
_MOST_INTEGER: Final = 2**64 - 1


def json_text(tree: Any) -> bytes:
    """Return a value as JSON text with bare NaN and Infinity.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        text = orjson.dumps(tree)
    except TypeError:  # an integer beyond 64 bits, a lone surrogate, or deep nesting
        return _exact_text(tree)
    # What is not finite would have become a null; few rows hold one, or the word.
    return _exact_text(tree) if b"null" in text else text


def _exact_text(tree: Any) -> bytes:
    try:
        return json.dumps(_portable(tree), separators=(",", ":")).encode("ascii")
    except RecursionError:
        raise ValueError("a value is nested too deeply") from None


def _portable(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _portable(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_portable(value) for value in tree]
    if type(tree) is int and not _LEAST_INTEGER <= tree <= _MOST_INTEGER:
        try:
            return float(tree)
        except OverflowError:
            return float("inf") if tree > 0 else float("-inf")
    return tree


def quoted(text: bytes) -> bytes:
    """Return an inner text as a string of the outer body."""
    return orjson.dumps(text.decode("utf-8"))


def read_json_text(text: object) -> Any:
    """Return the value of an inner text.

    Raises:
        ValueError: it is no text, or not JSON.
    """
    if not isinstance(text, str):
        raise ValueError("it is not a text")  # noqa: TRY004  one error for all that cannot be read
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def row_text(row: HistoryRow) -> bytes:
    """Return a history row: the values as they were logged, with `_step`, `_runtime` and `_timestamp`.

    A `_timestamp` that was logged is kept; step and runtime are ours to say.

    Raises:
        ValueError: it is nested too deeply.
    """
    return json_text({"_timestamp": row.time, **row.data, "_step": row.step, "_runtime": row.runtime})
