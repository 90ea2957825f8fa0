"""Interrupting the program: whatever the main thread waits in, and never where the program takes no Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corelib.shell.interrupt import can_be_interrupted, interrupt
from tests.couriers import LONG_S

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import signal, sys, threading, time
from corelib.shell.interrupt import interrupt

waits = {
    "sleep": lambda: time.sleep(1000),
    "lock": lambda: threading.Event().wait(),
    "join": lambda: endless.join(),
}
endless = threading.Thread(target=time.sleep, args=(1000,), daemon=True)
endless.start()
started = threading.Event()
def send():
    started.wait()
    while True:  # the main thread may not have come to wait yet, and a signal before that is as good
        interrupt()
        time.sleep(0.05)
threading.Thread(target=send, daemon=True).start()
try:
    started.set()
    waits[sys.argv[1]]()
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted")
"""


@pytest.mark.parametrize("how", ["sleep", "lock", "join"])
def test_what_waits_is_woken(how: str) -> None:
    """A main thread that sleeps, or waits for another one, gets the interrupt as from a keyboard."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_a_program_that_takes_no_ctrl_c_is_left_alone(handler: signal.Handlers) -> None:
    """Ignored it would do nothing, and the system's default would kill: neither is done."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert not can_be_interrupted()
        interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
    assert can_be_interrupted()
