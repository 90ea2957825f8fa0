"""What a server holds of the console and of the machine: every line and sample once, in order, over parts of a run."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

import corelib
from tests.online.conftest import Program
from tests.online.test_deferred import forget_cursors, synced
from tests.online.test_run import is_complete, started
from tests.servers.wandb_server import WandbServer

_SCRIPT_S = 60
WRAP = {"console": "wrap"}


def texts(console: list[str]) -> list[str]:
    """Return console lines without their times."""
    return [line.removeprefix("ERROR ").split(" ", 1)[1] for line in console]


def test_the_console_goes_on_behind_what_is_stored(program: Program) -> None:
    """A resumed run appends to the lines and samples of the first part; its file takes the place of the first one."""
    with program.init(id="abc", settings=WRAP) as run:
        print("first")
        print("oops", file=sys.stderr)
        run.log_system({"cpu": 1})
    with program.init(id="abc", resume="must", settings=WRAP) as run:
        for number in range(200):
            print(number)
        run.log_system({"cpu": 2})
        print("the end", end="")

    stored = program.server.run("abc")
    shown = [text for text in texts(stored.console) if not text.startswith("corelib: ")]
    assert shown == ["first", "oops", *map(str, range(200)), "the end"]
    assert [line.startswith("ERROR ") for line in stored.console[:2]] == [False, True]
    assert [row["system.cpu"] for row in stored.events] == [1, 2]
    assert stored.events[1]["_runtime"] >= stored.events[0]["_runtime"]
    lines = stored.files["output.log"].decode().splitlines()
    assert [line for line in lines if not line.startswith("corelib: ")] == [*map(str, range(200)), "the end"]


def test_syncs_of_parts_with_and_without_cursors_agree(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts that were recorded offline go behind what is stored, each once, however often they are synced."""
    server.allow("offset-back")
    server.seed("abc", project="p", rows=[{"_step": 0}], events=[{"system.cpu": 0}], console=["0 old"])
    monkeypatch.setenv("WANDB_CONSOLE", "wrap")
    for part in ("a", "b"):
        with corelib.init(
            project="p", id="abc", mode="offline", resume="allow", settings={"quiet": True}
        ) as run:
            print(f"{part}1\n{part}2")
            run.log_system({"cpu": 1})
    synced(server)
    stored = server.run("abc")
    assert texts(stored.console) == ["old", "a1", "a2", "b1", "b2"]
    assert [row["system.cpu"] for row in stored.events] == [0, 1, 1]

    forget_cursors(tmp_path)
    synced(server)
    again = server.run("abc")
    assert (again.console, again.events) == (stored.console, stored.events)


@pytest.mark.slow
def test_a_killed_program_leaves_what_it_printed(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines reach the server while the program runs; after SIGKILL they are there once, and so is the file."""
    monkeypatch.setenv("WANDB_CONSOLE", "wrap")
    process = started(program, "print('hello', flush=True); time.sleep(600)")
    program.server.wait_until(lambda world: "hello" in texts(world.run("abc").console), timeout_s=_SCRIPT_S)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=_SCRIPT_S)
    program.server.wait_until(is_complete, timeout_s=_SCRIPT_S)

    stored = program.server.run("abc")
    assert texts(stored.console).count("hello") == 1
    assert stored.files["output.log"].decode().splitlines() == texts(stored.console)
    assert stored.exit_code not in (0, None)
