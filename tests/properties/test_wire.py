"""The laws of the wire: exact in both directions, strict in reading, one line of strict JSON."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from corelib.errors import JournalError
from corelib.pure.records import Record, Row
from corelib.pure.wire import KINDS, decode, encode, encode_row, plain, tree
from corelib.testing.strategies.journal import flips, texts
from corelib.testing.strategies.records import headers, records, trees
from corelib.testing.strategies.values import json_trees

any_record = records() | headers()


def bits(value: Any) -> Any:
    """Return a value in a form whose equality is exact: types, signs of zeros, and NaN as one class."""
    if type(value) is float:
        return "NaN" if value != value else struct.pack(">d", value)  # noqa: PLR0124  NaN test
    if isinstance(value, Mapping):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bits(item) for item in value]
    if attrs.has(type(value)):
        return type(value), bits(attrs.asdict(value, recurse=False))
    return type(value), value


def as_json_reads(text: str) -> str:
    """Return a text with surrogates that form a pair replaced by the character they encode."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def in_row(value: Any) -> Any:
    """Return a value after a round trip in a row."""
    row = decode(encode(Row(seq=1, time=0.5, step=0, data={"k": value})))
    assert isinstance(row, Row)
    return row.data["k"]


def document_of(payload: bytes) -> dict[str, Any]:
    """Parse strict JSON, as a reader does that knows nothing of us."""

    def refuse(constant: str) -> NoReturn:
        raise AssertionError(constant)

    document: dict[str, Any] = json.loads(payload, parse_constant=refuse)
    return document


@given(record=any_record)
def test_round_trip(record: Record) -> None:
    """Every record of every kind comes back as it was, to the last bit, and is written the same again."""
    payload = encode(record)

    assert bits(decode(payload)) == bits(record)
    assert encode(decode(payload)) == payload


@given(record=any_record)
def test_one_line_of_strict_json(record: Record) -> None:
    """What is written is one line of JSON that any parser takes, compact, its type first."""
    payload = encode(record)
    document = document_of(payload)

    assert b"\n" not in payload
    assert payload.startswith(b'{"type":"')
    assert KINDS[document["type"]] is type(record)


@given(value=st.floats())
@example(value=-0.0)
@example(value=5e-324)
@example(value=struct.unpack(">d", bytes.fromhex("7ff0000000000001"))[0])
@example(value=struct.unpack(">d", bytes.fromhex("ffffffffffffffff"))[0])
def test_every_float(value: float) -> None:
    """Every float comes back bit for bit, and every NaN as a NaN."""
    assert bits(in_row(value)) == bits(value)


@given(value=st.integers() | st.integers(min_value=10**30, max_value=10**200))
@example(value=2**63)
@example(value=2**64)
@example(value=-(2**63) - 1)
def test_every_integer(value: int) -> None:
    """Every integer comes back exactly, as an integer, whatever its size."""
    assert bits(in_row(value)) == bits(value)


@given(text=texts())
def test_every_text(text: str) -> None:
    """Every text comes back, as a value and as a key; lone surrogates and look-alikes of NaN included."""
    assert in_row(text) == as_json_reads(text)
    assert in_row({text: 0}) == {as_json_reads(text): 0}


@given(value=json_trees())
def test_plain_and_tree_are_inverse(value: Any) -> None:
    """`plain` leaves nothing that JSON has no words for, and `tree` undoes it, however often it was done."""
    once = plain(value)

    json.dumps(once, allow_nan=False)
    assert bits(tree(once)) == bits(value)
    assert bits(tree(tree(plain(once)))) == bits(value)


@given(
    data=trees(),
    seq=st.integers(min_value=0, max_value=2**62),
    time=st.floats(min_value=0, max_value=4e9),
    step=st.integers(0, 2**62),
)
def test_the_short_path_equals_the_general_one(
    data: dict[str, Any], seq: int, time: float, step: int
) -> None:
    """A row that the path of plain rows can write as it is, is written by both to the same bytes."""
    assume(plain(data) == data)
    try:
        payload = encode_row(seq, time, step, data)
    except TypeError:  # an integer beyond 64 bits
        return

    assert payload == encode(Row(seq=seq, time=time, step=step, data=data))


# What JSON may stand in a field, by the annotation of the field. Anything else must be refused.
SAMPLES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    7,
    -1,
    0.5,
    1.0,
    "x",
    "1",
    "NaN",
    "",
    [],
    ["x"],
    ["x", 1],
    [None],
    {},
    {"a": 1},
)
ACCEPTED: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float,),
    "bool": (bool,),
    "str": (str,),
    "int | None": (int, type(None)),
    "bool | None": (bool, type(None)),
    "str | None": (str, type(None)),
    "tuple[str, ...]": (list,),
    "tuple[str, ...] | None": (list, type(None)),
    "Tree": (dict,),
}


def fits(value: Any, annotation: str) -> bool:
    """Say whether a JSON value may stand in a field."""
    if type(value) is list and any(type(item) is not str for item in value):
        return False
    return type(value) in ACCEPTED[annotation]


@given(record=any_record)
def test_no_type_is_converted(record: Record) -> None:
    """In every field, a JSON value of another type is an error; one of its type is taken as it is."""
    document = document_of(encode(record))
    for field in attrs.fields(type(record)):
        for value in SAMPLES:
            if field.name == "version" and type(value) is int:
                continue
            changed = json.dumps({**document, field.name: value}).encode()
            if fits(value, type(record).__annotations__[field.name]):
                found = getattr(decode(changed), field.name)
                assert bits(list(found) if type(found) is tuple else found) == bits(value)
            else:
                with pytest.raises(JournalError):
                    decode(changed)


@given(record=any_record, key=st.text(max_size=5), value=st.none() | st.integers())
def test_unknown_keys_are_refused(record: Record, key: str, value: Any) -> None:
    """A key that the kind does not have is an error."""
    document = document_of(encode(record))
    assume(key not in {"type", *(field.name for field in attrs.fields(type(record)))})

    with pytest.raises(JournalError):
        decode(json.dumps({**document, key: value}).encode())


@given(record=any_record, data=st.data())
def test_missing_keys_are_refused(record: Record, data: st.DataObject) -> None:
    """A key without a default cannot be left out, the type least of all."""
    document = document_of(encode(record))
    needed = ["type", *(field.name for field in attrs.fields(type(record)) if field.default is attrs.NOTHING)]
    del document[data.draw(st.sampled_from(needed))]

    with pytest.raises(JournalError):
        decode(json.dumps(document).encode())


@given(record=any_record, data=st.data())
def test_repeated_keys_are_refused(record: Record, data: st.DataObject) -> None:
    """A key that is there twice says two things; neither is believed."""
    payload = encode(record)
    key, value = data.draw(st.sampled_from(sorted(document_of(payload).items())))

    with pytest.raises(JournalError):
        decode(payload[:-1] + f",{json.dumps(key)}:{json.dumps(value)}}}".encode())


@given(record=any_record, word=st.sampled_from(["NaN", "Infinity", "-Infinity"]))
def test_bare_constants_are_refused(record: Record, word: str) -> None:
    """The constants that some parsers take for JSON are none, wherever they stand."""
    for name in document_of(encode(record)):
        fields = {**document_of(encode(record)), name: float(word)}
        with pytest.raises(JournalError):
            decode(json.dumps(fields).encode())


@given(record=any_record, data=st.data())
def test_damaged_payloads_are_records_or_errors(record: Record, data: st.DataObject) -> None:
    """Where a payload is damaged and no checksum is at hand, it is some record or a JournalError, nothing else."""
    _, damaged = data.draw(flips(encode(record)))
    try:
        decoded = decode(damaged)
    except JournalError:
        return

    assert type(decoded) in KINDS.values()
    assert bits(decode(encode(decoded))) == bits(decoded)


@given(junk=st.binary(max_size=200))
@example(junk=b'{"type":"row"}')
def test_any_bytes_are_a_record_or_an_error(junk: bytes) -> None:
    """Bytes of any origin are a record or a JournalError, nothing else."""
    try:
        record = decode(junk)
    except JournalError:
        return

    assert type(record) in KINDS.values()
