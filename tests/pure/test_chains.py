"""Which run directories make one run, and in which order they are delivered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.chains import Address, Link, chains, superseded

R: Address = ("e", "p", "r")
S: Address = ("e", "p", "s")

FIRST = Link("a", R, None, 1.0, is_new=True)
SECOND = Link("b", R, "a", 2.0)
THIRD = Link("c", R, "b", 3.0)
OTHER = Link("d", S, None, 2.5, is_new=True)


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
    again = Link("e", R, None, 9.0, is_new=True)

    assert folders([again, FIRST, SECOND], "e", "b") == ["abe"]


def test_a_clock_that_went_back() -> None:
    """What continues another comes behind it, also if it claims to be older."""
    assert folders([FIRST, Link("b", R, "a", 0.5)], "a", "b") == ["ab"]


def test_names_that_cannot_be() -> None:
    """A part that continues itself, a circle, or another run's part, is not followed."""
    assert folders([Link("a", R, "a", 1.0)], "a") == ["a"]
    assert sorted(folders([Link("a", R, "b", 1.0), Link("b", R, "a", 2.0)], "a", "b")[0]) == ["a", "b"]
    assert folders([OTHER, Link("x", R, "d", 3.0)], "x") == ["x"]


def test_one_id_in_two_projects() -> None:
    """A run is its entity, project and id: the same id elsewhere is another run."""
    elsewhere = Link("z", ("e", "q", "r"), None, 0.5, is_new=True)

    assert folders([FIRST, SECOND, elsewhere], "a", "b", "z") == ["z", "ab"]
    assert superseded([FIRST, SECOND, elsewhere]) == {}
    assert folders([FIRST, Link("b", ("f", "p", "r"), "a", 2.0)], "b") == ["b"]


@pytest.mark.parametrize("chosen", ["ab", "b"])
def test_a_lost_beginning_is_where_its_sequel_is(chosen: str) -> None:
    """A directory that does not say where it belongs stands before the one that continues it."""
    lost = Link("a", (None, None, "r"), None, 0.0)

    assert folders([SECOND, lost, OTHER], *chosen) == ["ab"]
    assert folders([lost, Link("b", S, "a", 2.0)], *chosen)[-1] == "b"
    assert folders([lost], "a") == ["a"]


# ------------------------------------------------------------------------------------------------------- begun anew


def test_a_later_beginning_takes_the_place_of_an_earlier_one() -> None:
    """What was begun anew under an id replaces all that came before, and what that was continued with."""
    again = Link("e", R, None, 9.0, is_new=True)

    assert superseded([FIRST, SECOND, again, OTHER]) == {"a": "e", "b": "e"}
    assert superseded([FIRST, SECOND, again, Link("f", R, "e", 9.5)]) == {"a": "e", "b": "e"}


def test_a_copy_replaces_nothing() -> None:
    """The same run directory at two places is the same beginning."""
    assert superseded([FIRST, SECOND, FIRST._replace(folder="z")]) == {}


def test_what_goes_on_replaces_nothing() -> None:
    """A directory that continues one, or leaves that to a server, takes nobody's place; it can lose its own."""
    undecided = Link("e", R, None, 9.0)

    assert superseded([FIRST, SECOND, THIRD, undecided]) == {}
    assert superseded([Link("b", R, "gone", 2.0), undecided, Link("f", R, None, 10.0, is_new=True)]) == {
        "b": "f",
        "e": "f",
    }


LINKS = st.lists(
    st.builds(
        Link,
        st.sampled_from("abcdef"),
        st.sampled_from([R, S, ("e", "q", "r"), (None, None, "r")]),
        st.none() | st.sampled_from("abcdefg"),
        st.floats(0, 10),
        st.booleans(),
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
    assert all(len({link.address for link in chain}) == 1 for chain in found)
    assert chains(shuffled, chosen) == found


@given(LINKS, st.randoms())
def test_the_newest_beginning_is_never_superseded(links: list[Link], random: object) -> None:
    """Of each run something is left to deliver, and the order of the input does not matter."""
    later = superseded(links)
    shuffled = list(links)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert not set(later) & set(later.values())
    assert superseded(shuffled) == later
