"""What a started program has of the one that starts it: what it is handed, and nothing else."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from corelib.shell.spawn import PARENT_FD, handle_on, private_pipe, scrubbed, spawn_python

LOOK = (
    "import corelib, json, os, signal; print(json.dumps({"
    "'files': [os.readlink(f'/proc/self/fd/{fd}') for fd in range(64) if os.path.lexists(f'/proc/self/fd/{fd}')],"
    "'session': os.getsid(0), 'pid': os.getpid(), 'environ': dict(os.environ), 'argv': sys.argv, 'path': sys.path,"
    "'stdin': sys.stdin.read(), 'stderr': os.readlink('/proc/self/fd/2'), 'corelib': corelib.__file__,"
    "'sigint': signal.getsignal(signal.SIGINT) is signal.default_int_handler,"
    "'blocked': [int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, [])]}))"
)
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


def look(environment: dict[str, str]) -> dict[str, Any]:
    """Start a program that says what it sees."""
    to, back = private_pipe(), private_pipe()
    pid = spawn_python(
        sys.executable, LOOK, label="a-label", environment=environment, stdin=to[0], stdout=back[1]
    )
    os.close(to[0])
    os.close(back[1])
    os.write(to[1], b"said")
    os.close(to[1])
    with open(back[0], "rb") as answer:
        data = answer.read()
    os.waitpid(pid, 0)
    seen: dict[str, Any] = json.loads(data)
    return seen


@linux
def test_a_program_has_what_it_is_handed(tmp_path: Path) -> None:
    """Its input, its environment, a label, this package; no terminal, no open file, no signal mask of ours."""
    open_file = os.open(tmp_path / "held", os.O_CREAT | os.O_RDWR)
    seen = look({"LANG": "C.UTF-8"})
    os.close(open_file)
    import corelib

    assert seen["stdin"] == "said"
    assert seen["session"] == seen["pid"] != os.getsid(0)
    assert set(seen["environ"]) <= {"LANG", "LC_CTYPE"}
    assert seen["argv"][2] == "a-label"
    assert seen["stderr"] == os.devnull
    assert Path(seen["corelib"]) == Path(corelib.__file__)
    assert os.getcwd() not in seen["path"]
    assert "" not in seen["path"]
    assert seen["sigint"]
    assert seen["blocked"] == []
    assert not any("held" in name for name in seen["files"])


@linux
def test_a_program_may_have_a_handle_on_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands where no standard stream can take its place, and is asked for by this process, which is there."""
    low = os.open(os.devnull, os.O_RDONLY)
    free = os.dup(low)
    os.close(low)
    monkeypatch.setattr(os, "pidfd_open", lambda pid: os.dup2(free, low))
    moved = handle_on(os.getpid())
    monkeypatch.undo()
    handle = handle_on(os.getpid())
    assert handle is not None
    assert moved is not None
    assert min(handle, moved) > PARENT_FD
    to, back = private_pipe(), private_pipe()
    code = "import os, signal; signal.pidfd_send_signal(3, 0); os.write(1, os.readlink('/proc/self/fd/3').encode())"
    pid = spawn_python(
        sys.executable, code, label="x", environment={}, stdin=to[0], stdout=back[1], parent=handle
    )
    os.close(back[1])
    with open(back[0], "rb") as answer:
        assert b"pidfd" in answer.read()
    os.waitpid(pid, 0)
    for fd in (*to, handle, moved, free):
        os.close(fd)


def test_nobody_has_a_handle_on_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither on a process that is gone, nor where there are no handles."""
    assert handle_on(2**22 + 1) is None
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert handle_on(os.getpid()) is None


@linux
def test_where_sessions_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose spawn knows no sessions starts the program all the same."""
    spawn = os.posix_spawn

    def old(*arguments: Any, **options: Any) -> int:
        if "setsid" in options:
            raise NotImplementedError
        return spawn(*arguments, **options)

    monkeypatch.setattr(os, "posix_spawn", old)

    assert look({})["stdin"] == "said"


@pytest.mark.parametrize("executable", ["", "/nonexistent/python"])
def test_no_program_is_an_error(executable: str) -> None:
    """Where there is nothing to start, whoever starts it learns that at once."""
    with pytest.raises(OSError):  # noqa: PT011  whichever kind the system has
        spawn_python(executable, "pass", label="x", environment={}, stdin=0, stdout=1)


def test_pipes_are_private() -> None:
    """No program that somebody else starts inherits them, and none takes the place of a standard stream."""
    saved = os.dup(0)
    os.close(0)
    try:
        ends = private_pipe()
    finally:
        os.dup2(saved, 0)
        os.close(saved)

    assert all(fd > 2 for fd in ends)
    assert not any(os.get_inheritable(fd) for fd in ends)
    os.write(ends[1], b"x")
    assert os.read(ends[0], 1) == b"x"
    for fd in ends:
        os.close(fd)


def test_no_secret_is_in_the_environment() -> None:
    """Our own settings go, and whatever holds the key under whichever name; all else stays."""
    key = "k" * 40
    environ = {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy:3128",
        "REQUESTS_CA_BUNDLE": "/etc/ca.pem",
        "WANDB_API_KEY": key,
        "WANDB_MODE": "online",
        "PYTHONPATH": "/x",
        "MYTOOL_API_KEY": key,
        "ALL_OF_IT": f"--key={key}",
        "SHORT": "kkkk",
    }

    assert set(scrubbed(environ, [key, "kkkk", ""])) == {"PATH", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "SHORT"}
