"""From records to the run they tell of: config, summary, rows, tags, ending.

Law: a run read back is the fold of its records in order; nothing else is consulted. Feeding any prefix gives the run
as it stood then. One fold serves reading, local resume and delivery, so the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from corelib.pure.history import Assembled, Assembler, flatten
from corelib.pure.metrics import MetricDefinition
from corelib.pure.records import (
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    Header,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    RunStart,
    SummaryChange,
    SystemMetrics,
)
from corelib.pure.summary import Reduction

__all__ = ["HistoryRow", "Replay"]

_ROWS_AT_ONCE: Final = 256  # how many rows the summary reduces in one go


class HistoryRow(NamedTuple):
    """A finished row of the run: its step, when it was logged (seconds since the epoch, and of runtime), its values."""

    step: int
    time: float
    runtime: float
    data: Mapping[str, Any]

    def flat(self) -> dict[str, Any]:
        """Return the row as users see it: nested keys as paths, with `_step`, `_runtime` and `_timestamp`."""
        row = flatten(self.data)
        row["_step"] = self.step
        row["_runtime"] = self.runtime
        row.setdefault("_timestamp", self.time)
        return row


class Replay:
    """Folds records, in the order of reading, into the state of the run."""

    def __init__(self) -> None:
        """Start with nothing known."""
        self.header: Header | None = None
        self.start: RunStart | None = None
        self.exit: Exit | None = None
        self.config: dict[str, Any] = {}
        self.name: str | None = None
        self.notes: str | None = None
        self.tags: tuple[str, ...] = ()
        self.files: dict[str, str] = {}
        self.alerts: list[Alert] = []
        self.preempting = False
        self.rows = 0
        self.last_step: int | None = None
        self.last_time = 0.0
        self._reduction = Reduction()
        self._pending: list[HistoryRow] = []
        self._assemblers: dict[str, Assembler] = {}

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as it stands, with `_step`, `_runtime`, `_timestamp` of the last row."""
        self._reduce()
        return self._reduction.view()

    @property
    def published_summary(self) -> dict[str, Any]:
        """The summary as servers are told it; see `Reduction.view`."""
        self._reduce()
        return self._reduction.view(published=True)

    @property
    def runtime(self) -> float:
        """Seconds that the run has run, those of the runs it continues included."""
        if self.exit is not None:
            return self.exit.runtime
        return self.runtime_at(self.last_time)

    def feed(self, writer: str, record: Record) -> list[HistoryRow]:
        """Take the next record; return the rows that it finishes."""
        self.last_time = max(self.last_time, record.time)
        if type(record) is Row:
            assembler = self._assemblers.get(writer)
            if assembler is None:
                assembler = self._assemblers[writer] = Assembler()
            return self._commit(assembler.feed(record))
        handler = self._HANDLERS[type(record)]
        if handler is not None:
            handler(self, record)
        return []

    def finish(self) -> list[HistoryRow]:
        """Close the rows that are still open, as the end of the run does, and return them."""
        return self._commit([row for assembler in self._assemblers.values() for row in assembler.finish()])

    def _commit(self, assembled: list[Assembled]) -> list[HistoryRow]:
        rows = [self._number(row) for row in assembled]
        self._pending += rows
        if len(self._pending) >= _ROWS_AT_ONCE:
            self._reduce()
        return rows

    def _number(self, row: Assembled) -> HistoryRow:
        following = self.start.starting_step if self.start else 0
        if self.last_step is not None:
            following = self.last_step + 1
        step = following if row.step is None else row.step
        self.last_step = max(step, following - 1)
        self.rows += 1
        return HistoryRow(step, row.time, self.runtime_at(row.time), row.data)

    def runtime_at(self, time: float) -> float:
        """Return how many seconds the run had run at `time`, those of the runs it continues included."""
        if self.header is None:
            return 0.0
        offset = self.start.runtime_offset if self.start else 0.0
        return max(time - self.header.start_time, 0.0) + offset

    def _reduce(self) -> None:
        rows, self._pending = self._pending, []
        if rows:
            self._reduction.absorb([row.data for row in rows])
            last = rows[-1]
            self._reduction.stamp(last.step, last.runtime, last.data.get("_timestamp", last.time))

    def _on_header(self, record: Header) -> None:
        if self.header is None or (record.primary and not self.header.primary):
            self.header = record

    def _on_start(self, record: RunStart) -> None:
        self.start = record
        self.config = dict(record.config)
        self.name, self.notes, self.tags = record.name, record.notes, record.tags
        self._reduction.load(record.summary)
        self.last_step = record.starting_step - 1 if record.starting_step else self.last_step

    def _on_config(self, record: ConfigChange) -> None:
        self.config.update(record.update)
        for key in record.remove:
            self.config.pop(key, None)

    def _on_summary(self, record: SummaryChange) -> None:
        self._reduce()
        self._reduction.change(record.update, record.remove)

    def _on_metric(self, record: MetricDefined) -> None:
        self._reduce()
        self._reduction.define(
            MetricDefinition(
                name=record.name,
                step_metric=record.step_metric,
                step_sync=record.step_sync,
                hidden=record.hidden,
                summary=record.summary,
                overwrite=record.overwrite,
            )
        )

    def _on_change(self, record: RunChange) -> None:
        self.name = self.name if record.name is None else record.name
        self.notes = self.notes if record.notes is None else record.notes
        self.tags = self.tags if record.tags is None else record.tags

    def _on_file(self, record: FileSaved) -> None:
        self.files[record.path] = record.policy

    def _on_alert(self, record: Alert) -> None:
        self.alerts.append(record)

    def _on_preempting(self, _record: Preempting) -> None:
        self.preempting = True

    def _on_exit(self, record: Exit) -> None:
        self.exit = record

    _HANDLERS: Final[dict[type[Any], Any]] = {
        Header: _on_header,
        RunStart: _on_start,
        ConfigChange: _on_config,
        SummaryChange: _on_summary,
        MetricDefined: _on_metric,
        RunChange: _on_change,
        FileSaved: _on_file,
        Alert: _on_alert,
        Preempting: _on_preempting,
        ConsoleLines: None,  # read as they stand, and of no consequence for anything else
        SystemMetrics: None,
        Exit: _on_exit,
    }
