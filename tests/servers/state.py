"""What the server knows: runs, alerts, keys, and every rule that a client broke.

Law: no socket, thread, clock or file here. Handlers change a `World` under one lock that belongs to the
server; tests get copies (`RunState.copy`), which nothing changes any more.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from tests.servers.lines import Lines

__all__ = [
    "CONSOLE",
    "EVENTS",
    "HISTORY",
    "STREAM_FILES",
    "SUMMARY",
    "VIOLATIONS",
    "Alert",
    "Push",
    "RunKey",
    "RunState",
    "UploadSlot",
    "Violation",
    "World",
]

RunKey: TypeAlias = tuple[str, str, str]
"""Entity, project, run id."""

HISTORY: Final = "wandb-history.jsonl"
EVENTS: Final = "wandb-events.jsonl"
SUMMARY: Final = "wandb-summary.json"
CONSOLE: Final = "output.log"
STREAM_FILES: Final = (HISTORY, EVENTS, SUMMARY, CONSOLE)

VIOLATIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # credentials
        "no-authorization": "a request to the API came without Authorization",
        "not-basic": "Authorization is not `Basic base64(api:KEY)`",
        "wrong-key": "the key never was one of this server's",
        "authorization-elsewhere": "a request to the other host carried Authorization or Cookie",
        "key-leaked": "the key stood in a URL, in a body, or in anything that was sent to the other host",
        # HTTP
        "malformed-http": "what came was no HTTP/1.1 request",
        "no-content-length": "a request with a body said no Content-Length",
        "chunked-body": "a body came chunked; object stores refuse that",
        "wrong-content-type": "a JSON body was not announced as application/json",
        "unannounced-encoding": "a body was compressed in a way that was not announced, or elsewhere",
        "bad-encoding": "a compressed body could not be decompressed",
        "bad-json": "the outer body is not strict JSON in UTF-8",
        "unknown-path": "nothing is at this path",
        "wrong-method": "the path is right, the method is not",
        "path-encoding": "a character in the path should have been percent-encoded",
        # GraphQL
        "bad-graphql": "the document does not parse or asks for what the schema has not",
        "operation-mismatch": "operationName names no operation of the document",
        "wrong-type": "a value has a type that a strict decoder refuses",
        "bad-name": "an entity, project or run id holds what it must not",
        "config-unwrapped": 'a top-level key of the config is not {"value": ...}',
        "id-mismatch": "the storage id of an upsert belongs to another run than its name",
        # file_stream
        "unknown-run": "a push for a run that was never upserted",
        "unknown-stream-file": "a push to a file that is none of the four streamed ones",
        "unknown-key": "a top-level key of the push that no client sends",
        "offset-back": "history or events start below a line whose push was already answered with 2xx",
        "overlap-differs": "history or events lines were overwritten by other lines",
        "gap": "a push starts above the line count of its file",
        "summary-not-whole": "the summary was not one line at offset 0",
        "line-feed": "a row holds a line feed",
        "bad-row": "a row is not one JSON object",
        "bad-step": "`_step` of a history row is missing or not a JSON integer",
        "row-too-long": "a row or summary is longer than 10 MiB - 100 KiB",
        "push-too-big": "several lines in a push of more than 10 MiB",
        "concurrent-push": "a push began while another push of the same run had not been answered",
        "push-after-complete": "a push after the final one, without an upsert in between",
        "half-complete": "complete without exitcode, or exitcode without complete",
        "uploaded-unknown": "`uploaded` names a file that was never PUT",
        "complete-before-uploads": "the final push came while a PUT of the run was under way",
        # uploads
        "unknown-upload-url": "a PUT to a URL that was not issued; its query was changed, perhaps",
        "upload-headers": "a PUT lacked one of the headers that the server asked for",
        "upload-content-type": "a PUT said Content-Type, which breaks signed URLs",
    }
)


class Violation(NamedTuple):
    """A rule that a client broke: `kind` is a key of `VIOLATIONS`, `request` a number in the request log."""

    kind: str
    detail: str
    run: str | None = None
    request: int | None = None


class Alert(NamedTuple):
    """An alert as it was sent; `wait_duration` in milliseconds."""

    run: str
    title: str
    text: str
    severity: str
    wait_duration: float | None


class UploadSlot(NamedTuple):
    """What an issued upload URL is for."""

    run: RunKey
    name: str


@dataclass(kw_only=True)
class Push:
    """One file_stream request that was applied.

    `files` maps a file to (offset, number of lines). `size` is the length of the decoded body in bytes.
    `acknowledged` turns true when a 2xx answer has been written out whole.
    """

    request: int
    time: float
    size: int
    digest: bytes
    files: Mapping[str, tuple[int, int]]
    uploaded: tuple[str, ...] = ()
    preempting: bool = False
    complete: bool = False
    exitcode: int | None = None
    acknowledged: bool = False

    @property
    def is_heartbeat(self) -> bool:
        """It says nothing but that the run is alive."""
        return not (self.files or self.uploaded or self.preempting or self.complete)


@dataclass(kw_only=True)
class RunState:
    """One run. `config` is the stored tree, each key wrapped in `{"value": …}`; the rest as upserted."""

    entity: str
    project: str
    name: str
    storage_id: str
    display_name: str | None = None
    notes: str | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    group: str | None = None
    job_type: str | None = None
    program: str | None = None
    host: str | None = None
    commit: str | None = None
    repo: str | None = None
    sweep: str | None = None
    description: str | None = None
    upserts: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, Lines] = field(default_factory=lambda: {name: Lines() for name in STREAM_FILES})
    acknowledged: dict[str, int] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    complete: bool = False
    exit_code: int | None = None
    preempting: bool = False
    final_push: Push | None = None
    reopened: bool = False
    stop_asked: bool = False
    corrupt: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> RunKey:
        """Entity, project and run id."""
        return (self.entity, self.project, self.name)

    @property
    def started(self) -> bool:
        """The config has `_wandb.value.t`; without it the reference thinks that the run never began."""
        return "t" in self.internals

    @property
    def internals(self) -> Mapping[str, Any]:
        """What the config holds under `_wandb`."""
        wrapper = self.config.get("_wandb")
        value = wrapper.get("value") if isinstance(wrapper, dict) else None
        return value if isinstance(value, dict) else {}

    @property
    def plain_config(self) -> dict[str, Any]:
        """The config as a user wrote it: unwrapped, without `_wandb`."""
        return {key: wrapper.get("value") for key, wrapper in self.config.items() if key != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The history rows that are there, in line order."""
        return [json.loads(line) for line in self.lines[HISTORY].in_order()]

    @property
    def steps(self) -> list[int]:
        """`_step` of every history row, in line order."""
        return [row["_step"] for row in self.rows]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The rows of system metrics, in line order."""
        return [json.loads(line) for line in self.lines[EVENTS].in_order()]

    @property
    def console(self) -> list[str]:
        """The console lines, in line order."""
        return self.lines[CONSOLE].in_order()

    @property
    def summary(self) -> dict[str, Any]:
        """The last summary line; empty if none came."""
        value = json.loads(self.summary_text)
        return value if isinstance(value, dict) else {}

    @property
    def summary_text(self) -> str:
        """The last summary line as it came; `{}` if none did."""
        return (self.lines[SUMMARY].last(1) or ["{}"])[-1]

    @property
    def heartbeats(self) -> list[float]:
        """When the run showed that it is alive without saying anything else, in monotonic seconds."""
        return [push.time for push in self.pushes if push.is_heartbeat]

    def line_count(self, name: str = HISTORY) -> int:
        """Return the line count that a server reports for a streamed file."""
        return self.lines[name].extent

    def missing(self, name: str = HISTORY) -> list[int]:
        """Return the numbers of the lines that a gap left out."""
        return self.lines[name].missing()

    def offsets(self, name: str = HISTORY) -> list[int]:
        """Return the offset of every push to a streamed file, in the order of arrival, repeats included."""
        return [push.files[name][0] for push in self.pushes if name in push.files]

    def copy(self) -> RunState:
        """Return this state as it is now; nothing changes it later."""
        return replace(
            self,
            config=copy.deepcopy(self.config),
            upserts=copy.deepcopy(self.upserts),
            lines={name: lines.copy() for name, lines in self.lines.items()},
            acknowledged=dict(self.acknowledged),
            pushes=[replace(push) for push in self.pushes],
            files=dict(self.files),
            puts=list(self.puts),
            alerts=list(self.alerts),
            corrupt=copy.deepcopy(self.corrupt),
        )


@dataclass(kw_only=True)
class World:
    """Everything the server knows. `canonical` maps an entity, project or run id to the name it answers."""

    keys: set[str]
    entity: str = "ent"
    viewer: dict[str, Any] | None = None
    features: dict[str, bool] = field(default_factory=dict)
    anonymous: bool = False
    forbidden: set[str] = field(default_factory=set)
    canonical: dict[str, str] = field(default_factory=dict)
    upload_headers: tuple[str, ...] = ()
    max_body_bytes: int | None = None
    uploads_url: str = ""
    known_keys: set[str] = field(default_factory=set)
    runs: dict[RunKey, RunState] = field(default_factory=dict)
    deleted: set[RunKey] = field(default_factory=set)
    slots: dict[str, UploadSlot] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    serial: int = 0

    def __post_init__(self) -> None:
        self.known_keys |= self.keys

    def set_keys(self, keys: Iterable[str]) -> None:
        """Accept exactly these keys from now on. One that was valid before is refused, but no violation."""
        self.keys = set(keys)
        self.known_keys |= self.keys

    def next_serial(self) -> int:
        """Return a number that was not used before."""
        self.serial += 1
        return self.serial

    def key_of(self, name: str, project: str | None, entity: str | None) -> RunKey:
        """Return where a run of these names is kept: defaults filled in, names made canonical."""
        names = (entity or self.entity, project or "uncategorized", name)
        found = tuple(self.canonical.get(part, part) for part in names)
        return (found[0], found[1], found[2])

    def create_run(self, key: RunKey) -> RunState:
        """Add a new, empty run."""
        entity, project, name = key
        storage_id = f"storage-{self.next_serial()}"
        run = RunState(entity=entity, project=project, name=name, storage_id=storage_id, display_name=name)
        self.runs[key] = run
        return run

    def run(self, name: str, project: str | None = None, entity: str | None = None) -> RunState:
        """Return the one run of this id; project and entity are needed only where several have it.

        Raises:
            KeyError: there is none, or more than one.
        """
        found = [
            run
            for key, run in self.runs.items()
            if key[2] == name and project in (None, key[1]) and entity in (None, key[0])
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} runs are called {name!r}; there are {sorted(self.runs)}")
        return found[0]

    def violate(
        self, kind: str, detail: str, *, run: RunKey | None = None, request: int | None = None
    ) -> None:
        """Note that a client broke a rule."""
        if kind not in VIOLATIONS:
            raise KeyError(f"no such rule: {kind}")
        self.violations.append(Violation(kind, detail, run[2] if run else None, request))
