"""Laws of delivery under any weather: lost answers, refusals, repeats, pokes, restarts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.backoff import Backoff
from corelib.pure.delivery import Policy, Stage, State, begin, ledger, step
from corelib.pure.delivery_events import (
    Answered,
    Beat,
    CloseAsked,
    Effect,
    Event,
    Notice,
    Offered,
    Open,
    Poll,
    ReadFailed,
    Send,
    SetAside,
    Stop,
    Ticked,
    Wait,
)
from corelib.pure.outcomes import Delivered, Outcome, Rejected, Retry
from corelib.pure.records import Preempting, Record

MOST_STEPS = 20_000

Entry = tuple[str, Record, int]


class Answer(NamedTuple):
    """How the backend treats one call. `applied`: it takes the records, also where its answer is lost."""

    applied: bool
    outcome: str  # delivered, retry, rejected
    after: float | None = None
    refused: int = 0  # every how many-th record is refused; 0: all of them
    takes: float = 0.0


class Reading(NamedTuple):
    """What one look at the journal yields."""

    fails: bool = False
    repeats: int = 0  # how many of the last records come once more
    fewer: int = 0  # how many fewer than asked for


FINE = Answer(applied=True, outcome="delivered")

durations = st.just(0.0) | st.floats(0, 100)
answers = st.one_of(
    st.just(FINE),
    st.builds(lambda takes: FINE._replace(takes=takes), durations),
    st.builds(
        lambda applied, after, takes: Answer(applied, "retry", after=after, takes=takes),
        st.booleans(),
        st.none() | st.floats(),
        durations,
    ),
    st.builds(lambda refused: Answer(applied=True, outcome="rejected", refused=refused), st.integers(0, 3)),
)
readings = st.builds(Reading, fails=st.booleans(), repeats=st.integers(0, 5), fewer=st.integers(0, 5))
waits = st.just(1.0) | st.floats(0, 1)  # the share of a wait after which somebody pokes
policies = st.builds(
    Policy,
    opens=st.booleans(),
    batch_records=st.integers(1, 8),
    batch_bytes=st.integers(1, 200),
    batch_age_s=st.floats(0.1, 20),
    poll_every_s=st.floats(0.1, 20),
    heartbeat_s=st.none() | st.floats(0.1, 60),
    backoff=st.builds(
        Backoff,
        first_s=st.floats(0.1, 5),
        limit_s=st.floats(1, 60),
        jitter=st.floats(0, 1),
        told_limit_s=st.floats(1, 100),
        breaker_failures=st.integers(1, 8),
        breaker_wait_s=st.floats(1, 100),
    ),
)


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """Draw the records of up to three writers, in the order in which they reach the journal."""
    seqs: dict[str, int] = {}
    journal: list[Entry] = []
    for writer, gap, size in draw(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.integers(1, 300)), max_size=40)
    ):
        seqs[writer] = seqs.get(writer, 0) + gap
        journal.append((writer, Preempting(seq=seqs[writer], time=0.0), size))
    return journal


class Simulation:
    """Performs what the machine says, in simulated time, and checks every law at every step."""

    def __init__(
        self,
        policy: Policy,
        journal: list[Entry],
        *,
        answers: list[Answer] = [],  # noqa: B006  never changed
        readings: list[Reading] = [],  # noqa: B006  never changed
        waits: list[float] = [],  # noqa: B006  never changed
        held: dict[tuple[str, int], None] | None = None,
    ) -> None:
        self.policy = policy
        self.journal = journal
        self.answers, self.readings, self.waits = iter(answers), iter(readings), iter(waits)
        self.held: dict[tuple[str, int], None] = {} if held is None else held  # what the backend has, by key
        self.now = 0.0
        self.read = 0
        self.state: State = begin(policy)
        self.taken: set[tuple[str, int]] = set()
        self.settled: dict[str, int] = {}
        self.to_repeat: Send | None = None
        self.refused = 0
        self.aside: list[int] = []
        self.closed_at: float | None = None
        self.steps = 0

    def events(self) -> Iterator[None]:
        """Go on step by step until the machine stops."""
        event: Event | None = Ticked(self.now)
        while event is not None:
            self.steps += 1
            assert self.steps < MOST_STEPS, "the machine goes in a circle"
            self.state, effects = step(self.state, event)
            effect = self.only(effects)
            self.check(effect)
            event = self.perform(effect)
            yield

    def close(self, timeout: float) -> None:
        self.state, effects = step(self.state, CloseAsked(self.now, timeout))
        assert effects == ()
        self.closed_at = self.now + timeout

    def only(self, effects: tuple[Effect, ...]) -> Effect:
        """Every step yields one effect to perform, behind any notices and records to be set aside."""
        *said, last = effects
        for effect in said:
            assert isinstance(effect, (Notice, SetAside))
            if isinstance(effect, SetAside):
                self.aside += [record.seq for record in effect.records]
        assert not isinstance(last, (Notice, SetAside))
        return last

    def check(self, effect: Effect) -> None:
        account = ledger(self.state)  # cannot be made unless it adds up
        assert account.accepted == len(self.taken)
        assert account.rejected == self.refused
        assert account.pending == len(self.state.queue) + len(self.state.flight)
        assert len(self.aside) == self.refused, "what is counted as refused is set aside"
        # Settled is exactly what was answered for good: a cursor that says so loses nothing.
        assert self.state.settled == self.settled
        assert account.delivered + account.rejected == sum(
            1 for writer, seq in self.taken if seq <= self.settled.get(writer, 0)
        )
        # What is held in memory is the batch in flight and the next one.
        assert account.pending <= 2 * self.policy.batch_records
        if self.closed_at is not None and self.now >= self.closed_at:
            assert isinstance(effect, Stop)

    def perform(self, effect: Effect) -> Event | None:
        if isinstance(effect, Wait):
            return self.wait(effect)
        if isinstance(effect, Poll):
            return self.poll(effect)
        if isinstance(effect, Send):
            return self.send(effect)
        if isinstance(effect, (Open, Beat)):
            if isinstance(effect, Beat):
                assert self.policy.heartbeat_s is not None
                assert self.closed_at is None
            answer = next(self.answers, FINE)
            self.now += answer.takes
            if answer.outcome == "retry":
                return Answered(self.now, Retry(reason="later", after=answer.after), 0.5)
            return Answered(self.now, Delivered(), 0.5)
        assert isinstance(effect, Stop)
        assert self.closed_at is not None, "it stopped without being asked"
        return None

    def wait(self, effect: Wait) -> Event:
        """Waits are bounded: they end, and end after now."""
        longest = max(self.policy.poll_every_s, self.policy.batch_age_s, self.policy.backoff.longest_s)
        assert self.now < effect.until <= self.now + longest + 1e-6
        if self.closed_at is not None:
            assert effect.until <= self.closed_at
        share = next(self.waits, 1.0)
        self.now = effect.until if share == 1.0 else self.now + share * (effect.until - self.now)
        return Ticked(self.now)

    def poll(self, effect: Poll) -> Event:
        assert 1 <= effect.limit <= self.policy.batch_records
        reading = next(self.readings, Reading())
        if reading.fails:
            return ReadFailed(self.now)
        end = min(self.read + max(effect.limit - reading.fewer, 0), len(self.journal))
        new = self.journal[self.read : end]
        repeated = self.journal[max(self.read - reading.repeats, 0) : self.read]
        self.read = end
        self.taken |= {(writer, record.seq) for writer, record, _ in new}
        return Offered(self.now, [*repeated, *new], end=len(new) < effect.limit and not reading.fewer)

    def send(self, effect: Send) -> Event:
        seqs = [record.seq for record in effect.records]
        sizes = {(writer, record.seq): size for writer, record, size in self.journal}
        size = sum(sizes[effect.writer, seq] for seq in seqs)
        assert 1 <= len(seqs) <= self.policy.batch_records
        assert size <= self.policy.batch_bytes or len(seqs) == 1
        assert seqs == sorted(set(seqs))
        assert seqs[0] > self.settled.get(effect.writer, 0), "a record is sent after it was answered for good"
        assert self.to_repeat in {None, effect}, "something overtakes a batch that must come again"
        # Consecutive: nothing of this writer lies between the records of a batch, or before them.
        written = [record.seq for writer, record, _ in self.journal if writer == effect.writer]
        first = written.index(seqs[0])
        assert written[first : first + len(seqs)] == seqs
        assert first == 0 or written[first - 1] == self.settled.get(effect.writer)
        answer = next(self.answers, FINE)
        self.now += answer.takes
        refused = [seq for seq in seqs if answer.refused == 0 or seq % answer.refused == 0]
        return Answered(self.now, self.outcome(effect, seqs, refused, answer), 0.5)

    def outcome(self, effect: Send, seqs: list[int], refused: list[int], answer: Answer) -> Outcome:
        applied = [seq for seq in seqs if answer.outcome != "rejected" or seq not in refused]
        if answer.applied:
            for seq in applied if refused or answer.outcome != "rejected" else []:
                self.held.setdefault((effect.writer, seq))
        if answer.outcome == "retry":
            self.to_repeat = effect
            return Retry(reason="later", after=answer.after)
        self.to_repeat = None
        self.settled[effect.writer] = seqs[-1]
        if answer.outcome == "rejected":
            self.refused += len(refused) or len(seqs)
            return Rejected(reason="never", seqs=tuple(refused))
        return Delivered()


@given(
    policy=policies,
    journal=journals(),
    answers=st.lists(answers, max_size=30),
    readings=st.lists(readings, max_size=30),
    waits=st.lists(waits, max_size=30),
    close_after=st.integers(0, 60),
    timeout=st.floats(0, 10_000),
)
def test_the_books_balance_order_holds_and_it_stops(
    policy: Policy,
    journal: list[Entry],
    answers: list[Answer],
    readings: list[Reading],
    waits: list[float],
    close_after: int,
    timeout: float,
) -> None:
    """At every step the books balance and order and bounds are kept; asked to close, the machine stops."""
    world = Simulation(policy, journal, answers=answers, readings=readings, waits=waits)
    if close_after == 0:
        world.close(timeout)
    for number, _ in enumerate(world.events(), start=1):
        if number == close_after:
            world.close(timeout)

    assert world.state.stage is Stage.STOPPED
    account = ledger(world.state)
    assert account.accepted == account.delivered + account.pending + account.rejected
    # What it calls delivered the backend has.
    assert account.delivered <= len(world.held)
    if account.pending == 0 and account.rejected == 0:
        assert world.taken <= world.held.keys()


@given(
    policy=policies,
    journal=journals(),
    answers=st.lists(answers.filter(lambda answer: answer.outcome != "rejected"), max_size=20),
    readings=st.lists(readings, max_size=20),
    waits=st.lists(waits, max_size=20),
)
def test_a_backend_that_recovers_gets_everything_once_and_in_order(
    policy: Policy,
    journal: list[Entry],
    answers: list[Answer],
    readings: list[Reading],
    waits: list[float],
) -> None:
    """Given time, exactly the written records arrive, once, in each writer's order."""
    world = Simulation(policy, journal, answers=answers, readings=readings, waits=waits)
    world.close(1e9)
    for _ in world.events():
        pass

    assert ledger(world.state).delivered == len(journal)
    for name in "abc":
        written = [(writer, record.seq) for writer, record, _ in journal if writer == name]
        assert [key for key in world.held if key[0] == name] == written


@given(
    policy=policies,
    journal=journals(),
    answers=st.lists(answers.filter(lambda answer: answer.outcome != "rejected"), max_size=20),
    deaths=st.lists(st.integers(1, 30), max_size=5),
)
def test_restarts_neither_lose_nor_double(
    policy: Policy, journal: list[Entry], answers: list[Answer], deaths: list[int]
) -> None:
    """Killed at any step and begun anew, again and again: everything arrives, once and in order."""
    held: dict[tuple[str, int], None] = {}
    weather = iter(answers)
    for steps in deaths:
        dying = Simulation(policy, journal, held=held)
        dying.answers = weather
        for _ in zip(dying.events(), range(steps), strict=False):
            pass
    last = Simulation(policy, journal, held=held)
    last.answers = weather
    last.close(1e9)
    for _ in last.events():
        pass

    for name in "abc":
        written = [(writer, record.seq) for writer, record, _ in journal if writer == name]
        assert [key for key in held if key[0] == name] == written


@given(
    policy=policies, journal=journals(), settled=st.dictionaries(st.sampled_from("abc"), st.integers(0, 50))
)
def test_what_is_settled_is_not_sent_again(
    policy: Policy, journal: list[Entry], settled: dict[str, int]
) -> None:
    """A machine that is told what a former one settled sends exactly the rest."""
    state = begin(policy, settled)
    state, _ = step(state, CloseAsked(0.0, 1e9))
    sent: list[tuple[str, int]] = []
    read = 0
    event: Any = Ticked(0.0)
    while event is not None:
        state, effects = step(state, event)
        effect = effects[-1]
        event = None
        if isinstance(effect, Poll):
            entries = journal[read : read + effect.limit]
            read += len(entries)
            event = Offered(0.0, entries, end=len(entries) < effect.limit)
        elif isinstance(effect, Send):
            sent += [(effect.writer, record.seq) for record in effect.records]
            event = Answered(0.0, Delivered(), 0.0)
        elif isinstance(effect, Open):
            event = Answered(0.0, Delivered(), 0.0)

    rest = [(writer, record.seq) for writer, record, _ in journal if record.seq > settled.get(writer, -1)]
    assert sorted(sent) == sorted(rest)
