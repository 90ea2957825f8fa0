"""`corelib ls [DIR]`: the runs of a directory, and what of them is pending.

Law: what is pending the library says (`corelib.api.syncing.Prospect`): at the destinations of the settings, and at
those that a run was sent to before. Where there are none, nothing can be.
"""

from __future__ import annotations

import argparse
from typing import Any

from corelib.api.core import default
from corelib.api.reading import RunView
from corelib.api.syncing import Prospect
from corelib.commands.selection import print_json, runs_directory
from corelib.terminal import duration, emit, moment, table

__all__ = ["run"]

_HEADINGS = ("run", "project", "name", "state", "started", "runtime", "pending", "folder")


def run(arguments: argparse.Namespace) -> int:
    """List the runs, the newest last, where the eye is."""
    directory = runs_directory(arguments.directory)
    # Folder names tell whole seconds; runs of one second are told apart by their journals.
    views = sorted(default.list_runs(directory), key=lambda view: view.start_time or 0.0)
    prospect = Prospect(default.names, default.session)
    if arguments.json:
        print_json([_document(view, prospect) for view in views])
    elif not views:
        emit([f"No runs in {directory}."])
    else:
        emit(table(_HEADINGS, [_cells(view, prospect) for view in views], "<<<<<>><"))
    return 0


def _cells(view: RunView, prospect: Prospect) -> tuple[Any, ...]:
    return (
        view.id,
        view.project,
        view.name,
        view.state,
        moment(view.start_time),
        duration(view.runtime),
        max(prospect.pending(view.path).values(), default=None),
        view.path.name,
    )


def _document(view: RunView, prospect: Prospect) -> dict[str, Any]:
    return {
        "id": view.id,
        "project": view.project,
        "name": view.name,
        "state": view.state,
        "exit_code": view.exit_code,
        "start_time": view.start_time,
        "runtime": view.runtime,
        "resumed": view.resumed,
        "pending": prospect.pending(view.path),
        "tags": list(view.tags),
        "path": str(view.path),
    }
