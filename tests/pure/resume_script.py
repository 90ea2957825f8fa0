"""A resume machine that is driven by scripted answers, and the earlier run of the contract cases."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from corelib.pure.remote import LookupFailed, RemoteRun, Started, Unreadable
from corelib.pure.resume import (
    IDLE,
    Decide,
    Decision,
    Effect,
    Event,
    LookedUp,
    Lookup,
    MarkerRead,
    ReadMarker,
    Requested,
    UpsertAnswered,
    step,
)

STORED = RemoteRun(
    run_id="abc",
    where="https://host/e/p/runs/abc",
    config={"lr": 0.1, "old": 1},
    summary={"acc": 0.5, "_step": 15, "_runtime": 50},
    last_step=15,
    history_lines=16,
    events_lines=3,
    console_lines=7,
    history_runtime=50,
    events_runtime=60,
    tags=("t1",),
    notes="nn",
    name="first",
    storage_id="key",
)
PASSED = {"lr": 0.2, "new": 2}

RUNNING = Started(STORED)
FINISHED = Started(evolve(STORED, exit_code=0))
BROKEN = Unreadable("history tail is not JSON")
DOWN = LookupFailed("unreachable", "no route to host")
FAILING = LookupFailed("server", "HTTP 503")
LOGIN = LookupFailed("auth", "HTTP 401")
FORBIDDEN = LookupFailed("forbidden", "HTTP 403: permission denied")
BARRED = LookupFailed("refused", "run was deleted")
FAILURES = (DOWN, FAILING, LOGIN, FORBIDDEN, BARRED)

INSERTED = UpsertAnswered(inserted=True)
FOUND = UpsertAnswered(inserted=False, started=False)
TAKEN = UpsertAnswered(inserted=False, started=True)


def ask(policy: Any = None, run_id: str | None = None, mode: Any = "online", **more: Any) -> Requested:
    """Return a request of `init(id=run_id, resume=policy, mode=mode, config=PASSED)`."""
    more = {"config": PASSED, **more}
    return Requested(policy=policy, run_id=run_id, fresh_id="fresh000", mode=mode, **more)


class Played:
    """A machine after its decision.

    `asked` are its questions in order, `marker_effects` what it asked for the resume file since the decision.
    """

    def __init__(
        self, request: Requested, *, marker: Any = None, server: Any = (), upsert: Any = (), disk: Any = ()
    ) -> None:
        self.asked: list[Effect] = []
        self.marker_effects: list[Effect] = []
        answers = {"server": list(server), "disk": list(disk), "upsert": list(upsert)}
        self.state, effects = step(IDLE, request)
        while not isinstance(effects[0], Decide):
            self.asked += effects
            event: Event
            match effects[0]:
                case ReadMarker():
                    event = MarkerRead(marker)
                case Lookup(_, where):
                    event = LookedUp(answers[where].pop(0))
                case _:
                    event = answers["upsert"].pop(0)
            self.state, effects = step(self.state, event)
        assert not any(answers.values()), "an answer was scripted that nobody asked for"
        self.decision: Decision = effects[0].decision

    def tell(self, event: Event) -> None:
        """Let the machine hear something after its decision."""
        self.state, effects = step(self.state, event)
        for effect in effects:
            if isinstance(effect, Decide):
                self.decision = effect.decision
            else:
                self.marker_effects.append(effect)
