"""What users get: the wheel, built from this tree, installed into a clean environment, used from an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


def _run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as `pip install .` does, in an environment of its own."""
    directory = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", directory, ROOT, cwd=directory)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def binaries(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, and what it requires, into a clean environment; return the directory of its commands."""
    directory = tmp_path_factory.mktemp("clean")
    _run(sys.executable, "-m", "venv", "venv", cwd=directory)
    binaries = directory / "venv" / "bin"
    _run(binaries / "pip", "install", "--quiet", wheel, cwd=directory)
    return binaries


def test_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    """Both import packages with their types and data are in the wheel; tests, fuzz targets and CI are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        str(path.relative_to(ROOT))
        for package in ("corelib", "transports")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert sources | {"corelib/py.typed", "corelib/demo/iris.csv"} == {
        name for name in names if ".dist-info/" not in name
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_version_is_the_same_everywhere(wheel: Path, binaries: Path, tmp_path: Path) -> None:
    """The wheel, its metadata and the command line tell the version of `corelib/__init__.py`."""
    from corelib import __version__

    asked = "from importlib.metadata import version; print(version('corelib'))"

    assert wheel.name.split("-")[:2] == ["corelib", __version__]
    assert _run(binaries / "python", "-c", asked, cwd=tmp_path).strip() == __version__
    assert _run(binaries / "corelib", "--version", cwd=tmp_path).strip() == f"corelib {__version__}"


def test_demo_runs_from_an_empty_folder(binaries: Path, tmp_path: Path) -> None:
    """`corelib demo` needs nothing but the wheel, and what it recorded is whole."""
    folder = tmp_path / "empty"
    folder.mkdir()

    told = _run(binaries / "corelib", "demo", cwd=folder)
    runs = json.loads(_run(binaries / "corelib", "ls", "--json", cwd=folder))

    assert "journals" in told
    assert [run["state"] for run in runs] == ["finished"] * 4
    assert len({run["id"] for run in runs}) == 3
    for run in runs:
        _run(binaries / "corelib", "verify", run["path"], cwd=folder)
    assert os.listdir(folder) == ["wandb"]
