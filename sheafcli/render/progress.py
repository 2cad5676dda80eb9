"""Progress of a run on standard error: a live bar while a phase lasts, one line when it is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sheafcli.core.training.fit import Record
from sheafcli.render.console import live_view, stderr
from sheafcli.render.numbers import duration

# A phase that is over before anybody waits shows no bar, only its line.
APPEARS_AFTER_SECONDS = 0.4
LABEL_WIDTH = 8
A_YEAR = 365 * 86_400


@dataclass
class _Phase:
    """A phase under way: where it began, how far it is.

    `share_done` is None where a phase without a known number of steps goes on from a step, until it
    says how far it is. `cycle` is of how many steps a cycle is, if it goes in cycles.
    """

    name: str
    total: int | None
    step: int
    share_done: float | None
    cycle: int | None = None
    record: Record | None = None
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._first_step, self._first_share = self.step, self.share_done

    @property
    def seconds(self) -> float:
        """How long the phase has lasted in this process."""
        return time.monotonic() - self.began

    @property
    def label(self) -> str:
        """The name, padded so that the lines of several phases line up."""
        return self.name.ljust(LABEL_WIDTH)

    def progressed(self, step: int, share_done: float) -> None:
        """Note how far the phase is."""
        self.step, self.share_done = step, share_done
        if self._first_share is None:
            self._first_step, self._first_share, self.began = step, share_done, time.monotonic()

    def cycles(self) -> str:
        """Say which cycle of how many it is in; "" if it has none."""
        if self.cycle is None or self.total is None:
            return ""
        last = -(-self.total // self.cycle)
        return f"cycle {min(self.step // self.cycle + 1, last)}/{last}"

    def speed(self) -> str:
        """Say how many steps are taken a second, on the average of this process; "" if none were."""
        steps = self.step - self._first_step
        return f"{steps / max(self.seconds, 1e-9):,.0f} steps/s" if steps else ""

    def time_left(self) -> str:
        """Say how long the rest takes at the average speed of this process; "" if it has none."""
        done_here = (self.share_done or 0.0) - (self._first_share or 0.0)
        if self.share_done is None or done_here <= 0.0:
            return ""
        return f"{clock((1.0 - self.share_done) / done_here * self.seconds)} left"

    def bar(self) -> RenderableType:
        """Draw the phase as it stands."""
        if self.seconds < APPEARS_AFTER_SECONDS:
            return Group()
        steps = f"{self.step:,}" if self.total is None else f"{self.step:,}/{self.total:,}"
        loss = f"loss {self.record.train_loss:.4g}" if self.record else ""
        details = [self.cycles() or steps, self.speed(), loss, self.time_left()]
        share = self.share_done or 0.0
        bar = ProgressBar(total=1.0, completed=share, complete_style="cyan", finished_style="cyan")
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column()
        line.add_column(ratio=1, min_width=4)
        line.add_column(no_wrap=True)
        line.add_row(Text(self.label), bar, Text("  ".join([f"{share:4.0%}", *filter(None, details)])))
        return line

    def line(self) -> Text:
        """Say how the phase ended."""
        if self.share_done is not None and self.share_done >= 1.0:
            course = [f"{self.step:,} steps", duration(self.seconds), self.speed()]
        else:
            stop = f"stopped at step {self.step:,}" + (f" of {self.total:,}" if self.total else "")
            course = [stop, duration(self.seconds)]
        loss = f"train loss {self.record.train_loss:#.6g}" if self.record else ""
        return Text("  ".join(filter(None, [self.label, *course, loss])))


class ProgressView:
    """Shows a run on a terminal as it goes: an Observer, and a context manager that tidies up.

    While a phase lasts there is a bar with its steps, speed, last train loss and time left; after it,
    one line. Where standard error is not a terminal, or with `quiet`, nothing is ever written. `cycle` is
    of how many steps a cycle of the training is, if it goes in cycles.
    """

    def __init__(self, *, quiet: bool = False, cycle: int | None = None):
        self._cycle = cycle
        self._console = stderr()
        self._shown = self._console.file.isatty() and not quiet
        self._phase: _Phase | None = None
        self._live: Live | None = None

    def __enter__(self) -> ProgressView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.phase_ended()

    def phase_started(self, phase: str, step: int, total: int | None) -> None:
        """Begin the bar of a phase that begins, or goes on, at a step."""
        self.phase_ended()
        if not self._shown:
            return
        share_done = step / total if total else (None if step else 0.0)
        cycle = self._cycle if phase == "training" else None
        self._phase = _Phase(phase, total, step, share_done, cycle)
        self._live = live_view(self._phase.bar, self._console)
        self._live.start()

    def progressed(self, step: int, share_done: float) -> None:
        """Move the bar."""
        if self._phase is not None:
            self._phase.progressed(step, share_done)

    def recorded(self, record: Record) -> None:
        """Show the loss of a record from now on."""
        if self._phase is not None:
            self._phase.record = record

    def phase_ended(self) -> None:
        """Put one line in the place of the bar, if there is one."""
        if self._phase is None or self._live is None:
            return
        self._live.stop()
        self._console.print(self._phase.line())
        self._phase = self._live = None


@contextmanager
def working(total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar on standard error while so many parts of a work are done; silent where it is no terminal.

    Yields a function to call before each part, with what is done there.
    """
    console = stderr()
    if not console.file.isatty():  # older versions of rich end even a disabled bar with an empty line
        yield lambda what: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        begun = 0

        def advance(what: str) -> None:
            nonlocal begun
            bar.update(task, description=what, completed=begun)
            begun += 1

        yield advance


@contextmanager
def counting(what: str, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show on standard error how many there are so far of what nobody counted, if it is a terminal.

    Yields a function to call with how many more there are. `shown` is False where they are printed
    themselves.
    """
    console = stderr()
    if not (shown and console.file.isatty()):  # as above
        yield lambda more: None
        return
    columns = (TextColumn(f"{{task.completed:,.0f}} {what}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda more: bar.update(task, advance=more)


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, 1:05, or hours and minutes, 2 h 03; nobody waits for years."""
    if seconds >= A_YEAR:
        return "over a year"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d}"
