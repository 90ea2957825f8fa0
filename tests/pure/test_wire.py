"""Records as JSON: the bytes of each kind, and what is refused; the laws for all input are in tests/properties."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from corelib.errors import JournalError, UsageError
from corelib.pure.records import (
    Alert,
    ConfigChange,
    ConsoleLines,
    Exit,
    FileSaved,
    Header,
    MetricDefined,
    Preempting,
    Record,
    Row,
    RunChange,
    RunStart,
    SummaryChange,
    SystemMetrics,
)
from corelib.pure.wire import decode, encode, encode_row, plain, tree

HEADER = Header(
    seq=0,
    time=1.5,
    version=1,
    run_id="abc",
    writer="w1",
    segment=1,
    start_time=1.25,
    host="node",
    pid=42,
    primary=True,
)
START = RunStart(
    seq=1,
    time=1.5,
    project="iris",
    entity=None,
    name="swift",
    group=None,
    job_type="train",
    notes=None,
    tags=("a", "b"),
    mode="offline",
    resumed=False,
    starting_step=0,
    runtime_offset=0.0,
    previous=None,
    decision="A new run.",
    config={"lr": 0.1},
    summary={},
    program="train.py",
    sweep_id=None,
)

# What stands on disk for ever: the documented form of every kind.
FORMS: list[tuple[Record, str]] = [
    (
        HEADER,
        '{"type":"header","seq":0,"time":1.5,"version":1,"run_id":"abc","writer":"w1","segment":1,"start_time":1.25,'
        '"host":"node","pid":42,"primary":true}',
    ),
    (
        START,
        '{"type":"run","seq":1,"time":1.5,"project":"iris","entity":null,"name":"swift","group":null,"job_type":"train",'
        '"notes":null,"tags":["a","b"],"mode":"offline","resumed":false,"starting_step":0,"runtime_offset":0.0,'
        '"previous":null,"decision":"A new run.","config":{"lr":0.1},"summary":{},"program":"train.py",'
        '"sweep_id":null}',
    ),
    (
        Row(seq=5, time=1795364658.877052, step=3, data={"loss": 0.3}),
        '{"type":"row","seq":5,"time":1795364658.877052,"step":3,"data":{"loss":0.3}}',
    ),
    (
        Row(seq=6, time=2.0, step=None, data={}, commit=False, late=True),
        '{"type":"row","seq":6,"time":2.0,"step":null,"data":{},"commit":false,"late":true}',
    ),
    (
        ConfigChange(seq=7, time=2.0, update={"lr": 0.2}),
        '{"type":"config","seq":7,"time":2.0,"update":{"lr":0.2}}',
    ),
    (
        SummaryChange(seq=8, time=2.0, update={}, remove=("best",)),
        '{"type":"summary","seq":8,"time":2.0,"update":{},"remove":["best"]}',
    ),
    (
        MetricDefined(seq=9, time=2.0, name="loss", summary=("min", "max"), hidden=False),
        '{"type":"metric","seq":9,"time":2.0,"name":"loss","hidden":false,"summary":["min","max"]}',
    ),
    (RunChange(seq=10, time=2.0, notes=""), '{"type":"change","seq":10,"time":2.0,"notes":""}'),
    (
        FileSaved(seq=11, time=2.0, path="sub/a.txt", policy="live"),
        '{"type":"file","seq":11,"time":2.0,"path":"sub/a.txt","policy":"live"}',
    ),
    (
        Alert(seq=12, time=2.0, title="t", text="x", level="WARN", wait_duration=60.0),
        '{"type":"alert","seq":12,"time":2.0,"title":"t","text":"x","level":"WARN","wait_duration":60.0}',
    ),
    (
        ConsoleLines(seq=15, time=2.0, stream="stderr", lines=("a", "")),
        '{"type":"console","seq":15,"time":2.0,"stream":"stderr","lines":["a",""]}',
    ),
    (
        SystemMetrics(seq=16, time=2.0, data={"system.cpu": 12.5}),
        '{"type":"system","seq":16,"time":2.0,"data":{"system.cpu":12.5}}',
    ),
    (Preempting(seq=13, time=2.0), '{"type":"preempting","seq":13,"time":2.0}'),
    (
        Exit(seq=14, time=2.0, exit_code=None, runtime=0.5),
        '{"type":"exit","seq":14,"time":2.0,"exit_code":null,"runtime":0.5}',
    ),
]


def row_of(value: Any) -> Row:
    """Return a row that holds one value."""
    return Row(seq=1, time=0.5, step=0, data={"k": value})


def stored(value: Any) -> bytes:
    """Return how a value stands in a row."""
    prefix, suffix = b'{"type":"row","seq":1,"time":0.5,"step":0,"data":{"k":', b"}}"
    payload = encode(row_of(value))
    assert payload.startswith(prefix)
    assert payload.endswith(suffix)
    return payload[len(prefix) : -len(suffix)]


@pytest.mark.parametrize(
    ("record", "form"), FORMS, ids=lambda one: type(one).__name__ if not isinstance(one, str) else ""
)
def test_form_of_every_kind(record: Record, form: str) -> None:
    """Each kind has one documented form, to the byte: defaults are left out, the type comes first."""
    assert encode(record).decode() == form
    assert decode(form.encode()) == record


def test_the_short_path_writes_the_same() -> None:
    """The row of a plain `log()` call is written as the general path would write it."""
    data = {"loss": 0.1, "epoch": 3, "ok": True, "ü": -0.0}

    assert encode_row(5, 1.5, 3, data) == encode(Row(seq=5, time=1.5, step=3, data=data))


@pytest.mark.parametrize("step", [2**64, -(2**63) - 1])
def test_the_short_path_leaves_what_it_cannot_write(step: int) -> None:
    """An integer beyond 64 bits, or a key that is no text, raises TypeError there; the general path decides."""
    with pytest.raises(TypeError):
        encode_row(1, 0.5, step, {})
    with pytest.raises(TypeError):
        encode_row(1, 0.5, 0, {1: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), b'"NaN"'),
        (-float("nan"), b'"NaN"'),
        (float("inf"), b'"Infinity"'),
        (float("-inf"), b'"-Infinity"'),
        ("NaN", rb'"\\NaN"'),
        ("\\NaN", rb'"\\\\NaN"'),
        ("\\\\-Infinity", rb'"\\\\\\-Infinity"'),
        ("nan", b'"nan"'),
        ("NaN ", b'"NaN "'),
        ("\\", rb'"\\"'),
        pytest.param([float("nan")], b'["NaN"]', marks=pytest.mark.case("log-list-nan")),
        ([float("nan"), ["NaN"]], rb'["NaN",["\\NaN"]]'),
        ({"NaN": {"d": float("inf")}}, b'{"NaN":{"d":"Infinity"}}'),
        (-0.0, b"-0.0"),
        (5e-324, b"5e-324"),
        (2**64, b"18446744073709551616"),
        pytest.param(2**70, b"1180591620717411303424", marks=pytest.mark.case("log-bigint")),
        (-(10**30), b"-1000000000000000000000000000000"),
        ("\ud800", rb'"\ud800"'),
        ("ä🦊", '"ä🦊"'.encode()),
        ("a\nb\x00", rb'"a\nb\u0000"'),
        (True, b"true"),
        (None, b"null"),
    ],
)
def test_values(value: Any, text: bytes) -> None:
    """Non-finite numbers are texts, texts that read like them are escaped, integers are exact, and all comes back."""
    assert stored(value) == text
    back = decode(encode(row_of(value)))
    assert isinstance(back, Row)
    assert repr(back.data["k"]).replace("-nan", "nan") == repr(value).replace("-nan", "nan")


def test_surrogates_that_form_a_pair() -> None:
    """JSON cannot tell two surrogates that form a pair from the character they encode; that is what is read back."""
    back = decode(encode(row_of("\ud83e\udd8a")))

    assert isinstance(back, Row)
    assert back.data["k"] == "🦊"


def test_trees_of_other_mappings_and_sequences() -> None:
    """A tree may come as any mapping, and hold tuples: it is written as plain dictionaries and lists."""
    row = Row(
        seq=1, time=0.5, step=0, data=MappingProxyType({"d": MappingProxyType({"t": (1, float("nan"))})})
    )

    assert encode(row) == b'{"type":"row","seq":1,"time":0.5,"step":0,"data":{"d":{"t":[1,"NaN"]}}}'


def test_escapes_are_undone_once() -> None:
    """Each pass of `tree` undoes one pass of `plain`, so data that was escaped by others is not touched."""
    value = {"a": ["NaN", "\\Infinity", float("-inf")], "b": "x"}

    assert plain(plain(value)) == {"a": ["\\\\NaN", "\\\\\\Infinity", "\\-Infinity"], "b": "x"}
    assert tree(tree(plain(plain(value)))) == value


def endless() -> dict[str, Any]:
    """Return a dictionary that holds itself."""
    value: dict[str, Any] = {}
    value["self"] = value
    return value


def nested(depth: int) -> Any:
    """Return a value of so many lists around a number beyond 64 bits, which orjson leaves to the standard library."""
    value: Any = 2**64
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.case("log-deep-200")
def test_deep_values() -> None:
    """200 levels are nothing special, on the path of the standard library either."""
    assert decode(encode(row_of(nested(200)))) == row_of(nested(200))


@pytest.mark.parametrize(
    "value", [10**10_000, endless(), object(), float("nan")], ids=["digits", "endless", "no tree", "time"]
)
def test_what_json_cannot_hold(value: Any) -> None:
    """A value that cannot be written is an error of the user, said before anything is written."""
    with pytest.raises(UsageError):
        encode(Preempting(seq=1, time=value) if isinstance(value, float) else row_of(value))


def test_nesting_beyond_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the JSON writer itself gives up, it is the same error."""

    def give_up(*_: Any, **__: Any) -> str:
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(json, "dumps", give_up)
    with pytest.raises(UsageError, match="cannot be written as JSON"):
        encode(row_of(2**64))


GOOD = '{"type":"row","seq":1,"time":0.5,"step":0,"data":{}}'


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "utf-8"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "Expecting value"),
        (b"[1]", "expected a JSON object, found list"),
        (b"{}", "unknown type None"),
        (b'{"type":"rows"}', "unknown type 'rows'"),
        (b'{"type":["row"]}', "unknown type"),
        (GOOD.encode() + b"x", "Extra data"),
        (b"[" * 100_000, "recursion|overflow"),
        (GOOD.replace('"seq":1', '"seq":1,"seq":1').encode(), "a key is repeated"),
        (GOOD.replace("{}", '{"a":1,"a":2}').encode(), "a key is repeated"),
        (GOOD.replace("{}", '{"a":NaN}').encode(), "bare NaN"),
        (GOOD.replace("{}", '{"a":-Infinity}').encode(), "bare -Infinity"),
        (GOOD.replace("{}", '{"a":[1e400]}').encode(), "beyond the range of a double"),
        (GOOD.replace("0.5", "1e400").encode(), "beyond the range of a double"),
        (GOOD.replace("0.5", "1").encode(), "expected float, found int"),
        (GOOD.replace("0.5", '"NaN"').encode(), "expected float, found str"),
        (GOOD.replace('"seq":1', '"seq":1.0').encode(), "expected int, found float"),
        (GOOD.replace('"seq":1', '"seq":true').encode(), "expected int, found bool"),
        (GOOD.replace('"step":0', '"step":"0"').encode(), "expected int, found str"),
        (GOOD.replace("{}", "[]").encode(), "expected dict, found list"),
        (GOOD.replace("{}", '{},"commit":1').encode(), "expected bool, found int"),
        (GOOD.replace("{}", '{},"colour":1').encode(), "colour"),
        (GOOD.replace('"step":0,', "").encode(), "step"),
        (b'{"type":"change","seq":1,"time":0.5,"tags":"ab"}', "expected a list of texts"),
        (b'{"type":"change","seq":1,"time":0.5,"tags":[1]}', "expected a list of texts"),
        (b'{"type":"change","seq":1,"time":0.5,"name":1}', "expected str, found int"),
    ],
)
def test_what_is_refused(payload: bytes, reason: str) -> None:
    """Whatever `encode` would have said otherwise is an error that names the place, never a conversion."""
    with pytest.raises(JournalError, match=reason):
        decode(payload)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("2", "format version 2, and this corelib reads up to 1: upgrade corelib"),
        ("0", "no format version 0"),
        ("-1", "-1"),
    ],
)
def test_foreign_versions(version: str, reason: str) -> None:
    """A header of a later format says what to do; a version that never was is damage."""
    payload = encode(HEADER).replace(b'"version":1', b'"version":' + version.encode())
    with pytest.raises(JournalError, match=reason):
        decode(payload)


def test_version_of_a_wrong_type() -> None:
    """A version is an integer like any other field."""
    payload = encode(HEADER).replace(b'"version":1', b'"version":"1"')
    with pytest.raises(JournalError, match="expected int, found str"):
        decode(payload)
