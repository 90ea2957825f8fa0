"""A delivery with a cursor: one at a time, going on where the last one ended, forgetting nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from corelib.ports import (
    Batch,
    Capabilities,
    Delivered,
    LateLoss,
    Outcome,
    Rejected,
    RemoteAddress,
    Retry,
    RunRef,
)
from corelib.pure.backoff import Backoff
from corelib.pure.cursor import Cursor
from corelib.pure.delivery import Policy
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Alert, Exit, Record, RunStart
from corelib.shell.cursor import CursorFile
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.delivery import Delivery, Observer
from corelib.shell.source import CompletedSource
from corelib.shell.transport_calls import World
from corelib.testing.specimens import TIME
from tests.couriers import WRITER, RunOnDisk

POLICY = Policy(batch_records=3, batch_age_s=0.01, poll_every_s=0.01, backoff=Backoff(first_s=0.01))


class Restartable:
    """A transport that must be told what it knew; it is told by the tests what to answer."""

    def __init__(self, answers: Iterable[Outcome] = (), **capabilities: Any) -> None:
        self.capabilities = Capabilities(**{"restartable": True, "open": True, "close": True, **capabilities})
        self.answers = iter(answers)
        self.known: list[int] = []
        self.calls: list[tuple[Any, ...]] = []
        self.answered = 0

    def _answer(self, *call: Any) -> Outcome:
        self.calls.append(call)
        return next(self.answers, Delivered())

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        return self._answer("open")

    def deliver(self, batch: Batch) -> Outcome:
        outcome = self._answer("deliver", [record.seq for record in batch.records], batch.header is not None)
        if not isinstance(outcome, Retry):
            self.known += [record.seq for record in batch.records]
        return outcome

    def redeliver(self, batch: Batch) -> Outcome:
        return self._answer("redeliver", [record.seq for record in batch.records], batch.header is not None)

    def heartbeat(self, run: RunRef) -> Outcome:
        return self._answer("heartbeat")

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        return {"known": len(self.known)}

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        self.calls.append(("load", dict(saved)))

    def rebuild(self, batch: Batch) -> None:
        self.calls.append(("rebuild", [record.seq for record in batch.records], batch.header is not None))
        self.known += [record.seq for record in batch.records]

    def close(self) -> None:
        self.calls.append(("close",))

    def sent(self) -> list[int]:
        return [seq for call in self.calls if call[0] == "deliver" for seq in call[1]]


class Watching(Observer):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        super().__init__(self.heard.append, lambda: self.heard.append("stopped"))


def world() -> World:
    """Return a world in which waiting takes no time."""
    now = [0.0]

    def wait(event: Event, seconds: float) -> None:
        now[0] += seconds

    return World(clock=lambda: now[0], wait=wait, draw=lambda: 0.0)


def deliver(
    run: RunOnDisk,
    transport: Any,
    *,
    fate: Callable[[], int | None] = lambda: None,
    timeout: float = 1000.0,
    observer: Observer | None = None,
    policy: Policy | None = None,
    name: str = "t",
    again: bool = False,
) -> tuple[Delivery, list[str]]:
    """Carry what is there to the end, as a courier that is closed does; return it and what was told."""
    told: list[str] = []
    source = CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=fate)
    declared = transport.capabilities
    delivery = Delivery(
        transport,
        source,
        run=run.ref,
        start=run.start,
        name="t",
        report=told.append,
        policy=policy or Policy(opens=declared.open, batch_records=3, heartbeat_s=declared.heartbeat_s),
        world=world(),
        cursor=CursorFile(str(run.directory), name),
        dead_letters=DeadLetters(str(run.directory), name, run.ref.run_id),
        observer=observer,
        again=again,
    )
    delivery.ask_to_close(timeout)
    delivery.carry()
    return delivery, told


def cursor_of(run: RunOnDisk) -> Cursor | None:
    return CursorFile(str(run.directory), "t").read(run.ref.run_id)


# Going on.


def test_the_next_delivery_begins_where_this_one_ended(tmp_path: Path) -> None:
    """What was answered for good is not sent again; the books go on."""
    run = RunOnDisk(tmp_path)
    run.log(5)
    first = Restartable(restartable=False)
    assert deliver(run, first)[0].ledger == Ledger(accepted=6, delivered=6)
    run.log(2)
    second = Restartable(restartable=False)
    delivery, told = deliver(run, second)

    assert second.calls == [("open",), ("deliver", [7, 8], True), ("close",)]
    assert delivery.ledger == Ledger(accepted=8, delivered=8)
    assert told == []


def test_what_is_under_way_comes_again(tmp_path: Path) -> None:
    """A batch that was not answered for good is no part of the cursor, nor is what was read behind it."""
    run = RunOnDisk(tmp_path)
    run.log(10)
    busy = Retry(reason="busy")
    first = Restartable([Delivered(), Delivered(), *[busy] * 100], restartable=False)
    delivery, _ = deliver(run, first, timeout=5.0)
    assert delivery.ledger.delivered == 3
    assert delivery.ledger.pending > 0
    cursor = cursor_of(run)
    assert cursor is not None
    assert cursor.settled == {WRITER: 3}
    assert cursor.ledger == Ledger(accepted=3, delivered=3)
    second = Restartable(restartable=False)
    deliver(run, second)

    assert second.sent() == list(range(4, 12))


def test_a_restartable_transport_is_told_what_it_knew(tmp_path: Path) -> None:
    """First what it wanted kept, then every settled record in order, then the run is opened, then the rest comes."""
    run = RunOnDisk(tmp_path, segment_bytes=400)
    run.log(7)
    first = Restartable()
    deliver(run, first)
    run.log(1)
    second = Restartable()
    delivery, _ = deliver(run, second)

    assert second.calls[0] == ("load", {"known": 8})
    rebuilt = [call for call in second.calls if call[0] == "rebuild"]
    assert [seq for call in rebuilt for seq in call[1]] == first.known
    assert all(1 <= len(call[1]) <= 3 and call[2] for call in rebuilt)
    kinds = [call[0] for call in second.calls]
    assert kinds == ["load", *["rebuild"] * len(rebuilt), "open", "deliver", "close"]
    assert second.known == [*first.known, run.writer.seq]
    assert delivery.ledger == Ledger(accepted=9, delivered=9)


def test_what_is_kept_with_open_is_kept_before_anything_is_sent(tmp_path: Path) -> None:
    """A death between opening and the first answer leads to `load`, with nothing to rebuild."""
    run = RunOnDisk(tmp_path)
    deliver(run, Restartable([Delivered(), *[Retry(reason="busy")] * 100]), timeout=3.0)
    again = Restartable()
    deliver(run, again)

    assert again.calls == [("load", {"known": 0}), ("open",), ("deliver", [1], True), ("close",)]


def test_where_nothing_was_kept_everything_comes_anew(tmp_path: Path) -> None:
    """A restartable transport that kept nothing knows nothing: all records are delivered to it."""
    run = RunOnDisk(tmp_path)
    run.log(3)
    deliver(run, Restartable(restartable=False))
    again = Restartable()
    delivery, _ = deliver(run, again)

    assert again.calls[0] == ("open",)
    assert again.sent() == [1, 2, 3, 4]
    assert delivery.ledger == Ledger(accepted=4, delivered=4)


def test_who_cannot_take_up_what_it_kept_begins_anew_the_next_time(tmp_path: Path) -> None:
    """A transport that fails to load ends its delivery and not all that follow; its own words are not shown."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    deliver(run, Restartable())
    failing = Restartable()

    def load(run: RunRef, saved: Mapping[str, Any]) -> None:
        raise RuntimeError("hunter2")

    failing.load = load  # type: ignore[method-assign]
    delivery, told = deliver(run, failing)
    assert delivery.is_broken
    assert len(told) == 1
    assert "RuntimeError" in told[0]
    assert "hunter2" not in told[0]
    again = Restartable()
    delivery, _ = deliver(run, again)

    assert not delivery.is_broken
    assert again.sent() == [1, 2, 3]


def test_a_damaged_cursor_costs_a_repetition(tmp_path: Path) -> None:
    """What cannot be read is told, and everything is sent again, with its keys."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    deliver(run, Restartable())
    (run.directory / "cursor-t.json").write_text('{"checksum":')
    again = Restartable()
    delivery, told = deliver(run, again)

    assert again.sent() == [1, 2, 3]
    assert len(told) == 1
    assert "damaged" in told[0]
    assert "begins anew" in told[0]
    assert delivery.ledger == Ledger(accepted=3, delivered=3)
    assert cursor_of(run) is not None


def test_writers_are_gone_on_with_one_by_one(tmp_path: Path) -> None:
    """A cursor in the middle of one writer's records forgets none of another's."""
    run = RunOnDisk(tmp_path)
    run.log(6)
    child = run.child()
    for _ in range(5):
        child.row(TIME, None, {"a": 1})
    busy = Retry(reason="busy")
    first = Restartable([Delivered(), Delivered(), Delivered(), *[busy] * 100], restartable=False)
    deliver(run, first, timeout=5.0)
    settled = {seq for call in first.calls[1:3] for seq in call[1]}
    second = Restartable(restartable=False)
    delivery, _ = deliver(run, second)

    assert delivery.ledger == Ledger(accepted=12, delivered=12)
    assert len(settled) + len(second.sent()) == 12


def test_the_end_of_the_run_is_remembered(tmp_path: Path) -> None:
    """A run whose process died gets one end, from whichever delivery comes first."""
    run = RunOnDisk(tmp_path)
    run.log(1)
    first, second = Restartable(restartable=False), Restartable(restartable=False)
    deliver(run, first, fate=lambda: 1)
    delivery, _ = deliver(run, second, fate=lambda: 1)

    assert first.sent() == [1, 2, 2], "the end has a number of its own writer"
    assert second.sent() == []
    cursor = cursor_of(run)
    assert cursor is not None
    assert cursor.exited
    assert delivery.ledger == Ledger(accepted=3, delivered=3)


# The right to deliver.


def test_a_second_delivery_waits_for_the_first(tmp_path: Path) -> None:
    """Who comes while another one delivers says so once, and goes on behind its cursor when that is done."""
    run = RunOnDisk(tmp_path)
    run.log(3)
    deliver(run, Restartable(restartable=False))
    run.log(1)
    other = CursorFile(str(run.directory), "t")
    assert other.lock()
    transport = Restartable(restartable=False)
    waits: list[float] = []
    told: list[str] = []

    def wait(event: Event, seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            other.release()

    delivery = Delivery(
        transport,
        CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=lambda: None),
        run=run.ref,
        start=run.start,
        name="t",
        report=told.append,
        policy=POLICY,
        world=World(clock=lambda: 0.0, wait=wait),
        cursor=CursorFile(str(run.directory), "t"),
    )
    delivery.ask_to_close(1000.0)
    delivery.carry()

    assert transport.sent() == [5]
    assert len(told) == 1
    assert "another process delivers this run" in told[0]


def test_who_gets_no_right_to_deliver_returns_in_time(tmp_path: Path) -> None:
    """At its deadline it ends, having sent nothing, and its books are those of whoever delivers."""
    run = RunOnDisk(tmp_path)
    run.log(3)
    deliver(run, Restartable(restartable=False))
    other = CursorFile(str(run.directory), "t")
    assert other.lock()
    transport = Restartable()
    delivery, _ = deliver(run, transport, timeout=7.5)
    other.release()

    assert transport.calls == [("close",)]
    assert delivery.ledger == Ledger(accepted=4, delivered=4)
    assert not delivery.is_drained


def test_another_destination_has_a_right_of_its_own(tmp_path: Path) -> None:
    """One transport that fails, or is slow, does not keep another from delivering."""
    run = RunOnDisk(tmp_path)
    other = CursorFile(str(run.directory), "u")
    assert other.lock()

    assert deliver(run, Restartable())[0].ledger.settled
    other.release()


def test_the_right_is_given_back(tmp_path: Path) -> None:
    """After a delivery, a broken one as well, the next one may come at once."""
    run = RunOnDisk(tmp_path)
    deliver(run, Restartable())
    other = CursorFile(str(run.directory), "t")

    assert other.lock()
    other.release()


def test_without_a_place_for_a_cursor_it_delivers_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run directory that cannot be written costs the cursor, not the delivery."""
    run = RunOnDisk(tmp_path)

    def refuse(self: CursorFile) -> bool:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(CursorFile, "lock", refuse)
    transport = Restartable()
    delivery, told = deliver(run, transport)

    assert transport.sent() == [1]
    assert delivery.ledger.settled
    assert told == ["transport t: no cursor can be kept (Read-only file system); a restart begins anew."]


def test_a_cursor_that_cannot_be_written_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs a repetition after a restart, and is no reason not to deliver."""
    run = RunOnDisk(tmp_path)
    run.log(9)

    def refuse(self: CursorFile, cursor: Cursor) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CursorFile, "write", refuse)
    transport = Restartable()
    delivery, told = deliver(run, transport)

    assert delivery.ledger == Ledger(accepted=10, delivered=10)
    assert len(told) == 1
    assert "No space left on device" in told[0]


@pytest.mark.parametrize("saved", [{"an object": object()}, RuntimeError("hunter2")])
def test_a_transport_that_cannot_say_what_it_knows_is_told_once(tmp_path: Path, saved: object) -> None:
    """A bug in `save` is told without its text, keeps nothing, and does not end the delivery."""
    run = RunOnDisk(tmp_path)
    run.log(9)
    transport = Restartable()

    def save(run: RunRef) -> Any:
        if isinstance(saved, Exception):
            raise saved
        return saved

    transport.save = save  # type: ignore[method-assign]
    delivery, told = deliver(run, transport)

    assert delivery.ledger == Ledger(accepted=10, delivered=10)
    assert len(told) == 1
    assert "save() failed" in told[0]
    assert "hunter2" not in told[0]
    assert cursor_of(run) is None


# Refused records.


def letters(run: RunOnDisk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.directory / "dead-letters-t.jsonl").read_text().splitlines()]


def test_refused_records_are_kept_and_not_sent_again(tmp_path: Path) -> None:
    """What is refused for good goes to the dead letters, is counted, and is settled."""
    run = RunOnDisk(tmp_path)
    run.log(5)
    first = Restartable([Delivered(), Delivered(), Rejected(reason="too long", seqs=(5,))], restartable=False)
    delivery, _ = deliver(run, first)
    again = Restartable(restartable=False)
    later, _ = deliver(run, again)

    assert delivery.ledger == Ledger(accepted=6, delivered=5, reasons={"too long": 1})
    assert [(letter["writer"], letter["seq"], letter["reason"]) for letter in letters(run)] == [
        (WRITER, 5, "too long")
    ]
    assert again.sent() == []
    assert later.ledger == delivery.ledger


def test_a_refused_run_is_tried_again_by_the_next_delivery(tmp_path: Path) -> None:
    """A run that may not be delivered today may be tomorrow: its records are counted, and nothing is settled."""
    run = RunOnDisk(tmp_path)
    run.log(5)
    refused = Restartable([Rejected(reason="no such project")])
    delivery, _ = deliver(run, refused)
    assert delivery.ledger == Ledger(accepted=6, reasons={"no such project": 6})
    assert [letter["seq"] for letter in letters(run)] == [None]
    again = Restartable()

    assert deliver(run, again)[0].ledger == Ledger(accepted=6, delivered=6)


def test_dead_letters_are_written_before_the_cursor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed between the two has the records refused once more, rather than lost from sight."""
    run = RunOnDisk(tmp_path)
    order: list[str] = []
    write, add = CursorFile.write, DeadLetters.add

    def written(self: CursorFile, cursor: Cursor) -> None:
        if cursor.settled:
            order.append("cursor")
        write(self, cursor)

    def added(self: DeadLetters, *arguments: Any) -> None:
        order.append("letter")
        add(self, *arguments)

    monkeypatch.setattr(CursorFile, "write", written)
    monkeypatch.setattr(DeadLetters, "add", added)
    deliver(run, Restartable([Delivered(), Rejected(reason="no")]))

    assert order == ["letter", "cursor"]


def with_alerts(tmp_path: Path) -> RunOnDisk:
    """Return a run with a start, a row, two alerts and another row, of which row 2 and alerts 3 and 4 are refused."""
    run = RunOnDisk(tmp_path)
    run.log(1)
    for _ in range(2):
        run.writer.append(Alert, time=TIME, title="t", text="x", level="INFO", wait_duration=0.0)
    run.log(1)
    refused = Rejected(reason="no", seqs=(2, 3))
    first = Restartable([Delivered(), refused, Rejected(reason="never", seqs=(4,))])
    assert deliver(run, first)[0].ledger == Ledger(accepted=5, delivered=2, reasons={"no": 2, "never": 1})
    return run


def test_refused_files_and_alerts_are_sent_again_where_that_is_asked_for(tmp_path: Path) -> None:
    """What is taken then counts as delivered, and its letter is gone; the rest stays as it was, and so do rows."""
    run = with_alerts(tmp_path)
    assert [letter["seq"] for letter in letters(run)] == [2, 3, 4]
    for again, capable in ((False, True), (True, False)):
        transport = Restartable(redeliver=capable)
        deliver(run, transport, again=again)
        assert "redeliver" not in [call[0] for call in transport.calls]

    busy, still = Retry(reason="busy"), Rejected(reason="still not", seqs=(3,))
    transport = Restartable([Delivered(), busy, still], redeliver=True)
    delivery, _ = deliver(run, transport, again=True)
    assert transport.calls[-4:] == [("open",), *[("redeliver", [3, 4], True)] * 2, ("close",)]
    assert delivery.ledger == Ledger(accepted=5, delivered=3, reasons={"no": 2})
    cursor = cursor_of(run)
    assert cursor is not None
    assert cursor.ledger == delivery.ledger
    assert [letter["seq"] for letter in letters(run)] == [2, 3]

    ledger = deliver(run, Restartable(redeliver=True), again=True)[0].ledger
    assert ledger == Ledger(accepted=5, delivered=4, reasons={"no": 1})
    assert [letter["seq"] for letter in letters(run)] == [2]
    last = Restartable(redeliver=True)
    assert deliver(run, last, again=True)[0].ledger == ledger
    assert "redeliver" not in [call[0] for call in last.calls]


def test_a_crash_between_the_cursor_and_the_letters_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted, and whose letter was not taken out, is sent once more, and its letter is gone then."""
    run = with_alerts(tmp_path)
    with monkeypatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(DeadLetters, "take_back", full)
        delivery, told = deliver(run, Restartable(redeliver=True), again=True)
        assert told == ["transport t: the dead letters cannot be rewritten (No space left on device)."]
    assert delivery.ledger == Ledger(accepted=5, delivered=4, reasons={"no": 1})
    assert [letter["seq"] for letter in letters(run)] == [2, 3, 4]

    assert deliver(run, Restartable(redeliver=True), again=True)[0].ledger == delivery.ledger
    assert [letter["seq"] for letter in letters(run)] == [2]


def test_what_was_called_safe_and_is_lost_is_set_aside(tmp_path: Path) -> None:
    """It moves from delivered to refused, and the cursor says so, also where nothing else was settled."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    lost = LateLoss(WRITER, run.start, "gone")
    deliver(run, Restartable())
    delivery, _ = deliver(run, Restartable([Delivered(late=(lost,))]))

    assert delivery.ledger == Ledger(accepted=3, delivered=2, reasons={"gone": 1})
    assert [letter["seq"] for letter in letters(run)] == [run.start.seq]
    cursor = cursor_of(run)
    assert cursor is not None
    assert cursor.ledger == delivery.ledger


def test_dead_letters_that_cannot_be_written_are_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the dead letters; the records are in the journal, and are counted."""
    run = RunOnDisk(tmp_path)
    run.log(9)

    def refuse(self: DeadLetters, *arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DeadLetters, "add", refuse)
    transport = Restartable([Delivered(), *[Rejected(reason="no")] * 10])
    delivery, told = deliver(run, transport)

    assert delivery.ledger == Ledger(accepted=10, reasons={"no": 10})
    assert len([line for line in told if "cannot be set aside" in line]) == 1


# What the backend says beside its answers.


def test_news_are_passed_on(tmp_path: Path) -> None:
    """Notices are told, the run's address when it changes, a request to stop once."""
    run = RunOnDisk(tmp_path)
    run.log(7)
    here = RemoteAddress("team", "p", "abc", "a run", "https://host/team/p/abc")
    there = here._replace(name="renamed")
    answers = [
        Delivered(notices=("hello",), remote=here),
        Delivered(remote=here, stop=True),
        Rejected(reason="no", seqs=(4,), notices=("one more thing",)),
        Delivered(remote=there, stop=True),
    ]
    watching = Watching()
    _, told = deliver(run, Restartable(answers), observer=watching)

    assert watching.heard == [here, "stopped", there]
    assert told == [
        "transport t: hello",
        "transport t: one more thing",
        "transport t: 1 of 3 records are refused for good: no",
    ]


def test_nobody_has_to_listen(tmp_path: Path) -> None:
    """News for which nobody has asked are no error."""
    run = RunOnDisk(tmp_path)
    answers = [Delivered(stop=True, remote=RemoteAddress(None, "p", "abc"))]
    delivery, _ = deliver(run, Restartable(answers), observer=Observer())

    assert not delivery.is_broken


def test_an_idle_backend_hears_of_the_run(tmp_path: Path) -> None:
    """Where the transport declares it, it is called when nothing else has happened for so long."""
    run = RunOnDisk(tmp_path)
    transport = Restartable(heartbeat_s=5.0)
    now = [0.0]

    def wait(event: Event, seconds: float) -> None:
        now[0] += seconds
        if now[0] > 16.0:
            delivery.ask_to_close(1.0)

    delivery = Delivery(
        transport,
        CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=lambda: None),
        run=run.ref,
        start=run.start,
        name="t",
        report=lambda text: None,
        world=World(clock=lambda: now[0], wait=wait, draw=lambda: 0.0),
    )
    delivery.carry()

    assert [call[0] for call in transport.calls] == ["open", "deliver", *["heartbeat"] * 3, "close"]


def test_a_hidden_exit_code_does_not_end_a_delivery(tmp_path: Path) -> None:
    """As long as the exit code is not known the delivery waits for it, and does not call the run delivered."""
    run = RunOnDisk(tmp_path)
    run.log(1)
    run.end(exit_code=None)
    asked = [0]

    def fate() -> int | None:
        asked[0] += 1
        return 4 if asked[0] > 5 else None

    codes: list[Record] = []
    transport = Restartable(restartable=False)
    deliver_batch = transport.deliver

    def delivered(batch: Batch) -> Outcome:
        codes.extend(record for record in batch.records if isinstance(record, Exit))
        return deliver_batch(batch)

    transport.deliver = delivered  # type: ignore[method-assign]
    delivery, _ = deliver(run, transport, fate=fate)

    assert transport.sent() == [1, 2, 3]
    assert [record.exit_code for record in codes if isinstance(record, Exit)] == [4]
    assert delivery.is_drained
