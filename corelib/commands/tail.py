"""`corelib tail RUN`: the rows of a run as they are logged.

Law: every row is printed once, in each writer's order, until the run has ended. Looking disturbs nothing: the
journal is read, never locked or changed.
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from corelib.api.reading import RunView
from corelib.commands.selection import print_json, select
from corelib.pure.printable import printable
from corelib.pure.replay import HistoryRow, Replay
from corelib.segments import is_live
from corelib.tail import Tail
from corelib.terminal import LONGEST_VALUE, emit, figure

__all__ = ["run"]

_LOOK_AGAIN_AFTER_S: Final = 0.2
_RECORDS_AT_ONCE: Final = 1000


def run(arguments: argparse.Namespace) -> int:
    """Follow one run; 0 if it finished, 1 if it failed or crashed, 0 if it still runs and was not to be followed."""
    view = select(arguments.run, arguments.dir)
    earlier: deque[HistoryRow] = deque(maxlen=arguments.lines)
    following = False
    for row in _rows(Path(view.path) / "journal", follow=arguments.follow):
        if row is None:
            for one in earlier:
                _print(one, as_json=arguments.json)
            earlier.clear()
            following = True
        elif following:
            _print(row, as_json=arguments.json)
        else:
            earlier.append(row)
    return _verdict(select(str(view.path), arguments.dir), as_json=arguments.json)


def _rows(journal: Path, *, follow: bool) -> Iterator[HistoryRow | None]:
    """Yield rows; None once, where those that were there already end."""
    tail, replay = Tail(journal), Replay()
    caught_up = False
    try:
        while True:
            # Asked before reading: what a writer wrote before it ended is then read below.
            live = is_live(journal)
            while entries := tail.poll(_RECORDS_AT_ONCE):
                for entry in entries:
                    yield from replay.feed(entry.writer, entry.record)
            ended = not live or not follow
            if ended:
                yield from replay.finish()
            if not caught_up or ended:
                caught_up = True
                yield None
            if ended:
                return
            time.sleep(_LOOK_AGAIN_AFTER_S)
    finally:
        tail.close()


def _print(row: HistoryRow, *, as_json: bool) -> None:
    values = row.flat()
    if as_json:
        print_json(values, indent=None)
    else:
        emit([_line(row.step, values)])


def _line(step: int, values: dict[str, Any]) -> str:
    shown = [
        f"{printable(key)} {figure(value, LONGEST_VALUE)}"
        for key, value in values.items()
        if not key.startswith("_")
    ]
    return "  ".join([f"step {step}", *shown])


def _verdict(view: RunView, *, as_json: bool) -> int:
    if not as_json:
        code = "" if view.exit_code is None else f" with exit code {view.exit_code}"
        emit([f"run {view.id}: {view.state}{code}"])
    return 1 if view.state in {"failed", "crashed"} else 0
