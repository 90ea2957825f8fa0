"""Which server a key is for: one key, many ways to name a server, and no way to send it to another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.key_scope import goes_to, is_server, login_url, server_of
from corelib.pure.resolve import Resolution, resolve
from corelib.pure.sources import settings_layer

A, B, C = "http://a", "http://b", "http://c"
SOURCES = ("system_file", "environment", "setup", "login", "settings")


def resolution(**layers: dict[str, Any]) -> Resolution:
    """Resolve what sources say."""
    return resolve([settings_layer(source, said, source) for source, said in layers.items()])


@pytest.mark.parametrize(
    ("spec", "server", "url"),
    [
        ("http", True, A),
        ("https", True, A),
        ("wandb", True, A),
        ("HTTP://B/x/", True, "http://b/x"),
        ("https://b:1", True, "https://b:1"),
        ("file:///tmp/x", False, "file:///tmp/x"),
        ("kafka://b", False, "kafka://b"),
        ("memory", False, A),
        (object(), False, None),
    ],
)
def test_what_a_transport_is_for(spec: object, server: bool, url: str | None) -> None:
    """A URL is for itself, in one spelling; a bare name is for base_url; an object is nobody's business."""
    assert (is_server(spec), server_of(spec, A)) == (server, url)


def test_what_cannot_be_a_server() -> None:
    """A URL with credentials is a mistake that is not repeated."""
    with pytest.raises(UsageError) as caught:
        server_of("http://u:s3cret@b", A)

    assert "s3cret" not in str(caught.value)


def test_a_login_is_for_its_server() -> None:
    """What login() left goes to the server of that login and nowhere else, whoever decides base_url."""
    login = {"api_key": "k", "base_url": A}
    assert goes_to(resolution(login=login), "login", A)
    overridden = resolution(login=login, settings={"base_url": B, "transport": B})
    assert login_url(overridden) == A
    assert goes_to(overridden, "login", A)
    assert not goes_to(overridden, "login", B)
    assert login_url(resolution(environment={"base_url": A})) is None
    assert not goes_to(resolution(login={"api_key": "k"}, environment={"base_url": A}), "login", A)


@pytest.mark.parametrize(
    ("layers", "url", "expected"),
    [
        # The user's word for whatever base_url applies.
        ({"environment": {"base_url": A, "api_key": "k"}}, A, True),
        ({"environment": {"base_url": A, "api_key": "k"}, "settings": {"base_url": B}}, B, True),
        ({"settings": {"base_url": A, "api_key": "k", "transport": (A, B)}}, A, True),
        # A second server in the same words has a key of its own.
        ({"settings": {"base_url": A, "api_key": "k", "transport": (A, B)}}, B, False),
        ({"settings": {"base_url": A, "api_key": "k", "transport": B}}, B, False),
        ({"environment": {"base_url": A, "api_key": "k"}, "settings": {"transport": B}}, B, False),
        ({"environment": {"base_url": A}, "setup": {"api_key": "k"}, "settings": {"transport": B}}, B, False),
        # Key and transport in one breath, and no other server named in it.
        ({"environment": {"base_url": A}, "settings": {"api_key": "k", "transport": B}}, B, True),
        ({"environment": {"base_url": A}, "settings": {"api_key": "k", "transport": (B, C)}}, B, False),
        ({"environment": {"base_url": A}, "settings": {"api_key": "k", "transport": (B, "http")}}, B, False),
        # No base_url at all: the only server that is named.
        ({"environment": {"api_key": "k"}, "settings": {"transport": B}}, B, True),
        ({"environment": {"api_key": "k"}, "settings": {"transport": (B, "file:///x", "memory")}}, B, True),
        ({"environment": {"api_key": "k"}, "settings": {"transport": (B, C)}}, B, False),
        ({"environment": {"api_key": "k"}, "settings": {"transport": (B, "http://u:p@c")}}, B, True),
        ({"environment": {"api_key": "k"}}, B, False),
    ],
)
def test_the_key_of_the_settings(layers: dict[str, Any], url: str, expected: bool) -> None:
    """The table of the module's docstring, case by case."""
    found = resolution(**layers)

    assert goes_to(found, found.provenance["api_key"].source, url) is expected


_SAID = st.fixed_dictionaries(
    {},
    optional={
        "base_url": st.sampled_from((A, B, C)),
        "api_key": st.just("k"),
        "transport": st.sampled_from((A, B, (A, B), "http", ("http", C))),
    },
)


@given(st.fixed_dictionaries(dict.fromkeys(SOURCES, _SAID)))
def test_one_key_goes_to_one_server(layers: dict[str, dict[str, Any]]) -> None:
    """However settings are said: of the servers that a run is carried to, at most one gets the key of the settings."""
    found = resolution(**layers)
    specs = found.settings.transport
    specs = specs if isinstance(specs, tuple) else ("http" if specs is None else specs,)
    carried = {server_of(spec, found.settings.base_url) for spec in specs} - {None}
    source = found.provenance["api_key"].source

    assert sum(goes_to(found, source, str(url)) for url in carried) <= 1
