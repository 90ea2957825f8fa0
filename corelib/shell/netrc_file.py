"""The netrc file on disk: where `login()` keeps a key, and the only file that ever holds one.

Law: the file is replaced whole or not at all, nobody but its owner can read it, and every byte that is not the password
of this server stays as it was. A symbolic link stays one, and what is no regular file is never replaced. Two logins
at once both arrive; nobody who holds the lock is waited for without end.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from errno import EACCES, EAGAIN, EINVAL, ETIMEDOUT
from stat import S_IMODE, S_ISDIR, S_ISREG
from time import monotonic, sleep
from typing import Final

from corelib.errors import UsageError
from corelib.pure.credentials import check_key_format
from corelib.pure.netrc import machines, with_password
from corelib.shell.keys import netrc_paths, read_netrc

__all__ = ["store_key"]

_MODE: Final = 0o600
_BYTE_ORDER_MARK: Final = "\ufeff"
_LONGEST_WAIT_S: Final = 10.0  # for another login, which takes milliseconds
_LOOK_EVERY_S: Final = 0.05


def store_key(url: str, key: str, environ: Mapping[str, str] | None = None) -> str:
    """Keep a key in the netrc file, for the server at `url`; return the path of the file.

    Args:
        url: a valid `base_url`. The entry is for its host, with the port if it names one.
        key: the key.
        environ: the environment, by default the process's own as it is now.

    Raises:
        AuthenticationError: it is no key; the file is unchanged.
        UsageError: the file cannot be read, understood or written; it is unchanged.
    """
    check_key_format(key)
    path = _chosen(netrc_paths(os.environ if environ is None else environ))
    target = os.path.realpath(path)
    try:
        with _alone_in(os.path.dirname(target)):
            text = _text(target)
            mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
            written = mark + with_password(text[len(mark) :], machines(url)[0], key)
            if written != text or S_IMODE(os.stat(target).st_mode) != _MODE:
                _replace(target, written)
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror or "?"
        raise UsageError(
            f"The key cannot be kept in {path}: {reason}. Mend that, or name another file with NETRC."
        ) from None  # the error of decoding holds the file's bytes
    return path


def _chosen(paths: tuple[str, ...]) -> str:
    return next((path for path in paths if os.path.exists(path)), paths[0])


def _text(path: str) -> str:
    """Return the text of the file with its line ends as they are, "" if there is none yet.

    Raises:
        OSError: it cannot be read, or is something that must not be replaced by a file.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return ""
    if not S_ISREG(mode) and not S_ISDIR(mode):
        raise OSError(EINVAL, "it is no regular file")
    return read_netrc(path).decode()


@contextmanager
def _alone_in(directory: str) -> Iterator[None]:
    """Keep other logins out while the file is read and replaced. The lock is on the directory: no file stays behind.

    Raises:
        OSError: somebody else holds the lock and does not let go.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: str) -> None:
    deadline = monotonic() + _LONGEST_WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (EAGAIN, EACCES):
                return  # some network file systems have no locks; two logins at one moment are rare
        else:
            return
        if monotonic() >= deadline:
            raise OSError(
                ETIMEDOUT, f"another program has held the lock of {directory} for {_LONGEST_WAIT_S:g} s"
            )
        sleep(_LOOK_EVERY_S)


def _replace(path: str, text: str) -> None:
    """Put a file with this text in the place of another, readable by its owner alone from the first moment."""
    fd, temporary = tempfile.mkstemp(prefix=".netrc-", dir=os.path.dirname(path))
    try:
        with open(fd, "w", encoding="utf-8", newline="") as file:
            os.fchmod(fd, _MODE)
            _keep_owner(fd, path)
            file.write(text)
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _keep_owner(fd: int, path: str) -> None:
    """Give the file to the owner of the old one: what root writes into a user's home stays the user's."""
    try:
        old = os.stat(path)
    except FileNotFoundError:
        return
    new = os.fstat(fd)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(fd, old.st_uid, old.st_gid)
