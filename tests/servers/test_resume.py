"""What a resume query is told: about runs that clients sent, that were seeded, broken, deleted or never there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers.document import OMIT
from tests.servers.raw_client import RESUME, UPSERT, RawClient, rows
from tests.servers.seeding import HARMLESS_ANSWERS, MALFORMED_ANSWERS, UNSTARTED_ANSWERS
from tests.servers.state import CONSOLE, EVENTS, SUMMARY
from tests.servers.wandb_server import WandbServer


def _resume(client: RawClient, name: str = "r1", project: str = "proj") -> Any:
    return client.graphql(RESUME, "RunResumeStatus", project=project, entity=None, name=name).data


def test_missing_runs(server: WandbServer, client: RawClient) -> None:
    """No project is `model: null`, no run is `bucket: null`, and without missingOk that is an error."""
    assert _resume(client) == {"model": None}
    client.upsert("other")
    assert _resume(client)["model"]["bucket"] is None

    strict = 'query Q{model(name:"proj"){bucket(name:"r1"){id}}}'
    assert client.graphql(strict).status == 404


def test_resume_of_a_seeded_run(server: WandbServer, client: RawClient) -> None:
    """A seeded run answers as one that a client sent: counts are integers, the rest is JSON in strings."""
    server.seed(
        "r1",
        project="proj",
        rows=[{"loss": 0.5, "_runtime": 1.5}, {"loss": float("nan"), "_step": 41, "_runtime": 7.5}],
        events=[{"_runtime": 9.25}],
        console=["a", "b", "c"],
        config={"lr": 0.1},
        tags=["t"],
        notes="n",
    )
    bucket = _resume(client)["model"]["bucket"]

    counts = {bucket["historyLineCount"], bucket["eventsLineCount"], bucket["logLineCount"]}
    assert counts == {2, 1, 3}
    assert [json.loads(text)["_step"] for text in json.loads(bucket["historyTail"])] == [0, 41]
    assert json.loads(json.loads(bucket["eventsTail"])[-1]) == {"_runtime": 9.25}
    assert json.loads(bucket["config"])["lr"] == {"value": 0.1}
    assert json.loads(bucket["summaryMetrics"])["_step"] == 41
    assert list(json.loads(bucket["wandbConfig"])) == ["t"]
    assert (bucket["tags"], bucket["notes"], bucket["displayName"]) == (["t"], "n", "r1")
    assert client.upsert("r1", id=bucket["id"])["bucket"]["historyLineCount"] == 2
    server.assert_clean()


def test_resume_after_a_run(server: WandbServer, client: RawClient) -> None:
    """What a client streamed is what the next one is told: counts, tails and the last summary, gaps counted in."""
    client.upsert()
    client.push_lines(0, rows(0, 1))
    client.push_lines(4, rows(5))
    client.push_lines(0, ['{"_step":5}'], SUMMARY)
    client.push_lines(0, ["x"], CONSOLE)
    client.push_lines(0, ["{}"], EVENTS)
    bucket = _resume(client)["model"]["bucket"]

    assert [bucket[f"{name}LineCount"] for name in ("history", "events", "log")] == [5, 1, 1]
    assert bucket["summaryMetrics"] == '{"_step":5}'
    assert json.loads(bucket["historyTail"]) == rows(0, 1, 5)
    assert client.upsert()["bucket"]["historyLineCount"] == 5


def test_run_that_never_started(server: WandbServer, client: RawClient) -> None:
    """A run without `_wandb.t` in its config answers a `wandbConfig` without `t`."""
    server.seed("r1", project="proj", started=False, config={"lr": 1})
    assert _resume(client)["model"]["bucket"]["wandbConfig"] == "{}"
    assert not server.run("r1").started

    client.upsert()
    assert "t" in json.loads(_resume(client)["model"]["bucket"]["wandbConfig"])


@pytest.mark.parametrize("answers", [MALFORMED_ANSWERS, UNSTARTED_ANSWERS, HARMLESS_ANSWERS])
def test_corrupt_answers(client: RawClient, server: WandbServer, answers: dict[str, dict[str, Any]]) -> None:
    """Every entry of the tables is answered literally by the resume query, and by it alone."""
    for number, (name, corrupt) in enumerate(answers.items()):
        run = server.seed(f"r{number}", project="proj", rows=[{"a": 1}], corrupt=corrupt)
        bucket = _resume(client, run.name)["model"]["bucket"]
        for field, value in corrupt.items():
            assert bucket.get(field, OMIT) == value, name
        assert client.upsert(run.name)["bucket"]["historyLineCount"] == 1


def test_deleted_run(server: WandbServer, client: RawClient) -> None:
    """A deleted run is not found, its id is refused with 409, and that is no fault of the client."""
    client.upsert()
    client.upsert("r2")
    server.delete("r1")

    assert _resume(client)["model"]["bucket"] is None
    reply = client.graphql(UPSERT, name="r1", project="proj")
    assert reply.status == 409
    assert "previously created and deleted" in reply.json["errors"][0]["message"]
    server.assert_clean()
