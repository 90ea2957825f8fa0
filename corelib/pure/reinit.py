"""What a second `init()` does while runs of this process are active.

Law: the active run is returned only where nothing in the call contradicts it: another id or a wish to resume another
run is an error, another project or name is a warning. Returning a run has no side effects: nothing of it is asked,
created, moved or written, so the resume machine is not even started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, TypeAlias

from attrs import frozen

from corelib.errors import Error, UsageError
from corelib.pure.resume_table import Place, Policy

__all__ = [
    "ACTIONS",
    "IDENTITY",
    "REINIT_CHOICES",
    "ActiveIdentity",
    "Reinit",
    "ReinitAction",
    "ReinitDecision",
    "decide_reinit",
]

Reinit: TypeAlias = bool | str | None
"""The value of `reinit=` as the caller gave it."""

ReinitAction: TypeAlias = Literal["new", "return_active", "finish_then_new", "create_beside", "refuse"]

REINIT_CHOICES: Final = ("default", "return_previous", "finish_previous", "create_new")

IDENTITY: Final = ("project", "entity", "name", "group", "job_type")
"""The arguments that say which run is meant, beside its id."""

ACTIONS: Final[Mapping[tuple[str, bool], ReinitAction]] = MappingProxyType(
    {
        ("default", False): "return_active",
        ("default", True): "finish_then_new",
        ("return_previous", False): "return_active",
        ("return_previous", True): "return_active",
        ("finish_previous", False): "finish_then_new",
        ("finish_previous", True): "finish_then_new",
        ("create_new", False): "create_beside",
        ("create_new", True): "create_beside",
    }
)
"""What follows while a run is active, by the value and by whether a notebook calls."""

_SPELLINGS: Final[Mapping[Reinit, str]] = MappingProxyType(
    {None: "default", True: "finish_previous", False: "return_previous"}
)


class ActiveIdentity(NamedTuple):
    """An unfinished run of this process: its id, its identity as far as it is known, and whether it is disabled."""

    run_id: str
    identity: Mapping[str, str | None]
    disabled: bool = False


@frozen(kw_only=True)
class ReinitDecision:
    """What `init()` does.

    Args:
        action: `new`: a run that becomes the current one. `return_active`: give back `run_ids[0]` and do nothing.
            `finish_then_new`: finish `run_ids` in this order, then `new`. `create_beside`: a run that leaves the
            current one in its place. `refuse`: raise `error` with `reason`.
        rule: the row of the specification, such as "R36".
        reason: one sentence for people.
        run_ids: the active runs concerned.
        error: the error to raise if refused.
        warnings: sentences to show once.
    """

    action: ReinitAction
    rule: str
    reason: str
    run_ids: tuple[str, ...] = ()
    error: type[Error] | None = None
    warnings: tuple[str, ...] = ()


def decide_reinit(
    active: Sequence[ActiveIdentity],
    reinit: Reinit,
    *,
    policy: Policy,
    run_id: str | None,
    identity: Mapping[str, str | None],
    mode: Place,
    notebook: bool,
) -> ReinitDecision:
    """Decide what `init()` does, given the runs of this process that are not finished.

    Args:
        active: the unfinished runs, oldest first.
        reinit: None, a bool or one of `REINIT_CHOICES`.
        policy: the normalised `resume=`.
        run_id: the id that this call asks for, if any.
        identity: the identity arguments that this call passes; None is not passed.
        mode: the mode this call asks for.
        notebook: the caller is a notebook kernel.
    """
    choice = _SPELLINGS.get(reinit, reinit) if reinit is None or isinstance(reinit, bool) else reinit
    if choice not in REINIT_CHOICES:
        known = ", ".join(repr(word) for word in REINIT_CHOICES)
        return _refused("7", f"reinit={reinit!r} is not known. Use None, True, False or one of {known}.")
    # A disabled run is nothing that could be returned, continued or disturbed, so it never stands in the way.
    kept = [run for run in active if not run.disabled]
    if mode == "disabled":
        return ReinitDecision(action="new", rule="7", reason="Disabled: a run of its own, beside all others.")
    if not kept:
        return ReinitDecision(action="new", rule="7", reason="No other run is active.")
    action = ACTIONS[choice, notebook]
    if action == "return_active":
        return _returned(kept[-1], policy, run_id, identity)
    if action == "create_beside":
        return _beside(kept, run_id)
    ids = tuple(run.run_id for run in kept)
    return ReinitDecision(
        action=action,
        rule="7",
        reason=f"{_named(reinit, notebook)} finishes run {', '.join(ids)} before a new one starts.",
        run_ids=ids,
    )


def _returned(
    run: ActiveIdentity, policy: Policy, run_id: str | None, identity: Mapping[str, str | None]
) -> ReinitDecision:
    way_out = "Finish it first, or use reinit='finish_previous' or reinit='create_new'."
    if policy == "must" and run_id != run.run_id:
        wish = f"run {run_id} cannot be resumed" if run_id else "nothing can be resumed"
        return _refused(
            "R35", f"resume='must', but another run is active, run {run.run_id}, so {wish}. {way_out}", run
        )
    if run_id is not None and run_id != run.run_id:
        return _refused(
            "R36",
            f"init() asks for run {run_id}, but another run is active, run {run.run_id}. {way_out}",
            run,
        )
    passed = [(name, identity.get(name)) for name in IDENTITY]
    ignored = [
        f"{name}={value!r}" for name, value in passed if value is not None and value != run.identity.get(name)
    ]
    warning = f"init() is returning run {run.run_id} and ignores {', '.join(ignored)}. {way_out}"
    return ReinitDecision(
        action="return_active",
        rule="7",
        reason=f"Run {run.run_id} is active already, so init() is returning the previous run.",
        run_ids=(run.run_id,),
        warnings=(warning,) if ignored else (),
    )


def _beside(kept: Sequence[ActiveIdentity], run_id: str | None) -> ReinitDecision:
    same = [run for run in kept if run.run_id == run_id]
    if same:
        return _refused(
            "R34", f"Run {run_id} is in use by this process. Finish it first, or choose another id.", *same
        )
    return ReinitDecision(
        action="create_beside",
        rule="7",
        reason=f"reinit='create_new' starts a run beside run {kept[-1].run_id}, which stays the current one.",
        run_ids=tuple(run.run_id for run in kept),
    )


def _refused(rule: str, reason: str, *runs: ActiveIdentity) -> ReinitDecision:
    ids = tuple(run.run_id for run in runs)
    return ReinitDecision(action="refuse", rule=rule, reason=reason, run_ids=ids, error=UsageError)


def _named(reinit: Reinit, notebook: bool) -> str:
    return "A notebook's init()" if reinit in (None, "default") and notebook else f"reinit={reinit!r}"
