"""Addresses that never answer."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import requests

from tests.servers.black_hole import black_hole


def test_connections_that_stay_silent() -> None:
    """A black hole takes connections and requests, many of them, and never says a word."""
    with black_hole() as url:
        address = urlsplit(url)
        connections = [
            socket.create_connection((address.hostname or "", address.port or 0), timeout=5)
            for _ in range(50)
        ]
        for connection in connections:
            connection.close()
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{url}/graphql", json={}, timeout=(10, 0.1))


@pytest.mark.skipif(
    sys.platform != "linux", reason="how a full queue of connections behaves is the kernel's affair"
)
def test_connections_that_hang() -> None:
    """A black hole whose queue is full neither takes a connection nor refuses it."""
    with black_hole(accept=False) as url:
        address = urlsplit(url)
        for _attempt in range(3):
            with closing(socket.socket()) as connection:
                connection.settimeout(0.1)
                with pytest.raises(TimeoutError):
                    connection.connect((address.hostname, address.port))


@pytest.mark.parametrize("accept", [True, False])
def test_nothing_is_left(accept: bool) -> None:
    """After its context a black hole is a closed port."""
    with black_hole(accept=accept) as url:
        address = urlsplit(url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname or "", address.port or 0), timeout=5)
