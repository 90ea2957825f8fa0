"""What the HTTP transport has to see of this machine: what it is, and the files of a run directory.

Law: this room only looks. What cannot be seen is said in words or left out, never raised.
"""

from __future__ import annotations

import os
import platform
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from corelib.ports import Batch, RunRef
from corelib.pure.paths import RunPaths
from corelib.pure.records import Exit
from transports.wandb_config import ClientFacts
from transports.wandb_files import FileState

__all__ = ["PROTOCOL_VERSION", "client_facts", "file_state", "machine_facts", "with_exit_code"]

PROTOCOL_VERSION: Final = "0.31.0"
"""The version of the reference client whose protocol this is: servers look at it."""


def client_facts() -> ClientFacts:
    """Return what this client says about itself."""
    return ClientFacts(PROTOCOL_VERSION, platform.python_version(), f"{sys.platform}-{platform.machine()}")


def machine_facts() -> Mapping[str, Any]:
    """Return what is said about this machine in the metadata of runs that ran on it."""
    return {
        "host": platform.node(),
        "os": platform.platform(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "cpu_count_logical": os.cpu_count(),
    }


def file_state(run: RunRef, name: str) -> FileState | str:
    """Return what is there under a name below `files/`, or why nothing can be had."""
    if run.directory is None:
        return "the run has no directory on this machine"
    path = RunPaths(Path(run.directory)).files / name
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or "it cannot be looked at"
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file"
    return FileState(str(path), found.st_size, found.st_mtime_ns)


def with_exit_code(batch: Batch) -> Batch:
    """Return a batch whose end of the run says its exit code, if the C library has left it for us meanwhile."""
    last = batch.records[-1]
    if type(last) is not Exit or last.exit_code is not None or batch.run.directory is None:
        return batch
    try:
        status = RunPaths(Path(batch.run.directory)).exit_status.read_bytes()
    except OSError:
        return batch
    if len(status) != 1:
        return batch
    return evolve(batch, records=(*batch.records[:-1], evolve(last, exit_code=status[0])))
