"""A server for one kind of answer, where the W&B server of this folder would be too much: TLS, a proxy, raw bytes.

Law: it binds to 127.0.0.1, answers every connection with what it was given, and keeps what came. The certificate in
`certificates/localhost.pem` is self-signed and of no other use.
"""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["CERTIFICATE", "SmallServer", "small_server"]

CERTIFICATE: Final = Path(__file__).parent / "certificates" / "localhost.pem"
_PATIENCE_S: Final = 10.0
_TLS: Final = b"\x16\x03"  # how a client begins that takes this for a TLS server


class SmallServer:
    """What runs: its port, and the first bytes of every connection that came."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.heard: list[bytes] = []


def _request(connection: socket.socket) -> bytes:
    """Return a request that came whole: a connection with something unread would be reset when it is closed."""
    heard = b""
    while b"\r\n\r\n" not in heard:
        part = connection.recv(1 << 16)
        heard += part
        if not part or heard.startswith(_TLS):
            return heard
    head, _, body = heard.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    missing = (int(found[1]) if found else 0) - len(body)
    while missing > 0 and (part := connection.recv(1 << 16)):
        heard += part
        missing -= len(part)
    return heard


@contextlib.contextmanager
def small_server(
    answer: bytes, *, tls: bool = False, chunk: int | None = None, pause: float = 0.0
) -> Iterator[SmallServer]:
    """Run a server that answers each connection with these bytes, and closes it.

    Args:
        answer: what is sent, from the status line on.
        tls: whether connections are TLS.
        chunk: how many bytes are sent at a time; None: all.
        pause: seconds between them.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    server = SmallServer(listening.getsockname()[1])
    stopped = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context is not None:
        context.load_cert_chain(CERTIFICATE)

    def serve() -> None:
        while not stopped.is_set():
            try:
                raw, _ = listening.accept()
            except OSError:
                return
            raw.settimeout(_PATIENCE_S)
            try:
                connection = context.wrap_socket(raw, server_side=True) if context is not None else raw
                with connection:
                    server.heard.append(_request(connection))
                    for at in range(0, len(answer), chunk or len(answer)):
                        connection.sendall(answer[at : at + (chunk or len(answer))])
                        if stopped.wait(pause):
                            return
            except OSError:
                raw.close()  # the client went away, or would not trust us

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopped.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(_PATIENCE_S)
