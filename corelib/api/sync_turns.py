"""Whose turn it is: which part of a run may be delivered to a server before which other.

Law: a part that has begun to arrive goes on where it began, so nothing else may come to stand there: a part that has
not begun waits until those that have are wholly delivered, in whatever order they were recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corelib.errors import JournalError
from corelib.pure.paths import parse_folder_name
from corelib.segments import run_directories
from corelib.shell.shipment import Destination, Shipment
from corelib.shell.survey import Part, survey

__all__ = ["has_begun", "hindrance"]


def has_begun(part: Part, destination: Destination) -> bool:
    """Return whether something of a part has arrived, and not all of it."""
    shipment = _shipment(part, destination)
    return shipment is not None and shipment.has_begun and not shipment.is_whole


def hindrance(shipment: Shipment, destination: Destination) -> str | None:
    """Return why it is not the turn of a part, for people; None: it is."""
    if shipment.has_begun:
        return None
    for other in _others(shipment, destination):
        # Who is about to begin has the turn of the run, or waits for it as we do.
        if other.has_begun and not other.is_whole:
            path = other.part.directory
            is_elsewhere = path.parent != shipment.part.directory.parent
            what_to_do = f"`corelib sync {path}` does so" if is_elsewhere else "sync again when it has ended"
            return f"{path.name} of the same run has begun to arrive, and is to be delivered whole first: {what_to_do}"
    return None


def _others(shipment: Shipment, destination: Destination) -> Iterator[Shipment]:
    """Yield the other parts of the run: those in the same runs directory, and those elsewhere that have begun."""
    part = shipment.part
    start = part.start
    for directory in dict.fromkeys((*run_directories(part.directory.parent), *map(Path, shipment.begun()))):
        name = parse_folder_name(directory.name)
        if directory == part.directory or name is None or not name.names(part.run_id):
            continue
        try:
            other = survey(directory)
        except (JournalError, OSError):
            continue  # what cannot be read cannot arrive either
        found = _shipment(other, destination)
        if start is None or found is None or other.start is None:
            continue
        if (other.start.entity, other.start.project) == (start.entity, start.project):
            yield found


def _shipment(part: Part, destination: Destination) -> Shipment | None:
    if part.header is None or part.start is None:
        return None
    return Shipment(part, part.header, part.start, destination)
