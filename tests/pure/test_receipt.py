"""The receipt as a sentence and as a value."""

from __future__ import annotations

from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError

from corelib.pure.outcomes import Ledger
from corelib.pure.receipt import Receipt


def receipt(**changes: Any) -> Receipt:
    """Return a receipt of ten rows, all delivered, with some fields changed."""
    fields: dict[str, Any] = {
        "run_id": "abc",
        "state": "finished",
        "exit_code": 0,
        "accepted": 10,
        "delivered": 10,
        "pending": 0,
        "rejected": 0,
    }
    return Receipt(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "10 rows accepted, and kept nowhere: the run is disabled."),
        ({"accepted": 1, "delivered": 1, "journal": "j"}, "1 row accepted: 1 recorded. Journal: j"),
        ({"journal": "/w/j"}, "10 rows accepted: 10 recorded. Journal: /w/j"),
        (
            {"journal": "/w/j", "transports": {"http": Ledger(accepted=12, delivered=12)}},
            "10 rows accepted: 10 delivered. Journal: /w/j",
        ),
        ({"delivered": 7, "pending": 3}, "10 rows accepted: 7 delivered, 3 pending."),
        (
            {"delivered": 7, "rejected": 3, "reasons": {"disk full": 2, "late": 1}, "journal": "j"},
            "10 rows accepted: 7 recorded, 3 rejected (disk full: 2, late: 1). Journal: j",
        ),
        (
            {"delivered": 6, "pending": 3, "rejected": 1, "reasons": {"late": 1}, "journal": "j"},
            "10 rows accepted: 6 delivered, 3 pending, 1 rejected (late: 1). Journal: j",
        ),
    ],
)
def test_sentence(changes: dict[str, Any], expected: str) -> None:
    """The sentence names every figure that is not nothing, the reasons, and where the journal lies."""
    assert str(receipt(**changes)) == expected


def test_receipts_are_values() -> None:
    """Receipts are equal by content, do not change, and start without reasons or transports."""
    ledger = Ledger(accepted=3, delivered=2, pending=1)

    assert receipt(transports={"memory": ledger}) == receipt(transports={"memory": ledger})
    assert receipt(transports={"memory": ledger}) != receipt()
    assert (receipt().reasons, receipt().transports, receipt().invalid) == ({}, {}, 0)
    with pytest.raises(FrozenInstanceError):
        receipt().accepted = 11  # type: ignore[misc]
