"""Runs that were recorded while no server was asked: the resume decision is taken when they are delivered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib.api.syncing import SyncResult
from tests.online.conftest import Program
from tests.servers.faults import answer, drop_after, drop_before
from tests.servers.state import RunState
from tests.servers.wandb_server import WandbServer


def seed(server: WandbServer) -> None:
    """Store run "abc" with three rows."""
    server.seed(
        "abc",
        project="p",
        rows=[{"_step": step, "loss": step, "_runtime": 50.0} for step in range(3)],
        summary={"loss": 2, "best": 7, "_step": 2, "_runtime": 50},
        config={"lr": 0.1, "old": 1},
        tags=["t1"],
        notes="stored",
    )


def record(rows: int = 2, **words: Any) -> Path:
    """Record a part of run "abc" without a server."""
    with corelib.init(**({"project": "p", "id": "abc", "mode": "offline"} | words)) as run:
        for number in range(rows):
            run.log({"loss": 10 + number})
    return Path(run.sync_dir)


def synced(server: WandbServer, *paths: Path, **words: Any) -> SyncResult:
    """Sync what was recorded, once."""
    corelib.setup(settings={"base_url": server.url, "api_key": server.key, "x_push_interval": 0.1})
    (result,) = corelib.sync(paths, everything=not paths, **({"patience_s": 30.0} | words))
    return result


def steps(run: RunState) -> list[tuple[int, Any]]:
    return [(row["_step"], row["loss"]) for row in run.rows]


STORED = [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("policy", ["allow", "auto"])
def test_a_run_that_exists_at_the_server_is_continued_by_sync(
    server: WandbServer, program: Program, policy: str
) -> None:
    """Nothing stored is overwritten: rows, step, runtime, config, summary, tags and notes go on behind it."""
    seed(server)
    record(resume=policy, config={"lr": 0.2, "new": 2})

    result = synced(server)

    run = server.run("abc")
    assert result.outcome == "delivered"
    assert steps(run) == [*STORED, (3, 10), (4, 11)]
    assert run.rows[3]["_runtime"] >= 50
    assert {key: run.config[key]["value"] for key in ("lr", "old", "new")} == {"lr": 0.2, "old": 1, "new": 2}
    assert (run.summary["loss"], run.summary["best"], run.summary["_step"]) == (11, 7, 4)
    assert (run.tags, run.notes, run.exit_code) == (("t1",), "stored", 0)
    assert "at step 3" in program.stderr()


def test_syncing_again_changes_nothing(server: WandbServer) -> None:
    """The decision is taken once: the run is not taken for an earlier one when it is synced again."""
    seed(server)
    directory = record(resume="allow")
    synced(server)
    with corelib.init(project="p", id="abc", resume="allow", mode="offline") as run:
        run.log({"loss": 12})

    for paths in ((), (directory,), ()):
        synced(server, *paths)

    assert steps(server.run("abc")) == [*STORED, (3, 10), (4, 11), (5, 12)]


def forget_cursors(root: Path) -> None:
    for path in root.rglob("cursor-*.json"):
        path.unlink()


@pytest.mark.parametrize(("policy", "is_there"), [(None, False), ("allow", False), ("allow", True)])
def test_who_has_lost_the_cursor_repeats_what_it_did(
    server: WandbServer, tmp_path: Path, policy: str | None, is_there: bool
) -> None:
    """A lost cursor, and a copy of the directory that was made before: the same lines come again, and no others."""
    server.allow("offset-back")
    if is_there:
        seed(server)
    record(resume=policy)
    record(resume="allow")
    copy = tmp_path / "copy"
    shutil.copytree("wandb", copy / "wandb", symlinks=True)
    synced(server)
    expected = steps(server.run("abc"))

    forget_cursors(tmp_path)
    synced(server)
    synced(server, copy / "wandb")

    assert steps(server.run("abc")) == expected
    assert [value for _, value in expected] == [*([0, 1, 2] if is_there else []), 10, 11, 10, 11]
    assert [step for step, _ in expected] == list(range(len(expected)))


def test_a_part_waits_for_the_one_before_it(server: WandbServer, tmp_path: Path) -> None:
    """A part whose beginning the server does not have stays pending, and nothing is overwritten when it comes."""
    first = record(resume="allow")
    record(resume="allow")
    elsewhere = tmp_path / "elsewhere"
    shutil.move(first, elsewhere)

    lone = synced(server, patience_s=0.5)
    shutil.move(elsewhere, first)
    both = synced(server)

    assert (lone.outcome, both.outcome) == ("pending", "delivered")
    assert steps(server.run("abc")) == [(0, 10), (1, 11), (2, 10), (3, 11)]


def test_a_resumed_run_whose_cursor_is_lost_doubles_nothing(
    server: WandbServer, program: Program, tmp_path: Path
) -> None:
    """Online as well: a courier that finds no cursor of a resumed run begins at the same line as the one before it."""
    server.allow("offset-back")
    seed(server)
    for value in (10, 11, 12):
        with program.init(id="abc", resume="must", settings={"x_push_interval": 0.1}) as run:
            run.log({"loss": value})
    forget_cursors(tmp_path)

    synced(server)

    assert steps(server.run("abc")) == [*STORED, (3, 10), (4, 11), (5, 12)]


def test_an_online_run_with_a_generated_id_is_repeated_as_well(
    server: WandbServer, program: Program, tmp_path: Path
) -> None:
    """Where neither id nor policy was named, its beginning is noted all the same."""
    server.allow("offset-back")
    with program.init(settings={"x_push_interval": 0.1}) as first:
        first.log({"loss": 10})
    with program.init(id=first.id, resume="must", settings={"x_push_interval": 0.1}) as run:
        run.log({"loss": 11})
    forget_cursors(tmp_path)

    synced(server)
    synced(server)

    assert steps(server.run(first.id)) == [(0, 10), (1, 11)]
    assert "overwritten" not in program.stderr()


def test_a_run_that_is_new_at_the_server_begins_at_step_0(server: WandbServer) -> None:
    """A run that nobody knows is delivered as it was recorded."""
    record(resume="allow")

    synced(server)

    assert steps(server.run("abc")) == [(0, 10), (1, 11)]


def test_never_refuses_to_touch_what_exists(server: WandbServer) -> None:
    """The run stays as it is, the records are counted as rejected, and another id takes them."""
    seed(server)
    record(resume="never")

    result = synced(server)

    assert steps(server.run("abc")) == STORED
    assert result.outcome == "rejected"
    assert any("resume='never'" in reason for reason in result.ledger.reasons)
    assert synced(server, run_id="other").outcome == "delivered"
    assert steps(server.run("other")) == [(0, 10), (1, 11)]


def test_without_resume_an_existing_run_is_overwritten(server: WandbServer, program: Program) -> None:
    """That is what resume=None means, at sync as well as online (R2), and one notice names the run."""
    server.allow("offset-back", "overlap-differs")
    seed(server)
    record()

    synced(server)

    assert steps(server.run("abc"))[:2] == [(0, 10), (1, 11)]
    assert program.stderr().count("overwritten") == 1


@pytest.mark.parametrize(
    "fault",
    [
        answer(503, retry_after=0.05),
        pytest.param(drop_before(), marks=pytest.mark.slow),
        pytest.param(drop_after(), marks=pytest.mark.slow),
    ],
    ids=["503", "dropped", "lost answer"],
)
def test_what_goes_wrong_on_the_way_does_not_change_the_decision(server: WandbServer, fault: Any) -> None:
    """Question, opening and first push may each be repeated: rows arrive once, behind what is there."""
    server.allow("offset-back")
    seed(server)
    record(resume="allow")
    for where in (
        {"operation": "RunResumeStatus"},
        {"operation": "UpsertBucket"},
        {"endpoint": "file_stream"},
    ):
        server.faults.add([fault], **where)

    synced(server)

    assert steps(server.run("abc")) == [*STORED, (3, 10), (4, 11)]


def test_an_outage_at_init_is_decided_at_sync(server: WandbServer, program: Program) -> None:
    """R26: the run goes offline and says so; sync asks what `init()` could not, and continues the run."""
    seed(server)
    rule = server.faults.add(answer(503), operation="RunResumeStatus")
    with program.init(id="abc", resume="allow", settings={"init_timeout": 0.2}) as run:
        run.log({"loss": 10})
    assert run.resume_decision.rule == "R26"
    rule.remove()

    synced(server)

    assert steps(server.run("abc")) == [*STORED, (3, 10)]


def test_a_cursor_that_was_written_before_the_run_was_opened_counts(server: WandbServer) -> None:
    """Killed between opening and first push: whoever goes on does not take the run for somebody else's."""
    record(resume="never")
    rule = server.faults.add(answer(503), endpoint="file_stream")
    assert synced(server, patience_s=0.5).outcome == "pending"
    rule.remove()

    assert synced(server).outcome == "delivered"
    assert steps(server.run("abc")) == [(0, 10), (1, 11)]
