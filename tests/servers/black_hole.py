"""Addresses on 127.0.0.1 that never answer.

Law: a client of `black_hole()` gets its connection and not a byte more; a client of
`black_hole(accept=False)` does not even get a connection, nor a refusal. Nothing here runs: the kernel does
it all.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Iterator
from typing import Final

from tests.servers.listener import HOST

__all__ = ["black_hole"]

_ROOM: Final = 1024
_MOST_FILLERS: Final = 64
# How long a connection attempt on this machine may take before it is held to hang.
_PATIENCE_MS: Final = 100


@contextlib.contextmanager
def black_hole(*, accept: bool = True) -> Iterator[str]:
    """Yield the URL of a server that never answers.

    Args:
        accept: connections are made, and what is sent is taken in. False: the queue of connections is full,
            so that an attempt to connect hangs until it times out.
    """
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        listening.bind((HOST, 0))
        listening.listen(_ROOM if accept else 0)
        if not accept:
            _fill(listening.getsockname(), stack)
        yield f"http://{HOST}:{listening.getsockname()[1]}"


def _fill(address: tuple[str, int], stack: contextlib.ExitStack) -> None:
    """Connect until an attempt hangs."""
    for _attempt in range(_MOST_FILLERS):
        filler = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        filler.setblocking(False)
        if filler.connect_ex(address) not in (0, errno.EINPROGRESS):
            raise RuntimeError(f"cannot connect to the queue of {address}")
        poll = select.poll()
        poll.register(filler, select.POLLOUT)
        if not poll.poll(_PATIENCE_MS):
            return
    raise RuntimeError(f"the queue of {address} takes more than {_MOST_FILLERS} connections")
