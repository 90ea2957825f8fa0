"""Which run directories a sync is about: from what the user names to chains of parts.

Law: the same set of runs is chosen whatever the order in which they are named. A run directory is found by its path, by
the directory that holds it, by its name or by its run's id. What was named and is not there is an error; so is what
holds no run, unless other words do: then it came along, as with a pattern of the shell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from corelib.api.reading import LATEST
from corelib.errors import JournalError, UsageError
from corelib.pure.chains import Link, chains, superseded
from corelib.pure.paths import latest_run, parse_folder_name
from corelib.pure.records import RunStart
from corelib.segments import run_directories
from corelib.shell.survey import Part, survey

__all__ = ["Chain", "chosen_chains", "chosen_directories", "everything_in"]

_NAMES_OF_RUNS_DIRECTORIES: Final = ("wandb", ".wandb")
_COLLISION: Final = re.compile(r"-[1-9][0-9]*$")


class Chain(NamedTuple):
    """What is to be delivered of one run.

    Args:
        parts: its run directories, in order.
        superseded: the directories among them whose place a later beginning of the run takes, each with that one.
    """

    parts: tuple[Part, ...]
    superseded: Mapping[str, str]


def chosen_chains(directories: Iterable[Path], host: str | None, run_id: str | None = None) -> list[Chain]:
    """Return the chains that these run directories are in, as far as their ends are chosen.

    Args:
        directories: absolute paths of run directories.
        host: the name of this machine.
        run_id: the id that was said for them. What is not chosen and has lost its beginning is left out then; and
            under an id that is not their own it does not matter what their own has come to.

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
    if run_id is not None:
        parts = {folder: part for folder, part in parts.items() if not part.is_lost or folder in chosen}
    links = [_link(part) for part in parts.values()]
    is_own_id = all(run_id in (None, part.run_id) for part in parts.values())
    later = superseded([*links, *_beside(parts, host)] if is_own_id else links)
    found = []
    for chain in chains(links, chosen):
        folders = [link.folder for link in chain]
        replaced = {folder: later[folder] for folder in folders if folder in later}
        found.append(Chain(tuple(parts[folder] for folder in folders), replaced))
    return found


def _previous(part: Part) -> Path | None:
    if part.start is None or part.start.previous is None:
        return None
    return part.directory.parent / os.path.basename(os.path.normpath(part.start.previous))


def _link(part: Part) -> Link:
    previous, start = _previous(part), part.start
    return Link(
        folder=str(part.directory),
        address=(start.entity if start else None, start.project if start else None, part.run_id),
        previous=None if previous is None else str(previous),
        start_time=part.header.start_time if part.header else 0.0,
        is_new=start is not None and _is_begun_anew(start),
    )


def _is_begun_anew(start: RunStart) -> bool:
    """Return whether a run begins in place of whatever has its id; who said `resume=` wanted it to go on."""
    return not start.resumed and start.previous is None and start.deferred is None and start.policy is None


def _beside(parts: Mapping[str, Part], host: str | None) -> list[Link]:
    """Return the other run directories of these runs: one of them may have taken the place of one that was named."""
    found = []
    for root in {part.directory.parent for part in parts.values()}:
        wanted = {part.run_id for part in parts.values() if part.directory.parent == root}
        for path in run_directories(root):
            name = parse_folder_name(path.name)
            # A folder may have a number behind the id, which ids may have as well.
            ids = set() if name is None else {name.run_id, _COLLISION.sub("", name.run_id)}
            if str(path) not in parts and ids & wanted and (path / "journal").is_dir():
                try:
                    part = survey(path, host)
                except (JournalError, OSError):  # what cannot be read takes nobody's place
                    continue
                found.append(_link(part))
    return found


def everything_in(runs_directory: str) -> list[Path]:
    """Return all run directories of a directory of runs."""
    root = Path(os.path.realpath(runs_directory))
    return [path for path in run_directories(root) if (path / "journal").is_dir()]


def chosen_directories(
    paths: Sequence[str | os.PathLike[str]], runs_directory: str, warn: Callable[[str], None]
) -> list[Path]:
    """Return the run directories that are named, each once.

    Args:
        paths: run directories, directories that hold run directories, names of run directories, run ids, or `latest`.
        runs_directory: where names and ids are looked up.
        warn: takes what the user should know of directories that are left out.

    Raises:
        UsageError: one of them names nothing, or none of them a run.
    """
    found: dict[Path, None] = {}
    without: list[str] = []
    for path in paths:
        text = os.fspath(path)
        named = _directories(text, runs_directory)
        found.update(dict.fromkeys(named))
        without += [] if named else [text]
    if without and not found:
        raise UsageError(f"{_nothing_in(without[0])}: name run directories, or a directory that holds some.")
    for text in without:
        if os.path.isdir(text):
            warn(f"{_nothing_in(text)}, and is left out.")
    return list(found)


def _nothing_in(text: str) -> str:
    if not os.path.isdir(text):
        return f"{text} is a file and no run"
    if parse_folder_name(os.path.basename(os.path.realpath(text))) is not None:
        return f"{text} holds no journal"
    return f"{text} is no run directory and holds none"


def _directories(text: str, runs_directory: str) -> list[Path]:
    """Return what a word names; nothing where it names what is there and holds no run.

    Raises:
        UsageError: it names nothing.
    """
    if not text:
        raise UsageError("An empty text names no run.")
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
    if not matching and not os.path.exists(text):
        raise UsageError(
            f"No run {text!r}: it is neither a run directory, nor a directory of runs, nor a run id in {root}."
        )
    return matching


def _held(directory: Path) -> list[Path]:
    """Return the run directories in a directory of runs, or in the one that stands in it."""
    inner = [directory / name for name in _NAMES_OF_RUNS_DIRECTORIES if (directory / name).is_dir()]
    return everything_in(str(inner[0] if inner else directory))
