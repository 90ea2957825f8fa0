"""Whether a run goes online: from the mode, the key, what the server said and the caller's words to one `Decision`.

Law: the first row of TABLE that fits decides, and some row fits every situation. `init()` never asks for a key: only
a caller who says that a prompt is possible gets `ask`. `force` turns every way offline into an error, and nothing
else does so, except words that only the server can answer (`resume="must"` and `"never"` with an id). A malformed key
is a mistake to be mended, never a reason to go offline. Each reason says which server it is about, and how to log in
to it. No text here holds a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from corelib.errors import AuthenticationError, CommError, Error, UsageError
from corelib.pure.netrc import machines

__all__ = [
    "LOOKUP",
    "TABLE",
    "Action",
    "Decision",
    "FoundKey",
    "Grant",
    "KeyState",
    "Prompt",
    "Row",
    "Server",
    "check_key_format",
    "decide",
    "find_key",
    "how_to_log_in",
    "key_state",
]

KeyState: TypeAlias = Literal["absent", "malformed", "well_formed"]
Server: TypeAlias = Literal["unknown", "unasked", "accepted", "rejected", "unreachable"]
"""What is known of the server: no address at all, not asked yet, or how it answered to the key."""
Prompt: TypeAlias = Literal["impossible", "possible", "declined", "unanswered"]
"""Whether a person can be asked for a key, or what came of it. `init()` always says impossible."""
Grant: TypeAlias = Literal["impossible", "possible", "refused", "unanswered"]
"""Whether the server can be asked for an anonymous key, or what came of it. `init()` always says impossible."""
Action: TypeAlias = Literal["local", "online", "offline", "ask", "anonymous", "refuse"]
"""local: the mode wants no server. ask: let a person choose among `choices`, then decide again. anonymous: ask the
server for an anonymous key, then decide again."""

LOOKUP: Final = ("session", "environment", "settings_file", "netrc")
"""Where a key is looked for, first to last."""

_SHORTEST_KEY: Final = 40
_WORD: Final = "[A-Za-z0-9_-]+"


class FoundKey(NamedTuple):
    """A key, and which place of LOOKUP it is from."""

    key: str
    place: str

    def __repr__(self) -> str:
        return f"FoundKey(key=***, place={self.place!r})"


class Row(NamedTuple):
    """One row of the table: the situations it is for, and what is done in them.

    Args:
        name: the row of the specification.
        when: for each input it looks at, the values it is for.
        action: what is done.
        reason: why, as a sentence for people.
        error: for `refuse`, the class of error.
        choices: for `ask`, what a person can choose.
    """

    name: str
    when: Mapping[str, frozenset[str | bool]]
    action: Action
    reason: str
    error: type[Error] | None = None
    choices: tuple[str, ...] = ()


class Decision(NamedTuple):
    """What to do, and why.

    Args:
        action: what is done.
        reason: why, as a sentence for people; the message of the error if it is refused.
        error: the class of error to raise, for `refuse` only.
        choices: what a person can choose, for `ask` only.
        row: the row of TABLE that decided.
    """

    action: Action
    reason: str
    error: type[Error] | None
    choices: tuple[str, ...]
    row: str


def _row(
    name: str,
    action: Action,
    reason: str,
    error: type[Error] | None = None,
    choices: tuple[str, ...] = (),
    **when: str | bool | tuple[str, ...],
) -> Row:
    sets = {name: frozenset(value if isinstance(value, tuple) else (value,)) for name, value in when.items()}
    return Row(name, MappingProxyType(sets), action, reason, error, choices)


_NO_KEY: Final = "There is no API key{of_host}"
_REJECTED: Final = "{host} rejected the API key"
_SILENT: Final = "{host} did not answer within init_timeout"
_LOG_IN: Final = "Log in with {log_in}, set the API key in the environment, or say mode='offline'."
_AGAIN: Final = "Log in again with {log_in}."
_OFFLINE: Final = "The run is recorded on this machine only; it can be delivered later."
_NO_ACCOUNT: Final = "anonymous='must' wants a run without an account, but {grant}."
_GRANTS: Final[Mapping[Grant, str]] = MappingProxyType(
    {
        "impossible": "only `corelib.login(anonymous='must')` asks the server for a key without an account",
        "possible": "the server has not been asked for a key without an account",
        "refused": "the server offers no keys without an account",
        "unanswered": "the server did not answer when it was asked for a key without an account",
    }
)
_UNANSWERED: Final = "resume='must' and 'never' need the server's answer about the id."

TABLE: Final = (
    _row("G1", "local", "The mode is {mode}: no server is used.", mode=("offline", "disabled")),
    _row(
        "no server, forced",
        "refuse",
        "force=True wants the run online, but no server is known. Set base_url.",
        UsageError,
        server="unknown",
        force=True,
    ),
    # Nothing can be remote where no server is known, so that resume="must" is decided by the local runs alone.
    _row(
        "no server",
        "offline",
        f"No server is known. {_OFFLINE} To be online, set base_url.",
        server="unknown",
    ),
    _row(
        "G11",
        "refuse",
        "The API key{of_host} is malformed: a key has 40 or more letters, digits, _ or -, and no white space or line "
        "feed around it. Check where it was copied from, and log in again with {log_in}.",
        AuthenticationError,
        key="malformed",
    ),
    _row(
        "G8, ask the server",
        "anonymous",
        f"{_NO_KEY}, and anonymous='must' wants a run without an account.",
        key="absent",
        anonymous="must",
        grant="possible",
    ),
    _row(
        "G8, forced",
        "refuse",
        f"force=True wants the run online, and {_NO_ACCOUNT} {_LOG_IN}",
        UsageError,
        key="absent",
        anonymous="must",
        force=True,
    ),
    # Nobody is there to choose, so the words of the call are all there is to go by.
    _row(
        "G7, no terminal",
        "anonymous",
        f"{_NO_KEY}, and anonymous='allow' allows a run without an account.",
        key="absent",
        anonymous="allow",
        grant="possible",
        prompt="impossible",
    ),
    _row(
        "G4",
        "refuse",
        f"force=True wants the run online, but there is no API key{{of_host}}. {_LOG_IN}",
        UsageError,
        key="absent",
        force=True,
        prompt=("impossible", "declined", "unanswered"),
    ),
    _row(
        "G6",
        "ask",
        f"{_NO_KEY}, and force=True leaves no other way.",
        choices=("existing",),
        key="absent",
        force=True,
    ),
    _row(
        "G17, no key",
        "refuse",
        f"{_NO_KEY}, and {_UNANSWERED} {_LOG_IN}",
        UsageError,
        key="absent",
        must_answer=True,
        prompt=("impossible", "declined", "unanswered"),
    ),
    _row(
        "G8",
        "offline",
        f"{_NO_ACCOUNT} {_OFFLINE} {_LOG_IN}",
        key="absent",
        anonymous="must",
        must_answer=False,
    ),
    _row(
        "G17, ask",
        "ask",
        f"{_NO_KEY}, and {_UNANSWERED}",
        choices=("create", "existing"),
        key="absent",
        must_answer=True,
    ),
    _row("G5, declined", "offline", f"You chose not to log in. {_OFFLINE}", key="absent", prompt="declined"),
    _row(
        "G16",
        "offline",
        f"Nobody answered the question for an API key{{of_host}}. {_OFFLINE} {_LOG_IN}",
        key="absent",
        prompt="unanswered",
    ),
    _row(
        "G7",
        "ask",
        "There is no API key.",
        choices=("anonymous", "create", "existing", "offline"),
        key="absent",
        anonymous="allow",
        grant="possible",
        prompt="possible",
    ),
    _row(
        "G5",
        "ask",
        "There is no API key.",
        choices=("create", "existing", "offline"),
        key="absent",
        prompt="possible",
    ),
    _row("G3", "offline", f"{_NO_KEY}. {_OFFLINE} {_LOG_IN}", key="absent"),
    _row(
        "G13",
        "refuse",
        f"{_REJECTED}, and force=True wants the run online. {_AGAIN}",
        AuthenticationError,
        server="rejected",
        force=True,
    ),
    _row(
        "G17, rejected",
        "refuse",
        f"{_REJECTED}, and {_UNANSWERED} {_AGAIN}",
        AuthenticationError,
        server="rejected",
        must_answer=True,
    ),
    _row(
        "G12",
        "offline",
        f"{_REJECTED}. {_OFFLINE} {_AGAIN}",
        server="rejected",
    ),
    _row(
        "G15",
        "refuse",
        f"{_SILENT}, and force=True wants the run online.",
        CommError,
        server="unreachable",
        force=True,
    ),
    _row(
        "G17, unreachable",
        "refuse",
        f"{_SILENT}, and {_UNANSWERED}",
        CommError,
        server="unreachable",
        must_answer=True,
    ),
    _row("G14", "offline", f"{_SILENT}. {_OFFLINE}", server="unreachable"),
    # An existing key is used whatever `anonymous` says (G9, G10).
    _row("G2", "online", "There is an API key.", server=("unasked", "accepted")),
)
"""The decision table of login, `force` and `anonymous`. The first row that fits decides."""


def decide(  # noqa: PLR0913  one argument per input of the table, and whom it is about
    *,
    mode: str,
    key: KeyState,
    server: Server = "unasked",
    force: bool = False,
    anonymous: str = "never",
    resume: str | None = None,
    has_id: bool = True,
    url: str = "",
    prompt: Prompt = "impossible",
    grant: Grant = "impossible",
) -> Decision:
    """Return whether a run goes online, stays local, or is refused.

    Args:
        mode: the setting.
        key: whether there is a key, and whether it looks like one.
        server: what is known of the server.
        force: the setting.
        anonymous: the setting.
        resume: the setting; must and never can be kept only with the server's answer.
        has_id: whether the call names a run id; without one there is nothing to ask the server about.
        url: the server's address where it is known, for the reason to name.
        prompt: whether a person can be asked.
        grant: whether the server can be asked for an anonymous key.
    """
    situation: dict[str, str | bool] = {
        "mode": mode,
        "key": key,
        "server": server,
        "force": force,
        "anonymous": anonymous,
        "must_answer": has_id and resume in ("must", "never"),
        "prompt": prompt,
        "grant": grant,
    }
    row = next(row for row in TABLE if all(situation[name] in values for name, values in row.when.items()))
    host = next(iter(machines(url)), "")
    reason = row.reason.format(
        mode=mode,
        grant=_GRANTS[grant],
        host=host or "The server",
        of_host=f" for {host}" if host else "",
        log_in=how_to_log_in(url),
    )
    return Decision(row.action, reason, row.error, row.choices, row.name)


def how_to_log_in(url: str = "") -> str:
    """Return what to do to log in, in a shell and in Python, to fit behind "Log in with"."""
    option, argument = (f" --host {url}", f"host={url!r}") if url else ("", "")
    return f"`corelib login{option}` in a shell or `corelib.login({argument})` in Python"


def check_key_format(key: str) -> None:
    """Check that a text can be an API key, before it is sent anywhere.

    A key has 40 or more letters, digits, _ or -, not counting a prefix up to the first -. Three such words with
    dots between them, a JSON web token, are a key of any length.

    Raises:
        AuthenticationError: it cannot. The message does not repeat it.
    """
    if re.fullmatch(rf"{_WORD}\.{_WORD}\.{_WORD}", key):
        return
    if not re.fullmatch(_WORD, key):
        raise AuthenticationError(
            "The API key holds characters that no key has; white space around it is a common cause. "
            f"A key has {_SHORTEST_KEY} or more letters, digits, _ or -."
        )
    prefix, dash, rest = key.partition("-")
    length = len(rest if dash else prefix)
    if length < _SHORTEST_KEY:
        raise AuthenticationError(
            f"The API key is too short: it has {length} characters and needs {_SHORTEST_KEY} or more. "
            "Copy it again, whole."
        )


def key_state(key: str | None) -> KeyState:
    """Return whether there is a key, and whether it looks like one."""
    if not key:
        return "absent"
    try:
        check_key_format(key)
    except AuthenticationError:
        return "malformed"
    return "well_formed"


def find_key(candidates: Mapping[str, str | None]) -> FoundKey | None:
    """Return the first key there is, by the order of LOOKUP.

    Args:
        candidates: for places of LOOKUP, the key found there or None.
    """
    return next((FoundKey(key, place) for place in LOOKUP if (key := candidates.get(place))), None)
