"""The resume decision as data: who asks, where the id comes from, what is known of it, and what follows.

Law: the machine in `corelib.pure.resume` decides nothing that is not a row here, so the table that people read
is the table that runs. Exactly one row speaks for every situation that can arise. The names of the rules (R5, L3)
are those of the specification and appear in `Decision.rule`; `corelib.pure.reinit` decides R34 to R36.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

from corelib.errors import AuthenticationError, CommError, Error, JournalError, UsageError

__all__ = ["ROWS", "SENTENCES", "IdFrom", "Known", "Outcome", "Place", "Policy", "Row", "row_for"]

Policy: TypeAlias = Literal["allow", "must", "never", "auto"] | None
"""The value of `resume=` after normalisation."""

Place: TypeAlias = Literal["online", "offline", "disabled"]
"""Who knows earlier runs: a server, the run directories of this machine, nobody."""

IdFrom: TypeAlias = Literal["explicit", "marker", "fresh"]
"""Where the run id comes from: given by anyone, read from the resume file, generated."""

Known: TypeAlias = Literal[
    "unasked",
    "absent",
    "created",
    "started",
    "finished",
    "unreadable",
    "unreachable",
    "server",
    "auth",
    "forbidden",
    "refused",
    "rival",
    "contested",
]
"""What is known of the id.

`created` is there but was never started; `finished` has started and ended with exit code 0. `rival` was not
started when we asked, but somebody else was faster to start it; `contested` is still not started after that.
"""

Outcome: TypeAlias = Literal["new", "resumed", "overwrite", "fresh", "deferred", "ask again", "refuse"]
"""What follows. `fresh` is new under a generated id; `deferred` goes offline, where run directories are asked."""


class Row(NamedTuple):
    """One rule. `reason` and `warning` name sentences of `SENTENCES`; `force` None means either."""

    rule: str
    place: Place
    policies: tuple[Policy, ...]
    ids: tuple[IdFrom, ...]
    known: tuple[Known, ...]
    outcome: Outcome
    reason: str
    error: type[Error] | None = None
    warning: str | None = None
    force: bool | None = None


SENTENCES: Final = {
    "ahead": "{policy}, but another process was faster to start run {id}. Choose another id.",
    "begins": "Run {id} does not exist yet, so it starts at step 0.",
    "busy": "{policy}, but another process is just starting run {id}. Try again, or choose another id.",
    "continues": "{policy} and run {id} exists{where}, so it goes on at step {step}.",
    "deferred": "{policy}, but the server could not be asked for run {id} ({why}): "
    "it is recorded offline from step {step}, and the resume decision is deferred to sync.",
    "disabled": "Disabled: nothing is looked up and nothing is kept.",
    "exists": "{policy}, but run {id} exists{where}. "
    "Choose another id, or use resume='allow' to continue it.",
    "faster": "Another process was faster to start run {id}, so it is looked up again.",
    "finished": "{policy}, but run {old}, which the resume file names, has finished: run {id} is new.",
    "forbidden": "The server denies permission for run {id} ({why}). Check entity, project and API key.",
    "id missing": "{policy}, but no id says which run to continue: an id is required, as in init(id=...).",
    "id taken": "The generated id {id} belongs to another run, which must not be touched. Call init() again.",
    "local failure": "{policy}, but the run directories of run {id} cannot be read ({why}), "
    "so nobody can tell whether it exists. Check dir= and its rights.",
    "local loss": "{policy}, but the run directories of run {id} cannot be read ({why}): "
    "they are left as they are, and a new one starts at step 0.",
    "local only": "{policy} is decided from the run directories of this machine; no server is asked before a sync.",
    "login deferred": "{policy}, but the server takes no login for run {id} ({why}): it is recorded offline from step "
    "{step}, and the resume decision is deferred to sync. Log in with `corelib login`.",
    "login failed": "The server takes no login ({why}): run {id} is recorded offline and can be synced later. "
    "Log in with `corelib login`.",
    "login missing": "{policy}, but the server takes no login, so nobody can tell whether run {id} exists ({why}). "
    "Nothing was changed; log in with `corelib login`.",
    "login needed": "force=True needs a login that the server accepts ({why}). "
    "Log in with `corelib login`, or use force=False.",
    "missing": "{policy}, but no run {id} exists. "
    "Check the id and the project, or use resume='allow' to start it.",
    "missing here": "{policy}, but no run {id} was started on this machine. "
    "Check the id and dir=, or use resume='allow' to start it.",
    "never started": "Run {id} was created but never started, so it starts at step 0.",
    "new": "No id was given, so run {id} is new.",
    "nothing to resume": "{policy}, but run {id} was created and never started, so nothing can be continued. "
    "Use resume='allow' to start it.",
    "offline": "The server cannot be used ({why}): run {id} is recorded offline and can be synced later.",
    "overwritten": "resume is not set and run {id} exists{where}, so it is overwritten from step 0. "
    "To continue a run, use resume='allow'.",
    "server needed": "force=True needs the server, and it could not be reached ({why}). "
    "Try again, or use force=False.",
    "unasked": "resume is not set, so run {id} starts at step 0 without asking; "
    "an earlier run with this id is overwritten.",
    "unclear": "{policy}, but the server could not say whether run {id} exists ({why}). "
    "Nothing was changed; try again when it answers, or use another resume= value.",
    "unreadable": "{policy}, but what is stored of run {id} cannot be understood ({why}). "
    "Nothing was changed; choose another id.",
    "unresumed": "resume is not set, so run {id} starts at step 0.",
    "unusable": "The server refuses the id {id} ({why}); the id of a deleted run cannot be used again. "
    "Choose another id.",
}
"""The sentences of all decisions, for people. {why} is what the answer said, {where} is where the run was found."""

_ALL: Final[tuple[Policy, ...]] = (None, "allow", "must", "never", "auto")
_NONE: Final[tuple[Policy, ...]] = (None,)
_ALLOW: Final[tuple[Policy, ...]] = ("allow",)
_MUST: Final[tuple[Policy, ...]] = ("must",)
_NEVER: Final[tuple[Policy, ...]] = ("never",)
_AUTO: Final[tuple[Policy, ...]] = ("auto",)
_RESUMING: Final[tuple[Policy, ...]] = ("allow", "auto")
_STRICT: Final[tuple[Policy, ...]] = ("must", "never")
_LENIENT: Final[tuple[Policy, ...]] = (None, "allow", "auto")
_FREE: Final[tuple[Policy, ...]] = (None, "allow", "never", "auto")

_ANY: Final[tuple[IdFrom, ...]] = ("explicit", "marker", "fresh")
_EXPLICIT: Final[tuple[IdFrom, ...]] = ("explicit",)
_MARKER: Final[tuple[IdFrom, ...]] = ("marker",)
_NAMED: Final[tuple[IdFrom, ...]] = ("explicit", "marker")
_FRESH: Final[tuple[IdFrom, ...]] = ("fresh",)

_UNASKED: Final[tuple[Known, ...]] = ("unasked",)
_ABSENT: Final[tuple[Known, ...]] = ("absent",)
_CREATED: Final[tuple[Known, ...]] = ("created",)
_STARTED: Final[tuple[Known, ...]] = ("started",)
_FINISHED: Final[tuple[Known, ...]] = ("finished",)
_RAN: Final[tuple[Known, ...]] = ("started", "finished")
_BROKEN: Final[tuple[Known, ...]] = ("unreadable",)
_THERE: Final[tuple[Known, ...]] = ("started", "finished", "unreadable")
_NOT_RUN: Final[tuple[Known, ...]] = ("absent", "created")
_DOWN: Final[tuple[Known, ...]] = ("unreachable", "server")
_LOGIN: Final[tuple[Known, ...]] = ("auth",)
_FAILED: Final[tuple[Known, ...]] = ("unreachable", "server", "auth", "forbidden", "refused")

_ONLINE: Final = (
    Row("R1", "online", _NONE, _EXPLICIT, _ABSENT, "new", "begins"),
    Row("R2", "online", _NONE, _EXPLICIT, _THERE, "overwrite", "overwritten", warning="overwritten"),
    Row("R3", "online", _NONE, _EXPLICIT, _CREATED, "new", "never started"),
    Row("R1-R3", "online", _NONE, _EXPLICIT, _UNASKED, "new", "unasked"),
    Row("R4", "online", _NONE, _FRESH, (*_UNASKED, *_NOT_RUN), "new", "new"),
    Row("R5", "online", _ALLOW, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("R6", "online", _ALLOW, _EXPLICIT, _ABSENT, "new", "begins"),
    Row("R7", "online", _ALLOW, _EXPLICIT, _CREATED, "new", "never started"),
    Row("R8", "online", _ALLOW, _FRESH, (*_UNASKED, *_NOT_RUN), "new", "new"),
    Row("R9", "online", _RESUMING, _NAMED, _BROKEN, "refuse", "unreadable", CommError),
    Row("R10", "online", _MUST, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("R11", "online", _MUST, _EXPLICIT, _ABSENT, "refuse", "missing", UsageError),
    Row("R12", "online", _MUST, _EXPLICIT, _CREATED, "refuse", "nothing to resume", UsageError),
    Row("R13", "online", _MUST, _FRESH, _UNASKED, "refuse", "id missing", UsageError),
    Row("R14", "online", _MUST, _EXPLICIT, _BROKEN, "refuse", "unreadable", CommError),
    Row("R15", "online", _NEVER, _EXPLICIT, _THERE, "refuse", "exists", UsageError),
    Row("R16", "online", _NEVER, _EXPLICIT, _ABSENT, "new", "begins"),
    Row("R17", "online", _NEVER, _EXPLICIT, _CREATED, "new", "never started"),
    Row("R18", "online", _NEVER, _FRESH, (*_UNASKED, *_NOT_RUN), "new", "new"),
    Row("R19", "online", _AUTO, _MARKER, _STARTED, "resumed", "continues"),
    Row("R20", "online", _AUTO, _MARKER, _ABSENT, "new", "begins"),
    Row("R21", "online", _AUTO, _MARKER, _CREATED, "new", "never started"),
    Row("R22", "online", _AUTO, _MARKER, _FINISHED, "fresh", "finished", warning="finished"),
    Row("R23", "online", _AUTO, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("R24", "online", _AUTO, _EXPLICIT, _ABSENT, "new", "begins"),
    Row("R24", "online", _AUTO, _EXPLICIT, _CREATED, "new", "never started"),
    Row("R25", "online", _AUTO, _FRESH, (*_UNASKED, *_NOT_RUN), "new", "new"),
    Row("R26", "online", _RESUMING, _NAMED, _DOWN, "deferred", "deferred", warning="deferred", force=False),
    Row("R27", "online", _NONE, _EXPLICIT, _DOWN, "deferred", "offline", warning="offline", force=False),
    Row("R27", "online", _FREE, _FRESH, _DOWN, "deferred", "offline", warning="offline", force=False),
    Row("R28", "online", _STRICT, _EXPLICIT, _DOWN, "refuse", "unclear", CommError),
    Row("R29", "online", _LENIENT, _NAMED, _DOWN, "refuse", "server needed", CommError, force=True),
    Row("R29", "online", _FREE, _FRESH, _DOWN, "refuse", "server needed", CommError, force=True),
    Row(
        "R30",
        "online",
        _RESUMING,
        _NAMED,
        _LOGIN,
        "deferred",
        "login deferred",
        warning="deferred",
        force=False,
    ),
    Row(
        "R30", "online", _NONE, _EXPLICIT, _LOGIN, "deferred", "login failed", warning="offline", force=False
    ),
    Row("R30", "online", _FREE, _FRESH, _LOGIN, "deferred", "login failed", warning="offline", force=False),
    Row("R30", "online", _STRICT, _EXPLICIT, _LOGIN, "refuse", "login missing", AuthenticationError),
    Row("R31", "online", _LENIENT, _NAMED, _LOGIN, "refuse", "login needed", AuthenticationError, force=True),
    Row("R31", "online", _FREE, _FRESH, _LOGIN, "refuse", "login needed", AuthenticationError, force=True),
    Row("R32", "online", _ALL, _ANY, ("forbidden",), "refuse", "forbidden", CommError),
    Row("R37", "online", _ALL, _ANY, ("refused",), "refuse", "unusable", CommError),
    Row("R38", "online", _NEVER, _EXPLICIT, ("rival",), "refuse", "ahead", UsageError),
    Row("R38", "online", _RESUMING, _NAMED, ("rival",), "ask again", "faster"),
    Row("R38", "online", _RESUMING, _NAMED, ("contested",), "refuse", "busy", UsageError),
    Row("R38", "online", _FREE, _FRESH, _THERE, "refuse", "id taken", UsageError),
)

_OFFLINE: Final = (
    Row("L1", "offline", _NONE, _EXPLICIT, _UNASKED, "new", "unresumed"),
    Row("L1", "offline", _NONE, _FRESH, _UNASKED, "new", "new"),
    Row("L2", "offline", _ALLOW, _FRESH, _UNASKED, "new", "new", warning="local only"),
    Row("L2", "offline", _ALLOW, _EXPLICIT, _ABSENT, "new", "begins", warning="local only"),
    Row("L2", "offline", _ALLOW, _EXPLICIT, _CREATED, "new", "never started", warning="local only"),
    Row("L2", "offline", _ALLOW, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("R13", "offline", _MUST, _FRESH, _UNASKED, "refuse", "id missing", UsageError),
    Row("L3", "offline", _MUST, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("L3", "offline", _MUST, _EXPLICIT, _NOT_RUN, "refuse", "missing here", UsageError),
    Row("L3", "offline", _MUST, _EXPLICIT, (*_BROKEN, *_FAILED), "refuse", "local failure", JournalError),
    Row("L4", "offline", _NEVER, _FRESH, _UNASKED, "new", "new", warning="local only"),
    Row("L4", "offline", _NEVER, _EXPLICIT, _ABSENT, "new", "begins", warning="local only"),
    Row("L4", "offline", _NEVER, _EXPLICIT, _CREATED, "new", "never started", warning="local only"),
    Row("L4", "offline", _NEVER, _EXPLICIT, _THERE, "refuse", "exists", UsageError),
    Row("L4", "offline", _NEVER, _EXPLICIT, _FAILED, "refuse", "local failure", JournalError),
    Row("L5", "offline", _AUTO, _FRESH, _UNASKED, "new", "new", warning="local only"),
    Row("L5", "offline", _AUTO, _EXPLICIT, _ABSENT, "new", "begins", warning="local only"),
    Row("L5", "offline", _AUTO, _EXPLICIT, _CREATED, "new", "never started", warning="local only"),
    Row("L5", "offline", _AUTO, _EXPLICIT, _RAN, "resumed", "continues"),
    Row("L5", "offline", _AUTO, _MARKER, _ABSENT, "new", "begins"),
    Row("L5", "offline", _AUTO, _MARKER, _CREATED, "new", "never started"),
    Row("L5", "offline", _AUTO, _MARKER, _STARTED, "resumed", "continues"),
    Row("R22", "offline", _AUTO, _MARKER, _FINISHED, "fresh", "finished", warning="finished"),
    Row("L6", "offline", _RESUMING, _NAMED, (*_BROKEN, *_FAILED), "new", "local loss", warning="local loss"),
)

ROWS: Final = (*_ONLINE, *_OFFLINE, Row("L7", "disabled", _ALL, _ANY, _UNASKED, "new", "disabled"))
"""Every rule, in the order in which people read them."""


def row_for(place: Place, policy: Policy, id_from: IdFrom, known: Known, *, force: bool) -> Row:
    """Return the row that speaks for a situation.

    Raises:
        LookupError: there is none: this situation cannot arise, so whoever asks is wrong.
    """
    for row in ROWS:
        if (
            row.place == place
            and policy in row.policies
            and id_from in row.ids
            and known in row.known
            and row.force in (None, force)
        ):
            return row
    message = f"no rule for resume={policy!r} with a {id_from} id that is {known} ({place}, force={force})"
    raise LookupError(message)
