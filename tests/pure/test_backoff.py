"""Waits before trying again: doubling, limits, jitter, and what the other side asks for."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.backoff import Backoff, was_told

RULE = Backoff(first_s=2.0, limit_s=60.0, jitter=0.25, told_limit_s=900.0)


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 2.0), (2, 4.0), (3, 8.0), (5, 32.0), (6, 60.0), (7, 60.0), (9, 60.0)]
)
def test_waits_double_up_to_the_limit(failures: int, seconds: float) -> None:
    """Without jitter the n-th wait is first · 2ⁿ⁻¹, and never more than the limit."""
    assert RULE.wait_s(failures, 0.0) == seconds


@pytest.mark.parametrize("failures", [10, 11, 10**6])
def test_an_open_breaker_waits_long(failures: int) -> None:
    """From so many failures in a row on, the wait is the long one, with its jitter."""
    assert not RULE.is_open(9)
    assert RULE.is_open(failures)
    assert RULE.wait_s(failures, 0.0) == 300.0
    assert RULE.wait_s(failures, 0.5) == 300.0 * 1.125
    assert RULE.wait_s(failures, 0.5, 7.0) == 7.0


def test_a_breaker_needs_a_failure() -> None:
    """A breaker that is open from the start would make every wait long."""
    with pytest.raises(UsageError, match="breaker_failures"):
        Backoff(breaker_failures=0)


def test_jitter_adds_a_share() -> None:
    """The drawn number adds up to the share of the rule, also at the limit."""
    assert RULE.wait_s(1, 0.5) == 2.0 * 1.125
    assert RULE.wait_s(9, 0.5) == 60.0 * 1.125


@pytest.mark.parametrize(
    ("told", "seconds"), [(0.0, 0.0), (1.5, 1.5), (899.0, 899.0), (1e9, 900.0), (inf, 900.0)]
)
def test_what_is_asked_for_replaces_the_computed_wait(told: float, seconds: float) -> None:
    """A wait that the other side asks for is kept exactly, up to a limit of its own."""
    assert was_told(told)
    assert RULE.wait_s(4, 0.9, told) == seconds


@pytest.mark.parametrize("told", [None, nan, -1.0, -inf])
def test_no_usable_number_asks_for_nothing(told: float | None) -> None:
    """NaN, a negative number and nothing leave the computed wait."""
    assert not was_told(told)
    assert RULE.wait_s(1, 0.0, told) == 2.0


@given(
    failures=st.integers(min_value=1),
    entropy=st.floats(min_value=0, max_value=1, exclude_max=True),
    told=st.none() | st.floats(),
)
def test_every_wait_is_bounded(failures: int, entropy: float, told: float | None) -> None:
    """No number of failures and no answer makes a wait longer than the longest, or negative."""
    assert 0 <= RULE.wait_s(failures, entropy, told) <= RULE.longest_s


def test_the_longest_wait_counts_both_kinds() -> None:
    """The longest wait is the longest of a computed one and the breaker's, with all jitter, and an asked-for one."""
    assert Backoff(limit_s=100.0, jitter=0.5, told_limit_s=10.0, breaker_wait_s=20.0).longest_s == 150.0
    assert Backoff(limit_s=100.0, jitter=0.5, told_limit_s=10.0, breaker_wait_s=200.0).longest_s == 300.0
    assert RULE.longest_s == 900.0


@pytest.mark.parametrize("name", ["first_s", "limit_s", "told_limit_s", "breaker_wait_s"])
@pytest.mark.parametrize("value", [0.0, -1.0, nan, inf])
def test_a_rule_needs_positive_finite_seconds(name: str, value: float) -> None:
    """A rule by which there would be no wait, or no end of it, cannot be made."""
    with pytest.raises(UsageError, match=name):
        Backoff(**{name: value})


@pytest.mark.parametrize("value", [-0.1, 1.1, nan])
def test_jitter_is_a_share(value: float) -> None:
    """Jitter is a number from 0 to 1."""
    with pytest.raises(UsageError, match="jitter"):
        Backoff(jitter=value)
