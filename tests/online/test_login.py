"""Keys, force and the wish to stop, as `init()` meets them at a server (specification 6, rows G)."""

from __future__ import annotations

import base64
import gc
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import corelib
from corelib import AuthenticationError, CommError, Run, UsageError
from tests.online.conftest import Program, wait_for
from tests.servers.faults import answer, hold
from tests.servers.wandb_server import WandbServer, serve
from transports.http import HttpOptions, HttpTransport

NO_KEY: Final = {"api_key": None}
FOREIGN: Final = {"api_key": "fedcba9876543210fedcba9876543210fedcba98"}
MALFORMED: Final = {"api_key": "short"}


# ------------------------------------------------------------------------------------------------------- the key


@pytest.mark.parametrize("force", [False, True])
def test_g2_an_accepted_key_goes_online(program: Program, force: bool) -> None:
    """G2: with force, the server has said yes before `init()` returns; without, nobody waits for it."""
    run = program.init(force=force)
    if force:
        assert program.operations()[0] == "RunResumeStatus"
        assert program.server.requests()[0].status == 200
    assert not run.offline
    run.log({"loss": 1})
    assert run.finish().delivered == 1
    assert all(entry.key == "correct" for entry in program.server.requests("graphql"))


@pytest.mark.parametrize("quiet", [False, True])
def test_g3_no_key_is_offline_with_one_line(program: Program, quiet: bool) -> None:
    """G3: nothing is sent, the run is recorded here, and one line says how to log in, also where quiet is set."""
    run = program.init(settings={**NO_KEY, "quiet": quiet})
    assert run.offline
    run.log({"loss": 1})
    run.finish()
    assert program.operations() == []
    line = next(line for line in program.stderr().splitlines() if "login" in line)
    assert line.startswith("corelib: WARNING There is no API key for 127.0.0.1")
    assert line.count(f"`corelib login --host {program.server.url}`") == 1
    assert line.count(f"`corelib.login(host='{program.server.url}')`") == 1
    assert program.stderr().count("login") == line.count("login")
    assert program.run_folders()[0].startswith("offline-run-")


@pytest.mark.case("login-nokey-notty-force", "login-nokey-no-dirs")
@pytest.mark.parametrize("policy", [None, "allow", "never"])
def test_g4_no_key_and_force_is_an_error(program: Program, policy: str | None) -> None:
    """G4: UsageError, and nothing is created anywhere."""
    with pytest.raises(UsageError):
        program.init(settings=NO_KEY, force=True, id="abc", resume=policy)
    assert program.operations() == []
    assert os.listdir() == []


@pytest.mark.parametrize("policy", ["must", "never"])
@pytest.mark.parametrize("key", [NO_KEY, FOREIGN], ids=["absent", "rejected"])
def test_g17_must_and_never_need_a_key_that_works(program: Program, policy: str, key: Any) -> None:
    """G17: what depends on the server's answer is not guessed without it."""
    program.server.allow("wrong-key")
    with pytest.raises((UsageError, CommError)):
        program.init(settings=key, id="abc", resume=policy)
    assert os.listdir() == []


@pytest.mark.case("login-badkey-format")
@pytest.mark.parametrize("force", [False, True])
def test_g11_a_malformed_key_is_a_mistake(program: Program, force: bool) -> None:
    """G11: AuthenticationError that says what a key looks like and not what this one was; nothing is sent."""
    with pytest.raises(AuthenticationError, match="40") as raised:
        program.init(settings=MALFORMED, force=force)
    assert "short" not in str(raised.value).replace("too short", "")
    assert program.operations() == []
    assert os.listdir() == []


@pytest.mark.case("login-server-401")
def test_g12_a_rejected_key_does_not_stop_a_run(program: Program) -> None:
    """G12: the rows are kept here, one line names the answer and the host, and none is lost."""
    program.server.allow("wrong-key")
    run = program.init(settings=FOREIGN, id="abc")
    run.log({"loss": 1})
    program.wait_for_text("HTTP 401")
    receipt = run.finish(timeout=0)
    assert (receipt.accepted, receipt.pending) == (1, 1)
    assert program.stderr().count("HTTP 401") == 1
    assert "127.0.0.1" in program.stderr()
    assert program.server.runs == []


def test_g12_a_rejected_key_with_resume_allow_is_offline(program: Program) -> None:
    """G12 where the words need an answer: it was no, so the run is offline and says so."""
    program.server.allow("wrong-key")
    run = program.init(settings=FOREIGN, id="abc", resume="allow")
    assert run.offline
    assert "HTTP 401" in program.stderr()


@pytest.mark.parametrize("policy", [None, "allow", "must", "never", "auto"])
def test_g13_a_rejected_key_and_force_is_an_error(program: Program, policy: str | None) -> None:
    """G13: AuthenticationError before anything is made."""
    program.server.allow("wrong-key")
    with pytest.raises(AuthenticationError, match="401"):
        program.init(settings=FOREIGN, force=True, id="abc", resume=policy)
    assert os.listdir() == []


@pytest.mark.case("login-unreachable")
def test_g14_an_unreachable_server_does_not_stop_a_run(program: Program) -> None:
    """G14: `init()` does not wait, and the rows wait on this machine."""
    program.server.stop_listening()
    run = program.init(id="abc")
    run.log({"loss": 1})
    receipt = run.finish(timeout=0)
    assert (receipt.accepted, receipt.pending) == (1, 1)
    assert "corelib sync" in program.stderr()


def test_g15_an_unreachable_server_and_force_is_an_error(program: Program) -> None:
    """G15: CommError within `init_timeout`, naming the host."""
    program.server.stop_listening()
    with pytest.raises(CommError, match=r"127\.0\.0\.1"):
        program.init(force=True, settings={"init_timeout": 0.3})
    assert os.listdir() == []


@pytest.mark.case("login-init-key-no-netrc")
def test_a_key_of_the_settings_is_used_and_not_stored(program: Program) -> None:
    """A key for one run is no login: no netrc file appears, and the next run does not have it."""
    program.init().finish()
    assert [path for path in Path(os.environ["HOME"]).rglob("*") if path.is_file()] == []
    assert corelib.init(settings={"base_url": program.server.url}).offline


def test_a_key_of_the_environment_is_used(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """WANDB_API_KEY and WANDB_BASE_URL are all that a script needs."""
    monkeypatch.setenv("WANDB_API_KEY", program.server.key)
    monkeypatch.setenv("WANDB_BASE_URL", program.server.url)
    run = corelib.init(project="p")
    run.log({"loss": 1})
    run.finish()
    assert program.server.run(run.id).steps == [0]


def test_a_key_of_netrc_is_used(program: Program) -> None:
    """What `corelib login` left is found by `init()`."""
    netrc = Path(os.environ["HOME"]) / ".netrc"
    netrc.write_text(f"machine 127.0.0.1\n  login user\n  password {program.server.key}\n", encoding="utf-8")
    netrc.chmod(0o600)
    run = program.init(settings=NO_KEY)
    run.log({"loss": 1})
    assert run.finish().delivered == 1


@pytest.mark.parametrize("given", ["netrc", "words"])
@pytest.mark.parametrize("delivery", ["thread", "process"])
def test_a_courier_goes_on_with_a_key_of_a_later_login(program: Program, delivery: str, given: str) -> None:
    """Its key is refused while the run goes on; what `corelib login` keeps then is what it goes on with."""
    netrc, old = Path(os.environ["HOME"]) / ".netrc", program.server.key
    host = program.server.url.removeprefix("http://")
    words = {"api_key": old} if given == "words" else NO_KEY
    if given == "netrc":
        netrc.write_text(f"machine {host} login user password {old}\n", encoding="utf-8")
        netrc.chmod(0o600)
    run = program.init(id="abc", settings={**words, "delivery": delivery})
    wait_for(lambda: program.server.runs, "the run is there")
    program.server.set_keys(FOREIGN["api_key"])
    netrc.write_text(f"machine {host} login user password {FOREIGN['api_key']}\n", encoding="utf-8")
    run.log({"loss": 1})
    assert run.finish().delivered == 1


# -------------------------------------------------------------------------------- whichever way a server is named


@pytest.mark.parametrize("by", ["http", "wandb", "URL"])
def test_g3_a_server_that_is_named_as_transport_needs_a_key(program: Program, by: str) -> None:
    """G3, G4: without a key it is offline with the one line, and UsageError with force, as where base_url is set."""
    settings = {**NO_KEY, "transport": program.server.url if by == "URL" else by}
    run = program.init(settings=settings)
    assert run.offline
    run.log({"loss": 1})
    run.finish()
    assert program.stderr().count("There is no API key for 127.0.0.1") == 1
    assert program.run_folders()[0].startswith("offline-run-")
    with pytest.raises(UsageError, match="force=True"):
        program.init(settings=settings, force=True)
    assert program.operations() == []


@pytest.mark.parametrize("by", ["http", "URL"])
def test_g11_a_malformed_key_is_not_sent_to_a_transport(program: Program, by: str) -> None:
    """G11: AuthenticationError for a server that is named as transport, too."""
    with pytest.raises(AuthenticationError, match="40"):
        program.init(settings={**MALFORMED, "transport": program.server.url if by == "URL" else by})
    assert program.operations() == []
    assert os.listdir() == []


def test_g1_a_transport_is_no_way_around_offline(program: Program) -> None:
    """G1: mode offline means that no server is used, also where one is named as transport."""
    run = program.init(mode="offline", settings={"transport": ("http", "memory")})
    run.log({"loss": 1})
    run.finish()
    assert program.operations() == []


def test_a_transport_that_can_do_without(program: Program, tmp_path: Path) -> None:
    """A copy on disk is made all the same where the server beside it wants a key that is not there."""
    backup = tmp_path / "backup"
    run = program.init(settings={**NO_KEY, "transport": ("http", f"file://{backup}")})
    run.log({"loss": 1})
    run.finish()
    assert run.offline
    assert [path.name for path in backup.rglob("offline-run-*")] == program.run_folders()


def test_r18_never_without_an_id_needs_no_key(program: Program) -> None:
    """R18, R27: an id that was generated is nobody's, so that never needs no answer and no key."""
    assert program.init(settings=NO_KEY, resume="never").offline


def test_r13_must_without_an_id_is_an_error_about_the_id(program: Program) -> None:
    """R13: what is missing first is said: the id, not the key."""
    with pytest.raises(UsageError, match="id"):
        program.init(settings=NO_KEY, resume="must")
    assert os.listdir() == []


# --------------------------------------------------------------------------------- a key is for one server alone


def keys_at(server: WandbServer) -> set[str]:
    """Return what requests to a server had for a key; where there is none, they are not made at all."""
    return {entry.key for entry in server.requests()}


def test_a_login_to_one_server_is_none_to_another(program: Program) -> None:
    """After login(host=A), a run to B is offline, and nothing is sent to B; a run to A is online."""
    with serve(keys=[FOREIGN["api_key"]]) as other:
        assert corelib.login(key=program.server.key, host=program.server.url)
        run = program.init(settings={**NO_KEY, "base_url": other.url})
        assert run.offline
        run.finish()
        assert keys_at(other) == set()
        run = program.init(settings={**NO_KEY, "base_url": None})
        run.finish()
        assert not run.offline


def test_a_login_does_not_hide_the_key_of_the_environment(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that the environment gives for whatever server applies is used for B after login(host=A)."""
    with serve(keys=[FOREIGN["api_key"]]) as other:
        monkeypatch.setenv("WANDB_API_KEY", FOREIGN["api_key"])
        assert corelib.login(key=program.server.key, host=program.server.url)
        run = program.init(settings={**NO_KEY, "base_url": other.url})
        run.log({"loss": 1})
        assert run.finish().delivered == 1


def test_netrc_has_a_key_per_server(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is a URL gets the key of that URL: not the one of base_url, which lies beside it."""
    monkeypatch.setenv("WANDB_BASE_URL", program.server.url)
    netrc = Path(os.environ["HOME"]) / ".netrc"
    name = program.server.url.removeprefix("http://")
    netrc.write_text(f"machine {name} password {program.server.key}\n", encoding="utf-8")
    with serve(keys=[FOREIGN["api_key"]]) as other:
        settings = {"transport": other.url, "delivery": "thread"}
        run = corelib.init(project="p", settings=settings)
        assert run.offline
        run.finish()
        assert keys_at(other) == set()
        with netrc.open("a", encoding="utf-8") as file:
            file.write(f"machine {other.url.removeprefix('http://')} password {FOREIGN['api_key']}\n")
        run = corelib.init(project="p", settings=settings)
        run.log({"loss": 1})
        assert run.finish().delivered == 1


def test_sync_to_another_server_needs_its_key(program: Program) -> None:
    """After login(host=A), a sync to B is an error that says how to log in there, and nothing is sent to B."""
    run = program.init(mode="offline")
    run.log({"loss": 1})
    run.finish()
    with serve(keys=[FOREIGN["api_key"]]) as other:
        assert corelib.login(key=program.server.key, host=program.server.url)
        with pytest.raises(AuthenticationError, match=f"no key for {other.url}"):
            corelib.sync(everything=True, transport=other.url)
        assert keys_at(other) == set()
        assert corelib.login(key=FOREIGN["api_key"], host=other.url)
        assert [one.outcome for one in corelib.sync(everything=True, transport=other.url)] == ["delivered"]


def test_sync_sends_no_malformed_key(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be a key is an AuthenticationError before any request, in a sync as in a run."""
    run = program.init(mode="offline")
    run.finish()
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(AuthenticationError, match="too short"):
        corelib.sync(everything=True, transport=program.server.url)
    assert program.operations() == []


# ------------------------------------------------------------------------------------------- what a server says


@pytest.mark.parametrize("status", [403, 404, 500, 302])
def test_a_server_that_answers_is_not_said_to_be_silent(program: Program, status: int) -> None:
    """login(): an answer that leaves open whose key it is is told as one, with its status."""
    program.server.faults.add(answer(status), operation="Viewer")
    assert corelib.login(key=program.server.key, host=program.server.url) is False
    assert "could not verify the API key" in program.stderr()
    assert f"HTTP {status}" in program.stderr()
    assert "did not answer" not in program.stderr()


@pytest.mark.parametrize("force", [False, True])
def test_words_that_reject_a_key(program: Program, force: bool) -> None:
    """login(): "not logged in" with HTTP 200 is a rejection: AuthenticationError, and the key is kept nowhere."""
    denial = {"errors": [{"message": "user is not logged in"}]}
    program.server.faults.add(answer(200, body=denial), operation="Viewer")
    with pytest.raises(AuthenticationError, match="rejected"):
        corelib.login(key=program.server.key, host=program.server.url, force=force)
    assert not (Path(os.environ["HOME"]) / ".netrc").exists()
    assert program.init(settings=NO_KEY).offline


def test_the_name_of_an_account_is_data(program: Program) -> None:
    """login(): what the server calls the account moves no cursor and adds no line."""
    evil = {"data": {"viewer": {"username": "evil\x1b[2Jname\nline"}}}
    program.server.faults.add(answer(200, body=evil), operation="Viewer")
    assert corelib.login(key=program.server.key, host=program.server.url)
    assert r"as evil\x1b[2Jname\nline." in program.stderr()
    assert "\x1b" not in program.stderr()


def test_the_words_of_an_error_are_data(program: Program) -> None:
    """login(): so is what the server says about a failure."""
    evil = {"errors": [{"message": "evil\x1b[2Jtext"}]}
    program.server.faults.add(answer(200, body=evil), operation="Viewer")
    assert not corelib.login(key=program.server.key, host=program.server.url)
    assert "\x1b" not in program.stderr()


# ------------------------------------------------------------------------------------------------ it stays secret


def processes() -> Iterator[tuple[str, bytes]]:
    """Yield what anybody may read of every process: its command line, and its environment where that is allowed."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                yield f"{pid}/{name}", Path("/proc", pid, name).read_bytes()
            except OSError:  # it has ended, or belongs to somebody else
                continue


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc")
@pytest.mark.parametrize("where", ["settings", "environment"])
def test_the_key_is_nowhere_to_be_seen(
    program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    """Not in a file, a process, a repr or on the terminal: while the run is on, and when it is over."""
    key = secrets.token_hex(20)
    program.server.set_keys(key)
    secret = (key.encode(), base64.b64encode(f"api:{key}".encode()))
    settings: dict[str, Any] = {"delivery": "process", "api_key": key}
    if where == "environment":
        monkeypatch.setenv("WANDB_API_KEY", key)
        settings["api_key"] = None
    run = program.init(settings=settings)
    run.log({"loss": 1})
    program.server.wait_until(lambda world: world.run(run.id).started)
    courier_seen = False
    for place, text in processes():
        courier_seen = courier_seen or b"courier" in text
        assert not any(form in text for form in secret), place
    assert courier_seen
    shown = f"{run!r} {run.settings!r} {run.settings} {run.receipt} {run.resume_decision}"
    assert key not in shown
    run.finish()
    files = [
        path for root in (tmp_path, Path(os.environ["HOME"])) for path in root.rglob("*") if path.is_file()
    ]
    assert {"debug.log"} <= {path.name for path in files}
    for path in files:
        assert not any(form in path.read_bytes() for form in secret), path
    assert key not in program.stderr()


# ------------------------------------------------------------------------------------------- what arrives later


def test_what_the_server_calls_the_run_arrives_later(program: Program) -> None:
    """`init()` returns before the server has answered; then entity, name and URL are there, and are told once."""
    rule = program.server.faults.add(hold(), operation="UpsertBucket")
    run = program.init(id="abc")
    assert (run.name, run.entity) == (None, "")
    rule.remove()
    program.server.drop_connections()
    wait_for(lambda: run.entity, "the run knows its entity")
    assert run.entity == "ent"
    assert run.url == f"{program.server.url}/ent/p/runs/abc"
    assert run.path == "ent/p/abc"
    run.finish()
    assert program.stderr().count("is shown at") == 1


@pytest.mark.case("run-name-from-server")
@pytest.mark.parametrize("delivery", ["thread", "process"])
def test_the_name_comes_from_the_server(program: Program, delivery: str) -> None:
    """Without a name of our own the run takes the server's; its own name stays where it has one."""
    program.server.allow("offset-back", "overlap-differs")
    program.server.seed("abc", project="p", display_name="funny-name-1")
    run = program.init(id="abc", settings={"delivery": delivery})
    wait_for(lambda: run.name, "the run knows its name")
    assert run.name == "funny-name-1"
    run.finish()
    named = program.init(id="named", name="mine", settings={"delivery": delivery})
    wait_for(lambda: named.entity, "the run knows its entity")
    assert named.name == "mine"


@pytest.mark.case("mode-run")
def test_mode_run_is_online(program: Program) -> None:
    """The old word for "online" still means it; the folder says so."""
    run = program.init(mode="run")
    assert (run.offline, run.disabled) == (False, False)
    assert program.run_folders()[0].startswith("run-")


# ------------------------------------------------------------------------------------------------------- stopping


def stoppable(program: Program, **settings: Any) -> Run:
    """Begin a run whose transport pushes often."""
    transport = HttpTransport(
        program.server.url, program.server.key, options=HttpOptions(push_every_s=0.05, heartbeat_s=0.1)
    )
    return program.init(id="abc", settings={"transport": transport, **settings})


def test_a_run_that_is_stopped_interrupts_the_program(program: Program) -> None:
    """The wish to stop is a Ctrl-C in the main thread, and one line says where it comes from."""
    run = stoppable(program)
    program.server.wait_until(lambda world: world.run("abc").started)
    program.server.stop_run("abc")

    def train() -> None:
        with run:
            wait_for(lambda: run.log({"loss": 1}), "the program is interrupted")  # type: ignore[func-returns-value]

    with pytest.raises(KeyboardInterrupt):
        train()
    assert "asks to stop this run" in program.stderr()
    stored = program.server.run("abc")
    assert (stored.complete, stored.exit_code) == (True, 255)
    # The call that was cut off is none that was accepted, and may have got its row through all the same.
    assert len(stored.rows) - run.receipt.accepted in (0, 1)


def test_a_run_that_is_not_stoppable_goes_on(program: Program) -> None:
    """stoppable=False: the wish is told once, and nothing is interrupted."""
    run = stoppable(program, stoppable=False)
    program.server.wait_until(lambda world: world.run("abc").started)
    program.server.stop_run("abc")
    run.log({"loss": 1})
    program.wait_for_text("it goes on")
    run.log({"loss": 2})
    run.finish()
    assert program.server.run("abc").steps == [0, 1]
    assert program.stderr().count("asks to stop") == 1


# ----------------------------------------------------------------------------------------------- nothing is sent


@pytest.mark.case("login-offline-force", "mode-offline-no-login", "mode-offline-no-network")
@pytest.mark.parametrize("mode", ["offline", "disabled", "dryrun"])
@pytest.mark.parametrize("key", [{}, NO_KEY, FOREIGN], ids=["good", "absent", "foreign"])
def test_g1_offline_and_disabled_send_nothing(program: Program, mode: str, key: Any) -> None:
    """G1: no login and no request of any kind, whatever key, force and resume say."""
    run = program.init(mode=mode, force=True, id="abc", resume="allow", settings=key)
    run.log({"loss": 1})
    run.config["lr"] = 0.1
    run.alert("title", "text")
    run.finish()
    corelib.finish()
    gc.collect()
    assert program.operations() == []


def test_a_rejected_key_that_is_accepted_again_delivers(program: Program) -> None:
    """A key may be revoked and come back while a run is on: not a row is missing."""
    transport = HttpTransport(
        program.server.url, program.server.key, options=HttpOptions(push_every_s=0.05, slow_s=0.05)
    )
    rule = program.server.faults.add(answer(401), endpoint="file_stream")
    run = program.init(id="abc", settings={"transport": transport})
    for number in range(10):
        run.log({"loss": number})
    wait_for(lambda: rule.hits >= 2, "pushes were refused")
    rule.remove()
    receipt = run.finish()
    assert (receipt.accepted, receipt.delivered) == (10, 10)
    assert program.server.run("abc").steps == list(range(10))
