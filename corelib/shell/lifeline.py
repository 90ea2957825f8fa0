"""How a courier process knows what becomes of the process that started it.

Law: the end of that process is noticed however it came, and never guessed: a closed pipe alone is none as long as
the journal's writer holds its lock. A process that is gone is no reason to stop before everything is delivered, or
while its forked children still write; the time that is left for it is bounded. Where the process says how the run
ends, that is how it ended, whatever the journal could still take.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from collections.abc import Callable, Container, Iterable, Mapping
from math import inf
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from corelib.pure.paths import RunPaths, parse_folder_name
from corelib.segments import run_directories, writer_is_live, writers
from corelib.shell.ending import read_status

if TYPE_CHECKING:
    from corelib.shell.courier_messages import LineReader
    from corelib.shell.delivery import Delivery
    from corelib.shell.delivery_spec import DeliverySpec

__all__ = ["Lifeline"]

_LOOK_EVERY_S: Final = 1.0
_TERMINATION_S: Final = 20.0
"""How long a courier goes on after SIGTERM: schedulers send SIGKILL half a minute later."""
_ORPHANED_S: Final = 3.0
"""How long it goes on when the run is over and its directory was removed: what it has read already may still arrive."""
_GRACE_S: Final = 60.0  # beyond its time, for a transport that does not return
_CRASHED: Final = 1
_KILLED: Final = 255
_EXIT_CODE_FIELD: Final = 50  # the last of those behind the name in /proc/<pid>/stat
_SIGNAL_BITS: Final = 0x7F
_PIDFD_GET_INFO: Final = 0xC040FF0B  # from Linux 6.13 on, with the exit code from 6.15 on
_PIDFD_INFO: Final = struct.Struct("=2Q11Ii")
_PIDFD_INFO_EXIT: Final = 1 << 3


class Lifeline:
    """Listens to the process of the run, on a thread, and tells the delivery what to do.

    Args:
        spec: what is delivered.
        reader: what the process says.
        process: becomes readable when the process is gone; None: whoever started this one had no such thing.
    """

    def __init__(self, spec: DeliverySpec, reader: LineReader, process: int | None = None) -> None:
        paths = RunPaths(Path(spec.directory))
        self._spec = spec
        self._reader = reader
        self._journal = paths.journal
        self._writer_dir = paths.writer(spec.writer)
        self._status_path = str(paths.exit_status)
        self._process = _process(spec.pid) if process is None else process
        self._is_cut = False
        self._is_orphaned = False
        self._was_killed = False
        self._exit_code: int | None = None
        self._gone_at: float | None = None
        self._over = Event()
        self._deadline: float | None = None
        self._last_moment = inf

    @property
    def is_closing(self) -> bool:
        """Whether what is there is the last that there will be."""
        return self._deadline is not None

    @property
    def is_terminated(self) -> bool:
        """Whether somebody has asked this process to end, whatever there is to deliver."""
        return self._last_moment < inf

    def fate(self) -> int | None:
        """Return the exit code of the run, as far as it can be known; None as long as it may still go on."""
        if self._exit_code is not None or not self._over.is_set():
            return self._exit_code
        try:
            status = read_status(self._status_path)
        except OSError:
            status = None
        if status is not None:
            return status
        return _KILLED if self._was_killed else _CRASHED

    def watch(
        self, delivery: Delivery, wake: int | None = None, tick: Callable[[], None] | None = None
    ) -> None:
        """Begin to listen, until a delivery has ended.

        Args:
            delivery: what is to be told.
            wake: becomes readable when this process is asked to end; None: it is not asked.
            tick: called about once a second, also while the delivery waits for its transport.
        """
        thread = Thread(target=self._watch, args=(delivery, wake, tick), name="corelib-lifeline", daemon=True)
        thread.start()

    def _watch(self, delivery: Delivery, wake: int | None, tick: Callable[[], None] | None) -> None:
        poller = select.poll()
        for fd in (self._reader.fd, self._process, wake):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        self._hear(delivery, self._reader.buffered())
        while not delivery.ended.is_set():
            ready = {fd for fd, _ in poller.poll(_LOOK_EVERY_S * 1000)}
            if wake in ready:
                os.read(wake, 1)
                self._last_moment = min(self._last_moment, monotonic() + _TERMINATION_S)
                self._ask(delivery, _TERMINATION_S)
            if self._reader.fd in ready and not self._is_cut:
                self._hear(delivery, self._reader.read())
                if self._reader.is_at_end:
                    self._is_cut = True
                    self._was_killed = _was_killed(self._spec.pid, self._process)
                    poller.unregister(self._reader.fd)
            self._look_for_the_end(delivery, ready)
            if self._process in ready:
                poller.unregister(self._process)
                self._process = None
            if self.is_closing and not self._is_orphaned and not os.path.isdir(self._spec.directory):
                self._is_orphaned = True
                self._ask(delivery, _ORPHANED_S)
            if tick is not None:
                tick()
            if monotonic() > min(self._last_moment, self._deadline or inf) + _GRACE_S:
                os._exit(1)  # the transport does not return, and nothing can make it

    def _look_for_the_end(self, delivery: Delivery, ready: Container[int]) -> None:
        """Have the end told when the process is gone, and nobody else is to write: a forked child may outlive it."""
        now = monotonic()
        if self._gone_at is None and self._is_gone(ready):
            self._gone_at = now
        if self._gone_at is None or self._over.is_set():
            return
        remaining_s = self._spec.linger_s - (now - self._gone_at)
        if self.is_closing or remaining_s <= 0 or not self._has_heirs() or self._is_followed():
            self._over.set()
            self._close(delivery, max(remaining_s, min(self._spec.linger_s, _TERMINATION_S)))
            delivery.poke()

    def _has_heirs(self) -> bool:
        own = self._writer_dir.name
        return any(writer_is_live(self._journal / name) for name in writers(self._journal) if name != own)

    def _is_followed(self) -> bool:
        """Whether the run was begun again since: that waits for this part, and what comes later has no place in it."""
        own = Path(os.path.realpath(self._spec.directory))
        found = run_directories(own.parent)
        later = found[found.index(own) + 1 :] if own in found else []
        names = (parse_folder_name(one.name) for one in later)
        return any(name is not None and name.names(self._spec.run_id) for name in names)

    def _is_gone(self, ready: Container[int]) -> bool:
        if self._process is not None and self._process in ready:
            self._was_killed = self._was_killed or _was_killed(self._spec.pid, self._process)
            return True
        return self._is_cut and not writer_is_live(self._writer_dir)

    def _hear(self, delivery: Delivery, messages: Iterable[Mapping[str, Any]]) -> None:
        for message in messages:
            kind = message.get("type")
            if kind == "poke":
                delivery.poke()
            elif kind == "withdraw":
                os._exit(0)
            elif kind in {"close", "detach"}:
                timeout, exit_code = message.get("timeout"), message.get("exit_code")
                if isinstance(exit_code, int):
                    self._exit_code = exit_code
                asked = timeout if isinstance(timeout, (int, float)) else 0.0
                self._close(delivery, max(asked, self._spec.linger_s))

    def _close(self, delivery: Delivery, seconds: float) -> None:
        """Have all delivered that will ever be there. Whoever waits for it waits less long than this may take."""
        if self._deadline is None:
            self._deadline = monotonic() + seconds
            self._ask(delivery, seconds)

    def _ask(self, delivery: Delivery, seconds: float) -> None:
        delivery.ask_to_close(min(seconds, self._last_moment - monotonic()))


def _process(pid: int) -> int | None:
    """Return a file descriptor that becomes readable when a process is gone; None where there is no such thing."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on Linux, or not on this one; or the process is gone already
        return None


def _was_killed(pid: int, process: int | None = None) -> bool:
    """Return whether a process that is just ending was ended by a signal, if the system still says so.

    Its exit status stands in /proc from before its files are closed until its parent has taken it; from then on the
    file descriptor of the process knows it, where the kernel is new enough. Nobody says which of the two it is.
    """
    status = _status_of(process)
    if status is None:
        status = _status_in_proc(pid)
    if status is None:
        status = _status_of(process)
    return bool((status or 0) & _SIGNAL_BITS)


def _status_of(process: int | None) -> int | None:
    """Return the wait status of a process that its parent has taken; None: it has not, or nobody knows."""
    if process is None:
        return None
    info = bytearray(_PIDFD_INFO.size)
    struct.pack_into("=Q", info, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(process, _PIDFD_GET_INFO, info)
    except OSError:  # an older kernel
        return None
    known, *_, status = _PIDFD_INFO.unpack(info)
    return int(status) if known & _PIDFD_INFO_EXIT else None


def _status_in_proc(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return int(fields[_EXIT_CODE_FIELD - 1])
    except (OSError, IndexError, ValueError):
        return None
