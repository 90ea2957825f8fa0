"""Whatever happens to the server, the network, the courier or the training: each accepted row arrives, once, in order.

The scenarios are in `tests.online.scenarios`; `python -m tests.benchmarks.faults` plays them often and counts.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.online.scenarios import LONG, SCENARIOS, SHORT, play

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="couriers are found in /proc")


# Those that kill something; the others are played by .ci/run.
OFTEN = frozenset(
    {
        "resumed run, courier killed, cursor lost",
        "training killed",
    }
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in SCENARIOS],
)
def test_no_fault_loses_or_doubles_a_row(name: str, tmp_path: Path) -> None:
    """After a short spell of each fault the server has exactly the accepted rows, and the receipt adds up."""
    tally = play(name, tmp_path, SHORT)

    assert tally.is_right, tally


def test_what_is_played_often_is_played() -> None:
    """A scenario that is renamed does not fall out of the ordinary run unseen."""
    assert SCENARIOS.keys() >= OFTEN


@pytest.mark.soak
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_long_fault_loses_or_doubles_a_row(name: str, tmp_path: Path) -> None:
    """The same with long outages, answers that are a second late, and a courier that is killed twenty times."""
    tally = play(name, tmp_path, LONG, seed=1)

    assert tally.is_right, tally
