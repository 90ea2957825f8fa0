"""What lies on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import corelib
from corelib import UsageError
from corelib.api.saving import Saved
from corelib.ports import Capabilities
from corelib.shell import session
from transports.memory import MemoryTransport

OFFLINE = {"mode": "offline", "settings": {"quiet": True}}


@pytest.mark.case("mode-offline", "mode-offline-name", "mode-offline-no-login")
def test_an_offline_run() -> None:
    """Offline needs no key, has its own kind of folder, and no name of its own."""
    run = corelib.init(**OFFLINE)

    assert (run.offline, run.disabled, run.name) == (True, False, None)
    assert Path(run.sync_dir).name.startswith("offline-run-")
    assert Path(run.sync_dir).name.endswith(run.id)


@pytest.mark.case("mode-dryrun")
def test_dryrun_is_offline() -> None:
    """The old word still works."""
    assert corelib.init(mode="dryrun", settings={"quiet": True}).offline


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("ONLINE", marks=pytest.mark.case("mode-bad-ONLINE")),
        pytest.param("noop", marks=pytest.mark.case("mode-bad-noop")),
        pytest.param("", marks=pytest.mark.case("mode-bad-empty")),
    ],
)
def test_other_modes_are_refused(mode: str) -> None:
    """Only the published words are modes."""
    with pytest.raises(ValueError, match="mode"):
        corelib.init(mode=mode)


@pytest.mark.case("mode-file", "file-mode-offline", "file-read-logged")
def test_a_settings_file_can_choose_the_mode(capsys: pytest.CaptureFixture[str]) -> None:
    """The workspace's settings file is read, and said to be."""
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nmode = offline\nignore_globs = *.a,*.b\n", encoding="utf-8")
    run = corelib.init()

    assert run.offline
    assert run.settings.ignore_globs == ("*.a", "*.b")
    assert "Loading settings from" in capsys.readouterr().err


def test_online_without_a_server_goes_offline_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked and nothing is lost: the run is recorded here."""
    run = corelib.init()
    run.log({"a": 1})

    assert run.offline
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if "server is known" in line]) == 1


@pytest.mark.case("login-nokey-notty-force", "login-nokey-no-dirs")
def test_force_without_a_key_is_an_error() -> None:
    """force=True never degrades, and leaves nothing behind."""
    with pytest.raises(UsageError):
        corelib.init(force=True, settings={"base_url": "http://127.0.0.1:9"})
    assert os.listdir() == []


@pytest.mark.case("login-init-key-no-netrc")
def test_a_key_in_settings_is_not_stored() -> None:
    """A key given to init() is used and written nowhere: not to netrc, not into the run."""
    key = "k" * 40
    run = corelib.init(mode="offline", settings={"api_key": key, "quiet": True})
    run.log({"a": 1})
    run.finish()

    assert os.listdir(os.environ["HOME"]) == []
    for path in Path("wandb").rglob("*"):
        assert path.is_dir() or key.encode() not in path.read_bytes()
    assert key not in repr(run.settings)


@pytest.mark.case("login-offline-force")
def test_force_is_irrelevant_offline() -> None:
    """An offline run needs no login."""
    assert corelib.init(**OFFLINE, force=True).offline


@pytest.mark.case("files-latest-run")
def test_latest_run_names_the_newest() -> None:
    """The link is relative and points at the run that began last."""
    with corelib.init(**OFFLINE):
        pass
    run = corelib.init(**OFFLINE)

    assert os.path.realpath("wandb/latest-run") == run.sync_dir
    assert not os.path.isabs(os.readlink("wandb/latest-run"))
    assert corelib.open_run("latest").id == run.id


@pytest.mark.case("files-same-second")
def test_the_same_id_twice_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is never shared: the second gets a suffix."""
    monkeypatch.setattr("corelib.api.init.time", lambda: 1795364658.0)
    first = corelib.init(**OFFLINE, id="same")
    first.finish()
    second = corelib.init(**OFFLINE, id="same")

    assert second.sync_dir == first.sync_dir + "-1"


@pytest.mark.case("files-dir-created", "dir-pathlike")
def test_a_missing_directory_is_made() -> None:
    """dir may be a path object, relative, and not there yet; it is absolute at once."""
    run = corelib.init(**OFFLINE, dir=Path("newdir/sub"))

    assert Path(run.dir).is_relative_to(Path("newdir/sub/wandb").resolve())
    assert os.path.isabs(run.dir)


@pytest.mark.case("files-dot-wandb")
def test_a_hidden_directory_is_used_if_it_is_there() -> None:
    """`.wandb` is taken where it exists."""
    Path("x/.wandb").mkdir(parents=True)
    run = corelib.init(**OFFLINE, dir="x")

    assert Path(run.dir).is_relative_to(Path("x/.wandb").resolve())


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a temporary directory of this test's own."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


@pytest.mark.case("files-dir-uncreatable")
def test_a_directory_that_cannot_be_made(temporary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run goes to the temporary directory, and that is said."""
    Path("file").write_text("", encoding="utf-8")
    run = corelib.init(mode="offline", dir="file/x")

    assert Path(run.dir).is_relative_to(temporary)
    assert "Falling back to temporary directory" in capsys.readouterr().err


@pytest.mark.case("files-dir-readonly")
def test_a_directory_that_cannot_be_written(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A read-only directory is as good as none; it is made to fail, since root may write anywhere."""
    mkdir = Path.mkdir

    def refusing(path: Path, *args: object, **kwargs: object) -> None:
        if not path.is_relative_to(temporary):
            raise PermissionError(13, "Permission denied", str(path))
        mkdir(path, *args, **kwargs)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Path, "mkdir", refusing)
    run = corelib.init(mode="offline")

    assert Path(run.dir).is_relative_to(temporary)
    assert "Falling back" in capsys.readouterr().err


@pytest.mark.case("files-temp-unwritable")
def test_no_directory_at_all(temporary: Path) -> None:
    """Where nothing can be written, init() says so and leaves nothing."""
    Path("file").write_text("", encoding="utf-8")
    temporary.rmdir()
    temporary.write_text("", encoding="utf-8")

    with pytest.raises(ValueError, match="can be written"):
        corelib.init(mode="offline", dir="file/x")
    assert corelib.run is None


@pytest.mark.case("files-dir-on-import")
def test_importing_makes_nothing() -> None:
    """import corelib touches no file."""
    subprocess.run([sys.executable, "-c", "import corelib"], check=True)

    assert os.listdir() == []


@pytest.mark.case("files-save-code-default")
def test_no_code_is_saved() -> None:
    """Code is copied only where somebody wants it."""
    run = corelib.init(**OFFLINE)

    assert os.listdir(run.dir) == []


def test_the_layout_of_a_run_directory() -> None:
    """files/, journal/<writer>/ and logs/debug.log, and nothing else."""
    run = corelib.init(**OFFLINE)
    run.log({"a": 1})
    run.finish()

    found = sorted(path.relative_to(run.sync_dir).parts for path in Path(run.sync_dir).rglob("*"))
    assert [parts[0] for parts in found] == ["files", "journal", "journal", "journal", "logs", "logs"]
    assert Path(run.sync_dir, "logs", "debug.log").read_text(encoding="utf-8").count(run.id) >= 2


@pytest.mark.case("save-relative")
def test_saved_files_are_recorded() -> None:
    """save() links the file under files/ and the journal names it."""
    Path("a.txt").write_text("hello", encoding="utf-8")
    run = corelib.init(**OFFLINE)

    assert run.save("a.txt") == [str(Path(run.dir) / "a.txt")]
    assert Path(run.dir, "a.txt").is_symlink()
    assert corelib.open_run(run.id).files == ["a.txt"]


def test_a_failed_init_removes_what_it_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error after the directories were made takes them away again, and the next init() works."""

    def failing(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("corelib.api.beginning.JournalWriter", failing)
        with pytest.raises(corelib.JournalError, match="No space"):
            corelib.init(mode="offline", dir="deep/er", settings={"silent": True})
    assert os.listdir() == []
    assert corelib.run is None

    assert corelib.init(**OFFLINE).state == "running"


def _world() -> tuple[object, ...]:
    """Return what an init() may change: open files, threads, what lies on disk, the current run and the watch."""
    open_files = sorted(
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    )
    on_disk = sorted(str(path) for path in Path().rglob("*"))
    kept = (Path("wandb/wandb-resume.json").read_text(encoding="utf-8"), os.readlink("wandb/latest-run"))
    watch = session.default._watch
    return open_files, threading.enumerate(), on_disk, kept, corelib.run, list(session.default.active), watch


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "error", [OSError(28, "No space"), KeyboardInterrupt(), RuntimeError("any")], ids=repr
)
@pytest.mark.parametrize(
    "step",
    [
        "corelib.api.beginning.JournalWriter.append",
        "corelib.api.beginning.attach_log",
        "corelib.api.beginning.Run",
        "corelib.api.beginning.start_couriers",
        "corelib.api.beginning.link",
        "corelib.shell.session.Session.started",
        "corelib.shell.drive.ResumeDriver.run_started",
    ],
)
def test_an_init_that_fails_late_leaves_nothing_behind(
    step: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails, also by Ctrl-C: no file, thread, link, resume file or run is there that was not before."""
    call = {"mode": "offline", "resume": "auto", "settings": {"silent": True, "transport": MemoryTransport()}}
    crashed = corelib.init(**call)
    crashed.finish(1)
    before = _world()

    def failing(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(step, failing)
        with pytest.raises((type(error), corelib.Error)):
            corelib.init(**call)

    assert _world() == before
    assert corelib.init(**call).id == crashed.id


def test_couriers_that_were_started_are_closed_if_a_later_one_fails() -> None:
    """Of two transports the second cannot be carried: the thread of the first ends."""
    broken = MemoryTransport()
    broken.capabilities = Capabilities(max_batch_records=0)  # bounds with which nothing could be delivered
    threads = threading.enumerate()
    with pytest.raises(UsageError):
        corelib.init(mode="offline", settings={"silent": True, "transport": (MemoryTransport(), broken)})

    assert threading.enumerate() == threads
    assert os.listdir() == []


def test_save_in_a_run_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that are linked while another thread finishes the run are an error, not a record after its end."""
    run = corelib.init(**OFFLINE)

    def slow(*_: object) -> Saved:
        run.finish()
        return Saved([], ["a.txt"], [])

    monkeypatch.setattr("corelib.api.saving.save_files", slow)
    with pytest.raises(UsageError, match="save"):
        run.save("a.txt")

    assert corelib.open_run(run.id).damage == ()


def test_a_run_whose_journal_was_never_begun_hides_no_other() -> None:
    """A process killed while it made its journal leaves an empty one: it reads as crashed, and the rest is listed."""
    run = corelib.init(**OFFLINE, id="sound")
    run.finish()
    Path("wandb", "offline-run-20260101_000000-never", "journal").mkdir(parents=True)

    assert [(view.id, view.state) for view in corelib.list_runs()] == [
        ("never", "crashed"),
        ("sound", "finished"),
    ]
    never = corelib.open_run("never")
    assert (list(never.history()), list(never.records()), never.config) == ([], [], {})


def test_a_text_too_long_for_a_path_is_no_run() -> None:
    """What no file system can look up is not found, like any other word."""
    with pytest.raises(UsageError, match="No run"):
        corelib.open_run("x" * 5000)


def test_file_names_that_cannot_hold_the_id() -> None:
    """Where the locale allows ASCII names only, another id is an error that names the remedy, and leaves nothing."""
    script = (
        "import corelib\n"
        "try: corelib.init(mode='offline', id='l\\xe4ufer')\n"
        "except corelib.UsageError as error: print(error)\n"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        env={**os.environ, **ascii_only},
        encoding="utf-8",
        errors="replace",
    )

    assert "PYTHONUTF8=1" in done.stdout
    assert os.listdir() == []


def test_too_many_open_files() -> None:
    """An init() that finds no free file descriptor is an error of ours and leaves no directory behind."""
    script = (
        "import os, resource, corelib\n"
        "call = {'mode': 'offline', 'settings': {'silent': True}}\n"
        "corelib.init(**call).finish()\n"
        "held = [os.open(os.devnull, os.O_RDONLY) for _ in range(60)]\n"
        "before = os.listdir('wandb')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (max(held) + 2, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "try: corelib.init(**call)\n"
        "except corelib.JournalError as error: print(error)\n"
        "os.close(held.pop())\n"
        "print(os.listdir('wandb') == before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert "Too many open files" in done.stdout
    assert done.stdout.splitlines()[-1] == "True"
