"""Strategies for what a journal holds: records of every kind, whole writers, batches.

Law: they draw whatever the types allow, with the awkward values often: non-finite numbers and the texts that
stand for them, integers beyond 64 bits, empty keys, signed zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve
from hypothesis import strategies as st

from corelib.ports import Batch, RunRef
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
from corelib.testing.strategies.values import json_trees

__all__ = ["batches", "headers", "records", "rows", "starts", "trees", "writings"]

_AWKWARD_TEXTS: Final = (
    "",
    "NaN",
    "Infinity",
    "-Infinity",
    "\\NaN",
    "\\\\Infinity",
    "\x00",
    "é",
    "🦊",
    "a/b",
    "_step",
)

_texts = st.sampled_from(_AWKWARD_TEXTS) | st.text(max_size=20)
_names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8)
_times = st.floats(min_value=0, max_value=4e9, allow_nan=False)
_maybe_text = st.none() | _texts
_text_tuples = st.lists(_texts, max_size=3).map(tuple)


def trees(max_size: int = 4) -> st.SearchStrategy[dict[str, Any]]:
    """Draw dictionaries of values: rows, configs, summaries."""
    return st.dictionaries(_texts, json_trees(), max_size=max_size)


def _kind(kind: Callable[..., Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(kind, seq=st.integers(min_value=0, max_value=2**40), time=_times, **fields)


def headers(run_id: str = "run", writer: str = "writer") -> st.SearchStrategy[Header]:
    """Draw headers of one writer."""
    return _kind(
        Header,
        version=st.just(FORMAT_VERSION),
        run_id=st.just(run_id),
        writer=st.just(writer),
        segment=st.integers(min_value=1, max_value=10**6),
        start_time=_times,
        host=_texts,
        pid=st.integers(min_value=0, max_value=2**22),
        primary=st.booleans(),
    )


def rows() -> st.SearchStrategy[Row]:
    """Draw rows: of the primary writer and of others, open, closed and late."""
    return _kind(
        Row,
        step=st.none() | st.integers(min_value=0, max_value=10**6),
        data=trees(),
        commit=st.booleans(),
        late=st.booleans(),
    )


def starts() -> st.SearchStrategy[RunStart]:
    """Draw starts of runs, new and resumed."""
    return _kind(
        RunStart,
        project=_names,
        entity=st.none() | _names,
        name=_maybe_text,
        group=_maybe_text,
        job_type=_maybe_text,
        notes=_maybe_text,
        tags=_text_tuples,
        mode=st.sampled_from(("online", "offline")),
        resumed=st.booleans(),
        starting_step=st.integers(min_value=0, max_value=10**6),
        runtime_offset=st.floats(min_value=0, max_value=1e9),
        previous=st.none(),
        decision=_texts,
        config=trees(),
        summary=trees(),
        program=_maybe_text,
        sweep_id=st.none() | _names,
        writer=st.none() | _names,
        ignored=_text_tuples,
        inherited=_text_tuples,
        policy=st.sampled_from((None, "allow", "must", "never", "auto")),
        deferred=st.sampled_from((None, "allow", "must", "never", "auto")),
        host=_maybe_text,
        commit=_maybe_text,
        remote=_maybe_text,
        code_path=_maybe_text,
    )


def records() -> st.SearchStrategy[Record]:
    """Draw records of every kind but headers, which accompany records and are never delivered as such."""
    changes = {"update": trees(), "remove": _text_tuples}
    optional_flag = st.none() | st.booleans()
    return st.one_of(
        rows(),
        starts(),
        _kind(ConfigChange, **changes),
        _kind(SummaryChange, **changes),
        _kind(
            MetricDefined,
            name=_texts,
            step_metric=_maybe_text,
            step_sync=optional_flag,
            hidden=optional_flag,
            summary=st.none() | st.lists(st.sampled_from(("min", "max", "mean", "last"))).map(tuple),
            overwrite=st.booleans(),
        ),
        _kind(RunChange, name=_maybe_text, notes=_maybe_text, tags=st.none() | _text_tuples),
        _kind(FileSaved, path=_names, policy=st.sampled_from(("live", "now", "end"))),
        _kind(
            ConsoleLines,
            stream=st.sampled_from(("stdout", "stderr")),
            lines=st.lists(_texts, min_size=1, max_size=3).map(tuple),
        ),
        _kind(SystemMetrics, data=trees()),
        _kind(
            Alert,
            title=_texts,
            text=_texts,
            level=st.sampled_from(("INFO", "WARN", "ERROR")),
            wait_duration=st.floats(min_value=0, max_value=1e6),
        ),
        _kind(Preempting),
        _kind(
            Exit,
            exit_code=st.none() | st.integers(min_value=-255, max_value=255),
            runtime=st.floats(min_value=0, max_value=1e9),
        ),
    )


def writings(max_size: int = 20) -> st.SearchStrategy[list[Record]]:
    """Draw what one writer wrote: any records, numbered from 1."""
    return st.lists(records(), max_size=max_size).map(_numbered)


def _numbered(drawn: Sequence[Record]) -> list[Record]:
    return [evolve(record, seq=seq) for seq, record in enumerate(drawn, start=1)]


def batches(
    run: RunRef | None = None, writer: str = "writer", max_size: int = 20
) -> st.SearchStrategy[Batch]:
    """Draw batches of one writer, with its header or without."""
    ref = RunRef(run_id="run", project="project") if run is None else run
    return st.builds(
        Batch,
        run=st.just(ref),
        writer=st.just(writer),
        header=st.none() | headers(ref.run_id, writer),
        records=st.lists(records(), min_size=1, max_size=max_size).map(lambda drawn: tuple(_numbered(drawn))),
    )
