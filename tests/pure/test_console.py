"""Lines of what is printed, and how often they are recorded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.console import LONGEST_LINE, LineAssembler, Pace

texts = st.text(st.sampled_from("ab \n\r\t\x1b"), max_size=40)


def lines_of(*texts: str) -> list[str]:
    assembler = LineAssembler()
    return [line for text in texts for line in assembler.feed(text)] + assembler.rest()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\n", ["one", ""]),
        ("no end", ["no end"]),
        ("windows\r\nlines\r\n", ["windows", "lines"]),
        ("10%\r20%\r100%\n", ["100%"]),
        ("\r10%\r20%", ["20%"]),
        ("a long bar\rshort     \rdone\n", ["done"]),
        ("cleared\r       \r\n", [""]),
        ("cleared\r       \rhello\n", ["hello"]),
        ("kept  \n", ["kept  "]),
        ("\x1b[31mred\x1b[0m\ttab\n", ["\x1b[31mred\x1b[0m\ttab"]),
        ("\x0bvertical\x0c\u2028\x85\n", ["\x0bvertical\x0c\u2028\x85"]),
    ],
)
def test_lines(text: str, lines: list[str]) -> None:
    """A line feed ends a line, a carriage return begins it anew, all else is text."""
    assert lines_of(text) == lines


@given(st.lists(texts, max_size=6))
def test_cuts_do_not_matter(parts: list[str]) -> None:
    """However a program cuts what it prints, the lines are the same."""
    assert lines_of(*parts) == lines_of("".join(parts)) == lines_of(*"".join(parts))


@given(st.lists(st.text(st.characters(exclude_characters="\n\r"), max_size=5)))
def test_plain_lines_are_kept(lines: list[str]) -> None:
    """What has no carriage return comes back as it was."""
    assert LineAssembler().feed("".join(line + "\n" for line in lines)) == lines


def test_a_line_is_bounded() -> None:
    """Of a line without end the beginning is kept; the next line is whole."""
    assembler = LineAssembler()
    for _ in range(LONGEST_LINE // 1000 + 3):
        assert assembler.feed("x" * 1000) == []
    assert assembler.feed("y\nnext\n") == ["x" * LONGEST_LINE, "next"]
    assert assembler.feed("x" * (LONGEST_LINE + 1) + "\rshort\n") == ["short"]


def test_pace() -> None:
    """So many at once, then so many a second; a clock that goes back gives nothing, and a rest no more than a burst."""
    pace = Pace(burst=2, rate=4, now=10.0)

    assert pace.allows(10.0)
    pace.spend(2)
    assert not pace.allows(10.2)
    assert not pace.allows(10.1)
    assert pace.allows(10.5)
    pace.spend(9)
    assert not pace.allows(12.0)
    assert pace.allows(1000.0)
    pace.spend(1)
    assert pace.allows(1000.0)
    pace.spend(1)
    assert not pace.allows(1000.0)
