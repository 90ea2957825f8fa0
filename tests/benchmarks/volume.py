"""Child of the benchmark: how many bytes a row takes on disk after `finish()`. Prints JSON."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import corelib
from tests.benchmarks import rows


def main(kind: str, count: int) -> dict[str, float]:
    """Log `count` rows of a kind and weigh the journal."""
    source = random.Random(1)
    make = getattr(rows, kind)
    run = corelib.init(project="benchmark", mode="offline")
    for index in range(count):
        run.log(make(index, count, source))
    journal = Path(run.finish().journal or "")
    return {"bytes": sum(path.stat().st_size for path in journal.rglob("*") if path.is_file()), "rows": count}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
