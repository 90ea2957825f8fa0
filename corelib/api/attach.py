"""A pickled run, in another process: it writes to the same run, through segments of its own.

Law: unpickling in the process that owns the run gives the run itself; anywhere else a secondary writer, whose end
does not end the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from corelib.api.run import Run
from corelib.shell.gather import read_text
from corelib.shell.report import Report
from corelib.shell.session import default

if TYPE_CHECKING:
    from corelib.api.identity import Plan

__all__ = ["attach"]


def attach(plan: Plan) -> Run:
    """Return the run of `plan` in this process; `plan` is that of a secondary writer."""
    # In a forked child no run is active, and the current one may be that of the parent, which the child writes to.
    for run in (*default.active, default.current):
        if run is not None and run.id == plan.run_id and run.writes_to(plan.directory):
            return run  # type: ignore[no-any-return]  # the session keeps runs
    settings = plan.settings
    run = Run(
        plan,
        journal=None,
        report=Report("corelib", silent=settings.silent, quiet=settings.quiet),
        on_end=lambda run, _: default.ended(run),
        read_text=read_text,
    )
    default.started(run, make_current=default.current is None)
    return run
