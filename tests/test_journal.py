"""Appending: what is in the file when a call has returned, and what stays intact when it fails."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from corelib import journal as journal_module
from corelib.errors import JournalError, UsageError
from corelib.journal import repair
from corelib.pure.frames import frame
from corelib.pure.records import Exit, Header, Row
from corelib.pure.wire import encode, encode_row
from corelib.sealing import Sealer
from corelib.segments import is_live, segments
from tests.journals import damage_in, flip, log, open_writer, records_in, steps_in

TINY = 600  # a header and a few rows


def hot(journal_dir: Path, number: int = 1, writer: str = "w1") -> Path:
    """Return where a hot segment stands."""
    return journal_dir / writer / f"{number:06d}.jsonl"


def names(journal_dir: Path, writer: str = "w1") -> list[str]:
    """Return the files of a writer."""
    return sorted(os.listdir(journal_dir / writer))


def run_child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with the project's root as its path."""
    root = Path(__file__).parent.parent
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)


# ------------------------------------------------------------------------------------------------------- appending


def test_every_call_is_one_line(tmp_path: Path) -> None:
    """A call is in the file when it returns, as one framed line behind those before; the header comes first."""
    writer = open_writer(tmp_path)
    lines = [hot(tmp_path).read_bytes()]
    for step in range(3):
        writer.row(100.5, step, {"loss": 0.5})
        lines.append(frame(encode_row(step + 1, 100.5, step, {"loss": 0.5})))
        assert hot(tmp_path).read_bytes() == b"".join(lines)
    ending = writer.append(Exit, time=101.0, exit_code=0, runtime=1.0)

    assert hot(tmp_path).read_bytes() == b"".join([*lines, frame(encode(ending))])
    assert ending == Exit(seq=4, time=101.0, exit_code=0, runtime=1.0)
    header = records_in(tmp_path)[0]
    assert isinstance(header, Header)
    assert (header.seq, header.segment, header.run_id, header.writer) == (0, 1, "abc", "w1")
    assert (header.pid, header.start_time, header.time, header.primary) == (os.getpid(), 100.0, 100.0, True)


def test_each_line_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row costs one system call on the file and no other."""
    writer = open_writer(tmp_path)
    written: list[bytes] = []
    write = os.write

    def noted(fd: int, data: bytes) -> int:
        written.append(data)
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    writer.row(100.5, 0, {"loss": 0.5})
    writer.append(Row, time=100.5, step=1, data={"text": "x"})

    assert [line.count(b"\n") for line in written] == [1, 1]
    assert hot(tmp_path).read_bytes().endswith(b"".join(written))


def test_numbers_are_unique_and_grow(tmp_path: Path) -> None:
    """`seq` grows by one from record to record, headers of later segments included."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(50))
    assert writer.seq == [record.seq for record in records_in(tmp_path)][-1]
    writer.close()

    assert [record.seq for record in records_in(tmp_path)] == list(range(writer.seq + 1))
    assert len(segments(tmp_path / "w1")) > 5


def test_refused_values_leave_no_trace(tmp_path: Path) -> None:
    """A value that cannot be written raises, and the next record follows as if nothing had been."""
    writer = open_writer(tmp_path)
    with pytest.raises(TypeError):
        writer.row(100.0, 0, {1: 2})  # type: ignore[dict-item]
    with pytest.raises(UsageError):
        writer.append(Row, time=100.0, step=0, data={"huge": 10**10_000})
    log(writer, range(2))

    assert [record.seq for record in records_in(tmp_path)] == [0, 1, 2]
    assert damage_in(tmp_path) == []


def test_records_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted is what was appended: no headers, and nothing that could not be written."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    assert writer.records == 0
    log(writer, range(20))
    half_writes(monkeypatch, 10)
    with pytest.raises(OSError, match="No space"):
        log(writer, range(20, 21))
    with pytest.raises(UsageError):
        writer.append(Row, time=100.0, step=0, data={"huge": 10**10_000})
    writer.append(Exit, time=121.0, exit_code=0, runtime=21.0)
    writer.close()

    assert writer.records == 21
    assert (
        [type(record) for record in records_in(tmp_path)].count(Header) == len(segments(tmp_path / "w1")) > 1
    )
    assert len(records_in(tmp_path)) == writer.records + len(segments(tmp_path / "w1"))


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)"])
def test_what_was_appended_survives_the_process(tmp_path: Path, ending: str) -> None:
    """However the process ends, the rows whose call returned are there, whole, in order."""
    code = (
        "import os, sys; from pathlib import Path; from tests.journals import *\n"
        "writer = open_writer(Path(sys.argv[1]), segment_bytes=2000)\n"
        f"log(writer, range(300)); {ending}"
    )
    run_child(code, tmp_path)

    assert steps_in(tmp_path) == list(range(300))
    assert damage_in(tmp_path) == []


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    """A writer never shares a directory with another one, living or dead."""
    open_writer(tmp_path).close()
    with pytest.raises(FileExistsError):
        open_writer(tmp_path)
    assert names(tmp_path) == ["000001.jsonl.zst"]


def open_descriptors() -> set[str]:
    """Return the open file descriptors of this process."""
    return set(os.listdir("/proc/self/fd" if Path("/proc/self/fd").is_dir() else "/dev/fd"))


def test_a_writer_that_cannot_begin_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where not even the header can be written, the error comes out, and no lock and no descriptor stays."""
    before = open_descriptors()
    monkeypatch.setattr(os, "write", lambda _fd, data: len(data) - 1)
    with pytest.raises(OSError, match="No space for the header"):
        open_writer(tmp_path)

    assert open_descriptors() == before
    assert names(tmp_path) == []
    assert not is_live(tmp_path)


# -------------------------------------------------------------------------------------------------------- rotation


def test_full_segments_are_sealed_and_the_last_stays_hot(tmp_path: Path) -> None:
    """Segments follow each other without a hole; each but the last is sealed meanwhile, and `close` seals that."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(60))
    writer._sealer.finish()
    found = segments(tmp_path / "w1")

    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert [path.suffix for _, path in found] == [".zst"] * (len(found) - 1) + [".jsonl"]
    assert found[-1][1].stat().st_size < 2 * TINY
    assert steps_in(tmp_path) == list(range(60))
    writer.close()
    assert {path.suffix for _, path in segments(tmp_path / "w1")} == {".zst"}
    assert steps_in(tmp_path) == list(range(60))
    assert writer.problems == []


def test_each_segment_has_its_header(tmp_path: Path) -> None:
    """Every segment begins with a header that tells its number and when it was begun."""
    writer = open_writer(tmp_path, segment_bytes=1)
    log(writer, range(4))
    writer.close()
    headers = [record for record in records_in(tmp_path) if isinstance(record, Header)]

    assert [header.segment for header in headers] == [1, 2, 3, 4, 5]
    assert [header.time for header in headers] == [100.0, 100.0, 101.0, 102.0, 103.0]
    assert steps_in(tmp_path) == [0, 1, 2, 3]


def test_records_of_every_kind_begin_new_segments(tmp_path: Path) -> None:
    """Rotation does not depend on which of the two ways a record takes."""
    writer = open_writer(tmp_path, segment_bytes=1)
    for step in range(3):
        writer.append(Row, time=100.0, step=step, data={"text": "x"}, commit=False)
    writer.close()

    assert [number for number, _ in segments(tmp_path / "w1")] == [1, 2, 3, 4]
    assert steps_in(tmp_path) == [0, 1, 2]


@pytest.fixture
def frozen() -> Iterator[Callable[[Path, bool], None]]:
    """Return a function that makes a directory immutable or not: even root cannot create a file there then."""
    program = shutil.which("chattr")
    if program is None:
        pytest.skip("needs chattr, to make a directory immutable")
    changed: set[Path] = set()

    def freeze(directory: Path, immutable: bool) -> None:
        flag = "+i" if immutable else "-i"
        done = subprocess.run([program, flag, str(directory)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs root and a file system with immutable directories: {done.stderr.strip()}")
        changed.add(directory)

    yield freeze
    for directory in changed:
        subprocess.run([program, "-i", str(directory)], capture_output=True, check=False)


def test_read_only_directory(tmp_path: Path, frozen: Callable[[Path, bool], None]) -> None:
    """Where no new segment can be begun the old one grows, nothing is lost, and later rotation works again."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    frozen(tmp_path / "w1", True)
    log(writer, range(40))

    assert names(tmp_path) == ["000001.jsonl"]
    assert steps_in(tmp_path) == list(range(40))
    frozen(tmp_path / "w1", False)
    log(writer, range(40, 80))
    writer.close()
    assert len(segments(tmp_path / "w1")) > 1
    assert steps_in(tmp_path) == list(range(80))
    assert damage_in(tmp_path) == []


def test_failed_rotations_are_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed rotation the next attempt comes a segment later, not with every row."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    attempts = []
    opened = os.open

    def refuse(path: Any, *arguments: Any) -> int:
        if str(path).endswith(".new"):
            attempts.append(path)
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    log(writer, range(100))
    size = hot(tmp_path).stat().st_size

    assert 0 < len(attempts) <= size // TINY
    assert steps_in(tmp_path) == list(range(100))


@pytest.mark.parametrize("call", ["write", "rename"])
def test_a_segment_that_cannot_get_its_header_is_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Where a new segment cannot be given header or name, nothing of it stays, and the old one is written on."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    log(writer, range(20))
    writer._sealer.finish()
    before = names(tmp_path)
    with monkeypatch.context() as broken:
        if call == "rename":
            broken.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
        else:
            write = os.write
            broken.setattr(
                os, "write", lambda fd, data: write(fd, data[: 9 if b'"header"' in data else None])
            )
        log(writer, range(20, 40))

        assert names(tmp_path) == before
    log(writer, range(40, 60))
    writer.close()
    assert steps_in(tmp_path) == list(range(60))
    assert damage_in(tmp_path) == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupt_during_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Control-C in the middle of a rotation loses no row, neither those before nor those after it."""
    writer = open_writer(tmp_path, segment_bytes=TINY)
    rename = os.rename

    def interrupted(*paths: Any) -> None:
        monkeypatch.undo()
        if moment == "after":
            rename(*paths)
        raise KeyboardInterrupt

    logged = 0
    monkeypatch.setattr(os, "rename", interrupted)
    try:
        for logged in range(100):
            log(writer, range(logged, logged + 1))
    except KeyboardInterrupt:
        log(writer, range(logged, 100))
    else:
        pytest.fail("100 rows began no new segment")
    writer.close()

    assert steps_in(tmp_path) == list(range(100))
    assert damage_in(tmp_path) == []


# ------------------------------------------------------------------------------------------------------ signal handlers


def test_a_handler_that_logs_while_a_line_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that is interrupted by another one takes the next number, so no number is used twice."""
    writer = open_writer(tmp_path)

    def interrupted(payload: bytes) -> bytes:
        monkeypatch.undo()
        log(writer, range(7, 8))
        return frame(payload)

    monkeypatch.setattr(journal_module, "frame", interrupted)
    log(writer, range(1))
    monkeypatch.setattr(journal_module, "frame", interrupted)
    writer.append(Row, time=100.0, step=1, data={})

    assert [record.seq for record in records_in(tmp_path)] == [0, 1, 2, 3, 4]
    assert steps_in(tmp_path) == [7, 0, 7, 1]


def test_a_handler_that_logs_during_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that comes while a new segment is begun does not begin one itself, and is not lost."""
    writer = open_writer(tmp_path, segment_bytes=1)
    rename = os.rename

    def interrupted(*paths: Any) -> None:
        monkeypatch.undo()
        log(writer, range(7, 8))
        rename(*paths)

    monkeypatch.setattr(os, "rename", interrupted)
    log(writer, range(2))
    writer.close()

    assert [record.seq for record in records_in(tmp_path)] == list(range(writer.seq + 1))
    assert sorted(map(str, steps_in(tmp_path))) == ["0", "1", "7"]


def test_a_timer_that_logs(tmp_path: Path) -> None:
    """With a signal handler that logs now and then, every row of both is there once, and numbers grow."""
    writer = open_writer(tmp_path, segment_bytes=2000)
    handled: list[int] = []
    numbers = count()

    def handle(*_: object) -> None:
        number = next(numbers)
        writer.row(100.0, None, {"handled": number})
        handled.append(number)

    rounds = 0
    former = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(handled) < 50:
            log(writer, range(20))
            rounds += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    writer.close()
    records = records_in(tmp_path)
    rows = [record for record in records if isinstance(record, Row)]
    seqs = [record.seq for record in records]

    assert seqs == sorted(set(seqs))
    assert sorted(row.data["handled"] for row in rows if row.step is None) == sorted(handled)
    assert [row.step for row in rows if row.step is not None] == list(range(20)) * rounds
    assert damage_in(tmp_path) == []


# ------------------------------------------------------------------------------------------------------- full disks

FILL = """
import errno, os, sys
from pathlib import Path
from tests.journals import *

directory, ballast = Path(sys.argv[1]), Path(sys.argv[2])
{before}
writer = open_writer(directory, segment_bytes=int(sys.argv[3]))
accepted, refused, step = [], 0, 0
def attempt(count):
    global refused, step
    for _ in range(count):
        try:
            log(writer, range(step, step + 1), text="x" * (step * 37 % 400))
            accepted.append(step)
        except OSError as error:
            assert error.errno in (errno.ENOSPC, errno.EFBIG), error
            refused += 1
        step += 1
attempt(1000)
assert refused and accepted, (refused, len(accepted))
full = refused
{after}
attempt(20)
assert refused == full, "space is back, but rows are refused"
os.write(1, repr(accepted).encode())
"""


def test_limit_on_file_size(tmp_path: Path) -> None:
    """Where a file may not grow, rows that do not fit leave no trace; accepted ones are intact; later ones work."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({}, resource.RLIM_INFINITY))"
    code = FILL.format(before=limit.format(20_000), after=limit.format("resource.RLIM_INFINITY"))
    done = run_child(code, tmp_path / "journal", tmp_path, 1 << 20)

    assert done.stderr == ""
    assert str(steps_in(tmp_path / "journal")) == done.stdout
    assert damage_in(tmp_path / "journal") == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 KiB."""
    program = shutil.which("mount")
    if program is None:
        pytest.skip("needs mount, for a small tmpfs")
    place = tmp_path / "disk"
    place.mkdir()
    words = [program, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("segment_bytes", [4 << 20, 8_000], ids=["one segment", "rotating"])
def test_full_disk(small_disk: Path, segment_bytes: int) -> None:
    """On a full disk accepted rows are intact, and rows are accepted again as soon as there is space."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(16_384))
    code = FILL.format(before="", after="ballast.unlink()")
    done = run_child(code, small_disk / "journal", ballast, segment_bytes)

    assert done.stderr == ""
    assert str(steps_in(small_disk / "journal")) == done.stdout
    assert damage_in(small_disk / "journal") == []


def half_writes(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let the next write take only so many bytes, as a disk that fills up does."""
    write = os.write

    def half(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", write)
        return write(fd, data[:size])

    monkeypatch.setattr(os, "write", half)


@pytest.mark.parametrize("size", [1, 9, 30])
def test_half_a_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A line that fits only in part is cut off again: the file is as before, and the next line is whole."""
    writer = open_writer(tmp_path)
    log(writer, range(2))
    before = hot(tmp_path).read_bytes()
    half_writes(monkeypatch, size)
    with pytest.raises(OSError, match="No space for the whole record"):
        log(writer, range(2, 3))

    assert hot(tmp_path).read_bytes() == before
    log(writer, range(3, 5))
    assert steps_in(tmp_path) == [0, 1, 3, 4]
    assert damage_in(tmp_path) == []


def test_half_a_line_that_cannot_be_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where cutting fails as well, the half line is ended, told apart by its checksum, and costs nothing else."""
    writer = open_writer(tmp_path)
    log(writer, range(2))
    size = hot(tmp_path).stat().st_size
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        half_writes(broken, 20)
        with pytest.raises(OSError, match="No space"):
            log(writer, range(2, 3))
    with monkeypatch.context() as broken:
        broken.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "still full")))
        with pytest.raises(OSError, match="still full"):
            log(writer, range(3, 4))
    log(writer, range(4, 6))
    writer.close()

    assert steps_in(tmp_path) == [0, 1, 4, 5]
    assert [(one.kind, one.offset, one.length) for one in damage_in(tmp_path)] == [("corrupt", size, 21)]
    assert names(tmp_path) == [
        "000001.jsonl"
    ]  # unsealed, since its checksums tell the good lines from the bad one


def test_half_a_line_is_not_taken_back_from_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file does not end with the half line, nothing is cut: it would be a record."""
    writer = open_writer(tmp_path)
    log(writer, range(2))
    write = os.write

    def overtaken(fd: int, data: bytes) -> int:
        monkeypatch.undo()
        written = write(fd, data[:10])
        write(fd, frame(encode_row(99, 100.0, 99, {})))
        return written

    monkeypatch.setattr(os, "write", overtaken)
    with pytest.raises(OSError, match="No space"):
        log(writer, range(2, 3))
    log(writer, range(3, 4))

    assert steps_in(tmp_path) == [0, 1, 99, 3]


def test_size_that_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system answers nothing any more, the half line stays and the next record has its own line."""
    writer = open_writer(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fstat", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
        half_writes(broken, 20)
        with pytest.raises(OSError, match="No space"):
            log(writer, range(1))
    log(writer, range(1, 3))

    assert steps_in(tmp_path) == [1, 2]


# --------------------------------------------------------------------------------------------------- life and death


def test_a_writer_is_live_until_it_is_closed(tmp_path: Path) -> None:
    """The lock tells whether a writer lives; closing lets go of it, after sealing, and any number of times."""
    writer = open_writer(tmp_path)
    assert is_live(tmp_path)
    writer.close()

    assert not is_live(tmp_path)
    writer.close()
    assert names(tmp_path) == ["000001.jsonl.zst"]


HOLD = (
    "import sys; from pathlib import Path; from tests.journals import *\n"
    "writer = open_writer(Path(sys.argv[1]), sys.argv[2]); log(writer, range(3))\n"
)


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_the_kernel_tells_who_is_dead(tmp_path: Path, sign: signal.Signals) -> None:
    """A journal that another process writes is live until that process ends, however it ends."""
    root = Path(__file__).parent.parent
    words = [sys.executable, "-c", HOLD + "print('ready', flush=True); sys.stdin.read()", str(tmp_path), "w1"]
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert is_live(tmp_path)
        child.send_signal(sign)
        child.wait()

    assert not is_live(tmp_path)
    assert steps_in(tmp_path) == [0, 1, 2]


def test_a_forked_child_that_lets_go_keeps_nothing_alive(tmp_path: Path) -> None:
    """A child that abandons the writer leaves no lock behind when the parent is killed."""
    code = HOLD + (
        "import os; pid = os.fork()\n"
        "if pid == 0:\n"
        "    writer.abandon(); writer.close(); writer.abandon()\n"
        "    os.write(1, b'child\\n'); sys.stdin.read(); os._exit(0)\n"
        "os.write(1, b'%d\\n' % pid)\n"
        "log(writer, range(3, 5)); os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parent.parent
    words = [sys.executable, "-c", code, str(tmp_path), "w1"]
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = {child.stdout.readline(), child.stdout.readline()}
        child.wait()
        assert b"child\n" in said
        assert not is_live(tmp_path)  # while the child still lives: it waits for its input to end

    assert steps_in(tmp_path) == [0, 1, 2, 3, 4]
    assert damage_in(tmp_path) == []


def test_letting_go_twice(tmp_path: Path) -> None:
    """Abandoning is idempotent and leaves everything as it is, hot; closing afterwards does nothing."""
    writer = open_writer(tmp_path)
    log(writer, range(2))
    for let_go in (writer.abandon, writer.abandon, writer.close):
        let_go()

        assert names(tmp_path) == ["000001.jsonl"]
        assert not is_live(tmp_path)
    assert steps_in(tmp_path) == [0, 1]


def test_the_parents_lock_outlives_an_abandoning_child(tmp_path: Path) -> None:
    """The parent's run stays live, and is written on, when its child lets go."""
    code = HOLD + (
        "import os; from corelib.segments import is_live\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    writer.abandon(); os._exit(0)\n"
        "os.waitpid(pid, 0); print(is_live(Path(sys.argv[1]))); log(writer, range(3, 5)); os._exit(0)\n"
    )
    done = run_child(
        "import functools; print = functools.partial(print, flush=True)\n" + code, tmp_path, "w1"
    )

    assert (done.stdout, done.stderr) == ("True\n", "")
    assert steps_in(tmp_path) == [0, 1, 2, 3, 4]


def test_a_reader_that_asks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that begins while somebody asks whether it lives waits for the moment that this takes."""
    opened = os.open

    def asked(path: Any, *arguments: Any) -> int:
        if Path(path) == tmp_path / "w1":
            monkeypatch.undo()
            asking = opened(path, os.O_RDONLY)
            fcntl.flock(asking, fcntl.LOCK_SH)
            Timer(0.05, os.close, [asking]).start()
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", asked)
    writer = open_writer(tmp_path)

    assert is_live(tmp_path)
    writer.close()


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no locks a run is recorded all the same; nobody can tell that it lives."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    writer = open_writer(tmp_path)
    log(writer, range(3))

    assert steps_in(tmp_path) == [0, 1, 2]
    assert not is_live(tmp_path)
    with pytest.raises(OSError, match="not implemented"):
        repair(tmp_path)
    writer.close()
    assert steps_in(tmp_path) == [0, 1, 2]


def test_a_closed_writer_takes_nothing(tmp_path: Path) -> None:
    """After closing, a record is an error and no file appears."""
    writer = open_writer(tmp_path, segment_bytes=1)
    writer.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        log(writer, range(1))

    assert names(tmp_path) == ["000001.jsonl.zst"]


def test_an_error_of_closing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that reports a failed write only at the close is heard, and everything else goes its way."""
    writer = open_writer(tmp_path)
    log(writer, range(3))
    fd, close = writer._fd, os.close

    def failing(one: int) -> None:
        close(one)
        if one == fd:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "close", failing)
    writer.close()

    assert (
        [problem for problem in writer.problems if "Disk quota exceeded" in problem] == writer.problems != []
    )
    assert not is_live(tmp_path)
    assert steps_in(tmp_path) == [0, 1, 2]


def test_an_interrupt_while_the_last_segment_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control-C during the last sealing releases the lock; what is left hot is readable, and repaired later."""
    writer = open_writer(tmp_path)
    log(writer, range(3))
    with monkeypatch.context() as broken:
        broken.setattr(Sealer, "finish", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            writer.close()

    assert not is_live(tmp_path)
    assert steps_in(tmp_path) == [0, 1, 2]


# ------------------------------------------------------------------------------------------------------------ repair


def crashed(journal_dir: Path, writer: str = "w1") -> None:
    """Leave a journal as a killed process does: three rows in a hot segment, no lock."""
    assert run_child(HOLD + "import os; os._exit(9)", journal_dir, writer).returncode == 9


def test_repair_cuts_torn_ends_and_seals(tmp_path: Path) -> None:
    """Torn ends are cut off and named, all segments sealed, leftovers removed; a second repair finds nothing to do."""
    crashed(tmp_path, "w1")
    crashed(tmp_path, "w2")
    size = hot(tmp_path).stat().st_size
    with hot(tmp_path).open("ab") as file:
        file.write(b'561bacaf {"a":')
    for leftover in ("000002.jsonl.new", "000001.jsonl.zst.tmp"):
        (tmp_path / "w1" / leftover).write_bytes(b"half")
    cut = repair(tmp_path)

    assert [(one.writer, one.segment, one.kind, one.offset, one.length) for one in cut] == [
        ("w1", "000001.jsonl", "torn", size, 14)
    ]
    assert names(tmp_path, "w1") == names(tmp_path, "w2") == ["000001.jsonl.zst"]
    assert steps_in(tmp_path) == [0, 0, 1, 1, 2, 2]
    assert damage_in(tmp_path) == []
    assert repair(tmp_path) == []
    assert steps_in(tmp_path) == [0, 0, 1, 1, 2, 2]


def test_repair_does_not_hide_damage(tmp_path: Path) -> None:
    """A segment with a bad line stays hot, torn end or not: sealing would make what is left look whole."""
    crashed(tmp_path)
    flip(hot(tmp_path), 20)
    with hot(tmp_path).open("ab") as file:
        file.write(b"half")
    before = [one for one in damage_in(tmp_path) if one.kind == "corrupt"]

    assert [one.kind for one in repair(tmp_path)] == ["torn"]
    assert names(tmp_path) == ["000001.jsonl"]
    assert damage_in(tmp_path) == before != []
    assert steps_in(tmp_path) == [0, 1, 2]


def test_repair_of_both_forms(tmp_path: Path) -> None:
    """A process killed between renaming and deleting leaves both forms; repairing leaves the sealed one."""
    crashed(tmp_path)
    line = hot(tmp_path).read_bytes()
    repair(tmp_path)
    hot(tmp_path).write_bytes(line)

    assert steps_in(tmp_path) == [0, 1, 2]
    assert repair(tmp_path) == []
    assert names(tmp_path) == ["000001.jsonl.zst"]
    assert steps_in(tmp_path) == [0, 1, 2]


def test_living_journals_are_not_repaired(tmp_path: Path) -> None:
    """A run that is being written is left alone, all its writers; the message says what to do."""
    crashed(tmp_path, "w0")
    writer = open_writer(tmp_path, "w1")
    with pytest.raises(JournalError, match="is alive: repair it after it has ended"):
        repair(tmp_path)

    assert names(tmp_path, "w0") == ["000001.jsonl"]
    writer.close()
    assert repair(tmp_path) == []
    assert names(tmp_path, "w0") == ["000001.jsonl.zst"]


def test_repair_excludes_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two that repair at a time one goes first; the other one is told so, or waits."""
    crashed(tmp_path)
    monkeypatch.setattr(journal_module, "is_live", lambda _: False)
    fd = os.open(tmp_path / "w1", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(JournalError, match="is alive"):
        repair(tmp_path)
    fcntl.flock(fd, fcntl.LOCK_SH)
    timer = Timer(0.05, os.close, [fd])
    timer.start()

    assert repair(tmp_path) == []
    timer.join()
    assert names(tmp_path) == ["000001.jsonl.zst"]
