"""What stands in a run directory, on real ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from corelib.errors import JournalError
from corelib.journal import JournalWriter
from corelib.pure.records import Exit, Header, Row, RunStart
from corelib.segments import read_segment
from corelib.shell.survey import Part, lost_records, survey
from corelib.testing.specimens import start_record

HOST = "here"


class Recorded:
    """A run directory that is being written."""

    def __init__(self, directory: Path, *, segment_bytes: int = 1 << 20) -> None:
        self.directory = directory
        self.writer = JournalWriter(
            directory / "journal",
            run_id="r1",
            writer="w",
            start_time=1.0,
            now=1.0,
            host=HOST,
            primary=True,
            segment_bytes=segment_bytes,
        )

    def begin(self, rows: int = 0) -> Recorded:
        fields = {
            name: getattr(start_record(), name)
            for name in RunStart.__annotations__
            if name not in {"seq", "time"}
        }
        self.writer.append(RunStart, time=1.0, **fields)
        for number in range(rows):
            self.writer.append(Row, time=2.0 + number, step=number, data={"x": number})
        return self

    def end(self, exit_code: int | None) -> Part:
        self.writer.append(Exit, time=9.0, exit_code=exit_code, runtime=8.0)
        return self.die()

    def die(self) -> Part:
        """Let go of the lock as a killed process does, without sealing."""
        self.writer.abandon()
        return survey(self.directory, HOST)


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path / "offline-run-20260101_000000-r1")


@pytest.mark.parametrize(("exit_code", "state"), [(0, "finished"), (3, "failed"), (None, "failed")])
def test_a_run_that_has_ended(recorded: Recorded, exit_code: int | None, state: str) -> None:
    """Its exit record says how it ended; all records are counted, headers are not."""
    part = recorded.begin(5).end(exit_code)

    assert (part.state, part.exit_code, part.written, part.damage) == (state, exit_code, 7, None)
    assert part.start is not None
    assert part.header is not None
    assert (part.run_id, part.header.writer) == ("r1", "w")


def test_the_exit_status_beside_the_journal(recorded: Recorded) -> None:
    """An exit code that Python hid is read where libc has left it."""
    (recorded.directory / "exit-status").write_bytes(b"\x00")

    assert recorded.begin().end(None).state == "finished"


def test_a_run_that_lives(recorded: Recorded) -> None:
    """As long as its writer holds the lock a run is running, and crashed when it lets go without an end."""
    recorded.begin(2)
    assert survey(recorded.directory, HOST).state == "running"

    part = recorded.die()
    assert (part.state, part.is_running, part.ending, part.written) == ("crashed", False, None, 3)


def test_another_host_may_be_writing(recorded: Recorded) -> None:
    """What another host wrote an hour ago is dead; what it wrote just now may live, for its locks are not seen here."""
    recorded.begin(2).die()
    assert survey(recorded.directory, "there").state == "running"
    assert survey(recorded.directory).state == "crashed"

    (segment,) = recorded.directory.rglob("*.jsonl")
    os.utime(segment, (1.0, 1.0))
    assert survey(recorded.directory, "there").state == "crashed"


def test_many_segments(tmp_path: Path) -> None:
    """The count is right however many segments there are, without reading them all."""
    recorded = Recorded(tmp_path / "run", segment_bytes=200).begin(50)
    recorded.writer.append(Exit, time=99.0, exit_code=0, runtime=1.0)
    recorded.writer.close()
    segments = sorted(recorded.directory.rglob("*.zst"))
    assert len(segments) > 5
    for path in segments[1:-1]:
        path.write_bytes(b"not read")

    part = survey(recorded.directory, HOST)
    assert (part.written, part.state, part.damage) == (52, "finished", None)


def test_a_child_of_the_run_counts(recorded: Recorded) -> None:
    """Records of other writers are counted; the beginning and the end are the primary writer's."""
    recorded.begin(1)
    child = JournalWriter(
        recorded.directory / "journal",
        run_id="r1",
        writer="a-child",
        start_time=1.0,
        now=1.0,
        host=HOST,
        primary=False,
    )
    child.append(Row, time=2.0, step=None, data={})
    child.close()
    part = recorded.end(0)

    assert (part.written, part.state) == (4, "finished")
    assert part.header is not None
    assert part.header.writer == "w"


def test_a_run_that_never_began(recorded: Recorded) -> None:
    """A journal with a header alone, without any writer, or with an empty one, is of no run, and not damaged."""
    part = recorded.die()
    assert (part.state, part.run_id, part.written) == ("empty", "r1", 0)

    (segment,) = recorded.directory.rglob("*.jsonl")
    segment.unlink()
    part = survey(recorded.directory, HOST)
    assert (part.state, part.run_id) == ("empty", "r1")
    shutil.rmtree(recorded.directory / "journal" / "w")
    assert survey(recorded.directory, HOST).state == "empty"


def test_another_record_first(recorded: Recorded) -> None:
    """A journal that does not begin with the beginning of a run has none."""
    recorded.writer.append(Row, time=2.0, step=0, data={})
    part = recorded.die()

    assert (part.start, part.written) == (None, 1)


def test_a_name_that_tells_nothing(tmp_path: Path) -> None:
    """Where neither journal nor folder name the run, the folder's name stands for it."""
    (tmp_path / "strange" / "journal").mkdir(parents=True)

    assert survey(tmp_path / "strange").run_id == "strange"


def test_damage(recorded: Recorded) -> None:
    """Damage at either end is named with its place; a torn end is what a crash leaves, and no damage."""
    recorded.begin(2).die()
    (segment,) = recorded.directory.rglob("*.jsonl")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"1234")
    assert survey(recorded.directory, HOST).damage is None

    lines = whole.splitlines(keepends=True)
    segment.write_bytes(lines[0] + b"00000000" + lines[1][8:] + lines[2])
    part = survey(recorded.directory, HOST)
    assert part.start is None
    assert part.damage == "w/000001.jsonl: the checksum does not fit"
    assert part.state == "crashed"

    segment.write_bytes(lines[0] + lines[1] + b"00000000" + lines[2][8:])
    part = survey(recorded.directory, HOST)
    assert part.start is not None
    assert part.damage is not None

    segment.write_bytes(lines[0][:20])
    assert survey(recorded.directory, HOST).state == "empty"


def test_no_run_directory(tmp_path: Path) -> None:
    """A directory without a journal is refused."""
    with pytest.raises(JournalError, match="holds no journal"):
        survey(tmp_path)


# ------------------------------------------------------------------------------------------------------- what is lost


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def test_lines_that_are_damaged_count(recorded: Recorded) -> None:
    """Damaged lines of the only segment were written; so was what follows the last line that can be read."""
    recorded.begin(5).die()
    (segment,) = recorded.directory.rglob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    for number in (3, 4, 6):
        lines[number] = b"00000000" + lines[number][8:]
    segment.write_bytes(b"".join(lines))

    assert survey(recorded.directory, HOST).written == 6
    assert lost_records(recorded.directory) == 3


def test_numbers_that_were_used_up(recorded: Recorded) -> None:
    """A number that `log()` has used up without writing anything is no loss."""
    recorded.begin(1)
    recorded.writer.seq += 5  # as after a full disk
    recorded.writer.append(Row, time=2.0, step=1, data={})
    part = recorded.end(0)

    assert part.written == 4
    assert lost_records(recorded.directory) == 0


@pytest.mark.parametrize("number", [0, 2, -1])
def test_whole_segments_that_are_damaged(tmp_path: Path, number: int) -> None:
    """A sealed segment that cannot be believed is lost as a whole; how much that is, the numbers around it tell."""
    recorded = Recorded(tmp_path / "run", segment_bytes=200).begin(50)
    recorded.writer.append(Exit, time=99.0, exit_code=0, runtime=1.0)
    recorded.writer.close()
    segments = sorted(recorded.directory.rglob("*.zst"))
    held = sum(type(entry.record) is not Header for entry in read_segment(segments[number]))  # type: ignore[union-attr]
    flip(segments[number])
    part = survey(recorded.directory, HOST)

    # Of the last segment only that there was something is known.
    lost = 1 if number == -1 else held
    assert lost_records(recorded.directory) == lost
    assert part.written == 52 - held + lost
    assert (part.damage is None) == (number == 2)


def test_a_journal_without_a_byte(recorded: Recorded) -> None:
    """A segment gets its name when its header is in it: an empty file has lost what it held."""
    recorded.begin(1).die()
    (segment,) = recorded.directory.rglob("*.jsonl")
    segment.write_bytes(b"")
    part = survey(recorded.directory, HOST)

    assert (part.start, part.written, part.damage) == (None, 1, "w/000001.jsonl: the file is empty")
