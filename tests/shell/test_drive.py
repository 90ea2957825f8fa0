"""Tests of `corelib.shell.drive`: the machine meets clocks, backends and a real resume file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corelib.errors import CommError, UsageError
from corelib.pure.remote import Absent, Answer, LookupFailed
from corelib.pure.resume import Corrupt, UpsertAnswered
from corelib.shell.drive import INIT_TIMEOUT_S, ResumeDriver
from corelib.shell.marker import MarkerFile
from tests.pure.resume_script import DOWN, FOUND, INSERTED, LOGIN, RUNNING, TAKEN, ask


class Clock:
    """A time that passes only by sleeping and by calls that take long."""

    def __init__(self) -> None:
        self.now = 1000.25
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Backend:
    """Answers lookups and upserts from scripts, each after `takes_s`; remembers what it was asked."""

    def __init__(self, clock: Clock, *answers: object, takes_s: float = 0.0) -> None:
        self.clock = clock
        self.answers = list(answers)
        self.takes_s = takes_s
        self.asked: list[tuple[str, float]] = []

    def __call__(self, run_id: str, timeout: float) -> Any:
        self.asked.append((run_id, timeout))
        self.clock.now += self.takes_s
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def nothing_here(run_id: str, timeout: float) -> Answer:
    """Answer for run directories in which nothing is."""
    return Absent()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the resume file is to stand."""
    return tmp_path / "wandb-resume.json"


@pytest.fixture
def clock() -> Clock:
    """Return a time of our own."""
    return Clock()


def offline(path: Path, ask_disk: Any = nothing_here) -> ResumeDriver:
    return ResumeDriver(ask_disk=ask_disk, marker=MarkerFile(path))


def online(clock: Clock, ask_server: Any, **more: Any) -> ResumeDriver:
    more = {"ask_disk": nothing_here, **more}
    return ResumeDriver(ask_server=ask_server, clock=clock, sleep=clock.sleep, **more)


# The resume file.


@pytest.mark.case("res-file-written")
def test_the_file_names_the_run_once_it_has_started(path) -> None:
    """Under auto the resume file names the run from its start on, and not before."""
    driver = offline(path)

    decision = driver.decide(ask("auto", None, "offline"))
    before = path.exists()
    warnings = driver.run_started()

    assert (before, warnings) == (False, ())
    assert json.loads(path.read_text(encoding="utf-8")) == {"run_id": decision.run_id}
    assert driver.decision is decision


@pytest.mark.case("res-file-removed-ok")
def test_a_clean_end_removes_the_file(path) -> None:
    """After exit code 0 there is nothing that auto could continue."""
    driver = offline(path)
    driver.decide(ask("auto", None, "offline"))
    driver.run_started()

    assert driver.run_finished(0) == ()
    assert not path.exists()


@pytest.mark.case("res-file-kept-fail")
def test_a_failure_keeps_the_file_for_the_next_auto(path) -> None:
    """After another exit code the file stays, and the next auto continues the same id."""
    first, second = offline(path), offline(path, lambda run_id, timeout: RUNNING)
    first.decide(ask("auto", "abc", "offline"))
    first.run_started()
    first.run_finished(3)

    decision = second.decide(ask("auto", None, "offline"))

    assert path.exists()
    assert (decision.action, decision.run_id, decision.starting_step) == ("resumed", "abc", 16)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("not json", marks=pytest.mark.case("res-file-corrupt-notjson", "res-file-corrupt-old")),
        pytest.param("{}", marks=pytest.mark.case("res-file-corrupt-empty-object")),
        pytest.param("", marks=pytest.mark.case("res-file-corrupt-empty-file")),
        pytest.param('{"run_id": null}', marks=pytest.mark.case("res-file-corrupt-null-id")),
        pytest.param('{"run_id": ""}', marks=pytest.mark.case("res-file-corrupt-empty-id")),
        pytest.param("[]", marks=pytest.mark.case("res-file-corrupt-list")),
        pytest.param('{"run_id": 5}', marks=pytest.mark.case("res-file-corrupt-int-id")),
    ],
)
def test_an_unusable_file_never_stops_a_run(path, content) -> None:
    """With an unusable resume file a run begins under a fresh id, says so, and rewrites the file."""
    path.write_text(content, encoding="utf-8")
    driver = offline(path)

    decision = driver.decide(ask("auto", None, "offline"))
    driver.run_started()

    assert (decision.action, decision.run_id) == ("new", "fresh000")
    assert sum("resume file" in warning for warning in decision.warnings) == 1
    assert MarkerFile(path).read() == "fresh000"


@pytest.mark.case("res-auto-explicit-offline")
def test_an_explicit_id_replaces_the_one_in_the_file(path) -> None:
    """An explicit id wins with a warning, and a failed run leaves its own id in the file."""
    MarkerFile(path).write("abc")
    driver = offline(path)

    decision = driver.decide(ask("auto", "mine", "offline"))
    driver.run_started()
    driver.run_finished(1)

    assert decision.run_id == "mine"
    assert "Ignoring ID abc" in decision.warnings[0]
    assert MarkerFile(path).read() == "mine"


def test_a_refused_run_leaves_the_file_byte_for_byte(path) -> None:
    """A decision that refuses has changed nothing on the disk (F10)."""
    path.write_bytes(b' {"run_id" :  "other"}\n')

    decision = offline(path).decide(ask("must", "nope", "offline"))

    assert decision.action == "refuse"
    assert path.read_bytes() == b' {"run_id" :  "other"}\n'


def test_the_file_of_another_run_survives_a_clean_end(path) -> None:
    """A run that ends well removes no file that names another run by now."""
    driver = offline(path)
    driver.decide(ask("auto", None, "offline"))
    driver.run_started()
    MarkerFile(path).write("other")

    driver.run_finished(0)

    assert MarkerFile(path).read() == "other"


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path) -> None:
    """Training goes on where the resume file cannot be kept up to date, and the warning says why."""
    driver = offline(tmp_path / "no such directory" / "wandb-resume.json")
    driver.decide(ask("auto", None, "offline"))

    (warning,) = driver.run_started()

    assert "No such file or directory" in warning
    assert driver.run_finished(1) == ()


def test_a_run_without_a_place_for_it_keeps_no_file() -> None:
    """Where nothing is kept on disk there is no resume file to read, write or remove."""
    driver = ResumeDriver(ask_disk=nothing_here)

    assert driver.decide(ask("auto", None, "offline")).action == "new"
    assert (driver.run_started(), driver.run_finished(0)) == ((), ())


def test_disabled_touches_nothing(path) -> None:
    """A disabled run does not even look at the resume file, and asks nobody."""

    class Untouchable:
        def read(self) -> str | Corrupt | None:
            raise AssertionError

        def write(self, run_id: str) -> None:
            raise AssertionError

        def remove(self, run_id: str | None) -> None:
            raise AssertionError

    def unasked(run_id: str, timeout: float) -> Answer:
        raise AssertionError

    driver = ResumeDriver(ask_disk=unasked, ask_server=unasked, marker=Untouchable())
    driver.decide(ask("auto", "abc", "disabled", force=True))

    assert (driver.run_started(), driver.run_finished(0)) == ((), ())


# Backends.


def test_the_server_is_told_what_time_remains(clock) -> None:
    """Each question to the server is told how many seconds remain of the budget."""
    server, create = Backend(clock, Absent(), takes_s=4.0), Backend(clock, INSERTED, takes_s=1.0)

    decision = online(clock, server, create=create, budget_s=10.0).decide(ask("never", "abc"))

    assert decision.action == "new"
    assert (server.asked, create.asked) == ([("abc", 10.0)], [("abc", 6.0)])


@pytest.mark.case("res-500")
def test_a_failing_server_is_asked_until_the_time_is_up(clock) -> None:
    """A passing failure is asked about again until the budget is spent; who must know gets an error with its words."""
    for request in (ask("must", "abc"), ask("allow", "abc", force=True)):
        start = clock.now
        server = Backend(clock, LookupFailed("server", "HTTP 500", retry=True), takes_s=0.1)

        decision = online(clock, server).decide(request)

        assert (decision.action, decision.error) == ("refuse", CommError)
        waited = f"{clock.now - start:.1f} s"
        assert f"HTTP 500; asked {len(server.asked)} times in {waited}" in decision.reason
        assert len(server.asked) > 5
        assert INIT_TIMEOUT_S * 0.9 <= clock.now - start <= INIT_TIMEOUT_S
    assert clock.slept[:3] == sorted(clock.slept[:3])


def test_a_server_that_names_a_time_is_asked_then(clock) -> None:
    """What the server asks for replaces our own wait; where that is too late, nobody waits for nothing."""
    busy = Backend(clock, LookupFailed("server", "HTTP 429", retry=True, after=7.0), RUNNING)
    closed = Backend(clock, LookupFailed("server", "HTTP 503", retry=True, after=60.0))

    assert online(clock, busy).decide(ask("allow", "abc")).action == "resumed"
    assert clock.slept == [7.0]
    decision = online(clock, closed).decide(ask("must", "abc"))
    assert (decision.error, clock.slept) == (CommError, [7.0])
    assert "HTTP 503; asked once in 0.0 s" in decision.reason


def test_a_server_that_recovers_is_believed(clock) -> None:
    """The first answer that is one ends the asking."""
    server = Backend(clock, LookupFailed("unreachable", "reset", retry=True), RUNNING)

    decision = online(clock, server).decide(ask("allow", "abc"))

    assert (decision.action, len(server.asked), len(clock.slept)) == ("resumed", 2, 1)


def test_what_will_not_pass_is_not_asked_twice(clock) -> None:
    """A rejected key is an answer: nobody waits for another one."""
    server = Backend(clock, LOGIN)

    decision = online(clock, server).decide(ask("allow", "abc"))

    assert (len(server.asked), clock.slept, decision.deferred) == (1, [], True)


def test_no_question_after_the_time_is_up(clock) -> None:
    """A server that took all the time with one answer is not asked to create, nor a second time."""
    slow = Backend(clock, Absent(), takes_s=31.0)
    create = Backend(clock, INSERTED)
    never = online(clock, slow, create=create).decide(ask("never", "abc"))

    quick, hesitant = Backend(clock, Absent()), Backend(clock, FOUND, takes_s=31.0)
    allow = online(clock, quick, create=hesitant).decide(ask("allow", "abc"))

    assert (never.error, create.asked) == (CommError, [])
    assert (allow.deferred, len(quick.asked)) == (True, 1)
    assert "more than 30 s" in never.reason
    assert "more than 30 s" in allow.reason


def test_the_disk_has_time_of_its_own(clock) -> None:
    """When the server has used up its time, the run directories are asked all the same."""
    disk = Backend(clock, RUNNING)
    server = Backend(clock, DOWN, takes_s=40.0)

    decision = online(clock, server, ask_disk=disk).decide(ask("allow", "abc"))

    assert (decision.action, decision.deferred, decision.starting_step) == ("resumed", True, 16)
    assert disk.asked[0][1] > 0


def test_a_run_without_resume_asks_nobody(clock) -> None:
    """Nothing is asked where the words of the call need no answer: `init()` does not wait for the network."""
    server, create = Backend(clock, RUNNING), Backend(clock, TAKEN)

    for request in (ask(None, "abc"), ask(None), ask("allow"), ask("never"), ask("auto")):
        assert online(clock, server, create=create).decide(request).action == "new"
    assert (server.asked, create.asked) == ([], [])


def test_no_server_is_an_unreachable_one(clock) -> None:
    """Where no server is there to ask, must fails and allow goes offline."""
    must, allow = (online(clock, None).decide(ask(policy, "abc")) for policy in ("must", "allow"))

    assert (must.error, allow.deferred) == (CommError, True)
    assert "no server to ask" in must.reason


def test_a_backend_that_cannot_say_who_was_first_is_believed(clock) -> None:
    """Without a way to create, the lookup's word stands."""
    assert online(clock, Backend(clock, Absent())).decide(ask("never", "abc")).action == "new"


def test_the_race_for_a_new_id(clock) -> None:
    """Of two that look, find nothing and create, the second is refused under never and joins under allow (R38)."""
    never = online(clock, Backend(clock, Absent()), create=Backend(clock, FOUND)).decide(ask("never", "abc"))
    allow = online(clock, Backend(clock, Absent(), RUNNING), create=Backend(clock, FOUND)).decide(
        ask("allow", "abc")
    )

    assert (never.action, never.rule, never.error) == ("refuse", "R38", UsageError)
    assert allow.action == "resumed"


@pytest.mark.parametrize(
    ("bug", "words"),
    [
        (ValueError("https://key:secret@host"), "raised ValueError"),
        (PermissionError(13, "Permission denied"), "raised PermissionError: Permission denied"),
        (None, "returned NoneType"),
        (TAKEN, "returned UpsertAnswered"),
    ],
)
def test_a_bug_of_a_backend_is_no_answer(clock, path, bug, words) -> None:
    """An exception or a foreign value counts as an answer nobody could give, and its text is not repeated."""
    must = online(clock, Backend(clock, bug)).decide(ask("must", "abc"))
    local = offline(path, Backend(clock, bug)).decide(ask("allow", "abc", "offline"))

    assert must.error is CommError
    assert words in must.reason
    assert words in local.warnings[0]
    assert "secret" not in must.reason + local.reason


def test_a_bug_while_creating_is_a_lost_answer(clock) -> None:
    """An exception of the creating call refuses under never and goes offline under allow, after one attempt."""
    for policy, expected in (("never", (CommError, False)), ("allow", (None, True))):
        create = Backend(clock, RuntimeError("secret"))
        decision = online(clock, Backend(clock, Absent()), create=create).decide(ask(policy, "abc"))

        assert (decision.error, decision.deferred) == expected
        assert "creating the run raised RuntimeError" in decision.reason
        assert len(create.asked) == 1


def test_an_interrupt_is_not_swallowed(clock) -> None:
    """Ctrl-C while waiting for the server ends the waiting."""
    with pytest.raises(KeyboardInterrupt):
        online(clock, Backend(clock, KeyboardInterrupt())).decide(ask("must", "abc"))


def test_a_late_answer_replaces_the_decision(clock, path) -> None:
    """What the backend says when the run is on its way reaches the decision, if it changes anything."""
    driver = online(clock, None, marker=MarkerFile(path))
    first = driver.decide(ask(None, "abc"))
    driver.run_started()

    replaced = driver.upsert_answered(UpsertAnswered(inserted=False))

    assert replaced is not None
    assert (first.action, replaced.action) == ("new", "overwrite")
    assert driver.decision is replaced
    assert driver.upsert_answered(UpsertAnswered(inserted=True)) is None


def test_a_driver_decides_once(path) -> None:
    """A second request is a mistake of the caller, and the first decision stands."""
    driver = offline(path)
    decision = driver.decide(ask(None, None, "offline"))

    with pytest.raises(UsageError):
        driver.decide(ask(None, None, "offline"))
    assert driver.decision is decision
