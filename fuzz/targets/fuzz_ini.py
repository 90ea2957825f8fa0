# Invariant: any text is read as configparser reads it where that accepts it, and never raises; values resolve.
"""Fuzz settings files; run `python fuzz/targets/fuzz_ini.py fuzz/corpus/ini`."""

from __future__ import annotations

import configparser

from corelib.errors import UsageError
from corelib.pure.ini import parse_ini
from corelib.pure.resolve import resolve
from corelib.pure.settings import FIELDS
from corelib.pure.sources import file_layer


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a settings file, compare with the standard library, and resolve what it says."""
    text = data.decode("utf-8", "replace")
    parsed = parse_ini(text)
    lines = text.split("\n")
    places = [item.line for item in parsed.items] + [fault.line for fault in parsed.faults]
    assert all(1 <= place <= len(lines) for place in places)
    expected = _by_standard_library(text)
    if expected is not None:
        assert {item.key: item.value for item in parsed.items} == expected
        assert parsed.faults == ()

    layer, problems = file_layer("system_file", "/settings", text)
    assert layer.origin.keys() == layer.values.keys()
    assert all(FIELDS[name].file_key for name in layer.values)
    assert not any(problem.fatal for problem in problems)
    try:
        resolution = resolve([layer], problems)
    except UsageError as error:
        # Settings that are valid one by one may still exclude each other.
        assert "exclude each other" in str(error)  # noqa: PT017  the only error there may be
    else:
        assert resolution.explain()


def _by_standard_library(text: str) -> dict[str, str] | None:
    """Return what configparser finds in the section [default] itself, or None if it rejects the text."""
    parser = configparser.ConfigParser(interpolation=None, default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    return dict(parser["default"]) if "default" in parser else {}


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
