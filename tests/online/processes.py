"""Training processes and couriers, seen from outside: started, watched, killed, and cleared away.

Law: only processes that a test has started itself are ever signalled: the training by its handle, a courier by the
id of a run that the test began.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.servers.wandb_server import WandbServer

__all__ = ["ROOT", "Training", "courier_pids", "environment_for", "kill_couriers", "sync", "train"]

ROOT: Final = Path(__file__).parent.parent.parent
_PATIENCE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.005


def environment_for(server: WandbServer, home: Path) -> dict[str, str]:
    """Return the environment of somebody who is logged in to a server, and has no other settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "NETRC"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "HOME": str(home),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": server.key,
        "WANDB_SILENT": "true",
    }


class Training:
    """A training process (`tests.online.training`) that logs rows until `stop`. Made by `train`."""

    def __init__(
        self, server: WandbServer, directory: Path, pause_s: float, settings: dict[str, Any]
    ) -> None:
        words = json.dumps({"settings": settings, "pause_s": pause_s})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.online.training", words],
            cwd=directory,
            env=environment_for(server, directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._heard = threading.Condition()
        self._place: dict[str, str] = {}
        self.returned = 0
        """How many calls of `log()` have returned."""
        self.receipt: dict[str, Any] | None = None
        """The receipt, once the run has ended."""
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout or ():
            said = json.loads(line)
            with self._heard:
                if isinstance(said, int):
                    self.returned = said + 1
                elif "id" in said:
                    self._place = said
                else:
                    self.receipt = said
                self._heard.notify_all()

    @property
    def run_id(self) -> str:
        """The id of the run; waits for its beginning."""
        self._wait_for(lambda: bool(self._place), "begin")
        return self._place["id"]

    @property
    def directory(self) -> str:
        """The run directory; waits for the beginning."""
        self._wait_for(lambda: bool(self._place), "begin")
        return self._place["directory"]

    def log_on(self, rows: int) -> None:
        """Wait until so many more rows are logged: training does not stand still, whatever the server does."""
        goal = self.returned + rows
        self._wait_for(lambda: self.returned >= goal, f"log {rows} rows")

    def stop(self) -> dict[str, Any]:
        """Let it finish; return its receipt."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        self._wait_for(lambda: self.receipt is not None, "finish")
        assert self.process.wait(_PATIENCE_S) == 0
        return self.receipt or {}

    def kill(self) -> None:
        """Kill it. Its status is left for whoever wants to know how it ended."""
        self.process.kill()
        self._listener.join()

    def close(self) -> None:
        """Let nothing of it be left."""
        self.process.kill()
        self.process.wait()
        self._listener.join()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        if self._place:
            kill_couriers(self.run_id)

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        with self._heard:
            if not self._heard.wait_for(condition, _PATIENCE_S):
                raise TimeoutError(f"training did not {what} within {_PATIENCE_S:g} s")


@contextlib.contextmanager
def train(
    server: WandbServer, directory: Path, *, pause_s: float = 0.01, **settings: Any
) -> Iterator[Training]:
    """Run a training process as long as the context lasts; its couriers do not outlast it either."""
    training = Training(server, directory, pause_s, settings)
    try:
        yield training
    finally:
        training.close()


def courier_pids(run_id: str) -> list[int]:
    """Return the couriers of a run that are at work."""
    label = f"corelib-courier-{run_id}".encode()
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # gone in between
            if label in words:
                found.append(int(name))
    return found


def kill_couriers(run_id: str, wait_s: float = 0.0) -> int:
    """Kill the couriers of a run, waiting so long for one to appear; return how many were hit."""
    deadline = time.monotonic() + wait_s
    pids = courier_pids(run_id)
    while not pids and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
        pids = courier_pids(run_id)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(pids)


def sync(server: WandbServer, directory: Path, *words: str) -> str:
    """Run `corelib sync` in a process of its own; return what it printed.

    Raises:
        AssertionError: something is pending or was rejected.
    """
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "sync", *words],
        cwd=directory,
        env=environment_for(server, directory),
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
