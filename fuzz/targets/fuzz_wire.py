# Invariant: any bytes are a record that survives the round trip, as one line of strict JSON, or one JournalError.
"""Fuzz `corelib.pure.wire`; run `python fuzz/targets/fuzz_wire.py fuzz/corpus/wire -max_total_time=60`.

A segment of a journal comes in pieces, but its payloads come whole; so pieces of a payload must be no payloads.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from corelib.errors import JournalError
from corelib.pure.records import Record
from corelib.pure.wire import KINDS, decode, encode


def fuzz_one(data: bytes) -> None:
    """Read the bytes as a record, and write it again."""
    record = _decoded(data)
    if record is None:
        return
    payload = encode(record)
    assert b"\n" not in payload
    document: dict[str, Any] = json.loads(payload, parse_constant=_refuse)
    assert KINDS[document["type"]] is type(record)
    again = _decoded(payload)
    assert repr(again) == repr(record)
    assert again is not None
    assert encode(again) == payload
    for cut in {1, len(payload) // 2, len(payload) - 1}:
        assert _decoded(payload[:cut]) is None
        assert _decoded(payload[cut:]) is None


def _decoded(payload: bytes) -> Record | None:
    try:
        return decode(payload)
    except JournalError:
        return None


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


if __name__ == "__main__":
    from fuzz.runner import run

    run(fuzz_one)
