"""Foreign text for a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.printable import printable


@given(text=st.text())
def test_printable_text_commands_no_terminal(text: str) -> None:
    """Escape sequences, line feeds, surrogates: what is shown can only be read; what can be read stays as it is."""
    assert printable(text).isprintable()
    assert (printable(text) == text) == text.isprintable()


def test_what_is_not_printable_is_shown_as_an_escape() -> None:
    """As Python would write it."""
    assert printable("a\x1b[2Jb\nc") == r"a\x1b[2Jb\nc"
