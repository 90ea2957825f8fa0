"""Arrays of any library, read by their own methods.

Law: no array library is ever imported. An array is what has a shape and can turn itself into lists or into a
numpy array; what a foreign method raises becomes a UsageTypeError. As numbers, entries are read in double
precision; those that are not finite, missing or beyond its range are counted but left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import floor, fsum, prod
from typing import Any, Final, NamedTuple

from corelib.errors import UsageTypeError

__all__ = ["LARGEST_FLOAT", "Numbers", "array_size", "is_array", "nested_list", "read_numbers", "statistics"]

MOST_DIMENSIONS: Final = 64  # numpy's own limit
LARGEST_FLOAT: Final = 1.7976931348623157e308
_PERCENTILES: Final = (10, 25, 75, 90)
_PLAIN_NUMBERS: Final = frozenset({bool, float, int})


class Numbers(NamedTuple):
    """The finite entries of an array in ascending order, and how many entries of any kind it has."""

    ascending: list[float]
    size: int

    @property
    def left_out(self) -> int:
        """How many entries are not finite numbers."""
        return self.size - len(self.ascending)


def is_array(value: object) -> bool:
    """Say whether a value is an array, a tensor or a scalar of an array library."""
    # Asked of the type: objects such as mocks answer for themselves with whatever one asks for.
    kind = type(value)
    return hasattr(kind, "shape") and any(hasattr(kind, way) for way in ("tolist", "to_numpy", "numpy"))


def array_size(array: Any) -> int:
    """Return the number of entries of an array.

    Raises:
        UsageTypeError: the array does not know its shape.
    """
    try:
        return prod(int(length) for length in array.shape)
    except Exception as error:
        raise _unreadable(array, error) from error


def nested_list(array: Any) -> Any:
    """Return an array as nested lists of Python values, a 0-dimensional one as a single value.

    Raises:
        UsageTypeError: the array cannot be read.
    """
    try:
        if type(array).__module__ == "numpy" and array.dtype.kind in "mM":
            array = array.astype(f"{array.dtype.kind}8[us]")  # finer units would come out as bare integers
        way = next(way for way in ("tolist", "to_numpy", "numpy") if hasattr(type(array), way))
        value = getattr(array, way)()
        if is_array(value):
            return _long_scalar(value) if way == "tolist" else nested_list(value)
    except Exception as error:
        raise _unreadable(array, error) from error
    return value


def _long_scalar(value: Any) -> float | complex:
    """Convert a scalar for which Python has no type of its own, such as numpy.longdouble."""
    return complex(value) if value.dtype.kind == "c" else float(value)


def _unreadable(array: object, error: Exception) -> UsageTypeError:
    kind = type(array)
    return UsageTypeError(
        f"A {kind.__module__}.{kind.__qualname__} could not be read: {error}. Convert it to a list first."
    )


def read_numbers(values: Any) -> Numbers | None:
    """Read an array or a nested sequence as numbers; None if an entry is neither a number nor missing.

    Raises:
        UsageTypeError: an array that cannot be read, or more dimensions than any array has.
    """
    flat = _flat_doubles(values)
    if flat is not None:
        kept = flat[(flat >= -LARGEST_FLOAT) & (flat <= LARGEST_FLOAT)]
        kept.sort()
        return Numbers(kept.tolist(), flat.size)
    nested = nested_list(values) if is_array(values) else values
    entries = list(_flatten(nested if isinstance(nested, Iterable) else [nested]))
    if not _PLAIN_NUMBERS.issuperset(map(type, entries)):
        numbers = list(map(_number, entries))
        if None in numbers:
            return None
        entries = numbers
    finite = (float(entry) for entry in entries if -LARGEST_FLOAT <= entry <= LARGEST_FLOAT)
    return Numbers(sorted(finite), len(entries))


def _flat_doubles(values: Any) -> Any:
    """Return a flat copy in double precision if the value is, or offers, a numpy array of such numbers."""
    try:
        for way in ("detach", "cpu", "to_numpy", "numpy"):
            if hasattr(type(values), way):
                values = getattr(values, way)()
    except Exception:  # noqa: BLE001  a shortcut that a library refuses (bfloat16, say): `tolist` is the way for all
        return None
    kind = type(values)
    if (kind.__module__, kind.__qualname__) != ("numpy", "ndarray"):
        return None
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:  # noqa: PLR2004  bytes of a double
        return None
    return values.astype("float64").ravel()


def _flatten(values: Iterable[Any]) -> Iterator[Any]:
    open_lists = [iter(values)]
    while open_lists:
        for entry in open_lists[-1]:
            if type(entry) in (list, tuple):
                if len(open_lists) == MOST_DIMENSIONS:
                    raise UsageTypeError(f"A list of numbers is nested deeper than {MOST_DIMENSIONS} levels.")
                open_lists.append(iter(entry))
                break
            yield entry
        else:
            open_lists.pop()


def _number(entry: Any) -> float | None:
    """Return an entry as a float, a missing one and one beyond the range as NaN, anything else as None."""
    if entry is None:
        return float("nan")
    if isinstance(entry, (str, bytes, bytearray)) or not hasattr(type(entry), "__float__"):
        return None
    try:
        return float(entry)
    except OverflowError:
        return float("nan")
    except (TypeError, ValueError):
        return None


def statistics(numbers: Numbers) -> dict[str, Any]:
    """Describe an array that is too long to be listed: size, min, max, mean, var and four percentiles.

    Taken over the finite entries; `nonfinite` counts the others if there are any. The variance is that of the
    population, percentiles are interpolated linearly.
    """
    described: dict[str, Any] = {"_type": "numpy.ndarray", "size": numbers.size}
    if numbers.left_out:
        described["nonfinite"] = numbers.left_out
    values = numbers.ascending
    if values:
        mean = _mean(values)
        described |= {
            "min": values[0],
            "max": values[-1],
            "mean": mean,
            "var": _mean([(value - mean) * (value - mean) for value in values]),
        }
        described |= {f"{percent}%": _percentile(values, percent / 100) for percent in _PERCENTILES}
    return described


def _mean(values: Sequence[float]) -> float:
    count = len(values)
    try:
        return fsum(values) / count
    except OverflowError:
        return fsum(value / count for value in values)


def _percentile(ascending: Sequence[float], share: float) -> float:
    position = share * (len(ascending) - 1)
    below = floor(position)
    low, high = ascending[below], ascending[min(below + 1, len(ascending) - 1)]
    part = position - below
    return low * (1 - part) + high * part
