"""What answers say beyond their status.

Law: a run is gone only where its server says so, in its own words: what answers in its place (a proxy without a
backend, a login page) says nothing about runs, and takes no row. Any other success of a push will do.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from transports.wandb_exchange import HttpAnswer, HttpRequest, HttpResult, Verdict, answer_text, judge

__all__ = ["judge_push", "says_gone", "says_stop"]

_GONE: Final = (409, 410)
_NOT_FOUND: Final = 404


def judge_push(request: HttpRequest, result: HttpResult, host: str, now: float) -> Verdict:
    """Return what the answer to a push means; a web page is not the server's, whatever its status."""
    verdict = judge(request, result, host, now)
    if verdict.meaning == "done" and isinstance(result, HttpAnswer) and _is_page(result):
        reason = f"{request.operation} at {host}: the answer is a web page, so it is not the server's"
        return Verdict("slowly", reason)
    return verdict


def says_gone(result: HttpResult, *, by_id: bool) -> bool:
    """Say whether the answer to an upsert means that there is no such run any more, nor can be.

    Args:
        result: what came back.
        by_id: the run was named by the server's own key, so that "not found" is about the run.
    """
    if not isinstance(result, HttpAnswer) or not _object(result).get("errors"):
        return False
    if "deleted" in answer_text(result.body).lower():
        return True
    return result.status in _GONE or (by_id and result.status == _NOT_FOUND)


def says_stop(result: HttpResult) -> bool:
    """Say whether the answer to a push asks that the run be ended."""
    return isinstance(result, HttpAnswer) and _object(result).get("stopped") is True


def _is_page(answer: HttpAnswer) -> bool:
    return "text/html" in answer.headers.get("content-type", "").lower() or answer.body.lstrip()[:1] == b"<"


def _object(answer: HttpAnswer) -> dict[str, Any]:
    """Return the JSON object that an answer is; empty if it is none."""
    try:
        found: Any = orjson.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
