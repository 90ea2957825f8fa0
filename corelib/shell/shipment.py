"""One run directory on its way to one destination: its address there, its cursor, and what carries it.

Law: whoever delivers a run directory by hand names destination, cursor and records exactly as the next one will, so
that each goes on where the other ended. Nothing is delivered here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from attrs import evolve, frozen

from corelib.errors import JournalError
from corelib.ports import Address, RunRef, Transport
from corelib.pure.cursor import Cursor
from corelib.pure.key_scope import is_server
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Header, RunStart
from corelib.shell.courier_log import CourierLog
from corelib.shell.cursor_place import PlacedCursor, is_under_way
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.delivery import Delivery
from corelib.shell.readdressed import Readdressed, start_at
from corelib.shell.run_turn import RunTurn, turn_at
from corelib.shell.source import CompletedSource, ResumableSource
from corelib.shell.survey import Part, lost_records
from corelib.shell.wiring import destination_name, load_transport, transport_name
from corelib.tail import Position, Tail

__all__ = ["Destination", "NewAddress", "Shipment", "accounted"]

_AT_ONCE: Final = 1000
_CRASHED: Final = 1  # the exit code of a process that died without a word


@frozen(kw_only=True)
class NewAddress:
    """Another address than a run was recorded with. None: as it was recorded."""

    run_id: str | None = None
    project: str | None = None
    entity: str | None = None

    @property
    def is_new(self) -> bool:
        """Whether anything is other."""
        return any(value is not None for value in (self.run_id, self.project, self.entity))

    def beside(self, run_id: str, start: RunStart) -> NewAddress:
        """Return what of it is other than a run was recorded with: one address has one name, however it was said."""
        return NewAddress(
            run_id=None if self.run_id == run_id else self.run_id,
            project=None if self.project == start.project else self.project,
            entity=None if self.entity == start.entity else self.entity,
        )

    def __str__(self) -> str:
        return "/".join(value or "" for value in (self.entity, self.project, self.run_id))


class Destination(NamedTuple):
    """Where to deliver to.

    Args:
        spec: what was named: a transport's name, a URL or an object.
        server: the server it is for, if there is one, with the key that goes with it.
        new_address: what the runs are called there, if not as they were recorded.
    """

    spec: Any
    server: Address
    new_address: NewAddress = NewAddress()

    @property
    def label(self) -> str:
        """What to call it to people."""
        return transport_name(self.spec)

    @property
    def is_server(self) -> bool:
        """Whether it is a server that wants a login."""
        return is_server(self.spec)

    def cursor_name(self, run_id: str, start: RunStart) -> str | None:
        """Return what to call its cursor for a run; None: it is an object, of which the next process knows nothing."""
        if not isinstance(self.spec, str):
            return None
        new = self.new_address.beside(run_id, start)
        suffix = f" as {new}" if new.is_new else ""
        return destination_name(self.spec, self.server) + suffix

    def transport(self, part: Part) -> Transport:
        """Return a transport to it, for one part.

        Raises:
            UsageError: there is no such transport, or the server is not known.
            AuthenticationError: there is no key for the server.
            MissingDependency: its code needs a package that is not installed.
        """
        ignored = dict.fromkeys((*(part.start.ignored if part.start else ()), *self.server.ignored))
        address = evolve(self.server, wandb_dir=str(part.directory.parent), ignored=tuple(ignored))
        return load_transport(self.spec, address)


class Shipment:
    """One part on its way to one destination.

    `run` is its address there, `cursor` where it is kept how far it has come (None: nowhere), `written` how many
    records it has, the end included that its process could not write.

    Args:
        part: the part.
        header: its first header.
        start: how it began.
        destination: where to.
        begins: what it continues is not delivered with it, so that under another id it may have to begin.
    """

    def __init__(
        self, part: Part, header: Header, start: RunStart, destination: Destination, *, begins: bool = False
    ) -> None:
        new = self._new = destination.new_address.beside(part.run_id, start)
        self.run = RunRef(
            run_id=new.run_id or part.run_id,
            project=new.project or start.project,
            entity=new.entity or start.entity,
            directory=str(part.directory),
        )
        self.part = part
        self._start = start
        self._header = header
        self._destination = destination
        self._begins = begins and new.run_id is not None
        self._name = destination.cursor_name(part.run_id, start)
        self.cursor = None if self._name is None else PlacedCursor(str(part.directory), self._name)
        self.written = _written(part)

    @property
    def is_under_way(self) -> bool:
        """Whether somebody delivers it just now."""
        return self._name is not None and is_under_way(str(self.part.directory), self._name)

    def courier_says(self) -> str:
        """Return what a courier that delivered it from here said last; "" where none had anything to say."""
        return "" if self._name is None else CourierLog(str(self.part.directory), self._name).last_words()

    @property
    def must_be_remembered(self) -> bool:
        """Whether delivering it a second time may double something: it goes on behind what is there."""
        start = self._start
        return start.resumed or start.previous is not None or start.deferred is not None

    @property
    def has_begun(self) -> bool:
        """Whether it is decided where it begins: a delivery notes that before anything arrives.

        One that was refused before it was opened there may have a cursor as well, and nothing of it is there.
        """
        cursor = self._read()
        return cursor is not None and (cursor.transport is not None or self.refusal() is None)

    @property
    def is_whole(self) -> bool:
        """Whether all of it has been answered for good, as far as it can be read, its end included."""
        cursor = self._read()
        return cursor is not None and cursor.exited and not self._behind(cursor)

    def recorded(self) -> Ledger:
        """Return the account of earlier deliveries; all else is pending."""
        cursor = self._read()
        if cursor is None:
            return Ledger().including(self.written)
        if not cursor.exited:
            return accounted(self.part, cursor.ledger, is_complete=False)
        # Behind the end there may be more, from a forked child that has outlived the run.
        ledger = cursor.ledger
        found = accounted(self.part, ledger, is_complete=True)
        return found.including(ledger.accepted + self._behind(cursor))

    def _read(self) -> Cursor | None:
        try:
            return None if self.cursor is None else self.cursor.read(self.run.run_id)
        except JournalError:  # a delivery begins anew then
            return None

    def _behind(self, cursor: Cursor) -> int:
        """Return how many records stand behind a cursor."""
        tail = Tail(self.part.directory / "journal")
        try:
            tail.seek({writer: Position(*place) for writer, place in cursor.positions.items()})
            count = 0
            while found := tail.poll(_AT_ONCE):
                count += sum(
                    type(record) is not Header and record.seq > cursor.settled.get(writer, -1)
                    for writer, record, _ in found
                )
            return count
        except OSError:
            return 0
        finally:
            tail.close()

    def refusal(self) -> str | None:
        """Return why the destination has refused the whole run for good, if it has; the next sync asks again."""
        letters = self._letters()
        found: str | None = None
        try:
            with open(letters.path if letters is not None else os.devnull, "rb") as file:
                for line in file:
                    if b'"writer":null' in line:
                        found = str(json.loads(line)["reason"])
        except (KeyError, OSError, TypeError, ValueError):  # there are none, or a crash has cut one off
            return found
        return found

    def delivery(self, transport: Transport, tell: Callable[[str], None]) -> Delivery:
        """Return what carries it.

        Args:
            transport: a transport to the destination.
            tell: takes lines for the user.

        Raises:
            UsageError: the transport declares bounds with which nothing could be delivered.
        """
        source: ResumableSource = CompletedSource(
            self.part.directory / "journal",
            primary=self._header.writer,
            start=self._start,
            start_time=self._header.start_time,
            fate=self._fate,
        )
        start = self._start
        if self._new.is_new:
            source = Readdressed(source, self.run, begins=self._begins)
            start = start_at(start, self.run, begins=self._begins)
        return Delivery(
            transport,
            source,
            run=self.run,
            start=start,
            name=self._destination.label,
            report=tell,
            cursor=self.cursor,
            dead_letters=self._letters(),
            may_repeat=True,
            turn=self._turn(),
            again=True,
        )

    def begun(self) -> tuple[str, ...]:
        """Return the run directories, wherever they are, from which the run has begun to arrive, perhaps not whole."""
        turn = self._turn()
        return () if turn is None else turn.begun()

    def _turn(self) -> RunTurn | None:
        spec = self._destination.spec
        return turn_at(destination_name(spec, self._destination.server), self.run)

    def _letters(self) -> DeadLetters | None:
        if self.cursor is None or self._name is None:
            return None
        return DeadLetters(self.cursor.place or str(self.part.directory), self._name, self.run.run_id)

    def _fate(self) -> int | None:
        """Return the exit code of the program; None: it may still write."""
        if self.part.is_running:
            return None
        return _CRASHED if self.part.exit_code is None else self.part.exit_code


def accounted(part: Part, ledger: Ledger, *, is_complete: bool) -> Ledger:
    """Return the account of all that a part has written.

    What is damaged was written, and is pending. It is counted in the journal where all that can be read has been read:
    the numbers of records, which tell how many there should be, have gaps where a disk was full.

    Args:
        part: the part.
        ledger: the account of what was read of it.
        is_complete: what could be read has been read.
    """
    if is_complete and ledger.accepted < _written(part):
        return ledger.including(ledger.accepted + lost_records(part.directory))
    return ledger.including(_written(part))


def _written(part: Part) -> int:
    return part.written + (part.start is not None and part.ending is None and not part.is_running)
