"""`corelib login`: keep the API key of a server for the runs to come.

Law: the key comes from a person at the terminal or from standard input, never from the command line, where every
user of the machine and the shell's history would see it. A pipe that nobody writes to is waited for only so long. 0
means that runs started from now on find an accepted key; where they would go to another server than the one that was
named, or to none, it is 1, and what to set is said.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from time import monotonic
from typing import Any, Final

from attrs import evolve

from corelib.api.core import default
from corelib.api.login import LoginWords, finds_key, log_in
from corelib.errors import UsageError
from corelib.pure.credentials import key_state
from corelib.pure.resolve import resolve
from corelib.pure.settings import Settings
from corelib.shell.gather import gather
from corelib.shell.report import Report

__all__ = ["run"]

_LONGEST_KEY: Final = 10_000  # far beyond any: what is piped in by mistake does not fill memory
_SHORT_WAIT_S: Final = 1.0  # for a pipe, where there is a key already
_LONG_WAIT_S: Final = 60.0  # where there is none: whoever writes it may have to ask for a passphrase first
_CHUNK_BYTES: Final = 4096


def run(arguments: argparse.Namespace) -> int:
    """Log in; 1 if nobody was logged in, or if later runs do not find the key or the server.

    Raises:
        Error: a word is wrong, or `log_in` says so.
    """
    if key_state(arguments.host) == "well_formed":
        raise UsageError(
            "--host takes the address of a server. What it was given may be a key, and is not shown."
        )
    words = LoginWords(
        host=arguments.host,
        anonymous=arguments.anonymous,
        relogin=arguments.relogin,
        verify=arguments.verify,
    )
    result = log_in(default.names, default.session, evolve(words, key=_piped_key(words)))
    if not (result.logged_in and result.lasts):
        return 1
    return 0 if arguments.host is None or _is_where_runs_go(arguments.host) else 1


def _is_where_runs_go(host: str) -> bool:
    """Return whether later runs go to a server; say what to set if they do not."""
    url = Settings(base_url=host).base_url
    gathered = gather(default.names)
    resolution = resolve(gathered.layers, gathered.problems)
    if resolution.settings.base_url == url:
        return True
    names = default.names
    other = resolution.settings.base_url
    origin = resolution.provenance["base_url"].origin
    instead = f"base_url is {other} ({origin})" if other else "base_url is not set"
    _report(resolution.settings).warn(
        f"The key is kept, but runs that do not name {url} themselves do not go there: {instead}. "
        f"For runs from this shell: `export {names.prefix}BASE_URL={url}`. For all runs: `base_url = {url}` in the "
        f"section [default] of ~/.config/{names.directory}/settings."
    )
    return False


def _piped_key(words: LoginWords) -> str | None:
    """Return the first line of standard input where that is a pipe or a file; None: it is empty, or nothing comes.

    Raises:
        UsageError: there is more than one word.
    """
    stream = sys.stdin
    if stream is None or stream.isatty():
        return None
    said = _first_line(stream, words).split()
    if len(said) > 1:
        raise UsageError(
            "Standard input is to hold the API key and nothing else, and it holds several words."
        )
    return said[0] if said else None


def _first_line(stream: Any, words: LoginWords) -> str:
    """Return what a stream says up to its first line feed. Jobs inherit pipes that stay open, and silent, for ever."""
    fd = stream.fileno()
    line = _read_line(fd, _SHORT_WAIT_S)
    if line is None and not finds_key(default.names, default.session, words):
        _report(None).say(f"Waiting up to {_LONG_WAIT_S:g} s for the API key on standard input.")
        line = _read_line(fd, _LONG_WAIT_S)
    return (line or b"").decode(errors="replace")


def _read_line(fd: int, wait_s: float) -> bytes | None:
    """Return the first line that can be read; None: nothing came in time. A writer that stalls has said it all."""
    deadline = monotonic() + wait_s
    data = b""
    while b"\n" not in data and len(data) < _LONGEST_KEY:
        ready, _, _ = select.select([fd], [], [], max(deadline - monotonic(), 0.0))
        if not ready:
            return data or None
        chunk = os.read(fd, _CHUNK_BYTES)
        if not chunk:
            break
        data += chunk
    return data.partition(b"\n")[0]


def _report(settings: Settings | None) -> Report:
    settings = settings or Settings()
    return Report(default.names.name, silent=settings.silent, quiet=settings.quiet)
