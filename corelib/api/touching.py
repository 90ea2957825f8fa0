"""What a run does to the world beside recording: only what its settings ask for.

Law: what was not asked for is not even loaded. What was ends with the run, or with an `init()` that fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextlib import ExitStack

    from corelib.api.run import Run
    from corelib.shell.report import Report

__all__ = ["touch_the_world"]

_NOT_CAPTURED: Final = ("auto", "off")


def touch_the_world(run: Run, report: Report, undo: ExitStack) -> None:
    """Begin what the settings of a run ask for; nothing where it has no directory. `undo` learns how to end it."""
    if run.writes_to(None):
        return
    undo.callback(run.stop_hooks)
    settings = run.settings
    if settings.console not in _NOT_CAPTURED:
        from corelib.shell.hooks.console import ConsoleCapture

        if settings.console == "redirect":
            report.warn(
                "console='redirect' records what Python prints, as 'wrap' does; what others write to the descriptors "
                "of this process is not recorded, for they are left as they are."
            )
        run.give_hook(lambda record: ConsoleCapture(record, run.dir, report.warn))
    if "x_disable_stats" in settings.given and not settings.x_disable_stats:
        from corelib.shell.hooks.machine import MachineSampler

        run.give_hook(lambda record: MachineSampler(record, settings.x_stats_sampling_interval, report.warn))
