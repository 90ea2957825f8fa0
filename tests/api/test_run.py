"""The members of a run."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
from typing import Any

import pytest

import corelib
from corelib import Run, UsageError
from transports.memory import MemoryTransport

OFFLINE: dict[str, Any] = {"mode": "offline", "settings": {"quiet": True}}


@pytest.fixture
def run() -> Run:
    """Return an offline run."""
    return corelib.init(**OFFLINE)


@pytest.mark.case("runid-generated")
def test_a_generated_id(run: Run) -> None:
    """Eight characters of digits and small letters."""
    assert re.fullmatch("[a-z0-9]{8}", run.id)


@pytest.mark.case("set-first-positional")
def test_the_first_positional_argument_is_the_job_type() -> None:
    """The order of arguments is the reference's."""
    assert corelib.init("train", **OFFLINE).job_type == "train"


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        pytest.param("x,y", ("x,y",), marks=pytest.mark.case("tags-str-argument")),
        pytest.param([], (), marks=pytest.mark.case("tags-empty-list")),
    ],
)
def test_tags(tags: Any, expected: tuple[str, ...]) -> None:
    """A text is one tag; an empty list is no tag."""
    assert corelib.init(**OFFLINE, tags=tags).tags == expected


@pytest.mark.case("run-step-explicit")
def test_step_is_that_of_the_next_row(run: Run) -> None:
    """run.step follows every call."""
    steps = [run.step]
    run.log({"x": 1})
    steps.append(run.step)
    run.log({"x": 2}, step=3)
    steps.append(run.step)

    assert steps == [0, 1, 3]


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("project", marks=pytest.mark.case("run-readonly-project")),
        pytest.param("group", marks=pytest.mark.case("run-readonly-group")),
        pytest.param("job_type", marks=pytest.mark.case("run-readonly-job_type")),
        pytest.param("step", marks=pytest.mark.case("run-readonly-step")),
        pytest.param("start_time", marks=pytest.mark.case("run-readonly-start_time")),
        pytest.param("dir", marks=pytest.mark.case("run-readonly-dir")),
        pytest.param("summary", marks=pytest.mark.case("run-summary-assign")),
        "id",
        "config",
        "unknown",
    ],
)
def test_what_cannot_be_set(run: Run, member: str) -> None:
    """Read-only and unknown members raise AttributeError."""
    with pytest.raises(AttributeError):
        setattr(run, member, "x")


@pytest.mark.case("run-tags-append", "run-tags-str")
def test_tags_can_be_set() -> None:
    """Tags are a tuple that can be added to; a text is one tag."""
    run = corelib.init(**OFFLINE, tags=["a"])
    run.tags += ("b",)
    assert run.tags == ("a", "b")
    run.tags = "xy"  # type: ignore[assignment]  # what users do

    assert run.tags == ("xy",)
    assert corelib.open_run(run.id).tags == ("xy",)


@pytest.mark.case("run-tags-invalid", "run-tags-nonseq")
def test_bad_tags(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid tag is warned about and changes nothing; what is no sequence is an error."""
    run.tags = ("ok",)
    run.tags = [""]  # type: ignore[assignment]  # any sequence is taken
    assert run.tags == ("ok",)
    assert "Invalid tag" in capsys.readouterr().err
    with pytest.raises(TypeError):
        run.tags = 5  # type: ignore[assignment]  # what is tested


@pytest.mark.case("run-notes-multiline")
def test_notes(run: Run) -> None:
    """Notes may have many lines and are journalled at once."""
    run.notes = "x\ny"

    assert run.notes == "x\ny"
    assert corelib.open_run(run.id).notes == "x\ny"


@pytest.mark.case("run-name-nonunique")
def test_names_need_not_differ() -> None:
    """Two runs may have one name."""
    with (
        corelib.init(**OFFLINE, name="same") as first,
        corelib.init(**OFFLINE, name="same", reinit="create_new") as second,
    ):
        assert first.name == second.name == "same"


@pytest.mark.case("run-path")
def test_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is entity, project and id."""
    for name, value in (("ENTITY", "ent1"), ("PROJECT", "proj1"), ("RUN_ID", "run1")):
        monkeypatch.setenv(f"WANDB_{name}", value)

    assert corelib.init(**OFFLINE).path == "ent1/proj1/run1"


@pytest.mark.case("run-start-time")
def test_start_time(run: Run) -> None:
    """The start time is in seconds, as a float."""
    assert type(run.start_time) is float


@pytest.mark.case("run-alert-ok", "run-alert-wait-zero", "run-alert-long-title", "run-preempting")
def test_alerts_and_preemption_are_recorded(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is one record, at once; a wait of 0 is 0, a long title is cut."""
    run.alert("t", "x", wait_duration=0)
    run.alert("t" * 100, "x", level="ERROR")
    run.mark_preempting()

    assert "cut" in capsys.readouterr().err
    kinds = [type(record).__name__ for record in corelib.open_run(run.id).records()][2:]
    assert kinds == ["Alert", "Alert", "Preempting"]
    alerts = [record for record in corelib.open_run(run.id).records() if type(record).__name__ == "Alert"]
    assert [alert.wait_duration for alert in alerts] == [0, 60]  # type: ignore[union-attr]  # they are alerts
    with pytest.raises(ValueError, match="level"):
        run.alert("t", "x", level="info")


def test_samples_of_the_machine_are_recorded(run: Run) -> None:
    """They make no step and no summary, and are read back with their time; only numbers are taken."""
    run.log_system({"cpu": 12.5, "system.memory_percent": 40})
    run.log({"loss": 1.0})

    (sample,) = corelib.open_run(run.id).system()
    assert {name: sample[name] for name in sample if name[0] != "_"} == {
        "system.cpu": 12.5,
        "system.memory_percent": 40,
    }
    assert 0 <= sample["_runtime"] < sample["_timestamp"]
    assert [row["_step"] for row in corelib.open_run(run.id).history()] == [0]
    assert not any(name.startswith("system") for name in run.summary)
    for wrong in ({"cpu": "high"}, {"cpu": {"user": 1}}, {"cpu": True}, [1]):
        with pytest.raises(TypeError):
            run.log_system(wrong)  # type: ignore[arg-type]  # what is refused
    run.finish()
    with pytest.raises(corelib.UsageError, match="log_system"):
        run.log_system({"cpu": 1})


@pytest.mark.case("run-pickle-same-process", "run-deepcopy")
def test_a_run_stands_for_itself(run: Run) -> None:
    """A copy, deep copy or unpickled run in this process is the run."""
    assert copy.copy(run) is run
    assert copy.deepcopy(run) is run
    assert pickle.loads(pickle.dumps(run)) is run  # noqa: S301  made here


def _log_in_child(run: Run, number: int) -> None:
    run.log({f"w{number}": number})


@pytest.mark.case("run-spawn-log")
def test_spawned_children_write_to_the_run() -> None:
    """A run passed to spawned processes records their rows, numbered one after the other."""
    script = (
        "import corelib, multiprocessing\n"
        "def work(run, number): run.log({f'w{number}': number})\n"
        "if __name__ == '__main__':\n"
        "    run = corelib.init(mode='offline', settings={'silent': True})\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    children = [context.Process(target=work, args=(run, number)) for number in range(2)]\n"
        "    [child.start() for child in children]; [child.join() for child in children]\n"
    )
    with open("spawn.py", "w", encoding="utf-8") as file:
        file.write(script)
    subprocess.run([sys.executable, "spawn.py"], check=True)

    view = corelib.open_run("latest")
    read = list(view.history())
    assert sorted(key for row in read for key in row if key.startswith("w")) == ["w0", "w1"]
    assert [row["_step"] for row in read] == [0, 1]
    assert view.exit_code == 0


@pytest.mark.case("run-fork-log")
def test_a_forked_child_writes_to_the_run(run: Run) -> None:
    """The child has a writer of its own, and its end is not the run's."""
    child = os.fork()
    if child == 0:  # pragma: no cover  runs in the child
        run.log({"child": 1})
        os._exit(0)
    os.waitpid(child, 0)
    run.log({"parent": 1})
    run.log({"parent": 2})
    run.finish()

    view = corelib.open_run(run.id)
    assert [key for row in view.history() for key in row if not key.startswith("_")] == [
        "child",
        "parent",
        "parent",
    ]
    assert view.exit_code == 0


def test_a_pool_of_forked_workers_writes_to_the_run(run: Run) -> None:
    """Any number of workers, each with its own segments, and no row lost."""
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.starmap(_log_in_child, [(run, number) for number in range(30)])
    run.finish()

    read = list(corelib.open_run(run.id).history())
    assert sorted(value for row in read for key, value in row.items() if key.startswith("w")) == list(
        range(30)
    )


@pytest.mark.case("run-fork-init")
def test_init_in_a_forked_child_is_a_new_run(run: Run) -> None:
    """The child starts a run of its own, the parent's is untouched."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  runs in the child
        with corelib.init(**OFFLINE) as own:
            os.write(write, f"{own.id} {corelib.run is own}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        own_id, current = pipe.read().split()

    assert own_id != run.id
    assert current == "True"
    assert corelib.run is run
    assert corelib.open_run(own_id).state == "finished"


@pytest.mark.case("run-silent")
def test_silence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """WANDB_SILENT shows nothing at all."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with corelib.init() as run:
        run.log({"a": 1}, step=5)
        run.log({"a": 1}, step=2)

    assert capsys.readouterr().err == ""


@pytest.mark.case("run-finish-noop-globals", "run-preinit-alert", "cfg-preinit-attr", "cfg-preinit-item")
def test_before_init() -> None:
    """Without a run, `run` is None and every use names the remedy."""
    assert corelib.run is None
    assert corelib.finish() is None
    with pytest.raises(corelib.Error, match="alert"):
        corelib.alert("a", "b")
    with pytest.raises(corelib.Error, match=r"You must call corelib\.init\(\) before corelib\.config\.x"):
        _ = corelib.config.x
    with pytest.raises(corelib.Error):
        corelib.config["x"]
    with pytest.raises(corelib.Error):
        corelib.summary["x"] = 1


def test_the_module_speaks_for_the_current_run(run: Run) -> None:
    """log, config, summary and the others are the current run's."""
    corelib.define_metric("a", summary="max")
    corelib.log({"a": 2})
    corelib.log({"a": 1})
    corelib.config.lr = 0.1
    corelib.config["n"] = 1
    corelib.summary["best"] = 3

    assert dict(run.summary) == {"a": {"max": 2}, "best": 3}
    assert dict(corelib.config) == {"lr": 0.1, "n": 1}
    assert "lr" in corelib.config
    assert len(corelib.config) == 2


@pytest.mark.case("run-disabled-old-problem")
def test_init_never_returns_none() -> None:
    """A failed init() raises; there is no setting that makes it return None."""
    with pytest.raises(UsageError):
        corelib.init(mode="offline", settings={"problem": "warn"})


@pytest.mark.case("run-tensorboard-alias")
def test_what_has_no_effect_yet_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments of later versions are checked and answered by one warning."""
    corelib.init(mode="offline", tensorboard=True, monitor_gym=True, save_code=True, magic=True)

    (line,) = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
    for name in ("sync_tensorboard", "monitor_gym", "save_code", "magic"):
        assert name in line


def test_repr_and_receipt_are_for_people(run: Run) -> None:
    """What one sees in a debugger is what one wants to know."""
    run.log({"a": 1})

    assert repr(run) == f"<Run uncategorized/{run.id} running, step 1, offline>"
    assert str(run.receipt).startswith("1 row accepted: 1 recorded.")


def test_the_module_functions_in_a_forked_child(run: Run) -> None:
    """corelib.log() in a child writes to the run that was current at the fork, until the child finishes its part."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover  runs in the child
        corelib.log({"child": 1})
        same = pickle.loads(pickle.dumps(run)) is run  # noqa: S301  made here
        corelib.finish()
        os.write(write, f"{same} {corelib.run}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        assert pipe.read() == "True None"
    assert corelib.run is run
    run.finish()

    view = corelib.open_run(run.id)
    assert [row["child"] for row in view.history()] == [1]
    assert view.exit_code == 0


def test_a_run_with_a_live_transport_pickles() -> None:
    """A transport that cannot be pickled stays with the process that feeds it."""
    run = corelib.init(mode="offline", settings={"silent": True, "transport": MemoryTransport()})
    in_another_process = run.__reduce__()[1][0]

    assert pickle.loads(pickle.dumps(run)) is run  # noqa: S301  made here
    assert in_another_process.settings.transport == "file"
    assert in_another_process.settings.mode == "offline"
