"""What an alert may look like.

Law: levels are three words, a wait is a duration, and a wait of 0 means 0. A long title is cut, not refused, since an
alert is the last thing that should fail.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from corelib.errors import UsageError, UsageTypeError

__all__ = ["LEVELS", "LONGEST_TITLE", "ParsedAlert", "parse_alert"]

LEVELS: Final = ("INFO", "WARN", "ERROR")
LONGEST_TITLE: Final = 64
_WAIT_S: Final = 60.0
_LONGEST_WAIT_S: Final = 1.7976931348623157e308  # the largest double


class ParsedAlert(NamedTuple):
    """The fields of the record, and what the user should be told."""

    fields: dict[str, Any]
    warning: str | None


def parse_alert(title: object, text: object, level: object, wait_duration: object) -> ParsedAlert:
    """Check the arguments of `run.alert()`.

    Args:
        title: a text, cut to 64 characters.
        text: a text.
        level: INFO (also None), WARN or ERROR, in this case; or an enumeration member with such a value.
        wait_duration: seconds, a timedelta, or None for a minute.

    Raises:
        UsageTypeError: title or text is no text, the wait is no duration.
        UsageError: an unknown level, a negative wait.
    """
    title, text = _text("title", title), _text("text", text)
    word = "INFO" if level is None else getattr(level, "value", level)
    if word not in LEVELS:
        raise UsageError(f"alert(level={word!r}) is not one of {', '.join(LEVELS)}.")
    warning = None
    if len(title) > LONGEST_TITLE:
        warning = f"The title of an alert was cut to {LONGEST_TITLE} characters: {title[:LONGEST_TITLE]!r}."
        title = title[:LONGEST_TITLE]
    fields = {"title": title, "text": text, "level": word, "wait_duration": _seconds(wait_duration)}
    return ParsedAlert(fields, warning)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageTypeError(f"alert({name}=…) must be a text, not {type(value).__name__}.")
    return value


def _seconds(wait: object) -> float:
    if wait is None:
        return _WAIT_S
    seconds = wait.total_seconds() if hasattr(wait, "total_seconds") else wait
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise UsageTypeError(
            f"alert(wait_duration=…) must be seconds or a timedelta, not {type(wait).__name__}."
        )
    if not 0 <= seconds <= _LONGEST_WAIT_S:
        raise UsageError("alert(wait_duration=…) must be a finite time, and not negative.")
    return float(seconds)
