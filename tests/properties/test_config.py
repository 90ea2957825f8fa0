"""The laws of configs: which source wins, what an update may change, what the journal holds."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from corelib.api.config import Config
from corelib.errors import ConfigError
from corelib.pure.config import change, filter_keys, merge_config, parse_yaml, read_config
from corelib.pure.trees import copy_tree, equal_trees
from corelib.testing.strategies.values import config_trees, names

owners = st.dictionaries(names(), st.just("sweep"), max_size=3)


@given(current=config_trees(), update=config_trees(), locked=owners, allow=st.booleans())
@example(current={"a": float("nan")}, update={"a": float("nan"), "b": 1}, locked={}, allow=False)
def test_an_update_is_applied_as_a_whole_or_not_at_all(
    current: dict[str, Any], update: dict[str, Any], locked: dict[str, str], allow: bool
) -> None:
    """A change is refused exactly if an unlocked key would change unallowed; else all but locked keys apply."""
    before = copy_tree(current)
    free = {key: value for key, value in update.items() if key not in locked}
    conflict = any(key in current and not equal_trees(current[key], value) for key, value in free.items())

    if conflict and not allow:
        with pytest.raises(ConfigError):
            change(current, update, allow_val_change=allow, locked=locked)
    else:
        changed = change(current, update, allow_val_change=allow, locked=locked)
        assert equal_trees(changed.tree, {**current, **free}, exact=True)
        assert equal_trees({**current, **changed.applied}, changed.tree, exact=True)

    assert equal_trees(current, before, exact=True)


@given(current=config_trees(), update=config_trees(), locked=owners)
def test_locked_keys_never_change(
    current: dict[str, Any], update: dict[str, Any], locked: dict[str, str]
) -> None:
    """Whatever is written under any permission, a locked key keeps its value, and each lost write gives one warning."""
    changed = change(current, update, allow_val_change=True, locked=locked)
    lost = [
        key
        for key in update
        if key in locked and not (key in current and equal_trees(current[key], update[key]))
    ]

    assert all(key in changed.tree and changed.tree[key] is current[key] for key in locked if key in current)
    assert len(changed.warnings) == len(lost)


@given(current=config_trees(), update=config_trees())
def test_an_update_repeated_changes_nothing(current: dict[str, Any], update: dict[str, Any]) -> None:
    """The same update again is no change, with or without permission."""
    once = change(current, update, allow_val_change=True)
    twice = change(once.tree, update, allow_val_change=False)

    assert twice.applied == {}
    assert equal_trees(twice.tree, once.tree, exact=True)


@given(sources=st.lists(config_trees(), min_size=5, max_size=5))
def test_the_strongest_source_that_names_a_key_decides_it(sources: list[dict[str, Any]]) -> None:
    """Without locks each value comes whole from the strongest source that names its key, and no other keys appear."""
    second_file, first_file, argument, defaults, stored = sources

    merged = merge_config(
        files=[first_file, second_file], argument=argument, defaults=defaults, stored=stored
    )

    assert merged.tree.keys() == set().union(*sources)
    for key, value in merged.tree.items():
        assert value is next(source[key] for source in sources if key in source)


@given(stronger=config_trees(), weaker=config_trees(), lock=config_trees())
def test_a_weaker_source_changes_nothing_that_is_said(
    stronger: dict[str, Any], weaker: dict[str, Any], lock: dict[str, Any]
) -> None:
    """Adding a weaker source leaves the keys of a stronger one alone, locked or not."""
    alone = merge_config(locks={"sweep": lock}, argument=stronger)
    both = merge_config(locks={"sweep": lock}, argument=stronger, defaults=weaker)

    assert all(equal_trees(both.tree[key], alone.tree[key], exact=True) for key in stronger)
    assert alone.locked == both.locked == dict.fromkeys(lock, "sweep")


def imposed(tree: Any, lock: Any) -> bool:
    """Say whether every value of a lock stands in a tree."""
    if isinstance(lock, dict) and lock:
        return isinstance(tree, dict) and all(key in tree and imposed(tree[key], lock[key]) for key in lock)
    return isinstance(tree, dict) if lock == {} else equal_trees(tree, lock, exact=True)


@given(argument=config_trees(), lock=config_trees())
def test_every_value_of_a_lock_stands(argument: dict[str, Any], lock: dict[str, Any]) -> None:
    """Whatever the other sources say, the values of a lock are in the config, at any depth."""
    assert imposed(merge_config(locks={"sweep": lock}, argument=argument).tree, lock)


@given(tree=config_trees(), chosen=st.lists(names(), min_size=1))
def test_including_and_excluding_are_complements(tree: dict[str, Any], chosen: list[str]) -> None:
    """What a list includes and what it excludes make up the config."""
    included, excluded = filter_keys(tree, include=chosen), filter_keys(tree, exclude=chosen)

    assert included.keys().isdisjoint(excluded)
    assert {**included, **excluded}.keys() == tree.keys()
    assert included.keys() <= set(chosen)


@pytest.mark.parametrize("is_declared", [False, True])
@given(tree=config_trees())
def test_yaml_holds_every_config(is_declared: bool, tree: dict[str, Any]) -> None:
    """A config written as YAML, plainly or with values and descriptions, is read back exactly."""
    document: dict[str, Any] = (
        {key: {"desc": "x", "value": value} for key, value in tree.items()} if is_declared else tree
    )
    if is_declared:
        document["wandb_version"] = 1

    assert equal_trees(parse_yaml(yaml.safe_dump(document), "f.yaml"), tree, exact=True)


@given(tree=config_trees())
def test_reading_a_config_twice_equals_once(tree: dict[str, Any]) -> None:
    """A config is a config source that gives itself."""
    assert equal_trees(read_config(read_config(tree)), tree, exact=True)


operations = st.lists(
    st.tuples(st.sampled_from(["update", "allow", "setdefaults", "item", "delete"]), config_trees(), names()),
    max_size=8,
)


@given(start=config_trees(), operations=operations, locked=owners)
def test_the_config_is_what_its_journal_says(
    start: dict[str, Any], operations: list[tuple[str, dict[str, Any], str]], locked: dict[str, str]
) -> None:
    """After any writes, accepted or refused, the object equals the start with the recorded changes applied."""
    journal = copy_tree(start)

    def record(update: dict[str, Any], remove: tuple[str, ...]) -> None:
        assert update or remove
        journal.update(update)
        for key in remove:
            del journal[key]

    config = Config(
        start,
        record=record,
        allow_val_change=False,
        locked=locked,
        read_file=str,
        writable=lambda: None,
        warn=lambda _: None,
    )
    for operation, tree, name in operations:
        try:
            if operation == "update":
                config.update(tree)
            elif operation == "allow":
                config.update(tree, allow_val_change=True)
            elif operation == "setdefaults":
                config.setdefaults(tree)
            elif operation == "item":
                config[name] = tree
            else:
                del config[name]
        except (ConfigError, KeyError):
            pass
        shown = {key: config[key] for key in journal}
        assert equal_trees(shown, journal)
        assert set(config) == {key for key in journal if not key.startswith("_")}
        assert all(equal_trees(config[key], start[key]) for key in locked if key in start)
