"""Asking a backend what `init()` did not ask it, before the first record of a run is delivered there.

Law: `corelib.pure.deferral` decides, once per run and destination. What it decided is on disk before the run is opened
there, so that whoever goes on after a crash does not take the run itself for an earlier one. Who goes on asks what was
noted there meanwhile, for another part may have begun.
"""

from __future__ import annotations

from typing import Final

from corelib.ports import Rejected, Retry, RunRef
from corelib.pure.cursor import Cursor
from corelib.pure.deferral import Continuation, continued, decide, taken_up
from corelib.pure.records import Record, RunStart
from corelib.shell.transport_calls import TransportCalls

__all__ = ["DeferredDecision"]

_TIMEOUT_S: Final = 30.0


class DeferredDecision:
    """The resume decision of one delivery, where it may be another one than that of `init()` by now.

    Without `resume=`, and before anybody can have delivered something, nothing happens here.

    Args:
        calls: the transport. One that cannot start a run, as a copy on disk, is no server, and is not asked.
        run: the address of the run there.
        start: how the run was recorded to begin.
        may_repeat: what is to be delivered may be there already, in part or whole.
    """

    def __init__(self, calls: TransportCalls, run: RunRef, start: RunStart, *, may_repeat: bool) -> None:
        declared = calls.capabilities
        self.is_asked = declared.lookup and declared.create
        """Whether the backend is a server, which knows runs by their ids."""
        self._policy = start.deferred or start.policy
        self.is_open = self.is_asked and (self._policy is not None or may_repeat)
        self.is_taken_up = False
        """Whether it was taken before, and it is still to be asked what came of it since."""
        self.continuation: Continuation | None = None
        self._calls = calls
        self._run = run
        self._start = start

    @property
    def start(self) -> RunStart:
        """How the run begins, as decided so far."""
        start = self.applied(self._start)
        return start if type(start) is RunStart else self._start

    def take_up(self, cursor: Cursor) -> None:
        """Take what an earlier delivery has decided; nothing was sent before the backend had opened the run."""
        if cursor.decided and not (self.is_asked and cursor.transport is None):
            self.is_open, self.continuation = False, cursor.continuation
            self.is_taken_up = self.is_asked

    def ask_again(self) -> Retry | None:
        """Ask the backend what others have noted since the decision was taken; return why nobody can tell."""
        answer = self._calls.lookup(self._run, _TIMEOUT_S)
        found = taken_up(self._start, self._run.run_id, self.continuation, answer)
        if isinstance(found, Retry):
            return found
        self.is_taken_up, self.continuation = False, found
        return None

    def take(self) -> Retry | Rejected | None:
        """Ask the backend; return why the run cannot be opened there, now or for good."""
        verdict = decide(self._start, self._run.run_id, self._calls.lookup(self._run, _TIMEOUT_S))
        if isinstance(verdict, (Retry, Rejected)):
            return verdict
        self.is_open, self.continuation = False, verdict
        if verdict is None or not verdict.resumed or verdict.repeats:
            return None
        if verdict.step_shift or not self._start.resumed:
            moved = f": its steps are moved on by {verdict.step_shift}" if verdict.step_shift else ""
            self._calls.tell(
                f"run {self._run.run_id} exists and was recorded with resume={self._policy!r}, so it goes on "
                f"there at step {self.start.starting_step}{moved}."
            )
        return None

    def applied(self, record: Record) -> Record:
        """Return a record as it is to be delivered."""
        return record if self.continuation is None else continued(record, self.continuation)
