"""The server as a whole: credentials, HTTP, requests that meet, and its life."""

from __future__ import annotations

import base64
import json
import socket
import threading
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from tests.servers.raw_client import FILES, RESUME, UPSERT, VIEWER, RawClient, rows
from tests.servers.state import HISTORY, VIOLATIONS
from tests.servers.wandb_server import KEY, WandbServer, serve

STREAM = "/files/ent/proj/r1/file_stream"


def _kinds(server: WandbServer) -> list[str]:
    return [violation.kind for violation in server.violations]


# ---------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize(
    ("authorization", "kind", "logged"),
    [
        (None, "no-authorization", "absent"),
        (f"Bearer {KEY}", "not-basic", "malformed"),
        ("Basic " + base64.b64encode(KEY.encode()).decode(), "not-basic", "malformed"),
        ("Basic " + base64.b64encode(f"user:{KEY}".encode()).decode(), "not-basic", "malformed"),
        ("Basic %%%", "not-basic", "malformed"),
        ("Basic " + base64.b64encode(b"api:" + b"f" * 40).decode(), "wrong-key", "wrong"),
    ],
)
def test_credentials_that_are_refused(
    server: WandbServer, client: RawClient, authorization: str | None, kind: str, logged: str
) -> None:
    """Anything but `Basic api:KEY` is answered 401 by both endpoints, noted, and logged without the secret."""
    headers = {"Content-Type": "application/json"}
    if authorization is not None:
        headers["Authorization"] = authorization
    body = json.dumps({"query": VIEWER}).encode()

    assert client.send("POST", "/graphql", body, headers).status == 401
    assert client.send("POST", STREAM, b"{}", headers).status == 401
    assert _kinds(server) == [kind, kind]
    assert [request.key for request in server.requests()] == [logged, logged]
    assert KEY not in str(server.requests())
    assert authorization is None or authorization not in str(server.requests())


def test_keys_change_at_run_time(server: WandbServer, client: RawClient) -> None:
    """A key that is no longer valid gets 401, works again when it is, and is no fault of the client."""
    client.upsert()
    server.set_keys()
    assert client.push({}).status == 401
    server.set_keys(KEY, "x" * 40)
    assert client.push({}).status == 200
    client.key = "x" * 40
    assert client.push({}).status == 200

    assert [request.key for request in server.requests("file_stream")] == ["revoked", "correct", "correct"]
    server.assert_clean()


def test_forbidden_project(server: WandbServer, client: RawClient) -> None:
    """A forbidden project answers 403 to queries, upserts, files and the stream, and to nothing else."""
    client.upsert()
    server.forbid("proj")
    refused = [
        client.graphql(RESUME, project="proj", name="r1"),
        client.graphql(UPSERT, name="r1", project="proj"),
        client.graphql(FILES, entity="ent", project="proj", run="r1", files=["a"]),
        client.push({}),
    ]
    assert [reply.status for reply in refused] == [403] * 4
    assert "permission denied" in refused[0].json["errors"][0]["message"]
    client.upsert(project="other")

    server.permit("proj")
    assert client.push({}).status == 200
    server.assert_clean()


def test_key_in_a_wrong_place(server: WandbServer, client: RawClient) -> None:
    """A key in a URL or a body is noted, wherever it came from."""
    client.send("POST", f"/graphql?key={KEY}", json.dumps({"query": VIEWER}).encode(), client.headers())
    client.upsert(config={"argv": {"value": ["--key", KEY]}})

    assert _kinds(server) == ["key-leaked", "key-leaked"]


def test_anonymous_keys() -> None:
    """CreateAnonymousApiKey needs no credentials; it makes a key that works, or answers null where that is off."""
    mutation = "mutation CreateAnonymousApiKey{createAnonymousEntity(input:{}){apiKey{name}}}"
    with serve(anonymous=True) as server, closing(RawClient(server)) as client:
        client.key = None
        client.key = client.graphql(mutation).data["createAnonymousEntity"]["apiKey"]["name"]
        assert len(client.key or "") == 40
        assert client.graphql(VIEWER).status == 200
        server.assert_clean()
    with serve() as server, closing(RawClient(server)) as client:
        client.key = None
        assert client.graphql(mutation).data == {"createAnonymousEntity": None}


# ----------------------------------------------------------------------------------------------------- HTTP


def test_connections_are_kept(server: WandbServer, client: RawClient) -> None:
    """Requests of one client share a connection; a second client has its own."""
    client.upsert()
    client.push({})
    with closing(RawClient(server)) as other:
        other.push({})

    assert [request.connection for request in server.requests()] == [1, 1, 2]
    numbers = [request.number for request in server.requests()]
    assert numbers == [1, 2, 3]


def test_connections_are_not_kept() -> None:
    """`keep_alive=False` says so in every answer, and means it."""
    with serve(keep_alive=False) as server, closing(RawClient(server)) as client:
        client.upsert()
        reply = client.push({})

        assert reply.headers["connection"] == "close"
        assert [request.connection for request in server.requests()] == [1, 2]


def test_prefix() -> None:
    """A base URL may have a path; outside of it nothing is found."""
    with serve(prefix="/pre/fix/") as server, closing(RawClient(server)) as client:
        assert server.url.endswith("/pre/fix")
        client.upsert()
        assert client.push({}).status == 200
        server.assert_clean()
        assert client.send("POST", "/graphql", b"{}", client.headers()).status == 404
        assert _kinds(server) == ["unknown-path"]


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "kind"),
    [
        ("POST", "/graphql", {"Content-Type": "text/plain"}, 415, "wrong-content-type"),
        ("POST", STREAM, {"Content-Type": ""}, 415, "wrong-content-type"),
        ("GET", "/graphql", {}, 405, "wrong-method"),
        ("PUT", STREAM, {}, 405, "wrong-method"),
        ("POST", "/files/ent/proj/file_stream", {}, 404, "unknown-path"),
        ("POST", "/files/ent/a/b/r1/file_stream", {}, 404, "unknown-path"),
        ("POST", "/files/ent/proj/r|1/file_stream", {}, 400, "path-encoding"),
    ],
)
def test_requests_that_are_refused(
    server: WandbServer,
    client: RawClient,
    method: str,
    target: str,
    headers: dict[str, str],
    status: int,
    kind: str,
) -> None:
    """A request to a wrong place, of a wrong kind or a wrong method is refused and noted."""
    client.upsert()

    assert client.send(method, target, b"{}", {**client.headers(), **headers}).status == status
    assert _kinds(server) == [kind]


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", b"400", "malformed-http"),
        (b"POST /graphql HTTP/1.0\r\nHost: x\r\n\r\n", b"400", "malformed-http"),
        (b"POST /graphql HTTP/1.1\r\n\r\n", b"400", "malformed-http"),
        (b"POST /graphql HTTP/1.1\r\nHost: x\r\n\r\n", b"411", "no-content-length"),
        (b"POST /graphql HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"411", "chunked-body"),
    ],
)
def test_http_that_is_refused(server: WandbServer, head: bytes, status: bytes, kind: str) -> None:
    """What is no HTTP/1.1 request with a Content-Length is refused, noted, and ends the connection."""
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))) as connection:
        connection.sendall(head)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == status
            assert b"Connection: close" in answer.read()

    assert _kinds(server) == [kind]


def test_expected_continue(server: WandbServer) -> None:
    """`Expect: 100-continue` is answered before the body is read."""
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))) as connection:
        connection.sendall(
            b"GET /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 1\r\nConnection: close\r\n\r\n"
        )
        with connection.makefile("rb") as answer:
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"
            connection.sendall(b"x")
            assert answer.read().split(b"\r\n")[1].startswith(b"HTTP/1.1 404")


def test_heads_that_never_end(server: WandbServer) -> None:
    """A head that is cut off is nothing; one without end is refused."""
    address = ("127.0.0.1", urlsplit(server.url).port or 0)
    with closing(socket.create_connection(address)) as connection:
        connection.sendall(b"POST /graphql HTTP/1.1\r\nHost:")
    with closing(socket.create_connection(address)) as connection:
        connection.sendall(b"POST /graphql HTTP/1.1\r\nX: " + b"x" * 300_000)
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1] == b"400"

    assert server.requests() == []
    assert _kinds(server) == ["malformed-http"]


def test_answers_to_head_requests_have_no_body(server: WandbServer, client: RawClient) -> None:
    """HEAD is answered without a body, so that the connection can go on."""
    assert client.send("HEAD", "/graphql", None, client.headers(content_length="0")).status == 405
    assert client.graphql(VIEWER).status == 200
    assert [request.connection for request in server.requests()] == [1, 1]


def test_body_that_never_ends(server: WandbServer, client: RawClient) -> None:
    """A request whose sender hung up in the middle is not carried out, and stands in the log as aborted."""
    client.upsert()
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))) as connection:
        connection.sendall(f"POST {STREAM} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{}}".encode())
    server.wait_until(lambda _world: server.requests()[-1].aborted is not None)

    assert server.requests()[-1].status is None
    assert server.run("r1").pushes == []
    server.assert_clean()


def test_telemetry_is_not_counted(server: WandbServer, client: RawClient) -> None:
    """Telemetry gets 404 and stands neither in the log nor among the violations."""
    assert client.send("POST", "/sdk/otel/v1/metrics", b"").status == 404
    assert server.requests() == []
    server.assert_clean()


def test_other_places_on_the_other_host(server: WandbServer) -> None:
    """The other host has nothing but upload URLs; credentials that come there are noted all the same."""
    with closing(RawClient(server, uploads=True)) as store:
        assert store.send("GET", "/elsewhere").status == 404
        server.assert_clean()
        assert store.send("POST", "/graphql", b"{}", store.headers()).status == 404

    assert _kinds(server) == ["authorization-elsewhere"]


def test_log(server: WandbServer, client: RawClient) -> None:
    """The log says of each request what it was, how large, what became of it, and when; it finds by any of them."""
    client.upsert()
    client.push_lines(0, rows(0))
    client.push({})

    upsert, push, _heartbeat = server.requests()
    assert (upsert.operation, upsert.variables["name"], upsert.run) == ("UpsertBucket", "r1", "r1")
    assert (push.method, push.target, push.status, push.applied) == ("POST", STREAM, 200, True)
    assert push.wire_bytes == len(json.dumps({"files": {HISTORY: {"offset": 0, "content": rows(0)}}}))
    assert push.answered is not None
    assert push.answered >= push.arrived
    assert push.headers["authorization"] == "<redacted>"
    assert len(server.requests("file_stream", run="r1")) == 2
    assert server.requests(operation="Viewer") == []


# ---------------------------------------------------------------------------------------------- two at once


def test_two_pushes_at_once(server: WandbServer, client: RawClient) -> None:
    """A push that begins before another one of the same run is answered is noted; of another run it may."""
    client.upsert("r1")
    client.upsert("r2")
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))) as slow:
        slow.sendall(f"POST {STREAM} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
        server.wait_until(lambda _world: len(server.requests("file_stream")) == 1)
        client.push({}, run="r2")
        server.assert_clean()
        client.push({}, run="r1")
    assert _kinds(server) == ["concurrent-push"]


def test_push_after_hanging_up(server: WandbServer, client: RawClient) -> None:
    """Who hangs up instead of waiting for an answer may push again at once."""
    client.upsert()
    for _attempt in range(20):
        with closing(socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0))) as gone:
            gone.sendall(f"POST {STREAM} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n".encode())
            server.wait_until(lambda _world: len(server.requests("file_stream")) % 2 == 1)
        client.push({})
    server.assert_clean()


# --------------------------------------------------------------------------------------- life of the server


def test_nothing_is_left() -> None:
    """After the context no thread of the server runs, though connections stood."""
    before = set(threading.enumerate())
    with serve() as server, closing(RawClient(server)) as client:
        client.upsert()
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) == before


def test_waiting(server: WandbServer, client: RawClient) -> None:
    """Tests wait for what they want to see; where it does not come, the error says what did."""
    timer = threading.Timer(0.05, lambda: client.upsert("late"))
    timer.start()
    server.wait_until(lambda world: world.run("late").started)
    timer.join()

    with pytest.raises(TimeoutError, match="POST /graphql 200"):
        server.wait_until(lambda world: world.run("r9").complete, timeout_s=0.05)


def test_runs_of_the_same_name(server: WandbServer) -> None:
    """A run is found by its id alone where there is one such run, else by project and entity too."""
    server.seed("r1", project="a")
    assert server.run("r1").project == "a"
    server.seed("r1", project="b", entity="x")
    with pytest.raises(KeyError, match="2 runs"):
        server.run("r1")
    assert server.run("r1", "b").entity == "x"
    assert server.run("r1", entity="ent").project == "a"


def test_copies_do_not_change(server: WandbServer, client: RawClient) -> None:
    """What a test was given stays as it was, whatever comes later."""
    client.upsert()
    before = server.run("r1")
    client.push_lines(0, rows(0))
    client.upsert(tags=["t"])

    assert (before.rows, before.tags, len(before.upserts)) == ([], (), 1)


def test_rules_have_names(server: WandbServer) -> None:
    """Only rules that are in the list can be broken."""
    with server.changing() as world, pytest.raises(KeyError, match="no such rule"):
        world.violate("invented", "")
    assert all(VIOLATIONS.values())


def test_fixture_serves(wandb_server: WandbServer) -> None:
    """The fixture gives a running server, and a clean client passes it."""
    with closing(RawClient(wandb_server)) as client:
        client.upsert()
        client.push_lines(0, rows(0))
