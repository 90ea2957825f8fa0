"""The figures of the README, measured: `python -m tests.benchmarks [--json] [--quick]`.

Law: every figure comes from fresh processes that do what a user's script does, in an empty directory, without
settings. It is no test: what a machine under load measures is no verdict on the code.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from corelib.terminal import emit, table
from tests.benchmarks.rows import DESCRIPTION

ROOT = Path(__file__).parent.parent.parent


class Figure(NamedTuple):
    """One measured figure, and the bound that it should keep; None where none was set."""

    name: str
    value: float
    unit: str
    bound: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the bound is kept."""
        return None if self.bound is None else self.value <= self.bound


class Effort(NamedTuple):
    """How much is measured."""

    processes: int
    calls: int
    rows: int
    long_rows: int


FULL = Effort(processes=40, calls=200_000, rows=100_000, long_rows=1_000_000)
QUICK = Effort(processes=5, calls=5_000, rows=5_000, long_rows=20_000)


def child(*words: str) -> Any:
    """Run one measuring process in an empty directory and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout or "null")


def wall(code: str) -> float:
    """Return the seconds from starting an interpreter with this code until it has ended."""
    began = perf_counter()
    child("-c", code)
    return perf_counter() - began


def startup(effort: Effort) -> list[Figure]:
    """Measure imports and `init()`."""
    script = str(ROOT / "tests" / "benchmarks" / "startup.py")
    child(script)  # compiles to bytecode what is not yet
    bare, loaded, samples = [], [], []
    for _ in range(effort.processes):
        bare.append(wall("pass"))
        loaded.append(wall("import corelib"))
        samples.append(child(script))
    middle = {name: median(sample[name] for sample in samples) * 1e3 for name in samples[0]}
    return [
        Figure("import corelib, over a bare interpreter", (median(loaded) - median(bare)) * 1e3, "ms", 15),
        Figure("import corelib, within the process", middle["import"], "ms"),
        Figure("import and first offline init()", middle["import_and_first_init"], "ms", 120),
        Figure("second init()", middle["second_init"], "ms", 15),
    ]


def latency(effort: Effort) -> list[Figure]:
    """Measure `log()` of four numbers."""
    took = child("-m", "tests.benchmarks.latency", str(effort.calls))
    return [
        Figure("log() of four numbers, median", took["median"] / 1e3, "µs", 6),
        Figure("log() of four numbers, p99", took["p99"] / 1e3, "µs", 60),
        Figure("log() of four numbers, worst", took["worst"] / 1e3, "µs"),
        Figure("bare limit (orjson + one write), median", took["bare_median"] / 1e3, "µs"),
        Figure("bare limit (orjson + one write), p99", took["bare_p99"] / 1e3, "µs"),
        Figure("log() over the bare limit, medians", took["median"] / took["bare_median"], "times", 3),
    ]


def volume(effort: Effort) -> list[Figure]:
    """Weigh journals."""
    figures = []
    for kind, name, bound in (
        ("training_row", "a row on disk after finish(), training", 40.0),
        ("random_row", "a row on disk after finish(), four random doubles", None),
    ):
        weighed = child("-m", "tests.benchmarks.volume", kind, str(effort.rows))
        figures.append(Figure(name, weighed["bytes"] / weighed["rows"], "bytes", bound))
    return figures


def memory(effort: Effort) -> tuple[list[Figure], list[int]]:
    """Watch the memory of a long run; return the figures and the series in kB."""
    series = child("-m", "tests.benchmarks.memory", str(effort.long_rows))
    # The buffers of the segment that is being sealed come and go, so the most of one half is set against the other's.
    half = len(series) // 2
    growth = max(series[half + 1 :]) - max(series[1 : half + 1])
    return [
        Figure("resident memory after the first tenth", series[1] / 1024, "MiB"),
        Figure("the most of the second half over the most of the first", growth / 1024, "MiB", 4),
    ], series


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code says only whether it could be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure what the README promises."
    )
    parser.add_argument("--json", action="store_true", help="print data as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="measure little: to try the benchmark, not the library"
    )
    arguments = parser.parse_args(argv)
    effort = QUICK if arguments.quick else FULL
    grown, series = memory(effort)
    figures = [*startup(effort), *latency(effort), *volume(effort), *grown]
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if arguments.json:
        rows = [{**figure._asdict(), "kept": figure.kept} for figure in figures]
        print(
            json.dumps(
                {"machine": machine, "row": DESCRIPTION, "figures": rows, "resident_kb": series}, indent=2
            )
        )
        return 0
    words = {None: "", True: "kept", False: "OVER"}
    emit([machine, f"rows: {DESCRIPTION}", f"{effort}", ""])
    cells = [(one.name, f"{one.value:.2f}", one.unit, one.bound, words[one.kept]) for one in figures]
    emit(table(["figure", "measured", "unit", "bound", ""], cells, "<><>"))
    emit(["", "resident memory, MiB: " + " ".join(f"{kilobytes / 1024:.1f}" for kilobytes in series)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
