"""A command of `sheaf` in a process of its own, with bounds: what it came to, and whether that is a fault.

A child is forked from a process that has all modules loaded already, so that a command costs some
hundredths of a second.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from matplotlib.figure import Figure

from sheafcli.cli.app import main
from sheafcli.cli.commands import COMMANDS, function_of

SECONDS = 20
BYTES = 2**30
LOADED = (
    *("sheafcli.cli.app", "sheafcli.render.report", "sheafcli.render.diagnosis_figures", "torch"),
    *("onnx", "safetensors.numpy", "skops.io"),
    *("sklearn.neural_network", "sklearn.datasets", "sklearn.pipeline", "sklearn.preprocessing"),
)
TRACEBACK = 70
"""The status of a child in which an exception came out of the command line."""

PLACE = re.compile(r'File "[^"]*/(sheafcli/[^"]+)", line \d+, in (\w+)')


@dataclass(frozen=True)
class Ending:
    """What a command came to: its status (negative for a signal), what it printed, its time and memory."""

    status: int
    out: str
    err: str
    seconds: float
    memory: int

    def fault(  # noqa: PLR0911  # a line a fault
        self, *, may_want_memory: bool, may_find: bool, is_data: bool = False
    ) -> str | None:
        """Say in a few words what is at fault, None if nothing is.

        `may_want_memory` says that the input may ask for more than there is; `may_find` that 3 is a status;
        `is_data` that what is printed is data for a program, with names of the user's own as they are.
        """
        if self.status in (-signal.SIGALRM, -signal.SIGPROF):
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
        if "Traceback" in self.out or "\x1b" in self.err + ("" if is_data else self.out):
            return "escape codes or a traceback on a stream"
        if self.memory > BYTES:
            return f"{self.memory / 1e9:.1f} GB"
        if not may_want_memory and "out of memory" in self.err:
            return "more than 1 GB wanted"
        if self.status != 0 and not (self.err.strip() or (self.status == 3 and self.out.strip())):
            return f"status {self.status} without a word"
        return None


def load() -> None:
    """Import all that commands import, so that children need not."""
    for name in LOADED:
        import_module(name)
    for name in COMMANDS:
        function_of(name)
    gc.freeze()  # so that the children do not copy what they only look at


def call(arguments: Sequence[str], folder: Path, *, pictures: bool) -> Ending:
    """Run `sheaf` with arguments in a folder, in a forked child.

    Without `pictures` they are made and laid down nowhere: to draw them takes most of the time.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _be_the_child(arguments, folder, out.fileno(), err.fileno(), pictures)
        _, status, usage = os.wait4(child, 0)
        out.seek(0)
        err.seek(0)
        return Ending(
            os.waitstatus_to_exitcode(status),
            out.read().decode(errors="replace"),
            err.read().decode(errors="replace"),
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
        )


def _be_the_child(arguments: Sequence[str], folder: Path, out: int, err: int, pictures: bool) -> None:
    """Run the command line and end; nothing of the parent's is cleared up."""
    status = TRACEBACK
    try:
        os.chdir(folder)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", errors="backslashreplace", buffering=1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(10 * SECONDS)  # for what waits; a busy machine makes any work take longer
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES, taken + BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        sys.argv = ["sheaf", *arguments]
        warnings.resetwarnings()
        warnings.simplefilter("always")
        warnings.showwarning = lambda *warning: print(warnings.formatwarning(*warning[:4]), file=sys.stderr)
        if not pictures:
            Figure.savefig = lambda figure, file, **options: file.write(b"")
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
