"""The project's name where nobody gave one: the git repository's name and the program's place in it.

Law: texts in, names out. The repository is called what its remote is called, so that a project keeps its name in
every clone and worktree; without a remote it is called like its directory. What comes out passes `check_project`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from corelib.errors import UsageError
from corelib.pure.ids import check_project

__all__ = ["UNCATEGORIZED", "git_directory", "infer_project", "remote_name"]

UNCATEGORIZED: Final = "uncategorized"
"""The project of a program that is in no repository."""

_REPLACED: Final = frozenset("/\\#?%:")
_LONGEST_PROJECT: Final = 128


def git_directory(text: str) -> str | None:
    """Return the directory that a `.git` file (of a worktree or a submodule) points to, or None."""
    prefix, colon, target = text.strip().partition(":")
    return (target.strip() or None) if colon and prefix == "gitdir" else None


def remote_name(config: str) -> str | None:
    """Return the repository's name from the text of a git configuration: what `origin`, or else the first remote,
    is called at its server. None without a remote that has a name.
    """
    urls: dict[str, str] = {}
    remote: str | None = None
    for line in map(str.strip, config.splitlines()):
        if line.startswith("["):
            kind, _, name = line[1:].partition("]")[0].strip().partition(" ")
            remote = name.strip().strip('"') if kind.lower() == "remote" else None
        elif remote is not None:
            key, _, value = line.partition("=")
            if key.strip().lower() == "url":
                urls.setdefault(remote, _uncommented(value))
    names = (_last_part(urls[remote]) for remote in sorted(urls, key=lambda remote: remote != "origin"))
    return next(filter(None, names), None)


def infer_project(repository: str | None, below: Sequence[str] = ()) -> str:
    """Return the project's name.

    Args:
        repository: the repository's name, or None outside of any.
        below: the directories from the repository's root down to the program.
    """
    if not repository:
        return UNCATEGORIZED
    name = f"{repository}-{'_'.join(below)}" if below else repository
    legal = (
        "_" if character in _REPLACED or not character.isprintable() else character for character in name
    )
    name = "".join(legal)[:_LONGEST_PROJECT]
    try:
        return check_project(name)
    except UsageError:  # made of dots only, which a project's name cannot be
        return UNCATEGORIZED


def _uncommented(value: str) -> str:
    """Return a value of a git configuration without quotes and without the comment behind it."""
    value = value.strip()
    if value.startswith('"'):
        return value[1:].partition('"')[0]
    return value.partition("#")[0].partition(";")[0].strip()


def _last_part(url: str) -> str | None:
    """Return the last part of a URL's path. Its host and its credentials are never taken for a name."""
    host, colon, path = url.partition("://")
    if colon:
        path = path.partition("/")[2]
    else:
        host, colon, path = url.partition(":")
        # host:path as ssh writes it; but C:\path is a directory of Windows.
        if not colon or len(host) == 1 or "/" in host:
            path = url
    name = path.replace("\\", "/").rstrip("/").rpartition("/")[2].removesuffix(".git")
    return None if name in {"", ".", ".."} else name
