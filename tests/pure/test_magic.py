"""The forms of `magic`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.magic import read_magic


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("off", False),
        pytest.param('{"enable": true}', {"enable": True}, marks=pytest.mark.case("magic-json")),
        (' {"a": {"b": 1}}', {"a": {"b": 1}}),
        ("magic.yaml", "magic.yaml"),
        ("a=b.yml", "a=b.yml"),
        ("settings/magic", "settings/magic"),
        (
            "keras.fit.epochs=3, keras.on=true,name=x y,none=null",
            {
                "keras": {"fit": {"epochs": 3}, "on": True},
                "name": "x y",
                "none": None,
            },
        ),
    ],
)
def test_the_forms_of_magic(text: str, expected: object) -> None:
    """Flags, JSON, pairs with dotted keys and names of files are told apart by the text."""
    assert read_magic(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{bad",
        "{" * 100_000,
        "{}{}",
        "a=1,b",
        "=1",
        "a.=1",
        "a..b=1",
        "a=1,a=2",
        "a=1,a.b=2",
        "a.b=2,a=1",
        "," + "a=1",
    ],
)
def test_what_looks_like_a_form_but_is_none(text: str) -> None:
    """JSON that is broken, and pairs that are none or contradict each other, are errors."""
    with pytest.raises(UsageError, match="Unable to parse magic"):
        read_magic(text)


@given(st.text('{}[]:,=."a1 \\\ntrue') | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text ends in another error than UsageError."""
    try:
        found = read_magic(text)
    except UsageError:
        found = None
    assert found is None or isinstance(found, bool | str | dict)
