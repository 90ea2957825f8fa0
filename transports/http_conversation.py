"""The conversation with a server about one run: its requests are sent, and their answers taken.

Law: one request at a time, and files beside them on a thread of their own: rows and signs of life never wait for a
file. Only where nothing else is left to be delivered, files are waited for, and the server hears meanwhile that the run
is alive.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from corelib.ports import Retry
from transports.http_aside import Aside
from transports.http_pace import Pace
from transports.wandb_documents import STREAM

if TYPE_CHECKING:
    from transports.http import World
    from transports.http_session import HttpSession
    from transports.wandb_exchange import HttpRequest
    from transports.wandb_protocol import RunProtocol

__all__ = ["Conversation"]


class Conversation:
    """One run and its server.

    Args:
        protocol: what to say; it belongs to the thread that carries.
        session: sends requests to the server.
        store: sends files.
        world: the time.
        pace: what the server wishes for.
        heartbeat_s: how often the server hears that the run is alive while files are waited for, in seconds.
    """

    def __init__(
        self,
        protocol: RunProtocol,
        session: HttpSession,
        store: HttpSession,
        world: World,
        pace: Pace,
        heartbeat_s: float,
    ) -> None:
        self.protocol = protocol
        self._session = session
        self._store = store
        self._world = world
        self._pace = pace
        self._heartbeat_s = heartbeat_s
        self._aside = Aside()
        self._uploads: deque[HttpRequest] = deque()

    def catch_up(self) -> None:
        """Take what has come of files that are on their way."""
        self._fetch()

    def carry(self, *, alive: bool = False) -> Retry | None:
        """Send until nothing is left to send; `Retry` says why it stopped before."""
        protocol, world = self.protocol, self._world
        last_alive = world.clock()
        while True:
            self._fetch()
            request = protocol.next_request(world.now(), alive=alive)
            if request is None:
                if not (protocol.is_waiting_for_uploads and self._aside.is_under_way):
                    return None
                self._fetch(self._heartbeat_s)
                if world.clock() - last_alive >= self._heartbeat_s:
                    last_alive = world.clock()
                    self._show_life()
                continue
            if not request.is_authorized:
                self._upload()
                continue
            waiting = self._pace.wait(world.clock(), world.sleep)
            if waiting is not None:
                return waiting if protocol.put_off() else None
            result = self._session.send(request)
            self._pace.keep(result, world.clock())
            retry = protocol.answered(result, world.now())
            if retry is not None:
                return retry
            alive = alive and request.operation != STREAM

    def _upload(self) -> None:
        requests = self.protocol.send_aside()
        self._uploads.extend(requests)
        self._aside.begin(requests, self._store.send, self._world.start)

    def _fetch(self, timeout_s: float = 0.0) -> None:
        """Take what has come of files that are on their way, waiting so long for the next."""
        was_under_way = self._aside.is_under_way
        for result in self._aside.fetch(timeout_s):
            self.protocol.answered_aside(self._uploads.popleft(), result, self._world.now())
        if was_under_way and not self._aside.is_under_way:
            self._uploads.clear()
            self.protocol.stopped_aside()

    def _show_life(self) -> None:
        request, world = self.protocol.sign_of_life(), self._world
        if request is not None and self._pace.wait(world.clock(), world.sleep) is None:
            self._pace.keep(self._session.send(request), world.clock())
