"""What the machine shows of itself, as a sample under the names that servers of the reference's kind know.

Law: a number that the system does not tell, or tells in a way that cannot be understood, is left out; none is guessed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from corelib.pure.samples import PREFIX

__all__ = ["Reading", "machine_sample"]

_MB: Final = 1 << 20
_GB: Final = 1 << 30


class Reading(NamedTuple):
    """What was read at one moment.

    Args:
        at: seconds on a clock that is never set back.
        cpu_s: processor time of this process, in seconds.
        status: the text of `/proc/self/status`; "" where there is none.
        memory: the text of `/proc/meminfo`, likewise.
        load: how many tasks ran or waited to, averaged over a minute.
        disk: total and used bytes of the disk at the root.
    """

    at: float
    cpu_s: float
    status: str = ""
    memory: str = ""
    load: float | None = None
    disk: tuple[int, int] | None = None


def machine_sample(before: Reading, now: Reading, cores: int) -> dict[str, float]:
    """Return the sample of a moment; processor time is a share of all `cores` since the reading before, in per cent."""
    sample: dict[str, float | None] = {
        "cpu": _percent(now.cpu_s - before.cpu_s, (now.at - before.at) * cores),
        "proc.cpu.threads": _field(now.status, "Threads"),
        "load_average": now.load,
    }
    resident, total, available = (
        _bytes(now.status, "VmRSS"),
        _bytes(now.memory, "MemTotal"),
        _bytes(now.memory, "MemAvailable"),
    )
    if resident is not None:
        sample["proc.memory.rssMB"] = resident / _MB
        sample["proc.memory.percent"] = _percent(resident, total)
    if available is not None:
        sample["proc.memory.availableMB"] = available / _MB
        sample["memory_percent"] = None if total is None else _percent(total - available, total)
    if now.disk is not None:
        sample["disk./.usageGB"] = now.disk[1] / _GB
        sample["disk./.usagePercent"] = _percent(now.disk[1], now.disk[0])
    return {PREFIX + name: value for name, value in sample.items() if value is not None}


def _percent(part: float, whole: float | None) -> float | None:
    return round(100.0 * part / whole, 2) if whole is not None and whole > 0 else None


def _bytes(text: str, name: str) -> float | None:
    """Return a field that is told in kB."""
    number = _field(text, name)
    return None if number is None else number * 1024


def _field(text: str, name: str) -> float | None:
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        words = value.split()
        if colon and key == name and words and words[0].isascii() and words[0].isdecimal():
            return float(words[0])
    return None
