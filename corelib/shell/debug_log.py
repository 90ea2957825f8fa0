"""The debug log of a run: `logs/debug.log`, a logger of its own.

Law: it belongs to one run, says nothing to the host's logging, and its failures disturb nobody.
"""

from __future__ import annotations

import logging
from pathlib import Path

from corelib.pure.paths import RunPaths
from corelib.shell.report import Report

__all__ = ["attach_log", "detach_log"]


def attach_log(report: Report, paths: RunPaths[Path]) -> None:
    """Have what `report` says written to the run's debug log as well."""
    try:
        handler = logging.FileHandler(paths.debug_log, encoding="utf-8")
    except OSError as error:
        report.warn(f"No debug log: {error}.")
        return
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(threadName)s %(message)s"))
    # A log that cannot be written, as on a full disk, must not print tracebacks into the user's terminal.
    handler.handleError = _be_quiet  # type: ignore[method-assign]
    # Not from getLogger: that registers each name for ever, and many runs may share a process.
    logger = logging.Logger(f"corelib.{paths.run_dir.name}")  # noqa: LOG001
    logger.addHandler(handler)
    report.logger = logger


def detach_log(report: Report) -> None:
    """Close the debug log."""
    logger, report.logger = report.logger, None
    if logger is not None:
        for handler in logger.handlers:
            try:
                handler.close()
            except OSError:
                continue  # what was left in its buffer found no room either, and `finish()` must go on


def _be_quiet(record: logging.LogRecord) -> None:
    """Let a record that cannot be written go."""
