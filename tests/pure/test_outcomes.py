"""The ledger adds up, or cannot be made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.outcomes import Ledger

counts = st.integers(min_value=0, max_value=10**9)


@given(delivered=counts, pending=counts, reasons=st.dictionaries(st.text(), counts, max_size=4))
def test_a_ledger_that_adds_up(delivered: int, pending: int, reasons: dict[str, int]) -> None:
    """Accepted is delivered, pending and rejected together, and rejected is counted by reason."""
    rejected = sum(reasons.values())
    ledger = Ledger(
        accepted=delivered + pending + rejected, delivered=delivered, pending=pending, reasons=reasons
    )

    assert ledger.rejected == rejected
    assert ledger.settled == (pending == 0)


@given(delivered=counts, pending=counts, rejected=counts, wrong=st.integers().filter(bool))
def test_a_ledger_that_does_not_add_up(delivered: int, pending: int, rejected: int, wrong: int) -> None:
    """Any other number of accepted records is refused."""
    with pytest.raises(UsageError, match="must add up"):
        Ledger(
            accepted=delivered + pending + rejected + wrong,
            delivered=delivered,
            pending=pending,
            reasons={"r": rejected},
        )


@pytest.mark.parametrize(
    "numbers",
    [
        {"accepted": 0, "delivered": -1, "pending": 1},
        {"accepted": 0, "delivered": 1, "pending": -1},
        {"accepted": 0, "delivered": 1, "reasons": {"r": -1}},
    ],
)
def test_no_number_is_negative(numbers: dict[str, Any]) -> None:
    """Numbers that cancel out are refused too."""
    with pytest.raises(UsageError, match="must add up"):
        Ledger(**numbers)


@given(read=counts, unread=st.integers(min_value=-5, max_value=10**6))
def test_what_was_written_and_not_read_is_pending(read: int, unread: int) -> None:
    """A run that knows how much it wrote adds what the courier has not read yet; it never takes any away."""
    ledger = Ledger(accepted=read, delivered=read).including(read + unread)

    assert ledger.delivered == read
    assert ledger.pending == max(unread, 0)
    assert ledger.accepted == read + max(unread, 0)
