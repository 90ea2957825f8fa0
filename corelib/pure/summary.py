"""The summary of a run: what remains of its rows.

Law: the summary is a fold over committed rows, definitions and explicit changes in their order. Rows may come one by
one or in batches of any size: the result is the same to the last bit. Statistics are kept from the first row on, so
that a late definition sees them all; memory grows with the number of names, not of rows.

Numbers (bools as 0 and 1) count for min, max and mean, anything else does not; a NaN makes all three NaN. An explicit
write holds until the next row that names the key, and sets its aggregation aside until the metric is defined anew. A
dictionary with a `_type` (a histogram, say) is one value; any other is merged, name by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from corelib.pure.metrics import AGGREGATIONS, Definitions, MetricDefinition, parse_definition
from corelib.pure.trees import equal_trees, without_nan

__all__ = ["MetricDefinition", "Reduction", "parse_definition"]

_COMPUTED: Final = frozenset({"_runtime", "_step", "_timestamp"})
_COUNTED: Final = frozenset({bool, float, int})
_NUMBERS: Final = frozenset({float, int})
_ABSENT: Final = object()
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_NAN: Final = float("nan")


class Reduction:
    """The summary under construction. Not thread-safe: its owner has a lock."""

    __slots__ = ("_definitions", "_names", "_stamp")

    def __init__(self) -> None:
        self._definitions = Definitions()
        self._names: dict[str, _Name] = {}
        self._stamp: dict[str, Any] = {}

    @property
    def synchronises(self) -> bool:
        """Whether a definition asks for step metrics to be filled in, so that `missing_steps` has work to do."""
        return self._definitions.synchronises

    def load(self, stored: Mapping[str, Any]) -> None:
        """Start from the summary of the run that is resumed.

        Its values show until rows replace them. Stored minima, maxima and first values count on; a mean begins anew,
        because the number of rows behind it is not stored.
        """
        self._names = {key: _stored(value) for key, value in stored.items()}

    def define(self, definition: MetricDefinition) -> None:
        """Take a definition; it holds for earlier rows as well."""
        self._definitions.add(definition)
        for path, name in _walk(self._names):
            if path == definition.name or (definition.is_glob and path.startswith(definition.name[:-1])):
                name.is_set_aside = False

    def absorb(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take committed rows, which are trees, in their order; their lists and texts are kept, never changed."""
        if rows:
            _take_rows(self._names, rows)

    def stamp(self, step: int, runtime: float, timestamp: float) -> None:
        """Say where the last row stands: its step, its seconds of runtime and since the epoch."""
        self._stamp = {"_step": step, "_runtime": runtime, "_timestamp": timestamp}

    def change(self, update: Mapping[str, Any], remove: Sequence[str] = ()) -> None:
        """Take an explicit change: whole top-level values set, and names removed with all that was known of them.

        Inside of a dictionary that replaces one, values that stay the same keep their aggregation.
        """
        for key in remove:
            self._names.pop(key, None)
        for key, tree in update.items():
            self._names[key] = self._assigned(key, self._names.get(key), tree)

    def _assigned(self, path: str, present: _Name | None, tree: Any) -> _Name:
        if not _is_branch(tree):
            return _Name.explicit(tree)
        if present is None or present.inner is None or present.last is not _ABSENT:
            present = _Name()
            present.is_set_aside = True
        inner: dict[str, _Name] = {}
        for key, item in tree.items():
            below = f"{path}/{key}"
            known = (present.inner or {}).get(key)
            stays = known is not None and equal_trees(self._shown(below, known), item, exact=True)
            inner[key] = known if known is not None and stays else self._assigned(below, known, item)
        present.inner = inner
        return present

    def view(self, *, published: bool = False) -> dict[str, Any]:
        """Return the summary as it stands, to be read only: it shares values with the rows.

        Args:
            published: as servers are told it: a None that was logged does not show, and a NaN that was set by hand is
                None, but for those in lists.
        """
        tree = {}
        for key, name in self._names.items():
            value = self._shown(key, name, published=published)
            if value is not _ABSENT:
                tree[key] = value
        if self._stamp:
            internal = tree.get("_wandb")
            runtime = {"runtime": int(self._stamp["_runtime"])}
            tree |= self._stamp
            tree["_wandb"] = {**internal, **runtime} if isinstance(internal, dict) else runtime
        return tree

    def _shown(self, path: str, name: _Name, *, published: bool = False) -> Any:
        if name.last is not _ABSENT:
            if published and name.is_explicit:
                return name.last if name.is_stored else without_nan(name.last, in_lists=False)
            if not self._definitions or name.is_explicit or name.is_set_aside:
                value = name.last
            else:
                definition = self._definitions.of(path)
                value = name.aggregated(None if definition is None else definition.summary)
            return _ABSENT if published and value is None else value
        tree = {}
        for key, inner in (name.inner or {}).items():
            value = self._shown(f"{path}/{key}", inner, published=published)
            if value is not _ABSENT:
                tree[key] = value
        return tree or _ABSENT

    def missing_steps(self, row: Mapping[str, Any], open_row: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """Return the step metrics that a row lacks and that its metrics ask for, with their last committed values.

        Only rows that were absorbed before are known; a step metric without a value yet is left out. `open_row` is
        what earlier calls put into the same row: a step metric that stands there is not lacking.
        """
        missing: dict[str, Any] = {}
        for path in _paths(row):
            definition = self._definitions.of(path)
            if definition is None or definition.step_metric is None or not definition.synchronises:
                continue
            step_metric = definition.step_metric
            if step_metric in row or step_metric in open_row or step_metric in _COMPUTED:
                continue
            known = self._names.get(step_metric)
            value = _ABSENT if known is None else known.last
            if value is not _ABSENT:
                missing[step_metric] = value
        return missing


class _Name:
    """What is known of one name: its last value or the names inside of it, and its statistics.

    At most one of `last` and the inner names shows; names that do not show keep their statistics.
    """

    __slots__ = (
        "count",
        "first",
        "high",
        "inner",
        "is_explicit",
        "is_set_aside",
        "is_stored",
        "last",
        "low",
        "total",
    )

    def __init__(self) -> None:
        self.last: Any = _ABSENT
        self.inner: dict[str, _Name] | None = None
        self.is_explicit = False  # no row came since it was set by hand
        self.is_set_aside = False  # definitions do not hold for it
        self.is_stored = False  # it is as the run that is resumed left it, which may have been by rows
        self.first: Any = _ABSENT
        self.low: float | None = None
        self.high: float | None = None
        self.total: float = 0
        self.count = 0

    @classmethod
    def explicit(cls, value: Any) -> _Name:
        name = cls()
        name.last = value
        name.is_explicit = name.is_set_aside = True
        return name

    def take(self, column: Sequence[Any]) -> None:
        """Take the values of consecutive rows."""
        kinds = set(map(type, column))
        if dict in kinds:
            self.take_dictionaries(column, kinds)
            return
        if kinds <= _NUMBERS:
            self.take_numbers(column)
        elif kinds & _COUNTED:
            self.take_numbers([+value for value in column if type(value) in _COUNTED])  # +True is 1
        self.take_last(column)

    def take_dictionaries(self, column: Sequence[Any], kinds: set[type[Any]]) -> None:
        if len(kinds) == 1 and not any("_type" in value for value in column):
            self.last = _ABSENT
            self.is_explicit = False
            if self.inner is None:
                self.inner = {}
            _take_rows(self.inner, column)
        elif len(column) == 1:
            self.take_last(column)
        else:
            for value in column:
                self.take((value,))

    def take_numbers(self, numbers: Sequence[float]) -> None:
        # One after the other: since Python 3.12, sum() rounds differently for batches of different sizes.
        total = self.total
        try:
            for number in numbers:
                total += number
        except OverflowError:
            total = self.total
            for number in numbers:
                total = _add(total, number)
        self.total = total
        self.count += len(numbers)
        if total != total and any(number != number for number in numbers):  # noqa: PLR0124  NaN
            self.low = self.high = _NAN
            return
        low, high = min(numbers), max(numbers)
        if self.low is None or low < self.low:
            self.low = low
        if self.high is None or high > self.high:
            self.high = high

    def take_last(self, column: Sequence[Any]) -> None:
        if self.first is _ABSENT:
            self.first = column[0]
        self.hide()
        self.last = column[-1]
        self.is_explicit = False

    def hide(self) -> None:
        self.last = _ABSENT
        if self.inner:
            for name in self.inner.values():
                name.hide()

    def aggregated(self, aggregations: tuple[str, ...] | None) -> Any:
        """Return what shows of a single value; `_ABSENT` if nothing does."""
        if aggregations is None or "copy" in aggregations:
            return self.last
        values = {"last": self.last, "first": self.first}
        if self.low is not None:
            values["min"] = self.low
        if self.high is not None:
            values["max"] = self.high
        if self.count:
            values["mean"] = _quotient(self.total, self.count)
        return {one: values[one] for one in AGGREGATIONS if one in aggregations and one in values} or _ABSENT


def _is_branch(tree: Any) -> bool:
    """Say whether a value is merged name by name."""
    return isinstance(tree, dict) and bool(tree) and "_type" not in tree


def _stored(tree: Any) -> _Name:
    name = _Name()
    if not _is_branch(tree):
        name.last = tree
        name.is_explicit = name.is_stored = True
        return name
    name.inner = {key: _stored(value) for key, value in tree.items()}
    if tree.keys() <= {*AGGREGATIONS}:
        bounds = [tree.get(end) if type(tree.get(end)) in _NUMBERS else None for end in ("min", "max")]
        if any(bound != bound for bound in bounds):  # noqa: PLR0124  NaN
            bounds = [_NAN, _NAN]
        name.low, name.high = bounds
        name.first = tree.get("first", _ABSENT)
    return name


def _take_rows(names: dict[str, _Name], rows: Sequence[Mapping[str, Any]]) -> None:
    for key, column in _columns(rows).items():
        name = names.get(key)
        if name is None:
            name = names[key] = _Name()
        name.take(column)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Turn rows into the columns of their names."""
    keys = rows[0].keys()
    if sum(map(len, rows)) == len(keys) * len(rows):
        try:
            return {key: [row[key] for row in rows] for key in keys}
        except KeyError:
            pass  # as many names, but not the same ones
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            columns.setdefault(key, []).append(value)
    return columns


def _walk(names: Mapping[str, _Name], prefix: str = "") -> Iterator[tuple[str, _Name]]:
    for key, name in names.items():
        yield prefix + key, name
        if name.inner:
            yield from _walk(name.inner, f"{prefix}{key}/")


def _paths(row: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in row.items():
        if _is_branch(value):
            yield from _paths(value, f"{prefix}{key}/")
        else:
            yield prefix + key


def _add(total: float, number: float) -> float:
    """Add what cannot be added plainly: an integer beyond the range of floats counts as infinite among them."""
    try:
        return total + number
    except OverflowError:
        return _as_float(total) + _as_float(number)


def _quotient(total: float, count: int) -> float:
    try:
        return total / count
    except OverflowError:
        return _as_float(total)


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")
