"""`corelib sync [PATHS…]`: deliver what runs have recorded, and show what became of it.

Law: what is delivered, and where to, the library decides. 0 means that nothing is pending and nothing was rejected.
An interrupt is answered at once, with what is pending. The line at the bottom of a terminal is one line, and nothing
else is written onto it.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from threading import Lock
from typing import Any, Final, TextIO, cast

from attrs import evolve

from corelib.api.core import default
from corelib.api.sync_reasons import NOT_SENT
from corelib.api.syncing import SyncInterrupted, SyncProgress, SyncRequest, SyncResult, sync
from corelib.commands.selection import print_json
from corelib.errors import AuthenticationError, UsageError
from corelib.pure.printable import printable
from corelib.terminal import counted, emit, size, table, width

__all__ = ["run"]

_LOOK_AGAIN_AFTER_S: Final = 1.0
_BAR_COLUMNS: Final = 20
_FEWEST_COLUMNS: Final = 20
_ECHO_COLUMNS: Final = 2  # a terminal shows Ctrl-C as ^C, behind the line
_NAMES_SHOWN: Final = 2
_HEADINGS: Final = ("run", "project", "state", "destination", "records", "delivered", "pending", "rejected")


def run(arguments: argparse.Namespace) -> int:
    """Deliver; 1 if anything is pending or was rejected.

    Raises:
        UsageError: the words contradict each other, or name nothing; also where nobody is logged in.
        KeyboardInterrupt: Ctrl-C was pressed; what had become of the runs by then is shown.
    """
    if arguments.watch and arguments.dry_run:
        raise UsageError(
            "--watch waits for what is delivered, and --dry-run delivers nothing: leave one out."
        )
    request = SyncRequest(
        paths=arguments.paths,
        everything=arguments.all,
        transport=arguments.transport,
        run_id=arguments.id,
        project=arguments.project,
        entity=arguments.entity,
        dry_run=arguments.dry_run,
        jobs=arguments.jobs,
    )
    try:
        results = _watched(request) if arguments.watch else _synced(request)
    except SyncInterrupted as interrupt:
        _show(interrupt.results, arguments)
        raise
    except AuthenticationError as error:
        # As without the address of a server: the words are not enough to know what to do.
        raise UsageError(str(error)) from error
    _show(results, arguments)
    return 1 if any(result.outcome != "delivered" for result in results) else 0


def _show(results: Sequence[SyncResult], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json([_document(result) for result in results])
    else:
        emit(_lines(results, dry_run=arguments.dry_run))


def _synced(request: SyncRequest, said: set[str] | None = None) -> list[SyncResult]:
    """Deliver once, and show how it goes on where a person looks.

    Args:
        request: what, and where to.
        said: what the user has been told already; it is not told again, and what is told is added.
    """
    said = set() if said is None else said
    if not sys.stderr.isatty():
        return sync(default.names, default.session, request, stream=cast("TextIO", _Once(sys.stderr, said)))
    line = _Line()
    try:
        return sync(default.names, default.session, request, line.show, cast("TextIO", _Once(line, said)))
    finally:
        line.clear()


def _watched(request: SyncRequest) -> list[SyncResult]:
    """Deliver what the runs write until all of them have ended; with all runs of a directory, until interrupted.

    What is pending is tried again as long as that helps: not after a round in which nothing ran and nothing was
    delivered.
    """
    said: set[str] = set()
    results = _synced(evolve(request, dry_run=True), said)
    try:
        while True:
            settled = _settled(results)
            results = _synced(request, said)
            runs = request.everything or any(one.state == "running" for one in results)
            is_left = any(one.ledger.pending for one in results) and _settled(results) > settled
            if not (runs or is_left):
                break
            time.sleep(_LOOK_AGAIN_AFTER_S)
    except SyncInterrupted as interrupt:  # how a watch is meant to be ended
        return interrupt.results
    except KeyboardInterrupt:
        pass
    return results


def _settled(results: Iterable[SyncResult]) -> int:
    return sum(one.ledger.delivered + one.ledger.rejected for one in results)


class _Once:
    """A stream for messages that shows each of them once: a watch meets the same things again and again."""

    def __init__(self, stream: TextIO | _Line, said: set[str]) -> None:
        self._stream = stream
        self._said = said

    def write(self, text: str) -> None:
        """Write a message, unless it was written before."""
        if text not in self._said:
            self._said.add(text)
            self._stream.write(text)

    def flush(self) -> None:
        """Have everything shown."""
        self._stream.flush()


class _Line:
    """The line at the bottom of the terminal that shows what is under way. Messages are written above it."""

    def __init__(self) -> None:
        self._shown = ""
        self._lock = Lock()

    def show(self, under_way: Sequence[SyncProgress]) -> None:
        """Draw it anew."""
        written = sum(one.written for one in under_way)
        settled = sum(min(one.settled, one.written) for one in under_way)
        if not written:
            return
        filled = settled * _BAR_COLUMNS // written
        bar = "#" * filled + "." * (_BAR_COLUMNS - filled)
        names = ", ".join(printable(one.run_id) for one in under_way[:_NAMES_SHOWN])
        more = " …" if len(under_way) > _NAMES_SHOWN else ""
        sent = size(sum(one.settled_bytes for one in under_way))
        text = f"[{bar}] {settled} of {written} records, {sent}: {names}{more}"
        with self._lock:
            self._draw(_cut(text, _columns() - 1 - _ECHO_COLUMNS))

    def clear(self) -> None:
        """Leave the terminal as it was."""
        with self._lock:
            self._draw("")

    def write(self, text: str) -> None:
        """Write a message where the line is, and the line below it."""
        with self._lock:
            shown = self._shown
            self._draw("")
            sys.stderr.write(text)
            self._draw(shown)

    def flush(self) -> None:
        """Have everything shown."""
        sys.stderr.flush()

    def _draw(self, text: str) -> None:
        if text != self._shown:
            blanks = " " * (width(self._shown) - width(text))
            sys.stderr.write(f"\r{text}{blanks}" if text else f"\r{blanks}{' ' * _ECHO_COLUMNS}\r")
            sys.stderr.flush()
            self._shown = text


def _columns() -> int:
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):
        columns = 0
    return max(columns or 80, _FEWEST_COLUMNS)


def _cut(text: str, columns: int) -> str:
    """Return as much of a printable text as fits into so many columns."""
    while width(text) > columns:
        text = text[:-1]
    return text


def _lines(results: Sequence[SyncResult], *, dry_run: bool) -> Iterator[str]:
    if not results:
        yield "No runs to sync."
        return
    yield from table(_HEADINGS, [_cells(result) for result in results], "<<<<>>>>")
    yield ""
    if dry_run:
        yield from _explained(result for result in results if result.reason != NOT_SENT and result.reason)
        to_send = sum(result.ledger.pending for result in results if result.reason == NOT_SENT)
        yield f"Nothing was sent. {counted(to_send, 'record')} would be."
        return
    yield from _explained(results)


def _explained(results: Iterable[SyncResult]) -> Iterator[str]:
    delivered = pending = rejected = 0
    for result in results:
        ledger = result.ledger
        delivered += ledger.delivered
        pending += ledger.pending
        rejected += ledger.rejected
        if ledger.pending:
            yield f"{printable(result.run_id)}: {ledger.pending} pending: {printable(result.reason)}"
        elif result.reason:
            yield f"{printable(result.run_id)}: {printable(result.reason)}"
        for reason, count in ledger.reasons.items():
            yield f"{printable(result.run_id)}: {count} rejected: {printable(reason)}"
    if delivered and not pending and not rejected:
        yield "Everything is delivered."
    if rejected:
        yield "What was rejected is kept with its reason in dead-letters-*.jsonl in the run directory."


def _cells(result: SyncResult) -> tuple[Any, ...]:
    ledger = result.ledger
    return (
        result.run_id,
        result.project,
        result.state,
        result.transport,
        ledger.accepted,
        ledger.delivered,
        ledger.pending,
        ledger.rejected,
    )


def _document(result: SyncResult) -> dict[str, Any]:
    ledger = result.ledger
    return {
        "id": result.run_id,
        "project": result.project,
        "state": result.state,
        "transport": result.transport,
        "directories": list(result.directories),
        "outcome": result.outcome,
        "reason": result.reason,
        "records": ledger.accepted,
        "delivered": ledger.delivered,
        "pending": ledger.pending,
        "rejected": ledger.rejected,
        "reasons": dict(ledger.reasons),
    }
