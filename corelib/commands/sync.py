"""`corelib sync [PATHS…]`: deliver what runs have recorded, and show what became of it.

Law: what is delivered, and where to, the library decides. 0 means that nothing is pending and nothing was rejected.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from corelib.api.core import default
from corelib.api.syncing import SyncProgress, SyncRequest, SyncResult, sync
from corelib.commands.selection import print_json
from corelib.terminal import counted, emit, printable, size, table

__all__ = ["run"]

_LOOK_AGAIN_AFTER_S: Final = 1.0
_BAR_COLUMNS: Final = 20
_NAMES_SHOWN: Final = 2
_HEADINGS: Final = ("run", "project", "state", "destination", "records", "delivered", "pending", "rejected")


def run(arguments: argparse.Namespace) -> int:
    """Deliver; 1 if anything is pending or was rejected."""
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
    results = _watched(request) if arguments.watch else _synced(request)
    if arguments.json:
        print_json([_document(result) for result in results])
    else:
        emit(_lines(results, dry_run=request.dry_run))
    return 1 if any(result.outcome != "delivered" for result in results) else 0


def _synced(request: SyncRequest) -> list[SyncResult]:
    """Deliver once, and show how it goes on where a person looks."""
    if not sys.stderr.isatty():
        return sync(default.names, default.session, request)
    line = _Line()
    try:
        return sync(default.names, default.session, request, line.show)
    finally:
        line.clear()


def _watched(request: SyncRequest) -> list[SyncResult]:
    """Deliver what the runs write until all of them have ended; with all runs of a directory, until interrupted."""
    results: list[SyncResult] = []
    try:
        while True:
            results = _synced(request)
            if not request.everything and not any(
                one.state == "running" or one.ledger.pending for one in results
            ):
                break
            time.sleep(_LOOK_AGAIN_AFTER_S)
    except KeyboardInterrupt:  # how a watch is meant to be ended
        if not results:
            raise
    return results


class _Line:
    """The line at the bottom of the terminal that shows what is under way."""

    def __init__(self) -> None:
        self._shown = ""

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
        self._draw(f"[{bar}] {settled} of {written} records, {sent}: {names}{more}")

    def clear(self) -> None:
        """Leave the terminal as it was."""
        self._draw("")

    def _draw(self, text: str) -> None:
        if text != self._shown:
            sys.stderr.write(f"\r{text.ljust(len(self._shown))}" if text else f"\r{' ' * len(self._shown)}\r")
            sys.stderr.flush()
            self._shown = text


def _lines(results: Sequence[SyncResult], *, dry_run: bool) -> Iterator[str]:
    if not results:
        yield "No runs to sync."
        return
    yield from table(_HEADINGS, [_cells(result) for result in results], "<<<<>>>>")
    yield ""
    if dry_run:
        to_send = sum(result.ledger.pending for result in results)
        yield f"Nothing was sent. {counted(to_send, 'record')} would be."
        return
    yield from _explained(results)


def _explained(results: Iterable[SyncResult]) -> Iterator[str]:
    pending = rejected = 0
    for result in results:
        ledger = result.ledger
        pending += ledger.pending
        rejected += ledger.rejected
        if ledger.pending:
            yield f"{printable(result.run_id)}: {ledger.pending} pending: {printable(result.reason)}"
        for reason, count in ledger.reasons.items():
            yield f"{printable(result.run_id)}: {count} rejected: {printable(reason)}"
    if not pending and not rejected:
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
