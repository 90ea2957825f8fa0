"""What a server holds of the console and of the machine: every line and sample once, in order, over parts of a run."""

from __future__ import annotations

import signal
import sys

import pytest

from tests.online.conftest import Program
from tests.online.test_run import is_complete, started

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
