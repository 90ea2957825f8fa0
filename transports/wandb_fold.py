"""What the records of a run amount to, with the records that each row is made of.

Law: the rows, the config and the summary are those of `corelib.pure.replay`, which also reading and local resume
use. A record counts once, however often it comes; records of one writer come in the order of their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from corelib.pure.metrics import MetricDefinition
from corelib.pure.records import Header, MetricDefined, Record, Row
from corelib.pure.replay import HistoryRow, Replay
from transports.wandb_stream import Key

__all__ = ["FoldedRow", "RunFold"]


class FoldedRow(NamedTuple):
    """A finished row, and the records to name if it is refused."""

    row: HistoryRow
    keys: tuple[Key, ...]


class RunFold:
    """The fold of the records of one run."""

    def __init__(self) -> None:
        self.replay = Replay()
        self._definitions: dict[str, MetricDefinition] = {}
        self._last_seq: dict[str, int] = {}
        self._open: dict[str, list[Key]] = {}

    @property
    def definitions(self) -> Sequence[MetricDefinition]:
        """What holds of every defined metric."""
        return tuple(self._definitions.values())

    @property
    def summary(self) -> Mapping[str, Any]:
        """The summary as it stands, as the server keeps it: a None that was logged is absent, and a NaN null where it
        was set by hand. Its `_step` is the greatest there was, where a resumed run would go on.
        """
        summary = self.replay.published_summary
        if self.replay.rows:
            summary["_step"] = self.replay.last_step
        return summary

    def is_known(self, writer: str, record: Record) -> bool:
        """Whether this record was taken before."""
        return record.seq <= self._last_seq.get(writer, -1)

    def header(self, writer: str, header: Header) -> None:
        """Take the header of a writer; it may come with every batch."""
        self.replay.feed(writer, header)

    def feed(self, writer: str, record: Record) -> list[FoldedRow]:
        """Take a record; return the rows that it finishes.

        A row names the records of the open row that it was, and the one that finished it. Where that one begins
        another row, it is named all the same: better one too many than a refusal that is not counted.
        """
        self._last_seq[writer] = record.seq
        rows = self.replay.feed(writer, record)
        key = (writer, record.seq)
        if type(record) is Row:
            if record.late:
                return [FoldedRow(row, (key,)) for row in rows]
            return self._with_keys(writer, key, rows, is_closed=record.commit)
        if type(record) is MetricDefined:
            self._define(record)
        return []

    def finish(self, key: Key | None) -> list[FoldedRow]:
        """Close the rows that are still open, on behalf of the record that ends the run."""
        keys = () if key is None else (key,)
        self._open.clear()
        return [FoldedRow(row, keys) for row in self.replay.finish()]

    def forget_open_keys(self) -> None:
        """Take what came so far as answered: later refusals do not name it."""
        for keys in self._open.values():
            keys.clear()

    def _with_keys(
        self, writer: str, key: Key, rows: Iterable[HistoryRow], *, is_closed: bool
    ) -> list[FoldedRow]:
        held = self._open.get(writer, [])
        folded = [FoldedRow(row, (*held, key)) for row in rows]
        if is_closed:
            self._open.pop(writer, None)
        else:
            self._open[writer] = [key] if folded else [*held, key]
        return folded

    def _define(self, record: MetricDefined) -> None:
        definition = MetricDefinition(
            name=record.name,
            step_metric=record.step_metric,
            step_sync=record.step_sync,
            hidden=record.hidden,
            summary=record.summary,
        )
        earlier = self._definitions.get(record.name)
        if earlier is not None and not record.overwrite:
            definition = definition.after(earlier)
        self._definitions[record.name] = definition
