"""The transports that come with corelib keep every promise of the port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from corelib.ports import RunRef, Transport
from corelib.pure.records import Header, Record
from corelib.segments import Entry, read, run_directories
from corelib.testing import FaultyTransport, TransportConformance
from corelib.testing.faults import LoseAnswer, Postpone
from transports.file import FileTransport
from transports.memory import MemoryTransport
from transports.null import NullTransport


class TestNull(TransportConformance):
    """The null transport keeps nothing that could be read back."""

    @pytest.fixture
    def transport(self) -> Transport:
        return NullTransport()


class TestMemory(TransportConformance):
    """The memory transport does not outlive its process, so there is no restart."""

    @pytest.fixture
    def transport(self) -> Transport:
        return MemoryTransport()

    def delivered_records(self, transport: Transport, run: RunRef) -> Sequence[tuple[str, Record]]:
        memory = transport.transport if isinstance(transport, FaultyTransport) else transport
        assert isinstance(memory, MemoryTransport)
        writers = {batch.writer for batch in memory.batches}
        return [(name, record) for name in sorted(writers) for record in memory.records(run.run_id, name)]


class TestFaulty(TestMemory):
    """A faulty transport whose faults are those of a network keeps the promises of the one it wraps."""

    @pytest.fixture
    def transport(self) -> Transport:
        return FaultyTransport(
            MemoryTransport(), deliver=[None, LoseAnswer(), Postpone(after=1.0), None] * 100
        )


class TestFile(TransportConformance):
    """The file transport keeps copies below a directory."""

    @pytest.fixture
    def transport(self, tmp_path: Path) -> Transport:
        return FileTransport(tmp_path / "wandb")

    def restart(self, transport: Transport) -> Transport:
        assert isinstance(transport, FileTransport)
        transport.close()
        return FileTransport(transport.wandb_dir)

    def delivered_records(self, transport: Transport, run: RunRef) -> Sequence[tuple[str, Record]]:
        assert isinstance(transport, FileTransport)
        return [
            (entry.writer, entry.record)
            for directory in run_directories(transport.wandb_dir)
            if directory.name.endswith(f"-{run.run_id}")
            for entry in read(directory / "journal")
            if type(entry) is Entry and not isinstance(entry.record, Header)
        ]
