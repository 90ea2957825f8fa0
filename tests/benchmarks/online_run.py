"""Child of the online benchmark: one run, online or offline. Prints what it measured as JSON.

Its first word says what is measured, the second is JSON: the settings of the run, and how much. The
environment holds no settings.
"""

from __future__ import annotations

import time

began = time.perf_counter()
import corelib  # noqa: E402  what `init()` takes is measured from a process that has only just begun

imported = time.perf_counter()
import json  # noqa: E402
import os  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from tests.benchmarks.rows import training_row  # noqa: E402

_WARM_UP = 500
_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_EVERY_S = 0.25


def init(settings: dict[str, Any], **words: Any) -> dict[str, Any]:
    """Begin a run, and leave it at once."""
    started = time.perf_counter()
    cpu = time.process_time()
    try:
        run = corelib.init(project="benchmark", settings=settings, **words)
    except corelib.errors.Error as error:
        return {"seconds": time.perf_counter() - started, "error": f"{type(error).__name__}: {error}"}
    took = time.perf_counter() - started
    cpu = time.process_time() - cpu
    run.finish(timeout=0)
    return {"seconds": took, "cpu_seconds": cpu, "import_seconds": imported - began, "id": run.id}


def log(settings: dict[str, Any], count: int, pause_s: float) -> dict[str, Any]:
    """Log each row offline and to a server, in one loop, and return the percentiles of both in nanoseconds.

    Whatever the machine does meanwhile befalls both; which of them is first changes from row to row.
    """
    source = random.Random(1)
    rows = [training_row(index, count, source) for index in range(count)]
    offline = corelib.init(project="benchmark", settings={"mode": "offline", "silent": True})
    online = corelib.init(project="benchmark", settings=settings, reinit="create_new")
    took: dict[str, list[int]] = {"offline": [], "online": []}
    pairs = [("offline", offline.log), ("online", online.log)]
    for row in rows:
        for name, call in pairs:
            started = time.perf_counter_ns()
            call(row)
            took[name].append(time.perf_counter_ns() - started)
        pairs.reverse()
        if pause_s:
            time.sleep(pause_s)
    online.finish(timeout=0)
    offline.finish()
    return {name: _percentiles(sample) for name, sample in took.items()} | {"id": online.id}


def _percentiles(sample: list[int]) -> dict[str, int]:
    ordered = sorted(sample[_WARM_UP:])
    return {"median": ordered[len(ordered) // 2], "p99": ordered[len(ordered) * 99 // 100]}


def volume(settings: dict[str, Any], count: int) -> dict[str, Any]:
    """Log as fast as it goes, finish, and watch the memory of the courier meanwhile."""
    source = random.Random(1)
    run = corelib.init(project="benchmark", settings=settings)
    watch = _Watch(run.id)
    started = time.perf_counter()
    for index in range(count):
        run.log(training_row(index, count, source))
    logged = time.perf_counter()
    receipt = run.finish()
    ended = time.perf_counter()
    return {
        "log_seconds": logged - started,
        "finish_seconds": ended - logged,
        "delivered": receipt.delivered,
        "resident_kb": watch.stop(),
        "id": run.id,
    }


def steady(settings: dict[str, Any], rate: float, seconds: float) -> dict[str, Any]:
    """Log at a rate for a time, and return the CPU time of this process and of its courier meanwhile."""
    source = random.Random(1)
    count = int(rate * seconds)
    run = corelib.init(project="benchmark", settings=settings)
    time.sleep(2.0)  # until the courier has started
    pid = None if run.settings.mode == "offline" else courier_pid(run.id)
    cpu, courier_cpu, started = sum(os.times()[:2]), cpu_seconds(pid), time.perf_counter()
    for index in range(count):
        row = training_row(index, count, source)
        ahead = started + index / rate - time.perf_counter()
        if ahead > 0:
            time.sleep(ahead)
        run.log(row)
    wall = time.perf_counter() - started
    cpu, courier_cpu = sum(os.times()[:2]) - cpu, cpu_seconds(pid) - courier_cpu
    receipt = run.finish()
    return {
        "wall": wall,
        "training_cpu": cpu,
        "courier_cpu": courier_cpu,
        "delivered": receipt.delivered,
        "id": run.id,
    }


class _Watch:
    """Looks at the resident memory of a courier a few times a second."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._over = threading.Event()
        self._seen: list[int] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(_LOOK_EVERY_S):
            try:
                status = Path("/proc", str(courier_pid(self._run_id)), "status").read_text(encoding="ascii")
            except (OSError, LookupError):
                continue  # not yet, or no more
            self._seen += [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")]

    def stop(self) -> list[int]:
        """Return what was seen, in units of 1024 bytes."""
        self._over.set()
        self._thread.join()
        return self._seen


def courier_pid(run_id: str) -> int:
    """Return the process id of the courier of a run.

    Raises:
        LookupError: there is none.
    """
    from tests.online.processes import courier_pids

    pids = courier_pids(run_id)
    if not pids:
        raise LookupError(f"run {run_id} has no courier")
    return pids[0]


def cpu_seconds(pid: int | None) -> float:
    """Return the CPU time of a process so far; of none, 0."""
    if pid is None:
        return 0.0
    fields = Path("/proc", str(pid), "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    measures: dict[str, Callable[..., dict[str, Any]]] = {
        "init": init,
        "log": log,
        "volume": volume,
        "steady": steady,
    }
    print(json.dumps(measures[sys.argv[1]](**json.loads(sys.argv[2]))))
