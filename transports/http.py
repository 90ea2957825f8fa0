"""The HTTP transport: carries runs to a server that speaks the W&B protocol.

Law: it joins the two halves and decides little itself. `transports.wandb_protocol` says what to send and what the
answers mean, `transports.http_session` sends, `transports.http_conversation` alternates; here are the clock, the files
of the run directory, and one conversation per run. The server's wish for a pace is obeyed across all runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import random
from threading import Lock
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import evolve, field, frozen

from corelib.errors import AuthenticationError, UsageError
from corelib.ports import (
    Address,
    Answer,
    Batch,
    Capabilities,
    LookupFailed,
    Outcome,
    Retry,
    RunRef,
    UpsertAnswered,
)
from corelib.pure.credentials import check_key_format, how_to_log_in
from corelib.pure.records import RunStart
from transports.http_aside import Start, start_thread
from transports.http_pace import Pace
from transports.http_session import HttpSession, Timeouts, checked_base_url
from transports.wandb_exchange import host_of

if TYPE_CHECKING:
    from requests import Session

    from transports.http_conversation import Conversation
    from transports.wandb_documents import ProtocolSettings
    from transports.wandb_protocol import RunProtocol
    from transports.wandb_saved import SavedRun

__all__ = ["HttpOptions", "HttpTransport", "World"]

_MOST_RECORDS: Final = 10_000
_MOST_BYTES: Final = 4 << 20  # of records; pushes are at most 10 MiB, and quoting makes longer
_TIME_BUDGET_S: Final = 300.0  # a delivery may have to take large files along
_SHORTEST_INTERVAL_S: Final = 0.1


@frozen(kw_only=True)
class HttpOptions:
    """How to speak to the server.

    Args:
        app_url: the address of the pages for people; derived from the base URL where it is None.
        headers: further headers for requests to the server.
        fresh_key: asked when the server has refused the key; returns the one to go on with, None: there is none.
        ignored: patterns of names of files that are not uploaded.
        timeouts: how long one exchange may take.
        push_every_s: the distance of pushes that are not full, in seconds.
        heartbeat_s: after so many seconds without a request the server is told that the run is alive.
        slow_s: how long to wait before something is tried again slowly, in seconds.
        doubts: how often something doubtful is tried before it is refused, at least 1.
        upload_tries: how often files, alerts and changes of the run may fail before they are refused, at least 1.
    """

    app_url: str | None = None
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    fresh_key: Callable[[], str | None] | None = field(default=None, repr=False)
    ignored: tuple[str, ...] = ()
    timeouts: Timeouts = field(factory=Timeouts)
    push_every_s: float = 15.0
    heartbeat_s: float = 30.0
    slow_s: float = 15.0
    doubts: int = 5
    upload_tries: int = 12


class World(NamedTuple):
    """The time that a transport lives by; tests bring their own.

    Args:
        now: seconds since the epoch, for dates that a server names.
        clock: seconds, never going back.
        sleep: wait so many seconds.
        draw: a number in [0, 1).
        start: has an upload done, on a thread of its own.
    """

    now: Callable[[], float] = time
    clock: Callable[[], float] = monotonic
    sleep: Callable[[float], object] = sleep
    draw: Callable[[], float] = random
    start: Start = start_thread


class HttpTransport:
    """Carries runs to one server. It may be given to several runs at a time.

    Args:
        base_url: where the server's API is, such as https://api.example.com.
        key: the secret that the server wants.
        entity: whose the runs are; None leaves it to the server.
        session: a `requests.Session` to use.
        options: how to speak to the server.
        world: the time.

    Raises:
        UsageError: the base URL is no address, or holds a secret.
        AuthenticationError: the key is empty.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        entity: str | None = None,
        session: Session | None = None,
        options: HttpOptions | None = None,
        world: World | None = None,
    ) -> None:
        if not key:
            raise AuthenticationError("A server needs a key, and was given an empty one. Log in first.")
        self.base_url = checked_base_url(base_url)
        self._host = host_of(self.base_url)
        self._options = options = HttpOptions() if options is None else options
        self._world = World() if world is None else world
        self._session = HttpSession(
            self.base_url,
            key,
            session=session,
            headers=options.headers,
            timeouts=options.timeouts,
            fresh_key=options.fresh_key,
        )
        # Another one, so that no connection is shared with a thread that is at rest for long.
        self._store = HttpSession(
            self.base_url, key, session=session, headers=options.headers, timeouts=options.timeouts
        )
        self._entity = entity
        self._known_settings: ProtocolSettings | None = None
        self._runs: dict[tuple[str | None, ...], Conversation] = {}
        self._lock = Lock()
        self._pace = Pace(self._host)
        self.capabilities = Capabilities(
            lookup=True,
            create=True,
            open=True,
            close=True,
            restartable=True,
            redeliver=True,
            heartbeat_s=options.heartbeat_s,
            max_batch_records=_MOST_RECORDS,
            max_batch_bytes=_MOST_BYTES,
            max_batch_age_s=options.push_every_s,
            time_budget_s=_TIME_BUDGET_S,
        )

    @classmethod
    def from_address(cls, address: Address) -> HttpTransport:
        """Make the transport for the names "http" and "wandb", or for the URL of a server.

        Raises:
            UsageError: no server is named, or no time is left for any request.
            AuthenticationError: there is no key for it, or a malformed one, which is not sent.
        """
        is_url = "://" in address.url
        base_url = address.url if is_url else address.base_url
        if base_url is None:
            raise UsageError(
                f"Transport {address.url!r} needs the address of a server: set base_url, or name the URL itself."
            )
        base_url = checked_base_url(base_url)
        if not address.key:
            raise AuthenticationError(
                f"There is no key for {base_url}. Log in with {how_to_log_in(base_url)}, or set the key in the "
                "environment."
            )
        check_key_format(address.key)
        is_set_server = address.base_url is None or base_url == checked_base_url(address.base_url)
        options = HttpOptions(
            app_url=address.app_url if is_set_server else None,
            headers=address.headers if is_set_server else {},
            fresh_key=address.fresh_key,
            ignored=address.ignored,
        )
        if address.timeout_s is not None:
            options = evolve(options, timeouts=Timeouts.of(address.timeout_s))
        if address.push_every_s is not None:
            options = evolve(options, push_every_s=max(address.push_every_s, _SHORTEST_INTERVAL_S))
        return cls(base_url, address.key, options=options)

    # ------------------------------------------------------------------------------------------ the life of a run

    def open(self, run: RunRef, start: RunStart) -> Outcome:
        """Make or find the run at the server; where that is done already, nothing is asked."""
        with self._lock:
            known = self._runs.get(_key(run))
            begun = None if known is None else known.protocol.start
            if known is None or (begun is not None and begun.time != start.time):
                known = self._runs[_key(run)] = self._new(run)  # a new run, or another one under this address
        known.protocol.begin_call(self._world.now())
        known.protocol.open(start)
        return known.carry() or known.protocol.outcome()

    def deliver(self, batch: Batch) -> Outcome:
        """Push rows and summary, and tell what else the records say."""
        from transports.http_machine import with_exit_code

        conversation = self._of(batch.run)
        protocol = conversation.protocol
        self._begin_call(protocol)
        protocol.take(with_exit_code(batch))
        heard_at = protocol.heard_at
        is_silent = heard_at is not None and self._world.now() - heard_at >= self._options.heartbeat_s
        retry = self._look_and_carry(conversation, batch.run, alive=is_silent)
        if retry is not None:
            return retry
        outcome = protocol.outcome(batch)
        if isinstance(outcome, Retry) and outcome.after is not None:
            # While a batch is to come again, nobody else says that the run is alive.
            return evolve(outcome, after=min(outcome.after, self._options.heartbeat_s))
        return outcome

    def redeliver(self, batch: Batch) -> Outcome:
        """Send files, as they are now, and alerts that were refused; behind files the end of the run is said again."""
        conversation = self._of(batch.run)
        self._begin_call(conversation.protocol)
        conversation.protocol.take_again(batch)
        return self._look_and_carry(conversation, batch.run) or conversation.protocol.outcome(batch)

    def heartbeat(self, run: RunRef) -> Outcome:
        """Say that the run is alive; files that changed meanwhile go along."""
        with self._lock:
            conversation = self._runs.get(_key(run))
        if conversation is None:
            return Retry(reason="the run has not been opened")
        self._begin_call(conversation.protocol)
        return self._look_and_carry(conversation, run, alive=True) or conversation.protocol.outcome()

    def close(self) -> None:
        """Let go of the runs that have ended, and of connections that nobody uses."""
        with self._lock:
            self._runs = {
                key: conversation
                for key, conversation in self._runs.items()
                if conversation.protocol.saved is None or not conversation.protocol.saved.complete
            }
            if not self._runs:
                self._session.close()
                self._store.close()

    def save(self, run: RunRef) -> Mapping[str, Any] | None:
        """Return where the next lines of a run go, and what the server calls it."""
        with self._lock:
            conversation = self._runs.get(_key(run))
        saved = None if conversation is None else conversation.protocol.saved
        return None if saved is None else saved.tree()

    def load(self, run: RunRef, saved: Mapping[str, Any]) -> None:
        """Take what an earlier process saved.

        Raises:
            UsageError: it is something else.
        """
        from transports.wandb_saved import SavedRun

        conversation = self._new(run, SavedRun.read(saved))
        with self._lock:
            self._runs[_key(run)] = conversation

    def rebuild(self, batch: Batch) -> None:
        """Take records that were delivered before, to know what they say."""
        self._of(batch.run).protocol.rebuild(batch)

    # ---------------------------------------------------------------------------------- what the server knows of it

    def lookup(self, run: RunRef, timeout: float) -> Answer:
        """Ask the server for a run."""
        from transports.wandb_resume import read_answer, resume_request

        request = resume_request(run.run_id, run.project, run.entity or self._entity)
        return read_answer(
            request,
            self._session.ask(request, timeout),
            host=self._host,
            now=self._world.now(),
            run_id=run.run_id,
            app_url=self._settings().app_url,
        )

    def create(self, run: RunRef, start: RunStart, timeout: float) -> UpsertAnswered:
        """Start a run at the server, unless somebody has done so already, and say who was first."""
        from transports.wandb_creation import Creation

        deadline = self._world.clock() + timeout
        try:
            creation = Creation(run, start, self._settings(), self._world.draw())
        except ValueError as error:
            return UpsertAnswered(failure=LookupFailed("server", f"the config cannot be sent: {error}"))
        while (request := creation.next_request()) is not None:
            if creation.settle_s:
                self._world.sleep(min(creation.settle_s, max(deadline - self._world.clock(), 0.0)))
            remaining_s = deadline - self._world.clock()
            creation.answered(request, self._session.ask(request, remaining_s), self._world.now())
        return creation.answer or UpsertAnswered()

    # -------------------------------------------------------------------------------------------------------- parts

    # What the conversation needs is imported when there is one: who makes a transport may only want to ask it
    # what it can do, in a process that has better things to do.

    def _settings(self) -> ProtocolSettings:
        if self._known_settings is None:
            self._known_settings = self._make_settings()
        return self._known_settings

    def _make_settings(self) -> ProtocolSettings:
        from transports.http_machine import client_facts, machine_facts
        from transports.wandb_documents import ProtocolSettings, app_url_of

        options = self._options
        return ProtocolSettings(
            base_url=self.base_url,
            app_url=(options.app_url or app_url_of(self.base_url)).rstrip("/"),
            client=client_facts(),
            machine=machine_facts(),
            entity=self._entity,
            doubts=options.doubts,
            upload_tries=options.upload_tries,
            slow_s=options.slow_s,
            ignored=options.ignored,
        )

    def _new(self, run: RunRef, saved: SavedRun | None = None) -> Conversation:
        from transports.http_conversation import Conversation
        from transports.wandb_protocol import RunProtocol

        protocol = RunProtocol(run, self._settings(), saved)
        return Conversation(
            protocol, self._session, self._store, self._world, self._pace, self._options.heartbeat_s
        )

    def _of(self, run: RunRef) -> Conversation:
        with self._lock:
            known = self._runs.get(_key(run))
            if known is None:
                known = self._runs[_key(run)] = self._new(run)
            return known

    def _begin_call(self, protocol: RunProtocol) -> None:
        """Begin a call that takes files, alerts and changes along: about as long as rows may wait for company."""
        now = self._world.now()
        protocol.begin_call(now, lanes_until=now + self._options.push_every_s)

    def _look_and_carry(
        self, conversation: Conversation, run: RunRef, *, alive: bool = False
    ) -> Retry | None:
        from transports.http_machine import file_state

        protocol = conversation.protocol
        conversation.catch_up()
        names = protocol.to_look_at()
        if names:
            protocol.looked_at({name: file_state(run, name) for name in names})
        return conversation.carry(alive=alive)

    def __repr__(self) -> str:
        return f"<HttpTransport {self.base_url}>"


def _key(run: RunRef) -> tuple[str | None, ...]:
    return (run.entity, run.project, run.run_id, run.directory)
