"""The record types: data, and nothing but data."""

from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest

from corelib.pure import records
from corelib.pure.records import FORMAT_VERSION, Record, Row

KINDS: tuple[type[Any], ...] = get_args(Record)


def test_every_kind_is_exported() -> None:
    """The union `Record` names exactly the classes of the module."""
    assert {kind.__name__ for kind in KINDS} == set(records.__all__) - {"FORMAT_VERSION", "Record"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_record_has_number_and_time(kind: type[Any]) -> None:
    """Every record begins with `seq` and `time`, which with the writer's id name it for ever."""
    assert [field.name for field in attrs.fields(kind)][:2] == ["seq", "time"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_records_are_frozen_and_named(kind: type[Any]) -> None:
    """A record cannot change and is built by names only, so that fields can be added without breaking a caller."""
    with pytest.raises(TypeError):
        kind(0, 0.0)
    assert all(field.kw_only for field in attrs.fields(kind))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        kind.__new__(kind).seq = 1


def test_a_row_is_committed_and_in_order_unless_it_says_otherwise() -> None:
    """The defaults of a row are those of the plain call, so that the plain call is short on disk."""
    row = Row(seq=1, time=0.5, step=0, data={})

    assert (row.commit, row.late) == (True, False)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        row.step = 1  # type: ignore[misc]


def test_format_version() -> None:
    """This is the first format; a second one comes with its golden files and an upgrade on reading."""
    assert FORMAT_VERSION == 1
