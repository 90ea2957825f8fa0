"""What a setting declares about itself, and how a class declares its settings.

Law: a declaration is data. Whoever parses, resolves, explains or documents settings reads it here, and nobody
else decides how a setting is written, where it may be set, or whether it is shown.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from attrs import field, fields

from corelib.pure.coerce import UNSET, Coercer, Unset, mask, shown

__all__ = ["HIDDEN", "Field", "declared", "setting"]

HIDDEN: Final = "***"
"""What is shown in place of a secret."""

_LONGEST_SHOWN: Final = 1000
_KEY: Final = "corelib"  # of the declaration, in the metadata of an attrs field


class Field(NamedTuple):
    """What one setting declares about itself.

    Args:
        name: the attribute of `Settings`.
        type: its type as written there.
        default: its value where nobody sets it.
        doc: what it means, in a sentence.
        environment: variables that set it, without the core's prefix; the first that is set counts.
        file_key: its key in a settings file, or None where a file may not set it.
        arguments: the arguments of `init()` that set it; the first that is given counts.
        secret: its value is shown to nobody.
        coercer: turns what people write into a value; use `coerce`.
    """

    name: str
    type: str
    default: Any
    doc: str
    environment: tuple[str, ...]
    file_key: str | None
    arguments: tuple[str, ...]
    secret: bool
    coercer: Coercer

    def coerce(self, value: object, *, text: bool = False, name: str | None = None) -> Any | Unset:
        """Return the value that the setting holds when people write `value`, or UNSET if that says nothing.

        Args:
            value: what was written.
            text: it stood in the environment or in a file: empty, it says nothing; otherwise it is parsed.
            name: what messages call the setting, by default its name.

        Raises:
            UsageError: the setting cannot hold this. A secret is not in the message.
        """
        if text and value == "":
            return UNSET
        return self.coercer(name or self.name, value, text)

    def masked(self, value: Any) -> Any:
        """Return a value of this setting without what is secret in it: the whole, or the credentials of a URL."""
        if self.secret and value is not None:
            return HIDDEN
        return mask(value) if isinstance(value, str) else value

    def show(self, value: object) -> str:
        """Return how a listing shows a value of this setting; a secret is not in it."""
        return HIDDEN if self.secret and value is not None else shown(value, _LONGEST_SHOWN)


class _Declaration(NamedTuple):
    doc: str
    environment: tuple[str, ...] | None
    in_files: bool
    arguments: tuple[str, ...]
    secret: bool
    coercer: Coercer


def setting(
    coercer: Coercer,
    doc: str,
    *,
    default: Any = None,
    environment: tuple[str, ...] | None = None,
    in_files: bool = True,
    arguments: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Declare a setting. `environment` None: its own name in capitals."""
    declaration = _Declaration(doc, environment, in_files, arguments, secret, coercer)
    return field(default=default, metadata={_KEY: declaration})


def declared(cls: type) -> dict[str, Field]:
    """Return the settings that a class declares, by their names, in the order of the class."""
    found = {}
    for attribute in fields(cls):
        declaration = attribute.metadata.get(_KEY)
        if declaration is not None:
            name = attribute.name
            environment = declaration.environment
            found[name] = Field(
                name=name,
                type=str(attribute.type),
                default=attribute.default,
                doc=declaration.doc,
                environment=(name.upper(),) if environment is None else environment,
                file_key=name if declaration.in_files else None,
                arguments=declaration.arguments,
                secret=declaration.secret,
                coercer=declaration.coercer,
            )
    return found
