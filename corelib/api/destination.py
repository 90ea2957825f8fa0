"""Where a run goes: the mode as it turns out, and which transports carry its records.

Law: the journal comes first and is written in every mode but disabled; a transport is only ever fed from it. Words that
need a server and do not get one are an error or one clear line, as `corelib.pure.credentials` says. Nothing here asks a
server: `lookup` and `create` do, when the resume machine wants to know.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from corelib.errors import Error

if TYPE_CHECKING:
    from corelib.ports import Address, CompleteTransport, RunRef, Transport
    from corelib.pure.outcomes import RemoteAddress
    from corelib.pure.records import RunStart
    from corelib.pure.resolve import Resolution
    from corelib.shell.courier import AnyCourier
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
    """

    mode: str
    keeps_journal: bool
    carriers: tuple[Carrier, ...] = ()
    server: Carrier | None = None

    def offline(self) -> Destination:
        """Return the destination without its server, as when that cannot be reached."""
        left = tuple(carrier for carrier in self.carriers if carrier is not self.server)
        return Destination("offline", self.keeps_journal, left)


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
    settings = resolution.settings
    if settings.mode == "disabled":
        return Destination("disabled", keeps_journal=False)
    if settings.transport is not None:
        return _given(resolution, data_directory, report)
    if settings.mode == "offline":
        return Destination("offline", keeps_journal=True)
    return _server(resolution, data_directory, report)


def _given(resolution: Resolution, data_directory: str, report: Report) -> Destination:
    """Take the transports that were asked for."""
    from corelib.shell.wiring import transport_name

    settings = resolution.settings
    keeps_journal = False
    carriers: dict[str, Carrier] = {}
    server = None
    for spec in settings.transport if isinstance(settings.transport, tuple) else (settings.transport,):
        name = _unused(transport_name(spec), carriers)
        carrier = Carrier(name, spec, _address(resolution, data_directory, report, url=spec))
        capabilities = carrier.load().capabilities
        keeps_journal = keeps_journal or capabilities.journal
        if capabilities.journal and not capabilities.is_journal:
            carriers[name] = carrier
            if server is None and settings.mode == "online" and capabilities.create:
                server = carrier
    return Destination(settings.mode, keeps_journal, tuple(carriers.values()), server)


def _server(resolution: Resolution, data_directory: str, report: Report) -> Destination:
    """Go online where the settings allow it; else offline with one line.

    Raises:
        Error: the caller's words do not allow to go offline.
    """
    from corelib.pure.credentials import decide, key_state

    settings = resolution.settings
    address = _address(resolution, data_directory, report, url=_SERVER)
    decision = decide(
        mode=settings.mode,
        key=key_state(address.key),
        server="unasked" if settings.base_url else "unknown",
        force=settings.force,
        anonymous=settings.anonymous,
        resume=settings.resume,
    )
    if decision.action == "refuse":
        raise (decision.error or Error)(decision.reason)
    if decision.action != "online":
        report.say(decision.reason)
        return Destination("offline", keeps_journal=True)
    carrier = Carrier(_SERVER, _SERVER, address)
    return Destination("online", keeps_journal=True, carriers=(carrier,), server=carrier)


def _address(resolution: Resolution, data_directory: str, report: Report, *, url: object) -> Address:
    from corelib.ports import Address
    from corelib.shell.keys import search_key

    settings = resolution.settings
    search = search_key(resolution)
    for problem in search.problems:
        report.warn(problem.text, once=problem.text)
    return Address(
        url=url if isinstance(url, str) else "",
        wandb_dir=data_directory,
        base_url=settings.base_url,
        app_url=settings.app_url,
        key=search.key.key if search.key else None,
        timeout_s=settings.http_timeout,
        push_every_s=settings.x_push_interval,
        ignored=settings.ignore_globs,
        headers=settings.x_extra_http_headers or {},
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
    """
    couriers: list[AnyCourier] = []
    try:
        for carrier in destination.carriers:
            if isinstance(carrier.spec, str):
                courier = _named(carrier, run, writer, listeners, in_process=in_process and carrier.can_leave)
            else:
                courier = _live(carrier, run, start, listeners)
            courier.start()
            couriers.append(courier)
    except BaseException:
        close_at_once(couriers)
        raise
    return couriers


def close_at_once(couriers: Sequence[AnyCourier]) -> None:
    """Close couriers without waiting, as for a run that could not begin."""
    from corelib.shell.courier import close_all

    close_all(couriers, 0.0)


def _named(
    carrier: Carrier, run: RunRef, writer: str, listeners: Listeners, *, in_process: bool
) -> AnyCourier:
    from attrs import asdict

    from corelib.shell.delivery_spec import DeliverySpec, delivery_of
    from corelib.shell.wiring import destination_name

    spec = DeliverySpec(
        address=asdict(carrier.address),
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
    from corelib.shell.courier import Courier

    courier, _ = delivery_of(
        Courier,
        spec,
        transport=carrier.load(),
        report=listeners.report,
        fate=lambda: None,
        observer=_observer(listeners),
    )
    return courier


def _live(carrier: Carrier, run: RunRef, start: RunStart, listeners: Listeners) -> AnyCourier:
    from pathlib import Path

    from corelib.pure.paths import RunPaths
    from corelib.shell.courier import Courier
    from corelib.tail import Tail

    transport = cast("Transport", carrier.spec)
    return Courier(
        transport,
        Tail(RunPaths(Path(run.directory or "")).journal),
        run=run,
        start=start,
        name=carrier.name,
        report=listeners.report,
        observer=_observer(listeners),
    )


def _observer(listeners: Listeners) -> Any:
    from corelib.shell.delivery import Observer

    observer = Observer()
    observer.found = listeners.found  # type: ignore[method-assign, assignment]  # that is what it is for
    observer.stopped = listeners.stopped  # type: ignore[method-assign]  # as above
    return observer
