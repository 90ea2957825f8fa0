"""The cursor of one delivery as a text: how far one transport has come with one run.

Law: what `decode_cursor` accepts says what `encode_cursor` was given, exactly; whatever a disk has made of the
text otherwise is an error and never another cursor. A cursor that is too old costs a repetition, and none at all
costs every one; a wrong one would cost records.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast
from zlib import crc32

from attrs import asdict, field, frozen

from corelib.errors import JournalError, UsageError
from corelib.pure.deferral import Continuation
from corelib.pure.outcomes import Ledger, RowCount
from corelib.pure.wire import plain, tree

__all__ = ["CURSOR_VERSION", "Cursor", "decode_cursor", "encode_cursor"]

CURSOR_VERSION: Final = 1


@frozen(kw_only=True)
class Cursor:
    """How far one transport has come with one run.

    Args:
        run_id: the run.
        positions: per writer, a segment number and the count of records of it; all before is settled.
        settled: per writer, the last record that was delivered or rejected for good.
        settled_bytes: the encoded size of all of those.
        ledger: their account; nothing in it is pending.
        exited: the end of the run is among them.
        transport: what the transport wants kept, a JSON tree; None: nothing.
        decided: no resume decision is left open.
        continuation: what came of one that was, if the run goes on behind another one.
        exit_code: that of an end which was delivered and is not in the journal; None: there was none such.
    """

    run_id: str
    positions: Mapping[str, tuple[int, int]] = field(factory=dict)
    settled: Mapping[str, int] = field(factory=dict)
    settled_bytes: int = 0
    ledger: Ledger = field(factory=Ledger)
    exited: bool = False
    transport: Mapping[str, Any] | None = None
    decided: bool = False
    continuation: Continuation | None = None
    exit_code: int | None = None


def encode_cursor(cursor: Cursor) -> bytes:
    """Return a cursor as one JSON object that carries its own checksum.

    Raises:
        UsageError: what the transport wants kept cannot be written as JSON.
    """
    try:
        text = _canonical(
            {
                "version": CURSOR_VERSION,
                "run_id": cursor.run_id,
                "positions": {writer: list(place) for writer, place in cursor.positions.items()},
                "settled": dict(cursor.settled),
                "settled_bytes": cursor.settled_bytes,
                "delivered": cursor.ledger.delivered,
                "reasons": dict(cursor.ledger.reasons),
                "rows": cursor.ledger.rows.delivered,
                "row_reasons": dict(cursor.ledger.rows.reasons),
                "exited": cursor.exited,
                "transport": plain(cursor.transport),
                "decided": cursor.decided,
                "continuation": None if cursor.continuation is None else plain(_fields(cursor.continuation)),
                "exit_code": cursor.exit_code,
            }
        )
    except (RecursionError, TypeError, ValueError) as error:
        raise UsageError(f"What a transport wants kept cannot be written as JSON: {error}") from error
    return f'{{"checksum":"{crc32(text.encode()):08x}","cursor":{text}}}\n'.encode()


def decode_cursor(data: bytes) -> Cursor:
    """Return the cursor that was encoded.

    Raises:
        JournalError: it is damaged, or of a later version.
    """
    try:
        document = json.loads(data)
        found = document["cursor"]
        version = found["version"]
        if version != CURSOR_VERSION:
            raise JournalError(f"A cursor of version {version!r} is not known to this corelib: upgrade it.")
        if document["checksum"] != f"{crc32(_canonical(found).encode()):08x}":
            raise JournalError("A cursor is damaged: its checksum does not fit.")
        delivered, reasons = found["delivered"], found["reasons"]
        rows = RowCount(delivered=found.get("rows", 0), reasons=found.get("row_reasons", {}))
        continuation = found.get("continuation")
        return Cursor(
            run_id=found["run_id"],
            positions={writer: (segment, count) for writer, (segment, count) in found["positions"].items()},
            settled=found["settled"],
            settled_bytes=found["settled_bytes"],
            ledger=Ledger(
                accepted=delivered + sum(reasons.values()), delivered=delivered, reasons=reasons, rows=rows
            ),
            exited=found["exited"],
            transport=cast("dict[str, Any] | None", tree(found["transport"])),
            decided=found.get("decided", False),
            continuation=None if continuation is None else _continuation(tree(continuation)),
            exit_code=found.get("exit_code"),
        )
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        # UsageError of a ledger that does not add up is a ValueError, too.
        raise JournalError(f"A cursor is damaged: {type(error).__name__}.") from error


def _fields(continuation: Continuation) -> dict[str, Any]:
    return asdict(continuation, recurse=False)


def _continuation(fields: dict[str, Any]) -> Continuation:
    return Continuation(**{**fields, "tags": tuple(fields["tags"])})


def _canonical(document: Any) -> str:
    return json.dumps(document, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
