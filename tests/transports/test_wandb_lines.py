"""Console lines and samples as they stand in the streamed files, and where they go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corelib.ports import Delivered, Rejected
from corelib.pure.records import ConsoleLines, Exit, SystemMetrics
from corelib.testing.specimens import TIME, rows_from, start_record
from tests.transports.wandb_talk import Talk, deep
from transports.wandb_lines import LONGEST_CONSOLE_LINE, console_texts, event_text
from transports.wandb_stream import CONSOLE, EVENTS, HISTORY


def printed(*lines: str, seq: int = 2, stream: str = "stdout", time: float = TIME) -> ConsoleLines:
    return ConsoleLines(seq=seq, time=time, stream=stream, lines=lines)


def sample(seq: int = 2, **values: Any) -> SystemMetrics:
    return SystemMetrics(seq=seq, time=TIME + 5, data={f"system.{name}": values[name] for name in values})


def test_lines_have_their_time() -> None:
    """The time is UTC without a zone; stderr is marked; what controls a terminal is left as it is."""
    assert [*console_texts(printed("plain", "", "a\tb \x1b[31mred\x1b[0m"))] == [
        b"2026-11-22T16:24:18.500000 plain",
        b"2026-11-22T16:24:18.500000 ",
        b"2026-11-22T16:24:18.500000 a\tb \x1b[31mred\x1b[0m",
    ]
    assert [*console_texts(printed("oops", stream="stderr"))] == [b"ERROR 2026-11-22T16:24:18.500000 oops"]


def test_a_line_is_one_line_and_no_longer_than_a_server_shows() -> None:
    """4096 characters beside the time, however many bytes they are; a line feed or half a character is no matter."""
    (text,) = console_texts(printed("é" * 5000))
    assert text.decode() == "2026-11-22T16:24:18.500000 " + "é" * LONGEST_CONSOLE_LINE
    assert [*console_texts(printed("a\nb\udcff"))] == [b"2026-11-22T16:24:18.500000 a b?"]


@pytest.mark.parametrize(("time", "shown"), [(-1.0, b"1970-01-01"), (1e300, b"9999-12-31")])
def test_a_clock_that_is_wrong_is_no_error(time: float, shown: bytes) -> None:
    """Moments that cannot be written become the nearest one that can."""
    (text,) = console_texts(printed("x", time=time))
    assert text.startswith(shown)


def test_samples_are_flat_rows() -> None:
    """A sample stands with its time and its runtime, and is marked as the server's clients mark theirs."""
    row = json.loads(event_text(sample(cpu=3.5, memory_percent=float("nan")), 7.25))
    assert str(row.pop("system.memory_percent")) == "nan"
    assert row == {"_wandb": True, "_timestamp": TIME + 5, "_runtime": 7.25, "system.cpu": 3.5}


def test_all_of_it_goes_out_with_the_rows() -> None:
    """One push holds the rows, the samples and the lines; both streams are numbered together."""
    talk = Talk().begun()
    pushes = len(talk.server.pushes)
    talk.deliver(
        *rows_from(2, 1),
        printed("one", "two", seq=3),
        printed("three", seq=4, stream="stderr"),
        sample(5, cpu=1),
    )

    (push,) = talk.server.pushes[pushes:]
    assert [*push["files"]] == [HISTORY, EVENTS, "wandb-summary.json", CONSOLE]
    assert [line.split(" ", 1)[1] for line in push["files"][CONSOLE]["content"]] == [
        "one",
        "two",
        "2026-11-22T16:24:18.500000 three",
    ]
    (event,) = push["files"][EVENTS]["content"]
    assert json.loads(event)["_runtime"] == 5.0


def test_a_continued_run_goes_on_behind_its_lines() -> None:
    """What is stored of the console and of the events stays, and the runtime goes on."""
    talk = Talk()
    talk.server.exists = True
    talk.server.lines[CONSOLE] = dict.fromkeys(range(7), "old")
    talk.server.lines[EVENTS] = dict.fromkeys(range(3), "{}")
    assert isinstance(talk.open(resumed=True), Delivered)
    talk.deliver(start_record(resumed=True, runtime_offset=100.0), printed("new"), sample(3, cpu=1))

    assert len(talk.server.held(CONSOLE)) == 8
    assert talk.server.held(CONSOLE)[:7] == ["old"] * 7
    assert talk.server.held(EVENTS)[:3] == ["{}"] * 3
    assert json.loads(talk.server.held(EVENTS)[3])["_runtime"] == 105.0


def test_the_run_is_complete_when_its_lines_are_out() -> None:
    """The word that the run has ended goes with the last of them, or behind."""
    talk = Talk().begun()
    talk.deliver(printed("last"), Exit(seq=3, time=TIME, exit_code=0, runtime=1.0))

    assert talk.server.complete == 0
    assert talk.server.held(CONSOLE)[-1].endswith(" last")
    assert talk.server.log[-1] == "complete"


def test_a_sample_that_cannot_be_sent_is_refused() -> None:
    """Nobody can log such a one; whoever forges it loses that one only."""
    talk = Talk().begun()
    outcome = talk.deliver(sample(2, cpu=deep()), sample(3, cpu=2))

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (2,)
    assert "nested too deeply" in outcome.reason
    assert len(talk.server.held(EVENTS)) == 1
