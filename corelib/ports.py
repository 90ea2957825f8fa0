"""The transport port: what a backend must offer, and what the core promises in return.

Required is one method, `deliver`. All others are optional; `capabilities` declares which are there, and the core
calls nothing that is not declared. `corelib.testing.TransportConformance` checks a transport against this page.

    Transport            deliver                  carry records
    CompleteTransport    open, close              the life of one run
                         heartbeat                show that it is alive
    RemoteIndex          lookup, create           what the backend knows of a run, and who was first to start it
    Restartable          save, load, rebuild      go on where an earlier process stopped

What the core promises to a transport
    thread      `open`, `deliver`, `heartbeat` and `close` for one run come from one thread, one after the other,
                never from a thread that logs; likewise `save`, `load` and `rebuild`. `lookup` and `create` come
                from the thread that calls `init()`, before the first call for that run; `lookup` also from the
                one that calls `open`, before that, where `init()` left something to decide. An object that is
                given to several runs at a time is called by several such threads.
    order       Records of one writer arrive in journal order, their `seq` growing. Writers of one run are
                separate sequences and may alternate. An end that a journal lacks, because its process died,
                comes as the end of a primary writer of its own; where records follow it after all, so does
                another end, and `rebuild` leaves it out. `open` is answered for good before the first `deliver`.
                `heartbeat` comes between batches, never while one is to be repeated.
    bounds      A batch holds 1 to `max_batch_records` records and at most `max_batch_bytes` bytes of encoded
                payload, unless its first record alone is larger; then it comes alone. One batch is in flight
                at a time. A record waits about `max_batch_age_s` for company, longer where the backend fails.
    repetition  Delivery is at-least-once. After `Retry` the same batch comes again. After a lost answer, a
                crash or a restart its records may come again in batches cut otherwise. `Batch.key(record)` =
                (run id, writer id, seq) is the idempotency key: a record under a known key is the same
                record.
    restart     What `save` returns after `open` and after each batch that was answered for good is kept beside
                the cursor, and that of `open` is kept before the first `deliver`. A new process calls `load`
                with what was kept last, `rebuild` with everything that lies before the cursor, in journal
                order and in batches cut anyhow, then `open`; and the records behind the cursor come by
                `deliver`, again if they came before. Where nothing was kept, neither `load` nor `rebuild` is
                called, and all records come by `deliver`.
    time        Each call should return within `time_budget_s`, `lookup` and `create` within their `timeout`. The
                core does not interrupt a call: a slower one delays this transport alone, is reported once, and
                `finish(timeout=…)` returns without it.
    fork        A transport is never called in a forked child. The child's records reach it through the
                journal, as those of a writer of their own, as long as the parent's run lasts; later ones wait
                for a sync.
    exit        `close()` is called once per run, after its last `deliver`, also after failures and
                rejections. It is not called, and a call under way is cut off, where the process is killed or
                the interpreter ends before `finish` is done. So what `deliver` has answered `Delivered` for
                must be safe by then, or be kept by `save` for the next one to send. An object given by the user
                may serve another run after `close()`.
    errors      Expected failure is a returned value. An exception that leaves `open` or `deliver`, or an
                answer that is none, is a bug of the transport: it counts as `Retry`, is reported once, and
                never reaches training code. What `lookup` cannot find out is the answer `LookupFailed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from corelib.pure.outcomes import Delivered, LateLoss, Outcome, Rejected, RemoteAddress, Retry
from corelib.pure.records import Header, Record, RunStart
from corelib.pure.remote import Absent, Answer, Created, LookupFailed, RemoteRun, Started, Unreadable
from corelib.pure.resume_events import UpsertAnswered

__all__ = [
    "Absent",
    "Address",
    "Answer",
    "Batch",
    "Capabilities",
    "CompleteTransport",
    "Created",
    "Delivered",
    "LateLoss",
    "LookupFailed",
    "Outcome",
    "Rejected",
    "RemoteAddress",
    "RemoteIndex",
    "RemoteRun",
    "Restartable",
    "Retry",
    "RunRef",
    "Started",
    "Transport",
    "TransportFactory",
    "Unreadable",
    "UpsertAnswered",
]


@frozen(kw_only=True)
class Capabilities:
    """What a transport offers and needs; data, so that the core never has to try.

    Args:
        lookup, create, open, close: the method of this name is there and wants to be called.
        restartable: `save`, `load` and `rebuild` are there.
        redeliver: `redeliver` is there, for files and alerts that were refused; only with `restartable`.
        heartbeat_s: `heartbeat` is there, and is called after so many seconds without another call. None: it is
            not.
        journal: the run keeps a journal on disk for this transport. False (null): nothing is written
            anywhere.
        is_journal: the run's own journal already is the delivery; `deliver` is never called.
        max_batch_records, max_batch_bytes: bounds of one batch.
        max_batch_age_s: how long a record may wait for company, in seconds: the distance of deliveries that are
            not full.
        time_budget_s: how long one call may take, in seconds.
    """

    lookup: bool = False
    create: bool = False
    open: bool = False
    close: bool = False
    restartable: bool = False
    redeliver: bool = False
    heartbeat_s: float | None = None
    journal: bool = True
    is_journal: bool = False
    max_batch_records: int = 1000
    max_batch_bytes: int = 1 << 20
    max_batch_age_s: float = 1.0
    time_budget_s: float = 30.0


@frozen(kw_only=True)
class RunRef:
    """The address of a run: what a backend needs to find or create it.

    `directory` is the run's local directory, where `files/` and `journal/` are; None where there is none
    (yet).
    """

    run_id: str
    project: str
    entity: str | None = None
    directory: str | None = None


@frozen(kw_only=True)
class Batch:
    """Consecutive records of one writer of one run.

    `header` says who the writer is: host, process, start of the run. It is None only where the journal's own
    is damaged. Headers are never among `records`.
    """

    run: RunRef
    writer: str
    header: Header | None
    records: tuple[Record, ...]

    def key(self, record: Record) -> tuple[str, str, int]:
        """Return the idempotency key of a record: run id, writer id, seq."""
        return (self.run.run_id, self.writer, record.seq)


@runtime_checkable
class Transport(Protocol):
    """The port: implement `deliver`, declare in `capabilities` what else there is."""

    @property
    def capabilities(self) -> Capabilities:
        """What this transport offers and needs; the same value every time. An attribute will do."""
        ...

    def deliver(self, batch: Batch) -> Outcome:
        """Carry the records to the backend and say what became of them.

        `Delivered`: all are safe, or kept by `save`. `Retry`: whatever was done, the same batch comes again.
        `Rejected`: the named ones never will be taken, the others are safe.
        """
        ...


class RemoteIndex(Protocol):
    """What a backend that knows runs from before can say about them."""

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        """Say within `timeout` seconds whether the backend knows this run, and how far it got."""
        ...

    def create(self, run: RunRef, start: RunStart, timeout: float) -> UpsertAnswered:
        """Start the run at the backend within `timeout` seconds, creating it if need be, and say who was first.

        A run that somebody has started already is left as it is.
        """
        ...


class Restartable(Protocol):
    """How a transport goes on where an earlier process stopped."""

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        """Return what a new process must know beside the records, as a JSON tree; None: nothing.

        It is how things stood when `open` or `deliver` was last answered for good, whenever it is asked.
        """
        ...

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        """Take what an earlier process saved.

        Raises:
            UsageError: it is something else.
        """
        ...

    def rebuild(self, batch: Batch) -> None:
        """Take records that were delivered before, to know what they say; nothing is sent."""
        ...


class CompleteTransport(Transport, RemoteIndex, Restartable, Protocol):
    """A transport with every optional method; only those that `capabilities` declares are called."""

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        """Make the backend ready for a run; may be repeated, as after a restart.

        `Rejected` refuses the run: nothing of it is delivered, and all its records are counted as rejected.
        """
        ...

    def heartbeat(self, run: RunRef) -> Outcome:
        """Show the backend that the run is alive, although there is nothing to deliver.

        `Retry`: the backend did not hear it; as after a delivery, it comes again later.
        """
        ...

    def redeliver(self, batch: Batch) -> Outcome:
        """Deliver files and alerts that were refused, as they are now; `rebuild` has told what the run says.

        The answer means what it means for `deliver`, but that `Delivered` owes nothing.
        """
        ...

    def close(self) -> None:
        """Let go of what is held for a run that has ended."""
        ...


def _texts(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _own(headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


@frozen(kw_only=True)
class Address:
    """Where a transport that was named by a text is to carry records: what its factory is called with.

    `url` is the text itself, a bare name or a URL, without credentials. `wandb_dir` is the absolute path of the
    directory that holds the run directories. Of a server, where one was set: `base_url` is its address, for a
    text that is a bare name, `app_url` that of its pages for people, and `key` the secret that it wants. `fresh_key`,
    asked when the server has refused that, returns the one that people have put in its place; None: there is none.
    `timeout_s` is how long one request may take, `push_every_s` the distance of deliveries that are not full, both
    in seconds; `ignored` are patterns of saved files that are not to be delivered; `headers` go with every request to
    the server at `base_url`, and nowhere else, for they may be secrets.
    """

    url: str
    wandb_dir: str
    base_url: str | None = None
    app_url: str | None = None
    key: str | None = field(default=None, repr=False)
    fresh_key: Callable[[], str | None] | None = field(default=None, repr=False)
    timeout_s: float | None = None
    push_every_s: float | None = None
    ignored: tuple[str, ...] = field(default=(), converter=_texts)
    headers: Mapping[str, str] = field(factory=dict, converter=_own, repr=False)


TransportFactory: TypeAlias = Callable[[Address], Transport]
"""What a built-in name or an entry point of the group `corelib.transports` stands for."""
