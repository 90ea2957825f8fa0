"""The text of a settings file: one section of an INI file, with the line each value stands on.

Law: what `configparser` (without interpolation) accepts, this reads alike; where it would give up, this says which
line is at fault and reads on. A fault never repeats the line, which may hold a secret.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["Fault", "Item", "Parsed", "parse_ini"]

_COMMENTS: Final = ("#", ";")


class Item(NamedTuple):
    """One `key = value`; the key in lower case, the lines of a long value joined by line feeds."""

    key: str
    value: str
    line: int


class Fault(NamedTuple):
    """A line (counted from 1) that could not be used, and why."""

    line: int
    text: str


class Parsed(NamedTuple):
    """What a section says, each key once (the last time counts), and the lines that could not be used."""

    items: tuple[Item, ...]
    faults: tuple[Fault, ...]


def parse_ini(text: str, section: str = "default") -> Parsed:
    """Read one section of an INI text; other sections are passed over.

    Args:
        text: the file's content, with line feeds as line ends.
        section: the section's name, exact in case.
    """
    reader = _Reader(section)
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if content.startswith(_COMMENTS):
            continue
        if not content:
            reader.blank()
        else:
            reader.line(number, content, indent=len(line) - len(line.lstrip()))
    return reader.parsed()


class _Reader:
    """What has been read so far: which section is open, which value, and how deep its first line was indented."""

    def __init__(self, wanted: str) -> None:
        self._wanted = wanted
        self._section: str | None = None
        self._value: list[str] | None = None
        self._indent = 0
        self._found: dict[str, tuple[int, list[str]]] = {}
        self._faults: list[Fault] = []

    def blank(self) -> None:
        """An empty line belongs to the value that is open; at its end it will be dropped."""
        if self._value is not None:
            self._value.append("")

    def line(self, number: int, content: str, *, indent: int) -> None:
        """A line deeper than the key's own goes on with its value; any other is a header or a key."""
        if self._value is not None and indent > self._indent:
            self._value.append(content)
            return
        self._indent = indent
        self._value = None
        close = content.rfind("]")
        if content.startswith("[") and close > 1:
            self._section = content[1:close]
        elif self._section is None:
            self._faults.append(Fault(number, "it stands before any [section]"))
        else:
            self._option(number, content)

    def _option(self, number: int, content: str) -> None:
        wanted = self._section == self._wanted
        parts = [place for place in (content.find("="), content.find(":")) if place >= 0]
        key = content[: min(parts, default=0)].rstrip().lower()
        if not key:
            if wanted:
                self._faults.append(Fault(number, "it is neither `key = value` nor `[section]`"))
            return
        self._value = [content[min(parts) + 1 :].strip()]
        if wanted:
            if key in self._found:
                self._faults.append(Fault(number, f"{key} stood on line {self._found[key][0]} already"))
            self._found[key] = (number, self._value)

    def parsed(self) -> Parsed:
        """Return all that was read."""
        items = (Item(key, "\n".join(lines).rstrip(), line) for key, (line, lines) in self._found.items())
        return Parsed(tuple(items), tuple(self._faults))
