"""How files get to the server: addresses are asked for in one request, then each file goes to its own.

Law: bytes go to the address that the server gave, with the headers it asked for and nothing else of ours. After
a failure the files that wait ask for fresh addresses: addresses expire, and a server that cannot be asked is
down, which counts against no file. Files never hold rows up for ever: after so many failures in a row all that
wait are refused, and later ones get one attempt, until one succeeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from transports.wandb_exchange import HttpFailure, HttpRequest, HttpResult, LocalFile, Verdict
from transports.wandb_graphql import RunName, Slot, create_files_request
from transports.wandb_stream import Key, Refusal

__all__ = ["Upload", "Uploads"]


class Upload(NamedTuple):
    """One file to send: its name among the run's files, its bytes, and the record that asks for it, if one does."""

    name: str
    source: bytes | LocalFile
    key: Key | None = None


class Uploads:
    """What is to be uploaded. A later upload of the same name replaces one that waits."""

    def __init__(self, base_url: str, tries: int) -> None:
        self._base_url = base_url
        self._tries = tries
        self._failures = 0
        self._waiting: dict[str, Upload] = {}
        self._addressed: dict[str, Slot] = {}

    def ask(self, upload: Upload) -> None:
        """Have a file uploaded."""
        self._addressed.pop(upload.name, None)
        self._waiting[upload.name] = upload

    def forgive(self) -> None:
        """Forget earlier failures: there will be no later chance."""
        self._failures = 0

    def next_request(self, run: RunName) -> HttpRequest | None:
        """Return what to send next; None if nothing waits."""
        for name, slot in self._addressed.items():
            return _put(self._waiting[name], slot, self._base_url)
        return create_files_request(run, tuple(self._waiting)) if self._waiting else None

    def addressed(self, slots: Mapping[str, Slot] | Verdict, result: HttpResult) -> Verdict | list[Refusal]:
        """Take the answer to the question for addresses; return what is refused, or why to try again."""
        if isinstance(slots, Verdict):
            is_down = isinstance(result, HttpFailure) or slots.meaning == "slowly"
            return slots if is_down else self._failed(slots)
        refusals: list[Refusal] = []
        for upload in list(self._waiting.values()):
            slot = slots.get(upload.name)
            if slot is not None and slot.url:
                self._addressed[upload.name] = slot
                continue
            del self._waiting[upload.name]
            if slot is None:
                refusals.append(_refusal(upload, f"the server gave no address for the file {upload.name}"))
        return refusals

    def answered(self, verdict: Verdict, result: HttpResult) -> str | Verdict | list[Refusal]:
        """Take the answer to the upload that was sent last.

        Returns the name of the file if it is there now, what is refused, or why to try again.
        """
        name = next(iter(self._addressed))
        if verdict.meaning == "done":
            self._failures = 0
            self._forget(name)
            return name
        # An object store answers 400 for what passes, such as an address that has expired; our own disk does not.
        is_hopeless = isinstance(result, HttpFailure) and verdict.meaning == "refused"
        if is_hopeless or verdict.meaning == "too large":
            upload = self._waiting[name]
            self._forget(name)
            return [_refusal(upload, verdict.reason)]
        return self._failed(verdict)

    def _forget(self, name: str) -> None:
        del self._addressed[name], self._waiting[name]

    def _failed(self, verdict: Verdict) -> Verdict | list[Refusal]:
        self._addressed.clear()
        self._failures += 1
        if self._failures < self._tries:
            return verdict
        waiting = list(self._waiting.values())
        self._waiting.clear()
        return [_refusal(upload, f"{upload.name} was not uploaded: {verdict.reason}") for upload in waiting]


def _put(upload: Upload, slot: Slot, base_url: str) -> HttpRequest:
    url = slot.url or ""
    return HttpRequest(
        method="PUT",
        target=f"{base_url}{url}" if url.startswith("/") else url,
        operation=f"upload of {upload.name}",
        headers=slot.headers,
        body=upload.source,
    )


def _refusal(upload: Upload, reason: str) -> Refusal:
    return Refusal(() if upload.key is None else (upload.key,), reason)
