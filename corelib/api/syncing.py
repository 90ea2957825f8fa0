"""`sync`: deliver what runs have recorded, as often as one likes, with the same result.

Law: any set of runs, in any order, finished, crashed or still running, converges on the same backend state. Each run
directory is delivered by the one delivery there is (`corelib.shell.delivery`), behind its own cursor and lock. The
parts of a run follow each other: a part waits until those before it are delivered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import frozen

from corelib.api.sync_selection import chosen_chains, chosen_directories
from corelib.errors import UsageError
from corelib.ports import Address, Transport
from corelib.pure.ids import check_entity, check_project, check_run_id
from corelib.pure.key_scope import is_server, server_of
from corelib.pure.outcomes import Ledger
from corelib.pure.resolve import resolve
from corelib.segments import run_directories
from corelib.shell.gather import gather
from corelib.shell.keys import search_key
from corelib.shell.report import Report
from corelib.shell.shipment import Destination, NewAddress, Shipment

if TYPE_CHECKING:
    from corelib.pure.resolve import Resolution
    from corelib.pure.settings import Settings
    from corelib.pure.sources import Identity as Names
    from corelib.shell.delivery import Delivery
    from corelib.shell.session import Session
    from corelib.shell.survey import Part

__all__ = ["SyncProgress", "SyncRequest", "SyncResult", "sync"]

_LOOK_EVERY_S: Final = 0.1
_FOR_EVER_S: Final = 1e9


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
    run_id: str | None = None
    project: str | None = None
    entity: str | None = None
    dry_run: bool = False
    jobs: int = 1
    patience_s: float | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if isinstance(self.paths, (str, os.PathLike)):
            raise UsageError(f"paths takes a list of runs: [{os.fspath(self.paths)!r}].")
        if not self.paths and not self.everything:
            raise UsageError("Name the runs to sync: their directories or ids, or all of them.")
        if self.jobs < 1:
            raise UsageError(f"A sync needs at least one job, and was given {self.jobs}.")
        if self.patience_s is not None and not 0 <= self.patience_s < _FOR_EVER_S:
            raise UsageError(f"Patience is a number of seconds, and not {self.patience_s}.")
        for check, value in (
            (check_run_id, self.run_id),
            (check_project, self.project),
            (check_entity, self.entity),
        ):
            if value is not None:
                check(value)


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
    destinations = _destinations(request, settings, _Account(names, session))
    patience_s = settings.finish_timeout if request.patience_s is None else request.patience_s
    office = _Office(request, report, patience_s, progress)
    return office.deliver([(chain, destination) for chain in chains for destination in destinations])


def _all_runs(data_directory: str) -> list[Path]:
    root = Path(os.path.realpath(data_directory))
    return [path for path in run_directories(root) if (path / "journal").is_dir()]


def _destinations(request: SyncRequest, settings: Settings, account: _Account) -> list[Destination]:
    """Return where to deliver to.

    Raises:
        UsageError: nobody said, or there is no such transport.
    """
    said = settings.transport if request.transport is None else request.transport
    if said is None and settings.base_url is not None:
        said = "http"
    if said is None:
        raise UsageError(
            "Nobody said where to sync to: name a transport, as file:///mnt/backup, or set base_url."
        )
    specs = list(said) if isinstance(said, (list, tuple)) else [said]
    new = NewAddress(run_id=request.run_id, project=request.project, entity=request.entity)
    resolution = account.resolution({} if request.transport is None else {"transport": said})
    return [Destination(spec, account.server(spec, resolution), new) for spec in specs]


class _Account:
    """Knows the server that a transport is for, and the key that goes with it."""

    def __init__(self, names: Names, session: Session) -> None:
        self._names = names
        self._session = session

    def server(self, spec: object, resolution: Resolution) -> Address:
        """Return the server of a destination, with its own key and no other's, as `corelib.pure.key_scope` says."""
        base_url, app_url = resolution.settings.base_url, resolution.settings.app_url
        url = server_of(spec, base_url)
        search = search_key(resolution, url=url)
        if is_server(spec) and url != base_url:
            # The pages of another server are not those of this one.
            base_url, app_url = url, self.resolution({"base_url": url}).settings.app_url
        return Address(
            url="",
            wandb_dir="",
            base_url=base_url,
            app_url=app_url,
            key=search.key.key if search.key is not None else None,
        )

    def resolution(self, said: dict[str, Any]) -> Resolution:
        gathered = gather(self._names, settings=said, login=self._session.login, setup=self._session.setup)
        return resolve(gathered.layers, gathered.problems)


class _UnderWay:
    """One run directory on its way to one destination."""

    def __init__(self, delivery: Delivery, shipment: Shipment) -> None:
        self.delivery = delivery
        self.shipment = shipment
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
        cursor = self.shipment.cursor
        try:
            return os.stat(cursor.path).st_mtime_ns if cursor is not None else 0
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

    def deliver(self, jobs: Sequence[tuple[tuple[Part, ...], Destination]]) -> list[SyncResult]:
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

    def _chain(self, chain: tuple[Part, ...], destination: Destination) -> SyncResult:
        ledgers: list[Ledger] = []
        reason = ""
        for part in chain:
            ledger, why = self._part(part, destination, waits=bool(reason))
            ledgers.append(ledger)
            reason = reason or (why if ledger.pending else "")
        last = chain[-1]
        return SyncResult(
            run_id=self._request.run_id or last.run_id,
            project=self._request.project or (last.start.project if last.start else None),
            state=last.state,
            transport=destination.label,
            directories=tuple(str(part.directory) for part in chain),
            ledger=_sum(ledgers),
            reason=reason,
        )

    def _part(self, part: Part, destination: Destination, *, waits: bool) -> tuple[Ledger, str]:
        """Deliver one part; return its account, and why something of it is pending.

        Args:
            part: the part.
            destination: where to.
            waits: something before it is pending, so that its turn has not come.
        """
        if part.start is None or part.header is None:
            lost = part.damage or "the beginning of the run is not there"
            # How many records there were is lost with it; where there were any, it is not nothing.
            written = max(part.written, int(part.damage is not None))
            return Ledger(accepted=written, pending=written), f"{part.directory.name}: {lost}"
        if part.damage is not None:
            self._report.warn(
                f"run {part.run_id}: what is damaged in {part.directory.name} cannot be delivered "
                f"({part.damage}); `corelib verify` names it all."
            )
        transport = destination.transport(part)
        if transport.capabilities.is_journal:
            return Ledger(accepted=part.written, delivered=part.written), ""
        shipment = Shipment(part, part.header, part.start, destination)
        if self._request.dry_run:
            return shipment.recorded(), "not sent: this is a dry run"
        if waits or self._stopped:
            return shipment.recorded(), "what comes before it is pending"
        if part.is_running and shipment.is_under_way:
            return shipment.recorded(), "the running program delivers it"
        return self._carry(shipment, transport), "the destination did not take it: try again later"

    def _carry(self, shipment: Shipment, transport: Transport) -> Ledger:
        def tell(text: str) -> None:
            self._report.warn(f"run {shipment.run.run_id}: {text}")

        delivery = shipment.delivery(transport, tell)
        delivery.ask_to_close(_FOR_EVER_S)
        one = _UnderWay(delivery, shipment)
        with self._lock:
            self._under_way.append(one)
            if self._stopped:
                delivery.ask_to_close(0.0)
        try:
            delivery.carry()
        finally:
            with self._lock:
                self._under_way.remove(one)
        # Of a damaged journal less can be read than was written: what was drained is all there is.
        return delivery.ledger if delivery.is_drained else delivery.ledger.including(shipment.written)


def _progress(one: _UnderWay) -> SyncProgress:
    delivery, ledger = one.delivery, one.delivery.ledger
    settled = ledger.delivered + ledger.rejected
    return SyncProgress(
        one.shipment.run.run_id, delivery.name, settled, one.shipment.written, delivery.settled_bytes
    )


def _sum(ledgers: Iterable[Ledger]) -> Ledger:
    reasons: dict[str, int] = {}
    accepted = delivered = pending = 0
    for one in ledgers:
        accepted += one.accepted
        delivered += one.delivered
        pending += one.pending
        for reason, count in one.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return Ledger(accepted=accepted, delivered=delivered, pending=pending, reasons=reasons)
