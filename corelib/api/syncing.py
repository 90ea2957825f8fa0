"""`sync`: deliver what runs have recorded, as often as one likes, with the same result.

Law: any set of runs, in any order, finished, crashed or still running, converges on the same backend state. Each run
directory is delivered by the one delivery there is (`corelib.shell.delivery`), behind its own cursor and lock. What
cannot be meant, as two runs at one address, is refused before anything is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from corelib.api.sync_office import Job, Office, recorded
from corelib.api.sync_selection import Chain, chosen_chains, chosen_directories, everything_in
from corelib.api.sync_values import SyncInterrupted, SyncProgress, SyncRequest, SyncResult
from corelib.errors import AuthenticationError, Error, UsageError
from corelib.pure.credentials import how_to_log_in
from corelib.pure.key_scope import is_server, server_of
from corelib.pure.resolve import resolve
from corelib.shell.cursor import file_label
from corelib.shell.cursor_place import placed_cursors
from corelib.shell.gather import gather
from corelib.shell.report import Report
from corelib.shell.server_address import address_of
from corelib.shell.shipment import Destination, NewAddress, accounted
from corelib.shell.survey import Part, survey

if TYPE_CHECKING:
    from corelib.pure.resolve import Resolution
    from corelib.pure.settings import Settings
    from corelib.pure.sources import Identity as Names
    from corelib.shell.session import Session

__all__ = ["Prospect", "SyncInterrupted", "SyncProgress", "SyncRequest", "SyncResult", "sync"]


def sync(
    names: Names,
    session: Session,
    request: SyncRequest,
    progress: Callable[[Sequence[SyncProgress]], None] | None = None,
    stream: TextIO | None = None,
) -> list[SyncResult]:
    """Deliver runs; return what became of each, in the order of their beginning.

    Args:
        names: whose directories and environment variables are meant.
        session: the session whose settings apply.
        request: what, and where to.
        progress: called about ten times a second with what is under way.
        stream: where messages go, by default to whatever `sys.stderr` is at the time.

    Raises:
        UsageError: a name means no run, two runs would get one address, or there is no such destination.
        AuthenticationError: there is no key for the server.
        JournalError: a directory holds no journal.
        OSError: a directory cannot be read.
        SyncInterrupted: Ctrl-C was pressed; it says what had become of each run by then.
    """
    gathered = gather(names, login=session.login, setup=session.setup)
    settings = resolve(gathered.layers, gathered.problems).settings
    report = Report(names.name, silent=settings.silent, quiet=settings.quiet, stream=stream)
    directories = chosen_directories(request.paths, gathered.data_directory, report.warn)
    if request.everything:
        directories += everything_in(gathered.data_directory)
    chains = chosen_chains(directories, settings.host, request.run_id)
    _check_addresses(chains, request)
    destinations = _destinations(request, settings, names, session)
    if chains and not request.dry_run:
        _check_keys(destinations, names.prefix)
    patience_s = settings.finish_timeout if request.patience_s is None else request.patience_s
    office = Office(request, report, patience_s, progress)
    return office.deliver([Job(chain, destination) for chain in chains for destination in destinations])


def _check_addresses(chains: Sequence[Chain], request: SyncRequest) -> None:
    """Check that no two runs are to become one.

    Raises:
        UsageError: they are.
    """
    if request.run_id is not None and len(chains) > 1:
        raise UsageError(f"One id is for one run, and {len(chains)} runs are to be delivered.")
    taken: dict[tuple[str | None, str, str], Part] = {}
    for chain in chains:
        last = chain.parts[-1]
        if last.start is None:
            continue
        project = request.project or last.start.project
        address = (request.entity or last.start.entity, project, request.run_id or last.run_id)
        other = taken.setdefault(address, last)
        if other is not last:
            raise UsageError(
                f"{other.directory.name} and {last.directory.name} are two runs, and both would be run {last.run_id} "
                f"of project {project}: deliver one of them by itself, with --id and another id."
            )


def _check_keys(destinations: Sequence[Destination], prefix: str) -> None:
    """Check that there is a key for each server, before anything is delivered to any.

    Raises:
        AuthenticationError: there is none.
    """
    for one in destinations:
        if one.is_server and not one.server.key:
            url = server_of(one.spec, one.server.base_url)
            raise AuthenticationError(
                f"There is no key for {url} ({prefix}BASE_URL, or the transport that was named): log in with "
                f"{how_to_log_in(url or '')}, or set {prefix}API_KEY."
            )


def _destinations(
    request: SyncRequest, settings: Settings, names: Names, session: Session
) -> list[Destination]:
    """Return where to deliver to.

    Raises:
        UsageError: nobody said, or there is no such transport.
    """
    said = settings.transport if request.transport is None else request.transport
    if said is None and settings.base_url is not None:
        said = "http"
    specs = list(said) if isinstance(said, (list, tuple)) else [said]
    if said is None or any(is_server(spec) and server_of(spec, settings.base_url) is None for spec in specs):
        raise UsageError(
            f"Nobody said where to sync to: set {names.prefix}BASE_URL to the address of a server and log in with "
            "`corelib login`, or name a transport, as --transport file:///mnt/backup."
        )
    new = NewAddress(run_id=request.run_id, project=request.project, entity=request.entity)
    resolution = _resolution(names, session, {} if request.transport is None else {"transport": said})
    return [Destination(spec, address_of(spec, resolution).address, new) for spec in specs]


def _resolution(names: Names, session: Session, said: dict[str, Any]) -> Resolution:
    gathered = gather(names, settings=said, login=session.login, setup=session.setup)
    return resolve(gathered.layers, gathered.problems)


class Prospect:
    """What is left to deliver, as a sync without further words would see it. Nobody is asked for that.

    Args:
        names: whose directories and environment variables are meant.
        session: the session whose settings apply.
    """

    def __init__(self, names: Names, session: Session) -> None:
        gathered = gather(names, login=session.login, setup=session.setup)
        settings = resolve(gathered.layers, gathered.problems).settings
        self._host = settings.host
        try:
            request = SyncRequest(everything=True)
            self._destinations = _destinations(request, settings, names, session)
        except UsageError:  # nobody has said where to
            self._destinations = []

    def pending(self, directory: Path) -> dict[str, int]:
        """Return how many records of a run directory are pending, by destination.

        Destinations are those that it was sent to before, and those of the settings.

        Raises:
            JournalError: it holds no journal.
            OSError: it cannot be read.
        """
        cursors = placed_cursors(str(directory))
        if not (cursors or self._destinations):
            return {}
        part = survey(directory, self._host)
        start = part.start
        found: dict[str, int] = {}
        for destination in self._destinations:
            if not _is_journal(destination, part):
                name = None if start is None else destination.cursor_name(part.run_id, start)
                label = destination.label if name is None else file_label(name)
                found[label] = recorded(part, destination, "").ledger.pending
        for label, cursor in cursors.items():
            if label not in found:
                found[label] = accounted(part, cursor.ledger, is_complete=cursor.exited).pending
        return found


def _is_journal(destination: Destination, part: Part) -> bool:
    """Return whether a destination is the journal itself; what cannot be made holds nothing."""
    if destination.is_server:
        return False
    try:
        return destination.transport(part).capabilities.is_journal
    except Error:
        return False
