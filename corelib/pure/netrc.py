"""The key for a server in the text of a netrc file: read from it, written into it.

Law: a machine is looked up with its port first, then without, and without regard to case, as host names are;
`default` is not used, for it would send a password meant for anything to a server. Lines end as they do on Unix or
on Windows. The text is read leniently: words that mean nothing are passed over. Writing changes
one password, or adds one entry, and nothing else: every other character stays where it is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from corelib.errors import UsageError

__all__ = ["machines", "netrc_password", "with_password"]

_FOLLOWERS: Final = ("login", "user", "account", "password")
# A word is quoted, with backslash escapes, or runs to the next white space.
_WORD: Final = re.compile(
    r'[ \t\r\n]*(?P<raw>"(?P<quoted>(?:[^"\\]|\\.)*)"?|(?P<plain>(?:[^\\ \t\r\n]|\\.)+))', re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_EMPTY_LINE: Final = re.compile(r"\n\r?\n")
_URL: Final = re.compile(r"(?i)https?://(?P<host>\[[^\]]*\]|[^/:]+)(?P<port>:[0-9]+)?(?:/.*)?", re.DOTALL)


class _Entry(NamedTuple):
    """A machine with its password, "" where it has none.

    `machine` is in lower case. `start` and `end` are where the password stands as it is written; without one, the
    place to insert it.
    """

    machine: str
    password: str
    start: int
    end: int


def machines(url: str) -> tuple[str, ...]:
    """Return the names under which a netrc file may hold the server of a valid `base_url`, likeliest first."""
    match = _URL.fullmatch(url)
    if match is None:
        return ()
    name = match["host"].lower()
    host = name.strip("[]")
    return (f"{name}{match['port']}", host) if match["port"] else (host,)


def netrc_password(text: str, url: str) -> str | None:
    """Return the password of the server at `url`, or None if the file has none. The last entry of a name counts."""
    found = {entry.machine: entry.password for entry in _parsed(text).entries}
    return next((found[machine] for machine in machines(url) if found.get(machine)), None)


def with_password(text: str, machine: str, password: str) -> str:
    """Return the text of a netrc file in which a machine has this password.

    The entry that counts is changed where there is one. Otherwise one is added: at the end, or before `default`,
    behind which other readers look no further.

    Args:
        text: the file as it is, with its line ends.
        machine: the name of the machine, with the port if its URL has one.
        password: the password, which must read the same quoted and unquoted, as keys do.

    Raises:
        UsageError: the file ends in the middle of an entry, so that what is added would not be read as it is meant.
    """
    parsed = _parsed(text)
    name = machine.lower()
    entry = next((entry for entry in reversed(parsed.entries) if entry.machine == name), None)
    if entry is None:
        written = _added(text, parsed, machine, password)
    else:
        inserted = password if entry.password or entry.end > entry.start else f" password {password}"
        written = text[: entry.start] + inserted + text[entry.end :]
    if _passwords(written) != {**_passwords(text), name: password}:
        raise UsageError("The netrc file ends in the middle of an entry: complete or remove that entry.")
    return written


def _passwords(text: str) -> dict[str, str]:
    return {entry.machine: entry.password for entry in _parsed(text).entries}


def _added(text: str, parsed: _Parsed, machine: str, password: str) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    place = len(text) if parsed.default is None else parsed.default
    before, after = text[:place], text[place:]
    separator = "" if not before or before.endswith("\n") else line_end
    if parsed.default is None and parsed.in_macro:
        separator = 2 * line_end  # a macro ends with an empty line; without one the entry would be part of it
    lines = (f"machine {machine}", "  login user", f"  password {password}", "")
    return before + separator + line_end.join(lines) + after


class _Parsed(NamedTuple):
    """What a text says: its entries, where `default` stands, and whether it ends within a macro."""

    entries: list[_Entry]
    default: int | None
    in_macro: bool


def _parsed(text: str) -> _Parsed:
    words = _Words(text)
    entries: list[_Entry] = []
    default: int | None = None
    machine = in_macro = False
    while (word := words.next()) is not None:
        if word.startswith("#"):
            words.skip_line()
        elif word == "machine":
            machine = True
            name = words.next() or ""
            entries.append(_Entry(name.lower(), "", words.end, words.end))
        elif word == "default":
            machine = False
            default = words.start if default is None else default
        elif word == "macdef":
            in_macro = not words.skip_macro()
        elif word in _FOLLOWERS:
            value = words.next() or ""
            if machine and word == "password":
                entries[-1] = _Entry(entries[-1].machine, value, words.start, words.end)
            elif machine and not entries[-1].password:
                entries[-1] = entries[-1]._replace(start=words.end, end=words.end)
    return _Parsed(entries, default, in_macro)


class _Words:
    """The words of a text, one at a time; some lines are passed over whole. The last one stood in `start:end`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.start = 0
        self.end = 0

    def next(self) -> str | None:
        match = _WORD.match(self._text, self.end)
        if match is None:
            self.start = self.end = len(self._text)
            return None
        self.start, self.end = match.span("raw")
        return _ESCAPE.sub(r"\1", match["plain"] if match["quoted"] is None else match["quoted"])

    def skip_line(self) -> None:
        end = self._text.find("\n", self.end)
        self.end = len(self._text) if end < 0 else end

    def skip_macro(self) -> bool:
        """Pass over a macro, everything up to an empty line; return whether that line is there."""
        found = _EMPTY_LINE.search(self._text, self.end)
        self.end = found.start() if found else len(self._text)
        return found is not None
