"""Which run the word RUN means, and how data is printed as JSON."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from corelib.api.core import default
from corelib.pure.wire import plain
from corelib.terminal import emit

if TYPE_CHECKING:
    from corelib.api.reading import RunView

__all__ = ["parts", "print_json", "runs_directory", "select"]

_NAMES_OF_RUNS_DIRECTORIES: Final = ("wandb", ".wandb")


def runs_directory(directory: str | None) -> str:
    """Return the directory that holds the runs: the `wandb` in `directory`, or that itself; None: `init()`'s here."""
    if directory is None:
        return default.directory()
    for name in _NAMES_OF_RUNS_DIRECTORIES:
        inner = os.path.join(directory, name)
        if os.path.isdir(inner):
            return inner
    return directory


def select(word: str, directory: str | None) -> RunView:
    """Return the run that a word names: an id, a folder name, a path, or `latest`.

    Raises:
        UsageError: there is no such run; the text says where it was looked for.
        JournalError: a directory without a journal.
    """
    return default.open_run(word, runs_directory(directory))


def parts(view: RunView) -> list[RunView]:
    """Return the run directories that make up a run: those that it continues, oldest first, and itself."""
    chain = [view]
    seen = {view.path}
    while (previous := chain[0].previous) is not None and previous.path not in seen:
        seen.add(previous.path)
        chain.insert(0, previous)
    return chain


def print_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a document as strict JSON: non-finite numbers are texts, as they are in a journal."""
    emit([json.dumps(plain(document), indent=indent, allow_nan=False, default=str)])
