"""`sheaf predict`: what a run's network predicts for the rows of a table, in the table's own terms."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import typer

from sheafcli.cli.options import RunArgument
from sheafcli.diagnostics.prediction import Source, open_source
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, remark, write_out
from sheafcli.render.progress import counting
from sheafcli.render.tables import json_records
from sheafcli.runs import RunDirectory
from sheafcli.runs.files import write_whole


def predict(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="test|train|validation|FILE|-",
            help="The rows: the run's own, a CSV file, an .npz file with X, or - for standard input.",
        ),
    ] = "test",
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="The file to write.", show_default="standard output"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Predict the first N rows only.")
    ] = None,
    budget: Annotated[
        bool,
        typer.Option(
            "--budget",
            help="Add each row's discord budget: the trace of its effective resistance, in total and by "
            "layer.",
        ),
    ] = False,
    format_: Annotated[
        Literal["csv", "json"], typer.Option("--format", help="How to write: csv or json (numbers exact).")
    ] = "csv",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
) -> None:
    """Predict the target of the rows of a table, as CSV.

    Columns are found by name, in any order, and preprocessed as in the training. Rows are read and written
    as a stream, however many there are. Every class has a column with its probability.
    """
    directory = RunDirectory.existing(run)
    if output is not None and output.exists() and not overwrite:
        raise InputError("the file exists; replace it with --overwrite, or choose another name", path=output)
    with ExitStack() as stack:
        source = open_source(directory, data, stack, sys.stdin.buffer, budget=budget, limit=limit)
        shown = output is not None or not sys.stdout.isatty()
        frames = _counted(source.frames, stack.enter_context(counting("rows", shown=shown)))
        parts = _as_csv(frames) if format_ == "csv" else _as_json(frames)
        if output is None:
            for part in parts:
                write_out(part)
        else:
            _write(output, parts)
    _tell(source, output)


def _counted(frames: Iterator[pd.DataFrame], count: Callable[[int], None]) -> Iterator[pd.DataFrame]:
    for frame in frames:
        yield frame
        count(len(frame))


def _write(path: Path, parts: Iterator[str]) -> None:
    try:
        write_whole(path, lambda file: [file.write(part.encode()) for part in parts])
    except OSError as error:
        raise InputError(f"the file cannot be written ({error.strerror})", path=path) from error


def _as_csv(frames: Iterator[pd.DataFrame]) -> Iterator[str]:
    for number, frame in enumerate(frames):
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if number == 0:
            writer.writerow(frame.columns)
        columns = [_cells(frame[name]) for name in frame]
        writer.writerows(zip(*columns, strict=True))
        yield text.getvalue()


def _cells(column: pd.Series) -> list[object]:
    """Return the cells of a column: numbers so that they read back exactly, nothing where there is none."""
    gone = column.isna()
    values: list[object] = column.tolist()
    return values if not gone.any() else ["" if no else v for v, no in zip(values, gone, strict=True)]


def _as_json(frames: Iterator[pd.DataFrame]) -> Iterator[str]:
    before = "[\n"
    for frame in frames:
        for record in json_records(frame):
            yield f"{before}  {json.dumps(record, allow_nan=False)}"
            before = ",\n"
    yield "\n]\n"


def _tell(source: Source, output: Path | None) -> None:
    """Say on standard error what was met on the way, and the loss where the targets are known."""
    prediction, tally = source.prediction, source.prediction.tally
    print_notes([*source.notes, *tally.notes(prediction.word)])
    if prediction.is_estimate:
        print_notes(["the budget of many outputs is an estimate, without bias"])
    where = "" if output is None else f"{output}: "
    told = f"{where}{tally.rows:,} row{'' if tally.rows == 1 else 's'} predicted"
    if tally.known:
        of = "" if tally.known == tally.rows else f" of the {tally.known:,} with a known target"
        told += f"; mean loss{of} {tally.loss:.6g}"
    remark(told)
