"""What a run says about itself follows from its records."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from attrs import evolve

from corelib.ports import RunRef
from corelib.pure.records import ConfigChange, RunChange
from corelib.pure.replay import Replay
from corelib.testing.specimens import TIME, header_of, start_record
from tests.properties.wandb_world import settings
from transports.wandb_documents import app_url_of, description, documents, metadata, run_url, stream_target
from transports.wandb_graphql import RunName

SETTINGS = settings()
RUN = RunRef(run_id="r", project="p")


def told(*records: Any, header: Any = None, **start: Any) -> dict[str, Any]:
    replay = Replay()
    first = start_record(**start)
    if header is not None:
        replay.feed("w", header)
    for record in records:
        replay.feed("w", record)
    return description(first, replay, (), SETTINGS)


def test_a_run_is_described_by_its_start() -> None:
    """Before a record is taken, how the run began is all there is."""
    found = told(
        group="g", job_type="train", notes="n", program="train.py", sweep_id="s", tags=("a", "b"), name="me"
    )
    config = json.loads(found.pop("config"))

    assert config["lr"] == {"value": 0.1}
    assert "t" in config["_wandb"]["value"]
    assert found == {
        "groupName": "g",
        "jobType": "train",
        "displayName": "me",
        "notes": "n",
        "program": "train.py",
        "sweep": "s",
        "tags": ["a", "b"],
    }


def test_a_run_is_described_by_what_came_since() -> None:
    """Changed names, tags and config replace those of the start; a cleared text is a text."""
    start = start_record(seq=1)
    found = told(
        start,
        RunChange(seq=2, time=TIME, name="new", notes="", tags=()),
        ConfigChange(seq=3, time=TIME, update={"lr": 1}, remove=()),
        header=header_of(RUN, "w"),
    )

    assert (found["displayName"], found["notes"], found["tags"], found["host"]) == ("new", "", [], "host")
    assert json.loads(found["config"])["lr"] == {"value": 1}


def test_where_a_run_comes_from_is_known_at_once() -> None:
    """Commit and host are in the first description, before there is a header."""
    found = told(commit="c0ffee", host="here", remote="https://host/x")

    assert (found["commit"], found["host"]) == ("c0ffee", "here")
    assert told(start_record(host="here"), host="here", header=header_of(RUN, "w"))["host"] == "here"
    assert told(start_record(), header=header_of(RUN, "w"))["host"] == "host"


@pytest.mark.parametrize(
    ("start", "tags"), [({"tags": ()}, None), ({"tags": (), "resumed": True}, []), ({"tags": ("a",)}, ["a"])]
)
def test_no_tags_take_none_away(start: dict[str, Any], tags: list[str] | None) -> None:
    """A run that a sweep has prepared keeps its tags; a run that is continued has those that it was decided to have."""
    assert told(**start).get("tags") == tags


def test_a_config_that_cannot_be_written_is_an_error() -> None:
    """Endless nesting is told, not sent."""
    tree: Any = 1
    for _ in range(100_000):
        tree = [tree]
    with pytest.raises(ValueError, match="nested"):
        told(config={"deep": tree})
    replay = Replay()
    replay.feed("w", start_record(config={"deep": tree}))
    assert list(documents(replay, {}, (), SETTINGS)) == []


def test_the_files_that_a_run_ends_with() -> None:
    """The config as YAML with its internals, the summary as JSON."""
    replay = Replay()
    assert [document.name for document in documents(replay, {}, (), SETTINGS)] == [
        "config.yaml",
        "wandb-summary.json",
    ]
    replay.feed("w", start_record(resumed=True))
    config, summary = documents(replay, {"loss": float("inf")}, (), SETTINGS)

    assert yaml.safe_load(config.content)["lr"] == {"value": 0.1}
    assert yaml.safe_load(config.content)["_wandb"]["value"]["t"]["3"] == [5]
    assert summary.content == b'{"loss":Infinity}'


def test_metadata_tell_of_the_machine_that_it_ran_on() -> None:
    """What is known of this machine is said of runs that ran here, and of no others."""
    here = evolve(SETTINGS, machine={"host": "host", "os": "Linux", "cpu_count_logical": 8})
    elsewhere = evolve(SETTINGS, machine={"host": "other", "os": "Linux"})
    replay = Replay()
    assert metadata(replay, here) is None
    replay.feed("w", header_of(RUN, "w"))
    assert metadata(replay, here) is None
    origin = {"commit": "c0ffee", "remote": "https://host/x", "code_path": "a/train.py"}
    replay.feed("w", start_record(program="train.py", **origin))

    document = metadata(replay, here)
    assert document is not None
    assert document.name == "wandb-metadata.json"
    assert json.loads(document.content) == {
        "host": "host",
        "os": "Linux",
        "cpu_count_logical": 8,
        "program": "train.py",
        "codePath": "a/train.py",
        "git": {"remote": "https://host/x", "commit": "c0ffee"},
        "startedAt": "2026-11-22T16:24:18.500000Z",
        "writerId": "w",
    }
    other = metadata(replay, elsewhere)
    assert other is not None
    assert "os" not in json.loads(other.content)


@pytest.mark.case("run-url")
def test_addresses() -> None:
    """Pages and paths follow what the server calls the run, whatever characters that holds."""
    run = RunName("my ent", "p", "r 2/é")

    assert run_url("https://my.cool.site.com", RunName("me", "lol", "123")) == (
        "https://my.cool.site.com/me/lol/runs/123"
    )
    assert stream_target(run) == "/files/my%20ent/p/r%202%2F%C3%A9/file_stream"
    assert app_url_of("https://api.wandb.ai") == "https://wandb.ai"
    assert app_url_of("http://localhost:8080/x") == "http://localhost:8080/x"
    assert SETTINGS.host == "api.example.com"
