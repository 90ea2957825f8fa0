"""The journal on disk: append and repair. `corelib.sealing` seals, `corelib.segments` reads, `corelib.tail` follows.

Law: when `append` has returned, the record is in the kernel, whole, by one `write`; a failed append leaves no trace.
What was written once is never changed, only sealed: the same records, compressed, under the same number. A segment
appears with its header in it, and from then on the one before does not grow.

    journal/<writer>/000001.jsonl.zst     sealed: plain JSON Lines in one zstd frame with content size and checksum
    journal/<writer>/000002.jsonl         hot: framed lines (`corelib.pure.frames`), appended to

Every writer (a process) has a directory of its own and holds a lock on it while it lives, which the kernel drops
however the process ends. Where a segment exists in both forms the hot one is read: sealing replaces by rename and
deletes last.
"""

from __future__ import annotations

import fcntl
import os
from errno import ENOSPC
from pathlib import Path
from sys import maxsize
from typing import Any, Final

from corelib.descriptors import beyond_standard
from corelib.errors import JournalError
from corelib.pure.frames import frame
from corelib.pure.records import FORMAT_VERSION, Header, Record
from corelib.pure.wire import encode, encode_row
from corelib.sealing import Sealer, seal
from corelib.segments import Damage, is_live, read_segment, segments, writers

__all__ = ["SEGMENT_BYTES", "JournalWriter", "repair"]

SEGMENT_BYTES: Final = 4 << 20


class JournalWriter:
    """Appends the records of one process to its own segments.

    Not thread-safe: the run that owns it calls it under its lock. A signal handler that interrupts a call may append,
    too. `seq` is the number of the last record, `records` how many were appended: headers have numbers and are none,
    and a record that could not be written leaves its number unused.
    """

    def __init__(
        self,
        journal_dir: Path,
        *,
        run_id: str,
        writer: str,
        start_time: float,
        now: float,
        host: str,
        primary: bool,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Create `journal_dir/<writer>/`, lock it and write the header.

        Raises:
            OSError: the directory cannot be created or written; nothing usable is left open.
        """
        self.directory = journal_dir / writer
        self.writer = writer
        self.seq = -1
        self.records = 0
        self._identity: dict[str, Any] = {
            "run_id": run_id,
            "writer": writer,
            "start_time": start_time,
            "host": host,
            "primary": primary,
        }
        self._segment_bytes = segment_bytes
        self._segment = 0
        self._fd = -1
        self._size = 0
        self._limit = segment_bytes  # the size from which on a write needs `_make_ready` first
        self._torn = False
        self._sealer = Sealer(self.directory)
        self.directory.mkdir(parents=True)
        self._lock_fd = beyond_standard(os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC))
        try:
            _hold(self._lock_fd)
            self._open_segment(1, now)
        except BaseException:
            os.close(self._lock_fd)
            raise

    def row(self, time: float, step: int | None, data: dict[str, Any]) -> None:
        """Append one committed row of plain finite values; the fastest path there is.

        Raises:
            TypeError: a value that needs the general path; nothing was written.
            OSError: the row could not be written whole; nothing of it stays.
        """
        while True:
            if self._size >= self._limit:
                self._make_ready(time)
            seq = self.seq + 1
            if self._write(seq, frame(encode_row(seq, time, step, data))):
                return

    def append(self, kind: type[Any], *, time: float, **values: Any) -> Record:
        """Append a record of `kind`; its seq is given here. Return it.

        Raises:
            OSError: it could not be written whole; nothing of it stays.
            UsageError: a value that JSON cannot hold.
        """
        while True:
            if self._size >= self._limit:
                self._make_ready(time)
            seq = self.seq + 1
            record: Record = kind(seq=seq, time=time, **values)
            if self._write(seq, frame(encode(record))):
                return record

    @property
    def problems(self) -> list[str]:
        """Which segments could not be sealed or were closed with an error, and why; they stay readable as they are."""
        return self._sealer.problems

    def close(self) -> None:
        """Seal what is hot and release the lock. Idempotent; a segment that cannot be sealed stays hot."""
        if self._lock_fd < 0:
            return
        self._limit = maxsize
        fd, self._fd = self._fd, -1
        try:
            self._hand_over(fd, self._segment)
            self._sealer.finish()
        finally:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def abandon(self) -> None:
        """Let go in a forked child. Closing what was inherited takes neither lock nor file from the parent."""
        if self._lock_fd >= 0:
            os.close(self._fd)
            os.close(self._lock_fd)
            self._fd = self._lock_fd = -1

    def _write(self, seq: int, line: bytes) -> bool:
        """Write a line at once, unless its number is taken: a signal handler may have logged since it was made.

        No other function is called before the `write`, so that no handler comes between number and file.
        """
        if self.seq >= seq:
            return False
        self.seq = seq
        written = os.write(self._fd, line)
        if written != len(line):
            self._take_back(written)
            raise OSError(ENOSPC, "No space for the whole record")
        self._size += written
        self.records += 1
        return True

    def _take_back(self, written: int) -> None:
        """Cut a half-written line off; where that fails, the next record is to start on a line of its own."""
        try:
            end = os.fstat(self._fd).st_size
            if end == self._size + written:  # else the half line is not what the file ends with, and stays
                os.ftruncate(self._fd, self._size)
                return
            self._size = end
        except OSError:
            self._size += written
        self._torn = True
        self._limit = 0

    def _make_ready(self, now: float) -> None:
        """Before a write: end a line that was left half-written, and begin a new segment where this one is full."""
        self._limit = maxsize  # a signal handler that logs meanwhile must not come here
        try:
            if self._torn:
                self._size += os.write(self._fd, b"\n")
                self._torn = False
            if self._size >= self._segment_bytes:
                self._rotate(now)
        finally:
            # Where no new segment could be begun, the old one grows by as much again until the next attempt.
            self._limit = 0 if self._torn else self._segment_bytes * (1 + self._size // self._segment_bytes)

    def _rotate(self, now: float) -> None:
        full, full_fd = self._segment, self._fd
        try:
            self._open_segment(full + 1, now)
        except OSError:
            return
        self._hand_over(full_fd, full)

    def _hand_over(self, fd: int, number: int) -> None:
        """Let go of a segment that is complete and have it sealed."""
        try:
            os.close(fd)
        except OSError as error:  # as network file systems report a write that failed after all
            self._sealer.problems.append(
                f"Segment {number} of {self.directory} was closed with an error: {error}"
            )
        self._sealer.submit(number)

    def _open_segment(self, number: int, now: float) -> None:
        """Begin a segment. It gets its name once its header is in it, so nobody ever sees it without."""
        path = str(self.directory / f"{number:06d}.jsonl")
        nameless = path + ".new"
        former = self._fd, self._segment, self._size
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = beyond_standard(os.open(nameless, flags, 0o666))
        try:
            while True:
                seq = self.seq + 1
                line = frame(encode(self._header(seq, number, now)))
                if os.write(fd, line) != len(line):
                    raise OSError(ENOSPC, "No space for the header of a journal segment", path)
                if self._go_on_in(seq, fd, number, len(line)):
                    break
                # A signal handler has logged: its record has the number, and is in the segment before.
                os.ftruncate(fd, 0)
            os.rename(nameless, path)
        except BaseException:
            if not os.path.exists(path):  # else an interrupt came after the renaming
                self._fd, self._segment, self._size = former
                os.close(fd)
                os.unlink(nameless)
            raise

    def _go_on_in(self, seq: int, fd: int, number: int, size: int) -> bool:
        """Take a segment for the current one, unless the number of its header is taken; say whether it is.

        In one line without a call: no handler comes between the question and the claim, nor with a debugger at work.
        """
        new, old = (seq, fd, number, size), (self._fd, self._segment)
        # fmt: off
        self.seq, self._fd, self._segment, self._size = new if self.seq < seq else (self.seq, *old, self._size)
        # fmt: on
        return self._fd == fd

    def _header(self, seq: int, number: int, now: float) -> Header:
        return Header(
            seq=seq, time=now, version=FORMAT_VERSION, segment=number, pid=os.getpid(), **self._identity
        )


def _hold(fd: int) -> None:
    """Lock a writer's directory for as long as `fd` is open. It waits only for readers that ask whether we live."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError:
        pass  # some network file systems have no locks; there a run reads as crashed until it has ended


def repair(journal_dir: Path) -> list[Damage]:
    """Cut torn ends off and seal what a dead run left hot. Return what was cut. A live journal is not touched.

    Whether a run is alive is known where it runs: do not repair, over a network file system, what another host writes.

    Raises:
        JournalError: the run is still being written, or repaired by somebody else.
        OSError: the directory cannot be written or locked.
    """
    cut: list[Damage] = []
    if is_live(journal_dir):
        raise _alive(journal_dir)
    for name in writers(journal_dir):
        fd = os.open(journal_dir / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Readers hold shared locks for an instant; only a writer or another repair keeps us from one.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(fd, fcntl.LOCK_EX)
            cut += _repair_writer(journal_dir / name)
        except BlockingIOError:
            raise _alive(journal_dir) from None
        finally:
            os.close(fd)
    return cut


def _alive(journal_dir: Path) -> JournalError:
    return JournalError(f"The run that writes {journal_dir} is alive: repair it after it has ended.")


def _repair_writer(writer_dir: Path) -> list[Damage]:
    cut: list[Damage] = []
    for number, path in segments(writer_dir):
        if path.suffix == ".zst":
            continue
        for entry in read_segment(path):
            if type(entry) is Damage and entry.kind == "torn":
                os.truncate(path, entry.offset)
                cut.append(entry)
        seal(writer_dir, number)
    for name in os.listdir(writer_dir):
        if name.endswith((".new", ".tmp")):  # begun and never finished by who was killed
            os.unlink(writer_dir / name)
    return cut
