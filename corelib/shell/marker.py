"""The resume file: `{"run_id": "<id>"}`, which names the run that `resume="auto"` continues on this machine.

Law: at any moment, also after a kill or a power cut, the file is absent or whole. What cannot be used is reported as
`Corrupt`, never raised: a broken resume file must not stop a training run. It is removed for the sake of a run only if
it names that run; another process may replace it between that look and the removal, which then takes the newer one.
"""

from __future__ import annotations

import os
from threading import get_ident
from typing import Final

from corelib.errors import UsageError
from corelib.pure.ids import check_run_id
from corelib.pure.resume_events import Corrupt

__all__ = ["MarkerFile"]

_MOST_BYTES: Final = 1 << 16  # an id has at most 200 bytes: more is not a resume file


class MarkerFile:
    """The resume file at `path`; nothing is touched before a method is called."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)

    def read(self) -> str | Corrupt | None:
        """Return the id that the file names, None if it is absent, or why it cannot be used."""
        try:
            with open(self._path, "rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            return Corrupt(f"it cannot be read: {error.strerror}")
        if len(content) > _MOST_BYTES:
            return Corrupt(f"it has more than {_MOST_BYTES} bytes")
        return _parsed(content)

    def write(self, run_id: str) -> None:
        """Let the file name `run_id`, whatever stood there.

        Raises:
            OSError: it cannot be written; it stands as it was.
        """
        import orjson

        # The run directory of this process stands beside it already, so the directory is there.
        temporary = f"{self._path}.{os.getpid()}-{get_ident()}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(orjson.dumps({"run_id": run_id}))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
        except BaseException:  # a Ctrl-C leaves nothing beside it either
            _unlink(temporary)
            raise
        _sync_directory(os.path.dirname(self._path) or os.curdir)

    def remove(self, run_id: str | None) -> None:
        """Remove the file if it names `run_id`; None: whatever it names.

        Raises:
            OSError: it cannot be removed.
        """
        # A read-only file system refuses also to remove what is not there.
        if os.path.lexists(self._path) if run_id is None else self.read() == run_id:
            _unlink(self._path)


def _parsed(content: bytes) -> str | Corrupt:
    import orjson

    try:
        tree = orjson.loads(content)
    except orjson.JSONDecodeError:
        return Corrupt("it is not JSON")
    if not isinstance(tree, dict):
        return Corrupt("it is not a JSON object")
    try:
        return check_run_id(tree.get("run_id"))
    except UsageError as error:
        return Corrupt(f"its run_id cannot be used: {str(error).rstrip('.')}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # somebody else removed it first, which is what was wanted


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
