"""Experiment tracking whose record survives any kill.

    import corelib

    with corelib.init(project="iris", config={"lr": 0.1}) as run:
        run.log({"loss": 0.3})

Law: importing this package reads nothing, starts nothing and loads nothing: every public name is imported when it is
first used. The module-level functions are the default core's (`corelib.api.core`); `run`, `config` and `summary` are
those of its current run.
"""

from __future__ import annotations

# What type checkers take for true. Importing `typing` would cost nine of the ten milliseconds that this module may.
TYPE_CHECKING = False

__version__ = "0.1.0"

__all__ = [
    "AuthenticationError",
    "CommError",
    "ConfigError",
    "Core",
    "Error",
    "Histogram",
    "JournalError",
    "MissingDependency",
    "Receipt",
    "Run",
    "RunView",
    "Settings",
    "SyncResult",
    "UsageError",
    "UsageTypeError",
    "__version__",
    "alert",
    "config",
    "define_metric",
    "finish",
    "init",
    "join",
    "list_runs",
    "log",
    "login",
    "open_run",
    "run",
    "save",
    "setup",
    "summary",
    "sync",
]

if TYPE_CHECKING:
    from typing import Any

    from corelib.api.core import Core as Core
    from corelib.api.core import Current, default
    from corelib.api.reading import RunView as RunView
    from corelib.api.run import Run as Run
    from corelib.api.syncing import SyncResult as SyncResult
    from corelib.errors import AuthenticationError as AuthenticationError
    from corelib.errors import CommError as CommError
    from corelib.errors import ConfigError as ConfigError
    from corelib.errors import Error as Error
    from corelib.errors import JournalError as JournalError
    from corelib.errors import MissingDependency as MissingDependency
    from corelib.errors import UsageError as UsageError
    from corelib.errors import UsageTypeError as UsageTypeError
    from corelib.pure.histogram import Histogram as Histogram
    from corelib.pure.receipt import Receipt as Receipt
    from corelib.pure.settings import Settings as Settings

    alert = default.alert
    config: Current
    define_metric = default.define_metric
    finish = default.finish
    init = default.init
    join = default.join
    list_runs = default.list_runs
    log = default.log
    login = default.login
    open_run = default.open_run
    run: Run | None
    save = default.save
    setup = default.setup
    summary: Current
    sync = default.sync

_HOMES = {
    **dict.fromkeys(
        (
            "AuthenticationError",
            "CommError",
            "ConfigError",
            "Error",
            "JournalError",
            "MissingDependency",
            "UsageError",
            "UsageTypeError",
        ),
        "corelib.errors",
    ),
    "Core": "corelib.api.core",
    "Histogram": "corelib.pure.histogram",
    "Receipt": "corelib.pure.receipt",
    "Run": "corelib.api.run",
    "RunView": "corelib.api.reading",
    "Settings": "corelib.pure.settings",
    "SyncResult": "corelib.api.syncing",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use. `run` is asked for each time, since it changes."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        value = getattr(import_module("corelib.api.core").default, name)
        if name == "run":
            return value
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
