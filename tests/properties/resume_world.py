"""A model of a server and of two machines, in which clients resume runs one move at a time; it checks as it goes.

Law: the model knows what really happened, the clients only what they are told. What it asserts is a law of resuming.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

from attrs import define, field

from corelib.pure.remote import (
    Absent,
    Answer,
    Created,
    FailureKind,
    LookupFailed,
    RemoteRun,
    Started,
    Unreadable,
)
from corelib.pure.resume import (
    IDLE,
    Corrupt,
    Decide,
    Decision,
    Effect,
    Event,
    Finished,
    LookedUp,
    Lookup,
    MarkerRead,
    ReadMarker,
    RemoveMarker,
    Requested,
    RunStarted,
    State,
    Upsert,
    UpsertAnswered,
    WriteMarker,
    step,
)

MOST_QUESTIONS = 5
AFOOT = ("marker", "server", "exit", "upsert", "disk", "decided", "running")
LOST = UpsertAnswered(failure=LookupFailed("unreachable", "lost"))


@define(eq=False)
class ServerRun:
    """A run as the server has it. `starter` is the client that started it; None: a sweep made it."""

    starter: Client | None
    steps: list[int] = field(factory=list)
    exit_code: int | None = None


@define(eq=False)
class Folder:
    """A run directory; `begun` is False where init was killed before the first record."""

    run_id: str
    begun: bool
    first_step: int
    steps: list[int] = field(factory=list)
    exit_code: int | None = None


@define(eq=False)
class Machine:
    """A machine with its run directories and its resume file.

    `writer` is the run that wrote the file, None for somebody we do not know; `damage` is what the directories
    suffer from at this moment.
    """

    folders: list[Folder] = field(factory=list)
    marker: str | Corrupt | None = None
    writer: Client | None = None
    damage: Unreadable | LookupFailed | None = None

    def answer(self, run_id: str) -> Answer:
        if self.damage is not None:
            return self.damage
        mine = [folder for folder in self.folders if folder.run_id == run_id]
        begun = [folder for folder in mine if folder.begun]
        if not begun:
            return Created() if mine else Absent()
        return Started(
            _remote(run_id, [step for folder in begun for step in folder.steps], begun[-1].exit_code)
        )


@define(eq=False)
class Client:
    """One process that calls `init()`, and what it has been told."""

    machine: Machine
    request: Requested
    state: State
    pending: Effect | None = None
    decision: Decision | None = None
    questions: int = 0
    known: Answer | None = None
    known_here: Answer | None = None
    folder: Folder | None = None
    next_step: int = 0
    over: bool = False
    delivers: bool = False


def _remote(run_id: str, steps: list[int], exit_code: int | None) -> RemoteRun:
    return RemoteRun(
        run_id=run_id,
        last_step=steps[-1] if steps else None,
        history_lines=len(steps),
        exit_code=exit_code,
    )


class World:
    """Any number of clients on two machines share one server."""

    def __init__(self) -> None:
        self.fresh = count()
        self.weather: FailureKind | Literal["fine"] = "fine"
        self.server: dict[str, ServerRun] = {}
        self.tells_exits = True
        self.machines = [Machine(), Machine()]
        self.clients: list[Client] = []

    def alive(self, *phases: str) -> list[Client]:
        return [client for client in self.clients if not client.over and client.state.phase in phases]

    def unconfirmed(self) -> list[Client]:
        return [
            client
            for client in self.alive("running")
            if client.request.mode == "online" and not client.delivers and client.state.known == "unasked"
        ]

    def come(self, machine: int, policy: Any, run_id: str | None, mode: Any, *, force: bool = False) -> None:
        request = Requested(
            policy=policy, run_id=run_id, fresh_id=f"fresh{next(self.fresh)}", mode=mode, force=force
        )
        client = Client(self.machines[machine], request, IDLE)
        self.clients.append(client)
        self._hear(client, request)

    def move(self, client: Client, trouble: str | None = None) -> None:
        """Let a client make its next move; `trouble` loses the answer, or kills it before or after the first record."""
        if client.pending is not None:
            self._answer(client, lost=trouble is not None)
        elif client.state.phase == "decided":
            self._begin(client, trouble)
        elif client.state.phase == "running":
            self._log(client)

    def confirm(self, client: Client, *, lost: bool) -> None:
        before, answer = client.decision, self._take_over(client)
        client.delivers = answer.failure is None and not lost
        self._hear(client, LOST if lost else answer)
        after = client.decision
        assert before is not None
        assert after is not None
        assert (after.run_id, after.starting_step, after.error) == (before.run_id, before.starting_step, None)
        assert after.deferred is not client.delivers
        assert (after.action == "overwrite") is (client.delivers and answer.started is True)

    def end(self, client: Client, exit_code: int | None, *, dies: bool) -> None:
        """Record the end, then tell the machine; a kill may come between."""
        client.over = True
        if client.folder is not None:
            client.folder.exit_code = exit_code
        run = self.server.get(client.state.run_id)
        if client.delivers and run is not None:
            run.exit_code = exit_code
        if not dies:
            self._hear(client, Finished(exit_code))
        elif exit_code == 0 and client.machine.writer is client:
            client.machine.writer = None  # the file is stale now, as an older client would have left it

    def sweep(self) -> None:
        self.server.setdefault("abc", ServerRun(None))

    def every_path_ends_in_a_decision(self) -> None:
        for client in self.clients:
            assert (client.pending is None) == (client.decision is not None)
            assert client.questions <= MOST_QUESTIONS

    def the_file_names_a_live_or_crashed_run_or_nothing(self) -> None:
        for machine in self.machines:
            if machine.writer is not None:
                assert machine.marker == machine.writer.state.run_id
                folder = machine.writer.folder
                assert folder is not None
                assert folder.exit_code != 0

    def _answer(self, client: Client, *, lost: bool) -> None:
        """Do what a client asks for and answer, unless the answer is lost on the way."""
        client.questions += 1
        match client.pending:
            case ReadMarker():
                self._hear(client, MarkerRead(client.machine.marker))
            case Lookup(run_id, "disk") if client.state.phase == "exit":
                client.known_here = client.machine.answer(run_id)
                self._hear(client, LookedUp(client.known_here))
            case Lookup(run_id, "disk"):
                client.known = client.machine.answer(run_id)
                self._hear(client, LookedUp(client.known))
            case Lookup(run_id):
                client.known = LookupFailed("unreachable", "lost") if lost else self._server_answer(run_id)
                self._hear(client, LookedUp(client.known))
            case Upsert(run_id):
                answer = self._upsert(client, run_id)
                self._hear(client, LOST if lost else answer)

    def _begin(self, client: Client, dies: str | None) -> None:
        """Make the run directory, write its first record, touch the resume file; a kill may come between."""
        decision = client.decision
        assert decision is not None
        if client.request.mode != "disabled":
            client.folder = Folder(decision.run_id, dies != "before", decision.starting_step)
            client.machine.folders.append(client.folder)
        client.next_step = decision.starting_step
        client.over = dies is not None
        if dies is None:
            self._hear(client, RunStarted())

    def _log(self, client: Client) -> None:
        if client.folder is not None:
            client.folder.steps.append(client.next_step)
        run = self.server.get(client.state.run_id)
        if client.delivers and run is not None:
            run.steps.append(client.next_step)
            run.exit_code = None
        client.next_step += 1

    def _server_answer(self, run_id: str) -> Answer:
        if self.weather != "fine":
            return LookupFailed(self.weather, "bad weather")
        run = self.server.get(run_id)
        if run is None:
            return Absent()
        if run.starter is None:
            return Created()
        return Started(_remote(run_id, run.steps, run.exit_code if self.tells_exits else None))

    def _upsert(self, client: Client, run_id: str) -> UpsertAnswered:
        """Start a run that nobody has started; one transaction."""
        assert client.request.policy in ("allow", "auto", "never"), "only who may create is asked to"
        if self.weather != "fine":
            return UpsertAnswered(failure=LookupFailed(self.weather, "bad weather"))
        old = self.server.get(run_id)
        if old is not None and old.starter is not None:
            return UpsertAnswered(inserted=False, started=True)
        self.server[run_id] = ServerRun(client)
        return UpsertAnswered(inserted=old is None, started=False)

    def _take_over(self, client: Client) -> UpsertAnswered:
        """Start a run, whatever was there."""
        if self.weather != "fine":
            return UpsertAnswered(failure=LookupFailed(self.weather, "bad weather"))
        assert client.request.policy != "must", "must creates nothing"
        old = self.server.get(client.state.run_id)
        there = old is not None and old.starter is not None
        assert not there or client.request.policy is None, "overwritten"
        self.server[client.state.run_id] = ServerRun(client)
        return UpsertAnswered(inserted=old is None, started=there)

    def _hear(self, client: Client, event: Event) -> None:
        before, deciding = client.machine.marker, client.decision is None
        client.state, effects = step(client.state, event)
        client.pending = None
        for effect in effects:
            match effect:
                case Decide(decision):
                    client.decision = decision
                    if deciding and decision.action != "refuse":
                        self._check_decision(client, decision)
                case WriteMarker(run_id):
                    client.machine.marker, client.machine.writer = run_id, client
                case RemoveMarker(run_id):
                    if run_id in (None, client.machine.marker):
                        client.machine.marker, client.machine.writer = None, None
                case _:
                    client.pending = effect
        if not isinstance(event, (RunStarted, Finished)):
            assert client.machine.marker == before, "a failed init() leaves the file as it was"
        if isinstance(event, Finished):
            assert before in (client.machine.marker, client.state.run_id), "the file of another run"

    def _check_decision(self, client: Client, decision: Decision) -> None:
        """Compare the decision to start with what the world knows at this moment."""
        request = client.request
        policy, online = request.policy, request.mode == "online" and not decision.deferred
        named = client.state.id_from != "fresh"
        run = self.server.get(decision.run_id)
        if decision.action == "resumed":
            assert policy in ("allow", "must", "auto")
            assert isinstance(client.known, Started)
            stored = client.known.remote
            assert decision.starting_step == (0 if stored.last_step is None else stored.last_step + 1)
            here = client.known_here.remote if isinstance(client.known_here, Started) else stored
            assert not (client.state.id_from == "marker" and 0 in (stored.exit_code, here.exit_code)), (
                "auto after a success is new"
            )
            client.delivers = online
        elif policy is not None and named and online:
            assert run is not None
            assert run.starter is client, "somebody else's run"
            client.delivers = True
        elif policy == "never" and named and request.mode == "offline":
            assert isinstance(client.known, (Absent, Created))
        if policy in ("allow", "auto") and named and isinstance(client.known, Started):
            assert decision.action == "resumed", "what is there goes on"
        if policy == "must" and request.mode != "disabled":
            assert decision.action == "resumed"
        if policy in ("must", "never") and request.run_id is not None:
            assert not decision.deferred
