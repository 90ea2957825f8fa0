"""The run: a thin object over the rules.

Law: after `init()` has returned, no failure of tracking raises into the user's code, blocks it, or grows its memory;
it is counted in the receipt and said once. How rows are recorded is in `corelib.api.recording`, what a run is in
`corelib.identity`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from operator import index
from pathlib import Path
from time import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from attrs import evolve

from corelib.api.carried import Carried
from corelib.api.config import Config
from corelib.api.config import renew_lock as renew_config_lock
from corelib.api.identity import Plan
from corelib.api.summary import Summary
from corelib.api.summary import renew_lock as renew_summary_lock
from corelib.errors import UsageError, UsageTypeError
from corelib.pure import coerce
from corelib.pure.lifecycle import FAILED, FINISHED
from corelib.pure.metrics import parse_definition
from corelib.pure.paths import RunPaths
from corelib.pure.receipt import Receipt
from corelib.pure.records import Alert, Exit, FileSaved, MetricDefined, Preempting, RunChange

if TYPE_CHECKING:
    from corelib.journal import JournalWriter
    from corelib.shell.report import Report

__all__ = ["Run"]


class Run(Carried):
    """One run: identity, config, history, summary, ending. Made by `init()`; a context manager that finishes itself."""

    __slots__ = (
        "__weakref__",
        "_config",
        "_exit_code",
        "_notes",
        "_on_end",
        "_receipt",
        "_summary",
        "_tags",
    )

    def __init__(
        self,
        plan: Plan,
        *,
        journal: JournalWriter | None,
        report: Report,
        on_end: Callable[[Run, int | None], None],
        read_text: Callable[[str], str],
    ) -> None:
        """Begin. For `init()`: `on_end` is told of the end with its exit code, before the receipt is final."""
        super().__init__(plan, journal=journal, report=report)
        self._on_end = on_end
        self._exit_code: int | None = None
        self._receipt: Receipt | None = None
        self._name, self._notes, self._tags = plan.name, plan.notes, plan.tags
        self._config = Config(
            plan.config,
            record=self._record_config,
            allow_val_change=plan.allow_val_change,
            locked=plan.locked,
            read_file=read_text,
            writable=lambda: self._check("config"),
            warn=report.warn,
        )
        self._summary = Summary(
            read=self._read_summary, record=self._record_summary, writable=lambda: self._check("summary")
        )

    def after_fork_in_child(self, on_end: Callable[[Run], None]) -> None:
        """Become a secondary writer, whose end is not the run's; what transports carry stays the parent's business."""
        self._become_secondary()
        renew_config_lock(self._config)
        renew_summary_lock(self._summary)
        self._abandon_couriers()
        self._on_end = lambda run, _: on_end(run)

    # The end.

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> Receipt:
        """End the run and return its receipt. Finishing twice is harmless; the first exit code stays.

        Args:
            exit_code: 0 (also None) for success, anything else for failure.
            quiet: accepted for the reference's sake, without effect.
            timeout: seconds to wait for transports; None waits as long as settings.finish_timeout says.

        Raises:
            UsageTypeError: `exit_code` is no integer; the run goes on.
        """
        del quiet
        if exit_code is not None:
            exit_code = _exit_code(exit_code)
        return self._finish(exit_code or 0, timeout=timeout)

    join = finish

    def end_with_process(self, exit_code: int | None, leave_status: Callable[[str], bool]) -> None:
        """Finish because the interpreter ends. None: by a SystemExit whose code is hidden; libc may still tell it.

        Where it does, the code stands in the file `exit-status` when the process is gone: readers and the next `init()`
        look there. Where it does not, the run counts as failed, which is the safe side for resuming it.
        """
        if exit_code is None:
            directory = self._plan.directory
            if directory is None or not leave_status(str(RunPaths(Path(directory)).exit_status)):
                exit_code = 1
        self._finish(exit_code)

    def _finish(self, exit_code: int | None, *, timeout: float | None = None) -> Receipt:
        with self._lock:
            if self._receipt is not None:
                return self._receipt
            self._take(self._assembler.finish())
            self._reduce()
            self._steps.open = False
            self._state = FINISHED if exit_code == 0 else FAILED
            self._exit_code = exit_code
            self._plain = False
            if self._plan.primary:
                self._append(Exit, exit_code=exit_code, runtime=self._runtime(time()))
            self._receipt = receipt = self._account({}, exit_code)
        return self._close(receipt, exit_code, timeout)

    def _close(self, receipt: Receipt, exit_code: int | None, timeout: float | None) -> Receipt:
        """Let go of journal and transports, outside the lock: a thread that still asks something must not wait."""
        transports = self._close_couriers(timeout)
        if self._journal is not None:
            self._journal.close()
            for problem in self._journal.problems:
                self._report.debug(problem)
        self._receipt = receipt = self._account(transports, exit_code)
        self._on_end(self, exit_code)
        return receipt

    def __enter__(self) -> Run:  # noqa: PYI034  `Self` is of Python 3.11
        """Return the run itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish with the exit code that the exception means; never suppress it."""
        from corelib.shell.ending import code_of

        self._finish(code_of(error))

    # Other calls that record something.

    def define_metric(
        self,
        name: str,
        step_metric: str | None = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
    ) -> None:
        """Say how a metric is summarised (min, max, mean, last, first, copy, none; comma separated) and plotted.

        Raises:
            UsageError: a wrong type, an unknown aggregation, a glob other than a trailing "*", or the run is finished.
        """
        definition = parse_definition(name, step_metric, step_sync, hidden, summary, overwrite)
        with self._lock:
            self._check("define_metric")
            self._reduce()
            self._reduction.define(definition)
            self._plain = self._plan.primary and not self._reduction.synchronises
            self._append(
                MetricDefined,
                name=definition.name,
                step_metric=definition.step_metric,
                step_sync=definition.step_sync,
                hidden=definition.hidden,
                summary=definition.summary,
                overwrite=definition.overwrite,
            )

    def save(
        self, glob_str: str | os.PathLike[str], base_path: str | None = None, policy: str = "live"
    ) -> list[str]:
        """Put files under the run's `files/`: links where possible. Return the paths there.

        Raises:
            UsageError: an unknown policy, a path above `base_path`, or the run is finished.
        """
        from corelib.api.saving import save_files

        self._check("save")
        if self._plan.directory is None:
            return []
        try:
            saved = save_files(glob_str, base_path, policy, Path(self.dir))
        except OSError as error:
            self._report.warn(f"save({str(glob_str)!r}) failed: {error}.")
            return []
        for warning in saved.warnings:
            self._report.warn(warning, once=warning)
        with self._lock:
            # Again: linking and copying take their time, and another thread may have finished meanwhile.
            self._check("save")
            for name in saved.names:
                self._append(FileSaved, path=name, policy=policy)
        return saved.paths

    def alert(self, title: str, text: str, level: str | None = None, wait_duration: Any = None) -> None:
        """Send a message to people: `level` INFO, WARN or ERROR; `wait_duration` in seconds or as a timedelta.

        Raises:
            UsageError: an unknown level, a wait that is no duration, or the run is finished.
        """
        from corelib.pure.alerts import parse_alert

        alert, warning = parse_alert(title, text, level, wait_duration)
        if warning:
            self._report.warn(warning)
        with self._lock:
            self._check("alert")
            self._append(Alert, **alert)

    def mark_preempting(self) -> None:
        """Record at once that this machine is about to be taken away."""
        with self._lock:
            self._check("mark_preempting")
            self._append(Preempting)

    # What may change while running.

    @property
    def name(self) -> str | None:
        """The display name; need not be unique. None until somebody gives one."""
        return self._name

    @name.setter
    def name(self, name: str | None) -> None:
        self._change("name", name)

    @property
    def notes(self) -> str | None:
        """A text about the run, of any number of lines."""
        return self._notes

    @notes.setter
    def notes(self, notes: str | None) -> None:
        self._change("notes", notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags, in the order given."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str] | str) -> None:
        given: object = tags
        if not isinstance(given, (str, list, tuple, set, frozenset)):
            message = f"run.tags takes a sequence of texts, not {type(given).__name__}."
            raise UsageTypeError(message)
        with self._lock:
            self._check("tags")
            try:
                valid = coerce.tags("run.tags", given, False)
            except UsageError as error:
                self._report.warn(f"Invalid tag, tags are unchanged: {error}")
                return
            self._tags = valid
            self._append(RunChange, tags=valid)

    def _change(self, field: str, text: str | None) -> None:
        given: object = text
        if given is not None and not isinstance(given, str):
            raise UsageTypeError(f"run.{field} takes a text, not {type(given).__name__}.")
        with self._lock:
            self._check(field)
            setattr(self, f"_{field}", text)
            self._append(RunChange, **{field: text or ""})

    @property
    def config(self) -> Config:
        """The parameters of the run: mapping and attributes; changes need `allow_val_change`."""
        return self._config

    @property
    def config_static(self) -> Any:
        """A read-only snapshot of the config, with attributes."""
        return self._config.static()

    @property
    def summary(self) -> Summary:
        """One value per metric: the last, or what `define_metric` says, or what was set by hand."""
        return self._summary

    @property
    def step(self) -> int:
        """The step of the next row, or of the open one."""
        return self._steps.step

    @property
    def state(self) -> str:
        """running, finished or failed."""
        return self._state

    @property
    def exit_code(self) -> int | None:
        """The exit code, once the run is over."""
        return self._exit_code

    @property
    def receipt(self) -> Receipt:
        """What became of every row so far; final after `finish()`."""
        return self._receipt if self._receipt is not None else self._account({}, self._exit_code)

    # As a value.

    def __repr__(self) -> str:
        """Show what one wants to see in a debugger."""
        return f"<Run {self.path} {self._state}, step {self.step}, {self.settings.mode}>"

    def __copy__(self) -> Run:
        """Return the run itself: it stands for one thing in the world."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        """Return the run itself: it stands for one thing in the world."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle to what another process needs to write to the same run."""
        from corelib.api.attach import attach

        settings = self.settings
        if settings.transport is not None:
            # It may be an object that cannot be pickled, and only the process that called `init()` feeds it.
            settings = settings.copy(transport="file")
        return attach, (evolve(self._plan, primary=False, settings=settings, config=self._config.as_dict()),)


def _exit_code(value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return index(value)  # type: ignore[arg-type]  # the question is whether it is one
    except TypeError:
        message = f"finish(exit_code=…) must be an integer, not {type(value).__name__} ({value!r})."
        raise UsageTypeError(message) from None
