"""How a console line and a sample of the machine stand in the streamed files of a W&B server.

Law: one line of a record is one line there, whatever it holds: it never has a line feed in it, and is cut to what a
server shows. The same record gives the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Final

from corelib.pure.records import ConsoleLines, SystemMetrics
from transports.wandb_encoding import json_text

__all__ = ["LONGEST_CONSOLE_LINE", "console_texts", "event_text"]

LONGEST_CONSOLE_LINE: Final = 4096
"""How many characters of a console line are sent, beside its time."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LAST_MOMENT: Final = 253402300799.0  # of the year 9999, behind which no date can be written
_PREFIX: Final = {"stderr": "ERROR "}


def console_texts(record: ConsoleLines) -> Iterator[bytes]:
    """Yield the lines: each with the time in UTC, which is not said there, and stderr with `ERROR` before that."""
    moment = _EPOCH + timedelta(seconds=min(max(record.time, 0.0), _LAST_MOMENT))
    start = f"{_PREFIX.get(record.stream, '')}{moment.strftime('%Y-%m-%dT%H:%M:%S.%f')} "
    for line in record.lines:
        shown = line[:LONGEST_CONSOLE_LINE].replace("\n", " ")
        yield (start + shown).encode(
            "utf-8", "replace"
        )  # Python prints what it cannot encode as lone surrogates


def event_text(record: SystemMetrics, runtime: float) -> bytes:
    """Return a sample as a row of events; `runtime` is in seconds, those of the runs it continues included.

    Raises:
        ValueError: it is nested too deeply.
    """
    return json_text({**record.data, "_wandb": True, "_timestamp": record.time, "_runtime": runtime})
