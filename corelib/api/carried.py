"""The run and those who carry it: couriers, what the backend calls the run, and the account of what was delivered.

Law: a courier is told and asked, never waited for but at the end, and then no longer than was said. What it has to say
arrives on a thread of its own and changes nothing that was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corelib.api.no_effect import NoEffectCalls
from corelib.api.recording import journal_directory
from corelib.pure.lifecycle import RUNNING
from corelib.pure.receipt import Receipt

if TYPE_CHECKING:
    from corelib.api.identity import Plan
    from corelib.journal import JournalWriter
    from corelib.pure.outcomes import Ledger, RemoteAddress
    from corelib.shell.courier import AnyCourier
    from corelib.shell.report import Report

__all__ = ["Carried"]


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
            import _thread

            self._report.warn("The server asks to stop this run: the program is interrupted.", once="stop")
            _thread.interrupt_main()

    @property
    def entity(self) -> str:
        """The entity (user or team), as the server calls it where it has answered; "" where none is known."""
        return (self._remote.entity if self._remote else None) or super().entity

    @property
    def url(self) -> str | None:
        """The run's page, or None where no server shows one."""
        return (self._remote.url if self._remote else None) or super().url

    def _abandon_couriers(self) -> None:
        """Let go of them in a forked child."""
        for courier in self._couriers:
            courier.abandon()
        self._couriers = []

    def _close_couriers(self, timeout: float | None) -> Mapping[str, Ledger]:
        """Have delivered what is there, within the time; what is left is pending, and nothing of it is lost."""
        if not self._couriers:
            return {}
        from corelib.shell.courier import close_all

        ledgers = close_all(self._couriers, self.settings.finish_timeout if timeout is None else timeout)
        written = self._journal.records if self._journal is not None else 0
        names = (courier.name for courier in self._couriers)
        return {name: ledger.including(written) for name, ledger in zip(names, ledgers, strict=True)}

    def _account(self, transports: Mapping[str, Ledger], exit_code: int | None) -> Receipt:
        """Return where the rows are; of several transports, the one that is furthest behind counts."""
        reasons = dict(self._reasons)
        written = self._accepted - sum(reasons.values())
        ledgers = transports.values()
        refusing = max(ledgers, key=lambda one: one.rows.rejected, default=None)
        for reason, rows in refusing.rows.reasons.items() if refusing is not None else ():
            reasons[reason] = reasons.get(reason, 0) + rows
        rejected = sum(reasons.values())
        settled = min((one.rows.delivered + one.rows.rejected for one in ledgers), default=written)
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
