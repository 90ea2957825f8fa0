"""Parts of one run that are synced in another order than they arrived: none comes to stand where another one is."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import corelib
from corelib import Run
from corelib.api.syncing import SyncResult
from corelib.journal import JournalWriter
from corelib.pure.cursor import Cursor
from corelib.pure.parts import Base, with_base
from corelib.pure.records import Row
from corelib.shell.cursor import CursorFile
from tests.online.conftest import Program
from tests.servers.faults import answer
from tests.servers.wandb_server import WandbServer

QUICK: dict[str, Any] = {"x_push_interval": 0.1}


def logged(run: Run, *values: int) -> Path:
    for value in values:
        run.log({"x": value})
    return Path(run.sync_dir)


def synced(server: WandbServer) -> SyncResult:
    corelib.setup(settings={"base_url": server.url, "api_key": server.key})
    (result,) = corelib.sync(everything=True, patience_s=30.0)
    return result


def values(server: WandbServer) -> list[int]:
    return [row["x"] for row in server.run("abc").rows]


def test_what_has_not_begun_waits_for_what_has(server: WandbServer, program: Program) -> None:
    """A part that was recorded offline does not get between the rows of one that is arriving just now."""
    with program.init(id="abc", settings=QUICK) as first:
        logged(first, 0, 1)
    with corelib.init(project="p", id="abc", resume="allow", mode="offline") as second:
        logged(second, 2, 3)
    with program.init(id="abc", resume="allow", settings=QUICK) as third:
        logged(third, 4)
        server.wait_until(lambda world: len(world.run("abc").rows) == 3)

        waiting = synced(server)

        assert waiting.ledger.pending > 0
        assert Path(third.sync_dir).name in waiting.reason
        logged(third, 5)
    assert values(server) == [0, 1, 4, 5]

    assert synced(server).outcome == "delivered"
    assert values(server) == [0, 1, 4, 5, 2, 3]
    assert [row["_step"] for row in server.run("abc").rows] == list(range(6))


def test_what_comes_after_a_later_part_has_begun_has_no_place(server: WandbServer, program: Program) -> None:
    """Rows of a child that outlives its run are set aside and named, once another part stands behind that run."""
    with program.init(id="abc", settings=QUICK) as first:
        directory = logged(first, 0, 1)
    child = JournalWriter(
        directory / "journal", run_id="abc", writer="child", start_time=1.0, now=1.0, host="h", primary=False
    )
    child.append(Row, time=time.time(), step=None, data={"x": 99})
    child.close()
    with program.init(id="abc", resume="must", settings=QUICK) as second:
        logged(second, 2, 3)

    late = synced(server)

    assert (late.ledger.rejected, late.outcome) == (1, "rejected")
    assert all("--id" in reason for reason in late.ledger.reasons)
    assert values(server) == [0, 1, 2, 3]


def test_a_part_that_is_repeated_does_not_have_the_last_word(server: WandbServer, program: Program) -> None:
    """A part whose cursor is lost is delivered once more, and so is all behind it: the last word stays theirs."""
    server.allow("offset-back")
    with program.init(id="abc", config={"lr": 1}, settings=QUICK) as first:
        directory = logged(first, 0, 1)
        first.finish(1)
    with program.init(id="abc", resume="must", config={"lr": 2}, settings=QUICK) as second:
        logged(second, 2, 3)
    (cursor,) = directory.glob("cursor-*.json")
    cursor.unlink()

    synced(server)

    run = server.run("abc")
    assert values(server) == [0, 1, 2, 3]
    assert (run.summary["x"], run.exit_code, run.config["lr"]["value"]) == (3, 0, 2)


def test_an_old_copy_changes_nothing(server: WandbServer, program: Program, tmp_path: Path) -> None:
    """It holds the first part alone, and no cursor: the last word stays with the part that came after it."""
    with program.init(id="abc", config={"lr": 1}, settings=QUICK) as first:
        directory = logged(first, 0, 1)
        first.save(__file__)
        first.finish(1)
    copy = tmp_path / "copy" / directory.name
    shutil.copytree(directory, copy)
    (cursor,) = copy.glob("cursor-*.json")
    cursor.unlink()
    with program.init(id="abc", resume="must", config={"lr": 2}, settings=QUICK) as second:
        logged(second, 2, 3)
    before = server.run("abc")
    asked = len(server.requests())

    corelib.setup(settings={"base_url": server.url, "api_key": server.key})
    (result,) = corelib.sync([copy], patience_s=30.0)

    run = server.run("abc")
    assert result.outcome == "delivered"
    assert (run.rows, run.summary, run.config, run.exit_code) == (
        before.rows,
        before.summary,
        before.config,
        before.exit_code,
    )
    assert {request.operation for request in server.requests()[asked:]} == {"RunResumeStatus"}


def test_a_copy_of_a_running_run_does_not_have_the_last_word(
    server: WandbServer, program: Program, tmp_path: Path
) -> None:
    """It holds the rows up to then and no end: the run that has gone on since keeps its own."""
    server.allow("offset-back", "push-after-complete")
    with program.init(id="abc", settings=QUICK) as run:
        directory = logged(run, 0)
        server.wait_until(lambda world: len(world.run("abc").rows) == 1)
        copy = tmp_path / "copy" / directory.name
        shutil.copytree(directory, copy)
        row = {"_timestamp": time.time() + 60}
        run.log({"x": 1, **row})
    before = server.run("abc")
    assert before.complete

    corelib.setup(settings={"base_url": server.url, "api_key": server.key})
    corelib.sync([copy], patience_s=30.0)

    after = server.run("abc")
    assert (after.rows, after.summary, after.exit_code, after.complete) == (
        before.rows,
        before.summary,
        before.exit_code,
        True,
    )


def test_a_part_that_is_refused_holds_nobody_up(server: WandbServer) -> None:
    """Nothing of it is there, and nothing ever will be."""
    with corelib.init(project="p", id="abc", mode="offline") as first:
        directory = logged(first, 0)
    with corelib.init(project="p", id="abc", resume="allow", mode="offline") as second:
        logged(second, 1)
    server.seed(
        "abc", config=with_base({}, "elsewhere", Base(began=time.time() + 60)), rows=[{"x": 7}], project="p"
    )
    # As a courier leaves it that could not open the run.
    CursorFile(str(directory), server.url).write(Cursor(run_id="abc", decided=True))

    result = synced(server)

    assert (result.ledger.pending, result.ledger.rejected) == (0, 3)
    assert "--id" in next(iter(result.ledger.reasons))
    assert directory.name in result.directories[0]
    assert values(server) == [7, 1]


def test_a_part_elsewhere_that_has_begun_comes_first(server: WandbServer, tmp_path: Path) -> None:
    """A sync that an outage cut off is ended before a part from another runs directory gets its place."""
    parts = []
    for place in ("a", "b"):
        with corelib.init(
            project="p", id="abc", resume="allow", mode="offline", dir=str(tmp_path / place)
        ) as run:
            parts.append(logged(run, *((0, 1) if place == "a" else (2, 3))))
    corelib.setup(settings={"base_url": server.url, "api_key": server.key})
    rule = server.faults.add(answer(503), endpoint="file_stream")
    (cut_off,) = corelib.sync([parts[0]], patience_s=0.3)
    rule.remove()

    (waiting,) = corelib.sync([parts[1]], patience_s=30.0)
    assert (cut_off.outcome, waiting.outcome) == ("pending", "pending")
    assert f"`corelib sync {parts[0]}`" in waiting.reason
    for part in parts:
        assert corelib.sync([part], patience_s=30.0)[0].outcome == "delivered"

    assert values(server) == [0, 1, 2, 3]
    assert server.run("abc").steps == [0, 1, 2, 3]
