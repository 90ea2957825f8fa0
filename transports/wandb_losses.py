"""What will never be delivered, and why: for the records concerned, and for people.

Law: each refusal counts where it can: with its record, as long as the batch of that record is not answered; with the
record that ends the run, where it was answered already, unless what was lost has arrived by then; and where no
record asked, in words alone. People are told a cause once, and what is kept of that is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from corelib.ports import Batch
from transports.wandb_stream import Key, Refusal

__all__ = ["Losses"]

_MOST_CAUSES: Final = 200
_MOST_UNTOLD: Final = 50
_MOST_REASONS: Final = 5  # of what was lost behind answered batches: the end of the run names no more


class Losses:
    """The refusals and notices of one run.

    Args:
        late: why parts of answered batches were lost, as an earlier process left it.

    `refused` is why, by record; `late` is what the record that ends the run is still to say: why, and of what.
    """

    def __init__(self, late: Mapping[str, Iterable[str]] = MappingProxyType({})) -> None:
        self.refused: dict[Key, str] = {}
        self.late: dict[str, dict[str, None]] = {
            reason: dict.fromkeys(names) for reason, names in late.items()
        }
        self._answered: dict[str, int] = {}
        self._causes: dict[str, None] = {}
        self._untold: list[str] = []

    def refuse(self, refusal: Refusal | None) -> None:
        """Count what will never be delivered with its records; where there are none any more, tell people."""
        if refusal is None:
            return
        keys = [key for key in refusal.keys if key[1] > self._answered.get(key[0], -1)]
        self.refused |= dict.fromkeys(keys, refusal.reason)
        is_late = len(keys) < len(refusal.keys)
        if is_late and (refusal.reason in self.late or len(self.late) < _MOST_REASONS):
            self.late.setdefault(refusal.reason, {}).update(dict.fromkeys(refusal.about))
        if is_late or not refusal.keys:
            self.notice(f"Something was not delivered: {refusal.reason}")

    def arrived(self, name: str) -> None:
        """Take that something has arrived after all: what was lost of nothing else is no loss any more."""
        for reason, names in list(self.late.items()):
            if name in names:
                del names[name]
                if not names:
                    del self.late[reason]

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

    def answered(self, batch: Batch, ending: Key | None = None) -> dict[int, str]:
        """Take that a batch is answered for good; return which of its records are refused, and why.

        Args:
            batch: the batch.
            ending: the record that ends the run, which answers for what was lost since earlier answers.
        """
        keys = [(batch.writer, record.seq) for record in batch.records]
        if ending is not None and ending in keys and self.late:
            own = self.refused.get(ending)
            parts = dict.fromkeys((*self.late, *([] if own is None else [own])))
            self.refused[ending] = "; ".join(parts)
            self.late.clear()
        self.is_known(batch)
        return {key[1]: self.refused[key] for key in keys if key in self.refused}

    def is_known(self, batch: Batch) -> None:
        """Take that a batch was answered for good, by whomever."""
        known = self._answered.get(batch.writer, -1)
        self._answered[batch.writer] = max(known, *(record.seq for record in batch.records), -1)
