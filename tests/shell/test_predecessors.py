"""Earlier parts of a run are delivered before a later one, and nobody waits for what cannot be delivered."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from attrs import evolve

from corelib.journal import JournalWriter
from corelib.ports import Batch, Capabilities, Delivered, Outcome, Rejected, Retry, RunRef
from corelib.pure.delivery import Policy
from corelib.pure.records import Exit, Row, RunStart
from corelib.shell.cursor import CursorFile
from corelib.shell.delivery import Delivery
from corelib.shell.predecessors import Predecessors, has_backlog
from corelib.shell.source import CompletedSource
from corelib.shell.transport_calls import World
from corelib.testing.specimens import TIME, start_record


class Server:
    """Keeps the rows it is given, and answers `open` as it is told to."""

    def __init__(self, opens: Iterable[Outcome] = ()) -> None:
        self.capabilities = Capabilities(open=True, max_batch_age_s=0.01)
        self.rows: list[int] = []
        self.opens = iter(opens)

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        return next(self.opens, Delivered())

    def deliver(self, batch: Batch) -> Outcome:
        self.rows += [record.data["n"] for record in batch.records if isinstance(record, Row)]
        return Delivered()


class Parts:
    """Run directories of one run, in the order of their beginning."""

    def __init__(self, root: Path) -> None:
        self.root = root / "wandb"
        self.made: list[tuple[Path, RunStart, str]] = []

    def add(self, *numbers: int, ends: bool = True, folder: str = "run", **start: Any) -> Path:
        """Record a part with these rows."""
        count = len(self.made)
        path = self.root / f"{folder}-2026010{count + 1}_030405-abc"
        path.mkdir(parents=True)
        writer = JournalWriter(
            path / "journal",
            run_id="abc",
            writer=f"w{count}",
            start_time=TIME,
            now=TIME,
            host="h",
            primary=True,
        )
        began = evolve(start_record(mode="online", project="p"), **start)
        fields = {
            name: getattr(began, name) for name in RunStart.__annotations__ if name not in ("seq", "time")
        }
        record = writer.append(RunStart, time=TIME, **fields)
        assert isinstance(record, RunStart)
        for number in numbers:
            writer.append(Row, time=TIME, step=number, data={"n": number})
        if ends:
            writer.append(Exit, time=TIME, exit_code=0, runtime=1.0)
        writer.close()
        self.made.append((path, record, f"w{count}"))
        return path

    def deliver(self, server: Server, *, timeout: float = 100.0) -> tuple[Delivery, list[str]]:
        """Deliver the last part, as its courier does, to the end or until the time is up."""
        path, start, writer = self.made[-1]
        told: list[str] = []
        now = [0.0]

        def wait(event: Event, seconds: float) -> None:
            now[0] += seconds

        run = RunRef(run_id="abc", project="p", directory=str(path))
        before = Predecessors(run, start, transport=server, cursor_name="s", name="s", tell=told.append)
        delivery = Delivery(
            server,
            CompletedSource(path / "journal", primary=writer, start=start, start_time=TIME, fate=lambda: 0),
            run=run,
            start=start,
            name="s",
            report=told.append,
            policy=Policy(opens=True, batch_age_s=0.01),
            world=World(clock=lambda: now[0], wait=wait, draw=lambda: 0.0),
            cursor=CursorFile(str(path), "s"),
            before=before.deliver,
        )
        delivery.ask_to_close(timeout)
        delivery.carry()
        return delivery, told


@pytest.fixture(name="parts")
def _parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


def test_earlier_parts_come_first(parts: Parts) -> None:
    """Two parts that nobody delivers any more are delivered before the third; the second time nothing is left."""
    parts.add(1, 2)
    parts.add(3, ends=False)
    parts.add(4, 5)
    server = Server()

    delivery, _ = parts.deliver(server)

    assert server.rows == [1, 2, 3, 4, 5]
    assert delivery.is_drained
    run = RunRef(run_id="abc", project="p")
    assert not has_backlog(str(parts.root), run, "s")
    assert has_backlog(str(parts.root), run, "another destination")
    assert not has_backlog(str(parts.root), evolve(run, project="another"), "another destination")


def test_a_later_part_waits(parts: Parts) -> None:
    """While an earlier part cannot be delivered nothing of the later one leaves, and the reason is known."""
    earlier = parts.add(1)
    parts.add(2)
    server = Server([Retry(reason="HTTP 503")] * 1000)

    delivery, _ = parts.deliver(server, timeout=20.0)

    assert server.rows == []
    assert earlier.name in (delivery.hindrance or "")
    assert "HTTP 503" in (delivery.hindrance or "")


def test_a_part_that_another_process_delivers_is_waited_for(parts: Parts) -> None:
    """Who holds the lock of the earlier part is left to it."""
    earlier_path = parts.add(1)
    earlier = CursorFile(str(earlier_path), "s")
    parts.add(2)
    server = Server()
    assert earlier.lock()

    delivery, told = parts.deliver(server, timeout=5.0)

    assert server.rows == []
    assert any("another process delivers" in line and earlier_path.name in line for line in told)
    assert not delivery.is_drained
    earlier.release()
    parts.deliver(server)
    assert server.rows == [1, 2]


@pytest.mark.parametrize(
    "other",
    [
        {"folder": "offline-run"},
        {"mode": "offline"},
        {"project": "another"},
        {"entity": "another"},
    ],
    ids=str,
)
def test_what_is_no_part_of_it_is_left_alone(parts: Parts, other: dict[str, Any]) -> None:
    """Offline recordings wait for a sync, and a run of the same id elsewhere is another run."""
    parts.add(1, **other)
    parts.add(2)
    server = Server()

    parts.deliver(server)

    assert server.rows == [2]


def test_what_cannot_be_delivered_holds_nobody_up(parts: Parts) -> None:
    """A part that is refused for good, has no journal, or lost its beginning is passed over."""
    parts.add(1)
    shutil.rmtree(parts.add(2) / "journal")
    beginning = next((parts.add(3) / "journal" / "w2").iterdir())
    beginning.write_bytes(b"")
    parts.add(4)
    server = Server([Rejected(reason="gone")])

    parts.deliver(server)

    assert server.rows == [4]
