"""`sync`: any runs, in any order, any number of times, converge on the same backend state."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import corelib
from corelib.api.core import default
from corelib.api.syncing import SyncProgress, SyncRequest, SyncResult, sync
from corelib.errors import AuthenticationError, UsageError
from corelib.journal import JournalWriter
from corelib.ports import Capabilities, Rejected, Retry
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Exit, Row, RunStart
from corelib.pure.settings import Settings
from corelib.shell.courier_log import CourierLog
from corelib.shell.cursor import CursorFile
from corelib.testing.specimens import start_record
from tests.journals import flip
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import WandbServer
from transports.memory import MemoryTransport

__all__ = ["wandb_server"]

QUICK = Capabilities(lookup=True, open=True, close=True, max_batch_age_s=0.01)


def record(rows: int = 3, **words: Any) -> Path:
    """Record an offline run and return its directory."""
    with corelib.init(**({"project": "p", "mode": "offline"} | words)) as run:
        for number in range(rows):
            run.log({"row": number})
    return Path(run.sync_dir)


def run_id_of(directory: Path) -> str:
    return corelib.open_run(directory).id


@pytest.fixture(name="backup")
def _backup(tmp_path: Path) -> str:
    return f"file://{tmp_path}/backup"


def synced(*paths: str | Path, **words: Any) -> list[SyncResult]:
    words = {"paths": paths, "everything": not paths, "patience_s": 20.0} | words
    return sync(default.names, default.session, SyncRequest(**words))


def copies(tmp_path: Path) -> dict[str, list[list[int]]]:
    """Return what the backup holds: for each run its folders' own rows, oldest first."""
    found: dict[str, list[list[int]]] = {}
    for view in corelib.list_runs(tmp_path / "backup" / "wandb"):
        rows = [record.data["row"] for record in view.records() if hasattr(record, "data")]
        found.setdefault(view.id, []).append(rows)
    return found


# ---------------------------------------------------------------------------------------------------------- one run


def test_a_finished_run_is_delivered(backup: str, tmp_path: Path) -> None:
    """Everything of it arrives, and the account adds up; the journal stays as it was."""
    directory = record(5)
    before = {path: path.read_bytes() for path in (directory / "journal").rglob("*") if path.is_file()}
    (result,) = synced(directory, transport=backup)

    assert result == SyncResult(
        run_id=run_id_of(directory),
        project="p",
        state="finished",
        transport="file",
        directories=(str(directory),),
        ledger=Ledger(accepted=7, delivered=7),
    )
    assert result.outcome == "delivered"
    assert copies(tmp_path) == {result.run_id: [[0, 1, 2, 3, 4]]}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("forget_cursors", [False, True])
def test_again_is_the_same(backup: str, tmp_path: Path, forget_cursors: bool) -> None:
    """A second sync delivers nothing twice, with the cursors of the first and without."""
    directory = record()
    first = synced(directory, transport=backup)
    stored = sorted((tmp_path / "backup").rglob("*.zst"))
    if forget_cursors:
        for path in directory.glob("cursor-*"):
            path.unlink()
    second = synced(directory, transport=backup)

    assert second == first
    assert copies(tmp_path) == {run_id_of(directory): [[0, 1, 2]]}
    assert sorted((tmp_path / "backup").rglob("*.zst")) == stored


def test_two_destinations(tmp_path: Path) -> None:
    """Each destination has a cursor of its own, also where the transport is the same."""
    directory = record()
    places = [f"file://{tmp_path}/one", f"file://{tmp_path}/two"]
    synced(directory, transport=places[0])
    results = synced(directory, transport=places)

    assert [result.outcome for result in results] == ["delivered", "delivered"]
    for name in ("one", "two"):
        assert [view.rows for view in corelib.list_runs(tmp_path / name / "wandb")] == [3]


def test_nothing_to_carry(tmp_path: Path) -> None:
    """Where the journal is the delivery, everything is delivered already, and nothing is written."""
    directory = record()
    before = sorted(directory.rglob("*"))
    (result,) = synced(directory, transport="file")

    assert result.outcome == "delivered"
    assert sorted(directory.rglob("*")) == before


def test_a_dry_run_changes_nothing(backup: str, tmp_path: Path) -> None:
    """It says how much would be sent, and sends nothing."""
    directory = record()
    before = sorted(directory.rglob("*"))
    (result,) = synced(directory, transport=backup, dry_run=True)

    assert result.ledger == Ledger(accepted=5, pending=5)
    assert sorted(directory.rglob("*")) == before
    assert not (tmp_path / "backup").exists()
    synced(directory, transport=backup)
    assert synced(directory, transport=backup, dry_run=True)[0].ledger == Ledger(accepted=5, delivered=5)


# ----------------------------------------------------------------------------------------------- a run that did not end

CHILD = """
import os, signal, corelib
run = corelib.init(project="p", mode="offline", dir={root!r})
for number in range(4):
    run.log({{"row": number}})
print(run.sync_dir, flush=True)
{ending}
"""


def child(root: Path, ending: str) -> tuple[subprocess.Popen[str], Path]:
    code = CHILD.format(root=str(root), ending=ending)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_crashed_run_gets_its_end(backup: str, tmp_path: Path) -> None:
    """A run whose process was killed arrives with exit code 1, once, and its own journal is not changed."""
    process, directory = child(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate()
    assert process.returncode == -signal.SIGKILL

    (result,) = synced(directory, transport=backup)
    assert (result.state, result.outcome) == ("crashed", "delivered")
    assert synced(directory, transport=backup) == [result]
    (copy,) = corelib.list_runs(tmp_path / "backup" / "wandb")
    assert (copy.state, copy.exit_code, copy.rows) == ("failed", 1, 4)
    assert corelib.open_run(directory).state == "crashed"
    endings = [record for record in copy.records() if type(record).__name__ == "Exit"]
    assert len(endings) == 1


def test_a_hidden_exit_code_is_found(backup: str, tmp_path: Path) -> None:
    """Where libc has left the exit status beside the journal, that is what arrives."""
    process, directory = child(tmp_path, "raise SystemExit(7)")
    process.communicate()
    (result,) = synced(directory, transport=backup)

    assert (result.state, result.outcome) == ("failed", "delivered")
    assert corelib.list_runs(tmp_path / "backup" / "wandb")[0].exit_code == 7


def test_a_running_run_is_delivered_so_far(backup: str, tmp_path: Path) -> None:
    """What is there of a running run arrives; a later sync brings the rest and the end."""
    with corelib.init(project="p", mode="offline") as run:
        run.log({"row": 0})
        (result,) = synced(run.id, transport=backup)
        assert (result.state, result.outcome) == ("running", "delivered")
        assert copies(tmp_path) == {run.id: [[0]]}
        run.log({"row": 1})
    (result,) = synced(run.id, transport=backup)

    assert (result.state, result.outcome) == ("finished", "delivered")
    assert copies(tmp_path) == {run.id: [[0, 1]]}
    assert corelib.list_runs(tmp_path / "backup" / "wandb")[0].state == "finished"


def test_a_run_that_is_being_delivered_is_left_to_it(backup: str, tmp_path: Path) -> None:
    """While a running program's own courier holds the lock, sync does not wait for it, and says so."""
    with corelib.init(project="p", mode="offline") as run:
        lock = CursorFile(run.sync_dir, backup)
        assert lock.lock()
        (result,) = synced(run.id, transport=backup)
        lock.release()

    assert (result.outcome, result.reason) == ("pending", "the running program delivers it")
    assert not (tmp_path / "backup").exists()


# ------------------------------------------------------------------------------------------------------ several parts


def record_parts(*, id: str = "chain", parts: int = 3) -> list[Path]:
    return [record(number + 1, id=id, resume=None if number == 0 else "must") for number in range(parts)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2,)])
def test_parts_become_one_run(backup: str, tmp_path: Path, order: Sequence[int]) -> None:
    """The segments of an id arrive in the order of the run, whatever order they were named in."""
    parts = record_parts()
    (result,) = synced(*[parts[number] for number in order], transport=backup)

    assert result.directories == tuple(map(str, parts))
    assert copies(tmp_path) == {"chain": [[0], [0, 1], [0, 1, 2]]}
    whole = corelib.open_run("chain", tmp_path / "backup" / "wandb")
    assert [row["_step"] for row in whole.history()] == [0, 1, 2, 3, 4, 5]


def test_parts_wait_for_each_other() -> None:
    """While a part cannot be delivered, those behind it are not begun, and all of them are pending."""
    parts = record_parts(parts=2)
    memory = MemoryTransport(outcomes=[Retry(reason="busy")] * 1000, capabilities=QUICK)
    (result,) = synced(parts[1], transport=memory, patience_s=0.2)

    assert result.outcome == "pending"
    assert result.ledger == Ledger(accepted=7, pending=7)
    assert {batch.run.directory for batch in memory.batches} == {str(parts[0])}
    (result,) = synced(parts[0], transport=MemoryTransport(capabilities=QUICK))
    assert result.directories == (str(parts[0]),)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.data())
def test_any_runs_any_order_any_number_of_times(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """After any sequence of syncs that ends with all, the backup holds every row of every run once, in order."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        directories = [*record_parts(parts=2), record(2, id="single"), *record_parts(id="other", parts=2)]
        place = f"file://{root}/backup"
        for chosen in data.draw(st.lists(st.lists(st.sampled_from(directories), min_size=1), max_size=4)):
            synced(*chosen, transport=place, jobs=data.draw(st.integers(1, 3)))
        results = synced(transport=place)

        assert {result.outcome for result in results} == {"delivered"}
        assert copies(root) == {"chain": [[0], [0, 1]], "single": [[0, 1]], "other": [[0], [0, 1]]}


def test_two_syncs_at_once_double_nothing(backup: str, tmp_path: Path) -> None:
    """Syncs at the same time, each with several jobs, wait for each other, and every row is there once."""
    for number in range(4):
        record(200, id=f"run{number}")
    results: list[list[SyncResult]] = []
    threads = [
        threading.Thread(target=lambda: results.append(synced(transport=backup, jobs=3))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [{result.outcome for result in one} for one in results] == [{"delivered"}] * 3
    assert copies(tmp_path) == {f"run{number}": [list(range(200))] for number in range(4)}


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_what_is_refused_is_counted(tmp_path: Path) -> None:
    """Records that a destination refuses for good are counted with the reason."""
    directory = record()
    memory = MemoryTransport(outcomes=[Rejected(reason="too odd", seqs=(2,))], capabilities=QUICK)
    (result,) = synced(directory, transport=memory)

    assert result.outcome == "rejected"
    assert result.ledger == Ledger(accepted=5, delivered=4, reasons={"too odd": 1})


def test_patience_ends() -> None:
    """Where nothing can be delivered, sync ends, says what is pending, and counts all that was written."""
    directory = record(50)
    memory = MemoryTransport(outcomes=[Retry(reason="busy")] * 1000, capabilities=QUICK)
    (result,) = synced(directory, transport=memory, patience_s=0.2)

    assert result.outcome == "pending"
    assert result.ledger.pending == 52
    assert result.reason == "the destination did not take it (busy): try again later"


@pytest.mark.slow
def test_a_slow_destination_is_waited_for() -> None:
    """As long as something is delivered, patience begins anew."""

    class Slow(MemoryTransport):
        def deliver(self, batch: Any) -> Any:
            threading.Event().wait(0.1)
            return super().deliver(batch)

    directory = record(40)
    slow = Slow(capabilities=Capabilities(max_batch_records=2, max_batch_age_s=0.01))
    (result,) = synced(directory, transport=slow, patience_s=1.0)

    assert result.outcome == "delivered"


def test_a_run_that_never_began(backup: str) -> None:
    """A directory whose process died before the run began holds nothing to deliver, and that is all right."""
    directory = record()
    for path in directory.rglob("*.zst"):
        path.unlink()
    (result,) = synced(directory, transport=backup)

    assert (result.state, result.outcome) == ("empty", "delivered")
    assert "no run began there" in result.reason


def test_a_lost_beginning_is_pending(backup: str) -> None:
    """Where the beginning of a run is damaged, nothing can be delivered, and the place is named."""
    directory = record(100)
    (segment,) = directory.rglob("*.zst")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 0xFF
    segment.write_bytes(data)
    (result,) = synced(directory, transport=backup)

    assert (result.state, result.outcome) == ("crashed", "pending")
    assert directory.name in result.reason
    assert "cannot be believed" in result.reason


def test_damage_elsewhere_is_pending(backup: str, tmp_path: Path) -> None:
    """What can be read of a damaged journal is delivered; the rest was written, and is no success."""
    process, directory = child(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    process.communicate()
    (segment,) = directory.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[3] = b"00000000" + lines[3][8:]
    segment.write_bytes(b"".join(lines))
    ledger = Ledger(accepted=6, delivered=5, pending=1)
    for _ in range(2):
        (result,) = synced(directory, transport=backup)
        assert result.ledger == ledger
        assert copies(tmp_path) == {result.run_id: [[0, 2, 3]]}
        assert "the checksum does not fit" in result.reason
        assert f"`corelib verify {directory.name}`" in result.reason
    assert synced(directory, transport=backup, dry_run=True)[0].ledger == ledger


def test_damage_holds_up_nothing(backup: str, tmp_path: Path) -> None:
    """What is damaged in a part will never be delivered, so that those behind it do not wait for it."""
    root = tmp_path / "wandb"
    code = CHILD.format(root=str(tmp_path), ending="os._exit(0)").replace(
        'mode="offline"', 'mode="offline", id="c"'
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    record(2, id="c", resume="must")
    (segment,) = root.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[3] = b"00000000" + lines[3][8:]
    segment.write_bytes(b"".join(lines))
    for _ in range(2):
        (result,) = synced("c", transport=backup)
        assert result.ledger.pending == 1
    assert copies(tmp_path) == {"c": [[0, 2, 3], [0, 1]]}


def record_segments(run_id: str, *, gap_at: int = -1) -> None:
    """Record a run of many segments; with `gap_at`, a number that is used up without a record."""
    writer = JournalWriter(
        Path(f"wandb/offline-run-20260101_000000-{run_id}/journal").absolute(),
        run_id=run_id,
        writer="w",
        start_time=1.0,
        now=1.0,
        host="h",
        primary=True,
        segment_bytes=300,
    )
    fields = {name: getattr(start_record(), name) for name in RunStart.__annotations__ if name != "seq"}
    writer.append(RunStart, **fields)
    for number in range(40):
        writer.append(Row, time=2.0, step=number, data={"row": number})
        writer.seq += number == gap_at
    writer.append(Exit, time=9.0, exit_code=0, runtime=8.0)
    writer.close()


def test_a_damaged_segment_in_the_middle(backup: str) -> None:
    """A flipped bit where no survey looks does not pass for success: the records of that segment are pending."""
    record_segments("mid")
    segments = sorted(Path("wandb").rglob("*.zst"))
    flip(segments[len(segments) // 2], 40)
    for _ in range(2):
        (result,) = synced("mid", transport=backup)
        assert result.outcome == "pending"
        assert result.ledger.accepted == 42
        assert 0 < result.ledger.pending < 20
        assert "corelib verify" in result.reason


def test_numbers_without_records_are_no_loss(backup: str) -> None:
    """A row that `log()` refused for a full disk has used up a number, and nothing is pending for that."""
    record_segments("gap", gap_at=20)

    assert synced("gap", transport=backup)[0].ledger == Ledger(accepted=42, delivered=42)
    assert synced("gap", transport=backup, dry_run=True)[0].outcome == "delivered"


def test_an_empty_journal_is_no_success(backup: str) -> None:
    """A segment without a byte has lost what it held."""
    directory = record()
    for path in directory.rglob("*.zst"):
        path.write_bytes(b"")
    (result,) = synced(directory, transport=backup)

    assert result.outcome == "pending"
    assert "cannot be believed" in result.reason or "the file is empty" in result.reason


def test_an_interrupt_ends_neatly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the sync; what was delivered until then is delivered, and the next sync goes on."""
    directory = record()

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    memory = MemoryTransport(outcomes=[Retry(reason="busy")] * 1000, capabilities=QUICK)
    with pytest.raises(KeyboardInterrupt):
        sync(default.names, default.session, SyncRequest(paths=[directory], transport=memory), interrupted)

    assert [thread.name for thread in threading.enumerate() if "sync" in thread.name] == []
    assert synced(directory, transport=MemoryTransport(capabilities=QUICK))[0].outcome == "delivered"


def test_progress_is_told() -> None:
    """Whoever asks hears what is under way and how far it has come, and in the end of nothing more."""
    heard: list[list[SyncProgress]] = []
    memory = MemoryTransport(outcomes=[Retry(reason="busy")], capabilities=QUICK)
    request = SyncRequest(paths=[record(10)], transport=memory)
    sync(default.names, default.session, request, lambda one: heard.append(list(one)))

    under_way = [one for look in heard for one in look]
    assert {one.written for one in under_way} == {12}
    assert all(0 <= one.settled <= one.written for one in under_way)
    assert heard[-1] == [] or heard[-1][0].settled == 12


class Elsewhere:
    """A destination that is named by a text, so that a cursor is kept, and is a memory all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **words: Any) -> None:
        self.memory = MemoryTransport(**words)
        monkeypatch.setattr("corelib.shell.shipment.load_transport", lambda *_: self.memory)

    def sync(self, *paths: Path, **words: Any) -> list[SyncResult]:
        return synced(*paths, transport="plug://elsewhere", **words)


def test_a_refusal_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was refused for good is refused at the next sync as well, though that was not told it so often."""
    directory = record()
    elsewhere = Elsewhere(
        monkeypatch,
        openings=[Rejected(reason="HTTP 409 (deleted)"), *[Retry(reason="HTTP 409 (deleted)")] * 1000],
        capabilities=QUICK,
    )
    for _ in range(2):
        (result,) = elsewhere.sync(directory, patience_s=20.0)
        assert result.outcome == "rejected"
        assert result.ledger == Ledger(accepted=5, reasons={"HTTP 409 (deleted)": 5})
    elsewhere = Elsewhere(monkeypatch, openings=[Retry(reason="HTTP 503")] * 1000, capabilities=QUICK)
    (result,) = elsewhere.sync(directory, patience_s=0.3)
    assert (result.outcome, result.reason) == (
        "pending",
        "the destination did not take it (HTTP 503): try again later",
    )
    elsewhere = Elsewhere(monkeypatch, capabilities=QUICK)
    assert elsewhere.sync(directory)[0].outcome == "delivered"


def test_another_process_delivers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who holds the lock and makes no headway is waited for, and named as the reason."""
    directory = record()
    elsewhere = Elsewhere(monkeypatch, capabilities=QUICK)
    lock = CursorFile(str(directory), "plug://elsewhere")
    assert lock.lock()
    (result,) = elsewhere.sync(directory, patience_s=0.3)
    CourierLog(str(directory), "plug://elsewhere").append("HTTP 401; log in with `corelib login`")
    (explained,) = elsewhere.sync(directory, patience_s=0.3)
    lock.release()

    assert (result.outcome, result.reason) == ("pending", "another process delivers it")
    assert explained.reason.startswith("another process delivers it; what its courier said last: ")
    assert explained.reason.endswith(" HTTP 401; log in with `corelib login`")
    assert elsewhere.sync(directory)[0].outcome == "delivered"


def test_a_bug_ends_a_delivery_and_no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the delivery itself fails, what is pending is said all the same."""
    directory = record()
    elsewhere = Elsewhere(monkeypatch, capabilities=QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("corelib.shell.delivery.delivery.step", lambda *_: 1 / 0)
        (result,) = elsewhere.sync(directory)
    assert (result.outcome, result.ledger.pending) == ("pending", 5)
    assert "a bug" in result.reason


def test_one_attempt_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """After one run has used up the patience with a destination, the others are tried once."""
    directories = [record() for _ in range(4)]
    elsewhere = Elsewhere(monkeypatch, openings=[Retry(reason="nobody")] * 1000, capabilities=QUICK)
    began = monotonic()
    results = elsewhere.sync(*directories, patience_s=1.5)

    assert [result.outcome for result in results] == ["pending"] * 4
    assert monotonic() - began < 3.5
    assert elsewhere.memory.calls.count("open") >= 4


def test_an_error_ends_a_sync(monkeypatch: pytest.MonkeyPatch, backup: str) -> None:
    """What keeps a run from being delivered at all is raised where the sync was called, and no thread is left."""

    def broken(*_: object) -> object:
        raise UsageError("no such place")

    directory = record()
    monkeypatch.setattr("corelib.shell.shipment.load_transport", broken)
    with pytest.raises(UsageError, match="no such place"):
        synced(directory, transport=backup)
    assert [thread.name for thread in threading.enumerate() if "sync" in thread.name] == []


# ---------------------------------------------------------------------------------------------------- other addresses


def test_another_address(backup: str, tmp_path: Path) -> None:
    """A run can be delivered under another id, project and entity, beside its own, each with a cursor of its own."""
    parts = record_parts(parts=2)
    synced(parts[1], transport=backup)
    words = {"run_id": "other", "project": "q", "entity": "e"}
    synced(parts[1], transport=backup, **words)
    (result,) = synced(parts[1], transport=backup, **words)
    assert (result.run_id, result.project, result.outcome) == ("other", "q", "delivered")
    copy = corelib.open_run("other", tmp_path / "backup" / "wandb")

    assert (copy.project, copy.entity) == ("q", "e")
    assert len(list(copy.history())) == 3
    assert len(list(corelib.open_run("chain", tmp_path / "backup" / "wandb").history())) == 3


def test_one_id_is_for_one_run(backup: str) -> None:
    """Several runs are not made one by giving them one id."""
    record()
    record()
    with pytest.raises(UsageError, match="2 runs"):
        synced(transport=backup, run_id="x")


# ------------------------------------------------------------------------------------------------------ what is named


def test_how_runs_are_named(backup: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By directory, folder name, id, the directory of runs or the one above it, or `latest`: each run once."""
    first, second = record(id="aa"), record(id="bb")
    relative = os.path.relpath(first)
    for name, expected in {
        str(first): ["aa"],
        relative: ["aa"],
        first.name: ["aa"],
        "aa": ["aa"],
        "latest": ["bb"],
        str(tmp_path): ["aa", "bb"],
        str(tmp_path / "wandb"): ["aa", "bb"],
        str(tmp_path / "wandb" / "latest-run"): ["bb"],
    }.items():
        results = synced(name, transport=backup, dry_run=True)
        assert sorted(result.run_id for result in results) == expected, name
    everything = synced(first, str(tmp_path), "bb", transport=backup, everything=True, dry_run=True)
    assert sorted(result.run_id for result in everything) == ["aa", "bb"]
    assert second.is_dir()


def test_an_id_means_all_that_were_begun_under_it(backup: str) -> None:
    """Two runs that were begun anew under one id are both meant."""
    directories = [record(id="twice"), record(id="twice")]
    (result,) = synced("twice", transport=backup)

    assert result.directories == tuple(map(str, directories))


@pytest.mark.parametrize(
    "words",
    [
        {"paths": ["nowhere"], "transport": "file"},
        {"paths": ["./nowhere"], "transport": "file"},
        {"everything": False},
        {"paths": "latest", "transport": "file"},
        {"jobs": 0},
        {"patience_s": -1.0},
        {"run_id": "a/b"},
        {"project": "a/b"},
        {"entity": ""},
        {},
        {"transport": "nonsense"},
    ],
)
def test_what_cannot_be_meant(words: dict[str, Any]) -> None:
    """A name without a run, a bad value, or no destination, is a UsageError, and nothing is delivered."""
    record()
    with pytest.raises(UsageError):
        synced(**words)


def test_what_holds_no_run(tmp_path: Path, backup: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is there and holds no run is an error by itself; beside runs a file is passed over, a directory named."""
    directory = record()
    (tmp_path / "empty").mkdir()
    (tmp_path / "wandb" / "offline-run-20260101_000000-empty").mkdir()
    files = tmp_path / "wandb" / "wandb-resume.json"
    files.touch()
    for path, text in {
        tmp_path / "empty": "is no run directory and holds none",
        directory / "files": "is no run directory and holds none",
        tmp_path / "wandb" / "offline-run-20260101_000000-empty": "holds no journal",
        files: "is a file and no run",
        "": "names no run",
    }.items():
        with pytest.raises(UsageError, match=text):
            synced(path, transport=backup)
    for path in (tmp_path / "nowhere", "nowhere"):
        with pytest.raises(UsageError, match="No run"):
            synced(directory, path, transport=backup)
    capsys.readouterr()
    (result,) = synced(*sorted((tmp_path / "wandb").glob("*")), transport=backup)

    assert result.outcome == "delivered"
    (line,) = capsys.readouterr().err.splitlines()
    assert "offline-run-20260101_000000-empty holds no journal, and is left out" in line


# --------------------------------------------------------------------------------------------------------- a server


@pytest.fixture(name="online")
def _online(wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch) -> WandbServer:
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setenv("WANDB_API_KEY", wandb_server.key)
    return wandb_server


def test_the_server_of_the_settings(online: WandbServer) -> None:
    """Without a destination it is the server of the settings; a run arrives there whole, as often as one syncs."""
    directory = record(5)
    for _ in range(2):
        (result,) = synced(directory)
        assert (result.outcome, result.transport) == ("delivered", "http")

    stored = online.run(run_id_of(directory))
    assert stored.steps == [0, 1, 2, 3, 4]
    assert stored.complete


def test_parts_become_one_run_at_a_server(online: WandbServer) -> None:
    """Offline segments of one id, synced in the wrong order and again, are one run at the server."""
    parts = record_parts()
    synced(parts[0])
    synced(parts[2], parts[1])
    synced(*parts)

    assert online.run("chain").steps == [0, 1, 2, 3, 4, 5]


def test_a_server_needs_its_own_key(wandb_server: WandbServer) -> None:
    """The key is that of the server that was named, from its own entry; without one nothing is sent."""
    directory = record()
    (Path.home() / ".netrc").write_text(f"machine elsewhere password {'e' * 40}\n", encoding="utf-8")
    with pytest.raises(AuthenticationError, match="no key"):
        synced(directory, transport=wandb_server.url)
    assert wandb_server.requests() == []

    host = wandb_server.url.removeprefix("http://")
    (Path.home() / ".netrc").write_text(f"machine {host} password {wandb_server.key}\n", encoding="utf-8")
    assert synced(directory, transport=wandb_server.url)[0].outcome == "delivered"


def test_the_transport_of_the_settings(tmp_path: Path) -> None:
    """Without a destination in the call it is the one of the settings."""
    record()
    default.setup(Settings(transport=f"file://{tmp_path}/backup"))

    assert synced()[0].outcome == "delivered"
    assert len(copies(tmp_path)) == 1
