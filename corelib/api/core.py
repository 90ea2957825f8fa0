"""A core: one tracker with its own names, settings and runs.

Law: two cores in one process share nothing. The default core is the one behind the module-level functions; it reads
`WANDB_*` and writes `wandb/`. A host tool makes its own with its own prefix and directory name, and then nothing of the
reference's is read or written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corelib.errors import Error
from corelib.pure.sources import Identity as Names
from corelib.shell import session as sessions
from corelib.shell.session import Session

if TYPE_CHECKING:
    from corelib.api.reading import RunView
    from corelib.api.run import Run
    from corelib.api.syncing import SyncResult
    from corelib.pure.receipt import Receipt
    from corelib.pure.settings import Settings

__all__ = ["Core", "Current", "default"]


class Core:
    """A tracker of its own.

    Args:
        prefix: what its environment variables begin with.
        directory: the directory that holds its runs, below the root; also the name of its user-wide settings directory.
        name: what it calls itself in messages.
    """

    def __init__(
        self,
        *,
        prefix: str = "WANDB_",
        directory: str = "wandb",
        name: str = "corelib",
        session: Session | None = None,
    ) -> None:
        self.names = Names(prefix=prefix, directory=directory, name=name)
        self.session = session if session is not None else Session()
        self.config = Current(self, "config")
        self.summary = Current(self, "summary")

    def init(  # noqa: PLR0913, PLR0917  the reference's signature and positional order
        self,
        job_type: str | None = None,
        dir: str | os.PathLike[str] | None = None,
        config: Any = None,
        project: str | None = None,
        entity: str | None = None,
        reinit: bool | str | None = None,
        tags: Sequence[str] | str | None = None,
        group: str | None = None,
        name: str | None = None,
        notes: str | None = None,
        magic: Mapping[str, Any] | str | bool | None = None,
        config_exclude_keys: Sequence[str] | None = None,
        config_include_keys: Sequence[str] | None = None,
        anonymous: str | None = None,
        mode: str | None = None,
        allow_val_change: bool | None = None,
        resume: bool | str | None = None,
        force: bool | None = None,
        tensorboard: bool | None = None,
        sync_tensorboard: bool | None = None,
        monitor_gym: bool | None = None,
        save_code: bool | None = None,
        id: str | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
    ) -> Run:
        """Start a run, or resume one, and return it. Nothing is left behind if it fails.

        Args:
            job_type: the type of job, "train" unless told otherwise.
            dir: where the runs directory is put; relative to the current directory.
            config: parameters: a mapping, an argparse.Namespace, absl flags, a dataclass, any object with attributes,
                or the path of a YAML file.
            project: the project; by default named after the git repository and the program, else "uncategorized".
            entity: the user or team that owns the project.
            reinit: what happens while another run is active: True or "finish_previous", False or "return_previous" (the
                default in scripts), "create_new".
            tags: labels, at most 64 characters each; a text is one tag.
            group: what runs that belong together share.
            name: a display name, not necessarily unique.
            notes: a text of any length.
            magic: accepted in the reference's four forms and recorded; has no effect.
            config_exclude_keys: keys of `config` to leave out. Not together with `config_include_keys`.
            config_include_keys: the only keys of `config` to take.
            anonymous: "allow", "must" or "never" (default).
            mode: "online" (default), "offline" or "disabled".
            allow_val_change: whether config values may be changed later; by default only in notebooks.
            resume: "allow", "must", "never", "auto" (also True) or None: see `corelib resume-table`.
            force: raise instead of going offline when the server cannot be used.
            tensorboard: the same as `sync_tensorboard`.
            sync_tensorboard: has no effect yet.
            monitor_gym: has no effect yet.
            save_code: has no effect yet.
            id: the run id, unique within the project; needed to resume.
            settings: any setting by its name, below the arguments and above the environment.

        Raises:
            UsageError: an argument or setting is wrong, or `resume` forbids this run.
            ConfigError: the config cannot be read.
            JournalError: the journal cannot be begun, as on a full disk.
            Error: the system has run out of something else.
            CommError: `force`, "must" or "never" needs an answer of the server and there was none.
        """
        arguments = {
            "job_type": job_type,
            "dir": dir,
            "project": project,
            "entity": entity,
            "reinit": reinit,
            "tags": tags,
            "group": group,
            "name": name,
            "notes": notes,
            "magic": magic,
            "anonymous": anonymous,
            "mode": mode,
            "allow_val_change": allow_val_change,
            "resume": resume,
            "force": force,
            "tensorboard": tensorboard,
            "sync_tensorboard": sync_tensorboard,
            "monitor_gym": monitor_gym,
            "save_code": save_code,
            "id": id,
        }
        try:
            from corelib.api.init import Call, start

            call = Call(
                config=config,
                config_exclude_keys=config_exclude_keys,
                config_include_keys=config_include_keys,
                settings=settings,
                arguments=arguments,
            )
            return start(self.names, self.session, call)
        except (
            OSError
        ) as error:  # what could be foreseen has an error of its own; a shortage of open files has none
            raise Error(
                f"The run could not begin, and nothing is left of it: {error}. Where this process has run out of "
                "something, as of open files, free some of it or raise the limit."
            ) from error

    def login(
        self,
        key: str | None = None,
        host: str | None = None,
        anonymous: str | None = None,
        relogin: bool | None = None,
        force: bool | None = None,
        verify: bool = False,
        timeout: float | None = None,
    ) -> bool:
        """Find, verify or ask for the API key of a server; return whether there is one to go online with.

        A key that is given is verified first and then kept in the netrc file, with mode 0600. Only this call and the
        command line ever ask a person, and only at a terminal. After `init()`, and where the mode is offline or
        disabled, it has no effect.

        Args:
            key: the key to log in with.
            host: the server's address, by default the setting base_url.
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
        from corelib.api.login import login

        return login(
            self.names,
            self.session,
            key=key,
            host=host,
            anonymous=anonymous,
            relogin=relogin,
            force=force,
            verify=verify,
            timeout=timeout,
        )

    def sync(self, paths: Sequence[str | os.PathLike[str]] = (), **words: Any) -> list[SyncResult]:
        """Deliver recorded runs, as often as you like: finished, crashed or still running; see `corelib sync`.

        Args:
            paths: run directories, directories that hold some, names of run directories, run ids, or "latest".
            words: the other fields of `corelib.api.syncing.SyncRequest`: everything, transport, dry_run, jobs, ….

        Raises:
            UsageError: a run or a destination that is not there, or contradictory words.
        """
        from corelib.api.syncing import SyncRequest, sync

        return sync(self.names, self.session, SyncRequest(paths=paths, **words))

    def setup(self, settings: Settings | Mapping[str, Any] | None = None) -> None:
        """Set settings for all runs that this core starts from now on: above the environment, below `init()`'s own.

        Raises:
            UsageError: an unknown setting or a bad value.
        """
        from corelib.api.init import check_setup

        check_setup(self.names, settings)
        self.session.setup = settings

    @property
    def run(self) -> Run | None:
        """The current run, or None."""
        return self.session.current  # type: ignore[no-any-return]  # the session knows no runs, only what it needs of them

    def finish(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> Receipt | None:
        """Finish the current run, if there is one, and return its receipt: see `Run.finish`."""
        run = self.run
        return None if run is None else run.finish(exit_code, quiet, timeout)

    def join(
        self, exit_code: int | None = None, quiet: bool | None = None, timeout: float | None = None
    ) -> Receipt | None:
        """Do what `finish` does, under the reference's older name."""
        return self.finish(exit_code, quiet, timeout)

    def log(
        self,
        data: Mapping[str, Any],
        step: int | None = None,
        commit: bool | None = None,
        sync: bool | None = None,
    ) -> None:
        """Record one row in the current run: see `Run.log`."""
        self._required("log").log(data, step, commit, sync)

    def save(
        self, glob_str: str | os.PathLike[str], base_path: str | None = None, policy: str = "live"
    ) -> list[str]:
        """Put files under the current run's `files/`: see `Run.save`."""
        return self._required("save").save(glob_str, base_path, policy)

    def define_metric(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Say how a metric of the current run is summarised: see `Run.define_metric`."""
        self._required("define_metric").define_metric(name, *args, **kwargs)

    def alert(self, title: str, text: str, level: str | None = None, wait_duration: Any = None) -> None:
        """Send a message to people through the current run: see `Run.alert`."""
        self._required("alert").alert(title, text, level, wait_duration)

    def use_artifact(self, *args: Any, **kwargs: Any) -> None:
        """Accept without effect: see `Run.use_artifact`."""
        self._required("use_artifact").use_artifact(*args, **kwargs)

    def open_run(
        self, path_or_id: str | os.PathLike[str], root: str | os.PathLike[str] | None = None
    ) -> RunView:
        """Open a run by path, directory name, id or "latest"; `root` is the runs directory, by default this core's."""
        from corelib.api.reading import open_run

        return open_run(path_or_id, self.directory() if root is None else root)

    def list_runs(self, root: str | os.PathLike[str] | None = None) -> list[RunView]:
        """Return the runs in a runs directory, by default this core's, oldest first."""
        from corelib.api.reading import list_runs

        return list_runs(self.directory() if root is None else root)

    def directory(self) -> str:
        """Return the runs directory that `init()` would use here, without making it."""
        from corelib.api.init import runs_directory

        return runs_directory(self.names, self.session)

    def _required(self, call: str) -> Run:
        run = self.run
        if run is None:
            raise Error(f"You must call {self.names.name}.init() before {self.names.name}.{call}")
        return run


class Current:
    """Stands for `config` or `summary` of the current run, whichever that is; before `init()` each use is an error."""

    __slots__ = ("_core", "_member")

    def __init__(self, core: Core, member: str) -> None:
        object.__setattr__(self, "_core", core)
        object.__setattr__(self, "_member", member)

    def _target(self, use: str = "") -> Any:
        return getattr(self._core._required(f"{self._member}{use}"), self._member)  # noqa: SLF001  the same module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(f".{name}"), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._target(f".{name}"), name, value)

    def __getitem__(self, key: str) -> Any:
        return self._target(f"[{key!r}]")[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._target(f"[{key!r}]")[key] = value

    def __delitem__(self, key: str) -> None:
        del self._target(f"[{key!r}]")[key]

    def __contains__(self, key: object) -> bool:
        return key in self._target()

    def __iter__(self) -> Iterator[str]:
        return iter(self._target())

    def __len__(self) -> int:
        return len(self._target())

    def keys(self) -> Any:
        """Return the keys; its presence makes `dict(corelib.config)` work."""
        return self._target(".keys").keys()

    def __repr__(self) -> str:
        run = self._core.run
        return f"<{self._member}: no run yet>" if run is None else repr(getattr(run, self._member))


default: Core = Core(session=sessions.default)
"""The core behind `corelib.init()` and the other module-level functions."""
