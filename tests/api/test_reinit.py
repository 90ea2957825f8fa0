"""Several runs in one process."""

from __future__ import annotations

import os
from typing import Any

import pytest

import corelib
from corelib import UsageError

OFFLINE: dict[str, Any] = {"mode": "offline", "settings": {"quiet": True}}


@pytest.mark.case("reinit-default-returns", "reinit-no-side-effects")
def test_a_second_init_returns_the_active_run(capsys: pytest.CaptureFixture[str]) -> None:
    """In a script the active run is returned with a notice, and nothing else happens."""
    first = corelib.init(mode="offline", project="p1", config={"x": 1})
    second = corelib.init(mode="offline", project="p2", config={"x": 2})

    assert second is first
    assert first.project == "p1"
    assert dict(first.config) == {"x": 1}
    assert "project" in capsys.readouterr().err
    assert len([name for name in os.listdir("wandb") if name.startswith("offline-run")]) == 1
    assert os.path.realpath("wandb/latest-run") == first.sync_dir


@pytest.mark.case("reinit-true")
def test_reinit_true_finishes_the_active_run() -> None:
    """The previous run ends and the new one is current."""
    first = corelib.init(**OFFLINE)
    second = corelib.init(**OFFLINE, reinit=True)

    assert first.state == "finished"
    assert corelib.run is second


@pytest.mark.case("reinit-old-stack")
def test_reinit_true_finishes_all_active_runs() -> None:
    """However many runs are active, all of them are finished, as current trackers do."""
    first = corelib.init(**OFFLINE)
    beside = corelib.init(**OFFLINE, reinit="create_new")
    third = corelib.init(**OFFLINE, reinit=True)

    assert (first.state, beside.state, third.state) == ("finished", "finished", "running")


@pytest.mark.case("reinit-create-new", "reinit-create-new-id-conflict")
def test_create_new_stands_beside() -> None:
    """The current run stays current; the id of an active run cannot be used twice."""
    first = corelib.init(**OFFLINE)
    second = corelib.init(**OFFLINE, reinit="create_new")

    assert second is not first
    assert corelib.run is first
    assert first.state == "running"
    with pytest.raises(UsageError, match="in use"):
        corelib.init(**OFFLINE, id=first.id, reinit="create_new")


@pytest.mark.case("reinit-bad")
def test_other_words_are_refused() -> None:
    """Only the published values are taken."""
    with pytest.raises(ValueError, match="reinit"):
        corelib.init(**OFFLINE, reinit="bogus")


@pytest.mark.case("reinit-loop-with")
def test_the_loop_of_the_reference() -> None:
    """Ten runs in a loop, each with its rows, each finished."""
    ids = []
    for x in range(10):
        with corelib.init(**OFFLINE, project="my-projo") as run:
            for y in range(100):
                run.log({"metric": x + y})
        ids.append(run.id)

    for x, run_id in enumerate(ids):
        view = corelib.open_run(run_id)
        assert view.exit_code == 0
        assert [row["metric"] for row in view.history()] == [x + y for y in range(100)]


@pytest.mark.case("reinit-nested-with")
def test_nested_blocks() -> None:
    """After an inner block the outer run is still the current one."""
    with corelib.init(**OFFLINE) as outer:
        with corelib.init(**OFFLINE, reinit="create_new") as inner:
            inner.log({"a": 1})
        assert corelib.run is outer
        corelib.log({"b": 2})

    assert [row["b"] for row in corelib.open_run(outer.id).history()] == [2]


@pytest.mark.case("reinit-disabled-while-active")
def test_a_disabled_run_beside_an_active_one() -> None:
    """A disabled run becomes the current one and disturbs nobody."""
    active = corelib.init(**OFFLINE)
    disabled = corelib.init(mode="disabled")

    assert disabled.disabled
    assert corelib.run is disabled
    assert active.state == "running"
