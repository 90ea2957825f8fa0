"""How files get to the server: addresses are asked for in one request, then each file goes to its own.

Law: bytes go to the address that the server gave, with the headers it asked for and nothing else of ours. A file
that fails goes behind the others and gets a fresh address, for addresses expire; it is refused when it was tried so
many times. Where the place that takes files is down or busy, that counts against the place: after so many failures
in a row all files that wait are refused, and later ones get one attempt, until one succeeds. So does a server that
gives no addresses. A file that changes while it is on its way goes once more. Files never hold rows up at all: when
they are sent, `transports.wandb_lanes` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from transports.wandb_exchange import HttpFailure, HttpRequest, HttpResult, LocalFile, Verdict, is_place_down
from transports.wandb_graphql import RunName, Slot, create_files_request
from transports.wandb_stream import Key, Refusal

__all__ = ["Moved", "Upload", "Uploads"]


class Upload(NamedTuple):
    """One file to send: its name among the run's files, its bytes, and the record that asks for it, if one does.

    `changed_ns` tells it from what was there under the same name before.
    """

    name: str
    source: bytes | LocalFile
    key: Key | None = None
    changed_ns: int = 0


class Moved(NamedTuple):
    """What an answer has led to.

    Args:
        uploaded: the name of the file that is there now.
        refusals: what is refused.
        rest: why nothing more should be sent for a while.
        broken: a file that was not as it had been told, and how: somebody has to look again.
    """

    uploaded: str | None = None
    refusals: tuple[Refusal, ...] = ()
    rest: Verdict | None = None
    broken: tuple[Upload, str] | None = None


class Uploads:
    """What is to be uploaded. A later upload of the same name replaces one that waits."""

    def __init__(self, base_url: str, tries: int) -> None:
        self._base_url = base_url
        self._most_tries = tries
        self._waiting: dict[str, Upload] = {}
        self._addressed: dict[str, Slot] = {}
        self._under_way: dict[str, Upload] = {}
        self._tries: dict[str, int] = {}
        self._in_a_row = 0  # failures of the place that takes files
        self._unanswered = 0  # failures of the question for addresses
        self._failed: dict[str, None] = {}  # since all that wait were tried
        self._given_up: list[Upload] = []
        self._given_up_for = ""
        self._setback = Verdict("slowly")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files that wait."""
        return tuple(self._waiting)

    def ask(self, upload: Upload) -> None:
        """Have a file uploaded; one that waits as it is waits on."""
        waiting = self._waiting.get(upload.name)
        if waiting is not None and waiting.source == upload.source:
            if self._under_way.get(upload.name) is not waiting:
                self._waiting[upload.name] = upload  # it is read when it is sent
                return
            if waiting.changed_ns == upload.changed_ns:
                return
        self._addressed.pop(upload.name, None)
        self._failed.pop(upload.name, None)
        self._waiting[upload.name] = upload

    def forgive(self) -> None:
        """Forget earlier failures: there will be no later chance."""
        self._in_a_row = self._unanswered = 0
        self._tries.clear()

    def next_request(self, run: RunName) -> HttpRequest | None:
        """Return what to send next; None if nothing waits."""
        upload = self.next_upload()
        if upload is not None:
            return upload
        names = tuple(name for name in self._waiting if name not in self._failed)
        return create_files_request(run, names) if names else None

    def next_upload(self) -> HttpRequest | None:
        """Return the next file to send that has an address, and is not on its way; it is from now on."""
        for name, slot in self._addressed.items():
            if name not in self._under_way:
                self._under_way[name] = self._waiting[name]
                return _put(self._waiting[name], slot, self._base_url)
        return None

    def stopped(self) -> None:
        """Take that nothing is on its way any more: what was not answered is sent again."""
        self._under_way.clear()

    def addressed(self, slots: Mapping[str, Slot] | Verdict) -> Moved:
        """Take the answer to the question for addresses."""
        if isinstance(slots, Verdict):
            self._unanswered += 1
            if self._unanswered < self._most_tries:
                return self._resting(slots)
            return Moved(refusals=self._give_up_all(slots.reason), rest=slots)
        self._unanswered = 0
        forgotten: list[Upload] = []
        for upload in list(self._waiting.values()):
            if upload.name in self._failed:
                continue
            slot = slots.get(upload.name)
            if slot is not None and slot.url:
                self._addressed[upload.name] = slot
                continue
            self._forget(upload.name)
            if slot is None:
                forgotten.append(upload)
        refusals = _refusals(forgotten, "the server gave no address")
        return Moved(refusals=refusals) if self._addressed else self._gone_on(refusals=refusals)

    def answered(self, verdict: Verdict, result: HttpResult) -> Moved:
        """Take the answer to the upload that has been on its way longest."""
        name = next(iter(self._under_way))
        upload = self._under_way.pop(name)
        if self._waiting.get(name) is not upload:
            return self._gone_on()  # there is a later version
        if verdict.meaning == "done":
            self._in_a_row = 0
            self._forget(name)
            return self._gone_on(uploaded=name)
        self._tries[name] = tries = self._tries.get(name, 0) + 1
        is_last = tries >= self._most_tries
        is_unusable = isinstance(result, HttpFailure) and result.kind == "unusable"
        if is_unusable and isinstance(upload.source, LocalFile) and not is_last:
            # No place is to blame, so nothing rests: of many files that are gone, each would cost a wait.
            self._forget(name)
            self._tries[name] = tries
            return self._gone_on()._replace(broken=(upload, verdict.reason))
        # An object store answers 400 for what passes, such as an address that has expired; our own disk does not.
        if is_unusable or verdict.meaning == "too large":
            self._forget(name)
            return self._gone_on(refusals=_refusals([upload], verdict.reason))
        return self._put_back(upload, verdict, result, is_last=is_last)

    def _put_back(self, upload: Upload, verdict: Verdict, result: HttpResult, *, is_last: bool) -> Moved:
        """Put a file that failed behind the others; or give it up, or all of them."""
        name = upload.name
        is_down = is_place_down(result)
        if is_down:
            self._in_a_row += 1
            if self._in_a_row >= self._most_tries:
                return Moved(refusals=self._give_up_all(verdict.reason), rest=verdict)
        tries = self._tries[name]
        self._forget(name)
        if is_last:
            self._given_up.append(upload)
            self._given_up_for = self._given_up_for or verdict.reason
        else:
            self._waiting[name], self._tries[name], self._failed[name] = upload, tries, None
        self._setback = verdict
        return self._resting(verdict) if is_down else self._gone_on()

    def _gone_on(self, *, uploaded: str | None = None, refusals: tuple[Refusal, ...] = ()) -> Moved:
        """Go on with those that were not tried yet; when all have been, rest, or be done."""
        if self._waiting.keys() - self._failed.keys():
            return Moved(uploaded, refusals)
        if not self._waiting:
            return Moved(uploaded, refusals + self._given_up_now())
        moved = self._resting(self._setback)
        return moved._replace(uploaded=uploaded, refusals=refusals + moved.refusals)

    def _resting(self, verdict: Verdict) -> Moved:
        """Rest; all that wait ask for fresh addresses after that."""
        self._addressed.clear()
        self._failed.clear()
        return Moved(refusals=self._given_up_now(), rest=verdict)

    def _given_up_now(self) -> tuple[Refusal, ...]:
        """Return, as one refusal, what was given up since the last rest."""
        given_up, self._given_up = self._given_up, []
        reason, self._given_up_for = self._given_up_for, ""
        return _refusals(given_up, reason)

    def _give_up_all(self, reason: str) -> tuple[Refusal, ...]:
        given_up = [*self._given_up, *self._waiting.values()]
        self._given_up = []
        self._given_up_for = ""
        for name in list(self._waiting):
            self._forget(name)
        return _refusals(given_up, reason)

    def _forget(self, name: str) -> None:
        del self._waiting[name]
        for known in (self._addressed, self._tries, self._failed):
            known.pop(name, None)


def _put(upload: Upload, slot: Slot, base_url: str) -> HttpRequest:
    url = slot.url or ""
    return HttpRequest(
        method="PUT",
        target=f"{base_url}{url}" if url.startswith("/") else url,
        operation=f"upload of {upload.name}",
        headers=slot.headers,
        body=upload.source,
    )


def _refusals(uploads: Iterable[Upload], reason: str) -> tuple[Refusal, ...]:
    """Return one refusal for all these files: one line for people, however many they are."""
    given_up = tuple(uploads)
    if not given_up:
        return ()
    names = f"{len(given_up)} files were" if len(given_up) > 1 else f"{given_up[0].name} was"
    keys = tuple(upload.key for upload in given_up if upload.key is not None)
    about = tuple(upload.name for upload in given_up)
    return (Refusal(keys, f"{names} not uploaded: {reason}", about),)
