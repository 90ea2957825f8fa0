"""The laws of summaries: batches do not matter, and the fast reduction equals a slow one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.metrics import AGGREGATIONS, Definitions
from corelib.pure.summary import MetricDefinition, Reduction
from corelib.pure.trees import equal_trees
from corelib.testing.strategies.values import definitions, numbers, summary_rows

Path = tuple[str, ...]


class SlowSummary:
    """Remembers every value of every name and computes the summary from scratch."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.values: dict[Path, list[Any]] = {}
        self.explicit: set[Path] = set()
        self.aside: set[Path] = set()
        self.definitions = Definitions()

    def row(self, row: dict[str, Any]) -> None:
        self.put(self.tree, (), row)

    def put(self, tree: dict[str, Any], above: Path, row: dict[str, Any]) -> None:
        for key, value in row.items():
            path = (*above, key)
            if is_branch(value):
                if not is_branch(tree.get(key)):
                    tree[key] = {}
                self.put(tree[key], path, value)
            else:
                tree[key] = value
                self.values.setdefault(path, []).append(value)
                self.explicit.discard(path)

    def set(self, key: str, value: Any) -> None:
        self.remove(key)
        self.tree[key] = value
        self.explicit.add((key,))
        self.aside.add((key,))

    def remove(self, key: str) -> None:
        self.tree.pop(key, None)
        self.values = {path: values for path, values in self.values.items() if path[0] != key}
        self.explicit = {path for path in self.explicit if path[0] != key}
        self.aside = {path for path in self.aside if path[0] != key}

    def define(self, definition: MetricDefinition) -> None:
        self.definitions.add(definition)
        self.aside = {path for path in self.aside if not matches(definition.name, "/".join(path))}

    def view(self) -> dict[str, Any]:
        return dict(self.shown((), self.tree))

    def shown(self, above: Path, tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            path = (*above, key)
            if is_branch(value):
                inner = dict(self.shown(path, value))
                if inner:
                    yield key, inner
            else:
                yield from ((key, shown) for shown in self.leaf(path, value))

    def leaf(self, path: Path, value: Any) -> list[Any]:
        definition = self.definitions.of("/".join(path))
        wanted = None if definition is None else definition.summary
        if path in self.explicit or path in self.aside or wanted in (None, ("copy",)):
            return [value]
        assert wanted is not None
        found = statistics(self.values[path])
        result = {one: found[one] for one in AGGREGATIONS if one in wanted and one in found}
        return [result] if result else []


def matches(pattern: str, name: str) -> bool:
    """Say whether a definition's name covers a name."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def is_branch(value: Any) -> bool:
    """Say whether a value is merged name by name."""
    return isinstance(value, dict) and "_type" not in value


def statistics(values: list[Any]) -> dict[str, Any]:
    """Return all aggregations of the values of one name."""
    counted = [value for value in values if isinstance(value, (bool, int, float))]
    found: dict[str, Any] = {"first": values[0], "last": values[-1]}
    if counted:
        is_nan = any(value != value for value in counted)  # noqa: PLR0124  NaN
        found["min"] = float("nan") if is_nan else +min(counted)
        found["max"] = float("nan") if is_nan else +max(counted)
        total: Any = 0
        for value in counted:
            try:
                total = total + value
            except OverflowError:
                total = limited(total) + limited(value)
        try:
            found["mean"] = total / len(counted)
        except OverflowError:
            found["mean"] = limited(total)
    return found


def limited(number: Any) -> float:
    """Return a number as a float, infinite where it is beyond the range."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


@st.composite
def partitions(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[list[dict[str, Any]]]]:
    """Draw rows, and the same rows in consecutive batches."""
    rows = draw(st.lists(summary_rows(), max_size=12))
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    return rows, [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]


@given(partition=partitions(), defined=st.lists(definitions(), max_size=3))
def test_batches_do_not_matter(
    partition: tuple[list[dict[str, Any]], list[list[dict[str, Any]]]], defined: list[MetricDefinition]
) -> None:
    """Rows in batches of any size give the summary that they give one by one, to the last bit."""
    rows, batches = partition
    one_by_one, batched = Reduction(), Reduction()
    for definition in defined:
        one_by_one.define(definition)
        batched.define(definition)

    for row in rows:
        one_by_one.absorb([row])
    for batch in batches:
        batched.absorb(batch)

    assert equal_trees(one_by_one.view(), batched.view(), exact=True)


@given(values=st.lists(numbers(), min_size=1, max_size=300), cut=st.integers(0, 300))
def test_sums_are_exact_in_every_partition(values: list[Any], cut: int) -> None:
    """The mean of a long column is the same for one batch and for two, also where floats round and overflow."""
    whole, halves = Reduction(), Reduction()
    rows = [{"v": value} for value in values]
    for reduction in (whole, halves):
        reduction.define(MetricDefinition("v", summary=("min", "max", "mean")))

    whole.absorb(rows)
    halves.absorb(rows[:cut])
    halves.absorb(rows[cut:])

    assert equal_trees(whole.view(), halves.view(), exact=True)
    assert equal_trees(whole.view()["v"], {key: statistics(values)[key] for key in ("min", "max", "mean")})


events = st.one_of(
    st.tuples(st.just("rows"), st.lists(summary_rows(), max_size=4)),
    st.tuples(st.just("define"), definitions()),
    st.tuples(
        st.just("set"), st.tuples(st.sampled_from(("a", "loss", "train")), numbers() | st.just("text"))
    ),
    st.tuples(st.just("remove"), st.sampled_from(("a", "loss", "train"))),
)


@given(story=st.lists(events, max_size=12))
def test_the_reduction_equals_a_slow_model(story: list[tuple[str, Any]]) -> None:
    """After any rows, definitions, explicit writes and removals, the summary is what remembering everything gives."""
    reduction, model = Reduction(), SlowSummary()
    for kind, what in story:
        if kind == "rows":
            reduction.absorb(what)
            for row in what:
                model.row(row)
        elif kind == "define":
            reduction.define(what)
            model.define(what)
        elif kind == "set":
            reduction.change({what[0]: what[1]})
            model.set(*what)
        else:
            reduction.change({}, (what,))
            model.remove(what)

        assert equal_trees(reduction.view(), model.view(), exact=True)


@given(
    rows=st.lists(summary_rows(), max_size=8),
    defined=st.lists(definitions(), max_size=3),
    at=st.integers(0, 8),
)
def test_it_does_not_matter_when_a_metric_is_defined(
    rows: list[dict[str, Any]], defined: list[MetricDefinition], at: int
) -> None:
    """Definitions before, between and after the rows give the same summary."""
    early, late = Reduction(), Reduction()
    for definition in defined:
        early.define(definition)

    early.absorb(rows)
    late.absorb(rows[:at])
    for definition in defined:
        late.define(definition)
    late.absorb(rows[at:])

    assert equal_trees(early.view(), late.view(), exact=True)


@given(rows=st.lists(summary_rows(), max_size=8), defined=st.lists(definitions(), max_size=3))
def test_an_unchanged_write_inside_keeps_everything_else(
    rows: list[dict[str, Any]], defined: list[MetricDefinition]
) -> None:
    """Adding one name to a dictionary of the summary changes nothing else of it, now and after the next rows."""
    written, other = Reduction(), Reduction()
    for reduction in (written, other):
        for definition in defined:
            reduction.define(definition)
        reduction.absorb([{"d": row} for row in rows])

    shown = written.view().get("d", {})
    written.change({"d": {**shown, "note": "x"}})
    for reduction in (written, other):
        reduction.absorb([{"d": {key: row[key] for key in row if key in shown}} for row in rows])

    expected = {key: value for key, value in other.view().get("d", {}).items() if key in shown}
    found = {key: value for key, value in written.view()["d"].items() if key != "note"}
    assert equal_trees(found, expected, exact=True)
