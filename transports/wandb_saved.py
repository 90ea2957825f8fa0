"""How far the delivery of a run has come, as JSON that outlives the process.

Law: `SavedRun.read(saved.tree())` is `saved`. A tree that is something else is an error: half a cursor would
put rows where others are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from attrs import field, frozen

from corelib.errors import UsageError
from transports.wandb_graphql import Bucket, RunName
from transports.wandb_stream import LINE_FILES

__all__ = ["SavedRun"]

_VERSION: Final = 1


@frozen(kw_only=True)
class SavedRun:
    """What a new process must know beside the records.

    Args:
        run: what the server calls the run.
        storage_id: its key there; a change sent with it cannot create a run.
        name: its name for people.
        offsets: where the next line of each streamed file goes.
        uploaded: files whose arrival is still to be announced.
        complete: the server knows that the run has ended.
        encoding: how bodies may be compressed.
    """

    run: RunName
    storage_id: str | None = None
    name: str | None = None
    offsets: Mapping[str, int] = field(factory=dict)
    uploaded: tuple[str, ...] = ()
    complete: bool = False
    encoding: Literal["gzip", "zstd"] | None = None

    def bucket(self) -> Bucket:
        """Return the run as an upsert would answer it."""
        return Bucket(self.run, self.storage_id, self.name, 0, inserted=False, started=True)

    def tree(self) -> dict[str, Any]:
        """Return it as a JSON tree."""
        return {
            "version": _VERSION,
            "run": list(self.run),
            "storage_id": self.storage_id,
            "name": self.name,
            "offsets": dict(self.offsets),
            "uploaded": list(self.uploaded),
            "complete": self.complete,
            "encoding": self.encoding,
        }

    @classmethod
    def read(cls, tree: Mapping[str, Any]) -> SavedRun:
        """Read what `tree` returned.

        Raises:
            UsageError: it is something else.
        """
        run: Any = tree.get("run")
        offsets: Any = tree.get("offsets")
        uploaded: Any = tree.get("uploaded")
        names = (tree.get("storage_id"), tree.get("name"))
        is_sound = (
            tree.get("version") == _VERSION
            and _are(run, str, count=3)
            and isinstance(offsets, dict)
            and offsets.keys() == set(LINE_FILES)
            and all(type(offset) is int and offset >= 0 for offset in offsets.values())
            and _are(uploaded, str)
            and all(name is None or isinstance(name, str) for name in names)
            and isinstance(tree.get("complete"), bool)
            and tree.get("encoding") in (None, "gzip", "zstd")
        )
        if not is_sound:
            raise UsageError("What was saved of a delivery to a W&B server cannot be understood.")
        return cls(
            run=RunName(*run),
            storage_id=names[0],
            name=names[1],
            offsets=offsets,
            uploaded=tuple(uploaded),
            complete=tree["complete"],
            encoding=tree["encoding"],
        )


def _are(value: object, kind: type, count: int | None = None) -> bool:
    """Say whether a value is a list of so many of a kind."""
    return (
        isinstance(value, list)
        and all(isinstance(item, kind) for item in value)
        and count in (None, len(value))
    )
