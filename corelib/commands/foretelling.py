"""What `init()` would decide about resuming, here and now.

Law: the resume machine itself decides, over the same table. No server is asked unless somebody wants that; where its
answer is what counts, every answer there can be is foretold, row by row. Nothing is made, here or at the server.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from corelib.pure.resume import IDLE, Lookup, MarkerRead, ReadMarker, Requested, State, step
from corelib.pure.resume_table import Known, row_for
from corelib.shell.drive import ResumeDriver
from corelib.shell.marker import MarkerFile

if TYPE_CHECKING:
    from corelib.ports import Address, Answer
    from corelib.pure.resolve import Resolution
    from corelib.pure.resume_table import Place, Policy

__all__ = ["ASKS", "Foretold", "foretell"]

ASKS: Final = "ask the server"
"""The plan where the server's answer decides, and nobody has asked it."""

_MOST_S: Final = 10.0
_ANSWERS: Final[dict[Known, str]] = {
    "started": "it exists",
    "absent": "it does not exist",
    "created": "it was never started",
    "unreachable": "no answer",
    "auth": "login refused",
}
_OUTCOMES: Final = {
    "new": "new",
    "resumed": "resumed",
    "overwrite": "overwritten",
    "fresh": "new under a generated id",
    "deferred": "recorded offline",
    "refuse": "an error",
}


class Foretold(NamedTuple):
    """What would be decided: new, resumed, overwrite, refuse, or that the server is asked first."""

    plan: str
    run_id: str
    starting_step: int
    rule: str
    reason: str


def foretell(
    resolution: Resolution, directory: str, marker: MarkerFile, *, server: Address | None, ask: bool
) -> Foretold:
    """Let the resume machine decide. Nothing is started, so nothing is made.

    Args:
        resolution: the settings.
        directory: the directory of all runs.
        marker: the resume file.
        server: the server that the run would go to; None: none.
        ask: whether that may be asked.
    """
    settings = resolution.settings
    place: Place = "offline" if server is None else "online"
    request = Requested(
        policy=cast("Policy", settings.resume),
        run_id=settings.run_id,
        id_source=resolution.provenance["run_id"].origin,
        mode="disabled" if settings.mode == "disabled" else place,
        force=settings.force,
        fresh_id="(generated)",
    )
    if server is not None and not ask:
        state, effect = _begun(request, marker)
        if isinstance(effect, Lookup):
            return _asking(state, server)
    driver = ResumeDriver(
        ask_disk=_lookup("file", directory, settings.project, settings.entity),
        ask_server=None if server is None else _lookup("http", server, settings.project, settings.entity),
        marker=marker,
        budget_s=min(settings.init_timeout, _MOST_S),
    )
    decision = driver.decide(request)
    return Foretold(decision.action, decision.run_id, decision.starting_step, decision.rule, decision.reason)


def _begun(request: Requested, marker: MarkerFile) -> tuple[State, object]:
    """Return the machine at its first question that this machine cannot answer, or at its decision."""
    state, effects = step(IDLE, request)
    if isinstance(effects[0], ReadMarker):
        state, effects = step(state, MarkerRead(marker.read()))
    return state, effects[0]


def _asking(state: State, server: Address) -> Foretold:
    from corelib.shell.delivery_spec import place_of

    host = place_of(server.base_url or "")
    foretold = "; ".join(f"{answer}: {outcome}" for answer, outcome in _outcomes(state))
    return Foretold(ASKS, state.run_id, 0, "", f"{host} is asked for run {state.run_id} ({foretold}).")


def _outcomes(state: State) -> Iterator[tuple[str, str]]:
    request = state.request
    for known, answer in _ANSWERS.items():
        try:
            row = row_for("online", request.policy, state.id_from, known, force=request.force)
        except LookupError:  # a generated id cannot be known there
            continue
        yield answer, _OUTCOMES[row.outcome]


def _lookup(name: str, address: Address | str, project: str | None, entity: str | None) -> Any:
    from corelib.ports import RunRef
    from corelib.pure.repository import UNCATEGORIZED
    from corelib.shell.wiring import load_transport

    transport: Any = None

    def lookup(run_id: str, timeout: float) -> Answer:
        nonlocal transport
        if transport is None:
            transport = load_transport(name, address)
        run = RunRef(run_id=run_id, project=project or UNCATEGORIZED, entity=entity)
        answer: Answer = transport.lookup(run, timeout)
        return answer

    return lookup
