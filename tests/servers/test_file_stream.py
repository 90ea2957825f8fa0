"""The stream: what a push says, what the offset rule makes of it, and what counts as broken."""

from __future__ import annotations

import gzip
import http.client
import json
from contextlib import closing
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import file_stream
from tests.servers.faults import answer, drop_after
from tests.servers.raw_client import RawClient, rows
from tests.servers.state import CONSOLE, EVENTS, HISTORY, SUMMARY
from tests.servers.wandb_server import WandbServer, serve

LOST = (OSError, http.client.HTTPException)


def _kinds(server: WandbServer) -> list[str]:
    return [violation.kind for violation in server.violations]


# -------------------------------------------------------------------------------------------- the offset rule

_CHUNKS = st.tuples(st.integers(0, 12), st.lists(st.integers(0, 3), max_size=6))


@given(chunks=st.lists(_CHUNKS, max_size=12), repeats=st.lists(st.integers(0, 11), max_size=6))
def test_offset_rule(shared_server: WandbServer, chunks: list[Any], repeats: list[int]) -> None:
    """After any pushes, repeats included, line n is what the last push that covers n says, and no other is there."""
    pushes = [(offset, rows(*steps)) for offset, steps in chunks]
    pushes += [pushes[number % len(pushes)] for number in repeats if pushes]
    run = f"r{len(shared_server.runs)}"
    slow_model: dict[int, str] = {}
    for offset, content in pushes:
        for number in range(1000):
            if offset <= number < offset + len(content):
                slow_model[number] = content[number - offset]

    with closing(RawClient(shared_server)) as client:
        client.upsert(run)
        for offset, content in pushes:
            assert client.push_lines(offset, content, run=run).status == 200

    stored = shared_server.run(run)
    assert stored.lines[HISTORY].numbered() == slow_model
    assert stored.line_count() == max(slow_model, default=-1) + 1
    assert stored.rows == [json.loads(slow_model[number]) for number in sorted(slow_model)]
    assert set(stored.missing()) == set(range(stored.line_count())) - set(slow_model)
    assert stored.lines[HISTORY].last(3) == [slow_model[number] for number in sorted(slow_model)][-3:]
    assert stored.offsets() == [offset for offset, _content in pushes]


def test_repeating_a_push_changes_nothing(server: WandbServer, client: RawClient) -> None:
    """A push whose answer was lost may come again; the rows are there once, and no rule is broken."""
    client.upsert()
    server.faults.add(drop_after(), endpoint="file_stream", nth=1)
    with pytest.raises(LOST):
        client.push_lines(0, rows(0, 1))

    client.push_lines(0, rows(0, 1))
    client.push_lines(2, rows(2))

    assert server.run("r1").steps == [0, 1, 2]
    assert [push.acknowledged for push in server.run("r1").pushes] == [False, True, True]
    server.assert_clean()


def test_later_lines_stay(server: WandbServer, client: RawClient) -> None:
    """Overwriting lines in the middle keeps those that come after."""
    client.upsert()
    client.push_lines(0, ["a", "b", "c", "d"], CONSOLE)
    client.push_lines(1, ["B"], CONSOLE)

    assert server.run("r1").console == ["a", "B", "c", "d"]
    server.assert_clean()


def test_last_summary_wins(server: WandbServer, client: RawClient) -> None:
    """There is one summary, the last one."""
    client.upsert()
    client.push_lines(0, ['{"loss":1}'], SUMMARY)
    client.push_lines(0, ['{"acc":NaN}'], SUMMARY)

    assert list(server.run("r1").summary) == ["acc"]
    server.assert_clean()


def test_files_count_for_themselves(server: WandbServer, client: RawClient) -> None:
    """Each file has its own line count."""
    client.upsert()
    client.push({"files": {HISTORY: {"offset": 0, "content": rows(0, 1)}}})
    client.push({"files": {EVENTS: {"offset": 0, "content": ['{"system.cpu":3}']}}})

    run = server.run("r1")
    assert [run.line_count(name) for name in (HISTORY, EVENTS, CONSOLE)] == [2, 1, 0]
    assert run.events == [{"system.cpu": 3}]


def test_bare_numbers_that_json_has_not(server: WandbServer, client: RawClient) -> None:
    """A row may hold bare NaN and Infinity; the body around it may not."""
    client.upsert()
    assert client.push_lines(0, ['{"_step":0,"a":NaN,"b":[Infinity,-Infinity]}']).status == 200
    assert client.push(b'{"exitcode":NaN}').status == 400

    assert server.run("r1").rows[0]["b"] == [float("inf"), float("-inf")]
    assert _kinds(server) == ["bad-json"]


# -------------------------------------------------------------------------------------------- what a run says


def test_end_of_a_run(server: WandbServer, client: RawClient) -> None:
    """`complete` and `exitcode` end a run; an upsert and a push begin its next life."""
    client.upsert()
    client.push({"complete": True, "exitcode": 3})
    assert (server.run("r1").complete, server.run("r1").exit_code) == (True, 3)

    client.upsert()
    assert server.run("r1").complete
    client.push({})
    assert (server.run("r1").complete, server.run("r1").exit_code) == (False, None)
    server.assert_clean()


def test_heartbeats_are_kept_with_their_times(server: WandbServer, client: RawClient) -> None:
    """A push that says nothing is a heartbeat, the old client's as well."""
    client.upsert()
    client.push({})
    client.push({"complete": False, "failed": False})
    client.push({"preempting": True})

    run = server.run("r1")
    assert len(run.heartbeats) == 2
    assert run.heartbeats == sorted(run.heartbeats)
    assert run.preempting


def test_stop_is_told(server: WandbServer, client: RawClient) -> None:
    """A run that is to stop is told so in the answer to a push."""
    client.upsert()
    assert client.push({}).json == {"exitcode": None, "limits": {}}
    server.stop_run("r1")
    assert client.push({}).json["stopped"] is True


def test_percent_encoded_names(server: WandbServer, client: RawClient) -> None:
    """Names in the path are percent-encoded."""
    client.upsert("r 2", project="my proj", entity="ä")

    assert client.push({}, run="r%202", project="my%20proj", entity="%C3%A4").status == 200
    server.assert_clean()


# -------------------------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    ("encoding", "feature", "compress"),
    [
        ("gzip", "FILESTREAM_GZIP", gzip.compress),
        ("zstd", "FILESTREAM_ZSTD", zstandard.ZstdCompressor().compress),
    ],
)
def test_compressed_bodies(
    server: WandbServer, client: RawClient, encoding: str, feature: str, compress: Any
) -> None:
    """A compressed body is taken where that is announced, and only if it is what its header says."""
    client.upsert()
    body = compress(json.dumps({"files": {HISTORY: {"offset": 0, "content": rows(0)}}}).encode())
    target, headers = "/files/ent/proj/r1/file_stream", client.headers(content_encoding=encoding)

    assert client.send("POST", target, body, headers).status == 415
    server.announce(feature)
    assert client.send("POST", target, body[:-6], headers).status == 400
    assert client.send("POST", target, b"{}", headers).status == 400
    assert client.send("POST", target, body, headers).status == 200

    assert _kinds(server) == ["unannounced-encoding", "bad-encoding", "bad-encoding"]
    assert server.run("r1").steps == [0]
    (push,) = server.run("r1").pushes
    logged = server.requests()[-1]
    assert (logged.wire_bytes, logged.body_bytes) == (len(body), push.size)
    assert push.size != len(body)


def test_unknown_encodings(server: WandbServer, client: RawClient) -> None:
    """An encoding that no feature announces is never taken; `identity` is none."""
    client.upsert()
    target = "/files/ent/proj/r1/file_stream"
    assert client.send("POST", target, b"{}", client.headers(content_encoding="br")).status == 415
    assert client.send("POST", target, b"{}", client.headers(content_encoding="identity")).status == 200
    assert _kinds(server) == ["unannounced-encoding"]


def test_graphql_is_never_compressed(server: WandbServer, client: RawClient) -> None:
    """Only file_stream takes compressed bodies."""
    server.announce("FILESTREAM_GZIP")
    reply = client.send("POST", "/graphql", gzip.compress(b"{}"), client.headers(content_encoding="gzip"))

    assert reply.status == 415
    assert _kinds(server) == ["unannounced-encoding"]


# ----------------------------------------------------------------------------------------------- broken rules


@pytest.mark.parametrize(
    ("pushes", "kind"),
    [
        ([(HISTORY, 0, rows(0, 1)), (HISTORY, 1, rows(1))], "offset-back"),
        ([(EVENTS, 0, ["{}", "{}"]), (EVENTS, 0, ["{}"])], "offset-back"),
        ([(HISTORY, 0, rows(0)), (HISTORY, 0, rows(7))], "overlap-differs"),
        ([(HISTORY, 1, rows(0))], "gap"),
        ([(CONSOLE, 3, ["x"])], "gap"),
        ([(SUMMARY, 1, ["{}"])], "summary-not-whole"),
        ([(SUMMARY, 0, ["{}", "{}"])], "summary-not-whole"),
        ([(SUMMARY, 0, [])], "summary-not-whole"),
        ([(HISTORY, 0, ['{"_step":0}\n'])], "line-feed"),
        ([(HISTORY, 0, ['{"_step":'])], "bad-row"),
        ([(EVENTS, 0, ["[]"])], "bad-row"),
        ([(SUMMARY, 0, ["7"])], "bad-row"),
        ([(HISTORY, 0, ['{"loss":1}'])], "bad-step"),
        ([(HISTORY, 0, ['{"_step":1.0}'])], "bad-step"),
        ([(HISTORY, 0, ['{"_step":true}'])], "bad-step"),
    ],
)
def test_lines_that_break_a_rule(
    server: WandbServer, client: RawClient, pushes: list[Any], kind: str
) -> None:
    """Lines that a correct client never sends are stored by the offset rule, and noted."""
    client.upsert()
    for name, offset, content in pushes:
        assert client.push_lines(offset, content, name).status == 200

    assert kind in _kinds(server)
    assert {violation.run for violation in server.violations} == {"r1"}
    with pytest.raises(AssertionError, match=kind):
        server.assert_clean()
    server.allow("offset-back", kind)
    server.assert_clean()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ([], "wrong-type"),
        ({"files": []}, "wrong-type"),
        ({"files": {HISTORY: []}}, "wrong-type"),
        ({"files": {HISTORY: {"content": ["{}"]}}}, "wrong-type"),
        ({"files": {HISTORY: {"offset": "0", "content": []}}}, "wrong-type"),
        ({"files": {HISTORY: {"offset": True, "content": []}}}, "wrong-type"),
        ({"files": {HISTORY: {"offset": -1, "content": []}}}, "wrong-type"),
        ({"files": {HISTORY: {"offset": 0, "content": [{"_step": 0}]}}}, "wrong-type"),
        ({"files": {HISTORY: {"offset": 0}}}, "wrong-type"),
        ({"files": {"other.jsonl": {"offset": 0, "content": []}}}, "unknown-stream-file"),
        ({"complete": 1}, "wrong-type"),
        ({"exitcode": "0", "complete": True}, "wrong-type"),
        ({"exitcode": True, "complete": True}, "wrong-type"),
        ({"uploaded": "config.yaml"}, "wrong-type"),
        ({"finished": True}, "unknown-key"),
        (b"{", "bad-json"),
        (b'{"uploaded":["\xff"]}', "bad-json"),
    ],
)
def test_bodies_that_are_refused(server: WandbServer, client: RawClient, body: Any, kind: str) -> None:
    """A body that a strict decoder refuses is answered 400, changes nothing, and is noted."""
    client.upsert()

    assert client.push(body).status == 400
    assert _kinds(server) == [kind]
    assert server.run("r1").pushes == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"complete": True}, "half-complete"),
        ({"exitcode": 0}, "half-complete"),
        ({"uploaded": ["never.txt"]}, "uploaded-unknown"),
    ],
)
def test_ends_that_break_a_rule(server: WandbServer, client: RawClient, body: Any, kind: str) -> None:
    """A half end, or a file that was announced and never PUT, is noted."""
    client.upsert()

    assert client.push(body).status == 200
    assert _kinds(server) == [kind]


def test_push_after_the_end(server: WandbServer, client: RawClient) -> None:
    """After the final push only its own repeat may come, and that only while its answer may have been lost."""
    client.upsert()
    final = {"complete": True, "exitcode": 0}
    server.faults.add(answer(500, carried_out=True), endpoint="file_stream", nth=1)
    assert client.push(final).status == 500
    assert client.push(final).status == 200
    assert _kinds(server) == []

    client.push(final)
    client.push({})
    assert _kinds(server) == ["push-after-complete", "push-after-complete"]


def test_push_to_a_seeded_run_that_has_ended(server: WandbServer, client: RawClient) -> None:
    """A run that was seeded as finished wants an upsert before a push, like any other."""
    server.seed("r1", project="proj", rows=[{"a": 1}], exit_code=0)
    client.push_lines(1, rows(1))

    assert _kinds(server) == ["push-after-complete"]


def test_push_without_upsert(server: WandbServer, client: RawClient) -> None:
    """A run that was never upserted has no stream; nor has a deleted one, which is no fault of the client."""
    assert client.push({}).status == 404
    assert _kinds(server) == ["unknown-run"]

    client.upsert()
    server.delete("r1")
    assert client.push({}).status == 404
    assert _kinds(server) == ["unknown-run"]


def test_sizes(server: WandbServer, client: RawClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several lines in a body over the limit, and a row over its limit, are noted; one long line may come alone."""
    monkeypatch.setattr(file_stream, "MOST_PUSH_BYTES", 1000)
    monkeypatch.setattr(file_stream, "MOST_LINE_BYTES", 900)
    client.upsert()
    client.push_lines(0, rows(0, text="x" * 850))
    client.push_lines(1, ["y" * 1200], CONSOLE)
    assert _kinds(server) == ["gap"]

    client.push_lines(1, rows(1, text="x" * 1200))
    client.push_lines(2, rows(2, 3, text="x" * 600))
    assert _kinds(server) == ["gap", "row-too-long", "push-too-big"]


def test_body_that_is_too_large() -> None:
    """A server with a limit answers 413 and carries nothing out; that is no fault of the client."""
    with serve(max_body_bytes=300) as server, closing(RawClient(server)) as client:
        client.upsert()
        assert client.push_lines(0, rows(*range(30))).status == 413
        assert client.push_lines(0, rows(0, 1)).status == 200
        assert server.run("r1").steps == [0, 1]
        server.assert_clean()
