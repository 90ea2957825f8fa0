"""The HTTP transport keeps every promise of the port, against a server on real sockets."""

from __future__ import annotations

import pytest

from corelib.ports import Address, Transport
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
