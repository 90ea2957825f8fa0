"""The resume table for people: `corelib resume-table` and the README print what this module returns.

Law: nothing is written by hand here that the machine could contradict. The decisions come from the rows that the
machine runs on; the rows of the resume file stand here as data, and an exhaustive test compares them with the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from corelib.errors import UsageError
from corelib.pure.remote import FailureKind
from corelib.pure.resume_table import ROWS, Place, Policy, Row

__all__ = ["MARKER_NOTES", "MARKER_ROWS", "MarkerRow", "format_table"]

Given: TypeAlias = Literal["given", "none"]
Before: TypeAlias = Literal["absent", "names this id", "names another", "unusable"]


class MarkerRow(NamedTuple):
    """One rule of the resume file: who comes, what stands in it, which id the run has, what stands in it then."""

    rule: str
    modes: tuple[Place, ...]
    policies: tuple[Policy, ...]
    ids: tuple[Given, ...]
    before: tuple[Before, ...]
    chosen: Literal["given", "of the file", "generated", "given, else generated"]
    after: Literal["names the run", "removed", "unchanged"]
    warns: bool = False


_ALIVE: Final[tuple[Place, ...]] = ("online", "offline")
_ALL: Final[tuple[Policy, ...]] = (None, "allow", "must", "never", "auto")
_AUTO: Final[tuple[Policy, ...]] = ("auto",)
_EITHER: Final[tuple[Given, ...]] = ("given", "none")
_ANY: Final[tuple[Before, ...]] = ("absent", "names this id", "names another", "unusable")

MARKER_ROWS: Final = (
    MarkerRow("F1", _ALIVE, _AUTO, ("none",), ("absent",), "generated", "names the run"),
    MarkerRow("F2", _ALIVE, _AUTO, ("none",), ("names another",), "of the file", "names the run"),
    MarkerRow("F3-F4", _ALIVE, _AUTO, ("none",), ("unusable",), "generated", "names the run", warns=True),
    MarkerRow("F5", _ALIVE, _AUTO, ("given",), ("names another",), "given", "names the run", warns=True),
    MarkerRow("F6", _ALIVE, _AUTO, ("given",), ("names this id",), "given", "names the run"),
    MarkerRow("F7", _ALIVE, _AUTO, ("given",), ("absent", "unusable"), "given", "names the run"),
    MarkerRow("F8", _ALIVE, (None,), _EITHER, _ANY, "given, else generated", "removed"),
    MarkerRow("F9", _ALIVE, ("allow", "must", "never"), _EITHER, _ANY, "given, else generated", "unchanged"),
    MarkerRow("F11", ("disabled",), _ALL, _EITHER, _ANY, "given, else generated", "unchanged"),
)
"""The rules of the resume file, for a run that starts and was not refused."""

MARKER_NOTES: Final = (
    "F10: if init() fails, the resume file stays as it was.",
    "F12: if init() returns the active run, the resume file stays as it was.",
    "At the end of a run, exit code 0 removes the resume file if it names this run; any other end keeps it.",
    "R34 to R36 (another run is active in this process) are decided by reinit= before all this.",
)

_TITLES: Final[dict[Place, str]] = {
    "online": "Online: the server is asked",
    "offline": "Offline: the run directories of this machine are asked",
    "disabled": "Disabled",
}
_IDS: Final = {"explicit": "given", "marker": "resume file", "fresh": "generated"}
_KNOWN: Final = {
    "unasked": "not asked",
    "absent": "does not exist",
    "created": "never started",
    "started": "started",
    "finished": "finished with 0",
    "unreadable": "unreadable",
    "unreachable": "no answer",
    "server": "server error",
    "auth": "login fails",
    "forbidden": "403",
    "refused": "id is barred",
    "rival": "somebody was faster",
    "contested": "and has not started yet",
}
_OUTCOMES: Final = {
    "new": ("new", "0"),
    "resumed": ("resumed", "last + 1"),
    "overwrite": ("new, the earlier run is overwritten", "0"),
    "fresh": ("new under a generated id, with a notice", "0"),
    "deferred": ("recorded offline, decided at sync", "as offline"),
    "ask again": ("asked again", "-"),
    "refuse": ("error", "-"),
}
_HEADS: Final = ("resume", "id", "what is known", "outcome", "first step", "error", "rule")
_MARKER_HEADS: Final = ("resume", "id", "resume file", "id of the run", "resume file then", "warns", "rule")


def format_table(format: Literal["text", "markdown"] = "text") -> str:
    """Return the whole resume table, one section per kind of run and one for the resume file.

    Raises:
        UsageError: `format` is neither text nor markdown.
    """
    if format not in ("text", "markdown"):
        message = f"format must be 'text' or 'markdown', not {format!r}"
        raise UsageError(message)
    draw, title = (_markdown, "### {}") if format == "markdown" else (_text, "{}")
    parts: list[str] = []
    for place, name in _TITLES.items():
        cells = [_cells(row) for row in ROWS if row.place == place]
        parts += [title.format(name), "\n".join(draw(_HEADS, cells))]
    cells = [_marker_cells(row) for row in MARKER_ROWS]
    parts += [title.format("The resume file"), "\n".join(draw(_MARKER_HEADS, cells))]
    bullet = "- " if format == "markdown" else ""
    parts.append("\n".join(f"{bullet}{note}" for note in MARKER_NOTES))
    return "\n\n".join(parts) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    failures = set(get_args(FailureKind))
    words = [word for word in row.known if word not in failures or not failures.issubset(row.known)]
    known = ", ".join([_KNOWN[word] for word in words] + ["any failure"] * (len(words) < len(row.known)))
    if row.force is not None:
        known += f", force={row.force}"
    outcome, first = _OUTCOMES[row.outcome]
    ids = "any" if len(row.ids) == len(_IDS) else ", ".join(_IDS[word] for word in row.ids)
    error = row.error.__name__ if row.error else ""
    return (_policies(row.policies), ids, known, outcome, first, error, row.rule)


def _marker_cells(row: MarkerRow) -> tuple[str, ...]:
    policies = "any, disabled" if row.modes == ("disabled",) else _policies(row.policies)
    ids = "any" if row.ids == _EITHER else ", ".join(row.ids)
    before = "any" if row.before == _ANY else ", ".join(row.before)
    return (policies, ids, before, row.chosen, row.after, "yes" if row.warns else "", row.rule)


def _policies(policies: Iterable[Policy]) -> str:
    named = tuple(policies)
    return "any" if named == _ALL else ", ".join("none" if policy is None else policy for policy in named)


def _text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(line[column]) for line in (heads, *rows)) for column in range(len(heads))]
    for line in (heads, ["-" * width for width in widths], *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for line in (heads, ["---"] * len(heads), *rows):
        yield f"| {' | '.join(line)} |"
