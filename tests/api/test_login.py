"""`login()`: what it finds, whom it asks, what it keeps, and that no key is ever shown."""

from __future__ import annotations

import io
import os
import pty
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import corelib
from corelib.api import login as login_module
from corelib.api.core import default
from corelib.api.login import LoginWords, finds_key, log_in, login
from corelib.errors import AuthenticationError, CommError, UsageError, UsageTypeError
from corelib.pure.resolve import resolve
from corelib.pure.settings import Settings
from corelib.shell.accounts import AnonymousAnswer, KeyAnswer
from corelib.shell.gather import gather
from corelib.shell.keys import search_key
from corelib.shell.prompt import Person

URL = "http://host:8080"
GOOD = "g" * 40
BAD = "b" * 40
GUEST = "a" * 40


class Server:
    """Stands for a server: GOOD is bob's key, any other is rejected."""

    def __init__(self, *, reachable: bool = True, guests: bool = True) -> None:
        self.reachable = reachable
        self.broken = False
        self.guests = guests
        self.asked: list[tuple[str, str, float]] = []
        self.headers: Mapping[str, str] = {}

    def verify_key(self, base_url: str, key: str, timeout_s: float, headers: Mapping[str, str]) -> KeyAnswer:
        self.asked.append((base_url, key, timeout_s))
        self.headers = headers
        if not self.reachable:
            return KeyAnswer("unreachable", reason="Viewer at host:8080: connection refused.", answered=False)
        if self.broken:
            return KeyAnswer("unreachable", reason="Viewer at host:8080: HTTP 403.")
        return KeyAnswer("accepted", "bob") if key == GOOD else KeyAnswer("rejected", reason="HTTP 401.")

    def anonymous_key(self, base_url: str, timeout_s: float, headers: Mapping[str, str]) -> AnonymousAnswer:
        self.asked.append((base_url, "anonymous", timeout_s))
        self.headers = headers
        if not self.reachable:
            return AnonymousAnswer(None, "unanswered", "host:8080 did not answer.")
        if self.guests:
            return AnonymousAnswer(GUEST)
        return AnonymousAnswer(None, "refused", "host:8080 offers no anonymous keys.")


@pytest.fixture(name="server", autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(login_module, "accounts", server)
    monkeypatch.setenv("WANDB_BASE_URL", URL)
    return server


@pytest.fixture(name="netrc")
def _netrc() -> Path:
    return Path.home() / ".netrc"


def log(**words: Any) -> bool:
    return login(default.names, default.session, **words)


def found() -> str | None:
    """Return the key that the next `init()` finds."""
    gathered = gather(default.names, login=default.session.login, setup=default.session.setup)
    search = search_key(resolve(gathered.layers, gathered.problems))
    return search.key.key if search.key else None


def next_mode() -> str:
    """Return the mode of the next `init()`."""
    gathered = gather(default.names, login=default.session.login)
    return resolve(gathered.layers, gathered.problems).settings.mode


Dialog = Callable[..., io.StringIO]


@pytest.fixture(name="dialog")
def _dialog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dialog]:
    """Return a function that puts a person at the terminal, who answers each question with the next text."""
    keyboard, program = pty.openpty()

    class Screen(io.StringIO):
        answers: list[str]

        def write(self, text: str) -> int:
            if text.endswith(": ") and self.answers:
                os.write(keyboard, self.answers.pop(0).encode())
            return super().write(text)

    def begin(*answers: str) -> io.StringIO:
        screen = Screen()
        screen.answers = [f"{answer}\n" if answer != "\x04" else answer for answer in answers]
        monkeypatch.setattr(
            login_module, "person_at_terminal", lambda timeout: Person(program, screen, timeout)
        )
        return screen

    yield begin
    os.close(keyboard)
    os.close(program)


# --------------------------------------------------------------------------------------------------- a key is given


def test_a_given_key_is_verified_then_kept(server: Server, netrc: Path) -> None:
    """A key that the server accepts is kept for this process and, in the netrc file, for the next ones."""
    assert log(key=GOOD) is True

    assert server.asked == [(URL, GOOD, 20.0)]
    assert netrc.read_text(encoding="utf-8") == f"machine host:8080\n  login user\n  password {GOOD}\n"
    assert default.session.login.api_key == GOOD
    default.session.reset()
    assert found() == GOOD


@pytest.mark.case("login-badkey-arg", "login-badkey-old")
@pytest.mark.parametrize("key", ["abc", "x" * 39, "x" * 39 + " "])
def test_a_malformed_key_is_never_sent(server: Server, netrc: Path, key: str) -> None:
    """What cannot be a key is an AuthenticationError before any request."""
    with pytest.raises(AuthenticationError, match="40"):
        log(key=key)

    assert server.asked == []
    assert not netrc.exists()
    assert default.session.login is None


@pytest.mark.case("login-key-rejected-netrc")
@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("force", [None, False, True])
def test_a_rejected_key_is_kept_nowhere(netrc: Path, verify: bool, force: bool | None) -> None:
    """A key that the server rejects is an AuthenticationError that names the server; netrc and session stay."""
    netrc.write_text("machine host:8080 password before\n", encoding="utf-8")
    with pytest.raises(AuthenticationError, match="host:8080 rejected") as caught:
        log(key=BAD, verify=verify, force=force)

    assert netrc.read_text(encoding="utf-8") == "machine host:8080 password before\n"
    assert default.session.login is None
    assert BAD not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_does_not_answer(
    server: Server, netrc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key is not kept on disk, this process goes on with it, and the answer is False with the reason."""
    server.reachable = False
    assert log(key=GOOD) is False

    assert not netrc.exists()
    assert found() == GOOD
    assert "WARNING host:8080 did not answer" in capsys.readouterr().err


def test_an_answer_that_says_nothing_about_the_key(
    server: Server, netrc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that answers, but not whose key it is, did answer: that is said, with what it said."""
    server.broken = True
    assert log(key=GOOD) is False
    said = capsys.readouterr().err
    assert "WARNING host:8080 could not verify the API key. Viewer at host:8080: HTTP 403." in said
    assert "did not answer" not in said
    assert not netrc.exists()

    with pytest.raises(CommError, match="could not verify the API key"):
        log(key=GOOD, force=True)


def test_a_key_that_turns_out_wrong_leaves_the_session(server: Server) -> None:
    """A key that was kept unverified, and then is rejected, is not used by later runs; the server stays."""
    server.reachable = False
    log(key=BAD, host="http://other")
    assert found() == BAD
    server.reachable = True
    with pytest.raises(AuthenticationError, match="rejected"):
        log(verify=True)

    assert found() is None
    assert default.session.login.base_url == "http://other"


def test_another_key_in_the_session_stays() -> None:
    """Whoever tries a wrong key is still logged in with the one before."""
    assert log(key=GOOD) is True
    with pytest.raises(AuthenticationError):
        log(key=BAD)

    assert found() == GOOD


def test_a_key_stays_with_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key is for the server it was verified by, whichever way that was named: no other run gets it."""
    assert log(key=GOOD) is True
    assert default.session.login.base_url == URL
    (Path.home() / ".netrc").unlink()
    gathered = gather(default.names, login=default.session.login, settings={"base_url": "http://elsewhere"})
    assert search_key(resolve(gathered.layers, gathered.problems)).key is None


def test_whether_there_is_a_key_already(server: Server, netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`finds_key` says whether a login without a key would find one, and asks and says nothing."""
    assert not finds_key(default.names, default.session, LoginWords())
    netrc.write_text(f"machine other password {GOOD}\n", encoding="utf-8")
    assert finds_key(default.names, default.session, LoginWords(host="http://other"))
    monkeypatch.setenv("WANDB_API_KEY", GOOD)
    assert finds_key(default.names, default.session, LoginWords())
    assert not finds_key(default.names, default.session, LoginWords(relogin=True))
    assert (server.asked, default.session.login) == ([], None)


def test_force_wants_an_answer(server: Server, netrc: Path) -> None:
    """With force, a server that does not answer is a CommError that names it; nothing is kept."""
    server.reachable = False
    with pytest.raises(CommError, match="host:8080: connection refused"):
        log(key=GOOD, force=True)

    assert default.session.login is None
    assert not netrc.exists()


def test_a_key_that_cannot_be_written_is_used_all_the_same(
    netrc: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the netrc file cannot be written, this process is logged in, and the rest is a warning."""
    netrc.mkdir()
    result = log_in(default.names, default.session, LoginWords(key=GOOD))

    assert (result.logged_in, result.lasts) == (True, False)
    assert default.session.login.api_key == GOOD
    assert "WARNING The key cannot be kept in" in capsys.readouterr().err


def test_the_key_is_a_text(server: Server) -> None:
    """A key of another type is refused without being shown; an empty one is none."""
    with pytest.raises(UsageTypeError) as caught:
        log(key=GOOD.encode())
    assert GOOD not in str(caught.value)

    assert log(key="") is False
    assert server.asked == []


def test_the_host_of_the_call(server: Server, netrc: Path) -> None:
    """`host` is where the key is for, now and for later runs; a key for another server is not taken along."""
    assert log(key=GOOD) is True
    assert log(host="http://other/pre/") is False
    assert found() is None
    assert log(host="http://other/pre/", key=GOOD) is True

    assert server.asked[-1][0] == "http://other/pre"
    assert "machine other\n" in netrc.read_text(encoding="utf-8")
    assert default.session.login.base_url == "http://other/pre"
    assert log() is True
    with pytest.raises(UsageError):
        log(host="other:8080")


def test_the_headers_of_a_gateway(server: Server) -> None:
    """They go with the question to the server that they were set for, and to no other."""
    headers = {"X-Gateway": "s3cret"}
    default.session.setup = Settings(x_extra_http_headers=headers)
    assert log(key=GOOD)
    assert server.headers == headers
    assert log(host="http://other", key=GOOD)
    assert server.headers == {}


def test_the_time_of_the_call(server: Server) -> None:
    """`timeout` bounds the wait for the server; http_timeout does where that is less."""
    log(key=GOOD, timeout=3)
    log(key=GOOD, timeout=300)

    assert [asked[2] for asked in server.asked] == [3.0, 20.0]


# ---------------------------------------------------------------------------------------------------- a key is found


def test_a_key_that_is_there_is_used(server: Server, monkeypatch: pytest.MonkeyPatch, netrc: Path) -> None:
    """A key in the environment or a file is enough; the server is asked only with verify."""
    monkeypatch.setenv("WANDB_API_KEY", GOOD)
    assert log() is True
    assert server.asked == []

    assert log(verify=True) is True
    assert server.asked == [(URL, GOOD, 20.0)]
    assert not netrc.exists()


def test_a_found_key_that_is_rejected(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With verify, a key that the server rejects is an AuthenticationError; nobody's file is changed by it."""
    netrc.write_text(f"machine host password {BAD}", encoding="utf-8")
    assert log() is True
    with pytest.raises(AuthenticationError, match="rejected"):
        log(verify=True)

    assert netrc.read_text(encoding="utf-8") == f"machine host password {BAD}"


def test_a_found_key_and_a_server_that_does_not_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With verify, no answer is False, and a CommError with force; the key is looked for again by later runs."""
    monkeypatch.setenv("WANDB_API_KEY", GOOD)
    server.reachable = False

    assert log(verify=True) is False
    assert found() == GOOD
    with pytest.raises(CommError):
        log(verify=True, force=True)


@pytest.mark.case("login-badkey-format")
def test_a_malformed_key_in_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed key is a mistake to be mended: AuthenticationError, not an offline run."""
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(AuthenticationError, match="40"):
        log()

    assert server.asked == []


# ----------------------------------------------------------------------------------------------------- there is none


@pytest.mark.case("login-nokey-notty-force")
def test_without_a_key_and_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody is asked: False with the reason, or UsageError with force; later runs look again."""
    assert log() is False
    said = capsys.readouterr().err
    assert "Nobody was logged in: no key was given" in said
    assert "The run is" not in said  # there is none
    assert next_mode() == "online"
    with pytest.raises(UsageError, match="no API key"):
        log(force=True)


def test_choosing_an_existing_account(dialog: Dialog, netrc: Path) -> None:
    """A person who chooses an account is shown where its key is, and the key they type is verified and kept."""
    screen = dialog("9", "2", "short", BAD, "2", GOOD)
    assert log() is True

    shown = screen.getvalue()
    assert "http://host:8080/authorize\n" in shown
    assert "Type a number from 1 to 3." in shown
    assert "too short" in shown
    assert "rejected" in shown
    assert GOOD in netrc.read_text(encoding="utf-8")
    assert found() == GOOD
    assert GOOD not in shown
    assert BAD not in shown


def test_choosing_to_create_an_account(dialog: Dialog) -> None:
    """Whoever wants a new account is shown where to make one."""
    screen = dialog("1", GOOD)

    assert log() is True
    assert "http://host:8080/authorize?signup=true" in screen.getvalue()


@pytest.mark.case("login-prompt-offline-choice")
def test_choosing_not_to_log_in(dialog: Dialog) -> None:
    """A person who declines gets False, and this process's runs are offline until somebody logs in."""
    screen = dialog("3")
    assert log() is False
    assert "(3) Don't visualize my results" in screen.getvalue()
    assert next_mode() == "offline"

    dialog("2", GOOD)
    assert log() is True
    assert next_mode() == "online"


@pytest.mark.case("login-prompt-timeout")
@pytest.mark.parametrize("answers", [[], ["junk"], ["junk", "2", "junk"], ["\x04"], ["2", "\x04"]])
def test_nobody_answers(dialog: Dialog, answers: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Where no answer comes in time the runs are offline, not disabled: nothing is lost."""
    dialog(*answers)
    assert log(timeout=0.1) is False

    assert next_mode() == "offline"
    assert "Nobody answered" in capsys.readouterr().err


def test_force_leaves_one_choice(dialog: Dialog) -> None:
    """With force there is no menu: the key is asked for at once, and without an answer it is a UsageError."""
    screen = dialog(GOOD)
    assert log(force=True) is True
    assert "(1)" not in screen.getvalue()

    default.session.reset()
    (Path.home() / ".netrc").unlink()
    dialog("\x04")
    with pytest.raises(UsageError, match="no API key"):
        log(force=True)


def test_relogin_passes_over_what_is_there(
    dialog: Dialog, monkeypatch: pytest.MonkeyPatch, netrc: Path
) -> None:
    """With relogin a person is asked although there is a key, and theirs replaces it."""
    netrc.write_text(f"machine host:8080 password {BAD}", encoding="utf-8")
    dialog("2", GOOD)

    assert log(relogin=True) is True
    assert netrc.read_text(encoding="utf-8") == f"machine host:8080 password {GOOD}"


def test_a_typed_key_without_a_server(dialog: Dialog, server: Server) -> None:
    """A key that is typed while the server does not answer is used by this process, as a given one is."""
    server.reachable = False
    dialog("2", GOOD)

    assert log() is False
    assert found() == GOOD


# --------------------------------------------------------------------------------------------------------- anonymous


def test_must_asks_for_an_anonymous_key(server: Server, netrc: Path) -> None:
    """Without a key, anonymous="must" asks the server for one, and keeps it, without asking a person."""
    assert log(anonymous="must") is True

    assert server.asked == [(URL, "anonymous", 20.0)]
    assert GUEST in netrc.read_text(encoding="utf-8")
    assert found() == GUEST


@pytest.mark.parametrize("anonymous", ["allow", "must"])
def test_an_existing_key_is_used(server: Server, monkeypatch: pytest.MonkeyPatch, anonymous: str) -> None:
    """Where there is a key, it is used whatever `anonymous` says."""
    monkeypatch.setenv("WANDB_API_KEY", GOOD)

    assert log(anonymous=anonymous) is True
    assert server.asked == []


@pytest.mark.parametrize("anonymous", ["allow", "must"])
@pytest.mark.parametrize("reachable", [False, True])
def test_a_server_without_anonymous_keys(
    server: Server, capsys: pytest.CaptureFixture[str], anonymous: str, reachable: bool
) -> None:
    """A server that offers none, or does not answer, is named, once; then it is offline, or an error with force."""
    server.guests, server.reachable = False, reachable
    assert log(anonymous=anonymous) is False
    said = capsys.readouterr().err
    assert ("offers no anonymous keys" if reachable else "did not answer") in said
    assert len(server.asked) == 1

    with pytest.raises(UsageError):
        log(anonymous=anonymous, force=True)


def test_allow_without_a_terminal(server: Server) -> None:
    """Where nobody can be asked, anonymous="allow" is a wish for an anonymous key."""
    assert log(anonymous="allow") is True
    assert server.asked == [(URL, "anonymous", 20.0)]


def test_allow_is_a_choice(server: Server, dialog: Dialog) -> None:
    """At a terminal, anonymous="allow" adds the private dashboard to the menu."""
    screen = dialog("1")

    assert log(anonymous="allow") is True
    assert "(1) Private dashboard, no account required" in screen.getvalue()
    assert found() == GUEST


def test_a_choice_that_the_server_refuses(server: Server, dialog: Dialog) -> None:
    """Where the server offers none, the person is asked again without that choice."""
    server.guests = False
    screen = dialog("1", "2", GOOD)

    assert log(anonymous="allow") is True
    assert screen.getvalue().count("Private dashboard") == 1
    assert found() == GOOD


def test_never_asks_for_none(server: Server) -> None:
    """By default no anonymous key is asked for."""
    assert log() is False
    assert server.asked == []


# ------------------------------------------------------------------------------------------ where it has no effect


@pytest.mark.case("login-offline-noop")
def test_offline(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """With mode offline it is False and a warning, whatever is given."""
    default.setup(Settings(mode="offline"))

    assert log(key=GOOD, force=True) is False
    assert "Unable to verify login in offline mode" in capsys.readouterr().err
    assert server.asked == []
    assert default.session.login is None


@pytest.mark.case("login-disabled-noop")
def test_disabled(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """With mode disabled it is False, and nothing is said."""
    default.setup(Settings(mode="disabled"))

    assert log(key=GOOD) is False
    assert capsys.readouterr().err == ""
    assert server.asked == []


def test_after_init(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """While a run is active it is False and a warning; after the run it works again."""
    with corelib.init(mode="offline", project="p"):
        capsys.readouterr()
        assert log(key=GOOD) is False
        assert "WARNING corelib.login() has no effect while a run is active" in capsys.readouterr().err
        assert server.asked == []

    assert log(key=GOOD) is True


def test_no_server(
    server: Server, netrc: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a server nobody is logged in, and no key is kept: nobody knows what it is for."""
    monkeypatch.delenv("WANDB_BASE_URL")

    assert log(key=GOOD) is False
    assert "No server is known" in capsys.readouterr().err
    assert (default.session.login, netrc.exists(), server.asked) == (None, False, [])
    with pytest.raises(UsageError, match="no server is known"):
        log(key=GOOD, force=True)


def test_the_settings_are_warned_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with settings and files is said, as init() says it."""
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nnonsense = 1", encoding="utf-8")
    (Path.home() / ".netrc").mkdir()
    log()

    said = capsys.readouterr().err
    assert "nonsense" in said
    assert "The netrc file" in said


# -------------------------------------------------------------------------------------------------------- secrets


def test_no_key_is_shown(dialog: Dialog, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what is printed nor any repr holds a key."""
    dialog("2", GOOD)
    log()
    log(key=GOOD, anonymous="must")
    words = LoginWords(key=GOOD)
    answer = AnonymousAnswer(GUEST)
    captured = capsys.readouterr()

    for text in (captured.out, captured.err, repr(words), repr(answer), repr(default.session.login)):
        assert GOOD not in text
        assert GUEST not in text
