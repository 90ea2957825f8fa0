"""The walls of the house: layers, purity, what an import costs, the size of a room, what a module says it exports."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("corelib", "transports")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PURE = sorted([*(ROOT / "corelib" / "pure").rglob("*.py"), *(ROOT / "transports").glob("wandb_*.py")])
TRANSPORTS = sorted((ROOT / "transports").glob("[a-z]*.py"))
PROTOCOL = [path for path in TRANSPORTS if path.name.startswith("wandb_")]
# A transport may be several modules: what its first word is, is its family, and `http` sends what `wandb_…` says.
FAMILIES = {"http": "wandb"}

COMFORTABLE_LINES = 400
MOST_LINES = 600
# Why a module is longer than comfortable. Who splits one takes its line out.
LONG_FOR_A_REASON: dict[str, str] = {
    "corelib.shell.delivery": "one loop performs every effect of the delivery machine; its parts share one state",
    "transports.wandb_protocol": "one conversation, whose steps follow each other and share one state",
}

# Names that reach the world without an import, or through a module that is also used purely.
IMPURE_CALLS = {"breakpoint", "compile", "eval", "exec", "input", "open", "print", "__import__"}
IMPURE_METHODS = {"now", "today", "utcnow", "urandom", "uuid1", "uuid4", "getenv"}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_public(path: Path) -> bool:
    return not any(part.startswith("_") for part in _name(path).split("."))


def _forbidden_in_pure() -> set[str]:
    """Return what the import contract forbids in pure rules."""
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(
        r'^source_modules = \["corelib.pure"\]\nforbidden_modules = \[\n(.*?)^\]',
        configuration,
        re.MULTILINE | re.DOTALL,
    )
    assert listed is not None
    return set(re.findall(r'"([a-z]+)"', listed[1]))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _modules_after(statements: str) -> set[str]:
    """Return the modules that a fresh interpreter has loaded after some statements."""
    code = f"{statements}\nimport sys, json\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(json.loads(done.stdout))


# ------------------------------------------------------------------------------------------------- layers and purity


def test_import_contracts(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every import-linter contract of pyproject.toml is kept."""
    cli = pytest.importorskip(
        "importlinter.cli", reason="import-linter is in the extra 'dev'; .ci/run has it"
    )
    monkeypatch.chdir(ROOT)

    status = cli.lint_imports(no_cache=True)

    assert status == 0, capfd.readouterr().out


def test_every_module_has_a_layer() -> None:
    """A module of corelib is named in the layers contract, so that a new one cannot stand outside the order."""
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[\n(.*?)^\]", configuration, re.DOTALL | re.MULTILINE)
    assert layers is not None
    placed = set(re.findall(r"corelib\.(\w+)", layers[1]))
    modules = {_name(path).split(".")[1] for path in SOURCES if _name(path).startswith("corelib.")}

    assert modules - placed == set()


@pytest.mark.parametrize("path", TRANSPORTS, ids=_name)
def test_transports_know_nothing_of_each_other(path: Path) -> None:
    """A transport imports no other transport: it could be moved out into a distribution of its own."""

    def family(module: str) -> str:
        word = module.split(".")[1].split("_", maxsplit=1)[0]
        return FAMILIES.get(word, word)

    imported = {
        node.module
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("transports.")
    }

    assert {family(module) for module in imported} <= {family(_name(path))}


@pytest.mark.parametrize("path", PROTOCOL, ids=_name)
def test_protocol_imports_nothing_of_the_world(path: Path) -> None:
    """A protocol is pure: it says what to send and what answers mean, and somebody else sends."""
    imported = {
        name.partition(".")[0]
        for node in ast.walk(_tree(path))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
        )
    }

    assert imported & _forbidden_in_pure() == set()


@pytest.mark.parametrize("path", PURE + PROTOCOL, ids=_name)
def test_pure_calls_nothing_impure(path: Path) -> None:
    """A pure module neither prints, opens, evaluates nor asks for the time, and takes only pure paths from pathlib."""
    for node in ast.walk(_tree(path)):
        where = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in IMPURE_METHODS, where
        if isinstance(node, ast.ImportFrom) and node.module == "pathlib":
            assert all(alias.name.startswith("Pure") for alias in node.names), where
        if isinstance(node, ast.Import):
            assert all(alias.name != "pathlib" for alias in node.names), where


# ---------------------------------------------------------------------------------------------- what an import costs


def test_import_is_cheap() -> None:
    """`import corelib` loads no third-party package, no transport, and none of its own rooms but the root."""
    loaded = _modules_after("import corelib") - _modules_after("")
    heavy = {
        "absl",
        "attr",
        "attrs",
        "cattrs",
        "numpy",
        "orjson",
        "pandas",
        "requests",
        "transports",
        "yaml",
        "zstandard",
    }

    assert {name.partition(".")[0] for name in loaded} & heavy == set()
    assert {name for name in loaded if name.startswith("corelib.")} <= {"corelib.errors"}


def test_pure_loads_no_machinery_of_the_world() -> None:
    """Importing all of corelib.pure brings in no socket, TLS, logging, random numbers or HTTP."""
    statements = "\n".join(f"import {_name(path)}" for path in PURE)
    loaded = _modules_after(statements)

    assert loaded & {"socket", "ssl", "logging", "random", "requests", "urllib3", "asyncio"} == set()


@pytest.mark.case("files-dir-on-import")
def test_import_touches_nothing(tmp_path: Path) -> None:
    """Importing corelib creates no file, starts no thread and registers nothing to run at exit."""
    code = (
        "import atexit, threading\n"
        "before = atexit._ncallbacks()\n"
        "import corelib\n"
        "assert atexit._ncallbacks() == before\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_runtime_dependencies() -> None:
    """What users must install is exactly the six packages that were agreed on."""
    required = {
        re.split(r"[<>=!~; ]", line, maxsplit=1)[0]
        for line in requires("corelib") or ()
        if "extra ==" not in line
    }

    assert required == {"attrs", "cattrs", "orjson", "pyyaml", "requests", "zstandard"}


# --------------------------------------------------------------------------------------------------- size and exports


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_module_is_of_a_size_to_be_read(path: Path) -> None:
    """A module has at most 400 lines, or a reason and at most 600."""
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= MOST_LINES
    assert (lines > COMFORTABLE_LINES) == (_name(path) in LONG_FOR_A_REASON)


def _isort_key(name: str) -> tuple[int, list[tuple[int, int, str]]]:
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    pieces = re.findall(r"\d+|\D+", name)
    return kind, [(0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in pieces]


def _defined(path: Path) -> set[str]:
    """Return the public functions and classes that a module defines at its top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {
        node.name for node in _tree(path).body if isinstance(node, kinds) and not node.name.startswith("_")
    }


@pytest.mark.parametrize("path", [path for path in SOURCES if _is_public(path)], ids=_name)
def test_exports_are_sorted_and_true(path: Path) -> None:
    """`__all__` of a public module is sorted, names only what is there, and names every public function and class."""
    module = importlib.import_module(_name(path))
    if path.name == "__init__.py" and not [
        node for node in _tree(path).body if not isinstance(node, ast.Expr)
    ]:
        return  # a package that only marks a folder exports nothing
    exported = module.__all__

    assert list(exported) == sorted(exported, key=_isort_key)
    assert [name for name in exported if not hasattr(module, name)] == []
    assert _defined(path) - set(exported) - {"__getattr__", "__dir__"} == set()


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_module_opens_with_its_law(path: Path) -> None:
    """A module says in its docstring what it decides, before anything else."""
    assert ast.get_docstring(_tree(path))


# -------------------------------------------------------------------------------------------------------- the tests


def _test_functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_states_its_law(path: Path) -> None:
    """Every test has a docstring: the law it shows, in a sentence."""
    assert [node.name for node in _test_functions(path) if not ast.get_docstring(node)] == []
