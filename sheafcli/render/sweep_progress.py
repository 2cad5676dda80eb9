"""Progress of a sweep on standard error: one bar for all runs, and one for each that is under way."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sheafcli.config import SweepRun
from sheafcli.records.sweep import SEED
from sheafcli.render.comparison import STATUS_STYLES
from sheafcli.render.console import live_view, stderr
from sheafcli.render.progress import APPEARS_AFTER_SECONDS, clock
from sheafcli.runs.job import Outcome
from sheafcli.runs.sweep import Rung, SweepDirectory
from sheafcli.runs.under_way import share_done

# Runs begin in their order, more or less: those under way are among so many first that have not ended.
LOOKED_AT = 64
LOOK_AFTER_SECONDS = 1.0
SHOWN = 8
LABEL_WIDTH = 46
ONLY_RUNG = Rung()


class SweepView:
    """Shows a sweep on a terminal as it goes: a SweepObserver, and a context manager that tidies up.

    Where standard error is not a terminal, or with `quiet`, nothing is ever written.
    """

    def __init__(self, *, quiet: bool = False):
        self._console = stderr()
        self._shown = self._console.file.isatty() and not quiet
        self._live: Live | None = None
        self._left: dict[str, SweepRun] = {}
        self._ended: dict[str, int] = {}
        self._shares: dict[str, float] = {}
        self._total = self._waiting = 0
        self._began = self._looked = self._appears = time.monotonic()
        self._rung = ONLY_RUNG
        self._changing = Lock()  # pictures are drawn by another thread than runs end in

    def __enter__(self) -> SweepView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def sweep_started(
        self,
        directory: SweepDirectory,
        waiting: Sequence[SweepRun],
        total: int,
        rung: Rung = ONLY_RUNG,
    ) -> None:
        """Begin the bars of the runs that are waiting, out of so many in all, or in a rung of a search."""
        with self._changing:
            if not self._total:
                self._appears = time.monotonic() + APPEARS_AFTER_SECONDS
            self._directory, self._total, self._waiting, self._rung = directory, total, len(waiting), rung
            self._left = {run.number: run for run in waiting}
            self._ended, self._shares = {}, {}
            self._began = time.monotonic()
        if self._shown and waiting and self._live is None:
            self._live = live_view(self.picture, self._console)
            self._live.start()

    def run_ended(self, outcome: Outcome) -> None:
        """Count a run."""
        with self._changing:
            self._left.pop(outcome.number, None)
            self._shares.pop(outcome.number, None)
            self._ended[outcome.status] = self._ended.get(outcome.status, 0) + 1

    def picture(self) -> RenderableType:
        """Draw the sweep as it stands."""
        with self._changing:
            return self._picture()

    def _picture(self) -> RenderableType:
        seconds = time.monotonic() - self._began
        if time.monotonic() < self._appears or not self._total:
            return Group()
        if time.monotonic() - self._looked > LOOK_AFTER_SECONDS:
            self._look()
        here = sum(self._ended.values()) + sum(self._shares.values())
        share = (self._total - self._waiting + here) / self._total
        left = f"{clock((self._waiting - here) / here * seconds)} left" if here > 0.0 else ""
        done = self._total - len(self._left)
        counts = [
            Text.assemble((f"{count} {status}", STATUS_STYLES[status]))
            for status, count in self._ended.items()
            if status not in ("finished", "stopped")
        ]
        details = Text("  ").join([Text(f"{share:4.0%}"), Text(f"{done:,}/{self._total:,} runs"), *counts])
        if left:
            details.append(f"  {left}")
        whole = _line()
        name = f"{self._rung.name} {self._rung.number} of {self._rung.of}" if self._rung.of > 1 else "sweep"
        whole.add_row(Text(name), _bar(share, "cyan"), details)
        each = _line(LABEL_WIDTH)
        for number, done_there in list(self._shares.items())[:SHOWN]:
            each.add_row(
                _label(self._left[number]), _bar(done_there, "dim"), Text(f"{done_there:4.0%}", "dim")
            )
        return Group(whole, each)

    def _look(self) -> None:
        """See how far the runs under way are, in what they have logged."""
        self._looked = time.monotonic()
        first = list(self._left.values())[:LOOKED_AT]
        found = {run.number: share_done(self._directory.run(run.number), run.config) for run in first}
        until = self._rung.until
        self._shares = {number: min(1.0, share / until) for number, share in found.items() if share > 0.0}


def _line(label_width: int | None = None) -> Table:
    """Return a table for what is named, a bar, and what is said of it, as wide as the terminal."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, width=label_width)
    table.add_column(ratio=1, min_width=4)
    table.add_column(no_wrap=True)
    return table


def _bar(share: float, style: str) -> ProgressBar:
    return ProgressBar(total=1.0, completed=share, complete_style=style, finished_style=style)


def _label(run: SweepRun) -> Text:
    """Return a run's number and what is its own, as far as there is room."""
    # The seed first: it tells repeats apart, and must not be cut.
    parameters = sorted(run.parameters.items(), key=lambda item: item[0] != SEED)
    own = ", ".join(f"{key.rpartition('.')[2]} {_short(value)}" for key, value in parameters)
    label = Text(f"{run.number}  {own}", "dim")
    label.truncate(LABEL_WIDTH, overflow="ellipsis")
    return label


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
