"""Ordinary and odd records to test a transport with.

Law: every one of them is legal: a run can journal it. The odd ones are what metrics contain on a bad day.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any, Final

from attrs import evolve

from corelib.ports import RunRef
from corelib.pure.records import (
    FORMAT_VERSION,
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    Header,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    RunStart,
    SummaryChange,
    SystemMetrics,
)

__all__ = ["ODD_ROWS", "TIME", "header_of", "other_records", "rows_from", "start_record"]

TIME: Final = 1_795_364_658.5
"""When all of this happened, in seconds since the epoch."""

ODD_ROWS: Final[dict[str, dict[str, Any]]] = {
    "no values": {},
    "an empty name": {"": 1},
    "a missing value": {"nothing": None},
    "non-finite numbers": {"nan": nan, "inf": inf, "-inf": -inf},
    "texts that read like non-finite numbers": {"text": "NaN", "escaped": "\\Infinity"},
    "signed zeros and the smallest numbers": {"zero": -0.0, "small": 5e-324, "large": 1.7976931348623157e308},
    "integers of 64 bits": {"least": -(2**63), "greatest": 2**64 - 1},
    "an integer beyond 64 bits": {"factorial": 2**200},
    "other scripts": {"精度": 1, "δ/ε": 2, "naïve": "café", "🦊": "\U0001f98a"},
    "control characters": {"text": "line\nfeed\ttab\x00nul\x1b[31mred", "separator": "\u2028\u2029"},
    "a lone surrogate": {"text": "\ud800"},
    "nested values": {"a": {"b": {"c": [1, [2, {"d": "e"}]]}}, "empty": {"dict": {}, "list": []}},
    "a deep value": {"deep": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]},
    "a thousand names": {f"metric/{number}": number for number in range(1000)},
    "a long name": {"n" * 10_000: 1},
    "names of the library itself": {"_step": 7, "_runtime": 1.5, "_timestamp": 2.5, "_wandb": {"t": 1}},
}


def header_of(run: RunRef, writer: str, *, primary: bool = True) -> Header:
    """Return a header such as the journal of `run` begins with."""
    return Header(
        seq=0,
        time=TIME,
        version=FORMAT_VERSION,
        run_id=run.run_id,
        writer=writer,
        segment=1,
        start_time=TIME,
        host="host",
        pid=1,
        primary=primary,
    )


def start_record(seq: int = 1, **changes: Any) -> RunStart:
    """Return the start of a new run with a config of one value."""
    start = RunStart(
        seq=seq,
        time=TIME,
        project="conformance",
        entity=None,
        name="a run",
        group=None,
        job_type=None,
        notes=None,
        tags=("one", "two"),
        mode="offline",
        resumed=False,
        starting_step=0,
        runtime_offset=0.0,
        previous=None,
        decision="New: no run was asked for.",
        config={"lr": 0.1},
        summary={},
        program=None,
        sweep_id=None,
    )
    return evolve(start, **changes)


def rows_from(seq: int, number: int, *, step: int = 0) -> tuple[Row, ...]:
    """Return so many rows, numbered from `seq` on, with growing steps."""
    return tuple(
        Row(seq=seq + index, time=TIME + index, step=step + index, data={"loss": 1.0 / (1 + step + index)})
        for index in range(number)
    )


def other_records(seq: int) -> tuple[Record, ...]:
    """Return a record of every kind that is neither header nor start, numbered from `seq` on."""
    kinds: list[dict[str, Any]] = [
        {"kind": ConfigChange, "update": {"lr": 0.2, "deep": {"a": [1, 2]}}, "remove": ("gone",)},
        {"kind": MetricDefined, "name": "loss", "summary": ("min", "last")},
        {"kind": Row, "step": 0, "data": {"loss": 0.5}, "commit": False},
        {"kind": Row, "step": 0, "data": {"accuracy": 0.9}},
        {"kind": Row, "step": 5, "data": {"loss": 0.4}},
        {"kind": Row, "step": 3, "data": {"loss": 0.3}, "late": True},
        {"kind": SummaryChange, "update": {"best": 0.9}, "remove": ("worst",)},
        {"kind": RunChange, "name": "renamed", "notes": "", "tags": ()},
        {"kind": FileSaved, "path": "models/weights.bin", "policy": "now"},
        {"kind": Alert, "title": "Look", "text": "The loss is NaN", "level": "WARN", "wait_duration": 60.0},
        {"kind": ConsoleLines, "stream": "stdout", "lines": ("epoch 1", "", "\x1b[32mdone\x1b[0m")},
        {"kind": ConsoleLines, "stream": "stderr", "lines": ("a lone surrogate: \udcff",)},
        {"kind": SystemMetrics, "data": {"system.cpu": 12.5, "system.memory_percent": 40}},
        {"kind": Preempting},
        {"kind": Exit, "exit_code": 0, "runtime": 12.5},
    ]
    return tuple(kind.pop("kind")(seq=seq + index, time=TIME, **kind) for index, kind in enumerate(kinds))
