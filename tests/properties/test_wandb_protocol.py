"""Laws of the W&B protocol under any weather: what the server holds in the end, and what it was never sent."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from corelib.pure.records import Alert, ConfigChange, ConsoleLines, FileSaved, Row, SystemMetrics
from corelib.testing.specimens import header_of
from tests.properties.wandb_world import RUN, Fault, ModelServer, Outage, World, journal_of
from transports.wandb_fold import RunFold
from transports.wandb_stream import CONSOLE, EVENTS, HISTORY, LINE_FILES, Limits

RETRIED = (302, 401, 403, 404, 408, 409, 429, 500, 503)

faults = st.lists(
    st.one_of(
        st.just(Fault()),
        st.sampled_from((True, False)).map(lambda applied: Fault(applied=applied, lost=True)),
        st.sampled_from(RETRIED).map(lambda status: Fault(applied=False, status=status)),
        st.sampled_from((500, 502)).map(lambda status: Fault(lost=True, status=status)),
        st.sampled_from((True, False)).map(lambda applied: Fault(applied=applied, kills=True)),
    ),
    max_size=40,
)
one_call = st.tuples(st.sampled_from(("w1", "w1", "w2")), st.integers(0, 2), st.booleans())
printed = st.sampled_from(("stdout", "stderr", "sample", "stdout2", "sample2"))
calls = st.lists(st.one_of(one_call, one_call, printed), max_size=25)
cuts = st.lists(st.integers(1, 8), max_size=30)


def names_by_writer(rows: list[dict[str, object]], writer: str) -> list[str]:
    """Return what the rows of one writer hold, in the order of the rows."""
    return [
        name
        for row in rows
        for name in sorted(row, key=lambda one: int(one.partition("-")[2] or 0))
        if name.startswith(f"{writer}-")
    ]


def check_printed(journal, server, before) -> None:
    """Check that the console and the events hold what was there before, then all that was recorded, once, in order."""
    console, events = server.held(CONSOLE), server.held(EVENTS)
    assert console[: before[CONSOLE]] == ["earlier"] * before[CONSOLE]
    assert events[: before[EVENTS]] == ["{}"] * before[EVENTS]
    # Lines of two writers may be mixed, and so may what a killed process sent; those of each one are in order.
    recorded = [
        (writer, record.stream, line)
        for writer, record in journal
        if isinstance(record, ConsoleLines)
        for line in record.lines
    ]
    kept = [line.removeprefix("ERROR ").split(" ")[1] for line in console[before[CONSOLE] :]]
    assert sorted(kept) == sorted(line for _, _, line in recorded)
    assert sum(line.startswith("ERROR ") for line in console) == sum(one[1] == "stderr" for one in recorded)
    samples = [record.seq for _, record in journal if isinstance(record, SystemMetrics)]
    assert sorted(json.loads(line)["system.cpu"] for line in events[before[EVENTS] :]) == sorted(samples)
    if not any(writer == "w2" for writer, _ in journal):
        assert kept == [line for _, _, line in recorded]


@given(calls, faults, cuts, st.booleans(), st.integers(0, 5))
def test_the_server_holds_each_row_once_in_order(calls, faults, cuts, resumed, earlier) -> None:
    """After any losses, repeats, kills and cuts the server holds what the run recorded: all, once, in order.

    So it is with rows, console lines and samples, each behind those that were there, and with no others.
    """
    journal = journal_of(calls, resumed=resumed, exit_code=3)
    server = ModelServer()
    if resumed:
        server.exists = True
        server.lines[HISTORY] = {number: f'{{"_step":{number}}}' for number in range(earlier)}
        server.lines[EVENTS] = dict.fromkeys(range(earlier // 2), "{}")
        server.lines[CONSOLE] = dict.fromkeys(range(2 * earlier), "earlier")
    lines_before = {name: server.count(name) for name in LINE_FILES}
    before = dict(server.lines.get(HISTORY, {}))
    world = World(journal, server, faults=faults, cuts=cuts)

    world.deliver_all()

    rows = server.rows
    assert [row["_step"] for row in rows[: len(before)]] == list(range(len(before)))
    for writer in ("w1", "w2"):
        logged = [
            name
            for author, record in journal
            if author == writer and isinstance(record, Row)
            for name in record.data
        ]
        assert names_by_writer(rows[len(before) :], writer) == logged
    check_printed(journal, server, lines_before)
    assert server.complete == 3
    assert world.refused == {}


@given(calls, faults, cuts)
def test_rows_are_those_of_reading_back(calls, faults, cuts) -> None:
    """With one writer the rows are exactly those that reading the journal gives, step by step."""
    journal = [entry for entry in journal_of(calls) if entry[0] == "w1"]
    server = ModelServer()
    World(journal, server, faults=faults, cuts=cuts).deliver_all()

    fold = RunFold()
    fold.header("w1", header_of(RUN, "w1"))
    expected = [row for writer, record in journal for row, _ in fold.feed(writer, record)]
    expected += [row for row, _ in fold.finish(None)]
    assert [(row.pop("_step"), row.pop("_runtime"), row.pop("_timestamp"), row) for row in server.rows] == [
        (row.step, row.runtime, row.time, row.data) for row in expected
    ]


@given(calls, cuts, st.integers(300, 1200), st.integers(300, 2000))
def test_no_push_is_larger_than_the_limit(calls, cuts, push_bytes, most_body) -> None:
    """No push of several lines is larger than our limit, none that was taken larger than the server's."""
    journal = journal_of(calls)
    server = ModelServer(most_body=most_body)
    world = World(journal, server, cuts=cuts, limits=Limits(push_bytes=push_bytes))

    world.deliver_all()

    for size, items in server.sizes:
        assert size <= push_bytes or items <= 1
        assert size <= most_body
    if not world.refused:
        assert server.complete == 0


@given(calls, faults, cuts)
def test_offsets_of_pushes_never_leave_a_gap(calls, faults, cuts) -> None:
    """At no moment is a line numbered beyond those of its file that came before it."""
    server = ModelServer()
    world = World(journal_of(calls), server, faults=faults, cuts=cuts)
    world.deliver_all()

    known = dict.fromkeys(LINE_FILES, 0)
    for push in server.pushes:
        for name in LINE_FILES:
            chunk = push.get("files", {}).get(name)
            if chunk is not None:
                assert chunk["offset"] <= known[name]
                known[name] = max(known[name], chunk["offset"] + len(chunk["content"]))


# ------------------------------------------------------------------------------------------ what goes beside the rows

EVER = 10**9
KINDS = ("UpsertBucket", "NotifyScriptableRunAlert", "CreateRunFiles", "upload")

outages = st.dictionaries(
    st.sampled_from(KINDS),
    st.builds(
        Outage,
        st.one_of(st.integers(1, 6), st.just(EVER)),
        st.sampled_from((None, 302, 400, 401, 403, 404, 409, 413, 429, 500, 503)),
    ),
)
others = st.sampled_from(("config", "summary", "alert", "now", "live", "end", "stdout", "sample"))
mixed_calls = st.lists(st.one_of(one_call, others), max_size=25)
stream_faults = st.lists(
    st.one_of(
        st.just(Fault()),
        st.sampled_from(RETRIED).map(lambda status: Fault(applied=False, status=status)),
        st.sampled_from((True, False)).map(lambda applied: Fault(applied=applied, kills=True)),
    ),
    max_size=15,
)


@given(mixed_calls, outages, stream_faults, cuts)
@example(
    ["config", ("w1", 0, False)],
    {"UpsertBucket": Outage(EVER, None)},
    [*[Fault()] * 3, Fault(kills=True)],
    [],
)
def test_nothing_holds_rows_up(calls, outages, faults, cuts) -> None:
    """However long files, alerts or changes fail, rows arrive with the call that takes them, and the run ends.

    That rows arrive so, the world checks at each call. What fails for ever is refused, on behalf of its record; what
    arrives does so once, and once more for each restart at most; `complete` is last.
    """
    journal = journal_of(calls)
    server = ModelServer()
    world = World(journal, server, faults=faults, cuts=cuts, outages=outages, tries=20)
    world.deliver_all()

    changes = [record.seq for _, record in journal if isinstance(record, ConfigChange)]
    for writer, record in journal:
        key = (writer, record.seq)
        is_refused = key in world.refused
        if isinstance(record, Alert):
            assert 1 - is_refused <= server.alerts.count(record.title) <= 1 + world.kills
        elif isinstance(record, FileSaved):
            assert 1 - is_refused <= server.puts.count(record.path) <= 1 + world.kills
        elif isinstance(record, ConfigChange):
            told = [
                json.loads(one["config"])["seq"]["value"]
                for one in server.upserts
                if '"seq"' in (one["config"] or "")
            ]
            # After a restart the last change answers for those before it.
            refused = [seq for name, seq in world.refused if name == writer and seq in changes]
            assert max(told + refused) >= record.seq
        else:
            assert key not in world.refused
    logged = [name for _, record in journal if isinstance(record, Row) for name in record.data]
    assert sorted(name for row in server.rows for name in row if name[0] == "w") == sorted(logged)
    assert server.complete == 0
    assert server.log[-1] == "complete"


@given(mixed_calls, st.sampled_from(KINDS), st.sampled_from((None, 400, 401, 404, 503)), cuts)
def test_what_fails_for_ever_is_refused_with_its_reason(calls, kind, status, cuts) -> None:
    """Where one kind of request never succeeds, what needed it is named, and all the rest is there."""
    journal = journal_of(calls)
    server = ModelServer()
    world = World(journal, server, cuts=cuts, outages={kind: Outage(EVER, status)}, tries=3)
    world.deliver_all()

    if kind != "NotifyScriptableRunAlert":
        assert len(server.alerts) == sum(isinstance(record, Alert) for _, record in journal)
    elif any(isinstance(record, Alert) for _, record in journal):
        assert world.refused
    saved = {record.path for _, record in journal if isinstance(record, FileSaved)}
    if kind in ("CreateRunFiles", "upload"):
        assert bool(saved) == any("not uploaded" in reason for reason in world.refused.values())
    else:
        assert saved <= set(server.files)
    if kind == "UpsertBucket" and any(isinstance(record, ConfigChange) for _, record in journal):
        assert any("UpsertBucket" in reason or reason == "cut" for reason in world.refused.values())
    assert server.complete == 0
