"""What is lost is counted where it can be, and told once."""

from __future__ import annotations

from corelib.ports import Batch
from corelib.testing.specimens import rows_from
from tests.properties.wandb_world import RUN
from transports.wandb_losses import Losses
from transports.wandb_stream import Refusal


def batch(*seqs: int, writer: str = "w1") -> Batch:
    records = tuple(row for seq in seqs for row in rows_from(seq, 1))
    return Batch(run=RUN, writer=writer, header=None, records=records)


def test_a_refusal_names_its_records_as_long_as_they_are_not_answered() -> None:
    """Then each has its own reason, and nobody is told apart from that."""
    losses = Losses()
    losses.refuse(Refusal((("w1", 2),), "bad row"))
    losses.refuse(Refusal((("w1", 4), ("w2", 1)), "no file"))
    losses.refuse(None)

    assert losses.answered(batch(1, 2, 3, 4)) == {2: "bad row", 4: "no file"}
    assert losses.answered(batch(5)) == {}
    assert losses.answered(batch(1, writer="w2")) == {1: "no file"}
    assert losses.untold() == ()


def test_what_was_answered_is_said_by_the_end_of_the_run() -> None:
    """And by a line for people, at once; the end says it once, with its own reason."""
    losses = Losses()
    losses.answered(batch(1, 2))
    losses.refuse(Refusal((("w1", 2), ("w1", 7)), "2 files were not uploaded", ("a", "b")))
    assert losses.untold() == ("Something was not delivered: 2 files were not uploaded",)
    assert losses.late == {"2 files were not uploaded": {"a": None, "b": None}}
    losses.refuse(Refusal((("w1", 9),), "c was not uploaded"))

    assert losses.answered(batch(7, 9), ("w1", 9)) == {
        7: "2 files were not uploaded",
        9: "2 files were not uploaded; c was not uploaded",
    }
    assert losses.answered(batch(10), ("w1", 10)) == {}


def test_what_arrives_after_all_is_no_loss() -> None:
    """A loss stands as long as a part of it is missing."""
    losses = Losses({"2 files were not uploaded": ("a", "b"), "the alert was refused": ()})
    losses.arrived("a")
    losses.arrived("other")
    assert set(losses.late) == {"2 files were not uploaded", "the alert was refused"}
    losses.arrived("b")

    assert losses.answered(batch(9), ("w1", 9)) == {9: "the alert was refused"}


def test_a_cause_is_told_once_and_what_is_kept_is_bounded() -> None:
    """The same words, or others for the same cause, are not repeated; memory does not grow with notices."""
    losses = Losses()
    losses.refuse(Refusal((), "gone"))
    losses.notice("more")
    losses.notice("still more", cause="more")
    assert losses.untold() == ("Something was not delivered: gone", "more")
    losses.refuse(Refusal((), "gone"))
    assert losses.untold() == ()

    for number in range(10_000):
        losses.notice(f"notice {number}")
    assert len(losses.untold()) == 50
    for number in range(10_000):
        losses.notice(f"another {number}")
        losses.untold()
    assert len(losses._causes) <= 200
    losses.answered(batch(1))
    for number in range(100):
        losses.refuse(Refusal((("w1", 1),), f"reason {number}"))
    assert len(losses.late) == 5
