"""A summary that fits: what is left out where a server would not take it whole.

Law: a summary that fits goes out whole. Otherwise its largest keys are left out, as few as will do, and all the
others go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from transports.wandb_encoding import json_text

__all__ = ["fitting", "left_out_reason"]

_MOST_NAMES: Final = 5


def fitting(summary: Mapping[str, Any], most_bytes: int) -> tuple[bytes, tuple[str, ...]]:
    """Return a summary as JSON of so many bytes at most, and the keys that were left out for that.

    Raises:
        ValueError: it cannot be written as JSON.
    """
    text = json_text(summary)
    if len(text) <= most_bytes:
        return text, ()
    sizes = {name: len(json_text({name: value})) - 1 for name, value in summary.items()}  # with a comma
    names = sorted(sizes, key=lambda name: (sizes[name], name))
    kept, left_out, size = dict(summary), [], len(text)
    while names and size > most_bytes:
        left_out.append(names.pop())
        size -= sizes[left_out[-1]]
        del kept[left_out[-1]]
        if size <= most_bytes:  # by the sizes of the parts; the whole may be written in other words
            text = json_text(kept)
            size = len(text)
    return text, tuple(left_out)


def left_out_reason(names: Sequence[str]) -> str:
    """Say which keys were left out."""
    told = ", ".join(name if len(name) <= 80 else name[:79] + "…" for name in names[:_MOST_NAMES])  # noqa: PLR2004
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"the summary is larger than the server takes, so it goes without {told}{more}"
