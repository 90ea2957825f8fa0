"""One HTTP exchange as values: what is asked, what came back, and what that means for whoever asked.

Law: nothing here sends anything. A status means the same wherever it comes from, by the table MEANINGS: only
what can never succeed is refused, all else is tried again, and what might yet come right so many times. Every
reason names the operation, the host and what happened, is one line, and holds no part of a URL behind its path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from attrs import field, frozen

__all__ = [
    "DENIALS",
    "MEANINGS",
    "Denial",
    "FailureKind",
    "HttpAnswer",
    "HttpFailure",
    "HttpRequest",
    "HttpResult",
    "LocalFile",
    "Meaning",
    "Verdict",
    "answer_text",
    "asked_wait_s",
    "denial_in",
    "host_of",
    "is_place_down",
    "judge",
    "meaning_of",
    "percent_encoded",
    "rate_limit_wait_s",
    "refuses_key",
]

FailureKind: TypeAlias = Literal[
    "unresolved", "unreachable", "tls", "proxy", "timeout", "dropped", "unforeseen", "unusable"
]
"""Why no answer came: no such name; no connection; TLS; the proxy; too slow; cut off; something that nobody has
foreseen; it can never be sent.
"""

Meaning: TypeAlias = Literal["done", "later", "slowly", "doubtful", "too large", "refused"]
"""What an answer asks for.

done: nothing more. later: the same again, soon. slowly: the same again, slowly, as long as it takes. doubtful:
the same again, slowly, a bounded number of times. too large: smaller requests. refused: never again.
"""

MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        **dict.fromkeys((400, 411, 414, 415, 422, 431), "refused"),
        # Somebody can mend a key, a permission, a bill or a proxy, and delivery goes on then.
        **dict.fromkeys((401, 402, 403, 407), "slowly"),
        **dict.fromkeys((408, 425, 429), "later"),
        413: "too large",
        **dict.fromkeys((501, 505), "doubtful"),
    }
)
"""Statuses with a meaning of their own. Of the others, 2xx is done, 3xx slowly, 4xx doubtful, 5xx later."""

_FAILURES: Final[Mapping[FailureKind, Meaning]] = MappingProxyType(
    {"unusable": "refused", "unforeseen": "doubtful", "proxy": "slowly"}
)
"""Failures with a meaning of their own; the others mean later. Somebody can mend the address of a proxy."""

Denial: TypeAlias = Literal["key", "permission"]
"""Why somebody may not: nobody has this key; or who has it may not do this."""

DENIALS: Final[Mapping[str, Denial]] = MappingProxyType(
    {
        "not logged in": "key",
        "unauth": "key",  # unauthorized, unauthenticated
        "invalid api key": "key",
        "permission": "permission",
        "forbidden": "permission",
        "not authorized": "permission",
        "access denied": "permission",
    }
)
"""What the words of an error are about; the first that is found counts."""

_DENYING: Final[Mapping[int, Denial]] = MappingProxyType({401: "key", 403: "permission"})
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_MESSAGE_CHARACTERS: Final = 200
_XML_MESSAGE: Final = re.compile(rb"<Message>([^<]*)</Message>")
_HTTP_DATES: Final = (
    r"\w{3}, (?P<day>\d\d?) (?P<month>\w{3}) (?P<year>\d{4}) (?P<time>\d\d:\d\d:\d\d) GMT",
    r"\w{6,9}, (?P<day>\d\d?)-(?P<month>\w{3})-(?P<year>\d\d) (?P<time>\d\d:\d\d:\d\d) GMT",  # of RFC 850
    r"\w{3} (?P<month>\w{3}) +(?P<day>\d\d?) (?P<time>\d\d:\d\d:\d\d) (?P<year>\d{4})",  # of asctime()
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_S: Final = 86_400
_YEAR_S: Final = 31_556_952


class LocalFile(NamedTuple):
    """The bytes of a file on this machine: its absolute path, and how many of them are to be sent."""

    path: str
    size: int


@frozen(kw_only=True)
class HttpRequest:
    """One request.

    Args:
        method: POST or PUT.
        target: a path below the base URL, which begins with a slash and gets the credentials; or an absolute
            URL, which never gets them.
        operation: what is being done, for people.
        headers: headers beyond those that every request has.
        body: the bytes, or where they are.
        encoding: how to compress the body; only what the server announced.
    """

    method: Literal["POST", "PUT"]
    target: str = field(repr=lambda target: repr(target.partition("?")[0]))
    operation: str
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes | LocalFile = field(default=b"", repr=False)
    encoding: Literal["gzip", "zstd"] | None = None

    @property
    def is_authorized(self) -> bool:
        """Whether it goes to the server itself, with credentials."""
        return self.target.startswith("/")


@frozen
class HttpAnswer:
    """An answer that arrived whole. Names of `headers` are lower case."""

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=False)


@frozen
class HttpFailure:
    """No answer arrived; whether the request did, nobody knows. `reason` names operation, host and what happened."""

    kind: FailureKind
    reason: str


HttpResult: TypeAlias = HttpAnswer | HttpFailure


class Verdict(NamedTuple):
    """What a result means: `after` is how many seconds the other side asks to wait, None if it does not.

    `denial` says what is missing where the other side will not have us.
    """

    meaning: Meaning
    reason: str = ""
    after: float | None = None
    denial: Denial | None = None

    @property
    def advice(self) -> str:
        """The reason, with what to do where only people can mend it."""
        return f"{self.reason}; log in with `corelib login`" if self.denial == "key" else self.reason


def percent_encoded(segment: str) -> str:
    """Return a text as one segment of a path, whatever characters it holds."""
    return "".join(
        chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in segment.encode("utf-8", "replace")
    )


def host_of(url: str) -> str:
    """Return host and port of an absolute URL, without user and password."""
    return re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]


def meaning_of(status: int) -> Meaning:
    """Return what a status means."""
    meaning = MEANINGS.get(status)
    if meaning is not None:
        return meaning
    by_class: dict[int, Meaning] = {2: "done", 3: "slowly", 4: "doubtful"}
    return by_class.get(status // 100, "later")


def is_place_down(result: HttpResult) -> bool:
    """Return whether an answer, or the lack of one, says that the place takes nothing else either just now.

    What could not be sent at all says nothing about the place.
    """
    if isinstance(result, HttpFailure):
        return result.kind != "unusable"
    return meaning_of(result.status) == "later"


def judge(request: HttpRequest, result: HttpResult, host: str, now: float) -> Verdict:
    """Return what a result means.

    Args:
        request: what was asked.
        result: what came back.
        host: the host of the base URL.
        now: seconds since the epoch, to understand dates.
    """
    if isinstance(result, HttpFailure):
        return Verdict(_FAILURES.get(result.kind, "later"), result.reason)
    meaning = meaning_of(result.status)
    if meaning == "done":
        return Verdict("done")
    place = host if request.is_authorized else host_of(request.target)
    said = _redirection(request, result) or answer_text(result.body)
    reason = f"{request.operation} at {place}: HTTP {result.status}" + (f" ({said})" if said else "")
    return Verdict(meaning, reason, asked_wait_s(result.headers, now), _DENYING.get(result.status))


def denial_in(text: str) -> Denial | None:
    """Return what an error of a server is about that came with HTTP 200; None: about something else."""
    said = text.lower()
    return next((DENIALS[words] for words in DENIALS if words in said), None)


def refuses_key(answer: HttpAnswer) -> bool:
    """Return whether another key might get another answer."""
    if answer.status in _DENYING:
        return True
    has_errors = meaning_of(answer.status) == "done" and b'"errors"' in answer.body
    return has_errors and denial_in(answer.body.decode("utf-8", "replace")) is not None


def _redirection(request: HttpRequest, answer: HttpAnswer) -> str:
    """Say where a redirect leads that was not followed: nothing goes where we were not told to send it."""
    location = answer.headers.get("location", "")
    if answer.status // 100 != 3 or not location:  # noqa: PLR2004  a class of statuses
        return ""
    there = f"redirected to {host_of(location) or 'another path'}"
    if request.is_authorized:
        return f"{there}; correct base_url"
    return f"{there} in a way that an upload does not follow; the server must give another address for it"


def answer_text(body: bytes) -> str:
    """Return what an answer says in words, as one short line; empty if it says nothing that people can read."""
    found = _XML_MESSAGE.search(body)
    said = found[1].decode("utf-8", "replace") if found else _envelope_text(body)
    line = " ".join("".join(one if one.isprintable() else " " for one in said).split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[: _MESSAGE_CHARACTERS - 1] + "…"


def _envelope_text(body: bytes) -> str:
    import orjson

    try:
        envelope: Any = orjson.loads(body)
    except ValueError:
        return ""
    if not isinstance(envelope, dict):
        return ""
    errors = envelope.get("errors")
    if isinstance(errors, list):
        texts = [one.get("message") for one in errors if isinstance(one, dict)]
        return "; ".join(text for text in texts if isinstance(text, str))
    error = envelope.get("error", envelope.get("message"))
    if isinstance(error, dict):
        error = error.get("message")
    return error if isinstance(error, str) else ""


# ------------------------------------------------------------------------------------------- how long to wait


def asked_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds an answer asks to wait: `Retry-After` first, then `RateLimit-Reset`."""
    told = headers.get("retry-after", "").strip()
    seconds = _seconds(told)
    if seconds is None:
        moment = _moment(told, now)
        seconds = None if moment is None else max(moment - now, 0.0)
    return rate_limit_wait_s(headers) if seconds is None else seconds


def rate_limit_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds to wait because nothing remains of the rate that the server allows."""
    remaining = _seconds(headers.get("ratelimit-remaining", ""))
    reset = _seconds(headers.get("ratelimit-reset", ""))
    return reset if remaining is not None and remaining < 1 and reset else None


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(\.\d+)?", text) else None


def _moment(text: str, now: float) -> float | None:
    """Return an HTTP date, in any of its three forms, in seconds since the epoch."""
    found = next(filter(None, (re.fullmatch(form, text, re.ASCII) for form in _HTTP_DATES)), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    day, year = int(found["day"]), int(found["year"])
    hour, minute, second = map(int, found["time"].split(":"))
    if len(found["year"]) == 2:  # noqa: PLR2004  of a century that is not more than fifty years ahead
        latest = 1970 + int(now / _YEAR_S) + 50
        year = latest - (latest - year) % 100
    # The calendar counted from March, so that the day that leap years add is the last of a year.
    month = (_MONTHS.index(found["month"]) + 10) % 12
    year -= month >= 10  # noqa: PLR2004  January and February belong to the year before
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 719_469
    return float(days * _DAY_S + hour * 3600 + minute * 60 + second)
