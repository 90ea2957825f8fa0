"""Whose turn it is: which part of a run may be delivered to a server before which other.

Law: a part that has begun to arrive goes on where it began, so nothing else may come to stand there: a part that has
not begun waits until those that have are wholly delivered, in whatever order they were recorded. What a part has
recorded after a later one began (a forked child may outlive its run) has no place there any more, and stays here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from corelib.errors import JournalError
from corelib.pure.paths import parse_folder_name
from corelib.segments import run_directories
from corelib.shell.shipment import Destination, Shipment
from corelib.shell.survey import Part, survey

__all__ = ["has_begun", "hindrance"]


class _Other(NamedTuple):
    """Another part of the same run: whether it has a place there, and whether all of it is delivered."""

    part: Part
    has_begun: bool
    is_delivered: bool


def has_begun(part: Part, destination: Destination) -> bool:
    """Return whether something of a part has arrived, and not all of it."""
    shipment = _shipment(part, destination)
    return shipment is not None and shipment.has_begun and not shipment.is_whole


def hindrance(shipment: Shipment, destination: Destination) -> str | None:
    """Return why it is not the turn of a part, for people; None: it is."""
    part = shipment.part
    for other in _others(part, destination):
        if not shipment.has_begun and not other.is_delivered:
            return (
                f"{other.part.directory.name} of the same run has begun to arrive, and is to be delivered whole first: "
                "sync again when it has ended"
            )
        if shipment.has_begun and other.has_begun and _began(other.part) > _began(part):
            return (
                f"it was recorded after {other.part.directory.name} of the same run began, and has no place before "
                "that any more; `corelib sync --id` delivers it under another id"
            )
    return None


def _others(part: Part, destination: Destination) -> Iterator[_Other]:
    """Yield the other parts of the run in the same directory that have begun to arrive, or are about to."""
    start = part.start
    for directory in run_directories(Path(part.directory.parent)):
        name = parse_folder_name(directory.name)
        if directory == part.directory or name is None or not name.names(part.run_id):
            continue
        try:
            other = survey(directory)
        except (JournalError, OSError):
            continue  # what cannot be read cannot arrive either
        theirs = other.start
        if (
            start is None
            or theirs is None
            or (theirs.entity, theirs.project) != (start.entity, start.project)
        ):
            continue
        shipment = _shipment(other, destination)
        # Who holds the lock may be about to begin.
        if shipment is not None and (shipment.has_begun or shipment.is_under_way):
            yield _Other(other, has_begun=shipment.has_begun, is_delivered=shipment.is_whole)


def _shipment(part: Part, destination: Destination) -> Shipment | None:
    if part.header is None or part.start is None:
        return None
    return Shipment(part, part.header, part.start, destination)


def _began(part: Part) -> tuple[float, str]:
    return (part.header.start_time if part.header else 0.0, os.path.basename(part.directory))
