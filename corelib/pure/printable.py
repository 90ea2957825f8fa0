"""Foreign text for a terminal.

Law: what is shown can only be read: it is one line, and holds nothing that a terminal would act upon.
"""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: str) -> str:
    """Return a text on one line, with everything that a terminal would act upon shown as an escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
