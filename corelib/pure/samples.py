"""Samples of the machine: what `log_system()` takes, and under which names it is kept.

Law: a sample is flat: names that begin with `system.`, as servers of the reference's kind show them, and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from corelib.errors import UsageTypeError
from corelib.pure.values import row_tree

__all__ = ["PREFIX", "read_sample"]

PREFIX: Final = "system."


def read_sample(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample as it is kept; a name without `system.` gets it.

    Raises:
        UsageTypeError: it is no mapping, a name is no text, or a value is no number.
    """
    read = row_tree(values)
    for name, value in read.items():
        if type(value) not in (int, float):
            raise UsageTypeError(
                f"log_system() takes numbers, and {name!r} is {type(values[name]).__name__}: log() takes all else."
            )
    return {name if name.startswith(PREFIX) else PREFIX + name: value for name, value in read.items()}
