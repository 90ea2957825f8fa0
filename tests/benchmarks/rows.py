"""The rows that are measured: what a training loop logs, four numbers.

    loss            falls from 2.3 towards 0.1 with multiplicative noise; a double with all its digits
    accuracy        right answers out of 120, so a ratio of small integers
    learning_rate   a cosine from 0.1 to 0 over the whole run; a double with all its digits
    gradient_norm   log-normal around 1; a double with all its digits

`random_row` is the hardest case instead: four independent uniform doubles, which no compressor can shorten.
"""

from __future__ import annotations

import math
import random

__all__ = ["DESCRIPTION", "random_row", "training_row"]

DESCRIPTION = (
    "loss (decay with noise), accuracy (k/120), learning_rate (cosine), gradient_norm (log-normal); "
    "doubles with all digits"
)

_QUESTIONS = 120


def training_row(index: int, count: int, source: random.Random) -> dict[str, float]:
    """Return row `index` of `count`."""
    progress = index / count
    decay = math.exp(-5 * progress)
    return {
        "loss": (0.1 + 2.2 * decay) * source.lognormvariate(0, 0.05),
        "accuracy": min(_QUESTIONS, round(_QUESTIONS * (1 - 0.66 * decay) + source.gauss(0, 2))) / _QUESTIONS,
        "learning_rate": 0.05 * (1 + math.cos(math.pi * progress)),
        "gradient_norm": source.lognormvariate(0, 0.3),
    }


def random_row(_index: int, _count: int, source: random.Random) -> dict[str, float]:
    """Return four uniform doubles."""
    return {name: source.random() for name in ("loss", "accuracy", "learning_rate", "gradient_norm")}
