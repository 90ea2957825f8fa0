"""From what the user names to a transport: a live object, a built-in name, a URL, an installed plugin.

Law: the core knows transports as texts only; the code behind a name is imported when somebody asks for it. A
URL is looked up by its scheme, and a built-in name comes before a plugin of the same name. Whatever cannot be
had says what to do next, and shows nothing of a URL that may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from attrs import evolve

from corelib.errors import Error, MissingDependency, UsageError, UsageTypeError
from corelib.ports import Address, Capabilities, Transport

__all__ = [
    "BUILT_IN",
    "ENTRY_POINT_GROUP",
    "Plugin",
    "destination_name",
    "installed_plugins",
    "load_transport",
    "transport_name",
]

ENTRY_POINT_GROUP: Final = "corelib.transports"

BUILT_IN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "file": "transports.file:FileTransport.from_address",
        "http": "transports.http:HttpTransport.from_address",
        "https": "transports.http:HttpTransport.from_address",
        "memory": "transports.memory:MemoryTransport.from_address",
        "null": "transports.null:NullTransport.from_address",
        "wandb": "transports.http:HttpTransport.from_address",
    }
)
"""Name or URL scheme → `module:attribute` of the factory."""

_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "close": ("close",),
        "create": ("create",),
        "heartbeat_s": ("heartbeat",),
        "lookup": ("lookup",),
        "open": ("open",),
        "redeliver": ("redeliver",),
        "restartable": ("save", "load", "rebuild"),
    }
)
"""Capability → the methods that it promises."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_SECRETS = re.compile(r"[^/\s]*@|[?#].*", re.DOTALL)  # user:password@, and what follows the path
_SHOWN_CHARACTERS: Final = 100
_DEFAULT_PORTS: Final[Mapping[str, str]] = MappingProxyType({"http": ":80", "https": ":443"})


class Plugin(Protocol):
    """The part of an `importlib.metadata.EntryPoint` that is used here."""

    @property
    def name(self) -> str:
        """The name under which it offers a transport."""
        ...

    @property
    def value(self) -> str:
        """`module:attribute` of the factory."""
        ...

    def load(self) -> Any:
        """Import the module and return the factory."""
        ...


def installed_plugins() -> Iterable[Plugin]:
    """Return the transports that installed distributions offer."""
    from importlib.metadata import entry_points  # tens of milliseconds; built-in names do not pay them

    return entry_points(group=ENTRY_POINT_GROUP)


def transport_name(spec: object) -> str:
    """Return what to call a transport: its name, the scheme of its URL, or the class of an object."""
    if not isinstance(spec, str):
        return type(spec).__name__
    scheme = _SCHEME.match(spec)
    return scheme[1].lower() if scheme else _shown(spec)


def destination_name(spec: object, address: Address) -> str:
    """Return what to call a destination where each needs a name of its own, as for cursors; it holds no secret.

    The name of a server's transport and the server's own address mean the same place, and have one name, as have all
    spellings of that address.
    """
    if not isinstance(spec, str):
        return transport_name(spec)
    if BUILT_IN.get(transport_name(spec), "").startswith("transports.http:"):
        return _server_name(_SECRETS.sub("", spec if _SCHEME.match(spec) else address.base_url or spec))
    # A path may hold any character, and no secret; the address of anything else may hold one.
    return spec if transport_name(spec) == "file" else _SECRETS.sub("", spec).rstrip("/")


def _server_name(url: str) -> str:
    """Return the address of a server as all that mean it would write it."""
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not separator:
        return url
    scheme, host = scheme.lower(), host.lower()
    return f"{scheme}://{host.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}{slash}{path}".rstrip("/")


def load_transport(
    spec: object,
    address: Address | str,
    plugins: Callable[[], Iterable[Plugin]] = installed_plugins,
) -> Transport:
    """Return the transport that `spec` means.

    Args:
        spec: a transport, or a text: a name ("memory") or a URL ("file:///mnt/backup").
        address: absolute path of the directory that holds the run directories, or an `Address` with it and with the
            server there is; its `url` is replaced by `spec`.
        plugins: finds what is installed.

    Raises:
        UsageTypeError: neither a transport nor a text.
        UsageError: no transport has this name, or none can be made from this URL.
        MissingDependency: its code needs a package that is not installed.
    """
    if not isinstance(spec, str):
        return _live(spec)
    name = transport_name(spec)
    path = BUILT_IN.get(name)
    plugin = None if path is not None else _plugin(name, spec, plugins())
    try:
        factory = plugin.load() if plugin is not None else _built_in(path or "")
        made = factory(
            Address(url=spec, wandb_dir=address) if isinstance(address, str) else evolve(address, url=spec)
        )
    except Error:
        raise
    except ImportError as error:
        raise MissingDependency(_missing(name, plugin, error)) from error
    except Exception as error:
        kind = type(error).__name__
        raise UsageError(f"Transport {name!r} cannot be made from {_shown(spec)!r}: {kind}.") from error
    return _checked(made, f"Transport {name!r}")


def _built_in(path: str) -> Any:
    from importlib import import_module

    module, _, attributes = path.partition(":")
    found: Any = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


def _plugin(name: str, spec: str, plugins: Iterable[Plugin]) -> Plugin:
    installed = list(plugins)
    found = {plugin.value: plugin for plugin in installed if plugin.name == name}
    if len(found) > 1:
        values = ", ".join(sorted(found))
        raise UsageError(
            f"Two installed packages offer a transport {name!r}: {values}. Uninstall one of them."
        )
    for plugin in found.values():
        return plugin
    raise UsageError(_unknown(name, spec, {*BUILT_IN, *(plugin.name for plugin in installed)}))


def _unknown(name: str, spec: str, known: set[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, sorted(known), n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    if spec.startswith(("/", "./", "~")):
        hint = " A directory is written as a URL: file:///absolute/path."
    return (
        f"There is no transport {name!r}.{hint} Known are {', '.join(sorted(known))}; "
        f"others come with packages that have an entry point in the group {ENTRY_POINT_GROUP}."
    )


def _live(spec: object) -> Transport:
    if isinstance(spec, type) and hasattr(spec, "deliver"):
        raise UsageTypeError(
            f"A transport is an object, and {spec.__name__} is a class: give {spec.__name__}()."
        )
    if not hasattr(spec, "deliver") or not hasattr(spec, "capabilities"):
        raise UsageTypeError(
            "A transport is a name, a URL or an object with deliver() and capabilities, "
            f"not {type(spec).__name__}."
        )
    return _checked(spec, f"The transport {type(spec).__name__}")


def _checked(transport: Any, subject: str) -> Transport:
    """Return a transport that keeps its own declaration."""
    declared = getattr(transport, "capabilities", None)
    if not isinstance(declared, Capabilities) or not callable(getattr(transport, "deliver", None)):
        raise UsageError(
            f"{subject} is broken: it needs deliver() and capabilities of type corelib.ports.Capabilities. "
            "Tell its authors; corelib.testing.TransportConformance shows what is missing."
        )
    for capability, methods in _OPTIONAL.items():
        for method in methods if getattr(declared, capability) else ():
            if not callable(getattr(transport, method, None)):
                raise UsageError(
                    f"{subject} is broken: it declares {method}() and has none. Tell its authors."
                )
    found: Transport = transport
    return found


def _missing(name: str, plugin: Plugin | None, error: ImportError) -> str:
    """Say what to install: the extra that the plugin names, else the package of the missing module."""
    needed = (
        f"the module {error.name!r}, which is not installed" if error.name else f"what is not there ({error})"
    )
    if plugin is None:
        return f"Transport {name!r} comes with corelib and needs {needed}: reinstall corelib."
    distribution = getattr(getattr(plugin, "dist", None), "name", None)
    extras = ",".join(getattr(plugin, "extras", ()))
    if distribution and extras:
        return f"Transport {name!r} needs {needed}: pip install '{distribution}[{extras}]'."
    source = f" of {distribution}" if distribution else ""
    package = (error.name or "").partition(".")[0].replace("_", "-") or "the package that has it"
    return f"Transport {name!r}{source} needs {needed}: pip install {package}."


def _shown(spec: str) -> str:
    shown = _SECRETS.sub("", spec)
    return shown if len(shown) <= _SHOWN_CHARACTERS else shown[: _SHOWN_CHARACTERS - 1] + "…"
