"""`corelib verify RUN`: is the journal what was written?

Law: every checksum is computed, every segment number and every `seq` looked at. What cannot be explained is
named with its place. A run that is still written may end in half a line; any other has no excuse.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corelib.commands.selection import parts, print_json, select
from corelib.pure.printable import printable
from corelib.pure.records import Header
from corelib.segments import Damage, is_live, read_segment, segments, writers
from corelib.terminal import counted, emit

__all__ = ["Finding", "Verdict", "examine", "run"]


class Finding(NamedTuple):
    """Something that is not as it should be. `offset` and `length` in bytes of the segment's lines."""

    writer: str
    segment: str
    offset: int
    length: int
    kind: str
    reason: str


class Verdict(NamedTuple):
    """What was checked, and what was found."""

    records: int
    segments: int
    findings: list[Finding]


def run(arguments: argparse.Namespace) -> int:
    """Check one run; 1 if anything is wrong with its journal."""
    view = select(arguments.run, arguments.dir)
    chain = parts(view)
    examined = {(journal := Path(part.path) / "journal"): examine(journal) for part in chain}
    oldest = chain[0]
    if oldest.continues is not None and oldest.previous is None:
        reason = f"it continues {oldest.continues}, which is not there with its rows"
        examined[Path(oldest.path) / "journal"].findings.insert(0, Finding("", "", 0, 0, "missing", reason))
    if arguments.json:
        print_json({"run": view.id, "journals": [_document(*pair) for pair in examined.items()]})
    else:
        for journal, verdict in examined.items():
            emit(_lines(journal, verdict))
    return 1 if any(verdict.findings for verdict in examined.values()) else 0


def examine(journal: Path) -> Verdict:
    """Read every segment of every writer of a journal."""
    live = is_live(journal)
    records = count = 0
    findings: list[Finding] = []
    names = writers(journal)
    if not names:
        findings.append(Finding("", "", 0, 0, "missing", f"there is no journal at {journal}"))
    for writer in names:
        expected_segment, last_seq = 1, 0
        found = segments(journal / writer)
        if not found:
            findings.append(_gap(writer, "", "the writer has no segment"))
        for number, path in found:
            count += 1
            if number != expected_segment:
                findings.append(_gap(writer, path.name, f"segment {expected_segment:06d} is not there"))
            expected_segment = number + 1
            for entry in read_segment(path):
                if isinstance(entry, Damage):
                    if not (live and entry.kind == "torn"):
                        findings.append(Finding(*entry))
                    continue
                records += 1
                # The header of a later segment repeats the seq of the record before it.
                if entry.record.seq < last_seq + (not isinstance(entry.record, Header)):
                    reason = f"record {entry.record.seq} comes after record {last_seq}: numbers must grow"
                    findings.append(_gap(writer, path.name, reason, kind="order"))
                last_seq = max(last_seq, entry.record.seq)
    return Verdict(records, count, findings)


def _gap(writer: str, segment: str, reason: str, kind: str = "missing") -> Finding:
    return Finding(writer, segment, 0, 0, kind, reason)


def _document(journal: Path, verdict: Verdict) -> dict[str, Any]:
    findings = [finding._asdict() for finding in verdict.findings]
    return {"journal": str(journal), **verdict._asdict(), "findings": findings}


def _lines(journal: Path, verdict: Verdict) -> Iterator[str]:
    checked = f"{counted(verdict.records, 'record')} in {counted(verdict.segments, 'segment')}"
    if not verdict.findings:
        yield f"{printable(str(journal))}: {checked}, every checksum fits."
        return
    yield f"{printable(str(journal))}: {checked} can be read, {counted(len(verdict.findings), 'fault')}:"
    for one in verdict.findings:
        place = "/".join(filter(None, (one.writer, one.segment))) or "journal"
        extent = f", {counted(one.length, 'byte')} at {one.offset}" if one.length else ""
        yield f"  {printable(place)}{extent}: {one.kind}: {printable(one.reason)}"
    if any(one.kind == "torn" for one in verdict.findings):
        yield "A torn end is normal after a power cut or a crash: `log()` had not returned for that row."
