"""What answers say beyond their status."""

from __future__ import annotations

import pytest

from transports.wandb_answers import judge_push, says_gone, says_stop
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest

ENVELOPE = b'{"errors":[{"message":"no run has this id"}]}'
DELETED = b'{"errors":[{"message":"run r1 was previously created and deleted"}]}'


@pytest.mark.parametrize(
    ("status", "body", "by_name", "by_id"),
    [
        (409, ENVELOPE, True, True),
        (410, ENVELOPE, True, True),
        (404, ENVELOPE, False, True),
        (200, DELETED, True, True),
        (404, DELETED, True, True),
        (200, ENVELOPE, False, False),
        (403, ENVELOPE, False, False),
        (404, b"<html>no backend</html>", False, False),
        (409, b"", False, False),
        (410, b'{"message":"no Route matched"}', False, False),
        (404, b'{"errors":[]}', False, False),
        (404, b"[1]", False, False),
    ],
)
def test_who_says_that_a_run_is_gone(status: int, body: bytes, by_name: bool, by_id: bool) -> None:
    """Only the server, in its own words; that it was not found counts where the server's own key was asked for."""
    answer = HttpAnswer(status, {}, body)

    assert says_gone(answer, by_id=False) is by_name
    assert says_gone(answer, by_id=True) is by_id
    assert not says_gone(HttpFailure("dropped", "cut"), by_id=True)


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (HttpAnswer(200, {}, b"{}"), "done"),
        (HttpAnswer(204), "done"),
        (HttpAnswer(200, {"content-type": "application/json"}, b"[]"), "done"),
        (HttpAnswer(200, {"content-type": "text/plain"}, b"fine"), "done"),
        (HttpAnswer(200, {"content-type": "text/html"}, b""), "slowly"),
        (HttpAnswer(200, {}, b" <!doctype html>"), "slowly"),
        (HttpAnswer(503, {"content-type": "text/html"}, b"<html>"), "later"),
        (HttpAnswer(404, {"content-type": "text/html"}, b"<html>"), "doubtful"),
    ],
)
def test_a_page_takes_no_row(answer: HttpAnswer, meaning: str) -> None:
    """Where a portal answers 200 in place of the server, nothing has arrived."""
    request = HttpRequest(method="POST", target="/files/e/p/r/file_stream", operation="file_stream")

    assert judge_push(request, answer, "h", 0.0).meaning == meaning


@pytest.mark.parametrize(
    ("body", "stops"),
    [(b'{"stopped":true}', True), (b'{"stopped":"yes"}', False), (b"[]", False), (b"", False)],
)
def test_who_says_stop(body: bytes, stops: bool) -> None:
    """Nothing but the word."""
    assert says_stop(HttpAnswer(200, {}, body)) is stops
    assert not says_stop(HttpFailure("dropped", "cut"))
