r"""Dead letters: what a backend refuses for good, kept where the user finds it.

Law: each refused record is a line of its own, once, with its key and the reason, and the record itself unless it
is huge; all of them are in the journal as well. What is delivered after all is taken out again. What follows a line
that a crash has cut off stands on a line of its own. Reasons come from transports, which put no secret into them.

    <run directory>/dead-letters-<name>.jsonl
    {"run_id":"ab12cd34","writer":"w1","seq":7,"reason":"too long","record":{"type":"row",…}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from corelib.errors import UsageError
from corelib.pure.records import Record
from corelib.pure.wire import encode
from corelib.shell.cursor import file_label

__all__ = ["DeadLetters"]

_MOST_RECORD_BYTES: Final = 1 << 20  # larger ones are named only
_NUMBERS_KEPT: Final = 100_000  # more than a batch holds: only what is in the last one may come again


class DeadLetters:
    """The dead letters of one run and one transport. Used by one delivery at a time.

    Args:
        directory: the run directory.
        name: what the transport is called.
        run_id: the run.
    """

    def __init__(self, directory: str, name: str, run_id: str) -> None:
        self.path = os.path.join(directory, f"dead-letters-{file_label(name)}.jsonl")
        self._run_id = run_id
        self._seqs: dict[str, _Numbers] | None = None
        self._refused_whole = False

    def add(self, writer: str | None, records: Sequence[Record], reason: str) -> None:
        """Append records of one writer that are refused; those that are there already are passed over.

        No writer and no records: the whole run is refused.

        Raises:
            OSError: not all could be written.
        """
        if writer is None:
            self.add_run(reason)
            return
        known = self._known().setdefault(writer, _Numbers())
        new = [record for record in records if record.seq not in known]
        for record in new:
            known.add(record.seq)
        self._append(b"".join(_letter(self._run_id, writer, record, reason) for record in new))

    def add_run(self, reason: str) -> None:
        """Append that the whole run is refused.

        Raises:
            OSError: it could not be written.
        """
        self._known()
        if not self._refused_whole:
            self._refused_whole = True
            self._append(_line({"run_id": self._run_id, "writer": None, "seq": None, "reason": reason}))

    def standing(self) -> Mapping[tuple[str, int], str]:
        """Return why each refused record was refused, by writer and seq.

        Files that cannot be read have no letters. Nothing here tells which record may be sent again.
        """
        found: dict[tuple[str, int], str] = {}
        try:
            with open(self.path, "rb") as file:
                for line in file:
                    letter = _read(line)
                    if letter is not None and letter.writer is not None:
                        found[letter.writer, letter.seq] = letter.reason
        except OSError:
            return found
        return found

    def take_back(self, writer: str, records: Sequence[Record]) -> None:
        """Take out the letters of records that are delivered after all; without any letter left there is no file.

        Raises:
            OSError: the file cannot be rewritten; it stays as it was.
        """
        gone = {(writer, record.seq) for record in records}
        temporary = self.path + ".tmp"
        with open(self.path, "rb") as file, open(temporary, "wb") as left:
            for line in file:
                letter = _read(line)
                if letter is None or (letter.writer, letter.seq) not in gone:
                    left.write(line)
            is_empty = not left.tell()
        if is_empty:
            os.unlink(temporary)
            os.unlink(self.path)
        else:
            os.replace(temporary, self.path)
        self._seqs = None

    def _append(self, data: bytes) -> None:
        if data:
            with open(self.path, "ab") as file:
                if file.tell() and not _ends_a_line(self.path):
                    data = b"\n" + data
                file.write(data)

    def _known(self) -> dict[str, _Numbers]:
        """Return which records of each writer are there: after a crash they may come again."""
        if self._seqs is None:
            self._seqs = {}
            try:
                with open(self.path, "rb") as file:
                    for line in file:
                        self._learn(line, self._seqs)
            except FileNotFoundError:
                pass  # nothing was refused yet
        return self._seqs

    def _learn(self, line: bytes, seqs: dict[str, _Numbers]) -> None:
        letter = _read(line)
        if letter is None:
            return  # cut off by a crash; its record comes again
        if letter.writer is None:
            self._refused_whole = True
        else:
            seqs.setdefault(letter.writer, _Numbers()).add(letter.seq)


class _Numbers:
    """Numbers of records, growing from batch to batch: of what is long past only that it is past is kept."""

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._past = -1

    def __contains__(self, seq: int) -> bool:
        return seq <= self._past or seq in self._recent

    def add(self, seq: int) -> None:
        self._recent.add(seq)
        if len(self._recent) >= 2 * _NUMBERS_KEPT:
            ordered = sorted(self._recent)
            self._past = ordered[-_NUMBERS_KEPT - 1]
            self._recent = set(ordered[-_NUMBERS_KEPT:])


class _Letter(NamedTuple):
    """One line: the record, which is all of the run where there is no writer, and why it is refused."""

    writer: str | None
    seq: int
    reason: str


def _read(line: bytes) -> _Letter | None:
    """Read a line; None: it is none of ours."""
    import json

    try:
        letter = json.loads(line)
        writer, seq, reason = letter["writer"], letter["seq"], letter["reason"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    if isinstance(writer, str) and isinstance(seq, int):
        return _Letter(writer, seq, str(reason))
    return _Letter(None, -1, str(reason)) if writer is None else None


def _letter(run_id: str, writer: str, record: Record, reason: str) -> bytes:
    letter: dict[str, Any] = {"run_id": run_id, "writer": writer, "seq": record.seq, "reason": reason}
    try:
        payload = encode(record)
    except UsageError:  # it was read from a journal, so this cannot be; a dead letter is no place to insist
        return _line(letter)
    if len(payload) > _MOST_RECORD_BYTES:
        return _line(letter)
    # The record is JSON already, and exact: numbers of any length, texts of any kind.
    return _line(letter)[:-2] + b',"record":' + payload + b"}\n"


def _line(letter: dict[str, Any]) -> bytes:
    import json

    return json.dumps(letter, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _ends_a_line(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
