"""What goes wrong goes wrong with the right request, in the way that was asked for, and no other."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.servers.document import OMIT
from tests.servers.faults import (
    Fault,
    FaultPlan,
    answer,
    call,
    close_connection,
    delay,
    drop_after,
    drop_before,
    errors,
    hold,
    not_json,
    redirect,
    replaced,
    slow_reader,
    truncated,
)
from tests.servers.raw_client import FILES, UPSERT, VIEWER, RawClient, rows
from tests.servers.wandb_server import WandbServer

LOST = (OSError, http.client.HTTPException)


@contextmanager
def _impatient(server: WandbServer, timeout_s: float) -> Iterator[RawClient]:
    with closing(RawClient(server, timeout_s=timeout_s)) as client:
        yield client


# --------------------------------------------------------------------------------------------------- the plan


def _asked(plan: FaultPlan, count: int, **what: Any) -> list[int | None]:
    """Return the status that the plan gives to so many pushes."""
    named = {"operation": None, "run": "r1", "early": False, **what}
    faults = [
        plan.fault_for("file_stream", named["operation"], named["run"], early=named["early"])
        for _ in range(count)
    ]
    return [fault.status if fault is not None else None for fault in faults]


@pytest.mark.parametrize(
    ("fault", "when", "expected"),
    [
        (answer(500), {}, [500, 500, 500, 500]),
        (answer(500), {"times": 2}, [500, 500, None, None]),
        (answer(500), {"nth": 2}, [None, 500, None, None]),
        (answer(500), {"nth": 2, "times": 2}, [None, 500, 500, None]),
        ([answer(500), None, answer(429)], {}, [500, None, 429, None]),
        ([answer(500), None], {"times": 3}, [500, None, 500, None]),
        ([answer(500), answer(429)], {"nth": 2}, [None, 500, 429, None]),
        (answer(500), {"endpoint": "graphql"}, [None] * 4),
        (answer(500), {"operation": "Viewer"}, [None] * 4),
        (answer(500), {"run": "r2"}, [None] * 4),
        (answer(500), {"run": "r1", "endpoint": "file_stream"}, [500] * 4),
    ],
)
def test_rules_choose_requests(fault: Any, when: dict[str, Any], expected: list[int | None]) -> None:
    """A rule harms the requests it is for: all of them, the nth, so many, or one after the other as a script says."""
    plan = FaultPlan()
    rule = plan.add(fault, **when)

    assert _asked(plan, 4) == expected
    assert rule.hits == 4 - expected.count(None)
    assert rule.matched == (4 if rule.hits else 0)


def test_rules_count_for_themselves() -> None:
    """The first rule with a fault does it; the others count the request all the same; removed ones do nothing."""
    plan = FaultPlan()
    first = plan.add(answer(500), nth=1)
    second = plan.add([answer(429), answer(503)])
    assert _asked(plan, 3) == [500, 503, None]
    assert (first.hits, second.hits, second.matched) == (1, 1, 3)

    third = plan.add(answer(502))
    assert _asked(plan, 1) == [502]
    third.remove()
    assert _asked(plan, 1) == [None]
    plan.add(answer(502))
    plan.clear()
    assert _asked(plan, 1) == [None]


def test_faults_are_joined() -> None:
    """Two faults in one do both; where both say something, the second wins."""
    joined = delay(before=1, after=2) | answer(503, retry_after=3) | delay(after=4)

    assert (joined.delay_before_s, joined.delay_after_s, joined.status) == (1, 4, 503)
    assert joined.headers == {"Retry-After": "3"}
    assert "status=503" in str(joined)


@pytest.mark.parametrize(
    "when", [{"operation": "Viewer"}, {"run": "r1"}, {"endpoint": "graphql", "run": "r1"}]
)
def test_early_faults_cannot_see_the_body(when: dict[str, Any]) -> None:
    """A fault before the body is read cannot depend on what the body says."""
    plan = FaultPlan()
    with pytest.raises(ValueError, match="before the body"):
        plan.add(slow_reader(10), **when)

    plan.add(slow_reader(10), endpoint="file_stream", run="r1")
    assert _asked(plan, 1) == [None]
    assert plan.fault_for("file_stream", None, "r1", early=True) == slow_reader(10)


# --------------------------------------------------------------------------------------- instead of an answer


def test_status_with_headers(server: WandbServer, client: RawClient) -> None:
    """A status comes with its Retry-After, RateLimit headers and body, and nothing is carried out."""
    client.upsert()
    server.faults.add(answer(429, retry_after=1.5, rate_limit=(2, 10), body={"error": "slow down"}), times=1)
    reply = client.push_lines(0, rows(0))

    assert (reply.status, reply.json) == (429, {"error": "slow down"})
    assert (reply.headers["retry-after"], reply.headers["ratelimit-remaining"]) == ("1.5", "2")
    assert reply.headers["ratelimit-reset"] == "10"
    assert server.run("r1").pushes == []
    assert server.requests()[-1].fault is not None
    assert not server.requests()[-1].applied
    assert client.push_lines(0, rows(0)).status == 200


@pytest.mark.parametrize("carried_out", [True, False])
def test_status_after_or_without_carrying_out(
    server: WandbServer, client: RawClient, carried_out: bool
) -> None:
    """A 500 may come after the request was carried out, or instead."""
    client.upsert()
    server.faults.add(answer(500, carried_out=carried_out), endpoint="file_stream")

    assert client.push_lines(0, rows(0)).status == 500
    assert server.run("r1").steps == ([0] if carried_out else [])
    assert [push.acknowledged for push in server.run("r1").pushes] == [False] * carried_out


def test_default_bodies(server: WandbServer, client: RawClient) -> None:
    """Without a body each endpoint says it in its own way: envelope, error, XML."""
    client.upsert()
    found = client.graphql(FILES, entity="ent", project="proj", run="r1", files=["a"]).data["createRunFiles"]
    server.faults.add(answer(503))
    assert client.graphql(VIEWER).json["errors"][0]["message"]
    assert client.push({}).json["error"]
    target = found["files"][0]["uploadUrl"].removeprefix(server.uploads_url)
    with closing(RawClient(server, uploads=True)) as store:
        assert store.send("PUT", target, b"x").body.startswith(b"<Error>")


def test_errors_with_status_200(server: WandbServer, client: RawClient) -> None:
    """GraphQL may fail with status 200."""
    server.faults.add(errors("permission denied", path=["upsertBucket"]), operation="UpsertBucket")
    reply = client.graphql(UPSERT, name="r1", project="proj")

    assert reply.status == 200
    assert reply.json == {
        "data": None,
        "errors": [{"message": "permission denied", "path": ["upsertBucket"]}],
    }
    assert server.runs == []


def test_answers_that_are_no_json(server: WandbServer, client: RawClient) -> None:
    """An answer may be a web page, empty, or without a body at all."""
    client.upsert()
    server.faults.add(
        [not_json(), answer(200, body=b""), answer(204, carried_out=True)], endpoint="file_stream"
    )
    page, empty, nothing = (client.push({}) for _ in range(3))

    assert (page.status, page.headers["content-type"], page.body) == (
        200,
        "text/html",
        b"<html>it works</html>",
    )
    assert (empty.status, empty.body) == (200, b"")
    assert (nothing.status, nothing.body, "content-length" in nothing.headers) == (204, b"", False)
    assert len(server.run("r1").pushes) == 2


def test_answers_of_wrong_types(server: WandbServer, client: RawClient) -> None:
    """Any value of an answer may be replaced or left out; what was carried out stays."""
    server.faults.add(
        replaced(**{"data.upsertBucket.bucket.id": 5, "data.upsertBucket.inserted": OMIT}), nth=1
    )
    answered = client.upsert()
    assert answered["bucket"]["id"] == 5
    assert "inserted" not in answered

    server.faults.add(replaced(**{"data.createRunFiles.files.1.uploadUrl": None}))
    files = client.graphql(FILES, entity="ent", project="proj", run="r1", files=["a", "b"]).data
    urls = [entry["uploadUrl"] for entry in files["createRunFiles"]["files"]]
    assert urls[0].startswith("http://127.0.0.1")
    assert urls[1] is None


@pytest.mark.parametrize(("fault", "steps"), [(drop_before(), []), (drop_after(), [0])])
def test_dropped_connections(server: WandbServer, client: RawClient, fault: Fault, steps: list[int]) -> None:
    """A connection may be cut before the request is carried out, or after: the answer is lost."""
    client.upsert()
    server.faults.add(fault, endpoint="file_stream", nth=1)
    with pytest.raises(LOST):
        client.push_lines(0, rows(0))

    assert server.run("r1").steps == steps
    lost = server.requests()[-1]
    assert (lost.status, lost.applied, lost.aborted) == (None, bool(steps), "dropped by the fault plan")


def test_truncated_answers(server: WandbServer, client: RawClient) -> None:
    """Of an answer only the first bytes may come; it is carried out and not acknowledged."""
    client.upsert()
    server.faults.add(truncated(5), endpoint="file_stream")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.push_lines(0, rows(0))

    assert caught.value.partial == b'{"exi'
    assert server.run("r1").steps == [0]
    assert not server.run("r1").pushes[0].acknowledged


# ------------------------------------------------------------------------------------------------------- time


def test_delays(server: WandbServer) -> None:
    """An answer may come late; a client that left before its turn is not served, one that left after it is."""
    with closing(RawClient(server)) as client:
        client.upsert()
        server.faults.add(delay(after=0.05), endpoint="file_stream", nth=1)
        begun = time.monotonic()
        client.push({})
        assert time.monotonic() - begun >= 0.05

    for fault, pushes in ((delay(before=30), 1), (delay(after=30), 2)):
        server.faults.add(fault, endpoint="file_stream", nth=1)
        with _impatient(server, 0.05) as client, pytest.raises(TimeoutError):
            client.push({})
        server.wait_until(lambda _world: server.requests()[-1].aborted is not None)
        assert len(server.run("r1").pushes) == pushes
    server.assert_clean()


@pytest.mark.parametrize(("carried_out", "steps"), [(True, [0]), (False, [])])
def test_answers_that_never_come(
    server: WandbServer, client: RawClient, carried_out: bool, steps: list[int]
) -> None:
    """A request may be held for ever; whoever hangs up may come again, and the server can still end."""
    client.upsert()
    rule = server.faults.add(hold(carried_out=carried_out), endpoint="file_stream")
    with _impatient(server, 0.05) as impatient, pytest.raises(TimeoutError):
        impatient.push_lines(0, rows(0))
    rule.remove()
    server.wait_until(lambda _world: server.requests()[-1].aborted is not None)
    assert server.run("r1").steps == steps
    assert client.push_lines(0, rows(0)).status == 200
    server.assert_clean()


def test_held_clients_do_not_keep_the_server(server: WandbServer) -> None:
    """A server ends although a client still waits for an answer; the client sees its connection end."""
    server.faults.add(hold())
    ended: list[bool] = []

    def wait() -> None:
        with closing(RawClient(server, timeout_s=30)) as client:
            try:
                client.graphql(VIEWER)
            except LOST:
                ended.append(True)

    waiting = threading.Thread(target=wait)
    waiting.start()
    server.wait_until(lambda _world: len(server.requests()) == 1)
    server.close()
    waiting.join()
    assert ended == [True]


def test_slow_reader(server: WandbServer, client: RawClient) -> None:
    """A body may be read slowly, in bytes per second; it is carried out all the same."""
    client.upsert()
    server.faults.add(slow_reader(10_000), endpoint="file_stream")
    begun = time.monotonic()
    body = json.dumps({"files": {"output.log": {"offset": 0, "content": ["x" * 2000]}}})
    client.push(body.encode())

    assert time.monotonic() - begun >= len(body) / 10_000
    assert server.run("r1").console == ["x" * 2000]


def test_unread_bodies(server: WandbServer, client: RawClient) -> None:
    """An answer may come before the body is read, and end the connection; or none, with the body left where it is."""
    client.upsert()
    server.faults.add([answer(413, unread=True), hold(unread=True)], endpoint="file_stream")
    reply = client.push({})
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    with _impatient(server, 0.05) as impatient, pytest.raises(TimeoutError):
        impatient.push({})
    server.wait_until(lambda _world: server.requests()[-1].aborted is not None)
    assert client.push({}).status == 200

    assert len(server.run("r1").pushes) == 1
    server.assert_clean()


def test_unread_bodies_with_other_faults(server: WandbServer, client: RawClient) -> None:
    """Leaving the body unread goes together with waiting and with hanging up."""
    client.upsert()
    server.faults.add(
        [delay(before=0.05) | answer(503, unread=True), drop_before() | Fault(unread=True)],
        endpoint="file_stream",
    )
    begun = time.monotonic()
    assert client.push({}).status == 503
    assert time.monotonic() - begun >= 0.05
    with pytest.raises(LOST):
        client.push({})

    assert server.requests()[-1].aborted == "dropped by the fault plan"
    assert server.run("r1").pushes == []


# ------------------------------------------------------------------------------------------------- the others


def test_redirect_to_another_host(server: WandbServer, client: RawClient) -> None:
    """A client may be sent to another host, where its credentials are noted if it brings them."""
    server.faults.add(redirect(f"{server.uploads_url}/elsewhere"), operation="Viewer")
    reply = client.graphql(VIEWER)
    assert (reply.status, reply.headers["location"]) == (307, f"{server.uploads_url}/elsewhere")

    requests.post(f"{server.url}/graphql", json={"query": VIEWER}, auth=("api", server.key), timeout=10)
    assert server.requests()[-1].target == "/elsewhere"
    server.assert_clean()  # this client takes the header off
    requests.post(
        f"{server.url}/graphql",
        json={"query": VIEWER},
        headers={"X-Key": server.key},
        auth=("api", server.key),
        timeout=10,
    )
    assert {violation.kind for violation in server.violations} == {"key-leaked"}


def test_close_after_one_answer(server: WandbServer, client: RawClient) -> None:
    """A single answer may end its connection."""
    client.upsert()
    server.faults.add(close_connection(), nth=1)
    assert client.push({}).headers["connection"] == "close"
    assert client.push({}).headers["connection"] == "keep-alive"
    assert [request.connection for request in server.requests()] == [1, 1, 2]


def test_something_happens_in_between(server: WandbServer, client: RawClient) -> None:
    """A run may appear between a question and the upsert that follows it."""
    server.faults.add(
        call(lambda: server.seed("r1", project="proj", rows=[{"a": 1}])), operation="UpsertBucket"
    )
    answered = client.upsert("r1")

    assert (answered["inserted"], answered["bucket"]["historyLineCount"]) == (False, 1)


def test_headers_on_an_answer_in_order(server: WandbServer, client: RawClient) -> None:
    """Headers may be added to an answer that is in order."""
    client.upsert()
    server.faults.add(Fault(headers={"RateLimit-Remaining": "2", "RateLimit-Reset": "10"}))
    reply = client.push({})

    assert (reply.status, reply.headers["ratelimit-reset"]) == (200, "10")


# ------------------------------------------------------------------------------------------------ down and up


def test_down_and_back(server: WandbServer, client: RawClient) -> None:
    """A server that is down refuses connections and cuts those that stand; it comes back on its port."""
    client.upsert()
    url = server.url
    for _round in range(3):
        server.stop_listening()
        server.stop_listening()
        with pytest.raises(LOST):
            client.push({})
        with pytest.raises(ConnectionRefusedError):
            client.push({})
        server.resume_listening()
        server.resume_listening()
        assert client.push({}).status == 200
    assert server.url == url
    assert len(server.run("r1").pushes) == 3


def test_down_while_a_fork_holds_the_sockets(server: WandbServer, client: RawClient) -> None:
    """Down is down even if a forked child has the server's sockets: connections are refused, standing ones end."""
    client.upsert()
    with server._api._lock:
        standing = [connection.dup() for connection in server._api._threads.values()]
    inherited = [server._api._socket.dup(), *standing]
    try:
        server.stop_listening()
        with pytest.raises(LOST):
            client.push({})
        with pytest.raises(ConnectionRefusedError):
            client.push({})
        server.resume_listening()
        assert client.push({}).status == 200
    finally:
        for held in inherited:
            held.close()


def test_port_is_kept_while_down(server: WandbServer) -> None:
    """While a server is down nobody else can have its port."""
    server.stop_listening()
    with closing(socket.socket()) as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", urlsplit(server.url).port or 0))


def test_uploads_down(server: WandbServer, client: RawClient) -> None:
    """The other host may be down on its own."""
    server.stop_uploads()
    client.upsert()
    with closing(RawClient(server, uploads=True)) as store:
        with pytest.raises(ConnectionRefusedError):
            store.send("GET", "/")
        server.resume_uploads()
        assert store.send("GET", "/").status == 404


def test_cut_connections(server: WandbServer, client: RawClient) -> None:
    """Standing connections may be cut while new ones are taken."""
    client.upsert()
    server.drop_connections()
    with pytest.raises(LOST):
        client.push({})
    assert client.push({}).status == 200
