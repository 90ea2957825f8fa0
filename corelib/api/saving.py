"""`run.save()`: put files of the user under the run's `files/` directory.

Law: a link where the file system has links, else a copy; the part of the path behind `base_path` is kept, and what
already lies in `files/` stays where it is; nothing is ever placed outside `files/`.
"""

from __future__ import annotations

import glob
import os
import shutil
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

from corelib.errors import UsageError, UsageTypeError

__all__ = ["POLICIES", "Saved", "save_files"]

POLICIES: Final = ("live", "now", "end")
_REMOTE: Final = ("s3://", "gs://", "http://", "https://")


class Saved(NamedTuple):
    """The result: where each file stands, its path within `files/`, and what the user should be told."""

    paths: list[str]
    names: list[str]
    warnings: list[str]


def save_files(pattern: object, base_path: object, policy: str, files: Path) -> Saved:
    """Link or copy what matches the glob `pattern` into `files`.

    Raises:
        UsageTypeError: pattern or base path is not a path.
        UsageError: an unknown policy, or a path that climbs above `base_path`.
        OSError: the current directory cannot be found.
    """
    text = _path(pattern, "save(glob_str)")
    if policy not in POLICIES:
        message = f"save(policy={policy!r}) is not one of {', '.join(POLICIES)}."
        raise UsageError(message)
    if text.startswith(_REMOTE):
        return Saved(
            [], [], [f"{text} is a remote address: save() can't save files that are not on this machine."]
        )
    warnings: list[str] = []
    base = _base(text, base_path, files, warnings)
    paths: list[str] = []
    names: list[str] = []
    for source in sorted(glob.glob(text, recursive=True)):
        if not os.path.isfile(source):
            continue
        name = os.path.relpath(source, base)
        if _climbs(name):
            message = f"{source} lies above base_path {base}: save() keeps the path below it."
            raise UsageError(message)
        target = files / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(Path(os.path.abspath(source)), target)
        except (
            OSError
        ) as error:  # one file is no reason to leave the others out, or to forget those that stand
            warnings.append(f"save() left {source} out: {error.strerror or error}.")
            continue
        paths.append(str(target))
        names.append(Path(name).as_posix())
    return Saved(paths, names, warnings)


def _path(value: object, what: str) -> str:
    if not isinstance(value, (str, bytes, os.PathLike)):
        message = f"{what} must be a path, not {type(value).__name__}."
        raise UsageTypeError(message)
    text = os.fsdecode(value)
    if "\0" in text:
        raise UsageError(f"{what} is no path: {text!r} holds a null character.")
    return text


def _base(text: str, base_path: object, files: Path, warnings: list[str]) -> str:
    """Return the directory below which the path is kept."""
    fixed = os.path.abspath(_fixed_part(text))
    if base_path is not None:
        base = os.path.abspath(_path(base_path, "save(base_path)"))
        if _climbs(os.path.relpath(fixed, base)):
            message = f"{text} climbs above base_path {base}: save() keeps the path below it."
            raise UsageError(message)
        return base
    if not _climbs(os.path.relpath(fixed, files)):
        return str(files)
    if os.path.isabs(text):
        warnings.append(
            "Saving files without folders: only one directory level of an absolute path is kept. "
            "Give base_path to keep more of it."
        )
        return _fixed_part(os.path.dirname(os.path.dirname(os.path.normpath(text))))
    if _climbs(os.path.relpath(fixed)):
        message = f"{text} climbs above the current directory: give base_path to say which part of the path to keep."
        raise UsageError(message)
    return os.getcwd()


def _climbs(relative: str) -> bool:
    return relative == os.pardir or relative.startswith(os.pardir + os.sep)


def _fixed_part(text: str) -> str:
    """Return the leading part of a pattern that holds no wildcard."""
    fixed = list(takewhile(lambda part: not glob.has_magic(part), Path(text).parts))
    return os.path.join(*fixed) if fixed else ""


def _place(source: Path, target: Path) -> None:
    """Make `target` stand for `source`: symbolic link, else hard link, else copy. Replaces what stands there."""
    if target.is_symlink() or target.exists():
        if os.path.exists(target) and os.path.samefile(source, target):
            return
        target.unlink()
    for make in (os.symlink, os.link):
        try:
            make(source, target)
        except OSError:
            continue
        return
    shutil.copy2(source, target)
