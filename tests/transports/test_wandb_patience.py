"""What is tried again, how often, and how soon."""

from __future__ import annotations

import pytest

from corelib.ports import Retry
from transports.wandb_exchange import Verdict
from transports.wandb_patience import Patience


def test_what_passes_is_tried_for_ever() -> None:
    """A server that is busy is asked as soon as it says, or as the core's back-off says."""
    patience = Patience(2, 15.0)
    for _ in range(100):
        assert patience.again("x", Verdict("later", "busy")) == Retry(reason="busy")
    assert patience.again("x", Verdict("later", "busy", 3.0)) == Retry(reason="busy", after=3.0)


def test_what_people_can_mend_is_tried_slowly_for_ever() -> None:
    """A key that is rejected may be valid again; nobody is asked faster than the server wants."""
    patience = Patience(2, 15.0)
    for _ in range(100):
        assert patience.again("x", Verdict("slowly", "401")) == Retry(reason="401", after=15.0)
    assert patience.again("x", Verdict("slowly", "401", 60.0)) == Retry(reason="401", after=60.0)


def test_who_is_to_mend_a_key_is_told_how() -> None:
    """The line that the user sees about a rejected key names the command that mends it."""
    retry = Patience(2, 15.0).again("x", Verdict("slowly", "HTTP 401", denial="key"))

    assert retry is not None
    assert retry.reason == "HTTP 401; log in with `corelib login`"


def test_doubts_are_counted_per_operation() -> None:
    """The last of so many is final, then each is, until there is a success."""
    patience = Patience(3, 15.0)
    doubtful = Verdict("doubtful", "404")
    retry = Retry(reason="404", after=15.0)

    assert [patience.again("x", doubtful) for _ in range(5)] == [retry, retry, None, None, None]
    assert patience.again("y", doubtful) == retry
    patience.rewarded("x")
    patience.rewarded("never asked")
    assert patience.again("x", doubtful) == retry


@pytest.mark.parametrize("meaning", ["refused", "too large", "done"])
def test_what_can_never_succeed_is_not_tried_again(meaning: str) -> None:
    """A refusal is final at once."""
    assert Patience(3, 15.0).again("x", Verdict(meaning, "no")) is None
