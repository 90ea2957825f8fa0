"""Which run directories make one run, and in which order they are delivered."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.chains import Link, chains

FIRST = Link("a", "r", None, 1.0)
SECOND = Link("b", "r", "a", 2.0)
THIRD = Link("c", "r", "b", 3.0)
OTHER = Link("d", "s", None, 2.5)


def folders(links: list[Link], *chosen: str) -> list[str]:
    return ["".join(link.folder for link in chain) for chain in chains(links, chosen)]


def test_parts_of_a_run_follow_each_other() -> None:
    """Whatever the order in which they are named, the parts of a run come in the order of the run."""
    assert folders([THIRD, OTHER, FIRST, SECOND], "c", "d", "a", "b") == ["abc", "d"]


def test_what_a_part_continues_comes_with_it() -> None:
    """A part is not delivered without the parts before it; those after it are not added."""
    assert folders([FIRST, SECOND, THIRD, OTHER], "b") == ["ab"]


def test_what_is_not_there_any_more_is_left_out() -> None:
    """Where the part before is gone, the chain begins behind it; and nothing chosen is nothing."""
    assert folders([SECOND, THIRD], "c") == ["bc"]
    assert folders([SECOND], "x") == []
    assert folders([]) == []


def test_runs_that_began_anew_under_the_same_id() -> None:
    """Parts that continue nothing come in the order of their beginning."""
    again = Link("e", "r", None, 9.0)

    assert folders([again, FIRST, SECOND], "e", "b") == ["abe"]


def test_a_clock_that_went_back() -> None:
    """What continues another comes behind it, also if it claims to be older."""
    assert folders([FIRST, Link("b", "r", "a", 0.5)], "a", "b") == ["ab"]


def test_names_that_cannot_be() -> None:
    """A part that continues itself, a circle, or another run's part, is not followed."""
    assert folders([Link("a", "r", "a", 1.0)], "a") == ["a"]
    assert sorted(folders([Link("a", "r", "b", 1.0), Link("b", "r", "a", 2.0)], "a", "b")[0]) == ["a", "b"]
    assert folders([OTHER, Link("x", "r", "d", 3.0)], "x") == ["x"]


LINKS = st.lists(
    st.builds(
        Link,
        st.sampled_from("abcdef"),
        st.sampled_from("rs"),
        st.none() | st.sampled_from("abcdefg"),
        st.floats(0, 10),
    ),
    max_size=6,
    unique_by=lambda link: link.folder,
)


@given(LINKS, st.sets(st.sampled_from("abcdefg")), st.randoms())
def test_every_chosen_part_comes_once(links: list[Link], chosen: set[str], random: object) -> None:
    """Each chosen part is there once, in the chain of its run, and the order of the input does not matter."""
    found = chains(links, chosen)
    delivered = [link for chain in found for link in chain]
    shuffled = list(links)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert len(delivered) == len(set(delivered))
    assert {link.folder for link in delivered} >= chosen & {link.folder for link in links}
    assert all(len({link.run_id for link in chain}) == 1 for chain in found)
    assert chains(shuffled, chosen) == found
