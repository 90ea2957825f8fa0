# Invariant: any text is read as a config of plain trees under text keys, or refused with a ConfigError; nothing else.
"""Fuzz `corelib.pure.config.parse_yaml`; run `python fuzz/targets/fuzz_config_yaml.py fuzz/corpus/config_yaml`."""

from __future__ import annotations

from typing import Any

from corelib.errors import ConfigError
from corelib.pure.config import change, parse_yaml, read_config
from corelib.pure.trees import equal_trees


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a config file and check what came out."""
    text = data.decode("utf-8", "replace")
    try:
        tree = parse_yaml(text, "fuzz.yaml")
    except ConfigError as error:
        assert str(error).startswith("fuzz.yaml")  # noqa: PT017  the message names the file
        return
    assert _is_tree(tree)
    assert all(key and not key.startswith("-") for key in tree)
    assert equal_trees(read_config(tree), tree, exact=True)
    assert equal_trees(parse_yaml(text, "again.yaml"), tree, exact=True)
    assert change(tree, tree, allow_val_change=False).applied == {}


def _is_tree(value: Any) -> bool:
    if type(value) is dict:
        return all(type(key) is str and _is_tree(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_tree, value))
    return type(value) in (str, int, float, bool, type(None))


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
