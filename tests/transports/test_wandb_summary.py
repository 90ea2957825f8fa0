"""A summary that a server would not take whole goes without its largest keys."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.wandb_encoding import json_text
from transports.wandb_summary import fitting, left_out_reason

summaries = st.dictionaries(
    st.text(max_size=8), st.text(max_size=40) | st.integers(-(2**53), 2**53), max_size=8
)


@given(summaries, st.integers(2, 300))
def test_it_fits_and_holds_as_much_as_can_be(summary: dict[str, object], most_bytes: int) -> None:
    """What is left out are the largest keys, and none of them would have fitted as well."""
    text, left_out = fitting(summary, most_bytes)
    kept = json.loads(text)

    assert len(text) <= most_bytes
    assert kept == {name: value for name, value in summary.items() if name not in left_out}
    if left_out:
        least = {**kept, left_out[-1]: summary[left_out[-1]]}
        assert len(json_text(least)) > most_bytes
        sizes = {name: len(json_text({name: value})) for name, value in summary.items()}
        assert min(sizes[name] for name in left_out) >= max((sizes[name] for name in kept), default=0)


def test_it_fits_whatever_is_left_out() -> None:
    """Without an integer of many digits the others are written in other words."""
    text, left_out = fitting({"": -(2**63) - 1, "\x1f\x1f\x7f": ""}, 19)

    assert (text, set(left_out)) == (b"{}", {"", "\x1f\x1f\x7f"})


def test_the_reason_names_the_keys() -> None:
    """The first few, each in full if it is short."""
    assert left_out_reason(["a"]).endswith("so it goes without a")
    assert left_out_reason(list("abcdefg")).endswith("without a, b, c, d, e and 2 more")
    assert left_out_reason(["x" * 100]).endswith("x" * 79 + "…")


def test_what_is_no_json_is_an_error() -> None:
    """Endless nesting is refused elsewhere, with its record."""
    tree: object = 1
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ValueError, match="deeply"):
        fitting({"x": tree}, 10)
