"""`run.config`: the parameters of a run as an object with attributes and items.

Law: what is read here is what the journal holds. Every accepted write is one journal record, made before the write
shows; a refused one changes nothing. A nested value is read as a read-only dict or list: changing it in place raises,
because the change could not be recorded; whole values are assigned. Names with a leading underscore are stored and
readable, but stand in no listing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from threading import RLock
from types import MappingProxyType
from typing import Any, Final, NoReturn

from corelib.errors import ConfigError, UsageTypeError
from corelib.pure.config import change, config_key, locked_warning, parse_yaml, read_config
from corelib.pure.trees import copy_tree, read_only, shorten
from corelib.pure.values import json_tree

__all__ = ["Config", "StaticConfig", "renew_lock"]

_MOST_SHOWN: Final = 80  # characters of one value in a repr
_NOTHING_LOCKED: Final[Mapping[str, str]] = MappingProxyType({})


class _ConfigView(Mapping[str, Any]):
    """Reading: items, attributes, listings. A subclass keeps `_tree` and never changes it in place."""

    __slots__ = ("_tree",)

    _tree: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return read_only(self._tree[key])

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The config has no value {name!r}.", name=name, obj=self) from None

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self._tree if not key.startswith("_")])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and not key.startswith("_") and key in self._tree

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def __repr__(self) -> str:
        listed = ", ".join(f"{key!r}: {shorten(self._tree[key], _MOST_SHOWN)}" for key in self)
        return f"{type(self).__name__}({{{listed}}})"

    def as_dict(self) -> dict[str, Any]:
        """Return a copy of the listed values that may be changed freely."""
        return {key: copy_tree(self._tree[key]) for key in self}


class StaticConfig(_ConfigView):
    """A snapshot of a config: it can be read like the config, copied and pickled, and never changes."""

    __slots__ = ()

    def __init__(self, tree: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_tree", tree)

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(
            f"config_static is a snapshot: set run.config.{name} instead.", name=name, obj=self
        )

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"config_static is a snapshot: {name!r} cannot be deleted.", name=name, obj=self)

    def __reduce__(self) -> tuple[type[StaticConfig], tuple[dict[str, Any]]]:
        return StaticConfig, (dict(self._tree),)


class Config(_ConfigView, MutableMapping[str, Any]):
    """The config of a run.

    A copy or a pickle of it is a `StaticConfig`. Names that are methods of this class (`keys`, `update`, …) are
    reached as items.

    Args:
        tree: the values the run starts with.
        record: journals one change: the values set, the names removed. If it raises, nothing is changed.
        allow_val_change: whether values that are set may be changed.
        locked: key to owner (`sweep`) of the values that keep what they were given.
        read_file: returns the text of a YAML file for `update("file.yaml")`.
        writable: raises UsageError if the run is finished.
        warn: tells the user of a write to a locked key.
    """

    __slots__ = ("_allow_val_change", "_lock", "_locked", "_read_file", "_record", "_warn", "_writable")

    _allow_val_change: bool
    _lock: Any  # an RLock, which has no type of its own
    _locked: Mapping[str, str]
    _read_file: Callable[[str], str]
    _record: Callable[[dict[str, Any], tuple[str, ...]], None]
    _warn: Callable[[str], None]
    _writable: Callable[[], None]

    def __init__(
        self,
        tree: Mapping[str, Any],
        *,
        record: Callable[[dict[str, Any], tuple[str, ...]], None],
        allow_val_change: bool,
        locked: Mapping[str, str] = _NOTHING_LOCKED,
        read_file: Callable[[str], str],
        writable: Callable[[], None],
        warn: Callable[[str], None] | None = None,
    ) -> None:
        members = {
            "_tree": copy_tree(dict(tree)),
            "_record": record,
            "_allow_val_change": allow_val_change,
            "_locked": dict(locked),
            "_read_file": read_file,
            "_writable": writable,
            "_warn": warn or _warn_in_python,
            "_lock": RLock(),
        }
        for name, value in members.items():
            object.__setattr__(self, name, value)

    def update(self, source: Any, allow_val_change: bool | None = None) -> None:  # type: ignore[override]
        """Set several values at once: all of them, or none if one of them may not change.

        Args:
            source: a mapping, a namespace or another source that `init(config=)` takes, or the name of a YAML file.
            allow_val_change: whether set values may be changed; None: as the run was started.

        Raises:
            ConfigError: a value is set and may not change, or the file cannot be used.
            UsageTypeError: not a source of values, a key that is no text, a value that cannot be recorded.
            UsageError: the run is finished.
        """
        if source is None:
            raise UsageTypeError(
                "config.update() takes a mapping, a namespace or the name of a YAML file, not None."
            )
        self._set(self._read(source), allow_val_change=allow_val_change)

    def setdefaults(self, source: Any) -> None:
        """Set those values of a source that are not set yet; see `update` for sources and errors."""
        self._set(self._read(source), only_missing=True)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set one value if it is not set yet, and return the one that is set."""
        self._set({config_key(key): json_tree(default, purpose="config", key=key)}, only_missing=True)
        return self[config_key(key)]

    def static(self) -> StaticConfig:
        """Return a snapshot that cannot be written to."""
        return StaticConfig(self._tree)

    def __setitem__(self, key: str, value: Any) -> None:
        self._set(read_config({key: value}))

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delitem__(self, key: str) -> None:
        with self._lock:
            self._writable()
            if key not in self._tree:
                raise KeyError(key)
            if key in self._locked:
                raise ConfigError(locked_warning(key, self._locked[key]))
            self._record({}, (key,))
            self._replace({name: value for name, value in self._tree.items() if name != key})

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"The config has no value {name!r}.", name=name, obj=self) from None

    def __reduce__(self) -> tuple[type[StaticConfig], tuple[dict[str, Any]]]:
        return self.static().__reduce__()

    def _read(self, source: Any) -> dict[str, Any]:
        if hasattr(type(source), "__fspath__"):
            source = source.__fspath__()
        if not isinstance(source, str):
            return read_config(source)
        try:
            text = self._read_file(source)
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"The config file {source!r} cannot be read: {error}") from error
        return parse_yaml(text, source)

    def _set(
        self, update: dict[str, Any], *, allow_val_change: bool | None = None, only_missing: bool = False
    ) -> None:
        allowed = self._allow_val_change if allow_val_change is None else bool(allow_val_change)
        # The record is made under the lock: the order of the journal is the order of the changes. The lock is
        # reentrant for a signal handler that writes to the config too, and what it wrote must not be undone.
        with self._lock:
            self._writable()
            if only_missing:
                update = {key: value for key, value in update.items() if key not in self._tree}
            changed = change(self._tree, update, allow_val_change=allowed, locked=self._locked)
            if changed.applied:
                self._record(changed.applied, ())
                self._replace({**self._tree, **changed.applied})
        for warning in changed.warnings:
            self._warn(warning)

    def _replace(self, tree: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_tree", tree)


def renew_lock(config: Config) -> None:
    """Give a config a lock of its own in a forked child, where nobody may be left to release the inherited one."""
    object.__setattr__(config, "_lock", RLock())


def _warn_in_python(text: str) -> None:
    import warnings  # a run without locks does without

    warnings.warn(text, UserWarning, stacklevel=4)
