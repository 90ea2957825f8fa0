"""From settings to what a transport is made from: the one place that says what a server is told.

Law: each server gets the key that is for it and no other's, as `corelib.pure.key_scope` says, now and when its key is
refused later. Nothing here asks a server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING, NamedTuple

from corelib.ports import Address
from corelib.pure.key_scope import server_of
from corelib.shell.fresh_key import FreshKey
from corelib.shell.keys import KeySearch, netrc_paths, search_key

if TYPE_CHECKING:
    from corelib.pure.resolve import Resolution
    from corelib.pure.sources import Problem

__all__ = ["Addressed", "address_of"]


class Addressed(NamedTuple):
    """The address of a transport, and what was in the way of its key."""

    address: Address
    problems: tuple[Problem, ...] = ()


def address_of(
    spec: object,
    resolution: Resolution,
    wandb_dir: str = "",
    environ: Mapping[str, str] | None = None,
) -> Addressed:
    """Return what to make a transport from.

    Args:
        spec: what was named: a transport's name, a URL or an object, which needs no key.
        resolution: the settings and where they come from.
        wandb_dir: the directory that holds the run directories.
        environ: the environment, by default the process's own as it is now.

    Raises:
        UsageError: it is an http or https URL that cannot be a server's.
    """
    environ = os.environ if environ is None else environ
    settings = resolution.settings
    url = server_of(spec, settings.base_url)
    search = search_key(resolution, environ, url=url) if isinstance(spec, str) else KeySearch(None, ())
    found = search.key
    fresh: FreshKey | None = None
    if found is not None and url is not None:
        paths = tuple(map(os.path.abspath, netrc_paths(environ)))
        fresh = FreshKey(url, paths, None if found.place == "netrc" else time())
    address = Address(
        url=spec if isinstance(spec, str) else "",
        wandb_dir=wandb_dir,
        base_url=settings.base_url,
        app_url=settings.app_url,
        key=None if found is None else found.key,
        fresh_key=fresh,
        timeout_s=settings.http_timeout,
        push_every_s=settings.x_push_interval,
        ignored=settings.ignore_globs,
        headers=settings.x_extra_http_headers or {},
    )
    return Addressed(address, search.problems)
