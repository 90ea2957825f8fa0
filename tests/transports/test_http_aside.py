"""Uploads go one after the other on a thread of their own, and what comes of them is fetched in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from corelib.ports import Retry
from transports.http_aside import Aside, start_thread
from transports.http_pace import Pace
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult

REQUESTS = [
    HttpRequest(method="PUT", target=f"https://up/{number}", operation="upload") for number in range(4)
]


def test_answers_come_in_the_order_of_the_requests() -> None:
    """As far as they have come; then it is over, and can begin anew."""
    aside, works = Aside(), list[Callable[[], None]]()
    assert aside.fetch() == []
    for _ in range(2):
        aside.begin(REQUESTS, lambda request: HttpAnswer(200 + int(request.target[-1])), works.append)
        assert aside.fetch() == []
        assert aside.fetch(0.001) == []
        assert aside.is_under_way
        works.pop()()
        assert aside.fetch(60.0) == [HttpAnswer(200 + number) for number in range(4)]
        assert not aside.is_under_way


@pytest.mark.parametrize("down", [HttpFailure("dropped", "cut"), HttpAnswer(503), HttpAnswer(429)])
def test_nothing_is_sent_to_a_place_that_is_down(down: HttpResult) -> None:
    """A file that is refused, or that is gone, takes no other along."""
    gone = HttpFailure("unusable", "No such file")
    aside, results = Aside(), iter([HttpAnswer(403), gone, down])
    aside.begin(REQUESTS, lambda _: next(results), lambda work: work())

    assert aside.fetch() == [HttpAnswer(403), gone, down]
    assert not aside.is_under_way


def test_who_waits_goes_on_with_the_first_answer() -> None:
    """And the thread goes on with the next file; it keeps no process alive."""
    aside, goes_on = Aside(), threading.Event()
    threads: list[threading.Thread] = []

    def send(request: HttpRequest) -> HttpResult:
        threads.append(threading.current_thread())
        assert request is REQUESTS[0] or goes_on.wait(60.0)
        return HttpAnswer(200)

    aside.begin(REQUESTS, send, start_thread)
    assert aside.fetch(60.0) == [HttpAnswer(200)]
    assert aside.is_under_way
    goes_on.set()
    rest: list[HttpResult] = []
    while aside.is_under_way:
        rest += aside.fetch(60.0)
    assert len(rest) == 3
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_where_no_thread_is_to_be_had_files_go_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows wait for them then."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[str] = []
    start_thread(lambda: done.append("sent"))
    assert done == ["sent"]


def test_a_pace_is_kept() -> None:
    """Short waits are slept away, long ones are for the core; other answers change nothing."""
    pace, slept = Pace("host"), list[float]()
    assert pace.wait(0.0, slept.append) is None
    pace.keep(HttpAnswer(200, {"ratelimit-remaining": "0", "ratelimit-reset": "5"}), 10.0)
    pace.keep(HttpFailure("dropped", "cut"), 20.0)
    assert pace.wait(11.0, slept.append) == Retry(reason="host asks for a slower pace", after=4.0)
    assert pace.wait(14.5, slept.append) is None
    assert slept == [0.5]
