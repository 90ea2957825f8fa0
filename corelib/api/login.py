"""`login()`: from words, settings, files and people to a key that later runs find.

Law: `corelib.pure.credentials` decides, and only this room asks people. A key that was given is verified before it is
kept, and one that was rejected is kept nowhere, not even where it was before. What is found lives in the session for
this process and in the netrc file for the next one, in both together with the server that it is for. No key is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from attrs import field, frozen

from corelib.api.login_dialog import ACCOUNT_PAGES, choose, typed_key
from corelib.errors import AuthenticationError, Error, UsageError, UsageTypeError
from corelib.pure.credentials import FoundKey, Grant, Prompt, Server, check_key_format, decide, key_state
from corelib.pure.key_scope import headers_for_server
from corelib.pure.netrc import machines
from corelib.pure.resolve import Resolution, resolve
from corelib.pure.settings import Settings
from corelib.shell import accounts
from corelib.shell.gather import gather
from corelib.shell.keys import search_key
from corelib.shell.netrc_file import store_key
from corelib.shell.prompt import Person, person_at_terminal
from corelib.shell.report import Report

if TYPE_CHECKING:
    from corelib.pure.credentials import Decision
    from corelib.pure.sources import Identity as Names
    from corelib.shell.session import Session

__all__ = ["LoginResult", "LoginWords", "finds_key", "log_in", "login"]

_PLACES: Final = {
    "session": "given to this process",
    "environment": "of the environment",
    "settings_file": "of a settings file",
    "netrc": "of the netrc file",
}


@frozen(kw_only=True)
class LoginWords:
    """The words of one `login()` call."""

    key: str | None = field(default=None, repr=False)
    host: str | None = None
    anonymous: str | None = None
    relogin: bool | None = None
    force: bool | None = None
    verify: bool = False
    timeout: float | None = None


class LoginResult(NamedTuple):
    """What came of a login.

    Args:
        logged_in: whether there is a key that later runs use, accepted by the server if it was asked.
        lasts: whether the next process finds that key, too.
        reason: what there is to say about it, as a sentence; it was reported.
    """

    logged_in: bool
    lasts: bool
    reason: str


def login(  # noqa: PLR0913  the reference's signature
    names: Names,
    session: Session,
    *,
    key: str | None = None,
    host: str | None = None,
    anonymous: str | None = None,
    relogin: bool | None = None,
    force: bool | None = None,
    verify: bool = False,
    timeout: float | None = None,
) -> bool:
    """Find, verify or ask for the API key of a server; return whether there is one to go online with.

    After `init()`, and where the mode is offline or disabled, it has no effect.

    Args:
        names: whose environment variables and directories are meant.
        session: the session that later runs start from.
        key: the key to log in with; verified, then kept in the netrc file.
        host: the server's address, by default that of an earlier login that kept a key, else the setting base_url.
            A key is for this server: a run that goes to another does not get it.
        anonymous: "allow" or "must" have a key without an account, where the server offers it; "never".
        relogin: pass over the keys that are there already.
        force: raise an error rather than stay offline.
        verify: have the server check a key that was found, too.
        timeout: seconds to wait for a person, and for the server if that is less than http_timeout.

    Raises:
        AuthenticationError: the key is malformed, or the server rejected it.
        CommError: with `force`, the server did not answer.
        UsageError: with `force`, there is no key and nobody to give one; or an argument is wrong.
    """
    words = LoginWords(
        key=key,
        host=host,
        anonymous=anonymous,
        relogin=relogin,
        force=force,
        verify=verify,
        timeout=timeout,
    )
    return log_in(names, session, words).logged_in


def log_in(names: Names, session: Session, words: LoginWords) -> LoginResult:
    """Do what `login` does, and say more about it.

    Args:
        names: whose environment variables and directories are meant.
        session: the session that later runs start from.
        words: the words of the call.

    Raises:
        Error: as for `login`.
    """
    if session.active:
        settings = session.active[-1].settings
        text = (
            f"{names.name}.login() has no effect while a run is active. Call it before {names.name}.init()."
        )
        Report(names.name, silent=settings.silent, quiet=settings.quiet).warn(text)
        return LoginResult(logged_in=False, lasts=False, reason=text)
    if words.key is not None and not isinstance(words.key, str):
        raise UsageTypeError(f"login(key=…) takes a text, not {type(words.key).__name__}.")
    if words.key:
        check_key_format(words.key)
    kept = _kept(session, words)
    resolution = _resolution(names, session, words, kept)
    report = Report(names.name, silent=resolution.settings.silent, quiet=resolution.settings.quiet)
    for problem in resolution.problems:
        report.warn(problem.text)
    return _Login(session, words, kept, resolution, report).result()


def finds_key(names: Names, session: Session, words: LoginWords) -> bool:
    """Return whether `log_in` would find a key without being given one. Nobody is asked, and nothing is said.

    Args:
        names: whose environment variables and directories are meant.
        session: the session that later runs start from.
        words: the words of the call.

    Raises:
        UsageError: an argument is wrong, or a setting.
    """
    resolution = _resolution(names, session, words, _kept(session, words))
    return not words.relogin and search_key(resolution).key is not None


def _resolution(names: Names, session: Session, words: LoginWords, kept: dict[str, Any]) -> Resolution:
    gathered = gather(names, login=Settings(**kept, **_said(words)), setup=session.setup)
    return resolve(gathered.layers, gathered.problems)


def _kept(session: Session, words: LoginWords) -> dict[str, Any]:
    """Return what is left of an earlier login: its server, and its key where that is for the same server."""
    before: Settings = session.login or Settings()
    kept: dict[str, Any] = {
        name: getattr(before, name) for name in ("base_url", "api_key") if name in before.given
    }
    if words.host is not None:
        host = Settings(base_url=words.host).base_url
        if host != kept.get("base_url"):
            kept.pop("api_key", None)
        kept["base_url"] = host
    return kept


def _said(words: LoginWords) -> dict[str, Any]:
    said = {"anonymous": words.anonymous, "force": words.force, "login_timeout": words.timeout}
    return {name: value for name, value in said.items() if value is not None}


class _Login:
    """One login under way."""

    def __init__(
        self,
        session: Session,
        words: LoginWords,
        kept: dict[str, Any],
        resolution: Resolution,
        report: Report,
    ) -> None:
        self._session = session
        self._words = words
        self._kept = kept
        self._resolution = resolution
        self._settings = resolution.settings
        self._report = report
        self._url = self._settings.base_url or ""
        self._headers = headers_for_server(resolution)
        self._host = next(iter(machines(self._url)), "")

    def result(self) -> LoginResult:
        if self._settings.mode == "disabled":
            return LoginResult(
                logged_in=False, lasts=False, reason="The mode is disabled: no server is used."
            )
        if self._settings.mode == "offline":
            return self._stay("Unable to verify login in offline mode. Say mode='online', then log in again.")
        if not self._url:
            decision = self._decide("unknown", None)
            if decision.action == "refuse":
                raise _refusal(decision)
            return self._stay("No server is known, so nobody was logged in. Say which host, or set base_url.")
        if self._words.key:
            return self._verified(self._words.key, store=True)
        found = None if self._words.relogin else self._search()
        return self._with(found) if found is not None else self._without_key()

    # ------------------------------------------------------------------------------------------- a key is there

    def _search(self) -> FoundKey | None:
        search = search_key(self._resolution)
        for problem in search.problems:
            self._report.warn(problem.text)
        return search.key

    def _with(self, found: FoundKey) -> LoginResult:
        decision = self._decide("unasked", found.key)
        if decision.action == "refuse":
            raise _refusal(decision)
        if self._words.verify:
            return self._verified(found.key, store=False)
        self._keep({})
        return self._arrive(f"The API key {_PLACES[found.place]} is used for {self._host}.")

    def _verified(self, key: str, *, store: bool) -> LoginResult:
        """Have the server check a key; keep it if it is not rejected, on disk only if it is accepted.

        Raises:
            AuthenticationError: it was rejected.
            CommError: with force, the server did not answer.
        """
        answer = accounts.verify_key(self._url, key, self._timeout_s, self._headers)
        if answer.verdict == "accepted":
            return self._arrive_with(key, answer.account, store=store)
        if answer.verdict == "rejected":
            self._forget(key)
            raise AuthenticationError(
                f"{self._host} rejected the API key, and it was not kept. {answer.reason} "
                "Copy the key again, whole, or check that it is for this server."
            )
        happened = "could not verify the API key" if answer.answered else "did not answer"
        decision = self._decide("unreachable", key)
        if decision.action == "refuse":
            raise _refusal(
                decision, f"force=True wants to be online, but {self._host} {happened}. {answer.reason}"
            )
        # It may be right, so this process goes on trying with it: what is recorded is delivered when that succeeds.
        self._keep({"api_key": key} if store else {})
        unverified = "" if answer.answered else ", so the API key could not be verified"
        return self._stay(f"{self._host} {happened}{unverified}. {answer.reason}")

    def _forget(self, key: str) -> None:
        """Take a rejected key out of the session, if an earlier login left it there unverified or it was revoked."""
        before: Settings | None = self._session.login
        if before is not None and before.api_key == key:
            said = {name: getattr(before, name) for name in before.given if name != "api_key"}
            self._session.login = Settings(**said)

    # ----------------------------------------------------------------------------------------- there is no key

    def _without_key(self) -> LoginResult:
        """Ask whoever the table says, until it says nothing more is to be asked.

        Raises:
            UsageError: with force, there is no key in the end.
        """
        person = person_at_terminal(self._settings.login_timeout)
        prompt: Prompt = "impossible" if person is None else "possible"
        grant: Grant = "impossible" if self._settings.anonymous == "never" else "possible"
        while True:
            decision = self._decide("unasked", None, prompt, grant)
            choice: str | None = decision.action
            if person is not None and decision.action == "ask":
                choice = choose(person, decision, self._host)
            if choice == "anonymous":
                answer = accounts.anonymous_key(self._url, self._timeout_s, self._headers)
                if answer.key is not None:
                    return self._arrive_with(answer.key, "a guest without an account", store=True)
                grant = answer.grant
                self._report.warn(answer.reason)
            elif person is not None and choice in ACCOUNT_PAGES:
                page = f"{self._settings.app_url}/{ACCOUNT_PAGES[choice]}"
                key = typed_key(person, page)
                if key is None:
                    prompt = "unanswered"
                elif (arrived := self._try(person, key)) is not None:
                    return arrived
            elif decision.action == "ask":
                prompt = "unanswered" if choice is None else "declined"
            else:
                return self._give_up(decision, asked=prompt != "impossible")

    def _try(self, person: Person, key: str) -> LoginResult | None:
        """Log in with a key that was typed; None: it was rejected, and another may be typed."""
        try:
            return self._verified(key, store=True)
        except AuthenticationError as error:
            person.tell(str(error))
            return None

    def _give_up(self, decision: Decision, *, asked: bool) -> LoginResult:
        if decision.action == "refuse":
            raise _refusal(decision)
        # Whoever was asked has decided it for the runs to come; otherwise each of them looks for a key itself.
        self._keep({"mode": "offline"} if asked else {})
        if asked:
            return self._stay(decision.reason)
        return self._stay(
            f"Nobody was logged in: no key was given for {self._host}, and there is no terminal to ask for one. Pipe "
            f"it in, as `corelib login --host {self._url} < keyfile`, or say `corelib.login(key=…)` in Python."
        )

    # ------------------------------------------------------------------------------------------------- the end

    def _arrive_with(self, key: str, account: str, *, store: bool) -> LoginResult:
        self._keep({"api_key": key} if store else {})
        text = f"Logged in to {self._host}{f' as {account}' if account else ''}."
        if not store:
            return self._arrive(text)
        try:
            path = store_key(self._url, key)
        except UsageError as error:
            self._report.warn(f"{error} Until then this process alone has it.")
            return self._arrive(text, lasts=False)
        return self._arrive(f"{text} The API key is kept in {path}.")

    def _arrive(self, text: str, *, lasts: bool = True) -> LoginResult:
        self._report.say(text)
        return LoginResult(logged_in=True, lasts=lasts, reason=text)

    def _stay(self, text: str) -> LoginResult:
        self._report.warn(text)
        return LoginResult(logged_in=False, lasts=False, reason=text)

    def _keep(self, found: dict[str, Any]) -> None:
        kept = {**self._kept, **found}
        if "api_key" in kept:
            kept["base_url"] = self._url  # what it is for: runs to another server do not get it
        self._session.login = Settings(**kept)

    def _decide(
        self, server: Server, key: str | None, prompt: Prompt = "impossible", grant: Grant = "impossible"
    ) -> Decision:
        return decide(
            mode=self._settings.mode,
            key=key_state(key),
            server=server,
            force=self._settings.force,
            anonymous=self._settings.anonymous,
            url=self._url,
            prompt=prompt,
            grant=grant,
        )

    @property
    def _timeout_s(self) -> float:
        limit = self._settings.login_timeout
        return self._settings.http_timeout if limit is None else min(limit, self._settings.http_timeout)


def _refusal(decision: Decision, text: str | None = None) -> Error:
    return (decision.error or Error)(text or decision.reason)
