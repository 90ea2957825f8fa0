"""The fixtures of this folder; another folder that wants `wandb_server` imports it the same way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.servers.fixtures import wandb_server
from tests.servers.raw_client import RawClient
from tests.servers.wandb_server import WandbServer, serve

__all__ = ["client", "server", "shared_server", "wandb_server"]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[WandbServer]:
    """Give one server for all examples of a property."""
    with serve() as running:
        yield running


@pytest.fixture
def server() -> Iterator[WandbServer]:
    """Give a server whose clients may break the rules."""
    with serve() as running:
        yield running


@pytest.fixture
def client(server: WandbServer) -> Iterator[RawClient]:
    """Give a client that has not sent anything yet."""
    with closing(RawClient(server)) as connected:
        yield connected
