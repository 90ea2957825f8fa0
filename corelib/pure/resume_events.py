"""What the resume machine hears and says: events in past tense, effects in the imperative, and its decision.

Law: `ReadMarker`, `Lookup` and `Upsert` are answered by exactly one event each, the other effects by none. All carry
values only; who performs an effect (the shell, a test, a model) is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from attrs import field, frozen

from corelib.errors import Error
from corelib.pure.remote import Answer, LookupFailed, distinct
from corelib.pure.resume_table import Place, Policy

__all__ = [
    "Action",
    "Corrupt",
    "Decide",
    "Decision",
    "Effect",
    "Event",
    "Finished",
    "LookedUp",
    "Lookup",
    "MarkerRead",
    "ReadMarker",
    "RemoveMarker",
    "Requested",
    "RunStarted",
    "Upsert",
    "UpsertAnswered",
    "WriteMarker",
]

Action: TypeAlias = Literal["new", "resumed", "overwrite", "refuse"]


@frozen(kw_only=True)
class Decision:
    """What becomes of the run that `init()` asked for.

    Args:
        action: `new`, `resumed`, `overwrite` (new, in place of an earlier run with this id) or `refuse`.
        rule: the row of the table that decided, such as "R5".
        reason: one sentence for people; the message of the error if refused.
        run_id: the id the run has.
        starting_step: the first step.
        runtime_offset: seconds that the continued run had run before.
        config, summary: what the run starts with; stored values are merged in already.
        tags, notes, name: what the run starts with; None where neither the call nor the stored run has one.
        inherited: what of these the call did not pass, as `RunStart.inherited` has it.
        history_offset, events_offset, console_offset: the line at which streaming continues.
        previous: where the continued run was found: a URL or the name of a run directory.
        storage_id: the key the server gave the continued run; a change sent with it can not create a run.
        deferred: go offline now; whether an earlier run is continued is decided at sync.
        error: the error to raise if refused.
        warnings: sentences to show once.
    """

    action: Action
    rule: str
    reason: str
    run_id: str
    starting_step: int = 0
    runtime_offset: float = 0.0
    config: Mapping[str, Any] = field(factory=dict)
    summary: Mapping[str, Any] = field(factory=dict)
    tags: tuple[str, ...] = ()
    notes: str | None = None
    name: str | None = None
    history_offset: int = 0
    events_offset: int = 0
    console_offset: int = 0
    previous: str | None = None
    storage_id: str | None = None
    deferred: bool = False
    error: type[Error] | None = None
    warnings: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()


@frozen(kw_only=True)
class Requested:
    """`init()` was called and its arguments are valid.

    Args:
        policy: the normalised `resume=`; None does not resume.
        run_id: the id that somebody chose, or None.
        id_source: who chose it, for people: `init(id=)`, `WANDB_RUN_ID`.
        mode: online, offline or disabled. A run that wants to be online and has no login or no server is online
            here: its lookup answers `LookupFailed` ("auth", "unreachable"), and the table says what that means.
        force: the server is needed (`init(force=True)`).
        fresh_id: a generated id, used if none was chosen.
        can_lookup: the backend can say whether a run exists. If not, the run directories are asked.
        config, tags, notes, name: what this call passes. None was not passed, so a resumed run keeps the stored one.
    """

    policy: Policy
    run_id: str | None
    fresh_id: str
    mode: Place
    id_source: str = "init(id=)"
    force: bool = False
    can_lookup: bool = True
    config: Mapping[str, Any] = field(factory=dict)
    tags: tuple[str, ...] | None = None
    notes: str | None = None
    name: str | None = None


@distinct
class Corrupt(NamedTuple):
    """The resume file is there but names no run; `reason` says what is wrong with it."""

    reason: str


@distinct
class MarkerRead(NamedTuple):
    """The resume file names `marker`, is absent (None), or cannot be used."""

    marker: str | Corrupt | None


@distinct
class LookedUp(NamedTuple):
    """Whoever was asked about the id has answered."""

    answer: Answer


@distinct
class UpsertAnswered(NamedTuple):
    """The backend has created the run or found it.

    `inserted`: it was not there before. `started`: it was, and somebody had started it. None: the backend does not
    say. `failure`: it did nothing, or its answer was lost.
    """

    inserted: bool | None = None
    started: bool | None = None
    failure: LookupFailed | None = None


@distinct
class RunStarted(NamedTuple):
    """The local record of the run exists: `init()` cannot fail any more."""


@distinct
class Finished(NamedTuple):
    """The run ended in this process, with this exit code; None if it is not known."""

    exit_code: int | None


@distinct
class ReadMarker(NamedTuple):
    """Read the resume file."""


@distinct
class Lookup(NamedTuple):
    """Ask whether `run_id` exists: the `server`, or the run directories on `disk`."""

    run_id: str
    where: Literal["server", "disk"]


@distinct
class Upsert(NamedTuple):
    """Start the run at the backend, creating it if need be, and say who was first; leave a started run alone."""

    run_id: str


@distinct
class WriteMarker(NamedTuple):
    """Let the resume file name this run."""

    run_id: str


@distinct
class RemoveMarker(NamedTuple):
    """Remove the resume file if it names `run_id`; None: whatever it names."""

    run_id: str | None


@distinct
class Decide(NamedTuple):
    """This is the decision. A later one replaces it; its warnings are the new ones only."""

    decision: Decision


Event: TypeAlias = Requested | MarkerRead | LookedUp | UpsertAnswered | RunStarted | Finished
Effect: TypeAlias = ReadMarker | Lookup | Upsert | WriteMarker | RemoveMarker | Decide
