"""What records at hand answer when somebody asks for a run."""

from __future__ import annotations

from attrs import evolve

from corelib.ports import RunRef
from corelib.pure.lookup import Part, answer
from corelib.pure.records import Exit, Record, Row
from corelib.pure.remote import Absent, Created, RemoteRun, Started, Unreadable, runtime_offset, starting_step
from corelib.pure.replay import Replay
from corelib.testing.specimens import TIME, header_of, rows_from, start_record

RUN = RunRef(run_id="r", project="p")


def part(
    *records: Record, where: str = "here", damage: str | None = None, exit_code: int | None = None
) -> Part:
    replay = Replay()
    for record in records:
        replay.feed("w", record)
    replay.finish()
    return Part(where=where, replay=replay, damage=damage, exit_code=exit_code)


def remote(*parts: Part) -> RemoteRun:
    found = answer("r", parts)
    assert isinstance(found, Started)
    return found.remote


def test_nothing_is_absent() -> None:
    """Where no part of a run is, there is no run."""
    assert answer("r", []) == Absent()


def test_a_trace_is_created() -> None:
    """A header alone, or nothing readable and nothing damaged, is a run that was never started."""
    assert answer("r", [part()]) == Created()
    assert answer("r", [part(header_of(RUN, "w"))]) == Created()


def test_a_started_run_says_how_far_it_got() -> None:
    """Step, rows, config, summary and identity are those of the fold."""
    start = start_record(config={"lr": 0.1}, notes="n")
    found = remote(part(header_of(RUN, "w"), start, *rows_from(2, 3)))

    assert found.run_id == "r"
    assert found.where == "here"
    assert (found.last_step, found.history_lines) == (2, 3)
    assert found.config == {"lr": 0.1}
    assert found.summary["loss"] == 1 / 3
    assert (found.name, found.notes, found.tags) == ("a run", "n", ("one", "two"))
    assert found.exit_code is None
    assert starting_step(found) == 3


def test_an_open_row_counts() -> None:
    """A row that was never closed is a row, as the end of a run makes it one."""
    open_row = Row(seq=2, time=TIME, step=0, data={"loss": 1.0}, commit=False)

    assert remote(part(header_of(RUN, "w"), start_record(), open_row)).history_lines == 1


def test_parts_that_are_continued_add_their_rows() -> None:
    """A resumed run has the rows of the runs it continues, and its own config and step."""
    first = part(header_of(RUN, "w"), start_record(), *rows_from(2, 4), where="first")
    resumed = start_record(resumed=True, starting_step=4, previous="first", config={"lr": 0.2})
    second = part(header_of(RUN, "w"), resumed, *rows_from(2, 2, step=4), where="second")
    found = remote(second, first)

    assert found.where == "second"
    assert (found.last_step, found.history_lines) == (5, 6)
    assert found.config == {"lr": 0.2}
    assert starting_step(found) == 6


def test_a_resumed_part_without_rows_goes_on_where_it_stood() -> None:
    """A run resumed at step 4 that logged nothing continues at step 4, with or without the earlier parts."""
    first = part(header_of(RUN, "w"), start_record(), *rows_from(2, 4), where="first")
    resumed = part(header_of(RUN, "w"), start_record(resumed=True, starting_step=4, previous="first"))

    assert starting_step(remote(resumed, first)) == 4
    assert starting_step(remote(resumed)) == 4


def test_the_runtime_goes_on() -> None:
    """The runtime is that of the exit record, or of the last record where the run was killed."""
    killed = part(header_of(RUN, "w"), start_record(runtime_offset=100.0), *rows_from(2, 3))
    ended = part(header_of(RUN, "w"), start_record(), Exit(seq=2, time=TIME, exit_code=0, runtime=12.5))

    assert runtime_offset(remote(killed)) == 102.0
    assert runtime_offset(remote(ended)) == 12.5


def test_the_exit_code_is_the_record_s_or_the_one_found_elsewhere() -> None:
    """An exit record with a code says it; one whose code Python hid leaves it to what the process left."""
    ending = Exit(seq=2, time=TIME, exit_code=3, runtime=1.0)
    whole = (header_of(RUN, "w"), start_record())

    assert remote(part(*whole, ending, exit_code=7)).exit_code == 3
    assert remote(part(*whole, evolve(ending, exit_code=None), exit_code=0)).exit_code == 0
    assert remote(part(*whole, evolve(ending, exit_code=None))).exit_code is None


def test_damage_beside_a_start_is_readable() -> None:
    """A journal with damage and an intact start is read as far as it is intact."""
    found = remote(part(header_of(RUN, "w"), start_record(), *rows_from(2, 1), damage="byte 70"))

    assert found.history_lines == 1


def test_a_lost_header_leaves_the_run_readable() -> None:
    """The start says what the run is, and whoever asks knows its id."""
    found = remote(part(start_record(), *rows_from(2, 1)))

    assert (found.run_id, found.last_step, found.history_lines) == ("r", 0, 1)


def test_damage_without_a_start_is_unreadable() -> None:
    """Where the start was lost nobody knows what the run was: it is there, and cannot be understood."""
    found = answer("r", [part(header_of(RUN, "w"), *rows_from(2, 1), damage="byte 70"), part(start_record())])

    assert isinstance(found, Unreadable)
    assert "here" in found.reason
    assert "byte 70" in found.reason


def test_a_trace_does_not_hide_an_earlier_part() -> None:
    """A process killed before the run began leaves a trace that changes nothing for the part before it."""
    earlier = part(header_of(RUN, "w"), start_record(), *rows_from(2, 2), where="earlier")

    assert remote(part(header_of(RUN, "w")), earlier).where == "earlier"
