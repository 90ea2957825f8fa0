"""Fisher's Iris measurements, and how they are split into rows to learn from and rows to test on.

Law: the rows are the ones Fisher printed; the split is a rule, not a draw: every fifth flower of each species
is for testing. The same code sees the same rows on every machine.

The rows come from scikit-learn 1.9.1 (`sklearn/datasets/data/iris.csv`), whose copy agrees with the paper and
with R. The copy of the UCI repository differs in rows 35 (petal width 0.1) and 38 (sepal width 3.1, petal
length 1.5, against Fisher's 3.6 and 1.4); ours has Fisher's values, and a test says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["MEASUREMENTS", "SOURCE", "SPECIES", "Flower", "Scale", "read_flowers", "split"]

SOURCE: Final = (
    "R. A. Fisher, The use of multiple measurements in taxonomic problems, Annals of Eugenics 7 (1936)"
)
MEASUREMENTS: Final = ("sepal_length", "sepal_width", "petal_length", "petal_width")
SPECIES: Final = ("setosa", "versicolor", "virginica")
_EVERY_NTH_IS_FOR_TESTING: Final = 5


class Flower(NamedTuple):
    """One plant: four measurements in centimetres, and the index of its species in `SPECIES`."""

    measurements: tuple[float, ...]
    species: int


def read_flowers() -> list[Flower]:
    """Read the 150 flowers from the package data, in Fisher's order."""
    import csv
    from importlib.resources import files

    text = files("corelib.demo").joinpath("iris.csv").read_text(encoding="utf-8")
    return [
        Flower(tuple(float(row[name]) for name in MEASUREMENTS), SPECIES.index(row["species"]))
        for row in csv.DictReader(text.splitlines())
    ]


def split(flowers: Sequence[Flower]) -> tuple[list[Flower], list[Flower]]:
    """Return the flowers to learn from and the flowers to test on; every species is in both in the same proportion."""
    learning: list[Flower] = []
    testing: list[Flower] = []
    seen = [0] * len(SPECIES)
    for flower in flowers:
        seen[flower.species] += 1
        chosen = testing if seen[flower.species] % _EVERY_NTH_IS_FOR_TESTING == 0 else learning
        chosen.append(flower)
    return learning, testing


class Scale:
    """Brings each measurement to mean 0 and standard deviation 1, as seen in the flowers it was made from."""

    def __init__(self, flowers: Sequence[Flower]) -> None:
        columns = list(zip(*(flower.measurements for flower in flowers), strict=True))
        self.means = [sum(column) / len(column) for column in columns]
        self.deviations = [
            (sum((value - mean) ** 2 for value in column) / len(column)) ** 0.5
            for column, mean in zip(columns, self.means, strict=True)
        ]

    def apply(self, flowers: Sequence[Flower]) -> list[Flower]:
        """Return the flowers with scaled measurements."""
        return [
            Flower(
                tuple(
                    (value - mean) / deviation
                    for value, mean, deviation in zip(
                        flower.measurements, self.means, self.deviations, strict=True
                    )
                ),
                flower.species,
            )
            for flower in flowers
        ]
