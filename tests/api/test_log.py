"""`run.log()` as a user calls it, and what is read back from the journal."""

from __future__ import annotations

import json
import math
import threading
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import corelib
from corelib import Histogram, Run, UsageError
from corelib.api.reading import RunView


@pytest.fixture
def run() -> Run:
    """Return an offline run."""
    return corelib.init(mode="offline", settings={"silent": True})


def read_back(run: Run) -> RunView:
    """Finish the run and return what its journal tells."""
    run.finish()
    return corelib.open_run(run.sync_dir)


def rows(run: Run) -> list[dict[str, Any]]:
    """Finish the run and return its rows without clock values."""
    return [
        {key: value for key, value in row.items() if key not in ("_runtime", "_timestamp")}
        for row in read_back(run).history()
    ]


def stored(run: Run, value: Any) -> Any:
    """Log one value and return it as it is read back."""
    run.log({"k": value})
    return rows(run)[0]["k"]


@pytest.mark.case("log-basic")
def test_each_call_is_a_row(run: Run) -> None:
    """Without step, every call is a row of the next step."""
    run.log({"a": 1})
    run.log({"b": 2})

    assert run.step == 2
    assert rows(run) == [{"_step": 0, "a": 1}, {"_step": 1, "b": 2}]


@pytest.mark.case("log-same-step-merge")
def test_calls_with_one_step_make_one_row(run: Run) -> None:
    """A step keeps its row open for the next call of the same step."""
    run.log({"a": 1}, step=5)
    assert run.step == 5
    run.log({"b": 1}, step=5)
    run.log({"c": 1}, step=6)
    assert run.step == 6
    run.log({"d": 1})

    assert run.step == 7
    assert rows(run) == [{"_step": 5, "a": 1, "b": 1}, {"_step": 6, "c": 1, "d": 1}]


@pytest.mark.case("log-backwards")
@pytest.mark.parametrize(
    ("policy", "kept"),
    [("keep", [{"_step": 5, "a": 1}, {"_step": 3, "b": 1}]), ("drop", [{"_step": 5, "a": 1}])],
)
def test_a_step_behind_follows_the_policy(
    policy: str, kept: list[dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A row behind the current step is kept or dropped, warned about once, and moves nothing."""
    run = corelib.init(mode="offline", settings={"step_policy": policy})
    run.log({"a": 1}, step=5, commit=True)
    run.log({"b": 1}, step=3)
    assert run.step == 6
    run.log({"c": 1})

    assert capsys.readouterr().err.count("monotonically increasing") == 1
    assert rows(run) == [*kept, {"_step": 6, "c": 1}]
    assert run.receipt.rejected == (0 if policy == "keep" else 1)


def test_a_step_behind_is_an_error_if_the_policy_says_so() -> None:
    """step_policy="error" raises and changes nothing."""
    run = corelib.init(mode="offline", settings={"step_policy": "error", "silent": True})
    run.log({"a": 1}, step=5, commit=True)

    with pytest.raises(UsageError, match="step 3"):
        run.log({"b": 1}, step=3)
    assert rows(run) == [{"_step": 5, "a": 1}]


@pytest.mark.case("log-same-step-after-commit")
def test_a_committed_step_is_behind(run: Run) -> None:
    """A second row for a committed step is kept as a row of its own."""
    run.log({"a": 1}, step=4, commit=True)
    run.log({"bad": 1}, step=4, commit=True)

    assert rows(run) == [{"_step": 4, "a": 1}, {"_step": 4, "bad": 1}]


@pytest.mark.case("log-commit-false", "finish-pending-row")
def test_commit_false_keeps_the_row_open(run: Run) -> None:
    """A row stays open until it is committed; finish() commits the last one."""
    run.log({"a": 1}, commit=False)
    run.log({"b": 2})
    run.log({"c": 3}, commit=False)

    assert rows(run) == [{"_step": 0, "a": 1, "b": 2}, {"_step": 1, "c": 3}]


@pytest.mark.case("log-commit-true-step")
def test_commit_with_step_moves_on(run: Run) -> None:
    """commit=True with a step closes that step."""
    run.log({"a": 1}, step=2, commit=True)

    assert run.step == 3


@pytest.mark.case("log-overwrite")
def test_later_values_win(run: Run) -> None:
    """Within a row the later value of a key wins."""
    run.log({"a": 1}, commit=False)
    run.log({"a": 2})

    assert rows(run) == [{"_step": 0, "a": 2}]


@pytest.mark.case("log-empty")
def test_an_empty_call_moves_the_step(run: Run) -> None:
    """log({}) uses a step and makes no row."""
    run.log({})
    assert run.step == 1
    run.log({"a": 1})

    assert rows(run) == [{"_step": 1, "a": 1}]


@pytest.mark.case("log-empty-step")
def test_an_empty_call_may_name_a_step(run: Run) -> None:
    """log({}, step=n) opens step n."""
    run.log({}, step=10)
    run.log({"b": 1})

    assert rows(run) == [{"_step": 10, "b": 1}]


@pytest.mark.case("log-example")
def test_the_long_example(run: Run) -> None:
    """Steps, open rows and late rows together."""
    run.log({"n": 1})
    run.log({"n": 11}, commit=False)
    for n, step in ((2, 100), (3, 100), (8, 101), (5, 102)):
        run.log({"n": n}, step=step)
    run.log({"cool": 2}, step=2)
    run.log({"cool": 2}, step=4)

    read = rows(run)
    assert [(row["_step"], row["n"]) for row in read if "n" in row] == [
        (0, 1),
        (1, 11),
        (100, 3),
        (101, 8),
        (102, 5),
    ]
    assert [row["_step"] for row in read if "cool" in row] == [2, 4]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(1.5, marks=pytest.mark.case("log-float-step")),
        pytest.param("3", marks=pytest.mark.case("log-str-step")),
        pytest.param(True, marks=pytest.mark.case("log-bool-step")),
    ],
)
def test_a_step_is_an_integer(run: Run, step: Any) -> None:
    """Nothing but an integer is taken for a step."""
    with pytest.raises(TypeError):
        run.log({"a": 1}, step=step)
    assert run.step == 0


def test_a_step_is_not_negative(run: Run) -> None:
    """A negative step is bad input, not a step behind."""
    with pytest.raises(UsageError):
        run.log({"a": 1}, step=-1)
    assert rows(run) == []


@pytest.mark.case("log-np-step")
def test_a_step_may_be_a_numpy_integer(run: Run) -> None:
    """Integers of any library are steps."""
    run.log({"z": 1}, step=np.int64(7))  # type: ignore[arg-type]  # what users do

    assert rows(run) == [{"_step": 7, "z": 1}]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(10, marks=pytest.mark.case("log-not-dict")),
        pytest.param(None, marks=pytest.mark.case("log-none")),
        pytest.param({1: 1000}, marks=pytest.mark.case("log-int-key")),
        pytest.param({("tup", "idx"): 1}, marks=pytest.mark.case("log-tuple-key")),
        pytest.param({"k": object()}, marks=pytest.mark.case("log-object")),
        pytest.param({"": 1}),
    ],
)
def test_bad_data_is_refused(run: Run, data: Any) -> None:
    """What cannot be a row raises an error for callers old and new, and changes nothing."""
    with pytest.raises((TypeError, ValueError)) as caught:
        run.log(data)
    assert isinstance(caught.value, UsageError)
    assert run.step == 0
    assert rows(run) == []


@pytest.mark.case("log-step-key-ignored", "log-timestamp-key")
def test_reserved_keys(run: Run) -> None:
    """`_step` is ours, `_timestamp` may be the user's."""
    run.log({"_step": 50, "a": 1})
    run.log({"_timestamp": 5, "b": 1})

    first, second = read_back(run).history()
    assert first["_step"] == 0
    assert second["_timestamp"] == 5


@pytest.mark.case("log-dotted-key", "log-slash-key")
def test_nested_keys_are_paths(run: Run) -> None:
    """Nested dictionaries are read back as paths; a dot in a key is no separator."""
    run.log({"a.b": 1, "x": {"y": 2, "z.w": 3}, "train/loss": 4})

    assert rows(run) == [{"_step": 0, "a.b": 1, "x/y": 2, "x/z.w": 3, "train/loss": 4}]


@pytest.mark.case("log-sync-arg")
def test_sync_is_accepted(run: Run) -> None:
    """The old argument does no harm."""
    run.log({"sy": 1}, sync=True)

    assert rows(run) == [{"_step": 0, "sy": 1}]


@pytest.mark.case("log-caller-dict")
def test_the_callers_data_is_its_own(run: Run) -> None:
    """The caller's dictionary is neither changed nor aliased."""
    data = {"this": 1, "list": [1]}
    run.log(data, commit=False)
    data["list"].append(2)  # type: ignore[attr-defined]  # the list it is
    run.log({})

    assert data == {"this": 1, "list": [1, 2]}
    assert rows(run) == [{"_step": 0, "this": 1, "list": [1]}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(np.float32(1.5), 1.5, marks=pytest.mark.case("log-np-float32")),
        pytest.param(np.int64(3), 3, marks=pytest.mark.case("log-np-int")),
        pytest.param(np.array(3.0), 3.0, marks=pytest.mark.case("log-np-0d")),
        pytest.param(np.array([7.0]), 7.0, marks=pytest.mark.case("log-np-one")),
        pytest.param(np.arange(3), [0, 1, 2], marks=pytest.mark.case("log-np-small")),
        pytest.param(np.array([]), [], marks=pytest.mark.case("log-np-empty")),
        pytest.param("x", "x", marks=pytest.mark.case("log-str")),
        pytest.param(None, None, marks=pytest.mark.case("log-none-value")),
        pytest.param({1}, [1], marks=pytest.mark.case("log-set")),
        pytest.param((1, 2), [1, 2], marks=pytest.mark.case("log-tuple")),
        pytest.param(Decimal("1.5"), 1.5, marks=pytest.mark.case("log-decimal")),
        pytest.param(2**70, 2**70, marks=pytest.mark.case("log-bigint")),
        (True, True),
        ("NaN", "NaN"),
        ("\\Infinity", "\\Infinity"),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        (2**63, 2**63),
        ("\ud800", "\ud800"),
    ],
)
def test_values_are_read_back(run: Run, value: Any, expected: Any) -> None:
    """What is logged is what is read."""
    read = stored(run, value)

    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.case("log-np-nan", "log-list-nan")
def test_not_a_number_is_kept(run: Run) -> None:
    """NaN is kept, alone, in lists, and of any library; in the journal it is the text "NaN"."""
    run.log({"k": np.float32("nan"), "plain": math.nan, "list": [math.nan]})

    view = read_back(run)
    (row,) = view.history()
    assert math.isnan(row["k"])
    assert math.isnan(row["plain"])
    assert math.isnan(row["list"][0])


@pytest.mark.case("log-np-2d-36")
def test_a_big_array_is_a_histogram(run: Run) -> None:
    """More than 32 elements become a histogram of 32 bins."""
    run.log({"k": np.ones((6, 6))})

    (record,) = [record for record in read_back(run).records() if hasattr(record, "data")]
    assert record.data["k"]["_type"] == "histogram"
    assert len(record.data["k"]["values"]) == 32


@pytest.mark.case("log-hist")
def test_a_histogram_can_be_logged(run: Run) -> None:
    """A Histogram has 64 bins and one more edge."""
    run.log({"h": Histogram([1, 2, 2, 3])})

    (record,) = [record for record in read_back(run).records() if hasattr(record, "data")]
    assert len(record.data["h"]["values"]) == 64
    assert len(record.data["h"]["bins"]) == 65


@pytest.mark.case("log-empty-dict")
def test_an_empty_dictionary_stores_nothing(run: Run) -> None:
    """The step moves on, the key is not there."""
    run.log({"k": {}})
    assert run.step == 1
    run.log({"j": 1, "k": {}})

    assert rows(run) == [{"_step": 1, "j": 1}]


@pytest.mark.case("log-5000-keys")
def test_a_wide_row(run: Run) -> None:
    """The number of keys has no limit."""
    run.log({f"key{number}": number for number in range(5000)})

    (row,) = rows(run)
    assert len(row) == 5001


@pytest.mark.case("log-2mb-string")
def test_a_long_text(run: Run) -> None:
    """A text of two megabytes is kept whole."""
    assert stored(run, "x" * 2_000_000) == "x" * 2_000_000


@pytest.mark.case("log-deep-200")
def test_a_deep_value(run: Run) -> None:
    """Two hundred levels are no problem."""
    deep: dict[str, Any] = {"leaf": 1}
    for _ in range(200):
        deep = {"d": deep}
    run.log(deep)

    (row,) = rows(run)
    assert row["/".join(["d"] * 200 + ["leaf"])] == 1


@pytest.mark.case("log-recursive")
def test_a_value_that_holds_itself(run: Run) -> None:
    """A self-reference is an error, and the run goes on."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    with pytest.raises((RecursionError, ValueError)):
        run.log(loop)
    run.log({"a": 1})

    assert rows(run) == [{"_step": 0, "a": 1}]


@pytest.mark.case("log-threads")
def test_threads_share_a_run(run: Run) -> None:
    """Rows of many threads are neither torn nor mixed nor lost."""

    def work(thread: int) -> None:
        for number in range(50):
            run.log({"t": thread, "n": number, "twice": 2 * number})

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert run.step == 200
    read = rows(run)
    assert [row["_step"] for row in read] == list(range(200))
    assert all(row["twice"] == 2 * row["n"] for row in read)
    for number in range(4):
        assert [row["n"] for row in read if row["t"] == number] == list(range(50))


@pytest.mark.case("sum-explicit-then-log")
def test_a_logged_value_replaces_one_set_by_hand(run: Run) -> None:
    """The next automatic update wins over an explicit summary."""
    run.summary["a"] = 9
    run.log({"a": 1})

    assert run.summary["a"] == 1
    assert read_back(run).summary["a"] == 1


@pytest.mark.case("metric-late")
def test_a_late_definition_sees_earlier_rows(run: Run) -> None:
    """Statistics begin with the first row, whenever the metric is defined, and survive reading back."""
    run.log({"v": 9})
    run.define_metric("v", summary="max")
    run.log({"v": 1})

    assert run.summary["v"] == {"max": 9}
    assert read_back(run).summary["v"] == {"max": 9}


def test_step_sync_fills_in_the_step_metric(run: Run) -> None:
    """A row that lacks the step metric of one of its metrics gets its last value."""
    run.define_metric("epoch")
    run.define_metric("val/*", step_metric="epoch", step_sync=True)
    run.log({"epoch": 3})
    run.log({"val/loss": 0.5})

    assert rows(run)[1] == {"_step": 1, "val/loss": 0.5, "epoch": 3}


def test_an_open_row_is_in_the_journal(run: Run) -> None:
    """Each call is in the kernel when log() returns, also of a row that is still open."""
    run.log({"a": 1}, commit=False)
    run.log({"b": 2}, step=7)

    (segment,) = [*(corelib.open_run(run.sync_dir).path / "journal").rglob("*.jsonl")]
    lines = [json.loads(line[9:]) for line in segment.read_bytes().splitlines()]
    assert [line["data"] for line in lines if line["type"] == "row"] == [{"a": 1}, {"b": 2}]


def test_before_init_log_says_what_to_do() -> None:
    """Without a run the module's log() names the remedy."""
    with pytest.raises(corelib.Error, match=r"You must call corelib\.init\(\) before corelib\.log"):
        corelib.log({"a": 1})
