"""The null transport: takes everything, keeps nothing."""

from __future__ import annotations

from corelib.ports import Address, Batch, Delivered, RunRef
from corelib.testing.specimens import rows_from
from transports.null import NullTransport


def test_it_takes_everything_and_keeps_nothing() -> None:
    """Whatever comes is delivered, and the object stays as empty as it was."""
    transport = NullTransport.from_address(Address(url="null", wandb_dir="/nowhere"))
    batch = Batch(run=RunRef(run_id="r", project="p"), writer="w", header=None, records=rows_from(1, 3))

    assert transport.deliver(batch) == Delivered()
    assert vars(transport) == {}


def test_it_wants_no_journal() -> None:
    """A run on the null transport writes nothing anywhere."""
    assert not NullTransport().capabilities.journal


def test_it_shows_itself() -> None:
    """Its representation says what it is."""
    assert repr(NullTransport()) == "<NullTransport>"
