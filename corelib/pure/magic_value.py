"""What a value of `magic` amounts to: a tree to record, and what of it has any effect.

Law: magic never breaks a run. Whatever it is, it becomes a tree, a bool or None together with the sentences that say
what was wrong with it or does nothing; what cannot be read counts as empty, so that the defaults hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from corelib.errors import Error
from corelib.pure.magic import read_magic
from corelib.pure.trees import shorten, type_phrase
from corelib.pure.values import is_mapping, json_tree
from corelib.pure.yaml_text import read_yaml

__all__ = ["Magic", "parse_magic"]

Magic: TypeAlias = "dict[str, Any] | bool | None"

_SWITCHES: Final = frozenset({"enable", "args", "args.absl", "args.argparse"})
_NOT_YAML: Final = re.compile(r"\{|[\w.-]+\s*=|\w*\Z")  # JSON, a comma list, a single word
_MOST_NAMED: Final = 10


def parse_magic(value: Any) -> tuple[Magic, tuple[str, ...]]:
    """Read the `magic` argument or `WANDB_MAGIC`.

    Args:
        value: None, a bool, a mapping, or a text: a word for true or false, a JSON object, a comma list such as
            `args.absl=true,enable=false`, or the content of a YAML file.

    Returns:
        The value (None: not given) and the problems, each a sentence for the user.
    """
    if isinstance(value, str):
        value, problems = _read_text(value.strip())
        if problems:
            return {}, problems
    if value is None or isinstance(value, bool):
        return value, ()
    if not is_mapping(value):
        return {}, (f"magic must be a bool, names and values, or a text of them, not {_described(value)}.",)
    try:
        tree = json_tree(value, purpose="config", key="magic")
    except Error as error:
        return {}, (f"Unable to use magic: {error} The defaults are used.",)
    return tree, tuple(_idle(tree))


def _read_text(text: str) -> tuple[Any, tuple[str, ...]]:
    if not text:
        return None, ()
    try:
        return (read_magic(text) if _NOT_YAML.match(text) else read_yaml(text, "the YAML of magic")), ()
    except Error as error:
        return None, (f"{error} The defaults are used.",)


def _described(value: Any) -> str:
    return shorten(value) if isinstance(value, str) else type_phrase(value)


def _idle(tree: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to tell about keys that do nothing."""
    idle = []
    for path, value in _leaves(tree):
        if path not in _SWITCHES:
            idle.append(path)
        elif not (value is None or isinstance(value, bool)):
            yield f"magic: {path} must be true or false, not {shorten(value)}: it has no effect."
    if idle:
        more = f" and {len(idle) - _MOST_NAMED} more" if len(idle) > _MOST_NAMED else ""
        named = ", ".join(idle[:_MOST_NAMED])
        yield f"magic: {named}{more}: without effect. What is known is enable, args.absl and args.argparse."


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
