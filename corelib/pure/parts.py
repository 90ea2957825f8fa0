"""Where each part of a run begins at a backend, noted in the config that is stored there.

Law: what `with_base` notes, `base_of` finds, also after a backend has stored the config as JSON. The backend is the one
place that every copy of a run directory meets again, so it alone is asked; what was noted by somebody else and cannot
be understood counts as not noted. A part has the lines from where it begins up to where the next one does, and no more:
what stands behind that is not its own. A config goes out whole, so whoever sends one has read the stored one before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

__all__ = [
    "Base",
    "base_of",
    "end_of",
    "has_begun_since",
    "next_place",
    "with_base",
    "with_bases_of",
    "with_later_bases_of",
]

_INTERNAL: Final = "_wandb"
_OURS: Final = "corelib"
_PARTS: Final = "parts"
_LENGTHS: Final = (6, 7)  # at first nobody noted when


class Base(NamedTuple):
    """Where a part begins.

    Args:
        history, events, console: the number of its first line of each streamed file.
        step: its first step.
        runtime: how long the run had run before, in seconds.
        place: which part it is; those whose delivery began later have a higher one.
        began: when it was recorded to begin, in seconds since the epoch; 0: that is not noted.
    """

    history: int = 0
    events: int = 0
    console: int = 0
    step: int = 0
    runtime: float = 0.0
    place: int = 0
    began: float = 0.0


def base_of(config: Mapping[str, Any], writer: str | None) -> Base | None:
    """Return where the part of a writer begins; None: that is not noted."""
    noted = _parts(config).get(writer or "")
    if not isinstance(noted, (list, tuple)) or len(noted) not in _LENGTHS:
        return None
    history, events, console, step, runtime, place, began = (*noted, 0.0)[: len(Base._fields)]
    if not all(type(count) is int and count >= 0 for count in (history, events, console, step, place)):
        return None
    if not all(type(seconds) in (int, float) and 0 <= seconds < float("inf") for seconds in (runtime, began)):
        return None
    return Base(history, events, console, step, float(runtime), place, float(began))


def next_place(config: Mapping[str, Any]) -> int:
    """Return the place of a part that begins now, behind all that are noted."""
    return 1 + max((base.place for base in _bases(config)), default=-1)


def has_begun_since(config: Mapping[str, Any], moment: float) -> bool:
    """Return whether a part was recorded to begin after a moment, in seconds since the epoch."""
    return any(base.began > moment for base in _bases(config))


def end_of(config: Mapping[str, Any], writer: str | None) -> Base | None:
    """Return where the part of a writer ends in each streamed file, for another one has begun there.

    None: it is the last part, or it is not noted.
    """
    own = base_of(config, writer)
    later = [] if own is None else [base for base in _bases(config) if base.place > own.place]
    return Base(*map(min, zip(*later, strict=True))) if later else None


def with_base(config: Mapping[str, Any], writer: str, base: Base) -> dict[str, Any]:
    """Return a config with a note where the part of a writer begins."""
    internal = _mapping(config, _INTERNAL)
    ours = _mapping(internal, _OURS)
    parts = {**_parts(config), writer: list(base)}
    return {**config, _INTERNAL: {**internal, _OURS: {**ours, _PARTS: parts}}}


def with_bases_of(config: Mapping[str, Any], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config with the notes of another one, which hold where both have one."""
    for writer in _parts(stored):
        base = base_of(stored, writer)
        if base is not None:
            config = with_base(config, writer, base)
    return config


def with_later_bases_of(
    config: Mapping[str, Any], stored: Mapping[str, Any], writer: str, own: Base
) -> Mapping[str, Any]:
    """Return a config with the notes of another one, of which those that are new to it began behind the part `own`.

    So it is where somebody has begun the run anew since the part of `writer` began: its own note is gone.
    """
    known = _parts(config).keys()
    config = with_bases_of(with_base(config, writer, own), stored)
    for other in _parts(stored).keys() - known:
        base = base_of(config, other)
        if base is not None:
            config = with_base(config, other, base._replace(place=own.place + 1 + base.place))
    return config


def _bases(config: Mapping[str, Any]) -> Iterator[Base]:
    bases = (base_of(config, writer) for writer in _parts(config))
    return (base for base in bases if base is not None)


def _parts(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(_mapping(config, _INTERNAL), _OURS), _PARTS)


def _mapping(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = tree.get(key)
    return value if isinstance(value, Mapping) else {}
