"""`corelib resume-table`: the table that decides, for people to read."""

from __future__ import annotations

import argparse

from corelib.pure.resume_listing import format_table
from corelib.terminal import emit

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Print the table; nothing can be wrong with that."""
    emit(format_table("markdown" if arguments.markdown else "text").splitlines())
    return 0
