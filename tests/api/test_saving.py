"""`run.save()` on files: what is linked where, what is refused, and that nothing leaves `files/`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePath
from typing import Any

import pytest

from corelib.api.saving import POLICIES, Saved, save_files
from corelib.errors import UsageError, UsageTypeError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current directory, which holds a few files."""
    place = tmp_path / "work"
    for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt", "..data/d.txt"):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "x.txt").write_text("above")
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Return the `files/` of a run, elsewhere."""
    place = tmp_path / "run" / "files"
    place.mkdir(parents=True)
    return place


def save(pattern: Any, files: Path, base_path: Any = None, policy: Any = "live") -> Saved:
    """Save, and check what holds for every call: names and paths agree, and lie under `files/`."""
    saved = save_files(pattern, base_path, policy, files)
    assert saved.paths == [str(files / name) for name in saved.names]
    assert all(".." not in PurePath(name).parts for name in saved.names)
    return saved


@pytest.mark.case("save-relative")
def test_relative_path(here: Path, files: Path) -> None:
    """A file below the current directory is linked under its path there."""
    saved = save("a.txt", files)

    assert saved == Saved([str(files / "a.txt")], ["a.txt"], [])
    assert (files / "a.txt").is_symlink()
    assert (files / "a.txt").resolve() == here / "a.txt"
    assert save("sub/deep/../b.txt", files).names == ["sub/b.txt"]


@pytest.mark.case("save-absolute")
def test_absolute_path(here: Path, files: Path) -> None:
    """Of an absolute path one directory level is kept, and a warning says so."""
    saved = save(str(here / "sub" / "b.txt"), files)

    assert saved.names == ["sub/b.txt"]
    assert [warning.partition(":")[0] for warning in saved.warnings] == ["Saving files without folders"]
    assert (files / "sub" / "b.txt").read_text() == "sub/b.txt"
    assert save(f"{here}/sub/deep/../b.txt", files).names == ["sub/b.txt"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.txt", ["a.txt"]),
        ("**/*.txt", ["..data/d.txt", "a.txt", "sub/b.txt", "sub/deep/c.txt"]),
        ("sub/*", ["sub/b.txt"]),
        ("sub", []),
        ("..data/d.txt", ["..data/d.txt"]),
        ("s?b/[b].txt", ["sub/b.txt"]),
        (PurePath("sub") / "b.txt", ["sub/b.txt"]),
        (b"a.txt", ["a.txt"]),
    ],
)
def test_patterns(here: Path, files: Path, pattern: Any, names: list[str]) -> None:
    """A pattern stands for the files that match it, hidden and dotted directories as glob has it, never directories."""
    found = set(save(pattern, files).names)

    assert found == set(names) - ({"..data/d.txt"} if pattern == "**/*.txt" else set())


def test_absolute_patterns(here: Path, files: Path) -> None:
    """Of an absolute pattern the part before its first wildcard is left away, down to one directory level."""
    assert save(f"{here}/sub/*.txt", files).names == ["sub/b.txt"]
    assert save(f"{here}/*/*.txt", files).names == ["sub/b.txt"]
    assert save(f"{here}/*/*/*.txt", files).names == ["sub/deep/c.txt"]
    assert save(f"{here}/**/c.txt", files).names == ["sub/deep/c.txt"]


def test_base_path(here: Path, files: Path) -> None:
    """What is kept is the path below `base_path`, absolute or relative, and there is nothing to warn about."""
    path = str(here / "sub" / "deep" / "c.txt")

    assert save(path, files, base_path=here) == Saved([str(files / "sub/deep/c.txt")], ["sub/deep/c.txt"], [])
    assert save(path, files, base_path="sub").names == ["deep/c.txt"]
    assert save("sub/deep/*", files, base_path=b"sub/deep").names == ["c.txt"]
    assert save("../x.txt", files, base_path="..").names == ["x.txt"]


@pytest.mark.parametrize(
    ("pattern", "base_path"),
    [
        pytest.param("../x.txt", ".", marks=pytest.mark.case("save-dotdot")),
        ("../x.txt", None),
        ("sub/../../x.txt", None),
        ("*/../../x.txt", None),
        ("a.txt", "sub"),
        ("*/b.txt", "sub/deep"),
    ],
)
def test_climbing(here: Path, files: Path, pattern: str, base_path: str | None) -> None:
    """A path above the part to keep is refused, a ValueError for old callers, and nothing is placed."""
    with pytest.raises(UsageError, match=r"climbs above|lies above") as caught:
        save(pattern, files, base_path=base_path)

    assert isinstance(caught.value, ValueError)
    assert list(files.iterdir()) == []


@pytest.mark.case("save-missing")
def test_nothing_matches(here: Path, files: Path) -> None:
    """What does not exist is not saved: no match, a dangling link, something that is no file."""
    (here / "dangling").symlink_to(here / "nowhere")
    os.mkfifo(here / "pipe")

    assert save("nope.txt", files) == save("dangling", files) == save("pipe", files) == Saved([], [], [])
    assert list(files.iterdir()) == []


@pytest.mark.case("save-cloud")
@pytest.mark.parametrize("address", ["s3://x/y", "gs://bucket/*", "https://example.com/a.txt"])
def test_remote_addresses(here: Path, files: Path, address: str) -> None:
    """Files of other machines cannot be saved, which is said and no error."""
    saved = save(address, files)

    assert (saved.paths, saved.names) == ([], [])
    assert "can't save files" in saved.warnings[0]
    assert address in saved.warnings[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_policies(here: Path, files: Path, policy: str) -> None:
    """Three policies are known; here they all mean the same."""
    assert save("a.txt", files, policy=policy).names == ["a.txt"]


@pytest.mark.parametrize("policy", ["never", "", None, "LIVE"])
def test_other_policies(here: Path, files: Path, policy: Any) -> None:
    """Any other policy is refused with the choices, before anything is placed."""
    with pytest.raises(UsageError, match="is not one of live, now, end"):
        save("a.txt", files, policy=policy)
    assert list(files.iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "base_path", "name"),
    [(5, None, "glob_str"), (None, None, "glob_str"), ("a.txt", 5, "base_path")],
)
def test_what_is_no_path(here: Path, files: Path, pattern: Any, base_path: Any, name: str) -> None:
    """What is no path is a wrong type, and the message names the argument."""
    with pytest.raises(UsageTypeError, match=rf"save\({name}\) must be a path, not (int|NoneType)"):
        save(pattern, files, base_path=base_path)


@pytest.mark.parametrize("pattern", ["{files}/model.bin", "{files}/*", "{files}/**/*.bin"])
def test_files_that_already_lie_there(here: Path, files: Path, pattern: str) -> None:
    """What the user wrote into `files/` stays where it is, as it is, and is known under its name; nothing to warn."""
    (files / "model.bin").write_text("weights")
    saved = save(pattern.format(files=files), files)

    assert saved == Saved([str(files / "model.bin")], ["model.bin"], [])
    assert (files / "model.bin").read_text() == "weights"
    assert not (files / "model.bin").is_symlink()
    assert [path.name for path in files.iterdir()] == ["model.bin"]


def test_saving_again(here: Path, files: Path) -> None:
    """Saving again changes nothing, and another file of the same name replaces what an earlier call left."""
    save("a.txt", files)
    save("a.txt", files)
    assert (files / "a.txt").read_text() == "a.txt"
    shutil.copy("sub/b.txt", "sub/a.txt")
    save("sub/a.txt", files, base_path="sub")
    assert (files / "a.txt").read_text() == "sub/b.txt"
    (here / "sub" / "a.txt").unlink()
    save("a.txt", files)
    assert (files / "a.txt").read_text() == "a.txt"


@pytest.mark.parametrize(("broken", "kind"), [(["symlink"], "hard link"), (["symlink", "link"], "copy")])
def test_file_systems_without_links(
    here: Path, files: Path, monkeypatch: pytest.MonkeyPatch, broken: list[str], kind: str
) -> None:
    """Where a symbolic link cannot be made a hard link is, and where neither can, a copy."""

    def refuse(*_: object) -> None:
        raise OSError("Operation not supported")

    for call in broken:
        monkeypatch.setattr(os, call, refuse)
    save("a.txt", files)
    target = files / "a.txt"

    assert not target.is_symlink()
    assert target.samefile(here / "a.txt") == (kind == "hard link")
    assert target.read_text() == "a.txt"


def test_a_file_that_cannot_be_placed(here: Path, files: Path) -> None:
    """It is left out with a warning, and the files beside it are saved all the same."""
    (files / "sub").write_text("a file where a directory is needed")

    saved = save("**/*.txt", files)

    assert saved.names == ["a.txt"]
    assert [warning for warning in saved.warnings if "sub/b.txt" in warning and "left" in warning]


def test_a_null_character_is_no_path(files: Path) -> None:
    """A pattern or base path that no file system can look up is an error of ours, not Python's."""
    with pytest.raises(UsageError, match="null character"):
        save("a\0*", files)
    with pytest.raises(UsageError, match="base_path"):
        save("a.txt", files, base_path="\0")
