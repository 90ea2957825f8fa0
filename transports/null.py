"""The null transport: takes everything and keeps nothing.

Law: it never fails, it never writes. A disabled run is the ordinary run on this transport.
"""

from __future__ import annotations

from typing import Final

from corelib.ports import Address, Batch, Capabilities, Delivered, Outcome

__all__ = ["NullTransport"]

_CAPABILITIES: Final = Capabilities(journal=False)


class NullTransport:
    """Accepts all, keeps nothing, needs no journal."""

    capabilities = _CAPABILITIES

    @classmethod
    def from_address(cls, address: Address) -> NullTransport:  # noqa: ARG003  nothing is carried anywhere
        """Make the transport for the name "null"."""
        return cls()

    def deliver(self, batch: Batch) -> Outcome:  # noqa: ARG002  that is its point
        """Call the records safe."""
        return Delivered()

    def __repr__(self) -> str:
        return "<NullTransport>"
