"""Questions about accounts that need no run: whose key is this, and may there be one without an account.

Law: one bounded exchange each; what is returned is an answer or the reason why there is none. A key is verified
by the server that it is for, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time
from typing import TYPE_CHECKING

from corelib.ports import LookupFailed
from transports.http_session import HttpSession, checked_base_url
from transports.wandb_exchange import HttpRequest, HttpResult, host_of
from transports.wandb_graphql import Reader, Viewer, anonymous_key_request, viewer_request
from transports.wandb_resume import lookup_failure

if TYPE_CHECKING:
    from requests import Session

__all__ = ["ask_viewer", "make_anonymous_key"]


def ask_viewer(
    base_url: str,
    key: str,
    timeout: float,
    session: Session | None = None,
    headers: Mapping[str, str] | None = None,
) -> Viewer | LookupFailed | None:
    """Ask a server within `timeout` seconds whose key this is; None: nobody's.

    Raises:
        UsageError: the base URL is no address, or holds a secret.
    """
    reader, result = _asked(base_url, key, viewer_request(), timeout, session, headers)
    viewer = reader.viewer()
    return viewer if viewer is None or isinstance(viewer, Viewer) else lookup_failure(result, viewer)


def make_anonymous_key(
    base_url: str,
    timeout: float,
    session: Session | None = None,
    headers: Mapping[str, str] | None = None,
) -> str | LookupFailed | None:
    """Ask a server within `timeout` seconds for a key without an account; None: it offers none.

    Raises:
        UsageError: the base URL is no address, or holds a secret.
    """
    reader, result = _asked(base_url, None, anonymous_key_request(), timeout, session, headers)
    key = reader.anonymous_key()
    return key if key is None or isinstance(key, str) else lookup_failure(result, key)


def _asked(
    base_url: str,
    key: str | None,
    request: HttpRequest,
    timeout: float,
    session: Session | None,
    headers: Mapping[str, str] | None,
) -> tuple[Reader, HttpResult]:
    url = checked_base_url(base_url)
    http = HttpSession(url, key, session=session, headers=headers)
    try:
        result = http.ask(request, timeout)
    finally:
        if session is None:
            http.close()
    return Reader(request, result, host_of(url), time()), result
