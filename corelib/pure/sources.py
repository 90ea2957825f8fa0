"""Where settings come from: the order of the sources, and one function per kind of source that makes a `Layer`.

Law: a layer holds what its source said and nothing else. Unset is an absent key, told apart from None and from a
default. Every value has an origin that a person can go to. What could not be used is a `Problem`, never a print.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.coerce import UNSET, shown
from corelib.pure.ini import parse_ini
from corelib.pure.settings import ARGUMENTS, FIELDS, Settings, unknown_setting

__all__ = [
    "CALL_SOURCES",
    "PINS",
    "SOURCES",
    "Identity",
    "Layer",
    "Problem",
    "arguments_layer",
    "detected_layer",
    "environment_layer",
    "file_layer",
    "settings_layer",
]

SOURCES: Final = (
    "default",  # what Settings declares
    "detected",  # host, program, repository …: only fills gaps, so it beats nothing that anybody said
    "organisation",  # the server's, from wide to narrow: the narrower knows better
    "entity",
    "project",
    "user",
    "system_file",  # this machine's habits are nearer than any server's
    "workspace_file",  # and those of this directory nearer than the machine's
    "environment",  # whoever starts the program overrides what lies on the disk
    "setup",  # the program itself, for all of its runs
    "login",
    "settings",  # the program, for this run: init(settings=)
    "init",  # the argument itself, nearest to the reader's eye: init(project=)
)
"""The sources of settings, lowest to highest: the highest that says something decides."""

PINS: Final = ("user_policy", "project_policy", "entity_policy", "organisation_policy")
"""Sources that pin a value, lowest to highest. They beat all SOURCES, and among them the wider one wins: a policy of
the organisation is not to be undone by a project. So the order of the same owners is the reverse of that above."""

CALL_SOURCES: Final = ("settings", "init")
"""The sources that are arguments of one `init()` call."""


class Identity(NamedTuple):
    """The names that a core goes by.

    Args:
        prefix: what its environment variables start with.
        directory: the directory of all runs, and that of its settings in the user's configuration directory.
        name: what its messages start with.
    """

    prefix: str = "WANDB_"
    directory: str = "wandb"
    name: str = "corelib"


class Problem(NamedTuple):
    """Something that a source said and that could not be used as it stands.

    Args:
        source: one of SOURCES.
        field: the setting, where it is about one.
        text: what to tell the user; no secret is in it.
        fatal: settings cannot be resolved with it.
    """

    source: str
    field: str | None
    text: str
    fatal: bool = False


class Layer(NamedTuple):
    """What one source said.

    Args:
        source: one of SOURCES or PINS.
        origin: for each value, where exactly it stands: a variable, a file and line, an argument.
        values: the settings it sets. None overrides like any other value.
    """

    source: str
    origin: Mapping[str, str]
    values: Mapping[str, Any]

    def __repr__(self) -> str:
        said = (f"{FIELDS[name].show(value)} from {self.origin[name]}" for name, value in self.values.items())
        return f"Layer({self.source}: {', '.join(said)})"


def environment_layer(environ: Mapping[str, str], identity: Identity) -> tuple[Layer, tuple[Problem, ...]]:
    """Read the settings of an environment. Empty variables are unset, unknown ones are nobody's business.

    A value that its setting cannot hold is a fatal problem: someone starts a program and expects it to count.
    """
    origin: dict[str, str] = {}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, setting in FIELDS.items():
        variables = [identity.prefix + suffix for suffix in setting.environment]
        said = [variable for variable in variables if environ.get(variable)]
        problems.extend(
            Problem("environment", name, f"{variable} is ignored: {said[0]} is set too.")
            for variable in said[1:]
            if environ[variable] != environ[said[0]]
        )
        if said:
            try:
                value = setting.coerce(environ[said[0]], text=True)
            except UsageError as error:
                problems.append(Problem("environment", name, f"{said[0]}: {error}", fatal=True))
            else:
                values[name] = value
                origin[name] = said[0]
    return _layer("environment", origin, values), tuple(problems)


def file_layer(source: str, path: str, text: str) -> tuple[Layer, tuple[Problem, ...]]:
    """Read a settings file: the section [default] of an INI text.

    An unknown key, one that files may not set, or a value that its setting cannot hold is a problem of its own;
    the rest of the file applies.

    Args:
        source: system_file or workspace_file.
        path: what the file is called in origins and problems.
        text: its content.
    """
    parsed = parse_ini(text)
    problems = [Problem(source, None, f"{path}:{line}: ignored, {why}.") for line, why in parsed.faults]
    origin: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, written, line in parsed.items:
        place = f"{path}:{line}"
        setting = FIELDS.get(key)
        if setting is None:
            problems.append(Problem(source, None, f"{place}: ignored. {unknown_setting(key)}"))
        elif setting.file_key is None:
            problems.append(
                Problem(source, key, f"{place}: ignored, {key} is not allowed in a settings file.")
            )
        else:
            try:
                value = setting.coerce(written, text=True)
            except UsageError as error:
                problems.append(Problem(source, key, f"{place}: ignored, {error}"))
            else:
                if value is not UNSET:
                    values[key] = value
                    origin[key] = place
    return _layer(source, origin, values), tuple(problems)


def arguments_layer(arguments: Mapping[str, object]) -> Layer:
    """Take the arguments of `init()` that are settings. None is an argument that was not given.

    Raises:
        UsageError: an unknown argument, a value that its setting cannot hold, or two arguments for one setting
            that contradict each other.
    """
    origin: dict[str, str] = {}
    values: dict[str, Any] = {}
    for argument, given in arguments.items():
        setting = ARGUMENTS.get(argument)
        if setting is None:
            raise UsageError(f"init() takes no argument {shown(argument)}. {unknown_setting(argument)}")
        value = UNSET if given is None else setting.coerce(given, name=argument)
        if value is not UNSET:
            if values.setdefault(setting.name, value) != value:
                raise UsageError(f"{origin[setting.name]} and init({argument}=) contradict each other.")
            origin.setdefault(setting.name, f"init({argument}=)")
    return _layer("init", origin, values)


def settings_layer(source: str, given: object, where: str) -> Layer:
    """Take a `Settings`, a mapping of settings, or None.

    Of a `Settings` only what was said counts, not its defaults. In a mapping, None says nothing.

    Args:
        source: one of SOURCES or PINS.
        given: the settings; never changed.
        where: what origins call it: `init(settings)` makes `init(settings).project`.

    Raises:
        UsageTypeError: it is none of these.
        UsageError: an unknown name, or a value that its setting cannot hold.
    """
    if given is None:
        values: dict[str, Any] = {}
    elif isinstance(given, Settings):
        values = {name: getattr(given, name) for name in FIELDS if name in given.given}
    elif isinstance(given, Mapping):
        said = Settings(**_named(given, where))
        values = {name: getattr(said, name) for name in FIELDS if name in said.given}
    else:
        raise UsageTypeError(f"{where} takes a Settings or a mapping, not {shown(given)}.")
    return _layer(source, {name: f"{where}.{name}" for name in values}, values)


def detected_layer(
    values: Mapping[str, object], origin: Mapping[str, str]
) -> tuple[Layer, tuple[Problem, ...]]:
    """Take what was found out about the machine and the program; what is no valid setting is left out, and said."""
    valid: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.items():
        try:
            valid[name] = FIELDS[name].coerce(value)
        except UsageError as error:
            problems.append(Problem("detected", name, f"{origin[name]}: not used, {error}"))
    return _layer("detected", {name: origin[name] for name in valid}, valid), tuple(problems)


def _layer(source: str, origin: dict[str, str], values: dict[str, Any]) -> Layer:
    return Layer(source, MappingProxyType(origin), MappingProxyType(values))


def _named(given: Mapping[Any, object], where: str) -> dict[str, object]:
    for name in given:
        if not isinstance(name, str):
            raise UsageTypeError(f"{where} takes a mapping whose keys are texts, not {shown(name)}.")
    return dict(given)
