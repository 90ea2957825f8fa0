"""The config object: what it returns, what it records, what it refuses."""

from __future__ import annotations

import argparse
import copy
import pickle
import threading
import types
from collections import namedtuple
from datetime import date, datetime
from typing import Any

import numpy as np
import pytest

from corelib.api.config import Config, StaticConfig, renew_lock
from corelib.errors import ConfigError, UsageError, UsageTypeError
from corelib.pure.config import read_config
from corelib.pure.histogram import Histogram

Pair = namedtuple("Pair", "x y")  # noqa: PYI024  the untyped kind is the case


class Journal:
    """Keeps what a config records, and the config that it amounts to."""

    def __init__(self, tree: dict[str, Any]) -> None:
        self.tree = dict(tree)
        self.records: list[tuple[dict[str, Any], tuple[str, ...]]] = []
        self.is_finished = False

    def record(self, update: dict[str, Any], remove: tuple[str, ...]) -> None:
        self.records.append((update, remove))
        self.tree.update(update)
        for key in remove:
            del self.tree[key]

    def writable(self) -> None:
        if self.is_finished:
            raise UsageError("Run abc is finished.")


FILES = {"ok.yaml": "lr: 0.5\nn: {value: 3}", "bad.yaml": "a: b: c"}


def read_file(name: str) -> str:
    """Return a file's text, or fail as opening it would."""
    if name not in FILES:
        raise FileNotFoundError(2, "No such file or directory", name)
    return FILES[name]


def make(tree: dict[str, Any] | None = None, **options: Any) -> tuple[Config, Journal]:
    """Return a config and the journal it writes to."""
    journal = Journal(tree or {})
    defaults: dict[str, Any] = {"allow_val_change": False, "read_file": read_file}
    config = Config(tree or {}, record=journal.record, writable=journal.writable, **{**defaults, **options})
    return config, journal


@pytest.mark.parametrize(
    ("value", "read"),
    [
        pytest.param(1.5, 1.5, marks=pytest.mark.case("cfg-val-float")),
        pytest.param("x", "x", marks=pytest.mark.case("cfg-val-str")),
        pytest.param(True, True, marks=pytest.mark.case("cfg-val-bool")),
        pytest.param([1, 2], [1, 2], marks=pytest.mark.case("cfg-val-list")),
        pytest.param((1, 2), [1, 2], marks=pytest.mark.case("cfg-val-tuple")),
        pytest.param({3}, [3], marks=pytest.mark.case("cfg-val-set")),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 1}}, marks=pytest.mark.case("cfg-val-nested")),
        pytest.param(b"abc", "abc", marks=pytest.mark.case("cfg-val-bytes")),
        pytest.param(
            datetime(2020, 1, 2, 3, 4, 5),  # noqa: DTZ001  the case has a naive time
            "2020-01-02T03:04:05",
            marks=pytest.mark.case("cfg-val-datetime"),
        ),
        pytest.param(date(2020, 1, 2), "2020-01-02", marks=pytest.mark.case("cfg-val-date")),
        pytest.param(len, "builtins.len", marks=pytest.mark.case("cfg-val-function")),
        pytest.param(
            slice(1, 2, 3),
            {"slice_start": 1, "slice_step": 3, "slice_stop": 2},
            marks=pytest.mark.case("cfg-val-slice"),
        ),
        pytest.param(range(3), [0, 1, 2], marks=pytest.mark.case("cfg-val-range")),
        pytest.param(np.float32(1.5), 1.5, marks=pytest.mark.case("cfg-val-np-float32")),
        pytest.param(np.int64(3), 3, marks=pytest.mark.case("cfg-val-np-int64")),
        pytest.param(np.bool_(True), True, marks=pytest.mark.case("cfg-val-np-bool")),
        pytest.param(np.arange(3), [0, 1, 2], marks=pytest.mark.case("cfg-val-np-array-small")),
        pytest.param(
            np.ones((2, 2)), [[1.0, 1.0], [1.0, 1.0]], marks=pytest.mark.case("cfg-val-np-array-2d")
        ),
        pytest.param(Pair(1, 2), [1, 2], marks=pytest.mark.case("cfg-val-namedtuple")),
        pytest.param(10**30, 10**30, marks=pytest.mark.case("cfg-val-bigint")),
        pytest.param({}, {}, marks=pytest.mark.case("cfg-val-empty-dict")),
        pytest.param(float("inf"), float("inf"), marks=pytest.mark.case("cfg-val-inf")),
        pytest.param(np.array([7]), 7, marks=pytest.mark.case("cfg-val-np-array-one")),
        pytest.param(np.arange(40), list(range(40)), marks=pytest.mark.case("cfg-val-np-array-large")),
        pytest.param(frozenset({1}), [1], marks=pytest.mark.case("cfg-val-frozenset")),
        pytest.param(b"\xff", "\ufffd", marks=pytest.mark.case("cfg-val-bad-bytes")),
    ],
)
def test_values(value: Any, read: Any) -> None:
    """A value reads back as the tree that is recorded, the same in the object and in the journal."""
    config, journal = make()

    config.update({"k": value})

    assert config["k"] == read
    assert type(journal.tree["k"]) is type(read)
    assert journal.tree == config.as_dict() == {"k": read}


@pytest.mark.case("cfg-val-object")
def test_an_unknown_object_is_its_text() -> None:
    """An object of which nothing is known is stored as its text."""
    thing = object()
    config, _ = make()

    config.k = thing

    assert config.k == repr(thing)


@pytest.mark.case("cfg-val-generator", "cfg-media")
@pytest.mark.parametrize("value", [(i for i in [1]), Histogram([1])])
def test_refused_values(value: Any) -> None:
    """A generator and a Histogram are TypeErrors, and nothing is recorded."""
    config, journal = make()

    with pytest.raises(TypeError):
        config.update({"k": value})

    assert (len(config), journal.records) == (0, [])


@pytest.mark.case("cfg-dot-key")
def test_a_dot_in_a_key_is_a_dot() -> None:
    """A key with a dot is one key."""
    config, _ = make()

    config.update({"a.b": 1})

    assert config["a.b"] == 1
    assert "a" not in config


@pytest.mark.case("cfg-iter", "cfg-len", "cfg-object")
def test_hidden_names() -> None:
    """Names with a leading underscore are stored and readable, but in no listing."""
    config, journal = make(read_config(types.SimpleNamespace(q=1, _h=2)))
    config.update({"_wandb": {"t": 1}})

    assert dict(config) == config.as_dict() == {"q": 1}
    assert (list(config), list(config.keys()), len(config)) == (["q"], ["q"], 1)
    assert (list(config.items()), list(config.values())) == ([("q", 1)], [1])
    assert ("q" in config, "_h" in config, object() in config) == (True, False, False)
    assert (config["_h"], config.get("_h"), config._wandb) == (2, 2, {"t": 1})
    assert journal.tree["_wandb"] == {"t": 1}


def test_reading_what_is_missing() -> None:
    """A missing item is a KeyError, a missing attribute an AttributeError, `get` takes a default."""
    config, _ = make({"a": None})

    with pytest.raises(KeyError, match="nope"):
        config["nope"]
    with pytest.raises(AttributeError, match="'nope'"):
        _ = config.nope
    assert not hasattr(config, "nope")
    assert (config.get("nope"), config.get("nope", 3), config.get("a", 3)) == (None, 3, None)
    assert "a" in dir(config)


@pytest.mark.case("cfg-kwargs")
def test_update_takes_no_keywords() -> None:
    """`config.update(a=1)` is a TypeError."""
    config, _ = make()

    with pytest.raises(TypeError):
        config.update(a=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(5, marks=pytest.mark.case("cfg-update-bad-int")),
        pytest.param([["a", 1]], marks=pytest.mark.case("cfg-update-bad-pairs")),
        pytest.param(None, marks=pytest.mark.case("cfg-update-bad-none")),
    ],
)
def test_update_takes_sources_only(source: Any) -> None:
    """What is no source of values is a TypeError."""
    config, _ = make()

    with pytest.raises(TypeError):
        config.update(source)


@pytest.mark.case("cfg-change-item")
def test_a_set_value_stays() -> None:
    """Setting another value is a ConfigError, by item, by attribute and by update."""
    config, journal = make({"a": 1})

    with pytest.raises(ConfigError):
        config["a"] = 2
    with pytest.raises(ConfigError):
        config.a = 2
    with pytest.raises(ConfigError):
        config.update({"a": 2, "b": 3})
    config["a"] = 1

    assert (config.as_dict(), journal.records) == ({"a": 1}, [])


@pytest.mark.case("cfg-change-allowed")
def test_allowing_a_change() -> None:
    """An explicit permission wins over the run's default, in both directions."""
    config, _ = make({"a": 1})
    config.update({"a": 2}, allow_val_change=True)
    lenient, _ = make({"a": 1}, allow_val_change=True)
    lenient.a = 2

    with pytest.raises(ConfigError):
        lenient.update({"a": 3}, allow_val_change=False)
    assert (config.a, lenient.a) == (2, 2)


@pytest.mark.case("cfg-nested-inplace")
def test_nested_values_are_read_only() -> None:
    """Editing a nested value in place is refused, so that the object and the journal never differ."""
    config, journal = make({"n": {"x": 1}, "l": [1]})

    with pytest.raises(UsageTypeError, match="assign the whole value"):
        config["n"]["x"] = 77
    with pytest.raises(UsageTypeError):
        config.l.append(2)
    changed = copy.deepcopy(config.n)
    changed["x"] = 77
    config.update({"n": changed}, allow_val_change=True)
    changed["x"] = 78

    assert config["n"] == {"x": 77}
    assert journal.tree == {"n": {"x": 77}, "l": [1]}


@pytest.mark.case("cfg-caller-dict-untouched")
def test_the_callers_dictionary_stays() -> None:
    """The dictionary a config was made from is never changed, nor does changing it change the config."""
    mine = {"a": 1, "n": {"x": 1}}
    config, _ = make(mine)

    config.update({"a": 2}, allow_val_change=True)
    mine["n"]["x"] = 5  # type: ignore[index]

    assert mine == {"a": 1, "n": {"x": 5}}
    assert config.n == {"x": 1}


@pytest.mark.case("cfg-del")
def test_deleting() -> None:
    """Deleting removes a key and records it; a missing one is an error of the kind that reading it gives."""
    config, journal = make({"i": 1, "j": 2})

    del config["i"]
    del config.j
    with pytest.raises(KeyError):
        del config["i"]
    with pytest.raises(AttributeError):
        del config.i

    assert journal.records == [({}, ("i",)), ({}, ("j",))]
    assert len(config) == 0


def test_the_methods_of_a_mapping() -> None:
    """It is a mutable mapping: pop, popitem, clear and comparison are there."""
    config, journal = make({"a": 1, "b": 2, "_h": 3})

    assert config == {"a": 1, "b": 2}
    assert config.pop("a") == 1
    config.clear()

    assert journal.tree == {"_h": 3}


def test_defaults_fill_gaps_only() -> None:
    """`setdefaults` and `setdefault` set what is missing and leave the rest alone, without an error."""
    config, journal = make({"a": 1})

    config.setdefaults(argparse.Namespace(a=5, b=2))

    assert config.setdefault("c", (1,)) == [1]
    assert config.setdefault("--a", 7) == 1
    assert journal.tree == {"a": 1, "b": 2, "c": [1]}


def test_files() -> None:
    """`update` takes the name or the path of a YAML file."""
    import pathlib

    config, journal = make()

    config.update("ok.yaml")
    config.update(pathlib.PurePath("ok.yaml"))

    assert journal.records == [({"lr": 0.5, "n": 3}, ())]


@pytest.mark.case("cfg-update-missing-file")
@pytest.mark.parametrize("name", ["nofile.yaml", "", "bad.yaml"])
def test_unusable_files(name: str) -> None:
    """A file that is missing or no YAML is a ConfigError that names it."""
    config, _ = make()

    with pytest.raises(ConfigError) as caught:
        config.update(name)

    assert name in str(caught.value)


@pytest.mark.case("cfg-sweep-lock-set", "cfg-sweep-lock-update")
def test_locked_keys() -> None:
    """A write to a locked key is dropped with a warning, whatever is allowed; deleting one is refused."""
    told: list[str] = []
    config, journal = make({"lr": 0.5}, locked={"lr": "sweep"}, allow_val_change=True, warn=told.append)

    config.lr = 50
    config.update({"lr": 60, "w": 3}, allow_val_change=True)
    with pytest.raises(ConfigError, match="locked by 'sweep'"):
        del config["lr"]

    assert journal.tree == {"lr": 0.5, "w": 3}
    assert len(told) == 2
    assert all("locked by 'sweep'" in text for text in told)


def test_warnings_without_a_listener() -> None:
    """Without a listener a locked key is told by Python's own warnings."""
    config, _ = make({"lr": 0.5}, locked={"lr": "sweep"})

    with pytest.warns(UserWarning, match="locked by 'sweep'"):
        config["lr"] = 3


@pytest.mark.case("finish-then-config")
def test_after_finish() -> None:
    """After the end of the run every write is a UsageError and changes nothing; reading goes on."""
    config, journal = make({"a": 1})
    journal.is_finished = True

    for write in (
        lambda: config.update({"b": 2}),
        lambda: config.__delitem__("a"),
        lambda: config.setdefaults({}),
    ):
        with pytest.raises(UsageError, match="finished"):
            write()

    assert (dict(config), journal.records) == ({"a": 1}, [])


def test_a_failing_journal_changes_nothing() -> None:
    """If a change cannot be recorded it is not made either."""

    def fail(*_: object) -> None:
        raise UsageError("cannot be written")

    config = Config({"a": 1}, record=fail, allow_val_change=True, read_file=read_file, writable=lambda: None)
    for write in (lambda: config.update({"a": 2, "b": 3}), lambda: config.__delitem__("a")):
        with pytest.raises(UsageError):
            write()

    assert dict(config) == {"a": 1}


@pytest.mark.case("cfg-static")
def test_the_static_config() -> None:
    """`config_static` is a snapshot: writing is an AttributeError, and later changes do not show."""
    config, _ = make({"this": 2, "n": {"x": 1}})
    static = config.static()

    with pytest.raises(AttributeError):
        static.this = 3
    with pytest.raises(AttributeError):
        del static.this
    with pytest.raises(TypeError):
        static["this"] = 3  # type: ignore[index]
    config.update({"this": 5}, allow_val_change=True)

    assert (static.this, static["n"], dict(static)) == (2, {"x": 1}, {"this": 2, "n": {"x": 1}})


def test_copies_are_snapshots() -> None:
    """Copying or pickling a config, for a worker process say, gives a snapshot with the hidden names too."""
    config, _ = make({"a": 1, "_h": 2})

    for snapshot in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301
        assert type(snapshot) is StaticConfig
        assert (snapshot.a, snapshot["_h"], len(snapshot)) == (1, 2, 1)


def test_the_repr_shows_the_values() -> None:
    """The repr shows names and values, long ones shortened, also integers that Python refuses to write."""
    config, _ = make({"a": 1, "s": "x" * 200, "i": 10**5000, "_h": 1})

    assert repr(config).startswith("Config({'a': 1, 's': 'xxx")
    assert "_h" not in repr(config)
    assert len(repr(config)) < 200
    assert repr(config.static()).startswith("StaticConfig({")


def test_threads() -> None:
    """Any number of threads may write: every change is recorded once, in the order in which it was made."""
    config, journal = make()

    def write(worker: int) -> None:
        for number in range(50):
            config[f"k{worker}_{number}"] = number

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(config) == len(journal.records) == 200
    assert dict(config) == journal.tree
    assert list(config) == list(journal.tree)


def test_a_forked_child_gets_a_lock_of_its_own() -> None:
    """A lock that a thread of the parent held at the fork does not stop the child."""
    config, journal = make()

    inherited = config._lock
    renew_lock(config)

    assert config._lock is not inherited
    with inherited:
        config["a"] = 1
    assert journal.tree == {"a": 1}
