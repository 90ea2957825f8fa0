"""Histograms: limits, finished pairs, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.arrays import Numbers
from corelib.pure.histogram import Histogram


@pytest.mark.case("hist-513")
@pytest.mark.parametrize("num_bins", [513, 600, 0, -1])
def test_at_most_512_bins(num_bins: int) -> None:
    """More than 512 bins, or none, are a ValueError that names the limit."""
    with pytest.raises(ValueError, match="must be 1 to 512"):
        Histogram([1], num_bins=num_bins)


@pytest.mark.parametrize("num_bins", [1.5, "64", True, None])
def test_the_number_of_bins_is_an_integer(num_bins: Any) -> None:
    """The number of bins is an integer of any library, no bool."""
    with pytest.raises(UsageTypeError, match="must be an integer"):
        Histogram([1], num_bins=num_bins)

    assert len(Histogram([1], num_bins=np.int64(3)).bins) == 4  # type: ignore[arg-type]


@pytest.mark.case("hist-bad-tuple")
@pytest.mark.parametrize(
    "pair",
    [
        (1, 2, 3),
        5,
        ([1], [0.0]),
        ([], [0.0]),
        ([1] * 513, list(range(514))),
        ([1, 2], [0.0, 2.0, 1.0]),
        ([float("nan")], [0.0, 1.0]),
        ([1], [0.0, float("inf")]),
        ([10**400], [0.0, 1.0]),
        ([[1]], [0.0, 1.0]),
        ("1", [0.0, 1.0]),
        (1, [0.0, 1.0]),
    ],
)
def test_a_pair_must_fit(pair: Any) -> None:
    """What is no pair of counts and one edge more, finite and ascending, is a ValueError."""
    with pytest.raises(ValueError, match=r"[Hh]istogram"):
        Histogram(np_histogram=pair)


def test_a_finished_histogram_is_kept() -> None:
    """A pair of numpy.histogram, or of lists, is taken as it is; densities too."""
    data = [1.0, 2.0, 2.0, 5.0]

    for density in (False, True):
        pair = np.histogram(data, bins=3, density=density)
        assert Histogram(np_histogram=pair).to_json() == {
            "_type": "histogram",
            "values": pair[0].tolist(),
            "bins": pair[1].tolist(),
        }
    assert Histogram(np_histogram=[[1], [0, 0]]).bins == (0, 0)


def test_one_of_two_sources() -> None:
    """A sequence or a pair is given, not both and not neither."""
    for arguments in ({}, {"sequence": [1], "np_histogram": ([1], [0, 1])}):
        with pytest.raises(UsageError, match="a sequence of numbers or np_histogram"):
            Histogram(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("sequence", ["123", b"1", 5, ["a"], [None, "x"]])
def test_only_numbers(sequence: Any) -> None:
    """What is no sequence of numbers is refused."""
    with pytest.raises(UsageTypeError, match="numbers"):
        Histogram(sequence)


def test_any_iterable() -> None:
    """Sets, generators, nested lists, scalars of numpy and numbers already read make the same histogram."""
    expected = Histogram([1, 2, 3], num_bins=2).to_json()

    def generate() -> Iterator[int]:
        yield from (3, 1, 2)

    for sequence in ({1, 2, 3}, generate(), [[1, 2], [3]], np.arange(1, 4), Numbers([1.0, 2.0, 3.0], 3)):
        assert Histogram(sequence, num_bins=2).to_json() == expected
    assert Histogram(np.float32(2), num_bins=1).bins == (1.5, 2.5)


def test_bins_are_half_open() -> None:
    """A value on an edge counts for the bin above it, the last edge for the last bin."""
    histogram = Histogram([0, 1, 1, 2], num_bins=2)

    assert (histogram.histogram, histogram.bins) == ((1, 3), (0.0, 1.0, 2.0))
    assert repr(histogram) == "<Histogram of 2 bins from 0.0 to 2.0>"


def test_the_json_is_a_copy() -> None:
    """Changing what `to_json` returned changes nothing of the histogram."""
    histogram = Histogram([1])

    histogram.to_json()["values"].clear()

    assert len(histogram.to_json()["values"]) == 64


def test_a_range_wider_than_a_float() -> None:
    """Numbers whose distance is beyond the range of floats, or next to nothing, still get ascending edges."""
    wide = Histogram([-1.7e308, 0.0, 1.7e308], num_bins=2)
    narrow = Histogram([0.0, 5e-324], num_bins=4)
    single = Histogram([1e300], num_bins=2)

    assert (wide.histogram, wide.bins) == ((1, 2), (-1.7e308, 0.0, 1.7e308))
    assert (sum(narrow.histogram), narrow.bins[0], narrow.bins[-1]) == (2, 0.0, 5e-324)
    assert single.bins[0] < 1e300 < single.bins[-1]
