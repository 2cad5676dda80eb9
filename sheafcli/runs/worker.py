"""A worker process: reads jobs from standard input, a line of JSON each, and answers with their outcomes.

python -m sheafcli.runs.worker
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

from sheafcli.runs.job import Job, perform


def main() -> None:
    """Perform jobs until standard input ends. Nothing but outcomes is written where they are expected."""
    outcomes = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with suppress(KeyboardInterrupt):  # of Ctrl-C, which reaches the whole group of processes
        for line in sys.stdin:
            outcomes.write(perform(Job(**json.loads(line))).to_line())
            outcomes.flush()


if __name__ == "__main__":
    main()
