"""`run.summary`: what remains of a run, as a mapping that can be written to at any depth.

Law: a read is the summary as it stands, computed from the rows; a write is one journal record of whole top-level
values, also when it reaches inside of one. Lists are read as read-only lists: changing one in place raises, because
the change could not be recorded. Names with a leading underscore are readable, but stand in no listing. After
`finish()` reading goes on and writing raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from threading import RLock
from typing import Any, Final

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.trees import copy_tree, read_only, shorten, type_phrase
from corelib.pure.values import json_tree

__all__ = ["Summary", "SummaryBranch", "renew_lock"]

_MOST_SHOWN: Final = 80  # characters of one value in a repr


class _Source:
    """Where a summary is read from and written to. The lock makes reading a value and recording its successor one."""

    __slots__ = ("lock", "read", "record", "writable")

    def __init__(
        self,
        read: Callable[[], Mapping[str, Any]],
        record: Callable[[dict[str, Any], tuple[str, ...]], None],
        writable: Callable[[], None],
    ) -> None:
        self.lock = RLock()
        self.read = read
        self.record = record
        self.writable = writable


class SummaryBranch(MutableMapping[str, Any]):
    """A dictionary of the summary, at any depth. It is a view: it always shows and changes what is there now."""

    __slots__ = ("_path", "_source")

    _path: tuple[str, ...]
    _source: _Source

    def __init__(self, source: _Source, path: tuple[str, ...]) -> None:
        object.__setattr__(self, "_source", source)
        object.__setattr__(self, "_path", path)

    def __getitem__(self, key: str) -> Any:
        value = self._tree()[key]
        if isinstance(value, dict) and "_type" not in value:
            return SummaryBranch(self._source, (*self._path, key))
        return read_only(value)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        with self._source.lock:
            self._source.writable()
            tree = self._tree()
            if key not in tree:
                raise KeyError(key)
            if self._path:
                self._replace({name: value for name, value in tree.items() if name != key})
            else:
                self._source.record({}, (key,))

    def update(self, other: Any = (), /, **values: Any) -> None:
        """Set several values with one record: like `dict.update`, whole values are replaced.

        Raises:
            UsageTypeError: a key that is no text, a value that cannot be recorded.
            UsageError: an empty key, or the run is finished.
        """
        update = {
            _name(key): json_tree(value, purpose="summary", key=key)
            for key, value in dict(other, **values).items()
        }
        with self._source.lock:
            self._source.writable()
            if self._path and update:
                self._replace({**self._tree(), **update})
            elif update:
                self._source.record(update, ())

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # what Python asks of every object is no reason to compute the summary
            try:
                return self[name]
            except KeyError:
                pass  # answered below, as a missing attribute
        raise AttributeError(f"The summary has no value {name!r}.", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"The summary has no value {name!r}.", name=name, obj=self) from None

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self._tree() if not key.startswith("_")])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and not key.startswith("_") and key in self._tree()

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        tree = self._tree()
        listed = ", ".join(
            f"{key!r}: {shorten(tree[key], _MOST_SHOWN)}" for key in tree if not key.startswith("_")
        )
        return f"{type(self).__name__}({{{listed}}})"

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (self.as_dict(),)

    def as_dict(self) -> dict[str, Any]:
        """Return a copy of the listed values, as plain dictionaries and lists that may be changed freely."""
        return {key: copy_tree(value) for key, value in self._tree().items() if not key.startswith("_")}

    def _tree(self) -> Mapping[str, Any]:
        """Return the dictionary that this branch stands for.

        Raises:
            KeyError: it is gone, or no dictionary any more.
        """
        tree: Any = self._source.read()
        for depth, key in enumerate(self._path):
            tree = tree.get(key)
            if not isinstance(tree, dict):
                raise KeyError("/".join(self._path[: depth + 1]))
        found: Mapping[str, Any] = tree
        return found

    def _replace(self, tree: Mapping[str, Any]) -> None:
        """Record the top-level value in which this branch is now `tree`."""
        top, *inner = self._path
        self._source.record({top: _with(self._source.read()[top], inner, dict(tree))}, ())


class Summary(SummaryBranch):
    """The summary of a run.

    A copy or a pickle of it is a plain dict. Names that are methods of this class (`keys`, `update`, …) are reached
    as items.

    Args:
        read: returns the summary as it stands, a tree.
        record: applies and journals one change: the top-level values set, the names removed.
        writable: raises UsageError if the run is finished.
    """

    __slots__ = ()

    def __init__(
        self,
        *,
        read: Callable[[], Mapping[str, Any]],
        record: Callable[[dict[str, Any], tuple[str, ...]], None],
        writable: Callable[[], None],
    ) -> None:
        super().__init__(_Source(read, record, writable), ())


def renew_lock(summary: Summary) -> None:
    """Give a summary a lock of its own in a forked child, where nobody may be left to release the inherited one."""
    summary._source.lock = RLock()  # noqa: SLF001  attributes of a summary are its values


def _with(tree: Any, path: Sequence[str], value: Any) -> Any:
    """Return `tree` with `value` at `path`."""
    if not path:
        return value
    return {**tree, path[0]: _with(tree[path[0]], path[1:], value)}


def _name(key: object) -> str:
    if not isinstance(key, str):
        raise UsageTypeError(f"A summary key must be a text, and {shorten(key)} is {type_phrase(key)}.")
    if not key:
        raise UsageError("A summary key must not be empty.")
    return str.__str__(key)
