"""The courier in a process of its own: nothing of it is missed when it dies, and nothing waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Any

import pytest

from corelib.errors import JournalError, UsageError
from corelib.pure.outcomes import Ledger, RemoteAddress
from corelib.pure.records import Exit, FileSaved
from corelib.shell import courier_link, courier_process
from corelib.shell.courier import Courier, close_all
from corelib.shell.courier_process import CourierProcess
from corelib.shell.cursor import is_delivering
from corelib.shell.spawn import spawn_python
from corelib.testing.specimens import TIME
from tests.couriers import LONG_S, WRITER, RunOnDisk, calls_of, eventually, install_plugin, records_in

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
KEY = "k" * 40
END = f"{WRITER}.end"  # the writer of an end that is not in the journal


@pytest.fixture
def run(tmp_path: Path) -> RunOnDisk:
    return RunOnDisk(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> RunOnDisk:
    """A run directory in which another process is to write."""
    return RunOnDisk(tmp_path, begins=False)


@pytest.fixture
def started() -> Iterator[Any]:
    """Start couriers, and end those that a test has left."""
    couriers: list[CourierProcess] = []

    def start(run: RunOnDisk, url: str | None = None, **options: Any) -> tuple[CourierProcess, list[str]]:
        told: list[str] = []
        spec = run.spec(url, linger_s=LONG_S, **options.pop("spec", {}))
        courier = CourierProcess(spec, report=told.append, **options)
        couriers.append(courier)
        courier.start()
        return courier, told

    yield start
    for courier in couriers:
        if courier.is_carrying and courier.pid is not None:
            courier._is_final = True
            try:
                os.kill(courier.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def working(courier: CourierProcess) -> int:
    """Return the process id of a courier that has begun to work."""
    pid: int = eventually(lambda: courier.pid)
    return pid


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# Carrying.


def test_everything_arrives(run: RunOnDisk, started: Any) -> None:
    """What was journalled before the start, meanwhile and right before the close arrives, in order, in its format."""
    run.log(100)
    courier, told = started(run)
    run.log(100)
    working(courier)
    run.log(100)
    run.end()
    ledger = courier.close(LONG_S)

    assert ledger == Ledger(accepted=302, delivered=302)
    assert courier.ledger == ledger
    assert courier.is_drained
    assert courier.settled_bytes > 302
    assert records_in(run.mirror) == records_in(run.journal)
    assert told == []


def test_nothing_of_it_is_left(run: RunOnDisk, started: Any) -> None:
    """After the close there is no process, no lock, no open file and no thread."""
    before = set(os.listdir("/proc/self/fd")) if sys.platform.startswith("linux") else set()
    courier, _ = started(run)
    pid = working(courier)
    run.end()
    courier.close(LONG_S)
    eventually(lambda: not is_there(pid))

    assert not is_delivering(str(run.directory), "t")
    assert not courier.is_carrying
    if before:
        eventually(lambda: len(os.listdir("/proc/self/fd")) <= len(before))


def test_closing_again_is_harmless(run: RunOnDisk, started: Any) -> None:
    """After the end a further close returns the same ledger; what was never started has none."""
    courier, _ = started(run)
    run.end()
    ledger = courier.close(LONG_S)
    assert courier.close(0.0) == ledger
    assert courier.wait(0.0)
    courier.poke()
    courier.leave()
    never = CourierProcess(run.spec(), report=print)

    assert never.close(0.0) == Ledger()


@pytest.mark.parametrize("timeout", [float("inf"), float("nan")])
def test_closing_needs_an_end(run: RunOnDisk, timeout: float) -> None:
    """Nobody can wait for ever by accident."""
    with pytest.raises(UsageError, match="finite"):
        CourierProcess(run.spec(), report=print).close(timeout)


def test_a_poke_is_heard(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poke has the journal looked at although the next look would be far away."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug")
    courier, _ = started(run, url)
    eventually(lambda: calls_of(tmp_path / "plug", "deliver"))
    run.log(1)
    courier.poke()

    eventually(lambda: [2] in [call["seqs"] for call in calls_of(tmp_path / "plug", "deliver")])


def test_couriers_of_both_kinds_close_together(run: RunOnDisk, started: Any, tmp_path: Path) -> None:
    """Whoever ends a run need not know which kind carries it; both are looked at while they are waited for."""
    from corelib.shell.delivery_spec import delivery_of, transport_of

    courier, _ = started(run)
    spec = run.spec(f"file://{tmp_path}/other", cursor_name="other")
    thread, _ = delivery_of(Courier, spec, transport=transport_of(spec), report=print, fate=lambda: None)
    thread.start()
    run.log(50)
    run.end()
    looks: list[int] = []

    assert close_all([courier, thread], LONG_S, look=lambda: looks.append(1)) == (
        Ledger(accepted=52, delivered=52),
        Ledger(accepted=52, delivered=52),
    )
    assert looks


# What nobody may see or hold.


@linux
def test_no_secret_where_people_look(run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is in no argument, no environment and no file of the courier, under whichever name it came."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("SOMETHING_ELSE", f"--key={KEY}")
    courier, _ = started(run, spec={"address": {"key": KEY}})
    pid = working(courier)
    for name in ("cmdline", "environ"):
        assert KEY.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    run.end()
    courier.close(LONG_S)

    assert KEY not in repr(courier)
    for path in run.directory.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes()


@linux
def test_it_is_on_its_own(run: RunOnDisk, started: Any, tmp_path: Path) -> None:
    """It has a session of its own, is no child of ours, and holds no file that somebody left inheritable."""
    held = os.open(tmp_path / "held", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(held, True)
    courier, _ = started(run)
    pid = working(courier)
    os.close(held)

    assert os.getsid(pid) not in {os.getsid(0), 0}
    assert int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) != os.getpid()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("held" in link for link in links)
    assert not any("socket" in link for link in links)
    assert os.readlink(f"/proc/{pid}/cwd") == "/"


def test_a_terminal_interrupt_does_not_reach_it(run: RunOnDisk, started: Any) -> None:
    """A Ctrl-C goes to all programs of a terminal; the courier ignores it, also where it is sent by hand."""
    courier, _ = started(run)
    pid = working(courier)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGHUP)
    run.log(10)
    run.end()

    assert courier.close(LONG_S).delivered == 12
    assert courier.pid == pid


# Dying.


def test_a_courier_that_is_killed_is_replaced(run: RunOnDisk, started: Any) -> None:
    """Killed again and again, it goes on behind the cursor: everything arrives once; people hear of it once."""
    courier, told = started(run)
    pids = set()
    for _ in range(4):
        pid = eventually(lambda: courier.pid if courier.pid not in pids else None)
        pids.add(pid)
        os.kill(pid, signal.SIGKILL)
        run.log(20)
    run.end()
    ledger = courier.close(LONG_S)

    assert ledger == Ledger(accepted=82, delivered=82)
    assert records_in(run.mirror) == records_in(run.journal)
    assert told == ["transport t: its courier died and is replaced; nothing is lost by that."]


def test_couriers_that_die_at_once_are_replaced_where_one_has_worked(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starts without a word are accidents, and no reason for a thread, once a courier has worked on this machine."""
    starts = 0

    def spawn(executable: str, code: str, **options: Any) -> int:
        nonlocal starts
        starts += 1
        return spawn_python(executable, "pass" if starts <= 3 else code, **options)

    courier, told = started(run)
    pid = working(courier)
    monkeypatch.setattr(courier_link, "spawn_python", spawn)
    os.kill(pid, signal.SIGKILL)
    run.log(10)
    run.end()
    ledger = courier.close(LONG_S)

    assert (ledger.pending, ledger.rejected, starts) == (0, 0, 4)
    assert not any("thread" in line for line in told), told


def test_a_courier_that_is_killed_while_closing_is_replaced(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request to close reaches the one that comes after."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug")
    hang = tmp_path / "plug" / "hang"
    hang.touch()
    courier, _ = started(run, url)
    eventually(lambda: calls_of(tmp_path / "plug", "deliver"))
    run.end()
    courier.ask_to_close(LONG_S)
    os.kill(working(courier), signal.SIGKILL)
    hang.unlink()

    assert courier.wait(LONG_S)
    assert courier.ledger == Ledger(accepted=2, delivered=2)


def test_a_terminated_courier_delivers_what_it_can_and_is_replaced(run: RunOnDisk, started: Any) -> None:
    """SIGTERM, as schedulers send it to everybody, ends it when what is there is delivered."""
    courier, _ = started(run)
    pid = working(courier)
    run.log(30)
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_there(pid))
    assert len(records_in(run.mirror)[WRITER]) == 31
    run.end()

    assert courier.close(LONG_S).delivered == 32
    assert courier.pid != pid


def test_couriers_that_deliver_nothing_are_not_replaced_for_ever(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport that kills its courier at each attempt is given up after so many; the user learns what to do."""
    monkeypatch.setattr(courier_process, "_MOST_FRUITLESS_STARTS", 3)
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug", dies=True)
    courier, told = started(run, url)
    run.end()
    ledger = courier.close(LONG_S)

    assert ledger.delivered == 0
    assert not courier.is_drained
    assert len(calls_of(tmp_path / "plug", "deliver")) == 4
    assert "4 couriers have died in a row" in told[-1]
    assert "corelib sync" in told[-1]


def test_a_courier_s_death_is_not_ours(run: RunOnDisk) -> None:
    """A program that has the signal of broken pipes set to its default survives the death of its courier."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
        "from corelib.shell.courier_process import CourierProcess\n"
        "from corelib.shell.delivery_spec import DeliverySpec\n"
        "spec = DeliverySpec.read(sys.stdin.readline().encode())._replace(pid=os.getpid())\n"
        "courier = CourierProcess(spec, report=lambda text: None)\n"
        "courier.start()\n"
        "while courier.pid is None: time.sleep(0.01)\n"
        "os.kill(courier.pid, signal.SIGKILL)\n"
        "for _ in range(2000): courier.poke()\n"
        f"assert courier.close({LONG_S}).delivered == 2\n"
    )
    run.end()
    done = subprocess.run(
        [sys.executable, "-c", code], input=run.spec().line(), cwd=ROOT, timeout=LONG_S, check=False
    )

    assert done.returncode == 0


ROOT = Path(__file__).parent.parent.parent


# Where there is no process to be had.


@pytest.mark.parametrize("executable", ["", "/nonexistent/python"])
def test_a_thread_delivers_where_no_process_can_start(run: RunOnDisk, started: Any, executable: str) -> None:
    """The run is delivered all the same, and the user is told once."""
    courier, told = started(run, executable=executable)
    run.log(20)
    run.end()
    courier.poke()

    assert courier.close(LONG_S) == Ledger(accepted=22, delivered=22)
    assert courier.is_drained
    assert courier.settled_bytes > 0
    assert records_in(run.mirror) == records_in(run.journal)
    assert len(told) == 1
    assert "a thread does it instead" in told[0]


@pytest.mark.parametrize("executable", ["/bin/false", "/bin/true"])
def test_a_thread_delivers_where_another_program_starts(
    run: RunOnDisk, started: Any, executable: str
) -> None:
    """Where the interpreter is embedded in a program that is none, that is found out, and told once."""
    courier, told = started(run, executable=executable)
    run.log(20)
    run.end()

    assert courier.close(LONG_S) == Ledger(accepted=22, delivered=22)
    assert records_in(run.mirror) == records_in(run.journal)
    assert [line for line in told if "a thread does it instead" in line] == told[-1:]
    assert executable in told[-1]


def test_a_thread_passes_news_on(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the backend says reaches the same callables from a thread."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug", stop=True, remote=["team", "p", "abc"])
    heard: list[Any] = []
    courier, _ = started(
        run, url, executable="", on_stopped=lambda: heard.append("stopped"), on_remote=heard.append
    )
    run.end()
    courier.close(LONG_S)

    assert heard == [RemoteAddress("team", "p", "abc"), "stopped"]


def test_no_thread_to_be_had_either(run: RunOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither can be had, the records stay in the journal, the user learns it, and nobody waits."""
    told: list[str] = []

    def refuse(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    courier = CourierProcess(run.spec(), report=told.append)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", refuse)
        courier.start()

    assert courier.close(LONG_S) == Ledger()
    assert told == [
        "transport t: no courier can be watched (can't start new thread); the records stay in the journal."
    ]
    eventually(lambda: not is_delivering(str(run.directory), "t"))


def test_a_thread_delivers_where_a_program_starts_and_never_speaks(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What looks like a courier and is none holds nobody for ever."""
    monkeypatch.setattr(courier_link, "_HELLO_S", 0.2)
    silent = run.directory / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 1000\n")
    silent.chmod(0o755)
    courier, told = started(run, executable=str(silent))
    run.log(20)
    run.end()

    assert courier.close(LONG_S) == Ledger(accepted=22, delivered=22)
    assert "a thread does it instead" in told[-1]


def test_couriers_that_are_killed_before_they_speak_are_replaced(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever kills them early has not shown that this machine can have none."""
    starts = 0

    def spawn(executable: str, code: str, **options: Any) -> int:
        nonlocal starts
        starts += 1
        kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        return spawn_python(executable, kill if starts <= 4 else code, **options)

    monkeypatch.setattr(courier_link, "spawn_python", spawn)
    courier, told = started(run)
    run.end()

    assert courier.close(LONG_S).delivered == 2
    assert (starts, courier._instead) == (5, None)
    assert not any("thread" in line for line in told), told


def shortage(monkeypatch: pytest.MonkeyPatch, failures: int) -> list[int]:
    """Have so many attempts to start a process fail for want of something."""
    attempts: list[int] = []

    def spawn(executable: str, code: str, **options: Any) -> int:
        attempts.append(1)
        if len(attempts) <= failures:
            raise OSError(24, "Too many open files")
        return spawn_python(executable, code, **options)

    monkeypatch.setattr(courier_link, "spawn_python", spawn)
    return attempts


def test_a_shortage_may_pass(run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no room for a process just now, it is tried again, and nothing else is needed."""
    monkeypatch.setattr(courier_process, "_SHORTAGE_PAUSES_S", (0.01,) * 5)
    attempts = shortage(monkeypatch, 3)
    courier, told = started(run)
    working(courier)
    run.end()

    assert courier.close(LONG_S).delivered == 2
    assert len(attempts) == 4
    assert told == [
        "transport t: no process can be started just now (Too many open files); it is tried again."
    ]


def test_a_shortage_that_stays_is_not_waited_for_without_end(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a few attempts, or when somebody waits, a thread does it."""
    attempts = shortage(monkeypatch, 1000)
    courier, told = started(run)
    run.end()

    assert courier.close(LONG_S).delivered == 2
    assert len(attempts) <= 3
    assert "a thread does it instead" in told[-1]


def test_a_shortage_when_a_courier_is_replaced(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise where a courier has died."""
    monkeypatch.setattr(courier_process, "_SHORTAGE_PAUSES_S", (0.01,) * 5)
    courier, _ = started(run)
    pid = working(courier)
    attempts = shortage(monkeypatch, 3)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: courier.pid != pid)
    run.end()

    assert courier.close(LONG_S).delivered == 2
    assert len(attempts) == 4


def test_the_end_that_no_disk_could_take_is_told(run: RunOnDisk, started: Any) -> None:
    """The exit code comes over the pipe: the run is complete at the backend, and the journal lacks its end."""
    run.log(3)
    courier, _ = started(run)
    courier.tell_end(7)

    assert courier.close(LONG_S) == Ledger(accepted=5, delivered=5)
    (ending,) = records_in(run.mirror)[END]
    assert isinstance(ending, Exit)
    assert ending.exit_code == 7
    assert not any(isinstance(record, Exit) for record in records_in(run.journal)[WRITER])


@pytest.mark.parametrize(("told", "exit_code"), [(7, 7), (0, 0), (None, 1)])
def test_a_thread_knows_the_end_as_well(
    run: RunOnDisk, started: Any, told: int | None, exit_code: int
) -> None:
    """A code that Python hides, a thread cannot wait for: it ends with the process, and tells a failure."""
    courier, _ = started(run, executable="")
    run.end(exit_code=None)
    courier.tell_end(told)

    assert courier.close(LONG_S) == Ledger(accepted=2, delivered=2)
    ending = records_in(run.mirror)[WRITER][-1]
    assert isinstance(ending, Exit)
    assert ending.exit_code == exit_code


@pytest.mark.parametrize("executable", [None, ""])
def test_a_withdrawn_courier_says_and_delivers_nothing_more(
    run: RunOnDisk, started: Any, executable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that could not begin nobody hears, whether it was known yet or not."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug", notices=["hello"], remote=["team", "p", "abc"], stop=True)
    (tmp_path / "plug" / "hang").touch()
    heard: list[Any] = []
    courier, told = started(
        run, url, executable=executable, on_remote=heard.append, on_stopped=lambda: heard.append("stopped")
    )
    eventually(lambda: calls_of(tmp_path / "plug", "deliver"))
    told.clear()
    courier.withdraw()
    (tmp_path / "plug" / "hang").unlink()
    assert courier.wait(LONG_S)
    eventually(lambda: not is_delivering(str(run.directory), "t"))

    assert (told, heard) == ([], [])
    assert len(calls_of(tmp_path / "plug", "deliver")) == 1


def test_a_courier_withdrawn_before_it_has_begun_never_does(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is on its way when it is withdrawn, it opens no run."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug", capabilities={"open": True})
    courier, told = started(run, url)
    courier.withdraw()
    watch = next((one for one in enumerate_threads() if one.name == "corelib-courier-t"), None)
    if watch is not None:
        watch.join(LONG_S)

    assert calls_of(tmp_path / "plug", "open", "deliver") == []
    assert told == []


def test_work_that_cannot_be_done_is_told_and_not_tried_again(run: RunOnDisk, started: Any) -> None:
    """A transport that cannot be made is an answer, not a death; the message is the one the user would have got."""
    courier, told = started(run, "nowhere://x")
    run.end()

    assert courier.close(LONG_S) == Ledger()
    assert len(told) == 1
    assert told[0].startswith("transport t: There is no transport 'nowhere'.")
    assert told[0].endswith("The records stay in the journal.")


def test_neither_by_process_nor_by_thread(run: RunOnDisk, started: Any) -> None:
    """A thread that cannot do it says so, too, and nobody waits for it."""
    courier, told = started(run, "nowhere://x", executable="")

    assert courier.close(LONG_S) == Ledger()
    assert "a thread cannot do it either" in told[1]


# Waiting, and not.


def hang_on_a_pipe(run: RunOnDisk) -> Path:
    """Have the run save a file whose reading never ends; return it."""
    pipe = run.directory / "files" / "pipe"
    os.mkfifo(pipe)
    run.writer.append(FileSaved, time=TIME, path="pipe", policy="now")
    return pipe


def test_closing_returns_in_time_and_the_courier_goes_on(run: RunOnDisk, started: Any) -> None:
    """A transport that hangs holds up nobody; the rest is delivered in the background, and it is said how to look."""
    pipe = hang_on_a_pipe(run)
    run.log(10)
    run.end()
    courier, told = started(run)
    pid = working(courier)
    eventually(lambda: courier.ledger.pending)
    began = time.monotonic()
    ledger = courier.close(0.2)
    assert time.monotonic() - began < LONG_S / 2
    assert ledger == Ledger(accepted=13, pending=13)
    assert is_there(pid)
    assert len(told) == 1
    assert "goes on in the background" in told[0]
    assert "corelib ls" in told[0]
    with open(pipe, "wb") as file:
        file.write(b"at last")

    assert courier.wait(LONG_S)
    assert courier.ledger == Ledger(accepted=13, delivered=13)
    assert (run.mirror.parent / "files" / "pipe").read_bytes() == b"at last"


def test_a_ctrl_c_ends_the_waiting_only(
    run: RunOnDisk, started: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C while a run is delivered gets the ledger as it stands, and the courier goes on."""
    pipe = hang_on_a_pipe(run)
    courier, told = started(run)
    eventually(lambda: courier.ledger.pending)

    def interrupt(self: Event, timeout: float | None = None) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Event, "wait", interrupt)
        ledger = courier.close(LONG_S)
    assert ledger.pending == 2
    assert "goes on in the background" in told[0]
    pipe.unlink()


def test_the_time_of_a_close_may_be_nothing(run: RunOnDisk, started: Any) -> None:
    """Closing without time returns at once, and leaves the courier to it."""
    courier, told = started(run)
    run.log(10)
    run.end()
    courier.close(0.0)
    assert "not everything is delivered yet" in told[0]

    eventually(lambda: len(records_in(run.mirror).get(WRITER, ())) == 12)


@pytest.mark.slow
def test_a_second_courier_waits_for_the_first(run: RunOnDisk, started: Any) -> None:
    """Two couriers for one run and one transport do not deliver at the same time; the second one ends in time."""
    pipe = hang_on_a_pipe(run)
    first, _ = started(run)
    eventually(lambda: first.ledger.pending)
    second, told = started(run)
    working(second)
    eventually(lambda: told)
    assert "another process delivers this run" in told[0]
    second.ask_to_close(LONG_S)
    assert not second.wait(0.01)
    with open(pipe, "wb") as file:
        file.write(b"x")
    run.end()
    assert first.close(LONG_S).delivered == 3

    assert second.wait(LONG_S)
    assert second.ledger == Ledger(accepted=3, delivered=3)


# News.


def test_news_of_the_backend_reach_the_run(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notices, the run's address and a request to stop come back; notices also stand in a log."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    remote = ["team", "p", "abc", "a name", "https://host/team/p/abc"]
    url = install_plugin(tmp_path / "plug", stop=True, remote=remote, notices=["ü hello"])
    heard: list[Any] = []
    courier, told = started(run, url, on_stopped=lambda: heard.append("stopped"), on_remote=heard.append)
    run.end()
    courier.close(LONG_S)

    assert heard == [RemoteAddress(*remote), "stopped"]
    assert set(told) == {"transport t: ü hello"}
    assert (run.directory / "logs" / "courier-t.log").read_text().endswith(" transport t: ü hello\n")


def test_a_restarted_courier_tells_the_transport_what_it_knew(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a death there is `load`, `rebuild`, `open` and then the rest."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    plug = tmp_path / "plug"
    url = install_plugin(plug, capabilities={"restartable": True, "open": True})
    run.log(3)
    courier, _ = started(run, url)
    eventually(lambda: courier.ledger.delivered == 4)
    os.kill(working(courier), signal.SIGKILL)
    run.log(1)
    run.end()
    assert courier.close(LONG_S) == Ledger(accepted=6, delivered=6)
    calls = calls_of(plug)
    load = next(number for number, call in enumerate(calls) if call["call"] == "load")

    assert calls[load]["saved"] == {"taken": 4}
    assert [call["call"] for call in calls[load : load + 4]] == ["load", "rebuild", "open", "deliver"]
    assert calls[load + 1]["seqs"] == [1, 2, 3, 4]
    assert [seq for call in calls[load + 3 :] for seq in call.get("seqs", ())] == [5, 6]
    assert calls[load + 3]["header"]


def test_an_idle_run_shows_that_it_is_alive(
    run: RunOnDisk, started: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is logged, the backend hears of the run all the same."""
    monkeypatch.syspath_prepend(tmp_path / "plug")
    url = install_plugin(tmp_path / "plug", capabilities={"heartbeat_s": 0.05})
    started(run, url)

    eventually(lambda: len(calls_of(tmp_path / "plug", "heartbeat")) > 2)


# Forks.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_no_courier(run: RunOnDisk, started: Any) -> None:
    """In a forked child every call returns at once and does nothing, and it holds none of the pipes."""
    courier, _ = started(run)
    working(courier)
    fds = courier._link._fds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is what this is about
        child = os.fork()
    if child == 0:
        status = 1
        try:
            courier.abandon()
            courier.abandon()
            courier.poke()
            courier.leave()
            quiet = not courier.is_carrying and courier.close(LONG_S) == Ledger()
            held = [fd for fd in fds if is_open(fd)]
            status = 0 if quiet and not held else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    run.log(5)
    run.end()
    assert courier.close(LONG_S).delivered == 7


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# The end of the process.

TRAINING = """
import os, signal, sys, time
from attrs import asdict
from corelib.journal import JournalWriter
from corelib.pure.records import Exit, RunStart
from corelib.shell.courier_process import CourierProcess
from corelib.shell.delivery_spec import DeliverySpec
from corelib.testing.specimens import TIME, start_record

how, directory = sys.argv[1], sys.argv[2]
spec = DeliverySpec.read(sys.stdin.buffer.readline())._replace(pid=os.getpid())
writer = JournalWriter(
    __import__("pathlib").Path(directory, "journal"), run_id="abc", writer="w1", start_time=TIME, now=TIME,
    host="h", primary=True,
)
fields = asdict(start_record(), recurse=False)
del fields["seq"], fields["time"]
writer.append(RunStart, time=TIME, **fields)
courier = CourierProcess(spec, report=lambda text: None)
os.register_at_fork(after_in_child=lambda: (courier.abandon(), writer.abandon()))
courier.start()
while courier.pid is None:
    time.sleep(0.01)
for step in range(50):
    writer.row(TIME + step, step, {"loss": 1.0})
if how == "forked" and not os.fork():
    print("child", os.getpid(), flush=True)
    time.sleep(1000)
if how == "hidden":
    status = open(os.path.join(directory, "exit-status"), "wb")
    writer.append(Exit, time=TIME + 50, exit_code=None, runtime=50.0)
    ledger = courier.close(100)
    assert courier.is_drained and ledger.delivered == ledger.accepted == 51, ledger
    status.write(b"\\x05")
    status.close()
    sys.exit(5)
if how == "left":
    writer.append(Exit, time=TIME + 50, exit_code=7, runtime=50.0)
    courier.close(0)
    os._exit(7)
print("courier", courier.pid, flush=True)
{"killed": lambda: os.kill(os.getpid(), signal.SIGKILL), "forked": lambda: os.kill(os.getpid(), signal.SIGKILL),
 "terminated": lambda: os.kill(os.getpid(), signal.SIGTERM), "exits": lambda: os._exit(0),
 "both": lambda: (os.kill(courier.pid, signal.SIGKILL), os.kill(os.getpid(), signal.SIGKILL))}[how]()
"""


def train(run: RunOnDisk, how: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", TRAINING, how, str(run.directory)],
        input=run.spec(linger_s=LONG_S).line(),
        cwd=ROOT,
        stdout=subprocess.PIPE if how != "forked" else None,
        timeout=LONG_S,
        check=False,
    )


def delivered_end(run: RunOnDisk) -> Exit | None:
    """Return the end of the trainer's run, once it has arrived."""
    try:
        records = records_in(run.mirror)
    except (AssertionError, FileNotFoundError, JournalError):  # being written or sealed just now
        return None
    ends = [
        record for author in (WRITER, END) for record in records.get(author, ()) if isinstance(record, Exit)
    ]
    return ends[-1] if ends else None


@pytest.mark.parametrize(
    ("how", "codes"),
    [("killed", {1, 255}), ("terminated", {1, 255}), ("exits", {1}), ("forked", {1, 255})],
)
def test_when_training_dies_the_rest_is_delivered_and_the_run_has_crashed(
    elsewhere: RunOnDisk, how: str, codes: set[int]
) -> None:
    """However the process ends without a word, its rows arrive, and an end that it did not write; children of it that
    live on do not hide its death.
    """
    child = 0
    if how == "forked":
        read, write = os.pipe()
        with subprocess.Popen(
            [sys.executable, "-c", TRAINING, how, str(elsewhere.directory)],
            stdin=subprocess.PIPE,
            stdout=write,
            cwd=ROOT,
        ) as training:
            os.close(write)
            assert training.stdin is not None
            training.stdin.write(elsewhere.spec(linger_s=LONG_S).line())
            training.stdin.close()
        with open(read, "rb") as said:
            child = int(eventually(said.readline).split()[1])
    else:
        assert train(elsewhere, how).returncode in {0, -signal.SIGKILL, -signal.SIGTERM}
    ending = eventually(lambda: delivered_end(elsewhere))

    assert ending.exit_code in codes
    written = records_in(elsewhere.journal)[WRITER]
    assert not any(isinstance(record, Exit) for record in written)
    assert records_in(elsewhere.mirror) == {WRITER: written, END: [ending]}
    if how == "forked":
        assert is_there(child)
        os.kill(child, signal.SIGKILL)


def test_a_hidden_exit_code_arrives_when_the_process_is_gone(elsewhere: RunOnDisk) -> None:
    """finish() does not wait for a code that is known only afterwards; the courier does, and delivers it."""
    assert train(elsewhere, "hidden").returncode == 5

    assert eventually(lambda: delivered_end(elsewhere)).exit_code == 5


def test_a_process_that_does_not_wait_keeps_its_exit_code(elsewhere: RunOnDisk) -> None:
    """A run that ended properly is not called crashed because its process left before it was delivered."""
    assert train(elsewhere, "left").returncode == 7

    assert eventually(lambda: delivered_end(elsewhere)).exit_code == 7


def test_when_both_die_the_next_courier_delivers_the_rest(elsewhere: RunOnDisk, started: Any) -> None:
    """Whoever comes later goes on behind the cursor, and tells the end that nobody has told."""
    train(elsewhere, "both")
    eventually(lambda: not is_delivering(str(elsewhere.directory), "t"))
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    courier, _ = started(elsewhere, spec={"pid": int(gone.stdout)})
    courier._link.close()  # what the death of the process that started it looks like
    ending = eventually(lambda: delivered_end(elsewhere))

    assert ending.exit_code == 1
    assert records_in(elsewhere.mirror) == {**records_in(elsewhere.journal), END: [ending]}


# Memory.


@linux
@pytest.mark.soak
def test_memory_stays_flat(tmp_path: Path, started: Any) -> None:
    """Four times as many records need no more memory at their peak, nor does taking them up again."""
    run = RunOnDisk(tmp_path)
    courier, _ = started(run)
    pid = working(courier)

    def peak() -> int:
        status = Path(f"/proc/{courier.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0])

    run.log(100_000, a=1.0, b=2.0, c=3.0)  # full batches and a sealed segment have been through by then
    eventually(lambda: courier.ledger.delivered > 100_000)
    early = peak()
    run.log(300_000, a=1.0, b=2.0, c=3.0)
    eventually(lambda: courier.ledger.delivered > 400_000)
    late = peak()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: courier.pid != pid)
    run.log(20_000, a=1.0, b=2.0, c=3.0)
    eventually(lambda: courier.ledger.delivered > 420_000)
    restarted = peak()
    run.end()
    courier.close(LONG_S)

    assert late < early + 16_000, f"{early} kB have become {late} kB"
    assert restarted < early + 16_000, f"{early} kB have become {restarted} kB"
