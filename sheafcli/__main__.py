"""The program `sheaf`, also as `python -m sheafcli`: from its first line on Ctrl-C leaves no traceback."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from types import FrameType


def _leave(signum: int, frame: FrameType | None) -> None:
    """End at once: nothing is begun yet, and an exception could be lost within an import."""
    os.write(2, b"error: interrupted\n")
    os._exit(1)


def main() -> None:
    """Run the command line."""
    before = signal.getsignal(signal.SIGINT)
    heeded = before is signal.default_int_handler  # a shell lets what runs in its background ignore it
    if heeded:
        signal.signal(signal.SIGINT, _leave)
    if not sys.warnoptions:  # they speak to programmers, and may tell of a library what is none of ours
        warnings.simplefilter("ignore")
    from sheafcli.cli.app import prepare  # noqa: PLC0415  # what follows is slow to import

    run = prepare()
    try:
        if heeded:
            signal.signal(signal.SIGINT, before)
        run()
    except KeyboardInterrupt:
        _leave(signal.SIGINT, None)
    finally:
        if heeded:  # nothing is left to interrupt but Python's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
