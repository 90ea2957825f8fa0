"""What a sample of the machine may be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageTypeError
from corelib.pure.samples import PREFIX, read_sample


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name[0] != "_"), st.integers() | st.floats()))
def test_names_and_numbers_are_kept(values: dict[str, float]) -> None:
    """Every number is kept as it is, every name once with the prefix that servers expect."""
    read = read_sample(values)

    assert all(name.startswith(PREFIX) and not name.startswith(PREFIX * 2) for name in {*read} - {*values})
    assert [repr(value) for value in read_sample(read).values()] == [repr(value) for value in read.values()]
    assert {name.removeprefix(PREFIX) for name in read} == {name.removeprefix(PREFIX) for name in values}


@pytest.mark.parametrize("wrong", [{"cpu": "high"}, {"cpu": None}, {"cpu": {"user": 1}}, {"cpu": True}, 3])
def test_all_else_is_refused(wrong: object) -> None:
    """Texts, nested values and what is no mapping belong elsewhere."""
    with pytest.raises(UsageTypeError):
        read_sample(wrong)  # type: ignore[arg-type]  # what is refused
