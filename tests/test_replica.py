"""A replica keeps each record once, survives being killed anywhere, and reads like a journal."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corelib.ports import RunRef
from corelib.pure.records import FORMAT_VERSION, Header, Record, Row
from corelib.pure.wire import encode
from corelib.replica import ReplicaWriter
from corelib.segments import Damage, Entry, read_writer, segments
from corelib.testing.specimens import header_of, other_records, rows_from, start_record
from corelib.testing.strategies.records import writings

HEADER = header_of(RunRef(run_id="r", project="p"), "w")


def records_in(directory: Path) -> list[Record]:
    found = list(read_writer(directory))
    assert not [entry for entry in found if type(entry) is Damage]
    return [entry.record for entry in found if type(entry) is Entry and type(entry.record) is not Header]


def headers_in(directory: Path) -> list[Header]:
    found = [entry.record for entry in read_writer(directory) if type(entry) is Entry]
    return [record for record in found if type(record) is Header]


def encoded(records: Sequence[Record]) -> list[bytes]:
    return [encode(record) for record in records]


def hot(directory: Path) -> Path:
    (path,) = directory.glob("*.jsonl")
    return path


@given(written=writings(), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_what_is_appended_is_read_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, written: list[Record], cuts: list[int]
) -> None:
    """However appends overlap and often the writer is opened anew, each record is there once, as it was."""
    directory = tmp_path_factory.mktemp("replica") / "journal" / "w"
    for end in [*sorted(cuts), len(written)]:
        replica = ReplicaWriter(directory, HEADER, segment_bytes=2000)
        assert replica.append(written[:end]) == {}
        assert replica.append(written[:end]) == {}
        replica.release()

    assert encoded(records_in(directory)) == encoded(written)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 400))
def test_a_replica_torn_anywhere_is_taken_up(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Whatever a power cut leaves of the last segment, going on yields every record once."""
    directory = tmp_path_factory.mktemp("replica") / "w"
    rows = rows_from(1, 6)
    first = ReplicaWriter(directory, HEADER)
    first.append(rows[:4])
    first.release()
    path = hot(directory)
    os.truncate(path, max(path.stat().st_size - cut, 0))

    second = ReplicaWriter(directory, HEADER)
    kept = second.last_seq
    second.append(rows)
    second.close()

    assert kept <= 4
    assert encoded(records_in(directory)) == encoded(rows)
    assert headers_in(directory)[0].run_id == "r"


def test_numbers_are_the_original_ones(tmp_path: Path) -> None:
    """Gaps in the numbers, as damage in the original leaves them, stay gaps."""
    rows = [row for row in rows_from(1, 9) if row.seq not in {2, 3, 7}]
    replica = ReplicaWriter(tmp_path / "w", HEADER)
    replica.append(rows)
    replica.close()

    assert [record.seq for record in records_in(tmp_path / "w")] == [1, 4, 5, 6, 8, 9]
    assert ReplicaWriter(tmp_path / "w", HEADER).last_seq == 9


def test_closing_seals_and_going_on_begins_a_segment(tmp_path: Path) -> None:
    """After close all is sealed; what comes later stands in a new segment with a header of its own."""
    directory = tmp_path / "w"
    first = ReplicaWriter(directory, evolve(HEADER, version=0))
    first.append(rows_from(1, 3))
    first.close()
    assert [path.name for _, path in segments(directory)] == ["000001.jsonl.zst"]

    second = ReplicaWriter(directory, HEADER)
    assert second.last_seq == 3
    second.append(rows_from(1, 5))
    second.close()

    assert [path.name for _, path in segments(directory)] == ["000001.jsonl.zst", "000002.jsonl.zst"]
    assert [(one.segment, one.seq, one.version) for one in headers_in(directory)] == [
        (1, 0, FORMAT_VERSION),
        (2, 3, FORMAT_VERSION),
    ]
    assert len(records_in(directory)) == 5


def test_a_full_segment_is_sealed_on_the_way(tmp_path: Path) -> None:
    """Segments have a size; the full ones are sealed, the open one is not."""
    replica = ReplicaWriter(tmp_path / "w", HEADER, segment_bytes=300)
    for row in rows_from(1, 12):
        replica.append([row])
    suffixes = [path.suffix for _, path in segments(tmp_path / "w")]
    replica.release()

    assert len(suffixes) > 2
    assert set(suffixes[:-1]) == {".zst"}
    assert suffixes[-1] == ".jsonl"
    assert encoded(records_in(tmp_path / "w")) == encoded(rows_from(1, 12))


def test_a_segment_that_cannot_be_sealed_stays_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealing is no condition of keeping: where it fails the records stay as they were written."""

    def fail(*args: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("corelib.replica.seal", fail)
    replica = ReplicaWriter(tmp_path / "w", HEADER)
    replica.append(rows_from(1, 2))
    replica.close()

    assert len(records_in(tmp_path / "w")) == 2


def test_a_record_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A value beyond JSON is refused with a reason; the records around it are kept."""
    impossible = Row(seq=2, time=1.0, step=0, data={"huge": 10**5000})
    replica = ReplicaWriter(tmp_path / "w", HEADER)
    refused = replica.append([start_record(), impossible, *rows_from(3, 1)])
    replica.close()

    assert list(refused) == [2]
    assert refused[2]
    assert [record.seq for record in records_in(tmp_path / "w")] == [1, 3]


def test_a_batch_of_nothing_new_writes_nothing(tmp_path: Path) -> None:
    """Opening and appending nothing leaves no segment behind."""
    replica = ReplicaWriter(tmp_path / "w", HEADER)
    assert replica.append([]) == {}
    replica.close()

    assert segments(tmp_path / "w") == []


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A replica that somebody keeps cannot be opened; it can after that one has let go."""
    first = ReplicaWriter(tmp_path / "w", HEADER)
    with pytest.raises(BlockingIOError, match="another process keeps this replica"):
        ReplicaWriter(tmp_path / "w", HEADER)
    first.release()
    first.release()
    ReplicaWriter(tmp_path / "w", HEADER).release()


def test_a_write_that_fails_half_way_is_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills in the middle of a batch raises; a new writer goes on behind what is whole."""
    real_write = os.write
    room = [1000]

    def write(fd: int, data: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real_write(fd, data[: room[0]])
        room[0] -= written
        return written

    everything = [start_record(), *other_records(2), *rows_from(20, 10, step=20)]
    first = ReplicaWriter(tmp_path / "w", HEADER)
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left"):
        first.append(everything)
    monkeypatch.undo()
    first.release()

    second = ReplicaWriter(tmp_path / "w", HEADER)
    assert 0 < second.last_seq < 29
    second.append(everything)
    second.close()

    assert encoded(records_in(tmp_path / "w")) == encoded(everything)


def test_directories_that_cannot_be_synced_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that cannot sync a directory keeps replicas all the same."""
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        real_fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    replica = ReplicaWriter(tmp_path / "w", HEADER)
    replica.append(rows_from(1, 2))
    replica.release()

    assert len(records_in(tmp_path / "w")) == 2
