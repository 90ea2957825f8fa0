"""Runs that were there before the test began, in order or broken.

Law: a seeded run looks exactly as if a client had sent it, but for what `corrupt` replaces, and that only in
the answers to a resume query. The tables name the broken answers and what they mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from tests.servers.document import OMIT
from tests.servers.state import CONSOLE, EVENTS, HISTORY, STREAM_FILES, SUMMARY, RunState, World

__all__ = ["HARMLESS_ANSWERS", "MALFORMED_ANSWERS", "UNSTARTED_ANSWERS", "seed"]


def _table(**answers: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({name.replace("_", "-"): answer for name, answer in answers.items()})


MALFORMED_ANSWERS: Final = _table(
    summary_null={"summaryMetrics": None},
    summary_empty_text={"summaryMetrics": ""},
    summary_not_json={"summaryMetrics": "{loss"},
    summary_no_object={"summaryMetrics": "[1]"},
    summary_unencoded={"summaryMetrics": {"loss": 1}},
    history_tail_null={"historyTail": None},
    history_tail_not_json={"historyTail": "[nope"},
    history_tail_last_row_no_object={"historyTail": '["{\\"_step\\":1}","7"]'},
    history_tail_last_row_not_json={"historyTail": '["{_step"]'},
    history_tail_unencoded={"historyTail": ['{"_step":1}']},
    events_tail_null={"eventsTail": None},
    events_tail_not_json={"eventsTail": "nope]"},
    events_tail_last_row_no_object={"eventsTail": '["[]"]'},
    config_null={"config": None},
    config_not_json={"config": "lr: 0.1"},
    config_unwrapped={"config": '{"lr":0.1}'},
    config_unencoded={"config": {"lr": {"value": 0.1}}},
    history_count_null={"historyLineCount": None},
    history_count_text={"historyLineCount": "7"},
    history_count_float={"historyLineCount": 7.5},
    history_count_negative={"historyLineCount": -1},
    events_count_null={"eventsLineCount": None},
    events_count_text={"eventsLineCount": "7"},
    console_count_null={"logLineCount": None},
    console_count_text={"logLineCount": "7"},
    id_number={"id": 7},
    name_number={"name": 7},
)
"""What `corrupt` takes to make a run unreadable (protocol 6.4, 2.1): resuming must fail and write nothing."""

UNSTARTED_ANSWERS: Final = _table(
    internals_null={"wandbConfig": None},
    internals_not_json={"wandbConfig": "t"},
    internals_without_t={"wandbConfig": "{}"},
    internals_left_out={"wandbConfig": OMIT},
)
"""What `corrupt` takes to make a run look as if it had never started (protocol 6.4)."""

HARMLESS_ANSWERS: Final = _table(
    empty_tails={"historyTail": "[]", "eventsTail": "[]"},
    empty_config={"config": "{}"},
    empty_summary={"summaryMetrics": "{}"},
    nan_in_tail={"historyTail": '["{\\"_step\\":1,\\"loss\\":NaN}"]'},
    nan_in_summary={"summaryMetrics": '{"_step":1,"loss":NaN}'},
    config_key_without_value={"config": '{"lr":{"desc":"a key without value is dropped"}}'},
    unknown_fields={"notes": None, "tags": None},
)
"""What `corrupt` takes without making the run unreadable."""


def _texts(rows: Iterable[Mapping[str, Any] | str]) -> list[str]:
    return [row if isinstance(row, str) else json.dumps(row, separators=(",", ":")) for row in rows]


def _wrapped(config: Mapping[str, Any], started: bool) -> dict[str, Any]:
    wrapped = {name: {"value": value} for name, value in config.items()}
    if started:
        internals = dict(config.get("_wandb", {}))
        internals.setdefault("t", {"4": "3.11.7", "5": "0.31.0"})
        wrapped["_wandb"] = {"value": internals}
    return wrapped


def _last_values(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for row in rows:
        merged.update(row)
    return merged


def seed(
    world: World,
    run_id: str,
    *,
    rows: Iterable[Mapping[str, Any]] = (),
    events: Iterable[Mapping[str, Any]] = (),
    console: Iterable[str] = (),
    summary: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    display_name: str | None = None,
    started: bool = True,
    exit_code: int | None = None,
    corrupt: Mapping[str, Any] | None = None,
    project: str | None = None,
    entity: str | None = None,
) -> RunState:
    """Put a run into the world.

    Args:
        world: where it goes.
        run_id: its id.
        rows: history rows; one without `_step` gets its number as its step.
        events: rows of system metrics.
        console: console lines.
        summary: the stored summary; without one, the last value of every key of `rows`.
        config: plain values; they are stored wrapped. Internals under `_wandb`, plain as well.
        tags: its tags.
        notes: its notes.
        display_name: its name for people; without one, the run id.
        started: whether the config gets `_wandb.t`, which says that the run began.
        exit_code: makes it a finished run.
        corrupt: raw values that replace fields of the answer to a resume query, e.g.
            `MALFORMED_ANSWERS["config-null"]`; `document.OMIT` leaves a field out.
        project: its project; "uncategorized" without one.
        entity: its entity; the server's without one.
    """
    numbered = [{"_step": number, **row} for number, row in enumerate(rows)]
    run = world.create_run(world.key_of(run_id, project, entity))
    run.config = _wrapped(config or {}, started)
    run.tags, run.notes, run.display_name = tuple(tags), notes, display_name or run_id
    run.lines[HISTORY].write(0, _texts(numbered))
    run.lines[EVENTS].write(0, _texts(events))
    run.lines[CONSOLE].write(0, list(console))
    stored = summary if summary is not None else _last_values(numbered)
    if stored:
        run.lines[SUMMARY].write(0, _texts([stored]))
    run.acknowledged = {name: run.line_count(name) for name in STREAM_FILES}
    run.complete, run.exit_code = exit_code is not None, exit_code
    run.corrupt = dict(corrupt or {})
    return run
