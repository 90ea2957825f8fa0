"""Run states: what may be called in each, and how a reader tells them apart."""

from __future__ import annotations

import pytest

from corelib.errors import UsageError
from corelib.pure.lifecycle import ALLOWED, CRASHED, FAILED, FINISHED, RUNNING, check_call, state_of

WRITES = sorted(ALLOWED[RUNNING])


@pytest.mark.parametrize("call", WRITES)
def test_running_takes_everything(call: str) -> None:
    """Every call that changes a run is legal while it runs."""
    check_call(RUNNING, call, "abc")


@pytest.mark.parametrize("state", [FINISHED, FAILED])
@pytest.mark.parametrize("call", [call for call in WRITES if call != "finish"])
def test_ended_takes_nothing(state: str, call: str) -> None:
    """A run that has ended refuses every change; the message names run, call and the way out."""
    with pytest.raises(UsageError, match=rf"Run abc is finished, so {call} has no effect.*init\(\)"):
        check_call(state, call, "abc")


@pytest.mark.parametrize("state", [RUNNING, FINISHED, FAILED])
def test_finish_is_always_legal(state: str) -> None:
    """Finishing twice is harmless."""
    check_call(state, "finish", "abc")


def test_unknown_call_is_refused() -> None:
    """An absent entry of the table is the error, in every state."""
    with pytest.raises(UsageError):
        check_call(RUNNING, "explode", "abc")


@pytest.mark.parametrize(
    ("ended", "exit_code", "live", "expected"),
    [
        (True, 0, False, FINISHED),
        (True, 0, True, FINISHED),
        (True, 1, False, FAILED),
        (True, 255, True, FAILED),
        (True, -9, False, FAILED),
        (True, None, False, FAILED),
        (False, None, True, RUNNING),
        (False, None, False, CRASHED),
    ],
)
def test_state_that_a_reader_sees(ended: bool, exit_code: int | None, live: bool, expected: str) -> None:
    """The exit record decides; without one it is the life of the writer. A code nobody knows is no success."""
    assert state_of(ended=ended, exit_code=exit_code, live=live) == expected
