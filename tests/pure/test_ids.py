"""Run ids, and what an id, a project and an entity may be called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.ids import (
    ENTROPY_BYTES,
    RUN_ID_ALPHABET,
    RUN_ID_LENGTH,
    check_entity,
    check_project,
    check_run_id,
    generate_run_id,
    run_path,
    run_url,
    url_segment,
)
from corelib.testing.strategies.settings import run_ids


def test_an_id_is_a_function_of_its_entropy() -> None:
    """The same bytes give the same id: 8 characters of [0-9a-z]."""
    entropy = bytes(range(ENTROPY_BYTES))

    assert generate_run_id(entropy) == "01234567"
    assert generate_run_id(entropy) == generate_run_id(entropy)


def test_every_character_is_equally_likely() -> None:
    """Over all values of a byte, each character of the alphabet comes equally often; the rest are passed over."""
    used = [generate_run_id(bytes([byte]) * RUN_ID_LENGTH)[0] for byte in range(252)]

    assert set(Counter(used).values()) == {252 // len(RUN_ID_ALPHABET)}
    assert generate_run_id(bytes([255, 252, 0, 253, 1, 2, 3, 4, 5, 6, 7])) == "01234567"


@pytest.mark.parametrize("entropy", [b"", b"1234567", bytes([255]) * ENTROPY_BYTES])
def test_too_little_entropy_is_an_error(entropy: bytes) -> None:
    """An id is never made of fewer random characters than it should be."""
    with pytest.raises(UsageError, match=f"{len(entropy)} random bytes were too few"):
        generate_run_id(entropy)


@given(st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES).filter(lambda data: max(data) < 252))
def test_a_generated_id_is_valid(entropy: bytes) -> None:
    """What is generated passes the check of what is given."""
    run_id = generate_run_id(entropy)

    assert check_run_id(run_id) == run_id
    assert len(run_id) == RUN_ID_LENGTH


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", marks=pytest.mark.case("runid-empty")),
        pytest.param(" a", marks=pytest.mark.case("runid-leading-space")),
        "a ",
        pytest.param("a#b", marks=pytest.mark.case("runid-hash")),
        pytest.param("a:b", marks=pytest.mark.case("runid-colon")),
        pytest.param("a;b", marks=pytest.mark.case("runid-semicolon")),
        pytest.param("a,b", marks=pytest.mark.case("runid-comma")),
        pytest.param("a?b", marks=pytest.mark.case("runid-question")),
        "a/b",
        "a'b",
        pytest.param("a\\b", marks=pytest.mark.case("runid-backslash")),
        pytest.param("a%b", marks=pytest.mark.case("runid-percent")),
        pytest.param("a\nb", marks=pytest.mark.case("runid-newline")),
        "a\0b",
        "a\x7fb",
        "a\u2028b",
        "a\ud800b",
        ".",
        pytest.param("..", marks=pytest.mark.case("runid-dotdot")),
        ".hidden",
        "a" * 129,
        pytest.param("a" * 200, marks=pytest.mark.case("runid-len200")),
        "漢" * 67,
    ],
)
def test_ids_that_are_no_names_of_directories_are_refused(text: str) -> None:
    """An id is one segment of a path and of a URL, and nothing that a file system could misread."""
    with pytest.raises(UsageError, match="Invalid run id"):
        check_run_id(text)


@pytest.mark.parametrize(
    "text", [pytest.param("a b", marks=pytest.mark.case("runid-inner-space")), "A-b_c.d", "ß" * 100]
)
def test_readable_ids_are_accepted(text: str) -> None:
    """An id may hold spaces, dots, capitals and letters of any language."""
    assert check_run_id(text) == text


@given(run_ids())
def test_drawn_ids_are_valid(run_id: str) -> None:
    """The shipped strategy draws valid ids only."""
    assert check_run_id(run_id) == run_id


@pytest.mark.parametrize(
    "text",
    [
        "",
        pytest.param("a/b", marks=pytest.mark.case("project-slash")),
        pytest.param("a\\b", marks=pytest.mark.case("project-backslash")),
        pytest.param("a#", marks=pytest.mark.case("project-hash")),
        pytest.param("a?", marks=pytest.mark.case("project-question")),
        pytest.param("a%b", marks=pytest.mark.case("project-percent")),
        "a:b",
        pytest.param("a" * 129, marks=pytest.mark.case("project-len129")),
        "a\nb",
        "..",
    ],
)
def test_projects_that_break_a_url_are_refused(text: str) -> None:
    """A project is one segment of a URL; the message says that the project's name is invalid."""
    with pytest.raises(UsageError, match=r"^Invalid project name"):
        check_project(text)


@pytest.mark.parametrize(
    "text", [pytest.param("a;b", marks=pytest.mark.case("project-semicolon")), "a" * 128, "my project"]
)
def test_readable_projects_are_accepted(text: str) -> None:
    """A project may be called whatever a URL can carry."""
    assert check_project(text) == text


@pytest.mark.parametrize(
    "text", ["", pytest.param("a/b", marks=pytest.mark.case("entity-slash")), " a", "a\t", ".", "a\0"]
)
def test_entities_that_break_a_path_are_refused(text: str) -> None:
    """An entity is the first segment of a run path."""
    with pytest.raises(UsageError, match="Invalid entity name"):
        check_entity(text)


def test_an_entity_is_returned_as_it_is() -> None:
    """A valid entity is not changed."""
    assert check_entity("my-team") == "my-team"


@pytest.mark.parametrize("check", [check_run_id, check_project, check_entity])
@pytest.mark.parametrize("value", [None, 5, b"abc", ["abc"]])
def test_what_is_no_text_is_a_type_error(check: Callable[[object], str], value: object) -> None:
    """A name of another type is refused as such, not converted."""
    with pytest.raises(UsageTypeError, match="it must be a text"):
        check(value)


def test_a_long_name_is_not_repeated_whole() -> None:
    """The message about a name of a million characters stays short."""
    with pytest.raises(UsageError) as caught:
        check_project("x" * 10**6)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param(("ent1", "proj1", "run1"), "ent1/proj1/run1", marks=pytest.mark.case("run-path")),
        ((None, "proj1", "run1"), "proj1/run1"),
        (("", None, "run1"), "run1"),
        ((None, None, None), ""),
    ],
)
def test_a_run_path_skips_what_is_missing(
    parts: tuple[str | None, str | None, str | None], expected: str
) -> None:
    """A run path is entity/project/id without the parts that are not known."""
    assert run_path(*parts) == expected


@pytest.mark.case("run-url")
def test_a_run_url_names_entity_project_and_id() -> None:
    """A run's page is at <app>/<entity>/<project>/runs/<id>."""
    assert (
        run_url("https://my.cool.site.com", "me", "lol", "123") == "https://my.cool.site.com/me/lol/runs/123"
    )


@pytest.mark.case("run-url-quoting")
def test_a_run_url_is_quoted() -> None:
    """Each part is one segment: spaces and slashes are percent-encoded."""
    url = run_url("https://host", "a&b", "p=q", "a b")

    assert url == "https://host/a%26b/p%3Dq/runs/a%20b"


@pytest.mark.parametrize(
    "parts", [(None, "me", "lol"), ("https://host", None, "lol"), ("https://host", "me", "")]
)
def test_an_incomplete_url_is_none(parts: tuple[str | None, str | None, str | None]) -> None:
    """While a part is unknown there is no address."""
    assert run_url(*parts, "123") is None


@given(st.text(st.characters(codec="utf-8")))
def test_a_segment_is_quoted_as_the_standard_library_does(text: str) -> None:
    """Percent-encoding agrees with urllib for every text."""
    assert url_segment(text) == quote(text, safe="")
