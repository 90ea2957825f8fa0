"""Strategies of the resume machine: requests, answers and events, with awkward values among them.

Law: everything drawn here is something that the world may say, so a machine that fails on it is wrong. Run ids come
from a small pool, because what matters is whether two of them are equal.
"""

from __future__ import annotations

import math
from typing import Final, get_args

from hypothesis import strategies as st

from corelib.pure.remote import (
    Absent,
    Answer,
    Created,
    FailureKind,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
)
from corelib.pure.resume import (
    Corrupt,
    Event,
    Finished,
    LookedUp,
    MarkerRead,
    Requested,
    RunStarted,
    UpsertAnswered,
)
from corelib.pure.resume_table import Place, Policy

__all__ = [
    "FRESH_IDS",
    "MODES",
    "POLICIES",
    "RUN_IDS",
    "answers",
    "events",
    "failures",
    "markers",
    "remote_runs",
    "requests",
    "upsert_answers",
]

RUN_IDS: Final = ("abc", "x", "run 7", "{why}")
"""Ids that users choose; the last one is a placeholder of the sentences, which must not be filled in twice."""

FRESH_IDS: Final = ("fresh000", "fresh111")

POLICIES: Final[tuple[Policy, ...]] = (None, "allow", "must", "never", "auto")

MODES: Final[tuple[Place, ...]] = get_args(Place)

_NUMBERS: Final = st.one_of(
    st.none(),
    st.integers(-2, 40),
    st.sampled_from([0.5, 3.0, -1.0, math.nan, math.inf, -math.inf, 10**400, True]),
)
_TREES: Final = st.dictionaries(
    st.sampled_from(["lr", "old", "new", "_wandb"]),
    st.one_of(st.integers(), st.dictionaries(st.sampled_from(["t", "m"]), st.integers(), max_size=2)),
    max_size=3,
)
_TEXTS: Final = st.sampled_from(["", "no", "two\nlines", "ends with a dot.", "{id} and {}"])


def failures() -> st.SearchStrategy[LookupFailed]:
    """Return a strategy of lookups that nobody could answer."""
    return st.builds(LookupFailed, st.sampled_from(get_args(FailureKind)), _TEXTS, st.booleans())


@st.composite
def remote_runs(draw: st.DrawFn, run_id: str = "abc") -> RemoteRun:
    """Draw an earlier run; its figures need not agree with each other, as those of a torn run do not."""
    summary = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "acc": st.floats(0, 1),
                "_step": _NUMBERS,
                "_runtime": _NUMBERS,
                "_wandb": st.one_of(st.just(3), st.fixed_dictionaries({}, optional={"runtime": _NUMBERS})),
            },
        )
    )
    return RemoteRun(
        run_id=run_id,
        where=draw(st.sampled_from([None, "offline-run-20260101_000000-abc", "https://host/e/p/runs/abc"])),
        config=draw(_TREES),
        summary=summary,
        last_step=draw(st.one_of(st.none(), st.integers(-1, 40))),
        history_lines=draw(st.integers(0, 40)),
        events_lines=draw(st.integers(0, 5)),
        console_lines=draw(st.integers(0, 5)),
        history_runtime=draw(st.one_of(st.none(), st.floats())),
        events_runtime=draw(st.one_of(st.none(), st.floats())),
        tags=tuple(draw(st.lists(st.sampled_from(["a", "b"]), max_size=2))),
        notes=draw(st.one_of(st.none(), _TEXTS)),
        name=draw(st.one_of(st.none(), _TEXTS)),
        exit_code=draw(st.sampled_from([None, 0, 1, 255])),
        storage_id=draw(st.one_of(st.none(), st.just("UnVuOmFiYw=="))),
    )


def answers() -> st.SearchStrategy[Answer]:
    """Return a strategy of everything that a lookup may answer."""
    return st.one_of(
        st.just(Absent()),
        st.just(Created()),
        st.builds(Started, remote_runs()),
        st.builds(Unreadable, _TEXTS),
        failures(),
    )


def markers() -> st.SearchStrategy[str | Corrupt | None]:
    """Return a strategy of what the resume file may hold."""
    return st.one_of(st.none(), st.sampled_from(RUN_IDS), st.builds(Corrupt, _TEXTS))


def upsert_answers() -> st.SearchStrategy[UpsertAnswered]:
    """Return a strategy of what a backend may say about a run that it was to start."""
    told = st.sampled_from([None, True, False])
    return st.one_of(
        st.builds(UpsertAnswered, told, told),
        st.builds(UpsertAnswered, failure=failures()),
    )


def requests() -> st.SearchStrategy[Requested]:
    """Return a strategy of everything that `init()` may ask for."""
    return st.builds(
        Requested,
        policy=st.sampled_from(POLICIES),
        run_id=st.one_of(st.none(), st.sampled_from(RUN_IDS)),
        fresh_id=st.sampled_from(FRESH_IDS),
        mode=st.sampled_from(MODES),
        id_source=st.sampled_from(["init(id=)", "WANDB_RUN_ID"]),
        force=st.booleans(),
        can_lookup=st.booleans(),
        config=_TREES,
        tags=st.one_of(st.none(), st.just(()), st.just(("n",))),
        notes=st.one_of(st.none(), _TEXTS),
        name=st.one_of(st.none(), _TEXTS),
    )


def events() -> st.SearchStrategy[Event]:
    """Return a strategy of single events, legal or not."""
    return st.one_of(
        requests(),
        st.builds(MarkerRead, markers()),
        st.builds(LookedUp, answers()),
        upsert_answers(),
        st.just(RunStarted()),
        st.builds(Finished, st.sampled_from([None, 0, 1, 255])),
    )
