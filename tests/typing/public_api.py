"""The public API as users write it, for the type checker alone: nothing here is ever run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typing_extensions import assert_type  # mypy brings it

import corelib
from corelib.pure.resume import Decision


def record() -> None:
    """Start a run, write to it in every way, and end it."""
    with corelib.init(project="iris", config={"lr": 0.1}, tags=["a"], mode="offline", resume=True) as run:
        assert_type(run, corelib.Run)
        run.log({"loss": 0.3})
        run.log({"loss": 0.2}, step=3, commit=False)
        run.config.update({"lr": 0.2}, allow_val_change=True)
        run.summary["best"] = 0.2
        run.name = "first"
        run.tags = ("a", "b")
        assert_type(run.step, int)
        assert_type(run.id, str)
        assert_type(run.resumed, bool)
        assert_type(run.resume_decision, Decision)
        assert_type(run.url, str | None)
    assert_type(run.finish(exit_code=0), corelib.Receipt)


def record_by_module() -> None:
    """The module's functions are those of the current run."""
    corelib.setup({"mode": "offline"})
    corelib.init("train", "/tmp", {"lr": 0.1}, "iris")
    corelib.log({"loss": 0.3})
    corelib.config["lr"] = 0.2
    corelib.summary["best"] = 0.2
    assert_type(corelib.run, corelib.Run | None)
    assert_type(corelib.finish(), corelib.Receipt | None)


def read_back() -> None:
    """Runs are opened, listed and read."""
    view = corelib.open_run("latest")
    assert_type(view, corelib.RunView)
    assert_type(view.config, dict[str, Any])
    assert_type(view.history(keys=["loss"]), Iterator[dict[str, Any]])
    assert_type(view.state, str)
    assert_type(corelib.list_runs(), list[corelib.RunView])


def handle(error: corelib.Error) -> bool:
    """Errors are told apart by class."""
    return isinstance(error, corelib.UsageError | corelib.CommError)


def two_cores() -> None:
    """A host tool has a core of its own."""
    core = corelib.Core(prefix="TOOL_", directory="tool", name="tool")
    assert_type(core.init(project="p"), corelib.Run)
    assert_type(core.run, corelib.Run | None)
