"""Where the API key for a server is: what settings say, or else a netrc file.

Law: the key that is found is for the server that was asked about, as `corelib.pure.key_scope` says. A netrc file is
read only when nobody has given one, and nothing but the key for the server leaves it. What is read is a regular file
of a sensible size: no device, pipe or flood holds anybody up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from errno import EFBIG, EINVAL, EISDIR
from stat import S_ISCHR, S_ISDIR, S_ISREG
from typing import Final, NamedTuple

from corelib.pure.credentials import FoundKey, find_key
from corelib.pure.key_scope import goes_to
from corelib.pure.netrc import netrc_password
from corelib.pure.resolve import Resolution
from corelib.pure.sources import Problem
from corelib.shell.gather import home_directory

__all__ = ["KeySearch", "netrc_paths", "read_netrc", "search_key"]

_MOST_NETRC_BYTES: Final = 1 << 20

# The place of credentials.LOOKUP for each source of settings; every other source is the session's.
_PLACES: Final = {
    "environment": "environment",
    "system_file": "settings_file",
    "workspace_file": "settings_file",
}


class KeySearch(NamedTuple):
    """The key that was found, or None, and what was in the way."""

    key: FoundKey | None
    problems: tuple[Problem, ...]


def search_key(
    resolution: Resolution, environ: Mapping[str, str] | None = None, *, url: str | None = None
) -> KeySearch:
    """Return the key for a server.

    Args:
        resolution: the settings and where they come from.
        environ: the environment, by default the process's own as it is now.
        url: the server's address as `corelib.pure.key_scope.server_of` returns it, by default the setting base_url.
    """
    environ = os.environ if environ is None else environ
    url = resolution.settings.base_url if url is None else url
    candidates = _given(resolution, url, environ)
    problems: list[Problem] = []
    if not any(candidates.values()) and url:
        candidates["netrc"] = netrc_password(_netrc_text(environ, problems), url)
    return KeySearch(find_key(candidates), tuple(problems))


def _given(resolution: Resolution, url: str | None, environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the key that settings give for a server, under its place of credentials.LOOKUP."""
    provenance = resolution.provenance["api_key"]
    if url is None or goes_to(resolution, provenance.source, url):
        return {_PLACES.get(provenance.source, "session"): resolution.settings.api_key}
    # A login to another server does not hide what was there before it. Settings keep no secret that lost.
    for lost in provenance.overridden if provenance.source == "login" else ():
        if lost.source == "environment" and goes_to(resolution, lost.source, url):
            return {"environment": environ.get(lost.origin)}
    return {}


def netrc_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where a netrc file can be; the first that is there counts."""
    chosen = environ.get("NETRC")
    home = home_directory(environ)
    if chosen == "~" or (chosen and chosen.startswith("~/")):
        return (home + chosen[1:],)
    if chosen:
        return (os.path.expanduser(chosen),)  # another user's home
    return os.path.join(home, ".netrc"), os.path.join(home, "_netrc")


def read_netrc(path: str) -> bytes:
    """Return what is in a netrc file, nothing where there is none by intention: in the null device.

    Raises:
        OSError: it cannot be read, is no regular file, or is far too large.
    """
    # Without O_NONBLOCK a pipe that nobody writes to would be waited for, here and for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if S_ISCHR(status.st_mode) and status.st_rdev == os.stat(os.devnull).st_rdev:
            return b""
        if S_ISDIR(status.st_mode):
            raise OSError(EISDIR, os.strerror(EISDIR))
        if not S_ISREG(status.st_mode):
            raise OSError(EINVAL, "it is no regular file")
        with open(fd, "rb", closefd=False) as file:
            data = file.read(_MOST_NETRC_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > _MOST_NETRC_BYTES:
        raise OSError(EFBIG, f"it is larger than {_MOST_NETRC_BYTES >> 20} MiB")
    return data


def _netrc_text(environ: Mapping[str, str], problems: list[Problem]) -> str:
    """Return the text of the first netrc file there is, or "" if there is none that can be read."""
    for path in netrc_paths(environ):
        try:
            return read_netrc(path).decode("utf-8-sig")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else _reason(error)
            problems.append(Problem("detected", "api_key", f"The netrc file {path} is ignored: {reason}."))
            return ""
    return ""


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
