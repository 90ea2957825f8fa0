"""Precedence: the strongest source that says something decides, and the provenance tells the truth about it."""

from __future__ import annotations

import copy
import pickle
from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from corelib.errors import UsageError
from corelib.pure.coerce import UNSET
from corelib.pure.netrc import netrc_password
from corelib.pure.resolve import Resolution, resolve
from corelib.pure.settings import FIELDS, Settings
from corelib.pure.sources import (
    PINS,
    SOURCES,
    Identity,
    Layer,
    Problem,
    arguments_layer,
    environment_layer,
    file_layer,
    settings_layer,
)
from corelib.testing.strategies.settings import (
    RULED,
    layers,
    said_settings,
    secrets,
    setting_names,
    written_values,
)

RANKING = SOURCES + PINS


def _strongest_first(given_layers: list[Layer], name: str) -> list[Layer]:
    speaking = [layer for layer in given_layers if name in layer.values]
    return sorted(speaking, key=lambda layer: RANKING.index(layer.source), reverse=True)


@given(layers(without=RULED))
def test_the_strongest_layer_that_sets_a_field_wins(given_layers: list[Layer]) -> None:
    """Each setting has the value of the strongest layer that sets it, and its default where none does."""
    settings = resolve(given_layers).settings

    for name in FIELDS.keys() - RULED:
        speaking = _strongest_first(given_layers, name)
        expected = speaking[0].values[name] if speaking else FIELDS[name].default
        assert getattr(settings, name) == expected


@given(layers(without=RULED), st.data())
def test_a_weaker_layer_changes_nothing_that_was_said(given_layers: list[Layer], data: st.DataObject) -> None:
    """A layer below all others leaves every setting that they set as it was."""
    assume(all(layer.source != "detected" for layer in given_layers))
    said = {name for layer in given_layers for name in layer.values}
    weak = settings_layer(
        "detected", data.draw(said_settings(without=RULED | {"resume", "fork_from", "resume_from"})), "x"
    )

    before, after = resolve(given_layers).settings, resolve([*given_layers, weak]).settings

    for name in said:
        assert getattr(after, name) == getattr(before, name)


@given(layers(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_is_irrelevant(given_layers: list[Layer], random: Random) -> None:
    """The same layers in another order give the same settings, provenance and problems."""
    shuffled = list(given_layers)
    random.shuffle(shuffled)

    assert resolve(shuffled) == resolve(given_layers)


@given(layers(without=RULED))
def test_provenance_is_true(given_layers: list[Layer]) -> None:
    """The provenance names the deciding layer, its origin, and every other layer that spoke, strongest first."""
    provenance = resolve(given_layers).provenance

    assert provenance.keys() == FIELDS.keys()
    for name in FIELDS.keys() - RULED:
        speaking = _strongest_first(given_layers, name)
        if speaking:
            winner, *lost = speaking
            assert (provenance[name].source, provenance[name].origin) == (winner.source, winner.origin[name])
            assert [(entry.source, entry.origin) for entry in provenance[name].overridden] == [
                (layer.source, layer.origin[name]) for layer in lost
            ]
        else:
            assert provenance[name].source == "default"
            assert provenance[name].overridden == ()


@given(layers())
def test_resolving_twice_equals_once(given_layers: list[Layer]) -> None:
    """What was resolved, resolved again as a single source, is the same; and so is a second resolving of the same."""
    once = resolve(given_layers)

    assert resolve(given_layers) == once
    assert resolve([settings_layer("settings", once.settings, "again")]).settings == once.settings


@given(layers())
def test_nothing_that_was_said_is_hidden(given_layers: list[Layer]) -> None:
    """Every layer's word on every setting is found in the provenance: as the decision or among what lost."""
    provenance = resolve(given_layers).provenance

    for layer in given_layers:
        for name, origin in layer.origin.items():
            told = {provenance[name].origin, *(entry.origin for entry in provenance[name].overridden)}
            assert origin in told


@given(layers(without=frozenset({"save_code", "disable_code"})), st.booleans(), st.booleans())
def test_code_is_never_both_saved_and_disabled(given_layers: list[Layer], asked: bool, vetoed: bool) -> None:
    """Whoever asks and whoever vetoes, the outcome does not say both."""
    spoken = [
        layer._replace(
            values={**layer.values, "save_code": asked}, origin={**layer.origin, "save_code": "there"}
        )
        if place % 2
        else layer._replace(
            values={**layer.values, "disable_code": vetoed}, origin={**layer.origin, "disable_code": "here"}
        )
        for place, layer in enumerate(given_layers)
    ]

    settings = resolve(spoken).settings

    assert not (settings.save_code and settings.disable_code)


@given(setting_names(), st.data())
def test_a_coerced_value_is_a_fixed_point(name: str, data: st.DataObject) -> None:
    """What a setting made of a value, it takes for that value again."""
    setting = FIELDS[name]
    once = setting.coerce(data.draw(written_values(name)))

    assume(once is not UNSET and once is not None)
    assert setting.coerce(once) == once


@given(said_settings(max_size=10))
def test_settings_survive_copying_and_pickling(said: dict[str, object]) -> None:
    """A copy, a deep copy and a pickled copy equal their original and know what was said."""
    settings = Settings(**said)

    for twin in (
        settings.copy(),
        copy.copy(settings),
        copy.deepcopy(settings),
        pickle.loads(pickle.dumps(settings)),  # noqa: S301  our own bytes
    ):
        assert twin == settings
        assert twin.given == settings.given


def _texts_of(resolution: Resolution) -> list[str]:
    return [
        repr(resolution),
        repr(resolution.settings),
        resolution.explain(),
        resolution.explain("api_key"),
        repr(resolution.provenance),
        repr(resolution.problems),
    ]


@given(layers(without=frozenset({"api_key"})), secrets())
def test_a_key_is_never_shown(given_layers: list[Layer], secret: str) -> None:
    """However many sources hold a key, no listing, repr, provenance or problem shows it."""
    keyed = [
        layer._replace(values={**layer.values, "api_key": secret}, origin={**layer.origin, "api_key": "here"})
        for layer in given_layers
    ]

    shown = [*_texts_of(resolve(keyed)), *map(repr, keyed)]

    assert all(secret not in text for text in shown)
    assert resolve(keyed).settings.api_key == (secret if keyed else None)


@given(secrets(), st.sampled_from(["transport", "sweep_id", "run_notes", "console", "mode", "resume_from"]))
def test_credentials_in_an_address_are_never_shown(secret: str, name: str) -> None:
    """The password within a URL is not shown where the URL is, whichever setting took or refused it."""
    written = f"https://user:{secret}@host/path"
    try:
        two = [settings_layer(source, {name: written}, source) for source in ("setup", "settings")]
    except UsageError as error:
        shown = [str(error)]
    else:
        shown = [*_texts_of(resolve(two)), *map(repr, two)]

    assert all(secret not in text for text in shown)


@given(secrets(), setting_names())
def test_a_misplaced_key_is_never_repeated_by_files(secret: str, name: str) -> None:
    """A settings file that holds a key under a wrong name, on a broken line or in an address never has it repeated."""
    lines = (
        "[default]",
        f"api_kye = {secret}",
        secret,
        f"base_url = https://me:{secret}@host",
        f"= {secret}",
        f"api_key = {secret}",
        f"root_dir = {secret}",
    )

    layer, problems = file_layer("system_file", "/settings", "\n".join(lines))

    assert secret not in repr(layer)
    assert len(problems) == 5
    assert all(secret not in repr(problem) for problem in problems)
    assert secret not in resolve([layer], problems).explain(name)


@given(secrets())
def test_an_error_never_holds_a_key(secret: str) -> None:
    """No error about keys, addresses or environments repeats the secret that it is about."""
    attempts = [
        lambda: Settings(api_key=[secret]),
        lambda: Settings(base_url=f"https://user:{secret}@host"),
        lambda: Settings(api_key=secret, project="a/b"),
        lambda: arguments_layer({"force": f"http://me:{secret}@host"}),
        lambda: resolve(*_one(environment_layer({"WANDB_BASE_URL": f"https://{secret}@host"}, Identity()))),
        lambda: settings_layer("settings", SimpleNamespace(api_key=secret), "init(settings)"),
    ]
    for attempt in attempts:
        with pytest.raises(UsageError) as caught:
            attempt()
        assert secret not in str(caught.value)
    assert netrc_password(f"machine h password {secret}", "https://h") == secret


def _one(read: tuple[Layer, tuple[Problem, ...]]) -> tuple[list[Layer], tuple[Problem, ...]]:
    layer, problems = read
    return [layer], problems
