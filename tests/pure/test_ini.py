"""The text of a settings file."""

from __future__ import annotations

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.ini import Fault, Item, parse_ini
from corelib.testing.strategies.settings import ini_texts


def test_keys_have_values_and_lines() -> None:
    """Each key is found with its value and the line it stands on."""
    text = "# head\n[default]\nproject = a b\n\nMode: offline\nempty =\nurl = http://x=y:z\n"

    assert parse_ini(text).items == (
        Item("project", "a b", 3),
        Item("mode", "offline", 5),
        Item("empty", "", 6),
        Item("url", "http://x=y:z", 7),
    )
    assert parse_ini(text).faults == ()


def test_other_sections_are_passed_over() -> None:
    """Only the section asked for is read, also where it comes twice."""
    text = "[client]\na = 1\nbroken\n[default]\nb = 2\n[other]\nc = 3\n[default]\nd = 4"

    assert [item.key for item in parse_ini(text).items] == ["b", "d"]
    assert [item.key for item in parse_ini(text, "client").items] == ["a"]
    assert parse_ini(text).faults == ()


def test_a_value_may_have_several_lines() -> None:
    """Deeper lines, and empty ones between them, go on with the value; comments do not."""
    text = "[default]\nnotes = one\n  two\n\n  # no\n  three = 3\n\nnext = x\n"

    assert parse_ini(text).items == (Item("notes", "one\ntwo\n\nthree = 3", 2), Item("next", "x", 8))


def test_nothing_is_interpolated() -> None:
    """A percent sign is a percent sign."""
    assert parse_ini("[default]\na = 100%\nb = %(a)s").items == (Item("a", "100%", 2), Item("b", "%(a)s", 3))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = 1", Fault(1, "it stands before any [section]")),
        ("\n[default\n", Fault(2, "it stands before any [section]")),
        ("[default]\nhello", Fault(2, "it is neither `key = value` nor `[section]`")),
        ("[default]\n= 1", Fault(2, "it is neither `key = value` nor `[section]`")),
        ("[default]\n[]", Fault(2, "it is neither `key = value` nor `[section]`")),
        ("[default]\na = 1\nA = 2", Fault(3, "a stood on line 2 already")),
    ],
)
def test_a_fault_names_its_line(text: str, fault: Fault) -> None:
    """What cannot be used is told by its line, and the rest is read."""
    parsed = parse_ini(f"{text}\n[default]\nlast = 1")

    assert parsed.faults == (fault,)
    assert parsed.items[-1].key == "last"


def test_the_later_of_two_counts() -> None:
    """Where a key stands twice, the later value applies."""
    assert parse_ini("[default]\na = 1\na = 2").items == (Item("a", "2", 3),)


def test_a_broken_line_takes_its_continuation_along() -> None:
    """A line below a broken one is not added to the value above it."""
    assert parse_ini("[default]\na = 1\nbroken\n  deeper").items == (Item("a", "1", 2),)


@given(ini_texts() | st.text("[]=:#; \tab\n\r\x0b\u2028default"))
def test_it_reads_what_configparser_reads(text: str) -> None:
    """On every text that configparser accepts, both read the same keys and values, and nothing is at fault."""
    reference = configparser.ConfigParser(interpolation=None)
    try:
        reference.read_string(text)
    except configparser.Error:
        return
    inherited = reference.defaults()
    expected = {
        key: value
        for section in reference.sections()
        if section == "default"
        for key, value in reference.items(section)
        if key not in inherited or f"{key}" in reference._sections["default"]  # type: ignore[attr-defined]
    }
    parsed = parse_ini(text)

    assert {item.key: item.value for item in parsed.items} == expected
    assert parsed.faults == ()


@given(st.text("[]=:#; \tab\n\rdefault") | ini_texts())
def test_items_stand_where_they_say(text: str) -> None:
    """The line of an item holds its key; no key comes twice; lines of faults exist."""
    lines = text.split("\n")
    parsed = parse_ini(text)

    assert len({item.key for item in parsed.items}) == len(parsed.items)
    for item in parsed.items:
        assert lines[item.line - 1].strip().lower().startswith(item.key)
    assert all(1 <= fault.line <= len(lines) for fault in parsed.faults)
