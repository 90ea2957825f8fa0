"""A key that was written into the netrc file since the one that is in use was found.

Law: it is asked for only when the server has refused the key in use, and is for that server and no other. A netrc key
that stood there before does not take the place of one that the user gave in words: it may be another account's.
"""

from __future__ import annotations

import os

from attrs import frozen

from corelib.pure.credentials import key_state
from corelib.pure.netrc import netrc_password
from corelib.shell.keys import read_netrc

__all__ = ["FreshKey"]


@frozen
class FreshKey:
    """Where a newer key for one server would be. It is texts and numbers, and can be handed to another process.

    Args:
        url: the server's address.
        paths: where a netrc file can be, absolute; the first that is there counts.
        since: only a file that was written after this moment counts, in seconds since the epoch; None: any, for the
            key in use is from there too.
    """

    url: str
    paths: tuple[str, ...]
    since: float | None = None

    def __call__(self) -> str | None:
        """Return the key that stands there now; None: there is none, or it is no key."""
        for path in self.paths:
            try:
                written = os.stat(path).st_mtime
                text = read_netrc(path).decode("utf-8-sig")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError):
                return None
            key = netrc_password(text, self.url) if self.since is None or written >= self.since else None
            return key if key_state(key) == "well_formed" else None
        return None
