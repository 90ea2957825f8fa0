"""The sampler of the machine: what it records, when, and that nobody waits for it."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest

import corelib
from corelib.pure.records import SystemMetrics
from corelib.shell.hooks import machine
from corelib.shell.hooks.machine import MachineSampler, read_machine

PATIENCE_S = 30.0


class Samples:
    """What a sampler records; `enough` is set by the second sample."""

    def __init__(self, error: Exception | None = None) -> None:
        self.found: list[dict[str, float]] = []
        self.warnings: list[str] = []
        self.enough = threading.Event()
        self._error = error

    def __call__(self, kind: type[Any], data: dict[str, float]) -> None:
        assert kind is SystemMetrics
        if self._error is not None:
            raise self._error
        self.found.append(data)
        if len(self.found) == 2:
            self.enough.set()

    def warn(self, text: str) -> None:
        self.warnings.append(text)
        self.enough.set()


def test_this_machine_can_be_read() -> None:
    """Time goes on; what is told depends on the system."""
    before, now = read_machine(), read_machine()

    assert now.at >= before.at
    assert now.cpu_s >= before.cpu_s > 0
    assert ("VmRSS" in now.status) is os.path.exists("/proc/self/status")


def test_what_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a system without /proc nor a disk that does not answer is an error."""

    def refuse(*_: object, **__: object) -> Any:
        raise OSError

    monkeypatch.setattr("os.getloadavg", refuse)
    monkeypatch.setattr("shutil.disk_usage", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    assert read_machine()[2:] == ("", "", None, None)


def test_samples_are_taken_until_the_end() -> None:
    """One soon, then one per interval, no more often than ten times a second; after the end, none."""
    samples = Samples()
    sampler = MachineSampler(samples, 0.0, samples.warn)
    sampler.start()
    assert samples.enough.wait(PATIENCE_S)
    sampler.stop()
    sampler.abandon()

    assert samples.found[1]["system.cpu"] >= 0
    assert sampler._interval_s == 0.1
    assert samples.warnings == []


def test_a_failure_ends_the_sampling_only() -> None:
    """It is said once."""
    samples = Samples(OSError("No space left on device"))
    MachineSampler(samples, 0.1, samples.warn).start()

    assert samples.enough.wait(PATIENCE_S)
    assert samples.warnings == ["The machine is not sampled any more: OSError: No space left on device."]


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and the run begins all the same."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    samples = Samples()
    MachineSampler(samples, 15.0, samples.warn).start()
    assert samples.warnings == ["The machine is not sampled: can't start new thread."]


def test_a_run_is_sampled_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the words x_disable_stats=False ask for it; what is recorded is read back."""
    monkeypatch.setattr(machine, "_FIRST_AFTER_S", 0.0)
    for asked in (None, True):
        with corelib.init(project="p", mode="offline", settings={"x_disable_stats": asked}):
            assert not [one for one in threading.enumerate() if one.name == "corelib-machine"]
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "false")
    monkeypatch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.1")
    recorded = threading.Event()
    with corelib.init(project="p", mode="offline") as run:
        append = run._journal.append  # type: ignore[union-attr]  # an offline run has one

        def told(kind: type[Any], **values: Any) -> Any:
            record = append(kind, **values)
            if kind is SystemMetrics:
                recorded.set()
            return record

        monkeypatch.setattr(run._journal, "append", told)
        assert next(corelib.open_run(run.id).system(), None) or recorded.wait(PATIENCE_S)
    samples = [*corelib.open_run(run.id).system()]
    assert samples[0]["system.disk./.usageGB"] > 0
    assert sys.platform != "linux" or samples[0]["system.proc.memory.rssMB"] > 1
