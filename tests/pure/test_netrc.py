"""The key for a server in the text of a netrc file: read from it, written into it."""

from __future__ import annotations

import netrc
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.netrc import machines, netrc_password, with_password

_WORDS = st.text('ab"\\#\t 1\n', min_size=1, max_size=6)


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host", ("host",)),
        ("https://host/path", ("host",)),
        ("http://127.0.0.1:8080", ("127.0.0.1:8080", "127.0.0.1")),
        ("http://[::1]:8080/x", ("[::1]:8080", "::1")),
        ("http://[::1]", ("::1",)),
        ("HTTPS://Host:8080", ("host:8080", "host")),
        ("nonsense", ()),
    ],
)
def test_the_names_of_a_server(url: str, expected: tuple[str, ...]) -> None:
    """A server is looked up with its port first, then without."""
    assert machines(url) == expected


def test_a_machine_with_its_port_comes_first() -> None:
    """The entry for host and port beats the one for the host."""
    text = "machine host login user password general\nmachine host:8080\n  login user\n  password special\n"

    assert netrc_password(text, "http://host:8080") == "special"
    assert netrc_password(text, "http://host:9090") == "general"
    assert netrc_password(text, "http://host") == "general"
    assert netrc_password(text, "http://other") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("machine host", None),
        ("machine host password", None),
        ("machine host password p", "p"),
        ("machine host password p machine host password q", "q"),
        ("machine host password p machine host", None),
        ("machine host user me account x password p", "p"),
        ("default login me password p", None),
        ("machine host login me default password p", None),
        ('machine "host" password "a b\\"c"', 'a b"c'),
        ("machine host password a\\ b", "a b"),
        ('machine host password "open', "open"),
        ("# machine host password no\nmachine host password p", "p"),
        ("machine host # a comment\n password p # end", "p"),
        ("machine host password #hash", "#hash"),
        ("machine host nonsense password p", "p"),
        ("macdef init\nmachine host password no\n\nmachine host password p", "p"),
        ("macdef init\nmachine host password no", None),
        ("macdef init\r\ncd x\r\n\r\nmachine host password p\r\n", "p"),
        ("macdef init\r\nmachine host password no\r\n", None),
        ("machine HOST password p", "p"),
        ("machine host password p machine Host password q", "q"),
        ("machine host password p\\", "p"),
    ],
)
def test_what_a_file_says(text: str, expected: str | None) -> None:
    """Entries are read word by word; comments, macros and `default` say nothing; the last entry counts."""
    assert netrc_password(text, "https://host") == expected


@pytest.mark.skipif(
    sys.version_info < (3, 11), reason="before, the standard library read quoted words otherwise"
)
@given(
    st.lists(
        st.tuples(st.sampled_from(("host", "other")), st.none() | _WORDS, _WORDS), min_size=1, max_size=4
    )
)
def test_it_reads_what_the_standard_library_reads(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, str | None, str]]
) -> None:
    """For entries that say both who and what, the password is the one that `netrc` finds."""
    text = "\n".join(
        f"machine {machine} {'' if login is None else f'login {_quoted(login)}'} password {_quoted(password)}"
        for machine, login, password in entries
    )
    path: Path = tmp_path_factory.getbasetemp() / "netrc"
    path.write_text(text, encoding="utf-8", newline="")
    path.chmod(0o600)
    reference = netrc.netrc(path).authenticators("host")

    assert netrc_password(text, "https://host") == (reference[2] if reference else None)


@given(st.text('machine host password login default macdef "\\#\n') | st.text())
def test_any_text_is_read(text: str) -> None:
    """No text is an error."""
    found = netrc_password(text, "https://host")

    assert found is None or found


# --------------------------------------------------------------------------------------------------------- writing

_KEY = "k" * 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "machine host\n  login user\n  password KEY\n"),
        ("machine host password old\n", "machine host password KEY\n"),
        (
            'machine host\n\tlogin me # mine\n\tpassword "o l d"\n',
            "machine host\n\tlogin me # mine\n\tpassword KEY\n",
        ),
        ("machine host login me # no\n", "machine host login me password KEY # no\n"),
        ("machine host\n", "machine host password KEY\n"),
        ('machine host password "" x', "machine host password KEY x"),
        (
            "machine host password a machine host password b",
            "machine host password a machine host password KEY",
        ),
        ("machine a password b", "machine a password b\nmachine host\n  login user\n  password KEY\n"),
        (
            "machine a password b\r\n",
            "machine a password b\r\nmachine host\r\n  login user\r\n  password KEY\r\n",
        ),
        ("# end", "# end\nmachine host\n  login user\n  password KEY\n"),
        (
            "machine a password b\ndefault login c password d\n",
            "machine a password b\nmachine host\n  login user\n  password KEY\ndefault login c password d\n",
        ),
        (
            "macdef init\nmachine host password no\n",
            "macdef init\nmachine host password no\n\n\nmachine host\n  login user\n  password KEY\n",
        ),
        (
            "macdef init\nmachine host password no\n\n",
            "macdef init\nmachine host password no\n\nmachine host\n  login user\n  password KEY\n",
        ),
        (
            "macdef init\r\ncd x\r\n\r\nmachine host password old\r\n",
            "macdef init\r\ncd x\r\n\r\nmachine host password KEY\r\n",
        ),
        (
            "macdef init\r\ncd x\r\n",
            "macdef init\r\ncd x\r\n\r\n\r\nmachine host\r\n  login user\r\n  password KEY\r\n",
        ),
        ("machine HOST password old", "machine HOST password KEY"),
        ("default password d machine host password e", "default password d machine host password KEY"),
    ],
)
def test_what_is_written(text: str, expected: str) -> None:
    """One password is changed in its place, or one entry added before `default`; all else stays as it was."""
    assert with_password(text, "host", _KEY) == expected.replace("KEY", _KEY)


@pytest.mark.parametrize(
    "text",
    ["machine a login", "machine", "machine a password", 'machine a password "open', "machine host password"],
)
def test_a_file_that_ends_within_an_entry_is_left_alone(text: str) -> None:
    """Where the end of the file would swallow the key, perhaps into another entry, nothing is written."""
    with pytest.raises(UsageError, match="ends in the middle"):
        with_password(text, "host", _KEY)


@given(
    st.text('mhd "\\#\n\r\t')
    | st.lists(
        st.sampled_from(
            (
                "machine",
                "host",
                "other",
                "login",
                "password",
                "default",
                "macdef",
                "a",
                "#",
                '"',
                "\n",
                "\n\n",
                "\\",
            )
        )
    ).map(" ".join)
)
def test_what_is_written_is_read_and_nothing_else_is_touched(text: str) -> None:
    """The machine has the key afterwards, each other machine what it had, and every old character is still there."""
    try:
        written = with_password(text, "host", _KEY)
    except UsageError:
        return
    for machine in ("other", "a", "login", "default"):
        assert netrc_password(written, f"https://{machine}") == netrc_password(text, f"https://{machine}")
    assert netrc_password(written, "https://host") == _KEY
    before, _, after = written.partition(_KEY)
    common = next(
        (n for n, pair in enumerate(zip(text, written, strict=False)) if len(set(pair)) > 1), len(text)
    )
    # What was in front of the change and behind it is what was there before: the change is one stretch.
    line_end = after[: len(after) - len(after.lstrip("\r\n"))]
    assert text.endswith(after) or (
        line_end in ("\n", "\r\n") and text.endswith(after.removeprefix(line_end))
    )
    assert len(before) - common <= len("\r\n\r\nmachine host\r\n  login user\r\n  password ")
    assert with_password(written, "host", _KEY) == written
