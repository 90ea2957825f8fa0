"""From agreed settings to a run that has begun: mode, resume decision, directories, journal, couriers.

Law: the resume machine decides before anything is made; what is made is taken away again if a later step fails, a
Ctrl-C included: `undo` holds how, step by step. The marker file is touched last, when everything else stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from corelib.api.destination import (
    Carrier,
    Destination,
    Listeners,
    choose_destination,
    close_at_once,
    start_couriers,
)
from corelib.api.identity import Plan
from corelib.api.run import Run
from corelib.api.touching import touch_the_world
from corelib.errors import JournalError, UsageError
from corelib.journal import JournalWriter
from corelib.pure.ids import ENTROPY_BYTES, generate_run_id
from corelib.pure.paths import latest_run, resume_file
from corelib.pure.records import RunStart
from corelib.pure.repository import UNCATEGORIZED
from corelib.pure.resume import Decision, Requested, UpsertAnswered
from corelib.shell.debug_log import attach_log, detach_log
from corelib.shell.directories import RunDirectory, check_room, link, link_back, linked, make_run_directory
from corelib.shell.drive import ResumeDriver
from corelib.shell.marker import MarkerFile
from corelib.shell.repository import checkout_of

if TYPE_CHECKING:
    from corelib.ports import CompleteTransport, RunRef
    from corelib.pure.config import Merged
    from corelib.pure.remote import Answer
    from corelib.pure.resolve import Resolution
    from corelib.pure.resume_table import Place, Policy
    from corelib.pure.settings import Settings
    from corelib.pure.sources import Identity as Names
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
    if not destination.keeps_journal:
        driver = ResumeDriver(ask_disk=_nothing_there)
        decision = _decided(driver, beginning, "disabled")
        return _start(beginning, destination, driver, decision, None, ExitStack())
    driver = _driver(beginning, destination.server)
    mode = "online" if destination.server is not None else "offline"
    if destination.server is not None:
        _check_before_the_server_is_told(beginning, destination.server)
    decision = _decided(driver, beginning, mode)
    if decision.deferred:
        destination = destination.offline()
    has_backlog = _has_backlog(beginning, destination.server, decision.run_id)
    if has_backlog:
        decision = _behind_backlog(beginning, decision)
    made = make_run_directory(
        beginning.data_directory,
        mode=destination.mode,
        run_id=decision.run_id,
        start_time=beginning.start_time,
        fallback_name=beginning.names.directory,
        warn=beginning.report.warn,
    )
    with ExitStack() as undo:
        undo.callback(made.take_away)
        run = _start(beginning, destination, driver, decision, made, undo, has_backlog=has_backlog)
        undo.pop_all()
    return run


def _has_backlog(beginning: Beginning, server: Carrier | None, run_id: str) -> bool:
    """Return whether an earlier part of the run is still on its way from this machine to the server."""
    if server is None or beginning.settings.resume is None or run_id == beginning.fresh_id:
        return False
    from corelib.shell.predecessors import has_backlog
    from corelib.shell.wiring import destination_name

    run = _address(beginning.settings, run_id, None)
    return has_backlog(beginning.data_directory, run, destination_name(server.spec, server.address))


def _behind_backlog(beginning: Beginning, decision: Decision) -> Decision:
    from corelib.pure.deferral import behind_recorded

    recorded = _ask_disk(
        beginning, beginning.data_directory, decision.run_id, beginning.settings.init_timeout
    )
    return behind_recorded(decision, recorded)


def _check_before_the_server_is_told(beginning: Beginning, server: Carrier) -> None:
    """Refuse what would make a run at the server that cannot be, or that is not the first under its id.

    Raises:
        UsageError: the run exists, though the server does not know it yet.
        JournalError: the disk has no room for it.
    """
    run_id, data = beginning.settings.run_id, beginning.data_directory
    if beginning.settings.resume is None:
        return
    try:
        check_room(data)
    except OSError as error:
        raise JournalError(
            f"No run can be recorded in {data} ({error.strerror or error}): make room there, or give init(dir=…) "
            "another directory."
        ) from error
    if beginning.settings.resume == "never" and run_id and _has_backlog(beginning, server, run_id):
        raise UsageError(
            f"resume='never', but run {run_id} exists: this machine has recorded it and not delivered all of it yet. "
            "Choose another id, or use resume='allow' to continue it."
        )


def _driver(beginning: Beginning, server: Carrier | None) -> ResumeDriver:
    """Return what performs the resume machine's wishes. The server's transport is loaded when it is asked first."""
    data = beginning.data_directory
    loaded: list[CompleteTransport] = []

    def transport() -> CompleteTransport:
        if not loaded:
            loaded.append(cast("Carrier", server).load())  # nobody is asked where there is none
        return loaded[0]

    def lookup(run_id: str, timeout: float) -> Answer:
        return transport().lookup(_address(beginning.settings, run_id, None), timeout)

    def create(run_id: str, timeout: float) -> UpsertAnswered:
        run = _address(beginning.settings, run_id, None)
        return transport().create(run, _provisional_start(beginning), timeout)

    return ResumeDriver(
        ask_disk=lambda run_id, timeout: _ask_disk(beginning, data, run_id, timeout),
        marker=MarkerFile(resume_file(Path(data), beginning.names.directory)),
        ask_server=None if server is None else lookup,
        create=None if server is None else create,
        budget_s=beginning.settings.init_timeout,
    )


def _provisional_start(beginning: Beginning) -> RunStart:
    """Return how the run would begin if it is new, for a backend that says who was first."""
    settings = beginning.settings
    new = Decision(
        action="new",
        rule="",
        reason="",
        run_id="",
        config=beginning.config.tree,
        tags=settings.run_tags or (),
        notes=settings.run_notes,
        name=settings.run_name,
    )
    return RunStart(seq=1, time=beginning.start_time, **_start_fields(beginning, new, "online"))


def _nothing_there(run_id: str, timeout: float) -> Answer:  # noqa: ARG001  a lookup's signature
    from corelib.pure.remote import Absent

    return Absent()


def _ask_disk(beginning: Beginning, data: str, run_id: str, timeout: float) -> Answer:
    from corelib.shell.wiring import load_transport

    disk = cast("CompleteTransport", load_transport("file", data))
    return disk.lookup(_address(beginning.settings, run_id, None), timeout)


def _decided(driver: ResumeDriver, beginning: Beginning, mode: str) -> Decision:
    settings = beginning.settings
    provenance = beginning.resolution.provenance
    decision = driver.decide(
        Requested(
            policy=cast("Policy", settings.resume),
            run_id=settings.run_id,
            id_source=provenance["run_id"].origin,
            mode=cast("Place", mode),
            force=settings.force,
            fresh_id=beginning.fresh_id,
            can_lookup=mode == "online",
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
    undo: ExitStack,
    *,
    has_backlog: bool = False,
) -> Run:
    """Open the journal, write how the run begins, start what carries it, and make it known."""
    settings, report = beginning.settings, beginning.report
    plan = _plan(beginning, destination, decision, made)
    journal = start = None
    if made is not None:
        fields = _start_fields(beginning, decision, destination.mode, has_backlog=has_backlog)
        journal, start = _open_journal(plan, made, {**fields, "writer": plan.writer}, undo)
        undo.callback(detach_log, report)
        attach_log(report, made.paths)
        for warning in (*destination.warnings, *decision.warnings):
            report.debug(warning)  # it was shown before there was a log

    def recorded(exit_code: int | None) -> None:
        for warning in driver.run_finished(exit_code):
            report.warn(warning)

    def ended(run: Run, exit_code: int | None) -> None:
        beginning.session.ended(run)
        ending = run.state if exit_code is not None else "ended by SystemExit"
        report.say(f"run {run.id} {ending}: {run.receipt}")
        detach_log(report)

    run = Run(
        plan,
        journal=journal,
        report=report,
        on_end=ended,
        on_recorded=recorded,
        read_text=beginning.read_config_file,
    )
    if made is not None:
        latest = latest_run(Path(made.data))
        undo.callback(link_back, latest, linked(latest), report.debug)
        link(latest, made.paths.folder, report.debug)
        # A reason that was a warning has been read already.
        reason = "" if decision.reason in decision.warnings else f"{decision.reason} "
        report.say(f"run {run.id} of project {run.project} ({destination.mode}): {reason}{run.sync_dir}")
    undo.callback(_withdraw, beginning.session, run, beginning.session.current)
    beginning.session.started(run, make_current=beginning.make_current)
    if start is not None and destination.carriers:
        # Last of what can fail: a run that could not begin must not be told of to a server.
        listeners = Listeners(report=report.warn, found=run.take_remote, stopped=run.take_stop)
        couriers = start_couriers(
            destination,
            _address(settings, plan.run_id, plan.directory),
            start,
            writer=plan.writer,
            in_process=settings.delivery == "process",
            listeners=listeners,
        )
        undo.callback(close_at_once, couriers)
        run.give_couriers(couriers)
    touch_the_world(run, report, undo)
    for warning in driver.run_started():
        report.warn(warning)
    return run


def _open_journal(
    plan: Plan, made: RunDirectory, fields: dict[str, Any], undo: ExitStack
) -> tuple[JournalWriter, RunStart]:
    """Open the journal, and write how the run begins.

    Raises:
        JournalError: the disk is full, or does not work.
    """
    try:
        journal = JournalWriter(
            Path(made.paths.journal),
            run_id=plan.run_id,
            writer=plan.writer,
            start_time=plan.start_time,
            now=plan.start_time,
            host=plan.host,
            primary=True,
        )
        undo.callback(journal.close)
        return journal, cast("RunStart", journal.append(RunStart, time=plan.start_time, **fields))
    except OSError as error:
        raise JournalError(
            f"The journal of run {plan.run_id} cannot be begun in {made.data} ({error.strerror or error}): make room "
            "there, or give init(dir=…) another directory."
        ) from error


def _withdraw(session: Session, run: Run, former: Run | None) -> None:
    session.ended(run)
    session.current = former


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


def _start_fields(
    beginning: Beginning, decision: Decision, mode: str, *, has_backlog: bool = False
) -> dict[str, Any]:
    settings = beginning.settings
    # A generated id means no earlier run, wherever one asks; where a run goes on is known when its turn has come.
    policy = None if decision.run_id == beginning.fresh_id else settings.resume
    is_open = mode == "offline" or has_backlog or decision.action == "resumed"
    return {
        "project": _project(settings),
        "entity": settings.entity,
        "name": decision.name,
        "group": settings.run_group,
        "job_type": settings.run_job_type,
        "notes": decision.notes,
        "tags": decision.tags,
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
        "deferred": policy if is_open else None,
        "ignored": settings.ignore_globs,
        "inherited": decision.inherited,
        "policy": policy,
        "host": settings.host,
        **checkout_of(settings.program)._asdict(),
    }


def _address(settings: Settings, run_id: str, directory: str | None) -> RunRef:
    from corelib.ports import RunRef

    return RunRef(run_id=run_id, project=_project(settings), entity=settings.entity, directory=directory)


def _project(settings: Settings) -> str:
    return settings.project or UNCATEGORIZED
