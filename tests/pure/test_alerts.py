"""What an alert may look like."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

import pytest

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.alerts import LEVELS, LONGEST_TITLE, parse_alert


class Level(enum.Enum):
    """Levels as the reference spells them."""

    WARN = "WARN"


def fields(title: Any = "t", text: Any = "x", level: Any = None, wait: Any = None) -> dict[str, Any]:
    """Return the fields of an accepted alert that gave no warning."""
    alert, warning = parse_alert(title, text, level, wait)
    assert warning is None
    return alert


def test_defaults() -> None:
    """Without level and wait an alert is information, a minute apart from the next of its title."""
    assert fields() == {"title": "t", "text": "x", "level": "INFO", "wait_duration": 60.0}


@pytest.mark.parametrize("level", LEVELS)
def test_levels(level: str) -> None:
    """Three words are levels, and an enumeration member with such a value."""
    assert fields(level=level)["level"] == level
    assert fields(level=Level.WARN)["level"] == "WARN"


@pytest.mark.parametrize("level", ["warn", "DEBUG", "", 1, False])
def test_other_levels(level: Any) -> None:
    """A level is exact, case included; the message names the choices."""
    with pytest.raises(UsageError, match=r"is not one of INFO, WARN, ERROR"):
        fields(level=level)


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [(None, 60.0), (0, 0.0), (0.5, 0.5), (90, 90.0), (timedelta(minutes=2), 120.0), (timedelta(0), 0.0)],
)
def test_wait(wait: Any, seconds: float) -> None:
    """A wait is seconds or a timedelta, and 0 means 0."""
    found = fields(wait=wait)["wait_duration"]

    assert found == seconds
    assert type(found) is float


@pytest.mark.parametrize("wait", ["60", True, [1], object()])
def test_wait_of_a_wrong_type(wait: Any) -> None:
    """A wait that is no duration is a wrong type, for old callers and for new ones."""
    with pytest.raises(UsageTypeError, match="seconds or a timedelta") as caught:
        fields(wait=wait)
    assert isinstance(caught.value, (TypeError, ValueError))


@pytest.mark.parametrize("wait", [-1, -0.1, float("nan"), float("inf"), 10**400, timedelta(seconds=-1)])
def test_wait_out_of_range(wait: Any) -> None:
    """A wait is finite and not negative."""
    with pytest.raises(UsageError, match="finite time, and not negative"):
        fields(wait=wait)


@pytest.mark.parametrize(
    ("name", "arguments"), [("title", (1, "x")), ("text", ("t", None)), ("title", (b"t", "x"))]
)
def test_texts(name: str, arguments: tuple[Any, Any]) -> None:
    """Title and text are texts; the message names the one that is not."""
    with pytest.raises(UsageTypeError, match=rf"alert\({name}=…\) must be a text"):
        fields(*arguments)


def test_long_title_is_cut() -> None:
    """A long title is cut with a warning: an alert is the last thing that should fail."""
    longest = "x" * LONGEST_TITLE
    alert, warning = parse_alert(longest + "y", "x", None, None)

    assert fields(title=longest)["title"] == longest
    assert alert["title"] == longest
    assert warning is not None
    assert longest in warning
