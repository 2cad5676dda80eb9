"""`sheaf runs`: a table of the runs below a directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sheafcli.cli.options import FormatOption
from sheafcli.records.listing import DAMAGED, Condition, Listing, Order, find_runs, list_runs
from sheafcli.render.console import print_notes, remark, say, stdout
from sheafcli.render.listing import listing_table
from sheafcli.render.progress import working
from sheafcli.render.tables import show_frame
from sheafcli.runs import RunDirectory


def runs(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to look in, with all folders below it.")
    ] = Path("results"),
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="COLUMN=VALUE",
            help="Show only runs that match, such as status=diverged or task=paraboloid; may be given "
            "again, and all must hold.",
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", metavar="COLUMN", help="The column to sort by; -COLUMN for descending, such as -when."
        ),
    ] = "name",
    export_: Annotated[
        Literal["mlflow", "tensorboard"] | None,
        typer.Option(
            "--export", help="Also write the runs shown for another tool: histories, parameters and pictures."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="PLACE",
            help="Where --export writes: a folder for TensorBoard, a tracking URI for MLflow.",
            show_default="tensorboard/, or MLflow's own",
        ),
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """List the runs below a directory, sorted and filtered.

    A run whose process was killed is shown as interrupted, one whose manifest cannot be read as damaged.
    csv and json have more columns, all of which --where and --sort take: name, directory, task, method,
    status, seed, steps, seconds, train_loss, validation_loss, test_loss, train_accuracy, test_accuracy,
    test_r2, test_rmse, test_mae, test_f1, test_auc, test_calibration_error, baseline_train_loss,
    baseline_test_loss, started, ended, when (it ended, or else started), message.
    """
    if to is not None and export_ is None:
        raise typer.BadParameter("--to is where --export writes: give that, too")
    conditions, order = [Condition.read(text) for text in where or ()], Order.read(sort)
    found = find_runs(directory)
    with working(len(found.runs)) as advance:
        listing = list_runs(found, conditions, order, advance)
    print_notes(map(str, (*found.problems, *listing.problems)))
    shown, total = len(listing.table), len(found.runs)
    if shown == 0:
        wanted = "".join(f" with {' and '.join(where)}") if where and total else ""
        (say if format_ == "table" else remark)(f"No runs below {directory}{wanted}.")
    if format_ != "table":
        show_frame(listing.table, format_)
    elif shown > 0:
        console = stdout()
        count = f"{shown:,}" if shown == total else f"{shown:,} of {total:,}"
        console.print(listing_table(listing.table, f"Runs below {directory} ({count})", console.width))
    if export_ is not None:
        _export(export_, listing, to)


def _export(tool: str, listing: Listing, to: str | None) -> None:
    """Write the runs of a listing for another tool; damaged ones have nothing to write."""
    sound = listing.table[listing.table["status"] != DAMAGED]
    runs = {row["name"]: RunDirectory(Path(row["directory"])) for row in sound.to_dict("records")}
    from sheafcli.records.tracking import export  # noqa: PLC0415  # for which a listing need not wait

    written = export(tool, runs, to)
    there = len(runs) - len(written)
    told = f"{tool}: {len(written):,} run{'' if len(written) == 1 else 's'} written"
    remark(f"{told}, {there:,} there already" if there else told)
