"""One run directory on its way to one destination: its address there, its cursor, and what carries it.

Law: whoever delivers a run directory by hand names destination, cursor and records exactly as the next one will, so
that each goes on where the other ended. Nothing is delivered here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from attrs import evolve, frozen

from corelib.errors import JournalError
from corelib.ports import Address, RunRef, Transport
from corelib.pure.outcomes import Ledger
from corelib.pure.records import Header, RunStart
from corelib.shell.cursor import CursorFile, is_delivering
from corelib.shell.dead_letters import DeadLetters
from corelib.shell.delivery import Delivery
from corelib.shell.readdressed import Readdressed, start_at
from corelib.shell.source import CompletedSource, ResumableSource
from corelib.shell.survey import Part
from corelib.shell.wiring import destination_name, load_transport, transport_name

__all__ = ["Destination", "NewAddress", "Shipment"]

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
    def cursor_name(self) -> str | None:
        """What to call its cursor; None: it is an object, of which the next process knows nothing."""
        if not isinstance(self.spec, str):
            return None
        suffix = f" as {self.new_address}" if self.new_address.is_new else ""
        return destination_name(self.spec, self.server) + suffix

    @property
    def label(self) -> str:
        """What to call it to people."""
        return transport_name(self.spec)

    def transport(self, part: Part) -> Transport:
        """Return a transport to it, for one part.

        Raises:
            UsageError: there is no such transport, or the server is not known.
            AuthenticationError: there is no key for the server.
            MissingDependency: its code needs a package that is not installed.
        """
        return load_transport(self.spec, evolve(self.server, wandb_dir=str(part.directory.parent)))


class Shipment:
    """One part on its way to one destination.

    `run` is its address there, `cursor` where it is kept how far it has come (None: nowhere), `written` how many
    records it has, the end included that its process could not write.

    Args:
        part: the part.
        header: its first header.
        start: how it began.
        destination: where to.
    """

    def __init__(self, part: Part, header: Header, start: RunStart, destination: Destination) -> None:
        new = destination.new_address
        self.run = RunRef(
            run_id=new.run_id or part.run_id,
            project=new.project or start.project,
            entity=new.entity or start.entity,
            directory=str(part.directory),
        )
        self._part = part
        self._start = start
        self._header = header
        self._destination = destination
        name = destination.cursor_name
        self.cursor = None if name is None else CursorFile(str(part.directory), name)
        self.written = part.written + (part.ending is None and not part.is_running)

    @property
    def is_under_way(self) -> bool:
        """Whether another process delivers it just now."""
        name = self._destination.cursor_name
        return name is not None and is_delivering(str(self._part.directory), name)

    def recorded(self) -> Ledger:
        """Return the account of earlier deliveries; all else is pending."""
        try:
            cursor = None if self.cursor is None else self.cursor.read(self.run.run_id)
        except JournalError:  # a delivery begins anew then
            cursor = None
        return (Ledger() if cursor is None else cursor.ledger).including(self.written)

    def delivery(self, transport: Transport, tell: Callable[[str], None]) -> Delivery:
        """Return what carries it.

        Args:
            transport: a transport to the destination.
            tell: takes lines for the user.

        Raises:
            UsageError: the transport declares bounds with which nothing could be delivered.
        """
        part, name = self._part, self._destination.cursor_name
        source: ResumableSource = CompletedSource(
            part.directory / "journal",
            primary=self._header.writer,
            start=self._start,
            start_time=self._header.start_time,
            fate=self._fate,
        )
        start = self._start
        if self._destination.new_address.is_new:
            source, start = Readdressed(source, self.run), start_at(start, self.run)
        return Delivery(
            transport,
            source,
            run=self.run,
            start=start,
            name=self._destination.label,
            report=tell,
            cursor=self.cursor,
            dead_letters=None if name is None else DeadLetters(str(part.directory), name, self.run.run_id),
        )

    def _fate(self) -> int | None:
        """Return the exit code of the program; None: it may still write."""
        if self._part.is_running:
            return None
        return _CRASHED if self._part.exit_code is None else self._part.exit_code
