"""Parts of one run that overlap in time reach the server one after the other, and none of them costs another a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import corelib
from corelib import UsageError
from tests.online.conftest import Program
from tests.online.processes import Training, kill_couriers, train
from tests.servers.wandb_server import WandbServer

QUICK = {"x_push_interval": 0.1, "http_timeout": 2}

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="couriers are found in /proc")


@contextmanager
def backlog(server: WandbServer, directory: Path, *, kill_courier: bool) -> Iterator[Training]:
    """Let a training deliver a part of its rows and die with the rest."""
    with train(server, directory, **QUICK) as training:
        training.log_on(20)
        server.wait_until(lambda world: bool(world.run(training.run_id).rows), 60.0)
        server.stop_listening()
        training.log_on(20)
        training.kill()
        if kill_courier:
            kill_couriers(training.run_id)
        server.resume_listening()
        yield training


@pytest.mark.parametrize("kill_courier", [False, True], ids=["courier lives", "courier dead"])
@pytest.mark.parametrize("delivery", ["process", "thread"])
def test_a_resumed_run_waits_for_what_its_predecessor_still_has(
    server: WandbServer, program: Program, tmp_path: Path, kill_courier: bool, delivery: str
) -> None:
    """The rows that were pending when the run was resumed come first; steps go on behind them, and none is lost."""
    server.allow("offset-back")
    with backlog(server, tmp_path, kill_courier=kill_courier) as training:
        with program.init(
            id=training.run_id, resume="allow", settings={"delivery": delivery, **QUICK}
        ) as run:
            begun = run.step
            for number in range(10):
                run.log({"number": 1000 + number}, step=begun + number)
            receipt = run.finish(timeout=60)

        stored = server.run(run.id)
        numbers = [row["number"] for row in stored.rows]
        assert receipt.pending == 0
        assert numbers == [*range(len(numbers) - 10), *range(1000, 1010)]
        assert len(numbers) - 10 >= training.returned
        assert [row["_step"] for row in stored.rows] == list(range(len(numbers)))
        assert begun == len(numbers) - 10
        assert stored.exit_code == 0


def test_never_counts_what_is_on_its_way(server: WandbServer, program: Program, tmp_path: Path) -> None:
    """A run whose rows the server does not have yet exists all the same."""
    with (
        backlog(server, tmp_path, kill_courier=True) as training,
        pytest.raises(UsageError, match="not delivered all of it yet"),
    ):
        program.init(id=training.run_id, resume="never")


@pytest.mark.parametrize("delivery", ["process", "thread"])
def test_a_part_elsewhere_waits_for_the_one_that_is_arriving(
    server: WandbServer, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    """Run directories in two places: the second goes on behind all that the first still logs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with train(server, tmp_path, delivery=delivery, **QUICK) as training:
        training.log_on(5)
        server.wait_until(lambda world: bool(world.run(training.run_id).rows), 60.0)
        elsewhere = str(tmp_path / "b")
        with pytest.raises(UsageError, match="not delivered all of it yet"):
            program.init(id=training.run_id, dir=elsewhere, resume="never")
        run = program.init(id=training.run_id, dir=elsewhere, resume="allow", settings=QUICK)
        run.log({"number": 1000})
        waiting = run.finish(timeout=0.5)
        training.log_on(5)
        training.stop()

        corelib.setup(settings={"base_url": server.url, "api_key": server.key, **QUICK})
        corelib.sync([run.sync_dir], patience_s=30.0)
        stored = server.run(run.id)
        assert waiting.pending == 1
        assert [row["number"] for row in stored.rows] == [*range(training.returned), 1000]
        assert stored.steps == list(range(training.returned + 1))


def test_what_was_left_elsewhere_comes_first(
    server: WandbServer, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on with the run finds what has begun to arrive, in whatever runs directory of this machine."""
    server.allow("offset-back")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with backlog(server, tmp_path, kill_courier=True) as training:
        with program.init(id=training.run_id, dir=str(tmp_path / "b"), resume="allow", settings=QUICK) as run:
            run.log({"number": 1000})

        stored = server.run(run.id)
        count = len(stored.rows) - 1
        assert count >= training.returned
        assert [row["number"] for row in stored.rows] == [*range(count), 1000]
        assert stored.steps == list(range(count + 1))
        assert stored.exit_code == 0


def test_what_was_left_elsewhere_has_no_place_any_more(
    server: WandbServer, program: Program, tmp_path: Path
) -> None:
    """Another machine's part began behind it: its rows are refused by name and overwrite nothing."""
    server.allow("offset-back")
    with backlog(server, tmp_path, kill_courier=True) as training:
        with program.init(id=training.run_id, dir=str(tmp_path / "b"), resume="allow", settings=QUICK) as run:
            run.log({"number": 1000})
        expected = [row["number"] for row in server.run(run.id).rows]
        end = server.run(run.id).exit_code

        corelib.setup(settings={"base_url": server.url, "api_key": server.key, **QUICK})
        (result,) = corelib.sync([tmp_path / "wandb"], patience_s=30.0)

        assert result.ledger.rejected >= training.returned - len(expected)
        assert result.ledger.pending == 0
        assert all("--id" in reason for reason in result.ledger.reasons)
        assert [row["number"] for row in server.run(run.id).rows] == expected
        assert (expected[-1], server.run(run.id).exit_code) == (1000, end)
