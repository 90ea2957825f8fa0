"""A client that does exactly what it is told, right or wrong: one connection, nothing on its own.

Law: it never retries, never follows, never fixes. The tests of the server speak through it; no other should.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from tests.servers.state import HISTORY
from tests.servers.wandb_server import WandbServer

__all__ = ["ALERT", "FEATURES", "FILES", "RESUME", "REWIND", "UPSERT", "VIEWER", "RawClient", "Reply", "rows"]

VIEWER: Final = "query Viewer{viewer{id entity username email flags teams{edges{node{name}}}}}"
FEATURES: Final = "query ServerFeaturesQuery{serverInfo{features{name isEnabled}}}"
UPSERT: Final = """
mutation UpsertBucket($id:String,$name:String,$project:String,$entity:String,$groupName:String,
  $displayName:String,$notes:String,$commit:String,$config:JSONString,$host:String,$program:String,
  $jobType:String,$tags:[String!]){
  upsertBucket(input:{id:$id,name:$name,modelName:$project,entityName:$entity,groupName:$groupName,
    displayName:$displayName,notes:$notes,commit:$commit,config:$config,host:$host,jobProgram:$program,
    jobType:$jobType,tags:$tags}){
  bucket{id name displayName sweepName historyLineCount project{name entity{name}}} inserted}}
"""
RESUME: Final = """
query RunResumeStatus($project:String,$entity:String,$name:String!){
  model(name:$project,entityName:$entity){id name entity{id name}
    bucket(name:$name,missingOk:true){id name summaryMetrics displayName logLineCount historyLineCount
      eventsLineCount historyTail eventsTail config tags notes wandbConfig(keys:["t"])}}}
"""
FILES: Final = """
mutation CreateRunFiles($entity:String!,$project:String!,$run:String!,$files:[String!]!){
  createRunFiles(input:{entityName:$entity,projectName:$project,runName:$run,files:$files}){
    runID uploadHeaders files{name uploadUrl}}}
"""
ALERT: Final = """
mutation NotifyScriptableRunAlert($entityName:String!,$projectName:String!,$runName:String!,$title:String!,
  $text:String!,$severity:AlertSeverity=INFO,$waitDuration:Duration){
  notifyScriptableRunAlert(input:{entityName:$entityName,projectName:$projectName,runName:$runName,
    title:$title,text:$text,severity:$severity,waitDuration:$waitDuration}){success}}
"""
REWIND: Final = """
mutation RewindRun($runName:String!,$entity:String,$project:String,$metricName:String!,$metricValue:Float!){
  rewindRun(input:{runName:$runName,entityName:$entity,projectName:$project,metricName:$metricName,
    metricValue:$metricValue}){rewoundRun{id name historyLineCount}}}
"""
_STARTED: Final = {"_wandb": {"value": {"t": {"4": "3.11.7"}}}}


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is strict JSON."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """What a GraphQL answer holds."""
        return self.json["data"]


def rows(*steps: int, **values: Any) -> list[str]:
    """Return history lines with these steps."""
    return [json.dumps({"_step": step, **values}) for step in steps]


class RawClient:
    """One connection to one of the two ports of a server, made anew where it was lost."""

    def __init__(self, server: WandbServer, *, uploads: bool = False, timeout_s: float = 10.0) -> None:
        address = urlsplit(server.uploads_url if uploads else server.url)
        assert address.hostname is not None
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=timeout_s)
        self._prefix = address.path
        self.key: str | None = server.key

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def send(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send a request as it is, and return the answer."""
        try:
            self._connection.request(method, target, body, dict(headers or {}))
            with self._connection.getresponse() as response:
                names = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, names, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def headers(self, **others: str) -> dict[str, str]:
        """Return the headers of an ordinary request to the API; `content_type="…"` replaces one."""
        found = {"Content-Type": "application/json"}
        if self.key is not None:
            found["Authorization"] = "Basic " + base64.b64encode(f"api:{self.key}".encode()).decode()
        return found | {name.replace("_", "-").title(): value for name, value in others.items()}

    def graphql(self, query: str, operation: str | None = None, /, **variables: Any) -> Reply:
        """Send an operation."""
        envelope = {"query": query, "variables": variables}
        if operation is not None:
            envelope["operationName"] = operation
        return self.send("POST", f"{self._prefix}/graphql", json.dumps(envelope).encode(), self.headers())

    def upsert(self, name: str | None = "r1", **variables: Any) -> Any:
        """Upsert a run that has started, in project `proj`; return what `upsertBucket` answers."""
        config = {**variables.pop("config", {}), **_STARTED}
        given = {"project": "proj", "config": json.dumps(config), **variables}
        reply = self.graphql(UPSERT, "UpsertBucket", name=name, **given)
        assert reply.status == 200, reply
        return reply.data["upsertBucket"]

    def push(self, body: Any, run: str = "r1", project: str = "proj", entity: str = "ent") -> Reply:
        """Send a push; bytes go as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send(
            "POST", f"{self._prefix}/files/{entity}/{project}/{run}/file_stream", data, self.headers()
        )

    def push_lines(
        self, offset: int, content: Sequence[str], name: str = HISTORY, run: str = "r1", **others: Any
    ) -> Reply:
        """Send lines of one file."""
        return self.push({"files": {name: {"offset": offset, "content": list(content)}}, **others}, run)
