"""`init()`: from the words of a call to a run that has begun.

Law: wiring only. The rules are asked in this order: settings, config, reinit, login, resume; nothing is made on disk
and nothing is changed in the process before all of them have agreed, so a failed `init()` leaves nothing behind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from time import time
from typing import TYPE_CHECKING, Any, Final, cast

from attrs import frozen

from corelib.api.beginning import Beginning, begin
from corelib.errors import ConfigError, Error
from corelib.pure.config import Merged, filter_keys, merge_config, parse_yaml, read_config
from corelib.pure.ids import ENTROPY_BYTES, generate_run_id
from corelib.pure.reinit import IDENTITY, ActiveIdentity, decide_reinit
from corelib.pure.resolve import resolve
from corelib.pure.settings import Settings
from corelib.shell.gather import Gathered, gather, read_text
from corelib.shell.report import Report

if TYPE_CHECKING:
    from corelib.api.run import Run
    from corelib.pure.resume_table import Place, Policy
    from corelib.pure.sources import Identity as Names
    from corelib.shell.session import Session

__all__ = ["Call", "check_setup", "read_config_file", "runs_directory", "start"]

_CONFIG_DEFAULTS: Final = "config-defaults.yaml"
_NO_EFFECT_YET: Final = ("save_code", "sync_tensorboard", "monitor_gym", "magic", "fork_from", "resume_from")


@frozen(kw_only=True)
class Call:
    """The words of one `init()` call. `arguments` are those that are settings."""

    config: Any = None
    config_exclude_keys: Sequence[str] | None = None
    config_include_keys: Sequence[str] | None = None
    settings: Settings | Mapping[str, Any] | None = None
    arguments: Mapping[str, Any]


def start(names: Names, session: Session, call: Call) -> Run:
    """Start, resume, return or refuse a run, as `call` and the rules say."""
    gathered = gather(
        names,
        arguments=call.arguments,
        settings=call.settings,
        login=session.login,
        setup=session.setup,
    )
    resolution = resolve(gathered.layers, gathered.problems)
    settings = resolution.settings
    report = Report(names.name, silent=settings.silent, quiet=settings.quiet)
    for path in gathered.files:
        report.say(f"Loading settings from {path}")
    for problem in resolution.problems:
        report.warn(problem.text)
    config = _config(call, settings)
    active = _reinit(session, call, settings, gathered, report)
    if active is not None:
        return active
    _say_what_has_no_effect(settings, report)
    return begin(
        Beginning(
            names=names,
            session=session,
            resolution=resolution,
            data_directory=gathered.data_directory,
            config=config,
            report=report,
            read_config_file=read_config_file,
            make_current=settings.reinit != "create_new" or session.current is None,
            fresh_id=generate_run_id(os.urandom(ENTROPY_BYTES)),
            start_time=time(),
        )
    )


def check_setup(names: Names, settings: Settings | Mapping[str, Any] | None) -> None:
    """Check what `setup()` was given, in the surroundings as they are.

    Raises:
        UsageError: an unknown setting or a bad value.
    """
    _gathered(names, settings)


def runs_directory(names: Names, session: Session) -> str:
    """Return the directory that `init()` would put its run into, as the surroundings are now."""
    return _gathered(names, session.setup, session.login).data_directory


def _gathered(names: Names, setup: object, login: object = None) -> Gathered:
    gathered = gather(names, login=login, setup=setup)
    resolve(gathered.layers, gathered.problems)
    return gathered


def _config(call: Call, settings: Settings) -> Merged:
    """Read and merge every source of the config.

    Raises:
        ConfigError: a file that was asked for is missing or cannot be understood.
        UsageError: the argument, or its filter, is of the wrong kind.
    """
    source = call.config
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        argument = _yaml(path) if path else {}
    else:
        argument = read_config(source)
    argument = filter_keys(argument, include=call.config_include_keys, exclude=call.config_exclude_keys)
    locks = {"sweep": _yaml(settings.sweep_param_path)} if settings.sweep_param_path else {}
    return merge_config(
        locks=locks,
        files=[_yaml(path) for path in settings.config_paths if os.path.exists(path)],
        argument=argument,
        defaults=_yaml(_CONFIG_DEFAULTS) if os.path.isfile(_CONFIG_DEFAULTS) else {},
    )


def _yaml(path: str) -> dict[str, Any]:
    return parse_yaml(read_config_file(path), path)


def read_config_file(path: str) -> str:
    """Return the text of a config file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"The config file {path} cannot be read: {reason}.") from error


def _reinit(
    session: Session, call: Call, settings: Settings, gathered: Gathered, report: Report
) -> Run | None:
    """Do what is to be done about the runs that are active; return the one to give back, if any.

    Raises:
        UsageError: the call contradicts the active run.
    """
    arguments = {name: call.arguments.get(name) for name in IDENTITY}
    decision = decide_reinit(
        [
            ActiveIdentity(run.id, {name: getattr(run, name) for name in IDENTITY}, run.disabled)
            for run in session.active
        ],
        settings.reinit,
        policy=cast("Policy", settings.resume),
        run_id=settings.run_id,
        identity=arguments,
        mode=cast("Place", settings.mode),
        notebook=gathered.notebook,
    )
    for warning in decision.warnings:
        report.warn(warning)
    by_id = {run.id: run for run in session.active}
    if decision.action == "refuse":
        raise (decision.error or Error)(decision.reason)
    if decision.action == "return_active":
        report.say(decision.reason)
        return by_id[decision.run_ids[0]]  # type: ignore[no-any-return]  # the session keeps runs
    if decision.action == "finish_then_new":
        for run_id in decision.run_ids:
            by_id[run_id].finish()
    return None


def _say_what_has_no_effect(settings: Settings, report: Report) -> None:
    """Answer arguments whose features are not there yet by one clear warning."""
    given = [name for name in _NO_EFFECT_YET if getattr(settings, name)]
    if given:
        verb = "has" if len(given) == 1 else "have"
        report.warn(
            f"{', '.join(given)} {verb} no effect yet: this version records config, metrics and files only."
        )
