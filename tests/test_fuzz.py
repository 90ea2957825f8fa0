"""The fuzz targets, replayed: their corpora, pieces of them, and bytes that hypothesis makes up.

Law: every file `fuzz/targets/fuzz_<room>.py` names its invariant in its first line, offers a pure
`fuzz_one(data)`, and has a seed corpus in `fuzz/corpus/<room>/`.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

FUZZ = Path(__file__).parent.parent / "fuzz"
TARGETS = sorted(path.stem for path in (FUZZ / "targets").glob("fuzz_*.py"))
ROOMS = {"frames", "wire", "env", "ini", "config_yaml", "resume_events"}


def _corpus(target: str) -> list[Path]:
    return sorted(
        path for path in (FUZZ / "corpus" / target.removeprefix("fuzz_")).iterdir() if path.is_file()
    )


def _fuzz_one(target: str) -> Callable[[bytes], None]:
    function: Callable[[bytes], None] = importlib.import_module(f"fuzz.targets.{target}").fuzz_one
    return function


def test_every_room_that_reads_foreign_bytes_has_a_target() -> None:
    """The rooms that parse what others wrote are fuzzed, and no corpus is left without its target."""
    rooms = {target.removeprefix("fuzz_") for target in TARGETS}

    assert rooms >= ROOMS
    assert {path.name for path in (FUZZ / "corpus").iterdir() if path.is_dir()} == rooms


@pytest.mark.parametrize("target", TARGETS)
def test_target_names_its_invariant(target: str) -> None:
    """The first line of a target is a comment that says what must hold."""
    first = (FUZZ / "targets" / f"{target}.py").read_text(encoding="utf-8").splitlines()[0]

    assert first.startswith("# Invariant: ")
    assert len(first.split()) > 5


@pytest.mark.parametrize(
    ("target", "seed"),
    [(target, seed) for target in TARGETS for seed in _corpus(target)],
    ids=lambda one: getattr(one, "name", one),
)
def test_corpus_keeps_the_invariant(target: str, seed: Path) -> None:
    """The invariant holds for every seed, for its beginnings and its ends, and for it with one bit flipped."""
    data = seed.read_bytes()
    fuzz_one = _fuzz_one(target)
    cuts = sorted({len(data) * part // 8 for part in range(9)})

    fuzz_one(data)
    for cut in cuts:
        fuzz_one(data[:cut])
        fuzz_one(data[cut:])
    for place in cuts[:-1]:
        fuzz_one(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])


@pytest.mark.parametrize("target", TARGETS)
def test_corpus_is_not_empty(target: str) -> None:
    """A target has seeds, so that a fuzzer starts from input that reaches the code behind the first check."""
    assert len(_corpus(target)) >= 3


@pytest.mark.parametrize("target", TARGETS)
@given(data=st.binary(max_size=400))
def test_any_bytes_keep_the_invariant(target: str, data: bytes) -> None:
    """The invariant holds for bytes nobody thought of."""
    _fuzz_one(target)(data)


@pytest.mark.parametrize("target", TARGETS)
def test_target_is_a_program(target: str) -> None:
    """A target runs under atheris when called as a program, and where that is not installed says so."""
    done = subprocess.run(
        [sys.executable, FUZZ / "targets" / f"{target}.py", "-runs=0"],
        capture_output=True,
        text=True,
        check=False,
    )

    if importlib.util.find_spec("atheris") is None:
        assert done.returncode == 1
        assert "pip install atheris" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
