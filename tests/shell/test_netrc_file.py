"""The netrc file on disk: replaced whole, readable by its owner alone, nothing else in it touched."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import AuthenticationError, UsageError
from corelib.pure.netrc import netrc_password
from corelib.shell.netrc_file import store_key

URL = "https://host:8080/pre/fix"
KEY = "k" * 40
OTHERS = "# mine \t\r\nmachine a login b password c\n\nmacdef init\nmachine host:8080 password no\n\n"
ENTRY = f"machine host:8080\n  login user\n  password {KEY}\n"


@pytest.fixture(name="netrc")
def _netrc() -> Path:
    return Path.home() / ".netrc"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture(params=[0o022, 0o000, 0o777], name="umask", ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_a_new_file(netrc: Path, umask: None) -> None:
    """Where there is no file, one is made: host with port, user, key; for its owner alone, whatever the umask."""
    assert store_key(URL, KEY) == str(netrc)

    assert netrc.read_text(encoding="utf-8") == ENTRY
    assert mode(netrc) == 0o600
    assert os.listdir(netrc.parent) == [".netrc"]


def test_what_else_is_in_the_file_stays(netrc: Path) -> None:
    """Other entries, comments, macros and line ends stay byte for byte, and the mode becomes 0600."""
    netrc.write_bytes(OTHERS.encode())
    netrc.chmod(0o644)
    store_key(URL, KEY)

    assert netrc.read_bytes().decode().startswith(OTHERS)
    assert netrc_password(netrc.read_text(encoding="utf-8"), URL) == KEY
    assert mode(netrc) == 0o600
    store_key(URL, "n" * 40)
    assert netrc.read_bytes().decode().replace("n" * 40, KEY) == OTHERS + ENTRY.replace("\n", "\r\n")


def test_a_byte_order_mark_stays(netrc: Path) -> None:
    """A file that begins with a byte order mark goes on to, and its first entry is found behind it."""
    netrc.write_bytes(b"\xef\xbb\xbfmachine host:8080 password old")
    store_key(URL, KEY)

    assert netrc.read_bytes() == b"\xef\xbb\xbfmachine host:8080 password " + KEY.encode()


def test_the_same_key_again_changes_nothing(netrc: Path) -> None:
    """A key that is there already is not written again, but its file is closed to others."""
    store_key(URL, KEY)
    before = netrc.stat()
    store_key(URL, KEY)
    assert (netrc.stat().st_ino, netrc.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    netrc.chmod(0o644)
    store_key(URL, KEY)
    assert mode(netrc) == 0o600


def test_another_place(tmp_path: Path, netrc: Path) -> None:
    """$NETRC names the file; `_netrc` is written where it is there and `.netrc` is not."""
    netrc.write_text("")
    chosen = tmp_path / "mine"

    assert store_key(URL, KEY, {"NETRC": str(chosen)}) == str(chosen)
    assert chosen.read_text(encoding="utf-8") == ENTRY
    other = tmp_path / "_netrc"
    other.write_text("")
    assert store_key(URL, KEY, {"HOME": str(tmp_path)}) == str(other)
    assert netrc.read_text(encoding="utf-8") == ""


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_stays_one(tmp_path: Path, netrc: Path, dangling: bool) -> None:
    """A file kept elsewhere, as in a repository of settings, is written there, also where it is not there yet."""
    target = tmp_path / "dotfiles" / "netrc"
    target.parent.mkdir()
    if not dangling:
        target.write_bytes(OTHERS.encode())
    netrc.symlink_to(os.path.relpath(target, netrc.parent))
    store_key(URL, KEY)

    assert netrc.is_symlink()
    assert netrc_password(target.read_text(encoding="utf-8"), URL) == KEY
    assert mode(target) == 0o600


@pytest.mark.parametrize("key", ["short", f"{KEY}\nmachine other password x", f'{KEY}"', ""])
def test_what_is_no_key_is_not_written(netrc: Path, key: str) -> None:
    """Nothing but a key gets into the file, so that no other entry can be smuggled in with one."""
    with pytest.raises(AuthenticationError):
        store_key(URL, key)

    assert not netrc.exists()


@pytest.mark.parametrize("content", [b"machine a password c \xff", b"machine a password"])
def test_a_file_that_is_not_understood_is_left_alone(netrc: Path, content: bytes) -> None:
    """A file that is no text, or breaks off, is refused with what to do, and nothing of it is repeated."""
    netrc.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        store_key(URL, KEY)

    assert netrc.read_bytes() == content
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_a_place_that_cannot_be_written(tmp_path: Path, netrc: Path) -> None:
    """A directory in the file's place, or none to put it into, is an error that names the file."""
    netrc.mkdir()
    with pytest.raises(UsageError, match=r"kept in .*/\.netrc: Is a directory"):
        store_key(URL, KEY)
    with pytest.raises(UsageError, match="missing/netrc: No such file"):
        store_key(URL, KEY, {"NETRC": str(tmp_path / "missing" / "netrc")})


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_never_replaced(tmp_path: Path, kind: str) -> None:
    """A pipe or a device that $NETRC names stays one, also for root: to replace /dev/null is to break the machine."""
    path = tmp_path / "special"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        try:  # a null device of our own: whoever breaks this law is not to break the machine
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root can make a device")
    before = path.stat()
    with pytest.raises(UsageError, match=r"kept in .*no regular file"):
        store_key(URL, KEY, {"NETRC": str(path)})

    assert path.stat() == before
    assert os.listdir(tmp_path) == ["special"]


def test_the_home_directory_in_the_name(netrc: Path) -> None:
    """A tilde in $NETRC is the home directory: no directory of that name is made."""
    chosen = netrc.parent / "mine"

    assert store_key(URL, KEY, {"HOME": str(netrc.parent), "NETRC": "~/mine"}) == str(chosen)
    assert chosen.read_text(encoding="utf-8") == ENTRY


def test_the_lock_is_not_waited_for_without_end(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock and does not let go is an error that says so, and nothing is written."""
    monkeypatch.setattr("corelib.shell.netrc_file._LONGEST_WAIT_S", 0.1)
    holder = os.open(netrc.parent, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(UsageError, match=r"another program has held the lock of .* for 0\.1 s"):
        store_key(URL, KEY)
    assert not netrc.exists()

    os.close(holder)
    assert store_key(URL, KEY) == str(netrc)


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_failure_leaves_the_old_file(netrc: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Whatever fails on the way, the file is the old one, whole, and nothing is left beside it."""
    netrc.write_bytes(OTHERS.encode())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{call}", fail)
    with pytest.raises(UsageError, match="No space left"):
        store_key(URL, KEY)

    assert netrc.read_bytes() == OTHERS.encode()
    assert os.listdir(netrc.parent) == [".netrc"]


def test_the_owner_stays(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of somebody else, as root finds one in a user's home, stays theirs."""
    netrc.write_text("")
    real, given = os.stat, []

    def stat(path: str) -> os.stat_result:
        values = list(real(path))
        values[4:6] = [1234, 5678]
        return os.stat_result(values)

    monkeypatch.setattr("os.stat", stat)
    monkeypatch.setattr("os.fchown", lambda _fd, *owner: given.append(owner))
    store_key(URL, KEY)

    assert given == [(1234, 5678)]


def test_file_systems_without_locks(netrc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no lock is to be had, the key is written without."""

    def fail(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", fail)
    store_key(URL, KEY)

    assert netrc.read_text(encoding="utf-8") == ENTRY


def test_logins_at_the_same_time_all_arrive(netrc: Path) -> None:
    """Several processes that write at once lose none of their keys."""
    code = (
        "import sys; from corelib.shell.netrc_file import store_key\n"
        "for n in range(10): store_key(f'https://h{sys.argv[1]}-{n}', 'k' * 40)"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(number)]) for number in range(4)]
    assert [child.wait() for child in children] == [0] * 4

    text = netrc.read_text(encoding="utf-8")
    found = [netrc_password(text, f"https://h{child}-{n}") for child in range(4) for n in range(10)]
    assert found == [KEY] * 40


@given(st.lists(st.tuples(st.sampled_from(("h1", "h2:80", "h3")), st.sampled_from("abc")), max_size=8))
def test_the_last_key_of_each_host_counts(
    tmp_path_factory: pytest.TempPathFactory, logins: list[tuple[str, str]]
) -> None:
    """After any sequence of logins each host has the key of its last one, in one entry."""
    path = tmp_path_factory.mktemp("netrc") / "file"
    for host, letter in logins:
        store_key(f"http://{host}", letter * 40, {"NETRC": str(path)})

    text = path.read_text(encoding="utf-8") if logins else ""
    expected = {host: letter * 40 for host, letter in logins}
    assert {host: netrc_password(text, f"http://{host}") for host in expected} == expected
    assert text.count("machine") == len(expected)
