"""Sealing: what the sealed form is, that others can read it, and that no failure costs a record."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import zstandard

from corelib import sealing as sealing_module
from corelib.pure.frames import Frame, FrameReader, frame
from corelib.sealing import Sealer, seal
from tests.journals import damage_in, flip, log, open_writer, steps_in

ROWS = 300


def hot_segment(journal_dir: Path, count: int = ROWS) -> Path:
    """Write some rows; return the hot segment, of which nobody is the writer any more."""
    writer = open_writer(journal_dir)
    log(writer, range(count), loss=0.5)
    writer.abandon()
    return journal_dir / "w1" / "000001.jsonl"


def payloads(path: Path) -> list[bytes]:
    """Return the payloads of a hot segment, read without a reader of ours."""
    return [line[9:] for line in path.read_bytes().splitlines()]


def names(directory: Path) -> list[str]:
    """Return the files of a directory."""
    return sorted(os.listdir(directory))


def fail(kind: type[BaseException], *arguments: Any) -> Any:
    """Return a function that raises."""

    def raising(*_: Any, **__: Any) -> Any:
        raise kind(*arguments)

    return raising


# -------------------------------------------------------------------------------------------------------- the form


def test_a_sealed_segment_is_plain_json_lines(tmp_path: Path) -> None:
    """A sealed segment is the payloads, a line each, in one zstd frame with content size and checksum."""
    hot = hot_segment(tmp_path)
    expected = b"".join(payload + b"\n" for payload in payloads(hot))
    seal(hot.parent, 1)
    data = (hot.parent / "000001.jsonl.zst").read_bytes()
    parameters = zstandard.get_frame_parameters(data)

    assert names(hot.parent) == ["000001.jsonl.zst"]
    assert zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False) == expected
    assert (parameters.content_size, parameters.has_checksum, parameters.dict_id) == (len(expected), True, 0)
    assert len(data) < len(expected) / 5
    assert [json.loads(line)["type"] for line in expected.splitlines()] == ["header"] + ["row"] * ROWS


def test_a_sealed_segment_is_read_by_zstdcat(tmp_path: Path) -> None:
    """`zstdcat` reads a sealed segment, and finds its checksum right."""
    program = shutil.which("zstdcat")
    if program is None:
        pytest.skip("needs zstdcat, of the package zstd")
    hot = hot_segment(tmp_path)
    expected = payloads(hot)
    seal(hot.parent, 1)
    path = str(hot.parent / "000001.jsonl.zst")

    assert subprocess.run([program, path], capture_output=True, check=True).stdout.splitlines() == expected
    listed = subprocess.run(["zstd", "-lv", path], capture_output=True, text=True, check=True).stdout
    assert "XXH64" in listed


def test_a_sealed_segment_is_read_by_pandas(tmp_path: Path) -> None:
    """Pandas reads a sealed segment with no code of ours."""
    pandas = pytest.importorskip("pandas", reason="pandas is in the extra 'test'")
    hot = hot_segment(tmp_path)
    seal(hot.parent, 1)
    frame_of_records = pandas.read_json(hot.parent / "000001.jsonl.zst", lines=True)

    assert list(frame_of_records[frame_of_records.type == "row"].step) == list(range(ROWS))


def test_a_torn_end_is_left_out(tmp_path: Path) -> None:
    """Half a line at the end was never a record, so sealing leaves it out."""
    hot = hot_segment(tmp_path, 3)
    with hot.open("ab") as file:
        file.write(b'12345678 {"type":"row","se')
    seal(hot.parent, 1)

    assert names(hot.parent) == ["000001.jsonl.zst"]
    assert steps_in(tmp_path) == [0, 1, 2]
    assert damage_in(tmp_path) == []


def test_a_damaged_segment_stays_hot(tmp_path: Path) -> None:
    """A segment with a bad line keeps the checksums that tell its good lines apart."""
    hot = hot_segment(tmp_path, 3)
    flip(hot, -20)
    data = hot.read_bytes()
    seal(hot.parent, 1)

    assert names(hot.parent) == ["000001.jsonl"]
    assert hot.read_bytes() == data
    assert steps_in(tmp_path) == [0, 1]


def test_an_empty_segment(tmp_path: Path) -> None:
    """A segment in which nothing was written can be sealed, and read."""
    (tmp_path / "w1").mkdir()
    (tmp_path / "w1" / "000001.jsonl").touch()
    seal(tmp_path / "w1", 1)

    assert names(tmp_path / "w1") == ["000001.jsonl.zst"]
    assert (damage_in(tmp_path), steps_in(tmp_path)) == ([], [])


def test_sealing_again_after_a_crash(tmp_path: Path) -> None:
    """Leftovers of a sealing that was killed, before the rename or after it, are replaced."""
    hot = hot_segment(tmp_path, 3)
    (hot.parent / "000001.jsonl.zst.tmp").write_bytes(b"half")
    (hot.parent / "000001.jsonl.zst").write_bytes(b"of an earlier life")
    seal(hot.parent, 1)

    assert names(hot.parent) == ["000001.jsonl.zst"]
    assert steps_in(tmp_path) == [0, 1, 2]


def test_at_every_moment_one_form_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before any of its steps on disk, sealing leaves the rows readable, each once, and can be done again."""
    steps = ["fsync", "rename", "fsync directory", "unlink"]
    for killed_at in range(len(steps)):
        journal_dir = tmp_path / str(killed_at)
        hot = hot_segment(journal_dir, 3)
        done = iter(range(len(steps)))

        def step(function: Any, done: Any = done, killed_at: int = killed_at) -> Any:
            def stepping(*arguments: Any, **options: Any) -> Any:
                if next(done) == killed_at:
                    raise KeyboardInterrupt
                return function(*arguments, **options)

            return stepping

        with monkeypatch.context() as killing:
            killing.setattr(os, "fsync", step(os.fsync))
            killing.setattr(os, "rename", step(os.rename))
            killing.setattr(Path, "unlink", step(Path.unlink))
            with pytest.raises(KeyboardInterrupt):
                seal(hot.parent, 1)

        assert steps_in(journal_dir) == [0, 1, 2], steps[killed_at]
        assert damage_in(journal_dir) == [], steps[killed_at]
        seal(hot.parent, 1)
        assert names(hot.parent) == ["000001.jsonl.zst"]
        assert steps_in(journal_dir) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_failed_sealing_leaves_the_hot_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Where the sealed form cannot be written, the hot one stays as it is, and nothing half-made stays with it."""
    hot = hot_segment(tmp_path, 3)
    data = hot.read_bytes()
    monkeypatch.setattr(os, call, fail(OSError, errno.ENOSPC, "No space left on device"))
    with pytest.raises(OSError, match="No space left"):
        seal(hot.parent, 1)

    assert names(hot.parent) == ["000001.jsonl"]
    assert hot.read_bytes() == data


@pytest.mark.parametrize(
    ("number", "deleted"), [(errno.EINVAL, True), (errno.ENOTSUP, True), (errno.EIO, False)]
)
def test_directories_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, deleted: bool
) -> None:
    """A file system without fsync of directories is fine; one that fails at it does not lose the hot form."""
    hot = hot_segment(tmp_path, 3)
    fsync = os.fsync

    def refuse(fd: int) -> None:
        fsync(fd)
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    try:
        seal(hot.parent, 1)
    except OSError:
        assert not deleted
    assert ("000001.jsonl" in names(hot.parent)) != deleted
    assert steps_in(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.EROFS, "Read-only file system"), MemoryError(), zstandard.ZstdError("cannot compress")],
)
def test_what_cannot_be_sealed_is_told_and_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """Whatever fails, the segment stays readable, the reason is kept, and the next segment has its turn."""
    writer = open_writer(tmp_path, segment_bytes=600)
    seals = sealing_module.seal
    failures = iter([failure])

    def once(directory: Path, number: int, **options: Any) -> None:
        for error in failures:
            raise error
        seals(directory, number, **options)

    monkeypatch.setattr(sealing_module, "seal", once)
    log(writer, range(20))
    writer.close()

    assert len(writer.problems) == 1
    assert "stays unsealed" in writer.problems[0]
    assert f"{type(failure).__name__}: {failure}" in writer.problems[0]
    assert [name for name in names(tmp_path / "w1") if name.endswith(".jsonl")] == ["000001.jsonl"]
    assert steps_in(tmp_path) == list(range(20))


def test_a_full_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a run on a full disk neither fails nor loses anything: the last segment stays hot."""
    writer = open_writer(tmp_path)
    log(writer, range(20))
    monkeypatch.setattr(os, "fsync", fail(OSError, errno.ENOSPC, "No space left on device"))
    writer.close()

    assert "No space left on device" in writer.problems[0]
    assert names(tmp_path / "w1") == ["000001.jsonl"]
    assert steps_in(tmp_path) == list(range(20))


# ---------------------------------------------------------------------------------------------------------- the thread


def segments_of(directory: Path, count: int) -> None:
    """Make hot segments of one small payload each."""
    directory.mkdir()
    for number in range(1, count + 1):
        (directory / f"{number:06d}.jsonl").write_bytes(frame(b'{"n":%d}' % number))


def sealing_threads() -> list[threading.Thread]:
    """Return the threads that seal."""
    return [thread for thread in threading.enumerate() if thread.name == "corelib-seal"]


def test_the_thread_exists_only_while_there_is_work(tmp_path: Path) -> None:
    """Segments are sealed off the caller's thread, in order, by a thread that ends when nothing is left."""
    segments_of(tmp_path / "w", 3)
    sealer = Sealer(tmp_path / "w")
    assert sealing_threads() == []
    for number in (1, 2, 3):
        sealer.submit(number)
    for thread in sealing_threads():
        assert thread.daemon
        thread.join()

    assert names(tmp_path / "w") == ["000001.jsonl.zst", "000002.jsonl.zst", "000003.jsonl.zst"]
    assert sealing_threads() == []
    assert sealer.problems == []


def test_later_work_gets_a_new_thread(tmp_path: Path) -> None:
    """After the thread has ended, the next segment is sealed by a new one."""
    segments_of(tmp_path / "w", 2)
    sealer = Sealer(tmp_path / "w")
    for number in (1, 2):
        sealer.submit(number)
        for thread in sealing_threads():
            thread.join()

        assert not (tmp_path / "w" / f"{number:06d}.jsonl").exists()


def test_finish_waits_and_hurries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`finish` ends the pauses of a sealing that is under way, waits for it, and seals the rest itself."""
    segments_of(tmp_path / "w", 3)
    sealer = Sealer(tmp_path / "w")
    seals, began, hurried = sealing_module.seal, threading.Event(), []

    def slow(directory: Path, number: int, *, pause: threading.Event) -> None:
        began.set()
        hurried.append(pause.wait())
        seals(directory, number, pause=pause)

    monkeypatch.setattr(sealing_module, "seal", slow)
    sealer.submit(1)
    began.wait()
    sealer.submit(2)
    sealer.submit(3)
    assert len(sealing_threads()) == 1
    sealer.finish()

    assert hurried == [True, True, True]
    assert names(tmp_path / "w") == ["000001.jsonl.zst", "000002.jsonl.zst", "000003.jsonl.zst"]
    assert sealing_threads() == []


def test_after_finish_nothing_runs_beside_the_caller(tmp_path: Path) -> None:
    """What is submitted after `finish` waits for the next `finish`."""
    segments_of(tmp_path / "w", 1)
    sealer = Sealer(tmp_path / "w")
    sealer.finish()
    sealer.submit(1)

    assert sealing_threads() == []
    assert names(tmp_path / "w") == ["000001.jsonl"]
    sealer.finish()
    assert names(tmp_path / "w") == ["000001.jsonl.zst"]


def test_where_no_thread_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a thread, as when the interpreter goes down, sealing waits for `finish`."""
    segments_of(tmp_path / "w", 1)
    sealer = Sealer(tmp_path / "w")
    monkeypatch.setattr(threading.Thread, "start", fail(RuntimeError, "can't start new thread"))
    sealer.submit(1)

    assert names(tmp_path / "w") == ["000001.jsonl"]
    sealer.finish()
    assert names(tmp_path / "w") == ["000001.jsonl.zst"]


def test_sealing_yields_to_those_who_log(tmp_path: Path) -> None:
    """Sealing pauses every so many lines, until somebody waits for it."""
    hot = hot_segment(tmp_path, 1000)

    class Pauses(threading.Event):
        count = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            self.count += 1
            return False

    pauses = Pauses()
    seal(hot.parent, 1, pause=pauses)

    assert pauses.count == 1001 // 128
    assert steps_in(tmp_path) == list(range(1000))


def test_an_interpreter_that_ends_without_finish(tmp_path: Path) -> None:
    """A process that ends while sealing is under way neither hangs nor loses a row."""
    code = (
        "import sys; from pathlib import Path; from tests.journals import *\n"
        "writer = open_writer(Path(sys.argv[1]), segment_bytes=20_000); log(writer, range(2000))\n"
    )
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=root, capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert steps_in(tmp_path) == list(range(2000))
    assert damage_in(tmp_path) == []


def test_hot_and_sealed_agree(tmp_path: Path) -> None:
    """The lines of the sealed form are exactly what a reader of the hot form believes."""
    hot = hot_segment(tmp_path, 50)
    reader = FrameReader()
    reader.receive(hot.read_bytes())
    believed = []
    while isinstance(event := reader.next_event(), Frame):
        believed.append(event.payload)
    seal(hot.parent, 1)
    plain = zstandard.ZstdDecompressor().decompress((hot.parent / "000001.jsonl.zst").read_bytes())

    assert plain.splitlines() == believed
