"""Child of the benchmark: what one `log()` of four numbers costs, beside the bare limit.

The bare limit is `orjson.dumps` of the same row and one `os.write` of the result to a file beside the
journal. Both are taken alternately in one loop, so that whatever the machine does meanwhile befalls both.
Prints nanoseconds as JSON.
"""

from __future__ import annotations

import json
import os
import random
import sys
from time import perf_counter_ns

import orjson

import corelib
from tests.benchmarks.rows import training_row

WARM_UP = 2_000


def main(count: int) -> dict[str, float]:
    """Return the percentiles of both, over `count` rows."""
    source = random.Random(1)
    rows = [training_row(index, count + WARM_UP, source) for index in range(count + WARM_UP)]
    dumps, write = orjson.dumps, os.write
    logged: list[int] = []
    bare: list[int] = []
    with corelib.init(project="benchmark", mode="offline") as run:
        fd = os.open("bare.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        log = run.log
        for row in rows:
            began = perf_counter_ns()
            log(row)
            between = perf_counter_ns()
            write(fd, dumps(row))
            ended = perf_counter_ns()
            logged.append(between - began)
            bare.append(ended - between)
        os.close(fd)
    logged, bare = sorted(logged[WARM_UP:]), sorted(bare[WARM_UP:])
    return {
        "median": logged[count // 2],
        "p99": logged[count * 99 // 100],
        "worst": logged[-1],
        "bare_median": bare[count // 2],
        "bare_p99": bare[count * 99 // 100],
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
