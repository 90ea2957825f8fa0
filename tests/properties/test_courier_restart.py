"""Couriers that die at any point, again and again: what is delivered in the end is what was journalled, once."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.ports import Batch, Capabilities, Delivered, Outcome, Retry, RunRef
from corelib.pure.backoff import Backoff
from corelib.pure.delivery import Policy
from corelib.pure.records import Exit, RunStart
from corelib.shell.courier_process import CourierProcess
from corelib.shell.cursor import CursorFile
from corelib.shell.delivery import Delivery
from corelib.shell.source import CompletedSource
from corelib.shell.transport_calls import World
from corelib.testing.specimens import TIME
from tests.couriers import LONG_S, WRITER, RunOnDisk, eventually, records_in

POLICY = Policy(
    opens=True, batch_records=3, batch_age_s=0.5, poll_every_s=1.0, backoff=Backoff(first_s=0.1, limit_s=1.0)
)


class Killed(BaseException):
    """What a SIGKILL is: nothing of the process runs after it."""


class Lines:
    """A backend that keeps numbered lines, as a file stream does: a line comes to stand where it is said to stand.

    An end that the journal lacks is no line of it: it is told, as the end of a stream is, and may be told again.
    """

    def __init__(self) -> None:
        self.lines: dict[int, tuple[str, int]] = {}
        self.is_ended = False
        # An assertion within a transport would be taken for a bug of it, and retried.
        self.wrong: list[str] = []


class Streaming:
    """A transport to it that must know, after a restart, where its next line goes.

    `mishaps` is drawn from at each call: what goes wrong, and when.
    """

    def __init__(self, server: Lines, mishaps: Any) -> None:
        self.capabilities = Capabilities(open=True, restartable=True)
        self._server = server
        self._mishaps = mishaps
        self._offset = 0
        self._kept = 0
        self._rebuilt: list[tuple[str, int]] = []
        self._loaded = False

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        # What was rebuilt is what the cursor calls settled: all of it, in each writer's order.
        if self._rebuilt and not self._loaded:
            self._server.wrong.append("rebuilt without a load")
        if self._loaded and len(self._rebuilt) != self._offset:
            self._server.wrong.append(f"{self._rebuilt} rebuilt, and {self._offset} kept")
        for writer in {writer for writer, _ in self._rebuilt}:
            seqs = [seq for author, seq in self._rebuilt if author == writer]
            if seqs != sorted(set(seqs)):
                self._server.wrong.append(f"{seqs} rebuilt")
        return self._answer(lambda: None)

    def deliver(self, batch: Batch) -> Outcome:
        is_told = batch.writer == WRITER + ".end"
        keys = [] if is_told else [(batch.writer, record.seq) for record in batch.records]

        def apply() -> None:
            self._server.is_ended = is_told or any(isinstance(record, Exit) for record in batch.records)
            for number, key in enumerate(keys, start=self._offset):
                self._server.lines[number] = key

        outcome = self._answer(apply)
        if isinstance(outcome, Delivered):
            self._offset += len(keys)
            self._kept = self._offset
        return outcome

    def _answer(self, apply: Any) -> Outcome:
        mishap = next(self._mishaps, "")
        if mishap == "dies before":
            raise Killed
        if mishap == "is away":
            return Retry(reason="away")
        apply()
        if mishap == "dies after":
            raise Killed
        return Retry(reason="the answer was lost") if mishap == "loses the answer" else Delivered()

    def save(self, run: RunRef) -> Mapping[str, Any]:
        return {"offset": self._kept}

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        self._loaded = True
        self._offset = self._kept = saved["offset"]

    def rebuild(self, batch: Batch) -> None:
        self._rebuilt += [(batch.writer, record.seq) for record in batch.records]


class Mortal(CursorFile):
    """A cursor during whose writing the process may die: before, or right after."""

    def __init__(self, directory: str, mishaps: Any) -> None:
        super().__init__(directory, "t")
        self._mishaps = mishaps

    def write(self, cursor: Any) -> None:
        mishap = next(self._mishaps, "")
        if mishap == "dies before":
            raise Killed
        super().write(cursor)
        if mishap == "dies after":
            raise Killed


def carry(run: RunOnDisk, server: Lines, mishaps: Any, fate: Any, waits: int) -> Delivery:
    """Deliver until it is done, or dead, or has waited so often that it is closed."""
    now = [0.0]
    waited = [0]

    def wait(event: Event, seconds: float) -> None:
        now[0] += seconds
        waited[0] += 1
        if waited[0] == waits:
            delivery.ask_to_close(1e4)

    delivery = Delivery(
        Streaming(server, mishaps),
        CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=fate),
        run=run.ref,
        start=run.start,
        name="t",
        report=lambda text: None,
        policy=POLICY,
        world=World(clock=lambda: now[0], wait=wait, draw=lambda: 0.0),
        cursor=Mortal(str(run.directory), mishaps),
    )
    delivery.carry()
    return delivery


@st.composite
def mishaps(draw: st.DrawFn) -> list[str]:
    """Draw what goes wrong in one life: after a while something passing, after another while death, perhaps."""
    passing = st.sampled_from(["is away", "loses the answer"])
    death = st.sampled_from(["dies before", "dies after", ""])
    well, still_well = draw(st.integers(0, 8)), draw(st.integers(0, 8))
    return [*[""] * well, draw(passing), *[""] * still_well, draw(death)]


LIVES = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 3), mishaps() | mishaps().map(lambda drawn: drawn[-7:])),
    min_size=1,
    max_size=6,
)


@given(lives=LIVES, ends=st.booleans())
def test_a_streaming_backend_holds_every_record_once_and_in_order(
    tmp_path_factory: Any, lives: list[tuple[int, int, list[str]]], ends: bool
) -> None:
    """Whatever kills couriers between any two things they do, the lines in the end are the journal's records."""
    check_lives(RunOnDisk(tmp_path_factory.mktemp("run"), segment_bytes=600), lives, "nothing", ends=ends)


@given(lives=LIVES, damage=st.sampled_from(["a byte", "the end", "everything"]), ends=st.booleans())
def test_a_cursor_that_a_crash_has_damaged_costs_a_repetition(
    tmp_path_factory: Any, lives: list[tuple[int, int, list[str]]], damage: str, ends: bool
) -> None:
    """Where the cursor is damaged before the last courier comes, the lines in the end are the same."""
    check_lives(RunOnDisk(tmp_path_factory.mktemp("run"), segment_bytes=600), lives, damage, ends=ends)


def check_lives(run: RunOnDisk, lives: list[tuple[int, int, list[str]]], damages: str, *, ends: bool) -> None:
    """Let couriers live and die while a run is written, and one live on; check what has arrived."""
    child = run.child()
    server = Lines()
    for rows, childs, drawn in lives:
        run.log(rows)
        for _ in range(childs):
            child.row(TIME, None, {"a": 1})
        carry(run, server, iter(drawn), lambda: None, waits=3)
    cursor = Path(CursorFile(str(run.directory), "t").path)
    if cursor.exists() and damages != "nothing":
        data = cursor.read_bytes()
        place = len(data) // 2
        damaged = {
            "a byte": data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],
            "the end": data[:place],
            "everything": b"",
        }
        cursor.write_bytes(damaged[damages])
    if ends:
        run.end()
    last = carry(run, server, iter(()), lambda: 1, waits=1)

    lines = [server.lines[number] for number in sorted(server.lines)]
    assert sorted(server.lines) == list(range(len(lines))), "there is a gap"
    written = records_in(run.journal)
    for writer in (WRITER, "child"):
        seqs = [record.seq for record in written.get(writer, [])]
        assert [seq for author, seq in lines if author == writer] == seqs
    assert server.wrong == []
    assert last.is_drained
    assert server.is_ended
    # An end that the journal lacks is counted by the delivery that gave it, and by no later one.
    assert last.ledger.delivered - len(lines) in ((0,) if ends else (0, 1))
    run.writer.close()
    child.close()


def kill_at_random(run: RunOnDisk, kills: int, rows: int, seed: int) -> CourierProcess:
    """Log and have the courier killed at random points, so often; then close it."""
    chance = random.Random(seed)
    courier = CourierProcess(run.spec(linger_s=LONG_S), report=lambda text: None)
    courier.start()
    for _ in range(kills):
        run.log(rows)
        pid = courier.pid
        time.sleep(chance.uniform(0.0, 0.15))
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    run.end()
    assert courier.close(LONG_S).settled
    return courier


@pytest.mark.parametrize("seed", range(2))
def test_a_mirror_holds_every_record_once_however_often_its_courier_is_killed(
    tmp_path: Path, seed: int
) -> None:
    """A real process, really killed, while segments rotate: the copy is the journal, record for record."""
    run = RunOnDisk(tmp_path, segment_bytes=20_000)
    courier = kill_at_random(run, kills=8, rows=200, seed=seed)

    assert records_in(run.mirror) == records_in(run.journal)
    assert courier.ledger.delivered == len(records_in(run.journal)[WRITER])
    assert courier.is_drained


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10, 20))
def test_twenty_deaths_in_one_run(tmp_path: Path, seed: int) -> None:
    """Twenty couriers of one run die at random points, and nothing is lost or doubled."""
    run = RunOnDisk(tmp_path, segment_bytes=20_000)
    courier = kill_at_random(run, kills=20, rows=300, seed=seed)

    assert records_in(run.mirror) == records_in(run.journal)
    assert courier.ledger.delivered == len(records_in(run.journal)[WRITER])


@pytest.mark.parametrize("damage", [b"", b"{", b"\0" * 200])
def test_a_damaged_cursor_doubles_nothing_where_records_have_keys(tmp_path: Path, damage: bytes) -> None:
    """After a crash that took the cursor, everything is sent again, and everything is there once."""
    run = RunOnDisk(tmp_path)
    run.log(100)
    first = CourierProcess(run.spec(linger_s=LONG_S), report=lambda text: None)
    first.start()
    eventually(lambda: first.ledger.delivered == 101)
    first.close(LONG_S)
    (run.directory / "cursor-t.json").write_bytes(damage)
    run.log(100)
    run.end()
    told: list[str] = []
    second = CourierProcess(run.spec(linger_s=LONG_S), report=told.append)
    second.start()
    ledger = second.close(LONG_S)

    assert ledger.delivered == 202
    assert any("damaged" in line for line in told)
    assert records_in(run.mirror) == records_in(run.journal)
    assert isinstance(records_in(run.mirror)[WRITER][-1], Exit)
