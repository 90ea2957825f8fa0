"""The end of a run: recorded first, then delivered as far as the time allows.

Law: the end is recorded once, by whoever comes first; whoever comes meanwhile waits for that one, or gets the numbers
as they stand. However the waiting ends, by a Ctrl-C or a signal handler of the program, the run is over, all who must
know it are told, and the receipt says what is so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite
from operator import index
from pathlib import Path
from threading import TIMEOUT_MAX, Event, get_ident
from time import monotonic, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from corelib.api.carried import Carried
from corelib.api.identity import Plan
from corelib.errors import Error, UsageError, UsageTypeError
from corelib.pure.lifecycle import FAILED, FINISHED, RUNNING
from corelib.pure.paths import RunPaths
from corelib.pure.receipt import Receipt
from corelib.pure.records import Exit

if TYPE_CHECKING:
    from corelib.journal import JournalWriter
    from corelib.shell.report import Report

__all__ = ["Ending", "Hook"]

E = TypeVar("E", bound="Ending")


class Hook(Protocol):
    """What touches the world for a run, and lets go of it when the run ends."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """Let go, and record what is left; it raises nothing of its own."""

    def abandon(self) -> None:
        """Let go in a forked child, and record nothing."""


class Ending(Carried):
    """The part of a run that has to do with its end."""

    __slots__ = ("_ender", "_exit_code", "_hooks", "_is_over", "_on_end", "_on_recorded", "_receipt")

    def __init__(
        self,
        plan: Plan,
        *,
        journal: JournalWriter | None,
        report: Report,
        on_end: Callable[[Any, int | None], None],
        on_recorded: Callable[[int | None], None] | None = None,
    ) -> None:
        """Begin. `on_recorded` is told when the end is on disk, `on_end` when nobody waits any more."""
        super().__init__(plan, journal=journal, report=report)
        self._on_end = on_end
        self._on_recorded = on_recorded
        self._exit_code: int | None = None
        self._receipt: Receipt | None = None
        self._ender: int | None = None
        self._hooks: list[Hook] = []
        self._is_over = Event()

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> Receipt:
        """End the run and return its receipt. Finishing twice is harmless; the first exit code stays, and what was left
        to deliver is waited for once more.

        While transports are waited for, it is shown how far they are. A Ctrl-C ends the waiting; what is left is
        delivered in the background, or by `corelib sync`.

        Args:
            exit_code: 0 (also None) for success, anything else for failure.
            quiet: accepted for the reference's sake, without effect.
            timeout: seconds to wait for transports; None waits as long as settings.finish_timeout says.

        Raises:
            UsageTypeError: `exit_code` is no integer, or `timeout` no number; the run goes on.
            UsageError: `timeout` is not finite; likewise.
        """
        del quiet
        if exit_code is not None:
            exit_code = _exit_code(exit_code)
        return self._finish(exit_code or 0, timeout=None if timeout is None else _seconds(timeout))

    join = finish

    @property
    def exit_code(self) -> int | None:
        """The exit code, once the run is over."""
        return self._exit_code

    @property
    def receipt(self) -> Receipt:
        """What became of every row so far; final when `finish()` has returned."""
        if self._receipt is not None:
            return self._receipt
        return self._account(self._ledgers(), self._exit_code)

    def __enter__(self: E) -> E:  # noqa: PYI019  `Self` is of Python 3.11
        """Return the run itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish with the exit code that the exception means; never suppress it."""
        from corelib.shell.ending import code_of  # loaded since the run began

        # Whoever has finished the run in the block has said how long to wait.
        self._finish(code_of(error), timeout=0.0 if self._is_over.is_set() else None)

    # Together with the process.

    def end_with_process(self, exit_code: int | None, leave_status: Callable[[str], bool]) -> None:
        """Record the end, because the interpreter ends. None: by a SystemExit whose code is hidden; libc may tell it.

        Where it does, the code stands in the file `exit-status` when the process is gone: readers and the next `init()`
        look there. Where it does not, the run counts as failed, which is the safe side for resuming it.
        """
        if exit_code is None:
            directory = self._plan.directory
            if directory is None or not leave_status(str(RunPaths(Path(directory)).exit_status)):
                exit_code = 1
        if self._is_first():
            try:
                self._record_end(exit_code)
            except Error as error:  # with errors="raise"; nobody is left who could catch it
                self._report.warn(str(error))

    def close_with(self, others: Sequence[Ending]) -> None:
        """Have what was recorded delivered, together with that of other runs, and be over; so are they."""
        mine = [run for run in (self, *others) if run.is_ended_here]
        if mine:
            mine[0]._close(mine[1:], None)  # noqa: SLF001  of the same class
        for run in (self, *others):
            run.wait_for_ender(None)

    # What touches the world meanwhile.

    def give_hook(self, make: Callable[[Callable[..., None]], Hook]) -> None:
        """Have something touch the world until the run ends. `make` is given what records for it. For `init()`."""
        hook = make(self._record_for_hook)
        self._hooks.append(hook)
        hook.start()

    def stop_hooks(self) -> None:
        """Have the world be as it was, the last touch first."""
        while self._hooks:
            self._hooks.pop().stop()

    def _record_for_hook(self, kind: type[Any], **values: Any) -> None:
        with self._lock:
            if self._state == RUNNING:
                self._append(kind, **values)

    # In a forked child.

    def _end_on_its_own(self, on_end: Callable[[Any], None]) -> None:
        """Have an end that is not the run's: only `on_end` is told."""
        self._on_end = lambda run, _: on_end(run)
        self._on_recorded = None
        self._is_over = Event()
        while self._hooks:
            self._hooks.pop().abandon()
        if self._ender is not None:
            self._is_over.set()  # whoever was ending it does so in the parent

    # How it goes.

    def _finish(self, exit_code: int | None, *, timeout: float | None = None) -> Receipt:
        if not self._is_first():
            return self._finish_again(timeout)
        try:
            self._record_end(exit_code)
        except BaseException:
            self._close((), 0.0)
            raise
        self._close((), timeout)
        return self.receipt

    def _finish_again(self, timeout: float | None) -> Receipt:
        """Wait for whoever ends the run, and for what that one did not wait for, all within the time."""
        deadline = monotonic() + (self.settings.finish_timeout if timeout is None else timeout)
        self.wait_for_ender(timeout)
        if self._is_over.is_set() and self._couriers:
            remaining_s = deadline - monotonic()
            if remaining_s > 0 and not all(courier.wait(0.0) for courier in self._couriers):
                self._wait_for_couriers((), remaining_s)
            self._receipt = self._account(self._ledgers(), self._exit_code)
        return self.receipt

    def _is_first(self) -> bool:
        """Become the one who ends the run; False: somebody else is."""
        with self._lock:
            if self._ender is not None:
                return False
            self._ender = get_ident()
            return True

    @property
    def is_ended_here(self) -> bool:
        """Whether it is this thread that ends the run."""
        return self._ender == get_ident()

    def wait_for_ender(self, timeout: float | None) -> None:
        """Wait for whoever ends the run, but not for oneself: a signal handler may have interrupted that."""
        if not self.is_ended_here:
            seconds = self.settings.finish_timeout if timeout is None else timeout
            self._is_over.wait(min(seconds, TIMEOUT_MAX))

    def _record_end(self, exit_code: int | None) -> None:
        try:
            self.stop_hooks()  # outside the lock, which what they record waits for
        finally:
            self._write_end(exit_code)

    def _write_end(self, exit_code: int | None) -> None:
        with self._lock:
            self._state = FINISHED if exit_code == 0 else FAILED
            self._exit_code = exit_code
            self._plain = False
            for courier in self._couriers:
                courier.tell_end(exit_code)  # first, for the journal may have no room for it
            self._take(self._assembler.finish())
            self._reduce()
            self._steps.open = False
            if self._plan.primary:
                self._append(Exit, exit_code=exit_code, runtime=self._runtime(time()))
        if self._on_recorded is not None:
            # At once: whoever is killed while transports are waited for has ended all the same.
            self._on_recorded(exit_code)

    def _close(self, others: Sequence[Ending], timeout: float | None) -> None:
        """Wait for what carries the runs, under one deadline, and have all be over, whatever ends the waiting."""
        try:
            self._wait_for_couriers(others, timeout)
        finally:
            _be_over((self, *others))

    def be_over(self) -> None:
        """Let go of the journal, and tell all who must know. Outside the lock: who still asks must not wait."""
        try:
            if self._journal is not None:
                self._journal.close()
                for problem in self._journal.problems:
                    self._report.debug(problem)
        finally:
            try:
                self._receipt = self._account(self._ledgers(), self._exit_code)
                self._is_over.set()
            finally:
                self._on_end(self, self._exit_code)


def _be_over(runs: Sequence[Ending]) -> None:
    """Have all be over, also where that is interrupted: the interrupt goes on when all are."""
    for number, run in enumerate(runs):
        try:
            run.be_over()
        except BaseException:
            _be_over(runs[number + 1 :])
            raise


def _exit_code(value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return index(value)  # type: ignore[arg-type]  # the question is whether it is one
    except TypeError:
        message = f"finish(exit_code=…) must be an integer, not {type(value).__name__} ({value!r})."
        raise UsageTypeError(message) from None


def _seconds(value: Any) -> float:
    try:
        if isinstance(value, (bool, bytes, str)):
            raise TypeError
        seconds = float(value)
    except (TypeError, ValueError):
        message = f"finish(timeout=…) must be a number of seconds, not {type(value).__name__} ({value!r})."
        raise UsageTypeError(message) from None
    except OverflowError:
        seconds = float("inf")
    if not isfinite(seconds):
        raise UsageError(f"finish(timeout=…) must be a finite number of seconds, not {value!r}.")
    return max(seconds, 0.0)
