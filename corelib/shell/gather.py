"""What the world says about settings: environment, files, machine and program, brought to the pure rules.

Law: nobody else reads the environment, settings files, the current directory, the host's name or `__main__`; for
git and netrc this module has `repository` and `keys` beside it. Everything is read anew on each call, and nothing
is kept, printed or decided here but which file is looked at. No process is started, no network is used, and
nothing is imported to find out whether we are in a notebook.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from corelib.pure.coerce import shown
from corelib.pure.repository import UNCATEGORIZED
from corelib.pure.sources import (
    Identity,
    Layer,
    Problem,
    arguments_layer,
    detected_layer,
    environment_layer,
    file_layer,
    settings_layer,
)
from corelib.shell.repository import project_of

__all__ = ["Gathered", "data_directory_of", "gather", "home_directory", "is_notebook", "read_text"]

_ROOT_SOURCES: Final = ("init", "settings", "login", "setup", "environment")  # strongest first


class Gathered(NamedTuple):
    """What the world said.

    Args:
        layers: at most one per source, for `resolve`.
        problems: what could not be used, for `resolve` as well.
        files: the settings files that were read.
        data_directory: the directory of all runs, which may not exist yet.
        notebook: whether a notebook's kernel runs the program.
    """

    layers: tuple[Layer, ...]
    problems: tuple[Problem, ...]
    files: tuple[str, ...]
    data_directory: str
    notebook: bool


def gather(
    identity: Identity,
    *,
    arguments: Mapping[str, object] | None = None,
    settings: object = None,
    login: object = None,
    setup: object = None,
    environ: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Gathered:
    """Read everything that says something about settings.

    Args:
        identity: whose environment variables and directories are meant.
        arguments: the arguments of `init()` that are settings; None is not given.
        settings: what `init(settings=)` was given: a Settings, a mapping or None.
        login: what `login()` left, likewise.
        setup: what `setup()` was given, likewise.
        environ: the environment, by default the process's own as it is now.
        cwd: the current directory, by default the process's own.

    Raises:
        UsageError: an argument cannot be used; files and environment are answered for by problems.
    """
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    layers = [
        arguments_layer(arguments or {}),
        settings_layer("settings", settings, "init(settings)"),
        settings_layer("login", login, "login()"),
        settings_layer("setup", setup, "setup(settings)"),
    ]
    found, faults = environment_layer(environ, identity)
    layers.append(found)
    problems.extend(faults)

    here = _current_directory(problems) if cwd is None else cwd
    layers = [_with_absolute_root(layer, here) for layer in layers]
    said = {layer.source: layer.values["root_dir"] for layer in layers if "root_dir" in layer.values}
    root = next((said[source] for source in _ROOT_SOURCES if source in said), here)
    data = data_directory_of(root, identity)

    files = []
    for source, path in (
        ("system_file", os.path.join(_configuration_directory(identity, environ), "settings")),
        ("workspace_file", os.path.join(data, "settings")),
    ):
        text = _settings_text(source, path, problems)
        if text is not None:
            files.append(path)
            found, faults = file_layer(source, path, text)
            layers.append(found)
            problems.extend(faults)

    notebook = is_notebook()
    found, faults = _detected(layers, here, environ, notebook=notebook)
    layers.append(found)
    problems.extend(faults)
    problems.extend(_missing_notebooks(layers, here))
    return Gathered(tuple(layers), tuple(problems), tuple(files), data, notebook)


def data_directory_of(root: str, identity: Identity) -> str:
    """Return the directory of all runs below a root directory: a hidden one if that is there already."""
    hidden = os.path.join(root, f".{identity.directory}")
    return hidden if os.path.isdir(hidden) else os.path.join(root, identity.directory)


def read_text(path: str) -> str:
    """Return the text of a file in UTF-8, with or without a byte order mark, with line feeds as line ends.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    with open(path, encoding="utf-8-sig") as file:
        return file.read()


def home_directory(environ: Mapping[str, str]) -> str:
    """Return the user's home directory, as the environment says or else the system."""
    return environ.get("HOME") or environ.get("USERPROFILE") or os.path.expanduser("~")


def is_notebook() -> bool:
    """Return whether a notebook's kernel runs the program; IPython in a terminal and Spyder are none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return False
    return "spyder" not in type(shell).__module__


def _current_directory(problems: list[Problem]) -> str:
    try:
        return os.getcwd()
    except OSError as error:
        import tempfile  # costs milliseconds, and the current directory is nearly always there

        here = tempfile.gettempdir()
        text = f"The current directory cannot be found ({error.strerror}); {here} is used in its place."
        problems.append(Problem("detected", "root_dir", text))
        return here


def _with_absolute_root(layer: Layer, here: str) -> Layer:
    """A root directory means the place it meant when it was said, also after the program has gone elsewhere."""
    root = layer.values.get("root_dir")
    if root is None:
        return layer
    return layer._replace(values={**layer.values, "root_dir": os.path.normpath(os.path.join(here, root))})


def _configuration_directory(identity: Identity, environ: Mapping[str, str]) -> str:
    chosen = environ.get(f"{identity.prefix}CONFIG_DIR")
    return chosen or os.path.join(home_directory(environ), ".config", identity.directory)


def _settings_text(source: str, path: str, problems: list[Problem]) -> str | None:
    """Return a settings file's text; None if there is none, or none that can be read, which is then said."""
    try:
        return read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        problems.append(Problem(source, None, f"The settings file {path} is ignored: {reason}."))
        return None


def _detected(
    layers: Iterable[Layer], here: str, environ: Mapping[str, str], *, notebook: bool
) -> tuple[Layer, tuple[Problem, ...]]:
    spoken_for = {name for layer in layers for name in layer.values}
    values: dict[str, object] = {"root_dir": here}
    origin = {"root_dir": "the current directory"}

    def found(name: str, value: str | bool | None, where: str) -> None:
        if value:
            values[name] = value if isinstance(value, bool) else _readable(value)
            origin[name] = where

    program = _program()
    found("program", program, "__main__")
    found("host", _host(environ), "the operating system")
    found("username", _username(environ), "the operating system")
    if notebook:
        found("allow_val_change", True, "the notebook")
    # In a sweep the arguments of the call may not count, and then the project is a gap all the same.
    if "project" not in spoken_for or "sweep_id" in spoken_for:
        project = project_of(here, program)
        found("project", project, "no git repository" if project == UNCATEGORIZED else "the git repository")
    return detected_layer(values, origin)


def _readable(text: str) -> str:
    """What the system calls a thing need not be text; nobody chose it, so it is made readable, not refused."""
    return text.encode("utf-8", "backslashreplace").decode()


def _program() -> str | None:
    """Return the path of the program that runs, or None where it has none, as in an interactive session."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path if isinstance(path, str) else None


def _host(environ: Mapping[str, str]) -> str | None:
    if hasattr(os, "uname"):
        return os.uname().nodename
    return environ.get("COMPUTERNAME")


def _username(environ: Mapping[str, str]) -> str | None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        if environ.get(variable):
            return environ[variable]
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):  # no such database here, or the user is not in it, as in some containers
        return None


def _missing_notebooks(layers: Iterable[Layer], here: str) -> Iterable[Problem]:
    for layer in layers:
        name = layer.values.get("notebook_name")
        if name and not os.path.exists(os.path.join(here, name)):
            text = f"{layer.origin['notebook_name']}: there is no notebook {shown(name)}."
            yield Problem(layer.source, "notebook_name", text)
