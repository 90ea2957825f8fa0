"""A journal with an end that is always told: when it was written, when it was hidden, when it is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import JournalError
from corelib.pure.records import Exit, Header, Record, Row, RunStart
from corelib.shell.source import CompletedSource, NotYet, is_end_writer, read_start
from corelib.tail import Position
from corelib.testing.specimens import TIME
from tests.couriers import WRITER, RunOnDisk


class Fate:
    """What became of the process."""

    def __init__(self, code: int | None = None) -> None:
        self.code = code

    def __call__(self) -> int | None:
        return self.code


_opened: list[CompletedSource] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def source_of(run: RunOnDisk, fate: Any) -> CompletedSource:
    source = CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=fate)
    _opened.append(source)
    return source


def drain(source: CompletedSource, limit: int = 1000) -> list[tuple[str, Record]]:
    """Return what can be had now, headers left out."""
    found: list[tuple[str, Record]] = []
    while True:
        try:
            entries = source.poll(limit)
        except NotYet:
            return found
        found += [(entry.writer, entry.record) for entry in entries if not isinstance(entry.record, Header)]
        if len(entries) < limit:
            return found


def test_a_living_run_has_no_end(tmp_path: Path) -> None:
    """As long as the process may write, nothing is added to what it has written."""
    run = RunOnDisk(tmp_path)
    run.log(3)
    source = source_of(run, Fate())

    assert [type(record) for _, record in drain(source)] == [RunStart, Row, Row, Row]
    assert drain(source) == []


def test_an_end_that_was_written_is_the_end(tmp_path: Path) -> None:
    """A run that ended properly keeps its own exit code, whatever became of the process."""
    run = RunOnDisk(tmp_path)
    run.end(exit_code=7)
    fate = Fate()
    source = source_of(run, fate)
    _, ending = drain(source)[-1]
    assert isinstance(ending, Exit)
    assert ending.exit_code == 7
    fate.code = 255

    assert drain(source) == []
    assert [record for _, record in drain(source_of(run, Fate(255)))][-1] == ending


def test_the_end_is_behind_what_other_writers_had_written(tmp_path: Path) -> None:
    """Whatever the names of the writers, in whose order a journal is read."""
    run = RunOnDisk(tmp_path)
    for name in ("a-child", "z-child"):
        child = run.child(name)
        child.row(TIME, 0, {"who": name})
        child.close()
    run.end(exit_code=0)
    found = drain(source_of(run, Fate()))
    assert {writer for writer, _ in found} == {"a-child", "z-child", WRITER}
    assert isinstance(found[-1][1], Exit)


@pytest.mark.parametrize("code", [1, 255])
def test_a_process_that_died_gets_an_end(tmp_path: Path, code: int) -> None:
    """A missing end is told once, behind all that was written, under no number of the journal, at its last time."""
    run = RunOnDisk(tmp_path)
    run.log(4)
    fate = Fate()
    source = source_of(run, fate)
    drain(source)
    run.log(1)
    fate.code = code
    found = drain(source)

    assert [type(record) for _, record in found] == [Row, Exit]
    last, ending = found[0][1], found[1][1]
    assert ending == Exit(seq=last.seq, time=last.time, exit_code=code, runtime=last.time - TIME)
    assert found[1][0] != WRITER
    assert is_end_writer(found[1][0])
    assert drain(source) == []
    assert not any(isinstance(record, Exit) for _, record in drain(source_of(run, Fate())))


@given(rows=st.integers(0, 12), limit=st.integers(1, 6), died_at=st.integers(0, 12))
def test_the_end_is_last_and_once(tmp_path_factory: Any, rows: int, limit: int, died_at: int) -> None:
    """However reads and writes and death fall together, the end comes once, behind everything else."""
    run = RunOnDisk(tmp_path_factory.mktemp("run"), segment_bytes=400)
    fate = Fate()
    source = source_of(run, fate)
    found: list[Record] = []
    for number in range(rows):
        run.log(1)
        if number == died_at:
            break
        found += [entry.record for entry in source.poll(limit)]
    fate.code = 1
    for _ in range(60):
        found += [entry.record for entry in source.poll(limit)]
    found = [record for record in found if not isinstance(record, Header)]

    assert [type(record) for record in found] == [RunStart, *[Row] * (len(found) - 2), Exit]
    assert len(found) - 2 == min(rows, died_at + 1)
    assert [record.seq for record in found[:-1]] == sorted({record.seq for record in found[:-1]})
    source.close()
    run.writer.close()


def test_the_end_of_a_sealed_journal(tmp_path: Path) -> None:
    """The end comes also where all segments are sealed, with a header that says whose end it is."""
    run = RunOnDisk(tmp_path, segment_bytes=300)
    run.log(10)
    run.writer.close()
    entries = source_of(run, Fate(1)).poll(1000)

    assert [type(entry.record) for entry in entries[-2:]] == [Header, Exit]
    header = entries[-2].record
    assert isinstance(header, Header)
    assert header.primary
    assert entries[-2].writer == header.writer == entries[-1].writer


def test_other_writers_have_no_end(tmp_path: Path) -> None:
    """The end is that of the primary writer, under a name of its own; children have none."""
    run = RunOnDisk(tmp_path)
    child = run.child()
    child.row(TIME, None, {"a": 1})
    found = drain(source_of(run, Fate(1)))

    assert [writer for writer, record in found if isinstance(record, Exit)] == [f"{WRITER}.end"]
    assert "child" in {writer for writer, _ in found}


# A run that goes on.


def test_what_comes_behind_such_an_end_is_given_and_then_an_end_again(tmp_path: Path) -> None:
    """Nothing of a run that was taken for dead is lost: all its numbers are its own, and the end is told anew."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    source = source_of(run, Fate(1))
    first = drain(source)[-1]
    run.log(1)
    later = source_of(run, Fate(255))
    later.seek(source.positions, ended=True)
    found = drain(later)

    assert [type(record) for _, record in found] == [Row, Exit]
    assert found[1][0] == first[0]
    assert found[1][1].seq > first[1].seq, "another end has another number"
    assert drain(later) == []


def test_another_end_has_the_code_that_was_told(tmp_path: Path) -> None:
    """Who delivers it knows less of how the process ended than who saw that, and contradicts nobody."""
    run = RunOnDisk(tmp_path)
    source = source_of(run, Fate(1))
    source.seek({}, ended=False, exit_code=255)

    assert getattr(drain(source)[-1][1], "exit_code", None) == 255


@pytest.mark.parametrize("late", ["row", "end", "nothing", "unreadable"])
def test_what_is_recorded_while_the_end_is_made_up_comes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    """Else it would be counted in the number of that end, and another one would have the same."""
    run = RunOnDisk(tmp_path)
    source = source_of(run, Fate(1))
    drain(source_of(run, Fate()))
    real, meanwhile = source._missing_end, {"row": lambda: run.log(1), "end": run.end}

    def counted(code: int) -> Any:
        monkeypatch.setattr(source, "_missing_end", real)
        meanwhile.pop(late, lambda: None)()
        ends = real(code)
        if late == "unreadable":
            monkeypatch.setattr(source._tail, "poll", broken)
        return ends

    def broken(_: int) -> Any:
        monkeypatch.undo()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(source, "_missing_end", counted)
    found = drain(source) + drain(source)

    assert sum(type(record) is Exit for _, record in found) == 1
    assert type(found[-1][1]) is Exit
    assert is_end_writer(found[-1][0]) == (late != "end")
    assert found[-1][1].seq == max(record.seq for _, record in found)


def test_an_end_that_is_written_after_all_is_the_end(tmp_path: Path) -> None:
    """The process that was taken for dead ends properly: its own end is given, and no other one."""
    run = RunOnDisk(tmp_path)
    source = source_of(run, Fate(1))
    drain(source)
    run.log(1)
    run.end(exit_code=0)
    found = drain(source)

    assert [(writer, type(record)) for writer, record in found] == [(WRITER, Row), (WRITER, Exit)]


def test_behind_the_end_of_the_journal_there_is_no_other(tmp_path: Path) -> None:
    """A child that outlives a run that ended properly changes nothing about its end."""
    run = RunOnDisk(tmp_path)
    run.end(exit_code=0)
    source = source_of(run, Fate())
    drain(source)
    run.child().row(TIME, None, {"a": 1})
    later = source_of(run, Fate(1))
    later.seek(source.positions, ended=True)

    assert [(writer, type(record)) for writer, record in drain(later)] == [("child", Row)]
    assert drain(later) == []


@given(parts=st.lists(st.integers(1, 3), min_size=1, max_size=5), own=st.booleans())
def test_however_often_a_run_is_taken_for_dead_all_of_it_is_given_once(
    tmp_path_factory: Any, parts: list[int], own: bool
) -> None:
    """Whoever goes on from the positions gives each record once, and each end under a number of its own."""
    run = RunOnDisk(tmp_path_factory.mktemp("run"), segment_bytes=300)
    found: list[tuple[str, Record]] = []
    positions: Any = {}
    for part in parts:
        run.log(part)
        source = source_of(run, Fate(1))
        source.seek(positions, ended=bool(positions))
        found += drain(source)
        positions = source.positions
    if own:
        run.end()
        source = source_of(run, Fate(1))
        source.seek(positions, ended=True)
        found += drain(source)
    keys = [(writer, record.seq) for writer, record in found]

    assert len(set(keys)) == len(keys)
    assert sum(type(record) is Row for _, record in found) == sum(parts)
    assert [is_end_writer(writer) for writer, record in found if type(record) is Exit] == [True] * len(
        parts
    ) + [False] * own
    run.writer.close()


def test_a_hidden_code_is_told_again_as_it_was(tmp_path: Path) -> None:
    """What is read once more to know what was said says the code that was told, not that it was hidden."""
    run = RunOnDisk(tmp_path)
    run.end(exit_code=None)
    before = list(source_of(run, Fate(5)).before({WRITER: 10}))

    ending = before[-1].record
    assert isinstance(ending, Exit)
    assert ending.exit_code == 5


# A hidden exit code.


def test_a_hidden_code_is_waited_for(tmp_path: Path) -> None:
    """An end without a code is held back, and nothing else is; it comes with its code when the process is gone."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    run.end(exit_code=None)
    fate = Fate()
    source = source_of(run, fate)
    assert [type(record) for _, record in drain(source)] == [RunStart, Row, Row]
    assert source.is_holding
    with pytest.raises(NotYet):
        source.poll(10)
    run.child().row(TIME, None, {"a": 1})
    assert [writer for writer, _ in drain(source)] == ["child"]
    with pytest.raises(NotYet):
        source.poll(10)
    fate.code = 5
    (_, ending), *nothing = drain(source)

    assert isinstance(ending, Exit)
    assert ending.exit_code == 5
    assert nothing == []
    assert not source.is_holding
    assert drain(source) == []


def test_headers_alone_are_not_given_while_something_is_held(tmp_path: Path) -> None:
    """Who got nothing but headers would think that this was all there is; they come with the next record."""
    run = RunOnDisk(tmp_path)
    run.end(exit_code=None)
    source = source_of(run, Fate())
    drain(source)
    child = run.child()
    for _ in range(2):
        with pytest.raises(NotYet):
            source.poll(1)
    child.row(TIME, None, {"a": 1})

    assert [type(entry.record) for entry in source.poll(10)] == [Header, Row]


def test_a_code_that_is_known_is_not_waited_for(tmp_path: Path) -> None:
    """Whoever comes when the process is gone gets the end at once."""
    run = RunOnDisk(tmp_path)
    run.end(exit_code=None)
    _, ending = drain(source_of(run, Fate(3)))[-1]

    assert isinstance(ending, Exit)
    assert ending.exit_code == 3


def test_a_held_end_is_not_passed_by_the_cursor(tmp_path: Path) -> None:
    """Positions taken while the end is held lead whoever goes on from there to the end."""
    run = RunOnDisk(tmp_path)
    run.log(2)
    run.end(exit_code=None)
    source = source_of(run, Fate())
    drain(source)
    assert source.positions == {WRITER: Position(1, 4)}
    later = source_of(run, Fate(9))
    later.seek(source.positions, ended=False)
    found = drain(later)

    assert [type(record) for _, record in found] == [Exit]
    assert later.positions == {WRITER: Position(1, 5)}


# Going on.


def test_an_end_that_was_told_is_not_told_again(tmp_path: Path) -> None:
    """Who goes on behind the end gets no second one."""
    run = RunOnDisk(tmp_path)
    run.log(1)
    source = source_of(run, Fate(1))
    drain(source)
    later = source_of(run, Fate(1))
    later.seek(source.positions, ended=True)

    assert drain(later) == []


def test_what_lies_before_is_read_once_more(tmp_path: Path) -> None:
    """Up to the given record of each writer, with headers, and nothing behind it."""
    run = RunOnDisk(tmp_path, segment_bytes=300)
    run.log(8)
    child = run.child()
    child.row(TIME, None, {"a": 1})
    source = source_of(run, Fate())
    rows = [record.seq for _, record in drain(source) if isinstance(record, Row)]
    before = list(source.before({WRITER: rows[3]}))

    assert {entry.writer for entry in before} == {WRITER}
    assert max(entry.record.seq for entry in before) == rows[3]
    assert [entry.record.seq for entry in before] == list(range(rows[3] + 1))
    assert list(source.before({})) == []


def test_headers_of_where_one_stands(tmp_path: Path) -> None:
    """Who goes on in the middle of a segment knows whose it is."""
    run = RunOnDisk(tmp_path, segment_bytes=300)
    run.log(8)
    source = source_of(run, Fate())
    drain(source)
    segment = source.positions[WRITER].segment
    assert segment > 1
    later = source_of(run, Fate())
    later.seek({**source.positions, "gone": Position(3, 1)}, ended=False)
    headers = later.headers()

    assert {name: header.segment for name, header in headers.items()} == {WRITER: segment}


def test_how_a_run_began(tmp_path: Path) -> None:
    """The first header and the start of the run are found; where they are not, nobody guesses."""
    run = RunOnDisk(tmp_path, segment_bytes=300)
    run.log(8)
    header, start = read_start(run.journal, WRITER)
    assert (header.segment, header.pid, start) == (1, os.getpid(), run.start)
    run.child()
    with pytest.raises(JournalError, match="how its run began"):
        read_start(run.journal, "child")
