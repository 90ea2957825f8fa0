"""Keeping the cursor while a delivery goes on.

Law: the cursor never claims more than was answered for good: not what was read and is under way, and not what
a writer was read beyond while another one's records waited. An end that is not in the journal is among what is
settled as long as nothing has been recorded behind it, and leaves no trace there afterwards.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve

from corelib.pure.cursor import Cursor
from corelib.pure.delivery_state import State, ledger
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Exit, Header, Record
from corelib.shell.cursor import CursorFile
from corelib.shell.deferred_decision import DeferredDecision
from corelib.shell.source import ResumableSource, is_end_writer
from corelib.tail import Position

__all__ = ["CursorKeeper"]


class CursorKeeper:
    """Knows where each settled record stands in the journal, and writes that down.

    Args:
        cursor: where it is written.
        source: what is read.
        run_id: the run.
    """

    def __init__(self, cursor: CursorFile, source: ResumableSource, run_id: str) -> None:
        self.cursor = cursor
        self.source = source
        self.exited = False
        """Whether the end of the run is settled."""
        self._run_id = run_id
        self._positions: dict[str, Position] = {}
        self._marks: dict[str, deque[tuple[int, Position]]] = {}
        self._settled: Mapping[str, int] = {}
        self._reasons: Mapping[str, int] = {}
        self._was_open = False
        self._ends: deque[Exit] = deque()
        self._last_end = -1
        self._ends_counted = 0
        self._is_end_outside = False
        self._exit_code: int | None = None

    def take_up(self, cursor: Cursor) -> None:
        """Go on from a cursor."""
        self._positions = {writer: Position(*place) for writer, place in cursor.positions.items()}
        self._settled = cursor.settled
        self._reasons = cursor.ledger.reasons
        self.exited = cursor.exited
        self._ends_counted = sum(map(is_end_writer, cursor.settled))
        self._is_end_outside = bool(self._ends_counted)
        self._last_end = max(
            (seq for writer, seq in cursor.settled.items() if is_end_writer(writer)), default=-1
        )
        self._exit_code = cursor.exit_code
        self.source.seek(self._positions, ended=cursor.exited, exit_code=cursor.exit_code)

    def read_on(self, entries: Sequence[tuple[str, Record, int]]) -> None:
        """Take what was read just now."""
        last: dict[str, int] = {}
        for writer, record, _ in entries:
            if type(record) is Exit and is_end_writer(writer):
                if record.seq > self._last_end:  # one that was given before is not taken again
                    self._last_end = record.seq
                    self._ends.append(record)
                continue
            if type(record) is not Header and self._is_end_outside:
                self._is_end_outside = self.exited = False  # it was not the end, as it turns out
            last[writer] = record.seq
        positions = self.source.positions
        for writer, seq in last.items():
            if writer in positions:
                self._marks.setdefault(writer, deque()).append((seq, positions[writer]))

    def is_behind(self, state: State) -> bool:
        """Whether there is more to write down: something was settled, or otherwise, or the run was opened."""
        opened = state.policy.opens and state.opened and state.refusal is None and not self._was_open
        otherwise = state.refusal is None and state.reasons != self._reasons
        return opened or otherwise or state.settled != self._settled

    def write(self, state: State, transport: Mapping[str, Any] | None, decision: DeferredDecision) -> None:
        """Write down what is settled and decided, with what the transport wants kept.

        Raises:
            OSError: it cannot be written.
            UsageError: the transport wants something kept that cannot be written as JSON.
        """
        self._settled, self._reasons = state.settled, state.reasons
        self._was_open = state.opened
        for writer, seq in state.settled.items():
            marks = self._marks.get(writer, ())
            while marks and marks[0][0] <= seq:
                self._positions[writer] = marks.popleft()[1]
            while is_end_writer(writer) and self._ends and self._ends[0].seq <= seq:
                self._exit_code = self._ends.popleft().exit_code
                self._ends_counted += 1
                self._is_end_outside = True
        settled = {
            writer: seq
            for writer, seq in state.settled.items()
            if self._is_end_outside or not is_end_writer(writer)
        }
        account = ledger(state).without_pending()
        surplus = self._ends_counted - sum(map(is_end_writer, settled))
        self.cursor.write(
            Cursor(
                run_id=self._run_id,
                positions=dict(self._positions),
                settled=settled,
                settled_bytes=state.settled_bytes,
                ledger=_without(account, surplus),
                exited=self.exited,
                transport=transport,
                decided=not decision.is_open,
                continuation=decision.continuation,
                exit_code=self._exit_code,
            )
        )


def _without(account: Ledger, ends: int) -> Ledger:
    """Return an account without so many ends: the journal has none of them, and they are none any more."""
    delivered = max(account.delivered - ends, 0)
    return evolve(account, accepted=delivered + account.rejected, delivered=delivered)
