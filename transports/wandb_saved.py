"""How far the delivery of a run has come, as JSON that outlives the process.

Law: `SavedRun.read(saved.tree())` is `saved`. A tree that is something else is an error: half a cursor would
put rows where others are. What is owed beside the rows is named, not held: the records say the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from attrs import field, frozen

from corelib.errors import UsageError
from transports.wandb_graphql import Bucket, RunName
from transports.wandb_stream import LINE_FILES, Key

__all__ = ["NOTHING_OWED", "Owed", "SavedRun"]

_VERSION: Final = 2
_BEFORE_LANES: Final = 1  # when nothing was answered that was still owed


class Owed(NamedTuple):
    """What batches that were answered asked for, and is still to be sent.

    Args:
        description: how the run is described has changed.
        alerts: the records of alerts.
        files: the names of files.
        losses: why something of it could not be sent, and what: it is tried once more when the run ends.
    """

    description: bool = False
    alerts: tuple[Key, ...] = ()
    files: tuple[str, ...] = ()
    losses: tuple[tuple[str, tuple[str, ...]], ...] = ()


NOTHING_OWED: Final = Owed()


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
        owed: what is to be sent beside the rows.
    """

    run: RunName
    storage_id: str | None = None
    name: str | None = None
    offsets: Mapping[str, int] = field(factory=dict)
    uploaded: tuple[str, ...] = ()
    complete: bool = False
    encoding: Literal["gzip", "zstd"] | None = None
    owed: Owed = NOTHING_OWED

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
            "owed": {
                "description": self.owed.description,
                "alerts": [list(key) for key in self.owed.alerts],
                "files": list(self.owed.files),
                "losses": [[reason, list(names)] for reason, names in self.owed.losses],
            },
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
        version = tree.get("version")
        owed = NOTHING_OWED if version == _BEFORE_LANES else _read_owed(tree.get("owed"))
        is_sound = (
            version in (_VERSION, _BEFORE_LANES)
            and type(version) is int
            and _are(run, str, count=3)
            and isinstance(offsets, dict)
            and offsets.keys() == set(LINE_FILES)
            and all(type(offset) is int and offset >= 0 for offset in offsets.values())
            and _are(uploaded, str)
            and all(name is None or isinstance(name, str) for name in names)
            and isinstance(tree.get("complete"), bool)
            and tree.get("encoding") in (None, "gzip", "zstd")
        )
        if not is_sound or owed is None:
            raise UsageError("What was saved of a delivery to a W&B server cannot be understood.")
        return cls(
            run=RunName(*run),
            storage_id=names[0],
            name=names[1],
            offsets=offsets,
            uploaded=tuple(uploaded),
            complete=tree["complete"],
            encoding=tree["encoding"],
            owed=owed,
        )


def _read_owed(tree: object) -> Owed | None:
    """Read what is owed; None: it is something else."""
    if not isinstance(tree, dict):
        return None
    alerts: Any = tree.get("alerts")
    losses: Any = tree.get("losses")
    is_sound = (
        isinstance(tree.get("description"), bool)
        and _are(alerts, list)
        and all([type(part) for part in key] == [str, int] for key in alerts)
        and _are(tree.get("files"), str)
        and _are(losses, list)
        and all(len(loss) == 2 and isinstance(loss[0], str) and _are(loss[1], str) for loss in losses)  # noqa: PLR2004
    )
    if not is_sound:
        return None
    keys = tuple((key[0], key[1]) for key in alerts)
    named = tuple((reason, tuple(names)) for reason, names in losses)
    return Owed(tree["description"], keys, tuple(tree["files"]), named)


def _are(value: object, kind: type, count: int | None = None) -> bool:
    """Say whether a value is a list of so many of a kind."""
    return (
        isinstance(value, list)
        and all(isinstance(item, kind) for item in value)
        and count in (None, len(value))
    )
