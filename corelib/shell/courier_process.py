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
from errno import EAGAIN, EMFILE, ENFILE, ENOMEM
from math import isfinite
from threading import TIMEOUT_MAX, Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from corelib.errors import Error, UsageError
from corelib.pure.outcomes import Ledger, RemoteAddress
from corelib.shell.closing import WITHDRAWAL_S, close_all, is_lost
from corelib.shell.courier_link import CourierLink
from corelib.shell.courier_messages import read_ledger

if TYPE_CHECKING:
    from corelib.shell.courier import Courier
    from corelib.shell.delivery_spec import DeliverySpec

__all__ = ["CourierProcess"]

_MOST_FRUITLESS_STARTS: Final = 20  # in a row, without anything being delivered by any of them
_UNFIT_STARTS: Final = 2  # then it is this machine that cannot have such a process
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 5.0
_SHORTAGES: Final = frozenset({EAGAIN, EMFILE, ENFILE, ENOMEM})
_SHORTAGE_PAUSES_S: Final = (
    0.2,
    1.0,
    5.0,
    15.0,
    30.0,
)  # other programs, and this one, may let something go meanwhile


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
        self._link: CourierLink | None = None
        self._close_asked: float | None = None
        self._exit_code: int | None = None
        self._has_ended = False
        self._hurry = Event()
        self._over = Event()
        self._is_final = False
        self._unfit_starts = 0
        self._was_heard = False
        self._is_withdrawn = False
        self._is_rest_told = False
        self._told: set[str] = set()
        self._instead: Courier | None = None
        self._thread: Thread | None = None
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
            if getattr(error, "errno", None) not in _SHORTAGES:
                self._fall_back(_reason(error))
                return
            self._tell_once(f"no process can be started just now ({_reason(error)}); it is tried again.")
        self._thread = Thread(target=self._watch, name=f"corelib-courier-{self.name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._end_link()
            self._over.set()
            self._tell_rest(f"no courier can be watched ({error}); the records stay in the journal.")

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
            self._send_close(timeout)
            self._hurry.set()

    def tell_end(self, exit_code: int | None) -> None:
        """Take that the run has ended, and how; None: Python hides that, and the end of this process will show it."""
        self._exit_code, self._has_ended = exit_code, True
        if self._instead is not None:
            self._instead.tell_end(exit_code)

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
        if self._owner != os.getpid() or not self._started:
            return
        if self._instead is not None:
            self._instead.leave()
        elif self.is_carrying:
            self._send("detach")
            self._tell(is_lost(self._spec.directory) or self._prospect())
        elif not self.is_drained:
            self._tell_rest("not everything is delivered: `corelib sync` delivers the rest from the journal.")

    def _prospect(self) -> str:
        how = "it goes on in the background" if self._was_heard else "its courier is only just being started"
        return (
            f"not everything is delivered yet; {how}, to {self.place}. `corelib ls` shows how far it is, and "
            "`corelib sync` delivers what is left if this machine goes down."
        )

    def close(self, timeout: float) -> Ledger:
        """Deliver what is there, and return where the records are, within `timeout` seconds.

        What is left then is delivered in the background. May be called again, to wait longer.

        Raises:
            UsageError: `timeout` is not a finite number.
        """
        return close_all([self], timeout)[0]

    def withdraw(self) -> None:
        """Stop without a word, and deliver nothing more: the run never was."""
        self._is_withdrawn = True
        if self._owner != os.getpid():
            return
        if self._instead is not None:
            self._instead.withdraw()
        link = self._link
        if link is not None and not self._over.is_set():
            link.send("withdraw")  # for one that cannot be found yet
            link.kill()
        self._hurry.set()
        self._over.set()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(WITHDRAWAL_S)

    def abandon(self) -> None:
        """Let go in a forked child. A pipe that the child held open would hide the end of this process."""
        if self._link is not None:
            self._link.abandon()
        if self._instead is not None:
            self._instead.abandon()

    def _spawn(self) -> None:
        """Start a courier process and hand it its work.

        Raises:
            OSError, NotImplementedError, ValueError: none can be started.
        """
        # Known before there are any pipes: a child that is forked meanwhile lets go of them.
        self._link = link = CourierLink(self._spec, executable=self._executable, environ=self._environ)
        link.start()
        if self._is_withdrawn:
            link.send("withdraw")
        elif self._close_asked is not None:
            self._send_close(self._close_asked)

    def _send_close(self, timeout: float) -> None:
        self._send("close", timeout=timeout, exit_code=self._exit_code)

    def _fall_back(self, reason: str) -> None:
        """Deliver from a thread of this process."""
        self._tell(f"no process can be started to deliver ({reason}); a thread does it instead.")
        try:
            self._instead = self._courier_here()
        except (Error, ImportError, OSError) as error:
            self._tell_rest(f"a thread cannot do it either ({error}); the records stay in the journal.")
        else:
            if self._has_ended:
                self._instead.tell_end(self._exit_code)
            self._instead.start()
            if self._close_asked is not None:
                self._instead.ask_to_close(self._close_asked)
            if self._is_withdrawn:
                self._instead.withdraw()
        self._over.set()

    def _courier_here(self) -> Courier:
        """Return a courier for a thread of this process.

        Raises:
            Error, ImportError, OSError: there can be none.
        """
        from corelib.shell.courier import courier_for
        from corelib.shell.delivery_spec import transport_of
        from corelib.shell.observer import Observer

        observer = Observer(self._on_remote, self._on_stopped)
        return courier_for(self._spec, transport_of(self._spec), report=self._report, observer=observer)

    # Watching.

    def _watch(self) -> None:
        fruitless = 0
        settled = 0
        if (self._link is None or not self._link.is_started) and not self._started_later():
            return
        while True:
            self._listen()
            if self._is_final or self._is_withdrawn:
                break
            unfit = None if self._link is None or self._was_heard else self._link.unfit
            if unfit is not None and self._link is not None:
                self._unfit_starts += 1
                if self._link.is_mute or self._unfit_starts >= _UNFIT_STARTS:
                    self._fall_back(unfit)
                    return
            now_settled = self._ledger.delivered + self._ledger.rejected
            fruitless = 1 if now_settled > settled else fruitless + 1
            settled = now_settled
            if not self._replaced(fruitless):
                break
        self._over.set()

    def _started_later(self) -> bool:
        """Start a courier where there was no room for one; return whether there is one. Else a thread does it."""
        reason = ""
        for pause_s in _SHORTAGE_PAUSES_S:
            self._hurry.wait(pause_s)
            if self._is_withdrawn:
                return False
            try:
                self._spawn()
                return True
            except (OSError, ValueError) as error:
                reason = _reason(error)
            if self._hurry.is_set():
                break
        self._fall_back(reason)
        return False

    def _replaced(self, fruitless: int) -> bool:
        """Start another courier after one that died; return whether there is one."""
        if fruitless > _MOST_FRUITLESS_STARTS:
            self._tell_rest(
                f"{fruitless} couriers have died in a row and delivered nothing; the records stay in the journal, "
                "and `corelib sync` delivers them."
            )
            return False
        self._hurry.wait(min(_FIRST_PAUSE_S * 2 ** (fruitless - 1), _LONGEST_PAUSE_S))
        if self._is_withdrawn:
            return False
        self._tell_once("its courier died and is replaced; nothing is lost by that.")
        try:
            self._spawn()
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in _SHORTAGES:
                return self._started_later()
            self._fall_back(_reason(error))
            return False
        return True

    def _listen(self) -> None:
        """Take what the courier says, until it says nothing more."""
        link = self._link
        for message in link.listen() if link is not None else ():
            try:
                self._hear(message)
            except (KeyError, TypeError, ValueError):
                continue  # of another version, or garbled by something that wrote there as well
        self._end_link()

    def _end_link(self) -> None:
        if self._link is not None:
            self._link.end()

    def _hear(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "hello":
            self.pid = int(message["pid"])
            self._was_heard = True
        elif self._is_withdrawn:
            return
        elif kind == "notice":
            self._report(str(message["text"]))
        elif kind == "remote" and self._on_remote is not None:
            self._on_remote(RemoteAddress(*message["remote"]))
        elif kind == "stopped" and self._on_stopped is not None:
            self._on_stopped()
        elif kind == "failed":
            self._is_final = True
            self._tell_rest(f"{message['text']} The records stay in the journal.")
        elif kind in {"ledger", "held", "final"}:
            self._ledger = read_ledger(message)
            self._settled_bytes = int(message["bytes"])
            self._is_drained = bool(message["drained"])
            self._is_final = self._is_final or kind != "ledger"
            if self._is_final:
                self._over.set()

    def _send(self, type: str, **values: Any) -> None:
        if self._link is not None:
            self._link.send(type, **values)

    def _tell_rest(self, text: str) -> None:
        """Say why something is left, unless that was said already."""
        if not self._is_rest_told:
            self._is_rest_told = True
            self._tell(is_lost(self._spec.directory) or text)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def _tell(self, text: str) -> None:
        if not self._is_withdrawn:
            self._report(f"transport {self.name}: {text}")

    def __repr__(self) -> str:
        return f"<CourierProcess {self.pid} {self._spec!r}>"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
