"""A listening port on 127.0.0.1, the connections it took, and their threads.

Law: the port stays ours from the beginning to `close`, whether it listens or not, so that "down and back" is
the same address and nobody else can get it. After `close` no thread and no socket of ours is left.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["HOST", "Listener"]

HOST: Final = "127.0.0.1"
_BACKLOG: Final = 128
_MOST_SHUTDOWN_S: Final = 10.0


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except OSError:
        listening.close()
        raise
    return listening


class Listener:
    """Takes connections and runs `serve` for each in a thread of its own.

    Args:
        serve: gets the socket and the number of the connection, counted from 1; it returns when the
            connection is over.
        name: what the threads are called.
    """

    def __init__(self, serve: Callable[[socket.socket, int], None], name: str) -> None:
        self._serve = serve
        self._name = name
        self._lock = threading.Lock()
        self._threads: dict[threading.Thread, socket.socket] = {}
        self._count = 0
        self._socket = _bound(0)
        self.port: int = self._socket.getsockname()[1]
        self._acceptor: threading.Thread | None = None
        self._wake: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        """Begin to take connections; nothing happens if it does already."""
        if self._acceptor is not None:
            return
        self._socket.listen(_BACKLOG)
        self._socket.setblocking(False)
        self._wake, sleeper = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._socket, sleeper), name=f"{self._name}-accept", daemon=True
        )
        self._acceptor.start()

    def stop(self) -> None:
        """Refuse connections from now on, and cut those that stand. The port is kept."""
        self._end_accepting()
        _cut(self._socket)
        self._socket.close()
        # A bound socket that does not listen refuses connections and keeps the port from everybody else: from
        # other servers, and from a client whose own end might be given this very port.
        self._socket = _bound(self.port)
        self.drop_connections()

    def drop_connections(self) -> None:
        """Cut every connection that stands."""
        with self._lock:
            for connection in self._threads.values():
                _cut(connection)

    def close(self) -> None:
        """Stop for good and wait until every thread has ended.

        Raises:
            RuntimeError: one did not.
        """
        self._end_accepting()
        _cut(self._socket)
        self._socket.close()
        self.drop_connections()
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(_MOST_SHUTDOWN_S)
        left = [thread.name for thread in threads if thread.is_alive()]
        if left:
            raise RuntimeError(f"threads of the test server did not end: {left}")

    def _end_accepting(self) -> None:
        if self._acceptor is not None and self._wake is not None:
            self._wake.sendall(b"!")
            self._acceptor.join()
            self._wake.close()
            self._acceptor = self._wake = None

    def _accept(self, listening: socket.socket, sleeper: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, sleeper:
            selector.register(listening, selectors.EVENT_READ)
            selector.register(sleeper, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _events in selector.select()]
                if sleeper in ready:
                    return
                try:
                    connection, _address = listening.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    continue  # the client has gone before it was taken
                self._start(connection)

    def _start(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._count += 1
            thread = threading.Thread(
                target=self._run,
                args=(connection, self._count),
                name=f"{self._name}-{self._count}",
                daemon=True,
            )
            self._threads[thread] = connection
        thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        try:
            self._serve(connection, number)
        finally:
            with self._lock:
                del self._threads[threading.current_thread()]
                _cut(connection)
                connection.close()


def _cut(connection: socket.socket) -> None:
    """End a socket even where a child of this process was forked and holds it too; to close it would not do."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster, or it does not listen
