"""What outlives the process is exact, or an error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelib.errors import UsageError
from transports.wandb_graphql import RunName
from transports.wandb_saved import Owed, SavedRun
from transports.wandb_stream import LINE_FILES

texts = st.text(max_size=8)
some_texts = st.lists(texts, max_size=3).map(tuple)
owed = st.builds(
    Owed,
    description=st.booleans(),
    alerts=st.lists(st.tuples(texts, st.integers(0, 2**40)), max_size=3).map(tuple),
    files=some_texts,
    losses=st.lists(st.tuples(texts, some_texts), max_size=3).map(tuple),
)
saved_runs = st.builds(
    SavedRun,
    run=st.builds(RunName, texts, texts, texts),
    storage_id=st.none() | texts,
    name=st.none() | texts,
    offsets=st.fixed_dictionaries(dict.fromkeys(LINE_FILES, st.integers(0, 2**40))),
    uploaded=st.lists(texts, max_size=3).map(tuple),
    complete=st.booleans(),
    encoding=st.sampled_from((None, "gzip", "zstd")),
    owed=owed,
)
SOUND = SavedRun(run=RunName("e", "p", "r"), offsets=dict.fromkeys(LINE_FILES, 1)).tree()


@given(saved_runs)
def test_reading_undoes_writing(saved: SavedRun) -> None:
    """What was saved comes back from a disk as it was."""
    assert SavedRun.read(json.loads(json.dumps(saved.tree()))) == saved


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"version": 0},
        {"version": True},
        {"version": None},
        {"owed": None},
        {"owed": {}},
        {"owed": {**SOUND["owed"], "description": 1}},
        {"owed": {**SOUND["owed"], "alerts": [["w1"]]}},
        {"owed": {**SOUND["owed"], "alerts": [["w1", True]]}},
        {"owed": {**SOUND["owed"], "alerts": ["w1"]}},
        {"owed": {**SOUND["owed"], "files": "a"}},
        {"owed": {**SOUND["owed"], "losses": [["why"]]}},
        {"owed": {**SOUND["owed"], "losses": [["why", "a"]]}},
        {"owed": {**SOUND["owed"], "losses": [[7, []]]}},
        {"run": None},
        {"run": ["e", "p"]},
        {"run": ["e", "p", 7]},
        {"storage_id": 7},
        {"name": []},
        {"offsets": None},
        {"offsets": {}},
        {"offsets": {**SOUND["offsets"], LINE_FILES[0]: -1}},
        {"offsets": {**SOUND["offsets"], LINE_FILES[0]: True}},
        {"offsets": {**SOUND["offsets"], LINE_FILES[0]: "1"}},
        {"uploaded": "config.yaml"},
        {"uploaded": [7]},
        {"complete": 1},
        {"encoding": "br"},
    ],
)
def test_half_a_cursor_is_an_error(changes: dict[str, Any]) -> None:
    """Offsets that cannot be trusted would put rows where others are."""
    assert SavedRun.read(SOUND).offsets == SOUND["offsets"]
    with pytest.raises(UsageError, match="cannot be understood"):
        SavedRun.read({**SOUND, **changes})


def test_what_was_saved_before_lanes_is_read() -> None:
    """Then nothing was answered that was still owed."""
    tree = {**SOUND, "version": 1}
    del tree["owed"]

    assert SavedRun.read(tree).owed == Owed()


def test_a_saved_run_is_a_known_bucket() -> None:
    """A new process knows what the server calls the run, without asking."""
    bucket = SavedRun(run=RunName("e", "p", "r"), storage_id="s", name="fun").bucket()

    assert (bucket.run, bucket.storage_id, bucket.display_name) == (RunName("e", "p", "r"), "s", "fun")
