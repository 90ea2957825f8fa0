"""Record ↔ JSON bytes, exact in both directions and strict in reading.

Law: `decode(encode(record)) == record` for every record, every float (NaN as a class), every int and every text;
and `decode` accepts nothing that says something else than `encode` could have written: a wrong type, an unknown,
missing or repeated key and a number that no double holds are errors, never conversions.

JSON has no NaN and no infinities, so value trees hold them as the texts "NaN", "Infinity", "-Infinity". A logged
text that reads like one of the three, behind any number of backslashes, gets one backslash more. Integers beyond
64 bits and lone surrogates are beyond orjson and go through the standard library, in both directions. A high
surrogate right before a low one is, in JSON, the character that the two encode, and is read back as that.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

import orjson
from attrs import NOTHING, fields

from corelib.errors import JournalError, UsageError
from corelib.pure import records
from corelib.pure.records import FORMAT_VERSION, Record, Row

if TYPE_CHECKING:
    from json import JSONDecoder

    from cattrs import Converter

__all__ = ["decode", "encode", "encode_row", "plain", "tree"]

KINDS: Final[dict[str, type[Any]]] = {
    "header": records.Header,
    "run": records.RunStart,
    "row": records.Row,
    "config": records.ConfigChange,
    "summary": records.SummaryChange,
    "metric": records.MetricDefined,
    "change": records.RunChange,
    "file": records.FileSaved,
    "console": records.ConsoleLines,
    "system": records.SystemMetrics,
    "alert": records.Alert,
    "preempting": records.Preempting,
    "exit": records.Exit,
}
_KIND_OF: Final = {kind: name for name, kind in KINDS.items()}
_LAYOUT: Final = {kind: tuple((field.name, field.default) for field in fields(kind)) for kind in _KIND_OF}
_TREES: Final = frozenset({"config", "data", "summary", "update"})  # fields that hold value trees
_ROW_START: Final = b'{"type":"row",'
_NUMBERS: Final = frozenset({bool, float, int})
_NON_FINITE: Final = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def plain(value: Any) -> Any:
    """Return a value tree as strict JSON: non-finite numbers as texts, such texts escaped."""
    kind = type(value)
    if kind is float:
        if isfinite(value):
            return value
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124  NaN test
    if kind is str:
        return "\\" + value if value.lstrip("\\") in _NON_FINITE else value
    if kind is int or kind is bool or value is None:
        return value
    if kind is dict or isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if kind is list or isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def tree(value: Any) -> Any:
    """Undo `plain`.

    Raises:
        ValueError: a number beyond the range of a double, which the parser takes for an infinity.
    """
    kind = type(value)
    if kind is float:
        return _finite(value)
    if kind is str:
        if value in _NON_FINITE:
            return _NON_FINITE[value]
        return value[1:] if value.startswith("\\") and value.lstrip("\\") in _NON_FINITE else value
    if kind is list:
        return [tree(item) for item in value]
    if kind is dict:
        return {key: tree(item) for key, item in value.items()}
    return value


def _finite(value: float) -> float:
    if not isfinite(value):
        message = "a number beyond the range of a double"
        raise ValueError(message)
    return value


def _dumps(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document)
    except TypeError:
        import json  # only for what orjson cannot write

        try:
            text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        except (RecursionError, TypeError, ValueError) as error:
            message = f"A value cannot be written as JSON: {error}"
            raise UsageError(message) from error
        return text.encode("ascii")


def encode_row(seq: int, time: float, step: int | None, data: dict[str, Any]) -> bytes:
    """Encode a committed row whose values orjson can write as they are: the path that every plain `log()` takes."""
    return orjson.dumps({"type": "row", "seq": seq, "time": time, "step": step, "data": data})


def encode(record: Record) -> bytes:
    """Encode any record.

    Raises:
        UsageError: a value that JSON cannot hold at all (an integer of thousands of digits, endless nesting).
    """
    kind: type[Any] = type(record)
    document: dict[str, Any] = {"type": _KIND_OF[kind]}
    for name, default in _LAYOUT[kind]:
        value = getattr(record, name)
        if name in _TREES:
            value = _plain_tree(value)
        elif type(value) is float and not isfinite(value):
            message = f"{name} of a record must be a finite number, and is {value}."
            raise UsageError(message)
        if default is NOTHING or value != default:
            document[name] = value
    return _dumps(document)


def _plain_tree(value: Any) -> Any:
    try:
        return plain(value)
    except RecursionError as error:
        message = "A value is nested too deeply, or holds itself: it cannot be written as JSON."
        raise UsageError(message) from error


def decode(payload: bytes) -> Record:
    """Decode one payload.

    Raises:
        JournalError: not a record of this or an earlier format version; the text says what is wrong and where.
    """
    if payload.startswith(_ROW_START):
        row = _decode_row(payload)
        if row is not None:
            return row
    document = _loads(payload)
    name = document.pop("type", None)
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        message = f"Not a journal record: unknown type {name!r}"
        raise JournalError(message)
    if kind is records.Header:
        _check_version(document.get("version"))
    converter = _converter()
    try:
        for field in _TREES & document.keys():
            document[field] = tree(document[field])
        record: Record = converter.structure(document, kind)
    except Exception as error:  # cattrs raises groups and plain errors alike; all mean "not a record"
        raise JournalError(_explain(error, str(name))) from error
    return record


def _decode_row(payload: bytes) -> Row | None:
    """Decode what `encode_row` wrote; None for anything else, which takes the general way.

    Most of a journal is such rows, and this is twenty times as fast. It is exact because it is checked by writing the
    row again: a repeated key, a number that lost a digit or any other spelling would not give the same bytes.
    """
    try:
        document = orjson.loads(payload)
        seq, time, step, data = document["seq"], document["time"], document["step"], document["data"]
    except (KeyError, ValueError):
        return None
    if (
        type(seq) is int
        and type(time) is float
        and (type(step) is int or step is None)
        and type(data) is dict
        and _NUMBERS.issuperset(map(type, data.values()))
        and encode_row(seq, time, step, data) == payload
    ):
        return Row(seq=seq, time=time, step=step, data=data)
    return None


@cache
def _decoder() -> JSONDecoder:
    from json import JSONDecoder  # orjson turns integers beyond 64 bits into floats, this one is exact

    def refuse(constant: str) -> Any:
        message = f"bare {constant}"
        raise ValueError(message)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            message = "a key is repeated"
            raise ValueError(message)
        return found

    return JSONDecoder(parse_constant=refuse, object_pairs_hook=unique)


def _loads(payload: bytes) -> dict[str, Any]:
    try:
        document = _decoder().decode(payload.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        message = f"Not a journal record: {error}"
        raise JournalError(message) from error
    if type(document) is not dict:
        message = f"Not a journal record: expected a JSON object, found {type(document).__name__}"
        raise JournalError(message)
    return document


def _check_version(version: object) -> None:
    if type(version) is not int:
        return  # said with the other fields
    if version > FORMAT_VERSION:
        message = (
            f"This journal has format version {version}, and this corelib reads up to {FORMAT_VERSION}: "
            "upgrade corelib to read it."
        )
        raise JournalError(message)
    if version < 1:
        message = f"Not a valid header record: there is no format version {version}"
        raise JournalError(message)


def _explain(error: Exception, name: str) -> str:
    from cattrs import transform_error  # reading only
    from cattrs.v import format_exception

    def told(cause: BaseException, kind: type[Any] | None) -> str:
        return str(cause) if type(cause) in (TypeError, ValueError) else format_exception(cause, kind)

    return f"Not a valid {name} record: " + "; ".join(transform_error(error, format_exception=told))


@cache
def _converter() -> Converter:
    from cattrs import Converter  # 41 ms that a run which only writes does not pay

    converter = Converter(forbid_extra_keys=True)

    def exactly(kind: type[Any]) -> Any:
        def hook(value: Any, _: object) -> Any:
            if type(value) is not kind:
                message = f"expected {kind.__name__}, found {type(value).__name__}"
                raise TypeError(message)
            return value

        return hook

    def texts(value: Any, _: object) -> tuple[str, ...]:
        if type(value) is not list or not all(type(item) is str for item in value):
            message = "expected a list of texts"
            raise TypeError(message)
        return tuple(value)

    exact_float = exactly(float)
    for kind in (bool, int, str):
        converter.register_structure_hook(kind, exactly(kind))
    converter.register_structure_hook(float, lambda value, kind: _finite(exact_float(value, kind)))
    converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], texts)
    converter.register_structure_hook_func(lambda kind: kind == records.Tree, exactly(dict))
    return converter
