"""GraphQL documents are read as a real server reads them, and refused where it refuses them."""

from __future__ import annotations

import pytest

from tests.servers.document import OMIT, DocumentError, parse, resolved_arguments, select
from tests.servers.schema import check_arguments, check_selection, check_variables


def test_operation_with_everything() -> None:
    """Comments, commas, aliases, literals of every kind, variables, defaults and directives are understood."""
    operation = parse(
        """# a comment
        mutation Do($a: [String!]! = ["x", "y"], $b: Int) @live {
          first: run(input: {names: $a, deep: {n: -1.5e3, t: true, z: null, kind: INFO}}, text: "q\\"\\u00e9")
              {
            id, bucket(count: $b) @include(if: true) { name }
          }
          other(block: \"\"\"a "quoted" text\"\"\")
        }"""
    )

    first, other = operation.fields
    assert (operation.kind, operation.name) == ("mutation", "Do")
    assert [(found.name, found.type, found.default) for found in operation.declarations] == [
        ("a", "[String!]!", ["x", "y"]),
        ("b", "Int", None),
    ]
    assert (first.key, first.name) == ("first", "run")
    assert resolved_arguments(first, {"a": ["z"]}) == {
        "input": {"names": ["z"], "deep": {"n": -1500.0, "t": True, "z": None, "kind": "INFO"}},
        "text": 'q"é',
    }
    assert resolved_arguments(other, {}) == {"block": 'a "quoted" text'}


def test_fragments_are_put_in() -> None:
    """Named and inline fragments stand for their fields, with the variables they use."""
    operation = parse(
        "query Q($n:Int){run{...A ... on Run{name} ...{tags}}} fragment A on Run{id files(first:$n){x}}"
    )

    assert operation.fields[0].fields is not None
    assert [field.name for field in operation.fields[0].fields] == ["id", "files", "name", "tags"]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("query Q{a", None, 'found "<EOF>"'),
        ("query Q{}", None, "empty"),
        ("subscribe{a}", None, "Unexpected Name"),
        ("query Q{a(b:)}", None, "unexpected"),
        ("query Q{a ?}", None, "unexpected character"),
        ("query Q{1}", None, "expected Name"),
        ("query Q($x:Int){a}", None, "never used"),
        ("query Q{a(b:$x)}", None, "not defined"),
        ("query Q{...F}", None, "Unknown fragment"),
        ("query Q{a} query R{a}", None, "exactly one operation"),
        ("query Q{a}", "R", 'operation "R"'),
        ("", None, "exactly one operation"),
    ],
)
def test_bad_documents_are_refused(text: str, name: str | None, message: str) -> None:
    """A document that a real server refuses is refused, with the reason."""
    with pytest.raises(DocumentError, match=message):
        parse(text, name)


def test_one_of_several_operations() -> None:
    """The name of the operation chooses among several."""
    assert parse("query Q{a} query R{b}", "R").fields[0].name == "b"


@pytest.mark.parametrize(
    ("declared", "variables", "message"),
    [
        ("$x:String", {"x": 1}, "invalid value"),
        ("$x:[String!]", {"x": "a"}, "invalid value"),
        ("$x:[String!]", {"x": ["a", None]}, "invalid value"),
        ("$x:JSONString", {"x": {"a": 1}}, "invalid value"),
        ("$x:Boolean", {"x": "true"}, "invalid value"),
        ("$x:Int", {"x": 1.5}, "invalid value"),
        ("$x:Int", {"x": True}, "invalid value"),
        ("$x:Float", {"x": "1"}, "invalid value"),
        ("$x:String!", {}, "not provided"),
        ("$x:String!", {"x": None}, "not provided"),
    ],
)
def test_variables_of_a_wrong_type(declared: str, variables: dict[str, object], message: str) -> None:
    """A variable has its declared type, and is there if it must be."""
    operation = parse(f"query Q({declared}){{a(b:$x)}}")

    with pytest.raises(DocumentError, match=message):
        check_variables(operation, variables)


def test_defaults_and_unknown_types() -> None:
    """A default stands in for a variable that is not given; a type of the schema's own takes anything."""
    operation = parse("query Q($x:Int=3,$y:Odd,$z:Int){a(b:$x,c:$y,d:$z)}")

    assert check_variables(operation, {"y": {"any": 1}}) == {"x": 3, "y": {"any": 1}}
    # A variable that was not given leaves its input field out.
    assert resolved_arguments(operation.fields[0], {"x": 3}) == {"b": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mutation M($c:String){upsertBucket(input:{config:$c}){inserted}}", "expecting type"),
        ("mutation M($c:String){upsertBucket(input:{project:$c}){inserted}}", "Unknown argument"),
        ("mutation M($c:String){upsertBucket(name:$c){inserted}}", "Unknown argument"),
        ('mutation M{upsertBucket(input:"x"){inserted}}', "input object"),
        ("mutation M{upsertBucket(input:{tags:[1]}){inserted}}", "invalid value"),
    ],
)
def test_arguments_of_a_wrong_type(text: str, message: str) -> None:
    """An argument exists, and what stands in its place has its type."""
    operation = parse(text)

    with pytest.raises(DocumentError, match=message):
        check_arguments(operation, operation.fields[0], {"c": "{}"})


def test_input_object_as_one_variable() -> None:
    """An input object may come as one variable; its members are checked all the same."""
    operation = parse("mutation M($i:UpsertBucketInput!){upsertBucket(input:$i){inserted}}")

    check_arguments(operation, operation.fields[0], {"i": {"name": "r1"}})
    with pytest.raises(DocumentError, match="invalid value"):
        check_arguments(operation, operation.fields[0], {"i": {"name": 1}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{viewer{id nickname}}", "Cannot query field"),
        ("{viewer{id{x}}}", "no subfields"),
        ("{viewer}", "must have a selection"),
        ("{model{bucket{project}}}", "must have a selection"),
    ],
)
def test_bad_selections_are_refused(text: str, message: str) -> None:
    """Only known fields can be selected: objects with a selection, leaves without."""
    with pytest.raises(DocumentError, match=message):
        check_selection(parse(text).fields[0])


def test_select_answers_what_was_asked() -> None:
    """An answer holds the selected fields under their aliases, nothing else; what is to be omitted is."""
    (field,) = parse('{run{me:id __typename list{n} none{x} call(a:"b") gone}}').fields
    data = {
        "id": "x",
        "unasked": 1,
        "list": [{"n": 1, "m": 2}, {"n": 3}],
        "none": None,
        "call": lambda arguments: arguments["a"] * 2,
        "gone": OMIT,
    }

    assert select(data, field, {}) == {
        "me": "x",
        "__typename": "run",
        "list": [{"n": 1}, {"n": 3}],
        "none": None,
        "call": "bb",
    }
