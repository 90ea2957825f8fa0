"""Closing couriers: one deadline for all, no courier without a last word, and a fate that is this process's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from corelib.pure.outcomes import Ledger
from corelib.shell.closing import Fate, close_all, is_lost


class Someone:
    """A courier that says how it was treated."""

    def __init__(self, calls: list[str], name: str, *, ends: bool = True, on_wait: Any = None) -> None:
        self.calls, self.name, self.ends, self.on_wait = calls, name, ends, on_wait
        self.leave_raises: type[BaseException] | None = None
        self.ledger = Ledger()

    def ask_to_close(self, timeout: float) -> None:
        self.calls.append(f"{self.name} asked")

    def wait(self, seconds: float) -> bool:
        if self.on_wait is not None:
            raise self.on_wait
        return self.ends

    def leave(self) -> None:
        self.calls.append(f"{self.name} left")
        if self.leave_raises is not None:
            raise self.leave_raises


def test_every_courier_is_left_also_one_that_has_just_ended() -> None:
    """One that ended by its own deadline a moment before anybody looked has something to say about what is left."""
    calls: list[str] = []
    close_all([Someone(calls, "a"), Someone(calls, "b", ends=False)], 0.0)  # type: ignore[list-item]

    assert calls == ["a asked", "b asked", "a left", "b left"]


@pytest.mark.parametrize(("error", "raised"), [(KeyboardInterrupt, False), (SystemExit, True)])
def test_whatever_ends_the_waiting_all_are_left(error: type[BaseException], raised: bool) -> None:
    """A Ctrl-C ends the waiting and goes no further; what a signal handler of the program raises goes on."""
    calls: list[str] = []
    couriers: Any = [Someone(calls, "a", on_wait=error), Someone(calls, "b")]
    if raised:
        with pytest.raises(error):
            close_all(couriers, 100.0)
    else:
        close_all(couriers, 100.0)

    assert calls[2:] == ["a left", "b left"]


def test_a_second_interrupt_does_not_keep_the_others_from_being_left() -> None:
    """Interrupted again while one is left, the others are left, and then the interrupt goes on."""
    calls: list[str] = []
    couriers: Any = [Someone(calls, name) for name in "abc"]
    couriers[0].leave_raises = couriers[1].leave_raises = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        close_all(couriers, 0.0)

    assert calls[3:] == ["a left", "b left", "c left"]


def test_the_deadline_is_one_for_all() -> None:
    """Couriers that do not end share the time: none gets it anew."""
    asked: list[float] = []

    class Endless(Someone):
        def wait(self, seconds: float) -> bool:
            asked.append(seconds)
            return False

    couriers: list[Any] = [Endless([], name) for name in "abcd"]
    close_all(couriers, 0.0)

    assert len(asked) == 1
    assert asked[0] <= 0.0


def test_a_fate_is_told() -> None:
    """Unknown until somebody tells; a hidden code counts as a failure; and a forked child knows nothing of it."""
    fate = Fate()
    assert fate() is None
    fate.settle(0)
    assert fate() == 0
    fate.settle(None)
    assert fate() == 1
    fate._pid = os.getpid() + 1

    assert fate() is None


def test_what_is_lost_is_not_promised(tmp_path: Path) -> None:
    """Where the run directory is gone, nothing is left that could be synced."""
    assert is_lost(None) is None
    assert is_lost(str(tmp_path)) is None
    text = is_lost(str(tmp_path / "gone"))
    assert text is not None
    assert "removed" in text
    assert "sync" not in text
