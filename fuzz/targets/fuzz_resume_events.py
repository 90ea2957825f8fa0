# Invariant: any events in any order keep the words of resume=, or raise UsageError and leave the state as it was.
"""Fuzz the resume machine; run `python fuzz/targets/fuzz_resume_events.py fuzz/corpus/resume_events`."""

from __future__ import annotations

import math
from typing import Final

from corelib.errors import UsageError
from corelib.pure.remote import Absent, Answer, Created, LookupFailed, RemoteRun, Started, Unreadable
from corelib.pure.resume import (
    IDLE,
    TRANSITIONS,
    Corrupt,
    Decide,
    Effect,
    Event,
    Finished,
    LookedUp,
    MarkerRead,
    RemoveMarker,
    Requested,
    RunStarted,
    State,
    UpsertAnswered,
    WriteMarker,
    step,
)
from corelib.pure.resume_table import Place, Policy

_POLICIES: Final[tuple[Policy, ...]] = (None, "allow", "must", "never", "auto")
_MODES: Final[tuple[Place, ...]] = ("online", "offline", "disabled")
_IDS: Final = (None, "abc", "{why}")
_TOLD: Final = (None, True, False)
_NUMBERS: Final = (None, 0, 7, -1, 2.0, 2.5, math.nan, math.inf, 10**400, True, "7")
_FAILURES: Final = (
    LookupFailed("unreachable", "reset\nby {peer}"),
    LookupFailed("server", "", retry=True),
    LookupFailed("auth", "HTTP 401."),
    LookupFailed("forbidden", "{}"),
    LookupFailed("refused", "{0}"),
)


class _Bytes:
    """The input, read from the front; after its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def below(self, limit: int) -> int:
        value = self._data[self._at] if self else 0
        self._at += 1
        return value % limit


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a request and events after it, let the machine hear them, and check each step."""
    source = _Bytes(data)
    state = IDLE
    event: Event = _request(source)
    while True:
        before = repr(state)
        try:
            after, effects = step(state, event)
        except UsageError:
            assert type(event) not in TRANSITIONS[state.phase] or state.request.mode != "online"
            assert repr(state) == before
        else:
            assert type(event) in TRANSITIONS[state.phase]
            _check(state, event, after, effects)
            state = after
        if not source:
            return
        event = _event(source)


def _check(before: State, event: Event, after: State, effects: tuple[Effect, ...]) -> None:
    assert len(effects) <= 1
    for effect in effects:
        if isinstance(effect, (WriteMarker, RemoveMarker)):
            assert isinstance(event, (RunStarted, Finished))
            assert after.request.mode != "disabled"
        if isinstance(effect, Decide):
            assert effect.decision is after.decision
    decision, request = after.decision, after.request
    if decision is None:
        assert effects
        return
    assert (decision.action == "refuse") == (decision.error is not None) == (after.phase == "refused")
    assert decision.action != "overwrite" or request.policy is None
    assert decision.action != "resumed" or request.policy in ("allow", "must", "auto")
    assert decision.action in ("resumed", "refuse") or request.policy != "must" or request.mode == "disabled"
    assert decision.starting_step >= 0
    assert 0 <= decision.runtime_offset < math.inf
    assert "\n" not in decision.reason
    if before.decision is not None:
        assert decision.run_id == before.decision.run_id
        assert decision.starting_step == before.decision.starting_step


def _request(source: _Bytes) -> Requested:
    return Requested(
        policy=_POLICIES[source.below(5)],
        run_id=_IDS[source.below(3)],
        fresh_id="fresh000",
        mode=_MODES[source.below(3)],
        force=bool(source.below(2)),
        can_lookup=not source.below(2),
        config={"lr": 1, "_wandb": {}} if source.below(2) else {},
        tags=((), ("n",), None)[source.below(3)],
    )


def _event(source: _Bytes) -> Event:
    match source.below(7):
        case 0:
            return RunStarted()
        case 1:
            return Finished((None, 0, 1)[source.below(3)])
        case 2:
            return MarkerRead((None, "abc", "other", Corrupt("{"))[source.below(4)])
        case 3:
            return UpsertAnswered(_TOLD[source.below(3)], _TOLD[source.below(3)])
        case 4:
            return UpsertAnswered(failure=_FAILURES[source.below(5)])
        case 5:
            return _request(source)
        case _:
            return LookedUp(_answer(source))


def _answer(source: _Bytes) -> Answer:
    kind = source.below(8)
    if kind < len(_FAILURES):
        return _FAILURES[kind]
    if kind == len(_FAILURES):
        return (Absent(), Created(), Unreadable("no {id}"))[source.below(3)]
    summary = {"_step": _number(source), "_runtime": _number(source), "_wandb": {"runtime": _number(source)}}
    return Started(
        RemoteRun(
            run_id="abc",
            where=(None, "https://{host}/abc")[source.below(2)],
            config={"old": 1, "_wandb": 3},
            summary=summary,
            last_step=(None, 15, 0, -4)[source.below(4)],
            history_lines=source.below(20),
            exit_code=(None, 0, 1)[source.below(3)],
        )
    )


def _number(source: _Bytes) -> object:
    return _NUMBERS[source.below(len(_NUMBERS))]


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
