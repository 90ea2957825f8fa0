"""Which run directories a sync is about: from what the user names to chains of parts.

Law: the same set of runs is chosen whatever the order in which they are named. A run directory is found by its path, by
the directory that holds it, by its name or by its run's id; what was named and is not there is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from corelib.api.reading import LATEST
from corelib.errors import UsageError
from corelib.pure.chains import Link, chains
from corelib.pure.paths import latest_run, parse_folder_name
from corelib.segments import run_directories
from corelib.shell.survey import Part, survey

__all__ = ["chosen_chains", "chosen_directories"]

_NAMES_OF_RUNS_DIRECTORIES: Final = ("wandb", ".wandb")


def chosen_chains(directories: Iterable[Path], host: str | None) -> list[tuple[Part, ...]]:
    """Return the chains that these run directories are in, as far as their ends are chosen.

    Args:
        directories: absolute paths of run directories.
        host: the name of this machine.

    Raises:
        JournalError: one of them holds no journal.
        OSError: one of them cannot be read.
    """
    parts: dict[str, Part] = {}
    waiting = list(directories)
    chosen = {str(path) for path in waiting}
    while waiting:
        path = waiting.pop()
        if str(path) in parts:
            continue
        parts[str(path)] = part = survey(path, host)
        previous = _previous(part)
        if previous is not None and (previous / "journal").is_dir():
            waiting.append(previous)
    return [
        tuple(parts[link.folder] for link in chain) for chain in chains(map(_link, parts.values()), chosen)
    ]


def _previous(part: Part) -> Path | None:
    if part.start is None or part.start.previous is None:
        return None
    return part.directory.parent / os.path.basename(os.path.normpath(part.start.previous))


def _link(part: Part) -> Link:
    previous = _previous(part)
    began = part.header.start_time if part.header else 0.0
    return Link(str(part.directory), part.run_id, None if previous is None else str(previous), began)


def chosen_directories(paths: Sequence[str | os.PathLike[str]], runs_directory: str) -> list[Path]:
    """Return the run directories that are named, each once.

    Args:
        paths: run directories, directories that hold run directories, names of run directories, run ids, or `latest`.
        runs_directory: where names and ids are looked up.

    Raises:
        UsageError: one of them names no run.
    """
    found: dict[Path, None] = {}
    for path in paths:
        found.update(dict.fromkeys(_directories(os.fspath(path), runs_directory)))
    return list(found)


def _directories(text: str, runs_directory: str) -> list[Path]:
    root = Path(os.path.abspath(runs_directory))
    if text == LATEST:
        candidates = [latest_run(root)]
    elif os.sep in text or os.path.isdir(text):
        candidates = [Path(text)]
    else:
        candidates = [root / text]
    for candidate in candidates:
        if (candidate / "journal").is_dir():
            return [Path(os.path.realpath(candidate))]
        if candidate.is_dir():
            return _held(candidate)
    named = [path for path in _held(root) if (name := parse_folder_name(path.name)) and name.names(text)]
    matching = [path for path in named if survey(path).run_id == text]
    if not matching:
        raise UsageError(
            f"No run {text!r}: it is neither a run directory, nor a directory of runs, nor a run id in {root}."
        )
    return matching


def _held(directory: Path) -> list[Path]:
    """Return the run directories in a directory of runs, or in the one that stands in it."""
    inner = [directory / name for name in _NAMES_OF_RUNS_DIRECTORIES if (directory / name).is_dir()]
    root = Path(os.path.realpath(inner[0] if inner else directory))
    return [path for path in run_directories(root) if (path / "journal").is_dir()]
