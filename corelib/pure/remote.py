"""What a lookup can answer about a run id, and what a resumed run takes over from the run it continues.

Law: an answer is data, the same from a server and from run directories on disk. "It does not exist", "it was
never started", "it cannot be read" and "nobody could tell" are four answers, never one. What is taken over (step,
runtime, config) follows from the answer alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from attrs import field, frozen

__all__ = [
    "Absent",
    "Answer",
    "Created",
    "FailureKind",
    "LookupFailed",
    "RemoteRun",
    "Started",
    "Unreadable",
    "distinct",
    "merged_config",
    "runtime_offset",
    "starting_step",
]

FailureKind: TypeAlias = Literal["unreachable", "auth", "forbidden", "server", "refused"]
"""Why nobody could tell: no connection; no key or a rejected one; 403; a failing server (5xx); the id is barred."""

_LARGEST_FLOAT: Final = math.nextafter(math.inf, 0.0)  # an int beyond it is no figure either
_Kind = TypeVar("_Kind", bound=type)


def distinct(kind: _Kind) -> _Kind:
    """Make a NamedTuple equal only to its own type.

    Tuples compare by content, so `Absent() == Created()` would hold. An attrs class would not need this, but costs
    five times as much to define, and every first `init()` pays for it.
    """

    def equal(self: tuple[Any, ...], other: object) -> bool:
        return type(self) is type(other) and tuple.__eq__(self, other)

    def unequal(self: tuple[Any, ...], other: object) -> bool:
        return not equal(self, other)

    def hashed(self: tuple[Any, ...]) -> int:
        return hash((type(self), *self))

    kind.__eq__, kind.__ne__, kind.__hash__ = equal, unequal, hashed  # type: ignore[assignment,method-assign]
    return kind


@frozen(kw_only=True)
class RemoteRun:
    """An earlier run as a server or a run directory knows it.

    Args:
        run_id: its id.
        where: where it was found: a URL, or the name of a run directory.
        config: the stored config, plain values.
        summary: the stored summary, with its `_step`, `_runtime` and `_wandb` where they are stored.
        last_step: `_step` of the last history row; None if there is no row or it has none.
        history_lines, events_lines, console_lines: how many lines are stored; where streaming continues.
        history_runtime, events_runtime: `_runtime` of the last row of each, in seconds; None if unknown.
        tags, notes, name: as stored.
        exit_code: the recorded exit code; None while running, after a crash, or if unknown.
        storage_id: the server's key of this very run; a change sent with it cannot create a run.
    """

    run_id: str
    where: str | None = None
    config: Mapping[str, Any] = field(factory=dict)
    summary: Mapping[str, Any] = field(factory=dict)
    last_step: int | None = None
    history_lines: int = 0
    events_lines: int = 0
    console_lines: int = 0
    history_runtime: float | None = None
    events_runtime: float | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    name: str | None = None
    exit_code: int | None = None
    storage_id: str | None = None


@distinct
class Absent(NamedTuple):
    """No run has this id."""


@distinct
class Created(NamedTuple):
    """The run exists but was never started, as a sweep controller leaves it."""


@distinct
class Started(NamedTuple):
    """The run exists and has started; it may be running, crashed or finished."""

    remote: RemoteRun


@distinct
class Unreadable(NamedTuple):
    """The run exists, but what is stored of it cannot be understood; `reason` says what."""

    reason: str


@distinct
class LookupFailed(NamedTuple):
    """Nobody could tell whether the run exists; `reason` keeps the words of whoever failed, without secrets.

    `retry` says that the same question may be answered in a moment (a dropped connection, 429, 503), `after` in how
    many seconds, where whoever was asked has said so.
    """

    kind: FailureKind
    reason: str
    retry: bool = False
    after: float | None = None


Answer: TypeAlias = Absent | Created | Started | Unreadable | LookupFailed
"""What a lookup returns."""


def starting_step(remote: RemoteRun) -> int:
    """Return the first step of a run that continues `remote`.

    The last step is that of the summary, overridden by that of the last history row; one is added iff history
    lines are stored. Without any line the last step was announced but never written, so it is used again.
    """
    step = _step(remote.last_step)
    if step is None:
        step = _step(remote.summary.get("_step")) or 0
    return step + 1 if remote.history_lines > 0 else step


def runtime_offset(remote: RemoteRun) -> float:
    """Return the seconds that `remote` had run: the largest figure that events, history and summary tell."""
    internal = remote.summary.get("_wandb")
    told = internal.get("runtime") if isinstance(internal, Mapping) else None
    if told is None:
        told = remote.summary.get("_runtime")
    return max(_seconds(remote.events_runtime), _seconds(remote.history_runtime), _seconds(told))


def merged_config(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a resumed run: stored keys stay, given ones win whole; `_wandb` merges one level deeper."""
    merged = {**stored, **given}
    inside, outside = stored.get("_wandb"), given.get("_wandb")
    if isinstance(inside, Mapping) and isinstance(outside, Mapping):
        merged["_wandb"] = {**inside, **outside}
    return merged


def _step(value: object) -> int | None:
    # A store that keeps every number as a float says 15.0; taking it for "no step" would write step 0 again.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value >= 0 else None


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    return float(value) if 0 < value <= _LARGEST_FLOAT else 0.0
