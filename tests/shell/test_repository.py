"""The git repository around a directory, on real files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from corelib.shell.repository import Checkout, Repository, checkout_of, find_repository, project_of

REMOTE = '[core]\n\tbare = false\n[remote "origin"]\n\turl = git@host:me/called.git\n'


def repository(path: Path, config: str = "") -> Path:
    """Make what looks like a repository."""
    (path / ".git").mkdir(parents=True)
    (path / ".git" / "config").write_text(config, encoding="utf-8")
    return path


def test_no_repository(tmp_path: Path) -> None:
    """Where no directory above has a .git, there is none."""
    assert find_repository(str(tmp_path)) is None
    assert project_of(str(tmp_path), None) == "uncategorized"


def test_a_repository_above(tmp_path: Path) -> None:
    """A repository is found from any directory below its root, and named after it."""
    root = repository(tmp_path / "repo")
    (root / "a" / "b").mkdir(parents=True)

    assert find_repository(str(root / "a" / "b")) == Repository(str(root), "repo")
    assert find_repository(str(root)) == Repository(str(root), "repo")


def test_a_repository_is_called_what_its_remote_is_called(tmp_path: Path) -> None:
    """With a remote, the name is the same in every clone."""
    root = repository(tmp_path / "my-clone", REMOTE)

    assert find_repository(str(root)) == Repository(str(root), "called")


@pytest.mark.parametrize(("config", "expected"), [("", "main-clone"), (REMOTE, "called")])
def test_a_worktree_has_the_name_of_its_repository(tmp_path: Path, config: str, expected: str) -> None:
    """A worktree is called like the repository, not like its directory."""
    main = repository(tmp_path / "main-clone", config)
    administrative = main / ".git" / "worktrees" / "feature"
    administrative.mkdir(parents=True)
    (administrative / "commondir").write_text("../..\n", encoding="utf-8")
    tree = tmp_path / "feature"
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {administrative}\n", encoding="utf-8")

    assert find_repository(str(tree)) == Repository(str(tree), expected)


def test_a_worktree_of_a_bare_repository(tmp_path: Path) -> None:
    """A bare repository is called like its directory, without the ending."""
    administrative = tmp_path / "store.git" / "worktrees" / "x"
    administrative.mkdir(parents=True)
    (administrative / "commondir").write_text("../..\n", encoding="utf-8")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / ".git").write_text(f"gitdir: {administrative}\n", encoding="utf-8")

    assert find_repository(str(tmp_path / "tree")) == Repository(str(tmp_path / "tree"), "store")


@pytest.mark.parametrize(("config", "expected"), [("", "sub"), (REMOTE, "called")])
def test_a_submodule_has_a_name_of_its_own(tmp_path: Path, config: str, expected: str) -> None:
    """A submodule is called like its remote or its directory, not like the repository around it."""
    main = repository(tmp_path / "main")
    module = main / ".git" / "modules" / "sub"
    module.mkdir(parents=True)
    (module / "config").write_text(config, encoding="utf-8")
    sub = main / "sub"
    sub.mkdir()
    (sub / ".git").write_text("gitdir: ../.git/modules/sub\n", encoding="utf-8")

    assert find_repository(str(sub)) == Repository(str(sub), expected)


def test_a_git_file_that_says_nothing(tmp_path: Path) -> None:
    """A `.git` that is no directory and points to none is no repository, and no error."""
    (tmp_path / ".git").write_text("hello", encoding="utf-8")

    assert find_repository(str(tmp_path)) is None


def test_the_place_of_the_program(tmp_path: Path) -> None:
    """The project is the repository and the program's directory below its root; outside there is no place."""
    root = repository(tmp_path / "repo")
    (root / "sub" / "x").mkdir(parents=True)
    (tmp_path / "link").symlink_to(root / "sub")

    assert project_of(str(root), None) == "repo"
    assert project_of(str(root), "train.py") == "repo"
    assert project_of(str(root), "sub/x/train.py") == "repo-sub_x"
    assert project_of(str(root / "sub"), "x/train.py") == "repo-sub_x"
    assert project_of(str(root), str(tmp_path / "train.py")) == "repo"
    assert project_of(str(root), str(tmp_path / "link" / "train.py")) == "repo-sub"


def test_a_repository_that_git_made(tmp_path: Path) -> None:
    """The files are read as git writes them: a clone and its worktree have the name of their remote."""

    def git(*words: str, cwd: Path) -> None:
        identity = ("-c", "user.name=x", "-c", "user.email=x@x")
        try:
            subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True)
        except FileNotFoundError:
            pytest.skip("git is not installed here")

    origin, clone = tmp_path / "origin-name", tmp_path / "clone"
    origin.mkdir()
    git("init", cwd=origin)
    git("commit", "--allow-empty", "-m", "first", cwd=origin)
    git("clone", str(origin), str(clone), cwd=tmp_path)
    git("worktree", "add", str(tmp_path / "tree"), "HEAD", cwd=clone)

    assert find_repository(str(origin)) == Repository(str(origin), "origin-name")
    assert find_repository(str(clone)) == Repository(str(clone), "origin-name")
    assert find_repository(str(tmp_path / "tree")) == Repository(str(tmp_path / "tree"), "origin-name")

    def commit(place: Path) -> str:
        told = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=place, check=True, capture_output=True, text=True
        )
        return told.stdout.strip()

    for place in (origin, clone, tmp_path / "tree"):
        assert checkout_of(str(place / "train.py")).commit == commit(place)
    git("checkout", "-b", "other", cwd=tmp_path / "tree")
    git("commit", "--allow-empty", "-m", "second", cwd=tmp_path / "tree")
    for _ in ("loose", "packed"):
        assert (
            checkout_of(str(tmp_path / "tree" / "x.py")).commit == commit(tmp_path / "tree") != commit(clone)
        )
        assert checkout_of(str(clone / "x.py")).commit == commit(clone)
        git("pack-refs", "--all", cwd=clone)
    assert not list((clone / ".git" / "refs" / "heads").glob("*"))
    git("checkout", "--detach", cwd=clone)
    assert checkout_of(str(clone / "x.py")) == Checkout(commit(clone), str(origin), "x.py")


HASH = "0123456789abcdef0123456789abcdef01234567"


def test_what_a_program_was_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commit and remote of the repository that the program lies in, through links; else of the current directory."""
    root = repository(tmp_path / "repo", REMOTE)
    (root / ".git" / "HEAD").write_text(f"{HASH}\n", encoding="utf-8")
    (root / "sub").mkdir()
    (tmp_path / "link").symlink_to(root / "sub")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    found = Checkout(HASH, "git@host:me/called.git", "sub/train.py")

    assert checkout_of(str(root / "sub" / "train.py")) == found
    assert checkout_of(str(tmp_path / "link" / "train.py")) == found
    assert checkout_of("link/train.py") == found
    assert checkout_of(str(tmp_path / "train.py")) == checkout_of(None) == Checkout()
    monkeypatch.chdir(root / "sub")
    assert checkout_of(None) == found._replace(code_path=None)
    assert checkout_of(str(tmp_path / "elsewhere" / "tool.py")) == found._replace(code_path=None)


@pytest.mark.parametrize(
    ("head", "commit"),
    [
        ("", None),
        ("nonsense", None),
        ("ref: refs/heads/.invalid", None),
        ("ref: refs/heads/unborn", None),
        ("ref: refs/heads/loop", None),
        ("ref: refs/heads/alias", HASH),
        ("ref: ../../secret", None),
    ],
)
def test_a_head_that_leads_nowhere(tmp_path: Path, head: str, commit: str | None) -> None:
    """No commit yet, a store of another kind, a circle: there is no commit then, and no error."""
    root = repository(tmp_path / "repo")
    (root / "secret").write_text(HASH, encoding="utf-8")
    heads = root / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (heads / "main").write_text(f"{HASH}\n", encoding="utf-8")
    (heads / "alias").write_text("ref: refs/heads/main\n", encoding="utf-8")
    (heads / "loop").write_text("ref: refs/heads/loop\n", encoding="utf-8")
    (root / ".git" / "HEAD").write_text(head, encoding="utf-8")

    assert checkout_of(str(root / "train.py")) == Checkout(commit, None, "train.py")


def test_a_program_whose_name_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a strange name nor a current directory that is gone stops a run."""
    monkeypatch.chdir(tmp_path)
    assert checkout_of("a\0b") == Checkout()
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert checkout_of(None) == Checkout()
