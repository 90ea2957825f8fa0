"""What is still to be told to a W&B server about one run, as its records say.

Law: a record is taken once, and what it asks for waits here until that is settled: lines and summary in `stream`,
files in `uploads`, alerts, and whether the description is due. What can never be sent is refused when it is taken;
`losses` knows on whose behalf. What an earlier process owed beside the rows is found again in what it delivered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from corelib.ports import Batch
from corelib.pure.parts import end_of
from corelib.pure.records import (
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    RunStart,
    SummaryChange,
    SystemMetrics,
)
from transports.wandb_documents import ProtocolSettings, description, documents, metadata
from transports.wandb_encoding import json_text, row_text
from transports.wandb_files import METADATA, Fate, FileState, RunFiles
from transports.wandb_fold import FoldedRow, RunFold
from transports.wandb_lines import console_texts, event_text
from transports.wandb_losses import Losses
from transports.wandb_saved import NOTHING_OWED, Owed
from transports.wandb_stream import CONSOLE, EVENTS, HISTORY, Key, Refusal, Stream
from transports.wandb_summary import fitting, left_out_reason
from transports.wandb_uploads import Upload, Uploads

__all__ = ["RunWork"]

_DESCRIBING: Final = (ConfigChange, RunChange, MetricDefined)
_DESCRIPTION: Final = "/description"  # no file is called so
_LEAST_SUMMARY_BYTES: Final = 2
_CLOCK_S: Final = 1.0  # what a server that rounds may have made of a moment
_SUMMARISED: Final = (Row, RunStart, SummaryChange, Exit, MetricDefined)


class RunWork:
    """What one run still has to say.

    Args:
        settings: the settings of the transport.
        offsets: where the next line of each streamed file goes.
        owed: what an earlier process was still to send, of what `rebuild` tells.

    `start` is how the run began, None as long as nobody has said; `is_complete`, that the server knows its end;
    `is_reopening`, that more came after that.
    """

    def __init__(
        self,
        settings: ProtocolSettings,
        offsets: Mapping[str, int] | None = None,
        owed: Owed = NOTHING_OWED,
    ) -> None:
        self.start: RunStart | None = None
        self.stream = Stream(settings.limits, offsets)
        self.uploads = Uploads(settings.base_url, settings.upload_tries)
        self.alerts: deque[tuple[Key, Alert]] = deque()
        self.is_complete = False
        self.is_reopening = False
        self.losses = Losses(dict(owed.losses))
        self._owed = owed
        self._settings = settings
        self._fold = RunFold()
        self._files = RunFiles(settings.ignored)
        self._exit_code: int | None = None
        self._newest = 0.0
        self._summary_bytes = settings.limits.line_bytes
        self._summary_changes: dict[Key, Mapping[str, Any]] = {}
        self._described: Mapping[str, Any] | None = None
        self._description_is_due = owed.description

    @property
    def is_followed(self) -> bool:
        """Whether another part has begun behind this one, which has had its say."""
        return self.stream.ends is not None

    @property
    def is_outdated(self) -> bool:
        """Whether the server knows newer rows of this part, as of a copy made while the run went on; it has no say."""
        if (start := self.start) is None or self._newest >= start.latest:
            return False
        return (
            self._newest + _CLOCK_S < start.latest or (self._fold.replay.last_step or 0) < start.latest_step
        )

    def begin(self, start: RunStart) -> None:
        """Take how the run began, with what is noted of its other parts now."""
        self.start = start
        end = end_of(start.config, start.writer)
        if end is not None and (self._owed.alerts or self._owed.files):
            self.losses.notice(
                "Another part of the run has begun, so files and alerts that this one still owed are not sent any "
                "more; `corelib sync --id` delivers them under another id."
            )
        self.stream.ends = (
            None if end is None else {HISTORY: end.history, EVENTS: end.events, CONSOLE: end.console}
        )

    # ------------------------------------------------------------------------------------------------------ records

    def rebuild(self, batch: Batch) -> None:
        """Take a batch that an earlier process has delivered: all of it is known, and only what is owed is sent."""
        self._header(batch)
        self.losses.is_known(batch)
        for record in batch.records:
            key = (batch.writer, record.seq)
            self._see(self._fold.feed(batch.writer, record))
            if isinstance(record, RunStart):
                self.start = self.start or record
            elif isinstance(record, FileSaved):
                self.losses.asked(record.path, key, record)
                self._files.saved(record.path, record.policy, key, fate=self._fate(record.path))
            elif isinstance(record, _DESCRIBING) and (
                self._owed.description or _DESCRIPTION in self.losses.held
            ):
                # One of those that are to be told answers for them.
                self.losses.asked(_DESCRIPTION, key, record)
            elif isinstance(record, Alert) and key in self._owed.alerts:
                self.alerts.append((key, record))
            elif isinstance(record, Exit) and _ends(batch):
                self._exit_code = _code(record)
            self._see(self._close_rows(None))
        self._fold.forget_open_keys()

    def _fate(self, path: str) -> Fate:
        if path in self._owed.files:
            return "new"
        return "lost" if path in self.losses.held else "sent"

    def take_again(self, batch: Batch) -> None:
        """Take files and alerts that were refused for good; behind files the end is said again, alerts need none."""
        keys = tuple((batch.writer, record.seq) for record in batch.records)
        self.losses.are_asked_again(keys)
        if self.is_followed:
            self.losses.refuse(Refusal(keys, "another part of the run has begun behind this one"))
            return
        for key, record in zip(keys, batch.records, strict=True):
            if isinstance(record, FileSaved):
                self.losses.asked(record.path, key, record)
                self.losses.refuse(self._files.saved(record.path, record.policy, key, fate="again"))
            elif isinstance(record, Alert) and all(key != known for known, _ in self.alerts):
                self.alerts.append((key, record))
        if self._exit_code is not None and any(isinstance(record, FileSaved) for record in batch.records):
            self.is_complete, self.is_reopening = False, True
            self._ask_own_documents()
            self.stream.complete(self._exit_code, None)

    def take(self, batch: Batch) -> None:
        """Take a batch; records that were taken before are passed over."""
        self._header(batch)
        new = [record for record in batch.records if not self._fold.is_known(batch.writer, record)]
        if not new:
            return
        self._fold.forget_open_keys()
        if self.is_complete and not self.is_followed:
            self.is_complete, self.is_reopening = False, True
        self._summary_changes = {}
        ending: Key | None = None
        for record in new:
            key = (batch.writer, record.seq)
            self._add_rows(self._fold.feed(batch.writer, record))
            if isinstance(record, SummaryChange):
                self._summary_changes[key] = record.update
            elif isinstance(record, Exit) and _ends(batch):
                ending, self._exit_code = key, _code(record)
            elif not isinstance(record, Row):
                self._take_other(record, key)
            self._add_rows(self._close_rows(key))
        if self.is_followed or self.is_outdated:
            return
        if ending is not None:
            self._end()
        if self._exit_code is not None:
            self.stream.complete(self._exit_code, ending)
        if any(isinstance(record, _SUMMARISED) for record in new):
            self._set_summary(self._summary_changes)

    def _close_rows(self, key: Key | None) -> list[FoldedRow]:
        """Close what is open once the run has ended: of what comes after that, each record is for itself.

        Other processes may still log then, and nobody will say when they are done. Decided record by record, so
        that it makes no difference how batches are cut.
        """
        return self._fold.finish(key) if self._exit_code is not None else []

    def _header(self, batch: Batch) -> None:
        if batch.header is not None:
            self._fold.header(batch.writer, batch.header)

    def _take_other(self, record: Record, key: Key) -> None:
        if isinstance(record, ConsoleLines):
            for text in console_texts(record):
                self.losses.refuse(self.stream.add(CONSOLE, text, (key,)))
        elif isinstance(record, SystemMetrics):
            self._add_sample(record, key)
        elif self.is_followed:
            return
        elif isinstance(record, _DESCRIBING):
            self._description_is_due = True
            self.losses.asked(_DESCRIPTION, key, record, too=True)
        elif isinstance(record, RunStart):
            self.start = self.start or record
        elif isinstance(record, FileSaved):
            self.losses.asked(record.path, key, record)
            self.losses.refuse(self._files.saved(record.path, record.policy, key))
        elif isinstance(record, Alert):
            self.alerts.append((key, record))
        elif isinstance(record, Preempting):
            self.stream.preempt(key)

    def _add_sample(self, record: SystemMetrics, key: Key) -> None:
        try:
            text = event_text(record, self._fold.replay.runtime_at(record.time))
        except ValueError as error:
            self.losses.refuse(Refusal((key,), f"a sample of the machine cannot be sent: {error}"))
        else:
            self.losses.refuse(self.stream.add(EVENTS, text, (key,)))

    def _see(self, rows: Iterable[FoldedRow]) -> None:
        for row, _ in rows:
            self._newest = max(self._newest, row.data.get("_timestamp", row.time))

    def _add_rows(self, rows: Sequence[FoldedRow]) -> None:
        self._see(rows)
        for row, keys in rows:
            try:
                text = row_text(row)
            except ValueError as error:
                self.losses.refuse(Refusal(keys, f"a row cannot be sent: {error}"))
            else:
                self.losses.refuse(self.stream.add(HISTORY, text, keys))

    def _set_summary(self, keys: Iterable[Key]) -> None:
        """Have the summary sent: whole, or without the largest keys where it is larger than a server takes."""
        refuse = self.losses.refuse
        try:
            text, left_out = fitting(self._fold.summary, self._summary_bytes)
        except ValueError as error:
            refuse(Refusal(tuple(keys), f"the summary cannot be sent: {error}"))
            return
        lost = tuple(
            key for key in keys if not self._summary_changes.get(key, {}).keys().isdisjoint(left_out)
        )
        cause = f"left out {sorted(left_out)}"
        if lost:
            refuse(Refusal(lost, left_out_reason(left_out)))
            self.losses.is_told(cause)
        elif left_out:
            self.losses.notice(left_out_reason(left_out), cause)
        refuse(self.stream.set_summary(text, [key for key in keys if key not in lost]))

    def shorten_summary(self) -> bool:
        """Make the summary smaller, which the server finds too large; return whether it can be."""
        size = len(json_text(self._fold.summary))
        most_bytes = min(self._summary_bytes, size) // 2
        if most_bytes < _LEAST_SUMMARY_BYTES:
            return False
        self._summary_bytes = most_bytes
        self._set_summary(self.stream.take_summary_back())
        return True

    def _end(self) -> None:
        self._summary_bytes = self._settings.limits.line_bytes
        self._description_is_due = True
        self._files.end()
        self.uploads.forgive()
        self._ask_own_documents()

    def _ask_own_documents(self) -> None:
        replay, definitions = self._fold.replay, self._fold.definitions
        own = [*documents(replay, self._fold.summary, definitions, self._settings)]
        for document in (*own, metadata(replay, self._settings)):
            if document is not None and document.name not in self._files:
                self.uploads.ask(Upload(*document))

    # -------------------------------------------------------------------------------------------------- description

    def description(self) -> Mapping[str, Any]:
        """Return how the run is described as it stands.

        Raises:
            ValueError: its config cannot be written as JSON, or nobody has said how the run began.
        """
        if self.start is None:
            raise ValueError("nobody has said how the run began")
        return description(self.start, self._fold.replay, self._fold.definitions, self._settings)

    def changed_description(self) -> Mapping[str, Any] | None:
        """Return how the run is described, if the server is to be told anew."""
        if not (self._description_is_due or self.is_reopening) or self.is_outdated:
            return None
        try:
            variables = self.description()
        except ValueError as error:
            self.not_described(f"the config cannot be sent: {error}")
            return None
        if variables != self._described or self.is_reopening:
            return variables
        self.described(variables)
        return None

    def described(self, variables: Mapping[str, Any]) -> None:
        """Take that the server was told."""
        self._described = variables
        self.losses.seen_to(_DESCRIPTION)
        self._forget_description()

    def not_described(self, reason: str) -> None:
        """Take that the server will not be told; the next change tells it this one as well."""
        self.losses.refuse(Refusal((), reason, (_DESCRIPTION,)))
        self._forget_description()

    def _forget_description(self) -> None:
        self._description_is_due = self.is_reopening = False

    def is_described_by_another(self) -> None:
        """Take that an earlier process has told the server, up to where this one begins.

        What went out at the very end only is left open, so that the end sends it.
        """
        if self._described is None:
            self._described = {} if self._description_is_due else {**self.description(), "host": None}

    # -------------------------------------------------------------------------------------------------------- files

    def to_look_at(self) -> tuple[str, ...]:
        """Return the names of files of which somebody must look what is there."""
        return self._files.to_look_at() if self._fold.replay.start is not None else ()

    def looked_at(self, states: Mapping[str, FileState | str]) -> None:
        """Take what is there under these names, or why it cannot be had."""
        uploads, refusals = self._files.looked_at(states)
        for upload in uploads:
            self.uploads.ask(upload)
        for refusal in refusals:
            self.losses.refuse(refusal)
        own = metadata(self._fold.replay, self._settings) if METADATA in states else None
        if own is not None and METADATA not in self._files:
            self.uploads.ask(Upload(*own))

    def uploaded(self, name: str) -> None:
        """Take that a file has arrived; the next push says so."""
        self._files.uploaded(name)
        self.losses.arrived(name)
        self.stream.uploaded.append(name)

    @property
    def has_files_left(self) -> bool:
        """Whether files wait: to be sent, or to be looked at again before that."""
        return bool(self.uploads.names or (self._files.asked and self._fold.replay.start is not None))

    def is_broken(self, upload: Upload, reason: str) -> None:
        """Take that a file could not be read as it was told."""
        self._files.broken(upload, reason)

    @property
    def asked_files(self) -> tuple[str, ...]:
        """The names of files that are to go, and that nobody has looked at since that was said."""
        return self._files.asked

    # ------------------------------------------------------------------------------------------------- what is left

    def owed(self) -> Owed:
        """Return what batches that were answered asked for, and is still to be sent."""
        files = dict.fromkeys((*self.uploads.names, *self._files.asked))
        return Owed(
            description=self._description_is_due or self.is_reopening,
            alerts=tuple(key for key, _ in self.alerts),
            files=tuple(name for name in files if self._files.is_saved(name)),
            losses=self.losses.by_reason(),
        )

    def answered(self, batch: Batch) -> dict[int, str]:
        """Take that a batch is answered for good; return which of its records are refused, and why."""
        return self.losses.answered(batch, ended=self._exit_code is not None)


def _ends(batch: Batch) -> bool:
    """Whether the end of this writer is the end of the run."""
    return batch.header is None or batch.header.primary


def _code(record: Exit) -> int:
    # Whoever does not know how a run ended must not call it a success.
    return 1 if record.exit_code is None else record.exit_code
