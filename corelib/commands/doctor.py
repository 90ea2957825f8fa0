"""`corelib doctor`: what would `init()` do here, and what would be in its way?

Law: it asks the rules that `init()` asks, for a call without arguments, and looks where `init()` would write. It makes
nothing and locks nothing, and asks a server only if told to (`--ask`).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from corelib.api.core import default
from corelib.commands.foretelling import Foretold, foretell
from corelib.commands.selection import print_json
from corelib.commands.settings import complain, resolve_here, shown_value
from corelib.ports import Address
from corelib.pure import credentials
from corelib.pure.paths import resume_file
from corelib.pure.printable import printable
from corelib.pure.resolve import Resolution
from corelib.pure.resume import Corrupt
from corelib.shell.accounts import verify_key
from corelib.shell.delivery_spec import place_of
from corelib.shell.gather import Gathered
from corelib.shell.keys import search_key
from corelib.shell.marker import MarkerFile
from corelib.shell.server_address import address_of
from corelib.terminal import counted, emit, outline, size

__all__ = ["Diagnosis", "Place", "diagnose", "inspect", "run"]

_NOBODY_SAID: Final = frozenset({"default", "detected"})
_TIGHT_BYTES: Final = 100 * 1000**2
_LONGEST_WAIT_S: Final = 10.0


class Place(NamedTuple):
    """A directory that would be written to. `made_in` is what must be writable to make it, if it is not there."""

    path: str
    exists: bool
    made_in: str
    writable: bool
    free_bytes: int


class Diagnosis(NamedTuple):
    """What `init()` would do, and what is wrong."""

    recorded: str
    why: str
    place: Place
    marker: str
    decision: Foretold
    problems: list[str]


def run(arguments: argparse.Namespace) -> int:
    """Say what would happen; 1 if something is in the way."""
    gathered, resolution = resolve_here()
    if resolution is None:
        return complain(gathered.problems)
    diagnosis = diagnose(gathered, resolution, ask=arguments.ask)
    if arguments.json:
        print_json(_document(gathered, resolution, diagnosis))
    else:
        emit(_lines(gathered, resolution, diagnosis))
    return 1 if diagnosis.problems else 0


def diagnose(gathered: Gathered, resolution: Resolution, *, ask: bool = False) -> Diagnosis:
    """Ask the rules, look at the disk, and ask the server if that is wanted."""
    settings = resolution.settings
    problems = [problem.text for problem in resolution.problems]
    search = search_key(resolution)
    problems += [problem.text for problem in search.problems]
    login = credentials.decide(
        mode=settings.mode,
        key=credentials.key_state(search.key.key if search.key else None),
        server="unasked" if settings.base_url else "unknown",
        force=settings.force,
        anonymous=settings.anonymous,
        resume=settings.resume,
        has_id=settings.run_id is not None,
        url=settings.base_url or "",
    )
    if login.action == "refuse":
        problems.append(login.reason)
    server = address_of("http", resolution).address if login.action == "online" else None
    recorded = "nowhere" if settings.mode == "disabled" else "on this machine"
    if server is not None:
        recorded += f" and at {place_of(server.base_url or '')}"
    place = inspect(gathered.data_directory)
    marker = MarkerFile(resume_file(Path(gathered.data_directory), default.names.directory))
    named = marker.read()
    if isinstance(named, Corrupt):
        problems.append(f"The resume file names no run: {named.reason}.")
    decision = foretell(resolution, gathered.data_directory, marker, server=server, ask=ask)
    refusal = _refusal(server) if server is not None and ask else None
    if refusal is not None:
        problems.append(refusal)
    if decision.plan == "refuse":
        problems.append(decision.reason)
    if settings.mode != "disabled":
        problems += _faults(place)
    return Diagnosis(
        recorded=recorded,
        why=login.reason,
        place=place,
        marker=f"names run {named}"
        if isinstance(named, str)
        else "names no run"
        if named
        else "is not there",
        decision=decision,
        problems=problems,
    )


def inspect(path: str) -> Place:
    """Look whether a directory could be written to, without writing."""
    nearest = path
    while not os.path.isdir(nearest):
        nearest = os.path.dirname(nearest) or os.curdir
    disk = os.statvfs(nearest)
    return Place(
        path=path,
        exists=nearest == path,
        made_in=nearest,
        writable=os.access(nearest, os.R_OK | os.W_OK | os.X_OK),
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _refusal(server: Address) -> str | None:
    """Ask the server whose key it is; return what is wrong with it, or with the way there."""
    answer = verify_key(server.base_url or "", server.key or "", _LONGEST_WAIT_S, server.headers)
    host = place_of(server.base_url or "")
    if answer.verdict == "accepted":
        return None
    if answer.verdict == "rejected":
        return f"{host} rejects the key: {answer.reason} Log in with `corelib login`."
    return f"{host} could not be asked whose key it is: {answer.reason}"


def _faults(place: Place) -> Iterator[str]:
    if not place.writable:
        yield (
            f"{place.made_in} cannot be written: init() would record in {tempfile.gettempdir()}. "
            "Give init(dir=…) another directory."
        )
    elif place.free_bytes < _TIGHT_BYTES:
        yield f"Only {size(place.free_bytes)} are free where runs are recorded ({place.made_in})."


def _said(resolution: Resolution) -> Iterator[tuple[str, str]]:
    """Yield the settings that somebody set, with the place where."""
    for name, provenance in resolution.provenance.items():
        if provenance.source not in _NOBODY_SAID:
            yield name, f"{shown_value(resolution, name)}  ({provenance.source}: {provenance.origin})"


def _lines(gathered: Gathered, resolution: Resolution, diagnosis: Diagnosis) -> Iterator[str]:
    place, decision = diagnosis.place, diagnosis.decision
    made = "" if place.exists else f", would be made in {place.made_in}"
    yield from outline(
        "init() here",
        [
            ("project", resolution.settings.project or "uncategorized"),
            ("recorded", diagnosis.recorded),
            ("because", diagnosis.why),
        ],
    )
    yield ""
    yield from outline(
        "directories",
        [
            ("runs", f"{place.path}{made}"),
            (
                "rights",
                f"{'can be written' if place.writable else 'CANNOT be written'}, {size(place.free_bytes)} free",
            ),
            *(("settings", path) for path in gathered.files),
        ],
    )
    yield ""
    said = list(_said(resolution)) or [("none", "everything is as it is by default")]
    yield from outline("settings that somebody set", said)
    yield ""
    yield from outline(
        "resume",
        [
            ("policy", resolution.settings.resume or "none"),
            ("plan", decision.plan),
            ("because", decision.reason),
            ("resume file", diagnosis.marker),
        ],
    )
    yield ""
    yield counted(len(diagnosis.problems), "problem")
    yield from (f"  {printable(problem)}" for problem in diagnosis.problems)


def _document(gathered: Gathered, resolution: Resolution, diagnosis: Diagnosis) -> dict[str, Any]:
    decision = diagnosis.decision
    return {
        "project": resolution.settings.project or "uncategorized",
        "mode": resolution.settings.mode,
        "recorded": diagnosis.recorded,
        "why": diagnosis.why,
        "directory": diagnosis.place._asdict(),
        "settings_files": list(gathered.files),
        "settings": {name: shown_value(resolution, name) for name, _ in _said(resolution)},
        "resume": {
            "policy": resolution.settings.resume,
            "plan": decision.plan,
            "run_id": decision.run_id,
            "starting_step": decision.starting_step,
            "rule": decision.rule,
            "reason": decision.reason,
            "marker": diagnosis.marker,
        },
        "problems": diagnosis.problems,
    }
