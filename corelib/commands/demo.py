"""`corelib demo`: the story is told in `corelib.demo.story`."""

from __future__ import annotations

import argparse

from corelib.demo.story import tell

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Train, resume, show; 0 when all runs were read back whole."""
    return tell(arguments.dir)
