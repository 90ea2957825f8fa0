"""What went wrong with an exchange, in our words.

Law: each foreign exception is mapped once, here, to a kind and a few words. Its own text is not used: it may hold an
address with secrets. What nobody has foreseen is told by its type and counts as doubtful, never as hopeless.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from transports.wandb_exchange import FailureKind, host_of

__all__ = [
    "MOST_ANSWER_BYTES",
    "AnswerTooLong",
    "FileProblem",
    "Limits",
    "ProxyProblem",
    "explained",
    "proxy_of",
    "seconds_text",
]

MOST_ANSWER_BYTES: Final = 64 << 20


class AnswerTooLong(Exception):
    """An answer of a size that no answer of ours has."""


class FileProblem(Exception):
    """A file on this machine cannot be read; the text says why. No OSError, which would pass for the network's."""


class ProxyProblem(Exception):
    """A proxy is in the way; the text names it. What happened is its cause."""


class Limits(NamedTuple):
    """How long there may be no connection, and no answer, in seconds."""

    connect_s: float
    answer_s: float


def explained(error: Exception, limits: Limits) -> tuple[FailureKind, str]:
    """Return kind and words for an exception that left `requests` or was raised in its stead."""
    from socket import gaierror

    from requests import exceptions as foreign
    from urllib3 import exceptions as below

    if isinstance(error, FileProblem):
        return "unusable", f"the file cannot be read: {error}"
    causes = list(_causes(error))
    said = next((one.strerror.lower() for one in causes if isinstance(one, OSError) and one.strerror), "")
    system = f" ({said})" if said else ""
    if isinstance(error, ProxyProblem):
        return "proxy", f"{error} cannot be used{system}{_proxy_advice(causes)}"
    if isinstance(error, foreign.SSLError):
        return "tls", f"no trusted connection ({_tls_reason(causes)})"
    if any(isinstance(one, gaierror) for one in causes):
        return "unresolved", "there is no such host, or no way to ask for it"
    if isinstance(error, foreign.ConnectTimeout):
        return "timeout", f"no connection within {seconds_text(limits.connect_s)}"
    if any(isinstance(one, below.NewConnectionError) for one in causes):
        return "unreachable", f"no connection{system}"
    if any(isinstance(one, (TimeoutError, foreign.Timeout, below.TimeoutError)) for one in causes):
        return "timeout", f"no answer in {seconds_text(limits.answer_s)}"
    if isinstance(
        error, (foreign.ConnectionError, foreign.ChunkedEncodingError, foreign.ContentDecodingError)
    ):
        return "dropped", f"the connection was cut{system}"
    if isinstance(error, AnswerTooLong):
        return "dropped", f"the answer is longer than {MOST_ANSWER_BYTES >> 20} MiB"
    if isinstance(error, OSError) and not isinstance(error, foreign.RequestException):
        # The file of certificates is looked for when a connection is made, and only there.
        return "tls", "the certificates of REQUESTS_CA_BUNDLE or SSL_CERT_FILE cannot be read"
    # An address or a header that is none: the same request will never be anything else.
    hopeless = foreign.InvalidURL, foreign.InvalidSchema, foreign.MissingSchema, foreign.InvalidHeader
    is_hopeless = isinstance(error, (*hopeless, below.LocationValueError, UnicodeError))
    return "unusable" if is_hopeless else "unforeseen", f"the request cannot be sent ({type(error).__name__})"


def seconds_text(seconds: float) -> str:
    """Return a duration for people: what somebody set as it was set, the rest of one with two digits."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{round(seconds, 1):g} s"  # noqa: PLR2004  one digit before the point


def proxy_of(url: str, proxies: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> str | None:
    """Return what to call the proxy by which a request goes, without user and password; None: it goes by none.

    Args:
        url: where the request goes.
        proxies: the proxies of the session and of the environment, as `requests` merges them.
        environ: where the variable that names the proxy is looked for.
    """
    from requests.utils import select_proxy

    proxy = select_proxy(url, proxies)
    if not proxy:
        return None
    scheme = url.partition("://")[0].lower()
    names = [f"{kind}_proxy" for kind in (scheme, "all")]
    variables = (name for lower in names for name in (lower, lower.upper()) if environ.get(name) == proxy)
    address = proxy if "://" in proxy else f"http://{proxy}"
    place = f"{address.partition('://')[0]}://{host_of(address)}"
    return f"the proxy of {next(variables, 'this session')} ({place})"


def _proxy_advice(causes: list[BaseException]) -> str:
    """Say what is wrong with the address of a proxy that was never asked."""
    from requests import exceptions as foreign

    if any(isinstance(one, foreign.InvalidSchema) for one in causes):
        return ": there is nothing here that speaks to proxies of this kind; `pip install requests[socks]` for SOCKS"
    if any(isinstance(one, foreign.InvalidURL) for one in causes):
        return ": its address is none; correct the variable"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what is behind it; libraries put that into arguments as well as into the chain."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [*one.args, getattr(one, "reason", None), one.__cause__, one.__context__]


def _tls_reason(causes: list[BaseException]) -> str:
    for one in causes:
        told = getattr(one, "verify_message", None) or getattr(one, "reason", None)
        if isinstance(told, str):
            return told.replace("_", " ").lower()
    return "no reason given"
