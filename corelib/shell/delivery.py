"""A delivery: carries a run's journal to one transport, on the calling thread.

Law: a delivery decides nothing; it performs what `corelib.pure.delivery` says and reports back. With a cursor,
one delivery at a time carries a run to a transport, and the next one goes on where it ended, however it ended:
what was answered for good is never forgotten, and what was not comes again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from threading import Event
from typing import Final, cast

from corelib.errors import JournalError, UsageError
from corelib.ports import (
    Batch,
    Capabilities,
    Outcome,
    Rejected,
    RemoteAddress,
    Retry,
    RunRef,
    Transport,
)
from corelib.pure import delivery
from corelib.pure.cursor import Cursor
from corelib.pure.delivery_events import (
    Answered,
    Beat,
    CloseAsked,
    Effect,
    Notice,
    Offered,
    Open,
    Poll,
    ReadFailed,
    Send,
    SetAside,
    TakeBack,
    Ticked,
    Wait,
)
from corelib.pure.delivery_events import Event as DeliveryEvent
from corelib.pure.delivery_state import Chance
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Alert, Exit, FileSaved, Header, Record, RunStart
from corelib.shell.cursor import CursorFile
from corelib.shell.cursor_keeper import CursorKeeper
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.deferred_decision import DeferredDecision
from corelib.shell.observer import Observer
from corelib.shell.run_turn import RunTurn
from corelib.shell.source import NotYet, ResumableSource, Source
from corelib.shell.transport_calls import TransportCalls, World, described

__all__ = ["Delivery", "Observer", "check_timeout", "policy_for"]

_LOCK_RETRY_S: Final = 1.0
_AS_LONG_AS_IT_TAKES_S: Final = 1e9
_SENT_AGAIN: Final = (Alert, FileSaved)  # what a backend may take one day; a row has lost its place by then


def policy_for(capabilities: Capabilities) -> delivery.Policy:
    """Return the bounds of delivery that a transport asks for.

    Raises:
        UsageError: it asks for bounds with which nothing could be delivered.
    """
    return delivery.Policy(
        opens=capabilities.open,
        batch_records=capabilities.max_batch_records,
        batch_bytes=capabilities.max_batch_bytes,
        batch_age_s=capabilities.max_batch_age_s,
        heartbeat_s=capabilities.heartbeat_s,
    )


def check_timeout(timeout: float) -> None:
    """Check that whoever closes a courier does not wait for ever by accident.

    Raises:
        UsageError: `timeout` is not a finite number.
    """
    if not isfinite(timeout):
        raise UsageError(f"Closing a courier needs a finite number of seconds, and was given {timeout}.")


class Delivery:
    """Carries the records of one run to one transport until it is closed.

    Args:
        transport: the transport; from `carry()` on it belongs to the thread that calls that.
        source: the run's journal; with a cursor, a `ResumableSource`.
        run: the address of the run.
        start: how the run began, for `open`.
        name: what the transport is called in messages.
        report: takes lines for the user; called on the thread that carries.
        policy: the bounds of delivery; by default what the transport declares.
        world: time and chance.
        cursor: where it is kept how far the delivery has come; None: nowhere.
        dead_letters: where refused records are kept; None: nowhere.
        observer: hears what happens.
        before: has delivered what comes before this run; it returns why that is not done yet.
        may_repeat: without a cursor, somebody may have delivered the run before, from here or from a copy.
        turn: the right to deliver the run, of which other parts may be elsewhere; None: nobody else has any.
        again: send files and alerts that were refused once more.

    Raises:
        UsageError: the transport declares bounds with which nothing could be delivered.
    """

    def __init__(  # noqa: PLR0913  the wiring of a delivery
        self,
        transport: Transport,
        source: Source,
        *,
        run: RunRef,
        start: RunStart,
        name: str,
        report: Callable[[str], None],
        policy: delivery.Policy | None = None,
        world: World | None = None,
        cursor: CursorFile | None = None,
        dead_letters: DeadLetters | None = None,
        observer: Observer | None = None,
        before: Callable[[Delivery], Retry | None] | None = None,
        may_repeat: bool = False,
        turn: RunTurn | None = None,
        again: bool = False,
    ) -> None:
        self.name = name
        self.world = World() if world is None else world
        self._calls = TransportCalls(transport, name=name, report=report, world=self.world)
        self._source = source
        self._run = run
        self._decision = DeferredDecision(self._calls, run, start, may_repeat=may_repeat)
        self._policy = policy_for(transport.capabilities) if policy is None else policy
        self._state = delivery.begin(self._policy)
        self._keeper = (
            None if cursor is None else CursorKeeper(cursor, cast("ResumableSource", source), run.run_id)
        )
        self._dead_letters = dead_letters
        self._observer = Observer() if observer is None else observer
        self._before = before
        self._turn = turn if self._decision.is_asked else None
        self._again = again and transport.capabilities.redeliver
        self._remote: RemoteAddress | None = None
        self._is_begun = False
        self._is_stop_told = False
        self._requests: deque[CloseAsked] = deque()
        self._first: Delivery | None = None
        self._poked = Event()
        self.ended = Event()
        """Set when `carry` is over."""
        self.is_broken = False
        """Whether it is over because of a bug: who carries on may fare better."""

    @property
    def ledger(self) -> Ledger:
        """Where the records are that were read from the journal so far, by this delivery and those before it."""
        return delivery.ledger(self._state)

    @property
    def settled_bytes(self) -> int:
        """The encoded size of all records that were answered for good."""
        return self._state.settled_bytes

    @property
    def is_drained(self) -> bool:
        """Whether all that the journal had at the last look is answered for good."""
        return delivery.is_drained(self._state)

    @property
    def is_refused(self) -> bool:
        """Whether the backend refuses the whole run for good."""
        return self._state.refusal is not None

    @property
    def hindrance(self) -> str | None:
        """Why nothing can be delivered at the moment, in the words of the transport; None: nothing is in the way."""
        return self._state.refusal or self._state.hindrance

    def poke(self) -> None:
        """Have the journal looked at now. For urgent things, not for each row: a delivery looks by itself."""
        self._poked.set()

    def ask_to_close(self, timeout: float) -> None:
        """Have what is there delivered within `timeout` seconds, and `carry` return. Any thread may ask.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        check_timeout(timeout)
        self._requests.append(CloseAsked(self.world.clock(), timeout))
        first = self._first
        if first is not None:
            first.ask_to_close(timeout)
        self._poked.set()

    def carry_first(self, other: Delivery) -> None:
        """Carry another delivery to its end, on this thread; what asks this one to close asks that one, too."""
        self._first = other
        now, deadline = self.world.clock(), self._state.deadline
        other.ask_to_close(_AS_LONG_AS_IT_TAKES_S if deadline is None else deadline - now)
        for request in tuple(self._requests):
            other.ask_to_close(request.now + request.timeout - now)
        try:
            other.carry()
        finally:
            self._first = None

    def carry(self) -> None:
        """Carry on the calling thread until closed."""
        try:
            if self._take_up():
                self._carry()
        except BaseException as error:  # noqa: BLE001  the last place where anybody could be told
            self.is_broken = True
            self._calls.tell(f"the courier ended by {described(error)}; the records stay in the journal.")
        finally:
            self._let_go()
            self.ended.set()

    # What an earlier delivery left.

    def _take_up(self) -> bool:
        """Take the right to deliver, and go on where an earlier delivery ended; False: it is not to be had."""
        keeper = self._keeper
        if keeper is None:
            return True
        try:
            is_ours = self._wait_for_lock(keeper.cursor)
        except OSError as error:
            self._calls.tell(f"no cursor can be kept ({error.strerror or error}); a restart begins anew.")
            self._keeper = None
            return True
        try:
            cursor = keeper.cursor.read(self._run.run_id)
        except JournalError as error:
            self._calls.tell(f"{error} The delivery begins anew; what the backend has, it knows by its key.")
            return is_ours
        if cursor is not None:
            self._decision.take_up(cursor)
        if cursor is not None and not is_ours:
            self._state = self._begin(cursor, {})
        elif cursor is not None and (
            cursor.transport is not None or not self._calls.capabilities.restartable
        ):
            self._state = self._continued(keeper, cursor)
        return is_ours

    def _wait_for_lock(self, cursor: CursorFile) -> bool:
        while not cursor.lock():
            self._calls.tell_once(
                "lock", "another process delivers this run just now; this one waits for its end."
            )
            seconds = _LOCK_RETRY_S
            if self._requests:
                request = self._requests[-1]
                seconds = min(seconds, request.now + request.timeout - self.world.clock())
            if seconds <= 0:
                return False
            self.world.wait(self._poked, seconds)
            self._poked.clear()
        return True

    def _continued(self, keeper: CursorKeeper, cursor: Cursor) -> delivery.State:
        keeper.take_up(cursor)
        headers = dict(keeper.source.headers())
        chances: list[Chance] = []
        if cursor.transport is not None:
            try:
                self._calls.load(self._run, cursor.transport)
                self._rebuild(keeper.source, cursor, headers, chances)
            except Exception:
                # It cannot take up what it wanted kept: whoever comes next begins anew, and does not fail likewise.
                keeper.cursor.forget()
                raise
        return self._begin(cursor, headers, chances)

    def _begin(
        self, cursor: Cursor, headers: Mapping[str, Header], chances: Sequence[Chance] = ()
    ) -> delivery.State:
        return delivery.begin(
            self._policy,
            cursor.settled,
            headers=headers,
            earlier=cursor.ledger,
            settled_bytes=cursor.settled_bytes,
            chances=chances,
        )

    def _rebuild(
        self,
        source: ResumableSource,
        cursor: Cursor,
        headers: dict[str, Header],
        chances: list[Chance],
    ) -> None:
        """Tell the transport every record that is settled; add those that get another chance to `chances`."""
        letters = self._standing_letters(cursor)
        # More letters than refusals that are counted: a crash came between the two.
        uncounted = len(letters) - cursor.ledger.rejected
        records: list[Record] = []
        author = ""

        def rebuild() -> None:
            if records:
                self._calls.rebuild(self._batch(author, headers.get(author), tuple(records)))
                records.clear()

        for writer, record, _ in source.before(cursor.settled):
            if writer != author or len(records) >= self._policy.batch_records or type(record) is Header:
                rebuild()
            author = writer
            if type(record) is Header:
                headers[writer] = record
            else:
                if isinstance(record, _SENT_AGAIN) and (writer, record.seq) in letters:
                    reason = letters[writer, record.seq] if len(chances) >= uncounted else None
                    chances.append(Chance(writer, record, reason))
                records.append(self._decision.applied(record))
        rebuild()

    def _standing_letters(self, cursor: Cursor) -> Mapping[tuple[str, int], str]:
        """Return why settled records were refused, if they are to be sent again."""
        if not self._again or self._dead_letters is None:
            return {}
        letters = self._dead_letters.standing()
        return {key: why for key, why in letters.items() if key[1] <= cursor.settled.get(key[0], -1)}

    # The work.

    def _carry(self) -> None:
        event: DeliveryEvent | None = Ticked(self.world.clock())
        while event is not None:
            while self._requests:
                self._state, _ = delivery.step(self._state, self._requests.popleft())
            self._state, effects = delivery.step(self._state, event)
            # What is refused is set aside before the cursor says that it is settled, and that before all else.
            for effect in effects:
                if isinstance(effect, SetAside):
                    self._set_aside(effect)
            if self._keeper is not None and self._keeper.is_behind(self._state):
                self._write_cursor(self._keeper)
            self._observer.stepped()
            for effect in effects:
                event = self._perform(effect)

    def _perform(self, effect: Effect) -> DeliveryEvent | None:
        if isinstance(effect, Wait):
            return self._wait(effect)
        if isinstance(effect, Poll):
            return self._poll(effect)
        if isinstance(effect, Send):
            return self._send(effect)
        answered = None
        if isinstance(effect, Open):
            answered = self._open()
        elif isinstance(effect, Beat):
            answered = self._calls.heartbeat(self._run)
        elif isinstance(effect, Notice):
            self._calls.tell(effect.text)
        elif isinstance(effect, TakeBack):
            self._take_back(effect)
        if answered is not None:
            self._take_news(answered.outcome)
        return answered

    def _open(self) -> Answered:
        hindrance: Retry | Rejected | None = None
        if self._turn is not None and not self._turn.take():
            hindrance = Retry(
                reason="another process delivers a part of this run just now", after=_LOCK_RETRY_S
            )
        elif self._before is not None:
            hindrance = self._before(self)
        if hindrance is None and self._decision.is_taken_up:
            hindrance = self._decision.ask_again()
        if hindrance is None and self._decision.is_open:
            hindrance = self._decision.take()
            if hindrance is None and self._keeper is not None:
                self._write_cursor(self._keeper)
        if hindrance is not None:
            self._let_others_go_first()
            return Answered(self.world.clock(), hindrance, self.world.draw())
        self._is_begun = True
        if self._turn is not None and self._run.directory is not None:
            self._turn.begins(self._run.directory)
        return self._calls.open(self._run, self._decision.start)

    def _let_others_go_first(self) -> None:
        """Give the turn back as long as nothing was said: what keeps this one may be a part that waits for its turn."""
        if self._turn is not None and not self._is_begun:
            self._turn.release()

    def _wait(self, effect: Wait) -> Ticked:
        seconds = effect.until - self.world.clock()
        if seconds > 0:
            self.world.wait(self._poked, seconds)
        self._poked.clear()
        return Ticked(self.world.clock())

    def _poll(self, effect: Poll) -> Offered | ReadFailed:
        try:
            entries = self._source.poll(effect.limit)
        except (OSError, JournalError) as error:
            self._calls.tell_once("poll", f"the journal cannot be read just now ({error}).")
            return ReadFailed(self.world.clock())
        except NotYet:
            return ReadFailed(self.world.clock())
        if self._keeper is not None:
            self._keeper.read_on(entries)
        records = [(writer, self._decision.applied(record), size) for writer, record, size in entries]
        return Offered(self.world.clock(), records, end=len(entries) < effect.limit)

    def _send(self, effect: Send) -> DeliveryEvent:
        batch = self._batch(effect.writer, effect.header, effect.records)
        answered = self._calls.redeliver(batch) if effect.again else self._calls.deliver(batch)
        if self._keeper is not None and not isinstance(answered.outcome, Retry):
            self._keeper.exited |= any(type(record) is Exit for record in effect.records)
        self._take_news(answered.outcome)
        return answered

    def _take_news(self, outcome: Outcome) -> None:
        """Pass on what the backend says beside its answer."""
        if isinstance(outcome, Retry):
            return
        for notice in outcome.notices:
            self._calls.tell(notice)
        if isinstance(outcome, Rejected):
            return
        if outcome.remote is not None and outcome.remote != self._remote:
            self._remote = outcome.remote
            self._observer.found(outcome.remote)
        if outcome.stop and not self._is_stop_told:
            self._is_stop_told = True
            self._observer.stopped()

    def _batch(self, writer: str, header: Header | None, records: tuple[Record, ...]) -> Batch:
        return Batch(run=self._run, writer=writer, header=header, records=records)

    def _write_cursor(self, keeper: CursorKeeper) -> None:
        try:
            keeper.write(self._state, self._calls.save(self._run), self._decision)
        except OSError as error:
            self._calls.tell_once(
                "cursor", f"the cursor cannot be written ({error.strerror or error}); a restart repeats more."
            )
        except Exception as error:  # noqa: BLE001  a transport's bug must not end the delivery
            self._calls.tell_once(
                "save", f"save() failed: {described(error)}. This is a bug of the transport."
            )

    def _set_aside(self, effect: SetAside) -> None:
        letters = self._dead_letters
        try:
            if letters is not None:
                letters.add(effect.writer, effect.records, effect.reason)
        except OSError as error:
            self._calls.tell_once(
                "dead letters",
                f"refused records cannot be set aside ({error.strerror or error}); they are in the journal.",
            )

    def _take_back(self, effect: TakeBack) -> None:
        letters = self._dead_letters
        try:
            if letters is not None:
                letters.take_back(effect.writer, effect.records)
        except OSError as error:
            self._calls.tell_once(
                "dead letters", f"the dead letters cannot be rewritten ({error.strerror or error})."
            )

    def _let_go(self) -> None:
        self._source.close()
        self._calls.close()
        if self._turn is not None:
            is_whole = self._keeper is not None and self._keeper.exited and self.is_drained
            if is_whole and self._run.directory is not None:
                self._turn.ends(self._run.directory)
            self._turn.release()
        if self._keeper is not None:
            self._keeper.cursor.release()
