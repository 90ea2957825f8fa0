"""The fault table: `python -m tests.benchmarks.faults [--runs N] [--quick] [--json]`.

Law: per scenario the runs, the rows, and of these the lost and the doubled; the scenarios are those of
`tests.online.scenarios`. Each run is judged whole, order, exit code and receipt included; one that is not right is
shown, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from corelib.terminal import emit, table
from tests.online.scenarios import LONG, SCENARIOS, SHORT, Scale, Tally, play

__all__ = ["Line", "fault_table", "main"]

_HEADINGS = ("scenario", "runs", "rows", "lost", "doubled", "not right", "seconds")


class Line(NamedTuple):
    """What became of all runs of one scenario."""

    scenario: str
    runs: int
    rows: int
    lost: int
    doubled: int
    wrong: tuple[Tally, ...]
    seconds: float


def fault_table(names: Sequence[str], runs: int, scale: Scale) -> list[Line]:
    """Play scenarios so many times each, with other chances every time, and count."""
    lines = []
    for name in names:
        began = perf_counter()
        tallies = [_played(name, scale, seed) for seed in range(runs)]
        lines.append(
            Line(
                scenario=name,
                runs=runs,
                rows=sum(tally.accepted for tally in tallies),
                lost=sum(tally.lost for tally in tallies),
                doubled=sum(tally.doubled for tally in tallies),
                wrong=tuple(tally for tally in tallies if not tally.is_right),
                seconds=perf_counter() - began,
            )
        )
    return lines


def _played(name: str, scale: Scale, seed: int) -> Tally:
    with tempfile.TemporaryDirectory() as directory:
        return play(name, Path(directory), scale, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Play and print; 1 if a run was not right."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.faults", description="Let things go wrong, and count the rows."
    )
    parser.add_argument("--runs", type=int, default=3, help="how often each scenario is played (default: 3)")
    parser.add_argument("--quick", action="store_true", help="short spells of each fault")
    parser.add_argument("--json", action="store_true", help="print data as JSON")
    arguments = parser.parse_args(argv)
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        del os.environ[name]
    lines = fault_table(list(SCENARIOS), arguments.runs, SHORT if arguments.quick else LONG)
    if arguments.json:
        print(json.dumps([line._asdict() for line in lines], indent=2))
    else:
        cells = [
            (one.scenario, one.runs, one.rows, one.lost, one.doubled, len(one.wrong), f"{one.seconds:.1f}")
            for one in lines
        ]
        emit(table(_HEADINGS, cells, "<>>>>>>"))
        emit(f"{line.scenario}: {tally}" for line in lines for tally in line.wrong)
    return 1 if any(line.wrong for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
