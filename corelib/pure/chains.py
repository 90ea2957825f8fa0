"""Which run directories make one run, and in which order they are delivered.

Law: directories of one run id are delivered one after the other, each behind the one that it continues, whatever order
they were named in; what a chosen directory continues is delivered with it, for the backend needs the beginning first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

__all__ = ["Link", "chains"]


class Link(NamedTuple):
    """What a run directory says about its place in a run.

    Args:
        folder: its name, unique among all that are given.
        run_id: the run it is of.
        previous: the folder that it continues, or None.
        start_time: when it was begun, in seconds since the epoch.
    """

    folder: str
    run_id: str
    previous: str | None
    start_time: float


def chains(links: Iterable[Link], chosen: Collection[str]) -> list[tuple[Link, ...]]:
    """Return what is to be delivered: for each run its directories in order; runs by the time of their beginning.

    Args:
        links: every directory that is there.
        chosen: the folders to deliver. What they continue is added, as far as it is there.
    """
    by_folder = {link.folder: link for link in links}
    oldest_first = sorted(by_folder.values(), key=lambda link: (link.start_time, link.folder))
    ordered: dict[str, list[Link]] = {}
    placed: set[str] = set()
    for link in oldest_first:
        if link.folder in chosen:
            for one in _with_earlier(link, by_folder):
                if one.folder not in placed:
                    placed.add(one.folder)
                    ordered.setdefault(link.run_id, []).append(one)
    return [tuple(chain) for chain in ordered.values()]


def _with_earlier(link: Link, by_folder: Mapping[str, Link]) -> list[Link]:
    """Return a directory behind those that it continues, the first one first."""
    chain = [link]
    while (previous := by_folder.get(chain[0].previous or "")) is not None:
        if previous.run_id != link.run_id or previous in chain:  # a name that was given anew, or a circle
            break
        chain.insert(0, previous)
    return chain
