"""How metrics are to be summarised and plotted: definitions, and which of them holds for a name.

Law: a later definition of a name adds to the earlier one, unless it says `overwrite`. A name is defined by itself
and by the longest `prefix*` it starts with; what its own definition leaves open, the prefix decides. Nested values
have the name `outer/inner`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.trees import shorten, type_phrase

__all__ = ["AGGREGATIONS", "Definitions", "MetricDefinition", "parse_definition"]

AGGREGATIONS: Final = ("min", "max", "mean", "last", "first")
"""The aggregations that combine, in the order in which a summary shows them."""

ALONE: Final = ("copy", "none")
"""The plain last value, and no entry at all: they stand alone."""


class MetricDefinition(NamedTuple):
    """One valid definition. `summary` is None (left open), ("copy",), ("none",) or some aggregations."""

    name: str
    step_metric: str | None = None
    step_sync: bool | None = None
    hidden: bool | None = None
    summary: tuple[str, ...] | None = None
    overwrite: bool = False

    @property
    def is_glob(self) -> bool:
        """Whether the name is a prefix followed by "*"."""
        return self.name.endswith("*")

    @property
    def synchronises(self) -> bool:
        """Whether rows that lack the step metric get its last value; so unless the definition says no."""
        return self.step_metric is not None and self.step_sync is not False

    def over(self, weaker: MetricDefinition) -> MetricDefinition:
        """Return this definition with what it leaves open taken from a weaker one."""
        return MetricDefinition(
            self.name,
            weaker.step_metric if self.step_metric is None else self.step_metric,
            weaker.step_sync if self.step_sync is None else self.step_sync,
            weaker.hidden if self.hidden is None else self.hidden,
            weaker.summary if self.summary is None else self.summary,
        )

    def after(self, earlier: MetricDefinition) -> MetricDefinition:
        """Return what holds when this definition follows an earlier one of the same name."""
        merged = self.over(earlier)
        if self.summary and earlier.summary and not {*self.summary, *earlier.summary} & {*ALONE}:
            both = tuple(one for one in AGGREGATIONS if one in self.summary or one in earlier.summary)
            merged = merged._replace(summary=both)
        return merged


def parse_definition(
    name: Any,
    step_metric: Any = None,
    step_sync: Any = None,
    hidden: Any = None,
    summary: Any = None,
    overwrite: Any = None,
) -> MetricDefinition:
    """Validate the arguments of `define_metric()`.

    Args:
        name: a metric, or a prefix followed by "*".
        step_metric: the metric to plot it over.
        step_sync: whether rows that lack `step_metric` get its last value; by default they do.
        hidden: whether plots leave it out.
        summary: comma separated, in any case: min, max, mean, last, first; or copy or none, which stand alone. An
            empty text is copy.
        overwrite: whether to forget earlier definitions of the name.

    Raises:
        UsageTypeError: a text or a bool is needed and is not given.
        UsageError: an empty name, a "*" elsewhere than at the end, an unknown aggregation.
    """
    for argument, text in (("name", name), ("step_metric", step_metric), ("summary", summary)):
        if not isinstance(text, str) and (text is not None or argument == "name"):
            raise UsageTypeError(f"define_metric({argument}=…) must be a text, not {type_phrase(text)}.")
    for argument, switch in (("step_sync", step_sync), ("hidden", hidden), ("overwrite", overwrite)):
        if switch is not None and not isinstance(switch, bool):
            raise UsageTypeError(f"define_metric({argument}=…) must be True or False, not {shorten(switch)}.")
    if not name or step_metric == "":
        raise UsageError("define_metric() needs the name of a metric, and was given an empty one.")
    if "*" in name[:-1]:
        raise UsageError(
            f"define_metric(): {name!r} has a '*' elsewhere than at its end, which is not supported."
        )
    if step_metric is not None and "*" in step_metric:
        raise UsageError(f"define_metric(step_metric=…) names one metric, and {step_metric!r} is a pattern.")
    return MetricDefinition(
        str.__str__(name),
        None if step_metric is None else str.__str__(step_metric),
        step_sync,
        hidden,
        None if summary is None else _aggregations(summary),
        bool(overwrite),
    )


def _aggregations(summary: str) -> tuple[str, ...]:
    wanted = {part.strip().lower() for part in summary.split(",")} - {""} or {"copy"}
    unknown = sorted(wanted - {*AGGREGATIONS, *ALONE})
    if unknown:
        known = ", ".join((*AGGREGATIONS, *ALONE))
        hint = " Use min or max." if "best" in unknown else ""
        raise UsageError(f"define_metric(summary=…): {unknown[0]!r} is not known; what is, is {known}.{hint}")
    if len(wanted) > 1 and wanted & {*ALONE}:
        raise UsageError(f"define_metric(summary={summary!r}): copy and none stand alone.")
    return tuple(one for one in (*AGGREGATIONS, *ALONE) if one in wanted)


class Definitions:
    """All definitions of a run, and what holds for a name."""

    __slots__ = ("_by_name", "_found")

    def __init__(self) -> None:
        self._by_name: dict[str, MetricDefinition] = {}
        self._found: dict[str, MetricDefinition | None] = {}

    def add(self, definition: MetricDefinition) -> None:
        """Take one more definition."""
        earlier = self._by_name.get(definition.name)
        if earlier is not None and not definition.overwrite:
            definition = definition.after(earlier)
        self._by_name[definition.name] = definition
        self._found = {}

    def of(self, name: str) -> MetricDefinition | None:
        """Return what holds for a name; None if nothing was said about it."""
        if name not in self._found:
            self._found[name] = self._find(name)
        return self._found[name]

    def _find(self, name: str) -> MetricDefinition | None:
        prefixes = [one for one in self._by_name if one.endswith("*") and name.startswith(one[:-1])]
        own = self._by_name.get(name)
        if not prefixes:
            return own
        weaker = self._by_name[max(prefixes, key=len)]
        return weaker if own is None else own.over(weaker)

    @property
    def synchronises(self) -> bool:
        """Whether any definition asks for step metrics to be filled in."""
        return any(definition.synchronises for definition in self._by_name.values())

    def __bool__(self) -> bool:
        return bool(self._by_name)
