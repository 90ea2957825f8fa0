"""The git repository around a directory: where it begins, and what it is called.

Law: files are read and git is not run. Whatever stands in the files, the answer is a name or none; a repository that
cannot be read is no reason to stop anybody's training.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from corelib.pure.repository import git_directory, infer_project, remote_name

__all__ = ["Repository", "find_repository", "project_of"]

_LONGEST_READ: int = 1 << 20  # bytes of a git configuration; real ones have some hundred


class Repository(NamedTuple):
    """A repository: the root of its working tree, and its name."""

    root: str
    name: str


def project_of(here: str, program: str | None) -> str:
    """Return the project's name for a program started in the directory `here`."""
    repository = find_repository(here)
    if repository is None:
        return infer_project(None)
    if program is None:
        return infer_project(repository.name)
    place = os.path.dirname(os.path.realpath(os.path.join(here, program)))
    below = os.path.relpath(place, os.path.realpath(repository.root)).split(os.sep)
    # A program outside of the repository has no place in it.
    return infer_project(repository.name, () if below[0] in (os.curdir, os.pardir) else below)


def find_repository(here: str) -> Repository | None:
    """Return the repository that holds a directory, or None."""
    place = os.path.abspath(here)
    while not os.path.exists(os.path.join(place, ".git")):
        above = os.path.dirname(place)
        if above == place:
            return None
        place = above
    git = os.path.join(place, ".git")
    if os.path.isdir(git):
        return Repository(place, _name(git) or os.path.basename(place))
    # The `.git` of a worktree or a submodule is a file that says where the directory is.
    target = git_directory(_read(git))
    if target is None:
        return None
    git = os.path.join(place, target)
    common = _read(os.path.join(git, "commondir")).strip()
    if not common:
        return Repository(place, _name(git) or os.path.basename(place))
    shared = os.path.normpath(os.path.join(git, common))
    main, last = os.path.split(shared)
    called = os.path.basename(main) if last == ".git" else last.removesuffix(".git")
    return Repository(place, _name(shared) or called)


def _name(git: str) -> str | None:
    return remote_name(_read(os.path.join(git, "config")))


def _read(path: str) -> str:
    """Return the text of a file, or "" if there is none that can be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST_READ)
    except OSError:
        return ""
