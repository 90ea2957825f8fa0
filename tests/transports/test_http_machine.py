"""What is seen of this machine is a fact or said to be unknown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from corelib.ports import Batch, RunRef
from corelib.pure.records import Exit, Record
from corelib.testing.specimens import TIME, rows_from
from transports.http_machine import PROTOCOL_VERSION, client_facts, file_state, machine_facts, with_exit_code
from transports.wandb_files import FileState


def test_facts() -> None:
    """The client says which protocol it speaks, and the machine what it is."""
    assert client_facts().version == PROTOCOL_VERSION
    assert client_facts().python.count(".") == 2
    facts = machine_facts()
    assert {"host", "os", "python", "executable", "cpu_count_logical", "disk", "memory"} <= {*facts}
    assert len(facts) == len({*facts})
    # Numbers of 64 bits are texts there.
    assert int(facts["disk"]["/"]["total"]) > int(facts["disk"]["/"]["used"]) > 0
    assert int(facts["memory"]["total"]) > 1 << 20
    assert 1 <= facts.get("cpu_count", 1) <= facts["cpu_count_logical"]


def test_what_cannot_be_seen_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a system that does not tell nor a disk that does not answer is an error; nothing is looked at early."""
    looked: list[str] = []

    def refuse(*_: object) -> int:
        looked.append("disk")
        raise OSError

    monkeypatch.setattr("shutil.disk_usage", refuse)
    monkeypatch.setattr("os.sysconf", lambda _: int("unknown"))
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    facts = machine_facts()
    assert looked == []

    assert {"disk", "memory", "cpu_count"}.isdisjoint(facts)
    assert facts["cpu_count_logical"] == os.cpu_count()


def test_files_are_looked_at_below_the_run(tmp_path: Path) -> None:
    """Size and time of change of what is there, through a link as well."""
    run = RunRef(run_id="r", project="p", directory=str(tmp_path))
    original = tmp_path / "original"
    original.write_bytes(b"abc")
    (tmp_path / "files" / "m").mkdir(parents=True)
    (tmp_path / "files" / "m" / "link").symlink_to(original)

    assert file_state(run, "m/link") == FileState(
        str(tmp_path / "files" / "m" / "link"), 3, original.stat().st_mtime_ns
    )


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    """A missing file, a folder, a pipe, a strange name and a run without a directory."""
    run = RunRef(run_id="r", project="p", directory=str(tmp_path))
    (tmp_path / "files" / "folder").mkdir(parents=True)
    os.mkfifo(tmp_path / "files" / "pipe")

    assert file_state(run, "missing") == "No such file or directory"
    assert file_state(run, "folder") == "it is no regular file"
    assert file_state(run, "pipe") == "it is no regular file"
    assert file_state(run, "a\0b") == "it cannot be looked at"
    assert file_state(RunRef(run_id="r", project="p"), "x") == "the run has no directory on this machine"


def batch(directory: str | None, *records: Record) -> Batch:
    run = RunRef(run_id="r", project="p", directory=directory)
    return Batch(run=run, writer="w", header=None, records=records)


@pytest.mark.parametrize(
    ("told", "status", "code"),
    [(None, b"\x05", 5), (None, b"", None), (None, b"ab", None), (None, None, None), (3, b"\x05", 3)],
)
def test_the_exit_code_that_the_interpreter_hides(
    tmp_path: Path, told: int | None, status: bytes | None, code: int | None
) -> None:
    """What the C library has left stands in for a code that Python hid, if it is one byte."""
    if status is not None:
        (tmp_path / "exit-status").write_bytes(status)
    row = rows_from(1, 1)[0]
    end = Exit(seq=2, time=TIME, exit_code=told, runtime=1.0)
    found = with_exit_code(batch(str(tmp_path), row, end))

    assert found.records[0] == row
    assert isinstance(found.records[1], Exit)
    assert found.records[1].exit_code == code


def test_other_batches_are_left_alone(tmp_path: Path) -> None:
    """Without an end, or without a directory, nothing is looked for."""
    (tmp_path / "exit-status").write_bytes(b"\x05")
    rows = batch(str(tmp_path), *rows_from(1, 2))
    nowhere = batch(None, Exit(seq=2, time=TIME, exit_code=None, runtime=1.0))

    assert with_exit_code(rows) is rows
    assert with_exit_code(nowhere) is nowhere
