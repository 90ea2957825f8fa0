"""Recording: the plain path of `log()` equals the general one, and every transport shows the same run."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import corelib
from corelib import Run, UsageError
from corelib.api.recording import Recording
from corelib.pure.trees import equal_trees
from transports.memory import MemoryTransport

# Each example makes a run directory of its own below one temporary directory, so sharing the fixture is meant.
per_example = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

NAMES = st.sampled_from(["loss", "acc", "epoch", "a/b", "_step", "_timestamp", "", "é"])
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.booleans(), st.sampled_from([0.0, -0.0, 1e308, 10**400])
)
VALUES = st.one_of(
    NUMBERS, st.text(max_size=5), st.none(), st.lists(NUMBERS, max_size=3), st.just({"x": 1, "y": {}})
)
PLAIN_CALLS = st.dictionaries(NAMES, NUMBERS, max_size=4)
CALLS = st.tuples(
    st.just("log"),
    st.dictionaries(NAMES, VALUES, max_size=4),
    st.one_of(st.none(), st.integers(-1, 12)),
    st.sampled_from([None, True, False]),
)
CHANGES = st.one_of(
    CALLS,
    CALLS,
    st.tuples(st.just("config"), st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2)),
    st.tuples(st.just("summary"), st.sampled_from(["loss", "best"]), VALUES),
    st.tuples(
        st.just("define"),
        st.sampled_from(["loss", "acc", "a*"]),
        st.sampled_from(["min", "max,mean", "none"]),
    ),
    st.tuples(st.just("tags"), st.lists(st.sampled_from(["x", "y"]), max_size=2)),
)


def attempt(call: Callable[..., Any], *arguments: Any) -> str:
    """Make a call; return the error's name, or "" if there was none."""
    try:
        call(*arguments)
    except (UsageError, corelib.ConfigError) as error:
        return type(error).__name__
    return ""


def perform(run: Run, change: tuple[Any, ...]) -> str:
    """Do one thing to a run."""
    kind, *arguments = change
    if kind == "log":
        return attempt(run.log, *arguments)
    if kind == "config":
        return attempt(run.config.update, *arguments)
    if kind == "summary":
        return attempt(run.summary.__setitem__, *arguments)
    if kind == "define":
        return attempt(lambda name, summary: run.define_metric(name, summary=summary), *arguments)
    run.tags = tuple(arguments[0])
    return ""


def visible(run: Run) -> dict[str, Any]:
    """Return everything a user can see of a run that does not depend on the clock."""
    summary = {key: value for key, value in run.summary.as_dict().items() if key not in CLOCK}
    return {
        "step": run.step,
        "config": run.config.as_dict(),
        "summary": summary,
        "tags": list(run.tags),
        "accepted": run.receipt.accepted,
        "rejected": run.receipt.rejected,
    }


CLOCK = ("_runtime", "_timestamp", "_wandb")


@pytest.fixture
def begin(tmp_path: Path) -> Callable[..., Run]:
    """Return a function that begins a run of its own, silent and strict."""

    def begin(**words: Any) -> Run:
        extra = words.pop("settings", {})
        return corelib.init(
            dir=tmp_path, reinit="create_new", settings={"silent": True, "errors": "raise", **extra}, **words
        )

    return begin


@per_example
@given(calls=st.lists(PLAIN_CALLS, max_size=12))
def test_the_plain_path_equals_the_general_one(
    begin: Callable[..., Run], calls: list[dict[str, Any]]
) -> None:
    """A call that takes the short way leaves the same step, rows, summary and errors as the long way."""
    quick, slow = begin(mode="offline"), begin(mode="offline")
    for data in calls:
        assert attempt(quick.log, data) == attempt(Recording._log, slow, data, None, None)
        assert visible(quick)["step"] == visible(slow)["step"]
    assert equal_trees(visible(quick), visible(slow), exact=True)
    quick.finish()
    slow.finish()

    left, right = (
        [
            {key: value for key, value in row.items() if key not in CLOCK}
            for row in corelib.open_run(run.sync_dir).history()
        ]
        for run in (quick, slow)
    )
    assert equal_trees(left, right, exact=True)


@per_example
@given(changes=st.lists(CHANGES, max_size=10))
def test_every_transport_shows_the_same_run(
    begin: Callable[..., Run], changes: list[tuple[Any, ...]]
) -> None:
    """Any sequence of calls has the same visible results on null, memory and file, and the same errors."""
    memory = MemoryTransport()
    runs = [
        begin(mode="disabled"),
        begin(mode="offline", settings={"transport": memory}),
        begin(mode="offline"),
    ]
    for change in changes:
        errors = {perform(run, change) for run in runs}
        assert len(errors) == 1
    seen = [visible(run) for run in runs]
    for run in runs:
        run.finish()

    assert equal_trees(seen[0], seen[1], exact=True)
    assert equal_trees(seen[0], seen[2], exact=True)
    _, carried, kept = runs
    from_memory, from_file = memory.rows(carried.id), list(corelib.open_run(kept.sync_dir).history())
    for row in (*from_memory, *from_file):
        for key in CLOCK:
            if not (key == "_timestamp" and type(row.get(key)) is int):
                row.pop(key, None)
    assert equal_trees(from_memory, from_file, exact=True)


@per_example
@given(changes=st.lists(CHANGES, max_size=10))
def test_what_is_read_back_is_what_was_seen(
    begin: Callable[..., Run], changes: list[tuple[Any, ...]]
) -> None:
    """Config, summary and tags of the journal are those of the run when it ended."""
    run = begin(mode="offline")
    for change in changes:
        perform(run, change)
    run.finish()
    view = corelib.open_run(run.sync_dir)

    assert equal_trees(dict(run.config.as_dict()), view.config, exact=True)
    assert equal_trees(
        run.summary.as_dict(), {k: v for k, v in view.summary.items() if not k.startswith("_")}, exact=True
    )
    assert list(run.tags) == list(view.tags)
    assert all(math.isfinite(row["_runtime"]) for row in view.history())
