"""The demo's data are Fisher's, its model learns, and its story is recorded whole."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

import corelib
from corelib.demo.iris import SPECIES, Flower, Scale, read_flowers, split
from corelib.demo.softmax import descend, no_weights, probabilities, score
from corelib.demo.story import EPOCHS, RATES, tell


def test_there_are_fifty_flowers_of_each_species() -> None:
    """The table has 150 rows, 50 of each species, in Fisher's order."""
    flowers = read_flowers()

    assert Counter(flower.species for flower in flowers) == {0: 50, 1: 50, 2: 50}
    assert [flower.species for flower in flowers] == sorted(flower.species for flower in flowers)


@pytest.mark.parametrize(
    ("row", "measurements"),
    [
        (1, (5.1, 3.5, 1.4, 0.2)),
        (35, (4.9, 3.1, 1.5, 0.2)),  # the UCI copy has 0.1 for the petal width
        (38, (4.9, 3.6, 1.4, 0.1)),  # the UCI copy has 4.9, 3.1, 1.5, 0.1
        (150, (5.9, 3.0, 5.1, 1.8)),
    ],
)
def test_rows_are_as_fisher_printed_them(row: int, measurements: tuple[float, ...]) -> None:
    """The two rows in which the UCI copy is wrong have the values of the paper, and so have the first and the last."""
    assert read_flowers()[row - 1].measurements == measurements


def test_columns_have_the_published_moments() -> None:
    """Means and deviations per column, rounded as published, tell of a value mistyped anywhere."""
    columns = list(zip(*(flower.measurements for flower in read_flowers()), strict=True))

    assert [round(mean(column), 4) for column in columns] == [5.8433, 3.0573, 3.758, 1.1993]
    assert [round(stdev(column), 4) for column in columns] == [0.8281, 0.4359, 1.7653, 0.7622]


def test_split_is_fair_and_loses_nothing() -> None:
    """Every flower is on exactly one side, and every species is tested on ten flowers."""
    flowers = read_flowers()
    learning, testing = split(flowers)

    assert Counter(learning) + Counter(testing) == Counter(flowers)
    assert Counter(flower.species for flower in testing) == {0: 10, 1: 10, 2: 10}
    assert split(flowers) == (learning, testing)


def test_scaled_measurements_have_mean_0_and_deviation_1() -> None:
    """Scaling centres what it was made from."""
    flowers = read_flowers()
    for column in zip(*(flower.measurements for flower in Scale(flowers).apply(flowers)), strict=True):
        assert mean(column) == pytest.approx(0, abs=1e-12)
        assert math.fsum(value**2 for value in column) / len(column) == pytest.approx(1)


def test_a_step_goes_down_the_gradient_of_the_loss() -> None:
    """The change of the weights is minus rate times the slope of the mean cross-entropy, measured by differences."""
    flowers = [
        Flower((0.5, -1.0, 2.0, 0.25), 0),
        Flower((-0.5, 1.5, 0.0, -2.0), 2),
        Flower((1.0, 1.0, 1.0, 1.0), 1),
    ]
    weights = descend(no_weights(), flowers, 0.7)
    stepped = descend(weights, flowers, 1.0)
    small = 1e-6

    for species in range(len(SPECIES)):
        for column in range(5):
            nudged = [list(row) for row in weights]
            nudged[species][column] += small
            slope = (score(nudged, flowers)[0] - score(weights, flowers)[0]) / small
            assert weights[species][column] - stepped[species][column] == pytest.approx(slope, abs=1e-5)


def test_probabilities_add_up_and_never_overflow() -> None:
    """Even absurd weights give probabilities."""
    likely = probabilities([[1e6] * 5, [0.0] * 5, [-1e6] * 5], (1.0, 2.0, 3.0, 4.0))

    assert sum(likely) == pytest.approx(1)
    assert score([[1e6] * 5, [0.0] * 5, [-1e6] * 5], [Flower((1.0, 2.0, 3.0, 4.0), 2)])[0] < math.inf


def test_story_is_recorded_and_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Three runs and a resumed one, all rows read back, a table, curves, the places and the command to look further."""
    status = tell(str(tmp_path))
    told = capsys.readouterr().out
    views = sorted(corelib.list_runs(tmp_path / "wandb"), key=lambda view: view.start_time or 0.0)

    assert status == 0
    assert [view.state for view in views] == ["finished"] * 4
    assert [view.config["learning_rate"] for view in views[:3]] == list(RATES)
    assert [view.resumed for view in views] == [False, False, False, True]
    assert views[3].id in {view.id for view in views[:3]}
    history = list(views[3].history(keys=["loss"]))
    assert [row["_step"] for row in history] == list(range(2 * EPOCHS))
    assert history[-1]["loss"] < history[EPOCHS - 1]["loss"] < history[0]["loss"]
    assert all(view.summary["best_test_accuracy"] >= 0.8 for view in views)
    assert all(str(view.path / "journal") in told for view in views)
    assert f"corelib show {views[3].id}" in told
    assert "█" in told


@pytest.mark.slow
def test_same_machine_or_not_the_demo_learns_the_same(tmp_path: Path) -> None:
    """Nothing is drawn at random: two demos log the same numbers."""
    for name in ("one", "other"):
        tell(str(tmp_path / name))
    one, other = (
        {
            (view.config["learning_rate"], view.resumed): [row["loss"] for row in view.history(keys=["loss"])]
            for view in corelib.list_runs(tmp_path / name / "wandb")
        }
        for name in ("one", "other")
    )

    assert len(one) == 4
    assert one == other


def test_demo_says_when_rows_are_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo counts what it reads back against what it logged, and would not pass over a loss."""
    whole = corelib.RunView.history

    def one_short(view: corelib.RunView, keys: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        return islice(whole(view, keys), 1, None)

    monkeypatch.setattr(corelib.RunView, "history", one_short)

    assert tell(str(tmp_path)) == 1
    assert "PROBLEM: 600 rows were logged and 597 read back." in capsys.readouterr().out


def test_the_demo_where_the_current_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It records where it is told to, and the commands that it ends with name that place."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    status = tell(str(tmp_path / "there"))
    monkeypatch.chdir(tmp_path)

    assert status == 0
    assert f"corelib ls {tmp_path / 'there' / 'wandb'}" in capsys.readouterr().out
