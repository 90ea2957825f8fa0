"""The state of one core: what `setup()` said and `login()` found, which runs are active and which is current, and how
the process ends.

Law: this object is the only mutable state that outlives a call, and the default core's is the only module-level one. It
leaves nothing behind: the exit hook and the ending watch exist only while a run is active.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakMethod

if TYPE_CHECKING:
    from corelib.shell.ending import EndingWatch

__all__ = ["ActiveRun", "Session", "default", "reset"]


class ActiveRun(Protocol):
    """What the session needs of a run."""

    @property
    def id(self) -> str:
        """The run id."""
        ...

    def end_with_process(self, exit_code: int | None, leave_status: Callable[[str], bool]) -> None:
        """Record the end, because the interpreter ends; None: by a SystemExit whose code is hidden."""
        ...

    def close_with(self, others: Sequence[Any]) -> None:
        """Have what was recorded delivered, together with that of other runs, and be over; so are they."""
        ...

    def after_fork_in_child(self, on_end: Callable[[ActiveRun], None]) -> None:
        """Let go of what belongs to the parent; `on_end` is told when the child is done with the run."""
        ...


class Session:
    """Active runs in the order of their start; `current` is the one that the module-level functions mean."""

    def __init__(self) -> None:
        """Start with no run, no setup and no login."""
        self.setup: Any = None
        self.login: Any = None
        self.current: Any = None
        self.active: list[Any] = []
        self._watch: EndingWatch | None = None
        self._fork_hook = False

    def started(self, run: ActiveRun, *, make_current: bool) -> None:
        """Take a run that has begun."""
        if self._watch is None:
            from corelib.shell.ending import EndingWatch

            self._watch = EndingWatch()
            atexit.register(self._at_exit)
        if not self._fork_hook:
            self._fork_hook = True
            method = WeakMethod(self._after_fork_in_child)
            os.register_at_fork(after_in_child=lambda: _call(method))
        self.active.append(run)
        if make_current:
            self.current = run

    def ended(self, run: ActiveRun) -> None:
        """Forget a run that is over."""
        self.active = [one for one in self.active if one is not run]
        if self.current is run:
            self.current = None
        if not self.active:
            self._close_watch()

    def reset(self) -> None:
        """Forget everything; runs that are still active are left as they are. For tests."""
        self.setup = None
        self.login = None
        self.current = None
        self.active = []
        self._close_watch()

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        watch = self._watch
        if watch is None:
            return
        code = watch.exit_code()
        runs = list(reversed(self.active))
        for run in runs:
            run.end_with_process(code, watch.leave_status)
        # Every end is on disk by now; the waiting is for all of them at once.
        if runs:
            runs[0].close_with(runs[1:])

    def _after_fork_in_child(self) -> None:
        # The child may go on to log into the current run, and its `init()` makes a run of its own: none is active.
        inherited, self.active = self.active, []
        self._close_watch()
        for run in inherited:
            run.after_fork_in_child(self.ended)


def _call(method: WeakMethod[Callable[[], None]]) -> None:
    bound = method()
    if bound is not None:
        bound()


default = Session()
"""The session of the default core: the only mutable module-level state of the project."""


def reset() -> None:
    """Put the default core back to the state after import. For tests."""
    default.reset()
