"""The conformance suite finds transports that go on wrongly after a restart, or say wrongly who was first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from corelib.ports import (
    Absent,
    Answer,
    Batch,
    Capabilities,
    Delivered,
    Outcome,
    RemoteRun,
    RunRef,
    Started,
    Transport,
    UpsertAnswered,
)
from corelib.pure.records import Record, Row, RunStart
from corelib.testing import TransportConformance
from corelib.testing.continuity import ContinuityConformance


class Numbered:
    """Keeps records by number, as a server of lines does, and every promise; those below break one."""

    capabilities = Capabilities(lookup=True, create=True, open=True, restartable=True, heartbeat_s=30.0)

    def __init__(self, lines: dict[int, tuple[str, Record]] | None = None) -> None:
        self.lines = {} if lines is None else lines
        self.created = False
        self.next = 0
        self.kept: Mapping[str, Any] | None = None
        self.known: set[tuple[str, int]] = set()

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        self.kept = {"next": self.next}
        return Delivered()

    def deliver(self, batch: Batch) -> Outcome:
        for record in batch.records:
            if (batch.writer, record.seq) not in self.known:
                self.known.add((batch.writer, record.seq))
                self.lines[self.next] = (batch.writer, record)
                self.next += 1
        self.kept = {"next": self.next}
        return Delivered()

    def heartbeat(self, run: RunRef) -> Outcome:
        return Delivered()

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        return self.kept

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        self.next = saved["next"]

    def rebuild(self, batch: Batch) -> None:
        self.known |= {(batch.writer, record.seq) for record in batch.records}

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        if not (self.lines or self.created):
            return Absent()
        rows = sum(isinstance(record, Row) for _, record in self.lines.values())
        return Started(RemoteRun(run_id=run.run_id, history_lines=rows))

    def create(self, run: RunRef, start: RunStart, timeout: float) -> UpsertAnswered:
        was_there, self.created = self.created, True
        return UpsertAnswered(inserted=not was_there, started=was_there)


class Suite(TransportConformance):
    """The suite for these transports, called test by test."""

    __test__ = False

    def restart(self, transport: Transport) -> Transport:
        assert isinstance(transport, Numbered)
        return type(transport)(transport.lines)

    def delivered_records(self, transport: Transport, run: RunRef) -> Sequence[tuple[str, Record]]:
        assert isinstance(transport, Numbered)
        return [transport.lines[number] for number in sorted(transport.lines)]


class BeginningAnew(Numbered):
    """Forgets where it stopped, and overwrites what is there."""

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        self.next = 0


class Appending(Numbered):
    """Goes on behind everything that is there, also what comes again."""

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        self.next = len(self.lines)


class SavingLate(Numbered):
    """Knows nothing to keep before the first delivery, and then takes what is there for another's."""

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        self.next = len(self.lines)
        return Delivered()


class Pickled(Numbered):
    """Wants something kept that is no JSON."""

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        return {"next": (self.next,)}


class BeatingRows(Numbered):
    """Writes a line as a sign of life."""

    def heartbeat(self, run: RunRef) -> Outcome:
        self.lines[self.next] = ("w1", Row(seq=0, time=0.0, step=0, data={"alive": True}))
        self.next += 1
        return Delivered()


class Silent(Numbered):
    """Answers a sign of life with nothing."""

    def heartbeat(self, run: RunRef) -> Any:
        return None


class Flattering(Numbered):
    """Tells everybody that he was first."""

    def create(self, run: RunRef, start: RunStart, timeout: float) -> UpsertAnswered:
        self.created = True
        return UpsertAnswered(inserted=True, started=False)


class Unstarted(Numbered):
    """Creates runs that look as if nobody had started them."""

    def create(self, run: RunRef, start: RunStart, timeout: float) -> UpsertAnswered:
        return super().create(run, start, timeout)._replace(started=False)


class Pretending(Numbered):
    """Says that it has created a run, and has not."""

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        return Absent()


BROKEN: list[tuple[Callable[[], Any], str]] = [
    (BeginningAnew, "test_it_goes_on_where_an_earlier_process_stopped"),
    (Appending, "test_what_came_after_saving_comes_again"),
    (SavingLate, "test_a_run_that_was_only_opened_can_be_taken_up"),
    (Pickled, "test_an_unknown_run_has_nothing_to_save"),
    (Pickled, "test_it_goes_on_where_an_earlier_process_stopped"),
    (BeatingRows, "test_a_sign_of_life_changes_nothing"),
    (Silent, "test_a_sign_of_life_changes_nothing"),
    (Flattering, "test_who_was_first_is_told"),
    (Unstarted, "test_who_was_first_is_told"),
    (Pretending, "test_who_was_first_is_told"),
]


def call(make: Callable[[], Any], test: str) -> None:
    suite = Suite()
    getattr(suite, test)(transport=make(), run=suite.new_run())


@pytest.mark.parametrize(("make", "test"), BROKEN)
def test_a_broken_promise_is_found(make: Callable[[], Any], test: str) -> None:
    """The test for a promise fails for the transport that breaks it, and passes for the sound one."""
    call(Numbered, test)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        call(make, test)


def test_every_promise_has_a_transport_that_breaks_it() -> None:
    """No test of this part of the suite is left that nothing was seen to fail."""
    tests = {name for name in vars(ContinuityConformance) if name.startswith("test_")}

    assert tests == {test for _, test in BROKEN}


@pytest.mark.parametrize("capability", ["restartable", "heartbeat_s", "create"])
def test_undeclared_methods_are_found(capability: str) -> None:
    """A method that is there and not declared is a broken promise, and so is the other way round."""
    suite = Suite()
    suite.test_it_declares_what_it_has(Numbered(), capability)
    undeclared = Numbered()
    undeclared.capabilities = Capabilities()  # type: ignore[misc]
    with pytest.raises(AssertionError, match=capability):
        suite.test_it_declares_what_it_has(undeclared, capability)
