"""The part of the conformance suite for transports that outlive their process, show life, or say who was first.

Law: as in `corelib.testing.conformance`, which has these tests too: one fails only where a promise of the port
is broken, and what a transport does not declare is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import pytest

from corelib.ports import Absent, Batch, Delivered, Rejected, Retry, RunRef, Started, Transport
from corelib.pure.records import Record
from corelib.testing.bench import TransportBench, complete
from corelib.testing.specimens import header_of, rows_from, start_record

__all__ = ["ContinuityConformance"]

_TIMEOUT_S: Final = 30.0


class ContinuityConformance(TransportBench):
    """Promises of `save`, `load`, `rebuild`, `heartbeat` and `create`."""

    def saved(self, transport: Transport, run: RunRef) -> Mapping[str, Any]:
        """Return what a transport wants kept, as it comes back from a disk."""
        saved = complete(transport).save(run)
        assert saved is not None, "save() returns None for a run that was delivered in part"
        text = json.dumps(saved, allow_nan=False)
        assert json.loads(text) == saved, "save() does not return a JSON tree"
        kept: dict[str, Any] = json.loads(text)
        return kept

    def check_count(self, transport: Transport, run: RunRef, rows: int) -> None:
        """Check that the backend holds so many rows, where it can say so."""
        if not transport.capabilities.lookup:
            return
        answer = complete(transport).lookup(run, _TIMEOUT_S)
        assert isinstance(answer, Started), f"a delivered run is not found: {answer}"
        assert answer.remote.history_lines == rows, "the backend holds another number of rows"

    def taken_up(
        self, transport: Transport, run: RunRef, saved: Mapping[str, Any], parts: Iterable[Sequence[Record]]
    ) -> Transport:
        """Return a new transport that goes on where another one stopped, when it saved this."""
        restarted = self.restart(transport)
        complete(restarted).load(run, saved)
        for part in parts:
            batch = Batch(run=run, writer="w1", header=header_of(run, "w1"), records=tuple(part))
            complete(restarted).rebuild(batch)
        if restarted.capabilities.open:
            assert isinstance(complete(restarted).open(run, start_record()), Delivered), (
                "a run that is taken up cannot be opened"
            )
        return restarted

    def test_it_goes_on_where_an_earlier_process_stopped(self, transport: Transport, run: RunRef) -> None:
        """What was saved and rebuilt stands for what was delivered, and the rest follows it."""
        _need(transport.capabilities.restartable, "restartable")
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=10)
        self.take(transport, run, some[:7])
        saved = self.saved(transport, run)
        restarted = self.taken_up(transport, run, saved, ([*records, *some[:3]], some[3:7]))
        self.take(restarted, run, some[7:])

        self.check_holds(restarted, run, [*records, *some])
        self.check_count(restarted, run, len(some))
        _close(restarted)

    def test_what_came_after_saving_comes_again(self, transport: Transport, run: RunRef) -> None:
        """Records that were delivered after the last save come again to a new process, and are kept once."""
        _need(transport.capabilities.restartable, "restartable")
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=10)
        self.take(transport, run, some[:4])
        saved = self.saved(transport, run)
        self.take(transport, run, some[4:9])
        restarted = self.taken_up(transport, run, saved, [[*records, *some[:4]]])
        self.take(restarted, run, some[4:6])
        self.take(restarted, run, some[6:])

        self.check_holds(restarted, run, [*records, *some])
        self.check_count(restarted, run, len(some))
        _close(restarted)

    def test_a_run_that_was_only_opened_can_be_taken_up(self, transport: Transport, run: RunRef) -> None:
        """What is saved after `open` is enough, for the process may end before the first delivery is answered."""
        _need(transport.capabilities.restartable and transport.capabilities.open, "restartable with open")
        assert isinstance(complete(transport).open(run, start_record()), Delivered), "open() failed"
        saved = complete(transport).save(run)
        some = rows_from(seq=2, number=3)
        self.take(transport, run, [start_record(), *some])
        restarted = self.taken_up(transport, run, saved, []) if saved is not None else self.restart(transport)
        if saved is None and restarted.capabilities.open:
            complete(restarted).open(run, start_record())
        self.take(restarted, run, [start_record(), *some])

        self.check_holds(restarted, run, [start_record(), *some])
        self.check_count(restarted, run, len(some))
        _close(restarted)

    def test_an_unknown_run_has_nothing_to_save(self, transport: Transport, run: RunRef) -> None:
        """`save` may be asked at any time; of a run that was never opened there is nothing, or a JSON tree."""
        _need(transport.capabilities.restartable, "restartable")
        saved = complete(transport).save(run)

        assert saved is None or json.loads(json.dumps(saved)) == saved, "save() does not return a JSON tree"

    def test_a_sign_of_life_changes_nothing(self, transport: Transport, run: RunRef) -> None:
        """A heartbeat between batches has a proper answer, and the run stays as it is."""
        _need(transport.capabilities.heartbeat_s is not None, "heartbeat_s")
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=4)
        self.take(transport, run, some[:2])
        outcome = complete(transport).heartbeat(run)
        assert isinstance(outcome, (Delivered, Retry, Rejected)), "heartbeat() returned no outcome"
        self.take(transport, run, some[2:])

        self.check_holds(transport, run, [*records, *some])
        self.check_count(transport, run, len(some))

    def test_who_was_first_is_told(self, transport: Transport, run: RunRef) -> None:
        """Who creates a run is told so, and who comes after that is not; the run is then there."""
        _need(transport.capabilities.create, "create")
        first = complete(transport).create(run, start_record(), _TIMEOUT_S)
        second = complete(transport).create(run, start_record(), _TIMEOUT_S)

        assert first.failure is None, f"a run could not be created: {first}"
        assert second.failure is None, f"a run that is there could not be found: {second}"
        assert first.inserted is not False, "who was first is told that another one was"
        assert second.inserted is not True, "who came second is told that he was first"
        assert second.started is not False, "a run that was created with its config counts as not started"
        if transport.capabilities.lookup:
            answer = complete(transport).lookup(run, _TIMEOUT_S)
            assert not isinstance(answer, Absent), "a run that was created is absent"


def _need(offered: object, what: str) -> None:
    if not offered:
        pytest.skip(f"{what} is not declared")


def _close(transport: Transport) -> None:
    if transport.capabilities.close:
        complete(transport).close()
