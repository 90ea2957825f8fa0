"""The memory transport: keeps once, answers by script, can be read at any time."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.ports import (
    Absent,
    Address,
    Batch,
    Capabilities,
    Created,
    Delivered,
    Rejected,
    Retry,
    RunRef,
    Started,
)
from corelib.pure.records import Record, RunStart
from corelib.testing.specimens import header_of, rows_from, start_record
from corelib.testing.strategies.records import batches
from transports.memory import MemoryTransport

RUN = RunRef(run_id="r", project="p")


def batch(records: Sequence[Record], run: RunRef = RUN, writer: str = "w") -> Batch:
    return Batch(run=run, writer=writer, header=header_of(run, writer), records=tuple(records))


@given(st.lists(batches(max_size=5), max_size=4))
def test_it_keeps_each_key_once(drawn: list[Batch]) -> None:
    """However batches overlap, each key is kept as it came first, and nothing else is."""
    transport = MemoryTransport()
    expected: dict[tuple[str, str, int], Record] = {}
    for one in drawn:
        assert transport.deliver(one) == Delivered()
        for record in one.records:
            expected.setdefault(one.key(record), record)

    assert [id(record) for record in transport.records()] == [id(record) for record in expected.values()]
    assert transport.batches == drawn


def test_the_script_answers_call_by_call() -> None:
    """Outcomes come in order and say what is kept; after the last one everything is delivered."""
    rows = rows_from(1, 4)
    transport = MemoryTransport(
        outcomes=[
            Retry(reason="busy"),
            Rejected(reason="no", seqs=(2,)),
            ValueError("a bug"),
            Rejected(reason="all"),
            Rejected(reason="none of these", seqs=(99,)),
        ]
    )

    assert transport.deliver(batch(rows[:2])) == Retry(reason="busy")
    assert transport.records() == []
    assert transport.deliver(batch(rows[:2])) == Rejected(reason="no", seqs=(2,))
    assert transport.records() == [rows[0]]
    with pytest.raises(ValueError, match="a bug"):
        transport.deliver(batch(rows[2:3]))
    transport.deliver(batch(rows[2:3]))
    transport.deliver(batch(rows[2:3]))
    assert transport.records() == [rows[0]]
    assert transport.deliver(batch(rows)) == Delivered()
    assert transport.records() == [rows[0], *rows[1:]]


def test_openings_have_a_script_of_their_own() -> None:
    """`open` answers by its own script, and leaves a created run where it succeeds."""
    transport = MemoryTransport(openings=[Retry(reason="busy"), Rejected(reason="no"), OSError("a bug")])
    start = start_record()

    assert transport.open(RUN, start) == Retry(reason="busy")
    assert transport.open(RUN, start) == Rejected(reason="no")
    with pytest.raises(OSError, match="a bug"):
        transport.open(RUN, start)
    assert transport.lookup(RUN, 1.0) == Absent()
    assert transport.open(RUN, start) == Delivered()
    assert transport.lookup(RUN, 1.0) == Created()
    assert transport.calls == ["open", "open", "open", "lookup", "open", "lookup"]


def test_records_and_rows_by_run_and_writer() -> None:
    """What was kept can be asked for by run and by writer; rows read as the history shows them."""
    other = RunRef(run_id="other", project="p")
    transport = MemoryTransport()
    transport.deliver(batch([start_record(), *rows_from(2, 2)]))
    transport.deliver(batch(rows_from(1, 1, step=7), run=other, writer="v"))

    assert type(transport.records("r")[0]) is RunStart
    assert len(transport.records("r")) == 3
    assert len(transport.records(writer="v")) == 1
    assert transport.records("r", "v") == []
    assert [row["_step"] for row in transport.rows()] == [0, 1, 7]
    assert [row["loss"] for row in transport.rows("r")] == [1.0, 0.5]
    assert repr(transport) == "<MemoryTransport 4 records of 2 runs>"


def test_lookup_follows_a_resumed_run() -> None:
    """Parts of one run in several directories are one run where they continue each other, else not."""
    first, second, third = (RunRef(run_id="r", project="p", directory=name) for name in ("d1", "d2", "d3"))
    transport = MemoryTransport()
    transport.deliver(batch([start_record(), *rows_from(2, 5)], run=first))
    resumed = start_record(resumed=True, starting_step=5, previous="d1")
    transport.deliver(batch([resumed, *rows_from(2, 2, step=5)], run=second, writer="w2"))
    answer = transport.lookup(RUN, 1.0)

    assert isinstance(answer, Started)
    assert (answer.remote.where, answer.remote.history_lines, answer.remote.last_step) == ("d2", 7, 6)

    transport.deliver(batch([start_record(), *rows_from(2, 1)], run=third, writer="w3"))
    answer = transport.lookup(RUN, 1.0)

    assert isinstance(answer, Started)
    assert (answer.remote.where, answer.remote.history_lines) == ("d3", 1)


def test_it_can_be_read_while_it_is_written() -> None:
    """A reader on another thread sees a growing prefix at any time."""
    transport = MemoryTransport()
    rows = rows_from(1, 300)
    done = Event()
    seen: list[int] = []

    def read() -> None:
        while not done.is_set():
            held = transport.records()
            assert held == list(rows[: len(held)])
            seen.append(len(held))

    reader = Thread(target=read)
    reader.start()
    for row in rows:
        transport.deliver(batch([row]))
    done.set()
    reader.join()

    assert seen == sorted(seen)
    assert len(transport.records()) == 300


def test_it_declares_what_it_is_told_to() -> None:
    """Tests of the core choose the capabilities; by name the ordinary ones are had."""
    small = Capabilities(max_batch_records=1)

    assert MemoryTransport(capabilities=small).capabilities is small
    by_name = MemoryTransport.from_address(Address(url="memory", wandb_dir="/nowhere"))
    assert by_name.capabilities == MemoryTransport().capabilities


def test_closing_keeps_what_is_there() -> None:
    """After close what was delivered can still be read, and more may come."""
    transport = MemoryTransport()
    transport.deliver(batch(rows_from(1, 1)))
    transport.close()
    transport.deliver(batch(rows_from(2, 1)))

    assert len(transport.records()) == 2
    assert transport.calls == ["deliver", "close", "deliver"]
