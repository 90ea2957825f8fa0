"""Strategies for journals: calls of `log()`, texts of every kind, bytes cut into pieces, damage.

Law: calls meet often, with few names and small steps, and values that are dictionaries in one call and none in the
next. Texts include what breaks writers of JSON: lone surrogates, control characters, backslashes before words, and
whatever looks like a frame of a journal.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

__all__ = ["Call", "calls", "flips", "pieces", "row_trees", "texts"]

_NAMES: Final = ("a", "b", "c", "loss")
_IMITATIONS: Final = (
    '561bacaf {"a":1}',
    '561bacaf {"type":"row"}\n',
    'J561bacaf {"type":"',
    "00000000 {",
    "*00000000 ",
    "\n",
)
_LARGEST_STEP: Final = 6


class Call(NamedTuple):
    """The arguments of one `log()` call."""

    data: dict[str, Any]
    step: int | None
    commit: bool | None


def texts() -> st.SearchStrategy[str]:
    """Draw texts of every kind, lone surrogates included."""
    words = st.builds(
        lambda backslashes, word: "\\" * backslashes + word,
        st.integers(min_value=0, max_value=3),
        st.sampled_from(("NaN", "Infinity", "-Infinity", "nan", "")),
    )
    return words | st.sampled_from(_IMITATIONS) | st.text(st.characters(), max_size=20)


def row_trees() -> st.SearchStrategy[dict[str, Any]]:
    """Draw rows over few names, whose values are numbers or nested rows."""
    return st.recursive(
        st.dictionaries(st.sampled_from(_NAMES), st.integers(min_value=0, max_value=9), max_size=3),
        lambda inner: st.dictionaries(
            st.sampled_from(_NAMES), inner | st.integers(min_value=0, max_value=9), max_size=3
        ),
        max_leaves=4,
    )


def calls(max_size: int = 12) -> st.SearchStrategy[list[Call]]:
    """Draw what a script logs, call by call: steps that are left out, repeated, skipped or behind."""
    call = st.builds(
        Call,
        row_trees(),
        st.none() | st.integers(min_value=0, max_value=_LARGEST_STEP),
        st.none() | st.booleans(),
    )
    return st.lists(call, max_size=max_size)


def pieces(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """Draw ways to cut bytes into pieces; some of the pieces may be empty."""
    cuts = st.lists(st.integers(min_value=0, max_value=len(data)), max_size=10).map(sorted)
    return cuts.map(
        lambda ends: [data[one:other] for one, other in zip([0, *ends], [*ends, len(data)], strict=True)]
    )


def flips(data: bytes) -> st.SearchStrategy[tuple[int, bytes]]:
    """Draw a place in bytes, with the same bytes after one bit was flipped there."""

    def flipped(bit: int) -> tuple[int, bytes]:
        place = bit // 8
        return place, data[:place] + bytes([data[place] ^ 1 << bit % 8]) + data[place + 1 :]

    return st.integers(min_value=0, max_value=8 * len(data) - 1).map(flipped)
