"""The config of a run as a W&B server keeps it: wrapped, with internals beside the user's keys; and as YAML.

Law: a config always goes out whole and always says that the run has started. A NaN in it is a null, wherever it
stands, and an infinity stays one. What the server stored comes back as it was given, and what cannot be understood is
an error, never an empty config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from corelib.pure.metrics import MetricDefinition
from corelib.pure.trees import without_nan

__all__ = ["ClientFacts", "metric_list", "unwrapped_config", "wrapped_config", "yaml_text"]

_INTERNAL: Final = "_wandb"
_RESUMED_FEATURE: Final = 5
_STEP_SYNC, _HIDDEN, _DEFINED = 1, 2, 3
_SUMMARY_CODES: Final = {"min": 1, "max": 2, "mean": 3, "last": 5, "none": 6, "copy": 7, "first": 8}

_YAML_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_LONGEST_SIMPLE_KEY: Final = 1000  # YAML wants a longer one announced by a question mark
_LAST_BASIC: Final = 0xFFFF


class ClientFacts(NamedTuple):
    """What this client says about itself: its version as the server understands it, Python's, the platform."""

    version: str
    python: str
    platform: str


def wrapped_config(
    config: Mapping[str, Any],
    definitions: Sequence[MetricDefinition],
    client: ClientFacts,
    *,
    resumed: bool,
) -> dict[str, Any]:
    """Return the whole config, each key wrapped. Internals of the run that is continued are kept.

    Raises:
        ValueError: it is nested too deeply.
    """
    stored = config.get(_INTERNAL)
    internals = dict(stored) if isinstance(stored, Mapping) else {}
    telemetry: dict[str, Any] = {"4": client.python, "5": client.version, "13": client.platform}
    if resumed:
        telemetry["3"] = [_RESUMED_FEATURE]
    internals |= {
        "cli_version": client.version,
        "python_version": client.python,
        # Without `t` the reference takes the run for one that never started, and begins it anew.
        "t": telemetry,
        "m": metric_list(internals.get("m"), definitions),
    }
    wrapped = {key: {"value": value} for key, value in config.items() if key != _INTERNAL}
    try:
        tree: dict[str, Any] = without_nan({**wrapped, _INTERNAL: {"value": internals}})
    except RecursionError:
        raise ValueError("a value is nested too deeply") from None
    return tree


def unwrapped_config(tree: object) -> dict[str, Any]:
    """Return a stored config as plain values; a wrapper without a value is left out.

    Raises:
        ValueError: it is no object, or a key is not wrapped.
    """
    if not isinstance(tree, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  one error for all that cannot be read
    for key, wrapper in tree.items():
        if not isinstance(wrapper, dict):
            raise ValueError(f'key {key!r} is not wrapped in {{"value": …}}')  # noqa: TRY004  as above
    return {key: wrapper["value"] for key, wrapper in tree.items() if "value" in wrapper}


def metric_list(stored: object, definitions: Sequence[MetricDefinition]) -> list[dict[str, Any]]:
    """Return the metric definitions of a run as the server keeps them, with those of the run it continues.

    An entry refers to its step metric by number, so stored entries keep their places.
    """
    entries = [dict(one) for one in stored if isinstance(one, Mapping)] if isinstance(stored, list) else []
    places = {entry.get("1", entry.get("2")): place for place, entry in enumerate(entries)}

    def place_of(name: str) -> int:
        if name not in places:
            places[name] = len(entries)
            entries.append({"1": name, "6": [], "7": []})
        return places[name]

    for definition in definitions:
        entry: dict[str, Any] = {"2" if definition.is_glob else "1": definition.name}
        place = place_of(definition.name)
        if definition.step_metric is not None:
            entry["5"] = place_of(definition.step_metric) + 1
        entry["6"] = list(_options(definition))
        entry["7"] = [_SUMMARY_CODES[one] for one in definition.summary or ()]
        entries[place] = entry
    return entries


def _options(definition: MetricDefinition) -> Iterator[int]:
    if definition.synchronises:
        yield _STEP_SYNC
    if definition.hidden:
        yield _HIDDEN
    if not definition.is_glob:
        yield _DEFINED


# ------------------------------------------------------------------------------------------------------- YAML


def yaml_text(tree: Mapping[str, Any]) -> str:
    """Return a tree of values as YAML that reads back as the same tree, in blocks of four blanks.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return "".join(f"{line}\n" for line in _yaml_lines(tree, ""))
    except RecursionError:
        raise ValueError("a value is nested too deeply") from None


def _yaml_lines(tree: Any, indent: str) -> Iterator[str]:
    items = (
        [(_yaml_key(key, indent), value) for key, value in tree.items()]
        if isinstance(tree, Mapping)
        else [("-", value) for value in tree]
    )
    for head, value in items:
        if isinstance(value, (Mapping, list, tuple)) and value:
            yield indent + head
            yield from _yaml_lines(value, indent + "    ")
        else:
            yield f"{indent}{head} {_yaml_scalar(value)}"


def _yaml_key(key: str, indent: str) -> str:
    scalar = _yaml_scalar(key)
    return f"{scalar}:" if len(scalar) <= _LONGEST_SIMPLE_KEY else f"? {scalar}\n{indent}:"


def _yaml_scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    if isinstance(value, str):
        is_plain = value.isascii() and value.isidentifier() and value.lower() not in _YAML_WORDS
        return value if is_plain else _yaml_string(value)
    if not isinstance(value, float):
        return json.dumps(value)
    if value - value != 0:  # not finite
        return ".nan" if value != value else ".inf" if value > 0 else "-.inf"  # noqa: PLR0124  NaN
    text = repr(value)
    return text if "." in text else text.replace("e", ".0e")  # YAML 1.1 takes 1e-05 for a text


def _yaml_string(value: str) -> str:
    """Return a text in double quotes, as JSON has it but for characters beyond the basic plane."""
    return "".join(
        one
        if one.isprintable()
        else f"\\u{ord(one):04x}"
        if ord(one) <= _LAST_BASIC
        else f"\\U{ord(one):08x}"
        for one in json.dumps(value, ensure_ascii=False)
    )
