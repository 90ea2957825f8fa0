"""Samples of the machine, taken now and then while a run lasts.

Law: only where `x_disable_stats` is set to False, for a thread of our own in somebody's program is nothing to have
unasked. It is in the program because the journal, into which a sample goes like a row, is its process's alone. It
sleeps but for a tenth of a millisecond per sample, and nobody ever waits for it. What fails is said once, and ends
the sampling, not the run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from time import monotonic, process_time
from typing import Final

from corelib.pure.machine import Reading, machine_sample
from corelib.pure.records import SystemMetrics

__all__ = ["MachineSampler", "read_machine"]

_FIRST_AFTER_S: Final = 0.1
_LEAST_INTERVAL_S: Final = 0.1


class MachineSampler:
    """Samples the machine for one run.

    Args:
        record: records something in the run: a kind of record, and its values.
        interval_s: seconds between two samples; no less than a tenth.
        warn: tells the user something.
    """

    def __init__(self, record: Callable[..., None], interval_s: float, warn: Callable[[str], None]) -> None:
        """Sample nothing yet."""
        self._record = record
        self._interval_s = max(interval_s, _LEAST_INTERVAL_S)
        self._warn = warn
        self._is_over = Event()

    def start(self) -> None:
        """Begin: a first sample soon, then one per interval."""
        thread = Thread(target=self._sample, args=(read_machine(),), name="corelib-machine", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._warn(f"The machine is not sampled: {error}.")

    def stop(self) -> None:
        """Take no more samples."""
        self._is_over.set()

    def abandon(self) -> None:
        """Do nothing: a forked child has no such thread."""

    def _sample(self, before: Reading) -> None:
        cores = os.cpu_count() or 1
        wait_s = min(_FIRST_AFTER_S, self._interval_s)
        while not self._is_over.wait(wait_s):
            wait_s = self._interval_s
            try:
                now = read_machine()
                self._record(SystemMetrics, data=machine_sample(before, now, cores))
            except Exception as error:  # noqa: BLE001  nothing of this may end a program
                self._warn(f"The machine is not sampled any more: {type(error).__name__}: {error}.")
                return
            before = now


def read_machine() -> Reading:
    """Read what this system tells of itself and of this process."""
    load: float | None = None
    disk: tuple[int, int] | None = None
    with suppress(OSError, AttributeError):
        load = os.getloadavg()[0]
    with suppress(OSError):
        usage = shutil.disk_usage(os.sep)
        disk = usage.total, usage.used
    return Reading(
        monotonic(), process_time(), _text("/proc/self/status"), _text("/proc/meminfo"), load, disk
    )


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
