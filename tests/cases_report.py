"""Which cases of the contract the tests show: `python tests/cases_report.py [--list]`.

Law: every case of `cases.jsonl` is either named by a test (`@pytest.mark.case("its-id")`) or stands in
`not_covered.json` with the reason; never both, and no test names an id that does not exist. Exit code 1 where
that is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "cases" / "cases.jsonl"
NOT_COVERED = ROOT / "tests" / "cases" / "not_covered.json"


class Report(NamedTuple):
    """Case ids by what became of them; `covered` maps to the tests, `explained` to the reason."""

    covered: Mapping[str, Sequence[str]]
    explained: Mapping[str, str]
    missing: Sequence[str]
    unknown: Mapping[str, Sequence[str]]
    contradicted: Sequence[str]

    @property
    def complete(self) -> bool:
        """Whether every case is covered or explained, and nothing else is named."""
        return not (self.missing or self.unknown or self.contradicted)


def compare(
    cases: Sequence[str], marked: Mapping[str, Sequence[str]], explained: Mapping[str, str]
) -> Report:
    """Set the ids of the contract against those that tests name and those that are explained."""
    known = set(cases)
    return Report(
        covered={case: marked[case] for case in cases if case in marked},
        explained={case: explained[case] for case in cases if case in explained and case not in marked},
        missing=[case for case in cases if case not in marked and case not in explained],
        unknown={
            **{case: tests for case, tests in marked.items() if case not in known},
            **{case: [str(NOT_COVERED.relative_to(ROOT))] for case in explained if case not in known},
        },
        contradicted=[case for case in cases if case in marked and case in explained],
    )


def read_cases() -> dict[str, str]:
    """Return each case id with its area, in the order of the contract."""
    lines = CASES.read_text(encoding="utf-8").splitlines()
    return {case["id"]: case["area"] for case in map(json.loads, lines)}


def read_explanations() -> dict[str, str]:
    """Return each case id that is not covered with the reason, which stands beside the list of its ids."""
    groups: list[dict[str, Any]] = json.loads(NOT_COVERED.read_text(encoding="utf-8"))
    return {case: group["why"] for group in groups for case in group["ids"]}


class _Collector:
    """A pytest plugin that notes the marks of what was collected."""

    def __init__(self) -> None:
        self.marked: dict[str, list[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for case in _ids(item):
                self.marked.setdefault(case, []).append(item.nodeid)


def _ids(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("case"):
        yield from mark.args


def collect() -> dict[str, list[str]]:
    """Return the ids that tests name, slow ones included, each with the tests.

    Raises:
        RuntimeError: a test module cannot be collected, so that the answer would be wrong.
    """
    collector = _Collector()
    output = io.StringIO()
    words = [
        "--collect-only",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(ROOT),
        str(ROOT / "tests"),
    ]
    with contextlib.redirect_stdout(output):
        status = pytest.main(words, plugins=[collector])
    if status != pytest.ExitCode.OK:
        raise RuntimeError(output.getvalue())
    return collector.marked


def lines(report: Report, areas: Mapping[str, str], *, everything: bool) -> Iterator[str]:
    """Yield what is printed: figures per area, then what is not covered and why, then what is wrong."""
    total, covered = Counter(areas.values()), Counter(areas[case] for case in report.covered)
    explained = Counter(areas[case] for case in report.explained)
    for area, count in sorted(total.items()):
        rest = count - covered[area] - explained[area]
        yield f"{area:10} {count:4} cases  {covered[area]:4} covered  {explained[area]:4} explained  {rest:4} missing"
    everywhere = len(report.covered), len(report.explained), len(report.missing)
    yield f"{'all':10} {len(areas):4} cases  " + "  ".join(
        f"{count:4} {word}"
        for count, word in zip(everywhere, ("covered", "explained", "missing"), strict=True)
    )
    if everything:
        yield "\ncovered:"
        yield from (f"  {case}: {', '.join(tests)}" for case, tests in report.covered.items())
    for why in dict.fromkeys(report.explained.values()):
        yield f"\nnot covered: {why}"
        yield from (f"  {case}" for case, reason in report.explained.items() if reason == why)
    if report.missing:
        yield "\nMISSING, neither covered nor explained:"
        yield from (f"  {case}" for case in report.missing)
    if report.unknown:
        yield "\nUNKNOWN ids:"
        yield from (f"  {case}: {', '.join(tests)}" for case, tests in report.unknown.items())
    if report.contradicted:
        yield "\nCOVERED, although explained as not covered:"
        yield from (f"  {case}" for case in report.contradicted)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report; return 0 if it is complete."""
    parser = argparse.ArgumentParser(
        description="Which cases of the contract the tests show, which not, and why."
    )
    parser.add_argument("--list", action="store_true", help="also list the covered cases with their tests")
    arguments = parser.parse_args(argv)
    areas = read_cases()
    report = compare(list(areas), collect(), read_explanations())
    for line in lines(report, areas, everything=arguments.list):
        print(line)
    return 0 if report.complete else 1


if __name__ == "__main__":
    sys.exit(main())
