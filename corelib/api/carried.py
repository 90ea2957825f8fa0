"""The run and those who carry it: couriers, what the backend calls the run, and the account of what was delivered.

Law: a courier is told and asked, never waited for but at the end, and then no longer than was said. What it has to say
arrives on a thread of its own and changes nothing that was recorded. Numbers are those of the moment at which somebody
asks; what no courier of this process has delivered is not called delivered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve

from corelib.api.no_effect import NoEffectCalls
from corelib.api.recording import journal_directory
from corelib.pure.lifecycle import RUNNING
from corelib.pure.receipt import Receipt

if TYPE_CHECKING:
    from corelib.api.identity import Plan
    from corelib.journal import JournalWriter
    from corelib.pure.outcomes import Ledger, RemoteAddress
    from corelib.shell.closing import AnyCourier
    from corelib.shell.report import Report

__all__ = ["Carried"]


class _Share(NamedTuple):
    """What one run brings along, where several are waited for."""

    couriers: Sequence[AnyCourier]
    rows: int
    report: Report
    finish_timeout: float


class Carried(NoEffectCalls):
    """The part of a run that has to do with transports."""

    __slots__ = ("_couriers", "_name", "_remote")

    _name: str | None

    def __init__(self, plan: Plan, *, journal: JournalWriter | None, report: Report) -> None:
        """Begin without couriers."""
        super().__init__(plan, journal=journal, report=report)
        self._couriers: list[AnyCourier] = []
        self._remote: RemoteAddress | None = None

    def give_couriers(self, couriers: Sequence[AnyCourier]) -> None:
        """Take the couriers that carry the run. For `init()`."""
        self._couriers = list(couriers)
        # Now, because later there may be no file descriptor left to load anything with.
        import corelib.pure.alerts
        import corelib.shell.closing
        import corelib.shell.interrupt
        import corelib.shell.progress  # noqa: F401

    def take_remote(self, remote: RemoteAddress) -> None:
        """Take what the backend calls the run, and say once where people can look at it."""
        self._remote = remote
        if self._name is None:
            self._name = remote.name
        if remote.url:
            self._report.say(f"run {remote.name or self.id} is shown at {remote.url}", once="remote")

    def take_stop(self) -> None:
        """Interrupt the program, as somebody asked the backend for, unless the settings say otherwise."""
        if not self.settings.stoppable:
            self._report.warn(
                "The server asks to stop this run; stoppable=False, so it goes on.", once="stop"
            )
        elif self._state == RUNNING:
            from corelib.shell.interrupt import can_be_interrupted, interrupt

            if can_be_interrupted():
                text = "The server asks to stop this run: the program is interrupted."
            else:
                text = "The server asks to stop this run; the program takes no Ctrl-C, so it goes on: stop it yourself."
            self._report.warn(text, once="stop")
            interrupt()

    @property
    def entity(self) -> str:
        """The entity (user or team), as the server calls it where it has answered; "" where none is known."""
        return (self._remote.entity if self._remote else None) or super().entity

    @property
    def url(self) -> str | None:
        """The run's page, or None where no server shows one."""
        return (self._remote.url if self._remote else None) or super().url

    @property
    def _is_carried(self) -> bool:
        """Whether transports are fed with this run, by this process or by the one that began it."""
        return bool(self._couriers) or self._plan.carried

    def _abandon_couriers(self) -> None:
        """Let go of them in a forked child."""
        self._plan = evolve(self._plan, carried=self._is_carried)
        for courier in self._couriers:
            courier.abandon()
        self._couriers = []

    def _wait_for_couriers(self, others: Sequence[Carried], timeout: float | None) -> None:
        """Have delivered what there is, of all runs within the same time; what is left is pending, and not lost."""
        shares = [self._share(), *(run._share() for run in others)]  # noqa: SLF001  of the same class
        couriers = [courier for share in shares for courier in share.couriers]
        if not couriers:
            return
        from corelib.shell.closing import close_all
        from corelib.shell.progress import Progress

        reports = [share.report for share in shares]
        shown = [
            (courier, share.rows)
            for share in shares
            for courier in share.couriers
            if share.report.is_talkative
        ]
        progress = Progress(self._report.name, shown=bool(shown))
        if timeout is None:
            timeout = max(share.finish_timeout for share in shares)
        try:
            for report in reports:
                report.make_way = progress.end
            close_all(couriers, timeout, progress.watch(shown))
        except Exception as error:
            if self._strict:
                raise
            self._report.warn(
                f"Waiting for the delivery failed ({error}); what is recorded is in the journal."
            )
        finally:
            for report in reports:
                report.make_way = None
            progress.end()

    def _share(self) -> _Share:
        return _Share(self._couriers, self._written_rows(), self._report, self.settings.finish_timeout)

    def _written_rows(self) -> int:
        return self._accepted - sum(self._reasons.values())

    def _ledgers(self) -> dict[str, Ledger]:
        """Return where the records are, by transport, as far as is known just now."""
        written = self._journal.records if self._journal is not None else 0
        return {courier.name: courier.ledger.including(written) for courier in self._couriers}

    def _account(self, transports: Mapping[str, Ledger], exit_code: int | None) -> Receipt:
        """Return where the rows are; of several transports, the one that is furthest behind counts."""
        reasons = dict(self._reasons)
        written = self._written_rows()
        ledgers = transports.values()
        refusing = max(ledgers, key=lambda one: one.rows.rejected, default=None)
        for reason, rows in refusing.rows.reasons.items() if refusing is not None else ():
            reasons[reason] = reasons.get(reason, 0) + rows
        rejected = sum(reasons.values())
        unknown = 0 if self._plan.carried else written
        settled = min((one.rows.delivered + one.rows.rejected for one in ledgers), default=unknown)
        pending = min(max(written - settled, 0), self._accepted - rejected)
        return Receipt(
            run_id=self.id,
            state=self._state,
            exit_code=exit_code,
            accepted=self._accepted,
            delivered=self._accepted - rejected - pending,
            pending=pending,
            rejected=rejected,
            reasons=reasons,
            invalid=self._invalid,
            journal=str(journal_directory(self._plan)) if self._plan.directory else None,
            transports=transports,
        )
