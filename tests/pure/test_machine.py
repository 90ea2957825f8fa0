"""Samples of the machine from what a system tells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from corelib.pure.machine import Reading, machine_sample

STATUS = "Name:\tpython\nVmRSS:\t  204800 kB\nThreads:\t3\n"
MEMORY = "MemTotal:       1024000 kB\nMemFree:  1 kB\nMemAvailable:    256000 kB\n"

texts = st.lists(
    st.tuples(
        st.sampled_from(("VmRSS", "Threads", "MemTotal", "MemAvailable", "", "\u0665")),
        st.sampled_from((":", "")),
        st.sampled_from(("", " 12 kB", " 0 kB", " x", " -1 kB", " \u0665 kB", "\t1e5")),
    ).map("".join)
).map("\n".join)
numbers = st.floats(0, 1e9)


def test_a_sample() -> None:
    """Shares are of all cores, of all memory and of the whole disk."""
    before = Reading(at=10.0, cpu_s=1.0)
    now = Reading(20.0, 11.0, STATUS, MEMORY, load=0.5, disk=(400 << 30, 100 << 30))

    assert machine_sample(before, now, 4) == {
        "system.cpu": 25.0,
        "system.proc.cpu.threads": 3.0,
        "system.load_average": 0.5,
        "system.proc.memory.rssMB": 200.0,
        "system.proc.memory.percent": 20.0,
        "system.proc.memory.availableMB": 250.0,
        "system.memory_percent": 75.0,
        "system.disk./.usageGB": 100.0,
        "system.disk./.usagePercent": 25.0,
    }


def test_what_is_not_told_is_left_out() -> None:
    """On a system without these files, or right after the first reading, there is less."""
    now = Reading(at=10.0, cpu_s=1.0)
    assert machine_sample(now, now, 4) == {}
    assert machine_sample(now, now._replace(status="VmRSS: 1024 kB"), 4) == {"system.proc.memory.rssMB": 1.0}
    assert machine_sample(now, now._replace(memory="MemAvailable: 1024 kB"), 4) == {
        "system.proc.memory.availableMB": 1.0
    }


@given(numbers, numbers, numbers, texts, texts, st.integers(1, 64))
def test_odd_texts_are_no_error(
    at: float, later: float, cpu: float, status: str, memory: str, cores: int
) -> None:
    """Whatever stands there, a sample is of numbers that are not negative where time goes on."""
    now = Reading(at + later, cpu, status, memory, None, (0, 0))
    sample = machine_sample(Reading(at, 0.0), now, cores)

    assert all(
        type(value) is float and value >= 0
        for name, value in sample.items()
        if name != "system.memory_percent"
    )
