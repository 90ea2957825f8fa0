"""`corelib doctor`: what would `init()` do here, and what would be in its way?

Law: it asks the rules that `init()` asks, for a call without arguments, and looks where `init()` would write. It makes
nothing, locks nothing, and asks no server.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from corelib.api.core import default
from corelib.commands.selection import print_json
from corelib.commands.settings import complain, resolve_here, shown_value
from corelib.pure import credentials
from corelib.pure.paths import resume_file
from corelib.pure.resolve import Resolution
from corelib.pure.resume import Corrupt, Decision, Requested
from corelib.shell.drive import ResumeDriver
from corelib.shell.gather import Gathered
from corelib.shell.keys import search_key
from corelib.shell.marker import MarkerFile
from corelib.terminal import counted, emit, outline, printable, size

if TYPE_CHECKING:
    from corelib.pure.resume_table import Policy

__all__ = ["Diagnosis", "Place", "diagnose", "inspect", "run"]

_NOBODY_SAID: Final = frozenset({"default", "detected"})
_TIGHT_BYTES: Final = 100 * 1000**2


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
    decision: Decision
    problems: list[str]


def run(arguments: argparse.Namespace) -> int:
    """Say what would happen; 1 if something is in the way."""
    gathered, resolution = resolve_here()
    if resolution is None:
        return complain(gathered.problems)
    diagnosis = diagnose(gathered, resolution)
    if arguments.json:
        print_json(_document(gathered, resolution, diagnosis))
    else:
        emit(_lines(gathered, resolution, diagnosis))
    return 1 if diagnosis.problems else 0


def diagnose(gathered: Gathered, resolution: Resolution) -> Diagnosis:
    """Ask the rules and look at the disk."""
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
    )
    if login.action == "refuse":
        problems.append(login.reason)
    recorded = "nowhere" if settings.mode == "disabled" else "on this machine"
    place = inspect(gathered.data_directory)
    marker = MarkerFile(resume_file(Path(gathered.data_directory), default.names.directory))
    named = marker.read()
    if isinstance(named, Corrupt):
        problems.append(f"The resume file names no run: {named.reason}.")
    decision = _decide(resolution, gathered.data_directory, marker)
    if decision.action == "refuse":
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


def _faults(place: Place) -> Iterator[str]:
    if not place.writable:
        yield (
            f"{place.made_in} cannot be written: init() would record in {tempfile.gettempdir()}. "
            "Give init(dir=…) another directory."
        )
    elif place.free_bytes < _TIGHT_BYTES:
        yield f"Only {size(place.free_bytes)} are free where runs are recorded ({place.made_in})."


def _decide(resolution: Resolution, directory: str, marker: MarkerFile) -> Decision:
    """Let the resume machine decide, as far as this machine's disk can tell. Nothing is started, so nothing is made."""
    from corelib.ports import Answer, RunRef
    from corelib.shell.wiring import load_transport

    settings = resolution.settings
    disk: Any = load_transport("file", directory)

    def ask_disk(run_id: str, timeout: float) -> Answer:
        answer: Answer = disk.lookup(RunRef(run_id=run_id, project=settings.project or ""), timeout)
        return answer

    request = Requested(
        policy=cast("Policy", settings.resume),
        run_id=settings.run_id,
        id_source=resolution.provenance["run_id"].origin,
        mode="disabled" if settings.mode == "disabled" else "offline",
        force=settings.force,
        fresh_id="(generated)",
    )
    return ResumeDriver(ask_disk=ask_disk, marker=marker).decide(request)


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
            ("plan", decision.action),
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
            "plan": decision.action,
            "run_id": decision.run_id,
            "starting_step": decision.starting_step,
            "rule": decision.rule,
            "reason": decision.reason,
            "marker": diagnosis.marker,
        },
        "problems": diagnosis.problems,
    }
