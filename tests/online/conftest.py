"""A server, and a program that knows its address and key.

Law: what is tested here goes through `corelib.init()`, a real courier and real sockets; what is awaited is a state of
the server or of the run, never a moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import corelib
from corelib import Run
from tests.servers.wandb_server import WandbServer, serve

__all__ = ["Program", "program", "server", "wait_for"]

_PATIENCE_S = 30.0


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Wait until something in this process is so; for what the server cannot tell."""
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not so after {_PATIENCE_S:g} s: {what}")
        time.sleep(0.01)


class Program:
    """A program that uses `server`. `stderr()` is what its user has seen so far."""

    def __init__(self, server: WandbServer, capfd: pytest.CaptureFixture[str]) -> None:
        self.server = server
        self._capfd = capfd
        self._seen = ""

    def init(self, *, settings: dict[str, Any] | None = None, **arguments: Any) -> Run:
        """Call `init()` with project "p" at the server; a courier in a thread, unless `settings` say otherwise."""
        given: dict[str, Any] = {
            "base_url": self.server.url,
            "api_key": self.server.key,
            "delivery": "thread",
            **(settings or {}),
        }
        return corelib.init(**{"project": "p", **arguments}, settings=given)

    def stderr(self) -> str:
        """Return all that was shown since the test began."""
        self._seen += self._capfd.readouterr().err
        return self._seen

    def wait_for_text(self, text: str) -> None:
        """Wait until the user was shown `text`."""
        wait_for(lambda: text in self.stderr(), f"the user was shown {text!r}")

    def operations(self) -> list[str]:
        """Return the operations that the server was asked for, in order; a push is `file_stream`."""
        return [entry.operation or entry.endpoint for entry in self.server.requests()]

    @staticmethod
    def run_folders() -> list[str]:
        """Return the run directories on this machine."""
        if not os.path.isdir("wandb"):
            return []
        return sorted(name for name in os.listdir("wandb") if name.startswith(("run-", "offline-run-")))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """Give a running server, and fail at the end if a rule of the protocol was broken."""
    monkeypatch.setattr("transports.wandb_creation._SETTLE_S", 0.02)  # nobody else starts a run here
    with serve() as running:
        yield running
        corelib.finish()
    running.assert_clean()


@pytest.fixture
def program(server: WandbServer, capfd: pytest.CaptureFixture[str]) -> Program:
    """Give a program whose settings name the server."""
    return Program(server, capfd)
