"""Golden runs: what released versions wrote is read to the same values for ever.

`tests/golden/v1/make.py` says how the run of format 1 was made: its lines by hand, with no code of ours. The values
expected here were written down from those lines. Neither is changed again; a new format gets a run beside this one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zstandard

from corelib.api.reading import RunView
from corelib.pure.records import (
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
from corelib.pure.wire import KINDS, encode
from corelib.segments import Damage, Entry, read
from corelib.tail import Tail

GOLDEN = Path(__file__).parent / "golden" / "v1"
RUN = GOLDEN / "offline-run-20260102_030405-golden01"
NAN, INF = float("nan"), float("inf")


def header(seq: int, time: float, segment: int = 1, *, child: bool = False) -> Header:
    """Return a header of the golden run."""
    return Header(
        seq=seq,
        time=time,
        version=1,
        run_id="golden01",
        writer="child001" if child else "main0001",
        segment=segment,
        start_time=1767323045.0,
        host="node-7",
        pid=4712 if child else 4711,
        primary=not child,
    )


MAIN: list[Record] = [
    header(0, 1767323045.0),
    RunStart(
        seq=1,
        time=1767323045.25,
        project="iris",
        entity="botany",
        name="swift-elm-3",
        group="sweep",
        job_type="train",
        notes="first\nsecond line, ünïcode 🌱",
        tags=("baseline", "a b"),
        mode="offline",
        resumed=True,
        starting_step=10,
        runtime_offset=30.5,
        previous="offline-run-20260101_000000-golden01",
        decision=(
            "The run directory offline-run-20260101_000000-golden01 has this id, so it is resumed at step 10."
        ),
        config={
            "lr": 0.1,
            "layers": [16, 8],
            "optimizer": {"name": "adam", "betas": [0.9, 0.999]},
            "seed": None,
            "nesterov": False,
        },
        summary={"loss": 0.75, "_step": 9},
        program="train.py",
        sweep_id="s1",
    ),
    Row(seq=2, time=1767323046.0, step=10, data={"loss": 0.5, "epoch": 0, "ok": True}),
    Row(
        seq=3,
        time=1767323046.5,
        step=11,
        data={
            "nan": NAN,
            "inf": INF,
            "minus_inf": -INF,
            "minus_zero": -0.0,
            "tiny": 5e-324,
            "huge": 1.7976931348623157e308,
            "third": 1 / 3,
        },
    ),
    Row(
        seq=4,
        time=1767323047.0,
        step=12,
        data={
            "text_nan": "NaN",
            "text_escaped": "\\Infinity",
            "text_plain": "nan",
            "backslash": "\\",
            "empty": "",
            "surrogate": "\ud800",
            "control": "\x00\n\t",
        },
    ),
    Row(
        seq=5,
        time=1767323047.5,
        step=13,
        data={
            "beyond": 2**64,
            "below": -(2**63) - 1,
            "far": 10**30,
            "list": [NAN, [1, None, "-Infinity"]],
            "a.b": 1,
            "x": {"y": 2, "z.w": {"NaN": 3}},
        },
    ),
    Row(seq=6, time=1767323048.0, step=14, data={"part": 1, "nested": {"left": 1}}, commit=False),
    Row(seq=7, time=1767323048.25, step=14, data={"nested": {"right": 2}}, commit=False),
    Row(seq=8, time=1767323048.5, step=3, data={"behind": 1}, late=True),
    Row(seq=9, time=1767323048.75, step=14, data={"part": 2}),
    ConfigChange(
        seq=10, time=1767323049.0, update={"lr": 0.05, "optimizer": {"name": "sgd"}}, remove=("seed",)
    ),
    MetricDefined(
        seq=11,
        time=1767323049.25,
        name="loss",
        step_metric="epoch",
        step_sync=True,
        hidden=False,
        summary=("min", "max"),
        overwrite=True,
    ),
    MetricDefined(seq=12, time=1767323049.5, name="acc*", summary=("none",)),
    SummaryChange(
        seq=13, time=1767323049.75, update={"best": {"value": NAN}, "note": "by hand"}, remove=("ok",)
    ),
    RunChange(seq=14, time=1767323050.0, name="renamed", notes="", tags=("final",)),
    RunChange(seq=15, time=1767323050.25, tags=()),
    FileSaved(seq=16, time=1767323050.5, path="media/a b.txt", policy="live"),
    Alert(seq=17, time=1767323050.75, title="Loss", text="is NaN", level="WARN", wait_duration=0.0),
    Preempting(seq=18, time=1767323051.0),
    header(19, 1767323052.0, 2),
    Row(seq=20, time=1767323052.0, step=15, data={"loss": 0.25, "epoch": 1, "acc": 0.875}),
    Row(seq=21, time=1767323054.5, step=16, data={"_timestamp": 1767323054.125, "loss": 0.375}),
    Exit(seq=22, time=1767323055.0, exit_code=0, runtime=40.5),
]

CHILD: list[Record] = [
    header(0, 1767323052.5, child=True),
    Row(seq=1, time=1767323053.0, step=None, data={"child": 1}),
]

# As users see it: rows of the child numbered as they come, nested values as paths, times and seconds of runtime.
HISTORY: list[dict[str, Any]] = [
    {"loss": 0.5, "epoch": 0, "ok": True, "_step": 10, "_runtime": 31.5, "_timestamp": 1767323046.0},
    {
        "nan": NAN,
        "inf": INF,
        "minus_inf": -INF,
        "minus_zero": -0.0,
        "tiny": 5e-324,
        "huge": 1.7976931348623157e308,
        "third": 1 / 3,
        "_step": 11,
        "_runtime": 32.0,
        "_timestamp": 1767323046.5,
    },
    {
        "text_nan": "NaN",
        "text_escaped": "\\Infinity",
        "text_plain": "nan",
        "backslash": "\\",
        "empty": "",
        "surrogate": "\ud800",
        "control": "\x00\n\t",
        "_step": 12,
        "_runtime": 32.5,
        "_timestamp": 1767323047.0,
    },
    {
        "beyond": 2**64,
        "below": -(2**63) - 1,
        "far": 10**30,
        "list": [NAN, [1, None, "-Infinity"]],
        "a.b": 1,
        "x/y": 2,
        "x/z.w/NaN": 3,
        "_step": 13,
        "_runtime": 33.0,
        "_timestamp": 1767323047.5,
    },
    {"behind": 1, "_step": 3, "_runtime": 34.0, "_timestamp": 1767323048.5},
    {
        "part": 2,
        "nested/left": 1,
        "nested/right": 2,
        "_step": 14,
        "_runtime": 34.25,
        "_timestamp": 1767323048.75,
    },
    {"loss": 0.25, "epoch": 1, "acc": 0.875, "_step": 15, "_runtime": 37.5, "_timestamp": 1767323052.0},
    {"child": 1, "_step": 16, "_runtime": 38.5, "_timestamp": 1767323053.0},
    {"_timestamp": 1767323054.125, "loss": 0.375, "_step": 16, "_runtime": 40.0},
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ModuleType]:
    """Make the golden run anew; return where, and the script."""
    specification = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make.py")
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    directory = tmp_path_factory.mktemp("golden")
    script.make(directory)
    return directory, script


def exact(values: Any) -> list[str]:
    """Return values in a form that tells 0.0 from -0.0, 1 from 1.0 from True, and finds NaN equal to NaN."""
    return [repr(value) for value in values]


def test_every_record(made: tuple[Path, ModuleType]) -> None:
    """Every record of the golden run is read to exactly the values that were written, and nothing else is found."""
    entries = list(read(RUN / "journal"))
    by_writer = {
        writer: [entry.record for entry in entries if isinstance(entry, Entry) and entry.writer == writer]
        for writer in ("main0001", "child001")
    }

    assert exact(by_writer["main0001"]) == exact(MAIN)
    assert exact(by_writer["child001"]) == exact(CHILD)
    assert [entry for entry in entries if isinstance(entry, Damage)] == [
        Damage("child001", "000001.jsonl", 271, 34, "torn", "the last line is incomplete")
    ]
    assert [entry.record.seq for entry in entries[-5:] if isinstance(entry, Entry)] == [0, 1, 21, 22]


def test_every_kind_is_there() -> None:
    """The golden run has a record of every kind of its format, but for those that came after it was written."""
    later = {ConsoleLines, SystemMetrics}

    assert {type(record) for record in MAIN + CHILD} == set(KINDS.values()) - later


def test_the_run_that_it_tells_of() -> None:
    """Config, rows, summary, ending and all the rest come out as on the day when it was made."""
    view = RunView(RUN)

    assert exact(view.config.items()) == exact(
        {"lr": 0.05, "layers": [16, 8], "optimizer": {"name": "sgd"}, "nesterov": False}.items()
    )
    assert exact(view.history()) == exact(HISTORY)
    assert (view.id, view.project, view.entity, view.group) == ("golden01", "iris", "botany", "sweep")
    assert (view.job_type, view.name, view.notes, view.tags) == ("train", "renamed", "", ())
    assert (view.state, view.exit_code, view.runtime, view.resumed) == ("finished", 0, 40.5, True)
    summary = view.summary
    assert summary["loss"] == {"min": 0.25, "max": 0.5}
    assert {key: summary[key] for key in ("_step", "_runtime", "_timestamp", "note")} == {
        "_step": 16,
        "_runtime": 40.0,
        "_timestamp": 1767323054.125,
        "note": "by hand",
    }
    assert repr(summary["best"]) == "{'value': nan}"
    assert "ok" not in summary
    assert "acc" not in summary
    assert summary["nested"] == {"left": 1, "right": 2}


def test_following_it() -> None:
    """A Tail finds the same records, each once."""
    tail = Tail(RUN / "journal")
    found: list[Record] = []
    while batch := tail.poll(1):
        found += [entry.record for entry in batch]
    tail.close()

    assert exact(sorted(found, key=lambda record: (record.time, record.seq))) == exact(
        sorted(MAIN + CHILD, key=lambda record: (record.time, record.seq))
    )


def test_it_was_made_by_its_script(made: tuple[Path, ModuleType]) -> None:
    """The script makes the files that are here: hot ones to the byte, sealed ones to the byte of what they hold."""
    directory, _ = made
    names = sorted(path.relative_to(GOLDEN) for path in RUN.rglob("*") if path.is_file())
    unseal = zstandard.ZstdDecompressor().decompress

    assert names == sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    for name in names:
        kept, anew = (GOLDEN / name).read_bytes(), (directory / name).read_bytes()
        assert (unseal(kept) == unseal(anew)) if name.suffix == ".zst" else (kept == anew)


def test_this_version_writes_the_same(made: tuple[Path, ModuleType]) -> None:
    """As long as format 1 is the current one, our own encoder writes what was written by hand."""
    _, script = made
    by_hand = [line for text in (script.SEALED, script.HOT) for line in script.lines(text)]
    as_numbers = [line.replace(b"e+308", b"e308") for line in map(encode, MAIN)]

    assert as_numbers == by_hand
