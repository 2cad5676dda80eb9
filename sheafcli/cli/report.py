"""`sheaf report`: one self-contained HTML page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sheafcli.errors import InputError
from sheafcli.records.sweep import SweepRecord, is_sweep
from sheafcli.render.console import print_notes, say
from sheafcli.render.report import Contents, report_page, sweep_page
from sheafcli.runs import RunDirectory
from sheafcli.runs.data_files import changed_data
from sheafcli.runs.files import write_text


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run directory, such as results/NAME, or that of a sweep.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FILE", help="Where to write the page; RUN/report.html unless given."
        ),
    ] = None,
) -> None:
    """Write a self-contained HTML page about a run or a sweep.

    The page loads nothing, so it can be passed on. It shows what the run directory holds: the training, and
    the tables that `sheaf diagnose` and `sheaf spectrum` have written. For a sweep it shows the best
    combination, all of them side by side, and how much of the loss each parameter explains.
    """
    if is_sweep(run):
        page = sweep_page(SweepRecord.read(run))
    else:
        directory = RunDirectory.existing(run)
        print_notes(changed_data(directory))
        page = report_page(Contents.read(directory))
    path = output or run / "report.html"
    try:
        write_text(path, page)
    except PermissionError as error:
        raise InputError(
            f"the page cannot be written here ({error.strerror}); choose another place with --output FILE",
            path=path,
        ) from error
    say(f"Written: {path} ({len(page.encode()) / 1e6:.1f} MB)")
