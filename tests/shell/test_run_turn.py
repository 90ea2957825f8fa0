"""One delivery at a time speaks to a server about a run, and nobody waits for what is no lock any more."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event

import pytest
from attrs import evolve

from corelib.ports import Outcome, RunRef
from corelib.pure.records import RunStart
from corelib.pure.remote import Absent, Answer, RemoteRun, Started
from corelib.shell.cursor import CursorFile
from corelib.shell.delivery import Delivery
from corelib.shell.run_turn import RunTurn, turn_at
from corelib.shell.source import CompletedSource
from corelib.shell.transport_calls import World
from corelib.testing.specimens import TIME
from tests.couriers import WRITER, RunOnDisk
from tests.shell.test_delivery import Restartable

SERVER = "https://api.example.com"
RUN = RunRef(run_id="abc", project="p", entity=None, directory="/a")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keep the turns of a test in a folder of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def test_one_at_a_time_wherever_a_part_was_recorded(state: Path) -> None:
    """Another project, run or server is another matter; what is given back leaves nothing behind."""
    first, second = RunTurn(SERVER, RUN), RunTurn(SERVER, evolve(RUN, directory="/b"))
    others = [
        RunTurn("https://elsewhere", RUN),
        *(
            RunTurn(SERVER, evolve(RUN, **change))
            for change in ({"run_id": "x"}, {"project": "x"}, {"entity": "x"})
        ),
    ]

    assert first.take()
    assert first.take()
    assert not second.take()
    assert second.is_taken()
    assert all(not other.is_taken() and other.take() for other in others)
    for turn in (first, *others):
        turn.release()
        turn.release()
    assert not second.is_taken()
    assert second.take()
    second.release()
    assert list(state.rglob("*.lock")) == []


def test_a_file_that_its_holder_takes_away_meanwhile_is_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever had opened it before would else hold a lock that nobody else sees."""
    first, second, third = RunTurn(SERVER, RUN), RunTurn(SERVER, RUN), RunTurn(SERVER, RUN)
    first.take()
    opened = os.open

    def open_late(*args: object, **kwargs: object) -> int:
        fd = opened(*args, **kwargs)  # type: ignore[arg-type]
        first.release()
        return fd

    monkeypatch.setattr(os, "open", open_late)
    assert second.take()
    monkeypatch.setattr(os, "open", opened)

    assert not third.take()
    second.release()


def test_a_child_does_not_keep_what_its_parent_gives_back() -> None:
    """The lock belongs to the open file, which both have."""
    turn, other = RunTurn(SERVER, RUN), RunTurn(SERVER, RUN)
    turn.take()
    child = os.fork()
    if child == 0:
        turn.abandon()
        os._exit(0 if other.is_taken() else 1)
    _, status = os.waitpid(child, 0)

    assert status == 0
    assert not other.take()
    turn.release()
    assert other.take()
    other.release()


def test_nobody_waits_where_no_lock_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a home, or on a file system that has none."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", os.devnull)
        assert RunTurn(SERVER, RUN).take()
        assert not RunTurn(SERVER, RUN).is_taken()

    first, second = RunTurn(SERVER, RUN), RunTurn(SERVER, RUN)
    assert first.take()

    def no_locks(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", no_locks)
        assert second.take()
        assert not second.is_taken()
        first.release()


def test_whom_an_object_serves_is_its_own() -> None:
    """Two of one name in one process need not mean the same place; a folder holds each run directory by itself."""
    assert turn_at("memory", RUN) is None
    assert turn_at("file:/backup", RUN) is None
    assert turn_at(SERVER, RUN) is not None


def test_who_waits_for_an_earlier_part_lets_it_go_first(tmp_path: Path) -> None:
    """As long as nothing of a part was said it holds nobody up, for what it waits for has to have its turn."""
    run, other = RunOnDisk(tmp_path / "run"), RunTurn(SERVER, RUN)
    answers: list[Answer] = [Absent(), Started(RemoteRun(run_id="abc"))]
    taken: list[bool] = []
    now = [0.0]

    class Backend(Restartable):
        def lookup(self, run: RunRef, timeout: float) -> Answer:
            taken.append(other.is_taken())
            return answers.pop(0)

        def open(self, run: RunRef, start: RunStart) -> Outcome:
            taken.append(other.is_taken())
            return super().open(run, start)

    def wait(event: Event, seconds: float) -> None:
        taken.append(other.is_taken())
        now[0] += seconds

    delivery = Delivery(
        Backend(lookup=True, create=True),
        CompletedSource(run.journal, primary=WRITER, start=run.start, start_time=TIME, fate=lambda: 0),
        run=run.ref,
        start=evolve(run.start, resumed=True, deferred="must"),
        name="t",
        report=lambda text: None,
        world=World(clock=lambda: now[0], wait=wait, draw=lambda: 0.0),
        cursor=CursorFile(str(run.directory), "t"),
        turn=RunTurn(SERVER, RUN),
    )
    delivery.ask_to_close(100.0)
    delivery.carry()

    assert taken[:4] == [True, False, True, True]
    assert delivery.is_drained
    assert not other.is_taken()


def test_where_parts_have_begun_is_remembered_until_they_are_whole(state: Path, tmp_path: Path) -> None:
    """By whatever path they were named; what is gone is nowhere to look, and nothing is left behind."""
    first, second, gone = (tmp_path / name for name in ("first", "second", "gone"))
    for path in (first, second, gone):
        path.mkdir()
    link = tmp_path / "link"
    link.symlink_to(first)
    turn, other = RunTurn(SERVER, RUN), RunTurn(SERVER, evolve(RUN, run_id="x"))

    assert turn.take()
    for path in (first, gone, second, link):
        turn.begins(str(path))
    gone.rmdir()

    assert RunTurn(SERVER, RUN).begun() == (str(second), str(first))
    assert other.begun() == ()
    other.ends(str(first))
    turn.ends(str(link))
    turn.ends(str(second))
    turn.release()
    assert turn.begun() == ()
    assert list(state.rglob("*.begun*")) == []


def test_nothing_is_remembered_where_nothing_can_be_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor of a folder whose name would be two lines."""
    strange = tmp_path / "two\nlines"
    strange.mkdir()
    turn = RunTurn(SERVER, RUN)
    turn.begins(str(strange))
    assert turn.begun() == ()

    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    turn = RunTurn(SERVER, RUN)
    turn.begins(str(tmp_path))
    turn.ends(str(tmp_path))
    assert turn.begun() == ()
