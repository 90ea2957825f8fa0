"""The bytes of files: URLs that are given out, and the PUTs that come to them on the other host.

Law: an upload URL is absolute, signed in its query, and good for one file of one run, any number of times.
Whoever holds it may write; credentials have no business there.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from tests.servers.exchange import Answer, Incoming, Refused
from tests.servers.state import RunKey, UploadSlot, World

__all__ = ["issue", "put"]


def issue(world: World, run: RunKey, name: str) -> str:
    """Return an upload URL for a file of a run."""
    serial = world.next_serial()
    # Signatures hold characters that a client must send on exactly as it got them.
    signature = hashlib.sha256(f"{serial}{run}{name}".encode()).hexdigest()[:16]
    target = f"/bucket/{serial}/{quote(name, safe='')}?X-Signature={signature}%2B%2F%3D&X-Expires=86400"
    world.slots[target] = UploadSlot(run, name)
    return f"{world.uploads_url}{target}"


def put(world: World, incoming: Incoming) -> Answer:
    """Store the bytes of a file.

    Raises:
        Refused: the URL was not issued, or a header that was asked for is not there.
    """
    slot = world.slots.get(incoming.target)
    if slot is None:
        raise Refused(403, "SignatureDoesNotMatch", "unknown-upload-url")
    for header in world.upload_headers:
        name, colon, value = header.partition(":")
        if colon and incoming.headers.get(name.strip().lower()) != value.strip():
            raise Refused(403, f"the signed header {name.strip()} is missing or different", "upload-headers")
    if "content-type" in incoming.headers and not any(
        header.lower().startswith("content-type:") for header in world.upload_headers
    ):
        raise Refused(403, "a Content-Type that was not signed", "upload-content-type")
    run = world.runs.get(slot.run)
    if run is None:
        raise Refused(404, "NoSuchBucket")
    run.files[slot.name] = incoming.body
    run.puts.append(slot.name)
    return Answer(200, content_type="application/xml")
