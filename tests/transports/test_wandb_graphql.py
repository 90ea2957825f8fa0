"""Every operation asks what the schema has, and every answer is read as it is or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers.document import Operation, parse
from tests.servers.schema import check_arguments, check_selection, check_variables
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, Verdict
from transports.wandb_graphql import (
    Bucket,
    Reader,
    RunName,
    Slot,
    Viewer,
    alert_request,
    anonymous_key_request,
    create_files_request,
    features_request,
    graphql_request,
    says_started,
    upsert_request,
    viewer_request,
)
from transports.wandb_resume import resume_request

RUN = RunName("my ent", "p", "r 1")
HOST = "api.example.com"
REQUESTS = {
    "UpsertBucket": upsert_request({"name": "r", "tags": ["a"], "config": "{}"}),
    "CreateRunFiles": create_files_request(RUN, ["a", "b/c"]),
    "NotifyScriptableRunAlert": alert_request(RUN, "t", "x", "WARN", 30.0),
    "Viewer": viewer_request(),
    "ServerFeaturesQuery": features_request(),
    "CreateAnonymousApiKey": anonymous_key_request(),
    "RunResumeStatus": resume_request("r", "p", None),
}


def envelope(request: HttpRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    found: dict[str, Any] = json.loads(request.body, parse_constant=lambda word: 1 / 0)
    return found


def read(data: Any, request: HttpRequest | None = None) -> Reader:
    """Return a reader of an answer that holds these data."""
    body = json.dumps({"data": data}).encode()
    return Reader(request or REQUESTS["UpsertBucket"], HttpAnswer(200, {}, body), HOST, 0.0)


@pytest.mark.parametrize("name", REQUESTS)
def test_operations_keep_the_schema(name: str) -> None:
    """Each document parses, names its operation, and its variables, arguments and selections are of the schema."""
    request = REQUESTS[name]
    said = envelope(request)
    operation: Operation = parse(said["query"], said["operationName"])
    values = check_variables(operation, said.get("variables", {}))
    for field in operation.fields:
        check_selection(field)
        check_arguments(operation, field, values)

    assert said["operationName"] == operation.name == name == request.operation
    assert request.headers == {"Content-Type": "application/json"}
    assert request.target == "/graphql"


def test_an_upsert_names_every_variable() -> None:
    """What is not given goes out as null, and nothing that the document does not know."""
    variables = envelope(upsert_request({"name": "r", "strange": 1}))["variables"]

    assert variables["name"] == "r"
    assert variables["config"] is None
    assert "strange" not in variables


def test_an_alert_waits_in_milliseconds() -> None:
    """The distance of alerts is in milliseconds there."""
    assert envelope(REQUESTS["NotifyScriptableRunAlert"])["variables"]["waitDuration"] == 30_000


def test_texts_of_any_kind_are_sent() -> None:
    """A lone surrogate in a text of the user's is no reason to fail."""
    request = graphql_request("X", "query X{x}", {"notes": "\ud800"})

    assert envelope(request)["variables"] == {"notes": "\ud800"}


# ------------------------------------------------------------------------------------------------------------ envelopes


@pytest.mark.parametrize(
    ("body", "meaning", "words"),
    [
        (b"", "slowly", "not JSON"),
        (b"<html>it works</html>", "slowly", "not JSON"),
        (b"[" * 100_000, "slowly", "not JSON"),
        (b"[]", "slowly", "not GraphQL"),
        (b"{}", "slowly", "not GraphQL"),
        (b'{"data":[1]}', "doubtful", "cannot be understood"),
        (b'{"data":null,"errors":[{"message":"it broke"}]}', "doubtful", "it broke"),
        (b'{"errors":[{"message":"permission denied"}]}', "slowly", "permission denied"),
        (b'{"errors":[{"message":"user is not logged in"}]}', "slowly", "not logged in"),
        (b'{"errors":["strange"]}', "doubtful", "errors without a message"),
        (b'{"errors":7}', "doubtful", "errors without a message"),
    ],
)
def test_answers_that_hold_nothing(body: bytes, meaning: str, words: str) -> None:
    """An answer of somebody else is asked for again; errors may come right; every reader gives the same verdict."""
    reader = Reader(REQUESTS["Viewer"], HttpAnswer(200, {}, body), HOST, 0.0)

    assert reader.data is None
    assert reader.verdict.meaning == meaning
    assert words in reader.verdict.reason
    assert reader.verdict.reason.startswith("Viewer at api.example.com: ")
    for method in ("bucket", "slots", "features", "success", "viewer", "anonymous_key"):
        assert getattr(reader, method)() == reader.verdict


def test_a_denial_is_in_what_was_answered() -> None:
    """What a host is called is no reason to take its answer for one."""

    def verdict(body: bytes) -> Verdict:
        return Reader(REQUESTS["Viewer"], HttpAnswer(200, {}, body), "unauth.forbidden.org", 0.0).verdict

    assert verdict(b'{"errors":[{"message":"user is not logged in"}]}').denial == "key"
    assert verdict(b'{"errors":[{"message":"forbidden"}]}').denial == "permission"
    assert verdict(b'{"errors":[{"message":"it broke"}]}').denial is None
    assert verdict(b"<html>").denial is None


@pytest.mark.parametrize("data", [None, {}])
def test_an_empty_answer_is_empty(data: Any) -> None:
    """No data is an answer without anything in it."""
    assert read(data).data == {}


def test_statuses_are_judged_as_everywhere() -> None:
    """A status that is no success is what the table says."""
    body = b'{"errors":[{"message":"no"}]}'

    assert Reader(REQUESTS["Viewer"], HttpAnswer(401, {}, body), HOST, 0.0).verdict == Verdict(
        "slowly", "Viewer at api.example.com: HTTP 401 (no)", denial="key"
    )
    assert Reader(REQUESTS["Viewer"], HttpFailure("dropped", "cut"), HOST, 0.0).verdict == Verdict(
        "later", "cut"
    )


# ------------------------------------------------------------------------------------------------------------- answers


def bucket(**changes: Any) -> Any:
    project = {"name": "p", "entity": {"name": "ent"}}
    found = {"id": "s1", "name": "r1", "displayName": "fun-1", "historyLineCount": 5, "project": project}
    found["wandbConfig"] = '{"t":{}}'
    return {"upsertBucket": {"bucket": {**found, **changes}, "inserted": True}}


def test_a_bucket_is_read() -> None:
    """What the server calls the run, how many rows it has, and who was first."""
    expected = Bucket(RunName("ent", "p", "r1"), "s1", "fun-1", 5, inserted=True, started=True)

    assert read(bucket()).bucket() == expected


def test_the_least_bucket_is_enough() -> None:
    """Key, name for people, count and the answer to who was first may be missing."""
    least = bucket(id=None, displayName=None, historyLineCount=None, wandbConfig=None)
    least["upsertBucket"]["inserted"] = None

    assert read(least).bucket() == Bucket(RunName("ent", "p", "r1"), None, None, 0, None, None)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"upsertBucket": None},
        {"upsertBucket": {"bucket": None}},
        bucket(name=None),
        bucket(name=""),
        bucket(name=7),
        bucket(project=None),
        bucket(project={"name": "p"}),
        bucket(project={"name": "p", "entity": {"name": None}}),
        bucket(project={"name": 7, "entity": {"name": "ent"}}),
        bucket(id=7),
        bucket(displayName=7),
        bucket(historyLineCount="5"),
        bucket(historyLineCount=True),
        bucket(historyLineCount=-1),
        bucket(historyLineCount=1.5),
    ],
)
def test_a_bucket_of_other_types_is_none(data: Any) -> None:
    """A stream to a path with a hole in it would lose everything: such an answer is doubtful."""
    found = read(data).bucket()

    assert isinstance(found, Verdict)
    assert found.meaning == "doubtful"


@pytest.mark.parametrize(
    ("internals", "started"),
    [
        ('{"t":{}}', True),
        ('{"t":0}', True),
        ("{}", False),
        ('["t"]', None),
        ("t", None),
        ("[" * 100_000, None),
        (None, None),
        ({"t": 1}, None),
    ],
)
def test_the_mark_of_a_start(internals: Any, started: bool | None) -> None:
    """Any value under `t` says that the run has started; what cannot be read says nothing."""
    assert says_started(internals) is started


def test_slots_are_read_by_name() -> None:
    """Headers are split at the first colon, lines without one are skipped, and strange files are left out."""
    files = [{"name": "a", "uploadUrl": "https://x/a"}, {"name": "b", "uploadUrl": None}, {"name": 7}, "junk"]
    lines = ["X-Token: a:b ", "nonsense", 7]
    answer = {"createRunFiles": {"uploadHeaders": lines, "files": [*files, {"name": "c", "uploadUrl": 5}]}}

    assert read(answer).slots() == {
        "a": Slot("https://x/a", {"X-Token": "a:b"}),
        "b": Slot(None, {"X-Token": "a:b"}),
    }
    assert read({"createRunFiles": {"files": []}}).slots() == {}


@pytest.mark.parametrize(
    "answer", [None, {}, {"files": None}, {"files": {}}, {"files": [], "uploadHeaders": "X: y"}]
)
def test_an_answer_without_slots_is_doubtful(answer: Any) -> None:
    """The reference crashes here."""
    found = read({"createRunFiles": answer}).slots()

    assert isinstance(found, Verdict)
    assert found.meaning == "doubtful"


def test_features_are_those_that_are_enabled() -> None:
    """Everything else in the answer says that there are none."""
    listed = [{"name": "A", "isEnabled": True}, {"name": "B", "isEnabled": False}, {"name": "C"}, "junk"]

    assert read({"serverInfo": {"features": listed}}).features() == frozenset({"A"})
    for answer in (None, {}, {"features": None}, {"features": "A"}):
        assert read({"serverInfo": answer}).features() == frozenset()


def test_success_is_said_in_so_many_words() -> None:
    """Only true is success."""
    assert read({"notifyScriptableRunAlert": {"success": True}}).success() is True
    assert read({"notifyScriptableRunAlert": {"success": "yes"}}).success() is False
    assert read({"notifyScriptableRunAlert": None}).success() is False


def test_a_viewer_is_read() -> None:
    """A key may belong to nobody, and a person need not have an address."""
    viewer = {"entity": "ent", "username": "bob", "email": None, "flags": "{}"}

    assert read({"viewer": viewer}).viewer() == Viewer("ent", "bob", None)
    assert read({"viewer": None}).viewer() is None


def test_an_anonymous_key_is_read() -> None:
    """A server that does not know the operation offers none."""
    assert read({"createAnonymousEntity": {"apiKey": {"name": "k" * 40}}}).anonymous_key() == "k" * 40
    for answer in (None, {}, {"apiKey": None}, {"apiKey": {"name": ""}}, {"apiKey": {"name": 7}}):
        assert read({"createAnonymousEntity": answer}).anonymous_key() is None
