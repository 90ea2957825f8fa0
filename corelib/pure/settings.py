"""All settings of a run, in one frozen class.

Law: this file is the only place that names a setting; parsing, precedence, explaining and documentation
follow from what each field declares. A `Settings` is valid from the moment it exists, never changes, and
shows no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

from attrs import field, frozen

from corelib.errors import ReadOnlyError, UsageError
from corelib.pure import coerce
from corelib.pure.coerce import UNSET
from corelib.pure.fields import Field, declared, setting
from corelib.pure.ids import check_entity, check_project, check_run_id

__all__ = ["ARGUMENTS", "BRANCHING", "FIELDS", "Settings", "check_branching", "unknown_setting"]

C = TypeVar("C", bound=type)


def _refusing_changes(cls: C) -> C:
    """Make assignment to a frozen class raise our error; attrs would not let the class body say so."""

    def refuse(_settings: object, name: str, _value: object = None) -> NoReturn:
        if name not in FIELDS:
            raise ReadOnlyError(unknown_setting(name))
        raise ReadOnlyError(f"Settings never change: make a changed copy with settings.copy({name}=…).")

    cls.__setattr__ = cls.__delattr__ = refuse  # type: ignore[method-assign,assignment]
    return cls


@_refusing_changes
@frozen(kw_only=True, init=False)
class Settings:
    """All settings of a run, valid and frozen.

    `Settings(project="iris")` says one thing. The other fields hold their defaults, but given to
    `init(settings=)` they override nothing, for nobody said them: `given` names what was said. None says
    nothing. Change it with `copy`; `attrs.evolve` would take every default for something that was said.

    Raises:
        UsageError: an unknown name, or a value that the setting cannot hold.
    """

    # --------------------------------------------------------------------------------- what run it is
    run_id: str | None = setting(
        coerce.checked(check_run_id, empty_is_unset=False),
        "The run's id, unique within its project; made up where nobody sets it.",
        arguments=("id",),
    )
    run_name: str | None = setting(
        coerce.text,
        "The run's name for people; need not be unique.",
        environment=("NAME", "RUN_NAME"),
        arguments=("name",),
    )
    run_notes: str | None = setting(
        coerce.text,
        "Notes about the run, of any number of lines.",
        environment=("NOTES", "RUN_NOTES"),
        arguments=("notes",),
    )
    run_tags: tuple[str, ...] | None = setting(
        coerce.tags,
        "Tags of the run, 1 to 64 characters each; separated by commas in the environment.",
        environment=("TAGS", "RUN_TAGS"),
        arguments=("tags",),
    )
    run_group: str | None = setting(coerce.text, "The group that the run belongs to.", arguments=("group",))
    run_job_type: str | None = setting(
        coerce.text,
        "What the run does, such as train or eval.",
        default="train",
        environment=("JOB_TYPE", "RUN_JOB_TYPE"),
        arguments=("job_type",),
    )
    project: str | None = setting(
        coerce.checked(check_project, empty_is_unset=True),
        "The project; named after the git repository and the program's place in it where nobody sets it.",
        arguments=("project",),
    )
    entity: str | None = setting(
        coerce.checked(check_entity, empty_is_unset=True),
        "The user or team that owns the project; the account's own where nobody sets it.",
        arguments=("entity",),
    )
    sweep_id: str | None = setting(
        coerce.text, "The sweep that started this run; it then decides project, entity and id."
    )

    # -------------------------------------------------------------------------------- how init() acts
    mode: str = setting(
        coerce.choice("online", "offline", "disabled", aliases={"dryrun": "offline", "run": "online"}),
        "online, offline (recorded on this machine only) or disabled (nothing is recorded).",
        default="online",
        arguments=("mode",),
    )
    resume: str | None = setting(
        coerce.resume,
        "Whether an earlier run is continued: allow, must, never, auto (or True), or not (False).",
        arguments=("resume",),
    )
    reinit: bool | str | None = setting(
        coerce.reinit,
        "What init() does while a run is active: True or finish_previous, False or return_previous, "
        "create_new, or default (return it in scripts, finish it in notebooks).",
        arguments=("reinit",),
    )
    fork_from: str | None = setting(
        coerce.moment,
        "A step of another run that this one branches off from, as run_id?_step=10.",
    )
    resume_from: str | None = setting(
        coerce.moment,
        "A step that the run is rewound to and goes on from, as run_id?_step=10.",
    )
    force: bool = setting(
        coerce.flag,
        "Fail where a run cannot be online, rather than record it offline.",
        default=False,
        arguments=("force",),
    )
    anonymous: str = setting(
        coerce.anonymous,
        "Whether a run without an account is allowed: never, allow or must.",
        default="never",
        arguments=("anonymous",),
    )
    allow_val_change: bool = setting(
        coerce.flag,
        "Whether config values may be changed once set; true in notebooks where nobody sets it.",
        default=False,
        arguments=("allow_val_change",),
    )
    config_paths: tuple[str, ...] = setting(
        coerce.paths, "YAML files whose values override init(config=), later files first.", default=()
    )
    sweep_param_path: str | None = setting(coerce.path, "A YAML file with the values that the sweep locks.")
    init_timeout: float = setting(coerce.seconds, "Seconds that init() may wait for a server.", default=30.0)
    finish_timeout: float = setting(
        coerce.seconds, "Seconds that finish() waits for the delivery of what was recorded.", default=60.0
    )
    magic: bool | str | Mapping[str, Any] | None = setting(
        coerce.magic,
        "Automatic logging: true or false, a mapping, JSON, key=value pairs, or the name of a YAML file.",
        arguments=("magic",),
    )

    # --------------------------------------------------------------------------- where things are put
    root_dir: str | None = setting(
        coerce.path,
        "The directory that holds the directory of all runs; the current one where nobody sets it.",
        environment=("DIR", "ROOT_DIR"),
        in_files=False,  # the file of a workspace lies below the directory it would move
        arguments=("dir",),
    )
    transport: Any = setting(  # noqa: RUF009  it is a declaration
        coerce.transport,
        "Where the run is delivered to: a transport's name, a URL, or an object with deliver(); a list for several.",
    )
    delivery: str = setting(
        coerce.choice("process", "thread"),
        "Whether a process of its own or a thread delivers.",
        default="process",
    )
    stoppable: bool = setting(
        coerce.flag,
        "Whether a server may end the run: the program is then interrupted, as by Ctrl-C.",
        default=True,
    )
    ignore_globs: tuple[str, ...] = setting(
        coerce.texts, "Files of the run that are not delivered, as patterns.", default=()
    )

    # --------------------------------------------------------------------- the server and the account
    base_url: str | None = setting(coerce.server_url, "The server's address; none is assumed.")
    app_url: str | None = setting(
        coerce.page_url, "The address of the server's pages; derived from base_url where nobody sets it."
    )
    api_key: str | None = setting(coerce.secret, "The key of the account.", secret=True)
    login_timeout: float | None = setting(coerce.seconds, "Seconds that login() waits for an answer.")
    http_timeout: float = setting(coerce.seconds, "Seconds that one request may take.", default=20.0)
    x_push_interval: float = setting(
        coerce.seconds, "Seconds between two pushes to the server that are not full.", default=15.0
    )
    x_extra_http_headers: Mapping[str, str] | None = setting(
        coerce.headers,
        "Further headers for requests to the server, as a gateway before it may want; JSON in the environment.",
        secret=True,
    )
    username: str | None = setting(coerce.text, "The user's name, for the run's metadata.")
    email: str | None = setting(
        coerce.text, "The user's e-mail address, for the run's metadata.", environment=("USER_EMAIL", "EMAIL")
    )

    # ------------------------------------------------------------------------------- what is recorded
    step_policy: str = setting(
        coerce.choice("keep", "drop", "error"),
        "What log() does with a row whose step lies behind: keep it, drop it, or raise an error.",
        default="keep",
    )
    save_code: bool | None = setting(
        coerce.flag,
        "Save the program's source code; as the account says where nobody sets it.",
        arguments=("save_code",),
    )
    disable_code: bool = setting(
        coerce.flag,
        "Save no source code, unless a stronger source asks for it with save_code.",
        default=False,
    )
    sync_tensorboard: bool = setting(
        coerce.flag,
        "Record what is written for TensorBoard.",
        default=False,
        arguments=("sync_tensorboard", "tensorboard"),
    )
    monitor_gym: bool = setting(
        coerce.flag,
        "Record videos of gym environments.",
        default=False,
        environment=(),
        in_files=False,  # it patches a library of one program, and is no habit of a machine or a workspace
        arguments=("monitor_gym",),
    )
    console: str = setting(
        coerce.choice("auto", "off", "wrap", "redirect", "wrap_raw", "wrap_emu"),
        "Whether what Python prints is recorded: wrap, or one of the reference's words for it (redirect, wrap_raw, "
        "wrap_emu), records it; off and auto do not.",
        default="auto",
    )
    x_disable_stats: bool = setting(
        coerce.flag,
        "Record no samples of the machine; they are recorded only where somebody sets this to false.",
        default=False,
        environment=("_DISABLE_STATS", "X_DISABLE_STATS"),
    )
    x_stats_sampling_interval: float = setting(
        coerce.seconds, "Seconds between two samples of the machine, a tenth at least.", default=15.0
    )
    host: str | None = setting(coerce.text, "The name of the machine, for the run's metadata.")
    program: str | None = setting(coerce.path, "The program that runs, for the run's metadata.")
    notebook_name: str | None = setting(coerce.path, "The notebook's file, where it cannot be found out.")

    # ---------------------------------------------------------------------------------- what is shown
    silent: bool = setting(coerce.flag, "Show nothing.", default=False)
    quiet: bool = setting(coerce.flag, "Show warnings and errors only.", default=False)
    errors: str = setting(
        coerce.choice("warn", "raise"),
        "What happens when tracking fails after init(): warn and let the program run on, or raise.",
        default="warn",
    )

    # The names that were said, on construction or by a copy; equality is a matter of the values alone.
    given: frozenset[str] = field(init=False, default=frozenset(), eq=False)

    def __init__(self, **values: Any) -> None:
        self._fill(_coerced(values))

    def copy(self, **changes: Any) -> Settings:
        """Return a copy in which some settings are changed; None changes nothing.

        Raises:
            UsageError: an unknown name, or a value that the setting cannot hold; nothing is changed.
        """
        kept = {name: getattr(self, name) for name in self.given}
        changed = object.__new__(type(self))
        changed._fill(kept | _coerced(changes))
        return changed

    __replace__ = copy

    def __repr__(self) -> str:
        said = (f"{name}={FIELDS[name].show(getattr(self, name))}" for name in FIELDS if name in self.given)
        return f"Settings({', '.join(said)})"

    def _fill(self, values: Mapping[str, Any]) -> None:
        check_branching({name: name for name, value in values.items() if value is not None})
        self.__attrs_init__(**values)
        object.__setattr__(self, "given", frozenset(values))


FIELDS: Final[Mapping[str, Field]] = MappingProxyType(declared(Settings))
"""Every setting by its name, in the order of the class."""

ARGUMENTS: Final[Mapping[str, Field]] = MappingProxyType(
    {argument: setting for setting in FIELDS.values() for argument in setting.arguments}
)
"""Every argument of `init()` that is a setting."""

BRANCHING: Final = ("resume", "fork_from", "resume_from")
"""At most one of these can be said: each says how the run continues an earlier one."""


def check_branching(origins: Mapping[str, str]) -> None:
    """Check that at most one of the BRANCHING settings is there.

    Args:
        origins: the settings that are not None, each with what a message calls the place it comes from.

    Raises:
        UsageError: two of them are there.
    """
    said = [origins[name] for name in BRANCHING if name in origins]
    if len(said) > 1:
        raise UsageError(
            f"{' and '.join(said)} exclude each other: give at most one of {', '.join(BRANCHING)}."
        )


def unknown_setting(name: str) -> str:
    """Return the sentence that there is no setting of this name, with the nearest names there are."""
    from difflib import get_close_matches  # for this message only

    known = ARGUMENTS.get(name)
    near = [known.name] if known else get_close_matches(name, FIELDS)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"There is no setting {coerce.shown(name)}.{hint}"


def _coerced(values: Mapping[str, Any]) -> dict[str, Any]:
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise UsageError(" ".join(map(unknown_setting, unknown)))
    said = {name: FIELDS[name].coerce(value) for name, value in values.items() if value is not None}
    return {name: value for name, value in said.items() if value is not UNSET}
