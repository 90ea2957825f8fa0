"""`corelib login`: keep the API key of a server for the runs to come.

Law: the key comes from a person at the terminal or from standard input, never from the command line, where every
user of the machine and the shell's history would see it. 0 means that runs started from now on find an accepted key.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from corelib.api.core import default
from corelib.api.login import LoginWords, log_in
from corelib.errors import UsageError

__all__ = ["run"]

_LONGEST_KEY: Final = 10_000  # far beyond any: what is piped in by mistake does not fill memory


def run(arguments: argparse.Namespace) -> int:
    """Log in; 1 if nobody was logged in, or if the key could not be kept."""
    words = LoginWords(
        key=_piped_key(),
        host=arguments.host,
        anonymous=arguments.anonymous,
        relogin=arguments.relogin,
        verify=arguments.verify,
    )
    result = log_in(default.names, default.session, words)
    return 0 if result.logged_in and result.lasts else 1


def _piped_key() -> str | None:
    """Return the first line of standard input where that is a pipe or a file; None: it is empty.

    Raises:
        UsageError: there is more than one word.
    """
    stream = sys.stdin
    if stream is None or stream.isatty():
        return None
    words = stream.readline(_LONGEST_KEY).split()
    if len(words) > 1:
        raise UsageError(
            "Standard input is to hold the API key and nothing else, and it holds several words."
        )
    return words[0] if words else None
