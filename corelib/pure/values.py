"""What may be recorded: any Python value becomes a JSON tree, or is refused with the reason.

Law: a tree is made of dict (text keys), list, str, int, float, bool and None, exactly these types; floats may
be non-finite, integers are exact. It shares nothing with the caller's objects, which are never changed. A tree is
a fixed point: reading it again gives the same tree. Types are told by what they offer; no third-party library is
imported.
"""

from __future__ import annotations

from collections.abc import Collection, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from enum import Enum
from math import isinf
from operator import index
from types import SimpleNamespace
from typing import Any, Final, Literal, NoReturn, TypeAlias

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.arrays import array_size, is_array, nested_list, read_numbers, statistics
from corelib.pure.histogram import Histogram
from corelib.pure.trees import shorten, type_phrase

__all__ = ["LARGE_ROW_BYTES", "Purpose", "fields_of", "is_mapping", "json_tree", "row_tree"]

Purpose: TypeAlias = Literal["config", "log", "summary"]

LARGE_ROW_BYTES: Final = 10_383_360
"""A row or summary of more encoded bytes deserves a warning: servers of the reference refuse it."""

MOST_LEVELS: Final = 240  # orjson writes 254 levels, and a record wraps its values in a few of them
MOST_ENTRIES: Final = 10_000_000  # of all containers together: bounds what shared containers fan out to
MOST_LISTED: Final = 32  # an array with more entries is summarised
MOST_LISTED_IN_CONFIG: Final = 1024  # a config is read by people and by programs that want the values back
BINS_OF_AN_ARRAY: Final = 32

_LEAVES: Final = frozenset({bool, float, int, str, type(None)})
_RESERVED: Final = frozenset({"", "_runtime", "_step", "_timestamp"})


def json_tree(value: Any, *, purpose: Purpose, key: str | None = None) -> Any:
    """Return any value as a JSON tree; `key` is its name in messages.

    The purposes differ where the reference does. An Enum is its name in a config and its value elsewhere; an object
    that nothing is known about is its text in a config and refused elsewhere; an array of more than 32 entries is
    listed in a config (up to 1024, then statistics), a histogram of 32 bins in a row and statistics in a summary; a
    Histogram has no place in a config; empty dictionaries store nothing in a row.

    Raises:
        UsageTypeError: a value of a type that cannot be recorded; the text says where it stands.
        UsageError: nested too deeply, containing itself, or too large.
    """
    if type(value) in _LEAVES:
        return value
    return _Reader(purpose).read(value, key)


def row_tree(data: Mapping[str, Any]) -> dict[str, Any]:
    """Validate and capture the mapping of one `log()` call.

    `_step` and `_runtime` are dropped, since they are always computed; a numeric `_timestamp` is kept.

    Raises:
        UsageTypeError: no mapping, a key that is no text, a value that cannot be recorded, a `_timestamp` that is
            no number.
        UsageError: an empty key, or a value nested too deeply or too large.
    """
    if type(data) is not dict:
        if not is_mapping(data):
            raise UsageTypeError(f"log() takes a mapping of names to values, not {type_phrase(data)}.")
        data = dict(data)
    row: dict[str, Any] = {}
    reader = None
    for key, value in data.items():
        if type(key) is not str:
            if not isinstance(key, str):
                raise UsageTypeError(f"log() takes texts as names, and {shorten(key)} is {type_phrase(key)}.")
            key = str.__str__(key)  # noqa: PLW2901  the plain text of a subclass
        if key in _RESERVED and not _is_kept(key, value):
            continue
        if type(value) not in _LEAVES:
            if reader is None:
                reader = _Reader("log")
            value = reader.read(value, key)  # noqa: PLW2901
            if type(value) is dict and not value:
                continue
        row[key] = value
    return row


def _is_kept(reserved: str, value: Any) -> bool:
    if not reserved:
        raise UsageError("log() was given an empty name: name the value.")
    if reserved != "_timestamp":
        return False
    if type(json_tree(value, purpose="log")) not in (int, float):
        raise UsageTypeError(f"log(): _timestamp must be a number of seconds, not {shorten(value)}.")
    return True


class _Reader:
    """One reading: its purpose, the way from the root to the value at hand, the entries still allowed."""

    __slots__ = ("entries_left", "purpose", "way")

    def __init__(self, purpose: Purpose) -> None:
        self.purpose = purpose
        self.way: list[tuple[object, object]] = []
        self.entries_left = MOST_ENTRIES

    def read(self, value: Any, key: str | None) -> Any:
        self.way = [] if key is None else [(key, value)]
        try:
            return self.tree(value)
        except RecursionError:
            raise UsageError(f"{self.where()} is nested too deeply for the stack of this call.") from None

    def tree(self, value: Any) -> Any:
        kind = type(value)
        if kind in _LEAVES:
            return value
        if kind is dict:
            return self.mapping(value)
        if kind is list or kind is tuple:
            return self.sequence(value)
        return self.other(value)

    def mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        self.enter(len(value))
        tree: dict[str, Any] = {}
        prunes = self.purpose == "log"
        for key, item in value.items():
            name = key if type(key) is str else self.key(key)
            if type(item) not in _LEAVES:
                self.way.append((name, item))
                item = self.tree(item)  # noqa: PLW2901
                self.way.pop()
                if prunes and type(item) is dict and not item:
                    continue
            if name in tree:
                raise UsageError(f"{self.where()} has two keys that both become the text {name!r}.")
            tree[name] = item
        return tree

    def key(self, key: Any) -> str:
        """Return the key of an inner mapping as text."""
        if isinstance(key, Enum):
            key = key.name if self.purpose == "config" else key.value
        if isinstance(key, str):
            return str.__str__(key)
        if key is None or isinstance(key, (bool, int, float)) or hasattr(type(key), "__index__"):
            return str(key)
        raise UsageTypeError(f"{self.where()} has a key that is {type_phrase(key)}, not a text or a number.")

    def sequence(self, value: Collection[Any]) -> list[Any]:
        try:
            entries = len(value)
        except OverflowError:  # a range may be longer than anything else
            entries = MOST_ENTRIES
        self.enter(entries)
        items = list(value)
        for place, item in enumerate(items):
            if type(item) not in _LEAVES:
                self.way.append((place, item))
                items[place] = self.tree(item)
                self.way.pop()
        return items

    def enter(self, entries: int) -> None:
        """Account for a container before going into it."""
        self.entries_left -= entries + 1
        if self.entries_left < 0:
            raise UsageError(
                f"{self.where()} has more than {MOST_ENTRIES} entries: save it as a file instead."
            )
        if len(self.way) > MOST_LEVELS:
            containers = [container for _, container in self.way]
            if any(one is other for place, one in enumerate(containers) for other in containers[:place]):
                raise UsageError(f"{self.where()} contains itself.")
            raise UsageError(f"{self.where()} is nested deeper than {MOST_LEVELS} levels.")

    def other(self, value: Any) -> Any:
        """Read anything but the plain types, most specific reading first."""
        for reading in (_text_or_number, _structure, _measure):
            result = reading(self, value)
            if result is not _UNKNOWN:
                return result
        is_open_file = hasattr(type(value), "fileno")
        if isinstance(value, Iterator) and not is_open_file:
            self.refuse(value, "would be used up by reading it: convert it to a list first")
        if self.purpose == "config" or hasattr(type(value), "__fspath__"):
            try:
                return str.__str__(str(value))
            except Exception as error:
                raise UsageTypeError(f"{self.where()}, {type_phrase(value)}, has no text: {error}") from error
        return self.refuse(value, "cannot be logged: convert it to numbers, text, a list or a dictionary")

    def refuse(self, value: Any, reason: str) -> NoReturn:
        raise UsageTypeError(f"{self.where()}, {type_phrase(value)}, {reason}.")

    def array(self, value: Any) -> Any:
        size = array_size(value)
        if size == 1:
            entry = nested_list(value)
            for _ in value.shape:
                entry = entry[0]
            return self.tree(entry)
        if size > (MOST_LISTED_IN_CONFIG if self.purpose == "config" else MOST_LISTED):
            numbers = read_numbers(value)
            if numbers is not None:
                if self.purpose == "log":
                    return Histogram(numbers, num_bins=BINS_OF_AN_ARRAY).to_json()
                return statistics(numbers)
        return self.sequence(nested_list(value))

    def where(self) -> str:
        """Name the value at hand, for a message."""
        what = f"The {'logged' if self.purpose == 'log' else self.purpose} value"
        keys = [key for key, _ in self.way]
        if not keys:
            return what
        if len(keys) > 8:  # noqa: PLR2004  as many as one reads
            keys[4:-3] = ["…"]
        path = str(keys[0]) + "".join(f"[{key!r}]" if type(key) is int else f"/{key}" for key in keys[1:])
        return f"{what} {path!r}"


_UNKNOWN: Final = object()


def _text_or_number(reader: _Reader, value: Any) -> Any:
    """Read enumerations and the subclasses of text, numbers and bytes."""
    if isinstance(value, Enum):
        if reader.purpose == "config":
            return value.name or str(value)  # a combination of flags has no name before Python 3.11
        return reader.tree(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, complex):
        return str(complex(value)).strip("()")
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return _UNKNOWN


def _structure(reader: _Reader, value: Any) -> Any:
    """Read functions and classes, arrays, and everything that holds other values."""
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        module = getattr(value, "__module__", None)
        return f"{module}.{value.__qualname__}" if isinstance(module, str) else value.__qualname__
    if isinstance(value, Histogram):
        if reader.purpose == "config":
            reader.refuse(value, "has no place in a config: log it")
        return value.to_json()
    if is_array(value):
        return reader.array(value)
    if is_mapping(value):
        return reader.mapping(dict(value))
    if isinstance(value, slice):
        bounds = ("start", "stop", "step")
        return reader.mapping({f"slice_{bound}": getattr(value, bound) for bound in bounds})
    if isinstance(value, AbstractSet):
        return _in_order(reader.sequence(value))
    if isinstance(value, (Sequence, KeysView, ItemsView, ValuesView)):
        return reader.sequence(value)
    fields = fields_of(value)
    return _UNKNOWN if fields is None else reader.mapping(fields)


def _measure(_: _Reader, value: Any) -> Any:
    """Read dates and durations, and what can turn itself into a number (Decimal, Fraction and their like)."""
    kind = type(value)
    if hasattr(kind, "total_seconds"):
        return float(value.total_seconds())
    if hasattr(kind, "isoformat"):
        return str(value.isoformat())
    if hasattr(kind, "__index__"):
        return index(value)
    if not hasattr(kind, "__float__"):
        return _UNKNOWN
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        return _UNKNOWN
    if isinf(number) and hasattr(kind, "is_infinite") and not value.is_infinite():
        return _UNKNOWN  # a Decimal beyond the range of floats
    return number


def is_mapping(value: object) -> bool:
    """Say whether a value maps keys to values, registered as a Mapping or not."""
    kind = type(value)
    return isinstance(value, Mapping) or (hasattr(kind, "keys") and hasattr(kind, "__getitem__"))


def fields_of(value: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or attrs instance or of a namespace; None for anything else."""
    kind = type(value)
    if hasattr(kind, "__attrs_attrs__"):
        names = [attribute.name for attribute in kind.__attrs_attrs__]
    elif hasattr(kind, "__dataclass_fields__"):
        from dataclasses import fields  # whoever made the class has loaded it

        names = [field.name for field in fields(value)]
    elif isinstance(value, SimpleNamespace) or hasattr(kind, "_get_kwargs"):  # argparse's has that method
        names = list(vars(value))
    else:
        return None
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _in_order(trees: list[Any]) -> list[Any]:
    """Sort the entries of a set, so that equal sets give equal lists."""
    return sorted(trees, key=_rank)


def _rank(tree: Any) -> tuple[int, Any]:
    if tree is None:
        return (0, 0)
    if isinstance(tree, str):
        return (3, tree)
    if isinstance(tree, list):
        return (4, [_rank(item) for item in tree])
    if isinstance(tree, dict):
        return (5, [(key, _rank(tree[key])) for key in sorted(tree)])
    return (1, tree) if tree == tree else (2, 0)  # noqa: PLR0124  NaN has no place among numbers
