"""Parts of one run that overlap in time reach the server one after the other, and none of them costs another a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
            for number in range(10):
                run.log({"number": 1000 + number})
            receipt = run.finish(timeout=60)

        stored = server.run(run.id)
        numbers = [row["number"] for row in stored.rows]
        assert receipt.pending == 0
        assert numbers == [*range(len(numbers) - 10), *range(1000, 1010)]
        assert len(numbers) - 10 >= training.returned
        assert [row["_step"] for row in stored.rows] == list(range(len(numbers)))
        assert stored.exit_code == 0


def test_never_counts_what_is_on_its_way(server: WandbServer, program: Program, tmp_path: Path) -> None:
    """A run whose rows the server does not have yet exists all the same."""
    with (
        backlog(server, tmp_path, kill_courier=True) as training,
        pytest.raises(UsageError, match="not delivered all of it yet"),
    ):
        program.init(id=training.run_id, resume="never")
