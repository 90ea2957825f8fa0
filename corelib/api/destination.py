"""Where a run goes: the mode as it turns out, and which transports carry its records.

Law: the journal comes first and is written in every mode but disabled; a transport is only ever fed from it. Words that
need a server and do not get one are an error or one clear line, as `corelib.pure.credentials` says of every server,
however it was named; each gets the key that is for it, as `corelib.pure.key_scope` says, and no other's. Nothing here
asks a server: `lookup` and `create` do, when the resume machine wants to know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from corelib.errors import Error, JournalError

if TYPE_CHECKING:
    from corelib.ports import Address, CompleteTransport, RunRef, Transport
    from corelib.pure.outcomes import RemoteAddress
    from corelib.pure.records import RunStart
    from corelib.pure.resolve import Resolution
    from corelib.shell.closing import AnyCourier
    from corelib.shell.observer import Observer
    from corelib.shell.report import Report

__all__ = ["Carrier", "Destination", "Listeners", "choose_destination", "close_at_once", "start_couriers"]

_SERVER: Final = "http"
_IN_THIS_PROCESS: Final = frozenset({"memory"})  # what it keeps would be of no use in another process


class Carrier(NamedTuple):
    """One transport that wants the records themselves.

    Args:
        name: what to call it; unique within the run.
        spec: how it was asked for: a text, or the transport itself.
        address: what to make it from.
    """

    name: str
    spec: object
    address: Address

    def load(self) -> CompleteTransport:
        """Make the transport; what it does not declare is not called."""
        from corelib.shell.wiring import load_transport

        return cast("CompleteTransport", load_transport(self.spec, self.address))

    @property
    def can_leave(self) -> bool:
        """Whether it can be made and work in another process."""
        return isinstance(self.spec, str) and self.spec not in _IN_THIS_PROCESS


class Destination(NamedTuple):
    """Where a run goes.

    Args:
        mode: online, offline or disabled, as it turned out.
        keeps_journal: whether anything is written to disk.
        carriers: the transports that want the records themselves.
        server: the one of them that knows whether a run exists; None where this machine decides.
        warnings: what the user was told on the way, as why the run is offline. No log of the run has it yet.
    """

    mode: str
    keeps_journal: bool
    carriers: tuple[Carrier, ...] = ()
    server: Carrier | None = None
    warnings: tuple[str, ...] = ()

    def offline(self) -> Destination:
        """Return the destination without its server, as when that cannot be reached."""
        left = tuple(carrier for carrier in self.carriers if carrier is not self.server)
        return Destination("offline", self.keeps_journal, left, warnings=self.warnings)


class Listeners(NamedTuple):
    """Who hears what couriers have to say, each on a thread of its own.

    Args:
        report: lines for the user.
        found: what the backend calls the run.
        stopped: the backend asks that the run be ended.
    """

    report: Callable[[str], None]
    found: Callable[[RemoteAddress], None]
    stopped: Callable[[], None]


def choose_destination(resolution: Resolution, data_directory: str, *, report: Report) -> Destination:
    """Decide from the settings where a run goes.

    Raises:
        UsageError: there is no such transport, or the settings contradict each other.
        AuthenticationError: the key is malformed.
    """
    if resolution.settings.mode == "disabled":
        return Destination("disabled", keeps_journal=False)
    return _Choice(resolution, data_directory, report).destination()


class _Choice:
    """The choice for one run: the transports that were asked for, or else the server of the settings."""

    def __init__(self, resolution: Resolution, data_directory: str, report: Report) -> None:
        self._resolution = resolution
        self._settings = resolution.settings
        self._data_directory = data_directory
        self._report = report
        self._carriers: dict[str, Carrier] = {}
        self._server: Carrier | None = None
        self._left_out: list[tuple[str, str]] = []  # address and reason of each server
        self._warnings: list[str] = []

    def destination(self) -> Destination:
        """Choose.

        Raises:
            Error: the caller's words do not allow what is left.
        """
        wanted = self._settings.transport
        keeps_journal = True
        if wanted is not None:
            keeps_journal = self._take_given(wanted if isinstance(wanted, tuple) else (wanted,))
        elif self._settings.mode == "online":
            address = self._admitted(_SERVER)
            if address is not None:
                self._server = self._carriers[_SERVER] = Carrier(_SERVER, _SERVER, address)
        for url, reason in self._left_out:
            self._warn(reason if self._server is None else _not_delivered(url))
        is_offline = self._left_out and self._server is None
        mode = "offline" if is_offline else self._settings.mode
        return Destination(
            mode, keeps_journal, tuple(self._carriers.values()), self._server, tuple(self._warnings)
        )

    def _take_given(self, specs: Sequence[object]) -> bool:
        """Take transports, but no server that the user is not logged in to; return whether one wants a journal."""
        from corelib.pure.key_scope import is_server, server_of
        from corelib.shell.wiring import transport_name

        online = self._settings.mode == "online"
        keeps_journal = False
        for spec in specs:
            # A name without an address is a mistake in what was asked for, which its transport complains about.
            is_nowhere = online and server_of(spec, self._settings.base_url) is None
            if is_server(spec) and not is_nowhere:
                address = self._admitted(spec)
                if address is None:
                    keeps_journal = True
                    continue
            else:
                address = self._address(spec)
            carrier = Carrier(_unused(transport_name(spec), self._carriers), spec, address)
            capabilities = carrier.load().capabilities
            keeps_journal = keeps_journal or capabilities.journal
            if capabilities.journal and not capabilities.is_journal:
                self._carriers[carrier.name] = carrier
                if self._server is None and online and capabilities.create:
                    self._server = carrier
        return keeps_journal

    def _admitted(self, spec: object) -> Address | None:
        """Return the address of a server with the key for it; None: it is left out, which is to be said in one line.

        Raises:
            Error: the caller's words do not allow to leave it out, or the key is malformed.
        """
        from corelib.pure.credentials import decide, key_state
        from corelib.pure.key_scope import server_of

        settings = self._settings
        address = self._address(spec)
        url = server_of(spec, settings.base_url)
        decision = decide(
            mode=settings.mode,
            key=key_state(address.key),
            server="unasked" if url else "unknown",
            force=settings.force,
            anonymous=settings.anonymous,
            # The first server answers for the run; whoever comes after it is told.
            resume=settings.resume if self._server is None else None,
            has_id=settings.run_id is not None,
            url=url or "",
        )
        if decision.action == "refuse":
            raise (decision.error or Error)(decision.reason)
        if decision.action == "online":
            return address
        if decision.action == "local":
            self._report.say(decision.reason)
        else:
            self._left_out.append((url or "", decision.reason))
        return None

    def _address(self, spec: object) -> Address:
        from corelib.shell.server_address import address_of

        address, problems = address_of(spec, self._resolution, self._data_directory)
        for problem in problems:
            if problem.text not in self._warnings:
                self._warn(problem.text)
        return address

    def _warn(self, text: str) -> None:
        self._report.warn(text)
        self._warnings.append(text)


def _not_delivered(url: str) -> str:
    """Say that a run goes to one server and not to another, for want of a key."""
    from corelib.pure.credentials import how_to_log_in

    return (
        f"There is no API key for {url}: the run is not delivered there. Log in with {how_to_log_in(url)}; "
        "`corelib sync` delivers it then."
    )


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """Return `name`, with a number behind it if another transport has it already."""
    number = 1
    unused = name
    while unused in taken:
        number += 1
        unused = f"{name}-{number}"
    return unused


def start_couriers(
    destination: Destination,
    run: RunRef,
    start: RunStart,
    *,
    writer: str,
    in_process: bool,
    listeners: Listeners,
) -> list[AnyCourier]:
    """Start one courier per transport that wants the records themselves.

    Args:
        destination: where the run goes.
        run: its address, with its directory.
        start: how it began.
        writer: the writer whose end is the end of the run.
        in_process: whether couriers get processes of their own, where their transports can be made there.
        listeners: who hears what they have to say.

    Raises:
        JournalError: there is no room for one, not even on a thread.
    """
    couriers: list[AnyCourier] = []
    try:
        for carrier in destination.carriers:
            if isinstance(carrier.spec, str):
                courier = _named(carrier, run, writer, listeners, in_process=in_process and carrier.can_leave)
            else:
                courier = _live(carrier, run, start, writer, listeners)
            couriers.append(courier)
            courier.start()
    except OSError as error:
        close_at_once(couriers)
        raise JournalError(
            f"Nothing can be started that carries run {run.run_id} ({error.strerror or error}): free what this process "
            "holds too much of, such as open files, or use mode='offline'."
        ) from error
    except BaseException:
        close_at_once(couriers)
        raise
    return couriers


def close_at_once(couriers: Sequence[AnyCourier]) -> None:
    """Withdraw couriers without a word, as of a run that could not begin."""
    for courier in couriers:
        courier.withdraw()


def _named(
    carrier: Carrier, run: RunRef, writer: str, listeners: Listeners, *, in_process: bool
) -> AnyCourier:
    from attrs import asdict, astuple

    from corelib.shell.delivery_spec import DeliverySpec
    from corelib.shell.fresh_key import FreshKey
    from corelib.shell.wiring import destination_name

    address = carrier.address
    fresh_key = astuple(address.fresh_key) if isinstance(address.fresh_key, FreshKey) else None
    spec = DeliverySpec(
        address=asdict(address, filter=lambda attribute, _: attribute.name != "fresh_key"),
        fresh_key=fresh_key,
        run_id=run.run_id,
        project=run.project,
        entity=run.entity,
        directory=run.directory or "",
        name=carrier.name,
        cursor_name=destination_name(carrier.spec, carrier.address),
        writer=writer,
        pid=os.getpid(),
    )
    if in_process:
        from corelib.shell.courier_process import CourierProcess

        return CourierProcess(
            spec, report=listeners.report, on_stopped=listeners.stopped, on_remote=listeners.found
        )
    from corelib.shell.courier import courier_for

    return courier_for(spec, carrier.load(), report=listeners.report, observer=_observer(listeners))


def _live(carrier: Carrier, run: RunRef, start: RunStart, writer: str, listeners: Listeners) -> AnyCourier:
    from pathlib import Path

    from corelib.pure.paths import RunPaths
    from corelib.shell.closing import Fate
    from corelib.shell.courier import Courier
    from corelib.shell.source import CompletedSource

    transport = cast("Transport", carrier.spec)
    fate = Fate()
    journal = RunPaths(Path(run.directory or "")).journal
    courier = Courier(
        transport,
        CompletedSource(journal, primary=writer, start=start, start_time=start.time, fate=fate),
        run=run,
        start=start,
        name=carrier.name,
        report=listeners.report,
        observer=_observer(listeners),
    )
    courier.fate = fate
    return courier


def _observer(listeners: Listeners) -> Observer:
    from corelib.shell.observer import Observer

    return Observer(listeners.found, listeners.stopped)
