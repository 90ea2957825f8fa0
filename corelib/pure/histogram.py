"""Histograms: how often values fall into each of at most 512 bins.

Law: a histogram is decided when it is made. Bins of equal width span the finite entries; bin i holds
edge[i] <= value < edge[i + 1], the last one its upper edge too. Entries that are not finite belong to no bin: they
are left out and counted in `left_out`. No entries at all span 0 to 1; a single value v spans v - 0.5 to v + 0.5.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import isinf
from operator import index
from typing import Any, Final

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.arrays import LARGEST_FLOAT, Numbers, is_array, nested_list, read_numbers

__all__ = ["Histogram"]

MOST_BINS: Final = 512


class Histogram:
    """A histogram of numbers, to be logged under a name.

    Args:
        sequence: an array of any library, any iterable of numbers, nested or not, or `Numbers` already read.
        np_histogram: instead of `sequence`, the finished pair (counts, edges) that `numpy.histogram` returns.
        num_bins: how many bins to sort `sequence` into, 1 to 512.

    Attributes:
        histogram: the count of each bin.
        bins: the edges of the bins, one more than there are bins, ascending.
        left_out: how many entries of `sequence` were not finite.

    Raises:
        UsageTypeError: entries that are not numbers, `num_bins` is no integer.
        UsageError: neither or both of `sequence` and `np_histogram`, too many bins, a pair that does not fit.
    """

    __slots__ = ("bins", "histogram", "left_out")

    histogram: tuple[float, ...]
    bins: tuple[float, ...]
    left_out: int

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = 64) -> None:
        if (sequence is None) == (np_histogram is None):
            raise UsageError("Histogram() takes a sequence of numbers or np_histogram=(counts, edges).")
        if np_histogram is not None:
            self.histogram, self.bins = _check_pair(np_histogram)
            self.left_out = 0
            return
        num_bins = _check_bins(num_bins)
        if isinstance(sequence, (str, bytes)) or not (is_array(sequence) or isinstance(sequence, Iterable)):
            raise UsageTypeError(f"Histogram() takes a sequence of numbers, not {type(sequence).__name__}.")
        numbers = sequence if isinstance(sequence, Numbers) else read_numbers(sequence)
        if numbers is None:
            raise UsageTypeError("Histogram() takes numbers only, and the sequence holds something else.")
        self.bins = tuple(_edges(numbers.ascending, num_bins))
        self.histogram = tuple(_counts(numbers.ascending, self.bins))
        self.left_out = numbers.left_out

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as it stands in a row: counts in `values`, edges in `bins`."""
        return {"_type": "histogram", "values": list(self.histogram), "bins": list(self.bins)}

    def __repr__(self) -> str:
        return f"<Histogram of {len(self.histogram)} bins from {self.bins[0]!r} to {self.bins[-1]!r}>"


def _check_bins(num_bins: Any) -> int:
    try:
        count = index(num_bins)
    except TypeError:
        raise UsageTypeError(f"Histogram(num_bins=…) must be an integer, not {num_bins!r}.") from None
    if isinstance(num_bins, bool):
        raise UsageTypeError("Histogram(num_bins=…) must be an integer, not a bool.")
    if not 1 <= count <= MOST_BINS:
        raise UsageError(f"Histogram(num_bins=…) must be 1 to {MOST_BINS}, and is {count}.")
    return count


def _check_pair(pair: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not isinstance(pair, Sequence) or len(pair) != 2:  # noqa: PLR2004  a pair
        raise UsageError("Histogram(np_histogram=…) takes a pair: the counts and the edges of the bins.")
    counts, edges = (_plain_numbers(part) for part in pair)
    if not 1 <= len(counts) <= MOST_BINS:
        raise UsageError(f"A histogram has 1 to {MOST_BINS} bins, and np_histogram has {len(counts)}.")
    if len(edges) != len(counts) + 1:
        raise UsageError(
            f"{len(counts)} counts of a histogram need one edge more, and there are {len(edges)}."
        )
    if any(left > right for left, right in pairwise(edges)):
        raise UsageError("Histogram(np_histogram=…): the edges must be in ascending order.")
    return counts, edges


def _plain_numbers(part: Any) -> tuple[float, ...]:
    entries = nested_list(part) if is_array(part) else part
    if not isinstance(entries, Sequence) or not all(type(entry) in (int, float) for entry in entries):
        raise UsageTypeError("Histogram(np_histogram=…): counts and edges must be flat sequences of numbers.")
    if not all(-LARGEST_FLOAT <= entry <= LARGEST_FLOAT for entry in entries):
        raise UsageError("Histogram(np_histogram=…): counts and edges must be finite.")
    return tuple(entries)


def _edges(ascending: Sequence[float], num_bins: int) -> list[float]:
    low, high = (ascending[0], ascending[-1]) if ascending else (0.0, 1.0)
    if low == high:
        # Beyond some 10**15 a half is less than the distance of neighbouring floats: the edges would coincide.
        pad = 0.5 if low + 0.5 / num_bins != low else abs(low) * 2.0**-20
        low, high = max(low - pad, -LARGEST_FLOAT), min(high + pad, LARGEST_FLOAT)
    width = high - low
    if isinf(width):
        edges = [low * (1 - place / num_bins) + high * (place / num_bins) for place in range(num_bins)]
    else:
        step = width / num_bins
        # A step that underflows to zero would put all edges at `low`.
        edges = [(place * step if step else place / num_bins * width) + low for place in range(num_bins)]
    return [*edges, high]


def _counts(ascending: Sequence[float], edges: Sequence[float]) -> list[int]:
    places = [0, *(bisect_left(ascending, edge) for edge in edges[1:-1]), len(ascending)]
    return [after - before for before, after in pairwise(places)]
