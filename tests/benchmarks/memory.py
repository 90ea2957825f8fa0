"""Child of the benchmark: the resident memory of a run that logs on and on. Prints kB after every tenth as JSON."""

from __future__ import annotations

import json
import random
import sys

import corelib
from tests.benchmarks.rows import training_row


def resident_kb() -> int:
    """Return VmRSS, in units of 1024 bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def main(count: int) -> list[int]:
    """Log `count` rows and return the resident memory at the start and after every tenth of them."""
    source = random.Random(1)
    with corelib.init(project="benchmark", mode="offline") as run:
        seen = [resident_kb()]
        for index in range(count):
            run.log(training_row(index, count, source))
            if (index + 1) % (count // 10) == 0:
                seen.append(resident_kb())
    return seen


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
