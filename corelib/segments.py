"""Reading journals: segments in both forms, whole runs merged by time, what is damaged, who is alive.

Law: nothing is believed whose checksum does not fit, and nothing after damage is lost: a hot segment is believed line
by line, a sealed one as a whole. Where both forms exist the hot one is read, unless it holds fewer records than the
sealed one: then it is an old copy that nobody took away. Reading changes nothing on disk and works while the run is
being written: a segment that is sealed under the reader's hands is read on in its sealed form.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Final, NamedTuple

from corelib.descriptors import is_locked
from corelib.errors import JournalError
from corelib.pure.frames import Corrupt, End, Frame, FrameReader, NeedData, Torn
from corelib.pure.records import Record
from corelib.pure.wire import decode

__all__ = [
    "READ_BYTES",
    "Damage",
    "Entry",
    "is_live",
    "read",
    "read_hot",
    "read_segment",
    "read_writer",
    "run_directories",
    "segments",
    "writer_is_live",
    "writers",
]

READ_BYTES: Final = 1 << 18
_VERIFY_BYTES: Final = 1 << 10  # bounds what a piece of a hostile segment can swell to
_FRAME_HEADER_BYTES: Final = 18
_SEGMENT = re.compile(r"(\d{6,})\.jsonl(\.zst)?")
_RUN_DIRECTORY = re.compile(r"(?:offline-run|run)-\d{8}_\d{6}-.+")


class Entry(NamedTuple):
    """A record as it was read: who wrote it, and how many bytes its payload has."""

    writer: str
    record: Record
    size: int


class Damage(NamedTuple):
    """A place in a journal that cannot be believed.

    `kind` is torn (the last line is incomplete: normal after a crash), corrupt (a checksum does not fit), unreadable
    (it does, but this version cannot read the record) or missing (a whole segment). `offset` and `length` are bytes of
    the segment's lines.
    """

    writer: str
    segment: str
    offset: int
    length: int
    kind: str
    reason: str


def writers(journal_dir: Path) -> list[str]:
    """Return the writer ids of a journal, sorted; empty where there is none."""
    try:
        with os.scandir(journal_dir) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def segments(writer_dir: Path) -> list[tuple[int, Path]]:
    """Return number and path of each segment of a writer, in order; where both forms exist, the one to read."""
    found = _listed(writer_dir)
    if len(found) < max(found, default=0):
        # Listing a long directory may miss both forms of a segment that is sealed meanwhile. A second look cannot.
        found = {**_listed(writer_dir), **found}
    return sorted(found.items())


def _listed(writer_dir: Path) -> dict[int, Path]:
    found: dict[int, Path] = {}
    # In reverse order "….jsonl" comes after "….jsonl.zst".
    for match in filter(None, map(_SEGMENT.fullmatch, sorted(os.listdir(writer_dir), reverse=True))):
        number, path = int(match[1]), writer_dir / match[0]
        # Both are there while one is made of the other, and where a copy was brought up to date without deleting.
        if number not in found or not _is_behind(path):
            found[number] = path
    return found


def _is_behind(hot: Path) -> bool:
    """Return whether a hot segment holds fewer records than its sealed form; one that is gone does."""
    import zstandard  # sealing and reading only

    try:
        with open(hot.with_name(hot.name + ".zst"), "rb") as sealed:
            if _unsound(sealed):
                return False
            sealed.seek(0)
            plain = zstandard.ZstdDecompressor().stream_reader(sealed)
            records = sum(chunk.count(b"\n") for chunk in iter(lambda: plain.read(READ_BYTES), b""))
        with open(hot, "rb") as file:
            reader = FrameReader()
            while type(event := reader.next_event()) is not End:
                if type(event) is NeedData:
                    data = file.read(READ_BYTES)
                    reader.receive(data) if data else reader.close()
                records -= type(event) is Frame
    except OSError:  # sealed meanwhile, or whoever reads it will say what is wrong
        return not hot.exists()
    return records > 0


def read(journal_dir: Path, last_seq: Mapping[str, int] | None = None) -> Iterator[Entry | Damage]:
    """Read a whole journal, live or ended: all writers, merged by time, each in its own order.

    What is damaged comes as `Damage` in its place; everything else is read. With `last_seq`, only the writers that
    it names, each up to that record.

    Raises:
        JournalError: there is no journal at this place.
    """
    names = [name for name in writers(journal_dir) if last_seq is None or name in last_seq]
    if not names and last_seq != {}:
        message = f"No journal at {journal_dir}: it should hold one directory per writer."
        raise JournalError(message)
    clock = [0.0] * len(names)

    def timed(index: int, name: str) -> Iterator[tuple[float, int, Entry | Damage]]:
        for entry in read_writer(journal_dir / name):
            if type(entry) is Entry:
                if last_seq is not None and entry.record.seq > last_seq[name]:
                    return
                clock[index] = max(clock[index], entry.record.time)
            yield clock[index], index, entry

    streams = [timed(index, name) for index, name in enumerate(names)]
    for _, _, entry in heapq.merge(*streams, key=lambda item: item[:2]):
        yield entry


def read_writer(writer_dir: Path) -> Iterator[Entry | Damage]:
    """Read the segments of one writer in order. One that vanishes was sealed meanwhile and is read in that form."""
    expected = 1
    for number, path in segments(writer_dir):
        if number > expected:
            reason = f"{number - expected} segments from here on are not there"
            yield Damage(writer_dir.name, f"{expected:06d}.jsonl", 0, 0, "missing", reason)
        expected = number + 1
        yield from read_segment(path)


def read_segment(path: Path) -> Iterator[Entry | Damage]:
    """Read one segment in either form."""
    if path.suffix == ".zst":
        return _read_sealed(path)
    try:
        file = open(path, "rb")  # noqa: SIM115  closed by the generator
    except FileNotFoundError:
        return _read_sealed(path.with_name(path.name + ".zst"))
    return read_hot(file, path.parent.name, path.name)


def read_hot(stream: IO[bytes], writer: str, segment: str) -> Iterator[Entry | Damage]:
    """Read framed lines from an open binary stream to its end, and close it."""
    reader = FrameReader()
    with stream:
        while True:
            event = reader.next_event()
            if type(event) is Frame:
                yield _entry(event, writer, segment)
            elif type(event) is NeedData:
                data = stream.read(READ_BYTES)
                reader.receive(data) if data else reader.close()
            elif type(event) is Corrupt:
                yield Damage(
                    writer, segment, event.offset, event.length, "corrupt", "the checksum does not fit"
                )
            elif type(event) is Torn:
                yield Damage(
                    writer, segment, event.offset, event.length, "torn", "the last line is incomplete"
                )
            else:
                return


def _entry(event: Frame, writer: str, segment: str) -> Entry | Damage:
    try:
        return Entry(writer, decode(event.payload), len(event.payload))
    except JournalError as error:
        return Damage(writer, segment, event.offset, len(event.payload), "unreadable", str(error))


def _read_sealed(path: Path) -> Iterator[Entry | Damage]:
    import zstandard  # sealing and reading only

    writer, segment = path.parent.name, path.name
    with open(path, "rb") as file:
        problem = _unsound(file)
        if problem:
            reason = f"the sealed segment cannot be believed: {problem}"
            yield Damage(writer, segment, 0, os.fstat(file.fileno()).st_size, "corrupt", reason)
            return
        file.seek(0)
        plain = zstandard.ZstdDecompressor().stream_reader(file)
        offset = 0
        rest = b""
        while chunk := plain.read(READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield _entry(Frame(offset, line), writer, segment)
                offset += len(line) + 1
        if rest:  # recompressed by somebody whose editor leaves out the last line feed
            yield _entry(Frame(offset, rest), writer, segment)


def _unsound(file: IO[bytes]) -> str:
    """Return why a sealed segment cannot be believed, or nothing.

    The checksum stands at the end, so all is decompressed before anything is believed. zstandard by itself ignores a
    missing end and whatever follows the frame.
    """
    import zstandard  # sealing and reading only

    try:
        frame = zstandard.get_frame_parameters(file.read(_FRAME_HEADER_BYTES))
        if not frame.has_checksum or frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            return "it declares no checksum or no size"
        file.seek(0)
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        size = 0
        while not decompressor.eof and (data := file.read(_VERIFY_BYTES)):
            size += len(decompressor.decompress(data))
            if size > frame.content_size:
                return "it is larger than it declares"
    except (zstandard.ZstdError, MemoryError) as error:
        return str(error)
    if not decompressor.eof:
        return "it ends early"
    return "something follows its end" if decompressor.unused_data or file.read(1) else ""


def is_live(journal_dir: Path) -> bool:
    """Return whether any writer of this journal is alive: the kernel still holds its lock.

    It is known on the host that writes; on other hosts, and on file systems without locks, every writer looks dead.
    """
    return any(writer_is_live(journal_dir / name) for name in writers(journal_dir))


def writer_is_live(writer_dir: Path) -> bool:
    """Return whether the writer with this directory is alive, as far as `is_live` can know."""
    try:
        return is_locked(writer_dir)
    except FileNotFoundError:  # an `init()` that failed has cleaned up meanwhile
        return False


def run_directories(root: Path) -> list[Path]:
    """Return the run directories in a `wandb` directory, oldest first by the time in their names."""
    try:
        with os.scandir(root) as entries:
            names = [
                entry.name
                for entry in entries
                if _RUN_DIRECTORY.fullmatch(entry.name) and not entry.is_symlink()
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [root / name for name in sorted(names, key=lambda name: name.split("run-", 1)[1])]
