"""The kill test: whatever ends the process, every row whose `log()` returned is read back, and the run reads as
crashed.

Each child acknowledges every `log()` that returned through a pipe, by one write of its own. The parent kills it at a
random point, then compares what was acknowledged with what is on disk. Nothing here depends on how fast the machine
is: a child that is killed before its first row counts like any other.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corelib.api.reading import list_runs

CHILD = """
import os, sys, threading, time
import corelib
from corelib.journal import JournalWriter

way, seed, acknowledge = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
JournalWriter.__init__.__kwdefaults__["segment_bytes"] = 1 << 14 + seed % 6  # kills hit rotation and sealing as well
run = corelib.init(mode="offline", project="kill", settings={"silent": True})
os.write(acknowledge, b"begin\\n")
if way == "exit":
    def leave():
        time.sleep((seed % 50) / 1000)
        os._exit(seed % 3)
    threading.Thread(target=leave, daemon=True).start()
number = 0
while True:
    kind = number % 8
    if kind < 5:
        run.log({"n": number, "loss": 1 / (number + 1)})
    elif kind == 5:
        run.log({"n": number, "text": "x" * (number % 300)})
    elif kind == 6:
        run.log({"n": number}, commit=False)
    else:
        run.log({"n": number}, step=run.step + 1)
    os.write(acknowledge, b"%d\\n" % number)
    number += 1
"""

SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}


def _killed_run(way: str, seed: int, folder: Path) -> int:
    """Let one child log until it dies the given way; return how many of its `log()` calls returned."""
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, way, str(seed), str(write)], cwd=folder, pass_fds=[write]
    )
    os.close(write)
    with os.fdopen(read, "rb") as acknowledged:
        assert acknowledged.readline() == b"begin\n"
        if way in SIGNALS:
            time.sleep(random.Random(seed).random() * 0.05)
            child.send_signal(SIGNALS[way])
        lines = acknowledged.read().splitlines()
    child.wait()
    return len(lines)


def _check(way: str, seeds: range, tmp_path: Path) -> None:
    """Kill one child per seed and read each run back."""
    for seed in seeds:
        folder = tmp_path / f"{way}-{seed}"
        folder.mkdir()
        returned = _killed_run(way, seed, folder)

        (view,) = list_runs(folder / "wandb")
        logged = [record.data["n"] for record in view.records() if hasattr(record, "data")]
        # The last call may be on disk without having been acknowledged: it was killed in between.
        assert logged in (list(range(returned)), list(range(returned + 1))), f"seed {seed}"
        assert {damage.kind for damage in view.damage} <= {"torn"}, f"seed {seed}"
        assert view.state == "crashed", f"seed {seed}"
        assert view.exit_code is None, f"seed {seed}"


@pytest.mark.case("exit-sigkill-after-flush")
@pytest.mark.parametrize("way", ["kill", "term", "exit"])
def test_no_row_is_lost_to_a_kill(way: str, tmp_path: Path) -> None:
    """Every row whose log() returned survives SIGKILL, SIGTERM and os._exit at random points."""
    _check(way, range(8), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["kill", "term", "exit"])
def test_no_row_is_lost_to_a_hundred_kills(way: str, tmp_path: Path) -> None:
    """The same a hundred times for each way: the figure in the README."""
    _check(way, range(100, 200), tmp_path)
