"""Run a fuzz target under atheris, with the arguments of libFuzzer: `python fuzz/targets/fuzz_x.py -max_total_time=60`.

Law: a target itself needs no fuzzer: pytest replays the corpora without one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["run"]


def run(fuzz_one: Callable[[bytes], None]) -> None:
    """Feed a target with what atheris makes up, guided by the coverage of everything that is loaded by now."""
    try:
        import atheris
    except ImportError:
        sys.exit("Fuzzing needs atheris: pip install atheris. Without it, pytest replays the corpus.")
    atheris.instrument_all()
    atheris.Setup(sys.argv, fuzz_one)
    atheris.Fuzz()
