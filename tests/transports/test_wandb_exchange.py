"""What a status, a header and a failure mean is a table and a few rules."""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import format_datetime
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.wandb_exchange import (
    MEANINGS,
    HttpAnswer,
    HttpFailure,
    HttpRequest,
    Verdict,
    answer_text,
    asked_wait_s,
    denial_in,
    host_of,
    judge,
    meaning_of,
    percent_encoded,
    rate_limit_wait_s,
    refuses_key,
)

PUSH = HttpRequest(method="POST", target="/files/e/p/r/file_stream", operation="file_stream", body=b"{}")
PUT = HttpRequest(
    method="PUT", target="https://u:p@store.example.com/b?X-Signature=s", operation="upload of x"
)
HOST = "api.example.com"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (200, "done"),
        (204, "done"),
        (302, "slowly"),
        (308, "slowly"),
        (400, "refused"),
        (401, "slowly"),
        (403, "slowly"),
        (404, "doubtful"),
        (407, "slowly"),
        (408, "later"),
        (409, "doubtful"),
        (410, "doubtful"),
        (413, "too large"),
        (418, "doubtful"),
        (422, "refused"),
        (425, "later"),
        (429, "later"),
        (500, "later"),
        (501, "doubtful"),
        (502, "later"),
        (503, "later"),
        (504, "later"),
        (599, "later"),
        (100, "later"),
        (700, "later"),
    ],
)
def test_every_status_has_a_meaning(status: int, meaning: str) -> None:
    """Only what can never succeed is refused; what people can mend is tried for ever."""
    assert meaning_of(status) == meaning


@given(st.integers(0, 999))
def test_only_the_table_refuses(status: int) -> None:
    """No status but those of the table takes records from the user."""
    assert (meaning_of(status) == "refused") == (MEANINGS.get(status) == "refused")


def test_a_reason_names_operation_host_and_status() -> None:
    """Who reads it knows what was done, where, and what came back."""
    answer = HttpAnswer(503, {"retry-after": "7"}, b'{"error":"come\\nback   later\\u0007"}')

    assert judge(PUSH, answer, HOST, 0.0) == Verdict(
        "later", "file_stream at api.example.com: HTTP 503 (come back later)", 7.0
    )
    assert judge(PUSH, HttpAnswer(502), HOST, 0.0).reason == "file_stream at api.example.com: HTTP 502"
    assert judge(PUSH, HttpAnswer(201), HOST, 0.0) == Verdict("done")


def test_a_reason_shows_no_secret_of_a_url() -> None:
    """Neither user and password nor a signature get into a reason or a representation."""
    verdict = judge(PUT, HttpAnswer(403, {}, b"<Error><Message>Expired</Message></Error>"), HOST, 0.0)

    assert verdict.reason == "upload of x at store.example.com: HTTP 403 (Expired)"
    assert "Signature" not in repr(PUT)
    assert "{}" not in repr(PUSH)


def test_a_redirect_is_told_and_not_followed() -> None:
    """The reason says where to, without the path, and what to do."""
    there = HttpAnswer(307, {"location": "https://other.example.com/x?key=1"})

    assert judge(PUSH, there, HOST, 0.0) == Verdict(
        "slowly",
        "file_stream at api.example.com: HTTP 307 (redirected to other.example.com; correct base_url)",
    )
    assert judge(PUT, there, HOST, 0.0).reason == (
        "upload of x at store.example.com: HTTP 307 (redirected to other.example.com in a way that an upload does not "
        "follow; the server must give another address for it)"
    )
    assert "another path" in judge(PUSH, HttpAnswer(301, {"location": "/x"}), HOST, 0.0).reason
    assert judge(PUSH, HttpAnswer(304), HOST, 0.0).reason == "file_stream at api.example.com: HTTP 304"


def test_a_failure_means_later_unless_nothing_could_be_sent() -> None:
    """A lost answer is asked for again; a request that cannot be sent at all is refused."""
    assert judge(PUSH, HttpFailure("dropped", "cut"), HOST, 0.0) == Verdict("later", "cut")
    assert judge(PUSH, HttpFailure("unusable", "no"), HOST, 0.0) == Verdict("refused", "no")
    assert judge(PUSH, HttpFailure("unforeseen", "no"), HOST, 0.0) == Verdict("doubtful", "no")
    assert judge(PUSH, HttpFailure("proxy", "no"), HOST, 0.0) == Verdict("slowly", "no")


@pytest.mark.parametrize(
    ("text", "denial"),
    [
        ("user is not logged in", "key"),
        ("Unauthorized", "key"),
        ("request unauthenticated: permission denied", "key"),
        ("permission denied", "permission"),
        ("403: Forbidden", "permission"),
        ("you are not authorized to write here", "permission"),
        ("internal error", None),
        ("", None),
    ],
)
def test_what_a_denial_is_about(text: str, denial: str | None) -> None:
    """A key that nobody has is one thing, and somebody who may not do this another."""
    assert denial_in(text) == denial


def test_statuses_that_deny() -> None:
    """401 is about the key, 403 about what it may do; nothing else is a denial."""
    assert judge(PUSH, HttpAnswer(401), HOST, 0.0).denial == "key"
    assert judge(PUSH, HttpAnswer(403), HOST, 0.0).denial == "permission"
    assert judge(PUSH, HttpAnswer(404), HOST, 0.0).denial is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b"<html>it works</html>", ""),
        (b"[1]", ""),
        (b'"text"', ""),
        (b'{"error":"no"}', "no"),
        (b'{"error":{"message":"no","code":5}}', "no"),
        (b'{"error":7}', ""),
        (b'{"message":"no"}', "no"),
        (b'{"errors":[{"message":"one"},{"message":2},3,{"message":"two"}]}', "one; two"),
        (b'{"errors":{}}', ""),
        (b"<Error><Code>A</Code><Message>Access Denied</Message></Error>", "Access Denied"),
        (b'{"error":"' + b"x" * 500 + b'"}', "x" * 199 + "…"),
    ],
)
def test_what_an_answer_says_in_words(body: bytes, text: str) -> None:
    """Every envelope that servers use is understood, and everything else says nothing."""
    assert answer_text(body) == text


# ---------------------------------------------------------------------------------------------------------- waiting


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e99"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 37.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:48:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 06 Foo 1994 08:49:37 GMT"}, None),
        ({"retry-after": "Sun, 6 Nov 1994 08:49:37 GMT"}, 37.0),
        ({"retry-after": "Sunday, 06-Nov-94 08:49:37 GMT"}, 37.0),
        ({"retry-after": "Sunday, 06-Nov-43 08:49:37 GMT"}, 1_546_300_837.0),
        ({"retry-after": "Sunday, 06-Nov-45 08:49:37 GMT"}, 0.0),
        ({"retry-after": "Sun Nov  6 08:49:37 1994"}, 37.0),
        ({"retry-after": "Sun Nov 16 08:49:37 1994"}, 864_037.0),
        ({"retry-after": "Sun, 06 Nov 1994 08:49:37 CET"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "4"}, 4.0),
        ({"retry-after": "9", "ratelimit-remaining": "0", "ratelimit-reset": "4"}, 9.0),
        ({"ratelimit-remaining": "0.5", "ratelimit-reset": "4"}, 4.0),
        ({"ratelimit-remaining": "2", "ratelimit-reset": "4"}, None),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "0"}, None),
        ({"ratelimit-remaining": "0"}, None),
        ({"ratelimit-reset": "4"}, None),
    ],
)
def test_what_a_server_asks_for_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, a date and the end of a rate are waits; anything else is none."""
    now = datetime(1994, 11, 6, 8, 49, 0, tzinfo=timezone.utc).timestamp()

    assert asked_wait_s(headers, now) == seconds


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2400, 1, 1)))  # noqa: DTZ001  zone below
def test_dates_are_those_of_the_calendar(moment: datetime) -> None:
    """The seconds of an HTTP date are those of the standard library."""
    moment = moment.replace(microsecond=0, tzinfo=timezone.utc)
    told = format_datetime(moment, usegmt=True)

    now = moment.timestamp() - 9.0  # the form with two digits of the year is about years that are near
    forms = (told, f"{moment:%A, %d-%b-%y %H:%M:%S} GMT", moment.ctime())

    assert asked_wait_s({"retry-after": told}, 0.0) == moment.timestamp()
    assert [asked_wait_s({"retry-after": form}, now) for form in forms] == [9.0] * 3


def test_a_pace_is_obeyed_when_nothing_remains() -> None:
    """As long as something remains, the next request may go."""
    assert rate_limit_wait_s({"ratelimit-remaining": "0", "ratelimit-reset": "2.5"}) == 2.5
    assert rate_limit_wait_s({"ratelimit-remaining": "1", "ratelimit-reset": "2.5"}) is None


# -------------------------------------------------------------------------------------------------------------- URLs


@given(st.text())
def test_segments_are_encoded_as_everybody_does(text: str) -> None:
    """A segment is what `urllib.parse.quote` makes of it, and comes back by unquoting."""
    encodable = text.encode("utf-8", "replace").decode()

    assert percent_encoded(text) == quote(encodable, safe="")
    assert unquote(percent_encoded(text)) == encodable


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://api.example.com", "api.example.com"),
        ("https://api.example.com:8080/pre/fix", "api.example.com:8080"),
        ("http://user:pa@ss@host?x=1", "host"),
        ("http://host#f", "host"),
        ("/path", ""),
        ("", ""),
    ],
)
def test_the_host_of_a_url(url: str, host: str) -> None:
    """Host and port, nothing else."""
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        (HttpAnswer(401, {}, b""), True),
        (HttpAnswer(403, {}, b""), True),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"user is not logged in"}]}'), True),
        (HttpAnswer(200, {}, b'{"errors":[{"message":"no such project"}]}'), False),
        (HttpAnswer(200, {}, b'{"data":{"name":"permission"}}'), False),
        (HttpAnswer(404, {}, b'{"errors":[{"message":"permission"}]}'), False),
    ],
)
def test_what_another_key_might_change(answer: HttpAnswer, refuses: bool) -> None:
    """Statuses and words that are about keys and permissions, and nothing else."""
    assert refuses_key(answer) == refuses
