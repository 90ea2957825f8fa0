"""Which files of a run are to be uploaded, and when.

Law: `now` goes out when it was saved; `live` too, again whenever it has changed, and at the end; `end` at the
end. A file is the same as long as its size and time of change are. What cannot be read is refused with its
record, and looked at again at the end; what changed while it was sent is looked at again, and sent as it is then;
what was uploaded once and is gone by now stays as it was. Nobody here looks at a disk: whoever does is told the names,
and tells what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Final, Literal, NamedTuple, TypeAlias

from transports.wandb_exchange import LocalFile
from transports.wandb_stream import Key, Refusal
from transports.wandb_uploads import Upload

__all__ = ["METADATA", "Fate", "FileState", "RunFiles"]

METADATA: Final = "wandb-metadata.json"
_FOUND: Final = (METADATA, "requirements.txt")  # uploaded where they are there, whoever put them there

Fate: TypeAlias = Literal["new", "sent", "lost", "again"]
"""What became of a saved file: nothing so far; it was seen to; it could not be sent, which the end tries once more; it
was refused for good, and is to be sent after all.
"""

_LONG_AGO: Final = (-1, -1)  # the size and time of a file of which no more is known than that it was sent


class FileState(NamedTuple):
    """What is there under a name: the absolute path, the size in bytes, the time of change in nanoseconds."""

    path: str
    size: int
    changed_ns: int


class RunFiles:
    """The saved files of one run. `ignored` are patterns of names that are never uploaded."""

    def __init__(self, ignored: Sequence[str] = ()) -> None:
        self._ignored = ignored
        self._policies: dict[str, str] = {}
        self._keys: dict[str, Key] = {}
        self._asked: dict[str, Key | None] = {}
        self._broken: dict[str, str] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._offered: dict[str, tuple[int, int]] = {}
        self._found: tuple[str, ...] = _FOUND
        self._is_last_call = False

    def saved(self, name: str, policy: str, key: Key, *, fate: Fate = "new") -> Refusal | None:
        """Take that a file was saved, and what became of it since."""
        if any(fnmatchcase(name, pattern) for pattern in self._ignored):
            return None
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            return Refusal((key,), f"{name!r} is no path below files/") if fate in ("new", "again") else None
        self._policies[name], self._keys[name] = policy, key
        if fate == "again":
            self._sent.pop(name, None)
        if fate == "again" or (fate == "new" and policy != "end"):
            self._asked[name] = key
        elif fate == "sent" and policy != "end":
            self._sent[name] = _LONG_AGO
        return None

    @property
    def asked(self) -> tuple[str, ...]:
        """The names of files that are to go, and that nobody has looked at since that was said."""
        return tuple(self._asked)

    def broken(self, upload: Upload, reason: str) -> None:
        """Take that a file could not be read as it was told: it is to be looked at again."""
        self._asked[upload.name] = upload.key
        self._broken[upload.name] = reason

    def is_saved(self, name: str) -> bool:
        """Whether a record asks for this file."""
        return name in self._policies

    def end(self) -> None:
        """Take that the run ends: everything that is still to go goes now."""
        self._is_last_call = True

    def to_look_at(self) -> tuple[str, ...]:
        """Return the names under which somebody has to look what is there."""
        names = dict.fromkeys((*self._asked, *self._found))
        for name, policy in self._policies.items():
            if policy == "live" if name in self._sent else self._is_last_call:
                names[name] = None
        return tuple(names)

    def looked_at(self, states: Mapping[str, FileState | str]) -> tuple[list[Upload], list[Refusal]]:
        """Take what is there, or why it cannot be had; return what is to be uploaded, and what is refused."""
        uploads: list[Upload] = []
        refusals: list[Refusal] = []
        for name, state in states.items():
            key = self._asked.pop(name, None) or self._keys.get(name)
            broken = self._broken.pop(name, None)
            if isinstance(state, str):
                if name in self._policies and name not in self._sent and key is not None:
                    refusals.append(Refusal((key,), f"{name}: {state}", (name,)))
                continue
            signature = (state.size, state.changed_ns)
            if broken is not None and self._offered.get(name) == signature:
                refusals.append(Refusal(() if key is None else (key,), broken, (name,)))
                continue
            if self._sent.get(name) != signature:
                self._offered[name] = signature
                uploads.append(Upload(name, LocalFile(state.path, state.size), key, state.changed_ns))
        self._found = ()
        self._is_last_call = False
        return uploads, refusals

    def uploaded(self, name: str) -> None:
        """Take that a file has arrived."""
        self._sent[name] = self._offered.pop(name, _LONG_AGO)

    def __contains__(self, name: object) -> bool:
        return name in self._policies or name in self._offered or name in self._sent
