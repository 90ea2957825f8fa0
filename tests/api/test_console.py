"""The setting `console` as users meet it: off unless asked for, then read back, and gone without a trace at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib.pure.records import FileSaved

WRAP: dict[str, Any] = {"project": "p", "mode": "offline", "settings": {"console": "wrap"}}


def console_of(run: corelib.Run) -> list[tuple[str, str]]:
    return [(line.stream, line.text) for line in corelib.open_run(run.id).console()]


@pytest.mark.case("files-output-log")
def test_what_is_printed_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of both streams, with their times, in order; as plain text in `output.log`, which is saved with the run."""
    with corelib.init(**WRAP) as run:
        print("hello")
        print("oops", file=sys.stderr)
        print("no end", end="")
    print("later")

    assert console_of(run) == [("stdout", "hello"), ("stderr", "oops"), ("stdout", "no end")]
    assert Path(run.dir, "output.log").read_text() == "hello\noops\nno end\n"
    view = corelib.open_run(run.id)
    assert all(run.start_time <= line.time for line in view.console())
    assert [(one.path, one.policy) for one in view.records() if isinstance(one, FileSaved)] == [
        ("output.log", "end")
    ]
    assert capsys.readouterr().out == "hello\nno endlater\n"


def test_a_resumed_run_has_the_console_of_all_its_parts() -> None:
    """The lines of the earlier part come first."""
    with corelib.init(**WRAP, id="abc", resume="allow"):
        print("first")
    with corelib.init(**WRAP, id="abc", resume="allow") as run:
        print("second")

    assert console_of(run) == [("stdout", "first"), ("stdout", "second")]
    assert Path(run.dir, "output.log").read_text() == "second\n"


@pytest.mark.parametrize("value", ["auto", "off", None])
def test_unasked_nothing_is_captured(value: str | None) -> None:
    """Neither by default nor with auto is the console touched; there is no file, and no line."""
    with corelib.init(project="p", mode="offline", settings={"console": value}) as run:
        print("hello")
        assert "write" not in vars(sys.stdout)

    assert console_of(run) == []
    assert not os.path.exists(os.path.join(run.dir, "output.log"))


def test_a_disabled_run_captures_nothing() -> None:
    """There is nowhere to put it."""
    with corelib.init(mode="disabled", settings={"console": "wrap"}):
        assert "write" not in vars(sys.stdout)


def test_redirect_is_wrap_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The descriptors of the process are left as they are."""
    monkeypatch.setenv("WANDB_CONSOLE", "redirect")
    with corelib.init(project="p", mode="offline") as run:
        print("hello")

    assert ("stdout", "hello") in console_of(run)
    assert "console='redirect'" in capsys.readouterr().err


def test_a_failed_init_gives_the_console_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left of a run that could not begin."""

    def fail(_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("corelib.shell.drive.ResumeDriver.run_started", fail)
    with pytest.raises(KeyboardInterrupt):
        corelib.init(**WRAP)

    assert "write" not in vars(sys.stdout)


def test_a_full_disk_stops_no_print(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the journal takes nothing, even strictly, prints go on and the run ends."""
    run = corelib.init(project="p", mode="offline", settings={"console": "wrap", "errors": "raise"})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run._journal, "append", refuse)
        print("hello")
    run.finish()

    shown = capsys.readouterr()
    assert shown.out == "hello\n"
    assert "not recorded any more" in shown.err


def test_a_program_of_its_own() -> None:
    """The traceback that ends a program is recorded, a forked child's print is not; unasked, nothing is loaded."""
    script = (
        "import os, sys, corelib\n"
        "run = corelib.init(project='p', mode='offline', id='abc')\n"
        "run.finish()\n"
        "assert not [name for name in sys.modules if name.startswith('corelib.shell.hooks')]\n"
        "run = corelib.init(project='p', mode='offline', id='xyz', settings={'console': 'wrap'})\n"
        "print('hello', flush=True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print('in the child', flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "raise SystemError('the end')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stderr
    assert done.stdout == "hello\nin the child\n"
    lines = [(line.stream, line.text) for line in corelib.open_run("xyz").console()]
    assert lines[0] == ("stdout", "hello")
    assert lines[-1] == ("stderr", "SystemError: the end")
    assert ("stdout", "in the child") not in lines
