"""The end of a run that transports carry: recorded once, over however it is interrupted, and true in every number."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import corelib
from corelib import Run, UsageError
from corelib.pure.outcomes import Ledger, RowCount
from corelib.shell import session

ROOT = Path(__file__).parent.parent.parent
LONG_S = 120.0
MARKER = Path("wandb") / "wandb-resume.json"


class Someone:
    """A courier that has delivered as many rows as it is told to, and ends when it may."""

    name = place = "somewhere"
    settled_bytes = 1000

    def __init__(self) -> None:
        self.rows = 0
        self.calls: list[str] = []
        self.may_end = Event()
        self.asked = Event()
        self.while_waiting: Any = None
        self.while_leaving: Any = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(accepted=self.rows, delivered=self.rows, rows=RowCount(delivered=self.rows))

    @property
    def is_drained(self) -> bool:
        return self.may_end.is_set()

    def tell_end(self, exit_code: int | None) -> None:
        self.calls.append(f"ends with {exit_code}")

    def ask_to_close(self, timeout: float) -> None:
        self.calls.append(f"close in {timeout:g}")
        self.asked.set()

    def wait(self, seconds: float) -> bool:
        if self.while_waiting is not None:
            self.while_waiting()
        return self.may_end.wait(min(seconds, 0.01))

    def leave(self) -> None:
        self.calls.append("left")
        if self.while_leaving is not None:
            self.while_leaving()

    def abandon(self) -> None:
        self.calls.append("abandoned")


@pytest.fixture
def someone() -> Iterator[Someone]:
    """Give a courier, and let it end with the test."""
    someone = Someone()
    yield someone
    someone.may_end.set()


@pytest.fixture
def run(someone: Someone) -> Run:
    """Give a run with ten rows that nobody has delivered."""
    run = corelib.init(mode="offline", project="p", resume="auto", settings={"silent": True})
    run.give_couriers([someone])  # type: ignore[list-item]
    for number in range(10):
        run.log({"n": number})
    return run


def numbers(run: Run) -> tuple[int, int]:
    return run.receipt.delivered, run.receipt.pending


# What finish() is given.


@pytest.mark.parametrize("timeout", [float("nan"), float("inf"), "5", b"5", True, object(), 10**400])
def test_a_bad_timeout_changes_nothing(run: Run, someone: Someone, timeout: Any) -> None:
    """It is refused before the run ends, which then goes on and can be finished."""
    with pytest.raises(UsageError, match="timeout"):
        run.finish(timeout=timeout)
    assert run.state == "running"
    run.log({"n": 10})
    someone.may_end.set()

    assert run.finish(timeout=1).accepted == 11


def test_a_second_finish_waits_for_what_the_first_left(run: Run, someone: Someone) -> None:
    """As long as it is told to, and its receipt is that of its moment; then there is nothing to wait for."""
    first = run.finish(timeout=0)
    someone.rows = 4
    assert (first.delivered, first.pending) == (0, 10)
    assert (run.finish(timeout=0).pending, run.receipt.pending) == (6, 6)

    def end() -> None:
        someone.rows = 10
        if len([call for call in someone.calls if call.startswith("close")]) == 2:
            someone.may_end.set()

    someone.while_waiting = end
    assert (run.finish(timeout=LONG_S).delivered, run.receipt.pending) == (10, 0)
    assert someone.calls.count("left") == 2
    assert next(call for call in someone.calls if call.startswith("close")) == "close in 0"


def test_the_end_of_a_block_does_not_wait_once_more(run: Run, someone: Someone) -> None:
    """Who finishes a run in its block has said how long to wait."""
    with run:
        run.finish(timeout=0)

    assert [call for call in someone.calls if call.startswith("close")] == ["close in 0"]


@pytest.mark.parametrize(("timeout", "asked"), [(-1, "0"), (0, "0"), (2.5, "2.5"), (None, "60")])
def test_the_time_is_what_was_said(run: Run, someone: Someone, timeout: Any, asked: str) -> None:
    """Less than nothing is nothing; nothing said is what the settings say."""
    someone.may_end.set()
    run.finish(3, timeout=timeout)

    assert someone.calls == ["ends with 3", f"close in {asked}", "left"]


def test_the_module_s_finish_takes_a_timeout(run: Run, someone: Someone) -> None:
    """As the run's own does."""
    receipt = corelib.finish(timeout=0)

    assert receipt is not None
    assert (receipt.delivered, receipt.pending) == (0, 10)
    assert someone.calls[1] == "close in 0"


# Numbers.


def test_a_receipt_is_of_its_moment(run: Run, someone: Someone) -> None:
    """While the run goes on it says what has been delivered by now, and nothing that has not."""
    assert numbers(run) == (0, 10)
    someone.rows = 4
    assert numbers(run) == (4, 6)
    someone.may_end.set()

    assert run.finish().pending == 6
    someone.rows = 10
    assert numbers(run) == (4, 6), "the receipt of finish() is final"


def test_somebody_else_waits_for_who_was_first(run: Run, someone: Someone) -> None:
    """A finish() in another thread, while one is under way, returns the same receipt, and not an earlier one."""
    receipts: list[Any] = []
    threads = [Thread(target=lambda: receipts.append(run.finish())) for _ in range(3)]
    threads[0].start()
    assert someone.asked.wait(LONG_S)
    assert numbers(run) == (0, 10)
    for thread in threads[1:]:
        thread.start()
    someone.rows = 10
    someone.may_end.set()
    for thread in threads:
        thread.join()

    assert [receipt.delivered for receipt in receipts] == [10, 10, 10]
    assert someone.calls.count("left") == 1


def test_somebody_else_waits_no_longer_than_was_said(run: Run, someone: Someone) -> None:
    """And gets the numbers as they stand."""
    thread = Thread(target=run.finish)
    thread.start()
    assert someone.asked.wait(LONG_S)
    someone.rows = 3
    receipt = run.finish(timeout=0)
    assert (receipt.delivered, receipt.pending) == (3, 7)
    someone.may_end.set()
    thread.join()


def test_a_signal_handler_does_not_wait_for_itself(run: Run, someone: Someone) -> None:
    """A finish() out of a handler that interrupts another one returns the numbers as they stand, at once."""
    receipts: list[Any] = []

    def handle(*_: object) -> None:
        someone.while_waiting = None
        receipts.append(run.finish())
        someone.may_end.set()

    before = signal.signal(signal.SIGTERM, handle)
    someone.while_waiting = lambda: os.kill(os.getpid(), signal.SIGTERM)
    try:
        run.finish()
    finally:
        signal.signal(signal.SIGTERM, before)

    assert [(receipt.delivered, receipt.pending) for receipt in receipts] == [(0, 10)]


# Interrupts.


def raise_interrupt() -> None:
    raise KeyboardInterrupt


def test_a_ctrl_c_ends_the_waiting(run: Run, someone: Someone) -> None:
    """The receipt says what is pending, and the run is over."""
    someone.while_waiting = raise_interrupt
    receipt = run.finish()

    assert (receipt.delivered, receipt.pending) == (0, 10)
    assert corelib.run is None


def test_a_second_ctrl_c_leaves_no_half_ended_run(run: Run, someone: Someone) -> None:
    """It goes on its way, and the run is over: its receipt is true, and the next init() begins another one."""
    someone.while_waiting = someone.while_leaving = raise_interrupt
    with pytest.raises(KeyboardInterrupt):
        run.finish()

    assert numbers(run) == (0, 10)
    assert corelib.run is None
    assert corelib.open_run(run.sync_dir).state == "finished"
    assert corelib.init(mode="offline", settings={"silent": True}) is not run


def test_an_interrupt_while_the_end_is_recorded(
    run: Run, someone: Someone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise; nobody is waited for then."""
    with monkeypatch.context() as patched:
        patched.setattr(Run, "_reduce", lambda self: raise_interrupt())
        with pytest.raises(KeyboardInterrupt):
            run.finish()

    assert someone.calls == ["ends with 0", "close in 0", "left"]
    assert corelib.run is None
    assert run.finish(timeout=0).pending == 10


def test_a_failure_to_wait_is_no_failure_of_the_program(
    run: Run, someone: Someone, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever goes wrong there: finish() returns, and the run is over."""

    def fail() -> None:
        raise OSError(24, "Too many open files")

    someone.while_waiting = fail
    assert run.finish().pending == 10
    assert corelib.run is None


# What people see.


@pytest.mark.parametrize(
    ("settings", "lines"), [({}, True), ({"quiet": True}, False), ({"silent": True}, False)]
)
def test_who_waits_sees_how_far_it_is(
    someone: Someone,
    settings: dict[str, Any],
    lines: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows left, and where to, in plain lines where there is no terminal; nothing when nothing is to be shown."""
    monkeypatch.setattr("corelib.shell.progress._PLAIN_PATIENCE_S", 0.0)
    run = corelib.init(mode="offline", settings=settings)
    run.give_couriers([someone])  # type: ignore[list-item]
    run.log({"n": 1})
    run.finish(timeout=0.01)

    shown = capsys.readouterr().err
    assert ("corelib: 1 row left, no answer just now, to somewhere\n" in shown) == lines
    assert ("1 pending" in shown) == lines


# The resume file, and the way out.


def test_the_resume_file_goes_before_anybody_is_waited_for(run: Run, someone: Someone) -> None:
    """A run whose end is on disk has ended, also for who is killed while it is delivered."""
    seen: list[bool] = []

    def look() -> None:
        seen.append(MARKER.exists())
        someone.may_end.set()

    someone.while_waiting = look
    assert MARKER.exists()
    run.finish()

    assert seen == [False]


def test_runs_that_end_with_the_process_share_the_time(run: Run, someone: Someone) -> None:
    """All ends are on disk, and all couriers asked, before the first one is waited for; all are over afterwards."""
    another = Someone()
    second = corelib.init(mode="offline", reinit="create_new", settings={"silent": True})
    second.give_couriers([another])  # type: ignore[list-item]
    seen: list[Any] = []

    def look() -> None:
        seen.append((run.state, second.state, someone.calls[-1], another.calls[-1]))
        someone.may_end.set()
        another.may_end.set()

    someone.while_waiting = another.while_waiting = look
    session.default._at_exit()

    assert seen[0] == ("finished", "finished", "close in 60", "close in 60")
    assert session.default.active == []
    assert run.receipt.pending == 10


def test_a_run_that_a_thread_ends_is_waited_for_at_exit(run: Run, someone: Someone) -> None:
    """The process does not go while the end is under way elsewhere."""
    thread = Thread(target=run.finish)
    thread.start()
    assert someone.asked.wait(LONG_S)
    someone.rows = 10
    someone.while_waiting = someone.may_end.set
    session.default._at_exit()

    assert numbers(run) == (10, 0)
    thread.join()


# Who is no courier's process.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("is_carried", [True, False])
def test_a_forked_child_has_delivered_nothing(run: Run, someone: Someone, is_carried: bool) -> None:
    """Its rows reach transports through the parent's courier: pending is what it may say, unless there is none."""
    if not is_carried:
        run.give_couriers([])
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run.log({"who": "child"})
            expected = (0, 1) if is_carried else (1, 0)
            receipt = run.finish()
            status = 0 if (receipt.delivered, receipt.pending) == expected else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    someone.may_end.set()

    assert os.waitstatus_to_exitcode(status) == 0


def test_a_run_that_turned_out_offline_says_so(tmp_path: Path) -> None:
    """Not what was asked for, but what it is."""
    run = corelib.init(settings={"silent": True})

    assert repr(run).endswith("offline>")


# Where the system has run out of something.


SHORTAGE = """
    import os, resource, sys
    import corelib
    from corelib.api.run import Run

    class Someone:
        name = place = "somewhere"
        settled_bytes = 0
        def __getattr__(self, name):
            return lambda *_: True
        @property
        def ledger(self):
            from corelib.pure.outcomes import Ledger
            return Ledger()

    run = corelib.init(mode="offline", settings={"silent": True})
    run.give_couriers([Someone()])
    run.log({"a": 1})
    os.set_inheritable(1, True)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
"""


def short_of_files(body: str) -> subprocess.CompletedProcess[str]:
    script = textwrap.dedent(SHORTAGE) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )


def test_nothing_raises_where_no_file_can_be_opened() -> None:
    """alert(), save() and finish() need no module that is not there already, or do without what they cannot have."""
    done = short_of_files(
        """
        run.log({"a": float("nan"), "b": {"c": [1, "x"]}})
        run.alert("title", "text")
        run.save("nothing")
        run.mark_preempting()
        print(run.finish().accepted)
        """
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n", "")


@pytest.mark.parametrize(
    ("body", "status"), [("raise KeyboardInterrupt", -signal.SIGINT), ("sys.exit(3)", 3), ("", 0)]
)
def test_the_status_of_the_process_stays_its_own(body: str, status: int) -> None:
    """At exit as well: no traceback of ours, and no other status."""
    done = short_of_files(body)

    assert done.returncode == status
    assert "corelib" not in done.stderr


def test_an_init_without_files_has_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the system has run out of, wherever: it says what, and what to do."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("corelib.api.init.gather", refuse)
    with pytest.raises(corelib.Error, match=r"could not begin.*Too many open files.*raise the limit"):
        corelib.init(mode="offline")
