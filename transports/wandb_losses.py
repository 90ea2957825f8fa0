"""What will never be delivered, and why: for the records concerned, and for people.

Law: each refusal counts once, with the record that asked, and with no other. What may yet arrive otherwise, a file or
the description of the run, is held back by name until the run ends, and is no loss if it arrives. What no record asked
for is told in words alone. People are told a cause once, and what is kept of that is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from corelib.ports import Batch, LateLoss
from corelib.pure.records import Record
from transports.wandb_stream import Key, Refusal

__all__ = ["Losses"]

_MOST_CAUSES: Final = 200
_MOST_UNTOLD: Final = 50
_MOST_ASKERS: Final = 1000


class Losses:
    """The refusals and notices of one run.

    Args:
        held: by reason, the names of what may yet arrive, as an earlier process left it.

    `refused` is why, by record; `held`, why something is missing so far, by its name.
    """

    def __init__(self, held: Mapping[str, Iterable[str]] = MappingProxyType({})) -> None:
        self.refused: dict[Key, str] = {}
        self.held: dict[str, str] = {name: reason for reason, names in held.items() for name in names}
        self._askers: dict[str, deque[tuple[Key, Record]]] = {}
        self._late: list[LateLoss] = []
        self._answered: dict[str, int] = {}
        self._again: set[Key] = set()
        self._causes: dict[str, None] = {}
        self._untold: list[str] = []

    def asked(self, name: str, key: Key, record: Record, *, too: bool = False) -> None:
        """Take which record asks for what has this name; it answers for it alone, unless others do, too."""
        if not too or name not in self._askers:
            self._askers[name] = deque(maxlen=_MOST_ASKERS)
        self._askers[name].append((key, record))

    def seen_to(self, name: str) -> None:
        """Take that nobody waits any more for what has this name."""
        self._askers.pop(name, None)
        self.arrived(name)

    def refuse(self, refusal: Refusal | None) -> None:
        """Count what will not be delivered with its records, now or when the run ends; and tell people."""
        if refusal is None:
            return
        if refusal.about:
            self.held |= {name: refusal.reason for name in refusal.about if name in self._askers}
        else:
            keys = [key for key in refusal.keys if not self._is_answered(key)]
            self.refused |= dict.fromkeys(keys, refusal.reason)
            if refusal.keys and len(keys) == len(refusal.keys):
                return  # people are told with the records
        self.notice(f"Something was not delivered: {refusal.reason}")

    def refuse_record(self, key: Key, record: Record, reason: str) -> None:
        """Count a record as refused, even if it was answered already."""
        if self._is_answered(key):
            self._late.append(LateLoss(key[0], record, reason))
            self.notice(f"Something was not delivered: {reason}")
        else:
            self.refused[key] = reason

    def arrived(self, name: str) -> None:
        """Take that something has arrived after all."""
        self.held.pop(name, None)

    def by_reason(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Return the names of what is held back, by reason."""
        names: dict[str, list[str]] = {}
        for name, reason in self.held.items():
            names.setdefault(reason, []).append(name)
        return tuple((reason, tuple(those)) for reason, those in names.items())

    def notice(self, text: str, cause: str | None = None) -> None:
        """Have people told something, once for each cause, which by default is the text."""
        cause = text if cause is None else cause
        if cause not in self._causes and len(self._untold) < _MOST_UNTOLD:
            self.is_told(cause)
            self._untold.append(text)

    def is_told(self, cause: str) -> None:
        """Take that people are told of a cause otherwise, as with a record that is refused for it."""
        if len(self._causes) >= _MOST_CAUSES:
            del self._causes[next(iter(self._causes))]
        self._causes[cause] = None

    def untold(self) -> tuple[str, ...]:
        """Return the notices that nobody was told so far."""
        untold, self._untold = tuple(self._untold), []
        return untold

    def late(self) -> tuple[LateLoss, ...]:
        """Return the records that are lost although they were answered, each once."""
        late, self._late = tuple(self._late), []
        return late

    def answered(self, batch: Batch, *, ended: bool = False) -> dict[int, str]:
        """Take that a batch is answered for good; return which of its records are refused, and why.

        Args:
            batch: the batch.
            ended: the run has ended, so that what is missing will not arrive any more.
        """
        keys = [(batch.writer, record.seq) for record in batch.records]
        if ended:
            self._give_up(set(keys))
        self.is_known(batch)
        return {key[1]: self.refused[key] for key in keys if key in self.refused}

    def are_asked_again(self, keys: Iterable[Key]) -> None:
        """Take that records which were refused are to be answered once more."""
        self._again.update(keys)
        for key in self._again:
            self.refused.pop(key, None)

    def is_known(self, batch: Batch) -> None:
        """Take that a batch was answered for good, by whomever."""
        self._again.difference_update([(batch.writer, record.seq) for record in batch.records])
        known = self._answered.get(batch.writer, -1)
        self._answered[batch.writer] = max(known, *(record.seq for record in batch.records), -1)

    def _give_up(self, keys: set[Key]) -> None:
        """Give up what is held back; who asks for it in the batch at hand is told with the batch."""
        for name, reason in self.held.items():
            # Each is told once; there is none if only an earlier process knew.
            for key, record in self._askers.pop(name, ()):
                if self._is_answered(key) and key not in keys:
                    self._late.append(LateLoss(key[0], record, reason))
                else:
                    self.refused[key] = reason
        self.held.clear()

    def _is_answered(self, key: Key) -> bool:
        return key not in self._again and key[1] <= self._answered.get(key[0], -1)
