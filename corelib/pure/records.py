"""The record types of a journal: what a run did, one frozen value per event.

Law: a record is data. It knows nothing of bytes (`wire` does), of files or of transports. Every record has `seq`,
unique and growing per writer, and `time`, seconds since the epoch; (run id, writer id, seq) names it for ever, which
is the idempotency key of delivery. Values are JSON trees in which floats may be non-finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

__all__ = [
    "FORMAT_VERSION",
    "Alert",
    "ConfigChange",
    "ConsoleLines",
    "Exit",
    "FileSaved",
    "Header",
    "MetricDefined",
    "Preempting",
    "Record",
    "Row",
    "RunChange",
    "RunStart",
    "SummaryChange",
    "SystemMetrics",
]

FORMAT_VERSION = 1

Tree: TypeAlias = Mapping[str, Any]


@frozen(kw_only=True)
class Header:
    """The first record of every segment: who writes, for which run, in which format."""

    seq: int
    time: float
    version: int
    run_id: str
    writer: str
    segment: int
    start_time: float
    host: str
    pid: int
    primary: bool


@frozen(kw_only=True)
class RunStart:
    """The identity of the run as `init()` decided it; the second record of the primary writer.

    `starting_step` and `runtime_offset` (seconds) continue an earlier run; `previous` names the run directory that
    this one continues, or None; `decision` is the sentence that says why the run was started, resumed or overwritten.
    `deferred` is the `resume=` of a call of which something is left to decide when the run is delivered, as
    `corelib.pure.deferral` does; None: nothing is. `host` and `writer` are those of the header, for those who get no
    header. `commit` and `remote` (without credentials) are of the git repository that the program lies in, and
    `code_path` is its path there. `ignored` are patterns of saved files that are not to be delivered. `inherited` says
    what nobody gave this run, for it is what `init()` found of the run that it continues: `config/<key>`, `tags`,
    `notes`, `name`; its summary always is. `policy` is the `resume=` of a call whose id somebody chose.
    `latest` is not recorded: to whoever delivers the run once more it says of when the newest row of it is that the
    backend's summary knows, in seconds since the epoch, and `latest_step` which step that has.
    """

    seq: int
    time: float
    project: str
    entity: str | None
    name: str | None
    group: str | None
    job_type: str | None
    notes: str | None
    tags: tuple[str, ...]
    mode: str
    resumed: bool
    starting_step: int
    runtime_offset: float
    previous: str | None
    decision: str
    config: Tree
    summary: Tree
    program: str | None
    sweep_id: str | None
    deferred: str | None = None
    host: str | None = None
    commit: str | None = None
    remote: str | None = None
    code_path: str | None = None
    writer: str | None = None
    ignored: tuple[str, ...] = ()
    inherited: tuple[str, ...] = ()
    policy: str | None = None
    latest: float = 0.0
    latest_step: int = 0


@frozen(kw_only=True)
class Row:
    """One `log()` call. `commit` False leaves the row open for the next call of the same step.

    `step` is None where the writer is not the primary one and the caller named no step: the reader numbers it.
    `late` marks a step behind the current one, kept as a row of its own.
    """

    seq: int
    time: float
    step: int | None
    data: Tree
    commit: bool = True
    late: bool = False


@frozen(kw_only=True)
class ConfigChange:
    """Config keys set to new values (whole top-level values) and keys removed."""

    seq: int
    time: float
    update: Tree
    remove: tuple[str, ...] = ()


@frozen(kw_only=True)
class SummaryChange:
    """Summary keys set by hand (whole top-level values) and keys removed."""

    seq: int
    time: float
    update: Tree
    remove: tuple[str, ...] = ()


@frozen(kw_only=True)
class MetricDefined:
    """One `define_metric()` call, as given after validation."""

    seq: int
    time: float
    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    hidden: bool | None = None
    summary: tuple[str, ...] | None = None
    overwrite: bool = False


@frozen(kw_only=True)
class RunChange:
    """Name, notes or tags changed while running; None means unchanged, so a cleared text is ""."""

    seq: int
    time: float
    name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] | None = None


@frozen(kw_only=True)
class FileSaved:
    """A file now stands under `files/` at `path` (POSIX separators); `policy` is live, now or end."""

    seq: int
    time: float
    path: str
    policy: str


@frozen(kw_only=True)
class ConsoleLines:
    """Lines that the program printed to `stream`, stdout or stderr: whole ones, in order, without line feeds."""

    seq: int
    time: float
    stream: str
    lines: tuple[str, ...]


@frozen(kw_only=True)
class SystemMetrics:
    """One sample of the machine: named numbers, such as `system.cpu`."""

    seq: int
    time: float
    data: Tree


@frozen(kw_only=True)
class Alert:
    """A message for people; `wait_duration` in seconds is the least distance of alerts with the same title."""

    seq: int
    time: float
    title: str
    text: str
    level: str
    wait_duration: float


@frozen(kw_only=True)
class Preempting:
    """The machine announced that it will be taken away."""

    seq: int
    time: float


@frozen(kw_only=True)
class Exit:
    """The writer ended the run. `exit_code` None: the interpreter ended by a SystemExit whose code Python hid."""

    seq: int
    time: float
    exit_code: int | None
    runtime: float


Record: TypeAlias = (
    Header
    | RunStart
    | Row
    | ConfigChange
    | SummaryChange
    | MetricDefined
    | RunChange
    | FileSaved
    | ConsoleLines
    | SystemMetrics
    | Alert
    | Preempting
    | Exit
)
