"""The HTTP transport keeps every promise of the port, against a server on real sockets."""

from __future__ import annotations

import pytest

from corelib.ports import Address, RunRef, Transport
from corelib.testing import TransportConformance
from tests.servers.fixtures import wandb_server
from tests.servers.wandb_server import WandbServer
from transports.http import HttpOptions, HttpTransport

__all__ = ["wandb_server"]


class TestHttp(TransportConformance):
    """The port, over HTTP."""

    @pytest.fixture
    def transport(self, wandb_server: WandbServer) -> Transport:
        # A batch that comes again after a crash may hold lines that were acknowledged.
        wandb_server.allow("offset-back")
        return HttpTransport(wandb_server.url, wandb_server.key, options=HttpOptions(slow_s=0.01))

    def restart(self, transport: Transport) -> Transport:
        assert isinstance(transport, HttpTransport)
        transport.close()
        return HttpTransport(
            transport.base_url, "0123456789abcdef0123456789abcdef01234567", options=HttpOptions(slow_s=0.01)
        )


@pytest.mark.parametrize(("asked", "kept"), [(None, 15.0), (2.5, 2.5), (0.0, 0.1)])
def test_an_address_says_how_far_apart_pushes_are(asked: float | None, kept: float) -> None:
    """The distance of pushes is what the address says, 15 s where it says nothing, and never nothing at all."""
    address = Address(
        url="http", wandb_dir="/w", base_url="http://127.0.0.1:9", key="k" * 40, push_every_s=asked
    )

    assert HttpTransport.from_address(address).capabilities.max_batch_age_s == kept


@pytest.mark.parametrize(
    ("url", "base_url", "arrives"),
    [("http", "", True), ("", None, True), ("", "", True), ("", "http://127.0.0.1:9", False)],
    ids=["by name", "by URL", "by the URL of the settings", "by another URL"],
)
def test_extra_headers_are_for_the_server_of_the_settings(
    wandb_server: WandbServer, url: str, base_url: str | None, arrives: bool
) -> None:
    """They may be secrets: a run that goes to another server does not take them there."""
    address = Address(
        url=url or wandb_server.url,
        wandb_dir="/w",
        base_url=wandb_server.url if base_url == "" else base_url,
        key=wandb_server.key,
        headers={"X-Gateway": "secret"},
    )
    HttpTransport.from_address(address).lookup(RunRef(run_id="r", project="p"), 5.0)

    assert [one.headers.get("x-gateway") for one in wandb_server.requests()] == [
        "secret" if arrives else None
    ]
