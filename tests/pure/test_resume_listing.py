"""Tests of `corelib.pure.resume_listing`: the printed table, and the rows of the resume file against the machine."""

from __future__ import annotations

from typing import Any

import pytest

from corelib.errors import UsageError
from corelib.pure.remote import Absent
from corelib.pure.resume import Corrupt, Finished, RemoveMarker, RunStarted, WriteMarker
from corelib.pure.resume_listing import MARKER_NOTES, MARKER_ROWS, MarkerRow, format_table
from corelib.pure.resume_table import ROWS
from corelib.testing.strategies.resume import POLICIES
from tests.pure.resume_script import INSERTED, RUNNING, Played, ask

BEFORE: dict[str, str | Corrupt | None] = {
    "absent": None,
    "names this id": "abc",
    "names another": "other",
    "unusable": Corrupt("it is not JSON"),
}


def situations() -> list[Any]:
    """Return every situation in which a run starts: mode, policy, given or no id, content of the resume file."""
    return [
        pytest.param(mode, policy, given, before, id=f"{mode} {policy} {given} {before}")
        for mode in ("online", "offline", "disabled")
        for policy in POLICIES
        for given in ("given", "none")
        for before in BEFORE
        # A run cannot start under must without an id, and no file names the id of a run that has none yet.
        if not (policy == "must" and given == "none" and mode != "disabled")
        if not (policy == "auto" and given == "none" and before == "names this id" and mode != "disabled")
    ]


def start(mode: Any, policy: Any, run_id: str | None, marker: str | Corrupt | None) -> Played:
    """Play until the decision, with a server and a disk on which a run can be resumed or started."""
    named = run_id is not None or (policy == "auto" and isinstance(marker, str))
    if mode == "disabled" or policy is None or not named:
        return Played(ask(policy, run_id, mode), marker=marker)
    if mode == "offline":
        return Played(
            ask(policy, run_id, mode), marker=marker, disk=[Absent() if policy == "never" else RUNNING]
        )
    if policy == "never":
        return Played(ask(policy, run_id, mode), marker=marker, server=[Absent()], upsert=[INSERTED])
    disk = [RUNNING] if run_id is None else []  # whether what the resume file names has finished
    return Played(ask(policy, run_id, mode), marker=marker, server=[RUNNING], disk=disk)


def the_row(mode: str, policy: str | None, given: str, before: str) -> MarkerRow:
    (row,) = [
        row
        for row in MARKER_ROWS
        if mode in row.modes and policy in row.policies and given in row.ids and before in row.before
    ]
    return row


@pytest.mark.parametrize(("mode", "policy", "given", "before"), situations())
def test_the_machine_does_what_the_rows_of_the_resume_file_say(mode, policy, given, before) -> None:
    """For each situation exactly one row speaks, and the machine chooses the id and leaves the file as it says."""
    row = the_row(mode, policy, given, before)
    played = start(mode, policy, "abc" if given == "given" else None, BEFORE[before])
    chosen = {
        "given": "abc",
        "of the file": BEFORE[before],
        "generated": "fresh000",
        "given, else generated": "abc" if given == "given" else "fresh000",
    }[row.chosen]
    about_file = [warning for warning in played.decision.warnings if "resume file" in warning]

    played.tell(RunStarted())

    assert played.decision.run_id == chosen
    assert len(about_file) == int(row.warns)
    assert (
        played.marker_effects
        == {
            "names the run": [WriteMarker(played.decision.run_id)],
            "removed": [RemoveMarker(None)],
            "unchanged": [],
        }[row.after]
    )


def test_the_end_of_a_run_is_as_the_note_says() -> None:
    """Exit code 0 removes the file if it names this run, any other end keeps it, and the notes say so."""
    assert any("exit code 0 removes" in note for note in MARKER_NOTES)
    for exit_code, expected in ((0, [RemoveMarker("abc")]), (3, []), (None, [])):
        played = start("online", "must", "abc", None)
        played.tell(RunStarted())
        played.tell(Finished(exit_code))

        assert played.marker_effects == expected


@pytest.mark.parametrize("format_", ["text", "markdown"])
def test_each_rule_is_printed(format_) -> None:
    """The printed table has a line for each row, with its rule and its error, and all notes."""
    lines = format_table(format_).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|" if "|" in line else "  ")] for line in lines]

    for row in (*ROWS, *MARKER_ROWS):
        count = sum(other.rule == row.rule for other in (*ROWS, *MARKER_ROWS))
        assert sum(line[-1] == row.rule for line in cells) == count
    for row in ROWS:
        assert row.error is None or any(row.error.__name__ in line and row.rule in line for line in cells)
    for note in MARKER_NOTES:
        assert any(line.endswith(note) for line in lines)


def test_the_text_is_aligned() -> None:
    """In the text form each section has its columns below each other and no trailing blanks."""
    for section in format_table().split("\n\n"):
        lines = section.splitlines()
        assert all(line == line.rstrip() for line in lines)
        if len(lines) > 2 and set(lines[1]) == {"-", " "}:
            starts = [index for index in range(1, len(lines[1])) if lines[1][index - 1 : index + 1] == " -"]
            assert all(line[start - 1 : start] in ("", " ") for line in lines for start in starts)


def test_the_markdown_is_a_table() -> None:
    """In the markdown form the rows of a section have as many cells as its head."""
    sections = [part.splitlines() for part in format_table("markdown").split("\n\n")]
    tables = [lines for lines in sections if lines[0].startswith("|")]

    assert len(tables) == 4
    for lines in tables:
        assert {line.count("|") for line in lines} == {8}
        assert set(lines[1]) == set("| -")


def test_another_format_is_refused() -> None:
    """A format that is not known is an error that names the known ones."""
    with pytest.raises(UsageError, match="'text' or 'markdown'"):
        format_table("html")  # type: ignore[arg-type]
