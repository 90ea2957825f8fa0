"""From what the user names to a transport, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from corelib.errors import AuthenticationError, MissingDependency, UsageError, UsageTypeError
from corelib.ports import Address, Capabilities, Transport
from corelib.shell.wiring import (
    BUILT_IN,
    ENTRY_POINT_GROUP,
    destination_name,
    installed_plugins,
    load_transport,
    transport_name,
)
from transports.file import FileTransport
from transports.memory import MemoryTransport
from transports.null import NullTransport

PLUGIN = """
from corelib.ports import Capabilities, Delivered

class Plugged:
    capabilities = Capabilities()
    def __init__(self, address):
        self.address = address
    def deliver(self, batch):
        return Delivered()

def broken(address):
    return object()

def failing(address):
    raise ValueError("the key is hunter2")

def choosy(address):
    from corelib.errors import UsageError
    raise UsageError("This URL needs a port.")

def lazy(address):
    import a_module_that_nobody_has.inside
"""


def plugin(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=ENTRY_POINT_GROUP)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Callable[[], list[EntryPoint]]]:
    """Return a maker of plugin finders whose entry points name attributes of a module on the path."""
    (tmp_path / "plugged_in.py").write_text(PLUGIN)
    (tmp_path / "needing.py").write_text("import a_module_that_nobody_has.inside\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "plugged_in", raising=False)

    def find(**entries: str) -> Callable[[], list[EntryPoint]]:
        return lambda: [plugin(name, value) for name, value in entries.items()]

    return find


def nobody() -> list[EntryPoint]:
    return []


# Names and URLs.


@pytest.mark.parametrize(
    ("name", "kind"), [("file", FileTransport), ("memory", MemoryTransport), ("null", NullTransport)]
)
def test_built_in_names(name: str, kind: type[Any]) -> None:
    """A built-in name makes a new transport each time, without looking for plugins."""

    def never() -> list[EntryPoint]:
        raise AssertionError("plugins are not needed")

    first, second = load_transport(name, "/w/wandb", never), load_transport(name, "/w/wandb", never)

    assert type(first) is kind
    assert first is not second


def test_the_table_names_what_is_there() -> None:
    """Every entry of the built-in table can be loaded."""
    server = Address(url="", wandb_dir="/w/wandb", base_url="http://set", key="k" * 40)
    for name in BUILT_IN:
        assert isinstance(load_transport(name, server, nobody), Transport)


def test_a_url_is_looked_up_by_its_scheme() -> None:
    """`file:///path` means the file transport, with the path."""
    transport = load_transport("file:///mnt/backup", "/w/wandb", nobody)

    assert isinstance(transport, FileTransport)
    assert transport.wandb_dir == Path("/mnt/backup/wandb")


def test_a_plugin_is_found_by_name_and_by_scheme(plugins: Any) -> None:
    """An installed entry point serves its name and URLs of its scheme, and gets the whole address."""
    find = plugins(plug="plugged_in:Plugged")
    for spec in ("plug", "plug://host:80/team"):
        transport: Any = load_transport(spec, "/w/wandb", find)

        assert transport.address == Address(url=spec, wandb_dir="/w/wandb")


def test_a_built_in_name_comes_before_a_plugin(plugins: Any) -> None:
    """No package can take the place of a built-in transport."""
    assert isinstance(load_transport("null", "/w", plugins(null="plugged_in:Plugged")), NullTransport)


def test_one_plugin_seen_twice_is_one(plugins: Any) -> None:
    """A distribution that is found twice on the path is no conflict."""
    one = plugin("plug", "plugged_in:Plugged")

    assert load_transport("plug", "/w", lambda: [one, one])


def test_two_plugins_of_one_name(plugins: Any) -> None:
    """Two packages that claim one name are both named, instead of one of them being taken by chance."""
    both = [plugin("plug", "plugged_in:Plugged"), plugin("plug", "other:Plugged")]
    with pytest.raises(UsageError, match="other:Plugged, plugged_in:Plugged"):
        load_transport("plug", "/w", lambda: both)


def test_installed_plugins_are_those_of_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group `corelib.transports` of the installed distributions is asked."""
    asked: dict[str, str] = {}

    def entry_points(**selection: str) -> list[EntryPoint]:
        asked.update(selection)
        return [plugin("plug", "plugged_in:Plugged")]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)

    assert [one.name for one in installed_plugins()] == ["plug"]
    assert asked == {"group": "corelib.transports"}


@pytest.mark.parametrize(
    ("spec", "name"),
    [("memory", "memory"), ("FILE:///x", "file"), ("a+b://x", "a+b"), (NullTransport(), "NullTransport")],
)
def test_what_a_transport_is_called(spec: object, name: str) -> None:
    """A name, the scheme of a URL, or the class of an object."""
    assert transport_name(spec) == name


# What cannot be had.


def test_an_unknown_name_lists_the_known(plugins: Any) -> None:
    """The nearest name is suggested, all known ones are listed, and where others come from is said."""
    with pytest.raises(UsageError) as caught:
        load_transport("memry", "/w", plugins(plug="plugged_in:Plugged"))

    text = str(caught.value)
    assert "Did you mean 'memory'?" in text
    assert "file, http, https, memory, null, plug, wandb" in text
    assert "corelib.transports" in text


@pytest.mark.parametrize("spec", ["http://localhost:8080", "https://api.example.org", "http", "wandb"])
def test_a_server_needs_a_key(spec: str) -> None:
    """Names and addresses of servers lead to the HTTP transport, which wants to know the server and its key."""
    server = Address(url="", wandb_dir="/w", base_url="http://set:8080", key="k" * 40)
    transport = load_transport(spec, server, nobody)

    assert type(transport).__name__ == "HttpTransport"
    assert repr(transport) == f"<HttpTransport {spec if '://' in spec else 'http://set:8080'}>"
    with pytest.raises(AuthenticationError, match="no key"):
        load_transport(spec, evolve(server, key=None), nobody)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("http", "http://set:8080/x"),
        ("wandb", "http://set:8080/x"),
        ("http://set:8080/x/", "http://set:8080/x"),
        ("HTTPS://user:secret@host/x?token=secret#y", "https://host/x"),
        ("http://HOST:80/X/", "http://host/X"),
        ("https://host:443", "https://host"),
        ("https://host:80/", "https://host:80"),
        ("http://[::1]:80", "http://[::1]"),
        ("file:///mnt/a#b", "file:///mnt/a#b"),
        ("file", "file"),
        ("plug://a@b/c", "plug://b/c"),
        (object(), "object"),
    ],
)
def test_every_destination_has_a_name(spec: object, expected: str) -> None:
    """Two destinations have two names, one destination has one, however it is written; no secret is in it."""
    assert destination_name(spec, Address(url="", wandb_dir="/w", base_url="http://set:8080/x")) == expected


@pytest.mark.parametrize("spec", ["/mnt/backup", "./backup", "~/backup"])
def test_a_path_is_told_how_to_be_a_url(spec: str) -> None:
    """Whoever gives a directory learns how it is written."""
    with pytest.raises(UsageError, match="file:///absolute/path"):
        load_transport(spec, "/w", nobody)


@pytest.mark.parametrize("spec", ["", "x" * 10_000])
def test_texts_that_are_no_names(spec: str) -> None:
    """An empty or endless text is unknown, and the message stays readable."""
    with pytest.raises(UsageError) as caught:
        load_transport(spec, "/w", nobody)

    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "spec",
    [
        "nope://user:hunter2@host/x?key=hunter2",
        "user:hunter2@host/path",
        "fail://u:hunter2@h/?key=hunter2#hunter2",
    ],
)
def test_no_message_shows_a_secret(plugins: Any, spec: str) -> None:
    """Passwords and queries of a URL appear in no message."""
    with pytest.raises(UsageError) as caught:
        load_transport(spec, "/w", plugins(fail="plugged_in:failing"))

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["needing:anything", "plugged_in:lazy"])
def test_a_plugin_that_needs_a_module(plugins: Any, value: str) -> None:
    """A module that is missing, when the plugin is imported or used, is named with the package to install."""
    with pytest.raises(MissingDependency) as caught:
        load_transport("plug", "/w", plugins(plug=value))

    text = str(caught.value)
    assert "'a_module_that_nobody_has'" in text or "'a_module_that_nobody_has.inside'" in text
    assert "pip install a-module-that-nobody-has" in text
    assert isinstance(caught.value.__cause__, ImportError)


class Distribution:
    """Just the name of a distribution."""

    name = "corelib-plug"


class FromDistribution:
    """An entry point as an installed distribution gives it."""

    name = "plug"
    value = "needing:anything"
    dist: object = Distribution()
    extras: tuple[str, ...] = ()

    def load(self) -> Any:
        raise ModuleNotFoundError("No module named 'needed'", name="needed")


class WithExtra(FromDistribution):
    """An entry point that names the extra it needs, as `needing:anything [fast]` does."""

    extras = ("fast",)


class Nameless(FromDistribution):
    """An entry point that fails without naming a module."""

    def load(self) -> Any:
        raise ImportError("libfoo.so is broken")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            FromDistribution(),
            "Transport 'plug' of corelib-plug needs the module 'needed', which is not installed: pip install needed.",
        ),
        (WithExtra(), "pip install 'corelib-plug[fast]'."),
        (Nameless(), "needs what is not there (libfoo.so is broken)"),
    ],
)
def test_what_to_install_for_a_plugin(entry: Any, expected: str) -> None:
    """The extra of the distribution where there is one, else the package of the module."""
    with pytest.raises(MissingDependency) as caught:
        load_transport("plug", "/w", lambda: [entry])

    assert expected in str(caught.value)


def test_a_built_in_transport_whose_code_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-removed installation says how to mend it."""
    monkeypatch.setitem(sys.modules, "transports.memory", None)
    with pytest.raises(MissingDependency, match="reinstall corelib"):
        load_transport("memory", "/w", nobody)


def test_a_transport_that_cannot_be_made(plugins: Any) -> None:
    """A plugin that fails is named with the kind of its failure; its own usage errors pass unchanged."""
    find = plugins(fail="plugged_in:failing", choosy="plugged_in:choosy", gone="plugged_in:missing")
    with pytest.raises(UsageError, match=r"Transport 'fail' cannot be made from 'fail': ValueError\."):
        load_transport("fail", "/w", find)
    with pytest.raises(UsageError, match=r"^This URL needs a port\.$"):
        load_transport("choosy", "/w", find)
    with pytest.raises(UsageError, match="AttributeError"):
        load_transport("gone", "/w", find)


def test_a_plugin_that_makes_something_else(plugins: Any) -> None:
    """What is made is checked before anybody relies on it."""
    with pytest.raises(UsageError, match="Transport 'plug' is broken"):
        load_transport("plug", "/w", plugins(plug="plugged_in:broken"))


# Live objects.


def test_a_live_object_is_itself() -> None:
    """A transport object is used as it is."""
    transport = MemoryTransport()

    assert load_transport(transport, "/w", nobody) is transport


def test_a_class_is_no_object() -> None:
    """Whoever gives the class learns to give an object."""
    with pytest.raises(UsageTypeError, match=r"give MemoryTransport\(\)"):
        load_transport(MemoryTransport, "/w", nobody)


@pytest.mark.parametrize("spec", [None, 7, b"memory", ["memory"], object(), str])
def test_what_is_no_transport(spec: object) -> None:
    """Other objects are told what a transport is."""
    with pytest.raises(UsageTypeError, match="a name, a URL or an object with deliver"):
        load_transport(spec, "/w", nobody)


class Half:
    """A transport whose declaration a test chooses."""

    def __init__(self, capabilities: object) -> None:
        self.capabilities = capabilities

    def deliver(self, batch: object) -> None:
        raise AssertionError("never called here")


@pytest.mark.parametrize("method", ["close", "lookup", "open"])
def test_a_declared_method_must_be_there(method: str) -> None:
    """A capability without its method is found before the run begins."""
    with pytest.raises(UsageError, match=rf"declares {method}\(\) and has none"):
        load_transport(Half(Capabilities(**{method: True})), "/w", nobody)  # type: ignore[arg-type]


@pytest.mark.parametrize("capabilities", [None, {}, "lookup", Capabilities])
def test_capabilities_must_be_capabilities(capabilities: object) -> None:
    """A declaration of another type is named."""
    with pytest.raises(UsageError, match=r"corelib\.ports\.Capabilities"):
        load_transport(Half(capabilities), "/w", nobody)


def test_deliver_must_be_callable() -> None:
    """An attribute called deliver that cannot be called is no port."""
    half = Half(Capabilities())
    half.deliver = None  # type: ignore[method-assign, assignment]
    with pytest.raises(UsageError, match="is broken"):
        load_transport(half, "/w", nobody)


def test_wiring_imports_no_transport() -> None:
    """Importing the wiring imports no transport; asking for one imports that one."""
    code = (
        "import sys\n"
        "from corelib.shell.wiring import load_transport\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'transports']\n"
        "load_transport('null', '/w')\n"
        "assert 'transports.null' in sys.modules\n"
        "assert 'transports.memory' not in sys.modules\n"
        "assert 'importlib.metadata' not in sys.modules\n"
    )
    root = Path(__file__).parent.parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
