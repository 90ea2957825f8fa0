"""The forms of `magic`: what a text given for it means.

Law: `true` and `false`, JSON, `dotted.key=value` pairs and the name of a YAML file are told apart by the text alone;
the file is not looked at. A text that is none of them is an error of this module, and only a warning to the user.
"""

from __future__ import annotations

from typing import Any

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.coerce import flag, shown

__all__ = ["read_magic"]


def read_magic(text: str) -> bool | str | dict[str, Any]:
    """Return what a text given for `magic` means: a bool, a mapping, or the name of a YAML file.

    Raises:
        UsageError: it starts like JSON but is none, or its pairs contradict each other.
    """
    if text.lstrip().startswith("{"):
        found = _json(text)
        if not isinstance(found, dict):
            raise UsageError(f"Unable to parse magic json: {shown(text)}.")
        return found
    if not text.endswith((".yaml", ".yml")) and "=" in text:
        return _pairs(text)
    try:
        return flag("magic", text, True)
    except UsageTypeError:
        return text


def _pairs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in text.split(","):
        key, equals, written = pair.partition("=")
        *parents, last = key.strip().split(".")
        inner: Any = found
        for parent in parents:
            inner = inner.setdefault(parent, {}) if isinstance(inner, dict) else None
        if not (equals and last and all(parents) and isinstance(inner, dict)) or last in inner:
            raise UsageError(f"Unable to parse magic: {shown(pair)} is no key=value of its own.")
        inner[last] = _json(written, otherwise=written.strip())
    return found


def _json(text: str, otherwise: Any = None) -> Any:
    import json  # almost nobody gives magic a text

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return otherwise
