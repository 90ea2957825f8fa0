"""Recording: from a `log()` call to a line in the journal.

Law: `log()` returns after its row is in the kernel, costs microseconds, and raises only for a wrong call. No failure
of tracking raises, blocks or grows memory here; it is counted and said once. (With `errors="raise"`, for tests, it
raises.)

One lock covers step, journal and summary, so rows of many threads are never torn or mixed. It is reentrant: a signal
handler may log while a call is under way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import RLock
from time import time
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from corelib.api.identity import Identity, Plan
from corelib.errors import JournalError, UsageError
from corelib.journal import JournalWriter
from corelib.pure.history import Assembled, Assembler, Steps, check_step
from corelib.pure.ids import ENTROPY_BYTES, generate_run_id
from corelib.pure.lifecycle import RUNNING, check_call
from corelib.pure.records import ConfigChange, Record, Row, SummaryChange
from corelib.pure.summary import Reduction
from corelib.pure.values import row_tree

if TYPE_CHECKING:
    from corelib.shell.report import Report

__all__ = ["Recording", "journal_directory"]

_PLAIN: Final = frozenset({bool, float, int})
_TEXT: Final = frozenset({str})
_RESERVED: Final = frozenset({"", "_runtime", "_step", "_timestamp", "_wandb"})
_ROWS_AT_ONCE: Final = (
    256  # rows the summary reduces in one go; bounds both the memory and the share of slow calls
)
_MOST_REASONS: Final = 20  # distinct reasons of rejection that are told apart


class Recording(Identity):
    """The writing half of a run: step, journal, summary and the count of what was accepted and rejected."""

    __slots__ = (
        "_accepted",
        "_assembler",
        "_invalid",
        "_journal",
        "_last",
        "_lock",
        "_pending",
        "_plain",
        "_reasons",
        "_reduction",
        "_report",
        "_row",
        "_state",
        "_steps",
    )

    def __init__(self, plan: Plan, *, journal: JournalWriter | None, report: Report) -> None:
        """Begin to record; without a journal nothing is kept but the summary."""
        self._plan = plan
        self._lock = RLock()
        self._report = report
        self._journal = journal
        self._steps = Steps(plan.decision.starting_step)
        self._assembler = Assembler()
        self._reduction = Reduction()
        self._reduction.load(plan.decision.summary)
        self._pending: list[dict[str, Any]] = []
        self._last: tuple[int, float] | None = None
        self._accepted = 0
        self._invalid = 0
        self._reasons: dict[str, int] = {}
        self._state: str = RUNNING
        self._row: Callable[[float, int | None, dict[str, Any]], None] = (
            journal.row if journal else _keep_nothing
        )
        self._plain = plan.primary

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,  # noqa: ARG002  the reference's no-op
    ) -> None:
        """Record one row of values. When it returns, the row is in the kernel.

        Args:
            data: metric names (non-empty text) to values: numbers, texts, lists, nested dictionaries, arrays of any
                library.
            step: the step of the row; without it, the current one. Several calls with one step make one row.
            commit: whether the row is complete; by default, if no `step` is given.
            sync: accepted for the reference's sake, without effect.

        Raises:
            UsageTypeError: `data` is no mapping, a key is no text, a value cannot be recorded, `step` is no integer.
            UsageError: the run is finished, `step` is negative, or behind the current step under step_policy="error".
        """
        # The plain call, finite numbers under names, is decided by four set operations and written at once.
        # Everything else, and everything that goes wrong here, takes the general path, which equals this one (a
        # property test says so).
        if (
            step is None
            and commit is None
            and self._plain
            and type(data) is dict
            and _PLAIN.issuperset(map(type, data.values()))
            and _RESERVED.isdisjoint(data)
        ):
            try:
                total = sum(data.values())
                if total - total == 0:
                    with self._lock:
                        steps = self._steps
                        if not steps.open and self._plain:
                            now = time()
                            self._row(now, steps.step, data)
                            self._last = (steps.advance(), now)
                            self._accepted += 1
                            pending = self._pending
                            pending.append(data.copy())
                            if len(pending) >= _ROWS_AT_ONCE:
                                self._reduce()
                            return
            except (OSError, OverflowError, TypeError):
                pass
        self._log(data, step, commit)

    def _log(self, data: Mapping[str, Any], step: object, commit: bool | None) -> None:
        self._check("log")
        try:
            # Outside the lock: reading a value may take long, as from an accelerator, and is the caller's own time.
            number = check_step(step)
            values = row_tree(data)
        except UsageError as error:
            if not self.disabled or self._strict:
                raise
            with self._lock:
                self._invalid += 1
            self._report.warn(f"{error} A disabled run goes on without it.", once=f"invalid {type(error)}")
            return
        with self._lock:
            self._check("log")
            self._place(values, number, commit)

    def _place(self, values: dict[str, Any], number: int | None, commit: bool | None) -> None:
        """Give a valid call its step, write it and count it."""
        steps = self._steps
        before = steps.step, steps.open
        placed = steps.place(number, commit, self.settings.step_policy)
        if placed.late:
            self._report.warn(
                f"log() was given step {placed.step} when the run was at step {steps.step}: steps must be "
                f"monotonically increasing. The row was {'kept' if placed.keep else 'dropped'} "
                f"(step_policy={self.settings.step_policy!r}).",
                once="late step",
            )
        self._accepted += 1
        if not placed.keep:
            self._count_rejected("step behind the current one", 1)
            return
        step = placed.step if self._plan.primary or number is not None else None
        self._synchronise(values, step)
        try:
            row = self._append(Row, step=step, data=values, commit=placed.commit, late=placed.late)
        except UsageError:
            self._accepted -= 1
            steps.step, steps.open = before
            raise
        if row is not None:
            self._take(self._assembler.feed(row))  # type: ignore[arg-type]  # a Row went in

    def _synchronise(self, values: dict[str, Any], step: int | None) -> None:
        """Add the step metrics that definitions with step_sync ask for."""
        if self._reduction.synchronises:
            self._reduce()
            values.update(self._reduction.missing_steps(values, self._assembler.open_row(step)))

    def _take(self, rows: Sequence[Assembled]) -> None:
        for row in rows:
            self._last = (self._steps.step if row.step is None else row.step, row.time)
            self._pending.append(dict(row.data))
        if len(self._pending) >= _ROWS_AT_ONCE:
            self._reduce()

    def _reduce(self) -> None:
        rows, self._pending = self._pending, []
        if rows:
            self._reduction.absorb(rows)
        if self._last is not None:
            step, now = self._last
            self._reduction.stamp(step, self._runtime(now), rows[-1].get("_timestamp", now) if rows else now)

    # Writing.

    def _append(self, kind: type[Any], **values: Any) -> Record | None:
        """Journal one record; None if it could not be written, which is counted and said once."""
        now = time()
        if not self._plan.primary and self._journal is None and self._plan.directory is not None:
            self._open_own_segments(now)
        if self._journal is None:
            record: Record = kind(seq=0, time=now, **values)
            return record
        try:
            return self._journal.append(kind, time=now, **values)
        except OSError as error:
            self._fail(error, rows=1 if kind is Row else 0)
            return None

    def _fail(self, error: OSError, *, rows: int) -> None:
        reason = error.strerror or str(error)
        if rows:
            self._count_rejected(reason, rows)
        text = (
            f"The journal in {self.sync_dir} cannot be written: {reason}. The run goes on; what cannot be recorded is "
            "counted in run.receipt. What was recorded before is safe."
        )
        if self._strict:
            raise JournalError(text) from error
        self._report.warn(text, once="journal")

    def _count_rejected(self, reason: str, rows: int) -> None:
        if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
            reason = "other"
        self._reasons[reason] = self._reasons.get(reason, 0) + rows

    @property
    def _strict(self) -> bool:
        return self.settings.errors == "raise"

    def _check(self, call: str) -> None:
        check_call(self._state, call, self.id)

    def _runtime(self, now: float) -> float:
        return max(now - self._plan.start_time, 0.0) + self._plan.decision.runtime_offset

    def _record_config(self, update: dict[str, Any], remove: tuple[str, ...]) -> None:
        with self._lock:
            self._check("config")
            self._append(ConfigChange, update=update, remove=remove)

    def _record_summary(self, update: dict[str, Any], remove: tuple[str, ...]) -> None:
        with self._lock:
            self._check("summary")
            self._reduce()
            self._append(SummaryChange, update=update, remove=remove)
            self._reduction.change(update, remove)

    def _read_summary(self) -> Mapping[str, Any]:
        with self._lock:
            self._reduce()
            return self._reduction.view()

    # Fork and spawn.

    def _become_secondary(self) -> None:
        """Become a secondary writer: the parent's journal, lock and ending are none of the child's business."""
        self._lock = RLock()
        if self._journal is not None:
            self._journal.abandon()
            self._journal = None
        self._plan = evolve(self._plan, primary=False)
        self._plain = False
        self._assembler = Assembler()
        self._steps.open = False
        self._accepted = self._invalid = 0
        self._reasons = {}
        self._row = _keep_nothing

    def _open_own_segments(self, now: float) -> None:
        """Give a child that logs a writer of its own. Where that fails, its rows are rejected and counted."""
        plan = self._plan
        try:
            self._journal = JournalWriter(
                journal_directory(plan),
                run_id=plan.run_id,
                writer=generate_run_id(os.urandom(ENTROPY_BYTES)),
                start_time=plan.start_time,
                now=now,
                host=plan.host,
                primary=False,
            )
        except OSError as error:
            self._fail(error, rows=0)


def journal_directory(plan: Plan) -> Path:
    """Return where the journal of a run lies."""
    return Path(plan.directory or os.curdir) / "journal"


def _keep_nothing(now: float, step: int | None, data: dict[str, Any]) -> None:  # noqa: ARG001  a journal's `row`
    """Stand in for a journal where nothing is written; as strict about keys as one."""
    if not _TEXT.issuperset(map(type, data)):
        message = "keys must be texts"
        raise TypeError(message)
