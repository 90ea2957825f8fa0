"""All settings of a run, in one frozen class."""

from __future__ import annotations

import copy
from typing import get_type_hints

import attrs
import pytest

from corelib.errors import ReadOnlyError, UsageError
from corelib.pure.settings import ARGUMENTS, BRANCHING, FIELDS, Settings, check_branching, unknown_setting


def test_defaults() -> None:
    """Without a word from anybody: online, a training job, nothing resumed, no server, nothing secret."""
    settings = Settings()

    assert settings.mode == "online"
    assert settings.run_job_type == "train"
    assert settings.resume is None
    assert settings.base_url is None
    assert settings.init_timeout == 30.0
    assert settings.step_policy == "keep"
    assert settings.errors == "warn"
    assert settings.given == frozenset()


@pytest.mark.case("login-anon-default")
def test_nobody_is_anonymous_by_default() -> None:
    """A run without an account must be allowed by somebody."""
    assert Settings().anonymous == "never"


def test_every_field_is_a_setting_with_a_sentence() -> None:
    """Each field but `given` declares itself, and says what it means in a sentence."""
    names = [attribute.name for attribute in attrs.fields(Settings) if attribute.name != "given"]

    assert names == list(FIELDS)
    for setting in FIELDS.values():
        assert setting.doc[0].isupper() or setting.doc.startswith("online")
        assert setting.doc.endswith(".")


def test_the_declared_type_is_the_annotation() -> None:
    """The type that is documented is the one that type checkers see."""
    hints = get_type_hints(Settings)

    assert FIELDS["run_tags"].type == "tuple[str, ...] | None"
    assert all(name in hints for name in FIELDS)


def test_no_name_has_two_meanings() -> None:
    """An environment variable, a file key or an argument sets one setting only."""
    variables = [suffix for setting in FIELDS.values() for suffix in setting.environment]

    assert len(variables) == len(set(variables))
    assert {setting.file_key for setting in FIELDS.values()} - {None} <= set(FIELDS)
    assert sum(len(setting.arguments) for setting in FIELDS.values()) == len(ARGUMENTS)


def test_the_arguments_are_those_of_the_reference() -> None:
    """Every argument of the reference's init() that is not about config is a setting, and nothing else is one."""
    reference = {
        *(
            "job_type",
            "dir",
            "project",
            "entity",
            "reinit",
            "tags",
            "group",
            "name",
            "notes",
            "magic",
            "anonymous",
        ),
        *(
            "mode",
            "allow_val_change",
            "resume",
            "force",
            "tensorboard",
            "sync_tensorboard",
            "monitor_gym",
            "save_code",
        ),
        "id",
    }

    assert set(ARGUMENTS) == reference


def test_what_is_secret() -> None:
    """The API key is a secret, and headers may be: their values are shown nowhere."""
    assert [name for name, setting in FIELDS.items() if setting.secret] == ["api_key", "x_extra_http_headers"]
    assert "hunter2" not in repr(Settings(x_extra_http_headers={"X-Gateway": "hunter2"}))


def test_a_default_is_a_value_its_setting_takes() -> None:
    """Coercing a default changes nothing."""
    for setting in FIELDS.values():
        if setting.default is not None:
            assert setting.coerce(setting.default) == setting.default


@pytest.mark.case("set-old-list-to-tuple")
def test_a_list_becomes_a_tuple() -> None:
    """A frozen object holds no list."""
    assert Settings(run_tags=["a", "b"]).run_tags == ("a", "b")


@pytest.mark.case("set-old-none-skipped")
def test_none_says_nothing() -> None:
    """None overwrites nothing, neither on construction nor in a copy."""
    settings = Settings(project="x", mode=None)

    assert settings.mode == "online"
    assert settings.given == {"project"}
    assert settings.copy(project=None).project == "x"


def test_what_was_said_is_told_from_defaults() -> None:
    """A default that was said is given; the equal settings without it did not say it."""
    said, silent = Settings(mode="online"), Settings()

    assert said == silent
    assert said.given == {"mode"}
    assert silent.given == frozenset()


def test_nothing_to_resume_can_be_said() -> None:
    """`resume=False` is a word of its own, kept through copies, though its value is None."""
    settings = Settings(resume=False)

    assert settings.resume is None
    assert settings.given == {"resume"}
    assert settings.copy(project="x").given == {"resume", "project"}


@pytest.mark.case("set-new-unknown-ctor", "set-old-unknown-key")
def test_an_unknown_name_is_refused_and_nothing_applied() -> None:
    """An unknown setting is a ValueError that names it, and the original stays as it was."""
    settings = Settings(project="x")

    with pytest.raises(ValueError, match="There is no setting 'lol'"):
        Settings(lol=False)
    with pytest.raises(UsageError, match=r"'invalid'.*'wrong'"):
        settings.copy(project="y", invalid="new", wrong=1)
    assert settings.project == "x"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("projekt", "Did you mean 'project'?"),
        ("id", "Did you mean 'run_id'?"),
        ("tensorboard", "'sync_tensorboard'?"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name: str, hint: str) -> None:
    """A slip of the pen, or an argument's name, leads to the setting that was meant."""
    assert hint in unknown_setting(name)


def test_an_unknown_name_far_from_all_suggests_nothing() -> None:
    """There is no hint where nothing is near."""
    assert unknown_setting("qqqq") == "There is no setting 'qqqq'."


@pytest.mark.case("set-old-frozen")
def test_settings_are_frozen() -> None:
    """Assigning or deleting raises a TypeError that says how to get a changed copy; nothing changes."""
    settings = Settings(project="goodprojo")

    with pytest.raises(TypeError, match=r"settings.copy\(project=…\)"):
        settings.project = "badprojo"  # type: ignore[misc]
    with pytest.raises(TypeError):
        del settings.project
    assert settings.project == "goodprojo"


@pytest.mark.case("set-old-bad-attr-set", "set-new-unknown-attr")
def test_an_unknown_attribute_cannot_be_set() -> None:
    """Assigning an unknown name raises an error that is an AttributeError and a ValueError."""
    settings = Settings()

    for kind in (AttributeError, ValueError, ReadOnlyError):
        with pytest.raises(kind, match="no setting 'missing'"):
            settings.missing = 1  # type: ignore[attr-defined]


@pytest.mark.case("set-old-copy-unfrozen")
def test_a_changed_copy() -> None:
    """A copy takes changes; the original keeps its values."""
    settings = Settings(project="original", run_tags=("a",))
    changed = settings.copy(project="changed")

    assert (changed.project, changed.run_tags) == ("changed", ("a",))
    assert settings.project == "original"
    assert copy.copy(settings) == settings


@pytest.mark.case("set-old-priority-nosource")
def test_a_copy_bypasses_priority() -> None:
    """A change without a source always applies, whatever said the value before."""
    assert Settings(project="a").copy(project="b").project == "b"


def test_a_copy_can_be_made_by_the_standard_library() -> None:
    """`copy.replace` of Python 3.13 calls the same."""
    replaced = Settings(project="a").__replace__(mode="dryrun")

    assert (replaced.project, replaced.mode) == ("a", "offline")
    assert replaced.given == {"project", "mode"}


def test_equal_settings_have_equal_hashes() -> None:
    """Settings can be members of sets."""
    assert len({Settings(project="a"), Settings(project="a"), Settings()}) == 2


def test_a_repr_shows_what_was_said_and_no_secret() -> None:
    """A repr names what was given, with secrets hidden."""
    settings = Settings(project="x", api_key="k" * 40)

    assert repr(settings) == "Settings(project='x', api_key=***)"
    assert settings.api_key == "k" * 40


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("run_name", 5, marks=pytest.mark.case("type-name")),
        pytest.param("entity", 5, marks=pytest.mark.case("type-entity")),
        pytest.param("root_dir", 3, marks=pytest.mark.case("type-dir")),
        pytest.param("save_code", "x", marks=pytest.mark.case("type-save_code")),
        pytest.param("force", "maybe", marks=pytest.mark.case("type-force")),
        pytest.param("mode", "ONLINE", marks=pytest.mark.case("mode-bad-ONLINE")),
        pytest.param("mode", "noop", marks=pytest.mark.case("mode-bad-noop")),
        pytest.param("mode", "", marks=pytest.mark.case("mode-bad-empty")),
        ("run_id", ""),
        ("project", "a/b"),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, value: object) -> None:
    """A wrong type or an unknown word is a ValueError on construction."""
    with pytest.raises(ValueError, match=r".+"):
        Settings(**{name: value})


def test_an_explicit_empty_job_type_stays() -> None:
    """An empty job type is a job type; an empty project or entity is none."""
    settings = Settings(run_job_type="", project="", entity="")

    assert settings.run_job_type == ""
    assert settings.project is None
    assert settings.given == {"run_job_type"}


@pytest.mark.case("branch-exclusive")
def test_ways_to_branch_off_exclude_each_other() -> None:
    """resume, fork_from and resume_from each say how a run goes on from an earlier one."""
    with pytest.raises(ValueError, match="resume and fork_from exclude each other"):
        Settings(resume="allow", fork_from="abc?_step=1")
    with pytest.raises(UsageError, match="fork_from and resume_from"):
        Settings(fork_from="abc?_step=1").copy(resume_from="abc?_step=1")
    assert Settings(resume=False, fork_from="abc?_step=1").fork_from == "abc?_step=1"


def test_the_message_says_where_the_two_come_from() -> None:
    """Of settings that exclude each other, the message names the places."""
    with pytest.raises(UsageError, match=r"WANDB_RESUME and settings\.fork_from exclude"):
        check_branching({"fork_from": "settings.fork_from", "resume": "WANDB_RESUME", "project": "x"})
    check_branching(dict.fromkeys(BRANCHING[:1], "x"))
