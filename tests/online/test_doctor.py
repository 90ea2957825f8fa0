"""`corelib doctor` where a server is set: what it would be asked, and, if somebody wants that, what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import corelib
from corelib.cli import main
from tests.servers.faults import answer
from tests.servers.wandb_server import WandbServer

Doctor = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(name="doctor")
def _doctor(
    server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Doctor:
    """Give a doctor in an environment that knows the server."""
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", server.key)
    monkeypatch.setenv("WANDB_PROJECT", "p")

    def doctor(*words: str, **environ: str) -> tuple[int, dict[str, Any]]:
        for name, value in environ.items():
            monkeypatch.setenv(f"WANDB_{name}", value)
        status = main(["doctor", "--json", *words])
        return status, json.loads(capsys.readouterr().out)

    return doctor


def test_what_would_be_asked_is_foretold(doctor: Doctor, server: WandbServer) -> None:
    """Where the answer decides, every answer is foretold and none is a problem; nobody is asked."""
    status, said = doctor(RUN_ID="abc", RESUME="must")

    resume = said["resume"]
    assert (status, said["problems"], resume["plan"]) == (0, [], "ask the server")
    assert "it exists: resumed; it does not exist: an error" in resume["reason"]
    assert "no answer: an error" in resume["reason"]
    assert "127.0.0.1" in said["recorded"]
    assert server.requests() == []
    _, said = doctor(RESUME="allow")
    assert "no answer: recorded offline" in said["resume"]["reason"]


def test_a_generated_id_needs_no_answer(doctor: Doctor) -> None:
    """Without an id there is nothing to ask, unless force wants the server."""
    assert doctor()[1]["resume"]["plan"] == "new"
    assert doctor(FORCE="true")[1]["resume"]["plan"] == "ask the server"


def test_the_server_is_asked_if_that_is_wanted(doctor: Doctor, server: WandbServer) -> None:
    """The plan is the decision that `init()` then takes, and nothing is made for it."""
    server.seed("abc", project="p", rows=[{"_step": 4}], summary={"_step": 4})

    status, said = doctor("--ask", RUN_ID="abc", RESUME="allow")

    assert (status, said["resume"]["plan"], said["resume"]["starting_step"]) == (0, "resumed", 5)
    assert {entry.operation for entry in server.requests()} == {"RunResumeStatus", "Viewer"}
    with corelib.init() as run:
        assert (run.resumed, run.step) == (True, 5)


def test_a_rejected_key_is_a_problem(doctor: Doctor, server: WandbServer) -> None:
    """It says so, and how to log in."""
    server.allow("wrong-key")
    status, said = doctor("--ask", API_KEY="f" * 40)

    assert status == 1
    assert "corelib login" in said["problems"][0]


def test_a_server_that_is_down_is_a_problem(doctor: Doctor, server: WandbServer) -> None:
    """It is named, and what `init()` would do then is the plan."""
    server.faults.add(answer(503))
    status, said = doctor("--ask", RUN_ID="abc", RESUME="allow", INIT_TIMEOUT="0.3")

    assert status == 1
    assert "503" in said["problems"][0]
    assert said["resume"]["rule"] == "R26"
