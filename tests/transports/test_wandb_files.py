"""Which files are uploaded, and when; and how they get there."""

from __future__ import annotations

from typing import Any

import pytest

from transports.wandb_exchange import HttpAnswer, HttpFailure, HttpResult, LocalFile, Verdict
from transports.wandb_files import FileState, RunFiles
from transports.wandb_graphql import RunName, Slot
from transports.wandb_stream import Refusal
from transports.wandb_uploads import Moved, Upload, Uploads

KEY = ("w", 5)
RUN = RunName("ent", "p", "r")
OK, STORE_DOWN = HttpAnswer(200), HttpAnswer(503)
DONE, LATER = Verdict("done"), Verdict("later", "store: HTTP 503", 3.0)
REFUSED, DENIED = HttpAnswer(403), Verdict("slowly", "store: HTTP 403")
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
    files.end()
    assert looked(files, a=state(changed=2)) == (end, [])


def test_a_live_file_that_changed_goes_once_more_at_the_end() -> None:
    """What was written just before the end is not lost."""
    files = RunFiles()
    files.saved("a", "live", KEY)
    looked(files, a=state())
    files.end()

    assert looked(files, a=state(size=4)) == (["a"], [])


def test_uploads_name_the_record_that_asks_for_them() -> None:
    """A saved file names its record, also where it goes at the end."""
    files = RunFiles()
    files.saved("a", "now", KEY)
    files.saved("b", "end", ("w", 6))
    uploads, _ = files.looked_at({"a": state()})
    assert uploads == [Upload("a", LocalFile("/run/files/a", 3), KEY, 1)]
    files.uploaded("a")
    files.end()

    assert files.to_look_at() == ("b",)
    assert files.looked_at({"b": state(name="b")})[0] == [
        Upload("b", LocalFile("/run/files/b", 3), ("w", 6), 1)
    ]


def test_a_file_that_cannot_be_read_is_refused() -> None:
    """Its record is named, with the reason; one that was uploaded before and is gone stays as it was."""
    files = RunFiles()
    files.saved("a", "live", KEY)
    assert looked(files) == ([], [Refusal((KEY,), "a: No such file", ("a",))])
    files.saved("a", "live", KEY)
    looked(files, a=state())
    assert looked(files) == ([], [])
    files.saved("b", "end", ("w", 6))
    assert looked(files) == ([], [])
    files.end()
    assert looked(files) == ([], [Refusal((("w", 6),), "b: No such file", ("b",))])


def test_a_file_that_failed_is_tried_again_at_the_end() -> None:
    """An object store that comes back in time gets everything."""
    files = RunFiles()
    files.saved("a", "now", KEY)
    files.looked_at({"a": state()})
    files.end()

    assert looked(files, a=state()) == (["a"], [])


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", ".", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    """Nothing outside of the run's files is read."""
    files = RunFiles()
    refusal = files.saved(name, "now", KEY)

    assert refusal is not None
    assert refusal.keys == (KEY,)
    assert files.saved(name, "now", KEY, fate="sent") is None
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


def broken_file() -> RunFiles:
    """Return files of which one became shorter while it was sent."""
    files = RunFiles()
    files.saved("a", "live", KEY)
    (upload,), _ = files.looked_at({"a": state(size=9)})
    files.broken(upload, "it became shorter while it was sent")
    assert files.asked == ("a",)
    return files


def test_a_file_that_changed_while_it_was_sent_goes_as_it_is_now() -> None:
    """A shorter file is looked at again; one that is the same and yet cannot be read is refused, with the reason."""
    files = broken_file()
    assert looked(files, a=state(size=4, changed=2)) == (["a"], [])
    assert files.asked == ()

    refusal = Refusal((KEY,), "it became shorter while it was sent", ("a",))
    assert looked(broken_file(), a=state(size=9)) == ([], [refusal])
    assert looked(broken_file()) == ([], [Refusal((KEY,), "a: No such file", ("a",))])


def test_what_an_earlier_process_delivered() -> None:
    """`now` is seen to; `live` goes again when it is looked at, for nobody knows how it was; `end` goes at the end."""
    files = RunFiles()
    files.saved("n", "now", KEY, fate="sent")
    files.saved("l", "live", KEY, fate="sent")
    files.saved("e", "end", KEY, fate="sent")
    found = {"n": state(), "l": state(), "e": state()}

    assert looked(files, **found) == (["l"], [])
    assert looked(files, **found) == ([], [])
    files.end()
    assert looked(files, **found) == (["e"], [])


def test_what_was_refused_for_good_goes_again_where_that_is_asked_for() -> None:
    """Whatever its policy, and whatever became of it; what could not be sent waits for the end."""
    files = RunFiles()
    for name, policy, fate in (("n", "now", "sent"), ("e", "end", "sent"), ("l", "live", "lost")):
        files.saved(name, policy, KEY, fate=fate)  # type: ignore[arg-type]
    files.looked_at({})
    assert files.to_look_at() == ()
    files.saved("n", "now", KEY, fate="again")
    files.saved("e", "end", KEY, fate="again")
    assert files.asked == ("n", "e")
    assert looked(files, n=state(), e=state()) == (["n", "e"], [])
    files.end()
    assert looked(files, n=state(), e=state(), l=state()) == (["l"], [])


# ------------------------------------------------------------------------------------------------------------ uploading


def uploads(*names: str, tries: int = 3) -> Uploads:
    found = Uploads("https://api.example.com", tries)
    for number, name in enumerate(names):
        found.ask(Upload(name, b"x", ("w", number)))
    return found


def address(uploads: Uploads, **urls: str | None) -> Moved:
    return uploads.addressed({name: Slot(url, {"X-Token": "t"}) for name, url in urls.items()})


def address_all(uploads: Uploads) -> None:
    """Answer the question for addresses, whatever it asks for."""
    request = uploads.next_request(RUN)
    assert request is not None
    assert request.operation == "CreateRunFiles"
    assert address(uploads, **{name: f"https://store/{name}" for name in uploads.names}).refusals == ()


def put(uploads: Uploads, verdict: Verdict, result: HttpResult) -> Moved:
    """Send the next file, unless one is on its way, and answer it."""
    if not uploads._under_way:
        uploads.next_upload()
    return uploads.answered(verdict, result)


def target(uploads: Uploads) -> str:
    request = uploads.next_request(RUN)
    assert request is not None
    return request.target


def not_uploaded(*names: str, why: str = "store: HTTP 503", keys: Any = None) -> tuple[Refusal, ...]:
    said = f"{len(names)} files were" if len(names) > 1 else f"{names[0]} was"
    found = tuple(("w", number) for number in range(len(names))) if keys is None else keys
    return (Refusal(found, f"{said} not uploaded: {why}", names),)


def test_addresses_are_asked_for_together() -> None:
    """One request names all files, then each goes to its own address with the headers that were asked for."""
    found = uploads("a", "b")
    request = found.next_request(RUN)
    assert request is not None
    assert request.operation == "CreateRunFiles"
    assert address(found, a="https://store/a?s=1", b="/b") == Moved()

    first = found.next_request(RUN)
    assert first is not None
    assert (first.method, first.target, first.operation) == ("PUT", "https://store/a?s=1", "upload of a")
    assert first.headers == {"X-Token": "t"}
    assert not first.is_authorized
    assert put(found, DONE, OK) == Moved(uploaded="a")
    second = found.next_request(RUN)
    assert second is not None
    assert second.target == "https://api.example.com/b"
    assert not second.is_authorized
    assert put(found, DONE, OK) == Moved(uploaded="b")
    assert found.next_request(RUN) is None


def test_a_file_without_address() -> None:
    """One that the server does not want is let go of; one that it forgot is refused."""
    found = uploads("a", "b")

    assert address(found, a=None).refusals == (
        Refusal((("w", 1),), "b was not uploaded: the server gave no address", ("b",)),
    )
    assert found.next_request(RUN) is None


def test_what_was_given_up_is_told_where_the_rest_has_no_address() -> None:
    """A file that the server does not want ends the round as one that arrives does."""
    found = uploads("bad", tries=1)
    address_all(found)
    found.ask(Upload("b", b"x"))
    assert put(found, DENIED, REFUSED) == Moved()
    assert address(found, b=None).refusals == not_uploaded("bad", why="store: HTTP 403")


def test_a_later_version_replaces_one_that_waits() -> None:
    """A file that changes while it waits is sent once, as it is then."""
    found = uploads("a")
    address(found, a="https://store/a")
    found.ask(Upload("a", b"new", KEY))
    request = found.next_request(RUN)

    assert request is not None
    assert request.operation == "CreateRunFiles"
    address_all(found)
    found.ask(Upload("a", b"new", ("w", 9)))
    assert target(found) == "https://store/a"


@pytest.mark.parametrize(("verdict", "result"), [(DONE, OK), (DENIED, REFUSED), (LATER, STORE_DOWN)])
def test_a_file_that_changes_on_its_way_goes_once_more(verdict: Verdict, result: HttpResult) -> None:
    """Whatever becomes of the first version; the same one does not, and others go on."""
    found = uploads("a", "b")
    address_all(found)
    version = Upload("a", b"x", ("w", 0), 1)
    found.ask(version)
    assert target(found) == "https://store/a"
    found.ask(version)
    assert target(found) == "https://store/b"
    assert found.next_upload() is None
    found.ask(version._replace(changed_ns=2))
    assert found.answered(verdict, result) == Moved()
    assert found.answered(DONE, OK) == Moved(uploaded="b")
    address_all(found)
    assert target(found) == "https://store/a"
    assert found.answered(DONE, OK) == Moved(uploaded="a")
    assert found.next_request(RUN) is None


def test_what_was_not_answered_is_sent_again() -> None:
    """Whoever sent it was cut off."""
    found = uploads("a", "b")
    address_all(found)
    assert [target(found), target(found)] == ["https://store/a", "https://store/b"]
    assert found.answered(DONE, OK) == Moved(uploaded="a")
    found.stopped()
    assert target(found) == "https://store/b"


def test_a_failed_upload_asks_for_a_fresh_address() -> None:
    """Addresses expire, so the next attempt begins with the question for one; where a store is down, for all."""
    found = uploads("a", "b")
    address_all(found)

    assert put(found, LATER, STORE_DOWN) == Moved(rest=LATER)
    request = found.next_request(RUN)
    assert request is not None
    assert request.operation == "CreateRunFiles"
    assert b'["b","a"]' in request.body  # type: ignore[operator]


def test_a_file_that_is_always_refused_takes_no_other_along() -> None:
    """It goes behind the others, which are sent at once; it alone is given up after so many tries."""
    found = uploads("bad", "b", "c", tries=3)
    address_all(found)
    assert put(found, DENIED, REFUSED) == Moved()
    assert target(found) == "https://store/b"
    assert put(found, DONE, OK) == Moved(uploaded="b")
    assert target(found) == "https://store/c"
    assert put(found, DONE, OK) == Moved(uploaded="c", rest=DENIED)

    address_all(found)
    assert put(found, DENIED, REFUSED) == Moved(rest=DENIED)
    address_all(found)
    assert put(found, DENIED, REFUSED) == Moved(refusals=not_uploaded("bad", why="store: HTTP 403"))
    assert found.names == ()


def test_a_file_that_failed_waits_while_a_new_one_goes() -> None:
    """Until all have been tried, only those ask for an address that have not failed."""
    found = uploads("bad", "b")
    address_all(found)
    put(found, DENIED, REFUSED)
    found.ask(Upload("c", b"x"))
    put(found, DONE, OK)
    request = found.next_request(RUN)
    assert request is not None
    assert b'["c"]' in request.body  # type: ignore[operator]
    address(found, c="https://store/c")
    assert put(found, DONE, OK) == Moved(uploaded="c", rest=DENIED)


def test_many_files_that_are_refused_are_given_up_together() -> None:
    """Each has its tries, all in the same rounds, and people are told in one line."""
    found = uploads("a", "b", "c", tries=2)
    address_all(found)
    assert [put(found, DENIED, REFUSED) for _ in "abc"] == [Moved(), Moved(), Moved(rest=DENIED)]
    address_all(found)
    refusals = not_uploaded("a", "b", "c", why="store: HTTP 403")
    assert [put(found, DENIED, REFUSED) for _ in "abc"] == [Moved(), Moved(), Moved(refusals=refusals)]


@pytest.mark.parametrize("result", [STORE_DOWN, HttpFailure("unreachable", "refused")])
def test_a_store_that_is_down_counts_against_the_store(result: Any) -> None:
    """After so many failures in a row all that wait are refused, later ones after one; a success forgives."""
    found = uploads("a", "b", tries=2)
    address_all(found)
    assert put(found, LATER, result) == Moved(rest=LATER)
    address_all(found)
    moved = put(found, LATER, result)
    assert moved == Moved(refusals=not_uploaded("b", "a", keys=(("w", 1), ("w", 0))), rest=LATER)
    found.ask(Upload("c", b"x", KEY))
    address_all(found)
    assert put(found, LATER, result).refusals == not_uploaded("c", keys=(KEY,))
    found.forgive()
    found.ask(Upload("d", b"x"))
    address_all(found)
    assert put(found, LATER, result) == Moved(rest=LATER)
    address_all(found)
    assert put(found, DONE, OK) == Moved(uploaded="d")


def test_one_file_that_a_store_fails_on_is_given_up_alone() -> None:
    """Where others succeed in between, the store is not down, and the file has its tries."""
    found = uploads("bad", "x", tries=2)
    address_all(found)
    assert put(found, LATER, STORE_DOWN) == Moved(rest=LATER)
    address_all(found)
    assert put(found, DONE, OK).uploaded == "x"
    found.ask(Upload("y", b"x"))
    assert put(found, LATER, STORE_DOWN) == Moved(refusals=not_uploaded("bad"), rest=LATER)
    assert found.names == ("y",)


def test_a_question_that_always_fails_is_given_up() -> None:
    """Without addresses nothing can be sent: all that wait are refused after some tries, and later ones after one."""
    found = uploads("a", tries=2)
    assert found.addressed(DENIED) == Moved(rest=DENIED)
    assert found.addressed(DENIED) == Moved(refusals=not_uploaded("a", why="store: HTTP 403"), rest=DENIED)
    found.ask(Upload("b", b"x", KEY))
    assert found.addressed(DENIED).refusals == not_uploaded("b", why="store: HTTP 403", keys=(KEY,))
    found.ask(Upload("c", b"x", KEY))
    address_all(found)
    put(found, DONE, OK)
    found.ask(Upload("d", b"x", KEY))
    assert found.addressed(DENIED) == Moved(rest=DENIED)


def test_a_local_file_that_cannot_be_read_is_looked_at_again() -> None:
    """It may have changed; what cannot be read time after time is refused. Other files do not wait for that."""
    unreadable = HttpFailure("unusable", "it became shorter")
    verdict = Verdict("refused", "it became shorter")
    found = Uploads("https://api.example.com", 2)
    upload = Upload("a", LocalFile("/f/a", 9), KEY)
    found.ask(upload)
    found.ask(Upload("b", b"x"))
    address_all(found)
    assert put(found, verdict, unreadable) == Moved(broken=(upload, "it became shorter"))
    assert found.names == ("b",)
    put(found, DONE, OK)
    found.ask(Upload("a", LocalFile("/f/a", 4), KEY))
    address_all(found)
    assert put(found, verdict, unreadable).refusals == not_uploaded("a", why="it became shorter", keys=(KEY,))


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
    address_all(found)

    assert put(found, verdict, result) == Moved(refusals=not_uploaded("a", why=verdict.reason))
    assert target(found) == "https://store/b"


def test_a_refusal_of_a_store_is_tried_again() -> None:
    """Stores say 400 and 403 for what passes, such as an address that has expired."""
    found = uploads("a")
    address_all(found)
    expired = Verdict("refused", "expired")

    assert put(found, expired, HttpAnswer(400)) == Moved(rest=expired)


def test_what_nobody_asked_for_names_nobody() -> None:
    """A document of our own has no record behind it."""
    found = Uploads("https://api.example.com", 1)
    found.ask(Upload("config.yaml", b"x"))

    assert found.addressed(LATER).refusals == not_uploaded("config.yaml", keys=())
