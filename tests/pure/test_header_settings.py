"""Further headers for requests to a server: which there may be, and that nobody sees them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from attrs import asdict
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError, UsageTypeError
from corelib.ports import Address
from corelib.pure import coerce
from corelib.pure.coerce import UNSET
from corelib.pure.settings import FIELDS, Settings

SETTING = FIELDS["x_extra_http_headers"]


def test_a_mapping_is_taken_and_kept() -> None:
    """The settings hold a copy of their own, which does not change."""
    given_mapping = {"X-Gateway": "a b", "x-empty": "", "User-Agent": "mine"}
    settings = Settings(x_extra_http_headers=given_mapping)
    kept = dict(given_mapping)
    given_mapping["X-Other"] = "1"

    assert settings.x_extra_http_headers == kept
    with pytest.raises(UsageTypeError):
        settings.x_extra_http_headers["X-Other"] = "1"  # type: ignore[index]
    assert settings.copy(project="p").x_extra_http_headers == kept


def test_in_the_environment_it_is_json() -> None:
    """As text it is an object; the empty text says nothing."""
    assert SETTING.environment == ("X_EXTRA_HTTP_HEADERS",)
    assert SETTING.coerce(json.dumps({"X-A": "1"}), text=True) == {"X-A": "1"}
    assert SETTING.coerce("", text=True) is UNSET


@pytest.mark.parametrize(
    ("value", "as_text"),
    [
        ("X-A: hunter2", True),
        ('{"X-A": "hunter2"', True),
        ('["hunter2"]', True),
        ('{"X-A": ["hunter2"]}', True),
        ('{"X-A": "hunter2"}', False),
        (["hunter2"], False),
        ({"X-A": b"hunter2"}, False),
        ({"hunter2:": "x"}, False),
        ({7: "hunter2"}, False),
        ({"X-A": "hunter2\r\nX-B: 1"}, False),
        ({"X-A": " hunter2"}, False),
        ({"X-A": "hunter2 \u20ac"}, False),
        ({"Authorization": "hunter2"}, False),
        ({"content-length": "hunter2"}, False),
    ],
)
def test_what_is_refused_is_not_shown(value: object, as_text: bool) -> None:
    """What no header can hold, and what belongs to the request itself, is refused without its value."""
    with pytest.raises(UsageError, match="x_extra_http_headers") as caught:
        SETTING.coerce(value, text=as_text)
    assert "hunter2" not in str(caught.value)


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.integers()), st.booleans())
def test_any_mapping_is_taken_or_refused(value: dict[str, Any], as_text: bool) -> None:
    """Taken unchanged, and taken again; or refused."""
    try:
        once = coerce.headers("x", json.dumps(value) if as_text else value, as_text)
    except UsageError:
        return
    assert once == value == coerce.headers("x", once, False)


def test_an_address_carries_them_unseen() -> None:
    """They survive the way to another process as JSON, and no representation shows them."""
    settings = Settings(x_extra_http_headers={"X-Gateway": "hunter2"})
    address = Address(url="http", wandb_dir="/w", headers=settings.x_extra_http_headers or {})
    read = Address(**json.loads(json.dumps(asdict(address))))

    assert read == address
    assert read.headers == {"X-Gateway": "hunter2"}
    assert "hunter2" not in repr(address)
