"""The command line as `python -m corelib`, for where the script of that name is not on the path."""

from __future__ import annotations

import sys

from corelib.cli import main

if __name__ == "__main__":
    sys.exit(main())
