"""Child of the benchmark: what the first lines of a script cost, in a fresh interpreter. Prints seconds as JSON."""

from __future__ import annotations

import time

began = time.perf_counter()
import corelib  # noqa: E402  this line is what is measured

imported = time.perf_counter()
first = corelib.init(project="benchmark", mode="offline")
started = time.perf_counter()
first.finish()
again = time.perf_counter()
second = corelib.init(project="benchmark", mode="offline")
restarted = time.perf_counter()
second.finish()

import json  # noqa: E402  after the measurement, so that what corelib needs of it is counted

print(
    json.dumps(
        {
            "import": imported - began,
            "import_and_first_init": started - began,
            "second_init": restarted - again,
        }
    )
)
