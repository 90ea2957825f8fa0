"""The report on the contract's cases counts truly, and the contract is shown or explained as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases_report import CASES, Report, compare, read_cases, read_explanations

ROOT = Path(__file__).parent.parent


def test_each_kind_of_case_is_told_apart() -> None:
    """Covered, explained, missing, unknown and contradicted ids each land in their own list."""
    report = compare(
        ["shown", "explained", "nowhere", "both"],
        {"shown": ["test_a"], "both": ["test_b"], "invented": ["test_c"]},
        {"explained": "later", "both": "later", "fancied": "later"},
    )

    assert report == Report(
        covered={"shown": ["test_a"], "both": ["test_b"]},
        explained={"explained": "later"},
        missing=["nowhere"],
        unknown={"invented": ["test_c"], "fancied": ["tests/cases/not_covered.json"]},
        contradicted=["both"],
    )
    assert not report.complete


def test_complete_means_nothing_is_left() -> None:
    """A report is complete where every case is covered or explained and no other is named."""
    assert compare(["a", "b"], {"a": ["test_a"]}, {"b": "later"}).complete


def test_ids_are_unique() -> None:
    """No two cases share an id, and no case is explained twice."""
    assert len(read_cases()) == len(CASES.read_text(encoding="utf-8").splitlines())
    assert set(read_explanations().values())


@pytest.mark.slow
def test_contract_is_complete() -> None:
    """Every case of the contract is named by a test or explained, as the command says with its exit code."""
    done = subprocess.run(
        [sys.executable, "tests/cases_report.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
