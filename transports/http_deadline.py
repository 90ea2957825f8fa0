"""An exchange that ends in time, whatever holds it up.

Law: who waits goes on when the time is over; and the connection of an exchange that was given up is cut, so that the
thread it ran on ends as well and nothing of it arrives later. A time limit of a socket cannot do that: it counts from
one byte to the next, and the system's look-up of a name knows none. Time counts from the last sign of progress.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock, Thread, local
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from requests import Session

__all__ = ["Watch", "new_session", "within"]

T = TypeVar("T")

_GRACE_S: Final = 0.1  # a socket that comes to its own limit can say more of what happened than a clock
_thread = local()


class Watch:
    """What is known of an exchange under way: when it moved on, and over which socket it goes."""

    def __init__(self) -> None:
        self.ended = Event()
        self._moved_at = monotonic()
        self._lock = Lock()
        self._socket: Any = None
        self._is_given_up = False

    def moved_on(self) -> None:
        """Take that there is progress: time counts from here."""
        self._moved_at = monotonic()

    def left_s(self, seconds: float) -> float:
        """Return how many seconds are left where there may be so many without progress."""
        return self._moved_at + seconds - monotonic()

    def uses(self, connection: Any) -> None:
        """Take which socket the exchange is about to use.

        Raises:
            TimeoutError: nobody waits for it any more.
        """
        with self._lock:
            if self._is_given_up:
                raise TimeoutError
            self._socket = connection

    def end(self) -> None:
        """Take that the exchange has ended: its socket is for others now."""
        with self._lock:
            self._socket = None
        self.ended.set()

    def give_up(self) -> None:
        """Cut the connection, if the exchange has not ended."""
        with self._lock:
            self._is_given_up = True
            if self._socket is not None:
                # A handle of our own: the object itself belongs to the thread that uses it.
                with suppress(OSError, ValueError), _handle_of(self._socket) as handle:
                    handle.shutdown(socket.SHUT_RDWR)


def _handle_of(connection: Any) -> socket.socket:
    return socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM)


def within(seconds: float, perform: Callable[[Watch], T]) -> T | None:
    """Return what `perform` returns; None: it made no progress for so many seconds, and was given up."""
    watch = Watch()
    results: list[T] = []

    def work() -> None:
        _thread.watch = watch
        try:
            results.append(perform(watch))
        finally:
            watch.end()

    thread = Thread(target=work, name="corelib-http", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread to be had: bounded as far as the sockets are
        work()
    try:
        while (left_s := watch.left_s(seconds + _GRACE_S)) > 0 and not watch.ended.wait(left_s):
            pass
        return results[0] if watch.ended.is_set() and results else None
    finally:
        watch.give_up()  # and where Ctrl-C ended the wait


def new_session() -> Session:
    """Return a session whose connections can be cut."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import connection as connections
    from urllib3 import connectionpool as pools

    class Plain(connections.HTTPConnection):
        def send(self, data: Any) -> None:
            _told(self)
            super().send(data)

    class Secure(connections.HTTPSConnection):
        def send(self, data: Any) -> None:
            _told(self)
            super().send(data)

    class PlainPool(pools.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(pools.HTTPSConnectionPool):
        ConnectionCls = Secure

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            manager = super().proxy_manager_for(proxy, **options)
            if not proxy.lower().startswith("socks"):  # whose connections are of another kind
                manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
            return manager

    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter())
    return session


def _told(connection: Any) -> None:
    """Tell the exchange of this thread which socket it uses; what is not connected, connects here."""
    if connection.sock is None:
        connection.connect()
    watch = getattr(_thread, "watch", None)
    if watch is not None:
        watch.uses(connection.sock)
