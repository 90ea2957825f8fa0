"""What may go wrong between a training process and its server, and the account afterwards.

Law: every scenario ends with exactly the accepted rows on the server, whole, once and in order, with the exit code
that is right, and with a receipt that adds up. A scenario makes things go wrong and says what to expect; `play` judges.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from corelib.pure.records import Row
from corelib.segments import Entry, read
from tests.online.processes import Training, kill_couriers, sync, train
from tests.servers.exchange import Endpoint
from tests.servers.faults import Fault, Rule, answer, delay, drop_after, drop_before, hold
from tests.servers.wandb_server import WandbServer, serve

__all__ = ["LONG", "SCENARIOS", "SHORT", "Scale", "Tally", "play"]

_KILLED: Final = 255
_UNKNOWN: Final = 1
_PATIENCE_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.01


class Scale(NamedTuple):
    """How much of it: rows per phase, how late answers are, how many are harmed, how many kills, how long an outage."""

    rows: int
    delay_s: float
    answers: int
    kills: int
    outage_s: float
    push_interval_s: float = 0.1


SHORT: Final = Scale(rows=100, delay_s=0.2, answers=4, kills=2, outage_s=0.5)
LONG: Final = Scale(rows=400, delay_s=1.0, answers=20, kills=20, outage_s=60.0)


class Stage(NamedTuple):
    """What a scenario plays on."""

    server: WandbServer
    directory: Path
    scale: Scale
    chance: random.Random

    def train(self, **settings: Any) -> Any:
        """Start the training."""
        words = {"x_push_interval": self.scale.push_interval_s, "http_timeout": 2, "finish_timeout": 100}
        return train(self.server, self.directory, **(words | settings))

    def harm(self, fault: Fault | list[Fault | None], times: int = 1, **where: Any) -> Rule:
        """Have a fault done, and wait until so many requests were harmed by it."""
        rule = self.server.faults.add(fault, **where)
        deadline = time.monotonic() + _PATIENCE_S
        while rule.hits < times:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {times} requests were harmed")
            time.sleep(_LOOK_EVERY_S)
        return rule

    def wait_for_beginning(self, training: Training) -> None:
        """Wait until the server knows the run."""
        run_id = training.run_id
        self.server.wait_until(lambda world: bool(world.run(run_id)), _PATIENCE_S)

    def wait_for_end(self, training: Training) -> None:
        """Wait until the server has been told of the end."""
        run_id = training.run_id
        self.server.wait_until(lambda world: world.run(run_id).complete, _PATIENCE_S)


class Tally(NamedTuple):
    """What became of the rows of one run: `accepted` are in its journal, whatever became of the process."""

    accepted: int
    lost: int
    doubled: int
    is_in_order: bool
    exit_code: int | None
    expected_exit_code: int
    complaints: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether everything is as it should be."""
        return (
            self.accepted > 0
            and not (self.lost or self.doubled or self.complaints)
            and self.is_in_order
            and self.exit_code == self.expected_exit_code
        )


class Ending(NamedTuple):
    """What a scenario hands to the judge.

    `pending` is how many rows the receipt must call pending; None: there must be no receipt. `stored` is how many rows
    the run had at the server before.
    """

    training: Training
    exit_code: int = 0
    pending: int | None = 0
    stored: int = 0
    complaints: tuple[str, ...] = ()


# --------------------------------------------------------------------------------------------------- the scenarios


@contextmanager
def _down_for_the_whole_run(stage: Stage) -> Any:
    """Nobody answers until the process is gone, and its courier is killed as well; then somebody syncs."""
    stage.server.stop_listening()
    with stage.train(finish_timeout=0.5) as training:
        training.log_on(stage.scale.rows)
        training.stop()
        kill_couriers(training.run_id)
        stage.server.resume_listening()
        sync(stage.server, stage.directory, "--all")
        yield Ending(training, pending=training.returned)


@contextmanager
def _down_until_after_the_run(stage: Stage) -> Any:
    """Nobody answers until the process is gone; its courier is still there."""
    stage.server.stop_listening()
    with stage.train(finish_timeout=0.5) as training:
        training.log_on(stage.scale.rows)
        training.stop()
        stage.server.resume_listening()
        stage.wait_for_end(training)
        yield Ending(training, pending=training.returned)


@contextmanager
def _down_and_back(stage: Stage) -> Any:
    """The server goes down in the middle of the run, more than once, and comes back."""
    with stage.train() as training:
        for _ in range(2):
            training.log_on(stage.scale.rows)
            stage.server.stop_listening()
            training.log_on(stage.scale.rows)
            stage.server.resume_listening()
        training.log_on(stage.scale.rows)
        training.stop()
        yield Ending(training)


@contextmanager
def _black_hole(stage: Stage) -> Any:
    """Connections are made, and nothing ever comes back; some requests are carried out all the same."""
    with stage.train(http_timeout=0.5) as training:
        training.log_on(stage.scale.rows)
        stage.harm([hold(carried_out=True)] * 2, times=2, endpoint="file_stream")
        rule = stage.harm(hold())
        training.log_on(stage.scale.rows)
        rule.remove()
        training.log_on(stage.scale.rows)
        training.stop()
        yield Ending(training)


@contextmanager
def _harmed_from_the_beginning(
    stage: Stage, faults: Mapping[Endpoint, list[Fault | None]], **settings: Any
) -> Any:
    """Faults are there before the run is, one list for each kind of request."""
    rules = [stage.server.faults.add(script, endpoint=endpoint) for endpoint, script in faults.items()]
    with stage.train(**settings) as training:
        training.log_on(3 * stage.scale.rows)
        training.stop()
        spared = tuple("nothing went wrong" for rule in rules if not rule.hits)
        yield Ending(training, complaints=spared)


@contextmanager
def _late_answers(stage: Stage) -> Any:
    """Every answer comes late."""
    stage.server.faults.add(delay(after=stage.scale.delay_s))
    with stage.train() as training:
        training.log_on(3 * stage.scale.rows)
        training.stop()
        yield Ending(training)


def _losses(stage: Stage) -> dict[Endpoint, list[Fault | None]]:
    return {
        "graphql": [drop_after(), None, drop_after()],
        "file_stream": [None, drop_after()] * stage.scale.answers,
        "upload": [drop_after()],
    }


def _lost_answers(stage: Stage) -> Any:
    """Requests are carried out, and their answers lost."""
    return _harmed_from_the_beginning(stage, _losses(stage))


def _lost_answers_to_a_thread(stage: Stage) -> Any:
    """The same as lost answers, with a courier that is a thread."""
    return _harmed_from_the_beginning(stage, _losses(stage), delivery="thread")


def _cut_connections(stage: Stage) -> Any:
    """Connections are cut before or after a request was carried out, as it falls."""
    faults = (None, drop_before(), drop_after())
    pushes = [drop_before(), *(stage.chance.choice(faults) for _ in range(stage.scale.answers))]
    return _harmed_from_the_beginning(
        stage,
        {"graphql": [drop_before(), None, drop_after()], "file_stream": pushes, "upload": [drop_before()]},
    )


def _too_many_requests(stage: Stage) -> Any:
    """The server asks for patience again and again."""
    storm: list[Fault | None] = [answer(429, retry_after=0.3), None, answer(429, retry_after=0.1)]
    return _harmed_from_the_beginning(
        stage, {"graphql": storm, "file_stream": storm * stage.scale.answers, "upload": storm}
    )


@contextmanager
def _internal_errors(stage: Stage) -> Any:
    """The server answers 500 for as long as an outage lasts."""
    with stage.train() as training:
        training.log_on(stage.scale.rows)
        began = time.monotonic()
        rule = stage.harm(answer(500))
        training.log_on(2 * stage.scale.rows)
        time.sleep(max(began + stage.scale.outage_s - time.monotonic(), 0.0))
        rule.remove()
        training.stop()
        yield Ending(training)


@contextmanager
def _courier_killed(stage: Stage) -> Any:
    """The courier is killed at random points."""
    stage.server.allow("offset-back")  # what was answered in its last moments, the next one sends again
    with stage.train() as training:
        stage.wait_for_beginning(training)
        for _ in range(stage.scale.kills):
            training.log_on(1)
            time.sleep(stage.chance.random())  # up to after its first pushes
            assert kill_couriers(training.run_id, wait_s=_PATIENCE_S)
        training.stop()
        yield Ending(training)


@contextmanager
def _courier_of_a_resumed_run_killed(stage: Stage) -> Any:
    """The same in a run that goes on behind rows which are there, with its cursor lost every other time."""
    stage.server.allow("offset-back")
    stored = 7
    rows = [{"_step": step, "old": step, "_runtime": 1.0 + step} for step in range(stored)]
    stage.server.seed("again", project="p", rows=rows, summary={"old": 6, "_step": 6})
    with stage.train(run_id="again", resume="must") as training:
        stage.wait_for_beginning(training)
        for kill in range(stage.scale.kills):
            training.log_on(1)
            time.sleep(stage.chance.random())
            assert kill_couriers(training.run_id, wait_s=_PATIENCE_S)
            if kill % 2:
                for path in Path(training.directory).glob("cursor-*.json"):
                    path.unlink()
        training.stop()
        yield Ending(training, stored=stored)


@contextmanager
def _training_killed(stage: Stage) -> Any:
    """The training process is killed; its courier delivers the rest."""
    with stage.train() as training:
        training.log_on(stage.scale.rows + stage.chance.randrange(stage.scale.rows))
        training.kill()
        stage.wait_for_end(training)
        yield Ending(training, exit_code=_KILLED, pending=None)


@contextmanager
def _both_killed(stage: Stage) -> Any:
    """The training process and its courier are killed at once, in the middle of it; then somebody syncs."""
    stage.server.allow("offset-back")
    with stage.train() as training:
        training.log_on(stage.scale.rows + stage.chance.randrange(stage.scale.rows))
        # The rows have been applied, and nobody was told.
        rule = stage.harm(hold(carried_out=True), endpoint="file_stream")
        training.kill()
        kill_couriers(training.run_id)
        rule.remove()
        sync(stage.server, stage.directory, "--all")
        yield Ending(training, exit_code=_UNKNOWN, pending=None)


SCENARIOS: Final[Mapping[str, Callable[[Stage], Any]]] = MappingProxyType(
    {
        "server down for the whole run, courier killed, sync": _down_for_the_whole_run,
        "server down until after the run": _down_until_after_the_run,
        "server down and back": _down_and_back,
        "black hole": _black_hole,
        "every answer late": _late_answers,
        "answers lost after being applied": _lost_answers,
        "answers lost, courier in a thread": _lost_answers_to_a_thread,
        "connections cut at random": _cut_connections,
        "429 storm with Retry-After": _too_many_requests,
        "500 for a minute": _internal_errors,
        "courier killed at random points": _courier_killed,
        "resumed run, courier killed, cursor lost": _courier_of_a_resumed_run_killed,
        "training killed": _training_killed,
        "both killed, sync": _both_killed,
    }
)


# ------------------------------------------------------------------------------------------------------- the judge


def play(name: str, directory: Path, scale: Scale, seed: int = 0) -> Tally:
    """Play one scenario in an empty directory, against a server of its own, and count.

    Args:
        name: a key of `SCENARIOS`.
        directory: where the run is recorded.
        scale: how much of it.
        seed: what chance decides.
    """
    with serve() as server:
        stage = Stage(server, directory, scale, random.Random(seed))
        with SCENARIOS[name](stage) as ending:
            return _tally(server, ending)


def _tally(server: WandbServer, ending: Ending) -> Tally:
    training = ending.training
    written = [
        entry.record for entry in read(Path(training.directory) / "journal") if isinstance(entry, Entry)
    ]
    rows = [record for record in written if isinstance(record, Row)]
    accepted = [record.data["number"] for record in rows]
    state = server.run(training.run_id, project="p")
    there = [row.get("number", -1) for row in state.rows[ending.stored :]]
    complaints = [
        *ending.complaints,
        *_receipt_complaints(training.receipt, len(accepted), ending.pending),
        *_row_complaints(rows, state.rows[ending.stored :]),
    ]
    if [row["_step"] for row in state.rows[: ending.stored]] != list(range(ending.stored)):
        complaints.append("rows that were there before are not there any more")
    if state.summary.get("number") != accepted[-1]:
        complaints.append(f"the summary says {state.summary.get('number')}, not {accepted[-1]}")
    if len(accepted) < training.returned or accepted != list(range(len(accepted))):
        complaints.append(f"log() returned {training.returned} times, the journal has {len(accepted)} rows")
    if not state.complete:
        complaints.append("the server was not told of the end")
    if state.missing():
        complaints.append(f"lines are missing: {state.missing()[:5]}")
    try:
        server.assert_clean()
    except AssertionError as error:
        complaints.append(str(error))
    return Tally(
        accepted=len(accepted),
        lost=len(set(accepted) - set(there)),
        doubled=len(there) - len(set(there)),
        is_in_order=there == sorted(there),
        exit_code=state.exit_code,
        expected_exit_code=ending.exit_code,
        complaints=tuple(complaints),
    )


def _row_complaints(written: list[Row], stored: list[dict[str, Any]]) -> list[str]:
    """Compare whole rows: values, step and time; a row that is not there at all is counted by the caller."""
    by_number = {record.data["number"]: record for record in written}
    wrong = []
    for row in stored:
        record = by_number.get(row.get("number", -1))
        if record is None:
            wrong.append(f"nobody has logged {row}")
        elif row != {
            **record.data,
            "_step": record.step,
            "_timestamp": record.time,
            "_runtime": row["_runtime"],
        }:
            wrong.append(f"{record} has become {row}")
    return wrong[:3]


def _receipt_complaints(receipt: dict[str, Any] | None, accepted: int, pending: int | None) -> list[str]:
    if pending is None:
        return [] if receipt is None else ["a killed process gave a receipt"]
    if receipt is None:
        return ["there is no receipt"]
    expected = {"accepted": accepted, "delivered": accepted - pending, "pending": pending, "rejected": 0}
    complaints = [
        f"the receipt says {receipt[name]} {name}, not {number}"
        for name, number in expected.items()
        if receipt[name] != number
    ]
    taken, delivered, waiting, refused = receipt["ledger"]
    # The ledger counts records, of which the rows are a part.
    if (
        taken < accepted
        or taken != delivered + waiting + refused
        or refused
        or bool(waiting) != bool(pending)
    ):
        complaints.append(f"the ledger does not add up: {receipt['ledger']}")
    return complaints
