"""The laws of resuming, against a model of a server and of two machines with crashes, rivals and lost answers.

Laws: under never, must, allow and auto nothing that was recorded is overwritten; must creates nothing; every path ends
in a decision; the resume file names a live or crashed run or nothing; a resumed run goes on after its last row.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from corelib.errors import UsageError
from corelib.pure.remote import FailureKind, LookupFailed, Unreadable
from corelib.pure.resume import IDLE, TRANSITIONS, Event, step
from corelib.testing.strategies.resume import POLICIES, events, markers
from tests.properties.resume_world import AFOOT, World

MOST_CLIENTS = 4
WEATHER: tuple[FailureKind, ...] = ("unreachable", "server", "auth", "forbidden")
DAMAGE: tuple[Unreadable | LookupFailed, ...] = (Unreadable("torn"), LookupFailed("server", "EIO"))


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
        self.world = World()

    # What clients do.

    @initialize(calls=st.lists(calls(), min_size=2, max_size=4), tells_exits=st.booleans())
    def first_clients(self, calls: list[dict[str, Any]], tells_exits: bool) -> None:
        self.world.tells_exits = tells_exits
        for call in calls:
            self.world.come(**call)

    @precondition(lambda self: len(self.world.alive(*AFOOT)) < MOST_CLIENTS)
    @rule(call=calls())
    def client_comes(self, call: dict[str, Any]) -> None:
        self.world.come(**call)

    @precondition(lambda self: self.world.alive(*AFOOT))
    @rule(data=st.data(), moves=st.integers(1, 5), trouble=st.sampled_from([False] * 5 + [True]))
    def client_goes_on(self, data: st.DataObject, moves: int, trouble: bool) -> None:
        """Make some moves before anybody else does; trouble comes with the last one."""
        client = data.draw(st.sampled_from(self.world.alive(*AFOOT)))
        for move in range(moves):
            troubled = trouble and move == moves - 1
            self.world.move(client, data.draw(st.sampled_from(["before", "after"])) if troubled else None)

    @precondition(lambda self: self.world.unconfirmed())
    @rule(data=st.data(), lost=st.booleans())
    def backend_answers_late(self, data: st.DataObject, lost: bool) -> None:
        """Without resume, or with a generated id, the run is started at the server when it is on its way."""
        self.world.confirm(data.draw(st.sampled_from(self.world.unconfirmed())), lost=lost)

    @precondition(lambda self: self.world.alive("running"))
    @rule(
        data=st.data(), exit_code=st.sampled_from([0, 0, 1, None]), dies=st.sampled_from([False] * 5 + [True])
    )
    def run_ends(self, data: st.DataObject, exit_code: int | None, dies: bool) -> None:
        self.world.end(data.draw(st.sampled_from(self.world.alive("running"))), exit_code, dies=dies)

    @precondition(lambda self: self.world.alive(*AFOOT))
    @rule(data=st.data())
    def client_is_killed(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.world.alive(*AFOOT))).over = True

    # What others do.

    @rule(data=st.data(), machine=st.sampled_from([0, 1]))
    def world_changes(self, data: st.DataObject, machine: int) -> None:
        """The network, the disks, a sweep controller, somebody who deletes runs, and older clients."""
        here = self.world.machines[machine]
        match data.draw(st.sampled_from(["weather", "weather", "sweep", "deletion", "disk", "file"])):
            case "weather":
                self.world.weather = (
                    data.draw(st.sampled_from(WEATHER)) if self.world.weather == "fine" else "fine"
                )
            case "sweep":
                self.world.sweep()
            case "deletion":
                self.world.server.pop(data.draw(st.sampled_from(["abc", "x"])), None)
            case "disk":
                here.damage = data.draw(st.sampled_from(DAMAGE)) if here.damage is None else None
            case "file":
                here.marker, here.writer = data.draw(markers()), None

    # The laws.

    @invariant()
    def laws_hold(self) -> None:
        self.world.every_path_ends_in_a_decision()
        self.world.the_file_names_a_live_or_crashed_run_or_nothing()


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=200, stateful_step_count=50)


@settings(max_examples=250)
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
    world = World()
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
