"""Full disks, vanished directories and signals: training goes on, what was accepted is safe, the receipt adds up."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib import JournalError, Run
from corelib.api import config as config_module

FULL_DISK = """
import resource, sys
import corelib
run = corelib.init(mode="offline")
for number in range(50):
    run.log({"n": number})
size = sum(path.stat().st_size for path in __import__("pathlib").Path(run.sync_dir).rglob("*.jsonl"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, resource.RLIM_INFINITY))
for number in range(50, 100):
    run.log({"n": number})
    run.log({"n": number, "text": "x"}, commit=False)
run.config.update({"late": 1})
run.summary["late"] = 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
run.log({"n": 1000})
receipt = run.finish()
print(receipt.accepted, receipt.delivered, receipt.pending, receipt.rejected, sorted(receipt.reasons.values()))
"""


def test_a_limit_on_file_size() -> None:
    """A write that fails whole or half-way rejects that call alone; later ones are accepted when there is room."""
    done = subprocess.run([sys.executable, "-c", FULL_DISK], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["151", "51", "0", "100", "[100]"]
    assert done.stderr.count("WARNING") == 1
    view = corelib.open_run("latest")
    assert [row["n"] for row in view.history()] == [*range(50), 1000]
    assert view.damage == ()
    assert view.state == "finished"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of 256 KiB of its own."""
    path = tmp_path / "small"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no file system of our own can be mounted here: {made.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_disk_that_fills(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows that fitted are intact, the others are counted, one warning is shown, and nothing is raised."""
    run = corelib.init(mode="offline", dir=small_disk)
    for number in range(10_000):
        run.log({"n": number, "loss": 1 / (number + 1)})
    receipt = run.finish()

    assert receipt.accepted == 10_000 == receipt.delivered + receipt.rejected
    assert receipt.rejected > 0
    assert capsys.readouterr().err.count("WARNING") == 1
    read = [row["n"] for row in corelib.open_run(run.sync_dir).history()]
    assert len(read) == receipt.delivered
    assert read == sorted(set(read))
    assert run.summary["n"] == read[-1]


def test_a_file_system_that_turns_read_only(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows before are intact, the rows after are rejected and counted, one warning is shown."""
    run = corelib.init(mode="offline", dir=small_disk)
    writable = os.open(small_disk / "keeps-busy", os.O_CREAT | os.O_RDONLY)
    run.log({"n": 0})
    journal = run._journal
    assert journal is not None
    os.close(journal._fd)
    journal._fd = os.open(
        journal.directory / "000001.jsonl", os.O_RDONLY
    )  # what a forced remount makes of it
    for number in range(1, 20):
        run.log({"n": number})
    receipt = run.finish()
    os.close(writable)

    assert (receipt.accepted, receipt.delivered, receipt.rejected) == (20, 1, 19)
    assert capsys.readouterr().err.count("WARNING") == 1
    assert [row["n"] for row in corelib.open_run(run.sync_dir).history()] == [0]


def test_a_run_directory_that_vanishes(capsys: pytest.CaptureFixture[str]) -> None:
    """Deleting the directory under a run's feet breaks nothing; finish() returns."""
    run = corelib.init(mode="offline")
    run.log({"n": 0})
    shutil.rmtree(run.sync_dir)
    run.log({"n": 1})
    run.save("*.nothing")

    assert run.finish().accepted == 2
    assert "Traceback" not in capsys.readouterr().err


def test_strict_mode_raises() -> None:
    """errors="raise" turns a failure of tracking into an error, for tests."""
    run = corelib.init(mode="offline", settings={"errors": "raise", "silent": True})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
        with pytest.raises(JournalError, match="cannot be written"):
            run.log({"n": 0})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_signal_handler_may_log() -> None:
    """A handler that logs while a log() is under way neither deadlocks nor damages a row."""
    script = (
        "import corelib, signal\n"
        "run = corelib.init(mode='offline', settings={'silent': True})\n"
        "count = 0\n"
        "def handler(*_):\n"
        "    global count\n"
        "    count += 1\n"
        "    run.log({'signal': count})\n"
        "    run.config.update({f'key{count}': count})\n"
        "    run.summary['signals'] = count\n"
        "signal.signal(signal.SIGALRM, handler)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.004, 0.004)\n"
        "number = 0\n"
        "while count < 150:\n"
        "    run.log({'n': number}); number += 1\n"
        "    if number % 50 == 0:\n"
        "        run.config.update({'number': number}, allow_val_change=True); run.summary['number'] = number\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "run.finish()\n"
        "print(number, count)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120
    )
    number, count = map(int, done.stdout.split())

    view = corelib.open_run("latest")
    read = list(view.history())
    assert [row["n"] for row in read if "n" in row] == list(range(number))
    assert sorted(row["signal"] for row in read if "signal" in row) == list(range(1, count + 1))
    assert view.damage == ()


def test_a_live_run_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    """A reader sees every row so far, while the run goes on."""
    run: Run = corelib.init(mode="offline")
    view = corelib.open_run(run.id)
    for number in range(5):
        run.log({"n": number})
        assert [row["n"] for row in view.history()] == list(range(number + 1))
        assert view.refresh().state == "running"
        assert view.summary["n"] == number
    run.finish()

    assert view.refresh().state == "finished"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_debug_log_that_cannot_be_written_at_the_end() -> None:
    """What is left in the debug log's buffer finds no room when it is closed: finish() returns its receipt."""
    run = corelib.init(mode="offline", settings={"silent": True})
    logger = run._report.logger
    assert logger is not None
    (handler,) = logger.handlers
    assert isinstance(handler, logging.FileHandler)
    former = handler.setStream(open("/dev/full", "w", encoding="utf-8"))  # noqa: SIM115  the handler closes it
    assert former is not None
    former.close()
    run.log({"n": 1})

    assert run.finish().delivered == 1
    assert corelib.open_run(run.id).state == "finished"


def test_a_config_write_that_loses_the_race_against_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that another thread's finish() overtakes is an error and leaves no trace, no complaint of the disk."""
    run: Run = corelib.init(mode="offline", settings={"errors": "raise", "silent": True})
    decide = vars(config_module)["change"]

    def overtaken(*arguments: Any, **options: Any) -> Any:
        run.finish()
        return decide(*arguments, **options)

    monkeypatch.setattr(config_module, "change", overtaken)
    with pytest.raises(corelib.UsageError, match="finished"):
        run.config["late"] = 1

    assert "late" not in run.config
    assert "late" not in corelib.open_run(run.id).config
