"""Sealing: a full hot segment becomes plain JSON Lines in one zstd frame.

Law: at every moment the segment is whole on disk in at least one form, and a record with a wrong checksum is never
made to look right. Sealing is never urgent while the run logs: it works in small turns, so that a thread which logs
hardly ever waits for the interpreter lock; only `finish()` makes it hurry.
"""

from __future__ import annotations

import os
from collections import deque
from errno import EINVAL, ENOTSUP
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from corelib.pure.frames import Corrupt, End, Frame, FrameReader, NeedData
from corelib.segments import READ_BYTES

__all__ = ["Sealer", "seal"]

_COMPRESSION_LEVEL: Final = 9
_LINES_PER_TURN: Final = 128  # about 0.15 ms of the interpreter lock
_PAUSE_S: Final = 0.001


class Sealer:
    """Seals the segments of one writer, one after the other, on a thread that exists only while there is work."""

    def __init__(self, directory: Path) -> None:
        """Serve the segments in `directory`; no thread is started yet."""
        self._directory = directory
        self._lock = Lock()
        self._queue: deque[int] = deque()
        self._thread: Thread | None = None
        self._hurry = Event()
        self.problems: list[str] = []

    def submit(self, number: int) -> None:
        """Have a segment sealed that nobody appends to any more."""
        with self._lock:
            self._queue.append(number)
            if self._thread is None and not self._hurry.is_set():
                thread = Thread(target=self._work, name="corelib-seal", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    return  # no room for a thread, or the interpreter is going down: `finish` does it
                self._thread = thread

    def finish(self) -> None:
        """Seal all that was submitted, in the calling thread where no other is at it, and return when it is done."""
        self._hurry.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._queue:
                    self._thread = None
                    return
                number = self._queue.popleft()
            try:
                seal(self._directory, number, pause=self._hurry)
            except Exception as error:  # noqa: BLE001  the segment stays as it is; no run should end over it
                reason = f"{type(error).__name__}: {error}"
                self.problems.append(f"Segment {number} of {self._directory} stays unsealed: {reason}")


def seal(directory: Path, number: int, *, pause: Event | None = None) -> None:
    """Replace a hot segment by its sealed form: temporary file, fsync, rename, fsync of the directory, delete.

    A segment with damage other than a torn end stays hot: its good lines keep the checksums that tell them apart. With
    `pause` the work yields to other threads between turns until that event is set.

    Raises:
        OSError: it could not be written; the hot segment stays as it was.
        MemoryError, zstandard.ZstdError: it could not be compressed; likewise.
    """
    import zstandard  # sealing and reading only

    hot = directory / f"{number:06d}.jsonl"
    payloads, sound = _payloads(hot, pause)
    if not sound:
        return
    plain = b"\n".join(payloads) + b"\n" if payloads else b""
    compressor = zstandard.ZstdCompressor(
        level=_COMPRESSION_LEVEL, write_checksum=True, write_content_size=True
    )
    temporary = directory / f"{number:06d}.jsonl.zst.tmp"
    sealed = compressor.compress(plain)
    try:
        with open(temporary, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, directory / f"{number:06d}.jsonl.zst")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(directory)
    hot.unlink()


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (EINVAL, ENOTSUP):  # some network file systems cannot, and have no need to
            raise
    finally:
        os.close(fd)


def _payloads(hot: Path, pause: Event | None) -> tuple[list[bytes], bool]:
    """Return the payloads of a hot segment and whether nothing but a torn end is wrong with it."""
    payloads: list[bytes] = []
    reader = FrameReader()
    with open(hot, "rb") as file:
        while True:
            event = reader.next_event()
            if type(event) is Frame:
                payloads.append(event.payload)
                if pause is not None and len(payloads) % _LINES_PER_TURN == 0:
                    pause.wait(_PAUSE_S)
            elif type(event) is NeedData:
                data = file.read(READ_BYTES)
                reader.receive(data) if data else reader.close()
            elif type(event) is Corrupt:
                return payloads, False
            elif type(event) is End:
                return payloads, True
