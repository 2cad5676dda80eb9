"""`sheaf compare`: runs side by side, what they came to and where they disagree with themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption
from sheafcli.errors import InputError
from sheafcli.records.comparison import compare as compare_runs
from sheafcli.records.sweep import SweepRecord, is_sweep
from sheafcli.render.comparison import FORMATS, comparison_figure, comparison_tables
from sheafcli.render.console import print_notes, remark, say, stdout
from sheafcli.render.formats import Format
from sheafcli.render.style import save_figure
from sheafcli.render.sweep import best_words, sweep_table
from sheafcli.render.sweep_figure import sweep_figure
from sheafcli.render.tables import show_frame


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN", help="Run directories, such as results/NAME, or those of sweeps."),
    ],
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE",
            help="Also draw a picture: .png, .svg or .pdf by the ending of its name.",
        ),
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """Show runs side by side: losses, accuracy, time, discord.

    A run's baseline has a row of its own. Losses over time, and discord by operation, are drawn if
    --figure asks for them. A sweep alone is shown as a table of its combinations, the best first; beside
    other runs, the best run of its best combination stands for it.
    """
    if figure is not None:
        _check_figure(figure)
    if len(runs) == 1 and is_sweep(runs[0]):
        _show_sweep(SweepRecord.read(runs[0]), figure, format_)
        return
    comparison = compare_runs([_best_run(run) if is_sweep(run) else run for run in runs])
    if len(comparison.tasks) > 1:
        tasks = "; ".join(comparison.tasks)
        remark(f"warning: the tasks differ, so losses do not compare and none is marked as best: {tasks}")
    if len(comparison.methods) > 1:
        methods = f"{', '.join(comparison.methods[:-1])} and {comparison.methods[-1]}"
        print_notes(
            [
                f"{methods} settle the training stalks differently, so their discord does not compare; "
                "`sheaf diagnose` shows the pinned discord of each, which does"
            ]
        )
    if figure is not None:
        save_figure(comparison_figure(comparison), figure)
    if format_ != "table":
        show_frame(comparison.table, format_)
        return
    console = stdout()
    for place, table in enumerate(comparison_tables(comparison)):
        if place > 0:
            console.print()
        console.print(table)
    if figure is not None:
        say(f"\nWritten: {figure}")


def _show_sweep(sweep: SweepRecord, figure: Path | None, format_: Format) -> None:
    drawn = None if figure is None else sweep_figure(sweep.index, sweep.keys, sweep.name)
    if figure is not None and drawn is None:
        raise InputError(
            f"--figure {figure}: nothing to draw the loss against: the finished runs have fewer than three "
            "values of every number that was varied"
        )
    if figure is not None and drawn is not None:
        save_figure(drawn, figure)
    if format_ != "table":
        show_frame(sweep.combinations, format_)
        return
    stdout().print(sweep_table(sweep))
    written = [] if figure is None else [f"Written: {figure}"]
    for line in ("", *best_words(sweep), *written):
        say(line)


def _best_run(path: Path) -> Path:
    """Return the run that a sweep stands for: that of the least loss in its best combination."""
    sweep = SweepRecord.read(path)
    if sweep.best is None:
        raise InputError("no run of this sweep has finished; call `sheaf sweep` again", path=path)
    runs = sweep.index[sweep.index["run"].isin(sweep.runs_of(sweep.best))]
    finished = runs[runs["status"] == "finished"].set_index("run")
    return path / str(finished[sweep.loss].idxmin())


def _check_figure(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--figure {path}: the name must end in one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"--figure {path}: there is no directory {path.parent}; make it first")
