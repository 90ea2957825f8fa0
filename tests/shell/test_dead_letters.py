"""Refused records are kept once each, with key and reason, whatever happened to the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.records import Row
from corelib.pure.wire import decode
from corelib.shell.dead_letters import DeadLetters
from corelib.testing.specimens import other_records, rows_from


def letters_in(path: Path, run_id: str = "r") -> DeadLetters:
    return DeadLetters(str(path), "t", run_id)


def read(letters: DeadLetters) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(letters.path).read_text().splitlines()]


def test_a_dead_letter_says_what_and_why(tmp_path: Path) -> None:
    """Each record is a line with its key, the reason and the record as it stands in the journal."""
    letters = letters_in(tmp_path)
    records = other_records(3)
    letters.add("w", records, "too odd")
    found = read(letters)

    assert Path(letters.path).name == "dead-letters-t.jsonl"
    assert [(one["run_id"], one["writer"], one["seq"], one["reason"]) for one in found] == [
        ("r", "w", record.seq, "too odd") for record in records
    ]
    assert [decode(json.dumps(one["record"]).encode()) for one in found] == list(records)


def test_nothing_refused_nothing_written(tmp_path: Path) -> None:
    """A run without refused records has no such file."""
    letters_in(tmp_path).add("w", (), "never said")

    assert list(tmp_path.iterdir()) == []


def test_exact_numbers_are_kept(tmp_path: Path) -> None:
    """A dead letter holds the record as it was, also what ordinary JSON writers change."""
    letters = letters_in(tmp_path)
    row = Row(seq=1, time=1.5, step=0, data={"n": 2**200, "x": float("inf"), "text": "\ud800 NaN"})
    letters.add("w", (row,), "no")

    line = Path(letters.path).read_bytes()
    assert decode(line[line.index(b'"record":') + 9 : -2]) == row


def test_huge_records_are_named_only(tmp_path: Path) -> None:
    """What is in the journal anyway need not fill the disk a second time."""
    letters = letters_in(tmp_path)
    letters.add("w", (Row(seq=1, time=1.0, step=0, data={"x": "x" * (2 << 20)}),), "too large")

    assert read(letters) == [{"run_id": "r", "writer": "w", "seq": 1, "reason": "too large"}]


def test_a_record_is_kept_once(tmp_path: Path) -> None:
    """What comes again, after a crash as without one, is there already; other writers have numbers of their own."""
    rows = rows_from(1, 4)
    letters_in(tmp_path).add("w", rows[:2], "no")
    again = letters_in(tmp_path)
    again.add("w", rows[1:], "no")
    again.add("w", rows, "no")
    again.add("v", rows[:1], "no")

    assert [(one["writer"], one["seq"]) for one in read(again)] == [
        ("w", 1),
        ("w", 2),
        ("w", 3),
        ("w", 4),
        ("v", 1),
    ]


def test_a_refused_run_is_one_line(tmp_path: Path) -> None:
    """A run that is refused as a whole is not copied, and is said once."""
    letters_in(tmp_path).add_run("no such project")
    again = letters_in(tmp_path)
    again.add_run("no such project")
    again.add_run("no such project")
    again.add("w", rows_from(1, 1), "no")

    assert [(one["writer"], one["seq"], one["reason"]) for one in read(again)] == [
        (None, None, "no such project"),
        ("w", 1, "no"),
    ]


@given(cut=st.integers(0, 400), written=st.integers(0, 3))
def test_a_crash_in_the_middle_of_a_line_costs_that_line(
    tmp_path_factory: Any, cut: int, written: int
) -> None:
    """However much of the file a crash has left, every record is there once and whole afterwards."""
    path = tmp_path_factory.mktemp("letters")
    rows = rows_from(1, 4)
    letters = letters_in(path)
    letters.add("w", rows[:written], "no")
    if written:
        file = Path(letters.path)
        file.write_bytes(file.read_bytes()[: -cut or None])
    letters_in(path).add("w", rows, "no")

    whole = []
    for line in Path(letters.path).read_bytes().splitlines():
        try:
            whole.append(json.loads(line)["seq"])
        except ValueError:
            continue
    assert whole == [1, 2, 3, 4]


def test_a_reason_cannot_break_the_line(tmp_path: Path) -> None:
    """Whatever a transport gives as the reason, a dead letter is one line."""
    letters = letters_in(tmp_path)
    letters.add("w", rows_from(1, 1), 'line\nfeed "quoted" \ud800\x00')

    assert read(letters)[0]["reason"] == 'line\nfeed "quoted" \ud800\x00'


def test_what_is_delivered_after_all_is_taken_out(tmp_path: Path) -> None:
    """Other letters stay as they are, whatever else is in the file; without any, there is no file."""
    letters = letters_in(tmp_path)
    first, second, third = rows_from(1, 3)
    assert letters.standing() == {}
    letters.add("w", [first, second], "no")
    letters.add("v", [third], "never")
    letters.add_run("no such project")
    with open(letters.path, "ab") as file:
        file.write(b'{"cut off')
    assert letters.standing() == {("w", 1): "no", ("w", 2): "no", ("v", 3): "never"}
    before = Path(letters.path).read_bytes().splitlines()
    letters.take_back("w", [first, third])
    assert Path(letters.path).read_bytes().splitlines() == before[1:]
    letters.add("w", [first, second], "again")
    assert letters_in(tmp_path).standing() == {("w", 1): "again", ("w", 2): "no", ("v", 3): "never"}

    other = letters_in(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.add("w", [first], "no")
    other.take_back("w", [first])
    assert list((tmp_path / "other").iterdir()) == []
