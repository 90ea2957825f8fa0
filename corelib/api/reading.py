"""Reading runs back: `open_run` and `list_runs`.

Law: what is shown is the fold of the journal (`corelib.pure.replay`), nothing else; reading changes nothing and
works while the run is being written. A resumed run is read as one: the directories it continues come first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from corelib.errors import JournalError, MissingDependency, UsageError
from corelib.pure.lifecycle import state_of
from corelib.pure.paths import RunPaths
from corelib.pure.records import ConsoleLines, SystemMetrics
from corelib.pure.replay import Replay
from corelib.segments import Damage, Entry, is_live, read, run_directories, writers
from corelib.shell.ending import read_status

if TYPE_CHECKING:
    import pandas

    from corelib.pure.records import Record

__all__ = ["LATEST", "ConsoleLine", "RunView", "list_runs", "open_run"]

LATEST: Final = "latest"
_ALWAYS: Final = ("_runtime", "_step", "_timestamp")


class ConsoleLine(NamedTuple):
    """A line that the program printed: when (seconds since the epoch), to stdout or stderr, and what."""

    time: float
    stream: str
    text: str


class RunView:
    """A run as its journal tells it. Values are those of the moment of first use; `refresh()` reads again."""

    def __init__(self, path: Path) -> None:
        """Open the run directory `path`.

        Raises:
            JournalError: there is no journal in it.
        """
        self.path = path
        self._folded: Replay | None = None
        self._damage: list[Damage] = []
        if not (path / "journal").is_dir():
            raise JournalError(f"{path} is no run directory: it holds no journal.")

    def refresh(self) -> RunView:
        """Forget what was read, so that the next question is answered from the journal as it is then. Return self."""
        self._folded = None
        return self

    def _fold(self) -> Replay:
        if self._folded is None:
            replay, damage = Replay(), []
            for entry in self._entries():
                if isinstance(entry, Damage):
                    damage.append(entry)
                else:
                    replay.feed(entry.writer, entry.record)
            if not is_live(self.path / "journal"):
                replay.finish()
            self._folded, self._damage = replay, damage
        return self._folded

    def _entries(self) -> Iterator[Entry | Damage]:
        journal = self.path / "journal"
        # Whose process was killed while it made the journal has none yet, and must not hide the runs beside it.
        return read(journal) if writers(journal) else iter(())

    @property
    def id(self) -> str:
        """The run id."""
        header = self._fold().header
        return header.run_id if header else self.path.name.split("-", 3)[-1]

    @property
    def project(self) -> str | None:
        """The project; None if the journal was lost before it was written."""
        start = self._fold().start
        return start.project if start else None

    @property
    def entity(self) -> str | None:
        """The entity, where one was given."""
        start = self._fold().start
        return start.entity if start else None

    @property
    def group(self) -> str | None:
        """The group, where one was given."""
        start = self._fold().start
        return start.group if start else None

    @property
    def job_type(self) -> str | None:
        """The type of job."""
        start = self._fold().start
        return start.job_type if start else None

    @property
    def name(self) -> str | None:
        """The display name, where one was given."""
        return self._fold().name

    @property
    def notes(self) -> str | None:
        """The notes."""
        return self._fold().notes

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags."""
        return self._fold().tags

    @property
    def config(self) -> dict[str, Any]:
        """The config as it stands, without internal keys."""
        return {key: value for key, value in self._fold().config.items() if not key.startswith("_")}

    @property
    def summary(self) -> dict[str, Any]:
        """The summary as it stands, with `_step`, `_runtime` and `_timestamp` of the last row."""
        return self._fold().summary

    @property
    def start_time(self) -> float | None:
        """When this part of the run began, in seconds since the epoch."""
        header = self._fold().header
        return header.start_time if header else None

    @property
    def runtime(self) -> float:
        """Seconds that the run has run, those of the runs it continues included."""
        return self._fold().runtime

    @property
    def resumed(self) -> bool:
        """Whether it continues an earlier run."""
        start = self._fold().start
        return bool(start and start.resumed)

    @property
    def decision(self) -> str:
        """Why the run was started, resumed or overwritten: a sentence."""
        start = self._fold().start
        return start.decision if start else ""

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while there is none."""
        ending = self._fold().exit
        if ending is None:
            return None
        return (
            read_status(str(RunPaths(self.path).exit_status))
            if ending.exit_code is None
            else ending.exit_code
        )

    @property
    def state(self) -> str:
        """running, finished, failed or crashed."""
        ended = self._fold().exit is not None
        return state_of(
            ended=ended, exit_code=self.exit_code, live=not ended and is_live(self.path / "journal")
        )

    @property
    def rows(self) -> int:
        """How many rows this part of the run has."""
        return self._fold().rows

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What could not be believed, in the order of the journal. A torn end is normal after a crash."""
        self._fold()
        return tuple(self._damage)

    @property
    def files(self) -> list[str]:
        """The files under `files/`, as paths within it."""
        root = self.path / "files"
        found = (Path(folder) / name for folder, _, names in os.walk(root) for name in names)
        return sorted(path.relative_to(root).as_posix() for path in found)

    @property
    def continues(self) -> str | None:
        """The name of the run directory that this one continues, whether or not it is still there."""
        start = self._fold().start
        return start.previous if start else None

    @property
    def previous(self) -> RunView | None:
        """The run directory that this one continues, if it is still there."""
        name = self.continues
        if name is None:
            return None
        path = self.path.parent / name
        return RunView(path) if path != self.path and (path / "journal").is_dir() else None

    def history(self, keys: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows in order, those of the runs it continues first, each with `_step`, `_runtime`, `_timestamp`.

        Nested values come as paths: `{"d": {"a": 1}}` is read as `d/a`.

        Args:
            keys: only these keys, and only rows that have one of them.

        Raises:
            UsageError: `keys` is a text.
        """
        if isinstance(keys, str):
            raise UsageError(f"history(keys=…) takes a list of names: [{keys!r}].")
        wanted = None if keys is None else {*keys}
        for view in self._parts():
            for row in view._own_rows():  # noqa: SLF001  another object of this class
                if wanted is None:
                    yield row
                elif not wanted.isdisjoint(row):
                    yield {key: value for key, value in row.items() if key in wanted or key in _ALWAYS}

    def _parts(self) -> list[RunView]:
        parts = [self]
        seen = {self.path}
        while (previous := parts[0].previous) is not None and previous.path not in seen:
            seen.add(previous.path)
            parts.insert(0, previous)
        return parts

    def _own_rows(self) -> Iterator[dict[str, Any]]:
        replay = Replay()
        for entry in self._entries():
            if not isinstance(entry, Damage):
                for row in replay.feed(entry.writer, entry.record):
                    yield row.flat()
        for row in replay.finish():
            yield row.flat()

    def console(self) -> Iterator[ConsoleLine]:
        """Yield what the program printed, in order, the runs it continues first: where the console was captured."""
        for view in self._parts():
            for record in view.records():
                if isinstance(record, ConsoleLines):
                    for text in record.lines:
                        yield ConsoleLine(record.time, record.stream, text)

    def system(self) -> Iterator[dict[str, float]]:
        """Yield the samples of the machine, the runs it continues first, each with `_runtime` and `_timestamp`."""
        for view in self._parts():
            replay = Replay()
            for entry in view._entries():  # noqa: SLF001  another object of this class
                if isinstance(entry, Damage):
                    continue
                record = entry.record
                replay.feed(entry.writer, record)
                if isinstance(record, SystemMetrics):
                    runtime = replay.runtime_at(record.time)
                    yield {**record.data, "_runtime": runtime, "_timestamp": record.time}

    def records(self) -> Iterator[Record]:
        """Yield the records of this run directory as they were journalled."""
        for entry in self._entries():
            if not isinstance(entry, Damage):
                yield entry.record

    def to_pandas(self, keys: Sequence[str] | None = None) -> pandas.DataFrame:
        """Return the history as a DataFrame, one row per step.

        Raises:
            MissingDependency: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependency("to_pandas() needs pandas: pip install 'corelib[pandas]'.") from error
        return pandas.DataFrame(list(self.history(keys)))

    def __repr__(self) -> str:
        """Show what one wants to see in a debugger."""
        return f"<RunView {self.id} {self.state}, {self.rows} rows, {self.path}>"


def list_runs(root: str | os.PathLike[str]) -> list[RunView]:
    """Return the runs in a `wandb` directory, oldest first; directories without a journal are left out."""
    return [RunView(path) for path in run_directories(Path(root)) if (path / "journal").is_dir()]


def open_run(path_or_id: str | os.PathLike[str], root: str | os.PathLike[str]) -> RunView:
    """Open a run by its directory, the directory's name, its id (the newest of that id), or "latest".

    Args:
        path_or_id: what names the run.
        root: the `wandb` directory in which names and ids are looked up.

    Raises:
        UsageError: no such run; the text names runs that are there.
        JournalError: the directory holds no journal.
    """
    text = os.fspath(path_or_id)
    candidates = [Path(text)] if os.sep in text or os.path.isdir(text) else []
    candidates.append(Path(root) / ("latest-run" if text == LATEST else text))
    for candidate in candidates:
        # Not Path.is_dir, which raises where a text is too long for a path.
        if os.path.isdir(candidate):
            return RunView(candidate.resolve())
    # The folder of a run that began in the same second as another with its id ends in a number.
    found = [view for view in list_runs(root) if text in view.path.name and view.id == text]
    if not found:
        names = ", ".join(path.name for path in run_directories(Path(root))[-5:]) or "none"
        raise UsageError(f"No run {text!r} in {root}. The newest there: {names}.")
    return max(found, key=lambda view: view.start_time or 0.0)
