"""A delivery spec: whole on the other side, and without its secret wherever people look."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from corelib.errors import JournalError, UsageError
from corelib.shell.courier import Courier
from corelib.shell.delivery_spec import DeliverySpec, delivery_of, place_of, transport_of
from corelib.shell.spawn import scrubbed
from tests.couriers import LONG_S, RunOnDisk, install_plugin, records_in
from transports.file import FileTransport

KEY = "k" * 40


def test_a_spec_is_read_back(tmp_path: Path) -> None:
    """What was written as a line is the same spec, paths with any bytes included."""
    spec = RunOnDisk(tmp_path).spec(
        "wandb",
        address={"base_url": "https://host", "key": KEY},
        directory="/a/\udcff b/ü",
        sys_path=("/x", "/\udc80"),
        entity="team",
    )
    line = spec.line()

    assert line.count(b"\n") == 1
    assert DeliverySpec.read(line) == spec


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"sys_path":[]}',
        b'{"sys_path":3}',
        json.dumps({"sys_path": [], KEY: KEY}).encode(),
    ],
)
def test_what_is_no_spec_is_an_error_without_its_text(line: bytes) -> None:
    """A line that cannot be read may hold a key all the same: no message and no cause shows it."""
    with pytest.raises(UsageError, match="no delivery spec") as caught:
        DeliverySpec.read(line)

    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_spec_says_where_a_newer_key_would_be(tmp_path: Path) -> None:
    """The transport that another process makes asks for it there, when its key is refused."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine host password {KEY}")
    root = tmp_path / "plug"
    spec = RunOnDisk(tmp_path).spec(install_plugin(root), fresh_key=("https://host", (str(netrc),), None))
    sys.path.append(str(root))
    try:
        transport: Any = transport_of(DeliverySpec.read(spec.line()))
    finally:
        sys.path.remove(str(root))

    assert transport.address.fresh_key() == KEY


def test_headers_are_secrets_as_well(tmp_path: Path) -> None:
    """A courier has them from its spec, and not from an environment where somebody put them."""
    spec = RunOnDisk(tmp_path).spec("wandb", address={"key": KEY, "headers": {"X-Gateway": "s3cret-enough"}})

    assert scrubbed({"A": KEY, "B": "x s3cret-enough", "C": "c"}, spec.secrets) == {"C": "c"}
    assert RunOnDisk(tmp_path / "b").spec("null").secrets == ("",)


def test_a_spec_shows_no_secret(tmp_path: Path) -> None:
    """Debugging output names run and place, not the key."""
    spec = RunOnDisk(tmp_path).spec("wandb", address={"base_url": "https://user:pw@host:8080/x", "key": KEY})

    assert repr(spec) == "<DeliverySpec t of run abc to host:8080>"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.host/path?query", "api.host"),
        ("http://user:secret@host:80", "host:80"),
        ("memory", "memory"),
        ("file:///mnt/backup", "/mnt/backup"),
        ("plug:secret@x?y", "x"),
    ],
)
def test_where_it_goes(url: str, place: str) -> None:
    """People see a host, or a path, and nothing that may be secret."""
    assert place_of(url) == place


def test_a_transport_is_made_from_it(tmp_path: Path) -> None:
    """The address is what the factory gets; what cannot be made is an error for the user."""
    run = RunOnDisk(tmp_path)
    transport = transport_of(run.spec())
    assert isinstance(transport, FileTransport)
    with pytest.raises(UsageError, match="There is no transport 'nowhere'"):
        transport_of(run.spec("nowhere://x"))


def test_a_delivery_is_made_from_it(tmp_path: Path) -> None:
    """With cursor and dead letters under the name that the spec gives them."""
    run = RunOnDisk(tmp_path)
    run.log(3)
    spec = run.spec(cursor_name="https://x")
    told: list[str] = []
    courier, source = delivery_of(
        Courier, spec, transport=transport_of(spec), report=told.append, fate=lambda: 1
    )
    courier.start()
    assert courier.close(LONG_S).delivered == 5
    names = [path.name for path in run.directory.iterdir() if path.name.startswith("cursor-")]

    assert len(names) == 2
    assert all(name.startswith("cursor-https_x-") for name in names)
    assert [len(records) for records in records_in(run.mirror).values()] == [4, 1], "the end apart"
    assert told == []
    assert not source.is_holding


def test_without_a_beginning_there_is_no_delivery(tmp_path: Path) -> None:
    """A journal that does not say how its run began cannot be told to anybody."""
    run = RunOnDisk(tmp_path)
    spec = run.spec(writer="w2")
    transport: Any = transport_of(spec)
    with pytest.raises((JournalError, FileNotFoundError)):
        delivery_of(Courier, spec, transport=transport, report=print, fate=lambda: None)
