"""`corelib show RUN`: what a run was told to do, what it did, how it ended, and what its journals hold.

Law: a run that was resumed is shown as one, with the run directories that it continues.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from corelib.api.reading import RunView
from corelib.commands.selection import parts, print_json, select
from corelib.pure.records import ConsoleLines, Row, SystemMetrics
from corelib.terminal import (
    LONGEST_VALUE,
    Curve,
    counted,
    duration,
    emit,
    figure,
    leaves,
    moment,
    outline,
    size,
    sparkline,
    table,
)

__all__ = ["Account", "run"]

_INTERNAL: Final = "_"  # what keys of the library's own begin with


class Account(NamedTuple):
    """What the journals hold: accepted `log()` calls, console lines, samples of the machine, records of any kind.

    And damaged places, bytes on disk, and where that is.
    """

    accepted: int
    console_lines: int
    samples: int
    records: int
    damaged: int
    size: int
    journals: list[str]


def run(arguments: argparse.Namespace) -> int:
    """Show one run. Damage is counted here and is `verify`'s to judge."""
    view = select(arguments.run, arguments.dir)
    account, curves = _account(parts(view)), _curves(view)
    if arguments.json:
        print_json(_document(view, account, curves))
    else:
        emit(_lines(view, account, curves))
    return 0


def _account(views: Sequence[RunView]) -> Account:
    records = accepted = lines = samples = damaged = weight = 0
    journals = []
    for view in views:
        for record in view.records():
            records += 1
            accepted += type(record) is Row
            lines += len(record.lines) if type(record) is ConsoleLines else 0
            samples += type(record) is SystemMetrics
        damaged += len(view.damage)
        journal = Path(view.path) / "journal"
        weight += sum(path.stat().st_size for path in journal.rglob("*.jsonl*"))
        journals.append(str(journal))
    return Account(accepted, lines, samples, records, damaged, weight, journals)


def _curves(view: RunView) -> dict[str, Curve]:
    """Return a curve per metric: every key that was logged as a number, in the order of its first value."""
    curves: dict[str, Curve] = {}
    for row in view.history():
        for key, value in row.items():
            if type(value) in {int, float} and not key.startswith(_INTERNAL):
                try:
                    number = float(value)
                except OverflowError:  # an integer beyond any float has no place in a drawing
                    continue
                curves.setdefault(key, Curve()).add(number)
    return curves


def _lines(view: RunView, account: Account, curves: dict[str, Curve]) -> Iterator[str]:
    yield from outline(f"run {view.id}", _identity(view))
    for title, tree in (("config", view.config), ("summary", view.summary)):
        pairs = [(path, value) for path, value in leaves(tree) if not path.startswith(_INTERNAL)]
        if pairs:
            yield ""
            yield from outline(title, pairs, LONGEST_VALUE)
    if curves:
        yield ""
        yield from table(
            ("metric", "", "first", "last", "least", "most", "values"), _cells(curves), "<<>>>>>"
        )
    yield ""
    yield from outline("receipt", _receipt(account))
    if view.files:
        yield ""
        yield "files"
        yield from (f"  {figure(name)}" for name in view.files)


def _identity(view: RunView) -> Iterator[tuple[str, Any]]:
    ended = "" if view.exit_code is None else f", exit code {view.exit_code}"
    yield "project", view.project
    if view.name:
        yield "name", view.name
    yield "state", f"{view.state}{ended}"
    yield "started", moment(view.start_time)
    yield "runtime", duration(view.runtime)
    if view.tags:
        yield "tags", ", ".join(view.tags)
    if view.notes:
        yield "notes", view.notes
    yield "resumed", "yes" if view.resumed else "no"
    yield "because", view.decision
    yield "folder", str(view.path)


def _cells(curves: dict[str, Curve]) -> Iterator[tuple[Any, ...]]:
    for key, one in curves.items():
        drawn = sparkline(one.means())
        yield figure(key, LONGEST_VALUE), drawn, one.first, one.last, one.least, one.most, one.count


def _receipt(account: Account) -> Iterator[tuple[str, str]]:
    yield (
        "accepted",
        f"{counted(account.accepted, 'log() call')}, {counted(account.records, 'record')} in all",
    )
    if account.console_lines:
        yield "console", counted(account.console_lines, "line")
    if account.samples:
        yield "machine", counted(account.samples, "sample")
    yield (
        "damaged",
        f"{counted(account.damaged, 'place')}: ask `corelib verify`" if account.damaged else "nothing",
    )
    yield "size", size(account.size)
    for journal in account.journals:
        yield "journal", journal


def _document(view: RunView, account: Account, curves: dict[str, Curve]) -> dict[str, Any]:
    return {
        "id": view.id,
        "project": view.project,
        "name": view.name,
        "state": view.state,
        "exit_code": view.exit_code,
        "start_time": view.start_time,
        "runtime": view.runtime,
        "tags": list(view.tags),
        "notes": view.notes,
        "resumed": view.resumed,
        "decision": view.decision,
        "path": str(view.path),
        "config": view.config,
        "summary": view.summary,
        "metrics": {
            key: {
                "first": one.first,
                "last": one.last,
                "least": one.least,
                "most": one.most,
                "values": one.count,
            }
            for key, one in curves.items()
        },
        "receipt": account._asdict(),
        "files": view.files,
    }
