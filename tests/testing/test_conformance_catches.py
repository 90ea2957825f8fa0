"""The conformance suite finds the transports that break a promise: for each promise, one that breaks it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corelib.ports import Absent, Batch, Capabilities, Created, Delivered, Rejected, Retry, RunRef, Transport
from corelib.pure.records import Record, Row
from corelib.testing import TransportConformance
from transports.memory import MemoryTransport

ROOT = Path(__file__).parent.parent.parent


class Suite(TransportConformance):
    """The suite for memory transports, called test by test."""

    __test__ = False

    def restart(self, transport: Transport) -> Transport:
        return transport

    def delivered_records(self, transport: Transport, run: RunRef) -> Sequence[tuple[str, Record]]:
        held: Sequence[tuple[str, Record]] = transport.held(run)  # type: ignore[attr-defined]
        return held


class Sound(MemoryTransport):
    """A transport that keeps every promise; the broken ones below differ from it in one thing."""

    def held(self, run: RunRef) -> list[tuple[str, Record]]:
        """Return what it holds of a run, as (writer, record)."""
        writers = {batch.writer for batch in self.batches}
        return [(name, record) for name in sorted(writers) for record in self.records(run.run_id, name)]


class Answering(Sound):
    """Answers everything with one object."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def deliver(self, batch: Batch) -> Any:
        return self.answer


class Doubling(Sound):
    """Keeps what comes again once more."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Batch] = []

    def deliver(self, batch: Batch) -> Any:
        self.all.append(batch)
        return super().deliver(batch)

    def held(self, run: RunRef) -> list[tuple[str, Record]]:
        return [(batch.writer, record) for batch in self.all if batch.run == run for record in batch.records]


class Reversing(Sound):
    """Holds the newest record first."""

    def held(self, run: RunRef) -> list[tuple[str, Record]]:
        return super().held(run)[::-1]


class Changing(Sound):
    """Writes into the rows that it is given."""

    def deliver(self, batch: Batch) -> Any:
        for record in batch.records:
            if isinstance(record, Row) and isinstance(record.data, dict):
                record.data["seen"] = True
        return super().deliver(batch)


class Truncating(Sound):
    """Keeps the first hundred records of a batch, and calls all delivered."""

    def deliver(self, batch: Batch) -> Any:
        return super().deliver(evolve(batch, records=batch.records[:100]))


class Rounding(Sound):
    """Keeps rows without the values that it does not understand, and calls them delivered."""

    def deliver(self, batch: Batch) -> Any:
        kept = tuple(
            evolve(
                record,
                data={
                    key: value
                    for key, value in record.data.items()
                    if not (isinstance(value, float) and isnan(value))
                },
            )
            if isinstance(record, Row)
            else record
            for record in batch.records
        )
        return super().deliver(evolve(batch, records=kept))


class Raising(Sound):
    """Raises for values that it does not expect."""

    def deliver(self, batch: Batch) -> Any:
        for record in batch.records:
            if isinstance(record, Row):
                str(record.data).encode("utf-8").decode("ascii")
        return super().deliver(batch)


class NeedingHeaders(Sound):
    """Takes for granted that a header is there."""

    def deliver(self, batch: Batch) -> Any:
        assert batch.header is not None
        return super().deliver(batch)


class Mixing(Sound):
    """Knows a record by its number alone, whoever wrote it."""

    def deliver(self, batch: Batch) -> Any:
        known = {record.seq for record in self.records(batch.run.run_id)}
        new = tuple(record for record in batch.records if record.seq not in known)
        return super().deliver(evolve(batch, records=new)) if new else Delivered()


class ThreadBound(Sound):
    """Works on the thread alone on which it was made, as a database handle may."""

    def __init__(self) -> None:
        super().__init__()
        self.thread = threading.get_ident()

    def deliver(self, batch: Batch) -> Any:
        assert threading.get_ident() == self.thread
        return super().deliver(batch)


class OneRun(Sound):
    """Cannot be used after close."""

    closed = False

    def deliver(self, batch: Batch) -> Any:
        return Rejected(reason="closed") if self.closed else super().deliver(batch)

    def close(self) -> None:
        self.closed = True


class OneOpening(Sound):
    """Refuses to open a run that it knows."""

    def open(self, run: RunRef, start: Any) -> Any:
        return Rejected(reason="exists") if "open" in self.calls else super().open(run, start)


class Mistaking(Sound):
    """Takes any run for the one it knows."""

    def lookup(self, run: RunRef, timeout: float) -> Any:
        known = self.records()
        return Created() if known else Absent()


class Forgetting(Sound):
    """Never knows a run."""

    def lookup(self, run: RunRef, timeout: float) -> Any:
        return Absent()


class Speechless(Sound):
    """Answers a lookup with nothing."""

    def lookup(self, run: RunRef, timeout: float) -> Any:
        return None


def declaring(**capabilities: Any) -> Callable[[], Sound]:
    return lambda: Sound(
        capabilities=evolve(Capabilities(lookup=True, open=True, close=True), **capabilities)
    )


BROKEN: list[tuple[str, Callable[[], Any], str, dict[str, Any]]] = [
    ("no transport", object, "test_it_is_a_transport", {}),
    ("other capabilities", lambda: Sound(capabilities={}), "test_it_is_a_transport", {}),  # type: ignore[arg-type]
    ("undeclared", declaring(lookup=False), "test_it_declares_what_it_has", {"capability": "lookup"}),
    ("no room", declaring(max_batch_records=0), "test_its_bounds_can_be_kept", {}),
    ("no bytes", declaring(max_batch_bytes=0), "test_its_bounds_can_be_kept", {}),
    ("no age", declaring(max_batch_age_s=0.0), "test_its_bounds_can_be_kept", {}),
    ("endless age", declaring(max_batch_age_s=float("inf")), "test_its_bounds_can_be_kept", {}),
    ("no time", declaring(time_budget_s=0.0), "test_its_bounds_can_be_kept", {}),
    ("no pause", declaring(heartbeat_s=0.0), "test_its_bounds_can_be_kept", {}),
    ("no outcome", lambda: Answering(None), "test_it_takes_a_run", {}),
    ("never ready", lambda: Answering(Retry(reason="later")), "test_it_takes_a_run", {}),
    ("negative wait", lambda: Answering(Retry(reason="later", after=-1.0)), "test_it_takes_a_run", {}),
    ("no reason", lambda: Answering(Rejected(reason="")), "test_it_takes_a_run", {}),
    ("strange numbers", lambda: Answering(Rejected(reason="x", seqs=(9,))), "test_it_takes_a_run", {}),
    ("refusing", lambda: Answering(Rejected(reason="x")), "test_it_takes_a_run", {}),
    ("losing", lambda: Answering(Delivered()), "test_it_takes_a_run", {}),
    ("reversing", Reversing, "test_it_takes_a_run", {}),
    ("changing", Changing, "test_it_takes_a_run", {}),
    ("truncating", Truncating, "test_it_takes_a_full_batch", {}),
    ("rounding", Rounding, "test_it_takes_or_rejects_odd_values", {"name": "non-finite numbers"}),
    ("raising", Raising, "test_it_takes_or_rejects_odd_values", {"name": "other scripts"}),
    ("needing headers", NeedingHeaders, "test_it_takes_a_writer_without_header", {}),
    ("mixing writers", Mixing, "test_it_takes_writers_by_turns", {}),
    ("doubling", Doubling, "test_a_repeated_batch_changes_nothing", {}),
    ("doubling parts", Doubling, "test_records_repeated_in_other_batches_change_nothing", {}),
    ("doubling later", Doubling, "test_records_repeated_after_a_restart_change_nothing", {}),
    ("mistaking", Mistaking, "test_an_unknown_run_is_absent", {}),
    ("forgetting", Forgetting, "test_a_delivered_run_is_found", {}),
    ("speechless", Speechless, "test_a_lookup_always_has_an_answer", {}),
    ("opening once", OneOpening, "test_opening_twice_is_harmless", {}),
    ("one run", OneRun, "test_it_serves_another_run_after_close", {}),
    ("thread-bound", ThreadBound, "test_it_works_on_the_courier_s_thread", {}),
    ("thread-bound twice", ThreadBound, "test_two_runs_at_a_time", {}),
]


def call(make: Callable[[], Any], test: str, arguments: dict[str, Any]) -> None:
    suite = Suite()
    method = getattr(suite, test)
    names = method.__code__.co_varnames[: method.__code__.co_argcount]
    if "run" in names:
        arguments = {**arguments, "run": suite.new_run()}
    method(transport=make(), **arguments)


@pytest.mark.parametrize(
    ("make", "test", "arguments"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN]
)
def test_a_broken_promise_is_found(make: Callable[[], Any], test: str, arguments: dict[str, Any]) -> None:
    """The test for a promise fails for the transport that breaks it, and passes for the sound one."""
    call(Sound, test, arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception, UnicodeError)):
        call(make, test, arguments)


def test_every_promise_has_a_transport_that_breaks_it() -> None:
    """No test of the suite is left that nothing was seen to fail."""
    # What needs no answer but "no exception": shown by transports that raise.
    harmless = {
        "test_it_takes_every_kind_of_record",
        "test_it_takes_or_rejects_a_record_larger_than_a_batch",
        "test_closing_needs_no_delivery",
    }
    tests = {name for name in vars(TransportConformance) if name.startswith("test_")}

    assert tests - {row[2] for row in BROKEN} == harmless


@pytest.mark.parametrize(
    "test", ["test_it_takes_every_kind_of_record", "test_it_takes_or_rejects_a_record_larger_than_a_batch"]
)
def test_an_exception_is_found(test: str) -> None:
    """A transport that raises for some records fails the tests that bring them."""

    class Narrow(Sound):
        def deliver(self, batch: Batch) -> Any:
            if any(not isinstance(record, Row) and record.seq > 1 for record in batch.records):
                raise TypeError("unknown kind of record")
            if any(len(str(record)) > 10_000 for record in batch.records):
                raise ValueError("too long")
            return super().deliver(batch)

    with pytest.raises((TypeError, ValueError)):
        call(Narrow, test, {})


def test_a_close_that_raises_is_found() -> None:
    """A transport that cannot be closed unused fails."""

    class Unclosable(Sound):
        def close(self) -> None:
            raise OSError("never opened")

    with pytest.raises(OSError, match="never opened"):
        call(Unclosable, "test_closing_needs_no_delivery", {})


@pytest.mark.slow
def test_the_fixture_must_be_given(tmp_path: Path) -> None:
    """A subclass without its fixture is told which one is missing."""
    file = tmp_path / "test_empty.py"
    file.write_text(
        "from corelib.testing import TransportConformance\nclass TestMine(TransportConformance):\n    pass\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "is_a_transport",
        str(file),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "Give TransportConformance a fixture `transport`" in done.stdout
