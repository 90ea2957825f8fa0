"""From layers to settings: who decides each setting, and what was not heeded.

Law: the strongest source that says something about a setting decides it, in whatever order the layers come. Four
rules, each a function below, look beyond one setting: a sweep locks what identifies its runs, `disable_code` vetoes
`save_code`, `magic` must be readable, and the address of pages follows that of the server. Nothing is hidden: the
provenance names the source, the origin, and every value that lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from corelib.errors import UsageError
from corelib.pure.coerce import UNSET
from corelib.pure.magic import read_magic
from corelib.pure.settings import BRANCHING, FIELDS, Settings, check_branching, unknown_setting
from corelib.pure.sources import CALL_SOURCES, PINS, SOURCES, Layer, Problem

__all__ = ["Entry", "Provenance", "Resolution", "resolve"]

_RANK: Final[Mapping[str, int]] = {source: rank for rank, source in enumerate(SOURCES + PINS)}
_LOCKED_BY_SWEEP: Final = ("project", "entity", "run_id")


class Entry(NamedTuple):
    """A value that lost, without what is secret in it: who said it, and where."""

    source: str
    origin: str
    value: Any


class Provenance(NamedTuple):
    """Why a setting has its value: the source and origin that decided, and what lost, strongest first."""

    source: str
    origin: str
    overridden: tuple[Entry, ...]


class Resolution(NamedTuple):
    """The settings that layers amount to.

    Args:
        settings: the outcome.
        provenance: for every setting, who decided it. No secret is in it.
        problems: what could not be used, for the user to see.
    """

    settings: Settings
    provenance: Mapping[str, Provenance]
    problems: tuple[Problem, ...]

    def explain(self, key: str | None = None) -> str:
        """Return lines that say for one setting, or for all, its value, who decided it, and what lost.

        Raises:
            UsageError: there is no setting `key`.
        """
        if key is None:
            return "\n".join(line for name in FIELDS for line in self._explained(name))
        if key not in FIELDS:
            raise UsageError(unknown_setting(key))
        problems = (f"    problem: {problem.text}" for problem in self.problems if problem.field == key)
        return "\n".join([FIELDS[key].doc, *self._explained(key), *problems])

    def _explained(self, name: str) -> Iterable[str]:
        source, origin, overridden = self.provenance[name]
        value = FIELDS[name].show(getattr(self.settings, name))
        yield (
            f"{name} = {value}  ({source})" if origin == source else f"{name} = {value}  ({source}: {origin})"
        )
        for entry in overridden:
            yield f"    instead of {FIELDS[name].show(entry.value)}  ({entry.source}: {entry.origin})"


class _Said(NamedTuple):
    rank: int
    source: str
    origin: str
    value: Any


_Heard: TypeAlias = dict[str, list[_Said]]  # for each setting somebody spoke of, strongest first


def resolve(layers: Iterable[Layer], problems: Iterable[Problem] = ()) -> Resolution:
    """Return the settings that layers amount to, and why.

    Args:
        layers: at most one per source, in any order.
        problems: those found while making the layers.

    Raises:
        UsageError: a problem is fatal, two layers have one source, a source or a setting is unknown, a value is not
            valid, or settings exclude each other.
    """
    found = list(problems)
    fatal = [problem.text for problem in found if problem.fatal]
    if fatal:
        raise UsageError("\n".join(fatal))
    heard = _heard(layers)
    unheeded: _Heard = {}
    _lock_by_sweep(heard, unheeded, found)
    _veto_code(heard)
    _read_magic(heard, unheeded, found)
    _derive_app_url(heard)
    decided = {name: said[0] for name, said in heard.items() if said}
    check_branching(
        {name: decided[name].origin for name in BRANCHING if name in decided and decided[name].value}
    )
    settings = Settings(**{name: said.value for name, said in decided.items()})
    provenance = {name: _provenance(name, heard.get(name, ()), unheeded.get(name, ())) for name in FIELDS}
    return Resolution(settings, MappingProxyType(provenance), tuple(found))


def _heard(layers: Iterable[Layer]) -> _Heard:
    ranked: dict[int, Layer] = {}
    for layer in layers:
        rank = _RANK.get(layer.source)
        if rank is None:
            raise UsageError(
                f"There is no source of settings {layer.source!r}; there are {', '.join(_RANK)}."
            )
        if rank in ranked:
            raise UsageError(f"Two layers of the source {layer.source!r}: their order would decide.")
        ranked[rank] = layer
    heard: _Heard = {}
    for rank in sorted(ranked, reverse=True):
        source, origin, values = ranked[rank]
        for name, said in values.items():
            if name not in FIELDS:
                raise UsageError(unknown_setting(name))
            value = FIELDS[name].coerce(said)
            if value is not UNSET:
                heard.setdefault(name, []).append(_Said(rank, source, origin[name], value))
    return heard


def _lock_by_sweep(heard: _Heard, unheeded: _Heard, problems: list[Problem]) -> None:
    """In a sweep, arguments of the call do not move the run elsewhere. The sweep's own source may."""
    if "sweep_id" not in heard:
        return
    sweep = heard["sweep_id"][0]
    for name in _LOCKED_BY_SWEEP:
        all_said = heard.get(name, [])
        dropped = [said for said in all_said if said.source in CALL_SOURCES and said.rank > sweep.rank]
        if dropped:
            heard[name] = [said for said in all_said if said not in dropped]
            unheeded[name] = dropped
            problems.extend(
                Problem(said.source, name, f"Ignored {said.origin}: the run belongs to sweep {sweep.value}.")
                for said in dropped
            )


def _veto_code(heard: _Heard) -> None:
    """`disable_code` makes `save_code` false; or it is overruled, if a stronger source asks for saving."""
    veto = heard.get("disable_code", [])
    asked = heard.get("save_code", [])
    if not (veto and veto[0].value) or (asked and not asked[0].value):
        return
    if asked and asked[0].rank > veto[0].rank:
        heard["disable_code"] = [asked[0]._replace(value=False), *veto]
    else:
        heard["save_code"] = [veto[0]._replace(value=False), *asked]


def _read_magic(heard: _Heard, unheeded: _Heard, problems: list[Problem]) -> None:
    """A text for `magic` is read; one that cannot be read is as good as not said, with a warning."""
    said = heard.get("magic", [])
    while said and isinstance(said[0].value, str):
        try:
            said[0] = said[0]._replace(value=read_magic(said[0].value))
            return
        except UsageError as error:
            problems.append(Problem(said[0].source, "magic", f"{said[0].origin}: {error} It is not used."))
            unheeded.setdefault("magic", []).append(said.pop(0))


def _derive_app_url(heard: _Heard) -> None:
    """Pages are shown where the server is, or on the host beside it that is called app instead of api."""
    if "base_url" in heard and "app_url" not in heard:
        server = heard["base_url"][0]
        scheme, _, rest = server.value.partition("://")
        if rest == "api.wandb.ai":
            rest = "wandb.ai"
        elif rest.startswith("api."):
            rest = f"app.{rest.removeprefix('api.')}"
        origin = f"from base_url of {server.origin}"
        heard["app_url"] = [server._replace(origin=origin, value=f"{scheme}://{rest}")]


def _provenance(name: str, said: Sequence[_Said], unheeded: Sequence[_Said]) -> Provenance:
    setting = FIELDS[name]
    lost = tuple(Entry(one.source, one.origin, setting.masked(one.value)) for one in (*said[1:], *unheeded))
    return (
        Provenance(said[0].source, said[0].origin, lost) if said else Provenance("default", "default", lost)
    )
