"""A W&B-compatible server on 127.0.0.1 for tests, written from the notes on the protocol (10.2).

Law: it answers as a real server does, is strict where a real one breaks, and counts everything. It keeps what
a client sent, which rules the client broke, and every request; what goes wrong with the network is up to its
fault plan.

    with serve() as server:
        ...a client with server.url and server.key...
        server.wait_until(lambda world: world.run("r1").complete)
        assert server.run("r1").steps == [0, 1, 2]
        server.assert_clean()

The API and the URLs for uploads are on two ports, which makes them two hosts to a client: credentials belong
to one alone.
"""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from tests.servers import seeding
from tests.servers.backend import Backend
from tests.servers.connection import Connection, Shared
from tests.servers.exchange import Endpoint, Role
from tests.servers.faults import FaultPlan
from tests.servers.in_flight import InFlight
from tests.servers.listener import HOST, Listener
from tests.servers.request_log import LoggedRequest, RequestLog
from tests.servers.state import Alert, RunState, Violation, World

__all__ = ["KEY", "WandbServer", "serve"]

KEY: Final = "0123456789abcdef0123456789abcdef01234567"
"""The key that a server accepts unless told otherwise."""

_VIEWER: Final[Mapping[str, Any]] = {
    "id": "user-1",
    "entity": "ent",
    "username": "bob",
    "email": "bob@example.invalid",
    "flags": '{"code_saving_enabled":false}',
    "teams": {"edges": [{"node": {"name": "team"}}]},
}


class WandbServer:
    """A running server. Made by `serve`; everything here may be called from any thread.

    `faults` is the fault plan; `url` the base URL for clients, `uploads_url` that of the other host; `key` a
    key that is valid until `set_keys` says otherwise.
    """

    def __init__(self, world: World, prefix: str, *, keep_alive: bool) -> None:
        self.faults = FaultPlan()
        self.key = min(world.keys, default="")
        self._world = world
        self._changed = threading.Condition()
        self._log = RequestLog()
        self._allowed: set[str] = set()
        self._shared = Shared(
            self._changed, Backend(world, prefix), self.faults, self._log, InFlight(), keep_alive
        )
        self._api = Listener(partial(self._serve, "api"), "wandb-api")
        try:
            self._uploads = Listener(partial(self._serve, "uploads"), "wandb-uploads")
        except OSError:
            self._api.close()
            raise
        self.url = f"http://{HOST}:{self._api.port}{prefix}"
        self.uploads_url = f"http://{HOST}:{self._uploads.port}"
        world.uploads_url = self.uploads_url

    def _serve(self, role: Role, connection: socket.socket, number: int) -> None:
        Connection(self._shared, role, connection, number).serve()

    # ------------------------------------------------------------------------------------------ what it knows

    def run(self, run_id: str, project: str | None = None, entity: str | None = None) -> RunState:
        """Return a run as it is now; nothing changes it later.

        Raises:
            KeyError: no run has this id, or several have.
        """
        with self._changed:
            return self._world.run(run_id, project, entity).copy()

    @property
    def runs(self) -> list[RunState]:
        """All runs as they are now, in the order in which they were created."""
        with self._changed:
            return [run.copy() for run in self._world.runs.values()]

    @property
    def alerts(self) -> list[Alert]:
        """The alerts of all runs."""
        with self._changed:
            return [alert for run in self._world.runs.values() for alert in run.alerts]

    @property
    def violations(self) -> list[Violation]:
        """Every rule that a client broke, in order; `state.VIOLATIONS` lists the rules."""
        with self._changed:
            return list(self._world.violations)

    def requests(
        self, endpoint: Endpoint | None = None, operation: str | None = None, run: str | None = None
    ) -> list[LoggedRequest]:
        """Return the requests so far, in order, that agree with everything that is given."""
        with self._changed:
            return self._log.found(endpoint, operation, run)

    def wait_until(self, condition: Callable[[World], bool], timeout_s: float = 10.0) -> None:
        """Wait until something is so. Asked after every change, under the lock, the condition must be quick.

        Raises:
            TimeoutError: it is not, after so many seconds.
        """

        def holds() -> bool:
            try:
                return condition(self._world)
            except KeyError:
                return False  # the run that it asks about is not there yet

        with self._changed:
            if self._changed.wait_for(holds, timeout_s):
                return
            last = [f"{entry.method} {entry.target} {entry.status}" for entry in self._log.found()[-5:]]
        raise TimeoutError(f"not so after {timeout_s} s; the last requests were {last}")

    def allow(self, *kinds: str) -> None:
        """Let `assert_clean` overlook violations of these kinds."""
        self._allowed.update(kinds)

    def assert_clean(self) -> None:
        """Fail if a client broke a rule.

        A courier that was killed may repeat what was acknowledged: such a test allows "offset-back". A run
        that is overwritten on purpose allows "overlap-differs" as well.
        """
        broken = [violation for violation in self.violations if violation.kind not in self._allowed]
        if broken:
            raise AssertionError("\n".join(["rules of the protocol were broken:", *map(str, broken)]))

    # ------------------------------------------------------------------------------------ what tests do to it

    @contextlib.contextmanager
    def changing(self) -> Iterator[World]:
        """Give the world itself, under the lock: `with server.changing() as world: world.viewer = None`."""
        with self._changed:
            yield self._world
            self._changed.notify_all()

    def seed(self, run_id: str, **stored: Any) -> RunState:
        """Put a run there as if a client had sent it; see `seeding.seed` for what may be said about it."""
        with self.changing() as world:
            return seeding.seed(world, run_id, **stored).copy()

    def delete(self, run_id: str) -> None:
        """Delete a run: it is not found, its id cannot be used again (409), its stream answers 404."""
        with self.changing() as world:
            key = world.run(run_id).key
            del world.runs[key]
            world.deleted.add(key)

    def stop_run(self, run_id: str) -> None:
        """Have the run told to stop, with the answer to its next push."""
        with self.changing() as world:
            world.run(run_id).stop_asked = True

    def set_keys(self, *keys: str) -> None:
        """Accept exactly these keys from now on; none at all makes everything 401."""
        with self.changing() as world:
            world.set_keys(keys)

    def forbid(self, project: str) -> None:
        """Answer 403 to everything about a project."""
        with self.changing() as world:
            world.forbidden.add(project)

    def permit(self, project: str) -> None:
        """Take `forbid` back."""
        with self.changing() as world:
            world.forbidden.discard(project)

    def announce(self, feature: str, enabled: bool = True) -> None:
        """Announce a feature; FILESTREAM_GZIP and FILESTREAM_ZSTD also let the bodies in."""
        with self.changing() as world:
            world.features[feature] = enabled

    # ---------------------------------------------------------------------------------------- its connections

    def stop_listening(self) -> None:
        """Go down: refuse connections to the API and cut those that stand. The port is kept."""
        self._api.stop()

    def resume_listening(self) -> None:
        """Come back on the same port."""
        self._api.listen()

    def stop_uploads(self) -> None:
        """Go down with the other host, the one that takes the bytes of files."""
        self._uploads.stop()

    def resume_uploads(self) -> None:
        """Come back with the other host, on the same port."""
        self._uploads.listen()

    def drop_connections(self) -> None:
        """Cut every connection that stands; new ones are taken."""
        self._api.drop_connections()
        self._uploads.drop_connections()

    def close(self) -> None:
        """End it: no thread and no socket is left."""
        try:
            self._api.close()
        finally:
            self._uploads.close()


@contextlib.contextmanager
def serve(
    *,
    keys: Iterable[str] = (KEY,),
    prefix: str = "",
    entity: str = "ent",
    viewer: Mapping[str, Any] | None = _VIEWER,
    features: Iterable[str] = (),
    anonymous: bool = False,
    keep_alive: bool = True,
    max_body_bytes: int | None = None,
    upload_headers: Iterable[str] = ("X-Upload-Token:abc",),
) -> Iterator[WandbServer]:
    """Run a server as long as the context lasts.

    Args:
        keys: the API keys that are valid.
        prefix: a path prefix of the base URL, such as `/pre/fix`.
        entity: the entity of those who name none.
        viewer: what the Viewer query answers; None for nobody.
        features: what `serverInfo` announces as enabled.
        anonymous: CreateAnonymousApiKey makes a key; otherwise it is an unknown operation.
        keep_alive: False: every answer says `Connection: close`, and means it.
        max_body_bytes: pushes with longer bodies, as they are on the wire, are refused with 413.
        upload_headers: what every PUT must carry, as `Name:value`; an entry without a colon is to be skipped
            by clients.
    """
    world = World(
        keys=set(keys),
        entity=entity,
        viewer=copy.deepcopy(dict(viewer)) if viewer is not None else None,
        features=dict.fromkeys(features, True),
        anonymous=anonymous,
        max_body_bytes=max_body_bytes,
        upload_headers=tuple(upload_headers),
    )
    server = WandbServer(world, prefix.rstrip("/"), keep_alive=keep_alive)
    try:
        yield server
    finally:
        server.close()
