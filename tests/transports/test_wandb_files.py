"""Which files are uploaded, and when; and how they get there."""

from __future__ import annotations

from typing import Any

import pytest

from transports.wandb_exchange import HttpAnswer, HttpFailure, LocalFile, Verdict
from transports.wandb_files import FileState, RunFiles
from transports.wandb_graphql import RunName, Slot
from transports.wandb_stream import Refusal
from transports.wandb_uploads import Upload, Uploads

KEY = ("w", 5)
END = ("w", 9)
RUN = RunName("ent", "p", "r")
OK, STORE_DOWN = HttpAnswer(200), HttpAnswer(503)
DONE, LATER = Verdict("done"), Verdict("later", "store: HTTP 503", 3.0)
FOUND = ("wandb-metadata.json", "requirements.txt")


def state(size: int = 3, changed: int = 1, name: str = "a") -> FileState:
    return FileState(f"/run/files/{name}", size, changed)


def looked(files: RunFiles, **found: Any) -> tuple[list[str], list[Refusal]]:
    """Look at every file that is asked for; one that is not named here is missing."""
    uploads, refusals = files.looked_at(
        {name: found.get(name, "No such file") for name in files.to_look_at()}
    )
    for upload in uploads:
        files.uploaded(upload.name)
    return [upload.name for upload in uploads], refusals


@pytest.mark.parametrize(
    ("policy", "first", "unchanged", "changed", "end"),
    [
        ("now", ["a"], [], [], []),
        ("live", ["a"], [], ["a"], []),
        ("end", [], [], [], ["a"]),
    ],
)
def test_policies(policy: str, first: Any, unchanged: Any, changed: Any, end: Any) -> None:
    """`now` goes at once, `live` at once and after each change, `end` at the end, and nothing twice in vain."""
    files = RunFiles()
    assert files.saved("a", policy, KEY) is None

    assert looked(files, a=state()) == (first, [])
    assert looked(files, a=state()) == (unchanged, [])
    assert looked(files, a=state(changed=2)) == (changed, [])
    files.end(END)
    assert looked(files, a=state(changed=2)) == (end, [])


def test_a_live_file_that_changed_goes_once_more_at_the_end() -> None:
    """What was written just before the end is not lost."""
    files = RunFiles()
    files.saved("a", "live", KEY)
    looked(files, a=state())
    files.end(END)

    assert looked(files, a=state(size=4)) == (["a"], [])


def test_uploads_name_the_record_that_asks_for_them() -> None:
    """A saved file names its record, one that goes at the end the record that ends the run."""
    files = RunFiles()
    files.saved("a", "now", KEY)
    files.saved("b", "end", ("w", 6))
    uploads, _ = files.looked_at({"a": state()})
    assert uploads == [Upload("a", LocalFile("/run/files/a", 3), KEY)]
    files.uploaded("a")
    files.end(END)

    assert files.to_look_at() == ("b",)
    assert files.looked_at({"b": state(name="b")})[0] == [Upload("b", LocalFile("/run/files/b", 3), END)]


def test_a_file_that_cannot_be_read_is_refused() -> None:
    """Its record is named, with the reason; one that was uploaded before and is gone stays as it was."""
    files = RunFiles()
    files.saved("a", "live", KEY)
    assert looked(files) == ([], [Refusal((KEY,), "a: No such file")])
    files.saved("a", "live", KEY)
    looked(files, a=state())
    assert looked(files) == ([], [])
    files.saved("b", "end", ("w", 6))
    assert looked(files) == ([], [])
    files.end(END)
    assert looked(files) == ([], [Refusal((END,), "b: No such file")])


def test_a_file_that_failed_is_tried_again_at_the_end() -> None:
    """An object store that comes back in time gets everything."""
    files = RunFiles()
    files.saved("a", "now", KEY)
    files.looked_at({"a": state()})
    files.end(END)

    assert looked(files, a=state()) == (["a"], [])


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    """Nothing outside of the run's files is read."""
    files = RunFiles()
    refusal = files.saved(name, "now", KEY)

    assert refusal is not None
    assert refusal.keys == (KEY,)
    assert files.saved(name, "now", None) is None
    assert files.to_look_at() == FOUND


def test_ignored_files_are_left_out() -> None:
    """A pattern keeps files on this machine, without a refusal."""
    files = RunFiles(("*.ckpt", "secret/*"))
    for name in ("a.ckpt", "secret/key"):
        assert files.saved(name, "live", KEY) is None
    files.saved("b", "now", KEY)

    assert files.to_look_at() == ("b", *FOUND)


def test_what_lies_in_the_directory_is_found_once() -> None:
    """Metadata and requirements are uploaded where somebody has put them there; missing ones are no refusal."""
    files = RunFiles()

    assert looked(files, **{"requirements.txt": state()}) == (["requirements.txt"], [])
    assert files.to_look_at() == ()
    assert "requirements.txt" in files
    assert "wandb-metadata.json" not in files


def test_what_an_earlier_process_delivered() -> None:
    """`now` is seen to; `live` goes again when it is looked at, for nobody knows how it was; `end` goes at the end."""
    files = RunFiles()
    files.saved("n", "now", None)
    files.saved("l", "live", None)
    files.saved("e", "end", None)
    found = {"n": state(), "l": state(), "e": state()}

    assert looked(files, **found) == (["l"], [])
    assert looked(files, **found) == ([], [])
    files.end(END)
    assert looked(files, **found) == (["e"], [])


# ------------------------------------------------------------------------------------------------------------ uploading


def uploads(*names: str, tries: int = 3) -> Uploads:
    found = Uploads("https://api.example.com", tries)
    for number, name in enumerate(names):
        found.ask(Upload(name, b"x", ("w", number)))
    return found


def address(uploads: Uploads, **urls: str | None) -> Any:
    slots = {name: Slot(url, {"X-Token": "t"}) for name, url in urls.items()}
    return uploads.addressed(slots, OK)


def test_addresses_are_asked_for_together() -> None:
    """One request names all files, then each goes to its own address with the headers that were asked for."""
    found = uploads("a", "b")
    request = found.next_request(RUN)
    assert request is not None
    assert request.operation == "CreateRunFiles"
    assert address(found, a="https://store/a?s=1", b="/b") == []

    first = found.next_request(RUN)
    assert first is not None
    assert (first.method, first.target, first.operation) == ("PUT", "https://store/a?s=1", "upload of a")
    assert first.headers == {"X-Token": "t"}
    assert not first.is_authorized
    assert found.answered(DONE, OK) == "a"
    second = found.next_request(RUN)
    assert second is not None
    assert second.target == "https://api.example.com/b"
    assert not second.is_authorized
    assert found.answered(DONE, OK) == "b"
    assert found.next_request(RUN) is None


def test_a_file_without_address() -> None:
    """One that the server does not want is let go of; one that it forgot is refused."""
    found = uploads("a", "b")

    assert address(found, a=None) == [Refusal((("w", 1),), "the server gave no address for the file b")]
    assert found.next_request(RUN) is None


def test_a_later_version_replaces_one_that_waits() -> None:
    """A file that changes while it waits is sent once, as it is then."""
    found = uploads("a")
    address(found, a="https://store/a")
    found.ask(Upload("a", b"new", KEY))
    request = found.next_request(RUN)

    assert request is not None
    assert request.operation == "CreateRunFiles"


def test_a_failed_upload_asks_for_a_fresh_address() -> None:
    """Addresses expire, so the next attempt begins with the question for one; so do the files behind it."""
    found = uploads("a", "b")
    address(found, a="https://store/a", b="https://store/b")

    assert found.answered(LATER, STORE_DOWN) == LATER
    request = found.next_request(RUN)
    assert request is not None
    assert request.operation == "CreateRunFiles"
    assert b'["a","b"]' in request.body  # type: ignore[operator]


def test_files_hold_rows_up_for_a_bounded_time() -> None:
    """After so many failures in a row all that wait are refused, later ones after one; a success forgives."""
    found = uploads("a", "b", tries=2)
    address(found, a="https://store/a", b="https://store/b")
    assert found.answered(LATER, STORE_DOWN) == LATER
    address(found, a="https://store/a", b="https://store/b")
    assert found.answered(LATER, STORE_DOWN) == [
        Refusal((("w", 0),), "a was not uploaded: store: HTTP 503"),
        Refusal((("w", 1),), "b was not uploaded: store: HTTP 503"),
    ]
    found.ask(Upload("c", b"x", KEY))
    address(found, c="https://store/c")
    assert found.answered(LATER, STORE_DOWN) == [Refusal((KEY,), "c was not uploaded: store: HTTP 503")]
    found.forgive()
    found.ask(Upload("d", b"x"))
    address(found, d="https://store/d")
    assert found.answered(LATER, STORE_DOWN) == LATER
    address(found, d="https://store/d")
    assert found.answered(DONE, OK) == "d"


def test_a_server_that_is_down_counts_against_no_file() -> None:
    """Where nothing can be asked, nothing is refused; where the question alone fails, it is, after some tries."""
    found = uploads("a", tries=2)
    for _ in range(10):
        assert found.addressed(LATER, HttpFailure("dropped", "cut")) == LATER
        assert found.addressed(Verdict("slowly", "401"), HttpAnswer(401)) == Verdict("slowly", "401")
    assert found.addressed(LATER, STORE_DOWN) == LATER
    assert found.addressed(LATER, STORE_DOWN) == [Refusal((("w", 0),), "a was not uploaded: store: HTTP 503")]


@pytest.mark.parametrize(
    ("verdict", "result"),
    [
        (Verdict("too large", "413"), HttpAnswer(413)),
        (Verdict("refused", "cannot be read"), HttpFailure("unusable", "cannot be read")),
    ],
)
def test_a_hopeless_file_is_refused_alone(verdict: Verdict, result: Any) -> None:
    """One that is too large, or cannot be read, keeps no other from going."""
    found = uploads("a", "b")
    address(found, a="https://store/a", b="https://store/b")

    assert found.answered(verdict, result) == [Refusal((("w", 0),), verdict.reason)]
    request = found.next_request(RUN)
    assert request is not None
    assert request.target == "https://store/b"


def test_a_refusal_of_a_store_is_tried_again() -> None:
    """Stores say 400 and 403 for what passes, such as an address that has expired."""
    found = uploads("a")
    address(found, a="https://store/a")

    assert found.answered(Verdict("refused", "expired"), HttpAnswer(400)) == Verdict("refused", "expired")


def test_what_nobody_asked_for_names_nobody() -> None:
    """A document of our own has no record behind it."""
    found = Uploads("https://api.example.com", 1)
    found.ask(Upload("config.yaml", b"x"))

    assert found.addressed(LATER, STORE_DOWN) == [
        Refusal((), "config.yaml was not uploaded: store: HTTP 503")
    ]
