"""Whether a run goes online: the decision table, the format of keys, and the order in which they are looked up."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import AuthenticationError, CommError, UsageError
from corelib.pure.credentials import (
    LOOKUP,
    TABLE,
    Decision,
    FoundKey,
    check_key_format,
    decide,
    find_key,
    key_state,
)
from corelib.testing.strategies.settings import secrets

INPUTS: Mapping[str, tuple[Any, ...]] = {
    "mode": ("online", "offline", "disabled"),
    "key": ("absent", "malformed", "well_formed"),
    "server": ("unknown", "unasked", "accepted", "rejected", "unreachable"),
    "force": (False, True),
    "anonymous": ("never", "allow", "must"),
    "resume": (None, "allow", "auto", "must", "never"),
    "has_id": (False, True),
    "prompt": ("impossible", "possible", "declined", "unanswered"),
    "grant": ("impossible", "possible", "refused", "unanswered"),
}
SITUATIONS = [dict(zip(INPUTS, values, strict=True)) for values in product(*INPUTS.values())]


def online(**situation: Any) -> Decision:
    """Decide for mode online with a well-formed key, unless told otherwise."""
    return decide(**({"mode": "online", "key": "well_formed"} | situation))


def test_every_situation_is_decided_by_the_rules() -> None:
    """Over all 43,200 situations, the decision is what the rules in words say."""
    for one in SITUATIONS:
        decision = decide(**one)
        unheard = one["has_id"] and one["resume"] in ("must", "never")
        expected: tuple[str, type[Exception] | None]
        if one["mode"] != "online":
            expected = ("local", None)
        elif one["server"] == "unknown":
            expected = ("refuse", UsageError) if one["force"] else ("offline", None)
        elif one["key"] == "malformed":
            expected = ("refuse", AuthenticationError)
        elif one["key"] == "absent":
            alone = one["anonymous"] == "must" or (
                one["anonymous"] == "allow" and one["prompt"] == "impossible"
            )
            if alone and one["grant"] == "possible":
                expected = ("anonymous", None)
            elif one["anonymous"] == "must" and (one["force"] or not unheard):
                expected = ("refuse", UsageError) if one["force"] else ("offline", None)
            elif one["prompt"] == "possible":
                expected = ("ask", None)
            else:
                expected = ("refuse", UsageError) if one["force"] or unheard else ("offline", None)
        elif one["server"] == "rejected":
            expected = ("refuse", AuthenticationError) if one["force"] or unheard else ("offline", None)
        elif one["server"] == "unreachable":
            expected = ("refuse", CommError) if one["force"] or unheard else ("offline", None)
        else:
            expected = ("online", None)
        assert (decision.action, decision.error) == expected, one


def test_every_row_decides_something() -> None:
    """No row of the table stands behind others that leave nothing for it."""
    assert {decide(**one).row for one in SITUATIONS} == {row.name for row in TABLE}


def test_rows_have_different_names_and_known_inputs() -> None:
    """A row is named once, and looks only at inputs and values that there are."""
    assert len({row.name for row in TABLE}) == len(TABLE)
    known = {"must_answer": {True, False}} | {name: set(values) for name, values in INPUTS.items()}
    for row in TABLE:
        for name, values in row.when.items():
            assert values <= known[name]


@pytest.mark.parametrize("one", SITUATIONS[:: len(SITUATIONS) // 200])
def test_a_decision_is_whole(one: dict[str, Any]) -> None:
    """Every decision has a reason; refusals have an error, questions have choices, and nothing else has."""
    decision = decide(**one)

    assert decision.reason.endswith((".", "`"))
    assert "{" not in decision.reason
    assert (decision.error is not None) is (decision.action == "refuse")
    assert bool(decision.choices) is (decision.action == "ask")


def test_init_never_asks() -> None:
    """Without a prompt and without a server to ask, which is how init() decides, there is never a question."""
    for one in SITUATIONS:
        if one["prompt"] == one["grant"] == "impossible":
            assert decide(**one).action not in ("ask", "anonymous")


def test_force_ends_online_or_in_an_error() -> None:
    """With force, an online run is never recorded offline, and no choice offers it."""
    for one in SITUATIONS:
        if one["force"] and one["mode"] == "online":
            decision = decide(**one)
            assert decision.action in ("online", "refuse", "ask", "anonymous")
            assert "offline" not in decision.choices


@pytest.mark.case("login-offline-force")
def test_offline_needs_no_login() -> None:
    """An offline run starts without a key, also with force."""
    assert decide(mode="offline", key="absent", force=True).action == "local"
    assert decide(mode="disabled", key="malformed", server="unreachable", force=True).action == "local"


@pytest.mark.case("mode-offline-no-login")
def test_offline_without_a_key() -> None:
    """An offline run starts without a key."""
    assert decide(mode="offline", key="absent") == Decision(
        "local", "The mode is offline: no server is used.", None, (), "G1"
    )


@pytest.mark.case("login-nokey-notty-force")
def test_force_without_a_key_is_refused() -> None:
    """G4: no key, nobody to ask, force: UsageError."""
    decision = online(key="absent", force=True)

    assert (decision.action, decision.error, decision.row) == ("refuse", UsageError, "G4")


def test_without_a_key_the_run_is_offline() -> None:
    """G3: no key, nobody to ask: offline, with a line that says so and how to log in."""
    decision = online(key="absent")

    assert (decision.action, decision.row) == ("offline", "G3")
    assert "this machine only" in decision.reason
    assert "corelib.login()" in decision.reason


_HOW = ("`corelib login --host http://h:8080/x`", "`corelib.login(host='http://h:8080/x')`")


@pytest.mark.parametrize(
    ("row", "situation"),
    [
        ("G3", {"key": "absent"}),
        ("G4", {"key": "absent", "force": True}),
        ("G8", {"key": "absent", "anonymous": "must"}),
        ("G8, forced", {"key": "absent", "anonymous": "must", "force": True}),
        ("G11", {"key": "malformed"}),
        ("G12", {"server": "rejected"}),
        ("G13", {"server": "rejected", "force": True}),
        ("G16", {"key": "absent", "prompt": "unanswered"}),
        ("G17, no key", {"key": "absent", "resume": "must"}),
        ("G17, rejected", {"server": "rejected", "resume": "never"}),
    ],
)
def test_who_needs_a_key_is_told_how_to_get_one(row: str, situation: dict[str, Any]) -> None:
    """What is for want of a good key names the ways to log in, in a shell and in Python, once, with the server."""
    decision = online(url="http://h:8080/x", **situation)

    assert decision.row == row
    assert [decision.reason.count(way) for way in _HOW] == [1, 1]
    assert [online(**situation).reason.count(way) for way in ("`corelib login`", "`corelib.login()`")] == [
        1,
        1,
    ]
    if row not in ("G8", "G8, forced"):
        assert "h:8080 " in decision.reason.replace(".", " ").replace(",", " ").replace(_HOW[0], "")


@pytest.mark.parametrize("resume", ["must", "never"])
def test_without_an_id_there_is_nothing_to_ask(resume: str) -> None:
    """must and never need an answer about an id; without one the server is not needed, nor is a key (R13, R18, R27)."""
    for situation in ({"key": "absent"}, {"server": "rejected"}, {"server": "unreachable"}):
        assert online(resume=resume, has_id=False, **situation).action == "offline"


@pytest.mark.case("login-server-401")
def test_a_rejected_key_means_offline() -> None:
    """G12: the server rejects the key: offline with a warning, or AuthenticationError with force (G13)."""
    assert (online(server="rejected").action, online(server="rejected").row) == ("offline", "G12")
    assert online(server="rejected", force=True).error is AuthenticationError


@pytest.mark.case("login-unreachable")
def test_an_unreachable_server_means_offline() -> None:
    """G14: the server does not answer: offline with a warning."""
    assert (online(server="unreachable").action, online(server="unreachable").row) == ("offline", "G14")


@pytest.mark.case("login-init-timeout-error")
def test_an_unreachable_server_with_force_is_an_error() -> None:
    """G15: with force, the server that does not answer is a CommError that names init_timeout."""
    decision = online(server="unreachable", force=True)

    assert decision.error is CommError
    assert "init_timeout" in decision.reason


@pytest.mark.case("login-prompt-offline-choice")
def test_choosing_not_to_log_in_means_offline() -> None:
    """G5: whoever is asked and declines records offline."""
    assert online(key="absent", prompt="possible").choices == ("create", "existing", "offline")
    assert online(key="absent", prompt="declined").action == "offline"


@pytest.mark.case("login-prompt-timeout")
def test_an_unanswered_question_loses_no_data() -> None:
    """G16: nobody answers: offline, not disabled."""
    decision = online(key="absent", prompt="unanswered")

    assert (decision.action, decision.row) == ("offline", "G16")


def test_force_leaves_only_a_login() -> None:
    """G6: with force, a person can only give a key."""
    assert online(key="absent", prompt="possible", force=True).choices == ("existing",)


@pytest.mark.parametrize("anonymous", ["allow", "must"])
def test_an_existing_key_is_used_whatever_anonymous_says(anonymous: str) -> None:
    """G9, G10: anonymity matters only where there is no key."""
    assert online(anonymous=anonymous).action == "online"


def test_anonymous_without_anonymous_accounts() -> None:
    """G8: must and no key: offline with the reason, or UsageError with force, without asking anybody."""
    assert online(key="absent", anonymous="must", prompt="possible").row == "G8"
    assert online(key="absent", anonymous="must", force=True).error is UsageError


def test_an_anonymous_key_is_asked_for() -> None:
    """G7, G8: must asks the server at once, allow where nobody can choose; at a terminal allow is a choice."""
    assert (
        online(key="absent", anonymous="must", grant="possible", prompt="possible").row
        == "G8, ask the server"
    )
    assert online(key="absent", anonymous="allow", grant="possible").row == "G7, no terminal"
    menu = online(key="absent", anonymous="allow", grant="possible", prompt="possible")
    assert menu.choices == ("anonymous", "create", "existing", "offline")
    assert online(key="absent", anonymous="never", grant="possible").row == "G3"


@pytest.mark.parametrize(
    ("grant", "words"),
    [
        ("impossible", "login(anonymous='must')` asks the server"),
        ("refused", "offers no keys"),
        ("unanswered", "did not answer"),
    ],
)
def test_why_there_is_no_anonymous_key(grant: str, words: str) -> None:
    """Where none is to be had, the decision says whether the server was asked, and what it said."""
    decision = online(key="absent", anonymous="must", grant=grant)

    assert (decision.action, decision.row) == ("offline", "G8")
    assert words in decision.reason


@pytest.mark.parametrize(
    ("situation", "error"),
    [
        ({"key": "absent"}, UsageError),
        ({"server": "rejected"}, AuthenticationError),
        ({"server": "unreachable"}, CommError),
    ],
)
@pytest.mark.parametrize("resume", ["must", "never"])
def test_must_and_never_are_not_given_up(
    situation: dict[str, str], error: type[Exception], resume: str
) -> None:
    """G17: what only the server can answer is an error without it, never an offline run."""
    decision = online(resume=resume, **situation)

    assert decision.error is error
    assert "'must' and 'never'" in decision.reason


def test_without_a_server_the_local_runs_decide() -> None:
    """Where no server is known, nothing can be remote: offline also for must; with force an error."""
    assert online(server="unknown", resume="must").action == "offline"
    assert online(server="unknown", force=True).error is UsageError


# ----------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "key",
    [
        "a" * 40,
        "a" * 86,
        f"local-{'a' * 40}",
        f"local-{'a' * 20}-{'b' * 20}",
        f"wandb_v1_{'Ab9_' * 10}",
        "eyJ0.eyJz.c2ln",
    ],
)
def test_keys_that_may_be_sent(key: str) -> None:
    """40 or more characters, with a prefix or without, and JSON web tokens of any length."""
    check_key_format(key)

    assert key_state(key) == "well_formed"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("short", marks=pytest.mark.case("login-badkey-format")),
        pytest.param("abc", marks=pytest.mark.case("login-badkey-arg", "login-badkey-old")),
        "a" * 39,
        f"local-{'a' * 39}",
        f" {'a' * 40}",
        f"{'a' * 40}\n",
        f"{'a' * 20} {'a' * 20}",
        "ä" * 40,
        "a.b",
        "a..b",
        "",
    ],
)
def test_keys_that_are_never_sent(key: str) -> None:
    """What cannot be a key is an AuthenticationError that says how long keys are, before any request."""
    with pytest.raises(AuthenticationError, match="40"):
        check_key_format(key)


def test_the_state_of_a_key() -> None:
    """No key is absent, not malformed."""
    assert (key_state(None), key_state(""), key_state("short")) == ("absent", "absent", "malformed")


@given(secrets(), st.sampled_from((" ", "\n", "é", "!")))
def test_the_message_about_a_key_does_not_repeat_it(secret: str, spoiler: str) -> None:
    """Neither the whole key nor the part behind its prefix is in the error."""
    for key in (f"{secret}{spoiler}", f"x-{secret[:30]}"):
        with pytest.raises(AuthenticationError) as caught:
            check_key_format(key)
        assert secret[:20] not in str(caught.value)


@pytest.mark.case("login-key-order")
def test_the_first_place_with_a_key_wins() -> None:
    """Session, environment, settings file, netrc: the first that has a key."""
    assert LOOKUP == ("session", "environment", "settings_file", "netrc")
    candidates: dict[str, str | None] = {place: f"key of {place}" for place in reversed(LOOKUP)}
    for place in LOOKUP:
        assert find_key(candidates) == FoundKey(f"key of {place}", place)
        candidates[place] = None
    assert find_key(candidates) is None
    assert find_key({}) is None
    assert find_key({"session": "", "netrc": "k"}) == FoundKey("k", "netrc")


def test_a_found_key_is_not_shown() -> None:
    """The repr of a found key says where it is from only."""
    assert repr(FoundKey("k" * 40, "netrc")) == "FoundKey(key=***, place='netrc')"
