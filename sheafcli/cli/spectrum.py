"""`sheaf spectrum`: how fast stalks settle on each sample, and where the bottleneck sits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
import typer

from sheafcli.cli.keeping import attempt, tell_unwritten, wants_figures
from sheafcli.cli.options import FiguresOption, FormatOption, SubjectArgument
from sheafcli.core.network import AnyNetwork
from sheafcli.core.spectrum import Spectrum
from sheafcli.core.spectrum import spectrum as spectrum_of
from sheafcli.core.types import Shape
from sheafcli.diagnostics.spectrum import bottleneck_table, spectrum_summary, spectrum_table, stability_table
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say, stdout
from sheafcli.render.spectrum import modes_table
from sheafcli.render.tables import frame_table, show_frame
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_text
from sheafcli.runs.subject import Subject

# Of so many samples the spectrum is found, or of fewer that have so many coordinates together: some seconds.
MOST_SAMPLES, COORDINATES = 50, 1_500_000


def spectrum(
    subject: SubjectArgument,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="Use the first N test samples only.",
            show_default="50, fewer for large networks",
        ),
    ] = None,
    figures: FiguresOption = False,
    format_: FormatOption = "table",
) -> None:
    """Show how fast stalks settle, and where the bottleneck sits.

    For a run it writes spectrum.csv, one row per sample, into the run directory, where it can be written.
    """
    studied = Subject.load(subject)
    print_notes(studied.notes)
    count = limit or _affordable(studied.network)
    found = spectrum_of(studied.network, studied.task.X_test[:count])
    table = spectrum_table(found)
    run = studied.run
    if run is None and figures:
        raise InputError(
            "--figures draws into the directory of a run, and this is a configuration", path=subject
        )
    unwritten = None if run is None else attempt(lambda: _write(run, table, found, asked=figures))
    if format_ == "table":
        _show(found, studied.network.stalks)
        if run is not None and unwritten is None:
            say(f"\nWritten: {run / 'spectrum.csv'}")
    else:
        show_frame(table, format_)
    if unwritten is not None:
        tell_unwritten(unwritten)


def _write(run: RunDirectory, table: pd.DataFrame, found: Spectrum, *, asked: bool) -> None:
    write_text(run / "spectrum.csv", table.to_csv(index=False))
    if wants_figures(run, ["spectrum"], asked=asked):
        # Half a second for matplotlib.
        from sheafcli.render.spectrum_figure import spectrum_figure  # noqa: PLC0415
        from sheafcli.render.style import save_figure  # noqa: PLC0415

        run.make_figures()
        save_figure(spectrum_figure(found, run.path.resolve().name), run.figures / "spectrum.png")


def _affordable(network: AnyNetwork) -> int:
    """Return of how many samples the eigenvectors are looked at unless --limit says it."""
    coordinates = network.graph.dimension
    return int(min(MOST_SAMPLES, max(1, COORDINATES // coordinates)))


def _show(found: Spectrum, stalks: Mapping[str, Shape]) -> None:
    console = stdout()
    console.print(frame_table(spectrum_summary(found), f"Spectrum of {len(found.gap)} samples"))
    console.print()
    console.print(modes_table(bottleneck_table(found, stalks)))
    console.print()
    console.print(frame_table(stability_table(found), "How alike each of them is between samples"))
