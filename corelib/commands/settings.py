"""`corelib settings`: what every setting is here, and who says so.

Law: the answer is that of the rules which `init()` asks, for a call without arguments. No secret is shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from corelib.api.core import default
from corelib.commands.selection import print_json
from corelib.errors import UsageError
from corelib.pure.fields import HIDDEN
from corelib.pure.printable import printable
from corelib.pure.resolve import Resolution, resolve
from corelib.pure.settings import FIELDS, unknown_setting
from corelib.pure.sources import Problem
from corelib.shell.gather import Gathered, gather
from corelib.terminal import emit, table

__all__ = ["complain", "resolve_here", "run", "shown_value"]


def run(arguments: argparse.Namespace) -> int:
    """Show one setting or all; 1 if a source says something that cannot be used."""
    key = arguments.explain
    if key is not None and key not in FIELDS:
        raise UsageError(unknown_setting(key))
    gathered, resolution = resolve_here()
    if resolution is None:
        return complain(gathered.problems)
    names = FIELDS if key is None else (key,)
    if arguments.json:
        print_json({name: _document(resolution, name) for name in names})
    elif key is None:
        emit(table(("setting", "value", "source", "where"), _cells(resolution)))
    else:
        emit(printable(line) for line in resolution.explain(key).splitlines())
    return complain(resolution.problems)


def resolve_here() -> tuple[Gathered, Resolution | None]:
    """Return what is said here, and what it amounts to: None where a value is so wrong that `init()` would raise."""
    gathered = gather(default.names, login=default.session.login, setup=default.session.setup)
    if any(problem.fatal for problem in gathered.problems):
        return gathered, None
    return gathered, resolve(gathered.layers, gathered.problems)


def complain(problems: Iterable[Problem]) -> int:
    """Name the problems on standard error; return 1 if there is one."""
    lines = [
        f"corelib: {'' if problem.fatal else 'WARNING '}{printable(problem.text)}" for problem in problems
    ]
    emit(lines, sys.stderr)
    return 1 if lines else 0


def shown_value(resolution: Resolution, name: str) -> Any:
    """Return a setting's value for people or JSON: a secret is hidden, what JSON does not know is text."""
    value = getattr(resolution.settings, name)
    if value is not None and FIELDS[name].secret:
        return HIDDEN
    return (
        value
        if isinstance(value, (bool, int, float, str, list, dict, type(None)))
        else FIELDS[name].show(value)
    )


def _cells(resolution: Resolution) -> Iterator[tuple[Any, ...]]:
    for name in FIELDS:
        source, origin, _ = resolution.provenance[name]
        value = FIELDS[name].show(getattr(resolution.settings, name))
        yield name, value, source, "" if origin == source else origin


def _document(resolution: Resolution, name: str) -> dict[str, Any]:
    source, origin, overridden = resolution.provenance[name]
    return {
        "value": shown_value(resolution, name),
        "source": source,
        "origin": origin,
        "overridden": [
            {"value": FIELDS[name].show(entry.value), "source": entry.source, "origin": entry.origin}
            for entry in overridden
        ],
        "doc": FIELDS[name].doc,
    }
