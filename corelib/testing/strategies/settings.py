"""What people write for settings, and the layers that come of it.

Law: what `written_values` and `said_settings` draw is valid, so a test that draws from them may rely on it; what the
`*_texts` strategies draw may be anything.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from typing import Any, Final

from hypothesis import strategies as st

from corelib.pure.ids import RUN_ID_ALPHABET
from corelib.pure.settings import BRANCHING, FIELDS
from corelib.pure.sources import PINS, SOURCES, Layer, settings_layer

__all__ = [
    "RULED",
    "environments",
    "ini_texts",
    "layers",
    "run_ids",
    "said_settings",
    "secrets",
    "setting_names",
    "written_values",
]

RULED: Final = frozenset(
    {"project", "entity", "run_id", "sweep_id", "save_code", "disable_code", "magic", "app_url"}
)
"""Settings on which `resolve` has a rule beside precedence."""

_TEXTS: Final = st.text(st.characters(codec="utf-8"), max_size=12)
_NAMES: Final = st.text(string.ascii_letters + string.digits + "_-. äß漢", min_size=1, max_size=12).map(
    str.strip
)
_HOSTS: Final = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z]{2,5})?", fullmatch=True)
_FLAG_WORDS: Final = ("y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0", "True", "OFF")


def run_ids() -> st.SearchStrategy[str]:
    """Valid run ids: generated ones and such as people choose."""
    chosen = _NAMES.filter(lambda name: name and not name.startswith("."))
    return st.text(RUN_ID_ALPHABET, min_size=8, max_size=8) | chosen


def secrets() -> st.SearchStrategy[str]:
    """API keys that look like nothing else, so that a test can look for them in any text."""
    return st.text("abcdef0123456789", min_size=40, max_size=44).map(
        lambda digits: f"{digits[:4]}-{digits}XQZ"
    )


def setting_names() -> st.SearchStrategy[str]:
    """The names of settings."""
    return st.sampled_from(tuple(FIELDS))


def _names() -> st.SearchStrategy[str]:
    return _NAMES.filter(lambda name: name.strip(".") != "")


def _addresses() -> st.SearchStrategy[str]:
    ports = st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")
    return st.builds(
        "{}://{}{}{}".format, st.sampled_from(("http", "https")), _HOSTS, ports, st.sampled_from(("", "/"))
    )


def _moments() -> st.SearchStrategy[str]:
    return st.builds("{}?_step={}".format, run_ids(), st.integers(0, 10**6))


_SECONDS: Final = st.integers(0, 10**6) | st.floats(0, 1e9)
_FLAGS: Final = st.booleans() | st.sampled_from(_FLAG_WORDS)
_PATHS: Final = st.text(string.ascii_letters + "/._- ", min_size=1, max_size=12)

_WRITTEN: Final[Mapping[str, Callable[[], st.SearchStrategy[Any]]]] = {
    "anonymous": lambda: st.sampled_from(("allow", "must", "never")),
    "api_key": secrets,
    "app_url": _addresses,
    "base_url": _addresses,
    "config_paths": lambda: _PATHS | st.lists(_PATHS, max_size=3),
    "console": lambda: st.sampled_from(("auto", "off", "wrap", "redirect", "wrap_raw", "wrap_emu")),
    "delivery": lambda: st.sampled_from(("process", "thread")),
    "entity": _names,
    "errors": lambda: st.sampled_from(("warn", "raise")),
    "finish_timeout": lambda: _SECONDS,
    "fork_from": _moments,
    "http_timeout": lambda: _SECONDS,
    "x_extra_http_headers": lambda: st.dictionaries(
        st.from_regex(r"X-[A-Z]{1,5}", fullmatch=True), secrets()
    ),
    "x_push_interval": lambda: _SECONDS,
    "x_stats_sampling_interval": lambda: _SECONDS,
    "ignore_globs": lambda: st.lists(_TEXTS, max_size=3),
    "init_timeout": lambda: _SECONDS,
    "login_timeout": lambda: _SECONDS,
    "magic": lambda: st.booleans() | st.dictionaries(_TEXTS, st.integers(), max_size=2) | _PATHS,
    "mode": lambda: st.sampled_from(("online", "offline", "disabled", "dryrun", "run")),
    "notebook_name": lambda: _PATHS,
    "program": lambda: _PATHS,
    "project": _names,
    "reinit": lambda: (
        st.booleans() | st.sampled_from(("default", "return_previous", "finish_previous", "create_new"))
    ),
    "resume": lambda: st.booleans() | st.sampled_from(("allow", "must", "never", "auto")),
    "resume_from": _moments,
    "root_dir": lambda: _PATHS,
    "run_id": run_ids,
    "run_tags": lambda: st.lists(_TEXTS.filter(bool), max_size=3),
    "step_policy": lambda: st.sampled_from(("keep", "drop", "error")),
    "sweep_param_path": lambda: _PATHS,
    "transport": lambda: _addresses() | _PATHS,
}


def written_values(name: str) -> st.SearchStrategy[Any]:
    """What somebody may write for a setting in Python, all of it valid."""
    special = _WRITTEN.get(name)
    if special is not None:
        return special()
    return _FLAGS if "bool" in FIELDS[name].type else _TEXTS


@st.composite
def said_settings(
    draw: st.DrawFn, *, without: frozenset[str] = frozenset(), max_size: int = 6
) -> dict[str, Any]:
    """A mapping of settings to valid values, at most one of them about branching off an earlier run."""
    names = draw(st.lists(setting_names(), max_size=max_size, unique=True))
    branching = [name for name in names if name in BRANCHING]
    kept = [name for name in names if name not in without and name not in branching[1:]]
    return {name: draw(written_values(name)) for name in kept}


@st.composite
def layers(draw: st.DrawFn, *, without: frozenset[str] = frozenset()) -> list[Layer]:
    """Layers of different sources, in any order; only one of them speaks of branching, so that they go together."""
    sources = draw(st.lists(st.sampled_from(SOURCES[1:] + PINS), max_size=6, unique=True))
    brancher = draw(st.sampled_from(sources)) if sources else None
    return [
        settings_layer(
            source,
            draw(said_settings(without=without if source == brancher else without | frozenset(BRANCHING))),
            source,
        )
        for source in sources
    ]


def environments(prefix: str = "WANDB_") -> st.SearchStrategy[dict[str, str]]:
    """Environments whose variables are known, nearly known or foreign, with any text an environment can hold."""
    known = [prefix + suffix for setting in FIELDS.values() for suffix in setting.environment]
    variables = st.sampled_from(known) | st.sampled_from(known).map(lambda name: f"{name}S") | st.just("PATH")
    anything = st.text(st.characters(exclude_characters="\0"), max_size=30)
    useful = st.sampled_from(
        (*_FLAG_WORDS, "", "offline", "a,b,,c", "12.5", "must", "{", "http://h", "x?_step=3")
    )
    return st.dictionaries(variables, useful | anything, max_size=8)


def ini_texts() -> st.SearchStrategy[str]:
    """Texts that are INI files, or nearly."""
    keys = setting_names() | st.sampled_from(("projct", "a b", "", "KEY", "[x"))
    lines = st.one_of(
        st.sampled_from(("[default]", "[client]", "[DEFAULT]", "[]", "[default", " [default] ; x")),
        st.builds(
            "{}{}{}{}".format,
            st.sampled_from(("", " ", "\t")),
            keys,
            st.sampled_from(("=", ": ", " = ")),
            _TEXTS,
        ),
        st.sampled_from(("", "  ", "# a comment", "  ; another", "  more of the value", "no delimiter")),
        _TEXTS,
    )
    return st.lists(lines, max_size=12).map("\n".join)
