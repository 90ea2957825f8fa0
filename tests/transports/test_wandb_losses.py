"""What is lost is counted where it can be, and told once."""

from __future__ import annotations

from corelib.ports import Batch, LateLoss
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


def test_what_may_yet_arrive_is_held_until_the_run_ends() -> None:
    """Then it is refused with the latest record that asked for it, in the batch at hand or late, and each once."""
    losses = Losses()
    early, late, last = rows_from(2, 1)[0], rows_from(7, 1)[0], rows_from(9, 1)[0]
    losses.asked("a", ("w1", 2), early)
    losses.asked("b", ("w1", 5), early)
    losses.asked("b", ("w1", 7), late)
    losses.asked("c", ("w2", 1), last)
    losses.answered(batch(1, 2))
    losses.refuse(Refusal((("w1", 2), ("w1", 7)), "2 files were not uploaded", ("a", "b", "own document")))
    losses.refuse(Refusal((("w1", 2),), "a was not uploaded", ("a",)))
    losses.refuse(Refusal((("w2", 1),), "c was not uploaded", ("c",)))
    assert losses.untold() == (
        "Something was not delivered: 2 files were not uploaded",
        "Something was not delivered: a was not uploaded",
        "Something was not delivered: c was not uploaded",
    )
    assert losses.answered(batch(3)) == {}
    assert losses.late() == ()
    assert losses.by_reason() == (
        ("a was not uploaded", ("a",)),
        ("2 files were not uploaded", ("b",)),
        ("c was not uploaded", ("c",)),
    )

    assert losses.answered(batch(7, 9), ended=True) == {7: "2 files were not uploaded"}
    assert losses.late() == (LateLoss("w1", early, "a was not uploaded"),)
    assert losses.answered(batch(10), ended=True) == {}
    assert losses.answered(batch(1, writer="w2"), ended=True) == {1: "c was not uploaded"}
    assert losses.late() == ()
    losses.refuse(Refusal((("w1", 2),), "a was not uploaded", ("a",)))
    assert losses.answered(batch(11), ended=True) == {}
    assert losses.late() == ()


def test_what_cannot_arrive_any_more_is_refused_at_once() -> None:
    """With the batch of its record, or late where that was answered already."""
    losses = Losses()
    row = rows_from(2, 1)[0]
    losses.refuse_record(("w1", 2), row, "no alert")
    assert losses.answered(batch(2)) == {2: "no alert"}
    losses.refuse_record(("w1", 2), row, "no other alert")
    assert losses.late() == (LateLoss("w1", row, "no other alert"),)
    losses.refuse(Refusal((("w1", 2), ("w1", 3)), "half of it was answered"))
    assert losses.answered(batch(3)) == {3: "half of it was answered"}
    assert losses.untold() == (
        "Something was not delivered: no other alert",
        "Something was not delivered: half of it was answered",
    )


def test_what_arrives_after_all_is_no_loss() -> None:
    """And what an earlier process held back is a loss as long as somebody is known to ask for it."""
    losses = Losses({"2 files were not uploaded": ("a", "b"), "c was not uploaded": ("c",)})
    row = rows_from(1, 1)[0]
    losses.asked("a", ("w1", 1), row)
    losses.asked("b", ("w1", 1), row)
    losses.is_known(batch(1))
    losses.arrived("a")
    losses.arrived("other")

    assert losses.answered(batch(9), ended=True) == {}
    assert losses.late() == (LateLoss("w1", row, "2 files were not uploaded"),)


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
