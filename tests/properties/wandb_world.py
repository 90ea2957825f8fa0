"""A slow model of a W&B server and of the core around the protocol, for laws under any weather.

Law: the server is the offset rule and nothing else: `content[i]` IS line `offset + i`. The core keeps what it
promises in `corelib.ports`: a batch comes again until it is answered for good, the cursor moves with the answer,
and after a crash everything behind the cursor comes again, cut otherwise.

Law, checked at each call whatever the weather: when a call returns anything but a failure of the stream, every row
that it was given is on the server.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from corelib.ports import Batch, Outcome, Rejected, Retry, RunRef
from corelib.pure.records import (
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    Header,
    Record,
    Row,
    RunStart,
    SummaryChange,
    SystemMetrics,
)
from corelib.testing.specimens import TIME, header_of, start_record
from transports.wandb_config import ClientFacts
from transports.wandb_documents import ProtocolSettings
from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpRequest, HttpResult
from transports.wandb_files import FileState
from transports.wandb_protocol import RunProtocol
from transports.wandb_saved import SavedRun
from transports.wandb_stream import CONSOLE, EVENTS, HISTORY, LINE_FILES, Limits

RUN = RunRef(run_id="r1", project="p", entity="ent", directory="/nowhere")
MOST_STEPS = 5000


class Fault(NamedTuple):
    """What goes wrong with one request; `kills`: the process ends when the answer would arrive."""

    applied: bool = True
    status: int | None = None
    lost: bool = False
    kills: bool = False


class Outage(NamedTuple):
    """So many requests of one kind that fail, and what comes back; status None: the connection is cut."""

    left: int
    status: int | None = 503


def settings(limits: Limits | None = None, tries: int = 1000) -> ProtocolSettings:
    """Return settings for a server that is asked often."""
    return ProtocolSettings(
        base_url="https://api.example.com",
        app_url="https://example.com",
        client=ClientFacts("0.31.0", "3.11", "linux"),
        limits=limits or Limits(),
        doubts=tries,
        upload_tries=tries,
    )


@dataclass
class ModelServer:
    """What a server holds of one run, and what it was sent."""

    most_body: int = 1 << 30
    lines: dict[str, dict[int, str]] = field(default_factory=dict)
    upserts: list[dict[str, Any]] = field(default_factory=list)
    exists: bool = False
    complete: int | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    puts: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def count(self, name: str) -> int:
        return max(self.lines.get(name, {}), default=-1) + 1

    def held(self, name: str) -> list[str]:
        """The lines of a streamed file by number, which have no gap."""
        lines = self.lines.get(name, {})
        assert sorted(lines) == list(range(len(lines))), f"a gap in {name}"
        return [lines[number] for number in sorted(lines)]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history rows by number."""
        return [json.loads(line) for line in self.held(HISTORY)]

    def handle(self, request: HttpRequest) -> HttpAnswer:
        """Carry a request out."""
        self.log.append(request.operation)
        if not request.is_authorized:
            body = request.body if isinstance(request.body, bytes) else request.body.path.encode()
            self.files[request.target.rpartition("/")[2]] = body
            self.puts.append(request.target.rpartition("/")[2])
            return HttpAnswer(200)
        assert isinstance(request.body, bytes)
        if len(request.body) > self.most_body and request.operation == "file_stream":
            return HttpAnswer(413)
        said = json.loads(request.body, parse_constant=lambda text: 1 / 0)
        if request.target.endswith("/file_stream"):
            return self._push(said, len(request.body))
        return HttpAnswer(200, {}, json.dumps({"data": self._graphql(said)}).encode())

    def _push(self, body: dict[str, Any], size: int) -> HttpAnswer:
        files = body.get("files", {})
        for name, chunk in files.items():
            for number, line in enumerate(chunk["content"], chunk["offset"]):
                self.lines.setdefault(name, {})[number] = line
        self.pushes.append(body)
        self.sizes.append((size, sum(len(chunk["content"]) for chunk in files.values())))
        if body.get("complete"):
            self.complete = body["exitcode"]
            self.log[-1] = "complete"
        return HttpAnswer(200, {}, b"{}")

    def _graphql(self, envelope: dict[str, Any]) -> dict[str, Any]:
        operation, variables = envelope["operationName"], envelope.get("variables", {})
        if operation == "UpsertBucket":
            self.upserts.append(variables)
            inserted, self.exists = not self.exists, True
            project = {"name": "p", "entity": {"name": "ent"}}
            lines = self.count(HISTORY)
            bucket = {"id": "s1", "name": "r1", "project": project, "historyLineCount": lines}
            return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
        if operation == "RunResumeStatus":
            counts = {
                "historyLineCount": self.count(HISTORY),
                "eventsLineCount": self.count(EVENTS),
                "logLineCount": self.count(CONSOLE),
            }
            return {"model": {"bucket": {"id": "s1", "name": "r1", **counts} if self.exists else None}}
        if operation == "CreateRunFiles":
            names = variables["files"]
            slots = [{"name": name, "uploadUrl": f"https://up/{name}"} for name in names]
            return {"createRunFiles": {"uploadHeaders": [], "files": slots}}
        if operation == "NotifyScriptableRunAlert":
            self.alerts.append(variables["title"])
            return {"notifyScriptableRunAlert": {"success": True}}
        return {"serverInfo": None}


class Killed(Exception):
    """The process that delivers was killed."""


class World:
    """The core, the journal of two writers, and a server in bad weather.

    `faults` go wrong one after the other, then nothing does; `cuts` are the sizes of batches. `outages` are kinds of
    requests that fail beside the stream, from the opening on. `tries` is when a lane is given up.
    """

    def __init__(
        self,
        journal: Sequence[tuple[str, Record]],
        server: ModelServer,
        *,
        faults: Sequence[Fault] = (),
        cuts: Sequence[int] = (),
        limits: Limits | None = None,
        outages: Mapping[str, Outage] | None = None,
        tries: int = 1000,
    ) -> None:
        self.server = server
        self.kills = 0
        self.now = 1e9
        self.refused: dict[tuple[str, int], str] = {}
        self.notices: list[str] = []
        self._journal = journal
        self._faults = list(faults)
        self._cuts = list(cuts)
        self._settings = settings(limits, tries)
        self._outages = dict(outages or {})
        self._settled: dict[str, int] = {}
        self._saved: dict[str, Any] | None = None
        self._steps = 0

    @property
    def start(self) -> RunStart:
        return next(record for _, record in self._journal if isinstance(record, RunStart))

    def deliver_all(self) -> None:
        """Deliver the whole journal, however often the process is killed."""
        while True:
            try:
                self._live()
            except Killed:
                self.kills += 1
                continue
            return

    def _live(self) -> None:
        saved = None if self._saved is None else SavedRun.read(json.loads(json.dumps(self._saved)))
        protocol = RunProtocol(RUN, self._settings, saved)
        offsets = dict.fromkeys(LINE_FILES, 0) if saved is None else saved.offsets
        if saved is not None:
            for writer in ("w1", "w2"):
                known = [
                    record
                    for name, record in self._journal
                    if name == writer and record.seq <= self._settled.get(name, -1)
                ]
                for some in (known[:3], known[3:]):
                    if some:
                        protocol.rebuild(_batch(writer, some))
        protocol.open(self.start)
        self._carry(protocol, None)
        while (batch := self._next_batch()) is not None:
            self._carry(protocol, batch)
            # Within one life of the process, offsets never go back.
            assert saved is None or protocol.saved is not None
            now = protocol.saved.offsets if protocol.saved else offsets
            assert all(now[name] >= offsets[name] for name in LINE_FILES), "an offset went back"
            offsets = now

    def _next_batch(self) -> Batch | None:
        pending = [
            (name, record) for name, record in self._journal if record.seq > self._settled.get(name, -1)
        ]
        if not pending:
            return None
        writer = pending[0][0]
        size = self._cuts.pop() if self._cuts else 3
        return _batch(writer, [record for name, record in pending if name == writer][:size])

    def _carry(self, protocol: RunProtocol, batch: Batch | None) -> None:
        while True:
            self.now += 1.0
            outcome = self._call(protocol, batch)
            if not isinstance(outcome, Retry):
                break
            self.now += outcome.after or 0.0
        self.notices += outcome.notices
        for loss in outcome.late:
            key = (loss.writer, loss.record.seq)
            assert loss.record.seq <= self._settled[loss.writer]
            assert key not in self.refused, "it is refused twice"
            self.refused[key] = loss.reason
        if batch is not None:
            if isinstance(outcome, Rejected):
                reasons = {seq: outcome.reasons.get(seq, outcome.reason) for seq in outcome.seqs}
                self.refused |= {(batch.writer, seq): reason for seq, reason in reasons.items()}
            self._settled[batch.writer] = batch.records[-1].seq
        self._saved = protocol.saved.tree() if protocol.saved is not None else None

    def _call(self, protocol: RunProtocol, batch: Batch | None) -> Outcome:
        """Make one call of the port."""
        protocol.begin_call(self.now, lanes_until=None if batch is None else self.now + 15.0)
        if batch is not None:
            protocol.take(batch)
            names = protocol.to_look_at()
            found = {
                name: FileState(f"/f/{name}", 1, 1) if name.startswith("file") else "gone" for name in names
            }
            protocol.looked_at(found)
        retry = self._converse(protocol)
        if retry is not None:
            return retry
        if batch is not None and not self.refused:
            there = {name for row in self.server.rows for name in row}
            for record in batch.records:
                if isinstance(record, Row) and record.commit:
                    assert there >= record.data.keys(), "a row waits for something else"
        return protocol.outcome(batch)

    def _converse(self, protocol: RunProtocol) -> Retry | None:
        while (request := protocol.next_request(self.now)) is not None:
            assert protocol.next_request(self.now) is request
            self._steps += 1
            assert self._steps < MOST_STEPS, "it goes on for ever"
            result = self._send(request)
            retry = protocol.answered(result, self.now)
            if retry is not None:
                again = protocol.next_request(self.now)
                if request.operation == "file_stream":
                    assert again is not None
                    assert again.body == request.body, "a repeat sends other bytes"
                return retry
        return None

    def _send(self, request: HttpRequest) -> HttpResult:
        kind = request.operation.partition(" ")[0]
        outage = self._outages.get(kind)
        if outage is not None and outage.left and self._saved is not None:
            self._outages[kind] = outage._replace(left=outage.left - 1)
            return HttpFailure("dropped", "cut") if outage.status is None else HttpAnswer(outage.status)
        fault = self._faults.pop(0) if self._faults else Fault()
        answer = self.server.handle(request) if fault.applied else None
        if fault.kills:
            raise Killed
        if fault.lost or answer is None:
            return HttpFailure("dropped", "lost") if fault.status is None else HttpAnswer(fault.status)
        return answer


def _batch(writer: str, records: Sequence[Record]) -> Batch:
    header: Header = header_of(RUN, writer, primary=writer == "w1")
    return Batch(run=RUN, writer=writer, header=header, records=tuple(records))


def journal_of(
    calls: Sequence[tuple[str, int, bool] | str], *, resumed: bool = False, exit_code: int = 0
) -> list[tuple[str, Record]]:
    """Return a journal: a start, rows of two writers, and an end.

    A call is (writer, step ahead, commit), or the word for something else that the first writer does; or the second
    one, where the word ends in "2".
    """
    journal: list[tuple[str, Record]] = [("w1", start_record(seq=1, resumed=resumed))]
    seqs, step = {"w1": 1, "w2": 0}, 0
    for call in calls:
        if isinstance(call, str):
            author = "w2" if call.endswith("2") else "w1"
            seqs[author] += 1
            journal.append((author, _other(call.rstrip("2"), seqs[author])))
            continue
        writer, ahead, commit = call
        seqs[writer] += 1
        seq = seqs[writer]
        data = {f"{writer}-{seq}": "x" * (seq % 7)}
        primary = writer == "w1"
        step += ahead if primary else 0
        journal.append(
            (writer, Row(seq=seq, time=TIME + seq, step=step if primary else None, data=data, commit=commit))
        )
        step += primary and commit
    journal.append(("w1", Exit(seq=seqs["w1"] + 1, time=TIME + 999, exit_code=exit_code, runtime=999.0)))
    return journal


def _other(word: str, seq: int) -> Record:
    """Return the record that a word stands for; alerts and files have names of their own, and so have lines."""
    lines = tuple(f"{seq}-{number}" for number in range(seq % 4))
    others: dict[str, Record] = {
        "config": ConfigChange(seq=seq, time=TIME, update={"seq": seq}, remove=()),
        "summary": SummaryChange(seq=seq, time=TIME, update={"best": seq}, remove=()),
        "stdout": ConsoleLines(seq=seq, time=TIME, stream="stdout", lines=lines),
        "stderr": ConsoleLines(seq=seq, time=TIME, stream="stderr", lines=lines),
        "sample": SystemMetrics(seq=seq, time=TIME, data={"system.cpu": float(seq)}),
        "alert": Alert(seq=seq, time=TIME, title=f"alert{seq}", text="", level="INFO", wait_duration=0.0),
    }
    return others.get(word) or FileSaved(seq=seq, time=TIME, path=f"file{seq}", policy=word)
