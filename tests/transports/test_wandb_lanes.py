"""Files, alerts and changes go beside the rows: they hold nothing up, are tried again, and end some time."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from corelib.ports import Delivered, LateLoss, Rejected, Retry
from corelib.pure.records import (
    Alert,
    ConfigChange,
    Exit,
    FileSaved,
    Record,
    Row,
    SummaryChange,
)
from corelib.testing.specimens import TIME, rows_from, start_record
from tests.transports.wandb_talk import REMOTE, Talk, batch_of, graphql, taken_up
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult
from transports.wandb_files import FileState
from transports.wandb_stream import SUMMARY

EVER = 10_000
FILES = {"a": FileState("/f/a", 1, 1), "b": FileState("/f/b", 1, 1)}
END = Exit(seq=900, time=TIME, exit_code=0, runtime=1.0)
DENIAL = HttpAnswer(200, {}, b'{"errors":[{"message":"permission denied"}]}')


def alert(seq: int) -> Alert:
    return Alert(seq=seq, time=TIME, title=f"alert {seq}", text="x", level="INFO", wait_duration=0.0)


def saved(seq: int, path: str = "a", policy: str = "now") -> FileSaved:
    return FileSaved(seq=seq, time=TIME, path=path, policy=policy)


def changed(seq: int) -> ConfigChange:
    return ConfigChange(seq=seq, time=TIME, update={"x": seq}, remove=())


BESIDE: dict[str, Record] = {
    "UpsertBucket": changed(2),
    "NotifyScriptableRunAlert": alert(2),
    "CreateRunFiles": saved(2),
    "upload of a": saved(2),
}
ANSWERS: tuple[HttpResult, ...] = (
    HttpAnswer(401),
    HttpAnswer(403),
    HttpAnswer(500),
    HttpAnswer(404),
    HttpAnswer(302),
    HttpAnswer(503, {"retry-after": "20"}),
    HttpFailure("unreachable", "no connection"),
)
GRAPHQL_ANSWERS: tuple[HttpResult, ...] = (*ANSWERS, DENIAL)


def begun(operation: str, answer: HttpResult, times: int = EVER, **changes: Any) -> Talk:
    """Return a run in which one kind of request fails from now on."""
    talk = Talk(**changes).begun()
    talk.wrong[operation] = [answer] * times
    return talk


def run_on(talk: Talk, first: int, count: int, every_s: float = 15.0) -> list[Any]:
    """Deliver one row after the other; return the outcomes."""
    outcomes = []
    for number in range(count):
        talk.now += every_s
        outcomes.append(talk.deliver(*rows_from(first + number, 1, step=number), files=FILES))
        assert len(talk.server.rows) == number + 1, "a row waits for something else"
    return outcomes


def end(talk: Talk, most: int = 100) -> Any:
    """Deliver the end of the run as often as it takes."""
    outcome = None
    for _ in range(most):
        outcome = talk.deliver(END, files=FILES)
        if not isinstance(outcome, Retry):
            return outcome
        assert outcome.after is not None
        talk.now += outcome.after
    raise AssertionError(f"it goes on for ever: {outcome}")


@pytest.mark.parametrize("operation", BESIDE)
@pytest.mark.parametrize("answer", GRAPHQL_ANSWERS)
def test_later_rows_do_not_wait(operation: str, answer: HttpResult) -> None:
    """However long something beside the rows fails, each row goes out with its batch, and the run comes to its end."""
    if answer is DENIAL and operation.startswith("upload"):
        pytest.skip("that is a success there")
    talk = begun(operation, answer, doubts=3, upload_tries=4)
    assert isinstance(talk.deliver(BESIDE[operation], files=FILES), Delivered)
    outcomes = run_on(talk, 3, 10)
    assert all(isinstance(outcome, Delivered) for outcome in outcomes)
    told = [notice for outcome in outcomes for notice in outcome.notices]
    lost = [loss for outcome in outcomes for loss in outcome.late]
    outcome = end(talk)

    assert talk.server.complete == 0
    assert isinstance(outcome, Delivered)
    told += outcome.notices if operation == "NotifyScriptableRunAlert" else ()
    lost += outcome.late
    assert [loss.record for loss in lost] == [BESIDE[operation]]
    assert len(told) == 1
    assert told[0].startswith("Something was not delivered: ")


@pytest.mark.parametrize("operation", BESIDE)
def test_what_passes_is_made_good(operation: str) -> None:
    """After an outage everything is where it belongs, once, and nothing is refused."""
    talk = begun(operation, HttpAnswer(503), times=3, doubts=3, upload_tries=4)
    talk.deliver(BESIDE[operation], files=FILES)
    run_on(talk, 3, 10)

    assert isinstance(end(talk), Delivered)
    if operation == "UpsertBucket":
        assert json.loads(talk.server.upserts[-1]["config"])["x"] == {"value": 2}
    elif operation == "NotifyScriptableRunAlert":
        assert talk.server.alerts == ["alert 2"]
    else:
        assert talk.server.puts.count("a") == 1


def test_what_was_given_up_and_then_arrives_is_no_loss() -> None:
    """A config that the server would not have for long goes with the next change, or with the end."""
    talk = begun("UpsertBucket", HttpAnswer(403), times=4, doubts=3, upload_tries=4)
    talk.deliver(changed(2))
    notices = [notice for outcome in run_on(talk, 3, 6) for notice in outcome.notices]
    assert len(notices) == 1

    assert isinstance(end(talk), Delivered)
    assert json.loads(talk.server.upserts[-1]["config"])["x"] == {"value": 2}


def test_a_lane_rests_after_a_failure() -> None:
    """It doubles its rests where it is busy, and keeps to one where people have to mend something."""
    talk = begun("NotifyScriptableRunAlert", HttpAnswer(500), upload_tries=100)
    talk.deliver(alert(2))
    run_on(talk, 3, 200, every_s=1.0)
    # After 0, 1, 3, 7, 15, 31, 63, 123 and 183 s.
    assert talk.operations.count("NotifyScriptableRunAlert") == 9

    talk = begun("NotifyScriptableRunAlert", HttpAnswer(403), upload_tries=100)
    talk.deliver(alert(2))
    run_on(talk, 3, 60, every_s=1.0)
    assert talk.operations.count("NotifyScriptableRunAlert") == 5  # after 0, 15, 30, 45 and 60 s


@pytest.mark.parametrize("operation", BESIDE)
def test_a_lane_fails_once_in_a_call(operation: str) -> None:
    """Also where no rest is wanted, so that each call ends soon."""
    talk = begun(operation, HttpAnswer(403), slow_s=0.0, upload_tries=9)
    talk.deliver(BESIDE[operation], files=FILES)
    for count in range(1, 4):
        assert talk.operations.count(operation) == count
        talk.deliver(*rows_from(2 + count, 1, step=count))


def test_retry_after_delays_the_lane_that_was_told() -> None:
    """Uploads wait as long as their store asks; rows, alerts and changes do not."""
    talk = begun("upload of a", HttpAnswer(503, {"retry-after": "40"}), times=1)
    talk.deliver(saved(2), alert(3), files=FILES)
    run_on(talk, 4, 39, every_s=1.0)
    assert talk.operations.count("upload of a") == 1
    assert talk.server.alerts == ["alert 3"]
    talk.now += 1.0
    talk.deliver(*rows_from(100, 1, step=99))
    assert talk.server.puts.count("a") == 1


def test_a_clock_that_is_set_back_does_not_stop_a_lane() -> None:
    """A rest has an end, whatever the clock says."""
    talk = begun("NotifyScriptableRunAlert", HttpAnswer(403), times=1)
    talk.now = 1e9
    talk.deliver(alert(2))
    talk.now = 0.0
    talk.deliver(*rows_from(3, 1))
    assert talk.server.alerts == ["alert 2"]


def test_where_nothing_reaches_the_server_nothing_is_counted() -> None:
    """After an outage of the whole server everything arrives, however long it took."""
    talk = Talk(doubts=2, upload_tries=2).begun()
    down = HttpFailure("unreachable", "no connection")
    talk.wrong |= {operation: [down] * EVER for operation in ("file_stream", *BESIDE)}
    batch = (alert(2), changed(3), saved(4), *rows_from(5, 1))
    for _ in range(50):
        talk.now += 60.0
        assert isinstance(talk.deliver(*batch, files=FILES), Retry)
    talk.wrong.clear()
    assert isinstance(talk.deliver(*batch, files=FILES), Delivered)
    assert talk.server.alerts == ["alert 2"]

    # Down again, between the rows and the rest.
    talk.wrong |= {operation: [down] * EVER for operation in BESIDE}
    talk.deliver(alert(6), *rows_from(7, 1, step=1))
    talk.wrong["file_stream"] = [down] * EVER
    for _ in range(50):
        talk.now += 60.0
        assert isinstance(talk.talk(alive=True), Retry)
    talk.wrong.clear()
    talk.now += 60.0
    assert talk.talk(alive=True) is None
    assert talk.server.alerts == ["alert 2", "alert 6"]


def test_a_lane_that_failed_waits_until_the_stream_gets_through() -> None:
    """Where no rows wait, an empty push asks first."""
    talk = begun("NotifyScriptableRunAlert", HttpAnswer(403), times=1)
    talk.deliver(alert(2))
    talk.now += 20.0
    talk.operations.clear()
    assert talk.talk() is None
    assert talk.operations == ["file_stream", "NotifyScriptableRunAlert"]
    assert talk.server.pushes[-1].keys() <= {"uploaded"}


def test_a_stream_that_refuses_an_empty_push_does_not_stop_the_end() -> None:
    """An answer is an answer: it always ends."""
    talk = begun("NotifyScriptableRunAlert", HttpAnswer(403), upload_tries=3)
    talk.deliver(alert(2))
    talk.wrong["file_stream"] = [HttpAnswer(400)] * EVER
    outcome = end(talk)

    assert outcome.seqs == (END.seq,)
    assert "file_stream" in outcome.reason
    (loss,) = outcome.late
    assert "NotifyScriptableRunAlert" in loss.reason


def test_all_alerts_that_wait_go_out() -> None:
    """In their order; and all of them after an outage."""
    talk = Talk().begun()
    talk.deliver(alert(2), alert(3))
    talk.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(503)]
    talk.deliver(alert(4), alert(5))
    assert talk.server.alerts == ["alert 2", "alert 3"]
    talk.now += 1.0
    talk.deliver(*rows_from(6, 1))

    assert talk.server.alerts == ["alert 2", "alert 3", "alert 4", "alert 5"]


def test_alerts_behind_one_that_was_given_up_have_one_attempt_each() -> None:
    """A server without alerts does not keep the run from its end."""
    talk = begun("NotifyScriptableRunAlert", HttpAnswer(404), doubts=3)
    outcome = talk.deliver(*(alert(seq) for seq in range(2, 12)))
    assert isinstance(outcome, Delivered)
    end(talk)
    assert talk.operations.count("NotifyScriptableRunAlert") == 3 + 9


# -------------------------------------------------------------------------------------------------------- how long


def test_uploads_return_to_the_core_between_files() -> None:
    """Once a call has had its time, the files that are left go with the next ones, and rows in between."""
    talk = Talk().begun()
    paths = [f"f{number}" for number in range(6)]
    batch = batch_of(*(saved(2 + number, path) for number, path in enumerate(paths)))
    talk.protocol.begin_call(0.0, lanes_until=15.0)
    talk.protocol.take(batch)
    talk.protocol.looked_at({path: FileState(f"/f/{path}", 1, 1) for path in paths})
    now, names = 0.0, []
    while (request := talk.protocol.next_request(now)) is not None:
        names.append(request.operation)
        now += 6.0 * request.operation.startswith("upload")  # a file takes six seconds
        talk.protocol.answered(talk.server.handle(request), now)
    assert names == ["CreateRunFiles", "upload of f0", "upload of f1", "upload of f2"]
    assert isinstance(talk.protocol.outcome(batch), Delivered)
    assert talk.protocol.saved is not None
    assert talk.protocol.saved.owed.files == ("f3", "f4", "f5")

    talk.operations.clear()
    talk.deliver(*rows_from(20, 1))
    assert talk.operations == ["file_stream", "upload of f3", "upload of f4", "upload of f5"]


def test_where_rows_take_all_the_time_lanes_have_their_turn() -> None:
    """One request a call, of the lane that has waited longest."""
    talk = Talk().begun()
    names: list[str] = []
    for number in range(6):
        batch = batch_of(
            alert(10 * number + 2), saved(10 * number + 3, "ab"[number % 2]), changed(10 * number + 4)
        )
        talk.protocol.begin_call(100.0 * number, lanes_until=100.0 * number + 15.0)
        talk.protocol.take(batch)
        talk.protocol.looked_at({name: FILES[name] for name in talk.protocol.to_look_at() if name in FILES})
        while (request := talk.protocol.next_request(100.0 * number + 50.0)) is not None:
            names.append(request.operation)
            talk.protocol.answered(talk.server.handle(request), 100.0 * number + 50.0)
        assert isinstance(talk.protocol.outcome(batch), Delivered)

    assert len(names) == 6
    assert set(names) >= {"UpsertBucket", "NotifyScriptableRunAlert", "CreateRunFiles", "upload of a"}


def test_behind_the_end_there_is_time() -> None:
    """No rows wait any more, so all goes in one call."""
    talk = Talk().begun()
    talk.protocol.begin_call(0.0, lanes_until=0.0)
    talk.protocol.take(batch_of(saved(2), saved(3, "b"), END))
    talk.protocol.looked_at(FILES)
    while (request := talk.protocol.next_request(1000.0)) is not None:
        talk.protocol.answered(talk.server.handle(request), 1000.0)
    assert talk.server.complete == 0
    assert {"a", "b"} <= set(talk.server.files)


def test_the_end_hurries_what_rests_by_its_own_caution() -> None:
    """Somebody waits; what a store asked for stands."""
    for headers, count in (({}, 2), ({"retry-after": "600"}, 1)):
        talk = begun("NotifyScriptableRunAlert", HttpAnswer(503, headers), upload_tries=100)
        talk.deliver(alert(2))
        outcome = talk.deliver(END)
        assert isinstance(outcome, Retry)
        assert "NotifyScriptableRunAlert" in outcome.reason
        assert talk.operations.count("NotifyScriptableRunAlert") == count
        assert talk.server.complete is None


def test_a_request_that_cannot_go_now_is_put_off() -> None:
    """A pace that the server asks for ends the lanes of a call, and the call only where rows or the end wait."""
    talk = Talk().begun()
    talk.protocol.begin_call(0.0, lanes_until=15.0)
    talk.protocol.take(batch_of(alert(2)))
    assert talk.protocol.next_request(0.0) is not None
    assert not talk.protocol.put_off()
    assert isinstance(talk.protocol.outcome(batch_of(alert(2))), Delivered)

    talk.protocol.begin_call(0.0, lanes_until=15.0)
    talk.protocol.take(batch_of(*rows_from(3, 1)))
    request = talk.protocol.next_request(0.0)
    assert request is not None
    assert request.operation == "file_stream"
    assert talk.protocol.put_off()
    talk.talk()
    assert talk.server.alerts == ["alert 2"]


def test_a_call_that_was_cut_off_begins_anew() -> None:
    """An exception on the way leaves nothing in front of the rows."""
    talk = Talk().begun()
    talk.protocol.begin_call(0.0, lanes_until=15.0)
    talk.protocol.take(batch_of(alert(2)))
    assert talk.protocol.next_request(0.0) is not None
    talk.operations.clear()
    talk.deliver(*rows_from(3, 1))
    assert talk.operations[:2] == ["file_stream", "NotifyScriptableRunAlert"]


def test_a_run_that_opens_again_does_not_wait_for_its_description() -> None:
    """The change goes first, once; then the late rows go, and the end waits for both."""
    talk = Talk(upload_tries=3).begun()
    talk.deliver(*rows_from(2, 1), END)
    talk.wrong["UpsertBucket"] = [HttpAnswer(403)] * EVER
    talk.operations.clear()
    late = Row(seq=1, time=TIME, step=None, data={"late": 1})
    outcome = talk.deliver(late, writer="w2", primary=False)
    assert talk.operations[:2] == ["UpsertBucket", "file_stream"]
    assert len(talk.server.rows) == 2
    while isinstance(outcome, Retry):
        talk.now += 15.0
        outcome = talk.deliver(late, writer="w2", primary=False)
    assert isinstance(outcome, Delivered)
    assert len(outcome.notices) == 1


# ------------------------------------------------------------------------------------------------- another process


def test_what_is_owed_outlives_the_process() -> None:
    """Alerts, files and the description that batches asked for, which were answered, are sent by the next process."""
    talk = Talk().begun()
    for operation in BESIDE:
        talk.wrong[operation] = [HttpAnswer(503)] * EVER
    records = (alert(2), saved(3), saved(4, "gone"), changed(5), alert(6))
    found = {**FILES, "gone": FileState("/f/gone", 1, 1)}
    assert isinstance(talk.deliver(*records, files=found), Delivered)
    talk.wrong.clear()
    new = taken_up(talk, start_record(), *records)
    outcome = new.deliver(*rows_from(7, 1), files=FILES)

    assert isinstance(outcome, Delivered)
    assert outcome.notices == ("Something was not delivered: gone: No such file",)
    assert talk.server.alerts == ["alert 2", "alert 6"]
    assert talk.server.puts.count("a") == 1
    assert json.loads(talk.server.upserts[-1]["config"])["x"] == {"value": 5}
    assert end(new).late == (LateLoss("w1", saved(4, "gone"), "gone: No such file"),)


def test_a_description_that_is_owed_is_told_whatever_else_is_new() -> None:
    """A new process knows that the server was not told of the last change."""
    talk = Talk().begun()
    talk.wrong["UpsertBucket"] = [HttpAnswer(503)] * EVER
    assert isinstance(talk.deliver(changed(2), header=False), Delivered)
    talk.wrong.clear()
    new = taken_up(talk)
    new.protocol.rebuild(batch_of(start_record(), changed(2), header=False))
    new.deliver(*rows_from(3, 1), header=False)

    assert json.loads(talk.server.upserts[-1]["config"])["x"] == {"value": 2}


def test_what_was_sent_is_not_owed() -> None:
    """A new process sends nothing again of what arrived before the last answer."""
    talk = Talk().begun()
    records = (alert(2), saved(3), changed(5))
    talk.deliver(*records, files=FILES)
    new = taken_up(talk, start_record(), *records)
    new.deliver(*rows_from(7, 1), files=FILES)

    assert talk.server.alerts == ["alert 2"]
    assert talk.server.puts.count("a") == 1
    assert "UpsertBucket" not in new.operations


def test_a_loss_outlives_the_process() -> None:
    """What was given up before the restart is tried once more at the end, and else refused with its own record."""
    talk = begun("upload of a", HttpAnswer(403), upload_tries=2, doubts=1)
    talk.deliver(saved(2), files=FILES)
    run_on(talk, 3, 3)
    talk.wrong.clear()
    new = taken_up(talk, start_record(), saved(2), *rows_from(3, 3))
    new.now = talk.now
    assert talk.protocol.saved is not None
    ((reason, names),) = talk.protocol.saved.owed.losses
    assert names == ("a",)
    assert reason == "a was not uploaded: upload of a at up: HTTP 403"
    outcome = new.deliver(END)
    assert outcome.late == (LateLoss("w1", saved(2), "a: No such file"),)


# ------------------------------------------------------------------------------------------------- what is refused


def test_each_refused_record_has_its_own_reason() -> None:
    """A dead letter says why that record was refused, and not why another one was."""
    talk = Talk().begun()
    talk.wrong["UpsertBucket"] = [HttpAnswer(400)]
    talk.wrong["NotifyScriptableRunAlert"] = [graphql({"notifyScriptableRunAlert": {"success": False}})]
    outcome = talk.deliver(saved(2, "missing"), changed(3), alert(4), *rows_from(5, 1))

    assert outcome.seqs == (4,)
    assert outcome.reason == "api.example.com did not take the alert"
    talk.wrong["UpsertBucket"] = [HttpAnswer(400)]
    outcome = talk.deliver(END)
    assert isinstance(outcome, Delivered)
    assert {loss.record.seq: loss.reason for loss in outcome.late} == {
        2: "missing: No such file",
        3: "UpsertBucket at api.example.com: HTTP 400",
    }


def lost(*records: Record, ended: bool = True) -> tuple[Talk, Talk]:
    """Return a run of which these records were refused, and another process that goes on with it."""
    talk = Talk(upload_tries=1, doubts=1).begun()
    for operation in BESIDE:
        talk.wrong[operation] = [HttpAnswer(400)] * EVER
    del talk.wrong["UpsertBucket"]
    talk.wrong["upload of a"] = [HttpAnswer(413)] * EVER
    talk.wrong.pop("CreateRunFiles")
    outcomes = [talk.deliver(*records, files=FILES)]
    outcomes += [talk.deliver(END, files=FILES)] if ended else []
    refused = {loss.record.seq for outcome in outcomes for loss in outcome.late}
    refused |= {seq for outcome in outcomes if isinstance(outcome, Rejected) for seq in outcome.seqs}
    assert refused == {record.seq for record in records} or not ended
    assert END.seq not in refused
    new = taken_up(talk, start_record(), *records, *((END,) if ended else ()))
    return talk, new


def test_what_was_refused_for_good_is_sent_after_all() -> None:
    """Files as they are now and alerts, once; then the end is said again, behind an upsert, with what arrived."""
    records = (alert(2), saved(3))
    talk, new = lost(*records)
    talk.server.puts.clear()
    new.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(503)]
    retry = new.redeliver(*records, files=FILES)
    assert isinstance(retry, Retry)
    new.now += retry.after or 0.0
    assert new.redeliver(*records, files=FILES) == Delivered(remote=REMOTE)

    assert talk.server.alerts == ["alert 2"]
    assert talk.server.puts.count("a") == 1
    assert new.operations[0] == "UpsertBucket"
    assert new.operations[-1] == "file_stream"
    assert talk.server.pushes[-1]["complete"] is True
    assert any("a" in push.get("uploaded", ()) for push in talk.server.pushes)
    assert new.protocol.saved is not None
    assert new.protocol.saved.complete


def test_what_is_refused_again_stays_refused() -> None:
    """With its own record; a file that is not there any more is one, and the end is said all the same."""
    records = (alert(2), saved(3))
    talk, new = lost(*records)
    new.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(400)]
    outcome = new.redeliver(*records)

    assert isinstance(outcome, Rejected)
    assert {seq: outcome.reasons.get(seq, outcome.reason) for seq in outcome.seqs} == {
        2: "NotifyScriptableRunAlert at api.example.com: HTTP 400",
        3: "a: No such file",
    }
    assert outcome.late == ()
    assert talk.server.complete == 0
    assert new.redeliver(*records, files=FILES) == Delivered(remote=REMOTE)


def test_an_alert_alone_leaves_a_complete_run_as_it_is() -> None:
    """It waits for no file, for it would be sent once more; and no push makes the run one that goes on."""
    talk, new = lost(alert(2), saved(3))
    new.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(503)]
    retry = new.redeliver(alert(2))
    assert isinstance(retry, Retry)
    new.now += retry.after or 0.0
    assert new.redeliver(alert(2)) == Delivered(remote=REMOTE)

    assert talk.server.alerts == ["alert 2"]
    assert set(new.operations) == {"NotifyScriptableRunAlert"}
    assert new.protocol.saved is not None
    assert new.protocol.saved.complete


def test_a_run_that_goes_on_gets_what_was_refused_without_an_end() -> None:
    """It is not said to be complete, and its next rows go on where they were."""
    talk, new = lost(alert(2), ended=False)
    new.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(503)]
    retry = new.redeliver(alert(2))
    assert isinstance(retry, Retry)
    new.now += retry.after or 0.0
    assert isinstance(new.redeliver(alert(2), alert(5)), Delivered)
    assert talk.server.alerts == ["alert 2", "alert 5"]
    assert talk.server.complete is None
    new.deliver(*rows_from(3, 1))
    assert len(talk.server.rows) == 1


def test_rows_between_two_attempts_to_send_something_again() -> None:
    """They are answered, and what the next attempt leads to counts with its own record, once."""
    talk, new = lost(alert(2), ended=False)
    new.wrong["NotifyScriptableRunAlert"] = [HttpAnswer(503), HttpAnswer(400)]
    assert isinstance(new.redeliver(alert(2)), Retry)
    assert new.deliver(*rows_from(3, 1)) == Delivered(remote=REMOTE)
    assert not new.protocol.is_waiting_for_uploads
    new.now += 60.0
    assert new.deliver(*rows_from(4, 1, step=1)) == Delivered(remote=REMOTE)
    outcome = new.redeliver(alert(2))

    assert isinstance(outcome, Rejected)
    assert (outcome.seqs, outcome.late) == ((2,), ())
    assert len(talk.server.rows) == 2


def test_files_that_are_sent_aside() -> None:
    """Everything else goes on, but for files and `complete`; and a call that is cut off forgets none of them."""
    talk = Talk().begun()
    protocol = talk.protocol

    def on_to(operation: str) -> HttpRequest:
        """Go on until such a request is to be sent."""
        while (request := protocol.next_request(0.0)) is not None and request.operation != operation:
            assert protocol.answered(talk.server.handle(request), 0.0) is None
        assert request is not None
        return request

    protocol.begin_call(0.0, lanes_until=math.inf)
    protocol.take(batch_of(saved(2), saved(3, "b"), alert(4), *rows_from(5, 1)))
    protocol.looked_at({name: FILES.get(name, "none") for name in protocol.to_look_at()})
    on_to("upload of a")
    first, second = protocol.send_aside()
    assert (first.operation, second.operation) == ("upload of a", "upload of b")
    protocol.take(batch_of(alert(6), saved(7, "c"), END))
    protocol.looked_at({"c": FileState("/f/c", 1, 1)})
    on_to("NotifyScriptableRunAlert")
    protocol.begin_call(0.0, lanes_until=math.inf)  # the alert was not answered
    while (request := protocol.next_request(0.0)) is not None:
        assert request.operation not in ("CreateRunFiles", "upload of c")
        assert protocol.answered(talk.server.handle(request), 0.0) is None
    assert talk.server.alerts == ["alert 4", "alert 6"]
    assert protocol.is_waiting_for_uploads

    protocol.answered_aside(first, talk.server.handle(first), 0.0)
    protocol.stopped_aside()  # the second was not sent
    while (request := protocol.next_request(0.0)) is not None:
        assert protocol.answered(talk.server.handle(request), 0.0) is None
    assert talk.server.puts.count("a") == 1
    assert {"a", "b", "c"} <= set(talk.server.files)
    assert talk.server.complete == 0
    assert not protocol.is_waiting_for_uploads


def test_one_line_tells_of_an_outage_of_uploads() -> None:
    """However many files it costs."""
    talk = Talk(upload_tries=2, doubts=1).begun()
    paths = [f"f{number}" for number in range(20)]
    for path in paths:
        talk.wrong[f"upload of {path}"] = [HttpAnswer(403)] * EVER
    found = {path: FileState(f"/f/{path}", 1, 1) for path in paths}
    talk.deliver(*(saved(2 + number, path) for number, path in enumerate(paths)), files=found)
    notices = [notice for outcome in run_on(talk, 30, 5) for notice in outcome.notices]

    assert notices == [
        "Something was not delivered: 20 files were not uploaded: upload of f0 at up: HTTP 403"
    ]


def test_a_file_that_became_shorter_is_sent_as_it_is() -> None:
    """A log that was rotated while it was sent is no loss."""
    talk = begun("upload of a", HttpFailure("unusable", "it became shorter while it was sent"), times=1)
    talk.deliver(saved(2, policy="live"), files={"a": FileState("/f/a", 9, 1)})
    talk.operations.clear()
    assert talk.talk() is None  # nobody has looked at it yet
    assert talk.operations == []
    talk.deliver(*rows_from(3, 1), files={"a": FileState("/f/a", 4, 2)})

    assert talk.server.puts == ["wandb-metadata.json", "a"]
    assert isinstance(end(talk), Delivered)


def test_files_that_are_gone_cost_no_wait() -> None:
    """Checkpoints that were deleted before their turn came: the others go at once, and the next look refuses them."""
    gone = [f"f{number}" for number in range(20)]
    talk = Talk().begun()
    for name in gone:
        talk.wrong[f"upload of {name}"] = [HttpFailure("unusable", "the file cannot be read: No such file")]
    records = [saved(2 + number, name) for number, name in enumerate([*gone, "kept"])]
    talk.deliver(*records, files={name: FileState(f"/f/{name}", 1, 1) for name in [*gone, "kept"]})
    assert "kept" in talk.server.puts
    missing: dict[str, FileState | str] = dict.fromkeys(gone, "No such file")
    talk.deliver(*rows_from(40, 1), files=missing)
    outcome = end(talk)

    assert isinstance(outcome, Delivered)
    assert len(outcome.late) == len(gone)


def test_a_summary_that_the_server_finds_too_large_goes_without_its_largest_keys() -> None:
    """One record is refused, one line is told, and the rest of the summary is there after each push."""
    talk = Talk().begun()
    talk.server.most_body = 2000
    big = SummaryChange(seq=2, time=TIME, update={"big": "z" * 3000}, remove=())
    fine = SummaryChange(seq=3, time=TIME, update={"fine": 1}, remove=())
    outcome = talk.deliver(big, fine)
    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (2,)
    assert outcome.reason == "the summary is larger than the server takes, so it goes without big"
    outcomes = [talk.deliver(*rows_from(10 + number, 1, step=number)) for number in range(12)]

    assert all(isinstance(one, Delivered) for one in outcomes)
    assert sum(len(one.notices) for one in outcomes) == 0
    summary = json.loads(talk.server.lines[SUMMARY][0])
    assert (summary["fine"], summary["_step"], "big" in summary) == (1, 11, False)


def test_a_summary_of_which_nothing_is_taken_is_told_once() -> None:
    """Where even an empty one is too large there is nothing to leave out, and the run goes on."""
    talk = Talk().begun()
    talk.server.most_body = 60
    talk.deliver(*rows_from(2, 1))
    notices: list[str] = []
    for number in range(5):
        outcome = talk.deliver(SummaryChange(seq=10 + number, time=TIME, update={"a": number}, remove=()))
        assert isinstance(outcome, Rejected)
        notices += outcome.notices
    assert len(notices) <= 1


def test_a_summary_that_is_too_large_for_any_push_is_told_once() -> None:
    """It goes without the keys that are to blame, push after push, and nobody hears it again."""
    talk = Talk(limits=Talk().protocol._settings.limits._replace(line_bytes=500)).begun()
    outcome = talk.deliver(SummaryChange(seq=2, time=TIME, update={"big": "z" * 600, "fine": 1}, remove=()))
    assert outcome.seqs == (2,)
    notices: list[str] = []
    for number in range(12):
        outcome = talk.deliver(*(Row(seq=10 + number, time=TIME, step=number, data={"a": 10**number}),))
        assert isinstance(outcome, Delivered)
        notices += outcome.notices
    assert notices == []
    assert json.loads(talk.server.lines[SUMMARY][0])["a"] == 10**11
