"""The laws of framing: prefixes, flipped bits, pieces, and that every byte is accounted for."""

from __future__ import annotations

from itertools import accumulate

from attrs import evolve
from hypothesis import assume, example, given
from hypothesis import strategies as st

from corelib.pure.frames import Corrupt, End, Event, Frame, FrameReader, NeedData, Torn, frame
from corelib.pure.records import Record, Row
from corelib.pure.wire import encode
from corelib.testing.strategies.journal import flips, pieces, texts
from corelib.testing.strategies.records import writings


def logged_texts() -> st.SearchStrategy[list[Record]]:
    """Draw rows full of texts that try to be taken for frames."""
    data = st.dictionaries(texts(), texts(), max_size=3)
    rows = st.lists(data.map(lambda one: Row(seq=0, time=0.5, step=0, data=one)), max_size=8)
    return rows.map(lambda drawn: [evolve(row, seq=seq) for seq, row in enumerate(drawn)])


def payloads() -> st.SearchStrategy[list[bytes]]:
    """Draw what one segment holds."""
    return (writings(max_size=8) | logged_texts()).map(lambda records: [encode(record) for record in records])


def fed(parts: list[bytes]) -> list[Event]:
    """Return all events of an input that comes in parts, each drained before the next one arrives."""
    reader = FrameReader()
    found: list[Event] = []
    for part in parts:
        reader.receive(part)
        while (event := reader.next_event()) != NeedData():
            found.append(event)
    reader.close()
    while (event := reader.next_event()) != End():
        found.append(event)
    return found


def believed(events: list[Event]) -> list[bytes]:
    """Return the payloads among events."""
    return [event.payload for event in events if isinstance(event, Frame)]


def extent(event: Event) -> tuple[int, int]:
    """Return where an event begins and ends."""
    if isinstance(event, Frame):
        return event.offset, event.offset + len(frame(event.payload))
    assert isinstance(event, (Corrupt, Torn))
    return event.offset, event.offset + event.length


def accounts_for_every_byte(events: list[Event], size: int) -> bool:
    """Say whether events follow each other without gap or overlap, and `Torn` comes last if at all."""
    extents = [extent(event) for event in events]
    ends = [0, *(end for _, end in extents)]
    torn_early = any(isinstance(event, Torn) for event in events[:-1])
    return [start for start, _ in extents] == ends[:-1] and ends[-1] == size and not torn_early


@given(payloads=payloads(), data=st.data())
def test_any_prefix_yields_a_prefix_and_then_torn(payloads: list[bytes], data: st.DataObject) -> None:
    """Wherever a segment is cut, the records before the cut are there, and the half one is torn."""
    lines = [frame(payload) for payload in payloads]
    whole = b"".join(lines)
    size = data.draw(st.integers(min_value=0, max_value=len(whole)))
    events = fed([whole[:size]])
    complete = [end for end in accumulate(map(len, lines)) if end <= size]

    assert believed(events) == payloads[: len(complete)]
    rest = size - (complete[-1] if complete else 0)
    assert events[len(complete) :] == ([Torn(size - rest, rest)] if rest else [])


@given(payloads=payloads(), data=st.data())
def test_a_flipped_bit_costs_the_record_it_hit(payloads: list[bytes], data: st.DataObject) -> None:
    """Whatever bit flips, line feeds included: exactly that record is missing, and none is wrong."""
    assume(payloads)
    lines = [frame(payload) for payload in payloads]
    place, damaged = data.draw(flips(b"".join(lines)))
    events = fed([damaged])
    hit = sum(end <= place for end in accumulate(map(len, lines)))

    assert believed(events) == payloads[:hit] + payloads[hit + 1 :]
    assert accounts_for_every_byte(events, len(damaged))


@given(records=writings(max_size=6) | logged_texts(), data=st.data())
def test_several_flipped_bits_never_yield_a_wrong_record(records: list[Record], data: st.DataObject) -> None:
    """However many bits flip, what is believed was written, in the order in which it was written."""
    payloads = [encode(record) for record in records]
    damaged = b"".join(map(frame, payloads))
    assume(damaged)
    for _ in range(data.draw(st.integers(min_value=2, max_value=6))):
        _, damaged = data.draw(flips(damaged))
    events = fed([damaged])
    left = iter(payloads)

    assert all(payload in left for payload in believed(events))
    assert accounts_for_every_byte(events, len(damaged))


@given(payloads=payloads(), data=st.data())
def test_pieces_change_nothing(payloads: list[bytes], data: st.DataObject) -> None:
    """How an input is cut into pieces changes no event, with damage in it or without."""
    whole = b"".join(map(frame, payloads))
    if whole and data.draw(st.booleans()):
        _, whole = data.draw(flips(whole))

    assert fed(data.draw(pieces(whole))) == fed([whole])
    assert fed([whole[index : index + 1] for index in range(len(whole))]) == fed([whole])


@given(junk=st.binary(max_size=300), data=st.data())
@example(junk=b"\n\n00000000 \n", data=None)
def test_any_bytes_are_accounted_for(junk: bytes, data: st.DataObject | None) -> None:
    """Bytes of any origin yield events for each of them, and what is believed has the checksum it claims."""
    events = fed([junk])

    assert accounts_for_every_byte(events, len(junk))
    for event in events:
        if isinstance(event, Frame):
            start, end = extent(event)
            assert junk[start:end] == frame(event.payload)
    if data is not None:
        assert fed(data.draw(pieces(junk))) == events


@given(payloads=payloads(), junk=st.binary(max_size=60).filter(lambda junk: b"\n" not in junk))
def test_a_line_behind_garbage_is_found(payloads: list[bytes], junk: bytes) -> None:
    """Garbage that swallows line feeds, as a hole after a power cut does, costs nothing behind it."""
    events = fed([junk, *map(frame, payloads)])

    assert believed(events) == payloads
