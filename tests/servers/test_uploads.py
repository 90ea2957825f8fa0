"""Files: URLs that were issued, PUTs on the other host, and what has no business there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from tests.servers.raw_client import FILES, RawClient
from tests.servers.wandb_server import KEY, WandbServer


def _kinds(server: WandbServer) -> list[str]:
    return [violation.kind for violation in server.violations]


def _slot(client: RawClient, name: str = "media/a b.txt") -> tuple[str, dict[str, str]]:
    """Return the target and the headers for the upload of one file."""
    client.upsert()
    answer = client.graphql(FILES, entity="ent", project="proj", run="r1", files=[name]).data[
        "createRunFiles"
    ]
    assert [entry["name"] for entry in answer["files"]] == [name]
    pairs = (entry.partition(":") for entry in answer["uploadHeaders"])
    url = urlsplit(answer["files"][0]["uploadUrl"])
    return f"{url.path}?{url.query}", {name: value for name, _colon, value in pairs}


def test_upload(server: WandbServer, client: RawClient) -> None:
    """A PUT to an issued URL stores the bytes, an empty file too; then the file may be announced."""
    with closing(RawClient(server, uploads=True)) as store:
        target, headers = _slot(client)
        assert store.send("PUT", target, b"\x00bytes", headers).status == 200
        target, headers = _slot(client, "empty")
        assert store.send("PUT", target, b"", {**headers, "Content-Length": "0"}).status == 200
    client.push({"uploaded": ["media/a b.txt", "empty"]})

    assert server.run("r1").files == {"media/a b.txt": b"\x00bytes", "empty": b""}
    assert [request.role for request in server.requests("upload")] == ["uploads", "uploads"]
    server.assert_clean()


@pytest.mark.parametrize(
    ("change", "status", "kind"),
    [
        (
            lambda target, headers: (target, {**headers, "Authorization": "Basic eA=="}),
            200,
            "authorization-elsewhere",
        ),
        (lambda target, headers: (target, {**headers, "Cookie": "a=b"}), 200, "authorization-elsewhere"),
        (lambda target, headers: (target, {**headers, "X-Key": KEY}), 200, "key-leaked"),
        (
            lambda target, headers: (target, {**headers, "Content-Type": "text/plain"}),
            403,
            "upload-content-type",
        ),
        (
            lambda target, headers: (target, {**headers, "Content-Encoding": "gzip"}),
            400,
            "unannounced-encoding",
        ),
        (lambda target, _headers: (target, {}), 403, "upload-headers"),
        (lambda target, headers: (target.replace("%2B", "+"), headers), 403, "unknown-upload-url"),
        (lambda target, headers: (target.partition("?")[0], headers), 403, "unknown-upload-url"),
    ],
)
def test_uploads_that_break_a_rule(
    server: WandbServer, client: RawClient, change: Callable[..., Any], status: int, kind: str
) -> None:
    """The other host takes signed URLs as they are, with their headers, and wants no credentials."""
    target, headers = change(*_slot(client))
    with closing(RawClient(server, uploads=True)) as store:
        assert store.send("PUT", target, b"x", headers).status == status

    assert _kinds(server) == [kind]
    assert (server.run("r1").files == {}) == (status != 200)


def test_netrc_of_the_user_sends_credentials_elsewhere(
    server: WandbServer, client: RawClient, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap is real: a plain `requests` session adds the key from netrc to an upload, and the server notices."""
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {KEY}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    target, headers = _slot(client)

    assert (
        requests.put(server.uploads_url + target, data=b"x", headers=headers, timeout=10).status_code == 200
    )
    assert "authorization-elsewhere" in _kinds(server)


def test_files_of_a_run_that_is_not_there(client: RawClient) -> None:
    """Upload URLs for an unknown run are refused with 404."""
    assert client.graphql(FILES, entity="ent", project="proj", run="r9", files=["a"]).status == 404


def test_end_before_the_uploads(server: WandbServer, client: RawClient) -> None:
    """A final push while a PUT is under way is noted."""
    target, headers = _slot(client)
    with closing(socket.create_connection(("127.0.0.1", urlsplit(server.uploads_url).port or 0))) as upload:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        upload.sendall(f"PUT {target} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 9\r\n\r\n".encode())
        server.wait_until(lambda _world: bool(server.requests("upload")))
        client.push({"complete": True, "exitcode": 0})

    assert _kinds(server) == ["complete-before-uploads"]


def test_upload_for_a_deleted_run(server: WandbServer, client: RawClient) -> None:
    """A URL outlives its run, but the bytes have nowhere to go."""
    target, headers = _slot(client)
    server.delete("r1")
    with closing(RawClient(server, uploads=True)) as store:
        assert store.send("PUT", target, b"x", headers).status == 404
    server.assert_clean()
