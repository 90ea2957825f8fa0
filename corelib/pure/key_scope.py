"""Which server the API key of the settings is for: a key goes to no other.

Law: a key goes with the address that was said with it, and nothing sends it elsewhere.

- What `login()` left is for the server of that login, whoever wins about `base_url` later.
- Any other key is for `base_url`, whoever said which: whoever sets both, or overrides one, means the two together.
- A transport that is named by its own URL has the key of that URL. The key of the settings is that one only if
  it is the same server as `base_url`; or if it is the only server that is named, and either no `base_url` is set at
  all, or key and transport stand in the same source and that source says no `base_url`, as in
  `init(settings={"transport": url, "api_key": key})`.

Where none of this holds, the key for that URL is looked for elsewhere, as in a netrc file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from corelib.errors import UsageError
from corelib.pure.coerce import server_url
from corelib.pure.resolve import Resolution

__all__ = ["goes_to", "headers_for_server", "is_server", "login_url", "server_of"]

_NAMES = frozenset({"http", "https", "wandb"})  # of transports that carry to the server of `base_url`
_HTTP = re.compile(r"https?://", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")


def is_server(spec: object) -> bool:
    """Return whether a transport that was named like this carries to a server that wants a login."""
    return isinstance(spec, str) and (spec in _NAMES or _HTTP.match(spec) is not None)


def server_of(spec: object, base_url: str | None) -> str | None:
    """Return the address that a transport carries to; None: it is not known, or it is no address.

    Args:
        spec: how the transport was named.
        base_url: the setting, which a bare name stands for.

    Raises:
        UsageError: it is an http or https URL that cannot be a server's.
    """
    if not isinstance(spec, str):
        return None
    if _HTTP.match(spec):
        return str(server_url("transport", spec, False))
    return spec if _URL.match(spec) else base_url


def login_url(resolution: Resolution) -> str | None:
    """Return the server that `login()` was for; None: it left none."""
    settings, provenance = resolution.settings, resolution.provenance["base_url"]
    if provenance.source == "login":
        return settings.base_url
    return next((lost.value for lost in provenance.overridden if lost.source == "login"), None)


def goes_to(resolution: Resolution, source: str, url: str) -> bool:
    """Return whether an API key is for a server.

    Args:
        resolution: the settings and where they come from.
        source: where the key stands: the source that decided `api_key`, or one that lost.
        url: the server's address, as `server_of` returns it.
    """
    settings, provenance = resolution.settings, resolution.provenance
    if source == "login":
        return url == login_url(resolution)
    if url == settings.base_url:
        return True
    if _servers(resolution) != {url}:
        return False
    in_one_breath = source == provenance["transport"].source != provenance["base_url"].source
    return settings.base_url is None or in_one_breath


def headers_for_server(resolution: Resolution) -> Mapping[str, str]:
    """Return the further headers for the server at base_url.

    They may be secrets, of the server that was set where they were: where `login()` names another one, it gets none.
    """
    settings, provenance = resolution.settings, resolution.provenance["base_url"]
    if provenance.source == "login" and any(
        lost.value != settings.base_url for lost in provenance.overridden
    ):
        return {}
    return settings.x_extra_http_headers or {}


def _servers(resolution: Resolution) -> set[str]:
    """Return the servers that the setting transport names."""
    settings = resolution.settings
    specs = settings.transport if isinstance(settings.transport, tuple) else (settings.transport,)
    found = set()
    for spec in specs:
        try:
            found.add(server_of(spec, settings.base_url))
        except UsageError:  # whoever carries to it says so
            continue
    return {url for url in found if url is not None and not url.startswith("file:")}
