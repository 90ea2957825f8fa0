"""Where a run goes: the mode as it turns out, and which transports carry its records.

Law: the journal comes first and is written in every mode but disabled; a transport is only ever fed from it. Words that
need a server and do not get one are an error or one clear line, as `corelib.pure.credentials` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from corelib.errors import Error, UsageError

if TYPE_CHECKING:
    from corelib.ports import RunRef, Transport
    from corelib.pure.records import RunStart
    from corelib.pure.resolve import Resolution
    from corelib.shell.courier import Courier
    from corelib.shell.report import Report

__all__ = ["Destination", "choose_destination", "start_couriers"]


class Destination(NamedTuple):
    """Where a run goes.

    Args:
        mode: online, offline or disabled, as it turned out.
        keeps_journal: whether anything is written to disk.
        transports: those that want the records themselves, by a name that is unique in the run.
    """

    mode: str
    keeps_journal: bool
    transports: Mapping[str, Transport] = MappingProxyType({})


def choose_destination(resolution: Resolution, data_directory: str, *, report: Report) -> Destination:
    """Decide from the settings where a run goes.

    Raises:
        UsageError: there is no such transport, or the settings contradict each other.
        CommError: a server is needed and cannot be used.
    """
    settings = resolution.settings
    if settings.mode == "disabled":
        return Destination("disabled", keeps_journal=False)
    if settings.transport is not None:
        return _given(settings.transport, settings.mode, data_directory)
    if settings.mode == "online":
        report.say(_why_offline(resolution, report))
    return Destination("offline", keeps_journal=True)


def _given(spec: object, mode: str, data_directory: str) -> Destination:
    """Load the transports that were asked for."""
    from corelib.shell.wiring import load_transport, transport_name

    keeps_journal = False
    carriers: dict[str, Transport] = {}
    for one in spec if isinstance(spec, tuple) else (spec,):
        transport = load_transport(one, data_directory)
        capabilities = transport.capabilities
        keeps_journal = keeps_journal or capabilities.journal
        if capabilities.journal and not capabilities.is_journal:
            carriers[_unused(transport_name(one), carriers)] = transport
    return Destination(mode, keeps_journal=keeps_journal, transports=carriers)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    """Return `name`, with a number behind it if another transport has it already."""
    number = 1
    unused = name
    while unused in taken:
        number += 1
        unused = f"{name}-{number}"
    return unused


def _why_offline(resolution: Resolution, report: Report) -> str:
    """Return the line that says why an online run is recorded offline.

    Raises:
        Error: the caller's words do not allow that.
    """
    from corelib.pure.credentials import decide, key_state
    from corelib.shell.keys import search_key

    settings = resolution.settings
    search = search_key(resolution)
    for problem in search.problems:
        report.warn(problem.text)
    key = key_state(search.key.key if search.key else None)
    decision = decide(
        mode=settings.mode,
        key=key,
        server="unasked" if settings.base_url else "unknown",
        force=settings.force,
        anonymous=settings.anonymous,
        resume=settings.resume,
    )
    if decision.action == "refuse":
        raise (decision.error or Error)(decision.reason)
    if decision.action == "online":
        reason = f"This version has no transport for the server {settings.base_url}, so the run is recorded offline."
        if settings.force:
            raise UsageError(f"force=True, but the run cannot be online. {reason}")
        return reason
    return decision.reason


def start_couriers(destination: Destination, run: RunRef, start: RunStart, report: Report) -> list[Courier]:
    """Start one courier per transport that wants the records themselves."""
    assert run.directory is not None  # a transport that is fed has a journal, and that lies in a directory
    from corelib.shell.courier import Courier
    from corelib.tail import Tail

    journal = Path(run.directory) / "journal"
    couriers = [
        Courier(transport, Tail(journal), run=run, start=start, name=name, report=report.warn)
        for name, transport in destination.transports.items()
    ]
    for courier in couriers:
        courier.start()
    return couriers
