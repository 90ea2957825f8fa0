"""What the HTTP transport has to see of this machine: what it is, and the files of a run directory.

Law: this room only looks, and not before somebody asks. What cannot be seen is said in words or left out, never
raised. Who works here, and with which arguments, is nobody's business: neither is looked at.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
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
    """Return what is said about this machine in the metadata of runs that ran on it, found out when it is read."""
    return _Machine()


class _Machine(Mapping[str, Any]):
    """Looking costs milliseconds, which `init()` has not: it may make a transport to ask a question."""

    @cached_property
    def _facts(self) -> dict[str, Any]:
        looks: dict[str, Callable[[], Any]] = {
            "host": platform.node,
            "os": platform.platform,
            "python": platform.python_version,
            "executable": lambda: sys.executable,
            "cpu_count": _cores,
            "cpu_count_logical": os.cpu_count,
            "disk": _disk,
            "memory": _memory,
        }
        facts: dict[str, Any] = {}
        for name, look in looks.items():
            with suppress(AttributeError, OSError, ValueError):
                facts[name] = look()
        return {name: fact for name, fact in facts.items() if fact is not None}

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def _cores() -> int | None:
    """Return how many cores there are, which each may run several threads; None where the system does not list them."""
    listed = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    return len({one.read_text() for one in listed}) or None


def _disk() -> dict[str, dict[str, str]]:
    root = os.path.abspath(os.sep)
    usage = shutil.disk_usage(root)
    return {root: {"total": str(usage.total), "used": str(usage.used)}}


def _memory() -> dict[str, str]:
    return {"total": str(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))}


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
