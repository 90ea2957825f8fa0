"""What a courier process and the process of the run tell each other: one JSON object per line.

Law: a message is known by its `type`; one that is not known is passed over. A line is written whole or not at
all, and nobody ever waits for a reader.

    to the courier     poke     look at the journal now
                       close    deliver what is there and end; what is left when the process is gone, too; with the
                                exit code of the run, where that is known
                       detach   nobody waits any more; likewise
                       withdraw end at once; the run never was
    from the courier   hello    it is at work; with its process id
                       notice   a line for the user
                       ledger   where the records are
                       remote   what the backend calls the run
                       stopped  the backend asks that the run be ended
                       held     all is delivered but an exit code that is known when the process is gone
                       failed   it cannot do this work at all; why
                       unfit    no courier can work here; why
                       final    the work is done; where the records are
"""

from __future__ import annotations

import os
import select
from collections.abc import Iterator, Mapping
from threading import Lock
from time import monotonic
from typing import Any, Final

import orjson

from corelib.pure.outcomes import Ledger, RowCount

__all__ = ["LineReader", "LineWriter", "ledger_message", "read_ledger"]

_MOST_WAITING_BYTES: Final = 1 << 18
_READ_BYTES: Final = 1 << 16


class LineWriter:
    """Writes messages to a pipe without ever waiting, unless told to. Any thread may call it.

    Args:
        fd: the pipe; it is made non-blocking, and belongs to the writer.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._lock = Lock()
        self._waiting = b""
        self._most_waiting = _MOST_WAITING_BYTES

    @property
    def is_waiting(self) -> bool:
        """Whether something is sent and not in the pipe yet."""
        return bool(self._waiting)

    def send(self, type: str, **values: Any) -> None:
        """Send a message, as soon as there is room; if nobody reads for long, it is dropped."""
        self._put(orjson.dumps({"type": type, **values}, option=orjson.OPT_APPEND_NEWLINE))

    def send_line(self, line: bytes) -> None:
        """Send a line likewise, however long it is; messages have as much room behind it as without it."""
        self._most_waiting = len(line) + _MOST_WAITING_BYTES
        self._put(line)

    def _put(self, line: bytes) -> None:
        with self._lock:
            if len(self._waiting) < self._most_waiting:
                self._waiting += line
            self._write()

    def flush(self, timeout: float) -> bool:
        """Wait until everything is in the pipe, so many seconds at most; return whether it is."""
        deadline = monotonic() + timeout
        while True:
            with self._lock:
                self._write()
                fd = self.fd
                if not self._waiting or fd < 0:
                    return not self._waiting
            remaining = deadline - monotonic()
            if remaining <= 0:
                return False
            poller = select.poll()
            poller.register(fd, select.POLLOUT)
            poller.poll(remaining * 1000)

    def close(self) -> None:
        """Close the pipe; what is sent later goes nowhere. Idempotent."""
        with self._lock:
            self.abandon()

    def abandon(self) -> None:
        """Close it in a forked child, where another thread may have held the lock at the time."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _write(self) -> None:
        while self._waiting and self.fd >= 0:
            try:
                written = os.write(self.fd, self._waiting)
            except BlockingIOError:
                return
            except OSError:  # nobody reads any more
                self._waiting = b""
                return
            self._waiting = self._waiting[written:]


class LineReader:
    """Reads messages from a pipe.

    Args:
        fd: the pipe.
        data: what was read of it before.
    """

    def __init__(self, fd: int, data: bytes = b"") -> None:
        self.fd = fd
        self.is_at_end = False
        self._data = data

    def read(self) -> Iterator[Mapping[str, Any]]:
        """Wait until there is something, read it, and yield the messages that are whole by then."""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except OSError:  # closed in a hurry
            data = b""
        self._data += data
        self.is_at_end = not data
        return self.buffered()

    def buffered(self) -> Iterator[Mapping[str, Any]]:
        """Yield the messages that were read and not yielded yet."""
        *lines, self._data = self._data.split(b"\n")
        for line in lines:
            try:
                message = orjson.loads(line)
            except ValueError:
                continue  # cut off by the death of its writer
            if isinstance(message, dict):
                yield message


def ledger_message(ledger: Ledger, settled_bytes: int, *, is_drained: bool) -> dict[str, Any]:
    """Return the values that tell where the records are."""
    return {
        "accepted": ledger.accepted,
        "delivered": ledger.delivered,
        "pending": ledger.pending,
        "reasons": dict(ledger.reasons),
        "rows": ledger.rows.delivered,
        "row_reasons": dict(ledger.rows.reasons),
        "bytes": settled_bytes,
        "drained": is_drained,
    }


def read_ledger(message: Mapping[str, Any]) -> Ledger:
    """Return the ledger of a message.

    Raises:
        KeyError, TypeError, ValueError: there is none in it.
    """
    return Ledger(
        accepted=message["accepted"],
        delivered=message["delivered"],
        pending=message["pending"],
        reasons=message["reasons"],
        rows=RowCount(delivered=message["rows"], reasons=message["row_reasons"]),
    )
