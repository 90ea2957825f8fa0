"""The memory transport: keeps every record once, and answers as it is told to.

Law: what was delivered can be read at any time from any thread; a record under a known key changes nothing.
It is the transport to test with: a script of outcomes makes it fail as a backend fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import Any, Final

from corelib.ports import Address, Answer, Batch, Capabilities, Delivered, Outcome, Rejected, Retry, RunRef
from corelib.pure.lookup import Part, answer
from corelib.pure.records import Header, Record, RunStart
from corelib.pure.replay import HistoryRow, Replay

__all__ = ["MemoryTransport"]

_CAPABILITIES: Final = Capabilities(lookup=True, open=True, close=True)


class _Kept:
    """What is kept of one run directory."""

    def __init__(self, run: RunRef) -> None:
        self.run = run
        self.headers: dict[str, Header] = {}
        self.records: dict[tuple[str, int], Record] = {}

    def replay(self) -> tuple[Replay, list[HistoryRow]]:
        replay = Replay()
        for writer, header in self.headers.items():
            replay.feed(writer, header)
        rows: list[HistoryRow] = []
        for (writer, _), record in self.records.items():
            rows += replay.feed(writer, record)
        return replay, rows + replay.finish()


class MemoryTransport:
    """Keeps all records in memory.

    Args:
        outcomes: what `deliver` answers, call by call; an exception is raised. After the last one all is
            delivered. Records are kept as the outcome says: all, none, or those that are not rejected.
        openings: the same for `open`.
        capabilities: what it declares, for tests of the core.
    """

    def __init__(
        self,
        *,
        outcomes: Iterable[Outcome | Exception] = (),
        openings: Iterable[Outcome | Exception] = (),
        capabilities: Capabilities = _CAPABILITIES,
    ) -> None:
        self.capabilities = capabilities
        self._outcomes = iter(outcomes)
        self._openings = iter(openings)
        self._kept: dict[tuple[str, str | None], _Kept] = {}
        self._calls: list[str] = []
        self._batches: list[Batch] = []
        self._lock = Lock()

    @classmethod
    def from_address(cls, address: Address) -> MemoryTransport:  # noqa: ARG003  memory has no address
        """Make the transport for the name "memory"."""
        return cls()

    def open(self, run: RunRef, start: RunStart) -> Outcome:  # noqa: ARG002  the start comes as a record too
        """Answer as the script says."""
        with self._lock:
            self._calls.append("open")
            outcome = _scripted(self._openings)
            if isinstance(outcome, Delivered):
                self._of(run)
            return outcome

    def deliver(self, batch: Batch) -> Outcome:
        """Keep the records, or what the script leaves of them."""
        with self._lock:
            self._calls.append("deliver")
            self._batches.append(batch)
            outcome = _scripted(self._outcomes)
            if not isinstance(outcome, Retry):
                self._keep(batch, outcome)
            return outcome

    def lookup(self, run: RunRef, timeout: float) -> Answer:  # noqa: ARG002  memory answers at once
        """Answer from what was delivered."""
        with self._lock:
            self._calls.append("lookup")
            chain = list(self._chain(run.run_id))
            parts = [Part(where=kept.run.directory or "memory", replay=kept.replay()[0]) for kept in chain]
            return answer(run.run_id, parts)

    def close(self) -> None:
        """Note the call; what was kept stays, and more may come."""
        with self._lock:
            self._calls.append("close")

    @property
    def calls(self) -> list[str]:
        """The names of the methods called so far, in order."""
        with self._lock:
            return list(self._calls)

    @property
    def batches(self) -> list[Batch]:
        """Every batch that came, in order, the repeated and the failed ones included."""
        with self._lock:
            return list(self._batches)

    def records(self, run_id: str | None = None, writer: str | None = None) -> list[Record]:
        """Return the records kept, in order of arrival: of all runs and writers, or of those named."""
        with self._lock:
            return [
                record
                for kept in self._kept.values()
                for (author, _), record in kept.records.items()
                if run_id in {None, kept.run.run_id} and writer in {None, author}
            ]

    def rows(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the finished rows kept, as `history()` shows them: of all runs, or of the one named."""
        with self._lock:
            return [
                row.flat()
                for kept in self._kept.values()
                if run_id in {None, kept.run.run_id}
                for row in kept.replay()[1]
            ]

    def _of(self, run: RunRef) -> _Kept:
        return self._kept.setdefault((run.run_id, run.directory), _Kept(run))

    def _keep(self, batch: Batch, outcome: Outcome) -> None:
        kept = self._of(batch.run)
        if batch.header is not None:
            kept.headers[batch.writer] = batch.header
        refused = set(outcome.seqs) if isinstance(outcome, Rejected) else set()
        if isinstance(outcome, Rejected) and refused.isdisjoint(record.seq for record in batch.records):
            return
        for record in batch.records:
            if record.seq not in refused:
                kept.records.setdefault((batch.writer, record.seq), record)

    def _chain(self, run_id: str) -> Iterator[_Kept]:
        """Yield the newest part of a run, then those that it continues."""
        parts = [kept for (kept_id, _), kept in self._kept.items() if kept_id == run_id]
        while parts:
            part = parts.pop()
            yield part
            start = part.replay()[0].start
            if start is not None and start.previous is None:
                return

    def __repr__(self) -> str:
        with self._lock:
            number = sum(len(kept.records) for kept in self._kept.values())
            return f"<MemoryTransport {number} records of {len(self._kept)} runs>"


def _scripted(script: Iterator[Outcome | Exception]) -> Outcome:
    outcome = next(script, None)
    if isinstance(outcome, Exception):
        raise outcome
    return Delivered() if outcome is None else outcome
