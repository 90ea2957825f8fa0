"""The layout of run directories."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.paths import (
    FolderName,
    RunPaths,
    data_directory,
    folder_name,
    folder_under,
    latest_run,
    parse_folder_name,
    resume_file,
    run_mode,
    workspace_settings,
)
from corelib.testing.strategies.settings import run_ids

ROOT = PurePosixPath("/data")


def test_the_directory_of_all_runs() -> None:
    """Runs are under `<root>/wandb`, or `.wandb`, or the directory of an embedding tool."""
    assert data_directory(ROOT) == PurePosixPath("/data/wandb")
    assert data_directory(ROOT, hidden=True) == PurePosixPath("/data/.wandb")
    assert data_directory(ROOT, "tool", hidden=True) == PurePosixPath("/data/.tool")


def test_what_stands_beside_the_runs() -> None:
    """Beside the runs are the workspace's settings, the link to the latest run and the resume file."""
    data = data_directory(ROOT)

    assert workspace_settings(data) == PurePosixPath("/data/wandb/settings")
    assert latest_run(data) == PurePosixPath("/data/wandb/latest-run")
    assert resume_file(data) == PurePosixPath("/data/wandb/wandb-resume.json")
    assert resume_file(data, "tool").name == "tool-resume.json"


def test_what_stands_in_a_run() -> None:
    """A run directory holds files, logs and a journal with a directory per writer."""
    paths = RunPaths(ROOT / "run-20260131_235959-abc")

    assert paths.folder == "run-20260131_235959-abc"
    assert paths.files == paths.run_dir / "files"
    assert paths.logs == paths.run_dir / "logs"
    assert paths.debug_log == paths.run_dir / "logs" / "debug.log"
    assert paths.exit_status == paths.run_dir / "exit-status"
    assert paths.journal == paths.run_dir / "journal"
    assert paths.writer("w1") == paths.run_dir / "journal" / "w1"


@pytest.mark.parametrize("kind", [PurePosixPath, PureWindowsPath, Path])
def test_the_kind_of_path_is_kept(kind: type[PurePosixPath]) -> None:
    """Whatever kind of path comes in goes out."""
    assert isinstance(RunPaths(data_directory(kind("x"))).journal, kind)


@pytest.mark.parametrize(
    ("mode", "collision", "expected"),
    [
        ("online", 0, "run-20260131_235959-abc"),
        ("offline", 0, "offline-run-20260131_235959-abc"),
        ("online", 2, "run-20260131_235959-abc-2"),
    ],
)
def test_folder_names(mode: str, collision: int, expected: str) -> None:
    """A folder name is made of mode, start time and id, and a number if it is taken."""
    assert folder_name(mode, "20260131_235959", "abc", collision) == expected


@pytest.mark.parametrize(
    ("mode", "timespec", "run_id", "collision"),
    [
        ("disabled", "20260131_235959", "abc", 0),
        ("online", "2026-01-31", "abc", 0),
        ("online", "20260131_235959\n", "abc", 0),
        ("online", "20260131_235959", "../abc", 0),
        ("online", "20260131_235959", "abc", -1),
    ],
)
def test_nothing_else_becomes_a_folder_name(mode: str, timespec: str, run_id: str, collision: int) -> None:
    """A mode without files, a time of another form, an invalid id and a negative number are errors."""
    with pytest.raises(UsageError):
        folder_name(mode, timespec, run_id, collision)


def test_run_modes() -> None:
    """Only runs that are online or offline have a directory."""
    assert (run_mode("online"), run_mode("offline")) == ("run", "offline-run")
    with pytest.raises(UsageError, match="mode='disabled'"):
        run_mode("disabled")


@given(st.sampled_from(("online", "offline")), st.datetimes(), run_ids(), st.integers(0, 20))
def test_a_folder_name_is_read_back(mode: str, start: object, run_id: str, collision: int) -> None:
    """What a folder name was made of is found in it, and it is known to be possible for its run."""
    timespec = f"{start:%m%d}2026_{start:%H%M%S}"
    parsed = parse_folder_name(folder_name(mode, timespec, run_id, collision))

    assert parsed is not None
    assert parsed[:2] == (run_mode(mode), timespec)
    assert parsed.names(run_id)
    if not collision:
        assert parsed.run_id == run_id


@pytest.mark.parametrize(
    "name", ["", "wandb", "latest-run", "run-20260131-abc", "run-20260131_235959-", "x-run-20260131_235959-a"]
)
def test_other_names_are_no_folder_names(name: str) -> None:
    """What is not the name of a run directory is None, not an error."""
    assert parse_folder_name(name) is None


@pytest.mark.parametrize(
    ("run_id", "possible"),
    [("abc-1", True), ("abc", True), ("ab", False), ("abc-", False), ("abc-1-1", False), ("x", False)],
)
def test_a_collision_suffix_may_be_part_of_the_id(run_id: str, possible: bool) -> None:
    """A folder that ends in `abc-1` is that of `abc-1` or of `abc`, and of nobody else."""
    assert FolderName("run", "20260131_235959", "abc-1").names(run_id) is possible


def test_a_suffix_counts_from_one() -> None:
    """`-0` and `-01` are no collision suffixes."""
    assert not FolderName("run", "20260131_235959", "abc-0").names("abc")
    assert not FolderName("run", "20260131_235959", "abc-01").names("abc")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("run-20260131_235959-new", "run-20260131_235959-new"),
        ("run-20260131_235959-new-2", "run-20260131_235959-new-2"),
        ("offline-run-20260131_235959-old", "offline-run-20260131_235959-new"),
        ("strange", "strange"),
    ],
)
def test_a_folder_under_another_id(folder: str, expected: str) -> None:
    """A run directory is renamed with its run, unless it names that already or is none."""
    assert folder_under(folder, "new") == expected
