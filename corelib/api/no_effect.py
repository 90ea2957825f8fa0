"""What the reference offers and this version does not do: the calls are taken, answered harmlessly, and said once.

Law: code written for the reference runs on; nobody is told that something was done which was not.
"""

from __future__ import annotations

from typing import Any

from corelib.api.recording import Recording

__all__ = ["NoEffect", "NoEffectCalls"]


class NoEffect:
    """Takes any call and any public attribute, and does nothing; so `log_artifact(x).wait()` runs on."""

    __slots__ = ()

    def __getattr__(self, name: str) -> NoEffect:
        """Return itself; special names are missing, so that protocols such as pickling are not faked."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_: Any, **__: Any) -> NoEffect:
        """Return itself."""
        return self

    def __repr__(self) -> str:
        """Say what it is."""
        return "<NoEffect: not part of this version>"


class NoEffectCalls(Recording):
    """The calls of a run that have no effect in this version."""

    __slots__ = ()

    def log_artifact(self, *_: Any, **__: Any) -> Any:
        """Accept without effect: artifacts are not part of this version."""
        self._without_effect("log_artifact")
        return NoEffect()

    def use_artifact(self, *_: Any, **__: Any) -> None:
        """Accept without effect: artifacts are not part of this version."""
        self._without_effect("use_artifact")

    def watch(self, *_: Any, **__: Any) -> None:
        """Accept without effect: gradients are not recorded in this version."""
        self._without_effect("watch")

    def restore(self, *_: Any, **__: Any) -> None:
        """Accept without effect: files of other runs are not fetched in this version."""
        self._without_effect("restore")

    def _without_effect(self, call: str) -> None:
        self._report.warn(f"run.{call}() has no effect in this version.", once=call)
