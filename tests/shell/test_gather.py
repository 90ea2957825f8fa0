"""What the world says about settings, on real files and directories."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from corelib.errors import UsageError
from corelib.pure.resolve import Resolution, resolve
from corelib.pure.settings import Settings
from corelib.pure.sources import Identity
from corelib.shell.gather import (
    Gathered,
    data_directory_of,
    gather,
    home_directory,
    is_notebook,
    read_text,
)

NAMES = Identity()


def gathered(environ: dict[str, str] | None = None, **arguments: Any) -> Gathered:
    """Gather for one call of init() in the current directory, with an empty environment but for `environ`."""
    known = {name: arguments.pop(name, None) for name in ("settings", "setup", "login")}
    return gather(NAMES, arguments=arguments, environ={"HOME": str(Path.home())} | (environ or {}), **known)


def resolved(environ: dict[str, str] | None = None, **arguments: Any) -> Resolution:
    """Gather and resolve."""
    found = gathered(environ, **arguments)
    return resolve(found.layers, found.problems)


def write(path: Path, text: str) -> Path:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(name="here")
def _here() -> Path:
    return Path.cwd()


@pytest.fixture(name="home")
def _home() -> Path:
    return Path.home()


# ------------------------------------------------------------------------------------------------------ precedence


@pytest.mark.case("set-prec-setup-over-env")
def test_setup_beats_the_environment() -> None:
    """setup() is the program's own word, nearer than the environment."""
    assert (
        resolved({"WANDB_PROJECT": "envp"}, setup={"project": "setup"}, mode="offline").settings.project
        == "setup"
    )


def test_every_source_is_heard(here: Path, home: Path) -> None:
    """From defaults to arguments, each source that speaks is a layer, and the provenance tells them in order."""
    write(home / ".config" / "wandb" / "settings", "[default]\nrun_notes = system")
    write(here / "wandb" / "settings", "[default]\nrun_notes = workspace")
    resolution = resolved(
        {"WANDB_NOTES": "environment"},
        setup={"run_notes": "setup"},
        login={"run_notes": "login"},
        settings=Settings(run_notes="settings"),
        notes="init",
    )

    notes = resolution.provenance["run_notes"]
    assert resolution.settings.run_notes == "init"
    assert [(entry.source, entry.origin) for entry in notes.overridden] == [
        ("settings", "init(settings).run_notes"),
        ("login", "login().run_notes"),
        ("setup", "setup(settings).run_notes"),
        ("environment", "WANDB_NOTES"),
        ("workspace_file", f"{here / 'wandb' / 'settings'}:2"),
        ("system_file", f"{home / '.config' / 'wandb' / 'settings'}:2"),
    ]


@pytest.mark.case("dis-env-arg-wins")
def test_the_mode_of_the_call_beats_that_of_the_environment() -> None:
    """mode="offline" in the call undoes WANDB_MODE=disabled."""
    assert resolved({"WANDB_MODE": "disabled"}, mode="offline").settings.mode == "offline"


@pytest.mark.case("env-read-after-teardown")
def test_the_environment_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable set between two calls counts in the second; without being told, the process's own is read."""
    assert resolve(gather(NAMES).layers).settings.project == "uncategorized"
    monkeypatch.setenv("WANDB_PROJECT", "later")

    assert resolve(gather(NAMES).layers).settings.project == "later"


@pytest.mark.case("env-silent-banana")
def test_a_bad_variable_fails_the_call() -> None:
    """A variable that cannot be used is a ValueError that names it."""
    with pytest.raises(ValueError, match="WANDB_SILENT: silent takes true or false"):
        resolved({"WANDB_SILENT": "banana"})


def test_bad_arguments_fail_the_call() -> None:
    """What the call itself says is checked before anything is read."""
    with pytest.raises(UsageError, match="dir takes a path"):
        gathered(dir=3)
    with pytest.raises(TypeError, match=r"setup\(settings\) takes"):
        gathered(setup=5)


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.case("file-mode-offline", "mode-file")
def test_the_workspace_file(here: Path) -> None:
    """A settings file in the directory of runs sets settings, and is told to have been read."""
    path = write(
        here / "wandb" / "settings", "[default]\nmode = offline\nignore_globs = *.a,*.b\nsilent = true"
    )
    found = gathered()
    settings = resolve(found.layers, found.problems).settings

    assert (settings.mode, settings.ignore_globs, settings.silent) == ("offline", ("*.a", "*.b"), True)
    assert found.files == (str(path),)


@pytest.mark.case("file-other-section")
def test_other_sections_are_not_read(here: Path) -> None:
    """A project in the section [client] is nobody's project."""
    write(here / "wandb" / "settings", "[client]\nproject = wsp")

    assert resolved().settings.project == "uncategorized"


@pytest.mark.case("file-root-dir-ignored")
def test_a_file_cannot_move_the_root(here: Path) -> None:
    """root_dir in a settings file is ignored with a warning."""
    write(here / "wandb" / "settings", "[default]\nroot_dir = /tmp/zz")
    resolution = resolved()

    assert resolution.settings.root_dir == str(here)
    assert "not allowed in a settings file" in resolution.problems[0].text


@pytest.mark.case("file-config-dir-env")
def test_the_configuration_directory_can_be_chosen(tmp_path: Path, home: Path) -> None:
    """WANDB_CONFIG_DIR/settings stands in for ~/.config/wandb/settings."""
    write(tmp_path / "cfg" / "settings", "[default]\nproject = fromcfg")
    write(home / ".config" / "wandb" / "settings", "[default]\nproject = fromhome")

    assert resolved({"WANDB_CONFIG_DIR": str(tmp_path / "cfg")}).settings.project == "fromcfg"
    assert resolved().settings.project == "fromhome"


@pytest.mark.case("file-workspace-follows-dir")
def test_the_workspace_file_follows_the_root(here: Path) -> None:
    """The file read is that of the directory into which the run goes, wherever that was said."""
    write(here / "wandb" / "settings", "[default]\nproject = cwdp")
    write(here / "other" / "wandb" / "settings", "[default]\nproject = otherp")

    assert resolved({"WANDB_DIR": "./other"}).settings.project == "otherp"
    assert resolved(dir="other").settings.project == "otherp"
    assert resolved(setup={"root_dir": "other"}).settings.project == "otherp"
    assert resolved({"WANDB_DIR": "other"}, settings={"root_dir": "."}).settings.project == "cwdp"


def test_a_hidden_directory_of_runs(here: Path) -> None:
    """Where `.wandb` is there, it is the directory of runs and holds the settings file."""
    write(here / ".wandb" / "settings", "[default]\nproject = hidden")
    found = gathered()

    assert found.data_directory == str(here / ".wandb")
    assert resolve(found.layers).settings.project == "hidden"


def test_an_unreadable_file_is_a_warning(here: Path, home: Path) -> None:
    """A settings file that is a directory, or no text, is ignored and said; the rest is read."""
    (here / "wandb" / "settings").mkdir(parents=True)
    path = home / ".config" / "wandb" / "settings"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"[default]\nproject = \xff\xfe")
    resolution = resolved()

    texts = [problem.text for problem in resolution.problems]
    assert texts[0] == f"The settings file {path} is ignored: it is not text in UTF-8."
    assert texts[1].startswith(f"The settings file {here / 'wandb' / 'settings'} is ignored: ")
    assert resolution.settings.project == "uncategorized"


def test_a_file_where_a_directory_should_be(here: Path) -> None:
    """A file in the place of the directory of runs holds no settings."""
    write(here / "wandb", "hello")

    assert gathered().problems == ()


def test_another_core_reads_its_own(here: Path, home: Path) -> None:
    """A core with other names reads neither the variables nor the files of the reference."""
    write(here / "wandb" / "settings", "[default]\nproject = theirs")
    write(here / "tool" / "settings", "[default]\nrun_group = ours")
    write(home / ".config" / "tool" / "settings", "[default]\nrun_notes = ours")
    names = Identity(prefix="TOOL_", directory="tool", name="tool")
    found = gather(names, environ={"WANDB_MODE": "offline", "TOOL_ENTITY": "us", "HOME": str(home)})
    settings = resolve(found.layers, found.problems).settings

    assert (settings.project, settings.mode, settings.entity) == ("uncategorized", "online", "us")
    assert (settings.run_group, settings.run_notes) == ("ours", "ours")
    assert found.data_directory == str(here / "tool")


def test_gathering_leaves_nothing_behind(here: Path, home: Path) -> None:
    """Reading creates no file."""
    gathered(dir="new/root")

    assert list(here.iterdir()) == []
    assert list(home.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ root


def test_a_root_is_absolute_at_once(here: Path) -> None:
    """A relative root means the place it meant when it was said."""
    found = gathered(dir=Path("pl"))
    settings = resolve(found.layers).settings

    assert settings.root_dir == str(here / "pl")
    assert found.data_directory == str(here / "pl" / "wandb")
    assert resolved({"WANDB_DIR": "a/../b"}).settings.root_dir == str(here / "b")
    assert resolved(settings=Settings(root_dir="s")).settings.root_dir == str(here / "s")


def test_without_a_word_the_root_is_the_current_directory(here: Path) -> None:
    """Nobody says a root: the current directory, as detected."""
    resolution = resolved()

    assert resolution.settings.root_dir == str(here)
    assert resolution.provenance["root_dir"][:2] == ("detected", "the current directory")


def test_a_current_directory_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the current directory was removed, the directory for temporary files is used, and this is said."""

    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    resolution = resolved()

    assert resolution.settings.root_dir == tempfile.gettempdir()
    assert "current directory cannot be found (No such file or directory)" in resolution.problems[0].text


def test_the_current_directory_can_be_given(tmp_path: Path) -> None:
    """A caller may say which directory is meant."""
    found = gather(NAMES, environ={}, cwd=str(tmp_path / "x"), arguments={"dir": "y"})

    assert found.data_directory == str(tmp_path / "x" / "y" / "wandb")


def test_the_directory_of_runs_is_hidden_only_if_it_was(tmp_path: Path) -> None:
    """`.wandb` counts if it is a directory."""
    write(tmp_path / "a" / ".wandb", "a file")
    (tmp_path / "b" / ".wandb").mkdir(parents=True)

    assert data_directory_of(str(tmp_path / "a"), NAMES) == str(tmp_path / "a" / "wandb")
    assert data_directory_of(str(tmp_path / "b"), NAMES) == str(tmp_path / "b" / ".wandb")


# -------------------------------------------------------------------------------------------------------- detection


def test_what_is_detected_fills_gaps_only() -> None:
    """Host, user, program and project are found out, and anybody's word beats them."""
    settings = resolved({"USER": "me"}).settings
    said = resolved(
        {
            "USER": "me",
            "WANDB_HOST": "h",
            "WANDB_USERNAME": "u",
            "WANDB_PROGRAM": "p.py",
            "WANDB_PROJECT": "x",
        }
    ).settings

    assert settings.host == os.uname().nodename
    assert settings.username == "me"
    assert settings.program == sys.modules["__main__"].__file__
    assert (said.host, said.username, said.program, said.project) == ("h", "u", "p.py", "x")


def test_the_user_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a variable the system's database names the user; a user that is in none has no name."""
    import pwd

    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="somebody"))
    assert resolved().settings.username == "somebody"

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert resolved().settings.username is None


def test_a_host_without_uname(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no uname, the environment names the machine."""
    monkeypatch.delattr(os, "uname")

    assert resolved({"COMPUTERNAME": "box"}).settings.host == "box"
    assert resolved().settings.host is None


def test_names_of_the_system_need_not_be_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose path is not UTF-8 is recorded readably, and training is not stopped by it."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/x/\udcff.py")

    assert resolved().settings.program == "/x/\\udcff.py"


def test_an_interactive_session_has_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file there is no program."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__")

    assert resolved().settings.program is None


@pytest.mark.case("project-default")
def test_a_program_in_no_repository() -> None:
    """Outside of a repository the project is uncategorized."""
    resolution = resolved(mode="offline")

    assert resolution.settings.project == "uncategorized"
    assert resolution.provenance["project"].origin == "no git repository"


@pytest.mark.case("project-default-git")
def test_a_program_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is named after the repository and the program's place in it."""
    program = write(tmp_path / "repo" / "sub" / "x" / "train.py", "")
    (tmp_path / "repo" / ".git").mkdir()
    monkeypatch.chdir(tmp_path / "repo" / "sub")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(program))
    resolution = resolved()

    assert resolution.settings.project == "repo-sub_x"
    assert resolution.provenance["project"][:2] == ("detected", "the git repository")


def test_in_a_sweep_the_gap_is_filled() -> None:
    """The project of the call does not count in a sweep; then the detected one does."""
    assert resolved({"WANDB_SWEEP_ID": "sw"}, project="mine").settings.project == "uncategorized"


# --------------------------------------------------------------------------------------------------------- notebook


def _shell(module: str, kernel: object) -> object:
    kind = type("Shell", (), {"__module__": module, "kernel": kernel})
    return kind()


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        (_shell("ipykernel.zmqshell", object()), True),
        (_shell("IPython.terminal.interactiveshell", None), False),
        (_shell("spyder_kernels.console.shell", object()), False),
        (object(), False),
        (None, False),
    ],
)
def test_a_notebook_is_a_kernel(monkeypatch: pytest.MonkeyPatch, shell: object, expected: bool) -> None:
    """A kernel that is no Spyder makes a notebook; a terminal does not."""
    ipython = ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)

    assert is_notebook() is expected
    assert gathered().notebook is expected
    assert resolved().settings.allow_val_change is expected
    assert resolved(allow_val_change=False).settings.allow_val_change is False


def test_a_half_imported_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """While IPython is only being imported there is no notebook, and no error."""
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))

    assert is_notebook() is False


def test_without_ipython_nothing_is_imported() -> None:
    """Asking whether we are in a notebook does not import IPython."""
    assert is_notebook() is False
    assert "IPython" not in sys.modules


def test_a_notebook_that_is_not_there_is_a_warning(here: Path) -> None:
    """The notebook that was named must be a file; whether it is, is looked up from the current directory."""
    write(here / "real.ipynb", "{}")

    assert resolved({"WANDB_NOTEBOOK_NAME": "real.ipynb"}).problems == ()
    resolution = resolved({"WANDB_NOTEBOOK_NAME": "gone.ipynb"})
    assert [problem.text for problem in resolution.problems] == [
        "WANDB_NOTEBOOK_NAME: there is no notebook 'gone.ipynb'."
    ]


# ------------------------------------------------------------------------------------------------------------ texts


def test_a_text_is_read_without_its_mark(tmp_path: Path) -> None:
    """A byte order mark is no part of a text, and lines end in line feeds."""
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfa\r\nb\n")

    assert read_text(str(tmp_path / "x")) == "a\nb\n"
    with pytest.raises(FileNotFoundError):
        read_text(str(tmp_path / "y"))


def test_the_home_directory() -> None:
    """HOME, or else the profile, or else what the system says."""
    assert home_directory({"HOME": "/h", "USERPROFILE": "/p"}) == "/h"
    assert home_directory({"USERPROFILE": "/p"}) == "/p"
    assert home_directory({}) == os.path.expanduser("~")
