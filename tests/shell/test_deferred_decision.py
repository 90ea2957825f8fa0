"""What is said of a resume decision that is taken when the run is delivered."""

from __future__ import annotations

from typing import Any, cast

import pytest

from corelib.ports import Capabilities, RunRef
from corelib.pure.remote import RemoteRun, Started
from corelib.shell.deferred_decision import DeferredDecision
from corelib.shell.transport_calls import TransportCalls
from corelib.testing.specimens import start_record


class Calls:
    """A server that knows one run of three rows."""

    capabilities = Capabilities(lookup=True, create=True)

    def __init__(self) -> None:
        self.told: list[str] = []

    def lookup(self, *_: Any) -> Started:
        return Started(RemoteRun(run_id="abc", last_step=2, history_lines=3))

    def tell(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(
    ("begins", "end"), [(0, "at step 3: its steps are moved on by 3."), (3, "at step 3.")]
)
def test_steps_that_stay_are_not_called_moved(begins: int, end: str) -> None:
    """A run that was begun behind rows on their way goes on where it was recorded."""
    calls = Calls()
    start = start_record(policy="auto", deferred=None, resumed=False, starting_step=begins)
    run = RunRef(entity=None, project="p", run_id="abc")
    decision = DeferredDecision(cast("TransportCalls", calls), run, start, may_repeat=False)

    assert decision.take() is None
    (said,) = calls.told
    assert said.endswith(end)
