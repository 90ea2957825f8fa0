"""The summary object over a real reduction: a mapping whose every write is recorded."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from corelib.api.summary import Summary, SummaryBranch, renew_lock
from corelib.errors import UsageError, UsageTypeError
from corelib.pure.histogram import Histogram
from corelib.pure.summary import Reduction, parse_definition
from corelib.pure.trees import equal_trees


class Run:
    """A run's summary with nothing else of the run: rows in, records out."""

    def __init__(self) -> None:
        self.reduction = Reduction()
        self.records: list[tuple[dict[str, Any], tuple[str, ...]]] = []
        self.is_finished = False
        self.summary = Summary(read=self.reduction.view, record=self.record, writable=self.writable)

    def log(self, **row: Any) -> None:
        self.reduction.absorb([row])

    def record(self, update: dict[str, Any], remove: tuple[str, ...]) -> None:
        self.reduction.change(update, remove)
        self.records.append((update, remove))

    def writable(self) -> None:
        if self.is_finished:
            raise UsageError("Run abc is finished.")

    def replayed(self) -> dict[str, Any]:
        """Return the summary that the records alone amount to."""
        reduction = Reduction()
        for update, remove in self.records:
            reduction.change(update, remove)
        return reduction.view()


@pytest.fixture
def run() -> Run:
    """Return a run that has logged nothing yet."""
    return Run()


@pytest.mark.case("sum-in", "sum-items", "sum-get", "sum-missing-item")
def test_it_is_a_mapping(run: Run) -> None:
    """`in`, iteration, items, length, get and comparison work; names with an underscore are readable but hidden."""
    run.log(a=1, b={"x": 2})
    run.reduction.stamp(0, 1.0, 2.0)
    summary = run.summary

    assert "b" in summary
    assert "_step" not in summary
    assert 5 not in summary  # type: ignore[comparison-overlap]
    assert list(summary) == ["a", "b"]
    assert list(summary.items()) == [("a", 1), ("b", {"x": 2})]
    assert (len(summary), summary == {"a": 1, "b": {"x": 2}}) == (2, True)
    assert summary.as_dict() == {"a": 1, "b": {"x": 2}}
    assert (summary["_step"], summary._runtime, summary.get("_timestamp")) == (0, 1.0, 2.0)
    assert (summary.get("nope", 3), summary.get("nope")) == (3, None)
    with pytest.raises(KeyError, match="nope"):
        summary["nope"]


def test_missing_values(run: Run) -> None:
    """A missing item is a KeyError, a missing attribute an AttributeError, so that `hasattr` works."""
    with pytest.raises(KeyError):
        run.summary["dog"]
    with pytest.raises(AttributeError, match="'zz'"):
        _ = run.summary.zz
    with pytest.raises(AttributeError):
        del run.summary.zz
    assert not hasattr(run.summary, "zz")
    assert not hasattr(run.summary, "__array__")


def test_writes_are_recorded(run: Run) -> None:
    """Items, attributes and updates are recorded, an update as one record; lists and scalars of libraries are read."""
    run.summary["a"] = (1, 2)
    run.summary.b = 3
    run.summary.update({"c": 4}, d={"x": 1})
    run.summary.update([("e", 5)])
    run.summary.update()
    del run.summary.b

    assert run.records == [
        ({"a": [1, 2]}, ()),
        ({"b": 3}, ()),
        ({"c": 4, "d": {"x": 1}}, ()),
        ({"e": 5}, ()),
        ({}, ("b",)),
    ]
    assert run.summary == {"a": [1, 2], "c": 4, "d": {"x": 1}, "e": 5}
    assert "a" in dir(run.summary)


def test_nested_writes_are_recorded(run: Run) -> None:
    """A write at any depth is recorded as the whole top-level value, and shows at once."""
    run.summary["a"] = {}
    run.summary["a"]["b"] = 1
    run.summary.a.c = {"d": {"e": 2}}
    run.summary["a"]["c"]["d"]["f"] = 3
    run.summary["a"]["c"].update(g=4)
    run.summary["a"]["c"].update()
    del run.summary["a"]["c"]["d"]["e"]
    del run.summary.a.b

    assert run.summary.as_dict() == {"a": {"c": {"d": {"f": 3}, "g": 4}}}
    assert run.replayed() == run.summary.as_dict()
    assert len(run.records) == 7
    assert run.records[3] == ({"a": {"b": 1, "c": {"d": {"e": 2, "f": 3}}}}, ())
    with pytest.raises(KeyError):
        del run.summary["a"]["nope"]


def test_a_branch_is_a_live_view(run: Run) -> None:
    """A nested dictionary shows what is there now, and says so when it is gone."""
    run.log(a={"x": 1})
    branch = run.summary["a"]
    assert isinstance(branch, SummaryBranch)

    run.log(a={"x": 2, "y": [1]})
    assert branch == {"x": 2, "y": [1]}
    assert repr(branch) == "SummaryBranch({'x': 2, 'y': [1]})"
    with pytest.raises(UsageTypeError, match="assign the whole value"):
        branch["y"].append(2)

    run.log(a=5)
    with pytest.raises(KeyError, match="'a'"):
        branch["x"]
    with pytest.raises(KeyError, match="'a'"):
        branch["x"] = 1


def test_nested_writes_keep_the_aggregation_of_neighbours(run: Run) -> None:
    """A write inside of a dictionary leaves the other metrics in it aggregated."""
    run.reduction.define(parse_definition("train/*", summary="max"))
    run.log(train={"acc": 5, "loss": 1})

    run.summary["train"]["note"] = "x"
    run.log(train={"acc": 3})

    assert run.summary == {"train": {"acc": {"max": 5}, "loss": {"max": 1}, "note": "x"}}


@pytest.mark.case("sum-del-missing", "sum-del")
def test_deleting(run: Run) -> None:
    """Deleting what is not there is a KeyError; a deleted key is absent until a row names it again."""
    run.log(a=1)
    with pytest.raises(KeyError, match="nope"):
        del run.summary["nope"]

    del run.summary["a"]
    assert "a" not in run.summary

    run.log(a=7)
    assert run.summary["a"] == 7
    assert run.summary.pop("a") == 7


@pytest.mark.case("sum-nan")
def test_values_of_a_summary(run: Run) -> None:
    """NaN is kept, a long array is described, a histogram is one read-only value, the unknown is refused."""
    import numpy as np

    run.summary["x"] = float("nan")
    run.summary["w"] = np.arange(100.0)
    run.summary["h"] = Histogram([1, 2], num_bins=1)

    assert equal_trees(run.records[0][0], {"x": float("nan")})
    assert run.records[1][0]["w"]["_type"] == "numpy.ndarray"
    assert run.summary["w"]["mean"] == 49.5
    assert isinstance(run.summary["h"], dict)
    with pytest.raises(UsageTypeError, match="'o', an object"):
        run.summary["o"] = object()


@pytest.mark.parametrize(("key", "error"), [(1, UsageTypeError), ("", UsageError)])
def test_keys_are_texts(run: Run, key: Any, error: type[Exception]) -> None:
    """A key that is no text, or an empty one, is refused and nothing is recorded."""
    with pytest.raises(error):
        run.summary[key] = 1

    assert run.records == []


@pytest.mark.case("finish-then-summary-read")
def test_after_finish(run: Run) -> None:
    """After the end of the run the summary is readable, and every write is a UsageError that changes nothing."""
    run.log(a=1, n={"x": 1})
    run.is_finished = True

    for write in (
        lambda: run.summary.update(a=2),
        lambda: run.summary["n"].update(x=2),
        lambda: run.summary.__delitem__("a"),
        lambda: run.summary["n"].__delitem__("x"),
    ):
        with pytest.raises(UsageError, match="finished"):
            write()

    assert dict(run.summary) == {"a": 1, "n": {"x": 1}}
    assert run.records == []


def test_copies_are_plain(run: Run) -> None:
    """A copy or a pickle of a summary is a plain dict of the listed values."""
    run.log(a={"x": [1]}, _h=2)

    for plain in (
        copy.copy(run.summary),
        copy.deepcopy(run.summary),
        pickle.loads(pickle.dumps(run.summary)),  # noqa: S301  our own
    ):
        assert type(plain) is dict
        assert plain == {"a": {"x": [1]}}
        assert type(plain["a"]["x"]) is list


def test_the_repr_shows_the_values(run: Run) -> None:
    """The repr shows the listed values, long ones shortened."""
    run.log(a=1, s="x" * 200, _h=2)

    assert repr(run.summary).startswith("Summary({'a': 1, 's': 'xxx")
    assert len(repr(run.summary)) < 200
    assert "_h" not in repr(run.summary)


def test_threads_inside_of_one_value(run: Run) -> None:
    """Threads that write different names of one nested dictionary lose none of them."""
    run.summary["n"] = {}

    def write(worker: int) -> None:
        for number in range(50):
            run.summary["n"][f"k{worker}_{number}"] = number

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(run.summary["n"]) == 200


def test_a_forked_child_gets_a_lock_of_its_own(run: Run) -> None:
    """A lock that a thread of the parent held at the fork does not stop the child."""
    inherited = run.summary._source.lock
    renew_lock(run.summary)

    assert run.summary._source.lock is not inherited
    threading.Thread(target=inherited.acquire).start()
    run.summary["a"] = 1
    assert run.summary["a"] == 1
