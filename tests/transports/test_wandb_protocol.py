"""The conversation about one run: what is asked in which order, and what every answer leads to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from corelib.ports import Delivered, Rejected, RemoteAddress, Retry, UpsertAnswered
from corelib.pure.records import (
    Alert,
    ConfigChange,
    Exit,
    FileSaved,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    SummaryChange,
)
from corelib.pure.remote import LookupFailed
from corelib.testing.specimens import TIME, rows_from, start_record
from tests.properties.wandb_world import RUN
from tests.transports.wandb_talk import REMOTE, SETTINGS, Talk, deep, graphql, taken_up
from transports.wandb_creation import Creation
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult
from transports.wandb_files import FileState
from transports.wandb_protocol import RunProtocol
from transports.wandb_stream import HISTORY, SUMMARY, Limits

# ------------------------------------------------------------------------------------------------------------- opening


def test_a_new_run_is_opened_by_an_upsert() -> None:
    """One upsert says everything, one question asks what the server can do; the answer names the run."""
    talk = Talk()

    assert talk.open() == Delivered(
        remote=RemoteAddress("ent", "p", "r1", None, "https://example.com/ent/p/runs/r1")
    )
    assert talk.operations == ["UpsertBucket", "ServerFeaturesQuery"]
    (upsert,) = talk.server.upserts
    assert (upsert["name"], upsert["project"], upsert["entity"], upsert["id"]) == ("r1", "p", "ent", None)
    assert talk.open() == Delivered(
        remote=RemoteAddress("ent", "p", "r1", None, "https://example.com/ent/p/runs/r1")
    )
    assert len(talk.operations) == 2


def test_a_continued_run_goes_on_behind_what_is_stored() -> None:
    """The count is asked first, and the upsert names the server's key, so that it cannot create a run."""
    talk = Talk()
    talk.server.exists = True
    talk.server.lines[HISTORY] = dict.fromkeys(range(16), "{}")

    assert isinstance(talk.open(resumed=True, starting_step=16), Delivered)
    assert talk.operations == ["RunResumeStatus", "UpsertBucket", "ServerFeaturesQuery"]
    assert talk.server.upserts[0]["id"] == "s1"
    talk.deliver(start_record(resumed=True, starting_step=16), *rows_from(2, 2, step=16))
    assert talk.server.rows[16]["_step"] == 16
    assert len(talk.server.rows) == 18


def test_a_continued_run_that_is_not_there_begins_at_the_first_line() -> None:
    """That is told, and the rows are delivered."""
    talk = Talk()
    outcome = talk.open(resumed=True, starting_step=16)

    assert "api.example.com does not have" in outcome.notices[0]
    assert isinstance(talk.deliver(start_record(resumed=True), *rows_from(2, 2, step=16)), Delivered)
    assert len(talk.server.rows) == 2


def test_a_run_that_is_overwritten_is_named_once() -> None:
    """Without resume a run that was there is overwritten from its first line, whatever its count; one line says so."""
    talk = Talk()
    talk.server.exists = True
    talk.server.lines[HISTORY] = dict.fromkeys(range(5), '{"old":1}')
    outcome = talk.open()

    assert len(outcome.notices) == 1
    assert "ent/p/r1 was there with 5 rows" in outcome.notices[0]
    outcome = talk.deliver(start_record(), *rows_from(2, 2))
    assert outcome.notices == ()
    assert [row.get("_step") for row in talk.server.rows] == [0, 1, None, None, None]


def test_what_the_server_calls_the_run_is_followed() -> None:
    """Entity, project and id of the answer are those of all later requests."""
    talk = Talk()
    project = {"name": "Canon", "entity": {"name": "my team"}}
    bucket = {"id": "s", "name": "r-1", "displayName": "fun", "project": project}
    talk.wrong["UpsertBucket"] = [graphql({"upsertBucket": {"bucket": bucket}})]
    outcome = talk.open()
    talk.deliver(start_record(), *rows_from(2, 1))

    assert outcome.remote == RemoteAddress(
        "my team", "Canon", "r-1", "fun", "https://example.com/my%20team/Canon/runs/r-1"
    )
    assert talk.requests[2].target == "/files/my%20team/Canon/r-1/file_stream"


@pytest.mark.parametrize(
    "answer", [HttpAnswer(503), HttpAnswer(401), HttpAnswer(403), HttpFailure("dropped", "cut")]
)
def test_opening_waits_for_a_server_that_may_come_back(answer: HttpResult) -> None:
    """Neither a busy server nor a rejected key ends a run."""
    talk = Talk()
    talk.wrong["UpsertBucket"] = [answer] * 20
    for _ in range(20):
        assert isinstance(talk.open(), Retry)
    assert isinstance(talk.open(), Delivered)


@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(200, {}, b'{"errors":[{"message":"it broke"}]}'),
        HttpAnswer(404),
        HttpAnswer(409, {}, b"<html>conflict</html>"),
        graphql({"upsertBucket": {"bucket": None}, "model": 7}),
    ],
)
def test_opening_waits_where_nothing_is_final(resumed: bool, answer: HttpResult) -> None:
    """Errors in an answer may pass, and whoever answers in place of the server says nothing of runs."""
    talk = Talk()
    talk.server.exists = True
    talk.wrong["RunResumeStatus" if resumed else "UpsertBucket"] = [answer] * 20
    for _ in range(20):
        outcome = talk.open(resumed=resumed)
        assert isinstance(outcome, Retry)
        assert outcome.after == 15.0
    assert isinstance(talk.open(resumed=resumed), Delivered)


@pytest.mark.parametrize("status", [200, 409, 410])
def test_opening_gives_up_a_run_that_was_deleted(status: int) -> None:
    """Where the server says so, again and again, the run is refused; to open it again is a new attempt."""
    talk = Talk()
    gone = HttpAnswer(status, {}, b'{"errors":[{"message":"it was created and deleted"}]}')
    talk.wrong["UpsertBucket"] = [gone] * 3
    assert isinstance(talk.open(), Retry)
    assert isinstance(talk.open(), Retry)
    outcome = talk.open()

    assert isinstance(outcome, Rejected)
    assert "it was created and deleted" in outcome.reason
    assert talk.deliver(start_record(), *rows_from(2, 1)) == outcome
    assert isinstance(talk.open(), Delivered)


def test_a_config_that_cannot_be_sent_refuses_the_run() -> None:
    """Nothing is sent of a run whose description cannot be written."""
    talk = Talk()

    assert (
        talk.open(config={"deep": deep()}).reason == "the config cannot be sent: a value is nested too deeply"
    )
    assert talk.operations == []


def test_features_are_not_worth_waiting_for() -> None:
    """A server that does not answer what it can do is taken for one that can do nothing special."""
    talk = Talk()
    talk.wrong["ServerFeaturesQuery"] = [HttpAnswer(500)]

    assert isinstance(talk.open(), Delivered)


def test_a_delivery_without_opening() -> None:
    """The start among the records opens the run; without any start nothing can be delivered yet."""
    talk = Talk()
    assert isinstance(talk.deliver(*rows_from(2, 1)), Retry)
    assert talk.operations == []
    assert isinstance(talk.deliver(start_record(seq=3)), Delivered)
    assert len(talk.server.rows) == 1


def test_the_courier_may_read_anything_into_an_answer_twice() -> None:
    """An answer that nobody waits for is let go of."""
    protocol = RunProtocol(RUN, SETTINGS)

    assert protocol.answered(HttpAnswer(200), 0.0) is None
    assert protocol.sign_of_life() is None


# ---------------------------------------------------------------------------------------------------------- delivering


def test_rows_go_first_and_all_in_one_push() -> None:
    """One push per batch: rows and summary; then what else there is."""
    talk = Talk().begun()
    talk.deliver(
        Alert(seq=2, time=TIME, title="Look", text="at this", level="WARN", wait_duration=60.0),
        ConfigChange(seq=3, time=TIME, update={"lr": 0.2}, remove=()),
        FileSaved(seq=4, time=TIME, path="a", policy="now"),
        *rows_from(5, 3),
        files={"a": FileState("/f/a", 1, 1)},
    )

    assert talk.operations[:4] == [
        "file_stream",
        "UpsertBucket",
        "NotifyScriptableRunAlert",
        "CreateRunFiles",
    ]
    assert [row["_step"] for row in talk.server.rows] == [0, 1, 2]
    assert json.loads(talk.server.lines[SUMMARY][0])["_step"] == 2
    assert talk.server.alerts == ["Look"]
    assert json.loads(talk.server.upserts[-1]["config"])["lr"] == {"value": 0.2}
    assert talk.server.upserts[-1]["id"] == "s1"


@pytest.mark.parametrize(
    "record",
    [
        ConfigChange(seq=2, time=TIME, update={"lr": 0.1}, remove=()),
        RunChange(seq=2, time=TIME, name="a run"),
    ],
)
def test_a_change_to_the_same_is_not_sent(record: Record) -> None:
    """Only the host is new, which can wait for the end."""
    talk = Talk().begun()
    talk.deliver(start_record())
    count = len(talk.server.upserts)
    talk.deliver(evolve(record))
    after = talk.server.upserts[count:]

    assert [one["host"] for one in after] == ["host"]
    talk.deliver(evolve(record, seq=3))
    assert len(talk.server.upserts) == count + 1


@pytest.mark.parametrize(
    ("record", "variable", "value"),
    [
        (RunChange(seq=2, time=TIME, name="new"), "displayName", "new"),
        (RunChange(seq=2, time=TIME, notes=""), "notes", ""),
        (RunChange(seq=2, time=TIME, tags=()), "tags", []),
    ],
)
def test_changes_of_the_run_are_upserted(record: Record, variable: str, value: Any) -> None:
    """Name, notes and tags follow, with the whole config."""
    talk = Talk().begun()

    assert isinstance(talk.deliver(record), Delivered)
    assert talk.server.upserts[-1][variable] == value
    assert talk.server.upserts[-1]["config"] is not None


def test_metrics_are_upserted_with_the_config() -> None:
    """A definition travels in the internals, and changes what the summary shows."""
    talk = Talk().begun()
    talk.deliver(*rows_from(2, 3))
    talk.deliver(MetricDefined(seq=5, time=TIME, name="loss", summary=("min",)))

    internals = json.loads(talk.server.upserts[-1]["config"])["_wandb"]["value"]
    assert internals["m"] == [{"1": "loss", "6": [3], "7": [1]}]
    assert json.loads(talk.server.lines[SUMMARY][0])["loss"] == {"min": pytest.approx(1 / 3)}


def test_a_summary_goes_whole_whenever_it_changes() -> None:
    """Explicit values go out without a row, and an unchanged summary does not."""
    talk = Talk().begun()
    talk.deliver(SummaryChange(seq=2, time=TIME, update={"best": 1}, remove=()))
    pushes = len(talk.server.pushes)
    talk.deliver(SummaryChange(seq=3, time=TIME, update={"best": 1}, remove=()))

    assert json.loads(talk.server.lines[SUMMARY][0]) == {"best": 1}
    assert len(talk.server.pushes) == pushes


def test_an_open_row_waits_until_it_is_closed() -> None:
    """A row of several calls goes out once, when it is whole."""
    talk = Talk().begun()
    talk.deliver(Row(seq=2, time=TIME, step=0, data={"a": 1}, commit=False))
    assert HISTORY not in talk.server.lines
    talk.deliver(Row(seq=3, time=TIME, step=0, data={"b": 2}))

    (row,) = talk.server.rows
    assert (row["a"], row["b"]) == (1, 2)


def test_preemption_is_pushed() -> None:
    """The server is told, with or without rows."""
    talk = Talk().begun()
    talk.deliver(Preempting(seq=2, time=TIME))

    assert talk.server.pushes[-1]["preempting"] is True
    assert "files" not in talk.server.pushes[-1]


def test_a_run_that_is_to_stop() -> None:
    """The word of the server is passed on with every answer, whatever else the push said."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpAnswer(200, {}, b'{"stopped":true}')]

    assert talk.deliver(*rows_from(2, 1)).stop
    assert talk.deliver(*rows_from(3, 1, step=1)).stop


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"OK", b'{"stopped":"yes"}'])
def test_any_success_of_a_push_will_do(body: bytes) -> None:
    """Whatever stands in the answer, the rows have arrived."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpAnswer(204, {}, body)]
    outcome = talk.deliver(*rows_from(2, 1))

    assert isinstance(outcome, Delivered)
    assert not outcome.stop


@pytest.mark.parametrize(
    "page",
    [
        HttpAnswer(200, {}, b"\n <!DOCTYPE html><html>Log in to the WiFi</html>"),
        HttpAnswer(200, {"content-type": "Text/HTML; charset=utf-8"}, b"welcome"),
    ],
)
def test_a_web_page_is_not_the_answer_to_a_push(page: HttpAnswer) -> None:
    """Where a portal answers in place of the server, no row has arrived: it comes again, slowly."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [page] * 10
    rows = rows_from(2, 2)
    for _ in range(10):
        outcome = talk.deliver(*rows)
        assert isinstance(outcome, Retry)
        assert outcome.after == 15.0
        assert "not the server's" in outcome.reason
    assert isinstance(talk.deliver(*rows), Delivered)
    assert len(talk.server.rows) == 2


def test_a_sign_of_life_is_an_empty_push() -> None:
    """Nothing but two bytes, as long as the run lasts; changed files go along."""
    talk = Talk().begun()
    talk.talk(alive=True)
    assert talk.server.pushes[-1] in ({}, {"uploaded": ["wandb-metadata.json"]})
    talk.talk(alive=True)
    assert talk.server.pushes[-1] == {}
    life = talk.protocol.sign_of_life()
    assert life is not None
    assert life.body == b"{}"
    talk.deliver(Exit(seq=2, time=TIME, exit_code=0, runtime=1.0))
    count = len(talk.server.pushes)
    talk.talk(alive=True)
    assert len(talk.server.pushes) == count


@pytest.mark.parametrize("status", [400, 415])
def test_a_body_that_is_not_understood_goes_plain(status: int) -> None:
    """What a server announces and something on the way does not take costs one attempt, and no row."""
    talk = Talk()
    features = [
        {"name": "FILESTREAM_GZIP", "isEnabled": True},
        {"name": "FILESTREAM_ZSTD", "isEnabled": False},
    ]
    talk.wrong["ServerFeaturesQuery"] = [graphql({"serverInfo": {"features": features}})]
    talk.open()
    talk.wrong["file_stream"] = [HttpAnswer(status)]
    outcome = talk.deliver(start_record(), *rows_from(2, 100))

    assert isinstance(outcome, Delivered)
    pushes = [request for request in talk.requests if request.operation == "file_stream"]
    assert [request.encoding for request in pushes[:2]] == ["gzip", None]
    assert pushes[0].body == pushes[1].body


# ------------------------------------------------------------------------------------------------- what goes wrong then


@pytest.mark.parametrize(
    ("answer", "after"),
    [
        (HttpAnswer(503), None),
        (HttpAnswer(429, {"retry-after": "7"}), 7.0),
        (HttpFailure("timeout", "late"), None),
        (HttpAnswer(401), 15.0),
        (HttpAnswer(403, {"retry-after": "60"}), 60.0),
        (HttpAnswer(302, {"location": "https://x"}), 15.0),
    ],
)
def test_a_push_waits_and_comes_again_byte_for_byte(answer: HttpResult, after: float | None) -> None:
    """A busy server, a lost answer and a rejected key cost time, and no row."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [answer] * 10
    rows = rows_from(2, 3)
    for _ in range(10):
        outcome = talk.deliver(*rows)
        assert isinstance(outcome, Retry)
        assert outcome.after == after
    assert isinstance(talk.deliver(*rows), Delivered)
    assert len({request.body for request in talk.requests[-12:] if b"history" in request.body}) == 1  # type: ignore[operator]
    assert len(talk.server.rows) == 3


@pytest.mark.parametrize("kind", ["dropped", "timeout"])
def test_large_pushes_that_are_cut_become_smaller(kind: Any) -> None:
    """A proxy that cuts large bodies off, or a line too slow for them, gets all the same, in parts."""
    talk = Talk().begun()
    rows = [Row(seq=seq, time=TIME, step=seq, data={"x": "x" * 100_000}) for seq in range(2, 12)]
    handle = talk.server.handle
    sizes: list[int] = []

    def narrow(request: HttpRequest) -> HttpResult:
        size = len(request.body)
        sizes.append(size)
        return HttpFailure(kind, "cut") if size > 300_000 else handle(request)

    talk.server.handle = narrow  # type: ignore[assignment]
    tries = 0
    while isinstance(talk.deliver(*rows), Retry):
        tries += 1
        assert tries < 20
    assert [row["_step"] for row in talk.server.rows] == list(range(2, 12))
    assert sizes[0] == sizes[1] == sizes[2] > sizes[3]


def test_large_pushes_wait_for_a_server_that_is_down() -> None:
    """Where nobody listens, size is not to blame."""
    talk = Talk().begun()
    rows = [Row(seq=seq, time=TIME, step=seq, data={"x": "x" * 100_000}) for seq in range(2, 12)]
    talk.wrong["file_stream"] = [HttpFailure("unreachable", "refused")] * 10
    for _ in range(10):
        assert isinstance(talk.deliver(*rows), Retry)
    talk.deliver(*rows)
    assert len({request.body for request in talk.requests if len(request.body) > 300_000}) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [404, 405, 409, 410, 418, 501])
def test_a_stream_that_is_not_found_is_tried_as_long_as_the_run_is_there(status: int) -> None:
    """An ingress without its backend says 404: the run is asked for, and the same push comes again, without end."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpAnswer(status)] * 50
    rows = rows_from(2, 2)
    talk.operations.clear()
    for _ in range(50):
        outcome = talk.deliver(*rows)
        assert isinstance(outcome, Retry)
        assert outcome.after == 15.0
        assert f"HTTP {status}" in outcome.reason
    assert talk.operations == ["file_stream", "UpsertBucket"] * 50
    assert {name: value for name, value in talk.server.upserts[-1].items() if value is not None} == {
        "id": "s1",
        "name": "r1",
        "project": "p",
        "entity": "ent",
    }
    assert isinstance(talk.deliver(*rows), Delivered)
    assert len(talk.server.rows) == 2


@pytest.mark.parametrize(
    "answer",
    [
        HttpAnswer(404, {}, b"<html>default backend - 404</html>"),
        HttpAnswer(409),
        HttpAnswer(401),
        HttpAnswer(503),
        HttpFailure("dropped", "cut"),
        HttpAnswer(200, {}, b'{"errors":[{"message":"too many connections"}]}'),
    ],
)
def test_a_run_that_cannot_be_asked_for_is_not_gone(answer: HttpResult) -> None:
    """Where nobody knows, the rows stay pending."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpAnswer(404)] * 20
    talk.wrong["UpsertBucket"] = [answer] * 20
    rows = rows_from(2, 2)
    for _ in range(20):
        assert isinstance(talk.deliver(*rows), Retry)
    assert isinstance(talk.deliver(*rows), Delivered)


def test_a_stream_is_tried_without_end_where_the_run_has_no_key() -> None:
    """Without the server's key an upsert would create the run anew, so nothing is asked."""
    talk = Talk()
    project = {"name": "p", "entity": {"name": "ent"}}
    talk.wrong["UpsertBucket"] = [graphql({"upsertBucket": {"bucket": {"name": "r1", "project": project}}})]
    talk.open()
    talk.wrong["file_stream"] = [HttpAnswer(404)] * 20
    talk.operations.clear()
    for _ in range(20):
        assert isinstance(talk.deliver(start_record(), *rows_from(2, 1)), Retry)
    assert set(talk.operations) == {"file_stream"}


def test_a_run_that_has_moved_is_followed() -> None:
    """The same bytes go to where the server says that the run is now."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpAnswer(404)]
    project = {"name": "new", "entity": {"name": "ent"}}
    bucket = {"id": "s1", "name": "r1", "project": project}
    talk.wrong["UpsertBucket"] = [graphql({"upsertBucket": {"bucket": bucket}})]
    assert isinstance(talk.deliver(*rows_from(2, 1)), Retry)
    assert isinstance(talk.deliver(*rows_from(2, 1)), Delivered)
    first, _, second = talk.requests[-3:]
    assert second.target == "/files/ent/new/r1/file_stream"
    assert first.body == second.body


def test_a_push_that_cannot_be_made_is_given_up_after_some_tries() -> None:
    """What never leaves this machine costs its rows, and not the others."""
    talk = Talk().begun()
    talk.wrong["file_stream"] = [HttpFailure("unforeseen", "it cannot be sent (RuntimeError)")] * 3
    rows = rows_from(2, 2)
    assert isinstance(talk.deliver(*rows), Retry)
    assert isinstance(talk.deliver(*rows), Retry)
    assert talk.deliver(*rows) == Rejected(reason="it cannot be sent (RuntimeError)", seqs=(2, 3))
    assert isinstance(talk.deliver(*rows_from(4, 1, step=2)), Delivered)


def test_a_run_that_is_gone_is_given_up_after_some_tries() -> None:
    """Its rows are refused with the reason, later ones after one attempt, until it is there again."""
    talk = Talk().begun()
    talk.deliver(*rows_from(2, 1))
    talk.wrong["file_stream"] = [HttpAnswer(404, {}, b'{"error":"run not found"}')] * 4
    talk.wrong["UpsertBucket"] = [HttpAnswer(404, {}, b'{"errors":[{"message":"no such run"}]}')] * 4
    first, second = rows_from(3, 2, step=1), rows_from(5, 1, step=3)
    assert isinstance(talk.deliver(*first), Retry)
    assert isinstance(talk.deliver(*first), Retry)

    reason = "file_stream at api.example.com: HTTP 404 (run not found)"
    assert talk.deliver(*first) == Rejected(reason=reason, seqs=(3, 4))
    assert talk.deliver(*first) == Rejected(reason=reason, seqs=(3, 4))
    assert talk.deliver(*second) == Rejected(reason=reason, seqs=(5,))
    assert isinstance(talk.deliver(*rows_from(6, 2, step=4)), Delivered)
    assert [row["_step"] for row in talk.server.rows] == [0, 4, 5]


def test_a_refused_row_is_named_and_the_others_arrive() -> None:
    """One bad row costs itself."""
    talk = Talk().begun()
    handle = talk.server.handle

    def picky(request: HttpRequest) -> HttpAnswer:
        bad = request.operation == "file_stream" and b'\\"_step\\":5,' in request.body  # type: ignore[operator]
        return HttpAnswer(422, {}, b'{"error":"bad row"}') if bad else handle(request)

    talk.server.handle = picky  # type: ignore[method-assign]
    outcome = talk.deliver(*rows_from(2, 20))

    assert outcome == Rejected(reason="file_stream at api.example.com: HTTP 422 (bad row)", seqs=(7,))
    assert [row["_step"] for row in talk.server.rows] == [step for step in range(20) if step != 5]


def test_a_push_that_is_too_large_is_split() -> None:
    """413 costs no row but one that is too large by itself."""
    talk = Talk().begun()
    talk.server.most_body = 600
    rows = [
        *rows_from(2, 20),
        Row(seq=22, time=TIME, step=20, data={"text": "x" * 600}),
        *rows_from(23, 2, step=21),
    ]
    outcome = talk.deliver(*rows)

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (22,)
    assert [row["_step"] for row in talk.server.rows] == [step for step in range(23) if step != 20]


def test_a_row_that_is_too_long_is_refused_before_it_is_sent() -> None:
    """It is named with the reason, has no number, and the summary that it is too long for is told of."""
    talk = Talk(limits=Limits(line_bytes=200))
    talk.open()
    long = Row(seq=2, time=TIME, step=0, data={"text": "x" * 300})
    outcome = talk.deliver(start_record(), long, *rows_from(3, 1, step=1))

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (2,)
    assert "longer than the 200" in outcome.reason
    assert outcome.notices == ("the summary is larger than the server takes, so it goes without text",)
    assert json.loads(talk.server.lines[SUMMARY][0])["_step"] == 1
    assert [row["_step"] for row in talk.server.rows] == [1]


def test_values_that_no_text_can_hold_are_refused() -> None:
    """Endless nesting is refused where it stands: in a row, in the summary, in the config."""
    talk = Talk().begun()
    assert talk.deliver(Row(seq=2, time=TIME, step=0, data={"x": deep()})).seqs == (2,)
    talk = Talk().begun()
    assert talk.deliver(SummaryChange(seq=2, time=TIME, update={"x": deep()}, remove=())).seqs == (2,)
    talk = Talk().begun()
    change = ConfigChange(seq=2, time=TIME, update={"x": deep()}, remove=())
    (notice,) = talk.deliver(change).notices
    assert notice.startswith("Something was not delivered: the config cannot be sent")
    (loss,) = talk.deliver(Exit(seq=3, time=TIME, exit_code=0, runtime=1.0)).late
    assert (loss.writer, loss.record) == ("w1", change)


@pytest.mark.parametrize("answer", [HttpAnswer(400), HttpAnswer(413)])
def test_a_refused_change_is_named(answer: HttpAnswer) -> None:
    """What the server will not store is refused with its record when the run ends; a later one takes it along."""
    talk = Talk().begun()
    talk.wrong["UpsertBucket"] = [answer]
    outcome = talk.deliver(ConfigChange(seq=2, time=TIME, update={"x": 1}, remove=()), *rows_from(3, 1))

    assert outcome.late == ()
    assert outcome.notices == (
        f"Something was not delivered: UpsertBucket at api.example.com: HTTP {answer.status}",
    )
    assert len(talk.server.rows) == 1
    later = ConfigChange(seq=4, time=TIME, update={"x": 2}, remove=())
    assert talk.deliver(later) == Delivered(remote=REMOTE)
    talk.wrong["UpsertBucket"] = [answer] * 2
    talk.deliver(ConfigChange(seq=5, time=TIME, update={"x": 3}, remove=()))
    talk.deliver(ConfigChange(seq=6, time=TIME, update={"x": 4}, remove=()))
    talk.wrong["UpsertBucket"] = [answer]
    late = talk.deliver(Exit(seq=7, time=TIME, exit_code=0, runtime=1.0)).late
    assert [loss.record.seq for loss in late] == [5, 6]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([HttpAnswer(400)], "HTTP 400"),
        ([graphql({"notifyScriptableRunAlert": {"success": False}})], "did not take the alert"),
    ],
)
def test_a_refused_alert_is_named(answers: Sequence[HttpResult], words: str) -> None:
    """An alert that never arrives is counted."""
    talk = Talk().begun()
    talk.wrong["NotifyScriptableRunAlert"] = list(answers)
    alert = Alert(seq=2, time=TIME, title="Look", text="x", level="INFO", wait_duration=0.0)
    outcome = talk.deliver(alert)

    assert outcome.seqs == (2,)
    assert words in outcome.reason


# ---------------------------------------------------------------------------------------------------------------- files


def test_files_are_announced_with_the_next_push() -> None:
    """The bytes go to their address, and the next push names them."""
    talk = Talk().begun()
    talk.deliver(
        FileSaved(seq=2, time=TIME, path="m/w.bin", policy="now"), files={"m/w.bin": FileState("/f", 3, 1)}
    )
    talk.deliver(*rows_from(3, 1))

    assert "upload of m/w.bin" in talk.operations
    assert "m/w.bin" in talk.server.pushes[-1]["uploaded"]


def test_documents_that_fail_are_told_of() -> None:
    """No record asked for them, so a notice says it, once."""
    talk = Talk().begun()
    talk.wrong["upload of config.yaml"] = [HttpAnswer(413)]
    outcome = talk.deliver(Exit(seq=2, time=TIME, exit_code=0, runtime=1.0))

    assert outcome.notices == (
        "Something was not delivered: config.yaml was not uploaded: upload of config.yaml at up: HTTP 413",
    )
    assert talk.server.complete == 0


def test_our_documents_do_not_replace_those_of_the_user() -> None:
    """A file that was saved under the name of one of ours is theirs."""
    talk = Talk().begun()
    state = {"config.yaml": FileState("/f", 3, 1), "wandb-metadata.json": FileState("/m", 3, 1)}
    talk.deliver(FileSaved(seq=2, time=TIME, path="config.yaml", policy="now"), files=state)
    talk.operations.clear()
    talk.deliver(Exit(seq=3, time=TIME, exit_code=0, runtime=1.0), files=state)

    assert [one for one in talk.operations if one.startswith("upload")] == ["upload of wandb-summary.json"]


# ----------------------------------------------------------------------------------------------------------- the end


@pytest.mark.case("finish-pending-row")
@pytest.mark.parametrize(("told", "sent"), [(0, 0), (9, 9), (-1, -1), (255, 255), (None, 1)])
def test_the_end_of_a_run(told: int | None, sent: int) -> None:
    """The open row, the summary and the files go, then the code; an unknown ending is no success."""
    talk = Talk().begun()
    talk.deliver(Row(seq=2, time=TIME, step=0, data={"c": 3}, commit=False))
    talk.operations.clear()
    outcome = talk.deliver(Exit(seq=3, time=TIME, exit_code=told, runtime=1.0))

    assert isinstance(outcome, Delivered)
    assert [row["c"] for row in talk.server.rows] == [3]
    assert talk.operations == [
        "file_stream",
        "UpsertBucket",
        "CreateRunFiles",
        "upload of config.yaml",
        "upload of wandb-summary.json",
        "file_stream",
    ]
    assert {"config.yaml", "wandb-summary.json", "wandb-metadata.json"} <= set(talk.server.files)
    assert talk.server.pushes[-1]["exitcode"] == sent
    assert {"config.yaml", "wandb-summary.json"} <= set(talk.server.pushes[-1]["uploaded"])
    assert json.loads(talk.server.files["wandb-summary.json"])["c"] == 3
    assert talk.protocol.saved is not None
    assert talk.protocol.saved.complete


def test_a_lost_end_comes_again() -> None:
    """`complete` whose answer was lost is sent until it is answered."""
    talk = Talk().begun()
    end = Exit(seq=2, time=TIME, exit_code=3, runtime=1.0)
    talk.wrong["file_stream"] = [HttpFailure("dropped", "cut")] * 3
    for _ in range(3):
        assert isinstance(talk.deliver(end), Retry)
    assert isinstance(talk.deliver(end), Delivered)
    assert talk.server.complete == 3


def test_a_refused_end_is_counted() -> None:
    """Where the server will not hear it, the record that says it is refused."""
    talk = Talk().begun()
    talk.deliver(*rows_from(2, 1))
    talk.wrong["file_stream"] = [HttpAnswer(400)]
    outcome = talk.deliver(Exit(seq=3, time=TIME, exit_code=0, runtime=1.0))

    assert outcome.seqs == (3,)
    assert talk.server.complete is None


def test_another_writer_does_not_end_the_run() -> None:
    """A forked child that ends says nothing about the run; a writer without header is held to be the run's."""
    talk = Talk().begun()
    end = Exit(seq=1, time=TIME, exit_code=0, runtime=1.0)
    talk.deliver(end, writer="w2", primary=False)
    assert talk.server.complete is None
    talk.deliver(end, writer="w3", header=False)
    assert talk.server.complete == 0


def test_what_comes_after_the_end_opens_the_run_again() -> None:
    """Rows of a child that outlived its parent arrive, and the run is complete again with the same code."""
    talk = Talk().begun()
    talk.deliver(*rows_from(2, 1), Exit(seq=3, time=TIME, exit_code=4, runtime=1.0))
    upserts = len(talk.server.upserts)
    talk.server.complete = None
    talk.operations.clear()
    late = Row(seq=1, time=TIME, step=None, data={"late": 1}, commit=False)
    outcome = talk.deliver(late, writer="w2", primary=False)

    assert isinstance(outcome, Delivered)
    assert talk.operations[0] == "UpsertBucket"
    assert len(talk.server.upserts) == upserts + 1
    assert [row.get("late") for row in talk.server.rows] == [None, 1]
    assert talk.server.complete == 4


def test_a_repeated_end_is_not_sent_again() -> None:
    """What is known changes nothing."""
    talk = Talk().begun()
    end = Exit(seq=2, time=TIME, exit_code=0, runtime=1.0)
    talk.deliver(end)
    count = len(talk.operations)

    assert isinstance(talk.deliver(end), Delivered)
    assert len(talk.operations) == count


# ---------------------------------------------------------------------------------------------------------- continuing


def test_a_new_process_goes_on_without_asking() -> None:
    """Nothing is sent to take up a run, and its rows follow those that were delivered."""
    talk = Talk().begun()
    rows = rows_from(2, 5)
    talk.deliver(*rows[:3])
    new = taken_up(talk, start_record(), *rows[:3])
    new.deliver(*rows[3:])

    assert [row["_step"] for row in talk.server.rows] == [0, 1, 2, 3, 4]
    assert json.loads(talk.server.lines[SUMMARY][0])["_step"] == 4


def test_a_new_process_knows_the_config() -> None:
    """A change builds on what earlier changes made of it."""
    talk = Talk().begun()
    first = ConfigChange(seq=2, time=TIME, update={"a": 1}, remove=())
    talk.deliver(first)
    new = taken_up(talk, start_record(), first)
    new.deliver(ConfigChange(seq=3, time=TIME, update={"b": 2}, remove=()))

    config = json.loads(talk.server.upserts[-1]["config"])
    assert {name for name in config if name != "_wandb"} == {"lr", "a", "b"}


def test_a_new_process_finishes_an_open_row() -> None:
    """A row that was open when the process ended is made whole from the journal."""
    talk = Talk().begun()
    opened = Row(seq=2, time=TIME, step=0, data={"a": 1}, commit=False)
    talk.deliver(opened)
    new = taken_up(talk, start_record(), opened)
    new.deliver(Row(seq=3, time=TIME, step=0, data={"b": 2}))

    (row,) = talk.server.rows
    assert (row["a"], row["b"]) == (1, 2)


def test_a_new_process_knows_files_and_the_end() -> None:
    """Of a run that is complete nothing is sent; a late row opens it again."""
    talk = Talk().begun()
    known = (
        start_record(),
        FileSaved(seq=2, time=TIME, path="a", policy="now"),
        FileSaved(seq=3, time=TIME, path="../x", policy="now"),
        Exit(seq=4, time=TIME, exit_code=7, runtime=1.0),
    )
    talk.deliver(*known[1:], files={"a": FileState("/f/a", 1, 1)})
    new = taken_up(talk, *known)
    new.talk(alive=True)
    assert new.operations == []
    new.deliver(Row(seq=1, time=TIME, step=None, data={"x": 1}), writer="w2", primary=False)

    assert len(talk.server.rows) == 1
    assert talk.server.complete == 7


def test_what_was_uploaded_and_not_announced_is_announced_later() -> None:
    """The names outlive the process."""
    talk = Talk().begun()
    saved = FileSaved(seq=2, time=TIME, path="a", policy="now")
    talk.deliver(saved, files={"a": FileState("/f/a", 1, 1)})
    new = taken_up(talk, start_record(), saved)
    new.deliver(*rows_from(3, 1))

    assert "a" in talk.server.pushes[-1]["uploaded"]


def test_what_is_saved_is_of_the_last_answered_batch() -> None:
    """A batch of which a part has arrived is not half settled."""
    talk = Talk(limits=Limits(push_bytes=400)).begun()
    assert talk.protocol.saved is not None
    before = talk.protocol.saved.offsets[HISTORY]
    handle, count = talk.server.handle, [0]

    def breaks_down(request: HttpRequest) -> HttpAnswer:
        count[0] += 1
        return handle(request) if count[0] < 3 else HttpAnswer(503)

    talk.server.handle = breaks_down  # type: ignore[method-assign]
    assert isinstance(talk.deliver(*rows_from(2, 20)), Retry)
    assert len(talk.server.rows) > 0
    assert talk.protocol.saved.offsets[HISTORY] == before


# ------------------------------------------------------------------------------------------------------- who was first


def create(*answers: HttpResult, **start: Any) -> tuple[UpsertAnswered | None, list[dict[str, Any]]]:
    creation = Creation(RUN, start_record(**start), SETTINGS, 0.5)
    sent: list[dict[str, Any]] = []
    for answer in answers:
        request = creation.next_request()
        if request is None:
            break
        assert isinstance(request.body, bytes)
        variables = json.loads(request.body)["variables"]
        sent.append({name: value for name, value in variables.items() if value is not None})
        creation.answered(request, answer, 0.0)
    assert len(sent) < len(answers) or creation.next_request() is None
    return creation.answer, sent


def made(inserted: bool | None, internals: str | None = None, lines: int = 0) -> HttpAnswer:
    bucket = {
        "id": "s9",
        "name": "r1",
        "historyLineCount": lines,
        "project": {"name": "p", "entity": {"name": "ent"}},
        "wandbConfig": internals,
    }
    return graphql({"upsertBucket": {"bucket": bucket, "inserted": inserted}})


def test_who_is_first_describes_the_run() -> None:
    """The first request says only the name; the second one all the rest, under the server's key."""
    answer, sent = create(made(True), made(False), made(False))

    assert answer == UpsertAnswered(inserted=True, started=False)
    assert sent[0] == {"name": "r1", "project": "p", "entity": "ent"}
    assert sent[1]["id"] == "s9"
    assert "_wandb" in sent[1]["config"]
    assert len(sent) == 2


def test_a_run_made_ahead_is_started() -> None:
    """A run that exists and never began is described as well, once it was seen twice in that state."""
    answer, sent = create(made(False, "{}"), made(False, "{}"), made(False), made(False))

    assert answer == UpsertAnswered(inserted=False, started=False)
    assert [set(one) >= {"config"} for one in sent] == [False, False, True]


def test_a_run_that_somebody_is_just_starting_is_left_to_them() -> None:
    """Between its making and its start a run looks as if a sweep had made it: it is looked at twice, with a wait."""
    creation = Creation(RUN, start_record(), SETTINGS, 0.5)
    request = creation.next_request()
    assert request is not None
    creation.answered(request, made(False, "{}"), 0.0)
    assert (creation.answer, creation.settle_s) == (None, 1.5)

    again = creation.next_request()
    assert again == request
    creation.answered(request, made(False, '{"t":{}}'), 0.0)

    assert creation.answer == UpsertAnswered(inserted=False, started=True)
    assert creation.next_request() is None


def test_who_finds_rows_was_not_the_first() -> None:
    """Rows that stand in a run which was not described yet, or only just, are those of a faster one."""
    for answers in ((made(False, "{}", lines=2),), (made(True), made(False, lines=2))):
        answer, _ = create(*answers, made(False))

        assert answer is not None
        assert answer.started is True


@pytest.mark.parametrize(("inserted", "internals"), [(False, '{"t":{}}'), (None, "{}")])
def test_a_run_that_somebody_started_is_left_alone(inserted: bool | None, internals: str) -> None:
    """So is one of which the server does not say who was first."""
    answer, sent = create(*[made(inserted, internals)] * 3)

    assert answer is not None
    assert answer.inserted is inserted
    assert all("config" not in one for one in sent)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (HttpAnswer(401), "auth"),
        (HttpAnswer(409), "refused"),
        (HttpFailure("timeout", "late"), "unreachable"),
    ],
)
def test_a_failed_creation_is_told_and_not_repeated(result: HttpResult, kind: str) -> None:
    """A second attempt after a lost answer would meet the first as a rival."""
    answer, sent = create(result, made(True))

    assert answer is not None
    assert isinstance(answer.failure, LookupFailed)
    assert answer.failure.kind == kind
    assert len(sent) == 1


def test_a_lost_description_leaves_the_answer() -> None:
    """The run is ours all the same, and its opening describes it again."""
    answer, _ = create(made(True), HttpFailure("dropped", "cut"), made(True))

    assert answer == UpsertAnswered(inserted=True, started=False)
