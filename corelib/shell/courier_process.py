"""The courier in a process of its own, as the process of the run sees it.

Law: the courier process is disposable. It is started in a few milliseconds, holds no terminal and no socket, and is
no child of this process for long; whoever kills it has it replaced, and the next one goes on behind the cursor.
Nothing here ever waits for it but `wait`, and that returns in time. When this process is gone, however it ended,
the courier delivers the rest by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from math import isfinite
from threading import TIMEOUT_MAX, Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from corelib.errors import Error, UsageError
from corelib.pure.outcomes import Ledger, RemoteAddress
from corelib.shell.courier_messages import LineReader, LineWriter, read_ledger
from corelib.shell.spawn import private_pipe, scrubbed, spawn_python

if TYPE_CHECKING:
    from corelib.shell.courier import Courier
    from corelib.shell.delivery_spec import DeliverySpec

__all__ = ["CourierProcess"]

_MOST_FRUITLESS_STARTS: Final = 20  # in a row, without anything being delivered by any of them
_STARTS_WITHOUT_HELLO: Final = 2  # then it is this machine that cannot have such a process
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_REAP_TRIES: Final = 50
_REAP_PAUSE_S: Final = 0.01
_BOOT: Final = "from corelib.shell.courier_main import main; main()"


class _Ends(NamedTuple):
    """This side's ends of the two pipes of one courier process."""

    writer: LineWriter
    kept_open: int
    reader: LineReader


class CourierProcess:
    """Carries a run to one transport from a process of its own; where none can be had, from a thread.

    Args:
        spec: what is delivered where.
        report: takes lines for the user; called on a thread of this object.
        on_stopped: called there when the backend asks that the run be ended.
        on_remote: called there with what the backend calls the run.
        environ: the environment to scrub and hand on; by default that of this process.
        executable: the Python to run; by default this one.
    """

    def __init__(
        self,
        spec: DeliverySpec,
        *,
        report: Callable[[str], None],
        on_stopped: Callable[[], None] | None = None,
        on_remote: Callable[[RemoteAddress], None] | None = None,
        environ: Mapping[str, str] | None = None,
        executable: str | None = None,
    ) -> None:
        self.name = spec.name
        self.place = spec.place
        self.pid: int | None = None
        """The process id of the courier that is at work, as far as it is known."""
        self._spec = spec
        self._report = report
        self._on_stopped = on_stopped
        self._on_remote = on_remote
        self._environ = os.environ if environ is None else environ
        self._executable = sys.executable if executable is None else executable
        self._ledger = Ledger()
        self._settled_bytes = 0
        self._is_drained = False
        self._ends: _Ends | None = None
        self._fds: tuple[int, ...] = ()
        self._spawned: int | None = None
        self._close_asked: float | None = None
        self._hurry = Event()
        self._over = Event()
        self._is_final = False
        self._silent_starts = 0
        self._was_heard = False
        self._told: set[str] = set()
        self._instead: Courier | None = None
        self._started = False
        self._owner = os.getpid()

    @property
    def ledger(self) -> Ledger:
        """Where the records are, as the courier last said."""
        if self._owner != os.getpid():
            return Ledger()
        return self._ledger if self._instead is None else self._instead.ledger

    @property
    def settled_bytes(self) -> int:
        """The encoded size of all records that were answered for good."""
        return self._settled_bytes if self._instead is None else self._instead.settled_bytes

    @property
    def is_drained(self) -> bool:
        """Whether all that the journal had at the last look is answered for good."""
        return self._is_drained if self._instead is None else self._instead.is_drained

    @property
    def is_carrying(self) -> bool:
        """Whether a courier is at work for this process."""
        if not self._started or self._owner != os.getpid():
            return False
        return not self._over.is_set() or (self._instead is not None and self._instead.is_carrying)

    def start(self) -> None:
        """Begin to carry; returns in a few milliseconds."""
        self._started = True
        try:
            self._spawn()
        except (OSError, AttributeError, NotImplementedError, ValueError) as error:
            self._fall_back(getattr(error, "strerror", None) or type(error).__name__)
            return
        thread = Thread(target=self._watch, name=f"corelib-courier-{self.name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._let_go()
            self._over.set()
            self._tell(f"no courier can be watched ({error}); the records stay in the journal.")

    def poke(self) -> None:
        """Have the journal looked at now. For urgent things, not for each row: the courier looks by itself."""
        if self.is_carrying:
            if self._instead is not None:
                self._instead.poke()
            self._send("poke")

    def ask_to_close(self, timeout: float) -> None:
        """Begin what `close` does, without waiting for it.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        if not isfinite(timeout):
            raise UsageError(f"Closing a courier needs a finite number of seconds, and was given {timeout}.")
        if self.is_carrying:
            self._close_asked = timeout
            if self._instead is not None:
                self._instead.ask_to_close(timeout)
            self._send("close", timeout=timeout)
            self._hurry.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the work, so many seconds at most; return whether it has come."""
        deadline = monotonic() + seconds
        if self.is_carrying:
            self._over.wait(min(max(seconds, 0.0), TIMEOUT_MAX))
        if self._instead is not None:
            self._instead.wait(deadline - monotonic())
        return not self.is_carrying

    def leave(self) -> None:
        """Stop waiting: the courier goes on in the background. Say so, and how to look after it."""
        if self._owner != os.getpid():
            return
        if self._instead is not None:
            self._instead.leave()
        elif self.is_carrying:
            self._send("detach")
            self._tell(
                f"not everything is delivered yet; it goes on in the background, to {self.place}. `corelib ls` shows "
                "how far it is, and `corelib sync` delivers what is left if this machine goes down."
            )

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, and return where the records are, within `timeout` seconds.

        What is left then is delivered in the background. May be called again, to wait longer.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        from corelib.shell.courier import close_all

        return close_all([self], timeout)[0]

    def abandon(self) -> None:
        """Let go in a forked child. A pipe that the child held open would hide the end of this process."""
        fds, self._fds = self._fds, ()
        for fd in fds:
            try:
                os.close(fd)
            except OSError:  # another thread was just closing it when this process was forked
                continue
        if self._instead is not None:
            self._instead.abandon()

    # Starting.

    def _spawn(self) -> None:
        """Start a courier process and hand it its work.

        Raises:
            OSError, NotImplementedError, ValueError: none can be started.
        """
        to_courier, from_courier = private_pipe(), private_pipe()
        self._fds = (*to_courier, *from_courier)
        try:
            self._spawned = spawn_python(
                self._executable,
                _BOOT,
                label=f"corelib-courier-{self._spec.run_id}",
                environment=scrubbed(self._environ, (self._spec.address.get("key") or "",)),
                stdin=to_courier[0],
                stdout=from_courier[1],
            )
        except BaseException:
            self._let_go()
            raise
        # The reading end of the pipe to the courier stays open here. Without a reader a write would raise SIGPIPE,
        # and a program that has that signal set to its default would die of its courier's death.
        self._fds = (*to_courier, from_courier[0])
        os.close(from_courier[1])
        self._ends = _Ends(LineWriter(to_courier[1]), to_courier[0], LineReader(from_courier[0]))
        path = tuple(os.path.abspath(entry) for entry in sys.path)
        self._ends.writer.send_line(self._spec._replace(sys_path=path).line())
        if self._close_asked is not None:
            self._send("close", timeout=self._close_asked)

    def _fall_back(self, reason: str) -> None:
        """Deliver from a thread of this process."""
        from corelib.shell.courier import Courier
        from corelib.shell.delivery import Observer
        from corelib.shell.delivery_spec import delivery_of, transport_of

        self._tell(f"no process can be started to deliver ({reason}); a thread does it instead.")
        try:
            transport = transport_of(self._spec)
            self._instead, _ = delivery_of(
                Courier,
                self._spec,
                transport=transport,
                report=self._report,
                fate=lambda: None,
                observer=Observer(self._on_remote, self._on_stopped),
            )
        except (Error, OSError) as error:
            self._tell(f"a thread cannot do it either ({error}); the records stay in the journal.")
        else:
            self._instead.start()
            if self._close_asked is not None:
                self._instead.ask_to_close(self._close_asked)
        self._over.set()

    # Watching.

    def _watch(self) -> None:
        fruitless = 0
        settled = 0
        while True:
            self._listen()
            self._reap()
            self._let_go()
            if self._is_final:
                break
            if not self._was_heard:  # ever: where one of them has run, the others were killed early
                self._silent_starts += 1
                if self._silent_starts >= _STARTS_WITHOUT_HELLO:
                    self._fall_back(f"{self._executable} does not run as one")
                    return
            now_settled = self._ledger.delivered + self._ledger.rejected
            fruitless = 1 if now_settled > settled else fruitless + 1
            settled = now_settled
            if not self._replaced(fruitless):
                break
        self._over.set()

    def _replaced(self, fruitless: int) -> bool:
        """Start another courier after one that died; return whether there is one."""
        if fruitless > _MOST_FRUITLESS_STARTS:
            self._tell(
                f"{fruitless} couriers have died in a row and delivered nothing; the records stay in the journal, "
                "and `corelib sync` delivers them."
            )
            return False
        self._hurry.wait(min(_FIRST_PAUSE_S * 2 ** (fruitless - 1), _LONGEST_PAUSE_S))
        self._tell_once("its courier died and is replaced; nothing is lost by that.")
        try:
            self._spawn()
        except (OSError, ValueError) as error:
            self._fall_back(getattr(error, "strerror", None) or type(error).__name__)
            return False
        return True

    def _listen(self) -> None:
        """Take what the courier says, until it says nothing more."""
        ends = self._ends
        while ends is not None and not ends.reader.is_at_end:
            for message in ends.reader.read():
                try:
                    self._hear(message)
                except (KeyError, TypeError, ValueError):
                    continue  # of another version, or garbled by something that wrote there as well

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "hello":
            self.pid = int(message["pid"])
            self._was_heard = True
            self._reap()
        elif kind == "notice":
            self._report(str(message["text"]))
        elif kind == "remote" and self._on_remote is not None:
            self._on_remote(RemoteAddress(*message["remote"]))
        elif kind == "stopped" and self._on_stopped is not None:
            self._on_stopped()
        elif kind == "failed":
            self._is_final = True
            self._tell(f"{message['text']} The records stay in the journal.")
        elif kind in {"ledger", "held", "final"}:
            self._ledger = read_ledger(message)
            self._settled_bytes = int(message["bytes"])
            self._is_drained = bool(message["drained"])
            self._is_final = self._is_final or kind != "ledger"
            if kind == "held":
                self._over.set()

    def _reap(self) -> None:
        """Take the status of the process that was spawned: it ends at once, having started the one that works."""
        pid = self._spawned
        if pid is None:
            return
        for _ in range(_REAP_TRIES):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    break
            except ChildProcessError:  # whoever else waits for any child has taken it
                break
            sleep(_REAP_PAUSE_S)
        self._spawned = None

    def _let_go(self) -> None:
        """Close this side of the pipes."""
        ends, self._ends = self._ends, None
        fds, self._fds = self._fds, ()
        if ends is not None:
            ends.writer.close()
            fds = (ends.kept_open, ends.reader.fd)
        for fd in fds:
            os.close(fd)

    def _send(self, type: str, **values: Any) -> None:
        ends = self._ends
        if ends is not None:
            ends.writer.send(type, **values)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def _tell(self, text: str) -> None:
        self._report(f"transport {self.name}: {text}")

    def __repr__(self) -> str:
        return f"<CourierProcess {self.pid} {self._spec!r}>"
