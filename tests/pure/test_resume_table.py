"""Tests of `corelib.pure.resume_table` and of all paths through the machine that runs on it."""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from corelib.errors import UsageError
from corelib.pure import resume
from corelib.pure.remote import Absent, Created
from corelib.pure.resume import (
    IDLE,
    TRANSITIONS,
    Corrupt,
    Decide,
    Effect,
    Event,
    Finished,
    LookedUp,
    Lookup,
    MarkerRead,
    ReadMarker,
    RemoveMarker,
    RunStarted,
    State,
    Upsert,
    UpsertAnswered,
    WriteMarker,
    step,
)
from corelib.pure.resume_table import ROWS, SENTENCES, Row, row_for
from corelib.testing.strategies.resume import MODES, POLICIES
from tests.pure.resume_script import BROKEN, FAILURES, FINISHED, RUNNING, ask

REQUESTS = [
    ask(policy, run_id, mode, force=force, can_lookup=can_lookup)
    for policy in POLICIES
    for run_id in (None, "abc")
    for mode in MODES
    for force in (False, True)
    for can_lookup in (False, True)
]
TOLD = (None, True, False)
EVENTS: tuple[Event, ...] = (
    ask(),
    *(MarkerRead(marker) for marker in (None, "abc", "other", Corrupt("it is not JSON"))),
    *(LookedUp(answer) for answer in (Absent(), Created(), RUNNING, FINISHED, BROKEN, *FAILURES)),
    *(UpsertAnswered(inserted, begun) for inserted in TOLD for begun in TOLD),
    *(UpsertAnswered(failure=failure) for failure in FAILURES),
    RunStarted(),
    *(Finished(exit_code) for exit_code in (None, 0, 1)),
)
ASKING = ("marker", "server", "exit", "upsert", "disk")


class Move(NamedTuple):
    """One step of the machine, after `depth` others."""

    state: State
    event: Event
    after: State
    effects: tuple[Effect, ...]
    depth: int


def legal(state: State, event: Event) -> bool:
    if isinstance(event, UpsertAnswered) and state.phase != "upsert" and state.request.mode != "online":
        return False
    return type(event) in TRANSITIONS[state.phase]


def walk() -> Iterator[Move]:
    """Yield every move that the machine can make, whatever is asked and answered."""
    seen = set()
    waiting: deque[tuple[State, Event, int]] = deque((IDLE, request, 0) for request in REQUESTS)
    while waiting:
        state, event, depth = waiting.popleft()
        after, effects = step(state, event)
        yield Move(state, event, after, effects, depth)
        key = repr(after)
        if key not in seen:
            seen.add(key)
            waiting.extend((after, event, depth + 1) for event in EVENTS[1:] if legal(after, event))


MOVES = list(walk())


def test_every_path_ends_in_a_decision() -> None:
    """Whatever is answered, the machine asks one question at a time, five at most, and then decides."""
    for move in MOVES:
        if move.after.phase in ASKING:
            assert [type(effect) in (ReadMarker, Lookup, Upsert) for effect in move.effects] == [True]
            assert move.depth < 5
        elif move.state.phase in ("idle", *ASKING):
            assert move.after.phase in ("decided", "refused")
            assert move.after.decision is not None
            assert move.effects == (Decide(move.after.decision),)


def test_the_policies_keep_their_word() -> None:
    """Only no policy overwrites; must creates nothing; never continues nothing; must and never do not degrade."""
    for move in MOVES:
        decision, request = move.after.decision, move.after.request
        if decision is None or request.mode == "disabled":
            continue
        assert (decision.action == "refuse") == (decision.error is not None)
        assert decision.action != "overwrite" or request.policy is None
        assert decision.action in ("resumed", "refuse") or request.policy != "must"
        assert decision.action != "resumed" or request.policy in ("allow", "must", "auto")
        if request.policy in ("must", "never") and request.run_id is not None:
            assert not decision.deferred
        if decision.action != "resumed":
            assert (decision.starting_step, decision.runtime_offset) == (0, 0.0)


def test_disabled_asks_nothing_and_never_fails() -> None:
    """A disabled run is new at once, with the given or the generated id (L7)."""
    for move in MOVES:
        if move.after.request.mode == "disabled":
            assert move.after.decision is not None
            assert move.after.decision.action == "new"
            assert move.after.run_id == (move.after.request.run_id or "fresh000")


def test_nobody_starts_a_chosen_id_on_a_lookup_alone() -> None:
    """Under allow, auto and never an id that the server does not know is created before it is decided on (R38)."""
    for move in MOVES:
        decision, request = move.after.decision, move.after.request
        if move.state.phase == "server" and decision is not None and request.policy is not None:
            assert decision.action in ("resumed", "refuse") or move.after.id_from == "fresh"


def test_the_resume_file_changes_only_after_the_start() -> None:
    """Only RunStarted and Finished lead to effects on the resume file, which name this run or whatever is there."""
    for move in MOVES:
        touching = [effect for effect in move.effects if isinstance(effect, (WriteMarker, RemoveMarker))]
        if touching:
            assert isinstance(move.event, (RunStarted, Finished))
            assert move.after.request.mode != "disabled"
            assert all(effect.run_id in (None, move.after.run_id) for effect in touching)


def test_an_illegal_event_raises_and_changes_nothing() -> None:
    """An event without an entry in the table raises and names the phase, and the state is as it was."""
    states = {move.after.phase: move.after for move in MOVES} | {"idle": IDLE}

    assert set(states) == set(TRANSITIONS)
    for phase, state in states.items():
        before = repr(state)
        for event in EVENTS:
            if type(event) not in TRANSITIONS[phase]:
                with pytest.raises(UsageError, match=phase):
                    step(state, event)
        assert repr(state) == before


def test_each_situation_has_one_row_and_each_row_a_situation(monkeypatch) -> None:
    """Each situation that can arise has exactly one row, and each row speaks for a situation that can arise."""
    used: set[Row] = set()

    def recording(place, policy, id_from, known, *, force) -> Row:
        matching = [
            row
            for row in ROWS
            if (row.place, row.force in (None, force)) == (place, True)
            and (policy in row.policies, id_from in row.ids, known in row.known) == (True, True, True)
        ]
        assert len(matching) == 1, (place, policy, id_from, known, force)
        used.update(matching)
        return row_for(place, policy, id_from, known, force=force)

    monkeypatch.setattr(resume, "row_for", recording)
    for _ in walk():
        pass

    assert [row for row in ROWS if row not in used] == []


def test_a_situation_that_cannot_arise_is_an_error() -> None:
    """A situation without a row is a mistake of the caller, said with all that makes it."""
    with pytest.raises(LookupError, match="resume='must' with a marker id that is rival"):
        row_for("online", "must", "marker", "rival", force=False)


def test_each_sentence_is_used_and_can_be_filled_in() -> None:
    """Each row names sentences that exist, each sentence is used, and asks only for what a decision knows."""
    named = {row.reason for row in ROWS} | {row.warning for row in ROWS if row.warning is not None}

    assert named == set(SENTENCES)
    for sentence in SENTENCES.values():
        fields = {field for _, field, _, _ in string.Formatter().parse(sentence) if field is not None}
        assert fields <= {"policy", "id", "old", "step", "where", "why"}
        assert sentence.endswith(".")


def test_errors_stand_with_refusals_only() -> None:
    """A row names an error exactly if it refuses."""
    for row in ROWS:
        assert (row.error is not None) == (row.outcome == "refuse")
