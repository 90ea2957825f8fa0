"""Where the API key is: what settings say, or else a netrc file.

Law: a netrc file is read only when nobody has given a key, and nothing but the key for the server leaves it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from corelib.pure.credentials import FoundKey, find_key
from corelib.pure.netrc import netrc_password
from corelib.pure.resolve import Resolution
from corelib.pure.sources import Problem
from corelib.shell.gather import home_directory, read_text

__all__ = ["KeySearch", "netrc_paths", "search_key"]

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


def search_key(resolution: Resolution, environ: Mapping[str, str] | None = None) -> KeySearch:
    """Return the key for the server of these settings.

    Args:
        resolution: the settings and where they come from.
        environ: the environment, by default the process's own as it is now.
    """
    settings = resolution.settings
    place = _PLACES.get(resolution.provenance["api_key"].source, "session")
    candidates = {place: settings.api_key}
    problems: list[Problem] = []
    if not settings.api_key and settings.base_url:
        text = _netrc_text(os.environ if environ is None else environ, problems)
        candidates["netrc"] = netrc_password(text, settings.base_url)
    return KeySearch(find_key(candidates), tuple(problems))


def netrc_paths(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where a netrc file can be; the first that is there counts."""
    chosen = environ.get("NETRC")
    if chosen:
        return (chosen,)
    home = home_directory(environ)
    return os.path.join(home, ".netrc"), os.path.join(home, "_netrc")


def _netrc_text(environ: Mapping[str, str], problems: list[Problem]) -> str:
    """Return the text of the first netrc file there is, or "" if there is none that can be read."""
    for path in netrc_paths(environ):
        try:
            return read_text(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            problems.append(Problem("detected", "api_key", f"The netrc file {path} is ignored: {reason}."))
            return ""
    return ""
