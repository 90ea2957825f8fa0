"""What every test stands on: a world of its own, and property tests that find the same examples everywhere.

Law: no test sees the settings, the home, the runs or the credentials of the person who starts it, nor what
another test left behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a slow machine is not a broken law. "ci" is the default and draws the same examples on every machine, so
# that a red build can be repeated; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("ci")

# Read by us, by git, by netrc lookups or by notebooks: what a developer's shell may hold and a test must not see.
_FOREIGN_PREFIXES = ("WANDB", "XDG_", "SAGEMAKER", "SM_")
_FOREIGN_NAMES = ("NETRC", "PYTHONSTARTUP", "USER_EMAIL")


@pytest.fixture(autouse=True)
def _own_world(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give each test an empty home, an empty current directory and an environment without settings of anybody."""
    from corelib.shell import session

    for name in list(os.environ):
        if name.startswith(_FOREIGN_PREFIXES) or name in _FOREIGN_NAMES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.chdir(tmp_path)
    session.reset()
    yield
    for run in list(session.default.active):
        run.finish()
    session.reset()
