"""A conversation between the protocol and a model server, for tests that look at single answers."""

from __future__ import annotations

import json
import math
from typing import Any

from attrs import evolve

from corelib.ports import Batch, Delivered, RemoteAddress, Retry, RunRef
from corelib.pure.records import Record
from corelib.testing.specimens import header_of, start_record
from tests.properties.wandb_world import RUN, ModelServer, settings
from transports.wandb_exchange import HttpAnswer, HttpRequest, HttpResult
from transports.wandb_protocol import RunProtocol
from transports.wandb_saved import SavedRun

__all__ = ["REMOTE", "SETTINGS", "Talk", "batch_of", "deep", "graphql", "taken_up"]

REMOTE = RemoteAddress("ent", "p", "r1", None, "https://example.com/ent/p/runs/r1")
SETTINGS = evolve(settings(), doubts=3, upload_tries=2)


def batch_of(*records: Record, writer: str = "w1", primary: bool = True, header: bool = True) -> Batch:
    return Batch(
        run=RUN,
        writer=writer,
        header=header_of(RUN, writer, primary=primary) if header else None,
        records=records,
    )


def deep() -> Any:
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    return tree


class Talk:
    """A protocol and a server. `wrong` may answer in place of the server: by operation, one after the other."""

    def __init__(self, saved: SavedRun | None = None, run: RunRef = RUN, **changes: Any) -> None:
        self.server = ModelServer()
        self.protocol = RunProtocol(run, evolve(SETTINGS, **changes), saved)
        self.operations: list[str] = []
        self.requests: list[HttpRequest] = []
        self.wrong: dict[str, list[HttpResult]] = {}
        self.now = 0.0

    def talk(self, *, alive: bool = False, lanes: bool = True) -> Retry | None:
        self.protocol.begin_call(self.now, lanes_until=math.inf if lanes else None)
        while (request := self.protocol.next_request(self.now, alive=alive)) is not None:
            self.operations.append(request.operation)
            self.requests.append(request)
            waiting = self.wrong.get(request.operation)
            result = waiting.pop(0) if waiting else self.server.handle(request)
            retry = self.protocol.answered(result, self.now)
            if retry is not None:
                return retry
            alive = alive and request.operation != "file_stream"
        return None

    def open(self, **start: Any) -> Any:
        self.protocol.open(start_record(**start))
        return self.talk(lanes=False) or self.protocol.outcome()

    def deliver(self, *records: Record, files: Any = None, **of: Any) -> Any:
        batch = batch_of(*records, **of)
        self.protocol.take(batch)
        return self._looked_at(batch, files)

    def redeliver(self, *records: Record, files: Any = None) -> Any:
        batch = batch_of(*records)
        self.protocol.take_again(batch)
        return self._looked_at(batch, files)

    def _looked_at(self, batch: Batch, files: Any) -> Any:
        found = files or {}
        names = self.protocol.to_look_at()
        if names:
            self.protocol.looked_at({name: found.get(name, "No such file") for name in names})
        return self.talk() or self.protocol.outcome(batch)

    def begun(self) -> Talk:
        assert isinstance(self.open(), Delivered)
        assert isinstance(self.deliver(start_record()), Delivered)
        self.operations.clear()
        return self


def graphql(data: Any) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps({"data": data}).encode())


def taken_up(talk: Talk, *known: Record, **changes: Any) -> Talk:
    """Return another process that goes on where this one stopped."""
    assert talk.protocol.saved is not None
    saved = SavedRun.read(json.loads(json.dumps(talk.protocol.saved.tree())))
    new = Talk(saved, **changes)
    new.server = talk.server
    if known:
        new.protocol.rebuild(batch_of(*known))
    assert new.open() == Delivered(remote=REMOTE)
    assert new.operations == []
    return new
