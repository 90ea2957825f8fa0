"""What a setting declares about itself."""

from __future__ import annotations

import pytest
from attrs import field, frozen

from corelib.pure import coerce
from corelib.pure.coerce import UNSET
from corelib.pure.fields import HIDDEN, Field, declared, setting


@frozen(kw_only=True)
class _Example:
    size: float = setting(coerce.seconds, "How long.", default=1.0, arguments=("long",))
    password: str | None = setting(
        coerce.secret, "What nobody sees.", environment=("PASS", "PW"), secret=True
    )
    place: str | None = setting(coerce.path, "Where.", environment=(), in_files=False)
    other: int = field(default=0)


FIELDS = declared(_Example)


def test_a_class_declares_its_settings_in_order() -> None:
    """Only what was declared is a setting, in the order of the class."""
    assert list(FIELDS) == ["size", "password", "place"]


def test_a_declaration_says_all_there_is_to_know() -> None:
    """Type, default, meaning, variables, file key and arguments stand in one place."""
    assert FIELDS["size"] == Field(
        name="size",
        type="float",
        default=1.0,
        doc="How long.",
        environment=("SIZE",),
        file_key="size",
        arguments=("long",),
        secret=False,
        coercer=coerce.seconds,
    )
    assert FIELDS["password"].environment == ("PASS", "PW")
    assert FIELDS["place"].file_key is None
    assert FIELDS["place"].environment == ()


def test_an_empty_text_says_nothing() -> None:
    """In the environment and in files, an empty value is unset; elsewhere the setting decides."""
    assert FIELDS["size"].coerce("", text=True) is UNSET
    with pytest.raises(ValueError, match="size takes"):
        FIELDS["size"].coerce("")


def test_a_message_uses_the_name_the_user_wrote() -> None:
    """Where an argument has another name than its setting, the message has the argument's."""
    with pytest.raises(ValueError, match="long takes a number"):
        FIELDS["size"].coerce("soon", name="long")


def test_a_secret_is_never_shown() -> None:
    """A secret is shown as three stars, and an absent one as absent."""
    assert FIELDS["password"].show("abc") == HIDDEN
    assert FIELDS["password"].show(None) == "None"
    assert FIELDS["password"].masked("abc") == HIDDEN
    assert FIELDS["password"].masked(None) is None


def test_other_values_are_shown_without_credentials() -> None:
    """A listing shows values whole but for the credentials of a URL."""
    assert FIELDS["place"].show("x" * 500) == repr("x" * 500)
    assert FIELDS["place"].show("http://me:pw@h") == "'http://***@h'"
    assert FIELDS["place"].masked("http://me:pw@h") == "http://***@h"
    assert FIELDS["size"].masked(2.0) == 2.0
