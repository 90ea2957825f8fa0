"""`sync`: deliver what runs have recorded, as often as one likes, with the same result.

Law: any set of runs, in any order, finished, crashed or still running, converges on the same backend state. Each run
directory is delivered by the one delivery there is (`corelib.shell.delivery`), behind its own cursor and lock; the parts
of a run follow each other, and a part waits until those before it are delivered. Nothing is decided here but that order.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import field, frozen

from corelib.api.sync_selection import chosen_chains, chosen_directories
from corelib.errors import JournalError, UsageError
from corelib.ports import RunRef
from corelib.pure.ids import check_entity, check_project, check_run_id
from corelib.pure.outcomes import Ledger
from corelib.pure.resolve import resolve
from corelib.segments import run_directories
from corelib.shell.cursor import CursorFile, is_delivering
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.delivery import Delivery
from corelib.shell.gather import gather
from corelib.shell.readdressed import Readdressed, start_at
from corelib.shell.report import Report
from corelib.shell.source import CompletedSource, ResumableSource
from corelib.shell.survey import Part
from corelib.shell.wiring import destination_name, load_transport, transport_name

if TYPE_CHECKING:
    from corelib.pure.settings import Settings
    from corelib.pure.sources import Identity as Names
    from corelib.shell.session import Session

__all__ = ["SyncProgress", "SyncRequest", "SyncResult", "sync"]

_LOOK_EVERY_S: Final = 0.1
_FOR_EVER_S: Final = 1e9
_CRASHED: Final = 1  # the exit code of a process that died without a word


@frozen(kw_only=True)
class SyncRequest:
    """What is to be delivered, and where to.

    Args:
        paths: run directories, directories that hold some, names of run directories, run ids, or "latest".
        everything: all runs of the core's directory.
        transport: the destination: a transport's name, a URL or an object; None: as the settings say, the setting
            transport first, then the server base_url.
        run_id, project, entity: another address than the run was recorded with; an id for a single run only.
        dry_run: deliver nothing, and say what would be.
        jobs: how many runs are delivered at a time.
        patience_s: give a run up when nothing of it could be delivered for so many seconds; by default finish_timeout.

    Raises:
        UsageError: nothing or too much is named, or a value cannot be one.
    """

    paths: Sequence[str | os.PathLike[str]] = ()
    everything: bool = False
    transport: Any = None
    run_id: str | None = field(default=None)
    project: str | None = None
    entity: str | None = None
    dry_run: bool = False
    jobs: int = 1
    patience_s: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not self.paths and not self.everything:
            raise UsageError("Name the runs to sync: their directories or ids, or all of them.")
        if self.jobs < 1:
            raise UsageError(f"A sync needs at least one job, and was given {self.jobs}.")
        if self.patience_s is not None and not 0 <= self.patience_s < _FOR_EVER_S:
            raise UsageError(f"Patience is a number of seconds, and not {self.patience_s}.")
        for check, value in ((check_run_id, self.run_id), (check_project, self.project), (check_entity, self.entity)):
            if value is not None:
                check(value)

    @property
    def readdresses(self) -> bool:
        """Whether the runs go to another address than they were recorded with."""
        return any(value is not None for value in (self.run_id, self.project, self.entity))


class SyncResult(NamedTuple):
    """What became of one run at one destination.

    Args:
        run_id: the run, as it is called there.
        project: its project there; None where its beginning is lost.
        state: running, finished, failed or crashed; empty where no run ever began.
        transport: what the destination is called.
        directories: the run directories that make up the run, in the order of delivery.
        ledger: its records and where they are; in a dry run, what would be sent is pending.
        reason: why something is pending, where that is known.
    """

    run_id: str
    project: str | None
    state: str
    transport: str
    directories: tuple[str, ...]
    ledger: Ledger
    reason: str = ""

    @property
    def outcome(self) -> str:
        """delivered, pending or rejected."""
        if self.ledger.pending:
            return "pending"
        return "rejected" if self.ledger.rejected else "delivered"


class SyncProgress(NamedTuple):
    """How far a run directory under way has come. `settled` of `written` records have been answered for good.

    Args:
        run_id: the run.
        transport: what the destination is called.
        settled: how many records have been answered for good, by this sync and those before it.
        written: how many there are.
        settled_bytes: the encoded size of the settled ones.
    """

    run_id: str
    transport: str
    settled: int
    written: int
    settled_bytes: int


def sync(
    names: Names,
    session: Session,
    request: SyncRequest,
    progress: Callable[[Sequence[SyncProgress]], None] | None = None,
) -> list[SyncResult]:
    """Deliver runs; return what became of each, in the order of their beginning.

    Args:
        names: whose directories and environment variables are meant.
        session: the session whose settings apply.
        request: what, and where to.
        progress: called about ten times a second with what is under way.

    Raises:
        UsageError: a name means no run, or there is no such destination.
        JournalError: a directory holds no journal.
        OSError: a directory cannot be read.
    """
    gathered = gather(names, login=session.login, setup=session.setup)
    settings = resolve(gathered.layers, gathered.problems).settings
    report = Report(names.name, silent=settings.silent, quiet=settings.quiet)
    directories = chosen_directories(request.paths, gathered.data_directory)
    if request.everything:
        directories += _all_runs(gathered.data_directory)
    chains = chosen_chains(directories, settings.host)
    if request.run_id is not None and len(chains) > 1:
        raise UsageError(f"One id is for one run, and {len(chains)} runs are to be delivered.")
    destinations = _destinations(request, settings)
    patience_s = settings.finish_timeout if request.patience_s is None else request.patience_s
    office = _Office(request, report, patience_s, progress)
    return office.deliver([(chain, destination) for chain in chains for destination in destinations])


def _all_runs(data_directory: str) -> list[Path]:
    root = Path(os.path.realpath(data_directory))
    return [path for path in run_directories(root) if (path / "journal").is_dir()]


def _destinations(request: SyncRequest, settings: Settings) -> list[Any]:
    """Return where to deliver to.

    Raises:
        UsageError: nobody said.
    """
    said = settings.transport if request.transport is None else request.transport
    if said is None:
        said = settings.base_url
    if said is None:
        raise UsageError("Nobody said where to sync to: name a transport, as file:///mnt/backup, or set base_url.")
    return list(said) if isinstance(said, (list, tuple)) else [said]


class _UnderWay:
    """One run directory on its way to one destination."""

    def __init__(self, delivery: Delivery, cursor: CursorFile | None, part: Part, written: int) -> None:
        self.delivery = delivery
        self.part = part
        self.written = written
        self._cursor = cursor
        self._seen: tuple[int, int] = (-1, -1)
        self._since = monotonic()

    def idle_s(self) -> float:
        """Return for how many seconds nothing has been delivered, by us or by who holds the lock."""
        ledger = self.delivery.ledger
        seen = (ledger.delivered + ledger.rejected, self._cursor_time())
        if seen != self._seen:
            self._seen, self._since = seen, monotonic()
        return monotonic() - self._since

    def _cursor_time(self) -> int:
        try:
            return os.stat(self._cursor.path).st_mtime_ns if self._cursor is not None else 0
        except OSError:  # there is none yet
            return 0


class _Office:
    """Delivers chains, several at a time, and watches that each of them goes on or ends."""

    def __init__(
        self,
        request: SyncRequest,
        report: Report,
        patience_s: float,
        progress: Callable[[Sequence[SyncProgress]], None] | None,
    ) -> None:
        self._request = request
        self._report = report
        self._patience_s = patience_s
        self._progress = progress
        self._under_way: list[_UnderWay] = []
        self._lock = Lock()
        self._stopped = False

    def deliver(self, jobs: Sequence[tuple[tuple[Part, ...], Any]]) -> list[SyncResult]:
        """Deliver chains to destinations, and return the results in the same order."""
        pool = ThreadPoolExecutor(self._request.jobs, thread_name_prefix="corelib-sync")
        try:
            futures = [pool.submit(self._chain, *job) for job in jobs]
            self._watch(futures)
            return [future.result() for future in futures]
        finally:
            # After an interrupt nothing new is begun, and what is under way ends with the answer it waits for.
            self._stop()
            pool.shutdown(cancel_futures=True)

    def _watch(self, futures: Iterable[Future[SyncResult]]) -> None:
        waiting = set(futures)
        while waiting:
            _, waiting = wait(waiting, _LOOK_EVERY_S, FIRST_COMPLETED)
            with self._lock:
                under_way = list(self._under_way)
            for one in under_way:
                if one.idle_s() >= self._patience_s:
                    one.delivery.ask_to_close(0.0)
            if self._progress is not None:
                self._progress([_progress(one) for one in under_way])

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            for one in self._under_way:
                one.delivery.ask_to_close(0.0)

    # -------------------------------------------------------------------------------------------------- one chain

    def _chain(self, chain: tuple[Part, ...], spec: Any) -> SyncResult:
        ledgers: list[Ledger] = []
        reasons: list[str] = []
        for part in chain:
            ledger, reason = self._part(part, spec, behind=bool(reasons))
            ledgers.append(ledger)
            reasons += [reason] if reason else []
        last = chain[-1]
        return SyncResult(
            run_id=self._request.run_id or last.run_id,
            project=self._request.project or (last.start.project if last.start else None),
            state=last.state,
            transport=transport_name(spec),
            directories=tuple(str(part.directory) for part in chain),
            ledger=_sum(ledgers),
            reason=reasons[0] if reasons else "",
        )

    def _part(self, part: Part, spec: Any, *, behind: bool) -> tuple[Ledger, str]:
        """Deliver one part, or say why not. `behind`: a part before it is not delivered yet."""
        if part.start is None or part.header is None:
            lost = part.damage or ("its beginning is not there" if part.written else None)
            reason = "" if lost is None else f"{part.directory.name}: {lost}; ask `corelib verify`"
            return Ledger(accepted=part.written, pending=part.written), reason
        transport = load_transport(spec, str(part.directory.parent))
        if transport.capabilities.is_journal:
            return Ledger(accepted=part.written, delivered=part.written), ""
        run = self._address(part, part.start.project, part.start.entity)
        cursor = self._cursor(part, spec, run)
        written = part.written + (part.ending is None and not part.is_running)
        if self._request.dry_run or behind or self._stopped:
            return _recorded(cursor, run.run_id).including(written), "" if self._request.dry_run else "not begun"
        if part.is_running and cursor is not None and is_delivering(str(part.directory), self._name(spec, run)):
            ledger = _recorded(cursor, run.run_id).including(written)
            return ledger, "the running program delivers it" if ledger.pending else ""
        ...
