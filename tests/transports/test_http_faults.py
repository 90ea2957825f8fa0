"""Faults on real sockets cost time and no row: after each, the server holds every row once, in order, and the end.

The delivery machine is stood in for by a loop that repeats a batch as long as the answer is `Retry`.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from attrs import evolve

from corelib.errors import AuthenticationError, UsageError
from corelib.ports import (
    Absent,
    Address,
    Batch,
    Created,
    Delivered,
    LookupFailed,
    Outcome,
    Rejected,
    Retry,
    RunRef,
    Started,
    Unreadable,
)
from corelib.pure.records import Alert, Exit, FileSaved, Record, Row
from corelib.testing.specimens import TIME, header_of, rows_from, start_record
from tests.couriers import eventually
from tests.servers.black_hole import black_hole
from tests.servers.document import OMIT
from tests.servers.faults import (
    Fault,
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
    truncated,
)
from tests.servers.fixtures import wandb_server
from tests.servers.seeding import MALFORMED_ANSWERS, UNSTARTED_ANSWERS
from tests.servers.wandb_server import KEY, WandbServer, serve
from transports.http import HttpOptions, HttpTransport, World
from transports.http_session import Timeouts
from transports.wandb_stream import HISTORY

__all__ = ["wandb_server"]

OPTIONS = HttpOptions(slow_s=0.0, doubts=3, upload_tries=3, timeouts=Timeouts(connect_s=1.0, read_s=0.5))
_numbers = itertools.count()


@pytest.fixture
def run(tmp_path: Path) -> RunRef:
    (tmp_path / "files").mkdir()
    return RunRef(run_id=f"r{next(_numbers)}", project="p", directory=str(tmp_path))


def inline(work: Callable[[], None]) -> None:
    """Send files at once, so that it is known when they are there."""
    work()


@pytest.fixture
def transport(wandb_server: WandbServer) -> Iterator[HttpTransport]:
    made = HttpTransport(wandb_server.url, wandb_server.key, options=OPTIONS, world=World(start=inline))
    yield made
    made.close()


def batch_of(run: RunRef, records: Sequence[Record], writer: str = "w1") -> Batch:
    header = header_of(run, writer, primary=writer == "w1")
    return Batch(run=run, writer=writer, header=header, records=tuple(records))


def insist(call: Callable[[], Outcome], most: int = 60) -> tuple[Outcome, list[str]]:
    """Call until the answer is for good; return it with the reasons of all `Retry` before it."""
    reasons: list[str] = []
    for _ in range(most):
        outcome = call()
        if not isinstance(outcome, Retry):
            return outcome, reasons
        reasons.append(outcome.reason)
    raise AssertionError(f"never answered for good: {reasons[-3:]}")


def carry(transport: HttpTransport, run: RunRef, rows: Sequence[Row], **start: Any) -> list[str]:
    """Deliver a whole run, in batches of 20 rows; return the reasons of all retries."""
    begun = start_record(**start)
    opened, reasons = insist(lambda: transport.open(run, begun))
    assert isinstance(opened, Delivered), opened
    end = Exit(seq=len(rows) + 2, time=TIME + 999, exit_code=3, runtime=9.0)
    records = [begun, *rows, end]
    for at in range(0, len(records), 20):
        batch = batch_of(run, records[at : at + 20])
        outcome, more = insist(partial(transport.deliver, batch))
        assert isinstance(outcome, Delivered), outcome
        reasons += more
    return reasons


def check(server: WandbServer, run: RunRef, rows: Sequence[Row]) -> None:
    """Check that the server holds exactly these rows, and that the run is complete."""
    held = server.run(run.run_id)
    assert held.missing() == []
    assert [(row["_step"], row["loss"]) for row in held.rows] == [
        (row.step, row.data["loss"]) for row in rows
    ]
    assert (held.complete, held.exit_code) == (True, 3)
    assert held.summary["_step"] == rows[-1].step
    assert {"config.yaml", "wandb-summary.json", "wandb-metadata.json"} <= set(held.files)
    assert held.started


SCRIPTS: dict[str, list[Fault | None]] = {
    "busy": [answer(503)] * 3,
    "storms": [answer(429, retry_after=0)] * 8,
    "broken": [answer(500), None] * 10,
    "lost requests": [drop_before(), None] * 10,
    "lost answers": [drop_after(), None] * 10,
    "lost answers, again and again": [drop_after()] * 5,
    "half answers": [truncated(3), None, truncated(0)] * 5,
    "late answers": [delay(after=0.7)],
    "late requests": [delay(before=0.7)],
    "silence": [hold(carried_out=True)],
    "carried out and denied": [answer(500, carried_out=True), None] * 5,
    "rejected keys": [answer(401)] * 6,
    "no permission": [answer(403)] * 6,
    "redirects": [redirect("https://elsewhere.example.com/login", status=302)] * 6,
    "gone for a moment": [answer(404)] * 2,
    "conflicts": [answer(409)] * 2,
    "closing": [close_connection()] * 20,
    "too early": [answer(425)],
    "weather": [drop_after(), answer(502), truncated(1), None, answer(401), drop_before(), answer(409), None]
    * 4,
}


@pytest.mark.parametrize("endpoint", ["file_stream", "graphql", "upload", None])
@pytest.mark.parametrize("script", SCRIPTS)
def test_no_row_is_lost_or_doubled(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, script: str, endpoint: Any
) -> None:
    """Whatever goes wrong with pushes, questions or uploads, or all of them, the run arrives whole."""
    if endpoint == "graphql" and script in ("gone for a moment", "conflicts", "weather"):
        pytest.skip("upserts after the opening may be refused then, which is another law")
    transport = HttpTransport(transport.base_url, KEY, options=evolve(OPTIONS, upload_tries=12))
    wandb_server.faults.add(SCRIPTS[script], endpoint=endpoint)
    rows = rows_from(2, 100)
    carry(transport, run, rows)

    check(wandb_server, run, rows)


def test_lost_answers_repeat_the_same_bytes(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """A push that was applied is sent again as it was."""
    wandb_server.faults.add([drop_after()] * 3, endpoint="file_stream")
    carry(transport, run, rows_from(2, 10))
    pushes = wandb_server.run(run.run_id).pushes

    assert len({push.digest for push in pushes[:4]}) == 1


def test_a_server_that_goes_down_and_comes_back(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """While nobody listens every delivery is `Retry`, and nothing is missing afterwards."""
    rows = rows_from(2, 40)
    assert isinstance(transport.open(run, start_record()), Delivered)
    assert isinstance(transport.deliver(batch_of(run, [start_record(), *rows[:20]])), Delivered)
    wandb_server.stop_listening()
    batch = batch_of(run, rows[20:])
    outcome = transport.deliver(batch)
    assert isinstance(outcome, Retry)
    assert "connection refused" in outcome.reason
    wandb_server.resume_listening()
    assert isinstance(insist(lambda: transport.deliver(batch))[0], Delivered)

    assert wandb_server.run(run.run_id).steps == list(range(40))


def test_a_key_that_is_revoked_and_restored(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """A key that becomes invalid for a while costs no row."""
    rows = rows_from(2, 10)
    assert isinstance(transport.open(run, start_record()), Delivered)
    wandb_server.set_keys()
    batch = batch_of(run, [start_record(), *rows])
    for _ in range(10):
        outcome = transport.deliver(batch)
        assert isinstance(outcome, Retry)
        assert "HTTP 401" in outcome.reason
    wandb_server.set_keys(KEY)
    assert isinstance(transport.deliver(batch), Delivered)

    assert wandb_server.run(run.run_id).steps == list(range(10))


def test_a_run_that_was_deleted(wandb_server: WandbServer, transport: HttpTransport, run: RunRef) -> None:
    """Its rows are refused with the reason after some tries, and the run does not rise again."""
    assert isinstance(transport.open(run, start_record()), Delivered)
    assert isinstance(transport.deliver(batch_of(run, [start_record(), *rows_from(2, 3)])), Delivered)
    wandb_server.delete(run.run_id)
    outcome, reasons = insist(lambda: transport.deliver(batch_of(run, rows_from(5, 3, step=3))))

    assert isinstance(outcome, Rejected)
    assert outcome.seqs == (5, 6, 7)
    assert "HTTP 404" in outcome.reason
    assert len(reasons) == OPTIONS.doubts - 1
    assert wandb_server.runs == []


def test_bodies_that_are_too_large_are_split(run: RunRef) -> None:
    """A server that takes little at a time gets everything, but for what is too large by itself."""
    with serve(max_body_bytes=3000) as server:
        transport = HttpTransport(server.url, server.key, options=OPTIONS)
        rows = rows_from(2, 100)
        carry(transport, run, rows)
        check(server, run, rows)
        assert all(push.size <= 3000 for push in server.run(run.run_id).pushes)
        server.assert_clean()


def test_a_proxy_that_cuts_large_bodies_off(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """An answer that comes before the body was read costs some attempts, and no row."""
    assert isinstance(transport.open(run, start_record()), Delivered)
    wandb_server.faults.add(answer(413, unread=True), endpoint="file_stream", times=2)
    rows = [Row(seq=seq, time=TIME, step=seq - 2, data={"x": "x" * 200_000}) for seq in range(2, 12)]
    outcome, _ = insist(lambda: transport.deliver(batch_of(run, [start_record(), *rows])))

    assert isinstance(outcome, Delivered)
    assert wandb_server.run(run.run_id).steps == list(range(10))


def test_a_pace_is_obeyed(wandb_server: WandbServer, run: RunRef) -> None:
    """When nothing remains of the allowed rate, the next request waits: here if it is soon, in the core if not."""
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    world = World(clock=lambda: now[0], sleep=sleep, start=inline)
    transport = HttpTransport(wandb_server.url, wandb_server.key, options=OPTIONS, world=world)
    wandb_server.faults.add(
        [Fault(headers={"RateLimit-Remaining": "0", "RateLimit-Reset": reset}) for reset in ("0.5", "0", "7")]
    )
    assert isinstance(transport.open(run, start_record()), Delivered)
    assert slept == [0.5]
    # What goes beside the rows is left for later, and so are rows that come too soon.
    assert isinstance(transport.deliver(batch_of(run, [start_record(), *rows_from(2, 2)])), Delivered)
    assert wandb_server.run(run.run_id).files == {}
    batch = batch_of(run, rows_from(4, 2, step=2))
    outcome = transport.deliver(batch)
    assert isinstance(outcome, Retry)
    assert outcome.after == 7.0
    assert "slower pace" in outcome.reason
    now[0] += 7.0
    assert isinstance(transport.deliver(batch), Delivered)
    assert set(wandb_server.run(run.run_id).files) == {"wandb-metadata.json"}


def test_the_server_s_words_reach_the_user(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """A reason names operation, host and what the server said, and how long it asks to wait."""
    wandb_server.faults.add(answer(503, retry_after=7, body={"error": "upgrading"}), times=1)
    outcome = transport.open(run, start_record())
    host = wandb_server.url.removeprefix("http://")

    assert outcome == Retry(reason=f"UpsertBucket at {host}: HTTP 503 (upgrading)", after=7.0)


# ---------------------------------------------------------------------------------------------------- files and alerts


def test_files_of_the_user_arrive(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, tmp_path: Path
) -> None:
    """Saved files arrive by their policy, a live one as it was last; a missing one is refused at the end, by name."""
    files = tmp_path / "files"
    for name in ("now", "live", "end"):
        (files / name).write_bytes(name.encode())
    (files / "empty").touch()
    saved = [
        FileSaved(seq=2 + number, time=TIME, path=path, policy=policy)
        for number, (path, policy) in enumerate(
            [("now", "now"), ("live", "live"), ("end", "end"), ("missing", "now"), ("empty", "now")]
        )
    ]
    transport.open(run, start_record())
    outcome = transport.deliver(batch_of(run, [start_record(), *saved]))
    assert isinstance(outcome, Delivered)
    assert outcome.notices == ("Something was not delivered: missing: No such file or directory",)
    assert set(wandb_server.run(run.run_id).files) == {"now", "live", "empty", "wandb-metadata.json"}
    (files / "live").write_bytes(b"changed since")
    assert isinstance(transport.heartbeat(run), Delivered)
    assert wandb_server.run(run.run_id).files["live"] == b"changed since"
    (files / "end").write_bytes(b"at the end")
    outcome = transport.deliver(batch_of(run, [Exit(seq=9, time=TIME, exit_code=0, runtime=1.0)]))
    held = wandb_server.run(run.run_id)

    assert isinstance(outcome, Delivered)
    assert [loss.record for loss in outcome.late] == [saved[3]]
    assert held.files["end"] == b"at the end"
    assert held.files["empty"] == b""
    assert held.puts.count("now") == 1
    assert set(held.files) >= {"now", "live", "end", "empty", "config.yaml"}


def test_a_dead_store_holds_no_row_up(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, tmp_path: Path
) -> None:
    """Rows arrive at once, the files are given up after some tries, and the end comes all the same, and says so."""
    (tmp_path / "files" / "a").write_bytes(b"a")
    wandb_server.stop_uploads()
    transport.open(run, start_record())
    saved = FileSaved(seq=2, time=TIME, path="a", policy="now")
    for number in range(10):
        records = [start_record(), saved] if number == 0 else rows_from(2 + number, 1, step=number - 1)
        assert isinstance(transport.deliver(batch_of(run, records)), Delivered)
        assert wandb_server.run(run.run_id).steps == list(range(number))
    end = Exit(seq=20, time=TIME, exit_code=3, runtime=1.0)
    outcome, _ = insist(lambda: transport.deliver(batch_of(run, [end])))
    assert isinstance(outcome, Delivered)
    (loss,) = outcome.late
    assert loss.record == saved
    assert "files were not uploaded: upload of" in loss.reason
    held = wandb_server.run(run.run_id)
    assert held.complete
    assert held.files == {}


def test_a_store_that_comes_back_gets_everything(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, tmp_path: Path
) -> None:
    """What was given up meanwhile is tried once more when the run ends."""
    (tmp_path / "files" / "a").write_bytes(b"a")
    wandb_server.stop_uploads()
    transport.open(run, start_record())
    saved = FileSaved(seq=2, time=TIME, path="a", policy="now")
    for number in range(10):
        records = [start_record(), saved] if number == 0 else rows_from(2 + number, 1, step=number - 1)
        transport.deliver(batch_of(run, records))
    wandb_server.resume_uploads()
    end = Exit(seq=20, time=TIME, exit_code=3, runtime=1.0)
    assert isinstance(insist(lambda: transport.deliver(batch_of(run, [end])))[0], Delivered)
    held = wandb_server.run(run.run_id)
    assert held.complete
    assert held.files["a"] == b"a"


def test_rows_do_not_wait_for_files(wandb_server: WandbServer, run: RunRef, tmp_path: Path) -> None:
    """While files are on their way, rows and signs of life are answered; one that changes then goes once more."""
    files = {f"f{number}": b"x" * 1000 for number in range(6)}
    for name, content in files.items():
        (tmp_path / "files" / name).write_bytes(content)
    works: list[Callable[[], None]] = []
    transport = HttpTransport(wandb_server.url, KEY, options=OPTIONS, world=World(start=works.append))
    transport.open(run, start_record())
    saved = [
        FileSaved(seq=2 + number, time=TIME, path=name, policy="live") for number, name in enumerate(files)
    ]
    assert isinstance(transport.deliver(batch_of(run, [start_record(), *saved])), Delivered)
    for number in range(3):
        assert isinstance(transport.deliver(batch_of(run, rows_from(20 + number, 1, step=number))), Delivered)
        assert isinstance(transport.heartbeat(run), Delivered)
    held = wandb_server.run(run.run_id)
    assert held.steps == [0, 1, 2]
    assert len(held.heartbeats) >= 3
    assert held.files == {}
    assert len(works) == 1
    owed = transport.save(run)
    assert owed is not None
    assert owed["owed"]["files"] == [*files]

    works.pop()()
    (tmp_path / "files" / "f0").write_bytes(b"changed")
    assert wandb_server.run(run.run_id).files == {**files, "wandb-metadata.json": ANY}
    assert isinstance(transport.heartbeat(run), Delivered)
    (tmp_path / "files" / "f0").write_bytes(b"again")
    assert isinstance(transport.heartbeat(run), Delivered)
    (tmp_path / "files" / "f0").write_bytes(b"changed")
    works.pop()()
    assert wandb_server.run(run.run_id).files["f0"] == b"changed"
    (tmp_path / "files" / "f0").write_bytes(b"changed")
    assert isinstance(transport.heartbeat(run), Delivered)
    works.pop()()
    assert isinstance(transport.deliver(batch_of(run, rows_from(30, 1, step=3))), Delivered)
    assert wandb_server.run(run.run_id).files["f0"] == b"changed"
    assert not works
    assert wandb_server.run(run.run_id).missing() == []


def test_the_end_waits_for_files_and_shows_life(
    wandb_server: WandbServer, run: RunRef, tmp_path: Path
) -> None:
    """On a thread of their own; it is not said that the run is complete before they are there."""
    (tmp_path / "files" / "large").write_bytes(b"x" * 3_000_000)

    def send_when_it_lives(work: Callable[[], None]) -> None:
        def work_then() -> None:
            eventually(lambda: len(wandb_server.run(run.run_id).heartbeats) >= 2)
            assert not wandb_server.run(run.run_id).complete
            work()

        threading.Thread(target=work_then, daemon=True).start()

    options = evolve(OPTIONS, heartbeat_s=0.01)
    transport = HttpTransport(wandb_server.url, KEY, options=options, world=World(start=send_when_it_lives))
    transport.open(run, start_record())
    saved = FileSaved(seq=2, time=TIME, path="large", policy="now")
    assert isinstance(transport.deliver(batch_of(run, [start_record(), saved])), Delivered)
    assert isinstance(transport.deliver(batch_of(run, rows_from(3, 1))), Delivered)
    end = Exit(seq=4, time=TIME, exit_code=0, runtime=1.0)
    assert isinstance(transport.deliver(batch_of(run, [end])), Delivered)
    held = wandb_server.run(run.run_id)

    assert len(held.files["large"]) == 3_000_000
    assert held.complete
    wandb_server.assert_clean()


def test_a_run_that_waits_for_its_end_shows_life(
    wandb_server: WandbServer, run: RunRef, tmp_path: Path
) -> None:
    """A store that asks for a long rest delays the end, which comes again soon enough to say that the run is alive."""
    (tmp_path / "files" / "a").write_bytes(b"a")
    now = [1e9]
    options = evolve(OPTIONS, heartbeat_s=30.0)
    transport = HttpTransport(
        wandb_server.url, KEY, options=options, world=World(now=lambda: now[0], start=inline)
    )
    wandb_server.faults.add([answer(503, retry_after=100)], endpoint="upload")
    transport.open(run, start_record())
    end = Exit(seq=3, time=TIME, exit_code=3, runtime=1.0)
    saved = FileSaved(seq=2, time=TIME, path="a", policy="now")
    batch = batch_of(run, [start_record(), saved, end])
    calls = 0
    while isinstance(outcome := transport.deliver(batch), Retry):
        assert outcome.after is not None
        assert outcome.after <= 30.0
        now[0] += outcome.after
        calls += 1
    held = wandb_server.run(run.run_id)

    assert isinstance(outcome, Delivered)
    assert calls == 4
    assert len(held.heartbeats) >= 3
    assert held.complete
    assert held.files["a"] == b"a"


def test_a_portal_that_answers_everything(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """A page with status 200 has taken no row."""
    transport.open(run, start_record())
    fault = Fault(status=200, body="<html>please log in to the WiFi</html>")
    wandb_server.faults.add([fault] * 5, endpoint="file_stream")
    rows = rows_from(2, 20)
    outcome, reasons = insist(lambda: transport.deliver(batch_of(run, [start_record(), *rows])))

    assert isinstance(outcome, Delivered)
    assert len(reasons) == 5
    assert wandb_server.run(run.run_id).steps == list(range(20))
    wandb_server.assert_clean()


def test_an_ingress_without_its_backend(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """404 to all requests, for however long, costs no row."""
    transport.open(run, start_record())
    rule = wandb_server.faults.add(answer(404, body="<html>default backend - 404</html>"), times=1000)
    rows = rows_from(2, 20)
    batch = batch_of(run, [start_record(), *rows])
    for _ in range(30):
        assert isinstance(transport.deliver(batch), Retry)
    rule.remove()
    assert isinstance(transport.deliver(batch), Delivered)
    assert wandb_server.run(run.run_id).steps == list(range(20))


def test_alerts_arrive(wandb_server: WandbServer, transport: HttpTransport, run: RunRef) -> None:
    """With title, text and severity, and the wait in milliseconds."""
    transport.open(run, start_record())
    alert = Alert(seq=2, time=TIME, title="Look", text="NaN", level="WARN", wait_duration=1.5)
    transport.deliver(batch_of(run, [start_record(), alert]))

    assert [(one.title, one.text, one.severity, one.wait_duration) for one in wandb_server.alerts] == [
        ("Look", "NaN", "WARN", 1500)
    ]


# ----------------------------------------------------------------------------------------------------------- restart


def restarted(transport: HttpTransport, run: RunRef, known: Sequence[Record]) -> HttpTransport:
    saved = json.loads(json.dumps(transport.save(run)))
    new = HttpTransport(transport.base_url, KEY, options=OPTIONS, world=World(start=inline))
    new.load(run, saved)
    new.rebuild(batch_of(run, known))
    return new


@pytest.mark.parametrize("fault", [drop_after(), hold(carried_out=True), None])
def test_a_process_that_is_killed_is_replaced(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, fault: Fault | None
) -> None:
    """Rows of a batch whose answer nobody heard are not doubled by the next process."""
    wandb_server.allow("offset-back")
    rows = rows_from(2, 30)
    transport.open(run, start_record())
    known = [start_record(), *rows[:10]]
    assert isinstance(transport.deliver(batch_of(run, known)), Delivered)
    new = restarted(transport, run, known)
    if fault is not None:
        wandb_server.faults.add([fault], endpoint="file_stream")
    transport.deliver(batch_of(run, rows[10:17]))
    assert isinstance(new.open(run, start_record()), Delivered)
    for part in (rows[10:13], rows[13:]):
        outcome, _ = insist(partial(new.deliver, batch_of(run, part)))
        assert isinstance(outcome, Delivered)

    assert wandb_server.run(run.run_id).steps == list(range(30))


def test_files_that_are_owed_are_sent_by_the_next_process(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, tmp_path: Path
) -> None:
    """A batch is answered when its rows have arrived; what else it asked for is not forgotten by a kill."""
    (tmp_path / "files" / "a").write_bytes(b"a")
    wandb_server.stop_uploads()
    transport.open(run, start_record())
    known = [start_record(), FileSaved(seq=2, time=TIME, path="a", policy="now"), *rows_from(3, 2)]
    assert isinstance(transport.deliver(batch_of(run, known)), Delivered)
    new = restarted(transport, run, known)
    wandb_server.resume_uploads()
    assert isinstance(new.open(run, start_record()), Delivered)
    assert isinstance(new.deliver(batch_of(run, rows_from(5, 1, step=2))), Delivered)

    held = wandb_server.run(run.run_id)
    assert held.steps == [0, 1, 2]
    assert held.files["a"] == b"a"


def test_a_continued_run_that_is_killed_before_its_first_answer(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """Where a continued run began is kept from its opening on, so that its rows are not put behind themselves."""
    wandb_server.allow("offset-back")
    wandb_server.seed(run.run_id, project="p", rows=[{"loss": 1.0}] * 5)
    start = start_record(resumed=True, starting_step=5)
    rows = rows_from(2, 4, step=5)
    assert isinstance(transport.open(run, start), Delivered)
    new = restarted(transport, run, [])
    transport.deliver(batch_of(run, [start, *rows]))
    assert isinstance(new.open(run, start), Delivered)
    assert isinstance(new.deliver(batch_of(run, [start, *rows])), Delivered)

    assert wandb_server.run(run.run_id).steps == list(range(9))


def test_what_was_not_saved_by_us_is_refused(transport: HttpTransport, run: RunRef) -> None:
    """A cursor of somebody else puts no row anywhere."""
    with pytest.raises(UsageError, match="cannot be understood"):
        transport.load(run, {"next": 5})
    assert transport.save(run) is None


# ------------------------------------------------------------------------------------------------------- what it knows


def lookup(transport: HttpTransport, run: RunRef) -> Any:
    return transport.lookup(run, 10.0)


def test_a_seeded_run_is_found(wandb_server: WandbServer, transport: HttpTransport, run: RunRef) -> None:
    """What was stored is what comes back, with where it is."""
    assert lookup(transport, run) == Absent()
    wandb_server.seed(
        run.run_id,
        project="p",
        rows=[{"loss": 1.0, "_runtime": 2.5}] * 3,
        events=[{"_runtime": 9.0}],
        console=["a", "b"],
        config={"lr": 0.1},
        tags=["t"],
        notes="n",
        display_name="fun",
    )
    found = lookup(transport, run)

    assert isinstance(found, Started)
    remote = found.remote
    assert (remote.history_lines, remote.events_lines, remote.console_lines) == (3, 1, 2)
    assert (remote.last_step, remote.history_runtime, remote.events_runtime) == (2, 2.5, 9.0)
    assert (remote.tags, remote.notes, remote.name) == (("t",), "n", "fun")
    assert remote.config["lr"] == 0.1
    assert remote.where is not None
    assert remote.where.endswith(f"/ent/p/runs/{run.run_id}")
    assert remote.storage_id == wandb_server.run(run.run_id).storage_id


@pytest.mark.parametrize("name", MALFORMED_ANSWERS)
def test_a_malformed_answer_is_unreadable(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, name: str
) -> None:
    """On real sockets as in the tables."""
    wandb_server.seed(run.run_id, project="p", rows=[{}], corrupt=MALFORMED_ANSWERS[name])

    assert isinstance(lookup(transport, run), Unreadable)


@pytest.mark.parametrize("name", UNSTARTED_ANSWERS)
def test_an_unstarted_run_was_created(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, name: str
) -> None:
    """Likewise."""
    wandb_server.seed(run.run_id, project="p", corrupt=UNSTARTED_ANSWERS[name])

    assert lookup(transport, run) == Created()


@pytest.mark.parametrize(
    ("fault", "kind", "retry"),
    [
        (answer(401), "auth", False),
        (answer(403), "forbidden", False),
        (errors("permission denied"), "forbidden", False),
        (answer(409), "refused", False),
        (answer(404), "server", False),
        (answer(500), "server", True),
        (answer(429, retry_after=1), "server", True),
        (not_json(), "server", False),
        (replaced(data=OMIT), "server", False),
        (drop_before(), "unreachable", True),
        (truncated(5), "unreachable", True),
        (hold(), "unreachable", True),
    ],
)
def test_nobody_could_tell(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef, fault: Fault, kind: str, retry: bool
) -> None:
    """Every way in which a question fails is told apart, and names operation and host."""
    wandb_server.faults.add(fault)
    found = lookup(transport, run)

    assert isinstance(found, LookupFailed)
    assert (found.kind, found.retry) == (kind, retry)
    assert found.reason.startswith(f"RunResumeStatus at {wandb_server.url.removeprefix('http://')}: ")


def test_a_lookup_keeps_to_its_time(run: RunRef) -> None:
    """Whatever the server does, whoever calls has an answer in time."""
    with black_hole() as url:
        transport = HttpTransport(url, KEY)
        assert isinstance(transport.lookup(run, 0.2), LookupFailed)
        answered = transport.create(run, start_record(), 0.2)
        assert answered.failure is not None
        assert answered.failure.kind == "unreachable"


def test_two_at_once_have_one_winner(wandb_server: WandbServer, run: RunRef) -> None:
    """Who comes between question and upsert is first, and is not written over."""
    transport = HttpTransport(wandb_server.url, wandb_server.key, options=OPTIONS)
    assert lookup(transport, run) == Absent()
    wandb_server.faults.add(
        [call(lambda: wandb_server.seed(run.run_id, project="p", config={"rival": 1}))],
        operation="UpsertBucket",
    )
    answered = transport.create(run, start_record(), 10.0)

    assert (answered.inserted, answered.started) == (False, True)
    assert wandb_server.run(run.run_id).plain_config == {"rival": 1}
    assert transport.create(RunRef(run_id="mine", project="p"), start_record(), 10.0).inserted is True
    assert wandb_server.run("mine").started


def test_a_config_that_cannot_be_sent_creates_nothing(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """Endless nesting is a failure with words."""
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    answered = transport.create(run, start_record(config={"x": tree}), 10.0)

    assert answered.failure is not None
    assert "nested too deeply" in answered.failure.reason
    assert wandb_server.runs == []


# --------------------------------------------------------------------------------------------------------- wiring


def test_a_transport_is_made_from_an_address() -> None:
    """From a URL, or from a name and the server that was set; the pages of a server go with that server."""
    named = Address(
        url="wandb", wandb_dir="/w", base_url="https://api.example.com/", key=KEY, app_url="https://x/"
    )
    by_name = HttpTransport.from_address(named)
    by_url = HttpTransport.from_address(Address(url="http://localhost:8080/", wandb_dir="/w", key=KEY))

    assert repr(by_name) == "<HttpTransport https://api.example.com>"
    assert by_name._settings().app_url == "https://x"
    assert by_url.base_url == "http://localhost:8080"
    assert by_url._settings().app_url == "http://localhost:8080"
    same = HttpTransport.from_address(evolve(named, url="HTTPS://API.example.com"))
    assert same._settings().app_url == "https://x"
    assert KEY not in repr(named) + repr(by_name) + repr(vars(by_name)) + repr(by_name.capabilities)


def test_options_travel_in_the_address() -> None:
    """Time limit and ignored files are those of the settings."""
    address = Address(url="http://h", wandb_dir="/w", key=KEY, timeout_s=5.0, ignored=["*.ckpt"])  # type: ignore[arg-type]
    options = HttpTransport.from_address(address)._options

    assert options.timeouts == Timeouts(connect_s=5.0, read_s=5.0)
    assert options.ignored == ("*.ckpt",)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_an_address_needs_time(seconds: float) -> None:
    """Without any, every request would fail, for ever."""
    with pytest.raises(UsageError, match="http_timeout"):
        HttpTransport.from_address(Address(url="http://h", wandb_dir="/w", key=KEY, timeout_s=seconds))


def test_an_address_needs_server_and_key() -> None:
    """What is missing is said, with what to do."""
    with pytest.raises(UsageError, match="set base_url"):
        HttpTransport.from_address(Address(url="wandb", wandb_dir="/w", key=KEY))
    with pytest.raises(AuthenticationError, match=r"no key for https://api\.example\.com.*corelib login"):
        HttpTransport.from_address(Address(url="https://api.example.com", wandb_dir="/w"))
    with pytest.raises(AuthenticationError, match="too short"):
        HttpTransport.from_address(Address(url="https://api.example.com", wandb_dir="/w", key="short"))
    with pytest.raises(AuthenticationError, match="empty"):
        HttpTransport("https://api.example.com", "")
    with pytest.raises(UsageError, match="without user"):
        HttpTransport("https://user:hunter2@api.example.com", KEY)


# ----------------------------------------------------------------------------------------------------- several runs


def test_another_run_under_the_same_address(wandb_server: WandbServer, transport: HttpTransport) -> None:
    """An object that serves run after run takes a new start for a new run, also under a name that it knows."""
    wandb_server.allow("offset-back", "overlap-differs")
    run = RunRef(run_id="same", project="p")
    assert isinstance(transport.open(run, start_record()), Delivered)
    transport.deliver(batch_of(run, [start_record(), *rows_from(2, 3)]))
    later = start_record(time=TIME + 1000)
    outcome = transport.open(run, later)
    assert isinstance(outcome, Delivered)
    assert "overwritten" in outcome.notices[0]
    transport.deliver(batch_of(run, [later, *rows_from(2, 2)]))

    assert wandb_server.run("same").offsets(HISTORY) == [0, 0]


def test_close_lets_go_of_what_has_ended(
    wandb_server: WandbServer, transport: HttpTransport, run: RunRef
) -> None:
    """A run that is complete is forgotten, one that is under way is not, and both go on to work."""
    other = RunRef(run_id="other", project="p")
    for one in (run, other):
        transport.open(one, start_record())
        transport.deliver(batch_of(one, [start_record(), *rows_from(2, 1)]))
    transport.deliver(batch_of(run, [Exit(seq=3, time=TIME, exit_code=0, runtime=1.0)]))
    transport.close()
    assert transport.save(run) is None
    assert transport.save(other) is not None
    assert isinstance(transport.deliver(batch_of(other, rows_from(3, 1, step=1))), Delivered)

    assert wandb_server.run("other").steps == [0, 1]


def test_signs_of_life(wandb_server: WandbServer, transport: HttpTransport, run: RunRef) -> None:
    """Two bytes, and nothing of a run that was never opened; a server that asks to stop is heard."""
    outcome: Outcome = transport.heartbeat(RunRef(run_id="never", project="p"))
    assert isinstance(outcome, Retry)
    transport.open(run, start_record())
    transport.deliver(batch_of(run, [start_record()]))
    for _ in range(3):
        assert isinstance(transport.heartbeat(run), Delivered)
    wandb_server.stop_run(run.run_id)
    stopping = transport.heartbeat(run)

    assert isinstance(stopping, Delivered)
    assert stopping.stop
    assert len(wandb_server.run(run.run_id).heartbeats) >= 3
