"""A cursor is read back exactly, or not at all."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any
from zlib import crc32

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import JournalError, UsageError
from corelib.pure.cursor import Cursor, decode_cursor, encode_cursor
from corelib.pure.deferral import Continuation
from corelib.pure.outcomes import Ledger, RowCount

SEQ = st.integers(0, 2**60)
WRITERS = st.text(max_size=8)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10)
TREES = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=5
    ),
    max_size=4,
)
LEDGERS = st.builds(
    lambda delivered, reasons: Ledger(
        accepted=delivered + sum(reasons.values()), delivered=delivered, reasons=reasons
    ),
    SEQ,
    st.dictionaries(st.text(max_size=9), SEQ, max_size=3),
)
CURSORS = st.builds(
    Cursor,
    run_id=st.text(min_size=1, max_size=9),
    positions=st.dictionaries(WRITERS, st.tuples(SEQ, SEQ), max_size=3),
    settled=st.dictionaries(WRITERS, SEQ, max_size=3),
    settled_bytes=SEQ,
    ledger=LEDGERS,
    exited=st.booleans(),
    transport=st.none() | TREES,
    decided=st.booleans(),
    continuation=st.none()
    | st.builds(
        Continuation,
        step_shift=SEQ,
        runtime_shift=st.floats(0, 1e9),
        config=TREES,
        summary=TREES,
        tags=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        notes=st.none() | st.text(max_size=5),
        name=st.none() | st.text(max_size=5),
    ),
    exit_code=st.none() | SEQ,
)
EXAMPLE = Cursor(
    run_id="r",
    positions={"w": (3, 14)},
    settled={"w": 41},
    settled_bytes=4100,
    ledger=Ledger(accepted=40, delivered=38, reasons={"too long": 2}),
    transport={"offset": 38, "loss": 0.25},
)


@given(CURSORS)
def test_a_cursor_is_read_back_exactly(cursor: Cursor) -> None:
    """Every cursor survives the text, whatever a transport wants kept."""
    assert decode_cursor(encode_cursor(cursor)) == cursor


def test_a_cursor_is_one_line_of_json() -> None:
    """People and programs can read it."""
    data = encode_cursor(EXAMPLE)

    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    assert json.loads(data)["cursor"]["settled"] == {"w": 41}


def test_non_finite_numbers_are_kept() -> None:
    """What a transport keeps may hold any number that a run can log."""
    kept = decode_cursor(
        encode_cursor(evolve(EXAMPLE, transport={"a": inf, "b": [-inf], "c": nan}))
    ).transport

    assert kept is not None
    assert (kept["a"], kept["b"]) == (inf, [-inf])
    assert kept["c"] != kept["c"]


@given(CURSORS, st.data())
def test_a_damaged_cursor_is_never_another_one(cursor: Cursor, data: st.DataObject) -> None:
    """A changed byte, a lost end, anything a disk does: the same cursor, or an error."""
    good = encode_cursor(cursor)
    place = data.draw(st.integers(0, len(good) - 1))
    changed = good[:place] + data.draw(st.binary(max_size=2)) + good[place + data.draw(st.integers(0, 2)) :]
    try:
        found = decode_cursor(changed)
    except JournalError:
        return
    assert found == cursor


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"\x00" * 300, b'{"cursor":1}', b'{"cursor":{}}', b"[" * 100_000, b"\xff"],
)
def test_what_is_no_cursor_is_an_error(data: bytes) -> None:
    """No text makes reading fail in any other way."""
    with pytest.raises(JournalError, match="damaged"):
        decode_cursor(data)


def test_a_later_version_is_not_guessed_at() -> None:
    """A cursor that a later corelib wrote says so."""
    with pytest.raises(JournalError, match="version 2"):
        decode_cursor(encode_cursor(EXAMPLE).replace(b'"version":1', b'"version":2'))


def test_books_that_do_not_balance_are_damage() -> None:
    """A negative count cannot have been written by us, whatever its checksum says."""
    from corelib.pure import cursor as module

    document = json.loads(encode_cursor(EXAMPLE))["cursor"]
    document["delivered"] = -1
    text = module._canonical(document)
    data = f'{{"checksum":"{crc32(text.encode()):08x}","cursor":{text}}}'.encode()
    with pytest.raises(JournalError, match="UsageError"):
        decode_cursor(data)


def test_what_cannot_be_kept_is_the_transport_s_fault() -> None:
    """A transport that wants an object kept learns that JSON cannot hold it."""
    endless: dict[str, Any] = {}
    endless["self"] = endless
    for wanted in ({"an object": object()}, endless):
        with pytest.raises(UsageError, match="wants kept"):
            encode_cursor(evolve(EXAMPLE, transport=wanted))


def test_the_count_of_rows_is_read_back() -> None:
    """Rows are counted apart, and the account of a run goes on with them."""
    rows = RowCount(delivered=30, reasons={"too long": 1})
    cursor = evolve(EXAMPLE, ledger=evolve(EXAMPLE.ledger, rows=rows))

    assert decode_cursor(encode_cursor(cursor)).ledger.rows == rows


def test_a_cursor_of_before_is_read() -> None:
    """What was added to the format since has a value where it is not there: an upgrade repeats no record."""
    found = json.loads(encode_cursor(EXAMPLE))["cursor"]
    for name in ("rows", "row_reasons", "decided", "continuation"):
        del found[name]
    text = json.dumps(found, ensure_ascii=True, sort_keys=True, separators=(",", ":"))

    assert decode_cursor(f'{{"checksum":"{crc32(text.encode()):08x}","cursor":{text}}}'.encode()) == EXAMPLE
