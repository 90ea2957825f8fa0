"""What being online costs: `python -m tests.benchmarks.online [--json] [--quick]`.

Law: every figure comes from fresh processes, and is set against offline in the same minutes. It is no test: what a
machine under load measures is no verdict on the code. The server is that of the tests, in this process: what it
takes itself is part of the time of a delivery.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

from corelib.terminal import emit, table
from tests.benchmarks.__main__ import Figure, child
from tests.benchmarks.rows import DESCRIPTION
from tests.online.processes import kill_couriers
from tests.servers.black_hole import black_hole
from tests.servers.faults import delay
from tests.servers.wandb_server import KEY, WandbServer, serve

__all__ = ["main"]

_INIT_TIMEOUT_S = 3.0


class Effort(NamedTuple):
    """How much is measured."""

    processes: int
    rounds: int
    calls: int
    pause_s: float
    rows: int
    long_rows: int
    rate: float
    seconds: float


FULL = Effort(
    processes=40,
    rounds=5,
    calls=20_000,
    pause_s=0.0005,
    rows=100_000,
    long_rows=400_000,
    rate=1_000,
    seconds=60,
)
QUICK = Effort(
    processes=5, rounds=1, calls=2_000, pause_s=0.0, rows=5_000, long_rows=20_000, rate=500, seconds=3
)


def measured(what: str, settings: dict[str, Any], **words: Any) -> Any:
    """Let a fresh process do one run; its courier, if it has one, is cleared away."""
    said = child("-m", "tests.benchmarks.online_run", what, json.dumps({"settings": settings, **words}))
    if "id" in said:
        kill_couriers(said["id"])
    return said


def at(url: str, **more: Any) -> dict[str, Any]:
    """Return the settings of a run that goes to a server."""
    return {"base_url": url, "api_key": KEY, "silent": True, **more}


_OFFLINE = {"mode": "offline", "silent": True}


def beginning(effort: Effort) -> list[Figure]:
    """Measure `init()` against an address that never answers, beside offline."""
    offline, online = [], []
    with black_hole() as url:
        measured("init", _OFFLINE)  # compiles to bytecode what is not yet
        for _ in range(effort.processes):
            offline.append(measured("init", _OFFLINE))
            online.append(measured("init", at(url)))
        refused = measured("init", at(url, init_timeout=_INIT_TIMEOUT_S), resume="must", id="abc")
    if url.partition("//")[2].partition(":")[0] not in refused.get("error", ""):
        raise RuntimeError(f"the host is not named: {refused}")

    def middle(samples: list[dict[str, float]], name: str) -> float:
        return median(sample[name] for sample in samples) * 1e3

    return [
        Figure("first offline init()", middle(offline, "seconds"), "ms"),
        Figure("first online init(), black hole", middle(online, "seconds"), "ms"),
        Figure("online over offline", middle(online, "seconds") - middle(offline, "seconds"), "ms", 30),
        Figure(
            "online over offline, CPU of the process",
            middle(online, "cpu_seconds") - middle(offline, "cpu_seconds"),
            "ms",
        ),
        Figure(
            f"init(resume='must') gives up there, init_timeout={_INIT_TIMEOUT_S:g}", refused["seconds"], "s"
        ),
    ]


def latency(effort: Effort) -> list[Figure]:
    """Measure `log()` with a server whose every answer is a second late, beside offline."""
    words = {"count": effort.calls, "pause_s": effort.pause_s}
    with serve() as server:
        server.faults.add(delay(after=1.0))
        settings = at(server.url, x_push_interval=1)
        samples = [measured("log", settings, **words) for _ in range(effort.rounds)]
    figures = []
    for name in ("median", "p99"):
        without, late = (median(sample[where][name] for sample in samples) for where in ("offline", "online"))
        figures += [
            Figure(f"log() offline, {name}", without / 1e3, "µs"),
            Figure(f"log() online, answers a second late, {name}", late / 1e3, "µs"),
            Figure(f"log() online over offline, {name}", late / without, "times", 1.5),
        ]
    return figures


def volume(effort: Effort) -> list[Figure]:
    """Measure the delivery of many rows."""
    took, sent, pushes = _carried(effort.rows)
    whole_s = took["log_seconds"] + took["finish_seconds"]
    return [
        Figure(f"{effort.rows} rows: logging", took["log_seconds"], "s"),
        Figure(f"{effort.rows} rows: from finish() to delivered", took["finish_seconds"], "s"),
        Figure("rows per second, from the first log() to delivered", effort.rows / whole_s, "1/s"),
        Figure("bytes sent in pushes", sent / 1e6, "MB"),
        Figure("bytes sent per row", sent / effort.rows, "bytes"),
        Figure("pushes", pushes, ""),
    ]


def memory(effort: Effort) -> tuple[list[Figure], list[int]]:
    """Watch the memory of a courier that has much to deliver; return the figures and the series in kB."""
    series = _carried(effort.long_rows)[0]["resident_kb"]
    half = len(series) // 2
    growth = max(series[half:]) - max(series[:half] or series)
    return [
        Figure(f"courier, {effort.long_rows} rows: the most resident memory", max(series) / 1024, "MiB"),
        Figure("the most of the second half over the most of the first", growth / 1024, "MiB", 4),
    ], series


def _carried(rows: int) -> tuple[dict[str, Any], int, int]:
    """Have so many rows carried; return what the process measured, the bytes sent, and the number of pushes."""
    with serve() as server:
        took = measured("volume", at(server.url, finish_timeout=600), count=rows)
        _check(server, took, rows)
        pushes = server.requests("file_stream")
    return took, sum(request.wire_bytes for request in pushes), len(pushes)


def steady(effort: Effort) -> list[Figure]:
    """Measure the CPU time of a training process and its courier at a steady rate."""
    count = int(effort.rate * effort.seconds)
    words = {"rate": effort.rate, "seconds": effort.seconds}
    with serve() as server:
        took = measured("steady", at(server.url, finish_timeout=600), **words)
        _check(server, took, count)
    offline = measured("steady", _OFFLINE, **words)
    label = f"{effort.rate:g} rows/s for {effort.seconds:g} s: "
    return [
        Figure(f"{label}training offline", 100 * offline["training_cpu"] / offline["wall"], "% of a core"),
        Figure(f"{label}training online", 100 * took["training_cpu"] / took["wall"], "% of a core"),
        Figure(f"{label}courier", 100 * took["courier_cpu"] / took["wall"], "% of a core"),
        Figure(
            f"{label}both",
            100 * (took["training_cpu"] + took["courier_cpu"]) / took["wall"],
            "% of a core",
        ),
    ]


def _check(server: WandbServer, took: dict[str, Any], count: int) -> None:
    """Raise where a figure would be one of a delivery that did not happen."""
    there = server.run(took["id"]).line_count()
    if (there, took["delivered"]) != (count, count):
        raise RuntimeError(f"{there} of {count} rows are there, and the receipt says {took['delivered']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; the exit code says only whether it could be measured."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.online", description="Measure what being online costs."
    )
    parser.add_argument("--json", action="store_true", help="print data as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="measure little: to try the benchmark, not the library"
    )
    arguments = parser.parse_args(argv)
    effort = QUICK if arguments.quick else FULL
    began = beginning(effort)
    logged = latency(effort)
    carried = volume(effort)
    resident, series = memory(effort)
    figures = [*began, *logged, *carried, *resident, *steady(effort)]
    machine = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if arguments.json:
        rows = [{**figure._asdict(), "kept": figure.kept} for figure in figures]
        document = {"machine": machine, "row": DESCRIPTION, "figures": rows, "courier_resident_kb": series}
        print(json.dumps(document, indent=2))
        return 0
    words = {None: "", True: "kept", False: "OVER"}
    emit([machine, f"rows: {DESCRIPTION}", f"{effort}", ""])
    cells = [(one.name, f"{one.value:.2f}", one.unit, one.bound, words[one.kept]) for one in figures]
    emit(table(["figure", "measured", "unit", "bound", ""], cells, "<><>"))
    emit(
        ["", "courier's resident memory, MiB: " + " ".join(f"{kilobytes / 1024:.1f}" for kilobytes in series)]
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
