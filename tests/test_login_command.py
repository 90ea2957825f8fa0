"""`corelib login`, as a person, a pipe and a script use it, against a server on a real socket."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corelib import cli
from corelib.commands import login as login_command
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import WandbServer, serve

__all__ = ["wandb_server"]

WRONG = "f" * 40


class Spoken(NamedTuple):
    """How a command ended, and all that was to be seen."""

    status: int
    seen: str


def piped(url: str, words: Sequence[str] = (), said: str = "") -> Spoken:
    """Run `corelib login` with standard input from a pipe, where runs go to that server."""
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "login", "--host", url, *words],
        input=said,
        env={**os.environ, "WANDB_BASE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    return Spoken(done.returncode, done.stdout + done.stderr)


def typed(url: str, dialog: Sequence[tuple[str, str]], words: Sequence[str] = ()) -> Spoken:
    """Run `corelib login` on a terminal of its own; type each answer when its question is to be seen."""
    child, screen = pty.fork()
    if child == 0:
        try:
            os.environ["WANDB_BASE_URL"] = url
            os.execv(  # noqa: S606  there is no shell to start it with
                sys.executable, [sys.executable, "-m", "corelib", "login", "--host", url, *words]
            )
        finally:
            os._exit(127)
    seen, answers = "", list(dialog)
    while True:
        ready, _, _ = select.select([screen], [], [], 30)
        assert ready, f"nothing more is to be seen after {seen!r}"
        try:
            data = os.read(screen, 4096)
        except OSError:  # how Linux says that the other side is gone
            break
        if not data:
            break
        seen += data.decode()
        if answers and seen.endswith(answers[0][0]):
            os.write(screen, answers.pop(0)[1].encode())
    os.close(screen)
    _, status = os.waitpid(child, 0)
    assert answers == []
    return Spoken(os.waitstatus_to_exitcode(status), seen)


def entry(url: str, key: str) -> str:
    return f"machine {url.removeprefix('http://')}\n  login user\n  password {key}\n"


@pytest.fixture(name="netrc")
def _netrc() -> Path:
    return Path.home() / ".netrc"


def test_a_key_from_a_pipe(wandb_server: WandbServer, netrc: Path) -> None:
    """A key on standard input is verified and kept, exit code 0, and it is nowhere to be seen."""
    spoken = piped(wandb_server.url, said=f"{wandb_server.key}\n")

    assert spoken.status == 0
    assert netrc.read_text(encoding="utf-8") == entry(wandb_server.url, wandb_server.key)
    assert "as bob" in spoken.seen
    assert wandb_server.key not in spoken.seen


@pytest.mark.case("login-key-rejected-netrc")
def test_a_rejected_key_from_a_pipe(wandb_server: WandbServer, netrc: Path) -> None:
    """A key that the server rejects ends with 1 and is kept nowhere."""
    wandb_server.allow("wrong-key")
    spoken = piped(wandb_server.url, said=WRONG)

    assert spoken.status == 1
    assert "rejected the API key" in spoken.seen
    assert WRONG not in spoken.seen
    assert not netrc.exists()


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ("short", 1, "too short"),
        ("two words", 2, "nothing else"),
        ("", 1, "no key was given"),
    ],
)
def test_what_is_no_key(wandb_server: WandbServer, netrc: Path, said: str, status: int, text: str) -> None:
    """Nothing, several words, and what cannot be a key, are told apart, and nothing is sent."""
    spoken = piped(wandb_server.url, said=said)

    assert spoken.status == status
    assert text in spoken.seen
    assert wandb_server.requests() == []
    assert not netrc.exists()


def test_a_key_is_typed(wandb_server: WandbServer, netrc: Path) -> None:
    """A person chooses, types, is refused, types again; no key is to be seen, and the exit code is 0."""
    wandb_server.allow("wrong-key")
    spoken = typed(
        wandb_server.url,
        [
            ("Your choice: ", "2\n"),
            ("hidden): ", "oops\n"),
            ("hidden): ", f"{WRONG}\n"),
            ("Your choice: ", "2\n"),
            ("hidden): ", f"{wandb_server.key}\n"),
        ],
    )

    assert spoken.status == 0
    assert netrc.read_text(encoding="utf-8") == entry(wandb_server.url, wandb_server.key)
    assert netrc.stat().st_mode & 0o777 == 0o600
    assert "oops" not in spoken.seen
    assert WRONG not in spoken.seen
    assert wandb_server.key not in spoken.seen


@pytest.mark.case("login-prompt-offline-choice")
@pytest.mark.parametrize("answer", ["3\n", "\x04"])
def test_nobody_logs_in(wandb_server: WandbServer, netrc: Path, answer: str) -> None:
    """Whoever declines, or ends the input, is told so, with exit code 1."""
    spoken = typed(wandb_server.url, [("Your choice: ", answer)])

    assert spoken.status == 1
    assert "recorded on this machine only" in spoken.seen
    assert not netrc.exists()


def test_an_interrupt(wandb_server: WandbServer) -> None:
    """Ctrl-C at the hidden question ends with 130, and the terminal shows again what is typed."""
    spoken = typed(wandb_server.url, [("Your choice: ", "2\n"), ("hidden): ", "\x03")])

    assert spoken.status == 130
    assert "Traceback" not in spoken.seen


def test_a_key_that_is_there(wandb_server: WandbServer, netrc: Path) -> None:
    """Without a new key the one in the netrc file is verified, unless told otherwise; --relogin asks anew."""
    wandb_server.allow("wrong-key")
    netrc.write_text(entry(wandb_server.url, WRONG), encoding="utf-8")

    assert piped(wandb_server.url, ["--no-verify"]).status == 0
    assert wandb_server.requests() == []
    assert piped(wandb_server.url).status == 1
    assert piped(wandb_server.url, ["--no-verify", "--relogin"]).status == 1
    spoken = typed(
        wandb_server.url,
        [("Your choice: ", "2\n"), ("hidden): ", f"{wandb_server.key}\n")],
        ["--relogin"],
    )
    assert spoken.status == 0
    assert netrc.read_text(encoding="utf-8") == entry(wandb_server.url, wandb_server.key)


def test_anonymous(netrc: Path) -> None:
    """--anonymous must asks the server for a key, and says so where it offers none."""
    with serve(anonymous=True) as server:
        assert piped(server.url, ["--anonymous", "must"]).status == 0
        assert server.url.removeprefix("http://") in netrc.read_text(encoding="utf-8")
    with serve() as server:
        spoken = piped(server.url, ["--anonymous", "must"])
        assert spoken.status == 1
        assert "offers no keys without an account" in spoken.seen


def test_a_key_that_cannot_be_kept(wandb_server: WandbServer, netrc: Path) -> None:
    """Where the netrc file cannot be written, the command has not done what it is for: exit code 1."""
    netrc.mkdir()
    spoken = piped(wandb_server.url, said=wandb_server.key)

    assert spoken.status == 1
    assert "cannot be kept" in spoken.seen


def test_a_server_that_is_down(netrc: Path) -> None:
    """A server that does not answer leaves nothing behind but the reason: exit code 1."""
    with serve() as server:
        server.stop_listening()
        spoken = piped(server.url, said=server.key)

    assert spoken.status == 1
    assert "did not answer" in spoken.seen
    assert not netrc.exists()


@pytest.mark.parametrize("set_to", [None, "http://elsewhere", "the server/"])
def test_where_runs_go(wandb_server: WandbServer, netrc: Path, set_to: str | None) -> None:
    """Exit code 0 promises that later runs find the key: where they go elsewhere it is 1, and what to set is said."""
    environment = dict(os.environ)
    if set_to is not None:
        environment["WANDB_BASE_URL"] = set_to.replace("the server", wandb_server.url)
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "login", "--host", f"{wandb_server.url}/"],
        input=wandb_server.key,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert netrc.read_text(encoding="utf-8") == entry(wandb_server.url, wandb_server.key)
    if set_to == "the server/":
        assert (done.returncode, "export" in done.stderr) == (0, False)
        return
    assert done.returncode == 1
    assert f"`export WANDB_BASE_URL={wandb_server.url}`" in done.stderr
    assert f"`base_url = {wandb_server.url}`" in done.stderr
    instead = "base_url is not set" if set_to is None else f"base_url is {set_to} (WANDB_BASE_URL)"
    assert instead in done.stderr


def test_a_settings_file_says_where_runs_go(wandb_server: WandbServer) -> None:
    """The settings file that the command names is one way to keep its promise."""
    settings = Path.home() / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[default]\nbase_url = {wandb_server.url}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "login", "--host", wandb_server.url],
        input=wandb_server.key,
        text=True,
        check=False,
    )

    assert done.returncode == 0


@pytest.mark.parametrize("found", [False, True])
def test_a_pipe_that_nobody_writes_to(
    wandb_server: WandbServer, netrc: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    """A silent pipe, as a job inherits one, holds nobody up: the key that is there is used, or there is none."""
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setattr(login_command, "_LONG_WAIT_S", 0.2)
    monkeypatch.setattr(login_command, "_SHORT_WAIT_S", 0.2)
    if found:
        netrc.write_text(entry(wandb_server.url, wandb_server.key), encoding="utf-8")
    read, write = os.pipe()
    with open(read, encoding="utf-8") as silent, open(write, "wb"):
        monkeypatch.setattr(sys, "stdin", silent)
        assert cli.main(["login"]) == (0 if found else 1)
    assert len(wandb_server.requests()) == found


@pytest.mark.parametrize("rest", ["", "\n"])
def test_a_pipe_that_stays_open(
    wandb_server: WandbServer, netrc: Path, monkeypatch: pytest.MonkeyPatch, rest: str
) -> None:
    """A key in a pipe is read also where the other side does not close it, with a line feed or without."""
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setattr(login_command, "_SHORT_WAIT_S", 0.2)
    read, write = os.pipe()
    with open(read, encoding="utf-8") as stream, open(write, "wb", buffering=0) as writer:
        writer.write((wandb_server.key + rest).encode())
        monkeypatch.setattr(sys, "stdin", stream)
        assert cli.main(["login"]) == 0
    assert netrc.read_text(encoding="utf-8") == entry(wandb_server.url, wandb_server.key)


def test_a_writer_that_takes_its_time(
    wandb_server: WandbServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no key yet, whoever writes one may ask for a passphrase first; that we wait is said."""
    monkeypatch.setenv("WANDB_BASE_URL", wandb_server.url)
    monkeypatch.setattr(login_command, "_SHORT_WAIT_S", 0.0)
    read, write = os.pipe()
    timer = threading.Timer(0.3, lambda: os.write(write, wandb_server.key.encode() + b"\n"))
    timer.start()
    with open(read, encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert cli.main(["login"]) == 0
    timer.join()
    os.close(write)
    assert "Waiting up to 60 s for the API key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("KEY",),
        ("KEY", "--bad"),
        ("KEY", "KEY"),
        ("--anonymous", "KEY"),
        ("--bad=KEY",),
        ("--host", "KEY"),
        ("--host=KEY",),
    ],
    ids=" ".join,
)
def test_a_key_on_the_command_line_is_not_shown(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    """Whatever is wrong with the words: the log of a CI job is read by many."""
    try:
        status: Any = cli.main(["login", *(word.replace("KEY", WRONG) for word in words)])
    except SystemExit as error:
        status = error.code
    shown = capsys.readouterr()

    assert status == 2
    assert WRONG not in shown.out + shown.err
    assert "key" in shown.err


def test_a_key_is_no_argument() -> None:
    """The help says why the key is not on the command line, and one that is there is refused."""
    done = subprocess.run(
        [sys.executable, "-m", "corelib", "login", "--help"], capture_output=True, text=True, check=True
    )
    assert "shown to every user" in " ".join(done.stdout.split())
    assert piped("http://127.0.0.1:9", [WRONG]).status == 2
