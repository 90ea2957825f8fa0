"""Tests of `corelib.pure.resume`: what becomes of the resume file, and what is said about it."""

from __future__ import annotations

import pytest

from corelib.pure.remote import Absent
from corelib.pure.resume import Corrupt, Finished, Lookup, RemoveMarker, RunStarted, WriteMarker
from tests.pure.resume_script import FINISHED, INSERTED, RUNNING, Played, ask


@pytest.mark.case("res-auto-file-same-id")
def test_the_same_id_in_the_file_warns_of_nothing() -> None:
    """An explicit id that the resume file names as well is no conflict, and this machine knows of it."""
    decision = Played(ask("auto", "abc", "offline"), marker="abc", disk=[Absent()]).decision

    assert (decision.run_id, decision.warnings) == ("abc", ())


@pytest.mark.case("res-auto-file-other-id")
def test_another_id_in_the_file_is_ignored_with_a_warning() -> None:
    """An explicit id wins over the resume file, which is said, and the file names the explicit one then."""
    played = Played(ask("auto", "zzz"), marker="abc", server=[Absent()], upsert=[INSERTED])
    played.tell(RunStarted())

    assert (played.decision.run_id, played.decision.action) == ("zzz", "new")
    assert played.decision.warnings == (
        "Ignoring ID abc of the resume file: the run ID is set to zzz by init(id=).",
    )
    assert played.marker_effects == [WriteMarker("zzz")]


@pytest.mark.parametrize(("run_id", "warns"), [(None, True), ("abc", False)])
def test_an_unusable_file_is_said_where_it_mattered(run_id, warns) -> None:
    """An unusable resume file costs a warning and a generated id; with an explicit id it is not needed (F3, F4, F7)."""
    answers = {"server": [RUNNING]} if run_id else {}
    played = Played(ask("auto", run_id), marker=Corrupt("it is not JSON"), **answers)

    assert played.decision.run_id == (run_id or "fresh000")
    assert any("it is not JSON" in warning for warning in played.decision.warnings) is warns


def test_the_finished_run_of_the_file_is_named() -> None:
    """A file that names a run that finished well leads to a fresh id, and a notice names both (R22)."""
    for mode, answers in (("online", {"server": [FINISHED]}), ("offline", {"disk": [FINISHED]})):
        played = Played(ask("auto", None, mode), marker="abc", **answers)
        played.tell(RunStarted())

        decision = played.decision
        assert (decision.rule, decision.action, decision.run_id) == ("R22", "new", "fresh000")
        assert len(decision.warnings) == 1
        assert all(run_id in decision.warnings[0] for run_id in ("abc", "fresh000"))
        assert played.marker_effects == [WriteMarker("fresh000")]


@pytest.mark.case("res-must-fail-file-kept")
def test_must_fails_without_reading_the_file() -> None:
    """A refused must has neither read nor changed the resume file."""
    played = Played(ask("must", "nope"), server=[Absent()])

    assert played.asked == [Lookup("nope", "server")]
    assert played.decision.action == "refuse"


@pytest.mark.case("res-disabled-auto")
def test_disabled_touches_no_resume_file() -> None:
    """A disabled run neither reads, writes nor removes the resume file, and asks nobody (F11, L7)."""
    for policy in (None, "allow", "must", "never", "auto"):
        played = Played(ask(policy, None, "disabled"))
        played.tell(RunStarted())
        played.tell(Finished(0))

        assert (played.asked, played.marker_effects) == ([], [])
        assert played.decision.run_id == "fresh000"


@pytest.mark.case("res-must-file-other")
def test_the_end_removes_the_file_only_if_it_names_the_run() -> None:
    """A clean end removes the resume file under the condition that it names this run, whatever the policy."""
    for policy in (None, "allow", "must", "auto"):
        played = Played(ask(policy, "abc"), server=[RUNNING] if policy else [])
        played.tell(RunStarted())
        played.marker_effects.clear()
        played.tell(Finished(0))

        assert played.marker_effects == [RemoveMarker("abc")]


@pytest.mark.parametrize("exit_code", [1, 3, 255, None])
def test_any_other_end_keeps_the_file(exit_code) -> None:
    """A run that did not succeed, or of which nobody knows, leaves the resume file for the next auto."""
    played = Played(ask("auto", "abc"), server=[RUNNING])
    played.tell(RunStarted())
    played.tell(Finished(exit_code))

    assert played.marker_effects == [WriteMarker("abc")]


@pytest.mark.case("res-none-clears-file-offline")
def test_a_run_without_resume_removes_the_file_once_it_has_started() -> None:
    """Without resume the file is removed, whatever it names, and not before the run has started (F8)."""
    played = Played(ask(None, None, "offline"))
    before = list(played.marker_effects)
    played.tell(RunStarted())

    assert ([], [RemoveMarker(None)]) == (before, played.marker_effects)
    assert played.decision.run_id == "fresh000"
