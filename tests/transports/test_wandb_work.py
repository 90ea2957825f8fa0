"""What a run still has to say, where the conversation never asks."""

from __future__ import annotations

import pytest

from tests.properties.wandb_world import settings
from transports.wandb_stream import Refusal
from transports.wandb_work import RunWork


def test_a_run_without_a_start_cannot_be_described() -> None:
    """Nobody can be told what nobody has said."""
    with pytest.raises(ValueError, match="how the run began"):
        RunWork(settings()).description()


def test_notices_are_told_once() -> None:
    """The same words are not repeated, and other words are told."""
    work = RunWork(settings())
    work.refuse(Refusal((), "gone"))
    work.refuse(None)
    work.notice("more")

    assert work.untold() == ("Something was not delivered: gone", "more")
    work.refuse(Refusal((), "gone"))
    assert work.untold() == ()
