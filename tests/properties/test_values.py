"""The laws of recorded values: what comes out is a tree, nothing is shared, reading again changes nothing."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corelib.pure.histogram import Histogram
from corelib.pure.trees import copy_tree, equal_trees, read_only
from corelib.pure.values import Purpose, json_tree, row_tree
from corelib.testing.strategies.values import json_trees, log_rows, python_values

PURPOSES: tuple[Purpose, ...] = ("config", "log", "summary")


def is_tree(value: Any) -> bool:
    """Say whether a value is made of the seven plain types and nothing else."""
    if type(value) is dict:
        return all(type(key) is str and is_tree(item) for key, item in value.items())
    if type(value) is list:
        return all(map(is_tree, value))
    return type(value) in (str, int, float, bool, type(None))


def containers(value: Any) -> set[int]:
    """Return the identities of all dictionaries and lists in a value."""
    found = {id(value)} if isinstance(value, (dict, list)) else set()
    children = (
        value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    )
    return found.union(*map(containers, children))


@pytest.mark.parametrize("purpose", PURPOSES)
@given(value=python_values())
def test_everything_becomes_a_tree(purpose: Purpose, value: Any) -> None:
    """Whatever is accepted becomes plain dict, list, text, number, bool or None."""
    assert is_tree(json_tree(value, purpose=purpose))


@pytest.mark.parametrize("purpose", PURPOSES)
@given(value=python_values())
def test_reading_twice_equals_once(purpose: Purpose, value: Any) -> None:
    """A tree is a fixed point: every float bit for bit (but NaN as a class), every integer, every type."""
    tree = json_tree(value, purpose=purpose)

    assert equal_trees(json_tree(tree, purpose=purpose), tree, exact=True)


@given(tree=json_trees())
def test_trees_pass_a_config_unchanged(tree: Any) -> None:
    """What is a tree already is kept exactly, integers of any size and signed zeros included."""
    kept = json_tree(tree, purpose="config")

    assert equal_trees(kept, tree, exact=True)
    assert repr_or_bits(kept) == repr_or_bits(tree)


def repr_or_bits(value: Any) -> Any:
    """Return something that tells -0.0 from 0.0 and does not write long integers."""
    if isinstance(value, dict):
        return {key: repr_or_bits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [repr_or_bits(item) for item in value]
    return repr(value) if isinstance(value, float) else value


@given(row=log_rows())
def test_a_row_shares_nothing_and_changes_nothing(row: dict[str, Any]) -> None:
    """The captured row has no container in common with the caller's, and the caller's objects stay as they were."""
    before = copy.deepcopy(row)

    captured = row_tree(row)

    assert is_tree(captured)
    assert containers(captured).isdisjoint(containers(row))
    assert row == before  # copies share what cannot change, so that a NaN is identical to itself


@given(row=log_rows())
def test_a_row_is_its_values_without_empty_dictionaries(row: dict[str, Any]) -> None:
    """A row holds exactly what each value becomes on its own; empty dictionaries store nothing."""
    trees = {key: json_tree(value, purpose="log") for key, value in row.items()}

    assert equal_trees(row_tree(row), {key: tree for key, tree in trees.items() if tree != {}}, exact=True)


@given(tree=json_trees())
def test_copies_and_read_only_views_equal_their_tree(tree: Any) -> None:
    """A copy and a read-only view equal the tree and share no container with it; copying a view gives a plain tree."""
    view = read_only(tree)

    assert equal_trees(copy_tree(tree), tree, exact=True)
    assert equal_trees(view, tree)
    assert is_tree(copy.deepcopy(view))
    assert containers(copy_tree(tree)).isdisjoint(containers(tree))
    assert containers(view).isdisjoint(containers(tree))


@given(left=json_trees(), right=json_trees())
def test_equality_is_an_equivalence_that_exactness_refines(left: Any, right: Any) -> None:
    """Equality of trees is reflexive and symmetric, and exactly equal trees are equal."""
    assert equal_trees(left, left, exact=True)
    assert equal_trees(left, right) == equal_trees(right, left)
    assert equal_trees(left, right) or not equal_trees(left, right, exact=True)


# numpy refuses ranges in which its bins would have no width; there the rule is ours alone.
_SANE = st.floats(min_value=-1e6, max_value=1e6).map(lambda number: round(number, 3))


@given(numbers=st.lists(_SANE | st.integers(-1000, 1000), max_size=60), num_bins=st.integers(1, 70))
@example(numbers=[], num_bins=3)
@example(numbers=[7.0], num_bins=64)
@example(numbers=[0.1, 0.2, 0.3, 0.7], num_bins=10)
def test_histograms_agree_with_numpy(numbers: list[float], num_bins: int) -> None:
    """Counts and edges equal those of numpy.histogram, whether a list or an array is given."""
    counts, edges = np.histogram(numbers, bins=num_bins)

    for sequence in (numbers, np.array(numbers, dtype=float), tuple(numbers)):
        histogram = Histogram(sequence, num_bins=num_bins)
        assert list(histogram.bins) == edges.tolist()
        assert list(histogram.histogram) == counts.tolist()


@given(numbers=st.lists(st.floats() | st.integers(), max_size=40), num_bins=st.integers(1, 512))
@example(numbers=[-1.7e308, 1.7e308], num_bins=512)
@example(numbers=[1.7976931348623157e308], num_bins=64)
@example(numbers=[5e-324, 0.0], num_bins=64)
@example(numbers=[1e300], num_bins=64)
@example(numbers=[float("nan"), float("inf"), 10**400], num_bins=2)
def test_histograms_account_for_every_entry(numbers: list[float], num_bins: int) -> None:
    """Every finite entry is in a bin, every other one is counted as left out, and the edges ascend over all of them."""
    histogram = Histogram(numbers, num_bins=num_bins)
    finite = [number for number in numbers if -1.7976931348623157e308 <= number <= 1.7976931348623157e308]

    assert sum(histogram.histogram) == len(finite)
    assert histogram.left_out == len(numbers) - len(finite)
    assert len(histogram.bins) == num_bins + 1
    assert list(histogram.bins) == sorted(histogram.bins)
    assert all(map(math.isfinite, histogram.bins))
    assert all(histogram.bins[0] <= float(number) <= histogram.bins[-1] for number in finite)
