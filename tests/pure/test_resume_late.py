"""Tests of `corelib.pure.resume`: what a backend may still say when the run is on its way."""

from __future__ import annotations

import pytest
from attrs import evolve

from corelib.errors import UsageError
from corelib.pure.resume import Finished, Requested, RunStarted, UpsertAnswered, step
from tests.pure.resume_script import BARRED, DOWN, FAILING, FORBIDDEN, LOGIN, RUNNING, Played, ask


def started(request: Requested) -> Played:
    played = Played(request)
    played.tell(RunStarted())
    played.marker_effects.clear()
    return played


@pytest.mark.parametrize(
    ("answer", "action", "rule"),
    [
        (UpsertAnswered(inserted=True), "new", "R1-R3"),
        (UpsertAnswered(inserted=None), "new", "R1-R3"),
        (UpsertAnswered(inserted=False, started=False), "new", "R1-R3"),
        (UpsertAnswered(inserted=False), "overwrite", "R2"),
        (UpsertAnswered(inserted=False, started=True), "overwrite", "R2"),
    ],
)
def test_a_late_answer_may_tell_of_an_overwritten_run(answer, action, rule) -> None:
    """Without resume nobody waits; if the backend says later that a started run was there, that is the decision."""
    for phase in ("decided", "running", "finished"):
        played = Played(ask(None, "abc"))
        if phase != "decided":
            played.tell(RunStarted())
        if phase == "finished":
            played.tell(Finished(0))
        played.tell(answer)

        assert (phase, action, rule) == (played.state.phase, played.decision.action, played.decision.rule)
        assert (1 if action == "overwrite" else 0) == len(played.decision.warnings)
        assert not played.decision.deferred


@pytest.mark.parametrize(("failure", "rule"), [(DOWN, "R27"), (FAILING, "R27"), (LOGIN, "R30")])
def test_a_late_failure_sends_the_run_offline(failure, rule) -> None:
    """A server that cannot be used turns out late: the run goes on offline, with one warning (R27, R30)."""
    for request in (ask(None, "abc"), ask(None), ask("never"), ask("auto")):
        played = started(request)
        before = played.decision
        played.tell(UpsertAnswered(failure=failure))

        after = played.decision
        assert (
            evolve(before, deferred=True, rule=rule, reason=after.reason, warnings=(after.reason,)) == after
        )
        assert "offline" in played.decision.reason


@pytest.mark.parametrize("answer", [UpsertAnswered(failure=FORBIDDEN), UpsertAnswered(failure=BARRED)])
def test_a_late_refusal_does_not_stop_the_run(answer) -> None:
    """A refusal that comes when the run is on its way keeps all on this machine and says so."""
    played = started(ask(None, "abc"))
    played.tell(answer)

    assert (played.decision.action, played.decision.deferred, played.decision.error) == ("new", True, None)
    assert "goes on and is kept" in played.decision.reason


def test_a_taken_generated_id_is_not_overwritten() -> None:
    """A generated id that belongs to somebody else, however unlikely, is kept apart rather than overwritten."""
    played = started(ask("allow"))
    played.tell(UpsertAnswered(inserted=False))

    assert (played.decision.action, played.decision.deferred, played.decision.rule) == ("new", True, "R38")


def test_a_late_answer_changes_nothing_that_was_asked() -> None:
    """What was decided on an answer stands, and only the first late answer counts."""
    asked = Played(ask("allow", "abc"), server=[RUNNING])
    late = started(ask(None, "abc"))
    late.tell(UpsertAnswered(inserted=True))
    decisions = [asked.decision, late.decision]

    asked.tell(UpsertAnswered(failure=DOWN))
    late.tell(UpsertAnswered(failure=DOWN))

    assert decisions == [asked.decision, late.decision]


def test_late_answers_come_from_servers_only() -> None:
    """A run that asked no server hears no late answer: that is an error of the caller, and the state stays."""
    for mode in ("offline", "disabled"):
        played = started(ask(None, "abc", mode))
        with pytest.raises(UsageError, match=mode):
            step(played.state, UpsertAnswered(inserted=True))
