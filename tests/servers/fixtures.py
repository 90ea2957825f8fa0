"""The server as a pytest fixture.

Law: a test that uses `wandb_server` also shows that no rule of the protocol was broken on the way; what it
breaks on purpose it says with `wandb_server.allow(...)`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.wandb_server import WandbServer, serve

__all__ = ["wandb_server"]


@pytest.fixture
def wandb_server() -> Iterator[WandbServer]:
    """Give a running server with default settings, and fail at the end if a client broke a rule."""
    with serve() as server:
        yield server
    server.assert_clean()
