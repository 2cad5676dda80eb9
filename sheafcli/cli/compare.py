"""`sheaf compare`: runs side by side, what they came to and where they disagree with themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption
from sheafcli.errors import InputError
from sheafcli.records.comparison import compare as compare_runs
from sheafcli.render.comparison import FORMATS, comparison_figure, comparison_tables
from sheafcli.render.console import remark, say, stdout
from sheafcli.render.style import save_figure
from sheafcli.render.tables import show_frame


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Run directories, such as results/NAME.")],
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE",
            help="Draw them into a picture, too: .png, .svg or .pdf by its ending.",
        ),
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """Show runs side by side: losses, accuracy, time, discord.

    A run's baseline has a row of its own. Losses over time, and discord by operation, are drawn if
    --figure asks for them.
    """
    if figure is not None:
        _check_figure(figure)
    comparison = compare_runs(runs)
    if len(comparison.tasks) > 1:
        tasks = "; ".join(comparison.tasks)
        remark(f"warning: the tasks differ, so losses do not compare and none is marked as best: {tasks}")
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


def _check_figure(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--figure {path}: the name must end in one of {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"--figure {path}: there is no directory {path.parent}; make it first")
