"""`sheaf diff`: which operations compute something else in another run of a network."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import fill
from typing import Annotated, Literal

import typer

from sheafcli.cli.keeping import attempt, tell_unwritten
from sheafcli.cli.options import FormatOption, RunArgument
from sheafcli.diagnostics.difference import Comparison, compare
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say, stdout, write_out
from sheafcli.render.difference import difference_figure, difference_table
from sheafcli.render.numbers import percent
from sheafcli.render.progress import working
from sheafcli.render.style import save_figure
from sheafcli.render.tables import json_records, show_frame
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_text
from sheafcli.runs.other_run import OtherRun

MOST_SHOWN = 15
FAILED_ON = 3


def diff(
    run: RunArgument,
    other: Annotated[
        Path,
        typer.Argument(
            metavar="OTHER",
            help="Another run, a model file of the same graph, or recorded activations: an .npz file, or a "
            "folder of .npy files, named by vertex or as the imported file names its values.",
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="test|train|FILE",
            help="Which samples: the run's own, or an .npz file with an array X.",
            show_default="the input that OTHER recorded, else test",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Use the first N samples only.")
    ] = None,
    precision: Annotated[
        Literal["int8", "bfloat16", "float16", "float32", "float64"] | None,
        typer.Option(
            "--precision",
            help="What the other run computed in, whose rounding is no difference.",
            show_default="what most of its values lie in",
        ),
    ] = None,
    format_: FormatOption = "table",
    fail_on: Annotated[
        Literal["significant"] | None,
        typer.Option("--fail-on", help="End with status 3 if an operation differs beyond rounding."),
    ] = None,
) -> None:
    """Show which operations differ in another run of a network.

    Each operation is given the other run's own inputs, so that what went wrong before it does not count.
    Writes diff.csv and figures/diff.png into the run directory, where that can be written.
    """
    directory = RunDirectory.existing(run)
    network = directory.network()
    there = OtherRun.read(directory, network, other, data, limit)
    print_notes(there.notes)
    with working(3) as advance:
        try:
            found = compare(
                network, there.X, there.recorded, precision or there.precision, there.network, advance
            )
        except ValueError as error:
            raise InputError(str(error), path=other) from error
        advance("picture")
        unwritten = attempt(lambda: _write(directory, found, f"{directory.path.name} and {other.name}"))
    if format_ == "csv":
        show_frame(found.operations, "csv")
    elif format_ == "json":
        write_out(json.dumps(_told(found, run, other), indent=2, allow_nan=False) + "\n")
    else:
        _print(found, directory, written=unwritten is None)
    if unwritten is not None:
        tell_unwritten(unwritten)
    if fail_on and not found.significant.empty:
        raise typer.Exit(FAILED_ON)


def _write(directory: RunDirectory, found: Comparison, title: str) -> None:
    write_text(directory / "diff.csv", found.operations.to_csv(index=False))
    directory.make_figures()
    save_figure(difference_figure(found, title), directory.figures / "diff.png")


def _told(found: Comparison, run: Path, other: Path) -> dict[str, object]:
    return {
        "run": str(run),
        "other": str(other),
        "samples": found.n_samples,
        "precision": found.difference.precision.name,
        "exact_shares": found.difference.is_exact,
        "output_difference": found.relative if found.relative == found.relative else None,
        "sentence": found.sentence,
        "operations": json_records(found.operations),
    }


def _print(found: Comparison, directory: RunDirectory, *, written: bool) -> None:
    say(fill(f"{found.sentence}.", 80))
    how = "exact, by hybrid runs" if found.difference.is_exact else "of first order"
    about = (
        f"{found.n_samples} samples; rounding of {found.difference.precision.name}; shares {how}; the output "
        f"differs by {percent(found.relative)} of its size"
    )
    say(fill(about, 80))
    say()
    stdout().print(difference_table(found, MOST_SHOWN))
    if (hidden := len(found.operations) - MOST_SHOWN) > 0:
        say(f"and {hidden:,} more operations")
    if written:
        say(f"\nWritten into {directory.path}: diff.csv, figures/diff.png")
