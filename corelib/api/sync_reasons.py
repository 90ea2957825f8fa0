"""Why something is pending after a sync, in words.

Law: a reason says what is in the way, and what to do about it where something can be done.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from corelib.api.sync_selection import Chain
    from corelib.shell.survey import Part

__all__ = [
    "BROKEN",
    "DELIVERED_BY_PROGRAM",
    "DELIVERED_ELSEWHERE",
    "INTERRUPTED",
    "NOT_SENT",
    "behind",
    "damaged",
    "forgetful",
    "lost",
    "not_taken",
    "superseded",
    "under_way",
]

BROKEN: Final = "a bug has ended the delivery: tell the authors what it said, and try again"
DELIVERED_BY_PROGRAM: Final = "the running program delivers it"
DELIVERED_ELSEWHERE: Final = "another process delivers it"
INTERRUPTED: Final = "the sync was interrupted"
NOT_SENT: Final = "not sent: this is a dry run"


def behind(earlier: Part) -> str:
    """Say that a part waits for another one."""
    return f"{earlier.directory.name}, which comes before it, is pending"


def forgetful(part: Part) -> str:
    """Say that a part is not delivered because a second sync would deliver it again."""
    return (
        f"nobody could remember what of {part.directory.name} is delivered, and a second sync would double it: "
        "neither this directory nor the directory for state ($XDG_STATE_HOME) can be written"
    )


def lost(part: Part, chain: Chain) -> str:
    """Say that a part has lost its beginning, and what that means for those behind it."""
    folder = part.directory.name
    if part.damage is None and not part.written:
        return f"nothing is recorded in {folder}: no run began there"
    why = f"{folder}: {part.damage or 'the beginning of the run is not there'}"
    following = chain.parts[chain.parts.index(part) + 1 :]
    if not following:
        return f"{why}; `corelib verify` names what is damaged"
    later = following[0].directory.name
    return f"{why}; {later} continues it and waits: `corelib sync {later} --id ID` delivers that under an id you say"


def superseded(part: Part, later: str) -> str:
    """Say that a later beginning has taken the place of a part."""
    return (
        f"{part.directory.name} was begun anew in {os.path.basename(later)}, which takes its place; "
        f"`corelib sync {part.directory.name} --id OTHER` delivers it under another id"
    )


def under_way(by: str, last_words: str) -> str:
    """Say who delivers it just now, and what that one said last: the reason why it has to wait, if it has to."""
    return f"{by}; what its courier said last: {last_words}" if last_words else by


def damaged(number: int, part: Part) -> str:
    """Say that what can be read of a part is delivered, and so many records cannot be read."""
    what = "record is" if number == 1 else "records are"
    where = f" ({part.damage})" if part.damage else ""
    return (
        f"{number} {what} damaged in {part.directory.name}{where} and cannot be delivered: "
        f"`corelib verify {part.directory.name}` names the places"
    )


def not_taken(hindrance: str | None) -> str:
    """Say what the destination said, as far as it said anything."""
    if hindrance is None:
        return "the destination did not take it: try again later"
    if "`corelib " in hindrance:  # it says itself what to do
        return f"the destination did not take it: {hindrance}"
    advice = "`corelib login` keeps another key" if "HTTP 401" in hindrance else "try again later"
    return f"the destination did not take it ({hindrance}): {advice}"
