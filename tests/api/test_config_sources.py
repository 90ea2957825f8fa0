"""Where the config of a run comes from, through `init()`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib import ConfigError


def begin(**arguments: Any) -> corelib.Run:
    """Return a disabled run; the sources of its config are the same in every mode."""
    return corelib.init(mode="disabled", **arguments)


@pytest.mark.case("cfg-allow-init", "cfg-allow-setting")
@pytest.mark.parametrize("words", [{"allow_val_change": True}, {"settings": {"allow_val_change": True}}])
def test_allow_val_change_of_init_holds_for_the_run(words: dict[str, Any]) -> None:
    """The argument, or the setting, allows every later change."""
    run = begin(config={"a": 1}, **words)
    run.config.update({"a": 2})
    run.config.a = 3

    assert run.config["a"] == 3


@pytest.mark.case("cfg-allow-init-false-jupyter")
def test_the_argument_beats_the_habit_of_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook values may change, unless the call says no."""
    monkeypatch.setattr("corelib.shell.gather.is_notebook", lambda: True)
    with begin(config={"a": 1}) as run:
        run.config.a = 2
    with begin(config={"a": 1}, allow_val_change=False) as run, pytest.raises(ConfigError):
        run.config.a = 2


@pytest.mark.case("cfg-yaml-missing", "cfg-yaml-dir")
@pytest.mark.parametrize("path", ["missing.yaml", "."])
def test_a_config_file_that_cannot_be_read(path: str) -> None:
    """A file that was asked for must be there; the error names it."""
    with pytest.raises(ConfigError, match="cannot be read"):
        begin(config=path)
    assert corelib.run is None


def test_a_config_file() -> None:
    """Both layouts of YAML are read, by a text or a path."""
    Path("plain.yaml").write_text("lr: 0.1\n", encoding="utf-8")
    Path("full.yaml").write_text("wandb_version: 1\nlr: {desc: rate, value: 0.2}\n", encoding="utf-8")

    with begin(config="plain.yaml") as run:
        assert dict(run.config) == {"lr": 0.1}
    with begin(config=Path("full.yaml")) as run:
        assert dict(run.config) == {"lr": 0.2}
    with begin(config="") as run:
        assert dict(run.config) == {}


@pytest.mark.case("cfg-defaults-file")
def test_the_defaults_file_of_the_current_directory() -> None:
    """config-defaults.yaml gives what nobody else gives."""
    Path("config-defaults.yaml").write_text("epochs: {value: 3}\nq: {value: 4}\n", encoding="utf-8")

    assert dict(begin(config={"epochs": 9, "z": 1}).config) == {"epochs": 9, "q": 4, "z": 1}


@pytest.mark.case("cfg-paths-over-arg")
def test_config_paths_beat_the_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is how an agent hands over its values; a missing file is skipped."""
    Path("a.yaml").write_text("x: {value: 0}\ny: {value: 2}\n", encoding="utf-8")
    Path("b.yaml").write_text("x: {value: 1}\n", encoding="utf-8")
    monkeypatch.setenv("WANDB_CONFIG_PATHS", "a.yaml,b.yaml,missing.yaml")

    assert dict(begin(config={"x": 9, "w": 1}).config) == {"x": 1, "y": 2, "w": 1}


@pytest.mark.case("cfg-sweep-lock", "cfg-sweep-lock-set", "cfg-sweep-lock-update")
def test_a_sweep_locks_its_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the sweep gave is merged deeply and stays, whatever is written; the rest of a write is applied."""
    Path("sweep.yaml").write_text("lr: {value: 0.5}\nn: {value: {a: 9}}\n", encoding="utf-8")
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", "sweep.yaml")
    run = begin(config={"lr": 1, "w": 2, "n": {"a": 1, "b": 2}})
    assert dict(run.config) == {"lr": 0.5, "w": 2, "n": {"a": 9, "b": 2}}
    run.config.lr = 50
    run.config.update({"lr": 60, "v": 3}, allow_val_change=True)

    assert (run.config.lr, run.config.v) == (0.5, 3)
    assert capsys.readouterr().err.count("locked by 'sweep'") == 2


@pytest.mark.case("cfg-sweep-path-ignored")
def test_a_sweep_decides_project_entity_and_id(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arguments are ignored aloud."""
    for name, value in (("SWEEP_ID", "sw1"), ("PROJECT", "swproj"), ("RUN_ID", "swrun")):
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = begin(project="mine", entity="me", id="myid")

    assert (run.project, run.id, run.sweep_id) == ("swproj", "swrun", "sw1")
    assert capsys.readouterr().err.count("WARNING") == 3


@pytest.mark.case("cfg-static", "cfg-caller-dict-untouched")
def test_the_callers_dictionary_is_its_own() -> None:
    """Changes of the config do not reach the dictionary it was made from; the snapshot cannot be written."""
    given = {"a": 1}
    run = begin(config=given)
    run.config.update({"a": 2}, allow_val_change=True)

    assert given == {"a": 1}
    assert run.config_static.a == 2
    with pytest.raises(AttributeError):
        run.config_static.a = 3


@pytest.mark.case("cfg-include", "cfg-exclude", "cfg-incl-and-excl")
def test_include_and_exclude() -> None:
    """The filter applies to the argument; both at once are an error."""
    config = {"a": 1, "b": 2, "c": 3}
    with begin(config=config, config_include_keys=["a"]) as run:
        assert dict(run.config) == {"a": 1}
    with begin(config=config, config_exclude_keys=["a"]) as run:
        assert dict(run.config) == {"b": 2, "c": 3}
    with pytest.raises(corelib.UsageError):
        begin(config=config, config_include_keys=["a"], config_exclude_keys=["b"])
