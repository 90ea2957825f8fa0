"""The README keeps its word: its commands, its example, its tables and its recipes are run or compared here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import corelib
from corelib.pure.resume_listing import format_table
from corelib.pure.sources import SOURCES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

DEMO_COMMAND = "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/corelib demo"
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def _section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def test_the_two_commands_are_there() -> None:
    """The two commands stand alone in a block each, to be copied."""
    blocks = [block.strip() for block in _blocks("sh")]

    assert DEMO_COMMAND in blocks
    assert TEST_COMMAND in blocks


def test_ci_runs_the_command_of_the_readme() -> None:
    """CI installs what the README installs and the tools, and runs its pytest command under branch coverage."""
    install = re.search(r"pip\" install --quiet -e '\.\[(.*)\]'", CI)
    test = re.search(r"^\"\$bin/python\" -m coverage run --branch (-m pytest.*)$", CI, re.MULTILINE)

    assert install is not None
    assert test is not None
    assert install[1].split(",")[0] == "test"
    assert TEST_COMMAND.endswith(f"python {test[1]}")


def test_the_example_has_ten_lines_and_runs(tmp_path: Path) -> None:
    """The first example is what it says: ten lines that record a run and read it back."""
    example = _blocks("python")[0]
    assert len(example.strip().splitlines()) <= 10

    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert 0 < float(done.stdout) < 1e-6
    (view,) = corelib.list_runs(tmp_path / "wandb")
    assert (view.state, view.rows) == ("finished", 50)


def test_the_resume_table_is_the_one_that_runs() -> None:
    """What people read about resuming is printed from the table that decides it."""
    shown = re.search(r"<!-- resume-table -->\n(.*?)\n<!-- /resume-table -->", README, re.DOTALL)

    assert shown is not None
    assert shown[1].strip() == format_table("markdown").strip(), (
        "print it with: corelib resume-table --markdown"
    )


def test_the_sources_are_listed_strongest_first() -> None:
    """The order of the sources of settings in the README is the order that decides."""
    items = re.findall(r"^\d+\. ((?:`\w+`(?:, )?)+):", _section("How a setting is decided"), re.MULTILINE)
    named = [name for item in items for name in re.findall(r"`(\w+)`", item)]

    assert named == list(reversed(SOURCES))


def test_every_command_is_listed() -> None:
    """The table of commands names those that the command line has, apart from `demo`, which comes before."""
    told = subprocess.run(
        [sys.executable, "-m", "corelib", "--help"], capture_output=True, text=True, check=True
    )
    commands = set(re.findall(r"^    ([a-z][a-z-]*)(?: |$)", told.stdout, re.MULTILINE))
    listed = set(re.findall(r"^\| `corelib ([a-z-]+)", _section("Ten lines"), re.MULTILINE))

    assert listed | {"demo"} == commands


def _finished_run() -> Path:
    with corelib.init(project="recipes", mode="offline") as run:
        for step in range(3):
            run.log({"loss": 1.0 / (step + 1), "step_name": "NaN"})
        run.log({"loss": float("nan")})
    return Path(run.sync_dir)


def test_pandas_reads_a_finished_run_with_no_code_of_ours() -> None:
    """The recipe for pandas gives the rows."""
    pytest.importorskip("pandas")
    _finished_run()
    (recipe,) = (block for block in _blocks("python") if "pandas" in block)
    names: dict[str, object] = {}

    exec(recipe, names)  # noqa: S102  the README is ours

    history = names["history"]
    assert history["step"].tolist() == [0, 1, 2, 3]  # type: ignore[index]
    assert history["loss"].tolist() == [1.0, 0.5, 1.0 / 3, "NaN"]  # type: ignore[index]


def test_a_sealed_segment_is_plain_json_lines() -> None:
    """What `zstdcat | jq` is given: one frame, one JSON object a line, the checksum of zstd, and nothing in front."""
    import json

    import zstandard

    (segment,) = _finished_run().glob("journal/*/*.jsonl.zst")
    data = segment.read_bytes()
    parameters = zstandard.get_frame_parameters(data)
    lines = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False).splitlines()

    assert parameters.has_checksum
    assert parameters.content_size == sum(len(line) + 1 for line in lines)
    assert [json.loads(line)["type"] for line in lines][:2] == ["header", "run"]


def test_a_hot_segment_is_json_behind_nine_characters() -> None:
    """What `cut -c10- | jq` is given while a run is alive."""
    import json

    with corelib.init(project="recipes", mode="offline") as run:
        run.log({"loss": 0.5})
        (segment,) = Path(run.sync_dir).glob("journal/*/*.jsonl")
        records = [json.loads(line[9:]) for line in segment.read_text(encoding="utf-8").splitlines()]

    assert [record["data"] for record in records if record["type"] == "row"] == [{"loss": 0.5}]
