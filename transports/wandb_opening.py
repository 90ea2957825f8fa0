"""The opening of a run: what the server calls it, where its lines go on, what the server can do.

Law: a run that continues another goes on behind the lines that are stored; any other begins at line 0, also
where the server holds lines under its name, which are then overwritten, and that is said. Nothing is pushed
before both questions have an answer. A part that another one follows has had its say, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from corelib.ports import RunRef
from corelib.pure.parts import Base
from transports.wandb_documents import ProtocolSettings
from transports.wandb_exchange import HttpRequest, HttpResult, Verdict
from transports.wandb_graphql import Bucket, Reader, RunName, features_request, upsert_request
from transports.wandb_resume import Lines, read_lines, resume_request
from transports.wandb_stream import CONSOLE, EVENTS, HISTORY

__all__ = ["Opening"]

_ENCODINGS: Mapping[str, Literal["gzip", "zstd"]] = {"FILESTREAM_ZSTD": "zstd", "FILESTREAM_GZIP": "gzip"}


class Opening:
    """Opens one run. What it has found out stands in its attributes; it is done when `bucket` is there.

    Args:
        run: the address of the run.
        resumed: it continues a run that the server holds.
        base: where its lines begin; None: behind those that the server holds.
        is_followed: another part has begun behind it.
        variables: how the run is described.
        settings: the settings of the transport.
    """

    def __init__(
        self,
        run: RunRef,
        *,
        resumed: bool,
        base: Base | None,
        is_followed: bool = False,
        variables: Mapping[str, Any],
        settings: ProtocolSettings,
    ) -> None:
        self.variables = dict(variables)
        self.offsets: dict[str, int] = {}
        self.bucket: Bucket | None = None
        self.encoding: Literal["gzip", "zstd"] | None = None
        self.is_done = False
        self.notices: list[str] = []
        self._run = run
        self._resumed = resumed
        self._settings = settings
        self._base = base
        self._is_followed = is_followed
        self._lines: Lines | None = None if resumed or is_followed else Lines(0, 0, 0, "")

    def next_request(self) -> HttpRequest:
        """Return what to ask next."""
        if self._lines is None:
            entity = self._run.entity or self._settings.entity
            return resume_request(self._run.run_id, self._run.project, entity)
        return upsert_request(self.variables) if self.bucket is None else features_request()

    def answered(self, request: HttpRequest, result: HttpResult, now: float) -> Verdict | None:
        """Take an answer; return the verdict that keeps the run from being opened, if one does."""
        host = self._settings.host
        if self._lines is None:
            lines = read_lines(request, result, host, now)
            if isinstance(lines, Verdict):
                return lines
            self._lines = lines or Lines(0, 0, 0, "")
            self._go_on_behind(self._lines)
            if self._is_followed:
                self.bucket = self._as_it_stands(self._lines)
                self.is_done = True
            return None
        reader = Reader(request, result, host, now)
        if self.bucket is None:
            bucket = reader.bucket()
            if isinstance(bucket, Verdict):
                return bucket
            self.bucket = bucket
            if bucket.history_lines and not self._resumed and not bucket.inserted:
                self.notices.append(
                    f"Run {'/'.join(bucket.run)} was there with {bucket.history_lines} rows, and this run does not "
                    "continue it: it is overwritten from the first row, and of its old rows those stay that lie behind "
                    "the last new one. To continue a run, use resume='allow'."
                )
            return None
        features = reader.features()
        self.is_done = True
        if isinstance(features, frozenset):  # not knowing them costs nothing but some bytes
            self.encoding = next((_ENCODINGS[name] for name in _ENCODINGS if name in features), None)
        return None

    def _as_it_stands(self, lines: Lines) -> Bucket:
        run = RunName(self._run.entity or self._settings.entity or "", self._run.project, self._run.run_id)
        return Bucket(run, lines.storage_id or None, None, lines.history, inserted=False, started=True)

    def _go_on_behind(self, lines: Lines) -> None:
        base = self._base or lines
        self.offsets = {HISTORY: base.history, EVENTS: base.events, CONSOLE: base.console}
        if lines.storage_id:
            self.variables["id"] = lines.storage_id
        else:
            self.notices.append(
                f"Run {self._run.run_id} continues a run that {self._settings.host} does not have: its rows begin "
                "at the first line there. Deliver the earlier parts to another run id, or before this one."
            )
