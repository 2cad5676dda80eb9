"""`sheaf diff`: which operations compute something else in another run of a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from sheafcli.cli.keeping import attempt, tell_unwritten
from sheafcli.cli.options import FormatOption, RunArgument
from sheafcli.diagnostics.difference import Comparison, compare
from sheafcli.diagnostics.mixed_precision import Advice, advise
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say, say_filled, stdout, write_out
from sheafcli.render.difference import advice_table, difference_figure, difference_table
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
            "folder of .npy files, named by vertex or as the imported file names its values. A quantised "
            "ONNX file is run by ONNX Runtime.",
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
        int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N samples.")
    ] = None,
    precision: Annotated[
        Literal["int8", "bfloat16", "float16", "float32", "float64"] | None,
        typer.Option(
            "--precision",
            help="The precision of the other run; differences within its rounding do not count.",
            show_default="what most of its values lie in",
        ),
    ] = None,
    name_map: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help="Which recorded value belongs to which vertex: YAML, one `value: vertex` a line, or CSV.",
            show_default="by their names",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="List the fewest operations that must stay as they are here to remove this share of the "
            "output difference, such as 0.99.",
        ),
    ] = None,
    format_: FormatOption = "table",
    fail_on: Annotated[
        Literal["significant"] | None,
        typer.Option("--fail-on", help="Exit with status 3 if an operation differs beyond rounding."),
    ] = None,
) -> None:
    """Show which operations differ in another run of a network.

    Each operation is given the other run's own inputs, so that what went wrong before it does not count.
    Writes diff.csv, diff.json and figures/diff.png into the run directory, where that can be written.
    """
    directory = RunDirectory.existing(run)
    network = directory.network()
    there = OtherRun.read(directory, network, other, data, limit, name_map)
    print_notes(there.notes)
    advice = None
    with working(3 if budget is None else 4) as advance:
        try:
            found = compare(
                network, there.X, there.recorded, precision or there.precision, there.network, advance
            )
        except ValueError as error:
            raise InputError(str(error), path=other) from error
        if budget is not None:
            advance("what to keep")
            advice = advise(network, there.X, found, budget, there.network)
        advance("picture")
        told = _told(found, advice, run, other)
        unwritten = attempt(lambda: _write(directory, found, told))
    if format_ == "csv":
        show_frame(found.operations, "csv")
    elif format_ == "json":
        write_out(_written(told))
    else:
        _print(found, advice)
        if unwritten is None:
            say(f"\nWritten into {directory.path}: diff.csv, diff.json, figures/diff.png")
    if unwritten is not None:
        tell_unwritten(unwritten)
    if fail_on and not found.significant.empty:
        raise typer.Exit(FAILED_ON)


def _write(directory: RunDirectory, found: Comparison, told: Mapping[str, object]) -> None:
    write_text(directory / "diff.csv", found.operations.to_csv(index=False))
    write_text(directory / "diff.json", _written(told))
    title = f"{directory.path.name} and {Path(str(told['other'])).name}"
    directory.make_figures()
    save_figure(difference_figure(found, title), directory.figures / "diff.png")


def _written(told: Mapping[str, object]) -> str:
    return json.dumps(told, indent=2, allow_nan=False) + "\n"


def _told(found: Comparison, advice: Advice | None, run: Path, other: Path) -> dict[str, object]:
    kept = {}
    if advice is not None:
        kept["keep"] = {
            "asked": advice.asked,
            "reached": advice.reached,
            "sentence": advice.sentence,
            "operations": json_records(advice.kept),
        }
    return {
        "run": str(run),
        "other": str(other),
        "samples": found.n_samples,
        "precision": found.difference.precision.name,
        "exact_shares": found.difference.is_exact,
        "output_difference": found.relative if found.relative == found.relative else None,
        "changed_predictions": found.changed,
        "sentence": found.sentence,
        "operations": json_records(found.operations),
        **kept,
    }


def _print(found: Comparison, advice: Advice | None) -> None:
    say_filled(f"{found.sentence}.")
    how = "exact, by hybrid runs" if found.difference.is_exact else "of first order"
    about = (
        f"{found.n_samples} samples; rounding of {found.difference.precision.name}; shares {how}; the output "
        f"differs by {percent(found.relative)} of its size"
    )
    if found.changed is not None:
        about += f"; predictions of another class: {found.changed:,}"
    say_filled(about)
    say()
    stdout().print(difference_table(found, MOST_SHOWN))
    if (hidden := len(found.operations) - MOST_SHOWN) > 0:
        say(f"and {hidden:,} more operations")
    if advice is not None:
        say()
        say_filled(f"{advice.sentence[:1].upper()}{advice.sentence[1:]}.")
        if len(advice.kept):
            stdout().print(advice_table(advice))
