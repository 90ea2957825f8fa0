"""What a run is: the plan that `init()` made, and the read-only members that follow from it.

Law: nothing here changes after `init()`, and nothing here touches the world.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from corelib.pure.ids import run_path, run_url
from corelib.pure.settings import Settings

if TYPE_CHECKING:
    from corelib.pure.resume import Decision

__all__ = ["Identity", "Plan"]


@frozen(kw_only=True)
class Plan:
    """All that `init()` decided about a run before it begins.

    `directory` is the run directory, or None where nothing is written; `project`, `job_type` and the like are final.
    `primary` is False in a process that did not begin the run; `carried` says there that the one which did feeds
    transports.
    """

    run_id: str
    settings: Settings
    decision: Decision
    start_time: float
    host: str
    writer: str
    directory: str | None
    config: Mapping[str, Any]
    locked: Mapping[str, str]
    allow_val_change: bool
    name: str | None
    notes: str | None
    tags: tuple[str, ...]
    offline: bool
    magic: Any = None
    primary: bool = True
    carried: bool = False


class Identity:
    """The members of a run that are settled when it begins."""

    __slots__ = ("_plan",)

    _plan: Plan

    @property
    def id(self) -> str:
        """The run id, unique within its project."""
        return self._plan.run_id

    @property
    def project(self) -> str:
        """The project."""
        return self.settings.project or "uncategorized"

    @property
    def entity(self) -> str:
        """The entity (user or team); "" where none is known."""
        return self.settings.entity or ""

    @property
    def group(self) -> str:
        """The group; "" where none was given."""
        return self.settings.run_group or ""

    @property
    def job_type(self) -> str:
        """The type of job; "train" unless told otherwise."""
        job_type = self.settings.run_job_type
        return "" if job_type is None else job_type

    @property
    def settings(self) -> Settings:
        """The settings of the run, frozen."""
        return self._plan.settings

    @property
    def starting_step(self) -> int:
        """The first step of this process: 0, or behind the last of the run it resumed."""
        return self._plan.decision.starting_step

    @property
    def start_time(self) -> float:
        """When this process began the run, in seconds since the epoch."""
        return self._plan.start_time

    @property
    def resumed(self) -> bool:
        """Whether an earlier run is continued."""
        return self._plan.decision.action == "resumed"

    @property
    def resume_decision(self) -> Decision:
        """Why the run is new, resumed or overwritten: action, what was taken over, and the reason as a sentence."""
        return self._plan.decision

    @property
    def offline(self) -> bool:
        """Whether the run is recorded on this machine only."""
        return self._plan.offline

    @property
    def disabled(self) -> bool:
        """Whether nothing is recorded anywhere."""
        return self.settings.mode == "disabled"

    @property
    def path(self) -> str:
        """entity/project/id, without the parts that are unknown."""
        return run_path(self.entity or None, self.project, self.id)

    @property
    def url(self) -> str | None:
        """The run's page, or None where no server shows one."""
        app_url = self.settings.app_url
        if self._plan.offline or self.disabled or not app_url:
            return None
        return run_url(app_url, self.entity, self.project, self.id)

    @property
    def project_url(self) -> str | None:
        """The project's page, or None where no server shows one."""
        url = self.url
        return None if url is None else url.rsplit("/runs/", 1)[0]

    @property
    def sweep_id(self) -> str | None:
        """The sweep that this run belongs to."""
        return self.settings.sweep_id

    @property
    def sweep_url(self) -> str | None:
        """The sweep's page, or None where no server shows one."""
        url = self.project_url
        return f"{url}/sweeps/{self.sweep_id}" if url and self.sweep_id else None

    @property
    def sync_dir(self) -> str:
        """The run directory. A disabled run names one that does not exist."""
        if self._plan.directory is not None:
            return self._plan.directory
        from tempfile import gettempdir

        return os.path.join(gettempdir(), f"disabled-run-{self.id}")

    @property
    def dir(self) -> str:
        """The directory of the user's files, within the run directory."""
        return os.path.join(self.sync_dir, "files")

    def writes_to(self, directory: str | None) -> bool:
        """Return whether the run's directory is this one."""
        return self._plan.directory == directory
