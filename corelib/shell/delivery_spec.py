"""What a courier needs to know: which run, from where, to which transport. It can be handed to another process.

Law: a spec is texts and numbers, and holds a secret: it goes through a pipe, never into an argument, the environment
or a file. Whoever has the spec can deliver the run, in any process of this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from corelib.errors import UsageError

if TYPE_CHECKING:
    from corelib.ports import Transport
    from corelib.shell.delivery import Delivery, Observer
    from corelib.shell.source import CompletedSource

__all__ = ["LINGER_S", "DeliverySpec", "delivery_of", "place_of", "transport_of"]

LINGER_S = 3600.0
"""How long a courier goes on after the run, where the backend fails, in seconds; `corelib sync` takes over then."""

D = TypeVar("D", bound="Delivery")


class DeliverySpec(NamedTuple):
    """One delivery.

    Args:
        address: the arguments of `corelib.ports.Address` but one, that is what to make the transport from.
        run_id, project, entity, directory: the fields of `corelib.ports.RunRef`; the directory is there.
        name: what to call the transport in messages.
        cursor_name: what to call its files: unique within the run, the same in every process, and no secret
            (`corelib.shell.wiring.destination_name`).
        writer: the writer whose end is the end of the run.
        pid: the process that it writes in.
        linger_s: how long to go on after the end of that process, in seconds.
        sys_path: where to look for modules.
        fresh_key: the fields of the `FreshKey` of the address.
    """

    address: Mapping[str, Any]
    run_id: str
    project: str
    entity: str | None
    directory: str
    name: str
    cursor_name: str
    writer: str
    pid: int
    linger_s: float = LINGER_S
    sys_path: tuple[str, ...] = ()
    fresh_key: tuple[str, Sequence[str], float | None] | None = None

    @property
    def place(self) -> str:
        """Where it goes, for people: the host, or what else there is in place of one."""
        return place_of(self.address.get("base_url") or self.address["url"])

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key, and the values of further headers: nobody but the transport is to know them."""
        return (self.address.get("key") or "", *self.address.get("headers", {}).values())

    def line(self) -> bytes:
        """Return the spec as one line of JSON."""
        import json

        return json.dumps(self._asdict(), separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def read(cls, line: bytes) -> DeliverySpec:
        """Return the spec of a line.

        Raises:
            UsageError: it is none.
        """
        import json

        try:
            document = json.loads(line)
            return cls(**{**document, "sys_path": tuple(document["sys_path"])})
        except (KeyError, TypeError, ValueError) as error:
            # Without its text, and without a cause: both would show the line, and there is a key in it.
            raise UsageError(f"This is no delivery spec: {type(error).__name__}.") from None

    def __repr__(self) -> str:
        return f"<DeliverySpec {self.name} of run {self.run_id} to {self.place}>"


def place_of(url: str) -> str:
    """Return the host of a URL, its path where it has none, or a bare name as it is; without what may be secret."""
    _, separator, rest = url.partition("://")
    rest = (rest if separator else url).partition("?")[0]
    return rest if rest.startswith("/") else rest.partition("/")[0].rpartition("@")[2]


def transport_of(spec: DeliverySpec) -> Transport:
    """Make the transport.

    Raises:
        UsageError, MissingDependency: it cannot be made.
    """
    from corelib.ports import Address
    from corelib.shell.fresh_key import FreshKey
    from corelib.shell.wiring import load_transport

    fresh_key = None
    if spec.fresh_key is not None:
        url, paths, since = spec.fresh_key
        fresh_key = FreshKey(url, tuple(paths), since)
    address = Address(**spec.address, fresh_key=fresh_key)
    return load_transport(address.url, address)


def delivery_of(
    kind: type[D],
    spec: DeliverySpec,
    *,
    transport: Transport,
    report: Callable[[str], None],
    fate: Callable[[], int | None],
    observer: Observer | None = None,
) -> tuple[D, CompletedSource]:
    """Return a delivery of the given kind, with its cursor and its dead letters, and what it reads from.

    Args:
        kind: `Delivery`, or the `Courier` that carries on a thread.
        spec: what is delivered.
        transport: what `transport_of` made of it.
        report: takes lines for the user.
        fate: the exit code of the process that writes the run; None as long as it may still write.
        observer: hears what happens.

    Raises:
        JournalError: the journal does not say how the run began.
        UsageError: the transport declares bounds with which nothing could be delivered.
    """
    from pathlib import Path

    from corelib.ports import RunRef
    from corelib.pure.paths import RunPaths
    from corelib.shell.cursor import CursorFile
    from corelib.shell.dead_letters import DeadLetters
    from corelib.shell.predecessors import Predecessors
    from corelib.shell.run_turn import turn_at
    from corelib.shell.source import CompletedSource, read_start

    journal = RunPaths(Path(spec.directory)).journal
    header, start = read_start(journal, spec.writer)
    source = CompletedSource(
        journal, primary=spec.writer, start=start, start_time=header.start_time, fate=fate
    )
    run = RunRef(run_id=spec.run_id, project=spec.project, entity=spec.entity, directory=spec.directory)
    before = Predecessors(
        run, start, transport=transport, cursor_name=spec.cursor_name, name=spec.name, tell=report
    )
    made = kind(
        transport,
        source,
        run=run,
        start=start,
        name=spec.name,
        report=report,
        cursor=CursorFile(spec.directory, spec.cursor_name),
        dead_letters=DeadLetters(spec.directory, spec.cursor_name, spec.run_id),
        observer=observer,
        before=before.deliver,
        turn=turn_at(spec.cursor_name, run),
    )
    return made, source
