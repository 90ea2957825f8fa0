"""What a run still has to say, where the conversation never asks."""

from __future__ import annotations

import pytest

from tests.properties.wandb_world import settings
from transports.wandb_work import RunWork


def test_a_run_without_a_start_cannot_be_described() -> None:
    """Nobody can be told what nobody has said."""
    with pytest.raises(ValueError, match="how the run began"):
        RunWork(settings()).description()
