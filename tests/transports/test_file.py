"""The file transport: answers from run directories, and keeps copies that are journals themselves."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corelib.errors import UsageError
from corelib.ports import (
    Absent,
    Address,
    Batch,
    Created,
    Delivered,
    LookupFailed,
    Rejected,
    RemoteRun,
    Retry,
    RunRef,
    Started,
    Unreadable,
)
from corelib.pure.frames import frame
from corelib.pure.records import Exit, FileSaved, Header, Record, Row
from corelib.pure.remote import starting_step
from corelib.pure.wire import encode
from corelib.segments import Entry, is_live, read, run_directories
from corelib.testing.specimens import TIME, header_of, rows_from, start_record
from transports.file import FileTransport

FIRST = "offline-run-20260101_100000-abc"
SECOND = "offline-run-20260101_110000-abc"
ABC = RunRef(run_id="abc", project="p")


# ------------------------------------------------------------------------------------- run directories on
# disk


def write_run(
    wandb: Path,
    folder: str,
    records: Sequence[Record],
    *,
    run_id: str = "abc",
    start_time: float = TIME,
    writer: str = "w1",
) -> Path:
    """Write a run directory as a killed process leaves it, and return its hot segment."""
    header = evolve(header_of(RunRef(run_id=run_id, project="p"), writer), start_time=start_time)
    segment = wandb / folder / "journal" / writer / "000001.jsonl"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"".join(frame(encode(record)) for record in (header, *records)))
    return segment


def remote(wandb: Path, run: RunRef = ABC) -> RemoteRun:
    answer = FileTransport(wandb, is_journal=True).lookup(run, 30.0)
    assert isinstance(answer, Started), answer
    return answer.remote


def started(rows: int, **changes: Any) -> list[Record]:
    """Return the records of a run with so many rows."""
    step = changes.get("starting_step", 0)
    return [start_record(**changes), *rows_from(2, rows, step=step)]


# ------------------------------------------------------------------------------------------------------
# lookup


def test_no_directory_no_run(tmp_path: Path) -> None:
    """Where nothing was ever written every run is absent."""
    assert FileTransport(tmp_path / "wandb").lookup(ABC, 30.0) == Absent()


def test_a_run_is_found_by_its_id(tmp_path: Path) -> None:
    """The directory of the id answers, with step, rows and config of its journal."""
    write_run(tmp_path, FIRST, started(4, config={"lr": 0.5}))
    write_run(tmp_path, "run-20260101_120000-other", started(9), run_id="other")
    found = remote(tmp_path)

    assert (found.run_id, found.where) == ("abc", FIRST)
    assert (found.last_step, found.history_lines, found.config) == (3, 4, {"lr": 0.5})


def test_a_collision_suffix_is_no_part_of_the_id(tmp_path: Path) -> None:
    """The directory `…-abc-1` is of the run its journal names: `abc`, or `abc-1`."""
    write_run(tmp_path, f"{FIRST}-1", started(1), run_id="abc")
    write_run(tmp_path, f"{SECOND}-1", started(2), run_id="abc-1")

    assert remote(tmp_path).history_lines == 1
    assert remote(tmp_path, RunRef(run_id="abc-1", project="p")).history_lines == 2


def test_the_newest_part_answers(tmp_path: Path) -> None:
    """Of several directories of one id the one that began last answers, without the rows of the others."""
    write_run(tmp_path, FIRST, started(4), start_time=TIME)
    write_run(tmp_path, SECOND, started(2), start_time=TIME + 3600)

    assert (remote(tmp_path).where, remote(tmp_path).history_lines) == (SECOND, 2)


def test_the_newest_is_told_by_the_clock_of_the_world(tmp_path: Path) -> None:
    """Names hold local time, which goes back once a year: the time in the journal decides."""
    write_run(tmp_path, "run-20261025_023000-abc", started(4), start_time=TIME)
    write_run(tmp_path, "run-20261025_021000-abc", started(2), start_time=TIME + 2400)

    assert remote(tmp_path).where == "run-20261025_021000-abc"


def test_a_chain_of_resumed_runs_is_one_run(tmp_path: Path) -> None:
    """Rows of all directories that continue each other count; one begun in between does not."""
    write_run(tmp_path, FIRST, started(4), start_time=TIME)
    write_run(tmp_path, "run-20260101_103000-abc", started(50), start_time=TIME + 1)
    write_run(tmp_path, SECOND, started(3, previous=FIRST, starting_step=4), start_time=TIME + 2)
    third = "run-20260101_120000-abc"
    write_run(
        tmp_path, third, started(2, previous=str(tmp_path / SECOND), starting_step=7), start_time=TIME + 3
    )
    found = remote(tmp_path)

    assert (found.where, found.history_lines, found.last_step) == (third, 9, 8)
    assert starting_step(found) == 9


def test_a_chain_whose_beginning_is_gone(tmp_path: Path) -> None:
    """Where a directory that is continued was deleted, the rest answers, and the step goes on."""
    write_run(tmp_path, SECOND, started(0, previous=FIRST, starting_step=4))

    assert starting_step(remote(tmp_path)) == 4


def test_a_chain_that_bites_its_tail(tmp_path: Path) -> None:
    """Directories that name each other as the one continued end the walk, not the program."""
    write_run(tmp_path, FIRST, started(1, previous=SECOND), start_time=TIME)
    write_run(tmp_path, SECOND, started(1, previous=FIRST), start_time=TIME + 1)

    assert remote(tmp_path).history_lines == 2


def test_a_directory_without_journal_is_not_ours(tmp_path: Path) -> None:
    """What another tool left under such a name is no run of ours."""
    (tmp_path / FIRST / "files").mkdir(parents=True)

    assert FileTransport(tmp_path).lookup(ABC, 30.0) == Absent()


@pytest.mark.parametrize("left", ["no writer", "no segment", "an empty segment", "a torn header", "a header"])
def test_a_process_killed_before_the_run_began(tmp_path: Path, left: str) -> None:
    """What such a process leaves is a run that was created and never started."""
    segment = write_run(tmp_path, FIRST, [])
    if left == "no writer":
        segment.unlink()
        segment.parent.rmdir()
    elif left == "no segment":
        segment.unlink()
    elif left == "an empty segment":
        segment.write_bytes(b"")
    elif left == "a torn header":
        segment.write_bytes(segment.read_bytes()[:30])

    assert FileTransport(tmp_path).lookup(ABC, 30.0) == Created()


def test_such_a_trace_does_not_hide_the_run_before_it(tmp_path: Path) -> None:
    """A crash at the beginning of a resumed run leaves the earlier directory to answer."""
    write_run(tmp_path, FIRST, started(4), start_time=TIME)
    write_run(tmp_path, SECOND, [], start_time=TIME + 1)

    assert remote(tmp_path).where == FIRST


def test_a_damaged_journal_with_intact_records_is_readable(tmp_path: Path) -> None:
    """A flipped bit costs the record it hit; all others count, also where the header is hit."""
    segment = write_run(tmp_path, FIRST, started(5))
    for needle in (b'"step":1', b'"host"'):
        data = bytearray(segment.read_bytes())
        data[data.index(needle) + 1] ^= 1
        segment.write_bytes(bytes(data))
    found = remote(tmp_path)

    assert (found.last_step, found.history_lines) == (4, 4)


def test_a_run_whose_start_is_damaged_is_unreadable(tmp_path: Path) -> None:
    """Where the start cannot be believed the run is there, and nobody may act as if it were not."""
    segment = write_run(tmp_path, SECOND, started(5), start_time=TIME + 1)
    write_run(tmp_path, FIRST, started(5), start_time=TIME)
    data = bytearray(segment.read_bytes())
    data[data.index(b'"project"') + 1] ^= 1
    segment.write_bytes(bytes(data))
    answer = FileTransport(tmp_path).lookup(ABC, 30.0)

    assert isinstance(answer, Unreadable)
    assert SECOND in answer.reason
    assert "checksum" in answer.reason


def test_a_journal_of_a_newer_format_is_unreadable(tmp_path: Path) -> None:
    """A header of a format to come forbids to guess at what follows it, and says what to do."""
    segment = write_run(tmp_path, FIRST, started(2))
    first, *others = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(frame(first[9:-1].replace(b'"version":1', b'"version":99')) + b"".join(others))
    answer = FileTransport(tmp_path).lookup(ABC, 30.0)

    assert isinstance(answer, Unreadable)
    assert "upgrade corelib" in answer.reason


def test_a_name_that_no_clock_gave(tmp_path: Path) -> None:
    """Digits that are no time, over a journal whose header is lost, still name a run."""
    segment = write_run(tmp_path, "run-20269999_999999-abc", started(2))
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[1:]))
    write_run(tmp_path, FIRST, started(3))

    assert remote(tmp_path).where == FIRST


def test_a_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails under a journal makes the run unreadable; under all of them, nobody can tell."""
    write_run(tmp_path, FIRST, started(2))

    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr("corelib.segments.read_segment", fail)
        answer = FileTransport(tmp_path).lookup(ABC, 30.0)
    assert isinstance(answer, Unreadable)
    assert "Input/output error" in answer.reason

    monkeypatch.setattr("transports.file.run_directories", fail)
    answer = FileTransport(tmp_path).lookup(ABC, 30.0)
    assert isinstance(answer, LookupFailed)
    assert answer.kind == "unreachable"
    assert "Input/output error" in answer.reason


def test_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing rights are told apart from a failing disk."""

    def fail(*args: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("transports.file.run_directories", fail)
    answer = FileTransport(tmp_path).lookup(ABC, 30.0)

    assert isinstance(answer, LookupFailed)
    assert answer.kind == "forbidden"


@pytest.mark.parametrize(("status", "code"), [(b"\x00", 0), (b"\x07", 7), (b"", None), (b"\x01\x02", None)])
def test_an_exit_code_that_python_hid(tmp_path: Path, status: bytes, code: int | None) -> None:
    """Where the exit record has no code, the status that the process left tells it, if it is one byte."""
    ending = Exit(seq=4, time=TIME, exit_code=None, runtime=1.0)
    write_run(tmp_path, FIRST, [*started(2), ending])
    assert remote(tmp_path).exit_code is None
    (tmp_path / FIRST / "exit-status").write_bytes(status)

    assert remote(tmp_path).exit_code == code


def test_a_status_without_exit_record_says_nothing(tmp_path: Path) -> None:
    """A run that was killed has no exit code, whatever lies beside its journal."""
    write_run(tmp_path, FIRST, started(2))
    (tmp_path / FIRST / "exit-status").write_bytes(b"\x00")

    assert remote(tmp_path).exit_code is None


# ------------------------------------------------------------------------------------------------------
# copies


def copy_of(directory: Path) -> list[Record]:
    """Return the records of a copy, headers apart."""
    entries = [entry for entry in read(directory / "journal") if type(entry) is Entry]
    return [entry.record for entry in entries if type(entry.record) is not Header]


def batch(
    records: Sequence[Record], directory: Path | None = None, writer: str = "w1", run_id: str = "abc"
) -> Batch:
    run = RunRef(run_id=run_id, project="p", directory=None if directory is None else str(directory))
    return Batch(run=run, writer=writer, header=header_of(run, writer), records=tuple(records))


def test_a_copy_has_the_name_of_the_original(tmp_path: Path) -> None:
    """The copy stands in a directory of the same name, so that what continues it finds it."""
    transport = FileTransport(tmp_path / "copies")
    assert transport.deliver(batch(started(3), tmp_path / "wandb" / FIRST)) == Delivered()
    transport.close()

    assert [path.name for path in run_directories(tmp_path / "copies")] == [FIRST]
    assert copy_of(tmp_path / "copies" / FIRST) == started(3)
    assert remote(tmp_path / "copies").history_lines == 3


def test_a_copy_without_original_has_a_name_of_its_own(tmp_path: Path) -> None:
    """Where no run directory is named, the start of the run and its id make the name, once."""
    transport = FileTransport(tmp_path)
    transport.deliver(batch(started(1)))
    transport.deliver(batch(rows_from(3, 1, step=1)))
    transport.close()
    (directory,) = run_directories(tmp_path)

    assert directory.name.endswith("-abc")
    assert len(copy_of(directory)) == 3


def test_a_copy_goes_on_after_a_restart(tmp_path: Path) -> None:
    """A new transport reads what is there and adds only the rest, also over the torn end of a crash."""
    records = started(10)
    original = tmp_path / "wandb" / FIRST
    first = FileTransport(tmp_path / "copies")
    first.deliver(batch(records[:6], original))
    first._let_go()
    (segment,) = (tmp_path / "copies" / FIRST / "journal" / "w1").glob("*.jsonl")
    os.truncate(segment, segment.stat().st_size - 5)

    second = FileTransport(tmp_path / "copies")
    assert second.deliver(batch(records[4:], original)) == Delivered()
    second.close()
    assert [record.seq for record in copy_of(tmp_path / "copies" / FIRST)] == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        9,
        10,
        11,
    ]


def test_a_copy_is_live_while_it_is_kept(tmp_path: Path) -> None:
    """A reader of the copy sees a running run until the transport is closed."""
    transport = FileTransport(tmp_path)
    transport.deliver(batch(started(1), Path(FIRST)))
    assert is_live(tmp_path / FIRST / "journal")
    transport.close()
    assert not is_live(tmp_path / FIRST / "journal")


def test_a_copy_that_another_process_keeps(tmp_path: Path) -> None:
    """Two processes never write one copy: the second is told to come back, and why."""
    first, second = FileTransport(tmp_path), FileTransport(tmp_path)
    first.deliver(batch(started(1), Path(FIRST)))
    outcome = second.deliver(batch(started(2), Path(FIRST)))
    assert isinstance(outcome, Retry)
    assert "another process keeps this replica" in outcome.reason
    first.close()
    assert second.deliver(batch(started(2), Path(FIRST))) == Delivered()
    second.close()


def test_a_disk_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails is `Retry` with the reason; when the disk works again everything is there once."""
    transport = FileTransport(tmp_path)
    transport.deliver(batch(started(2), Path(FIRST)))

    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        outcome = transport.deliver(batch(started(4)[2:], Path(FIRST)))
    assert isinstance(outcome, Retry)
    assert "No space left on device" in outcome.reason
    assert transport.deliver(batch(started(4)[2:], Path(FIRST))) == Delivered()
    transport.close()

    assert copy_of(tmp_path / FIRST) == started(4)


def test_a_place_that_cannot_be_made_is_tried_again(tmp_path: Path) -> None:
    """A target that is a file, as an unmounted disk may leave it, is no reason to lose anything."""
    (tmp_path / "copies").write_text("not a directory")

    assert isinstance(FileTransport(tmp_path / "copies").deliver(batch(started(1), Path(FIRST))), Retry)


@pytest.mark.parametrize("writer", ["", ".", "..", "../../elsewhere", "a/b"])
def test_a_writer_id_that_is_another_place(tmp_path: Path, writer: str) -> None:
    """A journal that was tampered with cannot make a copy write outside its directory."""
    outcome = FileTransport(tmp_path / "copies").deliver(batch(started(1), Path(FIRST), writer=writer))

    assert isinstance(outcome, Rejected)
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_id_that_is_no_name(tmp_path: Path) -> None:
    """A run that no directory can be named for is refused for good."""
    assert isinstance(FileTransport(tmp_path).deliver(batch(started(1), run_id="a/b")), Rejected)


def test_the_run_s_own_journal_is_never_written(tmp_path: Path) -> None:
    """Where the run itself writes there is nothing to deliver, and nothing is touched."""
    transport = FileTransport(tmp_path / "wandb", is_journal=True)

    assert transport.deliver(batch(started(1), tmp_path / "wandb" / FIRST)) == Delivered()
    assert not (tmp_path / "wandb").exists()


# -------------------------------------------------------------------------------------------------- saved
# files


def saved(seq: int, path: str, policy: str = "now") -> FileSaved:
    return FileSaved(seq=seq, time=TIME, path=path, policy=policy)


def test_saved_files_are_taken_along(tmp_path: Path) -> None:
    """The content of a saved file is in the copy, also where the original is a link."""
    original, copies = tmp_path / "wandb" / FIRST, tmp_path / "copies"
    (original / "files" / "models").mkdir(parents=True)
    (tmp_path / "weights.bin").write_bytes(b"weights")
    (original / "files" / "models" / "weights.bin").symlink_to(tmp_path / "weights.bin")
    transport = FileTransport(copies)

    assert transport.deliver(batch([start_record(), saved(2, "models/weights.bin")], original)) == Delivered()
    transport.close()
    place = copies / FIRST / "files" / "models" / "weights.bin"
    assert not place.is_symlink()
    assert place.read_bytes() == b"weights"
    assert [path.name for path in place.parent.iterdir()] == ["weights.bin"]


def test_files_that_may_change_are_copied_again_at_the_end(tmp_path: Path) -> None:
    """Live and end take the content at the end of the run, now that of its moment; what is gone stays."""
    original, copies = tmp_path / "wandb" / FIRST, tmp_path / "copies"
    (original / "files").mkdir(parents=True)
    policies = {"live.txt": "live", "end.txt": "end", "now.txt": "now", "gone.txt": "live"}
    for name in policies:
        (original / "files" / name).write_text("before")
    transport = FileTransport(copies)
    records = [saved(seq, name, policy) for seq, (name, policy) in enumerate(policies.items(), start=2)]
    transport.deliver(batch([start_record(), *records], original))
    for name in policies:
        (original / "files" / name).write_text("after")
    (original / "files" / "gone.txt").unlink()
    ending = batch([Exit(seq=6, time=TIME, exit_code=0, runtime=1.0)], original)
    assert transport.deliver(ending) == Delivered()
    transport.close()

    found = {path.name: path.read_text() for path in (copies / FIRST / "files").iterdir()}
    assert found == {"live.txt": "after", "end.txt": "after", "now.txt": "before", "gone.txt": "before"}


@pytest.mark.parametrize("path", ["missing.txt", "../secret.txt", "/etc/passwd", ".", "folder"])
def test_a_file_that_cannot_be_had_is_rejected_by_name(tmp_path: Path, path: str) -> None:
    """A file that is gone, or lies outside `files/`, is refused by name; the records around it are kept."""
    original, copies = tmp_path / "wandb" / FIRST, tmp_path / "copies"
    (original / "files" / "folder").mkdir(parents=True)
    (original / "secret.txt").write_text("secret")
    transport = FileTransport(copies)
    outcome = transport.deliver(batch([start_record(), saved(2, path), *rows_from(3, 1)], original))
    transport.close()

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (2,)
    assert path in outcome.reason
    assert [record.seq for record in copy_of(copies / FIRST)] == [1, 3]
    assert not list(copies.rglob("secret.txt"))


def test_a_record_that_cannot_be_written_is_rejected_by_name(tmp_path: Path) -> None:
    """A value beyond JSON costs its record alone."""
    impossible = Row(seq=2, time=TIME, step=0, data={"huge": 10**5000})
    transport = FileTransport(tmp_path)
    outcome = transport.deliver(batch([start_record(), impossible, *rows_from(3, 1)], Path(FIRST)))
    transport.close()

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (2,)


# ----------------------------------------------------------------------------------------------------
# addresses


def test_the_bare_name_is_the_run_s_own_journal(tmp_path: Path) -> None:
    """By its name the transport answers from the run directories and delivers nothing."""
    transport = FileTransport.from_address(Address(url="file", wandb_dir=str(tmp_path / "wandb")))

    assert transport.capabilities.is_journal
    assert transport.wandb_dir == tmp_path / "wandb"
    assert repr(transport) == f"<FileTransport {tmp_path / 'wandb'} (own journal)>"


@pytest.mark.parametrize(
    ("url", "wandb_dir", "expected"),
    [
        ("file:///mnt/backup", "/home/me/wandb", "/mnt/backup/wandb"),
        ("FILE:///mnt/backup/", "/home/me/.wandb", "/mnt/backup/.wandb"),
        ("file://localhost/mnt/my%20backup", "/home/me/wandb", "/mnt/my backup/wandb"),
        ("file:///mnt/100%", "/home/me/tool", "/mnt/100%/tool"),
    ],
)
def test_a_url_names_where_copies_are_kept(url: str, wandb_dir: str, expected: str) -> None:
    """Copies stand below the path of the URL, in a directory of the same name as the original's."""
    transport = FileTransport.from_address(Address(url=url, wandb_dir=wandb_dir))

    assert transport.wandb_dir == Path(expected)
    assert not transport.capabilities.is_journal
    assert repr(transport) == f"<FileTransport {expected}>"


def test_a_url_of_the_own_directory_is_the_own_journal(tmp_path: Path) -> None:
    """Nobody copies a run onto itself, not even through a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    address = Address(url=f"file://{tmp_path}/link", wandb_dir=str(tmp_path / "real" / "wandb"))

    assert FileTransport.from_address(address).capabilities.is_journal


@pytest.mark.parametrize("url", ["file://", "file://backup/x", "file://relative", "file:///a%00b"])
def test_a_url_that_names_no_path(url: str) -> None:
    """Another host or a relative path is said to be wrong, with an example."""
    with pytest.raises(UsageError, match="file:///mnt/backup"):
        FileTransport.from_address(Address(url=url, wandb_dir="/w/wandb"))
