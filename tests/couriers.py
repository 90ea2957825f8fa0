"""What the tests of couriers share: a run directory that is being written, and what arrived somewhere."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import finalize

from attrs import asdict

from corelib.journal import JournalWriter
from corelib.ports import RunRef
from corelib.pure.records import Exit, Header, Record, RunStart
from corelib.segments import Entry, read
from corelib.shell.delivery_spec import DeliverySpec
from corelib.testing.specimens import TIME, start_record

__all__ = [
    "LONG_S",
    "RUN_ID",
    "WRITER",
    "RunOnDisk",
    "calls_of",
    "eventually",
    "install_plugin",
    "records_in",
]

LONG_S = 120.0  # longer than any machine needs; nothing waits for it where all is well
RUN_ID = "abc"
WRITER = "w1"


class RunOnDisk:
    """A run directory with a journal that is written here, or elsewhere if it does not begin."""

    def __init__(self, root: Path, *, segment_bytes: int = 4 << 20, begins: bool = True) -> None:
        self.wandb_dir = root / "wandb"
        self.directory = self.wandb_dir / f"offline-run-20260102_030405-{RUN_ID}"
        self.journal = self.directory / "journal"
        self.mirror = root / "mirror" / "wandb" / self.directory.name / "journal"
        for name in ("files", "logs"):
            (self.directory / name).mkdir(parents=True)
        if begins:
            self._begin(segment_bytes)

    def _begin(self, segment_bytes: int) -> None:
        self.writer = self._writer(WRITER, primary=True, segment_bytes=segment_bytes)
        fields = asdict(start_record(), recurse=False)
        del fields["seq"], fields["time"]
        start = self.writer.append(RunStart, time=TIME, **fields)
        assert isinstance(start, RunStart)
        self.start = start

    def child(self, name: str = "child") -> JournalWriter:
        """Begin to write as another process of the run."""
        return self._writer(name, primary=False)

    def _writer(self, name: str, **options: Any) -> JournalWriter:
        writer = JournalWriter(
            self.journal, run_id=RUN_ID, writer=name, start_time=TIME, now=TIME, host="host", **options
        )
        finalize(writer, _let_go, vars(writer)).atexit = False
        return writer

    @property
    def ref(self) -> RunRef:
        return RunRef(run_id=RUN_ID, project="p", directory=str(self.directory))

    def spec(self, url: str | None = None, **changes: Any) -> DeliverySpec:
        """Return what a courier needs to mirror the run below `mirror`, or to carry it to `url`."""
        address: dict[str, Any] = {
            "url": url or f"file://{self.mirror.parents[2]}",
            "wandb_dir": str(self.wandb_dir),
        }
        address.update(changes.pop("address", {}))
        values: dict[str, Any] = {
            "run_id": RUN_ID,
            "project": "p",
            "entity": None,
            "directory": str(self.directory),
            "name": "t",
            "cursor_name": "t",
            "writer": WRITER,
            "pid": os.getpid(),
        }
        return DeliverySpec(address, **{**values, **changes})

    def log(self, number: int, **values: Any) -> None:
        """Write so many rows."""
        for _ in range(number):
            step = self.writer.seq
            self.writer.row(TIME + step, step, {"loss": 1.0 / (step + 1), **values})

    def end(self, exit_code: int | None = 0) -> None:
        """Write the end of the run, and keep its process alive."""
        self.writer.append(Exit, time=TIME, exit_code=exit_code, runtime=1.0)


def _let_go(state: dict[str, Any]) -> None:
    for fd in (state["_fd"], state["_lock_fd"]):
        if fd >= 0:
            os.close(fd)


def records_in(journal: Path) -> dict[str, list[Record]]:
    """Return the records of a journal by writer, without headers; nothing where there is none."""
    found: dict[str, list[Record]] = {}
    if journal.is_dir():
        for entry in read(journal):
            assert isinstance(entry, Entry), entry
            if not isinstance(entry.record, Header):
                found.setdefault(entry.writer, []).append(entry.record)
    return found


def eventually(condition: Callable[[], Any]) -> Any:
    """Wait until something is so, and return it; no machine is too slow for that, only a broken one."""
    deadline = time.monotonic() + LONG_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not come to pass")


PLUGIN = '''
import json, os, time
from pathlib import Path
from corelib.ports import Capabilities, Delivered, Rejected, RemoteAddress, Retry

class Plugged:
    """A transport that does what a plan says, and writes down what it is told to do."""

    def __init__(self, address):
        self.address = address
        self.root = Path(address.url.partition("://")[2])
        self.plan = json.loads((self.root / "plan.json").read_text())
        self.capabilities = Capabilities(**self.plan.get("capabilities", {}))
        self.taken = 0

    def note(self, call, **values):
        with open(self.root / "calls.jsonl", "a") as file:
            file.write(json.dumps({"call": call, "pid": os.getpid(), **values}) + "\\n")

    def outcome(self):
        remote = self.plan.get("remote")
        return Delivered(
            notices=tuple(self.plan.get("notices", ())),
            stop=self.plan.get("stop", False),
            remote=RemoteAddress(*remote) if remote else None,
        )

    def open(self, run, start):
        self.note("open", project=start.project)
        return self.outcome()

    def deliver(self, batch):
        self.note(
            "deliver",
            writer=batch.writer,
            header=batch.header is not None,
            seqs=[record.seq for record in batch.records],
            kinds=[type(record).__name__ for record in batch.records],
            codes=[record.exit_code for record in batch.records if type(record).__name__ == "Exit"],
        )
        if self.plan.get("dies"):
            os._exit(3)
        if self.plan.get("rejects"):
            return Rejected(reason=self.plan["rejects"])
        while (self.root / "hang").exists():
            time.sleep(0.01)
        self.taken += len(batch.records)
        return self.outcome()

    def heartbeat(self, run):
        self.note("heartbeat")
        return self.outcome()

    def save(self, run):
        return {"taken": self.taken}

    def load(self, run, saved):
        self.note("load", saved=saved)
        if self.plan.get("forgets"):
            raise RuntimeError("hunter2")
        self.taken = saved["taken"]

    def rebuild(self, batch):
        self.note("rebuild", seqs=[record.seq for record in batch.records])

    def close(self):
        self.note("close")
'''


def install_plugin(root: Path, **plan: Any) -> str:
    """Install a package with a transport that follows a plan; return its URL. `root` must come on sys.path."""
    distribution = root / "plugged-1.0.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
    (distribution / "entry_points.txt").write_text("[corelib.transports]\nplug = plugged:Plugged\n")
    (root / "plugged.py").write_text(PLUGIN)
    (root / "plan.json").write_text(json.dumps(plan))
    return f"plug://{root}"


def calls_of(root: Path, *names: str) -> list[dict[str, Any]]:
    """Return what the plugged transport was called for: all calls, or those with these names."""
    try:
        lines = (root / "calls.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    calls = [json.loads(line) for line in lines if line.endswith("}")]
    return [call for call in calls if not names or call["call"] in names]
