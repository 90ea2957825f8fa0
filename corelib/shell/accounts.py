"""The account behind a key: what a server says when it is asked about one, or for one.

Law: what speaks HTTP is known here by name only, and imported when somebody asks. Whatever goes wrong on the way is
an answer, never an exception, and no answer holds a key but that which was asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple, Protocol

from corelib.pure.credentials import Grant, Server

__all__ = ["Accounts", "AnonymousAnswer", "KeyAnswer", "accounts"]

_MODULE: Final = "transports.http_accounts"


class KeyAnswer(NamedTuple):
    """What a server says about a key.

    Args:
        verdict: accepted, rejected or unreachable.
        account: whose key it is, as people know them; "" where the server does not say.
        reason: what happened, as a sentence, unless it was accepted.
    """

    verdict: Server
    account: str = ""
    reason: str = ""


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


class Accounts(Protocol):
    """Whoever can ask a server about accounts."""

    def verify_key(self, base_url: str, key: str, timeout_s: float) -> KeyAnswer:
        """Ask whose key this is."""
        ...

    def anonymous_key(self, base_url: str, timeout_s: float) -> AnonymousAnswer:
        """Ask for a key without an account."""
        ...


def accounts() -> Accounts:
    """Return what asks servers over HTTP."""
    module: Any = import_module(_MODULE)
    found: Accounts = module
    return found
