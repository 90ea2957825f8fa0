"""From layers to settings: the rules beside precedence, what is told, and what cannot be resolved."""

from __future__ import annotations

import pytest

from corelib.errors import UsageError
from corelib.pure.resolve import Entry, Provenance, resolve
from corelib.pure.settings import FIELDS, Settings
from corelib.pure.sources import Layer, Problem, arguments_layer, settings_layer


def said(source: str, **values: object) -> Layer:
    """Return a layer in which each origin is the source's name and the setting's."""
    return settings_layer(source, values, source)


def test_nobody_said_anything() -> None:
    """Without layers, everything is a default."""
    resolution = resolve([])

    assert resolution.settings == Settings()
    assert set(resolution.provenance.values()) == {Provenance("default", "default", ())}
    assert resolution.problems == ()


@pytest.mark.case("set-prec-arg-over-settings-arg", "set-prec-old-settings-arg-wins")
def test_an_argument_beats_settings() -> None:
    """init(project=) beats init(settings=), not the other way round."""
    layers = [
        arguments_layer({"project": "arg"}),
        settings_layer("settings", Settings(project="set"), "init(settings)"),
    ]

    assert resolve(layers).settings.project == "arg"


@pytest.mark.case("set-prec-old-dict-settings-unsupported")
def test_settings_may_be_a_dict() -> None:
    """A dict is as good as a Settings."""
    assert resolve([settings_layer("settings", {"project": "x"}, "init(settings)")]).settings.project == "x"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param("entity", "project", "pizza2", marks=pytest.mark.case("set-old-priority-0")),
        pytest.param("project", "entity_policy", "pizza2", marks=pytest.mark.case("set-old-priority-2")),
        pytest.param(
            "entity_policy", "project_policy", "pizza", marks=pytest.mark.case("set-old-priority-4")
        ),
        pytest.param("entity_policy", "init", "pizza", marks=pytest.mark.case("set-old-priority-5")),
        ("user_policy", "organisation_policy", "pizza2"),
    ],
)
def test_pins(first: str, second: str, expected: str) -> None:
    """A pin beats every source that does not pin, and among pins the wider owner wins."""
    layers = [said(first, project="pizza"), said(second, project="pizza2")]

    assert resolve(layers).settings.project == expected


def test_the_provenance_of_what_lost() -> None:
    """What lost is named with its source, origin and value, the strongest first."""
    layers = [
        said("workspace_file", project="c"),
        said("init", project="a"),
        said("environment", project="b"),
    ]

    assert resolve(layers).provenance["project"] == Provenance(
        "init",
        "init.project",
        (
            Entry("environment", "environment.project", "b"),
            Entry("workspace_file", "workspace_file.project", "c"),
        ),
    )


def test_none_can_override() -> None:
    """`resume=False` in the call undoes what the environment says."""
    resolution = resolve([said("environment", resume="must"), arguments_layer({"resume": False})])

    assert resolution.settings.resume is None
    assert resolution.provenance["resume"].source == "init"


# ------------------------------------------------------------------------------------------------- what is refused


def test_fatal_problems_are_told_together() -> None:
    """All that is wrong in the environment is said at once."""
    problems = [
        Problem("environment", "mode", "WANDB_MODE: bad", fatal=True),
        Problem("system_file", None, "harmless"),
        Problem("environment", "silent", "WANDB_SILENT: bad", fatal=True),
    ]

    with pytest.raises(UsageError) as caught:
        resolve([], problems)
    assert str(caught.value) == "WANDB_MODE: bad\nWANDB_SILENT: bad"


def test_other_problems_are_handed_on() -> None:
    """A problem that is not fatal is part of the outcome."""
    problem = Problem("system_file", None, "harmless")

    assert resolve([], [problem]).problems == (problem,)


def test_two_layers_of_one_source_are_refused() -> None:
    """Their order would decide, and order never does."""
    with pytest.raises(UsageError, match="Two layers of the source 'setup'"):
        resolve([said("setup"), said("setup")])


def test_an_unknown_source_is_refused() -> None:
    """A layer must have a place in the order."""
    with pytest.raises(UsageError, match="no source of settings 'moon'"):
        resolve([Layer("moon", {}, {})])


def test_a_layer_made_by_hand_is_checked() -> None:
    """Unknown settings and values that do not fit are refused wherever they come from; what says nothing is unset."""
    with pytest.raises(UsageError, match="no setting 'lol'"):
        resolve([Layer("user", {"lol": "x"}, {"lol": 1})])
    with pytest.raises(UsageError, match="mode takes"):
        resolve([Layer("user", {"mode": "x"}, {"mode": 1})])
    assert (
        resolve([Layer("user", {"project": "x"}, {"project": ""})]).provenance["project"].source == "default"
    )


def test_settings_that_exclude_each_other_are_told_by_their_places() -> None:
    """Resume and fork_from may come from different sources; the message names both."""
    layers = [said("environment", resume="allow"), said("settings", fork_from="abc?_step=1")]

    with pytest.raises(UsageError, match=r"environment\.resume and settings\.fork_from exclude each other"):
        resolve(layers)
    assert resolve([*layers[1:], said("environment", resume=False)]).settings.fork_from == "abc?_step=1"


# ---------------------------------------------------------------------------------------------------------- rules


@pytest.mark.case("cfg-sweep-path-ignored")
def test_a_sweep_locks_project_entity_and_id() -> None:
    """In a sweep, the arguments project, entity and id are ignored with a warning each."""
    layers = [
        said("environment", sweep_id="sw1", project="swproj", run_id="swrun"),
        arguments_layer({"project": "mine", "entity": "me", "id": "myid", "name": "kept"}),
    ]

    resolution = resolve(layers)

    settings = resolution.settings
    assert (settings.project, settings.entity, settings.run_id) == ("swproj", None, "swrun")
    assert (settings.sweep_id, settings.run_name) == ("sw1", "kept")
    assert [problem.text for problem in resolution.problems] == [
        "Ignored init(project=): the run belongs to sweep sw1.",
        "Ignored init(entity=): the run belongs to sweep sw1.",
        "Ignored init(id=): the run belongs to sweep sw1.",
    ]
    assert resolution.provenance["entity"] == Provenance(
        "default", "default", (Entry("init", "init(entity=)", "me"),)
    )
    assert resolution.provenance["project"].overridden == (Entry("init", "init(project=)", "mine"),)


def test_a_sweep_locks_against_stronger_words_of_the_call_only() -> None:
    """Settings from elsewhere stand, and so does what comes with the sweep id itself."""
    from_setup = [said("environment", sweep_id="sw1"), said("setup", project="p")]
    of_itself = [said("settings", sweep_id="sw1", project="p"), said("init", entity="e")]

    assert resolve(from_setup).settings.project == "p"
    assert resolve(of_itself).settings.project == "p"
    assert resolve(of_itself).settings.entity is None
    assert [problem.field for problem in resolve(of_itself).problems] == ["entity"]


@pytest.mark.parametrize(
    ("veto", "asked", "saved"),
    [
        ("environment", "environment", False),
        pytest.param("environment", "init", True, marks=pytest.mark.case("save-code-disable-env-vs-arg")),
        ("init", "environment", False),
        ("workspace_file", "environment", True),
    ],
)
def test_disable_code_vetoes_unless_a_stronger_source_asks(veto: str, asked: str, saved: bool) -> None:
    """Code is saved if and only if somebody stronger than the veto asks for it."""
    words: dict[str, dict[str, object]] = {veto: {"disable_code": True}}
    words.setdefault(asked, {})["save_code"] = True

    resolution = resolve([said(source, **values) for source, values in words.items()])

    assert resolution.settings.save_code is saved
    assert resolution.settings.disable_code is not saved
    assert resolution.provenance["save_code"].source == (asked if saved else veto)


@pytest.mark.parametrize(
    ("words", "saved"),
    [
        ({"disable_code": True}, False),
        ({"disable_code": False, "save_code": True}, True),
        ({"disable_code": True, "save_code": False}, False),
        ({}, None),
    ],
)
def test_a_veto_alone(words: dict[str, object], saved: bool | None) -> None:
    """A veto with nobody asking means no; no veto leaves the question as it was."""
    assert resolve([said("environment", **words)]).settings.save_code is saved


@pytest.mark.case("magic-bad-json")
def test_unreadable_magic_is_a_warning() -> None:
    """Magic that cannot be read is not used, and said."""
    resolution = resolve([said("environment", magic="{bad")])

    assert resolution.settings.magic is None
    assert len(resolution.problems) == 1
    assert "Unable to parse magic json: '{bad'" in resolution.problems[0].text
    assert resolution.provenance["magic"] == Provenance(
        "default", "default", (Entry("environment", "environment.magic", "{bad"),)
    )


def test_readable_magic_is_read() -> None:
    """The forms of magic come out as what they mean, and unreadable magic does not hide what lies below it."""
    assert resolve([said("environment", magic='{"a": 1}')]).settings.magic == {"a": 1}
    assert resolve([said("environment", magic="x.yaml")]).settings.magic == "x.yaml"
    assert resolve([said("environment", magic="a=1"), said("init", magic="{bad")]).settings.magic == {"a": 1}
    assert resolve([said("init", magic=True)]).settings.magic is True


@pytest.mark.parametrize(
    ("server", "pages"),
    [
        ("https://my.cool.site.com", "https://my.cool.site.com"),
        ("https://api.wandb.ai", "https://wandb.ai"),
        ("https://api.example.org:8080/x", "https://app.example.org:8080/x"),
    ],
)
def test_pages_are_where_the_server_is(server: str, pages: str) -> None:
    """The address of pages follows that of the server, unless somebody says it."""
    resolution = resolve([said("environment", base_url=server)])

    assert resolution.settings.app_url == pages
    assert resolution.provenance["app_url"][:2] == ("environment", "from base_url of environment.base_url")
    assert (
        resolve([said("environment", base_url=server, app_url="https://x")]).settings.app_url == "https://x"
    )


# -------------------------------------------------------------------------------------------------------- explain


def test_explain_says_who_decided_and_what_lost() -> None:
    """A line for the value with its source and origin, a line for each value that lost, and the problems."""
    layers = [said("environment", project="b", sweep_id="s"), arguments_layer({"project": "a"})]

    assert resolve(layers).explain("project") == (
        "The project; named after the git repository and the program's place in it where nobody sets it.\n"
        "project = 'b'  (environment: environment.project)\n"
        "    instead of 'a'  (init: init(project=))\n"
        "    problem: Ignored init(project=): the run belongs to sweep s."
    )


def test_explain_all_has_every_setting() -> None:
    """Without a key, every setting is explained, defaults as such."""
    lines = resolve([]).explain().splitlines()

    assert len(lines) == len(FIELDS)
    assert "mode = 'online'  (default)" in lines


def test_explain_an_unknown_key() -> None:
    """An unknown key suggests the nearest."""
    with pytest.raises(UsageError, match="Did you mean 'project'"):
        resolve([]).explain("projekt")
