"""Which step a `log()` call belongs to, and how calls become rows.

Law: no call is lost over its step. Steps of a writer's own rows grow; a call behind the current step is *late* and,
under the policy "keep", becomes a row of its own with the step it names and moves nothing. Rows in = rows out, per
policy.

`Steps` decides while logging; `Assembler` merges the journalled calls of one writer into rows when reading, by the
same marks (`step`, `commit`, `late`), so that what was logged and what is read back agree by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple, TypeGuard

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.records import Row

__all__ = ["Assembled", "Assembler", "Placement", "Steps", "check_step", "flatten", "merge"]


class Placement(NamedTuple):
    """Where one call goes. `keep` False: the policy drops it. `late`: it stands behind the current step."""

    step: int
    commit: bool
    late: bool
    keep: bool


class Steps:
    """The step counter of one writer: `step` is the step of the next row, or of the open one.

    Mutable because every `log()` passes here; free of I/O like everything pure.
    """

    __slots__ = ("open", "step")

    def __init__(self, step: int = 0) -> None:
        """Start at `step`: 0, or behind the last step of a resumed run."""
        self.step = step
        self.open = False

    def advance(self) -> int:
        """Place a call without step and commit, which closes the current row: equals `place(None, None, …)`."""
        step = self.step
        self.step = step + 1
        self.open = False
        return step

    def place(self, step: int | None, commit: bool | None, policy: str) -> Placement:
        """Place a call by the rules of the reference, with `policy` (keep, drop, error) for a step behind.

        Raises:
            UsageError: the step is behind and the policy is "error"; the counter is unchanged.
        """
        closes = step is None if commit is None else bool(commit)
        if step is None:
            step = self.step
        elif step < self.step:
            if policy == "error":
                message = (
                    f"log() was given step {step}, but the run is already at step {self.step}. Steps must grow: leave "
                    'step out, or choose step_policy="keep" to keep such rows.'
                )
                raise UsageError(message)
            return Placement(step, commit=True, late=True, keep=policy != "drop")
        self.step = step + 1 if closes else step
        self.open = not closes
        return Placement(step, closes, late=False, keep=True)


def check_step(step: object) -> int | None:
    """Return a `log(step=…)` argument as an int: integers of any library, never a bool, a float or a text.

    Raises:
        UsageTypeError: not an integer.
        UsageError: negative.
    """
    if step is None:
        return None
    if isinstance(step, bool):
        message = "log(step=…) must be an integer, not a bool."
        raise UsageTypeError(message)
    try:
        number = index(step)  # type: ignore[arg-type]  # the question is whether it is one
    except TypeError:
        message = f"log(step=…) must be an integer, not {type(step).__name__} ({step!r})."
        raise UsageTypeError(message) from None
    if number < 0:
        message = f"log(step=…) must not be negative, and is {number}."
        raise UsageError(message)
    return number


class Assembled(NamedTuple):
    """A finished row. `step` None: it comes from a secondary writer and is numbered by the reader."""

    step: int | None
    time: float
    data: Mapping[str, Any]


class Assembler:
    """Merges the `Row` records of one writer into rows, in order."""

    __slots__ = ("_data", "_open", "_step", "_time")

    def __init__(self) -> None:
        """Start without an open row."""
        self._open = False
        self._step: int | None = None
        self._time = 0.0
        self._data: dict[str, Any] = {}

    def feed(self, row: Row) -> list[Assembled]:
        """Take one call; return the rows that it finishes, without those that hold no value."""
        if row.late:
            return [Assembled(row.step, row.time, row.data)] if row.data else []
        if row.commit and not self._open:
            return [Assembled(row.step, row.time, row.data)] if row.data else []
        finished = self.finish() if self._open and row.step != self._step else []
        merge(self._data, row.data)
        self._open, self._step, self._time = True, row.step, row.time
        if row.commit:
            finished += self.finish()
        return finished

    def open_row(self, step: int | None) -> Mapping[str, Any]:
        """Return the values so far of the row that a call of this step would join; empty if it would begin one."""
        return self._data if self._open and step == self._step else {}

    def finish(self) -> list[Assembled]:
        """Close the open row, as the end of the run does."""
        data, self._data = self._data, {}
        self._open = False
        return [Assembled(self._step, self._time, data)] if data else []


def merge(target: dict[str, Any], update: Mapping[str, Any]) -> None:
    """Merge a value tree into another: later values win per key, dictionaries are merged key by key.

    A dictionary with a `_type` (a histogram, say) is one value. Nothing of `update` is aliased into `target` where a
    later merge would write to it.
    """
    for key, value in update.items():
        if _is_branch(value):
            present = target.get(key)
            nested = dict(present) if _is_branch(present) else {}
            merge(nested, value)
            target[key] = nested
        else:
            target[key] = value


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a row with nested keys as paths: `{"d": {"a": 1}}` gives `{"d/a": 1}`; a dot in a key is no separator.

    A dictionary with a `_type` is one value.
    """
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if _is_branch(value):
            flat.update(flatten(value, f"{prefix}{key}/"))
        else:
            flat[prefix + key] = value
    return flat


def _is_branch(value: object) -> TypeGuard[dict[str, Any]]:
    return type(value) is dict and "_type" not in value
