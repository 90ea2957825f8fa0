"""The resume decision that `init()` left open: taken when the run is delivered, before its first record.

Law: a run that was recorded while no server was asked keeps the words of its call in `RunStart.deferred`, and what the
server knows when the run is delivered decides as the table of `corelib.pure.resume_table` does. Under `allow` and
`auto` it goes on behind what is there (R5, R23), as every part does that continues another one; under `never` it is
refused (R15), without `resume=` it takes the place of what is there (R2), though of nothing that was begun after it;
else it is new. Nothing stored is overwritten over a decision that nobody could take, and a part whose beginning is not
there waits for it. Where a server was asked and had no such run, the words of the call (`RunStart.policy`) hold for
what somebody else has begun there since.

A run that goes on keeps its records and their numbers. Its steps and its runtime are moved behind what is there; what
it was given is laid over what is stored, which is newer than what `init()` found of it. Where it begins is noted in the
stored config, as `corelib.pure.parts` says: as long as that note is there the decision comes out the same however often
it is taken, by whomever, with a cursor or without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias, TypeVar

from attrs import evolve, field, frozen

from corelib.pure.outcomes import Rejected, Retry
from corelib.pure.parts import (
    Base,
    base_of,
    has_begun_since,
    next_place,
    with_base,
    with_bases_of,
    with_later_bases_of,
)
from corelib.pure.records import Exit, Record, Row, RunStart
from corelib.pure.remote import (
    Answer,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
    merged_config,
    runtime_offset,
    starting_step,
)
from corelib.pure.resume_events import Decision

__all__ = ["ASK_AGAIN_S", "Continuation", "Verdict", "behind_recorded", "continued", "decide", "taken_up"]

ASK_AGAIN_S: Final = 15.0
"""How long to wait, in seconds, where only people can mend what keeps the question from being answered."""


@frozen(kw_only=True)
class Continuation:
    """What a run takes over from the one that it goes on behind.

    Args:
        resumed: there is something that it goes on behind.
        repeats: some of it was delivered before.
        step_shift: how many steps its own are moved on.
        runtime_shift: how many seconds its own runtime is moved on.
        config, summary: what is stored; the run's own values are laid over it.
        tags, notes, name: what is stored; it holds where the run says nothing itself.
        latest, latest_step: of when the newest row of its own is that the stored summary knows, in seconds since the
            epoch, and its step.
    """

    resumed: bool = True
    repeats: bool = False
    step_shift: int = 0
    runtime_shift: float = 0.0
    config: Mapping[str, Any] = field(factory=dict)
    summary: Mapping[str, Any] = field(factory=dict)
    tags: tuple[str, ...] = ()
    notes: str | None = None
    name: str | None = None
    latest: float = 0.0
    latest_step: int = 0


T = TypeVar("T")

Verdict: TypeAlias = Continuation | Retry | Rejected | None
"""What follows: go on as it says, ask again, deliver nothing, or (None) begin as recorded."""


def behind_recorded(decision: Decision, recorded: Answer) -> Decision:
    """Return a decision of `init()` for a run of which not everything recorded here has arrived at the server yet.

    Steps begin behind what is recorded, as they will at the server by then, so that nobody has to move them.

    Args:
        decision: what the server's answer led to.
        recorded: what this machine has recorded of the run.
    """
    step = starting_step(recorded.remote) if isinstance(recorded, Started) else 0
    if step <= decision.starting_step:
        return decision
    reason = (
        f"{decision.reason} Rows that are still to be delivered come before it, so it begins at step {step}."
    )
    return evolve(decision, starting_step=step, reason=reason)


def decide(start: RunStart, run_id: str, answer: Answer) -> Verdict:
    """Return what follows from the answer about a run whose decision is open.

    Args:
        start: how the run was recorded to begin.
        run_id: what it is called where it is delivered to.
        answer: what is known of that id there.
    """
    if isinstance(answer, LookupFailed):
        retry = _ask_again(run_id, answer)
        return Rejected(reason=retry.reason) if answer.kind == "refused" else retry
    replaces = start.deferred is None and start.policy is None and not start.resumed
    if isinstance(answer, Unreadable) and not replaces:
        return Rejected(
            reason=f"what is stored of run {run_id} cannot be understood ({_trimmed(answer.reason)}), and nothing was "
            "changed there; `corelib sync --id` delivers under another id"
        )
    if not isinstance(answer, Started) or _is_untouched(start, answer.remote):
        return _first(start, run_id)
    remote = answer.remote
    noted = base_of(remote.config, start.writer)
    if replaces and noted is None and has_begun_since(remote.config, start.time):
        return Rejected(
            reason=f"run {run_id} was begun anew after this part of it was recorded, and nothing was changed there; "
            "`corelib sync --id` delivers it under another id"
        )
    if replaces and noted is None:
        begins = _begins(start, next_place(remote.config))
        return Continuation(resumed=False, config=_noted(with_bases_of({}, remote.config), start, begins))
    if start.deferred == "never" and not start.resumed and noted is None:
        where = f" ({answer.remote.where})" if answer.remote.where else ""
        return Rejected(
            reason=f"resume='never', but run {run_id} exists{where}; `corelib sync --id` delivers under another id"
        )
    base = noted or Base(
        history=remote.history_lines,
        events=remote.events_lines,
        console=remote.console_lines,
        step=max(starting_step(remote), start.starting_step),
        runtime=max(runtime_offset(remote), start.runtime_offset),
        place=next_place(remote.config),
        began=start.time,
    )
    return Continuation(
        repeats=noted is not None,
        step_shift=max(base.step - start.starting_step, 0),
        runtime_shift=max(base.runtime - start.runtime_offset, 0.0),
        config=_noted(remote.config, start, base),
        summary=remote.summary,
        tags=remote.tags,
        notes=remote.notes,
        name=remote.name,
        **({} if noted is None else _latest(remote, noted)),
    )


def taken_up(
    start: RunStart, run_id: str, continuation: Continuation | None, answer: Answer
) -> Continuation | Retry | None:
    """Return what was decided, with what others have noted since: parts that began behind this one, or instead of it.

    Args:
        start: how the run was recorded to begin.
        run_id: what it is called where it is delivered to.
        continuation: what was decided; None: begin as recorded.
        answer: what is known of the run now, where some of it was delivered.
    """
    if isinstance(answer, LookupFailed) and answer.kind != "refused":
        return _ask_again(run_id, answer)
    if not isinstance(answer, Started) or start.writer is None or not next_place(answer.remote.config):
        return continuation
    stored = answer.remote.config
    known = Continuation(resumed=start.resumed) if continuation is None else continuation
    own = base_of(stored, start.writer)
    if own is None:
        begun = base_of(known.config, start.writer) or _begins(start)
        config = with_later_bases_of(known.config, stored, start.writer, begun)
    else:
        config = with_bases_of(known.config, stored)
    return evolve(known, config=config, **({} if own is None else _latest(answer.remote, own)))


def _latest(remote: RemoteRun, own: Base) -> dict[str, Any]:
    """Return of when the newest row is that the stored summary knows, and its step, if it is one of the part `own`."""
    moment, step = remote.summary.get("_timestamp"), remote.summary.get("_step")
    if not isinstance(moment, (int, float)) or not isinstance(step, (int, float)):
        return {}
    is_own = remote.history_lines > own.history and own.step <= step < float("inf")
    return (
        {"latest": float(moment), "latest_step": int(step)} if is_own and 0 <= moment < float("inf") else {}
    )


def _ask_again(run_id: str, answer: LookupFailed) -> Retry:
    reason = f"run {run_id} cannot be looked up ({_trimmed(answer.reason)})"
    return Retry(reason=reason, after=answer.after if answer.retry else ASK_AGAIN_S)


def _is_untouched(start: RunStart, remote: RemoteRun) -> bool:
    """Whether a run is there as `init()` has made it, and nobody has begun anything in it since."""
    is_made_here = start.policy is not None and start.deferred is None and not start.resumed
    lines = remote.history_lines + remote.events_lines + remote.console_lines
    foreign = remote.config.keys() - start.config.keys() - {"_wandb"}
    return is_made_here and not (lines or foreign or remote.summary or next_place(remote.config))


def _first(start: RunStart, run_id: str) -> Verdict:
    """Return what follows where nothing is there."""
    if start.resumed:
        behind = f"it continues {start.previous}" if start.previous else "it continues another part"
        return Retry(
            reason=f"run {run_id} is not there, and {behind}, which is to be delivered first; `corelib sync --id` "
            "delivers it by itself, under another id",
            after=ASK_AGAIN_S,
        )
    if start.writer is None:
        return None
    return Continuation(resumed=False, config=_noted({}, start, _begins(start)))


def _begins(start: RunStart, place: int = 0) -> Base:
    return Base(step=start.starting_step, runtime=start.runtime_offset, place=place, began=start.time)


def _noted(config: Mapping[str, Any], start: RunStart, base: Base) -> Mapping[str, Any]:
    return config if start.writer is None else with_base(config, start.writer, base)


def continued(record: Record, continuation: Continuation) -> Record:
    """Return a record as it would be, had the decision been taken when the run began."""
    if type(record) is Row:
        return record if record.step is None else evolve(record, step=record.step + continuation.step_shift)
    if type(record) is Exit:
        return evolve(record, runtime=record.runtime + continuation.runtime_shift)
    if type(record) is not RunStart:
        return record
    # Of what was delivered before, the stored values are those of now, and the records of its changes come again.
    words = ("tags", "notes", "name", *(f"config/{key}" for key in record.config))
    found = frozenset(words if continuation.repeats else record.inherited)
    own = {key: value for key, value in record.config.items() if f"config/{key}" not in found}
    config = merged_config(merged_config(record.config, continuation.config), own)
    return evolve(
        record,
        resumed=continuation.resumed,
        starting_step=record.starting_step + continuation.step_shift,
        runtime_offset=record.runtime_offset + continuation.runtime_shift,
        config=with_bases_of(config, continuation.config),
        summary={**record.summary, **continuation.summary},
        tags=_newer(record.tags or None, continuation.tags or None, is_own="tags" not in found) or (),
        notes=_newer(record.notes, continuation.notes, is_own="notes" not in found),
        name=_newer(record.name, continuation.name, is_own="name" not in found),
        latest=continuation.latest,
        latest_step=continuation.latest_step,
    )


def _newer(recorded: T | None, stored: T | None, *, is_own: bool) -> T | None:
    first, second = (recorded, stored) if is_own else (stored, recorded)
    return second if first is None else first


def _trimmed(reason: str) -> str:
    return " ".join(reason.split()).rstrip(".")
