"""A training process for tests of delivery: logs numbered rows to a server until it is told to stop.

Its one argument is JSON: `settings` for `init()`, and `pause_s` between two rows. It stops when its standard input
ends. It prints lines of JSON: where the run is, the number of each row whose `log()` has returned, and the receipt.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

import corelib


def main(settings: dict[str, Any], pause_s: float) -> None:
    """Train."""
    stopped = threading.Event()

    def listen() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock would outlive the interpreter in this thread
            continue
        stopped.set()

    def say(document: object) -> None:
        os.write(1, json.dumps(document).encode() + b"\n")

    threading.Thread(target=listen, daemon=True).start()
    run = corelib.init(project="p", settings=settings)
    say({"id": run.id, "directory": run.sync_dir})
    number = 0
    while not stopped.wait(pause_s):
        run.log({"number": number, "loss": 1 / (number + 1)})
        say(number)
        number += 1
    receipt = run.finish()
    (ledger,) = receipt.transports.values()
    say(
        {
            "accepted": receipt.accepted,
            "delivered": receipt.delivered,
            "pending": receipt.pending,
            "rejected": receipt.rejected,
            "ledger": [ledger.accepted, ledger.delivered, ledger.pending, ledger.rejected],
        }
    )


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
