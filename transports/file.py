"""The file transport: run directories on a disk of this machine.

Law: it answers from journals and nothing else, and never changes a run's own. Pointed at the run's own
directory it has nothing to carry, because the journal is the delivery. Pointed elsewhere it keeps a copy
there: the same records under the same numbers, each once however often it comes, on the disk before the
answer, in the same format.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from errno import EACCES, EPERM
from pathlib import Path, PurePosixPath
from threading import Lock
from time import localtime, mktime, strftime, strptime
from typing import Final

from corelib.errors import JournalError, UsageError
from corelib.ports import (
    Address,
    Answer,
    Batch,
    Capabilities,
    Delivered,
    LookupFailed,
    Outcome,
    Rejected,
    Retry,
    RunRef,
)
from corelib.pure.lookup import Part, answer
from corelib.pure.paths import TIMESPEC_FORMAT, RunPaths, folder_name, folder_under, parse_folder_name
from corelib.pure.records import FORMAT_VERSION, Exit, FileSaved, Header
from corelib.pure.remote import FailureKind
from corelib.pure.replay import Replay
from corelib.replica import ReplicaWriter
from corelib.segments import Damage, Entry, read, read_writer, run_directories, writers

__all__ = ["FileTransport"]

_SCHEME: Final = "file://"
_TIME_BUDGET_S: Final = 300.0  # a copy may have to take large files along
_RECOPIED: Final = frozenset({"live", "end"})  # policies of files that may change after they were saved


class FileTransport:
    """Run directories below one directory.

    Args:
        wandb_dir: the directory that holds the run directories.
        is_journal: the runs themselves write there, so there is nothing to deliver.
    """

    def __init__(self, wandb_dir: str | os.PathLike[str], *, is_journal: bool = False) -> None:
        self.wandb_dir = Path(wandb_dir)
        self.capabilities = Capabilities(
            lookup=True, close=True, is_journal=is_journal, time_budget_s=_TIME_BUDGET_S
        )
        self._replicas: dict[tuple[Path, str], ReplicaWriter] = {}
        self._lock = Lock()

    @classmethod
    def from_address(cls, address: Address) -> FileTransport:
        """Make the transport for the name "file", or for `file:///path`, below which copies are kept.

        Raises:
            UsageError: the URL names no absolute path on this machine.
        """
        own = Path(address.wandb_dir)
        if not address.url.lower().startswith(_SCHEME):
            return cls(own, is_journal=True)
        from urllib.parse import unquote

        path = unquote(address.url[len(_SCHEME) :].removeprefix("localhost"))
        if not path.startswith("/") or "\0" in path:
            raise UsageError(
                f"A file URL names an absolute path, as file:///mnt/backup does; {address.url!r} does not."
            )
        wandb_dir = Path(path, own.name)
        return cls(wandb_dir, is_journal=os.path.realpath(wandb_dir) == os.path.realpath(own))

    def lookup(self, run: RunRef, timeout: float) -> Answer:  # noqa: ARG002  reading a local file always ends
        """Answer from the run directories; a run that continues another is followed back to its beginning.

        Directories without a journal are not ours and are left out. A journal is read to its end, however
        long it is: a local disk answers, and half an answer would be a wrong one.
        """
        try:
            return answer(run.run_id, list(_parts(self.wandb_dir, run.run_id)))
        except OSError as error:
            kind: FailureKind = "forbidden" if error.errno in {EACCES, EPERM} else "unreachable"
            return LookupFailed(kind, f"{self.wandb_dir} cannot be looked through: {error.strerror or error}")

    def deliver(self, batch: Batch) -> Outcome:
        """Append to the copy what it does not hold yet, and take saved files along."""
        if self.capabilities.is_journal:
            return Delivered()
        with self._lock:
            try:
                return self._append(self.wandb_dir / _folder(self.wandb_dir, batch), batch)
            except UsageError as error:
                return Rejected(reason=str(error))
            except OSError as error:
                # Whatever state the replicas are in now, opening them again finds out, as after a crash.
                self._let_go()
                return Retry(
                    reason=f"A copy in {self.wandb_dir} cannot be written: {error.strerror or error}"
                )

    def close(self) -> None:
        """Seal and let go of what was written; later records are appended in new segments."""
        with self._lock:
            for replica in self._replicas.values():
                replica.close()
            self._replicas.clear()

    def _let_go(self) -> None:
        for replica in self._replicas.values():
            replica.release()
        self._replicas.clear()

    def _append(self, directory: Path, batch: Batch) -> Outcome:
        if os.path.basename(batch.writer) != batch.writer or batch.writer in {"", ".", ".."}:
            raise UsageError(f"{batch.writer!r} is no writer id: it names another place on the disk.")
        key = (directory, batch.writer)
        replica = self._replicas.get(key)
        if replica is None:
            replica = ReplicaWriter(RunPaths(directory).writer(batch.writer), _header(batch))
            self._replicas[key] = replica
        source = None if batch.run.directory is None else Path(batch.run.directory)
        refused: dict[int, str] = {}
        for record in batch.records:
            if type(record) is FileSaved and source is not None and record.seq > replica.last_seq:
                problem = _copy_file(source, directory, record.path)
                if problem is not None:
                    refused[record.seq] = problem
        refused |= replica.append([record for record in batch.records if record.seq not in refused])
        if source is not None and any(type(record) is Exit for record in batch.records):
            _copy_changed_files(source, directory)
        if refused:
            return Rejected(reason=next(iter(refused.values())), seqs=tuple(sorted(refused)))
        return Delivered()

    def __repr__(self) -> str:
        return f"<FileTransport {self.wandb_dir}{' (own journal)' if self.capabilities.is_journal else ''}>"


def _header(batch: Batch) -> Header:
    """Return the writer's header; where it was lost, one that says what is still known."""
    if batch.header is not None:
        return batch.header
    first = batch.records[0]
    return Header(
        seq=0,
        time=first.time,
        version=FORMAT_VERSION,
        run_id=batch.run.run_id,
        writer=batch.writer,
        segment=1,
        start_time=first.time,
        host="",
        pid=0,
        primary=True,
    )


def _folder(wandb_dir: Path, batch: Batch) -> str:
    """Return the name of the run directory to keep the copy in: as the original's, where there is one."""
    if batch.run.directory is not None:
        return folder_under(os.path.basename(os.path.normpath(batch.run.directory)), batch.run.run_id)
    present = _directories(wandb_dir, batch.run.run_id)
    if present:
        return present[0].name
    timespec = strftime(TIMESPEC_FORMAT, localtime(_header(batch).start_time))
    return folder_name("offline", timespec, batch.run.run_id)


# ---------------------------------------------------------------------------------------------- saved files


def _copy_file(source: Path, target: Path, path: str) -> str | None:
    """Copy one file below `files/`; return why it can never be had, if so.

    Raises:
        OSError: the copy cannot be written.
    """
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        return f"{path!r} is no path below files/"
    try:
        original = open(RunPaths(source).files / relative, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    with original:
        place = RunPaths(target).files / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        with open(part, "wb") as copy:
            shutil.copyfileobj(original, copy)
            copy.flush()
            os.fsync(copy.fileno())
        os.replace(part, place)
    return None


def _copy_changed_files(source: Path, target: Path) -> None:
    """Copy once more, at the end of the run, what may have changed since it was saved.

    A file that is gone by now stays as it was copied first.
    """
    for entry in read(RunPaths(target).journal):
        if type(entry) is Entry and type(entry.record) is FileSaved and entry.record.policy in _RECOPIED:
            _copy_file(source, target, entry.record.path)


# --------------------------------------------------------------------------------------------------- lookup


def _directories(wandb_dir: Path, run_id: str) -> list[Path]:
    """Return the directories with a journal that are of this run, newest first."""
    found: list[tuple[float, str, Path]] = []
    for directory in run_directories(wandb_dir):
        name = parse_folder_name(directory.name)
        if name is None or not name.names(run_id) or not RunPaths(directory).journal.is_dir():
            continue
        header = _first_header(directory)
        if header is not None and header.run_id == run_id:
            found.append((header.start_time, directory.name, directory))
        elif (
            header is None
        ):  # an id that ends like a collision number cannot be told apart then: better too many
            found.append((_time_of(name.timespec), directory.name, directory))
    return [directory for _, _, directory in sorted(found, reverse=True)]


def _time_of(timespec: str) -> float:
    try:
        return mktime(strptime(timespec, TIMESPEC_FORMAT))
    except (OverflowError, ValueError):  # digits that are no time: a name that nobody's clock gave
        return 0.0


def _first_header(directory: Path) -> Header | None:
    journal = RunPaths(directory).journal
    try:
        for writer in writers(journal):
            first = next(read_writer(journal / writer), None)
            if type(first) is Entry and type(first.record) is Header:
                return first.record
    except OSError:  # reading it whole will say so, where it matters
        return None
    return None


def _parts(wandb_dir: Path, run_id: str) -> Iterator[Part]:
    """Yield the newest part of a run, and the parts that it continues, as far as they are still there."""
    directories = _directories(wandb_dir, run_id)
    while directories:
        directory = directories.pop(0)
        part = _part(directory)
        yield part
        start = part.replay.start
        if start is None:
            continue
        # What is newer than the part it continues was begun in between and is not of this chain.
        names = [one.name for one in directories]
        previous = None if start.previous is None else os.path.basename(os.path.normpath(start.previous))
        directories = directories[names.index(previous) :] if previous in names else []


def _part(directory: Path) -> Part:
    replay = Replay()
    try:
        damage = _fold(RunPaths(directory).journal, replay)
    except (OSError, JournalError) as error:
        replay, damage = Replay(), str(error)
    hidden = replay.exit is not None and replay.exit.exit_code is None
    exit_code = _exit_status(directory) if hidden else None
    return Part(where=directory.name, replay=replay, damage=damage, exit_code=exit_code)


def _fold(journal: Path, replay: Replay) -> str | None:
    """Feed a journal into a replay; return the first damage beyond a torn end.

    Raises:
        JournalError: a header is whole and not understood: a newer format, of which nothing may be guessed.
    """
    damage: str | None = None
    for entry in read(journal) if writers(journal) else ():
        if type(entry) is Entry:
            replay.feed(entry.writer, entry.record)
        elif type(entry) is Damage and entry.kind != "torn":
            place = f"{entry.writer}/{entry.segment}, byte {entry.offset}"
            if entry.kind == "unreadable" and not entry.offset:
                raise JournalError(f"{place}: {entry.reason}")
            damage = damage or f"{place}: {entry.reason}"
    replay.finish()
    return damage


def _exit_status(directory: Path) -> int | None:
    try:
        status = RunPaths(directory).exit_status.read_bytes()
    except FileNotFoundError:
        return None
    return status[0] if len(status) == 1 else None
