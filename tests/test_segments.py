"""Reading journals: both forms, several writers, whatever is damaged, and runs that are still written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from corelib import segments as segments_module
from corelib.errors import JournalError
from corelib.journal import JournalWriter
from corelib.pure.frames import frame
from corelib.pure.records import Header, Row
from corelib.pure.wire import encode
from corelib.segments import (
    Damage,
    Entry,
    is_live,
    read,
    read_hot,
    read_segment,
    read_writer,
    run_directories,
    segments,
    writers,
)
from tests.journals import damage_in, entries_in, flip, log, open_writer, records_in, steps_in

TINY = 600


def hot_journal(journal_dir: Path, count: int = 4) -> Path:
    """Write some rows; return the hot segment, whose writer is left alone."""
    writer = open_writer(journal_dir)
    log(writer, range(count))
    writer.abandon()
    return journal_dir / "w1" / "000001.jsonl"


def sealed_journal(journal_dir: Path, count: int = 4) -> Path:
    """Write some rows and close; return the sealed segment."""
    writer = open_writer(journal_dir)
    log(writer, range(count))
    writer.close()
    return journal_dir / "w1" / "000001.jsonl.zst"


def kinds(journal_dir: Path) -> list[str]:
    """Return the kinds of damage in a journal."""
    return [one.kind for one in damage_in(journal_dir)]


# --------------------------------------------------------------------------------------------------------- listing


def test_no_journal(tmp_path: Path) -> None:
    """A place without a journal has no writers, nobody alive, and cannot be read; the message says what is missing."""
    assert writers(tmp_path / "none") == []
    assert not is_live(tmp_path / "none")
    with pytest.raises(JournalError, match=r"No journal at .*none: it should hold one directory per writer"):
        list(read(tmp_path / "none"))


def test_segments_in_order_of_their_numbers(tmp_path: Path) -> None:
    """Segments are ordered as numbers, the hot form wins where both exist, and other files are none."""
    for name in (
        "000002.jsonl.zst",
        "000010.jsonl.zst",
        "000001.jsonl",
        "000001.jsonl.zst",
        "1000000.jsonl",
        *("000011.jsonl.new", "000003.jsonl.zst.tmp", "3.jsonl", "x000003.jsonl", "000003.json", "notes.txt"),
    ):
        (tmp_path / name).touch()

    assert [(number, path.name) for number, path in segments(tmp_path)] == [
        (1, "000001.jsonl"),
        (2, "000002.jsonl.zst"),
        (10, "000010.jsonl.zst"),
        (1000000, "1000000.jsonl"),
    ]


def test_a_listing_that_misses_both_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a listing shows a hole, as it may while a segment is sealed, a second look fills it."""
    for name in ("000001.jsonl.zst", "000002.jsonl.zst", "000003.jsonl"):
        (tmp_path / name).touch()
    listings = iter([["000001.jsonl.zst", "000003.jsonl"], os.listdir(tmp_path)])
    monkeypatch.setattr(os, "listdir", lambda _: next(listings))

    assert [path.name for _, path in segments(tmp_path)] == [
        "000001.jsonl.zst",
        "000002.jsonl.zst",
        "000003.jsonl",
    ]


def test_writers_are_directories(tmp_path: Path) -> None:
    """Each directory in a journal is a writer; files beside them are none."""
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "cursor.json").touch()

    assert writers(tmp_path) == ["a", "b"]


def test_run_directories_by_time(tmp_path: Path) -> None:
    """Run directories are found by their names, oldest first, whatever their mode; links and strangers are left out."""
    names = ["run-20260101_000002-b", "offline-run-20260101_000001-z", "offline-run-20260101_000001-z-1"]
    for name in [*names, "run-x", "files", "latest-run-20260101_000001-a"]:
        (tmp_path / name).mkdir()
    (tmp_path / "run-20260101_000009-link").symlink_to(tmp_path / names[0])
    (tmp_path / "file").touch()

    assert [path.name for path in run_directories(tmp_path)] == [names[1], names[2], names[0]]
    assert run_directories(tmp_path / "none") == run_directories(tmp_path / "file") == []


# --------------------------------------------------------------------------------------------------------- reading


def test_both_forms_read_the_same(tmp_path: Path) -> None:
    """Sealing changes nothing of what is read: records, their order, the size of their payloads."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(30), text="ü\n\x00🦊")
    before = entries_in(tmp_path)
    writer.close()

    assert entries_in(tmp_path) == before
    assert all(isinstance(entry, Entry) and entry.size > 10 for entry in before)


def test_a_stream_is_as_good_as_a_path() -> None:
    """Framed lines are read from any binary stream, which is closed at the end."""
    row = b'{"type":"row","seq":1,"time":0.5,"step":0,"data":{}}'
    stream = io.BytesIO(frame(row) + b"half")

    assert list(read_hot(stream, "w", "s")) == [
        Entry("w", Row(seq=1, time=0.5, step=0, data={}), len(row)),
        Damage("w", "s", len(frame(row)), 4, "torn", "the last line is incomplete"),
    ]
    assert stream.closed


def test_large_lines(tmp_path: Path) -> None:
    """A record may be larger than any buffer."""
    writer = open_writer(tmp_path)
    log(writer, range(3), text="x" * 700_000)
    assert steps_in(tmp_path) == [0, 1, 2]
    writer.close()

    assert [len(one.data["text"]) for one in records_in(tmp_path) if isinstance(one, Row)] == [700_000] * 3


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """Reading leaves every file as it is, damaged or not."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(20))
    writer._sealer.finish()
    flip(hot_journal(tmp_path / "other"), 200)

    def state() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = state()
    entries_in(tmp_path)
    entries_in(tmp_path / "other")
    assert state() == before


def test_writers_are_merged_by_time(tmp_path: Path) -> None:
    """Two writers are read as one journal in order of time, in order of their names where times are equal."""
    one, other = open_writer(tmp_path, "a", segment_bytes=TINY), open_writer(tmp_path, "b", primary=False)
    for step in range(0, 20, 2):
        one.row(100.0 + step, step, {})
        other.row(101.0 + step, step + 1, {})
        other.row(101.0 + step, None, {})
        one.row(101.0 + step, None, {})
    entries = [
        entry for entry in entries_in(tmp_path) if isinstance(entry, Entry) and type(entry.record) is Row
    ]
    one.close()
    other.close()

    times = [entry.record.time for entry in entries]
    assert times == sorted(times)
    assert [entry.writer for entry in entries] == ["a", "a", "b", "b"] * 10
    assert [entry.record.step for entry in entries if isinstance(entry.record, Row)] == [
        step for even in range(0, 20, 2) for step in (even, None, even + 1, None)
    ]


def test_each_writer_keeps_its_order(tmp_path: Path) -> None:
    """A clock that was set back does not change the order of a writer, nor let it overtake itself."""
    one, other = open_writer(tmp_path, "a"), open_writer(tmp_path, "b")
    for time in (105.0, 102.0, 106.0):
        one.row(time, None, {})
    for time in (104.0, 105.5, 90.0):
        other.row(time, None, {})
    rows = [entry for entry in entries_in(tmp_path) if isinstance(entry, Entry) and type(entry.record) is Row]

    assert [(entry.writer, entry.record.time) for entry in rows] == [
        ("b", 104.0),
        ("a", 105.0),
        ("a", 102.0),
        ("b", 105.5),
        ("b", 90.0),
        ("a", 106.0),
    ]


def test_damage_keeps_its_place_among_writers(tmp_path: Path) -> None:
    """What is damaged comes between the records of its writer, before later ones of others."""
    path = hot_journal(tmp_path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"junk\n", *lines[2:]]))
    other = open_writer(tmp_path, "w2", now=101.5)
    other.row(101.5, None, {})
    found = [entry.kind if isinstance(entry, Damage) else entry.record.time for entry in entries_in(tmp_path)]

    assert found == [100.0, 100.0, "corrupt", 101.0, 101.5, 101.5, 102.0]


# ----------------------------------------------------------------------------------------------- while it is written


def test_a_segment_sealed_under_the_readers_hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hot segment that vanishes between listing and opening is read in its sealed form, once."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(20))
    listed = segments(tmp_path / "w1")
    writer.close()
    monkeypatch.setattr(segments_module, "segments", lambda _: listed)

    assert [path.suffix for _, path in listed][-1] == ".jsonl"
    assert steps_in(tmp_path) == list(range(20))


def test_a_segment_sealed_while_it_is_read(tmp_path: Path) -> None:
    """A reader that has begun with the hot form reads it to its end, though it is deleted meanwhile."""
    writer = open_writer(tmp_path)
    log(writer, range(20))
    reading = read(tmp_path)
    first = next(reading)
    writer.close()
    rest = list(reading)

    assert isinstance(first, Entry)
    assert [
        entry.record.step for entry in rest if isinstance(entry, Entry) and isinstance(entry.record, Row)
    ] == list(range(20))


def test_a_segment_that_vanishes_altogether(tmp_path: Path) -> None:
    """A segment of which neither form is there any more is an error, not an end."""
    hot_journal(tmp_path)
    path = tmp_path / "w1" / "000001.jsonl"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_segment(path))


def test_both_forms_at_a_time(tmp_path: Path) -> None:
    """Between renaming and deleting both forms exist; nothing is read twice."""
    path = hot_journal(tmp_path)
    data = path.read_bytes()
    sealed_journal(tmp_path / "again")
    path.with_name("000001.jsonl.zst").write_bytes(
        (tmp_path / "again" / "w1" / "000001.jsonl.zst").read_bytes()
    )

    assert path.read_bytes() == data
    assert steps_in(tmp_path) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("cut", "is_sealed_read"),
    [
        (lambda lines: lines, False),
        (lambda lines: lines[:-2], True),
        (lambda lines: [*lines[:-1], lines[-1][:-3]], True),
        (lambda lines: [*lines[:2], b"00000000" + lines[2][8:], *lines[3:]], True),
        (lambda lines: [], True),
    ],
)
def test_an_old_copy_beside_the_sealed_form(tmp_path: Path, cut: Any, is_sealed_read: bool) -> None:
    """A hot form that holds fewer records than the sealed one is an old copy, and hides nothing."""
    hot = hot_journal(tmp_path / "hot")
    sealed = sealed_journal(tmp_path)
    stale = sealed.with_name("000001.jsonl")
    stale.write_bytes(b"".join(cut(hot.read_bytes().splitlines(keepends=True))))

    assert [path.suffix == ".zst" for _, path in segments(sealed.parent)] == [is_sealed_read]
    assert (steps_in(tmp_path), kinds(tmp_path)) == ([0, 1, 2, 3], [])


def test_a_sealed_form_that_cannot_be_believed_replaces_nothing(tmp_path: Path) -> None:
    """A short hot form is better than a sealed one that is damaged; one that is gone is none."""
    sealed = sealed_journal(tmp_path)
    hot = hot_journal(tmp_path / "hot", count=2)
    hot.rename(sealed.with_name("000001.jsonl"))
    flip(sealed, len(sealed.read_bytes()) // 2)
    assert steps_in(tmp_path) == [0, 1]

    assert segments_module._is_behind(sealed.with_name("000002.jsonl"))


def test_a_half_written_line_is_torn_for_now(tmp_path: Path) -> None:
    """A line of which only the beginning is there is torn; when it is whole, it is read."""
    path = hot_journal(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[:-5])

    assert (steps_in(tmp_path), kinds(tmp_path)) == ([0, 1, 2], ["torn"])
    path.write_bytes(data)
    assert (steps_in(tmp_path), kinds(tmp_path)) == ([0, 1, 2, 3], [])


def test_a_journal_up_to_given_records(tmp_path: Path) -> None:
    """With the last records of some writers, these are read up to there, headers included, and no others."""
    one, other = open_writer(tmp_path, "a", segment_bytes=1), open_writer(tmp_path, "b", primary=False)
    log(one, range(4))
    log(other, range(4))
    entries = [entry for entry in read(tmp_path, {"a": 4}) if isinstance(entry, Entry)]

    assert [(entry.writer, entry.record.seq) for entry in entries] == [("a", seq) for seq in range(5)]


# ------------------------------------------------------------------------------------------------------------ damage


def test_damage_of_a_hot_segment_is_named(tmp_path: Path) -> None:
    """A bad line is named with writer, segment, place and length; every other line is read."""
    path = hot_journal(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    start = len(lines[0]) + len(lines[1])
    flip(path, start + 20)

    assert damage_in(tmp_path) == [
        Damage("w1", "000001.jsonl", start, len(lines[2]), "corrupt", "the checksum does not fit")
    ]
    assert steps_in(tmp_path) == [0, 2, 3]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"type":"hologram","seq":9}', "unknown type 'hologram'"),
        (b'{"type":"preempting","seq":9}', "Not a valid preempting record"),
        (b'{"type":"header","seq":9,"version":2}', "upgrade corelib"),
    ],
)
def test_records_that_this_version_cannot_read(tmp_path: Path, payload: bytes, reason: str) -> None:
    """A line whose checksum fits, but which is no record of this version, is named with the reason and passed over."""
    path = hot_journal(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], frame(payload), *lines[2:]]))
    (found,) = damage_in(tmp_path)

    assert found[:5] == ("w1", "000001.jsonl", len(lines[0]) + len(lines[1]), len(payload), "unreadable")
    assert reason in found.reason
    assert steps_in(tmp_path) == [0, 1, 2, 3]


def test_records_that_this_version_cannot_read_in_a_sealed_segment(tmp_path: Path) -> None:
    """In a sealed segment, too, an unknown record is named with its place and costs nothing else."""
    path = sealed_journal(tmp_path)
    plain = zstandard.ZstdDecompressor().decompress(path.read_bytes())
    first, rest = plain.split(b"\n", 1)
    unknown = b'{"type":"hologram"}'
    seal_again(path, b"\n".join([first, unknown, rest]))
    (found,) = damage_in(tmp_path)

    assert found[:5] == ("w1", "000001.jsonl.zst", len(first) + 1, len(unknown), "unreadable")
    assert steps_in(tmp_path) == [0, 1, 2, 3]


def test_lost_segments_are_named(tmp_path: Path) -> None:
    """Segments that are not there any more are named, wherever they were; the others are read."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(6))
    writer.close()
    for number in (1, 4, 5):
        (tmp_path / "w1" / f"{number:06d}.jsonl.zst").unlink()

    assert [(one.segment, one.kind, one.reason) for one in damage_in(tmp_path)] == [
        ("000001.jsonl", "missing", "1 segments from here on are not there"),
        ("000004.jsonl", "missing", "2 segments from here on are not there"),
    ]
    assert steps_in(tmp_path) == [0, 1, 4, 5]


def seal_again(path: Path, plain: bytes, **options: Any) -> None:
    """Write a sealed segment by other means."""
    path.write_bytes(zstandard.ZstdCompressor(**{"write_checksum": True, **options}).compress(plain))


def plain_of(path: Path) -> bytes:
    """Return the lines of a sealed segment."""
    return zstandard.ZstdDecompressor().decompress(path.read_bytes())


def believed(path: Path) -> list[Entry]:
    """Return the records that are believed of a sealed segment that is damaged, and check that the damage is named."""
    entries = list(read_segment(path))
    (named,) = (entry for entry in entries if isinstance(entry, Damage))
    assert (named.kind, named.offset, named.length) == ("corrupt", 0, path.stat().st_size)
    assert named.reason.startswith("the sealed segment cannot be believed: ")
    return [entry for entry in entries if isinstance(entry, Entry)]


def test_any_flipped_bit_of_a_sealed_segment(tmp_path: Path) -> None:
    """Whichever bit of a sealed segment flips, none of its records is believed, unless all are right nevertheless."""
    path = sealed_journal(tmp_path)
    data, before = path.read_bytes(), entries_in(tmp_path)
    believed_bits = 0
    for place in range(len(data)):
        for bit in range(8):
            path.write_bytes(data)
            flip(path, place, bit)
            if entries_in(tmp_path) == before:
                believed_bits += 1
            else:
                assert believed(path) == []

    assert believed_bits < len(data) // 10  # padding, and hints to the decoder such as the size of its window


def test_any_end_cut_off_a_sealed_segment(tmp_path: Path) -> None:
    """Wherever a sealed segment is cut, it is not believed; zstandard itself would give a part and say nothing."""
    path = sealed_journal(tmp_path)
    data = path.read_bytes()
    for size in range(len(data)):
        path.write_bytes(data[:size])
        assert believed(path) == []


@pytest.mark.parametrize("more", [b"\x00", b"junk", bytes(5000)], ids=["byte", "word", "block"])
def test_anything_behind_a_sealed_segment(tmp_path: Path, more: bytes) -> None:
    """Whatever follows the frame is noticed; zstandard itself would pass over it."""
    path = sealed_journal(tmp_path)
    with path.open("ab") as file:
        file.write(more)

    assert believed(path) == []


def test_anything_behind_a_sealed_segment_that_fills_a_block(tmp_path: Path) -> None:
    """What follows is noticed also where the frame ends just where a piece of the file does that is read at a time."""
    path = sealed_journal(tmp_path)
    plain, size = plain_of(path), 0
    noise = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(256))
    while path.stat().st_size % 1024:
        size += 1
        row = Row(seq=5, time=104.0, step=4, data={"noise": noise[:size]})
        seal_again(path, plain + encode(row) + b"\n")
    assert damage_in(tmp_path) == []
    with path.open("ab") as file:
        file.write(b"x")

    assert believed(path) == []


@pytest.mark.parametrize("count", [4, 400])
def test_two_frames_in_a_sealed_segment(tmp_path: Path, count: int) -> None:
    """A second frame is damage: zstandard itself would decode the first one only."""
    path = sealed_journal(tmp_path, count)
    path.write_bytes(path.read_bytes() * 2)

    assert believed(path) == []


@pytest.mark.parametrize("options", [{"write_checksum": False}, {"write_content_size": False}])
def test_sealed_segments_that_cannot_be_checked(tmp_path: Path, options: dict[str, bool]) -> None:
    """Without checksum or size nobody can tell whether a sealed segment is whole, so it is not believed."""
    path = sealed_journal(tmp_path)
    seal_again(path, plain_of(path), **options)

    assert believed(path) == []


@pytest.mark.parametrize("size", [1000, 10_000_000])
def test_a_sealed_segment_that_is_larger_than_it_says(tmp_path: Path, size: int) -> None:
    """A frame that swells beyond the size that it declares is given up at once."""
    path = sealed_journal(tmp_path)
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(bytes(50_000_000)))
    declared = zstandard.get_frame_parameters(bytes(data[:18])).content_size
    place = data.index(declared.to_bytes(4, "little"))
    data[place : place + 4] = size.to_bytes(4, "little")
    path.write_bytes(data)

    assert believed(path) == []


def test_a_sealed_segment_made_by_other_tools(tmp_path: Path) -> None:
    """A segment that was compressed anew, harder and without the last line feed, is as good as before."""
    path = sealed_journal(tmp_path)
    before = entries_in(tmp_path)
    seal_again(path, plain_of(path).rstrip(b"\n"), level=19)

    assert entries_in(tmp_path) == before


def test_a_sealed_segment_of_nothing(tmp_path: Path) -> None:
    """An empty segment is sound, and holds nothing."""
    path = sealed_journal(tmp_path)
    seal_again(path, b"")

    assert entries_in(tmp_path) == []


def test_one_damaged_segment_among_many(tmp_path: Path) -> None:
    """A sealed segment that cannot be believed costs its own records and no others."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(5))
    writer.close()
    flip(tmp_path / "w1" / "000004.jsonl.zst", -1)

    assert steps_in(tmp_path) == [0, 1, 3, 4]
    assert [one.segment for one in damage_in(tmp_path)] == ["000004.jsonl.zst"]


# ----------------------------------------------------------------------------------------------------------- liveness


def test_any_living_writer_makes_a_journal_live(tmp_path: Path) -> None:
    """A journal is live as long as one of its writers is; asking disturbs nobody, however often."""
    one, other = open_writer(tmp_path, "a"), open_writer(tmp_path, "b")
    one.close()

    assert [is_live(tmp_path), is_live(tmp_path)] == [True, True]
    other.close()
    assert [is_live(tmp_path), is_live(tmp_path)] == [False, False]


def test_readers_are_not_writers(tmp_path: Path) -> None:
    """Another reader that asks at the same time does not look like a writer."""
    hot_journal(tmp_path)
    fd = os.open(tmp_path / "w1", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)

    assert not is_live(tmp_path)
    os.close(fd)


def test_a_writer_that_vanishes_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that is removed after it was listed, as by an `init()` that failed, is no error."""
    monkeypatch.setattr(segments_module, "writers", lambda _: ["gone"])

    assert not is_live(tmp_path)


def test_where_nobody_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without locks every writer looks dead, and asking is no error."""
    writer = open_writer(tmp_path)

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    assert not is_live(tmp_path)
    monkeypatch.undo()
    writer.close()


def test_the_headers_of_a_journal(tmp_path: Path) -> None:
    """Reading gives the headers as well, each in front of its segment."""
    writer: JournalWriter = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(2))
    writer.close()

    assert [type(entry.record) for entry in read_writer(tmp_path / "w1") if isinstance(entry, Entry)] == [
        *(Header, Header, Row, Header, Row)
    ]
