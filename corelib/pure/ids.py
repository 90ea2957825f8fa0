"""Names of runs: ids from given entropy, and what an id, a project and an entity may be called.

Law: a name that passes its check is safe as one segment of a run path and of a URL; a run id is also safe as
part of a directory name. The checks return the text unchanged, never a repaired one.
"""

from __future__ import annotations

import re
from typing import Final

from corelib.errors import UsageError, UsageTypeError

__all__ = [
    "ENTROPY_BYTES",
    "RUN_ID_ALPHABET",
    "RUN_ID_LENGTH",
    "check_entity",
    "check_project",
    "check_run_id",
    "generate_run_id",
    "run_path",
    "run_url",
    "url_segment",
]

RUN_ID_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
RUN_ID_LENGTH: Final = 8
ENTROPY_BYTES: Final = 32
"""How many bytes `generate_run_id` should be given: fewer than 8 of 32 are usable once in 10^38 calls."""

_LONGEST_NAME: Final = 128
# A folder name holds 28 characters of its own, the id and perhaps a collision suffix; 255 bytes are allowed.
_LONGEST_RUN_ID_BYTES: Final = 200
_FAIR_BYTES: Final = 256 - 256 % len(RUN_ID_ALPHABET)

_RUN_ID_FORBIDDEN: Final = frozenset(":;,#?/\\%'")
_PROJECT_FORBIDDEN: Final = frozenset("/\\#?%:")
_ENTITY_FORBIDDEN: Final = frozenset("/")
_CONTROLS: Final = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~")


def generate_run_id(entropy: bytes) -> str:
    """Return a run id: 8 characters of [0-9a-z], each equally likely if the bytes of `entropy` are.

    Args:
        entropy: random bytes, `ENTROPY_BYTES` of them. The same bytes give the same id.

    Raises:
        UsageError: too few of the bytes could be used.
    """
    # A byte of 252 or more would make the first four characters likelier than the rest, so it is passed over.
    size = len(RUN_ID_ALPHABET)
    characters = [RUN_ID_ALPHABET[byte % size] for byte in entropy if byte < _FAIR_BYTES][:RUN_ID_LENGTH]
    if len(characters) < RUN_ID_LENGTH:
        raise UsageError(
            f"{len(entropy)} random bytes were too few for a run id of {RUN_ID_LENGTH} characters: "
            f"give {ENTROPY_BYTES}."
        )
    return "".join(characters)


def check_run_id(text: object) -> str:
    r"""Return a run id that may be used as it is.

    Raises:
        UsageTypeError: it is not a text.
        UsageError: it is empty, longer than 128 characters or 200 bytes, starts with a dot, has white space
            around it, or holds a control character or one of ``: ; , # ? / \ % '``.
    """
    name = _check_text("Invalid run id", text)
    _check_characters("Invalid run id", name, _RUN_ID_FORBIDDEN)
    _check_edges("Invalid run id", name)
    if name.startswith("."):
        raise UsageError(f"Invalid run id {name!r}: it names a directory, so it must not start with a dot.")
    if len(name.encode()) > _LONGEST_RUN_ID_BYTES:
        raise UsageError(
            f"Invalid run id {name[:20]!r}…: it names a directory, "
            f"so it may have at most {_LONGEST_RUN_ID_BYTES} bytes in UTF-8."
        )
    return name


def check_project(text: object) -> str:
    r"""Return a project name that may be used as it is.

    Raises:
        UsageTypeError: it is not a text.
        UsageError: it is empty, longer than 128 characters, `.` or `..`, or holds a control character or one
            of ``/ \ # ? % :``.
    """
    name = _check_text("Invalid project name", text)
    _check_characters("Invalid project name", name, _PROJECT_FORBIDDEN)
    return name


def check_entity(text: object) -> str:
    """Return an entity (user or team) name that may be used as it is.

    Raises:
        UsageTypeError: it is not a text.
        UsageError: it is empty, longer than 128 characters, `.` or `..`, has white space around it, or holds
            a slash or a control character.
    """
    name = _check_text("Invalid entity name", text)
    _check_characters("Invalid entity name", name, _ENTITY_FORBIDDEN)
    _check_edges("Invalid entity name", name)
    return name


def run_path(entity: str | None, project: str | None, run_id: str | None) -> str:
    """Return ``entity/project/run_id``; parts that are missing or empty are left out."""
    return "/".join(part for part in (entity, project, run_id) if part)


def run_url(app_url: str | None, entity: str | None, project: str | None, run_id: str) -> str | None:
    """Return the address of a run's page, or None while a part of it is not known."""
    if not (app_url and entity and project):
        return None
    return f"{app_url}/{url_segment(entity)}/{url_segment(project)}/runs/{url_segment(run_id)}"


def url_segment(text: str) -> str:
    """Return a text percent-encoded so that it is one segment of a URL's path, whatever it holds.

    The same as `urllib.parse.quote(text, safe="")`, which costs a new process several milliseconds of import.
    """
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def _check_text(what: str, text: object) -> str:
    if not isinstance(text, str):
        raise UsageTypeError(f"{what}: it must be a text, not {type(text).__name__}.")
    if not text:
        raise UsageError(f"{what}: it must not be empty.")
    if len(text) > _LONGEST_NAME:
        raise UsageError(
            f"{what} {text[:20]!r}…: it has {len(text)} characters, at most {_LONGEST_NAME} are allowed."
        )
    return text


def _check_characters(what: str, name: str, forbidden: frozenset[str]) -> None:
    found = sorted(forbidden.intersection(name))
    if found:
        raise UsageError(f"{what} {name!r}: it must not hold {' '.join(found)}")
    if name in {".", ".."}:
        raise UsageError(f"{what} {name!r}: in a path or a URL it would mean another place.")
    if not name.isprintable() and re.search(_CONTROLS, name):
        raise UsageError(f"{what} {name!r}: it must not hold control characters or broken Unicode.")


def _check_edges(what: str, name: str) -> None:
    if name != name.strip():
        raise UsageError(f"{what} {name!r}: it must not have white space at its ends.")
