"""What a server answers about a run is read whole, or said to be unreadable, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corelib.pure.remote import Absent, Created, LookupFailed, RemoteRun, Started, Unreadable, starting_step
from tests.servers.document import OMIT
from tests.servers.seeding import HARMLESS_ANSWERS, MALFORMED_ANSWERS, UNSTARTED_ANSWERS
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpResult, Verdict
from transports.wandb_resume import Lines, lookup_failure, read_answer, read_lines, resume_request

REQUEST = resume_request("r1", "p", None)
HOST = "api.example.com"


def stored(**changes: Any) -> dict[str, Any]:
    """Return the bucket of an ordinary run, with changes; `OMIT` leaves a field out."""
    bucket = {
        "id": "s1",
        "name": "r1",
        "displayName": "fun-1",
        "config": '{"lr":{"value":0.1},"_wandb":{"value":{"viz":{"a":1}}}}',
        "summaryMetrics": '{"_step":15,"acc":0.5,"_wandb":{"runtime":50}}',
        "historyLineCount": 16,
        "eventsLineCount": 3,
        "logLineCount": 40,
        "historyTail": json.dumps(['{"_step":14}', '{"_step":15,"_runtime":51.5,"loss":NaN}']),
        "eventsTail": json.dumps(['{"_runtime":60.25}']),
        "tags": ["t1"],
        "notes": "nn",
        "wandbConfig": '{"t":{}}',
        **changes,
    }
    return {name: value for name, value in bucket.items() if value is not OMIT}


def answer_of(bucket: Any, **model: Any) -> HttpAnswer:
    data = {"model": {"id": "p1", "name": "p", "entity": {"name": "ent"}, "bucket": bucket, **model}}
    return HttpAnswer(200, {}, json.dumps({"data": data}).encode())


def read(result: HttpResult) -> Any:
    return read_answer(REQUEST, result, host=HOST, now=0.0, run_id="r1", app_url="https://example.com")


def test_a_run_is_read_whole() -> None:
    """Every value that a resumed run takes over comes from the answer."""
    assert read(answer_of(stored())) == Started(
        RemoteRun(
            run_id="r1",
            where="https://example.com/ent/p/runs/r1",
            config={"lr": 0.1, "_wandb": {"viz": {"a": 1}}},
            summary={"_step": 15, "acc": 0.5, "_wandb": {"runtime": 50}},
            last_step=15,
            history_lines=16,
            events_lines=3,
            console_lines=40,
            history_runtime=51.5,
            events_runtime=60.25,
            tags=("t1",),
            notes="nn",
            name="fun-1",
            storage_id="s1",
        )
    )


@pytest.mark.parametrize(
    "data", [None, {}, {"model": None}, {"model": {"bucket": None}}, {"model": {"name": "p"}}]
)
def test_only_the_server_says_that_a_run_is_absent(data: Any) -> None:
    """No project, no bucket and no data at all are "it does not exist"."""
    assert read(HttpAnswer(200, {}, json.dumps({"data": data}).encode())) == Absent()


@pytest.mark.parametrize("name", MALFORMED_ANSWERS)
def test_malformed_answers_are_unreadable(name: str) -> None:
    """Nothing of a run is taken over if something of it cannot be understood, and nobody overwrites it."""
    assert isinstance(read(answer_of(stored(**MALFORMED_ANSWERS[name]))), Unreadable)


@pytest.mark.parametrize("name", UNSTARTED_ANSWERS)
def test_unstarted_runs_were_created(name: str) -> None:
    """Without the mark of a start and without lines, a run was made ahead, whatever else is stored."""
    empty = dict.fromkeys(("historyLineCount", "eventsLineCount", "logLineCount"), 0)

    assert read(answer_of(stored(**empty, **UNSTARTED_ANSWERS[name]))) == Created()
    assert isinstance(read(answer_of(stored(**UNSTARTED_ANSWERS[name]))), Started)


@pytest.mark.parametrize("name", HARMLESS_ANSWERS)
def test_harmless_answers_are_read(name: str) -> None:
    """Empty tails, NaN and missing descriptions keep nobody from continuing."""
    assert isinstance(read(answer_of(stored(**HARMLESS_ANSWERS[name]))), Started)


@pytest.mark.parametrize(
    "field",
    [
        *("id", "name", "config", "summaryMetrics", "historyLineCount", "eventsLineCount", "logLineCount"),
        *("historyTail", "eventsTail"),
    ],
)
def test_every_field_is_needed(field: str) -> None:
    """A field that is not there is not taken for an empty one; the reason names it."""
    found = read(answer_of(stored(**{field: OMIT})))

    assert isinstance(found, Unreadable)
    assert field in found.reason


@pytest.mark.parametrize(
    ("changes", "unreadable"),
    [
        ({"tags": "x"}, True),
        ({"tags": [1]}, True),
        ({"notes": 7}, True),
        ({"notes": ""}, False),
        ({"displayName": 7}, True),
        ({"displayName": None}, False),
        ({"id": ""}, True),
        ({"historyTail": '[{"_step":1}]'}, True),
        ({"historyTail": '["[]"]'}, True),
        ({"historyTail": "{}"}, True),
        ({"config": "[]"}, True),
        ({"wandbConfig": "{}", "id": 7}, True),
    ],
)
def test_types_are_exact(changes: dict[str, Any], unreadable: bool) -> None:
    """A value of another type is not converted."""
    assert isinstance(read(answer_of(stored(**changes))), Unreadable) == unreadable


@pytest.mark.parametrize("bucket", ["r1", 7, ["r1"]])
def test_an_answer_about_something_else_is_unreadable(bucket: Any) -> None:
    """A bucket that is no object is not "absent"."""
    assert isinstance(read(answer_of(bucket)), Unreadable)


def test_where_it_was_found_needs_no_names() -> None:
    """A server that names neither entity nor project still has a place."""
    found = read(answer_of(stored(), entity=None, name=None))

    assert found.remote.where == "https://example.com/runs/r1"


# ---------------------------------------------------------------------------------------------------------- the numbers


def first_step(**changes: Any) -> int:
    found = read(answer_of(stored(**changes)))
    assert isinstance(found, Started)
    return starting_step(found.remote)


@pytest.mark.case("res-lines0-step1")
@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, 16),
        ({"summaryMetrics": '{"_step":20}'}, 21),
        ({"summaryMetrics": "{}"}, 16),
        ({"summaryMetrics": "{}", "historyTail": "[]"}, 1),
        ({"summaryMetrics": "{}", "historyTail": "[]", "historyLineCount": 0}, 0),
        ({"summaryMetrics": '{"_step":1}', "historyTail": '["{\\"_step\\":1}"]', "historyLineCount": 0}, 1),
        ({"summaryMetrics": "{}", "historyTail": '["{\\"_step\\":50.0}"]'}, 51),
        ({"summaryMetrics": '{"_step":"7"}', "historyTail": '["{\\"_step\\":true}"]'}, 1),
        ({"summaryMetrics": '{"_step":-3}', "historyTail": '["{\\"_step\\":Infinity}"]'}, 1),
    ],
)
def test_no_step_is_given_out_twice(changes: dict[str, Any], step: int) -> None:
    """The first step follows the greatest that summary and last row tell; what is no step tells nothing."""
    assert first_step(**changes) == step


@pytest.mark.parametrize(
    ("runtime", "seconds"), [("1.5", 1.5), ("7", 7.0), ("true", None), ('"7"', None), ("1" * 400, None)]
)
def test_runtimes_are_numbers(runtime: str, seconds: float | None) -> None:
    """What is no number of seconds is unknown."""
    tail = json.dumps(['{"_runtime":' + runtime + "}"])
    found = read(answer_of(stored(historyTail=tail)))

    assert found.remote.history_runtime == seconds


# ---------------------------------------------------------------------------------------------------- nobody could tell


@pytest.mark.case("res-auth-fail", "res-forbidden", "res-500")
@pytest.mark.parametrize(
    ("result", "kind", "retry"),
    [
        (HttpAnswer(401), "auth", False),
        (HttpAnswer(403, {}, b'{"errors":[{"message":"permission denied"}]}'), "forbidden", False),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"permission denied"}]}'), "forbidden", False),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"user is not logged in"}]}'), "auth", False),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"Unauthorized"}]}'), "auth", False),
        (HttpAnswer(409), "refused", False),
        (HttpAnswer(410), "refused", False),
        *((HttpAnswer(status), "server", False) for status in (302, 400, 404, 413, 422, 501)),
        *((HttpAnswer(status), "server", True) for status in (408, 429, 500, 502, 503, 504)),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"it broke"}]}'), "server", False),
        (HttpAnswer(200, {}, b"<html>"), "server", False),
        (HttpAnswer(200, {}, b"{}"), "server", False),
        (HttpFailure("dropped", "cut"), "unreachable", True),
        (HttpFailure("timeout", "late"), "unreachable", True),
        (HttpFailure("unreachable", "refused"), "unreachable", True),
        (HttpFailure("unresolved", "no such host"), "unreachable", False),
        (HttpFailure("tls", "expired"), "unreachable", False),
    ],
)
def test_failures_are_told_apart(result: HttpResult, kind: str, retry: bool) -> None:
    """A permission error is not taken for "missing", and only what may pass is asked again."""
    found = read(result)

    assert isinstance(found, LookupFailed)
    assert (found.kind, found.retry) == (kind, retry)
    assert found.reason
    assert lookup_failure(result, Verdict("doubtful", "x")).reason


# --------------------------------------------------------------------------------------------------- where lines go on


def test_lines_are_counted_by_the_server() -> None:
    """A resumed run goes on behind what is stored; summary and tails do not matter for that."""
    broken = stored(summaryMetrics=None, historyTail=None, config=None, wandbConfig=None)

    assert read_lines(REQUEST, answer_of(broken), HOST, 0.0) == Lines(16, 3, 40, "s1")
    assert read_lines(REQUEST, answer_of(None), HOST, 0.0) is None


@pytest.mark.parametrize("changes", [{"historyLineCount": None}, {"logLineCount": "4"}, {"id": None}])
def test_counts_that_cannot_be_read_are_doubtful(changes: dict[str, Any]) -> None:
    """Where nobody knows how many lines there are, none is written."""
    found = read_lines(REQUEST, answer_of(stored(**changes)), HOST, 0.0)

    assert isinstance(found, Verdict)
    assert found.meaning == "doubtful"


def test_failures_of_counting_are_judged_as_everywhere() -> None:
    """A server that fails is asked again."""
    assert read_lines(REQUEST, HttpAnswer(503), HOST, 0.0) == Verdict(
        "later", "RunResumeStatus at api.example.com: HTTP 503"
    )
