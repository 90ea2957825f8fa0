"""Where settings come from: one layer per source."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given

from corelib.errors import UsageError, UsageTypeError
from corelib.pure.settings import FIELDS, Settings
from corelib.pure.sources import (
    CALL_SOURCES,
    PINS,
    SOURCES,
    Identity,
    Layer,
    Problem,
    arguments_layer,
    detected_layer,
    environment_layer,
    file_layer,
    settings_layer,
)
from corelib.testing.strategies.settings import environments, ini_texts

IDENTITY = Identity()


def test_the_order_of_sources() -> None:
    """Arguments beat settings=, which beats setup(), which beats the environment, which beats files; detection fills
    gaps only.
    """
    assert SOURCES == (
        "default",
        "detected",
        "organisation",
        "entity",
        "project",
        "user",
        "system_file",
        "workspace_file",
        "environment",
        "setup",
        "login",
        "settings",
        "init",
    )
    assert set(CALL_SOURCES) <= set(SOURCES)


def test_pins_reverse_the_order_of_their_owners() -> None:
    """Who stands lower as a source pins more strongly."""
    owners = [pin.removesuffix("_policy") for pin in PINS]

    assert owners == sorted(owners, key=SOURCES.index, reverse=True)
    assert not set(PINS) & set(SOURCES)


# -------------------------------------------------------------------------------------------------- environment


@pytest.mark.parametrize(
    ("variable", "written", "name", "expected"),
    [
        pytest.param(
            "WANDB_MODE", "offline", "mode", "offline", marks=pytest.mark.case("env-wandb_mode-offline")
        ),
        pytest.param("WANDB_NAME", "n", "run_name", "n", marks=pytest.mark.case("env-wandb_name-n")),
        pytest.param("WANDB_NOTES", "no", "run_notes", "no", marks=pytest.mark.case("env-wandb_notes-no")),
        pytest.param(
            "WANDB_JOB_TYPE", "j", "run_job_type", "j", marks=pytest.mark.case("env-wandb_job_type-j")
        ),
        pytest.param(
            "WANDB_DIR", "/tmp/x", "root_dir", "/tmp/x", marks=pytest.mark.case("env-wandb_dir-_tmp_x")
        ),
        pytest.param("WANDB_QUIET", "false", "quiet", False, marks=pytest.mark.case("env-wandb_quiet-false")),
        pytest.param("WANDB_FORCE", "true", "force", True, marks=pytest.mark.case("env-wandb_force-true")),
        pytest.param(
            "WANDB_SWEEP_ID", "sw", "sweep_id", "sw", marks=pytest.mark.case("env-wandb_sweep_id-sw")
        ),
        pytest.param(
            "WANDB_REINIT",
            "create_new",
            "reinit",
            "create_new",
            marks=pytest.mark.case("env-wandb_reinit-create_new"),
        ),
        pytest.param("WANDB_REINIT", "true", "reinit", True, marks=pytest.mark.case("env-wandb_reinit-true")),
        pytest.param(
            "WANDB_SYNC_TENSORBOARD",
            "true",
            "sync_tensorboard",
            True,
            marks=pytest.mark.case("env-wandb_sync_tensorboard-true"),
        ),
        pytest.param(
            "WANDB_INIT_TIMEOUT",
            "12",
            "init_timeout",
            12.0,
            marks=pytest.mark.case("env-wandb_init_timeout-12"),
        ),
        pytest.param(
            "WANDB_USER_EMAIL", "u@x", "email", "u@x", marks=pytest.mark.case("env-wandb_user_email-u@x")
        ),
        pytest.param("WANDB_HOST", "h", "host", "h", marks=pytest.mark.case("env-wandb_host-h")),
        pytest.param(
            "WANDB_BASE_URL",
            "http://localhost:1/",
            "base_url",
            "http://localhost:1",
            marks=pytest.mark.case("env-wandb_base_url-http___localhost_1_"),
        ),
        pytest.param(
            "WANDB_CONSOLE", "off", "console", "off", marks=pytest.mark.case("env-wandb_console-off")
        ),
        pytest.param(
            "WANDB_RUN_NAME", "zz", "run_name", "zz", marks=pytest.mark.case("env-wandb_run_name-zz")
        ),
        pytest.param(
            "WANDB__DISABLE_STATS",
            "true",
            "x_disable_stats",
            True,
            marks=pytest.mark.case("env-wandb__disable_stats-true"),
        ),
        pytest.param(
            "WANDB_TAGS", "a, b", "run_tags", ("a", "b"), marks=pytest.mark.case("env-tags-spaces-kept")
        ),
        pytest.param(
            "WANDB_TAGS", "a,", "run_tags", ("a",), marks=pytest.mark.case("env-tags-trailing-comma")
        ),
        ("WANDB_HTTP_TIMEOUT", "7", "http_timeout", 7.0),
        ("WANDB_X_PUSH_INTERVAL", "0.5", "x_push_interval", 0.5),
        ("WANDB_X_STATS_SAMPLING_INTERVAL", "2", "x_stats_sampling_interval", 2.0),
        ("WANDB_CONFIG_PATHS", "a.yaml,b.yaml", "config_paths", ("a.yaml", "b.yaml")),
        ("WANDB_RUN_GROUP", "g", "run_group", "g"),
        ("WANDB_RESUME", "0", "resume", None),
    ],
)
def test_a_variable_sets_its_setting(variable: str, written: str, name: str, expected: object) -> None:
    """Each variable of the reference sets the setting of that meaning, and is its origin."""
    layer, problems = environment_layer({variable: written}, IDENTITY)

    assert layer.values == {name: expected}
    assert layer.origin == {name: variable}
    assert problems == ()


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param("WANDB_TAGS", marks=pytest.mark.case("env-tags-empty")),
        pytest.param("WANDB_RUN_ID", marks=pytest.mark.case("env-run-id-empty")),
        pytest.param("WANDB_MODE", marks=pytest.mark.case("env-mode-empty")),
        "WANDB_RESUME",
        "WANDB_BASE_URL",
        "WANDB_SILENT",
        "WANDB_INIT_TIMEOUT",
    ],
)
def test_an_empty_variable_is_unset(variable: str) -> None:
    """A variable that is set to nothing says nothing."""
    layer, problems = environment_layer({variable: ""}, IDENTITY)

    assert layer.values == {}
    assert problems == ()


@pytest.mark.case("env-silent-banana")
def test_a_bad_variable_is_fatal() -> None:
    """A value that cannot be used is a fatal problem that names the variable; the others are read."""
    layer, problems = environment_layer({"WANDB_SILENT": "banana", "WANDB_PROJECT": "p"}, IDENTITY)

    assert layer.values == {"project": "p"}
    assert problems == (
        Problem(
            "environment",
            "silent",
            "WANDB_SILENT: silent takes true or false (yes, no, on, off, 1, 0), not 'banana'.",
            fatal=True,
        ),
    )


def test_unknown_variables_are_nobodys_business() -> None:
    """Other variables with the prefix belong to other programs."""
    assert environment_layer({"WANDB_SERVICE": "x", "WANDBPROJECT": "y"}, IDENTITY) == (
        Layer("environment", {}, {}),
        (),
    )


def test_of_two_variables_for_one_setting_the_first_counts() -> None:
    """Where both names of a setting are set, the shorter counts, and a contradiction is said."""
    layer, problems = environment_layer({"WANDB_NAME": "a", "WANDB_RUN_NAME": "b"}, IDENTITY)

    assert layer.values == {"run_name": "a"}
    assert [problem.text for problem in problems] == ["WANDB_RUN_NAME is ignored: WANDB_NAME is set too."]
    assert not problems[0].fatal
    assert environment_layer({"WANDB_NAME": "a", "WANDB_RUN_NAME": "a"}, IDENTITY)[1] == ()
    assert environment_layer({"WANDB_NAME": "", "WANDB_RUN_NAME": "b"}, IDENTITY)[0].values == {
        "run_name": "b"
    }


def test_another_core_has_its_own_variables() -> None:
    """With another prefix, none of the reference's variables is read."""
    environ = {"WANDB_PROJECT": "theirs", "TOOL_PROJECT": "ours"}

    assert environment_layer(environ, Identity(prefix="TOOL_"))[0].values == {"project": "ours"}


@given(environments())
def test_any_environment_is_read(environ: dict[str, str]) -> None:
    """Every variable that is set is a value or a fatal problem, never an error; origins are variables that are set."""
    layer, problems = environment_layer(environ, IDENTITY)

    assert layer.origin.keys() == layer.values.keys()
    assert all(environ[variable] for variable in layer.origin.values())
    for name, setting in FIELDS.items():
        said = any(environ.get(f"WANDB_{suffix}") for suffix in setting.environment)
        refused = any(problem.field == name and problem.fatal for problem in problems)
        assert said is ((name in layer.values) or refused)


# -------------------------------------------------------------------------------------------------------- files


def test_a_file_sets_settings_with_their_lines() -> None:
    """The origin of a value from a file is the file and the line."""
    layer, problems = file_layer(
        "workspace_file", "/w/settings", "[default]\nproject = p\n\nignore_globs = *.a,*.b"
    )

    assert layer.source == "workspace_file"
    assert layer.values == {"project": "p", "ignore_globs": ("*.a", "*.b")}
    assert layer.origin == {"project": "/w/settings:2", "ignore_globs": "/w/settings:4"}
    assert problems == ()


def test_an_unknown_key_is_said_and_the_rest_applies() -> None:
    """One slip in a file costs that key only, and the nearest name is suggested."""
    layer, problems = file_layer("system_file", "/s", "[default]\nprojct = x\nmode = offline\nqqqq = 1")

    assert layer.values == {"mode": "offline"}
    assert [problem.text for problem in problems] == [
        "/s:2: ignored. There is no setting 'projct'. Did you mean 'project'?",
        "/s:4: ignored. There is no setting 'qqqq'.",
    ]


def test_some_settings_are_not_for_files() -> None:
    """A file may not move the directory it lies in; this is said."""
    layer, problems = file_layer("workspace_file", "/s", "[default]\nroot_dir = /tmp/zz")

    assert layer.values == {}
    assert problems == (
        Problem("workspace_file", "root_dir", "/s:2: ignored, root_dir is not allowed in a settings file."),
    )


@pytest.mark.case("file-invalid-value-not-applied")
def test_a_bad_value_in_a_file_is_said_and_not_applied() -> None:
    """A value that cannot be used is a problem; the good keys of the file apply."""
    layer, problems = file_layer(
        "workspace_file", "/s", "[default]\nbase_url = bad-url\nproject = new-project"
    )

    assert layer.values == {"project": "new-project"}
    assert problems[0].field == "base_url"
    assert problems[0].text.startswith("/s:2: ignored, base_url takes an address like")
    assert not problems[0].fatal


def test_an_empty_value_in_a_file_is_unset() -> None:
    """A key with nothing behind it says nothing."""
    assert file_layer("system_file", "/s", "[default]\nproject =\n")[0].values == {}


def test_a_percent_sign_is_no_magic() -> None:
    """There is no interpolation in a settings file."""
    assert file_layer("system_file", "/s", "[default]\nrun_notes = 100% sure")[0].values == {
        "run_notes": "100% sure"
    }


def test_a_file_without_a_section_is_ignored_and_said() -> None:
    """Lines before any section are problems."""
    layer, problems = file_layer("system_file", "/s", "project = x")

    assert layer.values == {}
    assert [problem.text for problem in problems] == ["/s:1: ignored, it stands before any [section]."]


@given(ini_texts())
def test_any_file_is_read(text: str) -> None:
    """Every text gives a layer whose values its settings take, and problems that are not fatal."""
    layer, problems = file_layer("system_file", "/s", text)

    assert not any(problem.fatal for problem in problems)
    assert all(FIELDS[name].file_key for name in layer.values)
    assert layer.origin.keys() == layer.values.keys()


# ---------------------------------------------------------------------------------------------------- arguments


def test_an_argument_sets_its_setting() -> None:
    """Arguments have their own names; None was not given; the origin is the argument."""
    layer = arguments_layer({"id": "abc", "tags": "one", "project": None, "dir": "", "job_type": "train"})

    assert layer.source == "init"
    assert layer.values == {"run_id": "abc", "run_tags": ("one",), "run_job_type": "train"}
    assert layer.origin["run_id"] == "init(id=)"


@pytest.mark.case("magic-arg")
def test_magic_is_an_argument() -> None:
    """The reference's magic is accepted."""
    assert arguments_layer({"magic": True}).values == {"magic": True}


def test_an_unknown_argument_is_an_error() -> None:
    """An argument that is no setting is refused with the nearest name."""
    with pytest.raises(UsageError, match=r"no argument 'projekt'.*'project'"):
        arguments_layer({"projekt": "x"})


def test_a_bad_argument_is_an_error_in_its_own_name() -> None:
    """The message has the name that the caller wrote."""
    with pytest.raises(UsageTypeError, match="dir takes a path, not 3"):
        arguments_layer({"dir": 3})


def test_two_arguments_for_one_setting() -> None:
    """`tensorboard` is another name of `sync_tensorboard`; both may be given if they agree."""
    assert arguments_layer({"tensorboard": True}).values == {"sync_tensorboard": True}
    assert arguments_layer({"sync_tensorboard": True, "tensorboard": True}).origin == {
        "sync_tensorboard": "init(sync_tensorboard=)"
    }
    with pytest.raises(UsageError, match=r"init\(sync_tensorboard=\) and init\(tensorboard=\) contradict"):
        arguments_layer({"sync_tensorboard": True, "tensorboard": False})


def test_nothing_to_resume_is_a_word() -> None:
    """`resume=False` overrides, `resume=None` says nothing."""
    assert arguments_layer({"resume": False}).values == {"resume": None}
    assert arguments_layer({"resume": None}).values == {}


# ----------------------------------------------------------------------------------------------- settings, setup


def test_of_settings_only_what_was_said_counts() -> None:
    """A Settings given to init() does not set its defaults."""
    layer = settings_layer("settings", Settings(project="p", resume=False), "init(settings)")

    assert layer.values == {"project": "p", "resume": None}
    assert layer.origin["project"] == "init(settings).project"


def test_a_mapping_of_settings() -> None:
    """A mapping has the names of settings; None says nothing; it is not changed."""
    given_mapping = {"project": "p", "mode": None, "run_tags": ["a"]}
    layer = settings_layer("setup", given_mapping, "setup(settings)")

    assert layer.values == {"project": "p", "run_tags": ("a",)}
    assert given_mapping == {"project": "p", "mode": None, "run_tags": ["a"]}


def test_no_settings() -> None:
    """None is an empty layer."""
    assert settings_layer("setup", None, "setup(settings)") == Layer("setup", {}, {})


@pytest.mark.case("set-arg-wrong-type")
@pytest.mark.parametrize("given_value", [5, "project=x", ["project"], SimpleNamespace(project="x")])
def test_settings_of_another_type_are_refused(given_value: object) -> None:
    """Neither a Settings nor a mapping: an error that is a TypeError."""
    with pytest.raises(TypeError, match=r"init\(settings\) takes a Settings or a mapping"):
        settings_layer("settings", given_value, "init(settings)")


@pytest.mark.case("set-new-unknown-in-init")
def test_an_unknown_setting_in_a_mapping_is_an_error() -> None:
    """An unknown name is a ValueError with the nearest name."""
    with pytest.raises(ValueError, match="There is no setting 'bogus'"):
        settings_layer("settings", {"bogus": 1}, "init(settings)")
    with pytest.raises(UsageError, match="Did you mean 'project'"):
        settings_layer("settings", {"projct": 1}, "init(settings)")


def test_a_mapping_with_other_keys_is_a_type_error() -> None:
    """The names of settings are texts."""
    with pytest.raises(UsageTypeError, match="keys are texts, not 1"):
        settings_layer("settings", {1: "x"}, "init(settings)")


# ----------------------------------------------------------------------------------------------------- detected


def test_what_was_detected_and_is_valid_is_used() -> None:
    """A thing found out about the machine is used if it can be a setting's value, and said if not."""
    layer, problems = detected_layer(
        {"host": "h", "username": "a\ud800"}, {"host": "the system", "username": "the system"}
    )

    assert layer == Layer("detected", {"host": "the system"}, {"host": "h"})
    assert [(problem.source, problem.field, problem.fatal) for problem in problems] == [
        ("detected", "username", False)
    ]


def test_a_layer_is_not_changed_afterwards() -> None:
    """The values of a layer are read-only."""
    layer = arguments_layer({"project": "p"})

    with pytest.raises(TypeError):
        layer.values["project"] = "q"  # type: ignore[index]


def test_the_repr_of_a_layer_shows_no_key() -> None:
    """A layer shows values and origins, and of a secret the origin only."""
    layer = settings_layer("login", {"api_key": "k" * 40, "project": "p"}, "login()")

    assert repr(layer) == "Layer(login: 'p' from login().project, *** from login().api_key)"
