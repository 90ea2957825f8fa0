"""What the maintainers test with, shipped for users: strategies, the transport conformance suite, faults.

Law: importing this package imports neither pytest nor hypothesis; what needs them asks for them when it is
used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corelib.testing.conformance import TransportConformance
    from corelib.testing.faults import FaultyTransport

__all__ = ["FaultyTransport", "TransportConformance"]

_PLACES = {
    "FaultyTransport": "corelib.testing.faults",
    "TransportConformance": "corelib.testing.conformance",
}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(place), name)
