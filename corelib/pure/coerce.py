"""From what people write to what a setting holds: one function per kind of value.

Law: a coercer returns a value of the setting's type, or UNSET where the writer said nothing, or raises
`UsageError`. What it returned, it returns unchanged when given it again. `as_text` says that the value stood
in the environment or in a file, where numbers, lists and True can be written as text only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.ids import check_run_id
from corelib.pure.trees import read_only

__all__ = [
    "UNSET",
    "Coercer",
    "Moment",
    "Unset",
    "anonymous",
    "checked",
    "choice",
    "flag",
    "headers",
    "magic",
    "mask",
    "moment",
    "page_url",
    "parse_moment",
    "path",
    "paths",
    "reinit",
    "resume",
    "seconds",
    "secret",
    "server_url",
    "shown",
    "tags",
    "text",
    "texts",
    "transport",
]


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
"""Nobody said anything. None, in contrast, can be said: `resume=False` says that nothing is to be resumed."""

Coercer: TypeAlias = Callable[[str, object, bool], object]
"""`coercer(name, value, as_text)`; `name` is what messages call the setting."""

_TRUE: Final = frozenset({"y", "yes", "t", "true", "on", "1"})
_FALSE: Final = frozenset({"n", "no", "f", "false", "off", "0"})
_LONGEST_TAG: Final = 64
_LONGEST_SHOWN: Final = 60
_WIDEST_SHOWN_BITS: Final = 64
# Patterns are compiled on first use: compiling all of them would be a third of what importing settings costs.
_CREDENTIALS: Final = r"(?<=://)\S*@"
_BEHIND_PATH: Final = r"(://[^\s?#]*)[?#]\S*"
_URL: Final = (
    r"(?ai)(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^\s?#]*)?"
)
_MOMENT: Final = r"([^?]+)\?_step=([0-9]{1,18})"
_HEADER_NAME: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_HEADER_VALUE: Final = r"(?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?"
_OWN_HEADERS: Final = frozenset(
    {"authorization", "content-encoding", "content-length", "host", "transfer-encoding"}
)
_RESUME: Final = ("allow", "must", "never", "auto")
_REINIT: Final = ("default", "return_previous", "finish_previous", "create_new")
_ANONYMOUS: Final = ("allow", "must", "never")


class Moment(NamedTuple):
    """A step of another run, as `fork_from` and `resume_from` name it."""

    run_id: str
    step: int


def mask(value: str) -> str:
    """Return a text with what may be secret of a URL in it made unreadable: user, password, query and fragment."""
    if "://" not in value:
        return value
    return re.sub(_BEHIND_PATH, r"\1?***", re.sub(_CREDENTIALS, "***@", value))


def shown(value: object, longest: int = _LONGEST_SHOWN) -> str:
    """Return how a message or a listing shows a value: without credentials, and without calling its code.

    Args:
        value: any value; of one that is no plain value, only the type is shown.
        longest: the number of characters after which a text is cut.
    """
    if isinstance(value, str):
        value = mask(value)
        return repr(value if len(value) <= longest else f"{value[:longest]}…")
    if value is None or isinstance(value, bool | float):
        return repr(value)
    if isinstance(value, int):
        # Python refuses to write very large integers, with a ValueError.
        bits = value.bit_length()
        return repr(value) if bits <= _WIDEST_SHOWN_BITS else f"an integer of {bits} bits"
    if type(value) is tuple:
        return f"[{', '.join(shown(item, longest) for item in value)}]"
    return f"<{type(value).__name__}>"


def text(name: str, value: object, _as_text: bool) -> str:
    """A text, the empty one included."""
    if not isinstance(value, str):
        raise UsageTypeError(f"{name} takes a text, not {shown(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} holds bytes that are not text in UTF-8.") from None
    return value


def secret(name: str, value: object, _as_text: bool) -> str | Unset:
    """A text that no message repeats; the empty one means unset."""
    if not isinstance(value, str):
        raise UsageTypeError(f"{name} takes a text, not a value of type {type(value).__name__}.")
    return value or UNSET


def headers(name: str, value: object, as_text: bool) -> Mapping[str, str]:
    """Headers for HTTP as a mapping, or as JSON of one. They may be secrets, so no message repeats them."""
    if as_text and isinstance(value, str):
        import orjson

        try:
            value = orjson.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, Mapping):
        raise UsageTypeError(f'{name} takes a mapping of texts, which as text is JSON: {{"X-Team": "ours"}}.')
    for key, content in value.items():
        if not isinstance(key, str) or re.fullmatch(_HEADER_NAME, key) is None:
            raise UsageError(f"{name}: one of its keys is not the name of a header.")
        if key.lower() in _OWN_HEADERS:
            raise UsageError(
                f"{name}: {key} is not yours to set; the key of the account is given as api_key."
            )
        if not isinstance(content, str) or re.fullmatch(_HEADER_VALUE, content) is None:
            raise UsageError(f"{name}: the value of {shown(key)} is no text that a header can hold.")
    kept: Mapping[str, str] = read_only(dict(value))
    return kept


def path(name: str, value: object, _as_text: bool) -> str | Unset:
    """The path of a file or directory, a text or an object with `__fspath__`; the empty one means unset."""
    convert = getattr(type(value), "__fspath__", None)
    written = value if convert is None else convert(value)
    if not isinstance(written, str):
        raise UsageTypeError(f"{name} takes a path, not {shown(value)}.")
    if "\0" in written:
        raise UsageError(f"{name} takes a path, and no path holds a NUL character.")
    return written or UNSET


def checked(check: Callable[[object], str], *, empty_is_unset: bool) -> Coercer:
    """A name that passes a check of `corelib.pure.ids`."""

    def coerce(_name: str, value: object, _as_text: bool) -> str | Unset:
        if empty_is_unset and isinstance(value, str) and not value:
            return UNSET
        return check(value)

    return coerce


def flag(name: str, value: object, _as_text: bool) -> bool:
    """True or False, or one of the words y yes t true on 1, n no f false off 0 in any case."""
    found = _flag_of(value)
    if found is None:
        raise UsageTypeError(f"{name} takes true or false (yes, no, on, off, 1, 0), not {shown(value)}.")
    return found


def seconds(name: str, value: object, as_text: bool) -> float:
    """A finite duration in seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, str if as_text else int | float):
        raise UsageTypeError(f"{name} takes a number of seconds, not {shown(value)}.")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UsageTypeError(f"{name} takes a number of seconds, not {shown(value)}.") from None
    if not math.isfinite(number) or number < 0:
        raise UsageError(f"{name} takes a finite number of seconds, zero or more, not {shown(value)}.")
    return number


def choice(*words: str, aliases: Mapping[str, str] | None = None) -> Coercer:
    """One of some words, in exactly this spelling, or an older word for one of them."""
    meaning = dict.fromkeys(words) | dict(aliases or {})

    def coerce(name: str, value: object, _as_text: bool) -> str:
        if not isinstance(value, str) or value not in meaning:
            raise UsageTypeError(f"{name} takes {_alternatives(words)}, not {shown(value)}.")
        return meaning[value] or value

    return coerce


def texts(name: str, value: object, as_text: bool) -> tuple[str, ...]:
    """Texts in the order given (a set: sorted). Commas part them in the environment."""
    if isinstance(value, str):
        if as_text:
            return tuple(part for part in map(str.strip, value.split(",")) if part)
        return (value,)
    if not isinstance(value, Sequence | AbstractSet) or isinstance(value, bytes | bytearray | memoryview):
        raise UsageTypeError(f"{name} takes a text or a list of texts, not {shown(value)}.")
    for item in value:
        if not isinstance(item, str):
            raise UsageTypeError(f"{name} takes a list of texts, and {shown(item)} in it is none.")
    return tuple(sorted(value) if isinstance(value, AbstractSet) else value)


def paths(name: str, value: object, as_text: bool) -> tuple[str, ...]:
    """Paths in the order given. In the environment commas part them; elsewhere a text is one path."""
    listed: Sequence[object] = (value,)
    if isinstance(value, list | tuple):
        listed = value
    elif isinstance(value, str):
        listed = texts(name, value, as_text)
    found = [path(name, item, as_text) for item in listed]
    return tuple(item for item in found if isinstance(item, str))


def tags(name: str, value: object, as_text: bool) -> tuple[str, ...]:
    """Tags of 1 to 64 characters; order and repetitions are kept."""
    found = texts(name, value, as_text)
    for tag in found:
        if not 1 <= len(tag) <= _LONGEST_TAG:
            raise UsageError(
                f"{name}: a tag has 1 to {_LONGEST_TAG} characters; {shown(tag)} has {len(tag)}."
            )
        text(name, tag, as_text)
    return found


def page_url(name: str, value: object, _as_text: bool) -> str:
    """An http or https address: lower-case scheme and host, no trailing slash, no credentials, no query."""
    return _parts_of_url(name, value).text


def server_url(name: str, value: object, _as_text: bool) -> str:
    """An http or https address that can be a server's, by what is known of the hosts of wandb.ai."""
    url = _parts_of_url(name, value)
    if f".{url.host}".rstrip(".").endswith(".wandb.ai"):
        if not url.host.startswith("api."):
            raise UsageError(
                f"{name}: {url.host} serves pages for people; the server is https://api.wandb.ai"
            )
        if url.scheme != "https":
            raise UsageError(f"{name}: {url.host} must be reached over https: https://{url.host}")
    return url.text


def resume(name: str, value: object, as_text: bool) -> str | None:
    """What `resume` takes. True means auto; False means None: nothing, said explicitly."""
    if value is None:
        return None
    meant = _flag_of(value) if as_text or isinstance(value, bool) else None
    if meant is not None:
        return "auto" if meant else None
    if isinstance(value, str) and value in _RESUME:
        return value
    hint = " To resume a run by its id, say id=… and resume='allow'." if isinstance(value, str) else ""
    kind = UsageError if isinstance(value, str) else UsageTypeError
    raise kind(f"{name} takes {_alternatives(_RESUME)}, True or False, not {shown(value)}.{hint}")


def reinit(name: str, value: object, as_text: bool) -> bool | str:
    """What a second `init()` does while a run is active: True, False or a word."""
    meant = _flag_of(value) if as_text or isinstance(value, bool) else None
    if meant is not None:
        return meant
    if isinstance(value, str) and value in _REINIT:
        return value
    raise UsageTypeError(f"{name} takes True, False, {_alternatives(_REINIT)}, not {shown(value)}.")


def anonymous(name: str, value: object, as_text: bool) -> str:
    """Whether a run without an account is allowed; older files say true for allow and false for never."""
    meant = _flag_of(value) if as_text and value in ("true", "false") else None
    if meant is not None:
        return "allow" if meant else "never"
    if isinstance(value, str) and value in _ANONYMOUS:
        return value
    raise UsageTypeError(f"{name} takes {_alternatives(_ANONYMOUS)}, not {shown(value)}.")


def parse_moment(value: str) -> Moment:
    """Return the run and step that a text like `abc?_step=10` names.

    Raises:
        UsageError: it names none.
    """
    match = re.fullmatch(_MOMENT, value)
    if match is None:
        raise UsageError(f"A moment of a run is written like 'run_id?_step=10', not {shown(value)}.")
    return Moment(check_run_id(match[1]), int(match[2]))


def moment(name: str, value: object, as_text: bool) -> str:
    """A text that names a step of another run: `run_id?_step=10`."""
    written = text(name, value, as_text)
    parse_moment(written)
    return written


def transport(name: str, value: object, as_text: bool) -> object:
    """Where a run goes: a transport's name, a URL, or an object with `deliver()`; several of them as a sequence."""
    if isinstance(value, (list, tuple)):
        if not value:
            raise UsageError(f"{name} takes at least one transport; the list was empty.")
        return tuple(transport(name, one, as_text) for one in value)
    if isinstance(value, str):
        if not value:
            raise UsageError(f"{name} takes a transport's name or a URL; it was empty.")
        return text(name, value, as_text)
    if isinstance(value, type) or not callable(getattr(type(value), "deliver", None)):
        raise UsageTypeError(f"{name} takes a name, a URL or an object with deliver(), not {shown(value)}.")
    return value


def magic(name: str, value: object, as_text: bool) -> bool | str | Mapping[str, Any]:
    """What `magic` takes: a bool, a mapping, or a text that `corelib.pure.magic` reads."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, str):
        return text(name, value, as_text)
    raise UsageTypeError(f"{name} takes True, False, a mapping or a text, not {shown(value)}.")


class _Url(NamedTuple):
    scheme: str
    host: str
    text: str


def _parts_of_url(name: str, value: object) -> _Url:
    if not isinstance(value, str):
        raise UsageTypeError(f"{name} takes an address like https://host:8080, not {shown(value)}.")
    if "@" in value:
        raise UsageError(f"{name}: put no credentials into the address; they are given as the API key.")
    match = re.fullmatch(_URL, text(name, value, False))
    if match is None or not 0 < int(match["port"] or 1) < 1 << 16:
        # Without a scheme it is no URL yet, and what is behind its path may be secret all the same.
        written = re.sub(r"(?s)[?#].*", "?***", value)
        raise UsageError(f"{name} takes an address like https://host:8080, not {shown(written)}.")
    scheme, host = match["scheme"].lower(), match["host"].lower()
    port = f":{match['port']}" if match["port"] else ""
    return _Url(scheme, host, f"{scheme}://{host}{port}{(match['path'] or '').rstrip('/')}")


def _flag_of(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else None


def _alternatives(words: Sequence[str]) -> str:
    *others, last = map(repr, words)
    return f"{', '.join(others)} or {last}" if others else last
