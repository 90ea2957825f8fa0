"""From what people write to what a setting holds."""

from __future__ import annotations

from collections import UserString
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError, UsageTypeError
from corelib.pure import coerce
from corelib.pure.coerce import UNSET, Coercer, Moment
from corelib.pure.ids import check_project


class _Transport:
    def deliver(self, batch: object) -> None:
        """Take anything."""


ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(1 << 20000),
    st.floats(),
    st.complex_numbers(),
    st.binary(),
    st.text(),
    st.text(st.characters(categories=("Cs", "Cc", "L", "N"))),
    st.sampled_from(
        ("http://a b", "https://h:0", "http://[::1]:8080/x", "x?_step=1", "1e999", "nan", "-1", "{", "..")
    ),
    st.dates(),
    st.builds(object),
    st.builds(UserString, st.text()),
    st.builds(PurePosixPath, st.text()),
    st.lists(st.text() | st.integers(), max_size=3),
    st.sets(st.text() | st.integers(), max_size=3),
    st.dictionaries(st.text(), st.integers(), max_size=2),
    st.builds(_Transport),
)

COERCERS = {
    "text": coerce.text,
    "secret": coerce.secret,
    "path": coerce.path,
    "paths": coerce.paths,
    "flag": coerce.flag,
    "seconds": coerce.seconds,
    "texts": coerce.texts,
    "tags": coerce.tags,
    "page_url": coerce.page_url,
    "server_url": coerce.server_url,
    "resume": coerce.resume,
    "reinit": coerce.reinit,
    "anonymous": coerce.anonymous,
    "moment": coerce.moment,
    "transport": coerce.transport,
    "magic": coerce.magic,
    "choice": coerce.choice("a", "b", aliases={"c": "a"}),
    "checked": coerce.checked(check_project, empty_is_unset=True),
}


@pytest.mark.parametrize("coercer", COERCERS.values(), ids=COERCERS.keys())
@given(value=ANYTHING, as_text=st.booleans())
def test_any_value_is_taken_or_refused(coercer: Coercer, value: object, as_text: bool) -> None:
    """A coercer returns a value that it takes unchanged, or UNSET, or raises UsageError; nothing else can happen."""
    try:
        once = coercer("x", value, as_text)
    except UsageError as error:
        refusal: str | None = str(error)
    else:
        refusal = None
        assert once is UNSET or coercer("x", once, False) == once
    assert refusal is None or 0 < len(refusal) < 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        (7, "7"),
        (1 << 64, "an integer of 65 bits"),
        ("x" * 61, f"'{'x' * 60}…'"),
        ("http://me:pw@host/x", "'http://***@host/x'"),
        (("a", 1), "['a', 1]"),
        ([1], "<list>"),
    ],
)
def test_what_a_message_shows(value: object, expected: str) -> None:
    """A message shows plain values short, credentials never, and of everything else the type only."""
    assert coerce.shown(value) == expected


def test_a_password_with_a_slash_is_masked_too() -> None:
    """Everything up to the last @ of an address is taken for credentials."""
    assert coerce.mask("see https://u:p/w@d@host:1/x now") == "see https://***@host:1/x now"
    assert coerce.mask("me@example.org") == "me@example.org"


def test_query_and_fragment_are_masked_too() -> None:
    """What stands behind the path of an address may be a key: nothing of it is shown, and the address is."""
    assert coerce.mask("see http://h/p?key=s3cret&x#y now") == "see http://h/p?*** now"
    assert coerce.mask("http://u:p@h#s3cret") == "http://***@h?***"
    assert coerce.mask("http://h/?mail=me@example.org#s3cret").count("s3cret") == 0
    assert coerce.shown("http://h/?key=s3cret") == "'http://h/?***'"


@pytest.mark.parametrize(
    "value", ["http://h/?key=s3cret", "http://h#s3cret", "h:80?a s3cret", "http://h? s3cret"]
)
def test_an_error_about_an_address_shows_no_query(value: str) -> None:
    """Whoever put a key into the query of an address is told so without it, also where the scheme is missing."""
    with pytest.raises(UsageError, match=r"\?\*\*\*") as caught:
        coerce.server_url("base_url", value, False)

    assert "s3cret" not in str(caught.value)


def test_texts_of_other_encodings_are_refused() -> None:
    """A text with bytes that are no UTF-8 (as an environment may hold) could not be recorded."""
    with pytest.raises(UsageError, match="UTF-8"):
        coerce.text("run_name", "a\udcffb", True)


@pytest.mark.parametrize("value", ["/x/y", PurePosixPath("/x/y")])
def test_a_path_may_be_an_object(value: object) -> None:
    """A path is a text or whatever says of itself that it is a path."""
    assert coerce.path("dir", value, False) == "/x/y"


@pytest.mark.parametrize("value", [3, b"/x", None, PureWindowsPath])
def test_a_path_of_another_type_is_refused(value: object) -> None:
    """Bytes, numbers and classes are no paths."""
    with pytest.raises(UsageTypeError, match="dir takes a path"):
        coerce.path("dir", value, False)


def test_a_path_with_nul_is_refused() -> None:
    """No system has a path with a NUL character."""
    with pytest.raises(UsageError, match="NUL"):
        coerce.path("dir", "a\0b", False)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("true", True, marks=pytest.mark.case("bool-true")),
        pytest.param("TRUE", True, marks=pytest.mark.case("bool-TRUE")),
        pytest.param("on", True, marks=pytest.mark.case("bool-on")),
        pytest.param("y", True, marks=pytest.mark.case("bool-y")),
        pytest.param("t", True, marks=pytest.mark.case("bool-t")),
        pytest.param("1", True, marks=pytest.mark.case("bool-1")),
        ("yes", True),
        pytest.param("off", False, marks=pytest.mark.case("bool-off")),
        ("n", False),
        ("no", False),
        ("F", False),
        ("False", False),
        ("0", False),
    ],
)
def test_words_for_true_and_false(word: str, expected: bool) -> None:
    """Twelve words in any case mean true or false."""
    assert coerce.flag("silent", word, True) is expected


@pytest.mark.parametrize(
    "value",
    [pytest.param("2", marks=pytest.mark.case("bool-bad-2")), "banana", 1, 0, None, 1.0, " true"],
)
def test_nothing_else_means_true_or_false(value: object) -> None:
    """Numbers, None and other words are no flags; the message repeats what was written."""
    with pytest.raises(UsageTypeError, match="silent takes true or false"):
        coerce.flag("silent", value, False)


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [("12", True, 12.0), ("0.5", True, 0.5), (3, False, 3.0), (0.25, False, 0.25)],
)
def test_seconds(value: object, as_text: bool, expected: float) -> None:
    """A duration is a number, or the text of one where only text can be written."""
    found = coerce.seconds("init_timeout", value, as_text)

    assert found == expected
    assert type(found) is float


@pytest.mark.parametrize(
    ("value", "as_text"),
    [("12", False), ("soon", True), ("", True), (True, False), (None, False), (10**400, False), (12, True)],
)
def test_what_is_no_number_is_no_duration(value: object, as_text: bool) -> None:
    """Texts where numbers can be written, flags and numbers beyond all measure are refused."""
    with pytest.raises(UsageTypeError, match="a number of seconds"):
        coerce.seconds("init_timeout", value, as_text)


@pytest.mark.parametrize("value", [-1, -0.5, float("nan"), float("inf")])
def test_a_duration_is_finite_and_not_negative(value: float) -> None:
    """Nobody waits forever, or less than no time."""
    with pytest.raises(UsageError, match="finite number of seconds, zero or more"):
        coerce.seconds("init_timeout", value, False)


def test_choices_are_exact() -> None:
    """One of the words in its spelling, or an older word for it; the message names the words."""
    mode = coerce.choice("online", "offline", aliases={"dryrun": "offline"})

    assert mode("mode", "online", False) == "online"
    assert mode("mode", "dryrun", False) == "offline"
    with pytest.raises(UsageTypeError, match="mode takes 'online' or 'offline', not 'Online'"):
        mode("mode", "Online", False)
    with pytest.raises(UsageTypeError, match=r"takes 'only', not <list>"):
        coerce.choice("only")("mode", ["only"], False)


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [
        ("one", False, ("one",)),
        ("a, b,,c ,", True, ("a", "b", "c")),
        (["b", "a", "b"], False, ("b", "a", "b")),
        ({"b", "a"}, False, ("a", "b")),
        ((), False, ()),
    ],
)
def test_texts(value: object, as_text: bool, expected: tuple[str, ...]) -> None:
    """A single text is one of them; from the environment commas part them; order is kept, and made for sets."""
    assert coerce.texts("globs", value, as_text) == expected


@pytest.mark.parametrize("value", [5, None, b"a", bytearray(b"a"), {"a": 1}, ["a", 1], ["a", None]])
def test_what_is_no_list_of_texts(value: object) -> None:
    """Bytes are no list, a mapping is none, and each item must be a text."""
    with pytest.raises(UsageTypeError, match=r"takes a (text or a )?list of texts"):
        coerce.texts("globs", value, False)


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [
        ("a.yaml", False, ("a.yaml",)),
        ("a.yaml, b.yaml", True, ("a.yaml", "b.yaml")),
        (PurePosixPath("a.yaml"), False, ("a.yaml",)),
        (["a.yaml", "", PurePosixPath("b")], False, ("a.yaml", "b")),
    ],
)
def test_paths(value: object, as_text: bool, expected: tuple[str, ...]) -> None:
    """A single path is one of them; empty ones say nothing."""
    assert coerce.paths("config_paths", value, as_text) == expected


@pytest.mark.case("tags-str-setting")
def test_a_single_tag_does_not_fall_into_letters() -> None:
    """A text given for the tags is one tag."""
    assert coerce.tags("run_tags", "single_tag", False) == ("single_tag",)


@pytest.mark.case("tags-dups")
def test_repeated_tags_are_kept() -> None:
    """Order and repetitions are the user's."""
    assert coerce.tags("run_tags", ["a", "a"], False) == ("a", "a")


@pytest.mark.case("tags-64")
def test_a_tag_may_have_64_characters() -> None:
    """The longest tag has 64 characters."""
    assert coerce.tags("run_tags", "x" * 64, False) == ("x" * 64,)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        pytest.param(["x" * 65], "1 to 64 characters", marks=pytest.mark.case("tags-65")),
        ([""], "1 to 64 characters"),
        ("", "1 to 64 characters"),
        pytest.param([1], "list of texts", marks=pytest.mark.case("tags-nonstring")),
        (["\ud800"], "UTF-8"),
    ],
)
def test_tags_that_are_none(value: object, problem: str) -> None:
    """A tag is a text of 1 to 64 characters."""
    with pytest.raises(UsageError, match=problem):
        coerce.tags("run_tags", value, False)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("https://host///", "https://host", marks=pytest.mark.case("url-ok-host___")),
        pytest.param(
            "http://localhost:8080", "http://localhost:8080", marks=pytest.mark.case("url-ok-localhost_8080")
        ),
        pytest.param(
            "https://myhost:8888", "https://myhost:8888", marks=pytest.mark.case("url-ok-myhost_8888")
        ),
        ("HTTPS://My.Host/Path/", "https://my.host/Path"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://api.wandb.ai", "https://api.wandb.ai"),
        ("https://notwandb.ai", "https://notwandb.ai"),
    ],
)
def test_addresses_of_servers(value: str, expected: str) -> None:
    """An address is an http or https URL; case of the host and slashes at the end do not matter."""
    assert coerce.server_url("base_url", value, False) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("https://wandb.ai", marks=pytest.mark.case("url-bad-wandb.ai")),
        "https://app.wandb.ai.",
        pytest.param("http://api.wandb.ai", marks=pytest.mark.case("url-bad-http-api")),
        pytest.param("http://a b", marks=pytest.mark.case("url-bad-space")),
        pytest.param("", marks=pytest.mark.case("url-bad-empty")),
        pytest.param("this", marks=pytest.mark.case("url-old-no-validation")),
        "ftp://host",
        "https://",
        "https://host:0",
        "https://host:65536",
        "https://host:http",
        "https://host?x=1",
        "https://host#x",
        "https://ho\u017ft",
        "https://user:password@host",
        "https://host\n",
    ],
)
def test_addresses_that_are_no_servers(value: str) -> None:
    """Other schemes, missing hosts, impossible ports, queries, credentials and pages for people are refused."""
    with pytest.raises(UsageError) as caught:
        coerce.server_url("base_url", value, False)

    assert str(caught.value).startswith("base_url")
    assert "password" not in str(caught.value)


def test_an_address_is_a_text() -> None:
    """An address of another type is refused as such."""
    with pytest.raises(UsageTypeError, match="base_url takes an address"):
        coerce.server_url("base_url", 8080, False)


def test_pages_may_be_where_people_look() -> None:
    """The address of pages is not bound by what servers are called."""
    assert coerce.page_url("app_url", "https://wandb.ai/", False) == "https://wandb.ai"


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [
        ("allow", False, "allow"),
        ("must", True, "must"),
        ("never", False, "never"),
        ("auto", False, "auto"),
        (True, False, "auto"),
        (False, False, None),
        (None, False, None),
        pytest.param("true", True, "auto", marks=pytest.mark.case("env-resume-true")),
        ("1", True, "auto"),
        ("false", True, None),
        ("0", True, None),
    ],
)
def test_resume(value: object, as_text: bool, expected: str | None) -> None:
    """Four words; True is auto and False is nothing, and so are their words in the environment."""
    assert coerce.resume("resume", value, as_text) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("someid", marks=pytest.mark.case("res-string-id-current", "res-string-id-with-id-old")),
        pytest.param("Allow", marks=pytest.mark.case("res-case-sensitive")),
        "true",
        "",
    ],
)
def test_another_text_is_no_id_to_resume(value: str) -> None:
    """A text that is none of the words is refused with the choices, and with how to resume by id."""
    with pytest.raises(UsageError, match=r"'allow', 'must', 'never' or 'auto', True or False.*id=…"):
        coerce.resume("resume", value, False)


@pytest.mark.parametrize("value", [1, 0.0, ["auto"]])
def test_resume_takes_no_numbers(value: object) -> None:
    """1 is not True here."""
    with pytest.raises(UsageTypeError, match="resume takes"):
        coerce.resume("resume", value, False)


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [
        (True, False, True),
        (False, False, False),
        ("default", False, "default"),
        ("return_previous", False, "return_previous"),
        ("finish_previous", True, "finish_previous"),
        ("create_new", True, "create_new"),
        ("true", True, True),
        ("off", True, False),
    ],
)
def test_reinit(value: object, as_text: bool, expected: bool | str) -> None:
    """True, False and four words; from the environment also the words for true and false."""
    assert coerce.reinit("reinit", value, as_text) == expected


@pytest.mark.parametrize(
    "value", [pytest.param("bogus", marks=pytest.mark.case("reinit-bad")), "true", 1, None]
)
def test_reinit_takes_nothing_else(value: object) -> None:
    """Another value is refused with the choices."""
    with pytest.raises(UsageTypeError, match="reinit takes True, False, 'default'"):
        coerce.reinit("reinit", value, False)


@pytest.mark.parametrize(
    ("value", "as_text", "expected"),
    [
        ("allow", False, "allow"),
        ("must", False, "must"),
        ("never", True, "never"),
        pytest.param("true", True, "allow", marks=pytest.mark.case("login-anon-true-alias")),
        ("false", True, "never"),
    ],
)
def test_anonymous(value: str, as_text: bool, expected: str) -> None:
    """Three words; older files say true and false."""
    assert coerce.anonymous("anonymous", value, as_text) == expected


@pytest.mark.parametrize(
    ("value", "as_text"),
    [
        pytest.param("maybe", False, marks=pytest.mark.case("old-anon-bad")),
        pytest.param("bogus", False, marks=pytest.mark.case("new-anon-anything")),
        ("true", False),
        (True, False),
        ("yes", True),
    ],
)
def test_anonymous_takes_nothing_else(value: object, as_text: bool) -> None:
    """Nonsense is refused, as a TypeError and as a ValueError, for callers of either older tracker."""
    with pytest.raises(TypeError, match="anonymous takes 'allow', 'must' or 'never'"):
        coerce.anonymous("anonymous", value, as_text)
    with pytest.raises(ValueError, match="anonymous takes"):
        coerce.anonymous("anonymous", value, as_text)


def test_moments() -> None:
    """A step of another run is written run_id?_step=n."""
    assert coerce.moment("fork_from", "abc?_step=10", False) == "abc?_step=10"
    assert coerce.parse_moment("abc?_step=10") == Moment("abc", 10)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("abc", marks=pytest.mark.case("moment-bad")),
        "?_step=1",
        "abc?_step=",
        "abc?_step=-1",
        "abc?_step=1.5",
        "abc?loss=1",
        "a/b?_step=1",
        f"abc?_step={'9' * 5000}",
        5,
    ],
)
def test_what_is_no_moment(value: object) -> None:
    """A missing id, an invalid id, another metric and another number are refused."""
    with pytest.raises(UsageError):
        coerce.moment("resume_from", value, False)


def test_transports() -> None:
    """A transport is a name, a URL or an object that delivers."""
    live = _Transport()

    assert coerce.transport("transport", "memory", False) == "memory"
    assert coerce.transport("transport", live, False) is live
    assert coerce.transport("transport", ["memory", live], False) == ("memory", live)
    with pytest.raises(UsageError, match="empty"):
        coerce.transport("transport", [], False)


@pytest.mark.parametrize("value", ["", 5, None, object(), _Transport])
def test_what_is_no_transport(value: object) -> None:
    """An empty name, a class, and objects that do not deliver are refused."""
    with pytest.raises(UsageError, match="transport takes a"):
        coerce.transport("transport", value, False)


@pytest.mark.parametrize("value", [True, False, "x.yaml", {"a": 1}])
def test_magic(value: object) -> None:
    """Magic is a flag, a mapping or a text."""
    assert coerce.magic("magic", value, False) == value


def test_magic_keeps_a_mapping_of_its_own() -> None:
    """What the caller does to the mapping later does not reach the settings."""
    given_mapping = {"a": 1}
    kept = coerce.magic("magic", given_mapping, False)
    given_mapping["a"] = 2

    assert kept == {"a": 1}


@pytest.mark.parametrize("value", [5, None, ["a"]])
def test_magic_takes_nothing_else(value: object) -> None:
    """Numbers and lists are no magic."""
    with pytest.raises(UsageTypeError, match="magic takes"):
        coerce.magic("magic", value, False)


@pytest.mark.parametrize("value", [5, None, ["key"]])
def test_a_secret_of_another_type_is_not_repeated(value: object) -> None:
    """The message about a secret names its type only."""
    with pytest.raises(UsageTypeError, match=r"not a value of type (int|NoneType|list)"):
        coerce.secret("api_key", value, False)


def test_empty_says_nothing_where_nothing_can_be_meant() -> None:
    """An empty path, key or project is as good as none."""
    assert coerce.path("dir", "", False) is UNSET
    assert coerce.secret("api_key", "", False) is UNSET
    assert coerce.checked(check_project, empty_is_unset=True)("project", "", False) is UNSET
    with pytest.raises(UsageError, match="must not be empty"):
        coerce.checked(check_project, empty_is_unset=False)("project", "", False)
