"""The bench on which a transport is tested: what its author gives, and how batches are put to it.

Law: the bench behaves as the core does: it calls only what is declared, and sends a batch again after
`Retry`, though not for ever. It checks what holds for every call: the kind of the answer, and that records
are left as they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final, cast

import pytest

from corelib.ports import Batch, CompleteTransport, Delivered, Outcome, Rejected, Retry, RunRef, Transport
from corelib.pure.records import Record
from corelib.pure.wire import encode
from corelib.testing.specimens import header_of, start_record

__all__ = ["TransportBench", "complete"]

_TRIES: Final = 5  # a backend may be busy for a moment, not for good
_numbers = count(1)


class TransportBench:
    """What is needed to test a transport; `TransportConformance` adds the tests."""

    # What a subclass gives.

    @pytest.fixture
    def transport(self) -> Transport:
        """Return a new transport whose backend can be reached and takes what it is given."""
        raise NotImplementedError(
            "Give TransportConformance a fixture `transport` that returns your transport."
        )

    @pytest.fixture
    def run(self) -> RunRef:
        """Return the address of a run that the backend does not know yet."""
        return self.new_run()

    def new_run(self) -> RunRef:
        """Return the address of yet another run that the backend does not know. May be overridden."""
        return RunRef(run_id=f"conform{next(_numbers)}", project="conformance")

    def restart(self, transport: Transport) -> Transport:
        """Return a new transport over the same backend, as after a restart. May be overridden."""
        pytest.skip(f"restart() is not given for {type(transport).__name__}")

    def delivered_records(self, transport: Transport, run: RunRef) -> Sequence[tuple[str, Record]] | None:
        """Return what the backend holds of a run, as (writer, record) in its order. May be overridden.

        None: it cannot be read back, and what arrived is not checked.
        """
        del transport, run
        return None

    # What the tests do with it.

    def deliver(
        self, transport: Transport, run: RunRef, records: Sequence[Record], writer: str = "w1"
    ) -> Outcome:
        """Deliver one batch as the core does, and check that the answer is one of the three kinds."""
        batch = Batch(
            run=run,
            writer=writer,
            header=header_of(run, writer, primary=writer == "w1"),
            records=tuple(records),
        )
        return self.deliver_batch(transport, batch)

    def deliver_batch(self, transport: Transport, batch: Batch) -> Outcome:
        """Deliver a batch, again where the transport says `Retry`; it may not say so for ever."""
        before = [encode(record) for record in batch.records]
        outcome: Outcome = Retry(reason="never asked")
        for _ in range(_TRIES):
            outcome = transport.deliver(batch)
            _check_outcome(outcome, batch)
            if not isinstance(outcome, Retry):
                break
        assert not isinstance(outcome, Retry), f"deliver() answers Retry again and again: {outcome.reason}"
        after = [encode(record) for record in batch.records]
        assert before == after, "deliver() changed the records that it was given"
        return outcome

    def take(self, transport: Transport, run: RunRef, records: Sequence[Record], writer: str = "w1") -> None:
        """Deliver ordinary records, all of which a working backend takes."""
        outcome = self.deliver(transport, run, records, writer)
        assert isinstance(outcome, Delivered), f"ordinary records were not delivered: {outcome}"

    def begin(self, transport: Transport, run: RunRef) -> list[Record]:
        """Open a run where the transport wants that, and deliver its start; return what was delivered."""
        start = start_record()
        if transport.capabilities.open:
            outcome = complete(transport).open(run, start)
            assert isinstance(outcome, Delivered), f"open() did not take an ordinary run: {outcome}"
        self.take(transport, run, [start])
        return [start]

    def check_holds(
        self, transport: Transport, run: RunRef, expected: Sequence[Record], writer: str = "w1"
    ) -> None:
        """Check that the backend holds exactly these records of a writer, in order, once."""
        records = self.delivered_records(transport, run)
        if records is None:
            return
        held = [(record.seq, encode(record)) for name, record in records if name == writer]
        wanted = [(record.seq, encode(record)) for record in expected]
        if held != wanted:
            numbers, wanted_numbers = [seq for seq, _ in held], [seq for seq, _ in wanted]
            pytest.fail(
                f"The backend holds other records of {writer!r} than were delivered: numbers {numbers}, "
                f"expected {wanted_numbers}" + (", with other contents" if numbers == wanted_numbers else "")
            )

    @pytest.fixture(autouse=True)
    def _closed(self, transport: Transport) -> Iterator[None]:
        yield
        if transport.capabilities.close:
            complete(transport).close()


def complete(transport: Transport) -> CompleteTransport:
    """Return a transport as one of which declared methods may be called."""
    return cast("CompleteTransport", transport)


def _check_outcome(outcome: object, batch: Batch) -> None:
    known = isinstance(outcome, (Delivered, Retry, Rejected))
    assert known, f"deliver() returned {type(outcome).__name__}: it must be Delivered, Retry or Rejected"
    if isinstance(outcome, Retry) and outcome.after is not None:
        assert outcome.after >= 0, f"Retry.after is {outcome.after}: it must be a number of seconds from 0 on"
    if isinstance(outcome, (Retry, Rejected)):
        assert outcome.reason, f"{type(outcome).__name__} needs a reason"
    if isinstance(outcome, Rejected):
        strange = set(outcome.seqs) - {record.seq for record in batch.records}
        assert not strange, f"Rejected names {sorted(strange)}, which are not in the batch"
