"""Resuming, offline and disabled, through `init()` and real run directories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib import CommError, Run, UsageError

MARKER = Path("wandb") / "wandb-resume.json"
OFFLINE = {"mode": "offline", "settings": {"quiet": True}}


def earlier(run_id: str = "abc", *, exit_code: int = 1, **arguments: Any) -> Run:
    """Leave a run with three rows behind."""
    run = corelib.init(
        **OFFLINE, id=run_id, config={"lr": 0.1, "old": 1}, tags=["t1"], notes="nn", **arguments
    )
    for number in range(3):
        run.log({"acc": number / 10})
    run.finish(exit_code)
    return run


def marker() -> Any:
    """Return what the resume file holds, or None."""
    return json.loads(MARKER.read_text(encoding="utf-8")) if MARKER.exists() else None


def write_marker(text: str) -> None:
    """Write the resume file."""
    MARKER.parent.mkdir(exist_ok=True)
    MARKER.write_text(text, encoding="utf-8")


def folders() -> list[str]:
    """Return the run directories."""
    return sorted(name for name in os.listdir("wandb") if name.startswith("offline-run"))


@pytest.mark.case("res-step-after-resume")
@pytest.mark.parametrize("policy", ["must", "allow", "auto", True])
def test_a_local_run_is_really_resumed(policy: str | bool) -> None:
    """Step, config, summary, tags and runtime go on; the run reads as one."""
    first = earlier()
    with corelib.init(**OFFLINE, id="abc", resume=policy, config={"lr": 0.2, "new": 2}) as run:
        assert run.resumed
        assert (run.starting_step, run.step) == (3, 3)
        assert dict(run.config) == {"lr": 0.2, "old": 1, "new": 2}
        assert run.summary["acc"] == 0.2
        assert (run.tags, run.notes) == (("t1",), "nn")
        assert "abc" in run.resume_decision.reason
        run.log({"acc": 0.9})

    view = corelib.open_run("abc")
    assert run.sync_dir != first.sync_dir
    assert [(row["_step"], row["acc"]) for row in view.history()] == [(0, 0.0), (1, 0.1), (2, 0.2), (3, 0.9)]
    assert view.config == {"lr": 0.2, "old": 1, "new": 2}
    assert view.resumed
    assert view.runtime >= corelib.open_run(first.sync_dir).runtime


def test_what_is_passed_wins_over_what_was_stored() -> None:
    """Tags, notes and name of the call replace the stored ones."""
    earlier(name="before")
    run = corelib.init(**OFFLINE, id="abc", resume="must", tags=["n"], notes="new", name="nm")

    assert (run.tags, run.notes, run.name) == (("n",), "new", "nm")


@pytest.mark.case("res-tags-append")
def test_stored_tags_can_be_added_to() -> None:
    """The tags of the stored run are there to be extended."""
    earlier()
    with corelib.init(**OFFLINE, id="abc", resume="must") as run:
        run.tags += ("tag7",)
        assert run.tags == ("t1", "tag7")

    assert corelib.open_run("abc").tags == ("t1", "tag7")


def test_a_crashed_run_is_resumed_behind_its_last_row() -> None:
    """After a kill the next auto run goes on where the last row was."""
    script = (
        "import corelib, os\n"
        "run = corelib.init(mode='offline', resume='auto', settings={'silent': True})\n"
        "for n in range(5): run.log({'n': n})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    with corelib.init(**OFFLINE, resume="auto") as run:
        assert run.resumed
        assert run.step == 5
        run.log({"n": 5})

    assert [row["n"] for row in corelib.open_run(run.id).history()] == list(range(6))
    assert marker() is None


def test_a_chain_of_resumed_runs_reads_as_one() -> None:
    """However often a run is resumed, its history is whole."""
    for number in range(4):
        with corelib.init(**OFFLINE, id="chain", resume="allow") as run:
            assert run.step == number
            run.log({"n": number})

    assert [row["_step"] for row in corelib.open_run("chain").history()] == [0, 1, 2, 3]


def test_without_resume_the_same_id_is_a_new_run() -> None:
    """resume=None makes a second folder that starts from nothing."""
    earlier()
    with corelib.init(**OFFLINE, id="abc") as run:
        assert not run.resumed
        assert run.step == 0
        run.log({"acc": 7})

    assert len(folders()) == 2
    assert [row["acc"] for row in corelib.open_run("abc").history()] == [7]


def test_must_without_a_match_refuses_and_leaves_nothing() -> None:
    """must never creates a run."""
    with pytest.raises(UsageError, match="nope"):
        corelib.init(**OFFLINE, id="nope", resume="must")
    assert not Path("wandb").exists()
    assert corelib.run is None
    assert corelib.init(**OFFLINE).id != "nope"


def test_must_needs_an_id() -> None:
    """must without an id is refused before anything is asked."""
    with pytest.raises(UsageError, match="id"):
        corelib.init(**OFFLINE, resume="must")


def test_never_with_a_match_refuses() -> None:
    """never does not touch a run that exists."""
    earlier()
    with pytest.raises(UsageError, match="abc"):
        corelib.init(**OFFLINE, id="abc", resume="never")
    assert len(folders()) == 1


@pytest.mark.case("res-offline-never")
def test_never_without_a_match_starts() -> None:
    """never starts a run whose id is free."""
    run = corelib.init(**OFFLINE, id="id-never", resume="never")

    assert (run.id, run.resumed) == ("id-never", False)


@pytest.mark.case("res-offline-id-reuse")
def test_an_id_without_a_local_run_is_used_again() -> None:
    """The resume file's id is used although nothing of that run is here."""
    write_marker('{"run_id": "X"}')
    run = corelib.init(**OFFLINE, resume="auto")

    assert (run.id, run.resumed, run.step) == ("X", False, 0)


@pytest.mark.case("res-offline-warn")
@pytest.mark.parametrize("policy", ["allow", "auto"])
def test_offline_says_once_what_it_cannot_check(policy: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Offline, a run that is not here may still exist at the server: that is said once."""
    corelib.init(mode="offline", id="elsewhere", resume=policy)

    assert capsys.readouterr().err.count("WARNING") == 1


@pytest.mark.case("res-file-written", "res-file-removed-ok")
def test_the_resume_file_lives_as_long_as_the_run() -> None:
    """auto writes the file and a clean finish removes it."""
    run = corelib.init(**OFFLINE, resume="auto")
    assert marker() == {"run_id": run.id}
    run.finish(exit_code=0)

    assert marker() is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("not json", marks=pytest.mark.case("res-file-corrupt-notjson", "res-file-corrupt-old")),
        pytest.param("{}", marks=pytest.mark.case("res-file-corrupt-empty-object")),
        pytest.param("", marks=pytest.mark.case("res-file-corrupt-empty-file")),
        pytest.param('{"run_id": null}', marks=pytest.mark.case("res-file-corrupt-null-id")),
        pytest.param('{"run_id": ""}', marks=pytest.mark.case("res-file-corrupt-empty-id")),
        pytest.param("[]", marks=pytest.mark.case("res-file-corrupt-list")),
        pytest.param('{"run_id": 5}', marks=pytest.mark.case("res-file-corrupt-int-id")),
        pytest.param('{"run_id": "../../etc"}'),
    ],
)
def test_an_unusable_resume_file_is_said_and_replaced(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A corrupt file gives a fresh id, a warning and a new file; never an exception."""
    write_marker(text)
    run = corelib.init(mode="offline", resume="auto")

    assert len(run.id) == 8
    assert marker() == {"run_id": run.id}
    assert "resume file" in capsys.readouterr().err


@pytest.mark.case("res-auto-explicit-offline")
def test_an_explicit_id_beats_the_resume_file(capsys: pytest.CaptureFixture[str]) -> None:
    """The file's id is ignored aloud, and the file then names the run that started."""
    write_marker('{"run_id": "abc"}')
    run = corelib.init(mode="offline", resume="auto", id="mine")
    assert "abc" in capsys.readouterr().err
    run.finish(exit_code=1)

    assert run.id == "mine"
    assert marker() == {"run_id": "mine"}


@pytest.mark.case("res-auto-file-same-id")
def test_the_same_id_twice_is_no_reason_to_warn(capsys: pytest.CaptureFixture[str]) -> None:
    """An explicit id that equals the file's is not warned about."""
    write_marker('{"run_id": "abc"}')
    run = corelib.init(mode="offline", resume="auto", id="abc")

    assert run.id == "abc"
    assert "WARNING" not in capsys.readouterr().err


@pytest.mark.case("res-none-clears-file-offline")
def test_a_run_that_does_not_resume_clears_the_file() -> None:
    """Without resume the file is removed once the run has started."""
    write_marker('{"run_id": "abc"}')
    run = corelib.init(**OFFLINE)

    assert run.id != "abc"
    assert marker() is None


def test_the_file_of_another_run_is_left_alone() -> None:
    """A clean finish removes the file only if it names this run."""
    earlier()
    write_marker('{"run_id": "other"}')
    corelib.init(**OFFLINE, id="abc", resume="must").finish()

    assert marker() == {"run_id": "other"}


def test_a_failed_init_leaves_the_file_as_it_was() -> None:
    """must that refuses does not touch the file."""
    write_marker('{"run_id": "other"}')
    with pytest.raises(UsageError):
        corelib.init(**OFFLINE, id="nope", resume="must")

    assert marker() == {"run_id": "other"}


@pytest.mark.case("res-auto-missing-dir")
def test_auto_makes_its_directory() -> None:
    """auto works in a directory that does not exist yet."""
    run = corelib.init(**OFFLINE, resume="auto", dir="a/b/c")

    assert Path("a/b/c/wandb/wandb-resume.json").exists()
    assert Path(run.sync_dir).is_relative_to(Path("a/b/c").resolve())


@pytest.mark.case("res-child-attach-keeps-file")
def test_a_child_that_logs_keeps_the_file() -> None:
    """A forked child's end is not the end of the run."""
    run = corelib.init(**OFFLINE, resume="auto")
    child = os.fork()
    if child == 0:  # pragma: no cover  runs in the child
        run.log({"child": 1})
        run.finish()
        os._exit(0)
    os.waitpid(child, 0)

    assert marker() == {"run_id": run.id}
    assert corelib.open_run(run.sync_dir).state == "running"


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param("someid", marks=pytest.mark.case("res-string-id-current", "res-string-id-with-id-old")),
        pytest.param("Allow", marks=pytest.mark.case("res-case-sensitive")),
        1,
    ],
)
def test_only_the_published_words_resume(policy: Any) -> None:
    """Anything else is an error that leaves nothing behind."""
    with pytest.raises(ValueError, match="resume"):
        corelib.init(**OFFLINE, resume=policy)
    assert not Path("wandb").exists()


@pytest.mark.case("res-env-both")
def test_the_environment_can_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_RUN_ID and WANDB_RESUME do what the arguments do."""
    earlier()
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    monkeypatch.setenv("WANDB_RESUME", "must")

    assert corelib.init(**OFFLINE).resumed


@pytest.mark.case("res-must-while-active")
def test_must_while_another_run_is_active() -> None:
    """A wish to resume contradicts getting the active run."""
    corelib.init(**OFFLINE)
    with pytest.raises(corelib.Error, match="active"):
        corelib.init(**OFFLINE, resume="must", id="q")


@pytest.mark.case("res-allow-while-active")
def test_another_id_while_a_run_is_active() -> None:
    """A run with another id is never returned silently."""
    corelib.init(**OFFLINE)
    with pytest.raises(UsageError, match="q"):
        corelib.init(**OFFLINE, resume="allow", id="q")


@pytest.mark.case("res-disabled-auto")
def test_disabled_does_not_touch_the_resume_file() -> None:
    """The file is neither read, written nor removed."""
    write_marker('{"run_id": "abc"}')
    run = corelib.init(mode="disabled", resume="auto")
    assert run.id != "abc"
    run.finish()

    assert marker() == {"run_id": "abc"}
    assert os.listdir("wandb") == [MARKER.name]


@pytest.mark.case("res-disabled-never")
def test_disabled_asks_nobody() -> None:
    """Resume never fails in disabled mode."""
    earlier("zzz")
    run = corelib.init(mode="disabled", resume="never", id="zzz")

    assert (run.id, run.resumed) == ("zzz", False)


@pytest.mark.parametrize("policy", ["must", "never"])
def test_words_that_need_a_server_do_not_go_offline(policy: str) -> None:
    """Where a server is known but cannot be used, nobody can keep must or never, so init() refuses."""
    with pytest.raises((CommError, UsageError)):
        corelib.init(id="abc", resume=policy, settings={"base_url": "http://127.0.0.1:9"})
    assert not Path("wandb").exists()


def test_where_no_server_is_known_this_machine_decides() -> None:
    """Without any server the local run directories are all there is, and must and never are kept against them."""
    earlier()
    with pytest.raises(UsageError):
        corelib.init(id="nope", resume="must")
    with pytest.raises(UsageError):
        corelib.init(id="abc", resume="never")
    assert corelib.init(id="abc", resume="must").resumed
