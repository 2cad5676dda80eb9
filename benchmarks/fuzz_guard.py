"""A command of `sheaf` in a process of its own, with bounds: what it came to, and whether that is a fault.

A child is forked from a process that has all modules loaded already, so that a command costs some
hundredths of a second.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

SECONDS = 20
BYTES = 2**30
LOADED = (
    *("sheafcli.cli.app", "sheafcli.render.report", "torch", "onnx", "safetensors.numpy", "skops.io"),
    *("sklearn.neural_network", "sklearn.datasets", "sklearn.pipeline", "sklearn.preprocessing"),
)
TRACEBACK = 70
"""The status of a child in which an exception came out of the command line."""

PLACE = re.compile(r'File "[^"]*/(sheafcli/[^"]+)", line \d+, in (\w+)')


@dataclass(frozen=True)
class Ending:
    """What a command came to: its status (negative for a signal), what it printed, seconds, bytes at most."""

    status: int
    out: str
    err: str
    seconds: float
    memory: int

    def fault(self, *, may_want_memory: bool, may_find: bool) -> str | None:
        """Say in a few words what is at fault, None if nothing is.

        `may_want_memory` says that the input may ask for more than there is; `may_find` that 3 is a status.
        """
        if self.status == -signal.SIGALRM:
            return f"over {SECONDS} seconds"
        if self.status == TRACEBACK:
            lines = [line for line in self.err.splitlines() if line.strip()]
            places = PLACE.findall(self.err)
            return f"traceback: {lines[-1][:80]}" + (
                f" in {places[-1][0]}, {places[-1][1]}" if places else ""
            )
        if self.status not in (0, 1, 2, *([3] if may_find else [])):
            return f"status {self.status}"
        if "Warning" in self.err or "Traceback" in self.err or "Exception ignored" in self.err:
            line = next(
                line for line in self.err.splitlines() if re.search("Warning|Traceback|ignored", line)
            )
            return f"leaked: {re.sub(r'^/.*/', '', line)[:100]}"
        if "Traceback" in self.out or "\x1b" in self.out + self.err:
            return "escape codes or a traceback on a stream"
        if self.memory > BYTES:
            return f"{self.memory / 1e9:.1f} GB"
        if not may_want_memory and "out of memory" in self.err:
            return "more than 1 GB wanted"
        if self.status != 0 and not self.err.strip():
            return f"status {self.status} without a word"
        return None


def load() -> None:
    """Import all that commands import, so that children need not."""
    for name in LOADED:
        import_module(name)


def call(arguments: Sequence[str], folder: Path) -> Ending:
    """Run `sheaf` with arguments in a folder, in a forked child."""
    from sheafcli.cli.app import main  # noqa: PLC0415  # once it is loaded

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _be_the_child(arguments, folder, out.fileno(), err.fileno(), main)
        _, status, usage = os.wait4(child, 0)
        seconds = time.monotonic() - began
        out.seek(0)
        err.seek(0)
        return Ending(
            os.waitstatus_to_exitcode(status),
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            seconds,
            usage.ru_maxrss * 1024,
        )


def _be_the_child(arguments: Sequence[str], folder: Path, out: int, err: int, main) -> None:
    """Run the command line and end; nothing of the parent's is cleared up."""
    status = TRACEBACK
    try:
        os.chdir(folder)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.alarm(SECONDS)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES, taken + BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["sheaf", *arguments]
        warnings.resetwarnings()
        warnings.simplefilter("always")
        try:
            main()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else (0 if end.code is None else 1)
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
        status = TRACEBACK
    finally:
        sys.stderr.flush()
        os._exit(status)
