"""A replica: the records of a writer, kept once more under their own numbers.

Law: a record is appended once, however often it comes, and is on the disk when `append` returns. The replica
has the format of a journal and is read like one. Where the process that kept it was killed, opening it cuts a
torn end off and goes on behind the last whole record.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve

from corelib.descriptors import beyond_standard
from corelib.errors import UsageError
from corelib.journal import SEGMENT_BYTES
from corelib.pure.frames import frame
from corelib.pure.records import FORMAT_VERSION, Header, Record
from corelib.pure.wire import encode
from corelib.sealing import seal
from corelib.segments import Damage, Entry, read_segment, segments

__all__ = ["ReplicaWriter"]

_PARENTS_SYNCED = 3  # journal/, the run directory, and the directory that holds it


class ReplicaWriter:
    """Keeps the records of one writer. Not thread-safe.

    `last_seq` is the number of the last record that is kept.

    Args:
        directory: the writer's directory, `journal/<writer>`; made if need be.
        header: the writer's header; new segments repeat it.
        segment_bytes: a segment of this size is sealed, and a new one begun.

    Raises:
        OSError: the directory cannot be written, or another process keeps this replica just now.
    """

    def __init__(self, directory: Path, header: Header, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.last_seq = 0
        self._directory = directory
        self._header = header
        self._segment_bytes = segment_bytes
        self._number = 0
        self._fd = -1
        self._size = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_fd = beyond_standard(os.open(directory, os.O_RDONLY | os.O_CLOEXEC))
        try:
            self._lock()
            self._take_up()
        except BaseException:
            self.release()
            raise

    def append(self, records: Sequence[Record]) -> dict[int, str]:
        """Append, in order, what is not there yet; return the numbers that cannot be written, and why.

        Raises:
            OSError: not all could be written. Release this object; a new one finds out what is there.
        """
        refused: dict[int, str] = {}
        lines: list[bytes] = []
        last_seq = self.last_seq
        for record in records:
            if record.seq > last_seq:
                last_seq = record.seq
                try:
                    lines.append(frame(encode(record)))
                except UsageError as error:
                    refused[record.seq] = str(error)
        if lines:
            self._write(b"".join(lines))
        self.last_seq = last_seq
        return refused

    def close(self) -> None:
        """Seal the open segment, where that can be done, and let go."""
        self._seal()
        self.release()

    def release(self) -> None:
        """Let go without sealing. Idempotent."""
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            place = str(self._directory)
            raise BlockingIOError(
                error.errno, "another process keeps this replica just now", place
            ) from error

    def _take_up(self) -> None:
        present = segments(self._directory)
        for _, path in reversed(present):
            known = [entry.record.seq for entry in read_segment(path) if type(entry) is Entry]
            if known:
                self.last_seq = max(known)
                break
        if present:
            self._number, path = present[-1]
            if path.suffix == ".jsonl":
                self._go_on(path)

    def _go_on(self, path: Path) -> None:
        torn = [entry for entry in read_segment(path) if type(entry) is Damage and entry.kind == "torn"]
        self._fd = beyond_standard(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        for damage in torn:
            os.ftruncate(self._fd, damage.offset)
        self._size = os.fstat(self._fd).st_size
        if not self._size:
            self._write_header()

    def _write(self, data: bytes) -> None:
        if self._size >= self._segment_bytes:
            self._seal()
        if self._fd < 0:
            self._begin()
        self._write_all(data)
        os.fsync(self._fd)

    def _begin(self) -> None:
        path = self._directory / f"{self._number + 1:06d}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = beyond_standard(os.open(path, flags, 0o666))
        self._number += 1
        self._size = 0
        self._write_header()
        for directory in (self._directory, *self._directory.parents[:_PARENTS_SYNCED]):
            _sync_directory(directory)

    def _write_header(self) -> None:
        header = evolve(self._header, seq=self.last_seq, version=FORMAT_VERSION, segment=self._number)
        self._write_all(frame(encode(header)))

    def _write_all(self, data: bytes) -> None:
        while data:
            written = os.write(self._fd, data)
            self._size += written
            data = data[written:]

    def _seal(self) -> None:
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            seal(self._directory, self._number)
        except OSError:  # it stays as it is, which every reader can read
            return


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:  # some network file systems cannot, and have no need to
        return
    finally:
        os.close(fd)
