"""Following a journal: every record once, whatever its writers do meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.journal import JournalWriter
from corelib.pure.frames import frame
from corelib.pure.records import Header, Record, Row
from corelib.pure.wire import decode, encode_row
from corelib.segments import Entry, read_segment, segments
from corelib.tail import Position, Tail
from tests.journals import flip, log, open_writer, records_in

TINY = 600

Follow: TypeAlias = Callable[..., Tail]


def steps(entries: list[Entry]) -> list[int | None]:
    """Return the steps of the rows among entries."""
    return [entry.record.step for entry in entries if isinstance(entry.record, Row)]


@pytest.fixture
def follow() -> Iterator[Follow]:
    """Return a function that makes a Tail, which is closed after the test."""
    with ExitStack() as stack:

        def following(journal_dir: Path, positions: Mapping[str, Position] | None = None) -> Tail:
            return stack.enter_context(closing(Tail(journal_dir, positions)))

        yield following


def drained(tail: Tail, limit: int = 1000) -> list[Entry]:
    """Poll until nothing new comes."""
    found: list[Entry] = []
    while batch := tail.poll(limit):
        assert len(batch) <= limit
        found += batch
    return found


def hot(journal_dir: Path) -> Path:
    """Return the first hot segment."""
    return journal_dir / "w1" / "000001.jsonl"


# ------------------------------------------------------------------------------------------------- growing journals


def test_a_journal_that_is_not_there_yet(tmp_path: Path, follow: Follow) -> None:
    """Following begins before the journal exists, and finds all of it once it does."""
    tail = follow(tmp_path / "journal")
    assert tail.poll(10) == []
    writer = open_writer(tmp_path / "journal")
    log(writer, range(3))

    assert steps(tail.poll(10)) == [0, 1, 2]
    assert tail.poll(10) == []
    log(writer, range(3, 5))
    assert steps(tail.poll(10)) == [3, 4]


def test_entries_are_what_reading_gives(tmp_path: Path, follow: Follow) -> None:
    """An entry names writer, record and size, headers included, as reading does."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(30))
    found = drained(follow(tmp_path))

    assert [entry.record for entry in found] == records_in(tmp_path)
    assert {entry.writer for entry in found} == {"w1"}
    assert type(found[0].record) is Header
    assert found[1].size == len(encode_row(1, 100.0, 0, {"n": 0}))


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
@pytest.mark.parametrize("closed", [False, True], ids=["hot", "sealed"])
def test_limits_change_nothing(tmp_path: Path, follow: Follow, limit: int, closed: bool) -> None:
    """However few records are taken at a time, each comes once, in order."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(40))
    if closed:
        writer.close()

    assert [entry.record for entry in drained(follow(tmp_path), limit)] == records_in(tmp_path)


@pytest.mark.parametrize("closed", [False, True], ids=["hot", "sealed"])
def test_small_polls_read_nothing_twice(
    tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    """Taking few records at a time does not decode a segment anew for each poll."""
    writer = open_writer(tmp_path)
    log(writer, range(200))
    if closed:
        writer.close()
    decoded = 0

    def counted(payload: bytes) -> Record:
        nonlocal decoded
        decoded += 1
        return decode(payload)

    monkeypatch.setattr("corelib.tail.decode", counted)
    monkeypatch.setattr("corelib.segments.decode", counted)

    assert len(drained(follow(tmp_path), 3)) == decoded == 201


def test_a_segment_sealed_while_it_is_followed(tmp_path: Path, follow: Follow) -> None:
    """What was taken of the hot form does not come again from the sealed one, and the rest is not missed."""
    writer = open_writer(tmp_path)
    log(writer, range(10))
    tail = follow(tmp_path)
    assert steps(tail.poll(5)) == [0, 1, 2, 3]
    log(writer, range(10, 12))
    writer.close()

    assert steps(drained(tail)) == [*range(4, 12)]
    assert tail.positions == {"w1": Position(2, 0)}


def test_a_segment_sealed_between_listing_and_opening(
    tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the hot form is gone when it is to be opened, the sealed one is read."""
    writer = open_writer(tmp_path)
    log(writer, range(3))

    def sealed_meanwhile(directory: Path) -> list[tuple[int, Path]]:
        monkeypatch.undo()
        found = segments(directory)
        writer.close()
        return found

    monkeypatch.setattr("corelib.tail.segments", sealed_meanwhile)
    assert steps(drained(follow(tmp_path))) == [0, 1, 2]


def test_a_row_that_comes_between_listing_and_reading(
    tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that was the last one when the list was made is not left behind when it is read to its end."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(2))
    tail = follow(tmp_path)

    def more_meanwhile(directory: Path) -> list[tuple[int, Path]]:
        monkeypatch.undo()
        found = segments(directory)
        log(writer, range(2, 30))
        return found

    monkeypatch.setattr("corelib.tail.segments", more_meanwhile)
    assert steps(drained(tail)) == list(range(30))


def test_a_process_that_writes_meanwhile(tmp_path: Path, follow: Follow) -> None:
    """While another process appends, rotates and seals, every record comes once, in order."""
    code = (
        "import sys; from pathlib import Path; from tests.journals import *\n"
        "writer = open_writer(Path(sys.argv[1]), segment_bytes=3000)\n"
        "log(writer, range(3000)); writer.close()"
    )
    root = Path(__file__).parent.parent
    tail = follow(tmp_path)
    found: list[Entry] = []
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=root) as child:
        while child.poll() is None:
            found += tail.poll(50)
    found += drained(tail)

    assert child.returncode == 0
    assert [entry.record for entry in found] == records_in(tmp_path)
    assert steps(found) == list(range(3000))


# ------------------------------------------------------------------------------------------------ half lines and damage


def append_to(path: Path, data: bytes) -> None:
    """Append bytes to a file."""
    with path.open("ab") as file:
        file.write(data)


def test_half_a_line_waits(tmp_path: Path, follow: Follow) -> None:
    """A line comes when it is whole, however its pieces arrive."""
    log(open_writer(tmp_path), range(1))
    tail = follow(tmp_path)
    assert steps(tail.poll(10)) == [0]
    line = frame(encode_row(2, 101.0, 1, {}))
    for place in range(len(line) - 1):
        append_to(hot(tmp_path), line[place : place + 1])
        assert tail.poll(10) == []
    append_to(hot(tmp_path), line[-1:])

    assert steps(tail.poll(10)) == [1]


@pytest.mark.parametrize("following", [b"", b"x" * 500], ids=["shorter", "longer"])
def test_half_a_line_that_is_taken_back(tmp_path: Path, follow: Follow, following: bytes) -> None:
    """Half a line that was seen, and then taken back on a full disk, does not spoil the line that follows it."""
    log(open_writer(tmp_path), range(1))
    size = hot(tmp_path).stat().st_size
    tail = follow(tmp_path)
    tail.poll(10)
    append_to(hot(tmp_path), frame(encode_row(2, 101.0, 1, {"text": "y" * 200}))[:150])
    assert tail.poll(10) == []
    os.truncate(hot(tmp_path), size)
    assert tail.poll(10) == []
    append_to(hot(tmp_path), frame(encode_row(3, 102.0, 2, {"text": following.decode()})))

    assert steps(tail.poll(10)) == [2]
    assert tail.positions == {"w1": Position(1, 3)}


def test_damaged_lines_are_passed_over(tmp_path: Path, follow: Follow) -> None:
    """A damaged line, and a record of a later version, cost themselves only; positions stay those of the journal."""
    writer = open_writer(tmp_path)
    log(writer, range(3))
    flip(hot(tmp_path), -10)
    append_to(hot(tmp_path), frame(b'{"type":"hologram"}'))
    tail = follow(tmp_path)

    assert steps(drained(tail)) == [0, 1]
    append_to(hot(tmp_path), frame(encode_row(9, 103.0, 3, {})))
    assert steps(drained(follow(tmp_path, tail.positions))) == [3]
    assert steps(drained(tail)) == [3]


def test_damaged_sealed_segments_are_passed_over(tmp_path: Path, follow: Follow) -> None:
    """A sealed segment that cannot be believed costs itself only."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(4))
    writer.close()
    flip(tmp_path / "w1" / "000003.jsonl.zst", -1)

    assert steps(drained(follow(tmp_path))) == [0, 2, 3]


def test_lost_segments_are_passed_over(tmp_path: Path, follow: Follow) -> None:
    """Segments that are gone do not hold up those behind them."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(6))
    writer.close()
    for number in (1, 3, 4):
        (tmp_path / "w1" / f"{number:06d}.jsonl.zst").unlink()

    assert steps(drained(follow(tmp_path))) == [0, 3, 4, 5]


def test_a_followed_segment_that_is_deleted(tmp_path: Path, follow: Follow) -> None:
    """A file that is deleted while it is open is read to its end."""
    log(open_writer(tmp_path), range(4))
    tail = follow(tmp_path)
    assert steps(tail.poll(3)) == [0, 1]
    hot(tmp_path).unlink()

    assert steps(drained(tail)) == [2, 3]
    assert tail.positions == {"w1": Position(2, 0)}


def test_trouble_of_one_writer(tmp_path: Path, follow: Follow) -> None:
    """A writer that cannot be read keeps nothing from the others; with nothing else to tell, its error is told."""
    (tmp_path / "a" / "000001.jsonl").mkdir(parents=True)
    writer = open_writer(tmp_path, "b")
    log(writer, range(3))
    tail = follow(tmp_path)

    assert steps(tail.poll(10)) == [0, 1, 2]
    with pytest.raises(IsADirectoryError):
        tail.poll(10)
    log(writer, range(3, 4))
    assert steps(tail.poll(10)) == [3]
    (tmp_path / "a" / "000001.jsonl").rmdir()
    assert tail.poll(10) == []


def test_trouble_in_the_middle_of_a_segment(
    tmp_path: Path, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while reading costs nothing: what was read is returned, and the next poll goes on from there."""
    writer = open_writer(tmp_path)
    log(writer, range(6))
    writer.close()

    def interrupted(path: Path) -> Iterator[Any]:
        for index, entry in enumerate(read_segment(path)):
            if index == 3:
                raise OSError("Input/output error")
            yield entry

    tail = follow(tmp_path)
    monkeypatch.setattr("corelib.tail.read_segment", interrupted)
    assert steps(tail.poll(10)) == [0, 1]
    with pytest.raises(OSError, match="Input/output"):
        tail.poll(10)
    monkeypatch.undo()
    assert steps(tail.poll(10)) == [2, 3, 4, 5]


# ------------------------------------------------------------------------------------------------------------ positions


def test_positions_are_taken_up_again(tmp_path: Path, follow: Follow) -> None:
    """From the positions of one Tail another one goes on, over sealing and from process to process."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(20))
    first = follow(tmp_path)
    taken = first.poll(9)
    positions = first.positions
    first.close()
    assert first.positions == positions
    writer.close()
    second = follow(tmp_path, positions)

    assert steps(taken + drained(second)) == list(range(20))


def test_closing_is_no_end(tmp_path: Path, follow: Follow) -> None:
    """A closed Tail has no file open, and goes on where it stood when it is polled again."""
    writer = open_writer(tmp_path)
    log(writer, range(10))
    tail = follow(tmp_path)
    before = len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"))
    tail.poll(5)
    tail.close()

    assert len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd")) == before
    assert steps(tail.poll(3)) == [4, 5, 6]
    tail.close()
    assert steps(drained(tail)) == [7, 8, 9]
    writer.close()


def test_positions_of_writers_that_are_not_there(tmp_path: Path, follow: Follow) -> None:
    """A position of a writer that nobody has met yet is kept."""
    tail = follow(tmp_path, {"w9": Position(3, 2)})
    tail.poll(1)

    assert tail.positions == {"w9": Position(3, 2)}


def test_going_back_to_a_position(tmp_path: Path, follow: Follow) -> None:
    """A Tail that is set back reads again from there, and the other writers on."""
    one, other = open_writer(tmp_path, "a"), open_writer(tmp_path, "b")
    log(one, range(6))
    log(other, range(10, 12))
    tail = follow(tmp_path)
    tail.poll(3)
    positions = {"a": tail.positions["a"]}
    drained(tail)
    tail.seek({**positions, "c": Position(2, 1)})

    assert steps(drained(tail)) == [2, 3, 4, 5]
    assert tail.positions["c"] == Position(2, 1)


def test_headers_of_where_it_stands(tmp_path: Path, follow: Follow) -> None:
    """The headers are those of the segments where the writers stand; what cannot be read has none."""
    writer = open_writer(tmp_path, "a", segment_bytes=1)
    log(writer, range(3))
    (tmp_path / "b" / "000001.jsonl").mkdir(parents=True)
    open_writer(tmp_path, "c").close()
    tail = follow(tmp_path, {"gone": Position(1, 1)})

    assert steps(tail.poll(4)) == [0]
    assert [(name, header.segment) for name, header in tail.headers().items()] == [("a", 3), ("c", 1)]
    assert steps(tail.poll(100)) == [1, 2]
    with pytest.raises(IsADirectoryError):
        tail.poll(100)
    assert [(name, header.segment) for name, header in tail.headers().items()] == [("a", 4)]


def test_what_stood_before(tmp_path: Path, follow: Follow) -> None:
    """What was delivered can be read once more, headers included, up to a record of each writer."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(4))

    assert [entry.record.seq for entry in follow(tmp_path).before({"w1": 4})] == [0, 1, 2, 3, 4]


def test_several_writers(tmp_path: Path, follow: Follow) -> None:
    """All writers are followed, those included that come later, each in its order."""
    one = open_writer(tmp_path, "a")
    log(one, range(3))
    tail = follow(tmp_path)
    found = tail.poll(2)
    other = open_writer(tmp_path, "b", primary=False)
    log(other, range(10, 13))
    log(one, range(3, 5))
    found += drained(tail)

    assert steps([entry for entry in found if entry.writer == "a"]) == [0, 1, 2, 3, 4]
    assert steps([entry for entry in found if entry.writer == "b"]) == [10, 11, 12]


# -------------------------------------------------------------------------------------------- any order of everything

ACTIONS = st.one_of(
    st.tuples(st.just("log"), st.sampled_from("ab"), st.integers(min_value=1, max_value=8)),
    st.tuples(st.just("poll"), st.just(""), st.integers(min_value=1, max_value=9)),
    st.tuples(st.just("seal"), st.sampled_from("ab"), st.just(0)),
    st.tuples(st.just("half"), st.sampled_from("ab"), st.integers(min_value=1, max_value=60)),
    st.tuples(st.sampled_from(["close tail", "restart"]), st.just(""), st.just(0)),
    st.tuples(st.just("end"), st.sampled_from("ab"), st.just(0)),
)


class World:
    """A journal of two writers and somebody who follows it."""

    def __init__(self, journal_dir: Path) -> None:
        self.journal_dir = journal_dir
        self.writers: dict[str, JournalWriter] = {}
        self.logged: dict[str, list[int]] = {"a": [], "b": []}
        self.ended: set[str] = set()
        self.tail = Tail(journal_dir)
        self.found: list[Entry] = []

    def do(self, action: str, name: str, number: int) -> None:
        """Do one thing."""
        if action == "poll":
            self.found += self.tail.poll(number)
        elif action == "close tail":
            self.tail.close()
        elif action == "restart":
            self.tail.close()
            self.tail = Tail(self.journal_dir, self.tail.positions)
        elif name not in self.ended:
            self.write(action, self.writer(name), name, number)

    def writer(self, name: str) -> JournalWriter:
        """Return a writer, begun now if need be."""
        if name not in self.writers:
            self.writers[name] = open_writer(self.journal_dir, name, segment_bytes=300)
        return self.writers[name]

    def write(self, action: str, writer: JournalWriter, name: str, number: int) -> None:
        """Do what writers do."""
        if action == "log":
            first = len(self.logged[name])
            log(writer, range(first, first + number))
            self.logged[name] += range(first, first + number)
        elif action == "seal":
            writer._sealer.finish()  # from then on nothing is sealed but here, so that each example is repeatable
        elif action == "half":
            line = frame(encode_row(10**6, 100.0, 10**6, {}))[:number]
            os.write(writer._fd, line)
            self.found += self.tail.poll(3)
            os.ftruncate(writer._fd, writer._size)
        else:
            writer.close()
            self.ended.add(name)


@given(actions=st.lists(ACTIONS, max_size=30))
def test_every_record_once(actions: list[tuple[str, str, int]]) -> None:
    """In whatever order records are appended, segments begun and sealed, half lines taken back, and the journal polled
    by one Tail after the other: each record comes once, in the order of its writer.
    """
    directory = Path(tempfile.mkdtemp())
    world = World(directory)
    try:
        for action in actions:
            world.do(*action)
        for writer in world.writers.values():
            writer.close()
        world.found += drained(world.tail)

        for name in world.writers:
            found = [entry for entry in world.found if entry.writer == name]
            assert [entry.record for entry in found] == records_in(directory, name)
            assert steps(found) == world.logged[name]
    finally:
        world.tail.close()
        shutil.rmtree(directory)


def test_one_writer_can_be_read_before_the_others(tmp_path: Path) -> None:
    """However they are called, and whoever was there first: the rows of others are numbered behind its own."""
    for name in ("a", "z", "m"):
        log(open_writer(tmp_path, name, primary=name == "m"), range(3))
    tail = Tail(tmp_path, first="m")

    found = [*tail.poll(2), *tail.poll(100)]
    tail.close()

    writers = [entry.writer for entry in found]
    assert writers[:4] == ["m"] * 4
    assert sorted(writers[4:]) == ["a"] * 4 + ["z"] * 4
