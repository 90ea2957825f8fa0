"""What became of everything a run was given.

Law: accepted = delivered + pending + rejected, for the run and for each transport; nothing is ever uncounted.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from corelib.pure.outcomes import Ledger

__all__ = ["Receipt"]


@frozen(kw_only=True)
class Receipt:
    """The account of a run, in rows, that is in `log()` calls.

    `accepted` are the calls that log() took; `rejected` those that could not be written, by reason in `reasons`;
    `pending` those that are in the journal and not yet with every transport; `delivered` the rest: what nobody was to
    carry, as offline, is where it belongs when it is recorded, and a later `sync` counts anew. `invalid` counts
    calls whose value was refused with a warning instead of an error, as disabled runs do; they were never accepted.
    `journal` is the journal's directory, or None where nothing is written.
    """

    run_id: str
    state: str
    exit_code: int | None
    accepted: int
    delivered: int
    pending: int
    rejected: int
    reasons: Mapping[str, int] = field(factory=dict)
    invalid: int = 0
    journal: str | None = None
    transports: Mapping[str, Ledger] = field(factory=dict)

    def __str__(self) -> str:
        """Return the account as one sentence."""
        text = f"{self.accepted} row{'' if self.accepted == 1 else 's'} accepted"
        if not (self.journal or self.transports or self.pending):
            return f"{text}, and kept nowhere: the run is disabled."
        is_journal_all = not (self.transports or self.pending)
        text += f": {self.delivered} {'recorded' if is_journal_all else 'delivered'}"
        if self.pending:
            text += f", {self.pending} pending"
        if self.rejected:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
            text += f", {self.rejected} rejected ({reasons})"
        return f"{text}. Journal: {self.journal}" if self.journal else f"{text}."
