"""What a config is made of, which source wins, and when a value may change.

Law: a config is a tree of text keys. Of its sources the strongest that names a key decides the whole value; only a
lock reaches inside a value. A key that is set stays as it is unless change is allowed; an equal value is no change. An
update is applied as a whole or not at all, but for locked keys, which keep their value and give a warning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any, Final, NamedTuple

from corelib.errors import ConfigError, UsageError, UsageTypeError
from corelib.pure.arrays import is_array
from corelib.pure.trees import equal_trees, shorten, type_phrase
from corelib.pure.values import fields_of, is_mapping, json_tree
from corelib.pure.yaml_text import read_yaml

__all__ = [
    "Changed",
    "Merged",
    "change",
    "config_key",
    "filter_keys",
    "locked_warning",
    "merge_config",
    "parse_yaml",
    "read_config",
]

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_ENTRY_KEYS: Final = frozenset({"desc", "value"})


def read_config(source: Any) -> dict[str, Any]:
    """Return the config that `init(config=…)` or `config.update(…)` was given as a tree.

    Args:
        source: a mapping, an argparse.Namespace, absl flags, a dataclass or attrs instance, any other object with a
            `__dict__`, a class with public attributes; None and "" are empty.

    Raises:
        UsageTypeError: anything else, a key that is no text, a value that cannot be recorded.
        UsageError: an empty key, two keys that differ only in their dashes, a value nested too deeply or too large.
    """
    if source is None or (isinstance(source, str) and not source):
        return {}
    tree: dict[str, Any] = {}
    for key, value in _named_values(source).items():
        name = config_key(key)
        if name in tree:
            raise UsageError(f"The config names {name!r} twice: leading and trailing dashes do not count.")
        tree[name] = json_tree(value, purpose="config", key=name)
    return tree


def config_key(key: object) -> str:
    """Return the name under which a key is stored: without the dashes around it, so that `--lr` is `lr`.

    Raises:
        UsageTypeError: no text.
        UsageError: nothing left.
    """
    if not isinstance(key, str):
        raise UsageTypeError(f"A config key must be a text, and {shorten(key)} is {type_phrase(key)}.")
    name = str.__str__(key).strip("-")
    if not name:
        raise UsageError(f"A config key must name something, and {key!r} does not.")
    return name


def _named_values(source: Any) -> Mapping[Any, Any]:
    if isinstance(source, ModuleType):
        source = getattr(source, "FLAGS", source)  # the module absl.flags stands for its flags
    kind = type(source)
    if hasattr(kind, "flag_values_dict"):
        return dict(source.flag_values_dict())
    if is_mapping(source) and not is_array(source):
        return dict(source)
    fields = None if isinstance(source, type) else fields_of(source)
    if fields is not None:
        return fields
    if isinstance(source, type):
        return {name: value for name, value in vars(source).items() if _is_data(name, value)}
    is_function = callable(source) and hasattr(source, "__qualname__")
    if is_function or is_array(source) or isinstance(source, ModuleType) or not hasattr(source, "__dict__"):
        raise UsageTypeError(
            "A config must be a dict, a namespace, absl flags, a dataclass or another object with a __dict__, or "
            f"the name of a YAML file, not {type_phrase(source)}."
        )
    return dict(vars(source))


def _is_data(name: str, value: Any) -> bool:
    """Tell the values that a class declares from its methods, descriptors and what Python adds."""
    return not (name.startswith("__") or callable(value) or hasattr(type(value), "__get__"))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """Return the config that a YAML text holds, in either layout, `key: value` or `key: {value: …, desc: …}`.

    An entry is of the second layout if it has no other keys than these two; where the text declares
    `wandb_version: 1`, every entry that is a mapping is.

    Args:
        text: what the file holds.
        name: the file's name, for messages.

    Raises:
        ConfigError: not YAML, no mapping, an unknown `wandb_version`, a key that is no text or stands twice, an entry
            without value, a value that cannot be recorded. The text names the file and the key.
    """
    document = read_yaml(text, name)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{name} must map names to values, and holds {type_phrase(document)}.")
    declared = "wandb_version" in document
    version = document.pop("wandb_version", 1)
    if type(version) is not int or version != 1:
        raise ConfigError(f"{name}: wandb_version is {shorten(version)}, and only 1 is known.")
    tree: dict[str, Any] = {}
    for key, entry in document.items():
        try:
            stored = config_key(key)
            tree_value = json_tree(_value_of(entry, declared), purpose="config", key=stored)
        except (UsageError, ConfigError) as error:
            raise ConfigError(f"{name}, key {shorten(key)}: {error}") from error
        if stored in tree:
            raise ConfigError(
                f"{name}, key {key!r}: {stored!r} is given twice; dashes around it do not count."
            )
        tree[stored] = tree_value
    return tree


def _value_of(entry: Any, declared: bool) -> Any:
    if not isinstance(entry, dict) or not (declared or (entry and entry.keys() <= _ENTRY_KEYS)):
        return entry
    if "value" not in entry:
        raise ConfigError(
            "the entry has no value. Write `key: {value: …, desc: …}`, or `key: …` without either."
        )
    return entry["value"]


def filter_keys(
    tree: Mapping[str, Any], *, include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the part of a config that `config_include_keys` or `config_exclude_keys` leaves.

    An empty list is as good as none; unknown names are ignored.

    Raises:
        UsageTypeError: not a list of texts; a single text is not taken for its characters.
        UsageError: both are given.
    """
    included = _names(include, "config_include_keys")
    excluded = _names(exclude, "config_exclude_keys")
    if included and excluded:
        raise UsageError("config_include_keys and config_exclude_keys exclude each other: give one of them.")
    return {
        key: value for key, value in tree.items() if (key in included if included else key not in excluded)
    }


def _names(names: object, argument: str) -> frozenset[str]:
    if names is None:
        return frozenset()
    if isinstance(names, (str, bytes, Mapping)) or not isinstance(names, Iterable):
        raise UsageTypeError(f"{argument} must be a list of texts, not {type_phrase(names)}.")
    listed = list(names)
    for name in listed:
        if not isinstance(name, str):
            raise UsageTypeError(
                f"{argument} must hold texts only, and {shorten(name)} is {type_phrase(name)}."
            )
    return frozenset(listed)


class Merged(NamedTuple):
    """The config a run starts with, and which keys are locked by whom."""

    tree: dict[str, Any]
    locked: dict[str, str]


def merge_config(
    *,
    locks: Mapping[str, Mapping[str, Any]] = _NOTHING,
    files: Sequence[Mapping[str, Any]] = (),
    argument: Mapping[str, Any] = _NOTHING,
    defaults: Mapping[str, Any] = _NOTHING,
    stored: Mapping[str, Any] = _NOTHING,
) -> Merged:
    """Merge the sources of a config; the parameters stand in order, the strongest first.

    Args:
        locks: owner (`sweep`, `launch`) to the values it imposes, the strongest owner first. They are merged into
            what the other sources say, dictionary by dictionary, and lock the keys they name.
        files: the files of `config_paths`, of which later ones win. They beat `init(config=)`: that is how an agent
            hands over its values.
        argument: `init(config=)`, filtered.
        defaults: `config-defaults.yaml`.
        stored: what a resumed run had.
    """
    tree: dict[str, Any] = {}
    for source in (stored, defaults, argument, *files):
        tree |= source
    locked: dict[str, str] = {}
    for owner, imposed in reversed(list(locks.items())):
        tree = _impose(tree, imposed)
        locked |= dict.fromkeys(imposed, owner)
    return Merged(tree, locked)


def _impose(tree: Mapping[str, Any], imposed: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(tree)
    for key, value in imposed.items():
        present = merged.get(key)
        if isinstance(present, dict) and isinstance(value, dict):
            merged[key] = _impose(present, value)
        else:
            merged[key] = value
    return merged


class Changed(NamedTuple):
    """What became of an update: the new config, the part of the update that differs, what the user should know."""

    tree: dict[str, Any]
    applied: dict[str, Any]
    warnings: tuple[str, ...]


def change(
    current: Mapping[str, Any],
    update: Mapping[str, Any],
    *,
    allow_val_change: bool,
    locked: Mapping[str, str] = _NOTHING,
) -> Changed:
    """Apply an update to a config, both trees; whole values are replaced.

    An equal value is never refused, and replaces the stored one if its type differs (1, 1.0, True). NaN equals NaN.

    Raises:
        ConfigError: a key is set to another value and may not change; nothing is applied.
    """
    applied: dict[str, Any] = {}
    warnings: list[str] = []
    conflicts: list[str] = []
    for key, value in update.items():
        is_equal = key in current and equal_trees(current[key], value)
        if key in locked:
            if not is_equal:
                warnings.append(locked_warning(key, locked[key]))
            continue
        if key in current and not is_equal and not allow_val_change:
            conflicts.append(key)
        if not is_equal or not equal_trees(current[key], value, exact=True):
            applied[key] = value
    if conflicts:
        raise ConfigError(_refusal(conflicts, current, update))
    return Changed({**current, **applied}, applied, tuple(warnings))


def locked_warning(key: str, owner: str) -> str:
    """Return the sentence about a write to a locked key."""
    return f"The config value {key!r} is locked by {owner!r}: it keeps its value, and this change of it is ignored."


def _refusal(conflicts: Sequence[str], current: Mapping[str, Any], update: Mapping[str, Any]) -> str:
    key = conflicts[0]
    others = f" Likewise {', '.join(map(repr, conflicts[1:]))}." if len(conflicts) > 1 else ""
    return (
        f"The config value {key!r} is already set to {shorten(current[key])} and may not become "
        f"{shorten(update[key])}.{others} Nothing was changed. If the change is meant, say so: "
        "config.update({…}, allow_val_change=True), or init(allow_val_change=True) for the whole run."
    )
