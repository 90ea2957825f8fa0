"""The project's name where nobody gave one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.ids import check_project
from corelib.pure.repository import (
    UNCATEGORIZED,
    commit_in,
    git_directory,
    infer_project,
    packed_commit,
    public_remote,
    reference_in,
    remote_name,
)


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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/me/repo.git", "https://host/me/repo.git"),
        ("https://me:hunter2@host:8443/me/repo.git", "https://host:8443/me/repo.git"),
        ("https://hunter2@host/me/repo", "https://host/me/repo"),
        ("https://git:hunter2@host/me/repo", "https://host/me/repo"),
        ("https://host/me/repo?token=hunter2#hunter2", "https://host/me/repo"),
        ("https://host?hunter2", "https://host"),
        ("https://me:hun/ter2@host/repo", None),
        ("https://me:hunter2://x@host/repo", None),
        ("ssh://git@host:22/me/repo.git", "ssh://git@host:22/me/repo.git"),
        ("ssh://me@host/repo", "ssh://host/repo"),
        ("git@host:me/repo.git", "git@host:me/repo.git"),
        ("hunter2@host:me/repo.git", "host:me/repo.git"),
        ("me:hun/ter2@host:repo", None),
        ("/srv/git/re@po.git", "/srv/git/re@po.git"),
        ("../repo", "../repo"),
        ("ext::sh -c hunter2", None),
        ("helper::https://hunter2@host/x", None),
        ("https://host/a\x1b[31m", None),
        ("https://host/" + "a" * 1000, None),
        ("", None),
    ],
)
def test_a_remote_is_told_without_credentials(url: str, expected: str | None) -> None:
    """Whatever may be a password or a token is left out, and what is not clear is not told at all."""
    assert public_remote(f'[remote "origin"]\n\turl = "{url}"\n') == expected


_PASSWORDS = st.text(st.characters(exclude_characters='"', exclude_categories=["Cc", "Zl", "Zp"]))


@given(_PASSWORDS, st.sampled_from(["https://", "ssh://", ""]), st.text("ab:", max_size=8))
def test_no_password_is_told(password: str, scheme: str, user: str) -> None:
    """However strange a password is, it does not get out."""
    told = public_remote(f'[remote "origin"]\n\turl = "{scheme}{user}:hunter2{password}@host:repo"\n')

    assert "hunter2" not in (told or "")


def test_no_remote_is_no_address() -> None:
    """A repository without a remote has none."""
    assert public_remote("[core]\n\tbare = false\n") is None


HASH = "0123456789abcdef0123456789abcdef01234567"


def test_what_head_says() -> None:
    """A hash, of either length, or the name of a reference; anything else is nothing."""
    assert commit_in(f"{HASH}\n") == HASH
    assert commit_in(HASH + HASH[:24]) == HASH + HASH[:24]
    assert [
        commit_in(text) for text in ("", HASH[1:], HASH.upper(), f"{HASH} {HASH}", "ref: refs/heads/x")
    ] == [None] * 5
    assert reference_in("ref: refs/heads/feature/x\n") == "refs/heads/feature/x"
    assert [reference_in(text) for text in ("", HASH, "ref: /etc/passwd", "ref: refs/../../x", "ref: x")] == [
        None
    ] * 5


def test_packed_references() -> None:
    """The line of the reference has its commit; a name that is longer or shorter is another reference."""
    other = HASH[::-1]
    packed = (
        "# pack-refs with: peeled fully-peeled sorted \n"
        f"{other} refs/heads/main-2\n{HASH} refs/heads/main\n{other} refs/remotes/refs/heads/main\n^{other}\n"
    ).encode()

    assert packed_commit(packed, "refs/heads/main") == HASH
    assert packed_commit(packed, "refs/heads/main-2") == other
    assert packed_commit(packed, "refs/heads/mai") is None
    assert packed_commit(b"", "refs/heads/main") is None
    assert packed_commit(b"nonsense refs/heads/main\n", "refs/heads/main") is None
