"""Performs what the resume machine asks for, until it decides; and what it asks for as the run begins and ends.

Law: this is the only place where the resume machine meets the world, and it decides nothing. No question is put to
the server after the time budget, and each is told what remains of it. Nothing that fails here leaves as an
exception: a lookup that raises is an answer that nobody could give, a resume file that cannot be written a warning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from corelib.pure.remote import Answer, LookupFailed
from corelib.pure.resume import (
    IDLE,
    Corrupt,
    Decide,
    Decision,
    Effect,
    Event,
    Finished,
    LookedUp,
    Lookup,
    MarkerRead,
    ReadMarker,
    RemoveMarker,
    Requested,
    RunStarted,
    Upsert,
    UpsertAnswered,
    WriteMarker,
    step,
)

__all__ = ["INIT_TIMEOUT_S", "Ask", "Create", "Marker", "ResumeDriver", "answer_of"]

INIT_TIMEOUT_S: Final = 30.0
_DISK_TIMEOUT_S: Final = (
    30.0  # the disk is asked when the server has used up its time, so it has a time of its own
)
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 8.0
_LAST_LOOK: Final = 0.1  # of the time budget: so long before its end the server is asked a last time

Ask: TypeAlias = Callable[[str, float], Answer]
"""Answers whether a run id exists, within so many seconds."""

Create: TypeAlias = Callable[[str, float], UpsertAnswered]
"""Starts a run at the backend within so many seconds, and says who was first."""


class Marker(Protocol):
    """The resume file. `write` and `remove` may raise OSError."""

    def read(self) -> str | Corrupt | None:
        """Return the id it names, None if it is absent, or why it cannot be used."""
        ...

    def write(self, run_id: str) -> None:
        """Let it name `run_id`."""
        ...

    def remove(self, run_id: str | None) -> None:
        """Remove it if it names `run_id`; None: whatever it names."""
        ...


class ResumeDriver:
    """One resume decision and what follows from it; one object per `init()`.

    Args:
        ask_disk: asks the run directories of this machine.
        marker: the resume file; None where nothing is kept on disk.
        ask_server: asks the backend. None: there is none, which is an answer too: it is unreachable.
        create: starts the run at the backend. None: the backend cannot say who was first, and its lookup stands.
        budget_s: how long the server may take in all, in seconds (`init_timeout`).
        clock, sleep: the time, in seconds.
    """

    def __init__(
        self,
        *,
        ask_disk: Ask,
        marker: Marker | None = None,
        ask_server: Ask | None = None,
        create: Create | None = None,
        budget_s: float = INIT_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ask_disk = ask_disk
        self._marker = marker
        self._ask_server = ask_server
        self._create = create
        self._budget_s = budget_s
        self._clock = clock
        self._sleep = sleep
        self._deadline = 0.0
        self._state = IDLE

    @property
    def decision(self) -> Decision | None:
        """The decision that stands; None before there is one."""
        return self._state.decision

    def decide(self, request: Requested) -> Decision:
        """Drive the machine to its decision. A refusal is returned, not raised.

        Raises:
            UsageError: this driver was used already.
        """
        self._deadline = self._clock() + self._budget_s
        event: Event = request
        while True:
            (effect,) = self._hear(event)
            match effect:
                case Decide(decision):
                    return decision
                case ReadMarker():
                    event = MarkerRead(None if self._marker is None else self._marker.read())
                case Lookup(run_id, "disk"):
                    event = LookedUp(answer_of(self._ask_disk, run_id, _DISK_TIMEOUT_S))
                case Lookup(run_id):
                    event = LookedUp(self._server_answer(run_id))
                case Upsert(run_id):
                    event = self._created(run_id)

    def run_started(self) -> tuple[str, ...]:
        """Say that the local record of the run exists, and return warnings to show."""
        return self._keep_marker(self._hear(RunStarted()))

    def run_finished(self, exit_code: int | None) -> tuple[str, ...]:
        """Say that the run ended in the process that began it, and return warnings to show."""
        return self._keep_marker(self._hear(Finished(exit_code)))

    def upsert_answered(self, answer: UpsertAnswered) -> Decision | None:
        """Say what the backend answered after the decision; return the decision that replaces it, if one does."""
        for effect in self._hear(answer):
            if isinstance(effect, Decide):
                return effect.decision
        return None

    def _hear(self, event: Event) -> tuple[Effect, ...]:
        self._state, effects = step(self._state, event)
        return effects

    def _server_answer(self, run_id: str) -> Answer:
        """Ask the server, again and again while that may help and time remains."""
        if self._ask_server is None:
            return LookupFailed("unreachable", "there is no server to ask")
        from corelib.pure.backoff import Backoff

        backoff = Backoff(first_s=_FIRST_WAIT_S, limit_s=_LONGEST_WAIT_S)
        began, attempts, is_last = self._clock(), 0, False
        while True:
            remaining_s = self._deadline - self._clock()
            if remaining_s <= 0:
                return self._out_of_time()
            answer = answer_of(self._ask_server, run_id, remaining_s)
            attempts += 1
            if not (isinstance(answer, LookupFailed) and answer.retry):
                return answer
            now = self._clock()
            # The moment differs from process to process, which is all that the drawn share is for.
            wait_s = backoff.wait_s(attempts, now % 1.0, answer.after)
            is_late = now + wait_s >= self._deadline
            last_look = self._deadline - self._budget_s * _LAST_LOOK
            if is_late and (is_last or answer.after is not None or now >= last_look):
                how_often = "once" if attempts == 1 else f"{attempts} times"
                reason = f"{answer.reason}; asked {how_often} in {now - began:.1f} s"
                return LookupFailed(answer.kind, reason)
            is_last = is_late
            self._sleep(last_look - now if is_late else wait_s)

    def _created(self, run_id: str) -> UpsertAnswered:
        # Not repeated: after a lost answer the second attempt would meet the first as a rival.
        if self._create is None:
            return UpsertAnswered()
        remaining_s = self._deadline - self._clock()
        if remaining_s <= 0:
            return UpsertAnswered(failure=self._out_of_time())
        try:
            return self._create(run_id, remaining_s)
        except Exception as error:  # noqa: BLE001  a backend's bug is an answer that nobody could give
            return UpsertAnswered(failure=LookupFailed("server", f"creating the run raised {_kind(error)}"))

    def _out_of_time(self) -> LookupFailed:
        return LookupFailed(
            "unreachable", f"no time was left to ask, for it took more than {self._budget_s:g} s"
        )

    def _keep_marker(self, effects: tuple[Effect, ...]) -> tuple[str, ...]:
        if self._marker is None:
            return ()
        try:
            for effect in effects:
                if isinstance(effect, WriteMarker):
                    self._marker.write(effect.run_id)
                elif isinstance(effect, RemoveMarker):
                    self._marker.remove(effect.run_id)
        except OSError as error:
            return (f"The resume file cannot be kept up to date ({error.strerror}); check its rights.",)
        return ()


def answer_of(ask: Ask, run_id: str, timeout_s: float) -> Answer:
    """Ask, and return an answer whatever the one who is asked does."""
    try:
        answer: object = ask(run_id, timeout_s)
    except Exception as error:  # noqa: BLE001  a backend's bug is an answer that nobody could give
        return LookupFailed("server", f"the lookup raised {_kind(error)}")
    if isinstance(answer, Answer):
        return answer
    return LookupFailed("server", f"the lookup returned {type(answer).__name__}, which is no answer")


def _kind(error: Exception) -> str:
    # Of a foreign error only the type is told: its text may hold an address with a key in it.
    told = error.strerror if isinstance(error, OSError) else None
    return f"{type(error).__name__}: {told}" if told else type(error).__name__
