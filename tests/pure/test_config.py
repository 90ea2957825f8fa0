"""Config sources, YAML layouts, filters, the order of sources, changes."""

from __future__ import annotations

import argparse
import sys
import types
from dataclasses import dataclass
from typing import Any

import attrs
import numpy as np
import pytest
from absl import flags

from corelib.errors import ConfigError, UsageError, UsageTypeError
from corelib.pure.config import (
    Changed,
    change,
    config_key,
    filter_keys,
    merge_config,
    parse_yaml,
    read_config,
)


class Plain:
    def __init__(self) -> None:
        self.q = 1
        self._h = 2


class Declared:
    lr = 0.1
    betas = (0.9, 0.99)
    _hidden = 3

    def method(self) -> None: ...

    @property
    def computed(self) -> int:
        return 1


class OnlyKeys:
    def keys(self) -> list[str]:
        return ["x"]

    def __getitem__(self, key: str) -> int:
        return 1


@dataclass
class Data:
    lr: float = 0.1


@attrs.define
class Attributes:
    lr: float = 0.1


def absl_flags() -> flags.FlagValues:
    """Return absl flags that were parsed."""
    values = flags.FlagValues()
    flags.DEFINE_integer("zz_n", 1, "a number", flag_values=values)
    flags.DEFINE_list("zz_l", ["a"], "a list", flag_values=values)
    values(["program", "--zz_n=5"])
    return values


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        (None, {}),
        ("", {}),
        ({"a": 1, "--lr": 0.1, "-x-": 2}, {"a": 1, "lr": 0.1, "x": 2}),
        pytest.param(
            argparse.Namespace(a=1, b=None), {"a": 1, "b": None}, marks=pytest.mark.case("cfg-argparse")
        ),
        pytest.param(absl_flags(), {"zz_n": 5, "zz_l": ["a"]}, marks=pytest.mark.case("cfg-absl")),
        pytest.param(Plain(), {"q": 1, "_h": 2}),
        (Declared, {"lr": 0.1, "betas": [0.9, 0.99], "_hidden": 3}),
        (Data(), {"lr": 0.1}),
        (Data, {"lr": 0.1}),
        (Attributes(), {"lr": 0.1}),
        (types.SimpleNamespace(a={1: 2}), {"a": {"1": 2}}),
        (OnlyKeys(), {"x": 1}),
        ({"deep": argparse.Namespace(x=Data())}, {"deep": {"x": {"lr": 0.1}}}),
    ],
)
def test_sources(source: Any, tree: dict[str, Any]) -> None:
    """Mappings, namespaces, flags, dataclasses, attrs classes, objects and classes are configs."""
    assert read_config(source) == tree


def test_the_flags_module_stands_for_its_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """`config=absl.flags` is `config=absl.flags.FLAGS`; flags that were not parsed are read as well."""
    values = flags.FlagValues()
    flags.DEFINE_integer("zz_n", 1, "a number", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)

    assert read_config(flags) == {"zz_n": 1}


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(5, marks=pytest.mark.case("cfg-init-bad-int")),
        pytest.param([1], marks=pytest.mark.case("cfg-init-bad-list")),
        True,
        "file.yaml",
        [("a", 1)],
        test_sources,
        len,
        sys,
        np.arange(3),
        {1: "a"},
        {"k": (i for i in "a")},
    ],
)
def test_what_is_no_config(source: Any) -> None:
    """Anything else is a TypeError, as are keys that are no texts and values that cannot be recorded."""
    with pytest.raises(TypeError) as caught:
        read_config(source)

    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize("source", [{"": 1}, {"--": 1}, {"--lr": 1, "lr": 1}])
def test_keys_must_name_one_thing(source: Any) -> None:
    """An empty key, and two keys that differ only in dashes, are refused."""
    with pytest.raises(UsageError, match=r"must name something|names 'lr' twice"):
        read_config(source)


def test_keys_of_text_subclasses_become_plain() -> None:
    """A key is stored as a plain text."""
    assert type(config_key(np.str_("lr"))) is str


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        pytest.param(
            "wandb_version: 1\nlr:\n  desc: rate\n  value: 0.1\nn:\n  value: {a: 1}",
            {"lr": 0.1, "n": {"a": 1}},
            marks=pytest.mark.case("cfg-yaml-ok"),
        ),
        pytest.param("lr: 0.1", {"lr": 0.1}, marks=pytest.mark.case("cfg-yaml-plain")),
        ("", {}),
        ("---", {}),
        ("wandb_version: 1", {}),
        ("wandb_version: 1\nlr: 0.1\nm: {value: 1, other: 2}", {"lr": 0.1, "m": 1}),
        (
            "opt: {name: adam, value: 1}\nn: {}\n--x: {value: null}",
            {"opt": {"name": "adam", "value": 1}, "n": {}, "x": None},
        ),
        ("day: 2020-01-02\ns: !!set {b, a}", {"day": "2020-01-02", "s": ["a", "b"]}),
    ],
)
def test_yaml_layouts(text: str, tree: dict[str, Any]) -> None:
    """Both layouts are read, entry by entry; descriptions and the version are dropped."""
    assert parse_yaml(text, "f.yaml") == tree


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("a: b: c", "not valid YAML", marks=pytest.mark.case("cfg-yaml-scanner-error")),
        pytest.param("lr: {desc: x}", "key 'lr'.*no value", marks=pytest.mark.case("cfg-yaml-novalue")),
        ("wandb_version: 1\nlr: {}", "key 'lr'.*no value"),
        ("wandb_version: 2", "wandb_version is 2"),
        ("wandb_version: true", "wandb_version is True"),
        ("wandb_version: '1'", "wandb_version is '1'"),
        ("[a, b]", "holds a list"),
        ("text", "holds a str"),
        ("a: 1\na: 2", "a second time"),
        ("--a: 1\na: 2", "'a' is given twice"),
        ("on: 1", "key True: A config key must be a text"),
        ("'': 1", "key '': A config key must name something"),
        ("a: {1: x, '1': y}", "key 'a'.*both become the text '1'"),
    ],
)
def test_yaml_errors(text: str, reason: str) -> None:
    """Every fault of a config file is a ConfigError that names the file, and the key if there is one."""
    with pytest.raises(ConfigError, match=r"^f\.yaml.*" + reason):
        parse_yaml(text, "f.yaml")


ABC = {"a": 1, "b": 2, "c": 3}


@pytest.mark.parametrize(
    ("include", "exclude", "kept"),
    [
        pytest.param(["a"], None, {"a": 1}, marks=pytest.mark.case("cfg-include")),
        pytest.param(None, ["a"], {"b": 2, "c": 3}, marks=pytest.mark.case("cfg-exclude")),
        pytest.param([], None, ABC, marks=pytest.mark.case("cfg-include-empty")),
        ([], ["a"], {"b": 2, "c": 3}),
        (("a", "unknown"), (), {"a": 1}),
        (None, {"a", "unknown"}, {"b": 2, "c": 3}),
    ],
)
def test_filters(include: Any, exclude: Any, kept: dict[str, int]) -> None:
    """One of two lists chooses keys; an empty list is none, unknown names do not matter."""
    assert filter_keys(ABC, include=include, exclude=exclude) == kept


@pytest.mark.case("cfg-incl-and-excl")
def test_filters_exclude_each_other() -> None:
    """Including and excluding at once is a UsageError."""
    with pytest.raises(UsageError, match="exclude each other"):
        filter_keys(ABC, include=["a"], exclude=["b"])


@pytest.mark.case("cfg-include-str")
@pytest.mark.parametrize("names", ["ab", b"ab", {"a": 1}, 5, ["a", 1]])
def test_filters_are_lists_of_texts(names: Any) -> None:
    """A single text is not taken for a list of its characters, nor is anything else for a list of texts."""
    for filters in ({"include": names}, {"exclude": names}):
        with pytest.raises(UsageTypeError, match=r"config_(in|ex)clude_keys must"):
            filter_keys(ABC, **filters)


@pytest.mark.case("cfg-paths-over-arg")
def test_files_beat_the_argument_and_later_files_earlier_ones() -> None:
    """Values of config_paths beat `init(config=)`, and the later file the earlier one."""
    files = [parse_yaml("x: 0\ny: 2", "a.yaml"), parse_yaml("x: 1", "b.yaml")]

    assert merge_config(files=files, argument={"x": 9, "w": 1}).tree == {"x": 1, "y": 2, "w": 1}


def test_defaults_and_stored_values_are_weakest() -> None:
    """The argument beats config-defaults.yaml, which beats what a resumed run had stored."""
    merged = merge_config(
        argument={"epochs": 9, "z": 1}, defaults={"epochs": 3, "q": 4}, stored={"q": 5, "old": 1, "epochs": 0}
    )

    assert merged == ({"epochs": 9, "q": 4, "z": 1, "old": 1}, {})


@pytest.mark.case("cfg-sweep-lock")
def test_a_lock_reaches_inside() -> None:
    """A sweep's values are merged into nested dictionaries, and their top-level keys are locked."""
    argument = {"lr": 1, "w": 2, "n": {"a": 1, "b": 2}}

    merged = merge_config(locks={"sweep": {"lr": 0.5, "n": {"a": 9}}}, argument=argument)

    assert merged.tree == {"lr": 0.5, "w": 2, "n": {"a": 9, "b": 2}}
    assert merged.locked == {"lr": "sweep", "n": "sweep"}
    assert argument == {"lr": 1, "w": 2, "n": {"a": 1, "b": 2}}


def test_the_first_of_several_locks_is_strongest() -> None:
    """Where two owners lock a key, the first one decides and is named."""
    merged = merge_config(locks={"sweep": {"lr": 1}, "launch": {"lr": 2, "x": {"y": 3}}}, argument={"x": 4})

    assert merged == ({"lr": 1, "x": {"y": 3}}, {"lr": "sweep", "x": "launch"})


@pytest.mark.case("cfg-change-atomic")
def test_a_refused_update_names_what_and_how() -> None:
    """The message names the key, both values, the other keys and the remedy; nothing is applied."""
    current = {"a": 2, "c": 1, "big": 10**5000}

    with pytest.raises(ConfigError, match=r"'a' is already set to 2 and may not become 3") as caught:
        change(current, {"b": 9, "a": 3, "c": 2}, allow_val_change=False)
    with pytest.raises(ConfigError, match="an integer of 16610 bits"):
        change(current, {"big": 1}, allow_val_change=False)

    assert "Likewise 'c'" in str(caught.value)
    assert "allow_val_change=True" in str(caught.value)
    assert current == {"a": 2, "c": 1, "big": 10**5000}


@pytest.mark.case("cfg-1-true")
def test_equal_values_replace_each_other() -> None:
    """1 and True are equal, so one may replace the other; the same value is no change at all."""
    assert change({"k": 1}, {"k": True}, allow_val_change=False) == Changed({"k": True}, {"k": True}, ())
    nan = {"k": [float("nan")]}
    assert change(nan, {"k": [float("nan")]}, allow_val_change=False).applied == {}


@pytest.mark.case("cfg-sweep-lock-update")
def test_locked_keys_stay_and_others_change() -> None:
    """A locked key keeps its value with a warning, also under allow_val_change; an equal value is no news."""
    changed = change(
        {"lr": 0.5, "x": 1},
        {"lr": 60, "x": 1, "w": 3},
        allow_val_change=True,
        locked={"lr": "sweep", "x": "sweep"},
    )

    assert changed.tree == {"lr": 0.5, "x": 1, "w": 3}
    assert changed.applied == {"w": 3}
    assert len(changed.warnings) == 1
    assert "'lr' is locked by 'sweep'" in changed.warnings[0]
