"""Reading arrays: numpy's own, and what other libraries offer in their place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from corelib.errors import UsageTypeError
from corelib.pure.arrays import Numbers, array_size, is_array, nested_list, read_numbers, statistics


class Tensor:
    """Behaves like a torch tensor on a device, with gradients."""

    def __init__(self, values: list[Any], *, converts: bool = True) -> None:
        self.values = values
        self.converts = converts
        self.shape = (len(values),)

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Tensor:
        return self

    def numpy(self) -> Any:
        if not self.converts:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.array(self.values)

    def tolist(self) -> list[Any]:
        return self.values


Tensor.shape = property(lambda self: (len(self.values),), lambda self, _: None)  # type: ignore[assignment]


class Eager:
    """Behaves like a TensorFlow tensor: no lists, only numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        return (3,)

    def numpy(self) -> Any:
        return np.array([3.0, 1.0, float("nan")])


class Shapeless:
    shape = (None, 2)

    def tolist(self) -> list[Any]:
        return []


def test_what_is_an_array() -> None:
    """An array is told by its type: what merely answers any question is none."""
    from unittest.mock import Mock

    assert all(map(is_array, (np.arange(2), np.float32(1), pd.Series([1]), Tensor([1]), Eager())))
    assert not any(map(is_array, ([1], "a", 1, Mock(), {"shape": 1})))


def test_sizes() -> None:
    """The size is the number of entries; an array that does not know its shape is refused."""
    assert (array_size(np.ones((2, 3))), array_size(np.float32(1)), array_size(Tensor([1, 2]))) == (6, 1, 2)
    with pytest.raises(UsageTypeError, match="Shapeless could not be read"):
        array_size(Shapeless())


def test_nested_lists() -> None:
    """Each library's own way to lists is taken, through numpy where there is no other."""
    assert nested_list(Tensor([1, 2])) == [1, 2]
    assert nested_list(Eager())[:2] == [3.0, 1.0]
    assert nested_list(pd.DataFrame({"a": [1]})) == [[1]]


@pytest.mark.parametrize(
    "values",
    [
        [3, 1.0, float("nan"), float("inf"), None, True, 10**400],
        (3, [1.0, [float("nan"), float("inf")]], None, True, 10**400),
        np.array([3, 1.0, float("nan"), float("inf"), None, True, 10**400], dtype=object),
        [np.float32(3), np.int8(1), float("nan"), float("-inf"), None, np.bool_(1), 10**400],
    ],
)
def test_numbers_are_sorted_and_counted(values: Any) -> None:
    """Finite entries are sorted, the others only counted, however they are nested."""
    numbers = read_numbers(values)

    assert numbers == Numbers([1.0, 1.0, 3.0], 7)
    assert numbers is not None
    assert numbers.left_out == 4


@pytest.mark.parametrize(
    "array",
    [
        np.array([[3.0, 1.0], [float("nan"), 2.0]]),
        np.array([[3.0, 1.0], [float("nan"), 2.0]], dtype=np.float16),
        np.array([[3.0, 1.0], [float("nan"), 2.0]], dtype=np.longdouble),
        np.ma.masked_array([3.0, 1.0, 9.0, 2.0], [0, 0, 1, 0]),
        pd.Series([3.0, 1.0, None, 2.0]),
        Tensor([3.0, 1.0, float("nan"), 2.0]),
        Tensor([3.0, 1.0, float("nan"), 2.0], converts=False),
    ],
)
def test_numbers_of_arrays(array: Any) -> None:
    """Every kind of array gives the same numbers, by the short way or the long one, and is not changed."""
    before = str(nested_list(array))

    assert read_numbers(array) == Numbers([1.0, 2.0, 3.0], 4)
    assert str(nested_list(array)) == before


def test_numbers_of_other_types() -> None:
    """Integers and bools of numpy are numbers; a single value is an array of one."""
    assert read_numbers(np.array([2, 1], dtype=np.uint8)) == Numbers([1.0, 2.0], 2)
    assert read_numbers(np.array([True, False])) == Numbers([0.0, 1.0], 2)
    assert read_numbers(np.longdouble(2)) == Numbers([2.0], 1)
    assert read_numbers([]) == Numbers([], 0)


@pytest.mark.parametrize(
    "values", [["a"], [b"1"], [1, "2"], np.array(["a"]), [object()], [1j], [pd.Timestamp(0)]]
)
def test_what_is_not_numbers(values: Any) -> None:
    """A single entry that is no number makes it no numbers; texts that look like one are texts."""
    assert read_numbers(values) is None


def test_refused_conversions() -> None:
    """An entry that offers a float and then refuses is no number."""

    class Symbol:
        def __float__(self) -> float:
            raise TypeError

    class Huge:
        def __float__(self) -> float:
            raise OverflowError

    assert read_numbers([Symbol()]) is None
    assert read_numbers([Huge()]) == Numbers([], 1)


def test_endless_nesting() -> None:
    """A list that contains itself is refused."""
    looped: list[Any] = []
    looped.append(looped)

    with pytest.raises(UsageTypeError, match="nested deeper than 64 levels"):
        read_numbers(looped)


def test_statistics_agree_with_numpy() -> None:
    """Mean, variance and percentiles are numpy's."""
    values = np.random.default_rng(0).normal(size=501) * 1e3
    numbers = read_numbers(values)
    assert numbers is not None

    found = statistics(numbers)

    assert found.pop("_type") == "numpy.ndarray"
    assert found.pop("size") == 501
    expected = {"min": values.min(), "max": values.max(), "mean": values.mean(), "var": values.var()}
    expected |= {f"{percent}%": np.percentile(values, percent) for percent in (10, 25, 75, 90)}
    assert found == pytest.approx(expected, rel=1e-12)


def test_statistics_of_odd_arrays() -> None:
    """Nothing overflows, the non-finite are counted, and without a finite entry there is nothing but the size."""
    huge = statistics(Numbers([-1.7e308, 1.7e308, 1.7e308, 1.7e308], 4))

    assert huge["mean"] == pytest.approx(0.85e308)
    assert huge["var"] == math.inf
    assert statistics(Numbers([], 2)) == {"_type": "numpy.ndarray", "size": 2, "nonfinite": 2}
    assert statistics(Numbers([4.0], 2))["90%"] == 4.0
