"""The run: a thin object over the rules.

Law: after `init()` has returned, no failure of tracking raises into the user's code, blocks it, or grows its memory;
it is counted in the receipt and said once. How rows are recorded is in `corelib.api.recording`, what a run is in
`corelib.identity`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import evolve

from corelib.api.config import Config
from corelib.api.config import renew_lock as renew_config_lock
from corelib.api.ending import Ending
from corelib.api.identity import Plan
from corelib.api.summary import Summary
from corelib.api.summary import renew_lock as renew_summary_lock
from corelib.errors import UsageError, UsageTypeError
from corelib.pure import coerce
from corelib.pure.metrics import parse_definition
from corelib.pure.records import Alert, FileSaved, MetricDefined, Preempting, RunChange, SystemMetrics

if TYPE_CHECKING:
    from corelib.journal import JournalWriter
    from corelib.shell.report import Report

__all__ = ["Run"]


class Run(Ending):
    """One run: identity, config, history, summary, ending. Made by `init()`; a context manager that finishes itself."""

    __slots__ = (
        "__weakref__",
        "_config",
        "_notes",
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
        on_recorded: Callable[[int | None], None] | None = None,
    ) -> None:
        """Begin. For `init()`: `on_recorded` is told of the end when it is on disk, `on_end` when it is over."""
        super().__init__(plan, journal=journal, report=report, on_end=on_end, on_recorded=on_recorded)
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
        self._end_on_its_own(on_end)

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
        self._check("save")
        if self._plan.directory is None:
            return []
        try:
            from corelib.api.saving import save_files  # opens files, too

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
        try:
            from corelib.pure.alerts import parse_alert
        except OSError as error:
            self._report.warn(f"alert({title!r}) failed: {error}.")
            return
        alert, warning = parse_alert(title, text, level, wait_duration)
        if warning:
            self._report.warn(warning)
        with self._lock:
            self._check("alert")
            self._append(Alert, **alert)

    def log_system(self, values: Mapping[str, Any]) -> None:
        """Record one sample of the machine. It makes no step and no summary; servers show it beside the metrics.

        Args:
            values: names to numbers, as `{"cpu": 12.5}`; `system.` is put before a name that does not begin with it.

        Raises:
            UsageTypeError: no mapping, a name that is no text, a value that is no number.
            UsageError: the run is finished.
        """
        from corelib.pure.samples import read_sample

        data = read_sample(values)
        with self._lock:
            self._check("log_system")
            self._append(SystemMetrics, data=data)

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

    # As a value.

    def __repr__(self) -> str:
        """Show what one wants to see in a debugger."""
        mode = "offline" if self.offline else self.settings.mode  # as it turned out
        return f"<Run {self.path} {self._state}, step {self.step}, {mode}>"

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
        plan = evolve(self._plan, primary=False, carried=self._is_carried, settings=settings)
        return attach, (evolve(plan, config=self._config.as_dict()),)
