"""Delivering chains of run directories, several at a time, and watching that each of them goes on or ends.

Law: a part waits until those before it are delivered. Every record that was written is accounted for, and what is
pending has a reason that says what to do. Nobody waits for a destination that is not there: it gets one whole patience,
and one attempt for each further run, as for each that is delivered already. An interrupt ends the wait and not the call
under way, whose thread is left to it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import evolve

from corelib.api.sync_reasons import (
    BROKEN,
    DELIVERED_BY_PROGRAM,
    DELIVERED_ELSEWHERE,
    INTERRUPTED,
    NOT_SENT,
    behind,
    damaged,
    forgetful,
    lost,
    not_taken,
    superseded,
    under_way,
)
from corelib.api.sync_selection import Chain
from corelib.api.sync_turns import has_begun, hindrance
from corelib.api.sync_values import SyncInterrupted, SyncProgress, SyncRequest, SyncResult
from corelib.ports import Transport
from corelib.pure.outcomes import Ledger, RowCount
from corelib.shell.report import Report
from corelib.shell.shipment import Destination, Shipment, accounted

if TYPE_CHECKING:
    from corelib.shell.delivery import Delivery
    from corelib.shell.survey import Part

__all__ = ["Account", "Job", "Office", "recorded"]

_LOOK_EVERY_S: Final = 0.1
_FOR_EVER_S: Final = 1e9
_GRACE_S: Final = 1.0  # what is under way when a sync is interrupted may end within this time


class Account(NamedTuple):
    """What became of one part.

    Args:
        ledger: its records, and where they are.
        why: why some are pending, or what else there is to say.
        holds_up: what continues it has to wait, for more of it may arrive.
    """

    ledger: Ledger
    why: str
    holds_up: bool = False


class Job(NamedTuple):
    """One chain on its way to one destination."""

    chain: Chain
    destination: Destination


class _UnderWay:
    """One run directory on its way to one destination."""

    def __init__(self, delivery: Delivery, shipment: Shipment, destination: Destination) -> None:
        self.delivery = delivery
        self.shipment = shipment
        self.destination = destination
        self._refusal = shipment.refusal()
        before = shipment.recorded()
        self._is_all_there = not (before.pending or before.rejected)
        self._seen: tuple[int, int] = (-1, -1)
        self._since = monotonic()

    @property
    def settled(self) -> int:
        """How many records have been answered for good, those of earlier deliveries included."""
        ledger = self.delivery.ledger
        return ledger.delivered + ledger.rejected

    def idle_s(self) -> float:
        """Return for how many seconds nothing has been delivered, by us or by who holds the lock."""
        seen = (self.settled, self._cursor_time())
        if seen != self._seen:
            self._seen, self._since = seen, monotonic()
        return monotonic() - self._since

    @property
    def refusal(self) -> str | None:
        """Why the run was refused for good, if the same is in its way now: it need not be said as often again."""
        hindrance, refusal = self.delivery.hindrance, self._refusal
        return refusal if hindrance is not None and refusal is not None and hindrance in refusal else None

    @property
    def is_needless(self) -> bool:
        """Whether all was delivered before, and who has it cannot be asked now."""
        return self._is_all_there and self.delivery.hindrance is not None

    @property
    def is_enough(self) -> bool:
        """Whether all is settled that a running program had written when the sync began: it may write for ever."""
        return self.shipment.part.is_running and self.settled >= self.shipment.written

    def _cursor_time(self) -> int:
        cursor = self.shipment.cursor
        try:
            return os.stat(cursor.path).st_mtime_ns if cursor is not None else 0
        except OSError:  # there is none yet
            return 0


class Office:
    """Delivers the jobs of one sync.

    Args:
        request: what was asked for.
        report: the voice of the sync.
        patience_s: give a run up when nothing of it could be delivered for so many seconds.
        progress: called about ten times a second with what is under way.
    """

    def __init__(
        self,
        request: SyncRequest,
        report: Report,
        patience_s: float,
        progress: Callable[[Sequence[SyncProgress]], None] | None = None,
    ) -> None:
        self._request = request
        self._report = report
        self._patience_s = patience_s
        self._progress = progress
        self._lock = Lock()
        self._waiting: deque[tuple[int, Job]] = deque()
        self._under_way: list[_UnderWay] = []
        self._accounts: dict[tuple[int, str], Account] = {}
        self._errors: dict[int, BaseException] = {}
        self._hopeless: set[int] = set()
        self._stopped = False

    def deliver(self, jobs: Sequence[Job]) -> list[SyncResult]:
        """Deliver all of them, and return the results in the same order.

        Raises:
            SyncInterrupted: Ctrl-C was pressed meanwhile.
            Exception: what kept a job from being done at all.
        """
        self._waiting.extend(enumerate(jobs))
        # Not a pool: the interpreter would wait at its end for a call that nobody can cut short.
        crew = [
            Thread(target=self._work, name="corelib-sync", daemon=True)
            for _ in range(min(self._request.jobs, len(jobs)))
        ]
        try:
            for thread in crew:
                thread.start()
            self._watch(crew)
        except KeyboardInterrupt:
            self._stop()
            deadline = monotonic() + _GRACE_S
            for thread in crew:
                thread.join(max(deadline - monotonic(), 0.0))
            raise SyncInterrupted([self._result(number, job) for number, job in enumerate(jobs)]) from None
        finally:
            self._stop()
        for _, error in sorted(self._errors.items()):
            raise error
        return [self._result(number, job) for number, job in enumerate(jobs)]

    def _watch(self, crew: Iterable[Thread]) -> None:
        for thread in crew:
            while thread.is_alive():
                thread.join(_LOOK_EVERY_S)
                self._look()

    def _look(self) -> None:
        with self._lock:
            under_way = list(self._under_way)
        for one in under_way:
            is_hopeless = id(one.destination) in self._hopeless and one.delivery.hindrance is not None
            is_over = is_hopeless or one.is_needless or one.refusal is not None or one.is_enough
            if is_over or one.idle_s() >= self._patience_s:
                one.delivery.ask_to_close(0.0)
        if self._progress is not None:
            self._progress([_progress(one) for one in under_way])

    def _stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._waiting.clear()
            for one in self._under_way:
                one.delivery.ask_to_close(0.0)

    def _work(self) -> None:
        while True:
            try:
                number, job = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._deliver(number, job)
            except BaseException as error:  # noqa: BLE001  it is raised where the results are waited for
                self._errors[number] = error
                self._waiting.clear()

    # -------------------------------------------------------------------------------------------------- one chain

    def _deliver(self, number: int, job: Job) -> None:
        waits_for: Part | None = None
        parts = job.chain.parts
        # What a part continues stands before it; where that is lost, or there is nothing, the part begins.
        heads = [id(part) for place, part in enumerate(parts) if not place or parts[place - 1].is_lost]
        # What has begun to arrive first: it goes on where it began, and the others behind it.
        turns = sorted(
            parts, key=lambda part: not (job.destination.is_server and has_begun(part, job.destination))
        )
        for part in turns:
            account = self._part(job, part, waits_for=waits_for, begins=id(part) in heads)
            self._accounts[number, str(part.directory)] = account
            waits_for = waits_for or (part if account.holds_up else None)

    def _result(self, number: int, job: Job) -> SyncResult:
        chain, destination = job
        accounts = [self._account_of(number, part, destination) for part in chain.parts]
        last = chain.parts[-1]
        reasons = [account.why for account in accounts if account.why and account.ledger.pending]
        notes = [account.why for account in accounts if account.why]
        return SyncResult(
            run_id=self._request.run_id or last.run_id,
            project=self._request.project or (last.start.project if last.start else None),
            state=last.state,
            transport=destination.label,
            directories=tuple(str(part.directory) for part in chain.parts),
            ledger=_sum([account.ledger for account in accounts]),
            reason=next(iter(reasons or notes), ""),
        )

    def _account_of(self, number: int, part: Part, destination: Destination) -> Account:
        found = self._accounts.get((number, str(part.directory)))
        if found is not None:
            return found
        with self._lock:
            under_way = [one for one in self._under_way if one.shipment.part is part]
        for one in under_way:
            if one.destination is destination:
                return Account(accounted(part, one.delivery.ledger, is_complete=False), INTERRUPTED)
        return recorded(part, destination, INTERRUPTED)

    # --------------------------------------------------------------------------------------------------- one part

    def _part(self, job: Job, part: Part, *, waits_for: Part | None, begins: bool) -> Account:
        """Deliver one part; return its account, and why something of it is pending.

        Args:
            job: what it belongs to.
            part: the part.
            waits_for: something before it that is pending, so that its turn has not come.
            begins: what it continues, if anything, is not delivered with it.
        """
        destination = job.destination
        # Whether a server has a key, and answers, does not matter where nothing is to be sent.
        is_asked = not (self._request.dry_run and destination.is_server)
        transport = destination.transport(part) if is_asked and not part.is_lost else None
        if transport is not None and transport.capabilities.is_journal:
            return Account(Ledger(accepted=part.written, delivered=part.written), "")
        if part.header is None or part.start is None:
            # Whoever says an id knows that what continues it becomes a run of its own.
            return recorded(part, destination, lost(part, job.chain), holds_up=self._request.run_id is None)
        # A copy on disk keeps both; who knows runs by their ids has room for one.
        is_server = destination.is_server if transport is None else transport.capabilities.create
        later = job.chain.superseded.get(str(part.directory)) if is_server else None
        if later is not None:
            return recorded(part, destination, superseded(part, later))
        if transport is None or self._request.dry_run:
            return recorded(part, destination, NOT_SENT)
        if self._stopped:
            return recorded(part, destination, INTERRUPTED)
        if waits_for is not None:
            return recorded(part, destination, behind(waits_for), holds_up=True)
        shipment = Shipment(part, part.header, part.start, destination, begins=begins)
        if part.is_running and shipment.is_under_way:
            return Account(
                shipment.recorded(), under_way(DELIVERED_BY_PROGRAM, shipment.courier_says()), holds_up=True
            )
        cursor = shipment.cursor
        if is_server and shipment.must_be_remembered and cursor is not None and cursor.place is None:
            return recorded(part, destination, forgetful(part), holds_up=True)
        if is_server:
            why = hindrance(shipment, destination)
            if why is not None:
                return recorded(part, destination, why, holds_up=True)
        return self._carry(shipment, transport, destination)

    def _carry(self, shipment: Shipment, transport: Transport, destination: Destination) -> Account:
        def tell(text: str) -> None:
            self._report.warn(f"run {shipment.run.run_id}: {text}")

        delivery = shipment.delivery(transport, tell)
        delivery.ask_to_close(_FOR_EVER_S)
        one = _UnderWay(delivery, shipment, destination)
        with self._lock:
            self._under_way.append(one)
            if self._stopped:
                delivery.ask_to_close(0.0)
        try:
            delivery.carry()
        finally:
            with self._lock:
                self._under_way.remove(one)
        ledger = delivery.ledger
        if one.is_enough:
            ledger = ledger.without_pending()  # what the program has written meanwhile is for the next sync
        found = accounted(shipment.part, ledger, is_complete=delivery.is_drained)
        if not found.pending:
            if delivery.hindrance is None:
                self._hopeless.discard(id(destination))
            return Account(found, "")
        if delivery.is_drained:
            return Account(found, damaged(found.pending, shipment.part))
        if one.refusal is not None:
            reasons = {**found.reasons, one.refusal: found.reasons.get(one.refusal, 0) + found.pending}
            return Account(evolve(found, pending=0, reasons=reasons), "")
        return Account(found, self._why(one), holds_up=True)

    def _why(self, one: _UnderWay) -> str:
        """Return why a delivery has ended before everything was delivered."""
        hindrance = one.delivery.hindrance
        if self._stopped:
            return INTERRUPTED
        if one.delivery.is_broken:
            return BROKEN
        if hindrance is None and one.shipment.is_under_way:
            return under_way(DELIVERED_ELSEWHERE, one.shipment.courier_says())
        if hindrance is not None:
            self._hopeless.add(id(one.destination))
        return not_taken(hindrance)


def recorded(part: Part, destination: Destination, why: str, *, holds_up: bool = False) -> Account:
    """Return the account of earlier deliveries of a part, without delivering anything.

    Args:
        part: the part.
        destination: where to.
        why: why the rest is pending.
        holds_up: whether what continues it waits for the rest.
    """
    if part.header is None or part.start is None:
        # How many records there were is lost with the beginning; where there were any, it is not nothing.
        written = max(part.written, int(part.damage is not None))
        return Account(Ledger(accepted=written, pending=written), why, bool(holds_up and written))
    ledger = Shipment(part, part.header, part.start, destination).recorded()
    return Account(ledger, why, holds_up) if ledger.pending else Account(ledger, "")


def _progress(one: _UnderWay) -> SyncProgress:
    run_id, delivery = one.shipment.run.run_id, one.delivery
    return SyncProgress(run_id, delivery.name, one.settled, one.shipment.written, delivery.settled_bytes)


def _sum(ledgers: Sequence[Ledger]) -> Ledger:
    return Ledger(
        accepted=sum(one.accepted for one in ledgers),
        delivered=sum(one.delivered for one in ledgers),
        pending=sum(one.pending for one in ledgers),
        reasons=_sums(one.reasons for one in ledgers),
        rows=RowCount(
            delivered=sum(one.rows.delivered for one in ledgers),
            reasons=_sums(one.rows.reasons for one in ledgers),
        ),
    )


def _sums(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in counts:
        for reason, count in one.items():
            sums[reason] = sums.get(reason, 0) + count
    return sums
