"""`sheaf sweep`: many runs of one configuration, on this machine or on a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption, SetOption
from sheafcli.config import SweepRun, load_sweep
from sheafcli.errors import InputError
from sheafcli.records.sweep import PLANNED, SweepRecord
from sheafcli.render.console import print_error, print_notes, say, stdout
from sheafcli.render.style import save_figure
from sheafcli.render.sweep import best_words, sweep_table
from sheafcli.render.sweep_figure import sweep_figure
from sheafcli.render.sweep_progress import SweepView
from sheafcli.render.tables import show_frame
from sheafcli.runs import RunFailed
from sheafcli.runs.sweep import SweepDirectory, conduct_sweep
from sheafcli.runs.under_way import share_at
from sheafcli.runs.workers import LocalWorkers, Workers, processors

MOST_RUNS = 10_000


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="The sweep, a YAML file (see docs/sweeps.md).")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="The directory to write.", show_default="results/NAME"),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            min=1,
            help="Do N runs at a time on this machine, each on one thread.",
            show_default="one per processor",
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler", metavar="ADDRESS", help="Use the workers of the Dask scheduler at this address."
        ),
    ] = None,
    set_: SetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help=f"Allow more than {MOST_RUNS:,} runs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show neither progress nor the table.")] = False,
    format_: FormatOption = "table",
) -> None:
    """Train many variations of a configuration.

    Writes a run directory for each, and sweep.csv, which lists them. A search (see docs/sweeps.md) trains
    only some of them, or stops losers early. Runs that are done are not repeated: call it again to
    continue, or to retry what failed.
    """
    if jobs is not None and scheduler is not None:
        raise typer.BadParameter("--jobs is for this machine and --scheduler for a cluster: give one")
    planned = load_sweep(file, set_ or ())
    if planned.count > MOST_RUNS and not yes:
        raise InputError(
            f"these are {planned.count:,} runs; give --yes to allow more than {MOST_RUNS:,}", path=file
        )
    runs = planned.runs()
    directory = SweepDirectory(output or Path("results") / planned.name)
    workers = _workers(jobs, scheduler, directory)
    directory.begin(planned)
    try:
        with SweepView(quiet=quiet) as view:
            index = conduct_sweep(planned, runs, directory, workers, view)
    except KeyboardInterrupt:
        print_error(f"interrupted; call it again to continue, what was written is in {directory.path}")
        raise typer.Exit(1) from None
    print_notes(directory.notes(index.runs))
    swept = SweepRecord.read(directory.path)
    _draw(directory, swept)
    if not quiet and format_ == "table":
        stdout().print(sweep_table(swept))
        for line in (
            "",
            *best_words(swept),
            *_effort(swept, index.runs),
            f"Sweep directory: {directory.path}",
        ):
            say(line)
    elif not quiet:
        show_frame(swept.index, format_)
    # What diverges in a search is a combination that lost.
    planned_ends = {*PLANNED, "diverged"} if planned.search is not None else {*PLANNED}
    counts = index.count()
    if not set(counts) <= planned_ends:
        others = ", ".join(
            f"{count:,} {status}" for status, count in counts.items() if status not in planned_ends
        )
        raise RunFailed(f"{others} of {planned.count:,} runs; {directory.path}/sweep.csv says which and why")


def _workers(jobs: int | None, scheduler: str | None, directory: SweepDirectory) -> Workers:
    if scheduler is not None:
        from sheafcli.runs.cluster import DaskWorkers  # noqa: PLC0415  # for which others need not wait

        return DaskWorkers(scheduler, directory)
    return LocalWorkers(jobs or processors())


def _draw(directory: SweepDirectory, swept: SweepRecord) -> None:
    figure = sweep_figure(swept.index, swept.keys, swept.name)
    if figure is not None:
        directory.figures.mkdir(exist_ok=True)
        save_figure(figure, directory.figures / "sweep.png")


def _effort(swept: SweepRecord, runs: Sequence[SweepRun]) -> list[str]:
    """Say how much of all training a search has done, if anything was stopped."""
    if "stopped" not in swept.counts:
        return []
    reached = swept.index[["step", "time"]].fillna(0.0).itertuples(index=False)
    done = [share_at(run.config.training, *row) for run, row in zip(runs, reached, strict=True)]
    return [
        f"The search took {sum(done) / len(done):.0%} of the steps that all runs would take to their end."
    ]
