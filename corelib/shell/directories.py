"""Run directories: made whole or not at all.

Law: a run directory is never shared, a directory that cannot be written is replaced by a temporary one aloud, and
what was made can be taken away again as long as nobody else has used it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from errno import EROFS
from itertools import count
from pathlib import Path
from threading import get_ident
from time import localtime, strftime
from typing import Final, NamedTuple

from corelib.errors import UsageError
from corelib.pure.paths import TIMESPEC_FORMAT, RunPaths, folder_name

__all__ = ["RunDirectory", "check_room", "link", "link_back", "linked", "make_run_directory", "unlink"]


_ROOM_BYTES: Final = 1 << 14  # more than a journal begins with


class RunDirectory(NamedTuple):
    """The directories of one run, and which of them did not exist before."""

    data: str
    paths: RunPaths[Path]
    new_parents: tuple[str, ...]

    def claim(self) -> bool:
        """Make the directory itself; False if it exists, so that no two runs share one."""
        try:
            self.paths.run_dir.mkdir()
        except FileExistsError:
            return False
        except BaseException:
            self.take_away()
            raise
        return True

    def take_away(self) -> None:
        """Remove the run directory, and what was made above it as long as nobody else has used it."""
        # Not by shutil.rmtree: it opens a file per level, and too many open files may be what brought us here.
        with suppress(UnicodeEncodeError):  # a name that cannot be has no directory
            for folder, _, names in os.walk(self.paths.run_dir, topdown=False):
                with suppress(OSError):
                    for name in names:
                        os.unlink(os.path.join(folder, name))
                    os.rmdir(folder)
        for parent in self.new_parents:
            try:
                os.rmdir(parent)
            except OSError:
                return


def make_run_directory(
    data: str, *, mode: str, run_id: str, start_time: float, fallback_name: str, warn: Callable[[str], None]
) -> RunDirectory:
    """Make the directory of a run below `data`, or below a temporary directory if that cannot be written.

    Args:
        data: the directory of all runs; made if it is missing.
        mode: online or offline.
        run_id: the run's id.
        start_time: its start, in seconds since the epoch.
        fallback_name: what the directory of all runs is called in the temporary directory.
        warn: takes the sentence that says so.

    Raises:
        UsageError: the temporary place cannot be used either, or file names here cannot hold the id or the path.
    """
    try:
        return _make(data, mode, run_id, start_time)
    except UnicodeEncodeError as error:
        raise UsageError(
            f"Run {run_id!r} cannot have a directory in {data!r}: file names are in {error.encoding} here. Set "
            "PYTHONUTF8=1 or a locale with UTF-8, or choose a plain id and dir."
        ) from error
    except OSError as error:
        from tempfile import gettempdir

        fallback = os.path.join(gettempdir(), fallback_name)
        warn(f"{data} cannot be written ({error.strerror}). Falling back to temporary directory {fallback}.")
    try:
        return _make(fallback, mode, run_id, start_time)
    except OSError as error:
        raise UsageError(
            f"Neither {data} nor {fallback} can be written ({error.strerror}): give init(dir=…) a directory that can."
        ) from error


def _make(data: str, mode: str, run_id: str, start_time: float) -> RunDirectory:
    parents = tuple(_missing(data))
    os.makedirs(data, exist_ok=True)
    timespec = strftime(TIMESPEC_FORMAT, localtime(start_time))
    names = (folder_name(mode, timespec, run_id, collision) for collision in count())
    made = next(
        directory
        for name in names
        if (directory := RunDirectory(data, RunPaths(Path(data) / name), parents)).claim()
    )
    try:
        made.paths.files.mkdir()
        made.paths.logs.mkdir()
    except BaseException:
        made.take_away()
        raise
    return made


def check_room(data: str) -> None:
    """Write a little where run directories are made, and take it away again.

    Raises:
        OSError: the disk is full, or does not work. That it may not be written is no error: there is another place.
    """
    missing = _missing(data)
    place = os.path.join(
        os.path.dirname(missing[-1]) if missing else data, f".corelib-{os.getpid()}-{get_ident()}"
    )
    try:
        with open(place, "wb") as file:
            file.write(b"\0" * _ROOM_BYTES)
    except PermissionError:
        return
    except OSError as error:
        if error.errno != EROFS:
            raise
    finally:
        with suppress(OSError):
            os.unlink(place)


def _missing(path: str) -> list[str]:
    """Return the directories down to `path` that do not exist, the innermost first."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        parent = os.path.dirname(path)
        if parent == path:
            break
        path = parent
    return missing


def link(place: Path, target: str, debug: Callable[[str], None]) -> None:
    """Let a symbolic link name `target`, replacing an older one at once; where links are not to be had, go without."""
    temporary = place.with_name(f"{place.name}.{os.getpid()}-{get_ident()}.tmp")
    try:
        os.symlink(target, temporary)
        os.replace(temporary, place)
    except OSError as error:
        # Also what a killed process of this number left: it would be in the way of every later link.
        unlink(temporary, debug)
        debug(f"No link {place}: {error}")


def linked(place: Path) -> str | None:
    """Return what a symbolic link names; None if there is none."""
    try:
        return os.readlink(place)
    except OSError:
        return None


def link_back(place: Path, former: str | None, debug: Callable[[str], None]) -> None:
    """Let a symbolic link name what it named before; None: there was none."""
    if former is None:
        unlink(place, debug)
    elif linked(place) != former:
        link(place, former, debug)


def unlink(place: Path, debug: Callable[[str], None]) -> None:
    """Remove a symbolic link, if there is one."""
    if linked(place) is not None:
        try:
            os.unlink(place)
        except OSError as error:
            debug(f"The link {place} stays: {error}")
