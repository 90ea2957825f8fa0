# Invariant: events account for every byte, whole or in pieces; what is believed has its checksum; nothing raises.
"""Fuzz `corelib.pure.frames`; run `python fuzz/targets/fuzz_frames.py fuzz/corpus/frames -max_total_time=60`.

The first byte says into pieces of which size the rest is cut for the second reading.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelib.pure.frames import Corrupt, End, Event, Frame, FrameReader, NeedData, Torn, frame


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a hot segment, whole and in pieces."""
    segment = data[1:]
    events = list(_events([segment]))
    size = data[0] + 1 if data else 1
    assert list(_events([segment[start : start + size] for start in range(0, len(segment), size)])) == events
    end = 0
    for event in events:
        assert not isinstance(event, (NeedData, End))
        assert event.offset == end
        assert isinstance(event, Frame) or event.length > 0
        end += len(frame(event.payload)) if isinstance(event, Frame) else event.length
        if isinstance(event, Frame):
            assert segment[event.offset : end] == frame(event.payload)
        assert isinstance(event, Torn) == (not segment[:end].endswith(b"\n")) or isinstance(event, Corrupt)
    assert end == len(segment)
    assert not any(isinstance(event, Torn) for event in events[:-1])
    # What is believed is believed again, and then without damage.
    payloads = [event.payload for event in events if isinstance(event, Frame)]
    again = _events([frame(payload) for payload in payloads])
    assert [event.payload for event in again if isinstance(event, Frame)] == payloads


def _events(pieces: list[bytes]) -> Iterator[Event]:
    reader = FrameReader()
    for piece in pieces:
        reader.receive(piece)
        while (event := reader.next_event()) != NeedData():
            yield event
    reader.close()
    while (event := reader.next_event()) != End():
        yield event


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
