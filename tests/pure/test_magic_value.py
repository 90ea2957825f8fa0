"""What `magic` amounts to, in all its forms, and what is told about it."""

from __future__ import annotations

from typing import Any

import pytest

from corelib.pure.magic_value import parse_magic


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (None, None),
        ("  ", None),
        (True, True),
        ("true", True),
        ("0", False),
        ({"enable": True}, {"enable": True}),
        ('{"enable": true, "args": {"absl": null}}', {"enable": True, "args": {"absl": None}}),
        ("args.absl=true,args.argparse=false", {"args": {"absl": True, "argparse": False}}),
        ("enable: true\nargs: false\n", {"enable": True, "args": False}),
    ],
)
def test_forms(value: Any, parsed: Any) -> None:
    """A bool, a dict, JSON, a comma list and YAML are read without a word."""
    assert parse_magic(value) == (parsed, ())


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{bad", "Unable to parse magic json"),
        ("a=1,a.b=2", "Unable to parse magic"),
        ("a: b: c", "not valid YAML"),
        ("- 1", "not a list"),
        ("unknown", "not 'unknown'"),
        (5, "not an int"),
        ({"a": (i for i in "a")}, "would be used up"),
    ],
)
def test_what_cannot_be_read(value: Any, problem: str) -> None:
    """What cannot be read counts as empty, with a sentence and never an exception."""
    parsed, problems = parse_magic(value)

    assert parsed == {}
    assert len(problems) == 1
    assert problem in problems[0]


def test_what_has_no_effect() -> None:
    """Keys of the old magic are kept and named as being without effect, many of them in short; so are wrong values."""
    parsed, problems = parse_magic({"keras": {"fit": {"epochs": 3}}, "enable": "yes"})
    _, many = parse_magic({f"k{number}": 1 for number in range(13)})

    assert parsed == {"keras": {"fit": {"epochs": 3}}, "enable": "yes"}
    assert "enable must be true or false, not 'yes'" in problems[0]
    assert "keras.fit.epochs: without effect" in problems[1]
    assert "k9 and 3 more: without effect" in many[0]
