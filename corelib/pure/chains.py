"""Which run directories make one run, in which order they are delivered, and which are not any more.

Law: directories of one run are delivered one after the other, each behind the one that it continues, whatever order
they were named in; what a chosen directory continues is delivered with it, for the backend needs the beginning first.
A run is its entity, project and id. Where an id was begun anew, the later beginning replaces what came before it, as
rule R2 has it, whichever of them is delivered first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, TypeAlias

__all__ = ["Address", "Link", "chains", "superseded"]

Address: TypeAlias = tuple[str | None, str | None, str]
"""Entity, project and id of a run. No project: the beginning of the run is lost, and with it where it belongs."""


class Link(NamedTuple):
    """What a run directory says about its place in a run.

    Args:
        folder: its name, unique among all that are given.
        address: the run it is of.
        previous: the folder that it continues, or None.
        start_time: when it was begun, in seconds since the epoch.
        is_new: it was begun anew: it continues nothing, and leaves no decision about that to a server.
    """

    folder: str
    address: Address
    previous: str | None
    start_time: float
    is_new: bool = False


def chains(links: Iterable[Link], chosen: Collection[str]) -> list[tuple[Link, ...]]:
    """Return what is to be delivered: for each run its directories in order; runs by the time of their beginning.

    Args:
        links: every directory that is there.
        chosen: the folders to deliver. What they continue is added, as far as it is there.
    """
    by_folder = _placed(links)
    ordered: dict[Address, list[Link]] = {}
    placed: set[str] = set()
    for link in sorted(by_folder.values(), key=_age):
        if link.folder in chosen:
            for one in _with_earlier(link, by_folder):
                if one.folder not in placed:
                    placed.add(one.folder)
                    ordered.setdefault(link.address, []).append(one)
    return [tuple(chain) for chain in ordered.values()]


def superseded(links: Iterable[Link]) -> dict[str, str]:
    """Return the folders whose place a later beginning of the same run takes, each with the folder of that one."""
    by_folder = _placed(links)
    newest: dict[Address, Link] = {}
    for link in sorted(by_folder.values(), key=_age):
        if link.is_new and link.previous is None:
            newest[link.address] = link
    found: dict[str, str] = {}
    for link in by_folder.values():
        later = newest.get(link.address)
        # A copy of a run directory has begun when the original has, and is as good.
        if later is not None and _with_earlier(link, by_folder)[0].start_time < later.start_time:
            found[link.folder] = later.folder
    return found


def _age(link: Link) -> tuple[float, str]:
    return link.start_time, link.folder


def _placed(links: Iterable[Link]) -> dict[str, Link]:
    """Return the links by their folders; one whose address is lost has that of the one that continues it."""
    by_folder = {link.folder: link for link in links}
    for link in sorted(by_folder.values(), key=_age):
        earlier = by_folder.get(link.previous or "")
        if earlier is not None and earlier.address[1] is None and earlier.address[2] == link.address[2]:
            by_folder[earlier.folder] = earlier._replace(address=link.address)
    return by_folder


def _with_earlier(link: Link, by_folder: Mapping[str, Link]) -> list[Link]:
    """Return a directory behind those that it continues, the first one first."""
    chain = [link]
    while (previous := by_folder.get(chain[0].previous or "")) is not None:
        if previous.address != link.address or previous in chain:  # a name that was given anew, or a circle
            break
        chain.insert(0, previous)
    return chain
