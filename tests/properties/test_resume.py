"""The laws of resuming, against a model of a server and of two machines with crashes, rivals and lost answers.

Laws: under never, must, allow and auto nothing that was recorded is overwritten; must creates nothing; every path ends
in a decision; the resume file names a live or crashed run or nothing; a resumed run goes on after its last row.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Literal

from attrs import define, evolve, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corelib.errors import UsageError
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
    TRANSITIONS,
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
from corelib.testing.strategies.resume import POLICIES, events, markers

MOST_QUESTIONS = 5
MOST_CLIENTS = 4
WEATHER: tuple[FailureKind, ...] = ("unreachable", "server", "auth", "forbidden")
DAMAGE: tuple[Unreadable | LookupFailed, ...] = (Unreadable("torn"), LookupFailed("server", "EIO"))
AFOOT = ("marker", "server", "upsert", "disk", "decided", "running")
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


def calls() -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy of calls of `init()`, most of them for the same run."""
    return st.fixed_dictionaries(
        {
            "machine": st.sampled_from([0, 0, 1]),
            "policy": st.sampled_from(["auto", "allow", "never", "must", None, "auto", "allow"]),
            "run_id": st.sampled_from(["abc"] * 6 + [None] * 3 + ["x"]),
            "mode": st.sampled_from(["online"] * 5 + ["offline"] * 4 + ["disabled"]),
            "force": st.sampled_from([False] * 5 + [True]),
        }
    )


class Resuming(RuleBasedStateMachine):
    """Any number of clients on two machines share one server; everything may happen between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.fresh = count()
        self.weather: FailureKind | Literal["fine"] = "fine"
        self.server: dict[str, ServerRun] = {}
        self.machines = [Machine(), Machine()]
        self.clients: list[Client] = []

    # What clients do.

    @initialize(calls=st.lists(calls(), min_size=2, max_size=4))
    def first_clients(self, calls: list[dict[str, Any]]) -> None:
        for call in calls:
            self.come(**call)

    @precondition(lambda self: len(self._alive(*AFOOT)) < MOST_CLIENTS)
    @rule(call=calls())
    def client_comes(self, call: dict[str, Any]) -> None:
        self.come(**call)

    def come(self, machine: int, policy: Any, run_id: str | None, mode: Any, *, force: bool = False) -> None:
        request = Requested(
            policy=policy, run_id=run_id, fresh_id=f"fresh{next(self.fresh)}", mode=mode, force=force
        )
        client = Client(self.machines[machine], request, IDLE)
        self.clients.append(client)
        self._hear(client, request)

    @precondition(lambda self: self._alive(*AFOOT))
    @rule(data=st.data(), moves=st.integers(1, 5), trouble=st.sampled_from([False] * 5 + [True]))
    def client_goes_on(self, data: st.DataObject, moves: int, trouble: bool) -> None:
        """Make some moves before anybody else does; trouble comes with the last one."""
        client = data.draw(st.sampled_from(self._alive(*AFOOT)))
        for move in range(moves):
            troubled = trouble and move == moves - 1
            self.move(client, data.draw(st.sampled_from(["before", "after"])) if troubled else None)

    @precondition(lambda self: self._unconfirmed())
    @rule(data=st.data(), lost=st.booleans())
    def backend_answers_late(self, data: st.DataObject, lost: bool) -> None:
        """Without resume, or with a generated id, the run is started at the server when it is on its way."""
        self.confirm(data.draw(st.sampled_from(self._unconfirmed())), lost=lost)

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

    @precondition(lambda self: self._alive("running"))
    @rule(
        data=st.data(), exit_code=st.sampled_from([0, 0, 1, None]), dies=st.sampled_from([False] * 5 + [True])
    )
    def run_ends(self, data: st.DataObject, exit_code: int | None, dies: bool) -> None:
        self.end(data.draw(st.sampled_from(self._alive("running"))), exit_code, dies=dies)

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

    @precondition(lambda self: self._alive(*AFOOT))
    @rule(data=st.data())
    def client_is_killed(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self._alive(*AFOOT))).over = True

    # What others do.

    @rule(data=st.data(), machine=st.sampled_from([0, 1]))
    def world_changes(self, data: st.DataObject, machine: int) -> None:
        """The network, the disks, a sweep controller, somebody who deletes runs, and older clients."""
        here = self.machines[machine]
        match data.draw(st.sampled_from(["weather", "weather", "sweep", "deletion", "disk", "file"])):
            case "weather":
                self.weather = data.draw(st.sampled_from(WEATHER)) if self.weather == "fine" else "fine"
            case "sweep":
                self.sweep()
            case "deletion":
                self.server.pop(data.draw(st.sampled_from(["abc", "x"])), None)
            case "disk":
                here.damage = data.draw(st.sampled_from(DAMAGE)) if here.damage is None else None
            case "file":
                here.marker, here.writer = data.draw(markers()), None

    def sweep(self) -> None:
        self.server.setdefault("abc", ServerRun(None))

    # The laws.

    @invariant()
    def every_path_ends_in_a_decision(self) -> None:
        for client in self.clients:
            assert (client.pending is None) == (client.decision is not None)
            assert client.questions <= MOST_QUESTIONS

    @invariant()
    def the_file_names_a_live_or_crashed_run_or_nothing(self) -> None:
        for machine in self.machines:
            if machine.writer is not None:
                assert machine.marker == machine.writer.state.run_id
                folder = machine.writer.folder
                assert folder is not None
                assert folder.exit_code != 0

    # How it works.

    def move(self, client: Client, trouble: str | None = None) -> None:
        """Let a client make its next move; `trouble` loses the answer, or kills it before or after the first record."""
        if client.pending is not None:
            self._answer(client, lost=trouble is not None)
        elif client.state.phase == "decided":
            self._begin(client, trouble)
        elif client.state.phase == "running":
            self._log(client)

    def _alive(self, *phases: str) -> list[Client]:
        return [client for client in self.clients if not client.over and client.state.phase in phases]

    def _unconfirmed(self) -> list[Client]:
        return [
            client
            for client in self._alive("running")
            if client.request.mode == "online" and not client.delivers and client.state.known == "unasked"
        ]

    def _answer(self, client: Client, *, lost: bool) -> None:
        """Do what a client asks for and answer, unless the answer is lost on the way."""
        client.questions += 1
        match client.pending:
            case ReadMarker():
                self._hear(client, MarkerRead(client.machine.marker))
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
        return Created() if run.starter is None else Started(_remote(run_id, run.steps, run.exit_code))

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
            assert not (client.state.id_from == "marker" and stored.exit_code == 0), (
                "auto after a success is new"
            )
            client.delivers = online
        elif policy is not None and named and online:
            assert run is not None
            assert run.starter is client, "somebody else's run"
            client.delivers = True
        elif policy == "never" and named and request.mode == "offline":
            assert isinstance(client.known, (Absent, Created))
        if policy == "must" and request.mode != "disabled":
            assert decision.action == "resumed"
        if policy in ("must", "never") and request.run_id is not None:
            assert not decision.deferred


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=400, stateful_step_count=50)


@settings(max_examples=500)
@given(
    policies=st.lists(st.sampled_from(POLICIES), min_size=2, max_size=3),
    mode=st.sampled_from(["online", "offline"]),
    by_file=st.booleans(),
    made=st.sampled_from(["absent", "created", "crashed", "finished"]),
    order=st.lists(st.integers(0, 2), max_size=20),
)
def test_a_race_for_one_id(
    policies: list[Any], mode: str, by_file: bool, made: str, order: list[int]
) -> None:
    """Several that want one id at the same moment keep the laws in whatever order their moves interleave."""
    world = Resuming()
    if made == "created":
        world.sweep()
    if made in ("crashed", "finished"):
        world.come(0, None, "abc", mode)
        earlier = world.clients[0]
        world.move(earlier)
        if mode == "online":
            world.confirm(earlier, lost=False)
        world.move(earlier)
        world.end(earlier, 0 if made == "finished" else None, dies=True)
    if by_file:
        world.machines[0].marker = "abc"
    racers = []
    for policy in policies:
        run_id = None if by_file and policy == "auto" else "abc"
        world.come(0, policy, run_id, mode)
        racers.append(world.clients[-1])
    for number in [*order, *range(len(racers))] + [number for number in range(3) for _ in range(8)]:
        if number < len(racers):
            world.move(racers[number])
            world.every_path_ends_in_a_decision()
            world.the_file_names_a_live_or_crashed_run_or_nothing()
    assert all(client.decision is not None for client in racers)
    if mode == "online" and made in ("absent", "created"):
        named = [client for client in racers if client.state.known != "unasked" and client.request.run_id]
        begun = [
            client for client in named if client.decision is not None and client.decision.action == "new"
        ]
        assert len(begun) <= 1, "one is first"


@given(st.lists(events(), max_size=12))
def test_any_events_in_any_order(heard: list[Event]) -> None:
    """An event is legal or raises and leaves the state as it was; nothing that can be said breaks the machine."""
    state = IDLE
    for event in heard:
        before = evolve(state)
        try:
            state, effects = step(state, event)
        except UsageError:
            assert state == before
        else:
            assert type(event) in TRANSITIONS[before.phase]
            assert len(effects) <= 1
            if state.decision is not None:
                assert state.decision.reason.strip()
                assert state.decision.starting_step >= 0
                assert 0 <= state.decision.runtime_offset < float("inf")
