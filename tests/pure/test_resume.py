"""Tests of `corelib.pure.resume`: the rows of the specification, one by one, and what a decision says."""

from __future__ import annotations

from typing import Any

import pytest

from corelib.errors import AuthenticationError, CommError, JournalError, UsageError
from corelib.pure.coerce import resume as normalised
from corelib.pure.remote import Absent, Created, LookupFailed
from corelib.pure.resume import (
    Decision,
    RemoveMarker,
    Upsert,
    UpsertAnswered,
    WriteMarker,
)
from tests.pure.resume_script import (
    BARRED,
    BROKEN,
    DOWN,
    FAILING,
    FINISHED,
    FORBIDDEN,
    FOUND,
    INSERTED,
    LOGIN,
    PASSED,
    RUNNING,
    TAKEN,
    Played,
    ask,
)

LOST = UpsertAnswered(failure=DOWN)
GONE = UpsertAnswered(failure=BARRED)
says = dict  # what the resume file, the server, the upsert and the disk answer, in order

STARTING: list[Any] = [
    ("R1", ask(None, "abc", force=True), says(server=[Absent()]), "R1 new abc 0"),
    ("R1, not asked", ask(None, "abc"), says(), "R1-R3 new abc 0"),
    ("R2", ask(None, "abc", force=True), says(server=[RUNNING]), "R2 overwrite abc 0"),
    ("R2, unreadable", ask(None, "abc", force=True), says(server=[BROKEN]), "R2 overwrite abc 0"),
    ("R3", ask(None, "abc", force=True), says(server=[Created()]), "R3 new abc 0"),
    ("R4", ask(None), says(), "R4 new fresh000 0"),
    ("R4, forced", ask(None, force=True), says(server=[Absent()]), "R4 new fresh000 0"),
    ("R5", ask("allow", "abc"), says(server=[RUNNING]), "R5 resumed abc 16"),
    ("R5, finished", ask("allow", "abc"), says(server=[FINISHED]), "R5 resumed abc 16"),
    ("R6", ask("allow", "abc"), says(server=[Absent()], upsert=[INSERTED]), "R6 new abc 0"),
    ("R7", ask("allow", "abc"), says(server=[Created()], upsert=[FOUND]), "R7 new abc 0"),
    ("R8", ask("allow"), says(), "R8 new fresh000 0"),
    ("R10", ask("must", "abc"), says(server=[RUNNING]), "R10 resumed abc 16"),
    ("R10, finished", ask("must", "abc"), says(server=[FINISHED]), "R10 resumed abc 16"),
    ("R16", ask("never", "abc"), says(server=[Absent()], upsert=[INSERTED]), "R16 new abc 0"),
    ("R17", ask("never", "abc"), says(server=[Created()], upsert=[FOUND]), "R17 new abc 0"),
    ("R18", ask("never"), says(), "R18 new fresh000 0"),
    ("R19", ask("auto"), says(marker="abc", server=[RUNNING], disk=[RUNNING]), "R19 resumed abc 16"),
    ("R19, not here", ask("auto"), says(marker="abc", server=[RUNNING], disk=[Absent()]), "R19 resumed abc 16"),
    ("R19, unreadable here", ask("auto"), says(marker="abc", server=[RUNNING], disk=[BROKEN]), "R19 resumed abc 16"),
    ("R20", ask("auto"), says(marker="abc", server=[Absent()], upsert=[INSERTED]), "R20 new abc 0"),
    ("R21", ask("auto"), says(marker="abc", server=[Created()], upsert=[FOUND]), "R21 new abc 0"),
    ("R22", ask("auto"), says(marker="abc", server=[FINISHED]), "R22 new fresh000 0"),
    ("R22, known here", ask("auto"), says(marker="abc", server=[RUNNING], disk=[FINISHED]), "R22 new fresh000 0"),
    ("R23", ask("auto", "abc"), says(server=[RUNNING]), "R23 resumed abc 16"),
    ("R23, finished", ask("auto", "abc"), says(marker="abc", server=[FINISHED]), "R23 resumed abc 16"),
    ("R24, absent", ask("auto", "abc"), says(server=[Absent()], upsert=[INSERTED]), "R24 new abc 0"),
    ("R24, created", ask("auto", "abc"), says(server=[Created()], upsert=[FOUND]), "R24 new abc 0"),
    ("R25", ask("auto"), says(), "R25 new fresh000 0"),
    ("R26, not here", ask("allow", "abc"), says(server=[DOWN], disk=[Absent()]), "R26 new abc 0"),
    ("R26, here", ask("allow", "abc"), says(server=[DOWN], disk=[RUNNING]), "R26 resumed abc 16"),
    ("R33 as R26", ask("auto"), says(marker="abc", server=[FAILING], disk=[RUNNING]), "R26 resumed abc 16"),
    ("R26 and R22", ask("auto"), says(marker="abc", server=[DOWN], disk=[FINISHED]), "R26 new fresh000 0"),
    ("R26, broken here", ask("allow", "abc"), says(server=[DOWN], disk=[BROKEN]), "R26 new abc 0"),
    ("R26, answer lost", ask("allow", "abc"), says(server=[Absent()], upsert=[LOST], disk=[Absent()]), "R26 new abc 0"),
    ("R30", ask("allow", "abc"), says(server=[LOGIN], disk=[Created()]), "R30 new abc 0"),
    ("R38, allow", ask("allow", "abc"), says(server=[Absent(), RUNNING], upsert=[FOUND]), "R5 resumed abc 16"),
    ("R38, auto", ask("auto", "abc"), says(server=[Created(), RUNNING], upsert=[TAKEN]), "R23 resumed abc 16"),
    ("L1", ask(None, "abc", "offline"), says(), "L1 new abc 0"),
    ("L1, no id", ask(None, None, "offline"), says(), "L1 new fresh000 0"),
    ("L1, force is irrelevant", ask(None, "abc", "offline", force=True), says(), "L1 new abc 0"),
    ("L2", ask("allow", "abc", "offline"), says(disk=[Absent()]), "L2 new abc 0"),
    ("L2, created", ask("allow", "abc", "offline"), says(disk=[Created()]), "L2 new abc 0"),
    ("L2, here", ask("allow", "abc", "offline"), says(disk=[FINISHED]), "L2 resumed abc 16"),
    ("L2, no id", ask("allow", None, "offline"), says(), "L2 new fresh000 0"),
    ("L3", ask("must", "abc", "offline"), says(disk=[RUNNING]), "L3 resumed abc 16"),
    ("L4", ask("never", "abc", "offline"), says(disk=[Absent()]), "L4 new abc 0"),
    ("L4, created", ask("never", "abc", "offline"), says(disk=[Created()]), "L4 new abc 0"),
    ("L4, no id", ask("never", None, "offline"), says(), "L4 new fresh000 0"),
    ("L5", ask("auto", None, "offline"), says(marker="X", disk=[Absent()]), "L5 new X 0"),
    ("L5, here", ask("auto", None, "offline"), says(marker="abc", disk=[RUNNING]), "L5 resumed abc 16"),
    ("L5, given and here", ask("auto", "abc", "offline"), says(disk=[FINISHED]), "L5 resumed abc 16"),
    ("L5, no file", ask("auto", None, "offline"), says(), "L5 new fresh000 0"),
    ("L6, unreadable", ask("auto", None, "offline"), says(marker="abc", disk=[BROKEN]), "L6 new abc 0"),
    ("L6, disk failure", ask("allow", "abc", "offline"), says(disk=[FAILING]), "L6 new abc 0"),
    ("R22, offline", ask("auto", None, "offline"), says(marker="abc", disk=[FINISHED]), "R22 new fresh000 0"),
    ("L7, must", ask("must", None, "disabled"), says(), "L7 new fresh000 0"),
    ("L7, never", ask("never", "zzz", "disabled"), says(), "L7 new zzz 0"),
    ("L7, auto", ask("auto", None, "disabled", force=True), says(), "L7 new fresh000 0"),
    ("no lookup at the backend", ask("must", "abc", can_lookup=False), says(disk=[RUNNING]), "L3 resumed abc 16"),
]  # fmt: skip
"""What lets a run start: name, request, answers, and rule, action, run id and first step of the decision."""

REFUSED: list[Any] = [
    ("R9", ask("allow", "abc"), says(server=[BROKEN]), CommError, "R9", "not JSON"),
    ("R9, auto", ask("auto"), says(marker="abc", server=[BROKEN]), CommError, "R9", "not JSON"),
    ("R11", ask("must", "abc"), says(server=[Absent()]), UsageError, "R11", "abc"),
    ("R12", ask("must", "abc"), says(server=[Created()]), UsageError, "R12", "never started"),
    ("R13", ask("must"), says(), UsageError, "R13", "an id is required"),
    ("R13, forced", ask("must", force=True), says(), UsageError, "R13", "an id is required"),
    ("R13, offline", ask("must", None, "offline"), says(), UsageError, "R13", "an id is required"),
    ("R14", ask("must", "abc"), says(server=[BROKEN]), CommError, "R14", "not JSON"),
    ("R15", ask("never", "abc"), says(server=[RUNNING]), UsageError, "R15", "resume='never', but run abc exists"),
    ("R15, unreadable", ask("never", "abc"), says(server=[BROKEN]), UsageError, "R15", "exists"),
    ("R28", ask("must", "abc"), says(server=[DOWN]), CommError, "R28", "no route"),
    ("R33 as R28", ask("never", "abc"), says(server=[FAILING]), CommError, "R28", "503"),
    ("R28, answer lost", ask("never", "abc"), says(server=[Absent()], upsert=[LOST]), CommError, "R28", "no route"),
    ("R29", ask("allow", "abc", force=True), says(server=[DOWN]), CommError, "R29", "force=True"),
    ("R29, resume not set", ask(None, "abc", force=True), says(server=[FAILING]), CommError, "R29", "503"),
    ("R29, no id", ask("auto", force=True), says(server=[DOWN]), CommError, "R29", "force=True"),
    ("R30", ask("must", "abc"), says(server=[LOGIN]), AuthenticationError, "R30", "401"),
    ("R31", ask("allow", "abc", force=True), says(server=[LOGIN]), AuthenticationError, "R31", "401"),
    ("R31, no id", ask(None, force=True), says(server=[LOGIN]), AuthenticationError, "R31", "401"),
    ("R32", ask("allow", "abc"), says(server=[FORBIDDEN]), CommError, "R32", "permission"),
    ("R37", ask("allow", "abc"), says(server=[Absent()], upsert=[GONE]), CommError, "R37", "deleted"),
    ("R38, absent", ask("never", "abc"), says(server=[Absent()], upsert=[FOUND]), UsageError, "R38", "faster"),
    ("R38, created", ask("never", "abc"), says(server=[Created()], upsert=[TAKEN]), UsageError, "R38", "faster"),
    ("R38, busy", ask("allow", "abc"), says(server=[Absent(), Created()], upsert=[FOUND]), UsageError, "R38", "just"),
    ("R38, odd", ask("allow", "abc"), says(server=[Absent(), Absent()], upsert=[FOUND]), UsageError, "R38", "just"),
    ("R38, generated id taken", ask("allow", force=True), says(server=[RUNNING]), UsageError, "R38", "generated id"),
    ("L3", ask("must", "abc", "offline"), says(disk=[Absent()]), UsageError, "L3", "abc"),
    ("L3, created", ask("must", "abc", "offline"), says(disk=[Created()]), UsageError, "L3", "abc"),
    ("L3, unreadable", ask("must", "abc", "offline"), says(disk=[BROKEN]), JournalError, "L3", "not JSON"),
    ("L4", ask("never", "abc", "offline"), says(disk=[RUNNING]), UsageError, "L4", "exists"),
    ("L4, unreadable", ask("never", "abc", "offline"), says(disk=[BROKEN]), UsageError, "L4", "exists"),
    ("L4, disk failure", ask("never", "abc", "offline"), says(disk=[DOWN]), JournalError, "L4", "no route"),
]  # fmt: skip
"""What refuses a run: name, request, answers, and error, rule and some words of the decision."""

CASES = {
    "R1, not asked": ("res-none-absent", "res-none-nostart"),
    "R4": ("res-none-noid",),
    "R5": ("res-allow-exists",),
    "R6": ("res-allow-absent",),
    "R8": ("res-allow-noid",),
    "R17": ("res-never-nostart",),
    "R18": ("res-never-noid",),
    "R19": ("res-auto-file-exists",),
    "R23": ("res-auto-exists-explicit-id",),
    "R24, absent": ("res-auto-absent-explicit-id",),
    "R24, created": ("res-auto-nostart-explicit-id",),
    "R26, not here": ("res-unreachable-allow",),
    "L4": ("res-offline-never",),
    "L5": ("res-offline-id-reuse",),
    "L7, never": ("res-disabled-never",),
    "R11": ("res-must-absent",),
    "R14": ("res-history-corrupt-must",),
    "R15": ("res-never-exists", "res-old-never-msg"),
    "R29, no id": ("res-unreachable-auto-file",),
    "R30": ("res-auth-fail",),
    "R32": ("res-forbidden",),
}
"""The contract cases that a row shows, by the name of the row."""


def rows(table: list[Any]) -> list[Any]:
    """Return the rows as parameters that carry their names and cases."""
    return [
        pytest.param(*row, id=name, marks=[pytest.mark.case(*CASES[name])] if name in CASES else [])
        for name, *row in table
    ]


@pytest.mark.parametrize(("request_", "answers", "expected"), rows(STARTING))
def test_a_run_that_starts(request_, answers, expected) -> None:
    """Each row of the specification that lets a run start decides action, id and first step, with a reason."""
    played = Played(request_, **answers)
    decision = played.decision

    assert f"{decision.rule} {decision.action} {decision.run_id} {decision.starting_step}" == expected
    assert decision.error is None
    assert decision.reason.endswith(".")
    assert decision.deferred is (decision.rule in ("R26", "R30"))
    assert played.state.phase == "decided"
    if decision.action != "resumed":
        assert (decision.config, decision.summary, decision.tags) == (PASSED, {}, ())
        assert (decision.runtime_offset, decision.previous, decision.history_offset) == (0.0, None, 0)


@pytest.mark.parametrize(("request_", "answers", "error", "rule", "words"), rows(REFUSED))
def test_a_run_that_is_refused(request_, answers, error, rule, words) -> None:
    """Each row of the specification that refuses names its error and the reason, and has touched nothing."""
    played = Played(request_, **answers)

    assert (played.decision.action, played.decision.rule) == ("refuse", rule)
    assert played.decision.error is error
    assert words in played.decision.reason
    assert played.state.phase == "refused"
    if rule in ("R11", "R12", "R13", "R14", "R15"):
        assert not [effect for effect in played.asked if isinstance(effect, Upsert)]


def test_what_a_resume_restores() -> None:
    """A resumed run takes step, runtime, config, summary, tags, notes, name and offsets over; passed config wins."""
    decision = Played(ask("allow", "abc"), server=[RUNNING]).decision

    assert decision == Decision(
        action="resumed",
        rule="R5",
        reason="resume='allow' and run abc exists (https://host/e/p/runs/abc), so it goes on at step 16.",
        run_id="abc",
        starting_step=16,
        runtime_offset=60.0,
        config={"lr": 0.2, "new": 2, "old": 1},
        summary={"acc": 0.5, "_step": 15, "_runtime": 50},
        tags=("t1",),
        notes="nn",
        name="first",
        history_offset=16,
        events_offset=3,
        console_offset=7,
        previous="https://host/e/p/runs/abc",
        storage_id="key",
        inherited=("config/old", "tags", "notes", "name"),
    )


@pytest.mark.case("res-tags-override")
def test_arguments_win_over_stored_values() -> None:
    """Tags, notes and name of the call replace the stored ones, also if they are empty."""
    given = ask("must", "abc", tags=("n",), notes="new", name="nm")
    empty = ask("must", "abc", tags=(), notes="", name="")

    one, other = (Played(request, server=[RUNNING]).decision for request in (given, empty))

    assert (one.tags, one.notes, one.name) == (("n",), "new", "nm")
    assert (other.tags, other.notes, other.name) == ((), "", "")


def test_a_new_run_takes_the_arguments() -> None:
    """A run that continues nothing has what the call passed."""
    decision = Played(ask(None, "abc", tags=("n",), notes="new", name="nm")).decision

    assert (decision.tags, decision.notes, decision.name, decision.config) == (("n",), "new", "nm", PASSED)


@pytest.mark.parametrize(
    ("value", "answers", "action"),
    [
        pytest.param(True, says(server=[RUNNING]), "resumed", marks=pytest.mark.case("res-true-exists")),
        pytest.param(
            True, says(server=[Absent()], upsert=[INSERTED]), "new", marks=pytest.mark.case("res-true-absent")
        ),
        pytest.param(False, says(), "new", marks=pytest.mark.case("res-false-absent")),
    ],
)
def test_resume_as_a_bool(value, answers, action) -> None:
    """True is auto and False is nothing: an explicit id is continued with the one, not asked for with the other."""
    decision = Played(ask(normalised("resume", value, False), "abc"), **answers).decision

    assert (decision.action, decision.run_id) == (action, "abc")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("someid", marks=pytest.mark.case("res-string-id-current")),
        pytest.param("Allow", marks=pytest.mark.case("res-case-sensitive")),
    ],
)
def test_resume_takes_no_other_word(value) -> None:
    """Another word is an error of the ValueError family with a hint at id=, never taken for an id."""
    with pytest.raises(ValueError, match="id=") as caught:
        normalised("resume", value, False)

    assert isinstance(caught.value, UsageError)


@pytest.mark.case("res-string-id-with-id-old")
def test_a_word_for_resume_is_not_dropped_beside_an_id() -> None:
    """Nobody turns resume="someid" into allow because an id is given as well."""
    with pytest.raises(UsageError):
        normalised("resume", "someid", False)


@pytest.mark.case("res-offline-warn")
@pytest.mark.parametrize("value", ["allow", "never", True])
def test_offline_says_that_no_server_was_asked(value) -> None:
    """Offline, a run that is new as far as this machine knows says once that the server was not asked."""
    decision = Played(ask(normalised("resume", value, False), None, "offline")).decision

    assert len(decision.warnings) == 1
    assert "no server is asked" in decision.warnings[0]


def test_offline_resume_of_a_local_run_warns_of_nothing() -> None:
    """A run that was found here is resumed without a warning: nothing was left unchecked."""
    for policy in ("allow", "must", "auto"):
        assert Played(ask(policy, "abc", "offline"), disk=[RUNNING]).decision.warnings == ()


def test_a_deferral_says_why_and_where_it_goes_on() -> None:
    """An online run that has to go offline says the cause, the first step and that sync decides; the rest follows."""
    one = Played(ask("allow", "abc"), server=[DOWN], disk=[RUNNING]).decision
    other = Played(ask("allow", "abc"), server=[DOWN], disk=[BROKEN]).decision

    assert one.warnings == (one.reason,)
    for words in ("no route to host", "step 16", "deferred to sync"):
        assert words in one.reason
    assert other.warnings[:1] == (other.reason,)
    assert "not JSON" in other.warnings[1]


def test_overwriting_is_noticed() -> None:
    """Without resume an existing run is overwritten, which is said in one line (R2)."""
    decision = Played(ask(None, "abc", force=True), server=[RUNNING]).decision

    assert len(decision.warnings) == 1
    assert "overwritten" in decision.warnings[0]


def test_a_reason_is_one_clean_line() -> None:
    """Whatever a backend says, the sentence stays one line and is not filled in twice."""
    played = Played(ask("must", "{why}"), server=[LookupFailed("server", "line one\nline {two}.")])

    assert "(line one line {two})" in played.decision.reason
    assert "run {why} exists" in played.decision.reason


def test_no_reason_is_said_to_be_none() -> None:
    """An answer without a text still makes a sentence."""
    decision = Played(ask("must", "abc"), server=[LookupFailed("server", " ")]).decision

    assert "(no reason given)" in decision.reason


def test_a_failed_init_touches_no_resume_file() -> None:
    """No path to a refusal holds an effect on the resume file (F10)."""
    for _, request, answers, *_ in REFUSED:
        played = Played(request, **answers)

        assert played.marker_effects == []
        assert not any(isinstance(effect, (WriteMarker, RemoveMarker)) for effect in played.asked)
