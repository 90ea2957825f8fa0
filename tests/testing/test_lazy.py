"""What is shipped for tests costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import corelib.testing

ROOT = Path(__file__).parent.parent.parent


def test_importing_it_imports_no_test_tool() -> None:
    """`import corelib.testing` loads neither pytest nor hypothesis, and a faulty transport needs neither."""
    code = (
        "import sys, corelib.testing\n"
        "assert not {'pytest', '_pytest', 'hypothesis', 'attr'} & set(sys.modules)\n"
        "corelib.testing.FaultyTransport\n"
        "assert not {'pytest', '_pytest', 'hypothesis'} & set(sys.modules)\n"
        "corelib.testing.TransportConformance\n"
        "assert 'pytest' in sys.modules\n"
        "assert 'hypothesis' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Names that are not exported are not there."""
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        corelib.testing.Nonsense  # noqa: B018  the access is the test
