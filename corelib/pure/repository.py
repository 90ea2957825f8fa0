"""What the files of a git repository say: the project's name where nobody gave one, the commit, the remote.

Law: texts in, names out. The repository is called what its remote is called, so that a project keeps its name in
every clone and worktree; without a remote it is called like its directory. A project's name passes `check_project`;
a commit is a hash or none; no remote has a user, a password or a token in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from corelib.errors import UsageError
from corelib.pure.ids import check_project

__all__ = [
    "UNCATEGORIZED",
    "commit_in",
    "git_directory",
    "infer_project",
    "packed_commit",
    "public_remote",
    "reference_in",
    "remote_name",
]

UNCATEGORIZED: Final = "uncategorized"
"""The project of a program that is in no repository."""

_REPLACED: Final = frozenset("/\\#?%:")
_LONGEST_PROJECT: Final = 128
_LONGEST_REMOTE: Final = 1000
_HASH: Final = r"[0-9a-f]{40}|[0-9a-f]{64}"
_REFERENCE: Final = r"ref:[ \t]*(refs/\S+)"


def git_directory(text: str) -> str | None:
    """Return the directory that a `.git` file (of a worktree or a submodule) points to, or None."""
    prefix, colon, target = text.strip().partition(":")
    return (target.strip() or None) if colon and prefix == "gitdir" else None


def remote_name(config: str) -> str | None:
    """Return the repository's name from the text of a git configuration: what `origin`, or else the first remote,
    is called at its server. None without a remote that has a name.
    """
    return next(filter(None, map(_last_part, _remote_urls(config))), None)


def public_remote(config: str) -> str | None:
    """Return the address of `origin`, or else of the first remote, from the text of a git configuration.

    User and password, query and fragment are left out; of a user only `git`, which everybody is, stays. Where it is
    not clear what is a password, there is no address.
    """
    url = next(iter(_remote_urls(config)), "")
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    is_command = "::" in authority or "::" in scheme  # of a helper of git; it may hold anything
    if is_command or (authority and "@" in path) or not url.isprintable() or len(url) > _LONGEST_REMOTE:
        return None
    if at and user == "git":
        host = authority
    if separator:
        path = re.split(r"[?#]", path, maxsplit=1)[0]
        host = re.split(r"[?#]", host, maxsplit=1)[0]
    return f"{scheme}{separator}{host}{slash}{path}" or None


def commit_in(text: str) -> str | None:
    """Return the hash that a text consists of, or None."""
    text = text.strip()
    return text if re.fullmatch(_HASH, text) else None


def reference_in(text: str) -> str | None:
    """Return the reference that a `HEAD`, or another symbolic reference, names; None if it names none below `refs`."""
    found = re.fullmatch(_REFERENCE, text.strip())
    return found[1] if found and ".." not in found[1] else None


def packed_commit(packed: bytes, reference: str) -> str | None:
    """Return the commit of a reference from the content of a `packed-refs`, or None."""
    at = packed.find(f" {reference}\n".encode("utf-8", "replace"))
    line = packed[packed.rfind(b"\n", 0, max(at, 0)) + 1 : max(at, 0)]
    return commit_in(line.decode("ascii", "replace"))


def _remote_urls(config: str) -> list[str]:
    """Return the first address of each remote, that of `origin` first."""
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
    return [urls[remote] for remote in sorted(urls, key=lambda remote: remote != "origin")]


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
