"""Run states: which there are, what may be called in each, and how a reader tells them from a journal.

Law: a run is `running` until it is finished, and a finished run accepts nothing but questions. For a reader the exit
record decides; without one, a living writer means running and a dead one means crashed.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from corelib.errors import UsageError

__all__ = ["ALLOWED", "CRASHED", "FAILED", "FINISHED", "RUNNING", "check_call", "state_of"]

RUNNING: Final = "running"
FINISHED: Final = "finished"
FAILED: Final = "failed"
CRASHED: Final = "crashed"

_WRITES: Final = frozenset(
    {
        "alert",
        "config",
        "define_metric",
        "finish",
        "log",
        "log_system",
        "mark_preempting",
        "name",
        "notes",
        "save",
        "summary",
        "tags",
    }
)

ALLOWED: Final = MappingProxyType(
    {
        RUNNING: _WRITES,
        FINISHED: frozenset({"finish"}),
        FAILED: frozenset({"finish"}),
    }
)
"""The calls that change a run, legal per state. An absent entry is an error; finishing twice is harmless."""


def check_call(state: str, call: str, run_id: str) -> None:
    """Check that `call` may be made in `state`.

    Raises:
        UsageError: it may not; the run is unchanged.
    """
    if call not in ALLOWED[state]:
        message = (
            f"Run {run_id} is finished, so {call} has no effect on it any more. "
            "Call it before finish(), or start a new run with init()."
        )
        raise UsageError(message)


def state_of(*, ended: bool, exit_code: int | None, live: bool) -> str:
    """Return the state a reader sees: whether an exit record is there, with which code, and whether a writer lives.

    An unknown code (None) in an exit record counts as failed: a success would have said so.
    """
    if ended:
        return FINISHED if exit_code == 0 else FAILED
    return RUNNING if live else CRASHED
