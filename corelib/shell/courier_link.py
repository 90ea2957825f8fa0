"""One courier process and the two pipes to it, as the process of the run holds them.

Law: what is started is ended or has ended by itself, and leaves no zombie and no open file here; none is waited for
longer than it takes to start. A process is signalled only while it is certain that it is ours.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator, Mapping
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from corelib.shell.courier_main import STARTED
from corelib.shell.courier_messages import LineReader, LineWriter
from corelib.shell.spawn import handle_on, private_pipe, scrubbed, spawn_python

if TYPE_CHECKING:
    from corelib.shell.delivery_spec import DeliverySpec

__all__ = ["CourierLink"]

_HELLO_S: Final = 30.0  # a cold disk and a busy machine included
_REAP_TRIES: Final = 50
_REAP_PAUSE_S: Final = 0.01
_BOOT: Final = "from corelib.shell.courier_main import main; main()"


class CourierLink:
    """A courier process, its parent that ends at once, and the pipes to it.

    Args:
        spec: what is delivered where.
        executable: the Python to run.
        environ: the environment to scrub and hand on.
    """

    def __init__(self, spec: DeliverySpec, *, executable: str, environ: Mapping[str, str]) -> None:
        self.pid: int | None = None
        """Its process id; None as long as it has not said hello."""
        self.unfit: str | None = None
        """Why no courier can run here, if that is what its end says: known when it is over."""
        self.is_mute = False
        """Whether it has started, and never said hello."""
        self._spec = spec
        self._executable = executable
        self._environ = environ
        self._fds: tuple[int, ...] = ()
        self._writer: LineWriter | None = None
        self._spawned: int | None = None
        self._status: int | None = None
        self._hello_by = 0.0

    @property
    def is_started(self) -> bool:
        """Whether there is or was such a process."""
        return self._hello_by > 0.0

    def start(self) -> None:
        """Start it, and hand it its work; returns in a few milliseconds.

        Raises:
            OSError, NotImplementedError, ValueError: it cannot be started.
        """
        try:
            self._fds = to_courier = private_pipe()
            from_courier = private_pipe()
            self._fds = (*to_courier, *from_courier)
            # Opened here: this process may be gone, and forgotten, before the courier could ask for it.
            process = handle_on(self._spec.pid)
            self._fds += () if process is None else (process,)
            self._spawned = spawn_python(
                self._executable,
                _BOOT,
                label=f"corelib-courier-{self._spec.run_id}",
                environment=scrubbed(self._environ, self._spec.secrets),
                stdin=to_courier[0],
                stdout=from_courier[1],
                parent=process,
            )
        except BaseException:
            self.close()
            raise
        # The reading end of the pipe to the courier stays open here. Without a reader a write would raise SIGPIPE,
        # and a program that has that signal set to its default would die of its courier's death.
        self._fds = (*to_courier, from_courier[0])
        os.close(from_courier[1])
        if process is not None:
            os.close(process)
        self._hello_by = monotonic() + _HELLO_S
        writer = LineWriter(to_courier[1])
        path = tuple(os.path.abspath(entry) for entry in sys.path)
        writer.send_line(self._spec._replace(sys_path=path).line())
        self._writer = writer

    def send(self, type: str, **values: Any) -> None:
        """Send it a message; to one that is over, none."""
        writer = self._writer
        if writer is not None:
            writer.send(type, **values)

    def listen(self) -> Iterator[Mapping[str, Any]]:
        """Yield what it says, until it says nothing more; one that does not say hello in time is ended."""
        writer, reader = self._writer, LineReader(self._fds[-1])
        while writer is not None and not reader.is_at_end:
            if self.pid is None and not self._is_ready(writer, reader):
                if monotonic() < self._hello_by:
                    continue
                self.is_mute = True
                self.unfit = f"{self._executable} starts, and does not say that it works"
                self.kill()
                return
            for message in reader.read():
                if message.get("type") == "hello":
                    self.pid = int(message["pid"])
                    self._reap()
                elif message.get("type") == "unfit":
                    self.unfit = f"{self._executable} does not run as one: {message.get('text')}"
                yield message

    def _is_ready(self, writer: LineWriter, reader: LineReader) -> bool:
        """Wait for its first words, and meanwhile hand over what of its work a pipe cannot hold at once."""
        poller = select.poll()
        poller.register(reader.fd, select.POLLIN)
        if writer.is_waiting:
            poller.register(writer.fd, select.POLLOUT)
        ready = {fd for fd, _ in poller.poll(max(self._hello_by - monotonic(), 0.0) * 1000)}
        if writer.fd in ready:
            writer.flush(0.0)
        return reader.fd in ready

    def end(self) -> None:
        """Close the pipes of one that is over, and leave no zombie: it may have become our own child."""
        self.close()
        self._reap()
        if self.pid is not None:
            _wait_for(self.pid)
        elif self.unfit is None and not self._may_have_worked():
            self.unfit = f"{self._executable} does not run as one"

    def _may_have_worked(self) -> bool:
        """Whether its silence is an accident: its parent has started it, or somebody has killed that."""
        status = self._status
        return status is not None and (os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == STARTED)

    def kill(self) -> None:
        """End it, now."""
        pid = self.pid
        try:
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
            elif self._spawned is not None and _is_our_child(self._spawned):
                # Nobody else can have its number as long as nobody has waited for it. Its session is its own.
                os.kill(self._spawned, signal.SIGKILL)
                os.killpg(self._spawned, signal.SIGKILL)
        except OSError:  # gone
            return

    def close(self) -> None:
        """Close this side of the pipes."""
        writer, self._writer = self._writer, None
        fds, self._fds = self._fds, ()
        if writer is not None:
            fds = tuple(fd for fd in fds if fd != writer.fd)
            writer.close()
        for fd in fds:
            os.close(fd)

    def abandon(self) -> None:
        """Let go in a forked child. A pipe that the child held open would hide the end of this process."""
        fds, self._fds = self._fds, ()
        self._writer = None
        for fd in fds:
            try:
                os.close(fd)
            except OSError:  # another thread was just closing it when this process was forked
                continue

    def _reap(self) -> None:
        """Take the status of the process that was spawned: it ends at once, having started the one that works."""
        if self._spawned is not None:
            self._status = _wait_for(self._spawned)
            self._spawned = None


def _wait_for(pid: int) -> int | None:
    """Take the status of a process that is ending, if it is our child, and return it."""
    for _ in range(_REAP_TRIES):
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # not ours; or whoever else waits for any child has taken it
            return None
        if ended:
            return status
        sleep(_REAP_PAUSE_S)
    return None


def _is_our_child(pid: int) -> bool:
    if not hasattr(os, "waitid"):  # as on macOS before Python 3.13
        return True
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
