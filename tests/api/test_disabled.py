"""Disabled mode: the ordinary run on nothing."""

from __future__ import annotations

import copy
import os
import socket
import threading
from typing import Any

import pytest

import corelib
from corelib import ConfigError, Run, UsageError

IDENTITY: dict[str, Any] = {
    "config": {"a": 1},
    "project": "p",
    "name": "nm",
    "tags": ["t"],
    "notes": "no",
    "group": "g",
    "job_type": "j",
    "id": "theid",
}


@pytest.fixture
def run() -> Run:
    """Return a disabled run with every identity argument given."""
    return corelib.init(mode="disabled", **IDENTITY)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("name", "nm", marks=pytest.mark.case("dis-attr-name")),
        pytest.param("project", "p", marks=pytest.mark.case("dis-attr-project")),
        pytest.param("group", "g", marks=pytest.mark.case("dis-attr-group")),
        pytest.param("job_type", "j", marks=pytest.mark.case("dis-attr-job_type")),
        pytest.param("tags", ("t",), marks=pytest.mark.case("dis-attr-tags")),
        pytest.param("notes", "no", marks=pytest.mark.case("dis-attr-notes")),
        pytest.param("url", None, marks=pytest.mark.case("dis-attr-url")),
        pytest.param("project_url", None, marks=pytest.mark.case("dis-attr-project_url")),
        pytest.param("sweep_url", None, marks=pytest.mark.case("dis-attr-sweep_url")),
        pytest.param("sweep_id", None, marks=pytest.mark.case("dis-attr-sweep_id")),
        pytest.param("resumed", False, marks=pytest.mark.case("dis-attr-resumed")),
        pytest.param("starting_step", 0, marks=pytest.mark.case("dis-attr-starting_step")),
        pytest.param("offline", False, marks=pytest.mark.case("dis-attr-offline")),
        pytest.param("disabled", True, marks=pytest.mark.case("dis-attr-disabled")),
        ("id", "theid"),
    ],
)
def test_members_keep_what_was_given(run: Run, member: str, value: Any) -> None:
    """Identity is what the call said; addresses are None."""
    assert getattr(run, member) == value


@pytest.mark.case("dis-isinstance")
def test_it_is_a_run(run: Run) -> None:
    """There is no second class."""
    assert type(run) is Run


@pytest.mark.case("dis-no-files", "dis-no-network")
def test_nothing_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file, no thread, no socket, for the whole life of a run."""

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a disabled run opened a socket or a thread")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(threading.Thread, "start", forbidden)
    with corelib.init(mode="disabled", resume="auto", **IDENTITY) as run:
        for number in range(1000):
            run.log({"n": number})
        run.log({"text": "x"}, step=5000)
        run.summary["best"] = 1
        run.save("*.py")
        run.alert("title", "text")

    assert os.listdir() == []
    assert not os.path.exists(run.dir)


def test_steps_and_summary_behave_as_in_every_mode(run: Run) -> None:
    """Steps advance, the summary is kept, the receipt adds up."""
    run.log({"a": 1})
    run.log({"a": 2}, step=7)
    run.define_metric("b", summary="max")
    run.log({"b": 3})
    run.log({"b": 2})

    assert run.step == 9
    assert dict(run.summary) == {"a": 2, "b": {"max": 3}}
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered, receipt.rejected, receipt.journal) == (4, 4, 0, None)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(5, marks=pytest.mark.case("dis-log-nondict")),
        pytest.param({1: 2}, marks=pytest.mark.case("dis-log-intkey")),
        pytest.param({"k": object()}),
    ],
)
def test_bad_data_is_counted_and_not_raised(run: Run, data: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A disabled run never breaks a script; it warns and counts."""
    run.log(data)

    assert run.receipt.invalid == 1
    assert run.step == 0
    assert "WARNING" in capsys.readouterr().err


def test_bad_data_is_an_error_in_strict_mode() -> None:
    """errors="raise" holds in disabled mode too, so tests find the bad call."""
    run = corelib.init(mode="disabled", settings={"errors": "raise"})
    with pytest.raises(TypeError):
        run.log({1: 2})  # type: ignore[dict-item]  # what is tested


@pytest.mark.case(
    "dis-summary-missing", "dis-summary-missing-attr", "dis-unknown-attr", "dis-unknown-attr-old"
)
def test_what_is_missing_is_missing(run: Run) -> None:
    """Typos raise as they do in a real run."""
    with pytest.raises(KeyError):
        run.summary["dog"]
    with pytest.raises(AttributeError):
        _ = run.summary.zz
    with pytest.raises(AttributeError):
        _ = run.nope  # type: ignore[attr-defined]  # what is tested


@pytest.mark.case(
    "dis-old-iter", "dis-old-compare", "dis-old-inplace", "dis-old-bool-len-int", "dis-old-arith"
)
def test_it_is_no_dummy(run: Run) -> None:
    """It does not pretend to be a number, a sequence or a sentinel; it is true, as objects are."""
    assert run
    with pytest.raises(TypeError):
        iter(run)  # type: ignore[call-overload]  # what is tested
    with pytest.raises(TypeError):
        run < 3  # type: ignore[operator]  # noqa: B015  # what is tested
    with pytest.raises(TypeError):
        run + 1  # type: ignore[operator]  # what is tested
    with pytest.raises(TypeError):
        len(run)  # type: ignore[arg-type]  # what is tested


@pytest.mark.case("dis-config", "dis-config-change")
def test_config_follows_the_rules(run: Run) -> None:
    """Config is readable and protected as in every mode."""
    assert dict(run.config) == {"a": 1}
    assert run.config.a == 1
    with pytest.raises(ConfigError):
        run.config.update({"a": 2})


@pytest.mark.case("dis-ctx-unsets", "dis-finish-twice")
def test_the_end_clears_the_current_run(run: Run) -> None:
    """Leaving the block ends the run for the module too; finishing again is harmless."""
    with run:
        assert corelib.run is run
    assert corelib.run is None
    run.finish()
    run.finish()
    with pytest.raises(UsageError):
        run.log({"a": 1})


@pytest.mark.case(
    "dis-call-use_artifact", "dis-call-watch", "dis-call-restore", "dis-artifact-chain", "dis-deepcopy"
)
def test_calls_of_later_versions_do_no_harm(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there yet returns something harmless and says so once."""
    assert run.use_artifact("x") is None  # type: ignore[func-returns-value]  # what is tested
    assert run.watch(1) is None  # type: ignore[func-returns-value]  # what is tested
    assert run.restore("x") is None  # type: ignore[func-returns-value]  # what is tested
    run.log_artifact("x").wait().foo.bar()
    run.log_artifact("y")

    assert copy.deepcopy(run) is run
    assert capsys.readouterr().err.count("no effect") == 4


@pytest.mark.case("dis-bad-url-ok", "dis-bad-key-ok")
def test_server_and_key_are_nobodys_business() -> None:
    """Neither the server nor the key is looked at."""
    assert corelib.init(mode="disabled", settings={"base_url": "http://nope:9", "api_key": "x"}).disabled


@pytest.mark.case("dis-two-runs")
def test_two_disabled_runs() -> None:
    """Each init() gives a run of its own, the last of which is the current one."""
    first = corelib.init(mode="disabled")
    second = corelib.init(mode="disabled")

    assert second is not first
    assert corelib.run is second


@pytest.mark.case("dis-env-arg-wins")
def test_the_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """mode= wins over WANDB_MODE."""
    monkeypatch.setenv("WANDB_MODE", "disabled")

    assert corelib.init(mode="offline", settings={"silent": True}).offline


@pytest.mark.case("dis-setters")
def test_setters(run: Run) -> None:
    """Name, notes and tags can be set."""
    run.tags = ["tag"]
    run.notes = "notes"
    run.name = "name"

    assert (run.tags, run.notes, run.name) == (("tag",), "notes", "name")
