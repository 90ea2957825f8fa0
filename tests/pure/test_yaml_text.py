"""YAML text: everything the safe loader knows, and nothing that harms."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from corelib.errors import ConfigError
from corelib.pure import yaml_text
from corelib.pure.trees import equal_trees
from corelib.pure.yaml_text import read_yaml


def bomb(line: str, levels: int = 10) -> str:
    """Return a text in which each entry stands for nine of the entry before it."""
    letters = "abcdefghijk"[: levels + 1]
    lines = [f"a: &a {line}"]
    for before, letter in pairwise(letters):
        nine = ",".join([f"*{before}"] * 9)
        lines.append(f"{letter}: &{letter} " + (f"[{nine}]" if line[0] == "[" else f"{{'<<': [{nine}]}}"))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n---\n", None),
        ("lr: 0.1\nopt: {name: adam}", {"lr": 0.1, "opt": {"name": "adam"}}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("base: &b {x: 1, y: 2}\nrun: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "run": {"x": 1, "y": 3}}),
        ("a: 1e-3", {"a": "1e-3"}),
        ("- 1\n- two", [1, "two"]),
        ("x: .nan", {"x": float("nan")}),
    ],
)
def test_documents(text: str, value: Any) -> None:
    """A document is what PyYAML's safe loader makes of it: aliases and merge keys included."""
    assert equal_trees(read_yaml(text, "f.yaml"), value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: b: c", "is not valid YAML: mapping values are not allowed here"),
        ("a: 1\nb: 2\na: 3", "line 3: the entry gives the key 'a' a second time"),
        ("x: {a: 1, 'a': 2}", "gives the key 'a' a second time"),
        ("a: &a [*a]", "line 1: the entry contains itself"),
        ("a: &a {b: *a}", "contains itself"),
        ("---\na: 1\n---\nb: 2", "found another document"),
        ("a: *nope", "found undefined alias"),
        ("\x00", "special characters are not allowed"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("? [a]\n: b", "found unhashable key"),
        ("x: 2020-13-45", "holds a value that YAML cannot read"),
        ("x: !!int abc", "holds a value that YAML cannot read"),
        ("x: !!float ''", "holds a value that YAML cannot read"),
        ("x: !!bool maybe", "holds a value that YAML cannot read"),
        ("x: !!timestamp soon", "holds a value that YAML cannot read"),
        ("x: " + "9" * 5000, "holds a value that YAML cannot read"),
        ("[" * 150 + "]" * 150, "is nested deeper than 100 levels"),
        ("[" * 5000, "is nested too deeply"),
        ("a" * (yaml_text.MOST_CHARACTERS + 1), "has 1048577 characters"),
        (bomb("[x,x,x,x,x,x,x,x,x]"), "stands for more than 100000 values"),
        (bomb("{x: 1}"), "stands for more than 100000 values"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    """Whatever is wrong with a text, a ConfigError names the file and the reason."""
    with pytest.raises(ConfigError, match=r"^f\.yaml.*" + reason):
        read_yaml(text, "f.yaml")
