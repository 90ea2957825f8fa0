"""`corelib ls [DIR]`: the runs of a directory, and what of them is pending at the destinations they were sent to."""

from __future__ import annotations

import argparse
from typing import Any

from corelib.api.core import default
from corelib.api.reading import RunView
from corelib.commands.selection import print_json, runs_directory
from corelib.shell.cursor import read_cursors
from corelib.shell.survey import survey
from corelib.terminal import duration, emit, moment, table

__all__ = ["run"]

_HEADINGS = ("run", "project", "name", "state", "started", "runtime", "pending", "folder")


def run(arguments: argparse.Namespace) -> int:
    """List the runs, the newest last, where the eye is."""
    directory = runs_directory(arguments.directory)
    # Folder names tell whole seconds; runs of one second are told apart by their journals.
    views = sorted(default.list_runs(directory), key=lambda view: view.start_time or 0.0)
    if arguments.json:
        print_json([_document(view) for view in views])
    elif not views:
        emit([f"No runs in {directory}."])
    else:
        emit(table(_HEADINGS, [_cells(view) for view in views], "<<<<<>><"))
    return 0


def _cells(view: RunView) -> tuple[Any, ...]:
    return (
        view.id,
        view.project,
        view.name,
        view.state,
        moment(view.start_time),
        duration(view.runtime),
        max(_pending(view).values(), default=None),
        view.path.name,
    )


def _document(view: RunView) -> dict[str, Any]:
    return {
        "id": view.id,
        "project": view.project,
        "name": view.name,
        "state": view.state,
        "exit_code": view.exit_code,
        "start_time": view.start_time,
        "runtime": view.runtime,
        "resumed": view.resumed,
        "pending": _pending(view),
        "tags": list(view.tags),
        "path": str(view.path),
    }


def _pending(view: RunView) -> dict[str, int]:
    """Return how many records each destination has not settled yet, as far as the run was ever sent to one."""
    cursors = read_cursors(str(view.path))
    written = survey(view.path).written if cursors else 0
    return {name: max(written - cursor.ledger.accepted, 0) for name, cursor in cursors.items()}
