"""YAML text → plain Python values.

Law: any text gives a value made of what the safe loader knows, or a ConfigError that names the source and the place;
nothing else. Aliases may not expand beyond a bound, nor into themselves, and a key may stand in a mapping only once.
Text follows YAML 1.1 as PyYAML reads it: `1e-3` is a text, `1.0e-3` a number, `on` is True.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

from corelib.errors import ConfigError

__all__ = ["read_yaml"]

MOST_CHARACTERS: Final = 1 << 20
MOST_NODES: Final = 100_000  # after the expansion of aliases
MOST_LEVELS: Final = 100
_MERGE: Final = "tag:yaml.org,2002:merge"


def read_yaml(text: str, name: str) -> Any:
    """Read one YAML document; an empty one is None.

    Args:
        text: the document.
        name: what to call it in messages: a file name, an argument, a variable.

    Raises:
        ConfigError: not one YAML document, a key given twice, or more than a config file has reason to hold.
    """
    import yaml  # 15 ms that only a run with a YAML file pays

    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"{name} has {len(text)} characters: more than {MOST_CHARACTERS} are not read as a config."
        )
    # The C loader is faster, but recurses without a limit of its own; a config file is small.
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _Checker(name).check(root, 0)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {_place(error)}.") from error
    except RecursionError:
        raise ConfigError(f"{name} is nested too deeply to be read as YAML.") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # The safe loader lets these through for scalars that look like a date or a number and are none.
        raise ConfigError(f"{name} holds a value that YAML cannot read: {error}") from error


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return str(problem) if mark is None else f"{problem} (line {mark.line + 1}, column {mark.column + 1})"


class _Checker:
    """Walks the nodes of a document before anything is made of them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sizes: dict[int, int] = {}  # by id of the node; 0 while the node is being walked

    def check(self, node: Any, level: int) -> int:
        """Return how many nodes `node` is, aliases expanded."""
        known = self.sizes.get(id(node))
        if known is not None:
            return known or self.refuse(node, "contains itself")
        if level > MOST_LEVELS:
            self.refuse(node, f"is nested deeper than {MOST_LEVELS} levels")
        self.sizes[id(node)] = 0
        size = 1
        if node.id == "sequence":
            size += sum(self.check(item, level + 1) for item in node.value)
        elif node.id == "mapping":
            self.check_keys(node)
            size += sum(self.check(part, level + 1) for pair in node.value for part in pair)
        if size > MOST_NODES:
            self.refuse(node, f"stands for more than {MOST_NODES} values")
        self.sizes[id(node)] = size
        return size

    def check_keys(self, mapping: Any) -> None:
        seen = set()
        for key, _ in mapping.value:
            if key.id == "scalar" and key.tag != _MERGE:
                if (key.tag, key.value) in seen:
                    self.refuse(key, f"gives the key {key.value!r} a second time")
                seen.add((key.tag, key.value))

    def refuse(self, node: Any, reason: str) -> NoReturn:
        raise ConfigError(f"{self.name}, line {node.start_mark.line + 1}: the entry {reason}.")
