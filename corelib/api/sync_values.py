"""The words of a sync: what is asked for, how far it is, and what became of it.

Law: these are values. What cannot be meant is refused before anything is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from attrs import frozen

from corelib.errors import UsageError
from corelib.pure.ids import check_entity, check_project, check_run_id
from corelib.pure.outcomes import Ledger

__all__ = ["SyncInterrupted", "SyncProgress", "SyncRequest", "SyncResult"]

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
            raise UsageError(
                "Name the runs to sync, by directory or id, or say all of them: --all, or everything=True in Python."
            )
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


class SyncInterrupted(KeyboardInterrupt):
    """A sync was interrupted. What is under way is answered yet, or comes again with the next sync.

    Args:
        results: what had become of each run by then.
    """

    def __init__(self, results: Sequence[SyncResult]) -> None:
        super().__init__("the sync was interrupted")
        self.results = list(results)
