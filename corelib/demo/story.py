"""The demo from beginning to end: three runs, one resumed, and a look at what was recorded.

Law: it is a user's script. It records through `corelib.init`, reads through `corelib.open_run`, and knows
nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import corelib
from corelib.demo.iris import MEASUREMENTS, SOURCE, SPECIES, Flower, Scale, read_flowers, split
from corelib.demo.softmax import Weights, descend, no_weights, score
from corelib.terminal import duration, emit, sparkline, table

__all__ = ["EPOCHS", "RATES", "Data", "Trained", "tell"]

RATES: Final = (0.01, 0.1, 1.0)
EPOCHS: Final = 150

_METRICS: Final = ("loss", "accuracy", "test_loss", "test_accuracy")
_SPARK_WIDTH: Final = 18
_WEIGHTS_FILE: Final = "weights.json"


class Data(NamedTuple):
    """The flowers, scaled by what the ones to learn from look like."""

    learning: list[Flower]
    testing: list[Flower]


class Trained(NamedTuple):
    """A run that has ended: its id, its directory, and what was its learning rate and its last loss on test flowers."""

    run_id: str
    directory: Path
    rate: float
    test_loss: float


def tell(directory: str | None = None) -> int:
    """Train three runs, resume the one that learned least, and show what was recorded.

    Args:
        directory: where to record; None for the current directory, or what the settings say.

    Returns:
        0 if every row that was logged was read back, else 1.
    """
    flowers = read_flowers()
    learning, testing = split(flowers)
    scale = Scale(learning)
    data = Data(scale.apply(learning), scale.apply(testing))
    emit(
        [
            f"{len(flowers)} irises of {len(SPECIES)} species, {len(MEASUREMENTS)} measurements each:",
            f"{SOURCE}.",
            f"Softmax regression learns from {len(learning)} of them and is tested on {len(testing)}, "
            f"{EPOCHS} epochs a run.",
            "",
        ]
    )
    trained = [_train(rate, data, directory) for rate in RATES]
    behind = max(trained, key=lambda one: one.test_loss)
    emit(
        ["", f"Rate {behind.rate} has learned least: resume run {behind.run_id} by its id, and train on.", ""]
    )
    resumed = _train_on(behind, data, directory)
    directories = [one.directory for one in [*trained, resumed]]
    return _show([resumed if one is behind else one for one in trained], directories)


def _train(rate: float, data: Data, directory: str | None) -> Trained:
    run = corelib.init(
        project="iris",
        name=f"rate {rate}",
        dir=directory,
        mode="offline",
        tags=["demo"],
        config={"learning_rate": rate, "epochs": EPOCHS, "model": "softmax regression", "data": SOURCE},
    )
    return _epochs(run, no_weights(), data)


def _train_on(before: Trained, data: Data, directory: str | None) -> Trained:
    run = corelib.init(project="iris", dir=directory, mode="offline", id=before.run_id, resume="must")
    weights = json.loads((before.directory / "files" / _WEIGHTS_FILE).read_text(encoding="utf-8"))
    return _epochs(run, weights, data)


def _epochs(run: corelib.Run, weights: Weights, data: Data) -> Trained:
    """Train for as many epochs as the run's config says, from given weights, and finish the run."""
    rate = run.config["learning_rate"]
    best = run.summary.get("best_test_accuracy", 0.0)
    test_loss = 0.0
    for _ in range(run.config["epochs"]):
        weights = descend(weights, data.learning, rate)
        loss, accuracy = score(weights, data.learning)
        test_loss, test_accuracy = score(weights, data.testing)
        best = max(best, test_accuracy)
        run.log({"loss": loss, "accuracy": accuracy, "test_loss": test_loss, "test_accuracy": test_accuracy})
    run.summary["best_test_accuracy"] = best
    (Path(run.dir) / _WEIGHTS_FILE).write_text(json.dumps(weights), encoding="utf-8")
    run.finish()
    return Trained(run.id, Path(run.sync_dir), rate, test_loss)


def _show(trained: Sequence[Trained], directories: Sequence[Path]) -> int:
    """Read the runs back from their journals, and show them."""
    views = [corelib.open_run(one.directory) for one in trained]
    histories = [list(view.history(keys=_METRICS)) for view in views]
    emit(["", *_runs(views, histories), "", *_curves(trained, histories), "", "journals"])
    emit(f"  {directory / 'journal'}" for directory in directories)
    resumed = corelib.open_run(directories[-1])
    root = directories[-1].parent
    here = os.path.isdir(root.name) and os.path.samefile(root.name, root)
    emit(
        [
            "",
            "look at them",
            f"  corelib ls{'' if here else f' {root}'}",
            f"  corelib show {resumed.id}{'' if here else f' --dir {root}'}",
        ]
    )
    logged = sum(len(history) for history in histories)
    expected = (len(RATES) + 1) * EPOCHS
    if logged != expected:
        emit(["", f"PROBLEM: {expected} rows were logged and {logged} read back."])
        return 1
    return 0


def _runs(views: Sequence[Any], histories: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    headings = ("run", "name", "state", "epochs", "loss", "test loss", "test accuracy", "runtime")
    cells = [
        (
            view.id,
            view.name,
            view.state,
            len(history),
            view.summary["loss"],
            view.summary["test_loss"],
            view.summary["test_accuracy"],
            duration(view.runtime),
        )
        for view, history in zip(views, histories, strict=True)
    ]
    return table(headings, cells, "<<<>>>>>")


def _curves(trained: Sequence[Trained], histories: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    headings = ("metric", *(f"rate {one.rate}" for one in trained))
    cells = [
        (metric, *(sparkline([row[metric] for row in history], _SPARK_WIDTH) for history in histories))
        for metric in _METRICS
    ]
    return table(headings, cells)
