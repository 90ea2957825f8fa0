"""The streamed files of a run: which line stands where, and what the next push holds.

Law: `content[i]` of a push is line `offset + i`, so a push that comes again changes nothing. A line gets its
number when it is sent and keeps it; offsets only grow, by what the server took. What is too long for any push
never gets a number. No push is larger than `Limits.push_bytes`, but for a single line that is; `complete` goes
out when nothing else is left.

Sizes are those of the body as it is sent, quoting included: never less than what a server may count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

import orjson

from transports.wandb_encoding import quoted

__all__ = [
    "CONSOLE",
    "EVENTS",
    "HISTORY",
    "LINE_FILES",
    "SUMMARY",
    "Key",
    "Limits",
    "Push",
    "Refusal",
    "Stream",
]

HISTORY: Final = "wandb-history.jsonl"
EVENTS: Final = "wandb-events.jsonl"
SUMMARY: Final = "wandb-summary.json"
CONSOLE: Final = "output.log"
LINE_FILES: Final = (HISTORY, EVENTS, CONSOLE)

_FILLED: Final = (HISTORY, EVENTS, SUMMARY, CONSOLE)  # the order of filling a push
_ENVELOPE_BYTES: Final = 200  # what a body holds beside lines and names, rounded up
_FILE_BYTES: Final = 80  # what each streamed file adds to that
_MOST_REFUSALS: Final = 8  # lines refused one by one, in a row, before all the others are refused with them
_TAKEN_TO_GROW: Final = 16  # pushes that are taken before a size that was too large once is tried again
_MOST_TAKEN_TO_GROW: Final = 1024

Key: TypeAlias = tuple[str, int]
"""Writer and seq of a record."""


class Limits(NamedTuple):
    """How long a line may be in bytes, and how large a push."""

    line_bytes: int = 10 * 1024 * 1024 - 100 * 1024
    push_bytes: int = 10 * 1024 * 1024


class Push(NamedTuple):
    """One push: its body, and what it takes along when the server has taken it."""

    body: bytes
    counts: Mapping[str, int]
    has_summary: bool
    uploaded: tuple[str, ...]
    preempting: bool
    complete: bool

    @property
    def items(self) -> int:
        """How many lines it holds, the summary included."""
        return sum(self.counts.values()) + self.has_summary


class Refusal(NamedTuple):
    """What will never be taken: the records behind it, why, and what it is about, if that may yet arrive otherwise."""

    keys: tuple[Key, ...]
    reason: str
    about: tuple[str, ...] = ()


class _Line(NamedTuple):
    text: bytes
    keys: tuple[Key, ...]


class Stream:
    """What waits to be pushed, and where the next line of each file goes.

    `offsets` says so per file. `ends` says where another part of the run has begun, if one has: lines before that are
    there, for it began behind them, and others have no place. The rest of the state is what no push has carried yet.
    """

    def __init__(self, limits: Limits, offsets: Mapping[str, int] | None = None) -> None:
        self.offsets: dict[str, int] = {name: (offsets or {}).get(name, 0) for name in LINE_FILES}
        self.ends: Mapping[str, int] | None = None
        self.uploaded: list[str] = []
        self._line_bytes = limits.line_bytes
        self._limit_bytes = limits.push_bytes
        self._most_bytes = limits.push_bytes
        self._taken_since_cut = 0
        self._taken_to_grow = _TAKEN_TO_GROW
        self._push_bytes = limits.push_bytes
        self._waiting: dict[str, deque[_Line]] = {name: deque() for name in LINE_FILES}
        self._summary: _Line | None = None
        self._known_summary = b""
        self._preempting: Key | None = None
        self._ending: tuple[int, Key | None] | None = None
        self._most_items: int | None = None
        self._refused_in_a_row = 0

    # What is to be pushed.

    def add(self, name: str, text: bytes, keys: tuple[Key, ...]) -> Refusal | None:
        """Append a line to a file; a line that is too long is refused before it gets a number."""
        if len(text) > self._line_bytes:
            reason = f"a line of {len(text)} bytes is longer than the {self._line_bytes} that a server takes"
            return Refusal(keys, reason)
        if self.ends is not None:
            return self._passed_over(name, self.ends[name], keys)
        self._waiting[name].append(_Line(quoted(text), keys))
        return None

    def _passed_over(self, name: str, end: int, keys: tuple[Key, ...]) -> Refusal | None:
        if self.offsets[name] < end:
            self.offsets[name] += 1
            return None
        reason = (
            f"another part of the run begins at line {end} of {name}, so later lines of this one have no place; "
            "`corelib sync --id` delivers it under another id"
        )
        return Refusal(keys, reason)

    def set_summary(self, text: bytes, keys: Iterable[Key]) -> Refusal | None:
        """Replace the summary, which always goes out whole; one that is too long is refused."""
        if len(text) > self._line_bytes:
            reason = (
                f"a summary of {len(text)} bytes is longer than the {self._line_bytes} that a server takes"
            )
            return Refusal(tuple(keys), reason)
        line = quoted(text)
        if line != self._known_summary:
            earlier = self._summary.keys if self._summary is not None else ()
            self._summary, self._known_summary = _Line(line, (*earlier, *keys)), line
        return None

    def take_summary_back(self) -> tuple[Key, ...]:
        """Take the summary back, which is too long for the server; return its records."""
        keys = self._summary.keys if self._summary is not None else ()
        self._summary, self._known_summary = None, b""
        return keys

    def preempt(self, key: Key) -> None:
        """Say that the machine will be taken away."""
        self._preempting = key

    def complete(self, exit_code: int, key: Key | None) -> None:
        """Say, when all else is out, that the run is complete."""
        self._ending = (exit_code, key)

    @property
    def has_lines(self) -> bool:
        """Whether lines, a summary or a warning wait to be pushed."""
        return any(self._waiting.values()) or self._summary is not None or self._preempting is not None

    @property
    def is_ending(self) -> bool:
        """Whether it is still to be said that the run is complete."""
        return self._ending is not None

    # The next push, and what became of it.

    def next_push(self, *, may_complete: bool) -> Push:
        """Return what to send next. With nothing to say it is empty, which tells that the run is alive.

        Args:
            may_complete: nothing is left elsewhere, so that the run may be said to be complete.
        """
        uploaded = orjson.dumps(self.uploaded)
        taken = self._fill(_ENVELOPE_BYTES + len(uploaded))
        files = [
            b'"%b":{"offset":%d,"content":[%b]}'
            % (name.encode(), self.offsets.get(name, 0), b",".join(line.text for line in lines))
            for name, lines in taken.items()
        ]
        counts = {name: len(lines) for name, lines in taken.items() if name != SUMMARY}
        left = sum(len(waiting) for waiting in self._waiting.values()) - sum(counts.values())
        has_summary = SUMMARY in taken
        complete = (
            may_complete and self._ending is not None and not left and (has_summary or self._summary is None)
        )
        members = [b'"files":{%b}' % b",".join(files)] if files else []
        if self.uploaded:
            members.append(b'"uploaded":%b' % uploaded)
        if self._preempting is not None:
            members.append(b'"preempting":true')
        if complete and self._ending is not None:
            members.append(b'"complete":true,"exitcode":%d' % self._ending[0])
        return Push(
            body=b"{%b}" % b",".join(members),
            counts=counts,
            has_summary=has_summary,
            uploaded=tuple(self.uploaded),
            preempting=self._preempting is not None,
            complete=complete,
        )

    def _fill(self, size: int) -> dict[str, Sequence[_Line]]:
        """Choose lines in the order of filling until the push is full; the first one goes in any case."""
        taken: dict[str, Sequence[_Line]] = {}
        items = 0
        for name in _FILLED:
            waiting: Iterable[_Line] = self._waiting.get(name) or ()
            if name == SUMMARY and self._summary is not None:
                waiting = (self._summary,)
            chosen: list[_Line] = []
            size += _FILE_BYTES
            for line in waiting:
                size += len(line.text) + 1
                if items and (size > self._push_bytes or items == self._most_items):
                    if chosen:
                        taken[name] = chosen
                    return taken
                chosen.append(line)
                items += 1
            if chosen:
                taken[name] = chosen
        return taken

    def taken(self, push: Push) -> None:
        """Note that the server has taken a push."""
        self._drop_lines(push)
        self._drop_flags(push)
        for name, count in push.counts.items():
            self.offsets[name] += count
        self._refused_in_a_row = 0
        self._taken_since_cut += 1
        if self._most_bytes < self._limit_bytes and self._taken_since_cut >= self._taken_to_grow:
            self._most_bytes, self._taken_since_cut = min(self._most_bytes * 2, self._limit_bytes), 0
        self._push_bytes = min(self._push_bytes * 2, self._most_bytes)
        if self._most_items is not None:
            more = self._most_items * 2
            self._most_items = more if more < sum(map(len, self._waiting.values())) else None

    def too_large(self, push: Push, reason: str) -> Refusal | None:
        """Note that a push was too large: smaller ones from now on. What goes no smaller is refused.

        After many pushes that were taken larger ones are tried again, each time after more of them.
        """
        if push.items > 1:
            if self._most_bytes < self._limit_bytes:
                self._taken_to_grow = min(self._taken_to_grow * 2, _MOST_TAKEN_TO_GROW)
            self._taken_since_cut = 0
            self._most_bytes = self._push_bytes = max(len(push.body) // 2, 1)
            return None
        return self.give_up(push, reason)

    def narrow(self, push: Push) -> None:
        """Let the next pushes be smaller than this one, which did not get through; they grow again when they do."""
        if push.items > 1:
            self._push_bytes = max(len(push.body) // 2, 1)

    def refused(self, push: Push, reason: str) -> Refusal | None:
        """Note that a push was refused for good.

        Its halves are tried, so that one line does not take the others along. Where several were refused one
        by one, in a row, all that waits is sent once more, and refused if that is.
        """
        if push.items > 1 and self._refused_in_a_row < _MOST_REFUSALS:
            self._most_items = push.items // 2
            return None
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= _MOST_REFUSALS:
            self._most_items = None
        return self.give_up(push, reason)

    def give_up(self, push: Push, reason: str) -> Refusal:
        """Take what a push holds as refused: its lines if it has any, else what it says beside them."""
        keys = [
            key
            for name, count in push.counts.items()
            for line in islice(self._waiting[name], count)
            for key in line.keys
        ]
        if push.has_summary and self._summary is not None:
            keys += self._summary.keys
        if not push.items:
            flags = (
                self._preempting,
                self._ending[1] if push.complete and self._ending is not None else None,
            )
            keys += [key for key in flags if key is not None]
            self._drop_flags(push)
        self._drop_lines(push)
        return Refusal(tuple(keys), reason)

    def _drop_lines(self, push: Push) -> None:
        for name, count in push.counts.items():
            for _ in range(count):
                self._waiting[name].popleft()
        if push.has_summary:
            self._summary = None

    def _drop_flags(self, push: Push) -> None:
        if push.preempting:
            self._preempting = None
        if push.complete:
            self._ending = None
        del self.uploaded[: len(push.uploaded)]
