"""The resume machine: from the words of `init()` and what is known of earlier runs to a `Decision`, and to the end.

Laws: what changes the state is in this file, and what is decided is a row of `corelib.pure.resume_table`. The resume
file ("marker") is written or removed only after `RunStarted`, so an `init()` that fails leaves it as it was. Under
`never`, `allow` and `auto` a run with a chosen id does not start before the backend has said who was first.

    phase      it waits for         and is left by
    idle       -                    Requested
    marker     ReadMarker           MarkerRead
    server     Lookup at server     LookedUp
    exit       Lookup on disk       LookedUp: whether what the resume file names has finished, if no server tells
    upsert     Upsert               UpsertAnswered
    disk       Lookup on disk       LookedUp
    decided    -                    RunStarted
    running    -                    Finished
    refused    -                    (the end)
    finished   -                    (the end)

Where `init()` has no reason to wait, it decides at once, and the backend answers when the run is on its way:
`UpsertAnswered` is legal from `decided` on. It may still turn `new` into `overwrite` or send the run offline, but can
neither stop the run nor move its first step: a refusal that comes so late means that all is kept on this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, frozen

from corelib.errors import UsageError
from corelib.pure.remote import (
    Answer,
    Created,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
    merged_config,
    runtime_offset,
    starting_step,
)
from corelib.pure.resume_events import (
    Action,
    Corrupt,
    Decide,
    Decision,
    Effect,
    Event,
    Finished,
    LookedUp,
    Lookup,
    MarkerRead,
    ReadMarker,
    RemoveMarker,
    Requested,
    RunStarted,
    Upsert,
    UpsertAnswered,
    WriteMarker,
)
from corelib.pure.resume_table import SENTENCES, IdFrom, Known, Place, Row, row_for

__all__ = [
    "IDLE",
    "TRANSITIONS",
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
    "Phase",
    "ReadMarker",
    "RemoveMarker",
    "Requested",
    "RunStarted",
    "State",
    "Upsert",
    "UpsertAnswered",
    "WriteMarker",
    "step",
]

Phase: TypeAlias = Literal[
    "idle", "marker", "server", "exit", "upsert", "disk", "decided", "running", "refused", "finished"
]


@frozen(kw_only=True)
class State:
    """How far the machine has come. `step` makes states; `IDLE` is the first.

    `marker` is the id that the resume file named; `answer` is the latest answer about the run; `deferral` is the
    rule that sent an online run offline, with its cause; `contested`: somebody else was faster to start the run.
    """

    phase: Phase
    request: Requested
    run_id: str = ""
    id_from: IdFrom = "fresh"
    marker: str | None = None
    known: Known = "unasked"
    answer: Answer | None = None
    deferral: tuple[Row, str] | None = None
    contested: bool = False
    warnings: tuple[str, ...] = ()
    decision: Decision | None = None


IDLE: Final = State(phase="idle", request=Requested(policy=None, run_id=None, fresh_id="", mode="disabled"))

_Moved: TypeAlias = tuple[State, tuple[Effect, ...]]


def step(state: State, event: Event) -> _Moved:
    """Return the next state and what is to be done.

    Raises:
        UsageError: the event is not legal in this phase; the state stays as it is.
    """
    handler = TRANSITIONS[state.phase].get(type(event))
    if handler is None:
        message = f"{type(event).__name__} is not legal while the resume machine is {state.phase}"
        raise UsageError(message)
    return handler(state, event)


def _requested(state: State, event: Requested) -> _Moved:
    chosen = event.run_id is not None
    state = evolve(
        state,
        request=event,
        run_id=event.run_id if event.run_id is not None else event.fresh_id,
        id_from="explicit" if chosen else "fresh",
    )
    if event.policy == "auto" and event.mode != "disabled":
        return evolve(state, phase="marker"), (ReadMarker(),)
    return _ask(state)


def _marker_read(state: State, event: MarkerRead) -> _Moved:
    marker, source = event.marker, state.request.id_source
    given = state.id_from == "explicit"
    if isinstance(marker, Corrupt) and not given:
        warning = f"The resume file names no run ({marker.reason}), so run {state.run_id} is new."
        state = evolve(state, warnings=(warning,))
    elif isinstance(marker, str) and not given:
        state = evolve(state, marker=marker, run_id=marker, id_from="marker")
    elif isinstance(marker, str):
        warning = f"Ignoring ID {marker} of the resume file: the run ID is set to {state.run_id} by {source}."
        state = evolve(state, marker=marker, warnings=() if marker == state.run_id else (warning,))
    return _ask(state)


def _ask(state: State) -> _Moved:
    """Ask about the id where the words of the call need an answer; decide at once where they do not."""
    request = state.request
    named = request.policy is not None and state.id_from != "fresh"
    if _place(request) == "offline" and named:
        return evolve(state, phase="disk"), (Lookup(state.run_id, "disk"),)
    needs_server = named or (request.force and request.policy != "must")
    if _place(request) == "online" and needs_server:
        return evolve(state, phase="server"), (Lookup(state.run_id, "server"),)
    return _settle(state, _row(state, _place(request)))


def _server_answered(state: State, event: LookedUp) -> _Moved:
    known = _known(event.answer)
    if state.contested and known in ("absent", "created"):
        known = "contested"
    state = evolve(state, known=known, answer=event.answer)
    if known == "started" and state.id_from == "marker" and _exit_code(event.answer) is None:
        return evolve(state, phase="exit"), (Lookup(state.run_id, "disk"),)
    return _answered_online(state)


def _exit_answered(state: State, event: LookedUp) -> _Moved:
    return _answered_online(evolve(state, known="finished") if _exit_code(event.answer) == 0 else state)


def _answered_online(state: State) -> _Moved:
    row = _row(state, "online")
    if row.outcome == "new" and state.id_from != "fresh" and state.request.policy is not None:
        return evolve(state, phase="upsert"), (Upsert(state.run_id),)
    return _follow(state, row)


def _upsert_answered(state: State, event: UpsertAnswered) -> _Moved:
    if event.failure is not None:
        state = evolve(state, known=event.failure.kind, answer=event.failure)
    elif event.started or (event.inserted is False and state.known == "absent"):
        state = evolve(state, known="rival", contested=True)
    return _follow(state, _row(state, "online"))


def _disk_answered(state: State, event: LookedUp) -> _Moved:
    state = evolve(state, known=_known(event.answer), answer=event.answer)
    return _settle(state, _row(state, "offline"))


def _follow(state: State, row: Row) -> _Moved:
    if row.outcome == "ask again":
        return evolve(state, phase="server"), (Lookup(state.run_id, "server"),)
    if row.outcome == "deferred":
        return evolve(state, phase="disk", deferral=(row, _why(state))), (Lookup(state.run_id, "disk"),)
    return _settle(state, row)


def _run_started(state: State, event: RunStarted) -> _Moved:
    del event
    policy, mode = state.request.policy, state.request.mode
    state = evolve(state, phase="running")
    if mode != "disabled" and policy == "auto":
        return state, (WriteMarker(state.run_id),)
    if mode != "disabled" and policy is None:
        return state, (RemoveMarker(None),)
    return state, ()


def _finished(state: State, event: Finished) -> _Moved:
    succeeded = event.exit_code == 0 and state.request.mode != "disabled"
    return evolve(state, phase="finished"), (RemoveMarker(state.run_id),) if succeeded else ()


def _late_answer(state: State, event: UpsertAnswered) -> _Moved:
    request, decision = state.request, state.decision
    if request.mode != "online" or decision is None:
        message = f"UpsertAnswered is not legal for a run that is {request.mode}"
        raise UsageError(message)
    if state.known != "unasked":
        return state, ()
    if event.failure is not None:
        state = evolve(state, known=event.failure.kind, answer=event.failure)
    elif event.started or (event.inserted is False and event.started is None):
        state = evolve(state, known="started")
    else:
        state = evolve(state, known="created" if event.inserted is False else "absent")
    row = _row(state, "online")
    if row.outcome == "new":
        return state, ()
    reason = _text(row.reason, state, decision.starting_step)
    if row.outcome == "refuse":
        reason = f"{reason} This run has begun: it goes on and is kept on this machine."
    overwrites = row.outcome == "overwrite"
    decision = evolve(
        decision,
        action="overwrite" if overwrites else decision.action,
        deferred=not overwrites,
        rule=row.rule,
        reason=reason,
        warnings=(reason,),
    )
    return evolve(state, decision=decision), (Decide(decision),)


def _settle(state: State, row: Row) -> _Moved:
    if row.outcome == "refuse":
        refusal = Decision(
            action="refuse",
            rule=row.rule,
            reason=_text(row.reason, state),
            run_id=state.run_id,
            error=row.error,
            warnings=state.warnings,
        )
        return evolve(state, phase="refused", decision=refusal), (Decide(refusal),)
    settled = state
    if row.outcome == "fresh":
        settled = evolve(state, run_id=state.request.fresh_id, id_from="fresh")
    if row.outcome == "resumed" and isinstance(state.answer, Started):
        decision = _continued(settled, row, state.answer)
    else:
        decision = _begun(settled, row)
    warnings = state.warnings
    if state.deferral is not None:
        deferral, cause = state.deferral
        reason = _text(deferral.reason, state, decision.starting_step, cause)
        decision = evolve(decision, rule=deferral.rule, reason=reason, deferred=True)
        warnings = (*warnings, reason)
    # A deferral says already that no server was asked, and what the resume file names this machine knows itself.
    known_here = state.deferral is not None or state.marker == state.run_id
    if row.warning is not None and not (row.warning == "local only" and known_here):
        warnings = (*warnings, _text(row.warning, settled))
    decision = evolve(decision, warnings=warnings)
    return evolve(settled, phase="decided", decision=decision), (Decide(decision),)


def _begun(state: State, row: Row) -> Decision:
    request = state.request
    return Decision(
        action="overwrite" if row.outcome == "overwrite" else "new",
        rule=row.rule,
        reason=_text(row.reason, state),
        run_id=state.run_id,
        config=dict(request.config),
        tags=request.tags or (),
        notes=request.notes,
        name=request.name,
    )


def _continued(state: State, row: Row, answer: Started) -> Decision:
    request, remote = state.request, answer.remote
    first = starting_step(remote)
    return Decision(
        action="resumed",
        rule=row.rule,
        reason=_text(row.reason, state, first),
        run_id=state.run_id,
        starting_step=first,
        runtime_offset=runtime_offset(remote),
        config=merged_config(remote.config, request.config),
        summary=dict(remote.summary),
        tags=remote.tags if request.tags is None else request.tags,
        notes=remote.notes if request.notes is None else request.notes,
        name=remote.name if request.name is None else request.name,
        history_offset=remote.history_lines,
        events_offset=remote.events_lines,
        console_offset=remote.console_lines,
        previous=remote.where,
        storage_id=remote.storage_id,
        inherited=_inherited(request, remote),
    )


def _inherited(request: Requested, remote: RemoteRun) -> tuple[str, ...]:
    """Return what the run takes over as it is found, which may have changed by the time that it is delivered."""
    words = {"tags": request.tags, "notes": request.notes, "name": request.name}
    keys = [f"config/{key}" for key in remote.config if key not in request.config]
    return (*keys, *(word for word, given in words.items() if given is None))


def _place(request: Requested) -> Place:
    return "offline" if request.mode == "online" and not request.can_lookup else request.mode


def _row(state: State, place: Place) -> Row:
    return row_for(place, state.request.policy, state.id_from, state.known, force=state.request.force)


def _known(answer: Answer) -> Known:
    if isinstance(answer, Started):
        return "finished" if _exit_code(answer) == 0 else "started"
    if isinstance(answer, LookupFailed):
        return answer.kind
    if isinstance(answer, Unreadable):
        return "unreadable"
    return "created" if isinstance(answer, Created) else "absent"


def _exit_code(answer: Answer) -> int | None:
    return answer.remote.exit_code if isinstance(answer, Started) else None


def _text(sentence: str, state: State, first: int = 0, cause: str = "") -> str:
    answer = state.answer
    where = answer.remote.where if isinstance(answer, Started) else None
    return SENTENCES[sentence].format(
        policy=f"resume={state.request.policy!r}",
        id=state.run_id,
        old=state.marker,
        step=first,
        where=f" ({where})" if where else "",
        why=cause or _why(state),
    )


def _why(state: State) -> str:
    answer = state.answer
    reason = answer.reason if isinstance(answer, (Unreadable, LookupFailed)) else ""
    return " ".join(reason.split()).rstrip(".") or "no reason given"


_Handlers: TypeAlias = Mapping[type[Event], Callable[[State, Any], _Moved]]

TRANSITIONS: Final[Mapping[Phase, _Handlers]] = MappingProxyType(
    {
        "idle": MappingProxyType({Requested: _requested}),
        "marker": MappingProxyType({MarkerRead: _marker_read}),
        "server": MappingProxyType({LookedUp: _server_answered}),
        "exit": MappingProxyType({LookedUp: _exit_answered}),
        "upsert": MappingProxyType({UpsertAnswered: _upsert_answered}),
        "disk": MappingProxyType({LookedUp: _disk_answered}),
        "decided": MappingProxyType({RunStarted: _run_started, UpsertAnswered: _late_answer}),
        "running": MappingProxyType({Finished: _finished, UpsertAnswered: _late_answer}),
        "refused": MappingProxyType({}),
        "finished": MappingProxyType({UpsertAnswered: _late_answer}),
    }
)
"""Which event is heard in which phase, and by whom. A missing entry is the error."""
