"""Every row of the resume table that `init()` can meet at a server (specification 5.3 and 5.4)."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

import corelib
from corelib import AuthenticationError, CommError, Error, Run, UsageError
from tests.online.conftest import Program
from tests.servers.black_hole import black_hole
from tests.servers.faults import answer, call, drop_after, errors, hold, not_json, truncated
from tests.servers.seeding import HARMLESS_ANSWERS, MALFORMED_ANSWERS, UNSTARTED_ANSWERS
from tests.servers.state import CONSOLE, EVENTS, HISTORY
from tests.servers.wandb_server import WandbServer

MARKER: Final = Path("wandb") / "wandb-resume.json"
CONFIG: Final = {"lr": 0.2, "new": 2}
AUTO: Final = ("auto", True)
NO_ONE: Final = "fedcba9876543210fedcba9876543210fedcba98"


def seed(server: WandbServer, **changed: Any) -> None:
    """Store run "abc": 16 rows, one minute, with all that a resumed run takes over."""
    stored: dict[str, Any] = {
        "rows": [{"_step": step, "acc": step / 30, "_runtime": 50} for step in range(16)],
        "events": [{"_runtime": 60, "system.cpu": 1}],
        "console": ["one", "two", "three"],
        "summary": {"acc": 0.5, "_step": 15, "_runtime": 50},
        "config": {"lr": 0.1, "old": 1},
        "tags": ["t1"],
        "notes": "nn",
        "display_name": "golden-river-7",
    }
    server.seed("abc", **{"project": "p", **stored, **changed})


def seed_unstarted(server: WandbServer) -> None:
    """Store run "abc" as a sweep controller leaves it."""
    server.seed("abc", project="p", started=False)


def store(server: WandbServer, state: str) -> None:
    """Bring about what the server knows of run "abc"."""
    if state == "exists":
        seed(server)
    elif state == "finished":
        seed(server, exit_code=0)
    elif state == "never started":
        seed_unstarted(server)
    elif state == "unreadable":
        seed(server, corrupt=MALFORMED_ANSWERS["history-tail-not-json"])


def write_marker(run_id: str) -> None:
    """Leave the resume file of an earlier run."""
    MARKER.parent.mkdir(exist_ok=True)
    MARKER.write_text(json.dumps({"run_id": run_id}), encoding="utf-8")


def marker() -> Any:
    """Return what the resume file holds, or None."""
    return json.loads(MARKER.read_text(encoding="utf-8")) if MARKER.exists() else None


def assert_nothing_is_left(program: Program) -> None:
    """No run directory, no current run, no upsert: and the next `init()` works."""
    assert program.run_folders() == []
    assert corelib.run is None
    assert "UpsertBucket" not in program.operations()
    with corelib.init(mode="offline") as following:
        following.log({"loss": 1})
    assert following.receipt.accepted == 1


class Case(NamedTuple):
    """One row: what is asked for, what the server knows, what follows."""

    row: str
    policy: str | bool | None
    id: str | None
    stored: str
    outcome: str
    error: type[Error] | None = None
    says: str = ""
    marker: str | None = None
    cases: tuple[str, ...] = ()


TABLE: Final = (
    Case("R1", None, "abc", "absent", "new", cases=("res-none-absent",)),
    Case("R1-false", False, "abc", "absent", "new", cases=("res-false-absent",)),
    Case("R3", None, "abc", "never started", "new", cases=("res-none-nostart",)),
    Case("R4", None, None, "exists", "new", cases=("res-none-noid",)),
    Case("R5", "allow", "abc", "exists", "resumed", cases=("res-allow-exists",)),
    Case("R5-true", True, "abc", "exists", "resumed", cases=("res-true-exists",)),
    Case("R5-finished", "allow", "abc", "finished", "resumed"),
    Case("R6", "allow", "abc", "absent", "new", cases=("res-allow-absent",)),
    Case("R6-true", True, "abc", "absent", "new", cases=("res-true-absent",)),
    Case("R7", "allow", "abc", "never started", "new"),
    Case("R8", "allow", None, "exists", "new", cases=("res-allow-noid",)),
    Case("R9", "allow", "abc", "unreadable", "refuse", CommError, "historyTail"),
    Case("R9-auto", "auto", "abc", "unreadable", "refuse", CommError, "historyTail"),
    Case("R9-marker", "auto", None, "unreadable", "refuse", CommError, "historyTail", marker="abc"),
    Case("R10", "must", "abc", "exists", "resumed"),
    Case("R10-marker", "must", "abc", "exists", "resumed", marker="other", cases=("res-must-file-other",)),
    Case(
        "R11", "must", "abc", "absent", "refuse", UsageError, "no run abc exists", cases=("res-must-absent",)
    ),
    Case("R12", "must", "abc", "never started", "refuse", UsageError, "never started"),
    Case("R13", "must", None, "exists", "refuse", UsageError, "an id is required"),
    Case("R14", "must", "abc", "unreadable", "refuse", CommError, "abc", cases=("res-history-corrupt-must",)),
    Case(
        "R15",
        "never",
        "abc",
        "exists",
        "refuse",
        UsageError,
        "resume='never', but run abc exists",
        cases=("res-never-exists", "res-old-never-msg"),
    ),
    Case("R15-unreadable", "never", "abc", "unreadable", "refuse", UsageError, "abc exists"),
    Case("R16", "never", "abc", "absent", "new"),
    Case("R17", "never", "abc", "never started", "new", cases=("res-never-nostart",)),
    Case("R18", "never", None, "exists", "new", cases=("res-never-noid",)),
    Case("R19", "auto", None, "exists", "resumed", marker="abc", cases=("res-auto-file-exists",)),
    Case("R20", "auto", None, "absent", "new", marker="abc"),
    Case("R21", "auto", None, "never started", "new", marker="abc"),
    Case("R23", "auto", "abc", "exists", "resumed", cases=("res-auto-exists-explicit-id",)),
    Case("R24", "auto", "abc", "absent", "new", cases=("res-auto-absent-explicit-id",)),
    Case("R24-created", "auto", "abc", "never started", "new", cases=("res-auto-nostart-explicit-id",)),
    Case("R25", "auto", None, "exists", "new"),
)


def rows(outcome: str) -> list[Any]:
    """Return the rows with one outcome as parameters of a test, with their contract cases."""
    return [
        pytest.param(case, id=case.row, marks=pytest.mark.case(*case.cases) if case.cases else ())
        for case in TABLE
        if case.outcome == outcome
    ]


def begin(program: Program, case: Case, **arguments: Any) -> Run:
    """Bring about the situation of a row, and call `init()`."""
    store(program.server, case.stored)
    if case.marker:
        write_marker(case.marker)
    return program.init(id=case.id, resume=case.policy, config=CONFIG, **arguments)


@pytest.mark.parametrize("case", rows("new"))
def test_a_run_begins_at_step_0(program: Program, case: Case) -> None:
    """New: nothing is taken over, the first row has step 0, and the server holds this run only."""
    run = begin(program, case)
    assert not run.resumed
    assert (run.starting_step, run.step) == (0, 0)
    expected = case.id or case.marker
    assert run.id == expected if expected else run.id != "abc"
    assert (dict(run.config), dict(run.summary), run.tags) == (CONFIG, {}, ())
    assert marker() == ({"run_id": run.id} if case.policy in AUTO else None)
    run.log({"loss": 1})
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered) == (1, 1)
    stored = program.server.run(run.id)
    assert (stored.steps, stored.plain_config, stored.started) == ([0], CONFIG, True)
    assert (stored.complete, stored.exit_code) == (True, 0)
    # Nobody takes the run that `init()` has made at the server for an earlier one.
    assert "3" not in stored.internals["t"]
    assert "goes on there" not in program.stderr()
    assert marker() is None


@pytest.mark.parametrize("case", rows("resumed"))
def test_a_run_is_resumed_whole(program: Program, case: Case) -> None:
    """Resumed: step, runtime, config, summary, tags, notes and name go on, in the run and at the server (5.4)."""
    run = begin(program, case)
    assert (run.id, run.resumed) == ("abc", True)
    assert (run.starting_step, run.step) == (16, 16)
    assert dict(run.config) == {"lr": 0.2, "new": 2, "old": 1}
    assert (run.summary["acc"], run.tags, run.notes, run.name) == (0.5, ("t1",), "nn", "golden-river-7")
    assert run.resume_decision.runtime_offset == 60
    others = {"run_id": case.marker} if case.policy == "must" and case.marker else None
    assert marker() == ({"run_id": "abc"} if case.policy in AUTO else others)
    run.log({"loss": 1})
    run.log({"loss": 2})
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered) == (2, 2)
    stored = program.server.run("abc")
    assert stored.steps == list(range(18))
    assert stored.offsets(HISTORY)[0] == 16
    assert all(row["_runtime"] >= 60 for row in stored.rows[16:])
    assert stored.plain_config == {"lr": 0.2, "new": 2, "old": 1}
    assert (stored.tags, stored.notes, stored.display_name) == (("t1",), "nn", "golden-river-7")
    assert (stored.summary["acc"], stored.summary["loss"]) == (0.5, 2)
    assert stored.console[:3] == ["one", "two", "three"]
    assert stored.line_count(EVENTS) >= 1
    assert (stored.complete, stored.exit_code, stored.storage_id) == (True, 0, "storage-1")
    assert marker() == others


@pytest.mark.parametrize("case", rows("refuse"))
def test_a_refusal_leaves_nothing_behind(program: Program, case: Case) -> None:
    """Refused: the right error with the id in it, no upsert, no folder, the resume file as it was."""
    with pytest.raises(case.error or Error, match=case.says):
        begin(program, case)
    assert marker() == ({"run_id": case.marker} if case.marker else None)
    if case.row == "R13":
        assert program.operations() == []
    if case.stored != "absent":
        assert program.server.run("abc").upserts == []
    assert_nothing_is_left(program)


# -------------------------------------------------------------------------------------------- what is overwritten


@pytest.mark.parametrize("delivery", ["thread", "process"])
def test_r2_without_resume_an_existing_run_is_overwritten_with_one_notice(
    program: Program, delivery: str
) -> None:
    """R2: `init()` asks nothing; the stream starts at line 0, and one line names the run that is overwritten."""
    program.server.allow("offset-back", "overlap-differs")
    seed(program.server)
    run = program.init(id="abc", config=CONFIG, settings={"delivery": delivery})
    assert (run.resumed, run.step) == (False, 0)
    assert "RunResumeStatus" not in program.operations()
    run.log({"loss": 7})
    run.finish()
    stored = program.server.run("abc")
    assert (stored.offsets(HISTORY)[0], stored.rows[0]["loss"], stored.rows[0]["_step"]) == (0, 7, 0)
    assert program.stderr().count("ent/p/abc was there with 16 rows") == 1


def test_r2_with_force_the_notice_comes_from_init_itself(program: Program) -> None:
    """R2 with force=True: the server was asked anyway, so the decision says what becomes of the earlier run."""
    program.server.allow("offset-back", "overlap-differs")
    seed(program.server)
    run = program.init(id="abc", force=True)
    assert (run.resumed, run.resume_decision.action) == (False, "overwrite")
    assert "overwritten from step 0" in program.stderr()
    run.finish()


# ------------------------------------------------------------------------------------------ auto and its file


@pytest.mark.case("res-auto-file-other-id")
def test_an_explicit_id_beats_the_resume_file(program: Program) -> None:
    """A warning names both ids, and the file then names the chosen one."""
    seed(program.server)
    write_marker("abc")
    run = program.init(id="zzz", resume="auto")
    assert (run.id, run.resumed, marker()) == ("zzz", False, {"run_id": "zzz"})
    assert "Ignoring ID abc" in program.stderr()
    assert "the run ID is set to zzz" in program.stderr()


@pytest.mark.case("res-must-fail-file-kept")
def test_a_failed_init_leaves_the_file_of_another_run(program: Program) -> None:
    """resume="must" that fails touches nothing of what "auto" remembers."""
    write_marker("other")
    with pytest.raises(UsageError, match="nope"):
        program.init(id="nope", resume="must")
    assert marker() == {"run_id": "other"}


@pytest.mark.case("res-env-both")
def test_id_and_policy_come_from_the_environment(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_RUN_ID and WANDB_RESUME are as good as the arguments."""
    seed(program.server)
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    monkeypatch.setenv("WANDB_RESUME", "must")
    run = program.init()
    assert (run.id, run.resumed) == ("abc", True)


def test_a_failed_run_is_continued_by_auto_at_the_server(program: Program) -> None:
    """A run that failed keeps its file, and the next `auto` continues it behind its last row."""
    first = program.init(resume="auto")
    first.log({"loss": 1})
    first.finish(3)
    assert marker() == {"run_id": first.id}
    second = program.init(resume="auto")
    assert (second.id, second.resumed, second.step) == (first.id, True, 1)
    second.log({"loss": 2})
    second.finish()
    stored = program.server.run(first.id)
    assert (stored.steps, stored.exit_code, marker()) == ([0, 1], 0, None)


def test_r22_a_run_that_finished_here_is_not_taken_up_by_auto(program: Program) -> None:
    """A server does not tell how a run ended; where this machine knows that it went well, the next one is new."""
    with program.init(resume="auto") as first:
        first.log({"loss": 1})
    write_marker(first.id)  # as an older client leaves it, or a SystemExit whose code Python has hidden

    with program.init(resume="auto") as second:
        second.log({"loss": 2})

    assert (second.id != first.id, second.resumed) == (True, False)
    assert second.resume_decision.rule == "R22"
    assert "finished" in program.stderr()


# ----------------------------------------------------------------------------------------- nobody who could tell


class Outage(NamedTuple):
    """A way in which a server does not answer, what it is for `init()`, and what is to be read of it."""

    name: str
    error: type[Error]
    says: str
    is_forbidden: bool = False


OUTAGES: Final = (
    Outage("refused", CommError, "127.0.0.1"),
    Outage("black hole", CommError, "127.0.0.1"),
    Outage("no connection", CommError, "127.0.0.1"),
    Outage("500", CommError, "500"),
    Outage("503", CommError, "503"),
    Outage("429", CommError, "429"),
    Outage("404", CommError, "404"),
    Outage("captive portal", CommError, "RunResumeStatus"),
    Outage("graphql errors", CommError, "the database is on fire"),
    Outage("truncated", CommError, "RunResumeStatus"),
    Outage("401", AuthenticationError, "401"),
    Outage("403", CommError, "permission", is_forbidden=True),
)

_FAULTS: Final = {
    "black hole": hold(),
    "500": answer(500),
    "503": answer(503),
    "429": answer(429),
    "404": answer(404),
    "captive portal": not_json(),
    "graphql errors": errors("the database is on fire"),
    "truncated": truncated(10),
}


@pytest.fixture(params=OUTAGES, ids=[outage.name for outage in OUTAGES])
def outage(request: pytest.FixtureRequest, program: Program) -> Any:
    """Bring an outage about for everything that the program asks; half a second is the time it has."""
    outage: Outage = request.param
    server = program.server
    settings: dict[str, Any] = {"init_timeout": 0.15, "finish_timeout": 0, "http_timeout": 0.1}
    if outage.name == "refused":
        server.stop_listening()
    elif outage.name == "no connection":
        with black_hole(accept=False) as url:
            yield outage, {**settings, "base_url": url}
            corelib.finish()
        return
    elif outage.name == "401":
        server.set_keys(NO_ONE)
    elif outage.name == "403":
        server.forbid("p")
    else:
        server.faults.add(_FAULTS[outage.name])
    yield outage, settings
    corelib.finish()


@pytest.mark.case("res-auth-fail", "login-init-timeout-error")
@pytest.mark.parametrize("policy", ["must", "never"])
def test_r28_r30_r32_must_and_never_do_not_degrade(program: Program, outage: Any, policy: str) -> None:
    """R28, R30, R32, R33: an error in time, which says what was asked of whom; nothing is left behind."""
    way, settings = outage
    began = time.monotonic()
    with pytest.raises(way.error) as raised:
        program.init(id="abc", resume=policy, settings=settings)
    assert time.monotonic() - began < 10
    assert "abc" in str(raised.value)
    assert way.says in str(raised.value)
    assert program.server.key not in str(raised.value)
    assert marker() is None
    assert_nothing_is_left(program)


@pytest.mark.parametrize("policy", [None, "allow", "auto"])
def test_r29_r31_force_turns_every_outage_into_an_error(
    program: Program, outage: Any, policy: str | None
) -> None:
    """R29, R31, R32 with force=True: the error is raised before anything is made."""
    way, settings = outage
    with pytest.raises(way.error) as raised:
        program.init(id="abc", resume=policy, force=True, settings=settings)
    assert way.says in str(raised.value)
    assert marker() is None
    assert_nothing_is_left(program)


@pytest.mark.case("res-forbidden", "res-500", "res-unreachable-allow", "res-unreachable-auto-file")
@pytest.mark.parametrize("policy", ["allow", "auto"])
def test_r26_r30_allow_and_auto_are_deferred(program: Program, outage: Any, policy: str) -> None:
    """R26, R30, R33 without force: offline, with one warning that says why; R32: an error, as nobody may."""
    way, settings = outage
    if way.is_forbidden:
        with pytest.raises(CommError, match="permission"):
            program.init(id="abc", resume=policy, settings=settings)
        assert_nothing_is_left(program)
        return
    run = program.init(id="abc", resume=policy, settings=settings)
    assert (run.offline, run.resumed, run.step, run.id) == (True, False, 0, "abc")
    assert run.resume_decision.deferred
    text = program.stderr()
    assert text.count("deferred to sync") == 1, text
    assert way.says in text
    run.log({"loss": 1})
    receipt = run.finish()
    assert receipt.accepted == 1
    assert [name[:12] for name in program.run_folders()] == ["offline-run-"]
    assert "UpsertBucket" not in program.operations()


def test_r27_without_resume_no_outage_stops_a_run(program: Program, outage: Any) -> None:
    """R27, R30: `init()` does not wait and does not fail; the rows are kept here, pending, and that is said."""
    _, settings = outage
    run = program.init(id="abc", settings=settings)
    assert not run.resumed
    run.log({"loss": 1})
    receipt = run.finish(timeout=0)
    assert (receipt.accepted, receipt.pending, receipt.delivered) == (1, 1, 0)
    assert len(program.run_folders()) == 1
    assert corelib.run is None


def test_the_message_tells_how_long_was_waited(program: Program) -> None:
    """R28 at a black hole: the host, the question and the time that it was given are in the message."""
    with black_hole() as url, pytest.raises(CommError) as raised:
        program.init(id="abc", resume="must", settings={"init_timeout": 0.4, "base_url": url})
    text = str(raised.value)
    assert url.removeprefix("http://") in text
    assert "abc" in text
    assert "0.4 s" in text


@pytest.mark.parametrize("fault", ["drop", "503", "truncated"])
def test_a_hiccup_of_the_lookup_is_overcome(program: Program, fault: str) -> None:
    """What passes by itself within `init_timeout` is asked again, and nobody notices."""
    seed(program.server)
    faults = {"drop": drop_after(), "503": answer(503), "truncated": truncated(5)}
    program.server.faults.add(faults[fault], operation="RunResumeStatus", nth=1)
    run = program.init(id="abc", resume="must")
    assert (run.resumed, run.step) == (True, 16)


# ------------------------------------------------------------------------------------------- ids and other clients


@pytest.mark.parametrize("policy", ["allow", "never", "auto"])
def test_r37_a_deleted_id_is_refused(program: Program, policy: str) -> None:
    """R37: the server refuses to create it; the error says that the id of a deleted run is gone for good."""
    seed(program.server)
    program.server.delete("abc")
    with pytest.raises(CommError, match="deleted"):
        program.init(id="abc", resume=policy)
    assert program.run_folders() == []
    assert corelib.run is None
    assert marker() is None


def test_r37_without_resume_the_refusal_comes_later(program: Program) -> None:
    """R37: `init()` did not wait, so the run goes on; rows stay on this machine and one line says why."""
    seed(program.server)
    program.server.delete("abc")
    run = program.init(id="abc")
    run.log({"loss": 1})
    program.wait_for_text("previously created and deleted")
    receipt = run.finish(timeout=0)
    assert (receipt.accepted, receipt.pending) == (1, 1)
    with pytest.raises(KeyError):
        program.server.run("abc")


def test_r38_never_refuses_where_another_client_was_faster(program: Program) -> None:
    """R38: the run appears between query and upsert; never means never, and the rows of the other stay whole."""
    server = program.server
    rule = server.faults.add(call(lambda: seed(server)), operation="UpsertBucket", nth=1)
    with pytest.raises(UsageError, match="another process was faster"):
        program.init(id="abc", resume="never", config=CONFIG)
    assert rule.hits == 1
    assert program.run_folders() == []
    assert corelib.run is None
    stored = server.run("abc")
    assert (stored.steps, stored.plain_config) == (list(range(16)), {"lr": 0.1, "old": 1})


@pytest.mark.parametrize("policy", ["allow", "auto"])
def test_r38_allow_continues_what_another_client_began_meanwhile(program: Program, policy: str) -> None:
    """R38: looked up again, the run is there, and is resumed behind its last row."""
    server = program.server
    server.faults.add(call(lambda: seed(server)), operation="UpsertBucket", nth=1)
    run = program.init(id="abc", resume=policy)
    assert (run.resumed, run.step) == (True, 16)
    assert run.config["old"] == 1
    run.log({"loss": 1})
    run.finish()
    assert server.run("abc").steps == list(range(17))


@pytest.mark.parametrize("policy", ["allow", "never", "auto"])
def test_a_lost_answer_to_the_creation_does_not_burn_the_id(program: Program, policy: str) -> None:
    """R28, R26: the run was made, but nobody knows; it was not started, so the next `init()` has the id."""
    program.server.faults.add(drop_after(), operation="UpsertBucket", nth=1)
    if policy == "never":
        with pytest.raises(CommError, match="abc"):
            program.init(id="abc", resume=policy)
    else:
        assert program.init(id="abc", resume=policy).offline
        corelib.finish()
        assert not program.server.run("abc").started
    run = program.init(id="abc", resume=policy)
    assert (run.offline, run.resumed, run.step) == (False, False, 0)
    run.log({"loss": 1})
    run.finish()
    assert program.server.run("abc").steps == [0]


def test_a_ctrl_c_while_the_server_is_asked_leaves_nothing_behind(program: Program) -> None:
    """0.1: an `init()` that is interrupted in its wait makes nothing, and the next one works."""
    interrupt = call(lambda: os.kill(os.getpid(), signal.SIGINT))
    program.server.faults.add(interrupt | hold(), operation="RunResumeStatus")
    with pytest.raises(KeyboardInterrupt):
        program.init(id="abc", resume="must")
    assert_nothing_is_left(program)


def test_r38_must_refuses_though_the_run_appears_later(program: Program) -> None:
    """R38: must does not create anything, so it cannot take part in a race."""
    with pytest.raises(UsageError, match="no run abc exists"):
        program.init(id="abc", resume="must")
    assert program.operations() == ["RunResumeStatus"]


def test_r34_an_id_cannot_be_active_twice(program: Program) -> None:
    """R34: create_new with the id of an active run is refused, and the active one goes on."""
    run = program.init(id="abc")
    with pytest.raises(UsageError, match="abc"):
        program.init(id="abc", reinit="create_new")
    run.log({"loss": 1})
    run.finish()
    assert program.server.run("abc").steps == [0]


def test_r35_must_while_another_run_is_active(program: Program) -> None:
    """R35: the active run is not given out for the one that must be resumed."""
    seed(program.server)
    program.init(id="first")
    with pytest.raises(Error, match="another run is active"):
        program.init(id="abc", resume="must", reinit="return_previous")
    assert "RunResumeStatus" not in program.operations()


def test_r36_another_id_while_a_run_is_active(program: Program) -> None:
    """R36: a run with another id than was asked for is not given out."""
    program.init(id="first")
    with pytest.raises(UsageError, match="first"):
        program.init(id="abc", resume="allow", reinit="return_previous")


@pytest.mark.case("res-must-create-new")
def test_a_run_is_resumed_beside_an_active_one(program: Program) -> None:
    """create_new with must: the stored run is continued while the other goes on."""
    seed(program.server)
    other = program.init(id="other")
    run = program.init(id="abc", resume="must", reinit="create_new")
    assert (run.resumed, run.config["old"], corelib.run is other) == (True, 1, True)
    run.log({"loss": 1})
    run.finish()
    other.log({"loss": 2})
    other.finish()
    assert program.server.run("abc").steps == list(range(17))
    assert program.server.run("other").steps == [0]


# ---------------------------------------------------------------------------------------------- what is restored


@pytest.mark.parametrize("name", sorted(MALFORMED_ANSWERS))
@pytest.mark.parametrize("policy", ["must", "allow"])
def test_no_malformed_answer_is_taken_for_a_run(program: Program, name: str, policy: str) -> None:
    """Protocol 6.4: what cannot be read whole is neither continued nor overwritten."""
    seed(program.server, corrupt=MALFORMED_ANSWERS[name])
    with pytest.raises(CommError, match="abc"):
        program.init(id="abc", resume=policy)
    assert program.operations() == ["RunResumeStatus"]
    assert program.run_folders() == []
    assert program.server.run("abc").steps == list(range(16))


@pytest.mark.parametrize("name", sorted(HARMLESS_ANSWERS))
def test_harmless_oddities_of_an_answer_do_not_hinder(program: Program, name: str) -> None:
    """Protocol 6.4: empty tails, NaN and unknown fields are no reason to give up a run."""
    seed(program.server, corrupt=HARMLESS_ANSWERS[name])
    run = program.init(id="abc", resume="must")
    assert run.resumed
    assert run.step > 0


@pytest.mark.parametrize("policy", ["allow", "must", "never"])
@pytest.mark.parametrize("name", sorted(UNSTARTED_ANSWERS))
def test_a_run_with_rows_was_started_whoever_forgot_the_mark(
    program: Program, name: str, policy: str
) -> None:
    """A run of an old client has rows and no `_wandb.t`: it is continued or refused, and never overwritten."""
    seed(program.server, corrupt=UNSTARTED_ANSWERS[name])
    if policy == "never":
        with pytest.raises(UsageError, match="exists"):
            program.init(id="abc", resume=policy)
    else:
        with program.init(id="abc", resume=policy) as run:
            assert (run.resumed, run.step) == (True, 16)
            run.log({"loss": 1})
        assert program.server.run("abc").steps == list(range(17))


@pytest.mark.parametrize("name", sorted(UNSTARTED_ANSWERS))
def test_without_the_mark_of_a_start_there_is_nothing_to_resume(program: Program, name: str) -> None:
    """Protocol 6.4: a run without `_wandb.t` was never started."""
    seed(program.server, corrupt=UNSTARTED_ANSWERS[name], rows=[], events=[], console=[])
    with pytest.raises(UsageError, match="never started"):
        program.init(id="abc", resume="must")


@pytest.mark.case("res-lines0-step1")
def test_a_step_that_was_announced_but_never_written_is_used_again(program: Program) -> None:
    """5.4: without history lines, the step that the tail and the summary name is the first."""
    tail = json.dumps([json.dumps({"_step": 1})])
    seed(program.server, rows=[], summary={"_step": 1}, corrupt={"historyTail": tail})
    run = program.init(id="abc", resume="must")
    assert run.step == 1


def test_a_run_without_rows_is_resumed_at_step_0(program: Program) -> None:
    """5.4: started, but nothing was logged."""
    seed(program.server, rows=[], summary={}, events=[])
    run = program.init(id="abc", resume="must")
    assert (run.resumed, run.step) == (True, 0)
    assert run.resume_decision.runtime_offset == 0


@pytest.mark.case("res-runtime-summary")
def test_the_runtime_goes_on_behind_that_of_the_summary(program: Program) -> None:
    """5.4: the largest figure counts; the summary's own is `_wandb.runtime`."""
    seed(program.server, summary={"acc": 1, "_step": 15, "_wandb": {"runtime": 130}})
    run = program.init(id="abc", resume="must")
    run.log({"loss": 1})
    run.finish()
    assert run.resume_decision.runtime_offset == 130
    assert 130 <= program.server.run("abc").rows[-1]["_runtime"] < 230


@pytest.mark.case("res-tags-override")
def test_words_of_the_call_win_over_what_is_stored(program: Program) -> None:
    """5.4: tags, notes and name that are given replace the stored ones, here and there."""
    seed(program.server)
    run = program.init(id="abc", resume="must", tags=["n"], notes="new", name="nm")
    assert (run.tags, run.notes, run.name) == (("n",), "new", "nm")
    run.finish()
    stored = program.server.run("abc")
    assert (stored.tags, stored.notes, stored.display_name) == (("n",), "new", "nm")


@pytest.mark.case("res-tags-append")
def test_tags_are_added_to_the_stored_ones(program: Program) -> None:
    """5.4: `run.tags += (...)` starts from what was restored."""
    seed(program.server, tags=["tag1", "tag2", "tag3"])
    run = program.init(id="abc", resume="must")
    run.tags += ("tag7",)
    run.finish()
    assert program.server.run("abc").tags == ("tag1", "tag2", "tag3", "tag7")


@pytest.mark.case("res-step-after-resume")
def test_a_courier_process_goes_on_behind_the_stored_lines(program: Program) -> None:
    """5.4 with a courier in a process of its own: offsets and steps are the same as in a thread."""
    seed(program.server)
    run = program.init(id="abc", resume="must", settings={"delivery": "process"})
    assert run.step == 16
    run.log({"loss": 1})
    receipt = run.finish()
    assert receipt.delivered == 1
    stored = program.server.run("abc")
    assert (stored.steps, stored.offsets(HISTORY)[0]) == (list(range(17)), 16)
    assert stored.line_count(CONSOLE) >= 3


def test_no_question_is_asked_where_nobody_needs_an_answer(program: Program) -> None:
    """0.1: without `resume` and `force`, `init()` returns while the server has not answered anything."""
    rule = program.server.faults.add(hold())
    run = program.init(id="abc", settings={"init_timeout": 20, "finish_timeout": 0})
    run.log({"loss": 1})
    assert "RunResumeStatus" not in program.operations()
    rule.remove()
    program.server.drop_connections()
    assert os.path.isdir(run.dir)
