"""From a request that has arrived to its answer: credentials, form, then the handler of the endpoint.

Law: `check` looks at a request and changes nothing but the list of violations; `handle` carries it out. No
socket, no thread; the caller holds the lock.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from tests.servers import file_stream, graphql, uploads
from tests.servers.exchange import Answer, Endpoint, Incoming, Refused, Role, json_answer
from tests.servers.request_log import KeyKind, key_kind
from tests.servers.state import Push, RunKey, World

__all__ = ["ENCODING_FEATURES", "Backend", "Handled", "Route", "decoded"]

ENCODING_FEATURES: Final[Mapping[str, str]] = {"gzip": "FILESTREAM_GZIP", "zstd": "FILESTREAM_ZSTD"}
"""Which feature announces which Content-Encoding of file_stream. The second is ours alone."""

_PATH: Final = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
_STREAM: Final = re.compile(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream")
_ANONYMOUS: Final = "CreateAnonymousApiKey"


class Route(NamedTuple):
    """Where a target leads."""

    endpoint: Endpoint
    run: RunKey | None = None


class Handled(NamedTuple):
    """An answer, and the push that is to be acknowledged once it has been written."""

    answer: Answer
    push: Push | None = None


def decoded(body: bytes, encoding: str) -> bytes:
    """Return a body without its Content-Encoding, one of `ENCODING_FEATURES`.

    Raises:
        ValueError: it does not have this encoding.
    """
    if encoding == "gzip":
        try:
            return gzip.decompress(body)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(str(error)) from None
    # The standard library has it from Python 3.14 on; corelib requires this package, and the server needs it only for
    # tests that announce the feature.
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        plain = frame.decompress(body)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None
    if not frame.eof or frame.unused_data:
        raise ValueError("not one whole frame")
    return plain


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


class Backend:
    """The rules of both ports over one `World`. `prefix` is the path of the base URL, no slash at its end."""

    def __init__(self, world: World, prefix: str) -> None:
        self.world = world
        self._prefix = prefix

    def route(self, role: Role, method: str, target: str) -> Route:
        """Return where a target leads, whatever the method."""
        if role == "uploads":
            return Route("upload" if method == "PUT" else "other")
        path = target.partition("?")[0]
        if not path.startswith(self._prefix + "/"):
            return Route("other")
        path = path[len(self._prefix) :]
        if path == "/graphql":
            return Route("graphql")
        if path.startswith("/sdk/otel/"):
            return Route("telemetry")
        found = _STREAM.fullmatch(path)
        if found is None:
            return Route("other")
        entity, project, name = (unquote(part) for part in found.groups())
        return Route("file_stream", (entity, project, name))

    def key_of(self, incoming: Incoming) -> KeyKind:
        """Return what the request's credentials are."""
        return key_kind(incoming.headers.get("authorization"), self.world.keys, self.world.known_keys)

    def check(self, incoming: Incoming) -> Any:
        """Return what the body says: a `PushBody`, a `GraphqlRequest`, or None.

        Raises:
            Refused: a real server would go no further.
        """
        self._check_secrets(incoming)
        if not _PATH.fullmatch(incoming.target):
            raise Refused(400, f"bad path {incoming.target!r}", "path-encoding")
        if incoming.role == "uploads":
            if {"authorization", "cookie"} & set(incoming.headers):
                self._violate("authorization-elsewhere", f"{incoming.method} {incoming.target}", incoming)
            if incoming.endpoint == "upload" and incoming.headers.get("content-encoding"):
                raise Refused(400, "the bytes of a file are never compressed", "unannounced-encoding")
            return None
        envelope_allowed = incoming.endpoint in ("graphql", "file_stream")
        if envelope_allowed and incoming.method != "POST":
            raise Refused(405, f"{incoming.method} is not allowed here", "wrong-method")
        if not envelope_allowed:
            raise Refused(404, f"nothing is at {incoming.target}", "unknown-path")
        body = self._json(incoming)
        label = graphql.label(body) if incoming.endpoint == "graphql" else None
        self._check_key(incoming, label)
        if incoming.endpoint == "graphql":
            return graphql.read_envelope(body)
        push = file_stream.read(body)
        size = len(self._decoded(incoming))
        file_stream.check_size(push, size, lambda kind, detail: self._violate(kind, detail, incoming))
        return push

    def handle(self, incoming: Incoming, said: Any, uploads_under_way: int) -> Handled:
        """Carry out what `check` returned.

        Raises:
            Refused: the world says no.
        """
        if incoming.role == "uploads":
            if incoming.endpoint != "upload":
                return Handled(json_answer({"error": "nothing is here"}, 404))
            return Handled(uploads.put(self.world, incoming))
        if isinstance(said, graphql.GraphqlRequest):
            return Handled(graphql.execute(self.world, said, incoming.number))
        assert isinstance(said, file_stream.PushBody)
        return self._push(incoming, said, uploads_under_way)

    def violate_refusal(self, refused: Refused, incoming: Incoming) -> None:
        """Note the rule that was broken, if a rule was the reason of the refusal."""
        if refused.violation is not None:
            self._violate(refused.violation, refused.message, incoming)

    def envelope(self, incoming: Incoming) -> Any:
        """Return the decoded JSON of a body for the log and the fault plan; None if it cannot be read."""
        try:
            return json.loads(self._decoded(incoming))
        except (Refused, ValueError):
            return None

    def body_size(self, incoming: Incoming) -> int:
        """Return the length of a body in bytes once it is decompressed; as it came where that cannot be done."""
        try:
            return len(self._decoded(incoming))
        except Refused:
            return len(incoming.body)

    # -------------------------------------------------------------------------------------------------- parts

    def _push(self, incoming: Incoming, said: file_stream.PushBody, uploads_under_way: int) -> Handled:
        world, key = self.world, incoming.run
        assert key is not None
        if key[1] in world.forbidden:
            raise Refused(403, f"permission denied: project {key[0]}/{key[1]}")
        limit = world.max_body_bytes
        if limit is not None and len(incoming.body) > limit:
            raise Refused(413, f"the body of {len(incoming.body)} bytes is larger than {limit}")
        run = world.runs.get(key)
        if run is None:
            known = key in world.deleted
            raise Refused(404, f"run {'/'.join(key)} not found", None if known else "unknown-run")
        size = len(self._decoded(incoming))
        push = file_stream.apply(world, run, said, incoming, size, uploads_under_way)
        answer: dict[str, Any] = {"exitcode": None, "limits": {}}
        if run.stop_asked:
            answer["stopped"] = True
        return Handled(json_answer(answer), push)

    def _json(self, incoming: Incoming) -> Any:
        kind = incoming.headers.get("content-type", "")
        if kind.partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, f"Content-Type {kind!r} instead of application/json", "wrong-content-type")
        body = self._decoded(incoming)
        try:
            return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is not strict JSON: {error}", "bad-json") from None

    def _decoded(self, incoming: Incoming) -> bytes:
        encoding = incoming.headers.get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            return incoming.body
        feature = ENCODING_FEATURES.get(encoding, "")
        if incoming.endpoint != "file_stream" or not self.world.features.get(feature):
            raise Refused(415, f"Content-Encoding {encoding} was not announced", "unannounced-encoding")
        try:
            return decoded(incoming.body, encoding)
        except ValueError as error:
            raise Refused(400, f"not {encoding}: {error}", "bad-encoding") from None

    def _check_key(self, incoming: Incoming, label: str | None) -> None:
        kind = self.key_of(incoming)
        if kind == "correct" or (kind == "absent" and label == _ANONYMOUS):
            return
        rule = {"absent": "no-authorization", "malformed": "not-basic", "wrong": "wrong-key"}.get(kind)
        raise Refused(401, "user is not logged in", rule)

    def _check_secrets(self, incoming: Incoming) -> None:
        """A key belongs into an Authorization header and nowhere else; whether that may be there is said elsewhere."""
        outside = [incoming.target.encode(), incoming.body]
        outside += [value.encode() for name, value in incoming.headers.items() if name != "authorization"]
        for key in self.world.known_keys:
            basic = base64.b64encode(f"api:{key}".encode())
            if any(key.encode() in text or basic in text for text in outside):
                self._violate("key-leaked", f"{incoming.method} on {incoming.role}", incoming)

    def _violate(self, kind: str, detail: str, incoming: Incoming) -> None:
        self.world.violate(kind, detail, run=incoming.run, request=incoming.number)
