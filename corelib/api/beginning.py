"""From agreed settings to a run that has begun: mode, resume decision, directories, journal, couriers.

Law: the resume machine decides before anything is made; what is made is taken away again if a later step fails. The
marker file is touched last, when the journal holds the start of the run.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from corelib.api.destination import Destination, choose_destination, start_couriers
from corelib.api.identity import Plan
from corelib.api.run import Run
from corelib.errors import UsageError
from corelib.journal import JournalWriter
from corelib.pure.ids import ENTROPY_BYTES, generate_run_id
from corelib.pure.paths import latest_run, resume_file
from corelib.pure.records import RunStart
from corelib.pure.repository import UNCATEGORIZED
from corelib.pure.resume import Decision, Requested
from corelib.shell.debug_log import attach_log, detach_log
from corelib.shell.directories import RunDirectory, link, make_run_directory
from corelib.shell.drive import ResumeDriver
from corelib.shell.marker import MarkerFile

if TYPE_CHECKING:
    from corelib.ports import RunRef
    from corelib.pure.config import Merged
    from corelib.pure.remote import Answer
    from corelib.pure.resolve import Resolution
    from corelib.pure.resume_table import Place, Policy
    from corelib.pure.settings import Settings
    from corelib.pure.sources import Identity as Names
    from corelib.shell.courier import Courier
    from corelib.shell.report import Report
    from corelib.shell.session import Session

__all__ = ["Beginning", "begin"]


@frozen(kw_only=True)
class Beginning:
    """What `init()` has settled before a run begins."""

    names: Names
    session: Session
    resolution: Resolution
    data_directory: str
    config: Merged
    report: Report
    read_config_file: Callable[[str], str]
    make_current: bool
    fresh_id: str
    start_time: float

    @property
    def settings(self) -> Settings:
        """The settings of the run."""
        return self.resolution.settings


def begin(beginning: Beginning) -> Run:
    """Decide and start the run.

    Raises:
        UsageError: `resume` forbids it, or there is no directory to write to.
        CommError: an answer of the server was needed, and there was none.
    """
    destination = choose_destination(beginning.resolution, beginning.data_directory, report=beginning.report)
    data = beginning.data_directory
    if not destination.keeps_journal:
        driver = ResumeDriver(ask_disk=_nothing_there)
        decision = _decided(driver, beginning, "disabled")
        return _start(beginning, destination, driver, decision, None)
    marker = MarkerFile(resume_file(Path(data), beginning.names.directory))
    driver = ResumeDriver(
        ask_disk=lambda run_id, timeout: _ask_disk(beginning, data, run_id, timeout),
        marker=marker,
        budget_s=beginning.settings.init_timeout,
    )
    decision = _decided(driver, beginning, destination.mode)
    made = make_run_directory(
        data,
        mode=destination.mode,
        run_id=decision.run_id,
        start_time=beginning.start_time,
        fallback_name=beginning.names.directory,
        warn=beginning.report.warn,
    )
    try:
        return _start(beginning, destination, driver, decision, made)
    except BaseException:
        made.take_away()
        raise


def _nothing_there(run_id: str, timeout: float) -> Answer:  # noqa: ARG001  a lookup's signature
    from corelib.pure.remote import Absent

    return Absent()


def _ask_disk(beginning: Beginning, data: str, run_id: str, timeout: float) -> Answer:
    from corelib.ports import RunRef
    from corelib.shell.wiring import load_transport

    transport: Any = load_transport("file", data)
    return transport.lookup(RunRef(run_id=run_id, project=_project(beginning.settings)), timeout)  # type: ignore[no-any-return]


def _decided(driver: ResumeDriver, beginning: Beginning, mode: str) -> Decision:
    settings = beginning.settings
    provenance = beginning.resolution.provenance
    for run in beginning.session.active:
        if run.id == settings.run_id and mode != "disabled" and not run.disabled:
            raise UsageError(
                f"Run id {run.id} is in use by another run of this process: finish that one first."
            )
    decision = driver.decide(
        Requested(
            policy=cast("Policy", settings.resume),
            run_id=settings.run_id,
            id_source=provenance["run_id"].origin,
            mode=cast("Place", mode),
            force=settings.force,
            fresh_id=beginning.fresh_id,
            can_lookup=False,
            config=beginning.config.tree,
            tags=settings.run_tags,
            notes=settings.run_notes,
            name=settings.run_name,
        )
    )
    for warning in decision.warnings:
        beginning.report.warn(warning)
    if decision.action == "refuse":
        raise (decision.error or UsageError)(decision.reason)
    return decision


def _start(
    beginning: Beginning,
    destination: Destination,
    driver: ResumeDriver,
    decision: Decision,
    made: RunDirectory | None,
) -> Run:
    """Open the journal, write how the run begins, start what carries it, and make it known."""
    settings, report = beginning.settings, beginning.report
    plan = _plan(beginning, destination, decision, made)
    journal = None
    couriers: list[Courier] = []
    if made is not None:
        journal = JournalWriter(
            Path(made.paths.journal),
            run_id=plan.run_id,
            writer=plan.writer,
            start_time=plan.start_time,
            now=plan.start_time,
            host=plan.host,
            primary=True,
        )
        attach_log(report, made.paths)
        try:
            start = cast(
                "RunStart",
                journal.append(RunStart, time=plan.start_time, **_start_fields(plan, destination.mode)),
            )
        except BaseException:
            journal.close()
            raise
        if destination.transports:
            couriers = start_couriers(destination, _address(plan), start, report)

    def ended(run: Run, exit_code: int | None) -> None:
        for warning in driver.run_finished(exit_code):
            report.warn(warning)
        beginning.session.ended(run)
        ending = run.state if exit_code is not None else "ended by SystemExit"
        report.say(f"run {run.id} {ending}: {run.receipt}")
        detach_log(report)

    run = Run(
        plan,
        journal=journal,
        report=report,
        couriers=couriers,
        on_end=ended,
        read_text=beginning.read_config_file,
    )
    for warning in driver.run_started():
        report.warn(warning)
    if made is not None:
        link(latest_run(Path(made.data)), made.paths.folder, report.debug)
        report.say(
            f"run {run.id} of project {run.project} ({settings.mode}): {decision.reason} {run.sync_dir}"
        )
    beginning.session.started(run, make_current=beginning.make_current)
    return run


def _plan(
    beginning: Beginning, destination: Destination, decision: Decision, made: RunDirectory | None
) -> Plan:
    settings = beginning.settings
    return Plan(
        run_id=decision.run_id,
        settings=settings,
        decision=decision,
        start_time=beginning.start_time,
        host=settings.host or "",
        writer=generate_run_id(os.urandom(ENTROPY_BYTES)),
        directory=str(made.paths.run_dir) if made else None,
        config=decision.config,
        locked=beginning.config.locked,
        allow_val_change=settings.allow_val_change,
        name=decision.name,
        notes=decision.notes,
        tags=decision.tags,
        offline=destination.mode == "offline",
    )


def _start_fields(plan: Plan, mode: str) -> dict[str, Any]:
    settings, decision = plan.settings, plan.decision
    return {
        "project": _project(settings),
        "entity": settings.entity,
        "name": plan.name,
        "group": settings.run_group,
        "job_type": settings.run_job_type,
        "notes": plan.notes,
        "tags": plan.tags,
        "mode": mode,
        "resumed": decision.action == "resumed",
        "starting_step": decision.starting_step,
        "runtime_offset": decision.runtime_offset,
        "previous": decision.previous,
        "decision": decision.reason,
        "config": decision.config,
        "summary": decision.summary,
        "program": settings.program,
        "sweep_id": settings.sweep_id,
    }


def _address(plan: Plan) -> RunRef:
    from corelib.ports import RunRef

    return RunRef(
        run_id=plan.run_id,
        project=_project(plan.settings),
        entity=plan.settings.entity,
        directory=plan.directory,
    )


def _project(settings: Settings) -> str:
    return settings.project or UNCATEGORIZED
