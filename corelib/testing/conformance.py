"""The conformance suite: a transport proves that it keeps the promises of `corelib.ports`.

Law: a test fails only where a promise of the port is broken, and says which. Subclass, and give one fixture:

    class TestMyTransport(TransportConformance):
        @pytest.fixture
        def transport(self):
            return MyTransport(...)

A transport that can be read back overrides `delivered_records` too, and one whose backend outlives it
`restart`; then the suite also checks what arrived, in which order and how often. Tests that need what a
transport does not offer are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from threading import Thread
from typing import Any, Final

import pytest

from corelib.ports import (
    Absent,
    Batch,
    Capabilities,
    CompleteTransport,
    Created,
    Delivered,
    LookupFailed,
    RunRef,
    Started,
    Transport,
    Unreadable,
)
from corelib.pure.records import Record, Row
from corelib.pure.wire import encode
from corelib.testing.bench import complete
from corelib.testing.continuity import ContinuityConformance
from corelib.testing.specimens import ODD_ROWS, TIME, other_records, rows_from, start_record

__all__ = ["TransportConformance"]

_OPTIONAL: Final = {
    "close": ("close",),
    "create": ("create",),
    "heartbeat_s": ("heartbeat",),
    "lookup": ("lookup",),
    "open": ("open",),
    "redeliver": ("redeliver",),
    "restartable": ("save", "load", "rebuild"),
}
_MOST_RECORDS: Final = 20_000  # the largest full batch that is tried
_MOST_BYTES: Final = 32 << 20  # the largest single record that is tried
_LOOKUP_TIMEOUT_S: Final = 30.0
_THREAD_TIMEOUT_S: Final = 120.0


class TransportConformance(ContinuityConformance):
    """The promises of a transport as tests; subclass it and give the fixture `transport`."""

    # Declaration.

    def test_it_is_a_transport(self, transport: Transport) -> None:
        """It has `deliver` and `capabilities`, and declares the same every time."""
        assert isinstance(transport, Transport), "deliver() or capabilities is missing"
        assert isinstance(transport.capabilities, Capabilities), (
            "capabilities is no corelib.ports.Capabilities"
        )
        assert transport.capabilities == transport.capabilities, (
            "capabilities differ from one look to the next"
        )

    @pytest.mark.parametrize("capability", _OPTIONAL)
    def test_it_declares_what_it_has(self, transport: Transport, capability: str) -> None:
        """An optional method is there if and only if it is declared."""
        declared = bool(getattr(transport.capabilities, capability))
        for method in _OPTIONAL[capability]:
            assert declared == callable(getattr(transport, method, None)), (
                f"capabilities.{capability} says {declared}, and {method}() "
                f"{'is missing' if declared else 'is there'}"
            )

    def test_its_bounds_can_be_kept(self, transport: Transport) -> None:
        """Batches of its size, age and time budget can exist."""
        declared = transport.capabilities
        assert declared.max_batch_records >= 1, "max_batch_records must be 1 or more"
        assert declared.max_batch_bytes >= 1, "max_batch_bytes must be 1 or more"
        assert isfinite(declared.max_batch_age_s), "max_batch_age_s must be finite"
        assert declared.max_batch_age_s > 0, "max_batch_age_s must be positive"
        assert declared.time_budget_s > 0, "time_budget_s must be positive"
        beats = declared.heartbeat_s
        assert beats is None or (isfinite(beats) and beats > 0), "heartbeat_s must be positive and finite"

    # Delivery.

    def test_it_takes_a_run(self, transport: Transport, run: RunRef) -> None:
        """An ordinary run is delivered, and the backend then holds it in order."""
        records = self.begin(transport, run)
        for number in range(5):
            some = rows_from(seq=2 + 3 * number, number=3, step=3 * number)
            self.take(transport, run, some)
            records += some

        self.check_holds(transport, run, records)

    def test_it_takes_every_kind_of_record(self, transport: Transport, run: RunRef) -> None:
        """No kind of record makes it fail; what it does not keep it may ignore or reject."""
        self.begin(transport, run)
        for record in other_records(seq=2):
            self.deliver(transport, run, [record])

    def test_it_takes_a_full_batch(self, transport: Transport, run: RunRef) -> None:
        """A batch of as many records as it declares is delivered."""
        records = self.begin(transport, run)
        size = len(encode(rows_from(seq=10**6, number=1, step=10**6)[0]))
        declared = transport.capabilities
        number = min(declared.max_batch_records, declared.max_batch_bytes // size, _MOST_RECORDS)
        some = rows_from(seq=2, number=max(number, 1))
        self.take(transport, run, some)

        self.check_holds(transport, run, [*records, *some])

    def test_it_takes_or_rejects_a_record_larger_than_a_batch(
        self, transport: Transport, run: RunRef
    ) -> None:
        """A single record larger than the bound comes alone; it is delivered, or rejected with a reason."""
        records = self.begin(transport, run)
        length = transport.capabilities.max_batch_bytes + 1
        if length > _MOST_BYTES:
            pytest.skip("the declared bound is larger than this test wants to be")
        large = Row(seq=2, time=TIME, step=0, data={"text": "x" * length})
        outcome = self.deliver(transport, run, [large])
        following = rows_from(seq=3, number=1, step=1)
        self.take(transport, run, following)

        kept = [large] if isinstance(outcome, Delivered) else []
        self.check_holds(transport, run, [*records, *kept, *following])

    @pytest.mark.parametrize("name", ODD_ROWS)
    def test_it_takes_or_rejects_odd_values(self, transport: Transport, run: RunRef, name: str) -> None:
        """Values that are odd and legal are delivered as they are, or rejected with a reason."""
        records = self.begin(transport, run)
        odd = Row(seq=2, time=TIME, step=0, data=ODD_ROWS[name])
        outcome = self.deliver(transport, run, [odd])
        following = rows_from(seq=3, number=1, step=1)
        self.take(transport, run, following)

        kept = [odd] if isinstance(outcome, Delivered) else []
        self.check_holds(transport, run, [*records, *kept, *following])

    def test_it_takes_a_writer_without_header(self, transport: Transport, run: RunRef) -> None:
        """A journal whose header was damaged is delivered all the same."""
        batch = Batch(
            run=run, writer="w1", header=None, records=(start_record(), *rows_from(seq=2, number=3))
        )
        if transport.capabilities.open:
            complete(transport).open(run, start_record())
        self.deliver_batch(transport, batch)

        self.check_holds(transport, run, batch.records)

    def test_it_takes_writers_by_turns(self, transport: Transport, run: RunRef) -> None:
        """Writers of one run are sequences of their own: equal numbers of two writers are two records."""
        records = {"w1": self.begin(transport, run), "w2": []}
        for number in range(4):
            for writer in records:
                some = rows_from(seq=2 + 2 * number, number=2, step=2 * number)
                self.take(transport, run, some, writer)
                records[writer] += some

        for writer, expected in records.items():
            self.check_holds(transport, run, expected, writer)

    # Repetition.

    def test_a_repeated_batch_changes_nothing(self, transport: Transport, run: RunRef) -> None:
        """A batch that comes again, after a lost answer, is delivered and not doubled."""
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=5)
        for _ in range(3):
            self.take(transport, run, some)

        self.check_holds(transport, run, [*records, *some])

    def test_records_repeated_in_other_batches_change_nothing(
        self, transport: Transport, run: RunRef
    ) -> None:
        """Records that come again in batches cut otherwise, after a crash, are kept once, in order."""
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=10)
        for begin, end in ((0, 6), (0, 3), (3, 8), (0, 1), (5, 10)):
            self.take(transport, run, some[begin:end])

        self.check_holds(transport, run, [*records, *some])

    def test_records_repeated_after_a_restart_change_nothing(self, transport: Transport, run: RunRef) -> None:
        """What a transport took before a restart it knows after it."""
        records = self.begin(transport, run)
        some = rows_from(seq=2, number=10)
        self.take(transport, run, some[:7])
        restarted = self.restart(transport)
        if restarted.capabilities.open:
            assert isinstance(complete(restarted).open(run, start_record()), Delivered), (
                "open() is repeatable"
            )
        self.take(restarted, run, [start_record(), *some[:4]])
        self.take(restarted, run, some[4:])

        self.check_holds(restarted, run, [*records, *some])
        if restarted.capabilities.close:
            complete(restarted).close()

    # Lookup.

    def test_an_unknown_run_is_absent(self, transport: Transport, run: RunRef) -> None:
        """A run of which the backend never heard is absent, also beside another one."""
        looking = _looking(transport)
        assert isinstance(looking.lookup(run, _LOOKUP_TIMEOUT_S), Absent), "the backend knows an unknown run"
        self.begin(transport, self.new_run())
        assert isinstance(looking.lookup(run, _LOOKUP_TIMEOUT_S), Absent), "one run was taken for another"

    def test_a_delivered_run_is_found(self, transport: Transport, run: RunRef) -> None:
        """A run that was delivered is found, with its config and its last step."""
        looking = _looking(transport)
        self.begin(transport, run)
        rows = rows_from(seq=2, number=4)
        self.take(transport, run, rows)
        answer = looking.lookup(run, _LOOKUP_TIMEOUT_S)

        assert isinstance(answer, Started), f"a delivered run is not found: {answer}"
        assert answer.remote.run_id == run.run_id, "another run is found"
        assert answer.remote.last_step == rows[-1].step, "the last step is another"
        assert answer.remote.history_lines == len(rows), "the number of rows is another"
        config = {key: value for key, value in answer.remote.config.items() if not key.startswith("_")}
        assert config == start_record().config, "the config is another"

    def test_a_lookup_always_has_an_answer(self, transport: Transport) -> None:
        """Addresses nobody would use are answered too, and nothing is raised."""
        looking = _looking(transport)
        for run_id in ("x", "ID", "a-1", "é", "0" * 128):
            for entity in (None, "team"):
                answer = looking.lookup(RunRef(run_id=run_id, project="p", entity=entity), _LOOKUP_TIMEOUT_S)
                known = (Absent, Created, Started, Unreadable, LookupFailed)
                assert isinstance(answer, known), f"lookup() returned {type(answer).__name__}"

    # Life.

    def test_opening_twice_is_harmless(self, transport: Transport, run: RunRef) -> None:
        """A run may be opened again, as after a restart, and takes its records all the same."""
        if not transport.capabilities.open:
            pytest.skip("open() is not declared")
        for _ in range(2):
            assert isinstance(complete(transport).open(run, start_record()), Delivered), (
                "open() is repeatable"
            )
        records = self.begin(transport, run)

        self.check_holds(transport, run, records)

    def test_closing_needs_no_delivery(self, transport: Transport) -> None:
        """A transport that was never used can be closed."""
        if not transport.capabilities.close:
            pytest.skip("close() is not declared")
        complete(transport).close()

    def test_it_serves_another_run_after_close(self, transport: Transport, run: RunRef) -> None:
        """An object that the user holds serves run after run, with a close after each."""
        other = self.new_run()
        records = {one.run_id: self.begin(transport, one) for one in (run,)}
        if transport.capabilities.close:
            complete(transport).close()
        records[other.run_id] = self.begin(transport, other)
        more = rows_from(seq=2, number=2)
        self.take(transport, run, more)

        self.check_holds(transport, run, [*records[run.run_id], *more])
        self.check_holds(transport, other, records[other.run_id])

    def test_it_works_on_the_courier_s_thread(self, transport: Transport, run: RunRef) -> None:
        """It is made on one thread and used on another."""
        records: list[Record] = []
        some = rows_from(seq=2, number=3)

        def carry() -> None:
            records.extend(self.begin(transport, run))
            self.take(transport, run, some)

        _together([carry])
        self.check_holds(transport, run, [*records, *some])

    def test_two_runs_at_a_time(self, transport: Transport) -> None:
        """An object given to two runs is called by two threads; each run arrives whole and in order."""
        runs = [self.new_run(), self.new_run()]
        some = rows_from(seq=2, number=100)

        def carry(run: RunRef) -> None:
            self.begin(transport, run)
            for index in range(0, len(some), 5):
                self.take(transport, run, some[index : index + 5])

        _together([lambda run=run: carry(run) for run in runs])
        for run in runs:
            self.check_holds(transport, run, [start_record(), *some])


def _looking(transport: Transport) -> CompleteTransport:
    if not transport.capabilities.lookup:
        pytest.skip("lookup() is not declared")
    return complete(transport)


def _together(calls: Sequence[Any]) -> None:
    """Perform calls on threads of their own at the same time, and raise what one of them raised."""
    raised: list[BaseException] = []

    def perform(call: Any) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  raised again below, where pytest sees it
            raised.append(error)

    threads = [Thread(target=perform, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_THREAD_TIMEOUT_S)
    assert not any(thread.is_alive() for thread in threads), "a call does not return"
    if raised:
        raise raised[0]
