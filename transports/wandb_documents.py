"""What a run tells a W&B server about itself: the variables of an upsert, and the files that it ends with.

Law: all of it follows from the records and from `ProtocolSettings`; nothing is looked up. What describes this
machine is said only of runs that ran on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

from attrs import field, frozen

from corelib.ports import RemoteAddress
from corelib.pure.metrics import MetricDefinition
from corelib.pure.parts import Base, base_of, with_base, with_bases_of
from corelib.pure.records import RunStart
from corelib.pure.replay import Replay
from transports.wandb_config import ClientFacts, wrapped_config, yaml_text
from transports.wandb_encoding import json_text
from transports.wandb_exchange import HttpRequest, host_of, percent_encoded
from transports.wandb_files import METADATA
from transports.wandb_graphql import Bucket, RunName
from transports.wandb_stream import Limits

__all__ = [
    "STREAM",
    "Document",
    "ProtocolSettings",
    "app_url_of",
    "description",
    "documents",
    "metadata",
    "push_request",
    "remote_address",
    "run_url",
    "stream_target",
]

STREAM: Final = "file_stream"
"""What a push is called in messages."""

_JSON: Final = {"Content-Type": "application/json"}


@frozen(kw_only=True)
class ProtocolSettings:
    """What is the same for all runs of one transport.

    Args:
        base_url: where the API is, without a slash at its end.
        app_url: where the pages for people are, likewise.
        client: what this client says about itself.
        machine: what it says about this machine; with the name of its `host`.
        entity: whose runs these are; None leaves it to the server.
        limits: how large lines and pushes may be.
        doubts: how often something doubtful is tried.
        upload_tries: how often uploads may fail in a row.
        slow_s: how long to wait before something is tried again slowly, in seconds.
        ignored: patterns of files that are not uploaded.
    """

    base_url: str
    app_url: str
    client: ClientFacts
    machine: Mapping[str, Any] = field(factory=dict)
    entity: str | None = None
    limits: Limits = field(factory=Limits)
    doubts: int = 5
    upload_tries: int = 12
    slow_s: float = 15.0
    ignored: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host of the base URL, for messages."""
        return host_of(self.base_url)


class Document(NamedTuple):
    """A file that we write ourselves."""

    name: str
    content: bytes


def app_url_of(base_url: str) -> str:
    """Return where the pages of a server are, which for a public one is its name without `api.`."""
    scheme, _, rest = base_url.partition("://")
    return f"{scheme}://{rest.removeprefix('api.')}"


def run_url(app_url: str, run: RunName) -> str:
    """Return the address of a run's page."""
    return f"{app_url}/{percent_encoded(run.entity)}/{percent_encoded(run.project)}/runs/{percent_encoded(run.run_id)}"


def stream_target(run: RunName) -> str:
    """Return the path of a run's file_stream below the base URL."""
    return "/".join(("/files", *map(percent_encoded, run), "file_stream"))


def remote_address(app_url: str, bucket: Bucket) -> RemoteAddress:
    """Return what the server calls a run."""
    return RemoteAddress(*bucket.run, name=bucket.display_name, url=run_url(app_url, bucket.run))


def push_request(run: RunName, body: bytes) -> HttpRequest:
    """Return a push of a run."""
    return HttpRequest(method="POST", target=stream_target(run), operation=STREAM, headers=_JSON, body=body)


def description(
    start: RunStart,
    replay: Replay,
    definitions: Sequence[MetricDefinition],
    settings: ProtocolSettings,
) -> dict[str, Any]:
    """Return how a run as it stands is described in an upsert; what is left out stays as it is stored.

    Raises:
        ValueError: the config cannot be written as JSON.
    """
    told = replay if replay.start is not None else None
    tags = told.tags if told else start.tags
    config = wrapped_config(
        _noted(told.config if told else start.config, start),
        definitions,
        settings.client,
        resumed=start.resumed,
    )
    variables = {
        "groupName": start.group,
        "jobType": start.job_type,
        "displayName": told.name if told else start.name,
        "notes": told.notes if told else start.notes,
        "program": start.program,
        "sweep": start.sweep_id,
        "host": start.host or ((replay.header.host or None) if replay.header else None),
        "commit": start.commit,
        "config": json_text(config).decode("utf-8"),
        # An empty list would take away the tags of a run that a sweep has prepared.
        "tags": list(tags) if tags or start.tags or start.resumed else None,
    }
    return {name: value for name, value in variables.items() if value is not None}


def _noted(config: Mapping[str, Any], start: RunStart) -> Mapping[str, Any]:
    """Return a config with a note where the run begins, for those who deliver it once more without knowing."""
    config = with_bases_of(config, start.config)
    if start.resumed or start.writer is None or base_of(config, start.writer) is not None:
        return config
    base = Base(step=start.starting_step, runtime=start.runtime_offset, began=start.time)
    return with_base(config, start.writer, base)


def documents(
    replay: Replay,
    summary: Mapping[str, Any],
    definitions: Sequence[MetricDefinition],
    settings: ProtocolSettings,
) -> Iterator[Document]:
    """Yield the files that a run ends with; one that cannot be written is left out."""
    resumed = replay.start is not None and replay.start.resumed
    try:
        config = wrapped_config(replay.config, definitions, settings.client, resumed=resumed)
        yield Document("config.yaml", yaml_text(config).encode("utf-8", "replace"))
        yield Document("wandb-summary.json", json_text(summary))
    except ValueError:  # the value was refused, and named, where it was recorded
        return


def metadata(replay: Replay, settings: ProtocolSettings) -> Document | None:
    """Return the file that says where and how the run was started; None as long as nothing is known of it."""
    header, start = replay.header, replay.start
    if header is None or start is None:
        return None
    began = datetime.fromtimestamp(header.start_time, timezone.utc)
    here = settings.machine if header.host and settings.machine.get("host") == header.host else {}
    facts = {
        **here,
        "host": header.host,
        "program": start.program,
        "codePath": start.code_path,
        "git": _git(start),
        "startedAt": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "writerId": header.writer,
    }
    known = {name: value for name, value in facts.items() if value not in (None, "")}
    return Document(METADATA, json.dumps(known, indent=2).encode())


def _git(start: RunStart) -> dict[str, str] | None:
    told = {"remote": start.remote, "commit": start.commit}
    return {name: value for name, value in told.items() if value} or None
