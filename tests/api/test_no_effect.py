"""The object that stands for something this version does not do."""

from __future__ import annotations

import copy

import pytest

from corelib.api.no_effect import NoEffect


def test_anything_goes() -> None:
    """Calls and attributes, in any chain and with any arguments, do nothing and give the object again."""
    nothing = NoEffect()

    assert nothing.wait().manifest.entries("x", y=1) is nothing
    assert nothing(1, 2, three=3)._private is nothing
    assert repr(nothing) == "<NoEffect: not part of this version>"


def test_protocols_are_not_faked() -> None:
    """Special names are missing, so nobody takes it for an array, a context manager or a number."""
    nothing = NoEffect()
    for name in ("__array__", "__enter__", "__len__", "__float__", "__dataframe__"):
        with pytest.raises(AttributeError):
            getattr(nothing, name)

    assert type(copy.deepcopy(nothing)) is NoEffect
