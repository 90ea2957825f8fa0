"""The account behind a key: what a server says when it is asked about one, or for one.

Law: what speaks HTTP is known here by name only, and imported when somebody asks. Whatever goes wrong on the way is
an answer, never an exception. No answer shows a key, and none holds what a terminal would act upon: a server's words
are data.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple

from corelib.pure.credentials import Grant, Server, key_state
from corelib.pure.printable import printable
from corelib.pure.remote import LookupFailed

__all__ = ["AnonymousAnswer", "KeyAnswer", "anonymous_key", "verify_key"]

_MODULE: Final = "transports.http_accounts"


class KeyAnswer(NamedTuple):
    """What a server says about a key.

    Args:
        verdict: accepted, rejected or unreachable.
        account: whose key it is, as people know them; "" where the server does not say.
        reason: what happened, as a sentence, unless it was accepted.
        answered: whether there was an answer at all; one that leaves open whose key it is counts as unreachable.
    """

    verdict: Server
    account: str = ""
    reason: str = ""
    answered: bool = True


class AnonymousAnswer(NamedTuple):
    """What a server says when it is asked for a key without an account.

    Args:
        key: the key; None unless there is one.
        grant: without a key, what came of it: refused (it offers none) or unanswered.
        reason: what happened, as a sentence, unless there is a key.
    """

    key: str | None = None
    grant: Grant = "refused"
    reason: str = ""

    def __repr__(self) -> str:
        return f"AnonymousAnswer(key={'***' if self.key else None}, grant={self.grant!r}, reason={self.reason!r})"


def verify_key(
    base_url: str, key: str, timeout_s: float, headers: Mapping[str, str] | None = None
) -> KeyAnswer:
    """Ask a server whose key this is.

    Args:
        base_url: the server's address.
        key: the key; it goes to that server only.
        timeout_s: how long to wait for the answer, in seconds.
        headers: further headers, as a gateway before that server wants.
    """
    viewer = _http().ask_viewer(base_url, key, timeout_s, headers=headers)
    if viewer is None:
        return KeyAnswer("rejected", reason="It is nobody's.")
    if isinstance(viewer, LookupFailed):
        # Only "you are not logged in" speaks against the key, with 401 or in words. Whatever else was answered leaves
        # open whose it is, as no answer does.
        verdict: Server = "rejected" if viewer.kind == "auth" else "unreachable"
        return KeyAnswer(verdict, reason=_sentence(viewer.reason), answered=viewer.kind != "unreachable")
    names = [name for name in (viewer.username, viewer.entity) if name]
    return KeyAnswer("accepted", printable(names[0]) if names else "")


def anonymous_key(
    base_url: str, timeout_s: float, headers: Mapping[str, str] | None = None
) -> AnonymousAnswer:
    """Ask a server for a key without an account.

    Args:
        base_url: the server's address.
        timeout_s: how long to wait for the answer, in seconds.
        headers: further headers, as a gateway before that server wants.
    """
    key = _http().make_anonymous_key(base_url, timeout_s, headers=headers)
    if isinstance(key, LookupFailed):
        return AnonymousAnswer(
            None, "unanswered", f"No key without an account was given: {_sentence(key.reason)}"
        )
    if key_state(key) != "well_formed":
        return AnonymousAnswer(None, "refused", "The server offers no keys without an account.")
    return AnonymousAnswer(key)


def _http() -> Any:
    return import_module(_MODULE)


def _sentence(reason: str) -> str:
    reason = printable(reason)
    return reason if reason.endswith(".") else f"{reason}."
