"""Tests of `corelib.pure.reinit`: the table of what a second `init()` does."""

from __future__ import annotations

from typing import Any

import pytest

from corelib.errors import UsageError
from corelib.pure.reinit import (
    ACTIONS,
    IDENTITY,
    REINIT_CHOICES,
    ActiveIdentity,
    Reinit,
    ReinitDecision,
    decide_reinit,
)
from corelib.testing.strategies.resume import MODES, POLICIES
from tests.pure.resume_script import RUNNING, Played, ask

FIRST = ActiveIdentity("first", {"project": "p0"})
ACTIVE = ActiveIdentity(
    "a", {"project": "p1", "entity": None, "name": "n1", "group": None, "job_type": "train"}
)
DISABLED = ActiveIdentity("d", {}, disabled=True)
VALUES: tuple[Reinit, ...] = (None, True, False, *REINIT_CHOICES)


def decide(reinit: Reinit = None, *active: ActiveIdentity, **more: Any) -> ReinitDecision:
    """Decide for a script that asks for nothing in particular while `active`, else `ACTIVE`, is active."""
    asked = {"policy": None, "run_id": None, "identity": {}, "mode": "offline", "notebook": False, **more}
    return decide_reinit(active or (ACTIVE,), reinit, **asked)


@pytest.mark.parametrize("notebook", [False, True])
@pytest.mark.parametrize("reinit", VALUES)
def test_no_active_run(reinit, notebook) -> None:
    """Without an active run, or beside disabled ones only, whatever is asked for is a new run."""
    for active in ((), (DISABLED,)):
        decision = decide_reinit(
            active, reinit, policy="must", run_id="q", identity={}, mode="offline", notebook=notebook
        )

        assert (decision.action, decision.run_ids, decision.warnings) == ("new", (), ())


@pytest.mark.parametrize(
    ("reinit", "script", "notebook"),
    [
        (None, "return_active", "finish_then_new"),
        ("default", "return_active", "finish_then_new"),
        (False, "return_active", "return_active"),
        ("return_previous", "return_active", "return_active"),
        (True, "finish_then_new", "finish_then_new"),
        ("finish_previous", "finish_then_new", "finish_then_new"),
        ("create_new", "create_beside", "create_beside"),
    ],
)
def test_the_table(reinit, script, notebook) -> None:
    """While a run is active, each value of reinit has its action, in a script and in a notebook."""
    in_script, in_notebook = decide(reinit), decide(reinit, notebook=True)

    assert (in_script.action, in_notebook.action) == (script, notebook)
    for decision in (in_script, in_notebook):
        assert decision.error is None
        assert decision.reason.endswith(".")
        assert "a" in decision.run_ids


def test_the_table_is_complete() -> None:
    """Each choice has an action in a script and in a notebook."""
    assert set(ACTIONS) == {(choice, notebook) for choice in REINIT_CHOICES for notebook in (False, True)}


@pytest.mark.case("reinit-old-stack")
def test_finishing_finishes_all() -> None:
    """All active runs are finished, in the order in which they began, and not only the last one."""
    assert decide(True, FIRST, DISABLED, ACTIVE).run_ids == ("first", "a")


def test_returning_returns_the_most_recent() -> None:
    """The run that is given back is the most recent one that is neither finished nor disabled."""
    assert decide(None, FIRST, ACTIVE, DISABLED).run_ids == ("a",)


def test_a_notebook_says_why_it_finishes() -> None:
    """In a notebook nobody passed reinit, so the reason does not speak of it."""
    assert "notebook" in decide(None, notebook=True).reason
    assert "reinit=True" in decide(True, notebook=True).reason


@pytest.mark.case("reinit-bad")
@pytest.mark.parametrize("reinit", ["bogus", "", 1, ["create_new"]])
def test_another_value_is_refused(reinit) -> None:
    """Any other value is an error of the ValueError family that names the choices, also when nothing is active."""
    for active in ((ACTIVE,), ()):
        decision = decide_reinit(
            active, reinit, policy=None, run_id=None, identity={}, mode="disabled", notebook=False
        )

        assert (decision.action, decision.error) == ("refuse", UsageError)
        assert issubclass(UsageError, ValueError)
        assert all(choice in decision.reason for choice in REINIT_CHOICES)


@pytest.mark.parametrize("reinit", VALUES)
def test_disabled_stands_beside(reinit) -> None:
    """A disabled run begins whatever is active, finishes nothing and is never refused."""
    for policy in POLICIES:
        for run_id in (None, "a", "q"):
            decision = decide(reinit, policy=policy, run_id=run_id, mode="disabled")

            assert (decision.action, decision.run_ids, decision.error) == ("new", (), None)


@pytest.mark.case("reinit-create-new-id-conflict")
def test_an_id_in_use_is_not_given_twice() -> None:
    """Beside an active run no run of the same id begins, whichever of the active ones has it (R34)."""
    for run_id in ("first", "a"):
        decision = decide("create_new", FIRST, ACTIVE, run_id=run_id)

        assert (decision.action, decision.rule, decision.error) == ("refuse", "R34", UsageError)
        assert "in use" in decision.reason
        assert decision.run_ids == (run_id,)
    assert decide("create_new", FIRST, ACTIVE, run_id="q").action == "create_beside"


@pytest.mark.case("res-must-while-active")
def test_must_is_not_answered_by_another_run() -> None:
    """resume="must" is an error where the active run would be returned, unless it is the very run asked for (R35)."""
    for run_id in ("q", None):
        decision = decide(None, policy="must", run_id=run_id)

        assert (decision.action, decision.rule, decision.error) == ("refuse", "R35", UsageError)
        assert "another run is active" in decision.reason
    assert decide(None, policy="must", run_id="a").action == "return_active"
    assert decide(None, policy="must", run_id="q", notebook=True).action == "finish_then_new"


@pytest.mark.case("res-allow-while-active")
def test_another_id_is_not_answered_by_the_active_run() -> None:
    """Asking for another id is an error where the active run would be returned, never silence (R36)."""
    for policy in (None, "allow", "never", "auto"):
        for reinit in (None, False, "return_previous"):
            decision = decide(reinit, policy=policy, run_id="q")

            assert (decision.action, decision.rule, decision.error) == ("refuse", "R36", UsageError)
            assert "q" in decision.reason
        assert decide(None, policy=policy, run_id="a").action == "return_active"


@pytest.mark.parametrize("name", IDENTITY)
def test_ignored_arguments_are_named(name) -> None:
    """An identity argument that differs from the active run's is named in one warning."""
    decision = decide(None, identity={name: "another"})

    assert decision.action == "return_active"
    assert len(decision.warnings) == 1
    assert f"{name}='another'" in decision.warnings[0]
    assert "returning the previous run" in decision.reason


def test_agreeing_arguments_warn_of_nothing() -> None:
    """Arguments that the active run has as well, or that were not passed, are no reason to warn."""
    same = {"project": "p1", "name": "n1", "job_type": "train", "entity": None, "group": None}

    assert decide(None, identity=same, run_id="a").warnings == ()
    assert decide(None).warnings == ()


@pytest.mark.case("res-must-create-new")
def test_must_beside_an_active_run_resumes() -> None:
    """With create_new an active run does not stand in the way: must resumes the stored run, config included."""
    beside = decide("create_new", policy="must", run_id="abc", mode="online")
    resumed = Played(ask("must", "abc"), server=[RUNNING]).decision

    assert beside.action == "create_beside"
    assert (resumed.action, resumed.config) == ("resumed", {"lr": 0.2, "new": 2, "old": 1})


def test_every_call_gets_a_decision() -> None:
    """Whatever is combined, there is an action; exactly refusals have an error; only returning warns."""
    for reinit in (*VALUES, "bogus"):
        for policy in POLICIES:
            for run_id in (None, "a", "q"):
                for mode in MODES:
                    for notebook in (False, True):
                        decision = decide(
                            reinit,
                            policy=policy,
                            run_id=run_id,
                            mode=mode,
                            notebook=notebook,
                            identity={"project": "p2"},
                        )

                        assert (decision.action == "refuse") == (decision.error is not None)
                        assert (decision.action == "return_active") == bool(decision.warnings)
