"""GraphQL documents: text to operation, and a tree of data to exactly the fields that were asked for.

Law: this is the part of the GraphQL language that a W&B client can send, no more; what a real server refuses
in it (syntax, undeclared or unused variables) is refused here. Nothing here knows what any field means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

__all__ = [
    "OMIT",
    "Declaration",
    "DocumentError",
    "Field",
    "Operation",
    "Variable",
    "parse",
    "resolve",
    "resolved_arguments",
    "select",
]

_TOKEN: Final = re.compile(
    r"""(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)
      |(?P<block>\"{3}(?:\\\"{3}|.)*?\"{3})
      |(?P<string>"(?:[^"\\\n]|\\.)*")
      |(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      |(?P<name>[A-Za-z_][A-Za-z_0-9]*)
      |(?P<mark>\.\.\.|[!$&():=@\[\]{|}])""",
    re.VERBOSE | re.DOTALL,
)


class DocumentError(Exception):
    """The document, or what it asks for, is not in order; the text is what the answer tells the client."""


class _Omit:
    """The type of `OMIT`."""


OMIT: Final = _Omit()
"""In a tree of data: the field is known but left out of the answer, as no correct server would."""


class Variable(NamedTuple):
    """A place where the value of a variable goes."""

    name: str


class Declaration(NamedTuple):
    """A declared variable; `type` without blanks, such as `[String!]!`."""

    name: str
    type: str
    default: Any
    has_default: bool


Argument: TypeAlias = tuple[str, Any]


@dataclass(frozen=True)
class Field:
    """A selected field; `fields` is None where nothing is selected inside."""

    key: str
    name: str
    arguments: tuple[Argument, ...]
    fields: tuple[Field, ...] | None


@dataclass(frozen=True)
class Operation:
    """One operation of a document, fragments put in."""

    kind: str
    name: str
    declarations: tuple[Declaration, ...]
    fields: tuple[Field, ...]
    used: frozenset[str]


@dataclass(frozen=True)
class _Spread:
    name: str


class _Parser:
    """Reads one document from its tokens; one method per rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._used: set[str] = set()

    def document(self) -> tuple[list[Operation], dict[str, tuple[Field | _Spread, ...]], dict[str, set[str]]]:
        operations: list[Operation] = []
        fragments: dict[str, tuple[Any, ...]] = {}
        fragment_variables: dict[str, set[str]] = {}
        while self._peek()[0] != "end":
            self._used = set()
            if self._peek()[1] == "fragment":
                self._next()
                name = self._name()
                self._expect("on")
                self._name()
                self._directives()
                fragments[name] = self._selection()
                fragment_variables[name] = self._used
            else:
                operations.append(self._operation())
        return operations, fragments, fragment_variables

    def _operation(self) -> Operation:
        kind, name = "query", ""
        declarations: tuple[Declaration, ...] = ()
        if self._peek()[1] != "{":
            kind = self._name()
            if kind not in ("query", "mutation", "subscription"):
                raise DocumentError(f'Unexpected Name "{kind}".')
            if self._peek()[0] == "name":
                name = self._name()
            declarations = self._declarations()
            self._directives()
        fields = self._selection()
        return Operation(kind, name, declarations, fields, frozenset(self._used))

    def _declarations(self) -> tuple[Declaration, ...]:
        found: list[Declaration] = []
        if self._take("("):
            while not self._take(")"):
                self._expect("$")
                name = self._name()
                self._expect(":")
                kind = self._type()
                has_default = self._take("=")
                found.append(Declaration(name, kind, self._value() if has_default else None, has_default))
                self._directives()
        return tuple(found)

    def _type(self) -> str:
        if self._take("["):
            text = f"[{self._type()}]"
            self._expect("]")
        else:
            text = self._name()
        return text + "!" if self._take("!") else text

    def _selection(self) -> tuple[Any, ...]:
        self._expect("{")
        found: list[Any] = []
        while not self._take("}"):
            if self._take("..."):
                found.extend(self._spread())
            else:
                found.append(self._field())
        if not found:
            raise DocumentError("Syntax Error: a selection is empty.")
        return tuple(found)

    def _spread(self) -> tuple[Any, ...]:
        kind, text = self._peek()
        if kind == "name" and text != "on":
            self._next()
            self._directives()
            return (_Spread(text),)
        if self._take("on"):
            self._name()
        self._directives()
        return self._selection()

    def _field(self) -> Field:
        key = name = self._name()
        if self._take(":"):
            name = self._name()
        arguments = self._arguments()
        self._directives()
        fields = self._selection() if self._peek()[1] == "{" else None
        return Field(key, name, arguments, fields)

    def _arguments(self) -> tuple[Argument, ...]:
        found: list[Argument] = []
        if self._take("("):
            while not self._take(")"):
                name = self._name()
                self._expect(":")
                found.append((name, self._value()))
        return tuple(found)

    def _directives(self) -> None:
        while self._take("@"):
            self._name()
            self._arguments()

    def _value(self) -> Any:
        kind, text = self._next()
        if kind == "number":
            return json.loads(text)
        if kind in ("string", "block"):
            return json.loads(text) if kind == "string" else text[3:-3].replace('\\"""', '"""')
        if kind == "name":
            return {"true": True, "false": False, "null": None}.get(text, text)
        if text == "$":
            name = self._name()
            self._used.add(name)
            return Variable(name)
        if text == "[":
            items: list[Any] = []
            while not self._take("]"):
                items.append(self._value())
            return items
        if text == "{":
            members: dict[str, Any] = {}
            while not self._take("}"):
                name = self._name()
                self._expect(":")
                members[name] = self._value()
            return members
        raise DocumentError(f'Syntax Error: unexpected "{text}".')

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "<EOF>")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, text: str) -> bool:
        kind, found = self._peek()
        if kind in ("mark", "name") and found == text:
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise DocumentError(f'Syntax Error: expected "{text}", found "{self._peek()[1]}".')

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise DocumentError(f'Syntax Error: expected Name, found "{text}".')
        return text


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise DocumentError(f"Syntax Error: cannot parse the unexpected character {text[at]!r}.")
        at = found.end()
        if found.lastgroup != "skip":
            yield found.lastgroup, found.group()


def parse(text: str, operation_name: str | None = None) -> Operation:
    """Return the operation that is to be carried out.

    Raises:
        DocumentError: the text is no document, the operation is not in it, or its variables do not add up.
    """
    operations, fragments, fragment_variables = _Parser(text).document()
    chosen = [found for found in operations if operation_name is None or found.name == operation_name]
    if len(chosen) != 1:
        wanted = "exactly one operation" if operation_name is None else f'operation "{operation_name}"'
        raise DocumentError(
            f"Must provide {wanted}; the document has {[found.name for found in operations]}."
        )
    spread: set[str] = set()
    fields = tuple(_inlined(chosen[0].fields, fragments, spread))
    used = chosen[0].used.union(*(fragment_variables[name] for name in spread))
    declared = {declaration.name for declaration in chosen[0].declarations}
    for name in sorted(used - declared):
        raise DocumentError(f'Variable "${name}" is not defined by operation "{chosen[0].name}".')
    for name in sorted(declared - used):
        raise DocumentError(f'Variable "${name}" is never used in operation "{chosen[0].name}".')
    return replace(chosen[0], fields=fields, used=used)


def _inlined(
    fields: tuple[Any, ...], fragments: Mapping[str, tuple[Any, ...]], spread: set[str]
) -> Iterator[Field]:
    for found in fields:
        if isinstance(found, _Spread):
            if found.name not in fragments:
                raise DocumentError(f'Unknown fragment "{found.name}".')
            spread.add(found.name)
            yield from _inlined(fragments[found.name], fragments, spread)
        elif found.fields is None:
            yield found
        else:
            yield replace(found, fields=tuple(_inlined(found.fields, fragments, spread)))


def resolve(value: Any, variables: Mapping[str, Any]) -> Any:
    """Return an argument's value with the variables put in."""
    if isinstance(value, Variable):
        return variables.get(value.name)
    if isinstance(value, list):
        return [resolve(item, variables) for item in value]
    if isinstance(value, dict):
        # A variable that was not given leaves its input field out, which is not the same as null.
        return {
            name: resolve(member, variables)
            for name, member in value.items()
            if not (isinstance(member, Variable) and member.name not in variables)
        }
    return value


def resolved_arguments(field: Field, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's arguments with the variables put in."""
    found: dict[str, Any] = resolve(dict(field.arguments), variables)
    return found


def select(data: Any, field: Field, variables: Mapping[str, Any]) -> Any:
    """Return of `data`, the value of `field`, what is selected inside. A callable member gets its arguments.

    The selection must have been checked against the schema (`schema.check_selection`).
    """
    if isinstance(data, list):
        return [select(item, field, variables) for item in data]
    if not isinstance(data, Mapping) or field.fields is None:
        return data
    answer: dict[str, Any] = {}
    for inner in field.fields:
        if inner.name == "__typename":
            answer[inner.key] = field.name
            continue
        value: Any | Callable[[Mapping[str, Any]], Any] = data[inner.name]
        if callable(value):
            value = value(resolved_arguments(inner, variables))
        if not isinstance(value, _Omit):
            answer[inner.key] = select(value, inner, variables)
    return answer
