"""Lines get their numbers when they are sent, pushes keep their limits, and what is refused is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.wandb_stream import CONSOLE, EVENTS, HISTORY, SUMMARY, Limits, Push, Refusal, Stream

KEY = ("w", 1)


def stream(rows: int = 0, **limits: int) -> Stream:
    found = Stream(Limits(**limits))
    for number in range(rows):
        assert found.add(HISTORY, b'{"n":%d}' % number, (("w", number),)) is None
    return found


def push_of(stream: Stream, **options: Any) -> Push:
    return stream.next_push(may_complete=options.get("may_complete", False))


def body(push: Push) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(push.body, parse_constant=lambda word: 1 / 0)
    return found


def test_an_empty_push_is_a_sign_of_life() -> None:
    """With nothing to say it is two bytes."""
    assert push_of(stream()).body == b"{}"
    assert push_of(stream()).items == 0


def test_a_push_holds_everything_that_waits() -> None:
    """Lines with their offsets, the summary whole at offset 0, what was uploaded, and the end."""
    found = stream(2)
    found.offsets |= {HISTORY: 15, EVENTS: 2, CONSOLE: 40}
    found.add(EVENTS, b'{"system.cpu":3}', ())
    found.add(CONSOLE, b"2026-01-02T03:04:05 hello", ())
    found.set_summary(b'{"loss":NaN}', ())
    found.uploaded.append("config.yaml")
    found.preempt(KEY)
    found.complete(7, KEY)

    assert body(push_of(found, may_complete=True)) == {
        "files": {
            HISTORY: {"offset": 15, "content": ['{"n":0}', '{"n":1}']},
            EVENTS: {"offset": 2, "content": ['{"system.cpu":3}']},
            SUMMARY: {"offset": 0, "content": ['{"loss":NaN}']},
            CONSOLE: {"offset": 40, "content": ["2026-01-02T03:04:05 hello"]},
        },
        "uploaded": ["config.yaml"],
        "preempting": True,
        "complete": True,
        "exitcode": 7,
    }


def test_what_was_taken_is_not_said_again() -> None:
    """The next push begins where this one ended, and says nothing of it."""
    found = stream(3)
    found.set_summary(b"{}", ())
    found.uploaded.append("a")
    found.preempt(KEY)
    push = push_of(found)
    found.uploaded.append("b")
    found.taken(push)

    assert found.offsets[HISTORY] == 3
    assert not found.has_lines
    assert body(push_of(found)) == {"uploaded": ["b"]}


def test_the_end_is_said_when_nothing_else_is_left() -> None:
    """`complete` waits for the rows, and for whoever else has something to say."""
    found = stream(3, push_bytes=1)
    found.complete(0, KEY)

    assert "complete" not in body(push_of(found, may_complete=True))
    for _ in range(3):
        found.taken(push_of(found))
    assert found.is_ending
    assert "complete" not in body(push_of(found))
    last = push_of(found, may_complete=True)
    assert body(last) == {"complete": True, "exitcode": 0}
    found.taken(last)
    assert not found.is_ending


def test_a_summary_that_does_not_fit_any_more_holds_the_end_back() -> None:
    """A summary is not forgotten because the push is full of rows."""
    found = stream(1, push_bytes=1)
    found.set_summary(b'{"a":1}', ())
    found.complete(0, KEY)
    first = push_of(found, may_complete=True)
    found.taken(first)
    second = push_of(found, may_complete=True)

    assert list(body(first)["files"]) == [HISTORY]
    assert not first.complete
    assert list(body(second)["files"]) == [SUMMARY]
    assert second.complete


def test_the_same_summary_is_not_sent_twice() -> None:
    """A summary goes out when it has changed; its records wait for the one that does."""
    found = stream()
    found.set_summary(b'{"a":1}', [("w", 1)])
    found.set_summary(b'{"a":2}', [("w", 2)])
    found.taken(push_of(found))
    found.set_summary(b'{"a":2}', [("w", 3)])

    assert not found.has_lines
    found.set_summary(b'{"a":1}', [("w", 4)])
    assert found.has_lines


def test_lines_that_are_too_long_get_no_number() -> None:
    """They are refused before, with their records, and the next line has their place."""
    found = stream(line_bytes=20)

    assert found.add(HISTORY, b"x" * 21, (KEY,)) == Refusal(
        (KEY,), "a line of 21 bytes is longer than the 20 that a server takes"
    )
    assert found.set_summary(b"x" * 21, (KEY,)) == Refusal(
        (KEY,), "a summary of 21 bytes is longer than the 20 that a server takes"
    )
    found.add(HISTORY, b'{"n":1}', ())
    assert body(push_of(found))["files"] == {HISTORY: {"offset": 0, "content": ['{"n":1}']}}


@given(
    st.lists(st.tuples(st.sampled_from((HISTORY, EVENTS, CONSOLE)), st.integers(0, 300)), max_size=30),
    st.integers(1, 1500),
)
def test_no_push_is_larger_than_the_limit(lines: list[tuple[str, int]], push_bytes: int) -> None:
    """A push holds several lines only within the limit, a longer one goes alone, and all go in their order."""
    found = Stream(Limits(push_bytes=push_bytes))
    for number, (name, length) in enumerate(lines):
        found.add(name, f'"{number} {length * "é"}'.encode(), ())
    sent: dict[str, list[str]] = {}
    while found.has_lines:
        push = push_of(found)
        assert len(push.body) <= push_bytes or push.items == 1
        for name, chunk in body(push)["files"].items():
            assert chunk["offset"] == len(sent.setdefault(name, []))
            sent[name] += chunk["content"]
        found.taken(push)

    for name in (HISTORY, EVENTS, CONSOLE):
        expected = [f'"{number} {length * "é"}' for number, (one, length) in enumerate(lines) if one == name]
        assert sent.get(name, []) == expected


# -------------------------------------------------------------------------------------------------- what is not taken


def test_a_push_that_is_too_large_is_halved_for_long() -> None:
    """After 413 pushes are smaller; after many that were taken a larger one is tried, each time after more."""
    found = stream(30_000, push_bytes=4000)
    first = push_of(found)
    assert found.too_large(first, "HTTP 413") is None
    second = push_of(found)
    assert 0 < second.items < first.items
    assert len(second.body) <= 2000

    taken = [0]
    while found.has_lines:
        push = push_of(found)
        if len(push.body) > 2000:
            found.too_large(push, "HTTP 413")
            taken.append(0)
            continue
        found.taken(push)
        taken[-1] += 1
    assert taken[:3] == [16, 32, 64]
    assert found.offsets[HISTORY] == 30_000


def test_a_size_that_is_taken_again_grows_to_the_limit() -> None:
    """A proxy that was mended is used as it is."""
    found = stream(20_000, push_bytes=4000)
    found.too_large(push_of(found), "HTTP 413")
    sizes = []
    while found.has_lines:
        push = push_of(found)
        sizes.append(len(push.body))
        found.taken(push)
    assert max(sizes[:16]) <= 2000
    assert 3500 < max(sizes[17:]) <= 4000


def test_the_limits_are_those_of_the_protocol() -> None:
    """A line of 10 MiB less 100 KiB, a push of 10 MiB: what the reference keeps to."""
    assert Limits() == Limits(line_bytes=10_383_360, push_bytes=10_485_760)


def test_more_than_a_push_may_hold_goes_in_two() -> None:
    """With the limits as they are, no push is larger than 10 MiB, and a line as long as can be goes alone."""
    found = stream()
    assert found.add(HISTORY, b"1" * 10_383_361, (KEY,)) is not None
    for length in (10_383_360, 6_000_000, 4_400_000, 200_000):
        assert found.add(HISTORY, b"1" * length, ()) is None
    pushes = []
    while found.has_lines:
        push = push_of(found)
        pushes.append((push.items, len(push.body) <= 10 * 1024 * 1024))
        found.taken(push)
    assert pushes == [(1, True), (2, True), (1, True)]


def test_a_push_that_does_not_get_through_is_halved_until_one_does() -> None:
    """On a bad line pushes are small, and grow again up to the limit."""
    found = stream(40, push_bytes=1000)
    first = push_of(found)
    found.narrow(first)
    second = push_of(found)
    assert 0 < second.items < first.items
    found.taken(second)
    third = push_of(found)
    assert third.items > second.items
    found.taken(third)
    assert len(push_of(found).body) <= 1000

    alone = stream(1)
    alone.narrow(push_of(alone))
    assert push_of(alone).items == 1


def test_a_single_line_that_is_too_large_is_refused() -> None:
    """What goes no smaller is refused with its records, and the next line takes its number."""
    found = stream(2, push_bytes=1)

    assert found.too_large(push_of(found), "HTTP 413") == Refusal((("w", 0),), "HTTP 413")
    assert body(push_of(found))["files"][HISTORY] == {"offset": 0, "content": ['{"n":1}']}


def test_a_refused_line_does_not_take_the_others_along() -> None:
    """Of many rows of which the server refuses one, all others are taken."""
    found = stream(50)
    taken: list[str] = []
    refusals: list[Refusal] = []
    requests = 0
    while found.has_lines:
        push = push_of(found)
        content = body(push)["files"][HISTORY]["content"]
        requests += 1
        if '{"n":37}' in content:
            refusal = found.refused(push, "HTTP 400")
            refusals += [refusal] if refusal else []
            continue
        taken += content
        found.taken(push)

    assert refusals == [Refusal((("w", 37),), "HTTP 400")]
    assert taken == [f'{{"n":{number}}}' for number in range(50) if number != 37]
    assert found.offsets[HISTORY] == 49
    assert requests < 25


def test_where_everything_is_refused_that_is_found_out_soon() -> None:
    """A server that refuses each push is not asked about each row."""
    found = stream(5000)
    refused: list[int] = []
    requests = 0
    while found.has_lines:
        requests += 1
        refusal = found.refused(push_of(found), "HTTP 422")
        refused += [seq for _, seq in refusal.keys] if refusal else []

    assert refused == list(range(5000))
    assert requests < 50
    assert found.offsets[HISTORY] == 0
    found.add(HISTORY, b"{}", (KEY,))
    assert found.refused(push_of(found), "HTTP 422") == Refusal((KEY,), "HTTP 422")


def test_giving_up_names_lines_first() -> None:
    """Rows and summary of a refused push are named; the end is still to be said, and named when refused itself."""
    found = stream(2)
    found.set_summary(b"{}", [("w", 8)])
    found.preempt(("w", 7))
    found.complete(3, ("w", 9))
    found.uploaded.append("a")

    assert found.give_up(push_of(found, may_complete=True), "gone") == Refusal(
        (("w", 0), ("w", 1), ("w", 8)), "gone"
    )
    push = push_of(found, may_complete=True)
    assert body(push) == {"uploaded": ["a"], "preempting": True, "complete": True, "exitcode": 3}
    assert found.give_up(push, "gone") == Refusal((("w", 7), ("w", 9)), "gone")
    assert push_of(found, may_complete=True).body == b"{}"


def test_a_sign_of_life_that_is_refused_names_nobody() -> None:
    """There is no record behind it."""
    found = stream()
    found.complete(0, None)

    assert found.give_up(push_of(found), "gone") == Refusal((), "gone")
    assert found.give_up(push_of(found, may_complete=True), "gone") == Refusal((), "gone")
    assert not found.is_ending


@pytest.mark.parametrize("refused", [1, 3])
def test_after_a_success_pushes_grow_again(refused: int) -> None:
    """The search for a bad line ends with it."""
    found = stream(64)
    for _ in range(refused):
        found.refused(push_of(found), "HTTP 400")
    sizes = []
    while found.has_lines:
        push = push_of(found)
        sizes.append(push.items)
        found.taken(push)

    assert sum(sizes) == 64
    assert sizes[0] == 64 >> refused
    assert len(sizes) <= refused + 2
