"""`sheaf spectrum`: how fast stalks settle on each sample, and where the bottleneck sits."""

from __future__ import annotations

from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption, SubjectArgument
from sheafcli.core.spectrum import spectrum as spectrum_of
from sheafcli.diagnostics.spectrum import bottleneck_table, spectrum_summary, spectrum_table, stability_table
from sheafcli.render.console import print_notes, stdout
from sheafcli.render.spectrum import modes_table, spectrum_figure
from sheafcli.render.style import save_figure
from sheafcli.render.tables import frame_table, show_frame
from sheafcli.runs.files import write_text
from sheafcli.runs.subject import Subject


def spectrum(
    subject: SubjectArgument,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, help="Use the first N test samples only.")
    ] = 50,
    format_: FormatOption = "table",
) -> None:
    """Show how fast stalks settle, and where the bottleneck sits.

    Of a run, writes spectrum.csv (a row a sample) and figures/spectrum.png into its directory.
    """
    studied = Subject.load(subject)
    print_notes(studied.notes)
    found = spectrum_of(studied.network, studied.task.X_test[:limit])
    table = spectrum_table(found)
    if studied.run is not None:
        write_text(studied.run / "spectrum.csv", table.to_csv(index=False))
        studied.run.figures.mkdir(exist_ok=True)
        save_figure(spectrum_figure(found, studied.name), studied.run.figures / "spectrum.png")
    if format_ != "table":
        show_frame(table, format_)
        return
    console = stdout()
    console.print(frame_table(spectrum_summary(found), f"Spectrum of {len(table)} samples"))
    console.print()
    console.print(modes_table(bottleneck_table(found)))
    console.print()
    console.print(frame_table(stability_table(found), "How alike they are between samples"))
    if studied.run is not None:
        console.print(f"\nWritten: {studied.run / 'spectrum.csv'}", markup=False, soft_wrap=True)
