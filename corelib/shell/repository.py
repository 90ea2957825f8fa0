"""The git repository around a directory: where it begins, what it is called, and what is checked out.

Law: files are read and git is not run. Whatever stands in the files, the answer is a name or none; a repository that
cannot be read is no reason to stop anybody's training. No file is read without an end, so that `init()` stays quick.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from corelib.pure.repository import (
    commit_in,
    git_directory,
    infer_project,
    packed_commit,
    public_remote,
    reference_in,
    remote_name,
)

__all__ = ["Checkout", "Repository", "checkout_of", "find_repository", "project_of"]

_LONGEST_READ: Final = 1 << 20  # bytes of a git configuration; real ones have some hundred
_LONGEST_PACKED: Final = 4 << 20  # of packed references, some 60 bytes each
_MOST_REFERENCES: Final = 5  # one naming the other, as many as git itself follows


class Repository(NamedTuple):
    """A repository: the root of its working tree, and its name."""

    root: str
    name: str


class Checkout(NamedTuple):
    """What a program was started from: commit and remote of its repository, and its path in it, where known."""

    commit: str | None = None
    remote: str | None = None
    code_path: str | None = None


class _Place(NamedTuple):
    """Where a repository is: the root of the working tree, what is its own, and what it shares with others."""

    root: str
    git: str
    common: str


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


def checkout_of(program: str | None) -> Checkout:
    """Return what is checked out where a program lies, or else in the current directory."""
    try:
        path = os.path.realpath(program) if program else None
        place = _place_of(os.path.dirname(path)) if path else None
        if place is None:
            path, place = None, _place_of(os.getcwd())
        if place is None:
            return Checkout()
        below = os.path.relpath(path, os.path.realpath(place.root)) if path else None
    except (OSError, ValueError):  # the current directory is gone, or the program's name is no path
        return Checkout()
    return Checkout(
        commit=_commit(place),
        remote=public_remote(_read(os.path.join(place.common, "config"))),
        code_path=below.replace(os.sep, "/") if below else None,
    )


def find_repository(here: str) -> Repository | None:
    """Return the repository that holds a directory, or None."""
    place = _place_of(here)
    if place is None:
        return None
    called = os.path.basename(place.root)
    if place.common != place.git:
        main, last = os.path.split(place.common)
        called = os.path.basename(main) if last == ".git" else last.removesuffix(".git")
    return Repository(place.root, remote_name(_read(os.path.join(place.common, "config"))) or called)


def _place_of(here: str) -> _Place | None:
    root = os.path.abspath(here)
    while not os.path.exists(os.path.join(root, ".git")):
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above
    git = os.path.join(root, ".git")
    if os.path.isdir(git):
        return _Place(root, git, git)
    # The `.git` of a worktree or a submodule is a file that says where the directory is.
    target = git_directory(_read(git))
    if target is None:
        return None
    git = os.path.join(root, target)
    common = _read(os.path.join(git, "commondir")).strip()
    return _Place(root, git, os.path.normpath(os.path.join(git, common)) if common else git)


def _commit(place: _Place) -> str | None:
    text = _read(os.path.join(place.git, "HEAD"))
    for _ in range(_MOST_REFERENCES):
        reference = reference_in(text)
        if reference is None:
            return commit_in(text)
        text = _read(os.path.join(place.git, reference)) or _read(os.path.join(place.common, reference))
        if not text:
            return packed_commit(
                _bytes(os.path.join(place.common, "packed-refs"), _LONGEST_PACKED), reference
            )
    return None


def _read(path: str) -> str:
    """Return the text of a file, or "" if there is none that can be read."""
    return _bytes(path, _LONGEST_READ).decode("utf-8", "replace")


def _bytes(path: str, most: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except (OSError, ValueError):
        return b""
