"""`POST /files/{entity}/{project}/{run}/file_stream`: what a push says, and what it does to the run.

Law: the outer body is strict JSON of exact types; the lines inside are texts that may hold bare NaN and
Infinity. Lines are set where their offset says (`lines.Lines`). What the offset rule forgives is stored, and
what a correct client would never have sent is noted as a violation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from tests.servers.exchange import Incoming, Refused
from tests.servers.state import EVENTS, HISTORY, STREAM_FILES, SUMMARY, Push, RunState, World

__all__ = ["MOST_LINE_BYTES", "MOST_PUSH_BYTES", "PushBody", "acknowledge", "apply", "check_size", "read"]

MOST_PUSH_BYTES: Final = 10 * 1024 * 1024
MOST_LINE_BYTES: Final = MOST_PUSH_BYTES - 100 * 1024

# `failed` is part of the old client's heartbeat; it means nothing.
_KEYS: Final = {"files", "uploaded", "preempting", "complete", "exitcode", "failed"}
_Violate = Callable[[str, str], None]


class PushBody(NamedTuple):
    """What one push says."""

    files: Mapping[str, tuple[int, tuple[str, ...]]]
    uploaded: tuple[str, ...]
    preempting: bool
    complete: bool
    exitcode: int | None


def _member(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name, default)
    if value is default or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise Refused(400, f"`{name}` must be of type {kind.__name__}", "wrong-type")


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Refused(400, f"{what} must be a list of texts", "wrong-type")
    return tuple(value)


def read(body: Any) -> PushBody:
    """Return what a decoded body says.

    Raises:
        Refused: a strict decoder would refuse it.
    """
    if not isinstance(body, dict):
        raise Refused(400, "a push is a JSON object", "wrong-type")
    unknown = sorted(set(body) - _KEYS)
    if unknown:
        raise Refused(400, f"unknown keys {unknown}", "unknown-key")
    files: dict[str, tuple[int, tuple[str, ...]]] = {}
    for name, chunk in _member(body, "files", dict, {}).items():
        if name not in STREAM_FILES:
            raise Refused(400, f"no such streamed file: {name!r}", "unknown-stream-file")
        if not isinstance(chunk, dict):
            raise Refused(400, f"{name}: not a JSON object", "wrong-type")
        offset = _member(chunk, "offset", int, None)
        if offset is None or offset < 0:
            raise Refused(400, f"{name}: `offset` must be an integer from 0 on", "wrong-type")
        files[name] = (offset, _texts(chunk.get("content"), f"{name}: `content`"))
    return PushBody(
        files,
        _texts(body.get("uploaded", []), "`uploaded`"),
        _member(body, "preempting", bool, False),
        _member(body, "complete", bool, False),
        _member(body, "exitcode", int, None),
    )


def check_size(push: PushBody, size: int, violate: _Violate) -> None:
    """Note what is too long. `size` is the length of the decoded body in bytes."""
    count = 0
    for name, (_offset, content) in push.files.items():
        count += len(content)
        if name in (HISTORY, EVENTS, SUMMARY):
            for line in content:
                # Encoding every line would double the cost of a push; a character takes four bytes at most.
                if len(line) * 4 > MOST_LINE_BYTES and len(line.encode()) > MOST_LINE_BYTES:
                    violate("row-too-long", f"{name}: a line of {len(line.encode())} bytes")
    if size > MOST_PUSH_BYTES and count > 1:
        violate("push-too-big", f"{size} bytes with {count} lines")


def _check_row(name: str, line: str, violate: _Violate) -> None:
    if "\n" in line:
        violate("line-feed", f"{name}: {line[:80]!r}")
    try:
        row = json.loads(line)
    except ValueError as error:
        violate("bad-row", f"{name}: {error}: {line[:80]!r}")
        return
    if not isinstance(row, dict):
        violate("bad-row", f"{name}: no JSON object: {line[:80]!r}")
    elif name == HISTORY and (not isinstance(row.get("_step"), int) or isinstance(row.get("_step"), bool)):
        violate("bad-step", f"`_step` is {row.get('_step')!r}")


def _write(run: RunState, name: str, offset: int, content: tuple[str, ...], violate: _Violate) -> None:
    if name == SUMMARY:
        if offset != 0 or len(content) != 1:
            violate("summary-not-whole", f"{len(content)} lines at offset {offset}")
        # There is one summary: the last line that came.
        run.lines[SUMMARY].write(0, content[-1:])
    if name in (HISTORY, EVENTS, SUMMARY):
        for line in content:
            _check_row(name, line, violate)
    if name == SUMMARY:
        return
    known = run.acknowledged.get(name, 0)
    if name in (HISTORY, EVENTS) and content and offset < known:
        violate("offset-back", f"{name}: offset {offset}, though {known} lines were acknowledged")
    extent = run.line_count(name)
    written = run.lines[name].write(offset, content)
    if name in (HISTORY, EVENTS) and written.changed:
        violate("overlap-differs", f"{name}: line {written.changed[0]} and {len(written.changed) - 1} more")
    if written.leaves_gap:
        violate("gap", f"{name}: offset {offset}, but there are {extent} lines")


def _check_order(
    run: RunState, push: PushBody, digest: bytes, uploads_under_way: int, violate: _Violate
) -> None:
    final = run.final_push
    is_repeat = final is not None and not final.acknowledged and final.digest == digest
    if run.complete and not run.reopened and not is_repeat:
        violate("push-after-complete", f"{len(push.files)} files, complete={push.complete}")
    if push.complete != (push.exitcode is not None):
        violate("half-complete", f"complete={push.complete}, exitcode={push.exitcode}")
    if push.complete and uploads_under_way:
        violate("complete-before-uploads", f"{uploads_under_way} PUTs under way")
    for name in push.uploaded:
        if name not in run.files:
            violate("uploaded-unknown", name)


def apply(
    world: World, run: RunState, push: PushBody, incoming: Incoming, size: int, uploads_under_way: int = 0
) -> Push:
    """Carry a push out and return the note that is kept of it."""

    def violate(kind: str, detail: str) -> None:
        world.violate(kind, detail, run=run.key, request=incoming.number)

    digest = hashlib.sha256(incoming.body).digest()
    _check_order(run, push, digest, uploads_under_way, violate)
    for name, (offset, content) in push.files.items():
        _write(run, name, offset, content, violate)
    note = Push(
        request=incoming.number,
        time=incoming.time,
        size=size,
        digest=digest,
        files={name: (offset, len(content)) for name, (offset, content) in push.files.items()},
        uploaded=push.uploaded,
        preempting=push.preempting,
        complete=push.complete,
        exitcode=push.exitcode,
    )
    run.pushes.append(note)
    run.preempting = run.preempting or push.preempting
    if push.complete:
        run.complete, run.exit_code, run.final_push, run.reopened = True, push.exitcode, note, False
    elif run.reopened:
        run.complete, run.exit_code = False, None
    return note


def acknowledge(run: RunState, push: Push) -> None:
    """Note that the client can know of this push: its 2xx answer was written out whole."""
    push.acknowledged = True
    for name, (offset, count) in push.files.items():
        run.acknowledged[name] = max(run.acknowledged.get(name, 0), offset + count)
