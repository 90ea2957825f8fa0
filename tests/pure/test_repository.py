"""The project's name where nobody gave one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.ids import check_project
from corelib.pure.repository import UNCATEGORIZED, git_directory, infer_project, remote_name


@pytest.mark.case("project-default")
def test_outside_of_a_repository() -> None:
    """A program in no repository is uncategorized."""
    assert infer_project(None, ("sub",)) == UNCATEGORIZED == "uncategorized"


@pytest.mark.case("project-default-git")
def test_a_program_within_a_repository() -> None:
    """The project is the repository's name and the way down to the program, parts joined by underscores."""
    assert infer_project("repo", ("sub", "x")) == "repo-sub_x"
    assert infer_project("repo") == "repo"


@pytest.mark.parametrize(
    ("repository", "below", "expected"),
    [
        ("a#b", ("c%d",), "a_b-c_d"),
        ("a", ("b\nc",), "a-b_c"),
        ("a" * 200, (), "a" * 128),
        ("..", (), UNCATEGORIZED),
        ("", ("x",), UNCATEGORIZED),
    ],
)
def test_names_that_no_project_has_are_made_fit(
    repository: str, below: tuple[str, ...], expected: str
) -> None:
    """Directories may be called what projects may not; the project's name is near it and valid."""
    assert infer_project(repository, below) == expected


@given(st.none() | st.text(), st.lists(st.text(), max_size=3))
def test_an_inferred_project_is_valid(repository: str | None, below: list[str]) -> None:
    """Whatever directories are called, the name passes the check of projects."""
    assert check_project(infer_project(repository, below))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gitdir: /main/.git/worktrees/x\n", "/main/.git/worktrees/x"),
        ("gitdir:../.git/modules/sub", "../.git/modules/sub"),
        ("gitdir:  ", None),
        ("", None),
        ("nonsense: /x", None),
        ("/main/.git", None),
    ],
)
def test_the_git_file_of_a_worktree(text: str, expected: str | None) -> None:
    """A `.git` file names a directory, or is none."""
    assert git_directory(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/me/repo.git", "repo"),
        ("https://host/me/repo/", "repo"),
        ("https://me:token@host/me/repo.git", "repo"),
        ("https://token@host", None),
        ("ssh://git@host:22/me/repo.git", "repo"),
        ("git@host:me/repo.git", "repo"),
        ("host:repo", "repo"),
        ("/srv/git/repo.git/", "repo"),
        ("../repo", "repo"),
        ("C:\\git\\repo", "repo"),
        ("C:repo", "C:repo"),
        ("./a:b/repo", "repo"),
        ("..", None),
        (".git", None),
        ("", None),
        ('"https://host/re;po"  # comment', "re;po"),
        ("https://host/repo ; comment", "repo"),
        ("https://host/repo # comment", "repo"),
    ],
)
def test_a_remote_has_a_name(url: str, expected: str | None) -> None:
    """The name is the last part of the remote's path, however the address is written; never its host or a secret."""
    assert remote_name(f'[remote "origin"]\n\turl = {url}\n\tfetch = +refs\n') == expected


def test_origin_comes_first() -> None:
    """Of several remotes `origin` names the repository, then the first that has a name."""
    config = (
        '[core]\n\turl = /core\n[remote "b"]\n\turl = /b\n[REMOTE "origin"]\n\tURL = /o\n\turl = /second\n'
    )

    assert remote_name(config) == "o"
    assert remote_name(config.replace("origin", "a")) == "b"
    assert remote_name(config.replace("/o", "")) == "b"
    assert remote_name('[core]\n\turl = /core\n[branch "main"]\n\tremote = origin\n\turl = /x') is None
    assert remote_name('[remote "origin"]\n\tfetch = x\n') is None


@given(st.text('[remote "origin"]\n\turl= https://a/b.git#;\\'))
def test_any_configuration_is_read(text: str) -> None:
    """No text is an error, and no name is empty or holds a slash."""
    name = remote_name(text)

    assert name is None or (name and "/" not in name)
