"""Cores: the seam for host tools. Two of them in one process share nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import corelib
from corelib import Core, UsageError


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Core:
    """Return the core of a host tool with its own names."""
    return Core(prefix="HOST_", directory="host", name="host")


def test_names_are_the_hosts_own(
    host: Core, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its environment, its directory and its voice; nothing of the reference's is read or written."""
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    monkeypatch.setenv("HOST_PROJECT", "ours")
    with host.init(mode="offline", resume="auto") as run:
        run.log({"a": 1})
        assert run.project == "ours"
        assert Path("host/host-resume.json").exists()

    assert os.listdir() == ["host"]
    assert all(line.startswith("host: ") for line in capsys.readouterr().err.splitlines())


def test_two_cores_share_nothing(host: Core) -> None:
    """Current runs, setup and the second init() are each core's own."""
    host.setup({"run_group": "hosts"})
    ours = host.init(mode="offline", settings={"quiet": True})
    theirs = corelib.init(mode="offline", settings={"quiet": True})

    assert ours is not theirs
    assert host.run is ours
    assert corelib.run is theirs
    assert (ours.group, theirs.group) == ("hosts", "")
    host.finish()
    assert corelib.run is theirs
    assert theirs.state == "running"
    assert [view.id for view in host.list_runs()] == [ours.id]


def test_messages_name_the_host(host: Core) -> None:
    """An error before init() says which init() is meant."""
    with pytest.raises(corelib.Error, match=r"You must call host\.init\(\) before host\.log"):
        host.log({"a": 1})


@pytest.mark.case("set-prec-setup-over-env", "env-read-after-teardown")
def test_setup_stands_above_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """setup() beats the environment, which is read anew at each init()."""
    monkeypatch.setenv("WANDB_PROJECT", "envp")
    with corelib.init(mode="disabled") as run:
        assert run.project == "envp"
    monkeypatch.setenv("WANDB_PROJECT", "later")
    with corelib.init(mode="disabled") as run:
        assert run.project == "later"
    corelib.setup({"project": "setup"})
    with corelib.init(mode="disabled") as run:
        assert run.project == "setup"


def test_setup_checks_at_once() -> None:
    """A wrong setting is refused by setup(), not by a later init()."""
    with pytest.raises(UsageError, match="project"):
        corelib.setup({"projct": "x"})


@pytest.mark.case(
    "set-prec-arg-over-settings-arg",
    "set-prec-old-settings-arg-wins",
    "set-prec-old-dict-settings-unsupported",
)
def test_arguments_beat_settings() -> None:
    """An argument wins over settings=, a mapping is as good as an object, and the object is not changed."""
    settings = corelib.Settings(project="set")
    with corelib.init(mode="disabled", project="arg", settings=settings) as run:
        assert run.project == "arg"
    with corelib.init(mode="disabled", project="arg", settings={"project": "set"}) as run:
        assert run.project == "arg"

    assert settings.project == "set"


@pytest.mark.case("set-arg-wrong-type")
def test_settings_of_another_type_are_refused() -> None:
    """settings= is a Settings or a mapping."""
    with pytest.raises((TypeError, UsageError)):
        corelib.init(mode="disabled", settings=5)  # type: ignore[arg-type]  # what is tested


def test_a_session_leaves_nothing_behind(host: Core) -> None:
    """After the last finish() no exit hook and no watch are left."""
    host.init(mode="offline", settings={"silent": True}).finish()

    assert host.session.active == []
    assert host.session._watch is None


def test_a_transport_given_as_an_object_gets_everything() -> None:
    """A live transport receives every record of the run, and the receipt says so."""
    from transports.memory import MemoryTransport

    memory = MemoryTransport()
    with corelib.init(mode="offline", project="p", settings={"transport": memory, "silent": True}) as run:
        for number in range(100):
            run.log({"n": number})

    assert [row["n"] for row in memory.rows(run.id)] == list(range(100))
    (ledger,) = run.receipt.transports.values()
    assert (ledger.pending, ledger.rejected) == (0, 0)
    assert ledger.delivered == ledger.accepted >= 102


def test_a_transport_that_fails_costs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """A backend that is down delays nobody, raises nothing, and what it did not take is pending."""
    from corelib.ports import Retry
    from transports.memory import MemoryTransport

    memory = MemoryTransport()
    memory.deliver = lambda batch: Retry(reason="down")  # type: ignore[method-assign]  # a backend that is down
    run = corelib.init(mode="offline", settings={"transport": memory, "finish_timeout": 0.2})
    for number in range(10):
        run.log({"n": number})
    receipt = run.finish()

    assert (receipt.accepted, receipt.delivered, receipt.pending, receipt.rejected) == (10, 0, 10, 0)
    assert len(list(corelib.open_run(run.id).history())) == 10


def test_several_transports_at_once() -> None:
    """Each has its own courier over the one journal, and the receipt tells them apart."""
    from transports.memory import MemoryTransport

    first, second = MemoryTransport(), MemoryTransport()
    with corelib.init(mode="offline", settings={"transport": [first, second], "silent": True}) as run:
        run.log({"n": 1})

    assert [row["n"] for row in first.rows(run.id)] == [row["n"] for row in second.rows(run.id)] == [1]
    assert list(run.receipt.transports) == ["MemoryTransport", "MemoryTransport-2"]


def test_what_a_transport_refuses_is_in_the_receipt() -> None:
    """Records that a backend refuses for good are rejected rows, with its reason, and the numbers add up."""
    from corelib.ports import Rejected
    from transports.memory import MemoryTransport

    memory = MemoryTransport()
    memory.deliver = lambda batch: Rejected(reason="too odd")  # type: ignore[method-assign]  # a picky backend
    run = corelib.init(mode="offline", settings={"transport": memory, "silent": True})
    for number in range(10):
        run.log({"n": number})
    receipt = run.finish()

    assert (receipt.accepted, receipt.delivered, receipt.pending, receipt.rejected) == (10, 0, 0, 10)
    assert receipt.reasons == {"too odd": 10}
