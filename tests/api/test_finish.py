"""How runs end, and what is recorded of it: the table of endings, each by a real process or a real `with` block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import corelib
from corelib import Run, UsageError
from corelib.api.reading import RunView

MARKER = Path("wandb") / "wandb-resume.json"


def run_script(body: str, *arguments: str) -> tuple[int, RunView]:
    """Run a script that tracks offline with resume="auto"; return its return code and its run."""
    Path("script.py").write_text(
        "import os, signal, sys, threading\n"
        "import corelib\n"
        "run = corelib.init(mode='offline', resume='auto', settings={'silent': True})\n"
        "run.log({'a': 1})\n" + body,
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "script.py", *arguments], check=False, capture_output=True, text=True
    )
    return done.returncode, corelib.open_run("latest")


@pytest.mark.parametrize(
    ("body", "returned", "recorded"),
    [
        pytest.param("", 0, 0, marks=pytest.mark.case("exit-end"), id="end"),
        pytest.param("sys.exit(0)", 0, 0, marks=pytest.mark.case("exit-exit0"), id="exit0"),
        pytest.param("sys.exit(None)", 0, 0, marks=pytest.mark.case("exit-exitnone"), id="exitnone"),
        pytest.param("sys.exit(3)", 3, 3, marks=pytest.mark.case("exit-exit3"), id="exit3"),
        pytest.param("sys.exit('bad')", 1, 1, marks=pytest.mark.case("exit-exitstr"), id="exitstr"),
        pytest.param("raise RuntimeError", 1, 1, marks=pytest.mark.case("exit-raise"), id="raise"),
        pytest.param("raise corelib.Error", 1, 1, marks=pytest.mark.case("exit-wandberror"), id="error"),
        pytest.param("raise KeyboardInterrupt", -2, 255, marks=pytest.mark.case("exit-kbd"), id="kbd"),
        pytest.param("raise SystemExit(4)", 4, 4, marks=pytest.mark.case("exit-systemexit"), id="systemexit"),
        pytest.param(
            "try: sys.exit(5)\nexcept SystemExit: pass",
            0,
            0,
            marks=pytest.mark.case("exit-sysexit-caught"),
            id="caught",
        ),
        pytest.param(
            "try: 1/0\nexcept ZeroDivisionError: pass",
            0,
            0,
            marks=pytest.mark.case("exit-handled-exception"),
            id="handled",
        ),
        pytest.param(
            "thread = threading.Thread(target=lambda: 1/0); thread.start(); thread.join()",
            0,
            0,
            marks=pytest.mark.case("exit-thread-exception"),
            id="thread",
        ),
        pytest.param("def main(): sys.exit(7)\nmain()", 7, 7, id="deep"),
    ],
)
def test_the_ending_of_a_script_is_recorded(body: str, returned: int, recorded: int) -> None:
    """A script that just ends finishes its run, with the code that the shell sees."""
    code, view = run_script(body)

    assert code == returned
    assert view.exit_code == recorded
    assert view.state == ("finished" if recorded == 0 else "failed")
    assert len(list(view.history())) == 1


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("", False),
        ("raise RuntimeError", True),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", True, marks=pytest.mark.case("res-sigkill")),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", True, marks=pytest.mark.case("res-sigterm")),
        ("os._exit(0)", True),
    ],
)
def test_the_resume_file_outlives_only_a_crash(body: str, kept: bool) -> None:
    """The script's clean end removes the file, anything else leaves it naming the run."""
    _, view = run_script(body)

    assert MARKER.exists() == kept
    if kept:
        assert json.loads(MARKER.read_text(encoding="utf-8")) == {"run_id": view.id}


@pytest.mark.parametrize("body", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_a_killed_run_reads_as_crashed(body: str) -> None:
    """Without an exit record and without a living writer the run has crashed, and its rows are there."""
    _, view = run_script(body)

    assert view.state == "crashed"
    assert view.exit_code is None
    assert len(list(view.history())) == 1


def test_sys_exit_zero_lets_the_next_auto_run_be_new() -> None:
    """A run that ended by sys.exit(0) was no crash, so resume="auto" starts a new one."""
    _, first = run_script("sys.exit(0)")
    _, second = run_script("sys.exit(0)")

    assert second.id != first.id
    assert not second.resumed


def test_nothing_is_patched() -> None:
    """While a run is active, sys.exit, sys.excepthook and the signal handlers are the interpreter's own."""
    code, _ = run_script(
        "assert sys.exit.__self__ is sys\n"
        "assert sys.excepthook is sys.__excepthook__\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )

    assert code == 0


@pytest.mark.case("hook-restored")
def test_hooks_are_untouched_after_finish() -> None:
    """After finish() the process is as it was before init()."""
    before = sys.exit, sys.excepthook
    corelib.init(mode="offline", settings={"silent": True}).finish()

    assert (sys.exit, sys.excepthook) == before


class TestWith:
    """`with init() as run`: the exception decides the code and always goes on."""

    def begin(self) -> Run:
        return corelib.init(mode="offline", resume="auto", settings={"silent": True})

    def ended(self, run: Run) -> tuple[int | None, bool]:
        """Return the exit code read back, and whether the resume file is still there."""
        return corelib.open_run(run.sync_dir).exit_code, MARKER.exists()

    def test_a_normal_end(self) -> None:
        """The block's normal end is success."""
        with self.begin() as run:
            run.log({"a": 1})

        assert self.ended(run) == (0, False)
        assert corelib.run is None

    @pytest.mark.case("ctx-never-suppresses")
    def test_an_exception(self) -> None:
        """An exception is failure and is not suppressed."""
        run = self.begin()
        with pytest.raises(ZeroDivisionError), run:
            raise ZeroDivisionError

        assert self.ended(run) == (1, True)

    @pytest.mark.case("ctx-sysexit0")
    def test_sys_exit_zero(self) -> None:
        """sys.exit(0) is success."""
        run = self.begin()
        with pytest.raises(SystemExit), run:
            sys.exit(0)

        assert self.ended(run) == (0, False)

    def test_sys_exit_three(self) -> None:
        """sys.exit(3) is recorded as 3."""
        run = self.begin()
        with pytest.raises(SystemExit), run:
            sys.exit(3)

        assert self.ended(run) == (3, True)

    @pytest.mark.case("ctx-keyboard")
    def test_keyboard_interrupt(self) -> None:
        """Ctrl-C is recorded as 255."""
        run = self.begin()
        with pytest.raises(KeyboardInterrupt), run:
            raise KeyboardInterrupt

        assert self.ended(run) == (255, True)

    @pytest.mark.case("ctx-inner-finish")
    def test_the_first_finish_wins(self) -> None:
        """A finish() inside the block settles the code; a later exception still goes on."""
        run = self.begin()
        with pytest.raises(ValueError, match="later"), run:  # noqa: PT012  the block is what is tested
            run.finish(exit_code=0)
            raise ValueError("later")

        assert self.ended(run) == (0, False)


class TestFinish:
    """`finish()` and what is possible after it."""

    @pytest.fixture
    def run(self) -> Run:
        return corelib.init(mode="offline", resume="auto", project="p", settings={"silent": True})

    @pytest.mark.case("finish-code-1", "res-file-kept-fail")
    def test_a_failure_keeps_the_resume_file(self, run: Run) -> None:
        """A run that failed is resumed by the next auto run."""
        run.finish(exit_code=3)

        view = corelib.open_run(run.sync_dir)
        assert (view.exit_code, view.state) == (3, "failed")
        assert MARKER.exists()
        assert corelib.init(mode="offline", resume="auto", settings={"silent": True}).id == run.id

    @pytest.mark.case("finish-code-str")
    def test_the_exit_code_is_an_integer(self, run: Run) -> None:
        """Another type is an error before anything changes."""
        with pytest.raises(TypeError):
            run.finish(exit_code="3")  # type: ignore[arg-type]  # what is tested
        run.log({"a": 1})

        assert run.finish().exit_code == 0

    @pytest.mark.case("finish-twice", "finish-quiet", "finish-join-alias")
    def test_finishing_twice(self, run: Run) -> None:
        """The second finish() changes nothing; join() is the same call, quiet is accepted."""
        first = run.finish(exit_code=2, quiet=True)

        assert run.join() == first
        assert run.exit_code == 2
        assert corelib.finish() is None
        assert corelib.join() is None

    @pytest.mark.case("finish-then-log", "finish-then-name", "finish-then-config")
    def test_a_finished_run_accepts_nothing(self, run: Run) -> None:
        """Every change is a UsageError that says so, and changes nothing."""
        run.config.update({"a": 1})
        run.finish()

        with pytest.raises(UsageError, match="is finished"):
            run.log({"a": 1})
        with pytest.raises(UsageError):
            run.name = "late"
        with pytest.raises(UsageError):
            run.config.update({"b": 1})
        with pytest.raises(UsageError):
            run.summary["b"] = 1
        assert dict(run.config) == {"a": 1}
        assert run.name is None

    @pytest.mark.case("finish-then-summary-read", "finish-then-step", "finish-then-id")
    def test_a_finished_run_answers_everything(self, run: Run) -> None:
        """Reading goes on: summary, step, identity."""
        run.log({"loss": 0.5})
        run.finish()

        assert dict(run.summary) == {"loss": 0.5}
        assert run.step == 1
        assert run.path == f"p/{run.id}"
        assert run.url is None
        assert os.path.isdir(run.dir)

    @pytest.mark.case("files-finish-durable")
    def test_finish_returns_when_all_is_on_disk(self, run: Run) -> None:
        """Read at once, the journal holds every row and the exit record."""
        for number in range(1000):
            run.log({"n": number})
        receipt = run.finish()

        view = corelib.open_run(run.sync_dir)
        assert [row["n"] for row in view.history()] == list(range(1000))
        assert view.exit_code == 0
        assert (receipt.accepted, receipt.delivered, receipt.pending, receipt.rejected) == (1000, 1000, 0, 0)
        assert receipt.journal == str(view.path / "journal")

    @pytest.mark.case("files-finish-no-temp-litter")
    def test_no_litter(self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is left in the temporary directory, and nothing but sealed segments in the journal."""
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(temporary))
        run.log({"a": 1})
        run.finish()

        assert list(temporary.iterdir()) == []
        names = [path.name for path in (Path(run.sync_dir) / "journal").rglob("*") if path.is_file()]
        assert names == ["000001.jsonl.zst"]
