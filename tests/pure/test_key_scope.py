"""Which server a key is for: one key, many ways to name a server, and no way to send it to another."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.key_scope import goes_to, headers_for_server, is_server, login_url, server_of
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


def test_further_headers_are_for_the_server_that_was_set() -> None:
    """A login to that server sends them, one to another server does not; where none was set, they are for any."""
    headers = {"X-Gateway": "s3cret"}
    said = {"x_extra_http_headers": headers}
    assert headers_for_server(resolution(settings={**said, "base_url": A})) == headers
    assert (
        headers_for_server(resolution(environment={**said, "base_url": A}, login={"base_url": A})) == headers
    )
    assert headers_for_server(resolution(environment={**said, "base_url": A}, login={"base_url": B})) == {}
    assert headers_for_server(resolution(environment=said, login={"base_url": B})) == headers
    assert headers_for_server(resolution(login={"base_url": B})) == {}


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
