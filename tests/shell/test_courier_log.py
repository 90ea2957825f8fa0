"""The log of couriers."""

from __future__ import annotations

from pathlib import Path

from corelib.shell.courier_log import CourierLog


def test_the_last_line_is_the_last_word(tmp_path: Path) -> None:
    """However much was said before; and nobody fails where there is no place for it."""
    log = CourierLog(str(tmp_path), "http://host")
    log.append("lost")
    assert log.last_words() == ""

    (tmp_path / "logs").mkdir()
    for number in range(200):
        log.append(f"one of many lines, namely {number}")

    assert log.last_words().endswith(" one of many lines, namely 199")
