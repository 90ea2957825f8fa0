"""Operations are told apart, checked and answered as the notes on the protocol say, and change what they should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.servers.raw_client import ALERT, FEATURES, RESUME, REWIND, UPSERT, VIEWER, RawClient
from tests.servers.state import Alert
from tests.servers.wandb_server import WandbServer


def _kinds(server: WandbServer) -> list[str]:
    return [violation.kind for violation in server.violations]


def test_viewer(server: WandbServer, client: RawClient) -> None:
    """The viewer is who the test says; `flags` is JSON in a string; nobody is null."""
    viewer = client.graphql(VIEWER, "Viewer").data["viewer"]
    assert (viewer["entity"], json.loads(viewer["flags"])) == ("ent", {"code_saving_enabled": False})

    with server.changing() as world:
        world.viewer = None
    assert client.graphql(VIEWER, "Viewer").data == {"viewer": None}


def test_features(server: WandbServer, client: RawClient) -> None:
    """The features are those that were announced; none at all is null."""
    assert client.graphql(FEATURES).data == {"serverInfo": {"features": None}}
    server.announce("FILESTREAM_GZIP")
    assert client.graphql(FEATURES).data == {
        "serverInfo": {"features": [{"name": "FILESTREAM_GZIP", "isEnabled": True}]}
    }


def test_first_upsert(server: WandbServer, client: RawClient) -> None:
    """The first upsert makes the run, with everything that it says, and answers where to stream to."""
    answer = client.upsert(
        config={"lr": {"value": 0.1}},
        groupName="g",
        displayName="my name",
        notes="note",
        commit="c0ffee",
        host="vm",
        program="train.py",
        jobType="jt",
        tags=["t1"],
    )

    assert answer == {
        "inserted": True,
        "bucket": {
            "id": server.run("r1").storage_id,
            "name": "r1",
            "displayName": "my name",
            "sweepName": None,
            "historyLineCount": 0,
            "project": {"name": "proj", "entity": {"name": "ent"}},
        },
    }
    run = server.run("r1")
    assert (
        run.plain_config,
        run.tags,
        run.notes,
        run.group,
        run.job_type,
        run.program,
        run.host,
        run.commit,
    ) == (
        {"lr": 0.1},
        ("t1",),
        "note",
        "g",
        "jt",
        "train.py",
        "vm",
        "c0ffee",
    )
    assert run.started
    server.assert_clean()


def test_later_upserts(server: WandbServer, client: RawClient) -> None:
    """What is null keeps what is stored; the config is replaced whole; an empty list of tags empties them."""
    client.upsert(config={"a": {"value": 1}}, displayName="n", notes="x", tags=["t"])
    later = client.upsert(config={"b": {"value": 2}}, displayName=None, notes=None)
    assert later["inserted"] is False
    run = server.run("r1")
    assert (run.plain_config, run.display_name, run.notes, run.tags) == ({"b": 2}, "n", "x", ("t",))

    client.upsert(tags=[])
    assert server.run("r1").tags == ()
    assert len(server.run("r1").upserts) == 3


def test_upsert_by_storage_id(server: WandbServer, client: RawClient) -> None:
    """The storage id finds the run; an unknown one is 404; one of another run is noted."""
    storage_id = client.upsert("r1")["bucket"]["id"]
    client.upsert("r2")
    assert client.upsert(None, id=storage_id)["bucket"]["name"] == "r1"
    assert client.graphql(UPSERT, id="nobody", name="r1", project="proj").status == 404
    server.assert_clean()

    client.upsert("r2", id=storage_id)
    assert _kinds(server) == ["id-mismatch"]


def test_names_that_the_server_gives(server: WandbServer, client: RawClient) -> None:
    """Without project, entity and name the server has its own; and it may answer others than it was given."""
    answer = client.upsert(None, project=None)["bucket"]
    assert (answer["project"]["name"], answer["project"]["entity"]["name"]) == ("uncategorized", "ent")
    assert answer["name"]

    with server.changing() as world:
        world.canonical = {"proj": "Proj", "r9": "r9-renamed"}
    answer = client.upsert("r9")["bucket"]
    assert (answer["name"], answer["project"]["name"]) == ("r9-renamed", "Proj")
    assert client.push({}, run="r9").status == 404
    assert client.push({}, run="r9-renamed", project="Proj").status == 200


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"config": {"lr": {"value": 1}}}, "wrong-type"),
        ({"config": "{"}, "wrong-type"),
        ({"config": "[]"}, "wrong-type"),
        ({"tags": "t1"}, "wrong-type"),
        ({"name": 7}, "wrong-type"),
        ({"project": "a/b"}, "bad-name"),
        ({"project": "p" * 129}, "bad-name"),
        ({"name": "a:b"}, "bad-name"),
        ({"name": " r1"}, "bad-name"),
        ({"name": ""}, "bad-name"),
    ],
)
def test_upserts_that_are_refused(
    server: WandbServer, client: RawClient, variables: dict[str, Any], kind: str
) -> None:
    """An upsert of wrong types or names is answered 400 with the reason, noted, and makes no run."""
    reply = client.graphql(UPSERT, **{"name": "r1", "project": "proj", **variables})

    assert reply.status == 400
    assert reply.json["data"] is None
    assert reply.json["errors"][0]["message"]
    assert _kinds(server) == [kind]
    assert server.runs == []


def test_config_that_is_not_wrapped(server: WandbServer, client: RawClient) -> None:
    """A config value that is not wrapped is stored and noted; a config without `_wandb.t` has not started."""
    assert client.graphql(UPSERT, name="r1", project="proj", config='{"lr":0.1}').status == 200

    assert _kinds(server) == ["config-unwrapped"]
    assert not server.run("r1").started


def test_answers_hold_what_was_selected(server: WandbServer, client: RawClient) -> None:
    """A field that was not asked for is not answered, and one that does not exist is 400 before anything is done."""
    least = "mutation UpsertBucket($n:String){upsertBucket(input:{name:$n}){bucket{id}}}"
    assert list(client.graphql(least, n="r1").data["upsertBucket"]["bucket"]) == ["id"]

    unknown = "mutation UpsertBucket($n:String){upsertBucket(input:{name:$n}){bucket{lineCount}}}"
    assert client.graphql(unknown, n="r2").status == 400
    assert [run.name for run in server.runs] == ["r1"]
    assert _kinds(server) == ["bad-graphql"]


@pytest.mark.parametrize(
    ("envelope", "kind"),
    [
        ([], "bad-graphql"),
        ({"query": 1}, "bad-graphql"),
        ({"query": "query {"}, "bad-graphql"),
        ({"query": VIEWER, "variables": []}, "wrong-type"),
        ({"query": VIEWER, "operationName": 7}, "wrong-type"),
        ({"query": VIEWER, "operationName": "Other"}, "operation-mismatch"),
    ],
)
def test_envelopes_that_are_refused(
    server: WandbServer, client: RawClient, envelope: object, kind: str
) -> None:
    """An envelope that a real server refuses is answered 400 and noted."""
    assert client.send("POST", "/graphql", json.dumps(envelope).encode(), client.headers()).status == 400
    assert _kinds(server) == [kind]


def test_unknown_operations_are_null(server: WandbServer, client: RawClient) -> None:
    """An operation that this server does not know is answered with null for its field, status 200."""
    query = "query OrganizationId($e:String!){entity(name:$e){organization{coreWeaveOrganizationId}}}"
    assert client.graphql(query, e="ent").data == {"entity": None}
    mutation = "mutation CommitArtifact($a:ID!){done:commitArtifact(input:{artifactID:$a}){artifact{id}}}"
    assert client.graphql(mutation, a="x").data == {"done": None}
    server.assert_clean()


def test_old_operations_are_told_apart_by_their_text(server: WandbServer, client: RawClient) -> None:
    """Without operationName the name in the text counts, and where all are called `Model`, what they ask for."""
    client.upsert()
    resume = RESUME.replace("query RunResumeStatus", "query Model")
    urls = """query Model($name:String!,$run:String!,$entity:String!,$files:[String]!,$description:String){
      model(name:$name,entityName:$entity){bucket(name:$run,desc:$description,missingOk:true){id
        files(names:$files){uploadHeaders edges{node{name url(upload:true) updatedAt}}}}}}"""
    stop = """query Model($projectName:String,$entityName:String,$runId:String!){
      project(name:$projectName,entityName:$entityName){run(name:$runId){stopped}}}"""

    assert client.graphql(resume, project="proj", name="r1").data["model"]["bucket"]["name"] == "r1"
    found = client.graphql(urls, name="proj", run="r1", entity="ent", files=["a.txt"]).data["model"]["bucket"]
    assert found["files"]["edges"][0]["node"]["url"].startswith(server.uploads_url)
    server.stop_run("r1")
    assert client.graphql(stop, projectName="proj", runId="r1").data == {
        "project": {"run": {"stopped": True}}
    }
    client.graphql(VIEWER)

    assert [request.operation for request in server.requests("graphql")] == [
        "UpsertBucket",
        "RunResumeStatus",
        "RunUploadUrls",
        "RunStoppedStatus",
        "Viewer",
    ]
    server.assert_clean()


def test_alerts(server: WandbServer, client: RawClient) -> None:
    """An alert is kept with its severity and its wait in milliseconds; an odd severity is refused."""
    client.upsert()
    where = {"entityName": "ent", "projectName": "proj", "runName": "r1"}
    reply = client.graphql(ALERT, **where, title="t", text="x", severity="WARN", waitDuration=30000)
    assert reply.data == {"notifyScriptableRunAlert": {"success": True}}
    client.graphql(ALERT, **where, title="t", text="")
    assert server.alerts == [Alert("r1", "t", "x", "WARN", 30000), Alert("r1", "t", "", "INFO", None)]
    server.assert_clean()

    assert client.graphql(ALERT, **where, title="t", text="x", severity="LOUD").status == 400
    assert client.graphql(ALERT, **{**where, "runName": "r9"}, title="t", text="x").status == 404
    assert _kinds(server) == ["wrong-type"]


def test_rewind(server: WandbServer, client: RawClient) -> None:
    """Rewinding keeps the rows up to a step; of a run that is not there it answers null."""
    server.seed("r1", project="proj", rows=[{"a": 1}] * 8)
    wanted = {"entity": None, "project": "proj", "metricName": "_step", "metricValue": 4}
    rewound = client.graphql(REWIND, **wanted, runName="r1").data["rewindRun"]["rewoundRun"]
    assert (rewound["name"], rewound["historyLineCount"]) == ("r1", 5)
    assert server.run("r1").steps == [0, 1, 2, 3, 4]

    assert client.graphql(REWIND, **wanted, runName="r9").data == {"rewindRun": None}


def test_summary_in_an_upsert(server: WandbServer, client: RawClient) -> None:
    """An upsert may bring the summary, as JSON in a string."""
    mutation = 'mutation U($s:JSONString){upsertBucket(input:{name:"r1",summaryMetrics:$s}){inserted}}'
    assert client.graphql(mutation, s='{"acc":1}').status == 200
    assert client.graphql(mutation, s="acc=2").status == 400

    assert server.run("r1").summary == {"acc": 1}
    assert _kinds(server) == ["wrong-type"]


def test_files_that_were_uploaded_by_other_means(server: WandbServer, client: RawClient) -> None:
    """`markRunFilesUploaded` succeeds for a run that is there, and needs a run id."""
    mutation = """mutation M($r:String){markRunFilesUploaded(input:{entityName:"ent",projectName:"proj",
      runName:$r,files:["a"]}){success}}"""
    client.upsert()
    assert client.graphql(mutation, r="r1").data == {"markRunFilesUploaded": {"success": True}}
    assert client.graphql(mutation, r=None).status == 400
    assert _kinds(server) == ["wrong-type"]
