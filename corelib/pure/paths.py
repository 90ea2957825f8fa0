"""The layout of run directories: where everything stands below the root directory.

Law: paths are computed, never looked at. Whatever kind of path comes in (`PurePosixPath`, `Path`, …) goes
out; this module does not even import `pathlib`. A folder name is built from mode, start time and run id, and
read back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from attrs import frozen

from corelib.errors import UsageError
from corelib.pure.ids import check_run_id

if TYPE_CHECKING:
    from pathlib import PurePath

__all__ = [
    "TIMESPEC_FORMAT",
    "FolderName",
    "RunPaths",
    "data_directory",
    "folder_name",
    "folder_under",
    "latest_run",
    "parse_folder_name",
    "resume_file",
    "run_mode",
    "workspace_settings",
]

TIMESPEC_FORMAT: Final = "%Y%m%d_%H%M%S"
"""The start time within a folder name, for `strftime`: local time, whole seconds."""

_MODES: Final = {"online": "run", "offline": "offline-run"}
_TIMESPEC: Final = "[0-9]{8}_[0-9]{6}"
_FOLDER: Final = f"(offline-run|run)-({_TIMESPEC})-([^/]+)"
_COLLISION: Final = "-[1-9][0-9]*"

P = TypeVar("P", bound="PurePath")


def data_directory(root: P, directory: str = "wandb", *, hidden: bool = False) -> P:
    """Return the directory of all runs.

    Args:
        root: the directory above it, the setting `root_dir`.
        directory: its name; an embedding tool has its own.
        hidden: it is called `.wandb`, because a directory of that name was already there.
    """
    return root / (f".{directory}" if hidden else directory)


def workspace_settings(data: P) -> P:
    """Return the settings file beside the runs."""
    return data / "settings"


def latest_run(data: P) -> P:
    """Return the symbolic link to the run directory that was made last."""
    return data / "latest-run"


def resume_file(data: P, directory: str = "wandb") -> P:
    """Return the file that names the run which `resume="auto"` continues."""
    return data / f"{directory}-resume.json"


@frozen
class RunPaths(Generic[P]):
    """What stands in one run directory, `run_dir`."""

    run_dir: P

    @property
    def folder(self) -> str:
        """The name of the run directory."""
        return self.run_dir.name

    @property
    def files(self) -> P:
        """The directory of the user's files, which `run.dir` names."""
        return self.run_dir / "files"

    @property
    def logs(self) -> P:
        """The directory of log files about the tracking itself."""
        return self.run_dir / "logs"

    @property
    def debug_log(self) -> P:
        """The log file of the process that called `init()`."""
        return self.logs / "debug.log"

    @property
    def exit_status(self) -> P:
        """The file in which libc leaves the exit status of the process, where Python hides it: one byte."""
        return self.run_dir / "exit-status"

    @property
    def journal(self) -> P:
        """The directory of the journal: one directory per writer."""
        return self.run_dir / "journal"

    def writer(self, writer: str) -> P:
        """Return the directory of one writer's segments."""
        return self.journal / writer


class FolderName(NamedTuple):
    """A folder name taken apart.

    `run_id` is all that follows the time. A collision suffix cannot be told from an id that ends in `-1`; the
    journal in the folder knows the id, and `names` tells which ids are possible.
    """

    run_mode: str
    timespec: str
    run_id: str

    def names(self, run_id: str) -> bool:
        """Return whether the folder can be that of the run `run_id`, with a collision suffix or without."""
        rest = self.run_id.removeprefix(run_id)
        return not rest or (rest != self.run_id and re.fullmatch(_COLLISION, rest) is not None)


def run_mode(mode: str) -> str:
    """Return the first part of a folder name for the setting `mode`: `run` or `offline-run`.

    Raises:
        UsageError: runs of this mode have no directory.
    """
    try:
        return _MODES[mode]
    except KeyError:
        raise UsageError(f"A run with mode={mode!r} has no directory.") from None


def folder_name(mode: str, timespec: str, run_id: str, collision: int = 0) -> str:
    """Return the name of a run directory.

    Args:
        mode: the setting `mode`, online or offline.
        timespec: the start time by `TIMESPEC_FORMAT`.
        run_id: the run's id.
        collision: 0, or the number to append because the name without it is taken.

    Raises:
        UsageError: a part is not what it should be.
    """
    if not re.fullmatch(_TIMESPEC, timespec):
        raise UsageError(f"A folder name needs a start time like 20260131_235959, not {timespec!r}.")
    if collision < 0:
        raise UsageError(f"A folder name's collision number counts from 1, not {collision}.")
    name = f"{run_mode(mode)}-{timespec}-{check_run_id(run_id)}"
    return f"{name}-{collision}" if collision else name


def parse_folder_name(name: str) -> FolderName | None:
    """Take a folder name apart; None if it is not the name of a run directory."""
    match = re.fullmatch(_FOLDER, name)
    return FolderName(*match.groups()) if match else None


def folder_under(folder: str, run_id: str) -> str:
    """Return what a run directory is called when its run goes by another id; unchanged where it names that already.

    Args:
        folder: the name of the run directory.
        run_id: the id.

    Raises:
        UsageError: the id cannot be one.
    """
    name = parse_folder_name(folder)
    if name is None or name.names(run_id):
        return folder
    return f"{name.run_mode}-{name.timespec}-{check_run_id(run_id)}"
