"""Framing of hot segments: the line, the events, what damage does; the laws for all input are in tests/properties."""

from __future__ import annotations

from zlib import crc32

import pytest

from corelib.errors import JournalError
from corelib.pure.frames import Corrupt, End, Event, Frame, FrameReader, NeedData, Torn, frame
from corelib.pure.wire import decode

FIRST = b'{"a":1}'
SECOND = b'{"b":[2,3]}'


def events(data: bytes, offset: int = 0) -> list[Event]:
    """Return all events of a closed input but the `End`."""
    reader = FrameReader(offset)
    reader.receive(data)
    reader.close()
    found: list[Event] = []
    while type(event := reader.next_event()) is not End:
        found.append(event)
    return found


def test_line() -> None:
    """A frame is the CRC-32 of the payload as eight lower-case hex digits, a blank, the payload and a line feed."""
    assert frame(b"123456789") == b"cbf43926 123456789\n"  # the check value of CRC-32
    assert frame(FIRST) == b"561bacaf " + FIRST + b"\n"
    assert frame(b"") == b"00000000 \n"


def test_frames_with_their_offsets() -> None:
    """Each payload comes with the offset of its line, counted from where the reader was told to begin."""
    data = frame(FIRST) + frame(SECOND)

    assert events(data) == [Frame(0, FIRST), Frame(len(frame(FIRST)), SECOND)]
    assert events(data, offset=1000) == [Frame(1000, FIRST), Frame(1000 + len(frame(FIRST)), SECOND)]


def test_nothing_yet_is_an_answer() -> None:
    """Half a line asks for more any number of times, and comes once the rest is there."""
    reader = FrameReader()
    line = frame(FIRST)

    assert reader.next_event() == NeedData()
    for end in range(1, len(line)):
        reader.receive(line[end - 1 : end])
        assert reader.next_event() == NeedData()
        assert reader.offset == 0
    reader.receive(line[-1:])
    assert reader.next_event() == Frame(0, FIRST)
    assert reader.offset == len(line)
    assert reader.next_event() == NeedData()


def test_end() -> None:
    """A closed input ends, as often as one asks."""
    reader = FrameReader()
    reader.close()

    assert reader.next_event() == End()
    assert reader.next_event() == End()


def test_torn_end() -> None:
    """What stands behind the last line feed is torn, even where nothing but the line feed is missing."""
    line = frame(FIRST)

    assert events(line + line[:-1]) == [Frame(0, FIRST), Torn(len(line), len(line) - 1)]
    assert events(line + line[:3]) == [Frame(0, FIRST), Torn(len(line), 3)]


def test_corrupt_line_is_skipped() -> None:
    """A line whose checksum does not fit is named with its place; the lines around it are read."""
    line = frame(FIRST)
    bad = line.replace(b"1", b"2", 1)

    assert events(line + bad + line) == [
        Frame(0, FIRST),
        Corrupt(len(line), len(line)),
        Frame(2 * len(line), FIRST),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"x\n",
        b"00000000\n",
        b"561BACAF " + FIRST + b"\n",
        b"561bacaf\t" + FIRST + b"\n",
        b" " + frame(FIRST)[1:],
    ],
    ids=["empty", "short", "no blank", "upper case", "tab", "digit lost"],
)
def test_what_is_no_frame(line: bytes) -> None:
    """There is one way to write a frame; everything that looks similar is corrupt."""
    assert events(line) == [Corrupt(0, len(line))]


def test_lost_line_feed() -> None:
    """Where a line feed is damaged, the line before it is lost and the line behind it is found."""
    first, second = frame(FIRST), frame(SECOND)
    damaged = first[:-1] + b"\x0b" + second

    assert events(damaged + first) == [
        Corrupt(0, len(first)),
        Frame(len(first), SECOND),
        Frame(len(first) + len(second), FIRST),
    ]


def test_garbage_before_a_line() -> None:
    """A hole of zeros, as a power cut leaves it, costs nothing but itself."""
    assert events(bytes(4096) + frame(FIRST)) == [Corrupt(0, 4096), Frame(4096, FIRST)]


def test_several_lost_line_feeds() -> None:
    """Of several lines that run into one the last is found, since only it reaches to a line feed."""
    line = frame(FIRST)
    run_on = b"\x00".join([line[:-1]] * 3) + b"\n"

    assert events(run_on) == [Corrupt(0, 2 * len(line)), Frame(2 * len(line), FIRST)]


def test_bad_frame_at_the_end_of_a_bad_line() -> None:
    """What looks like a frame inside a bad line is believed by its checksum only."""
    damaged = b"\x00" + frame(FIRST).replace(b"1", b"2")

    assert events(damaged) == [Corrupt(0, len(damaged))]


def test_text_that_imitates_a_frame() -> None:
    """A logged text that contains a frame, quotes escaped as JSON does, is not taken for one."""
    inner = frame(FIRST)[:-1].replace(b'"', b'\\"')
    line = frame(b'{"text":"' + inner + b'"}')
    damaged = line[:-1] + b"\x0b" + frame(SECOND)

    assert events(line) == [Frame(0, line[9:-1])]
    assert events(damaged) == [Corrupt(0, len(line)), Frame(len(line), SECOND)]


def test_attack_on_the_checksum() -> None:
    """A text made to pass for a frame once one bit flips is no JSON even then: it ends inside a text or begins in one.

    `frames` alone believes it, since its checksum fits; `wire` refuses it, so no wrong record comes of it.
    """
    ending = b'{"}}'
    text = b"J%08x {" % crc32(ending)
    line = frame(b'{"data":{"k":"' + text + b'"}}')
    damaged = line.replace(b"J", b"\n")

    assert [type(event) for event in events(damaged)] == [Corrupt, Frame]
    with pytest.raises(JournalError):
        decode(ending)


def test_reading_goes_on_while_a_found_frame_waits() -> None:
    """Bytes that arrive between a `Corrupt` and the frame found with it disturb neither."""
    first, second = frame(FIRST), frame(SECOND)
    reader = FrameReader()
    reader.receive(b"\x00" + first)

    assert reader.next_event() == Corrupt(0, 1)
    reader.receive(second)
    assert reader.next_event() == Frame(1, FIRST)
    assert reader.next_event() == Frame(1 + len(first), SECOND)
    assert reader.next_event() == NeedData()
