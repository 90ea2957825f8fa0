"""A decision that nobody could take when a run began is taken when it is delivered, and by the same table."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.deferral import ASK_AGAIN_S, Continuation, behind_recorded, continued, decide, taken_up
from corelib.pure.outcomes import Rejected, Retry
from corelib.pure.parts import Base, base_of, end_of, with_base
from corelib.pure.records import Exit, Row, RunStart
from corelib.pure.remote import (
    Absent,
    Answer,
    Created,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
    runtime_offset,
    starting_step,
)
from corelib.pure.resume_events import Decision
from corelib.pure.resume_table import row_for
from corelib.testing.specimens import TIME, start_record
from corelib.testing.strategies.records import records, starts
from corelib.testing.strategies.resume import remote_runs

FOUND = RemoteRun(
    run_id="abc",
    where="https://app/p/abc",
    config={"lr": 0.1, "old": 1},
    summary={"acc": 0.5, "_step": 15, "_runtime": 50},
    last_step=15,
    history_lines=16,
    history_runtime=50.0,
    tags=("t1",),
    notes="stored",
    name="golden-river-7",
)


def offline(policy: str | None, /, **changes: Any) -> RunStart:
    """Return the start of a run that was recorded while nobody was asked."""
    words = {"deferred": policy, "config": {"lr": 0.2}, "tags": (), "name": None}
    return start_record(**(words | changes))


def test_a_run_goes_on_behind_what_is_there() -> None:
    """Steps and runtime go on; stored values hold where the run has none of its own."""
    start = offline("allow")
    verdict = decide(start, "abc", Started(FOUND))
    assert isinstance(verdict, Continuation)

    begun = continued(start, verdict)

    assert begun == evolve(
        start,
        resumed=True,
        starting_step=16,
        runtime_offset=50.0,
        config={"lr": 0.2, "old": 1},
        summary=FOUND.summary,
        tags=("t1",),
        notes="stored",
        name="golden-river-7",
    )
    row = Row(seq=2, time=TIME, step=3, data={"loss": 1})
    assert continued(row, verdict) == evolve(row, step=19)
    assert continued(evolve(row, step=None), verdict) == evolve(row, step=None)
    end = Exit(seq=3, time=TIME, exit_code=0, runtime=2.0)
    assert continued(end, verdict) == evolve(end, runtime=52.0)


def test_a_part_goes_on_behind_the_part_that_was_moved() -> None:
    """A part that continues another one of this machine is moved as far as that one was, and no further."""
    part = offline("must", resumed=True, starting_step=10, runtime_offset=20.0, previous="part-1")
    verdict = decide(part, "abc", Started(FOUND))
    assert isinstance(verdict, Continuation)

    assert (verdict.step_shift, verdict.runtime_shift) == (6, 30.0)
    waiting = decide(part, "abc", Absent())
    assert isinstance(waiting, Retry)
    assert "part-1" in waiting.reason
    anywhere = decide(evolve(part, previous=None), "abc", Created())
    assert isinstance(anywhere, Retry)
    assert "another part" in anywhere.reason


def test_what_was_found_gives_way_to_what_is_stored_now() -> None:
    """The part before it has gone on since `init()` asked: only what this run was given stands above that."""
    part = offline(
        "must",
        resumed=True,
        config={"lr": 0.2, "old": 0, "mine": 1, "_wandb": {"m": [], "x": 1}},
        summary={"acc": 0.1, "best": 3},
        tags=("t0",),
        notes="mine",
        name="first",
        inherited=("config/old", "config/_wandb", "tags", "name"),
    )
    stored = evolve(FOUND, config={**FOUND.config, "_wandb": {"m": [{"1": "acc"}]}})
    verdict = decide(part, "abc", Started(stored))
    assert isinstance(verdict, Continuation)

    begun = continued(part, verdict)

    assert isinstance(begun, RunStart)
    assert begun.config == {"lr": 0.2, "old": 1, "mine": 1, "_wandb": {"m": [{"1": "acc"}], "x": 1}}
    assert begun.summary == {**FOUND.summary, "best": 3}
    assert (begun.tags, begun.notes, begun.name) == (("t1",), "mine", "golden-river-7")


@pytest.mark.parametrize("policy", ["allow", "auto", "never"])
def test_a_run_that_was_new_goes_on_behind_what_others_have_begun_since(policy: str) -> None:
    """The server had no such run when `init()` asked; what is there now came since, and is not overwritten."""
    start = offline(None, policy=policy, writer="w2")
    since = Started(evolve(FOUND, config=with_base({}, "w1", Base())))

    verdict = decide(start, "abc", since)

    assert isinstance(verdict, Continuation)
    assert (verdict.resumed, verdict.step_shift) == (True, 16)
    assert base_of(verdict.config, "w2") == Base(history=16, step=16, runtime=50.0, place=1, began=TIME)


@pytest.mark.parametrize("policy", ["allow", "auto", "never"])
@pytest.mark.parametrize("config", [{}, {"lr": 0.2, "_wandb": {"t": {"5": "0.31.0"}}}])
def test_a_run_that_init_made_itself_is_new(policy: str, config: dict[str, Any]) -> None:
    """Where `init()` asked, the server holds a run before the first delivery: nobody's but this part's."""
    start = offline(None, policy=policy, writer="w2")

    verdict = decide(start, "abc", Started(RemoteRun(run_id="abc", config=config)))

    assert isinstance(verdict, Continuation)
    assert (verdict.resumed, base_of(verdict.config, "w2")) == (False, Base(began=TIME))


@pytest.mark.parametrize("policy", ["allow", "auto", "never"])
@pytest.mark.parametrize("stored", [{"config": {"theirs": 1}}, {"summary": {"best": 1}}])
def test_what_init_did_not_put_there_is_somebody_else_s(policy: str, stored: dict[str, Any]) -> None:
    """A run without rows that holds more than `init()` has given it is not taken for one's own."""
    start = offline(None, policy=policy, writer="w2")

    verdict = decide(start, "abc", Started(RemoteRun(run_id="abc", **stored)))

    assert isinstance(verdict, Continuation)
    assert verdict.resumed


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("policy", ["allow", "auto", "never"])
@given(remote_runs())
def test_a_decision_comes_out_the_same_when_it_is_taken_again(
    policy: str, resumed: bool, remote: RemoteRun
) -> None:
    """Who has lost the cursor, or has a copy, finds in the stored config where the part began, whatever came since."""
    start = offline(policy, writer="w1", resumed=resumed)
    answer: Answer = Started(remote) if resumed or policy != "never" else Absent()
    first = decide(start, "abc", answer)
    assert isinstance(first, Continuation)
    begun = continued(start, first)
    assert isinstance(begun, RunStart)
    later = evolve(remote, config=begun.config, last_step=10**6, history_lines=10**7, history_runtime=1e9)

    again = decide(start, "abc", Started(later))

    assert isinstance(again, Continuation)
    assert again.step_shift == first.step_shift
    assert again.runtime_shift == pytest.approx(first.runtime_shift)
    assert base_of(continued(start, again).config, "w1") == base_of(begun.config, "w1")  # type: ignore[union-attr]


@given(starts(), remote_runs(), records())
def test_nothing_is_moved_back_and_nothing_else_is_changed(
    start: RunStart, remote: RemoteRun, record
) -> None:
    """Whatever is there: the run begins at or behind its end, and a record keeps number, time and kind."""
    verdict = decide(evolve(start, deferred="allow"), "run", Started(remote))
    assert isinstance(verdict, Continuation)

    begun, moved = continued(start, verdict), continued(record, verdict)

    assert isinstance(begun, RunStart)
    assert begun.resumed
    assert begun.starting_step >= max(starting_step(remote), start.starting_step)
    assert begun.runtime_offset >= max(runtime_offset(remote), start.runtime_offset) * (1 - 1e-9)
    assert {*remote.config, *start.config} - {"_wandb"} == {*begun.config} - {"_wandb"}
    assert (type(moved), moved.seq, moved.time) == (type(record), record.seq, record.time)
    assert isinstance(record, (Row, Exit, RunStart)) or moved is record


ANSWERS: dict[str, Answer] = {
    "absent": Absent(),
    "created": Created(),
    "started": Started(FOUND),
    "unreadable": Unreadable("historyTail: it is not JSON."),
}


@pytest.mark.parametrize("policy", ["allow", "auto", "never"])
@pytest.mark.parametrize("known", ANSWERS)
def test_the_table_decides(policy: Any, known: Any) -> None:
    """What follows is what the table of the resume machine says of the same situation online."""
    verdict = decide(offline(policy), "abc", ANSWERS[known])

    outcome = row_for("online", policy, "explicit", known, force=False).outcome
    expected = {"new": type(None), "resumed": Continuation, "refuse": Rejected}[outcome]
    assert type(verdict) is expected


@pytest.mark.parametrize(
    "answer", [Started(FOUND), Unreadable("torn"), Absent()], ids=lambda one: type(one).__name__
)
def test_without_resume_a_run_takes_the_place_of_what_is_there(answer: Answer) -> None:
    """As R2 says; and the notes of others who delivered to it are kept, for they may come again."""
    start = offline(None, writer="w2")
    if isinstance(answer, Started):
        config = with_base(answer.remote.config, "w1", Base(history=3))
        answer = Started(evolve(answer.remote, config=config))

    verdict = decide(start, "abc", answer)

    assert isinstance(verdict, Continuation)
    begun = continued(start, verdict)
    assert isinstance(begun, RunStart)
    assert (begun.resumed, begun.starting_step, begun.summary) == (False, 0, {})
    assert {key: value for key, value in begun.config.items() if key != "_wandb"} == {"lr": 0.2}
    assert base_of(begun.config, "w2") == Base(place=int(isinstance(answer, Started)), began=TIME)
    assert base_of(begun.config, "w1") == (Base(history=3) if isinstance(answer, Started) else None)
    again = decide(start, "abc", Started(evolve(FOUND, config=begun.config)))
    assert isinstance(again, Continuation)
    assert (again.resumed, again.repeats, again.step_shift) == (True, True, 0)


def test_nothing_takes_the_place_of_what_was_begun_after_it() -> None:
    """Its turn came late: others have begun the run since, and what they have delivered stays."""
    start = offline(None, writer="w2")

    def found(began: float) -> Started:
        return Started(evolve(FOUND, config=with_base({}, "w1", Base(began=began))))

    late = decide(start, "abc", found(TIME + 1))

    assert isinstance(late, Rejected)
    assert "--id" in late.reason
    assert isinstance(decide(start, "abc", found(TIME - 1)), Continuation)


def test_a_refusal_says_what_to_do() -> None:
    """It names the run, where it is, and how the records can be delivered all the same."""
    verdict = decide(offline("never"), "abc", Started(FOUND))
    assert isinstance(verdict, Rejected)
    assert "https://app/p/abc" in verdict.reason
    assert "--id" in verdict.reason

    nowhere = decide(offline("never"), "abc", Started(evolve(FOUND, where=None)))
    assert isinstance(nowhere, Rejected)
    assert "run abc exists;" in nowhere.reason


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            LookupFailed("unreachable", "down.", retry=True),
            Retry(reason="run abc cannot be looked up (down)"),
        ),
        (LookupFailed("auth", "401"), Retry(reason="run abc cannot be looked up (401)", after=ASK_AGAIN_S)),
        (
            LookupFailed("forbidden", "403"),
            Retry(reason="run abc cannot be looked up (403)", after=ASK_AGAIN_S),
        ),
        (LookupFailed("refused", "410"), Rejected(reason="run abc cannot be looked up (410)")),
    ],
)
def test_where_nobody_can_tell_it_is_asked_again(answer: LookupFailed, expected: Retry | Rejected) -> None:
    """Soon where it may pass by itself, later where people must mend it, never where the id is barred."""
    assert decide(offline("allow"), "abc", answer) == expected


@given(starts(), st.sampled_from(["allow", "auto", "never"]))
def test_what_nobody_knows_begins_as_recorded(start: RunStart, policy: str) -> None:
    """A run that is not there, or was never started there, is left as it was recorded, with a note where it began."""
    new = evolve(start, deferred=policy, resumed=False)
    for answer in (Absent(), Created()):
        assert decide(evolve(new, writer=None), "run", answer) is None
        verdict = decide(evolve(new, writer="w1"), "run", answer)
        assert isinstance(verdict, Continuation)
        begun = continued(new, verdict)
        assert isinstance(begun, RunStart)
        assert evolve(begun, config=new.config) == new
        assert begun.config.items() >= {k: v for k, v in new.config.items() if k != "_wandb"}.items()


@given(remote_runs(), remote_runs())
def test_who_goes_on_learns_of_parts_that_began_since(remote: RemoteRun, later: RemoteRun) -> None:
    """Its own lines end where those of the other part begin; nothing else of what was decided is changed."""
    own, other = offline("allow", writer="w1"), offline("allow", writer="w2")
    first = decide(own, "abc", Started(remote))
    assert isinstance(first, Continuation)
    begun = continued(own, first)
    assert isinstance(begun, RunStart)
    second = decide(other, "abc", Started(evolve(later, config=begun.config)))
    assert isinstance(second, Continuation)
    stored = continued(other, second)
    assert isinstance(stored, RunStart)

    alone = taken_up(own, "abc", first, Started(evolve(remote, config=begun.config)))
    followed = taken_up(own, "abc", first, Started(evolve(later, config=stored.config)))

    assert isinstance(alone, Continuation)
    assert continued(own, alone) == begun
    assert isinstance(followed, Continuation)
    assert evolve(followed, config={}) == evolve(first, config={})
    seen = continued(own, followed)
    assert isinstance(seen, RunStart)
    end = end_of(seen.config, "w1")
    assert end is not None
    assert end[:3] == (later.history_lines, later.events_lines, later.console_lines)
    assert end_of(stored.config, "w2") is None


@pytest.mark.parametrize(
    "continuation", [None, Continuation(resumed=False, config=with_base({}, "w1", Base()))]
)
def test_who_goes_on_learns_that_the_run_was_begun_anew(continuation: Continuation | None) -> None:
    """Its own note is gone then, and what it has left has no place."""
    start = offline(None, writer="w1")
    anew = Started(evolve(FOUND, config=with_base({}, "w2", Base())))

    found = taken_up(start, "abc", continuation, anew)

    assert isinstance(found, Continuation)
    begun = continued(start, found)
    assert isinstance(begun, RunStart)
    end = end_of(begun.config, "w1")
    assert (begun.resumed, end and end.history) == (False, 0)


@pytest.mark.parametrize("continuation", [None, Continuation()])
@pytest.mark.parametrize(
    "answer",
    [Absent(), Created(), Started(FOUND), Unreadable("torn"), LookupFailed("refused", "no.")],
    ids=str,
)
def test_who_goes_on_goes_on_where_nobody_knows_of_other_parts(
    answer: Answer, continuation: Continuation | None
) -> None:
    """What was delivered so far was delivered: nothing is decided anew."""
    assert taken_up(offline("allow", writer="w1"), "abc", continuation, answer) is continuation
    noted = Started(evolve(FOUND, config=with_base({}, "w2", Base())))
    assert taken_up(offline("allow"), "abc", continuation, noted) is continuation


@pytest.mark.parametrize(
    ("own", "summary", "latest"),
    [
        (Base(history=10, step=10), {"_step": 15, "_timestamp": 7.5}, 7.5),
        (Base(history=16, step=16), {"_step": 15, "_timestamp": 7.5}, 0.0),
        (Base(history=10, step=16), {"_step": 15, "_timestamp": 7.5}, 0.0),
        (Base(), {"_step": 15, "_timestamp": float("inf")}, 0.0),
        (Base(), {"_step": 15}, 0.0),
        (Base(), {"_step": "15", "_timestamp": 7.5}, 0.0),
        (Base(), {"_step": float("inf"), "_timestamp": 7.5}, 0.0),
    ],
)
def test_who_comes_again_is_told_what_is_known_of_the_part(
    own: Base, summary: dict[str, Any], latest: float
) -> None:
    """As long as it is of this part: what an earlier one has left there says nothing of this one."""
    start = offline("allow", writer="w1", config={"lr": 0.2})
    stored = Started(evolve(FOUND, config=with_base({"lr": 3}, "w1", own), summary=summary))

    for found in (decide(start, "abc", stored), taken_up(start, "abc", Continuation(), stored)):
        assert isinstance(found, Continuation)
        begun = continued(start, found)
        assert isinstance(begun, RunStart)
        assert (begun.latest, begun.latest_step) == (latest, 15 if latest else 0)

    again = decide(start, "abc", stored)
    assert isinstance(again, Continuation)
    assert continued(start, again).config["lr"] == 3  # type: ignore[union-attr]


def test_who_goes_on_waits_for_an_answer() -> None:
    """Else it might overwrite what came since."""
    answer = LookupFailed("unreachable", "down.", retry=True)
    found = taken_up(offline("allow", writer="w1"), "abc", None, answer)
    assert found == Retry(reason="run abc cannot be looked up (down)")


@given(remote_runs(), st.integers(0, 50))
def test_a_run_begins_behind_what_is_recorded_of_it(recorded: RemoteRun, step: int) -> None:
    """Where the server does not have all of it yet, its answer is not the last word, and the reason says so."""
    decision = Decision(action="resumed", rule="R5", reason="Goes on.", run_id="abc", starting_step=step)

    found = behind_recorded(decision, Started(recorded))

    assert found.starting_step == max(step, starting_step(recorded))
    assert (found is decision) == (f"step {found.starting_step}" not in found.reason)
    assert evolve(found, starting_step=step, reason="Goes on.") == decision
    assert behind_recorded(decision, Absent()) is decision
