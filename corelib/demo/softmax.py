"""Softmax regression by gradient descent, in the standard library.

Law: a model is its weights, one row per class, the bias last. One epoch is one step down the gradient of the
mean cross-entropy over all flowers; nothing is drawn at random, so the same flowers and rate give the same
weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from corelib.demo.iris import MEASUREMENTS, SPECIES, Flower

__all__ = ["Score", "Weights", "descend", "no_weights", "probabilities", "score"]

Weights = list[list[float]]
Score = tuple[float, float]


def no_weights() -> Weights:
    """Return the weights before any learning: all zero, every species equally likely."""
    return [[0.0] * (len(MEASUREMENTS) + 1) for _ in SPECIES]


def probabilities(weights: Weights, measurements: Sequence[float]) -> list[float]:
    """Return how likely each species is; the greatest exponent is taken out first, so that none overflows."""
    inputs = (*measurements, 1.0)
    scores = [sum(weight * value for weight, value in zip(row, inputs, strict=True)) for row in weights]
    greatest = max(scores)
    powers = [math.exp(one - greatest) for one in scores]
    total = sum(powers)
    return [power / total for power in powers]


def descend(weights: Weights, flowers: Sequence[Flower], rate: float) -> Weights:
    """Return the weights after one step of `rate` down the gradient."""
    gradient = no_weights()
    for flower in flowers:
        inputs = (*flower.measurements, 1.0)
        for species, likely in enumerate(probabilities(weights, flower.measurements)):
            error = likely - (species == flower.species)
            row = gradient[species]
            for column, value in enumerate(inputs):
                row[column] += error * value
    step = rate / len(flowers)
    return [
        [weight - step * slope for weight, slope in zip(row, slopes, strict=True)]
        for row, slopes in zip(weights, gradient, strict=True)
    ]


def score(weights: Weights, flowers: Sequence[Flower]) -> Score:
    """Return the mean cross-entropy in nats, and the share of flowers whose likeliest species is the true one."""
    loss = 0.0
    right = 0
    for flower in flowers:
        likely = probabilities(weights, flower.measurements)
        loss -= math.log(max(likely[flower.species], 1e-300))
        right += likely.index(max(likely)) == flower.species
    return loss / len(flowers), right / len(flowers)
