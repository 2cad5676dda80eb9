"""`sheaf infer`: information backwards, from what is wanted of the output to free inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from sheafcli.cli.options import FormatOption, RunArgument
from sheafcli.core.pins import Pin, parse_pin
from sheafcli.diagnostics.inference_rows import PARTS, rows_of_file, rows_of_task
from sheafcli.diagnostics.inference_terms import Rows, Wish
from sheafcli.diagnostics.table_inference import Answer, infer_table
from sheafcli.errors import InputError
from sheafcli.render.console import print_notes, say, stdout, write_out
from sheafcli.render.inference import MOST_CELLS, MOST_ROWS, inference_tables, inferred_cells, listed_rows
from sheafcli.render.progress import working
from sheafcli.render.tables import json_records
from sheafcli.runs import RunFailed
from sheafcli.runs.files import write_text
from sheafcli.runs.subject import Subject
from sheafcli.tasks.table import written_of


def infer(
    run: RunArgument,
    free: Annotated[
        list[str] | None,
        typer.Option(
            "--free",
            metavar="NAMES",
            help="Inputs that may change, such as income,age; may be given again.",
            show_default="those that are missing; with --target, all",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME=VALUE",
            help="The output you want: price=300000, or a class: species=Gentoo.",
            show_default="what each row says",
        ),
    ] = None,
    probability: Annotated[
        float | None,
        typer.Option(
            "--probability",
            metavar="P",
            help="The least probability that the class of --target must have, such as 0.8.",
            show_default="more than any other class",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            "--row",
            metavar="N",
            min=0,
            help="Only this row: the line of the CSV file that it starts on, or its number in an array.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="test|train|FILE",
            help="Which rows: the run's own, a CSV or .parquet file, or an .npz file of X (and y).",
            show_default="test; with --target and no --row, none: a design from nothing",
        ),
    ] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option(
            "--bounds",
            metavar="NAME=LOW:HIGH",
            help="The range of an input, such as age=18:99; either side may be empty.",
            show_default="the range of the training part",
        ),
    ] = None,
    fixed: Annotated[
        list[str] | None,
        typer.Option("--fixed", metavar="NAME[=VALUE]", help="Inputs that stay, or are held at a value."),
    ] = None,
    sparse: Annotated[bool, typer.Option("--sparse", help="Change as few inputs as possible.")] = False,
    pin: Annotated[
        list[str] | None,
        typer.Option("--pin", metavar="z1[3]=0.5", help="Hold a coordinate of a hidden stalk as well."),
    ] = None,
    kappa: Annotated[
        float | None,
        typer.Option(
            "--kappa",
            metavar="K",
            min=0.0,
            help="How easily inner edges give way: at 0 the network holds exactly, at 1 they share the "
            "strain.",
            show_default="0 with --target, else 1",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N rows.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="The seed for where searches start.")
    ] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write the rows, filled in, as CSV.")
    ] = None,
    format_: FormatOption = "table",
) -> None:
    """Find the inputs that make a network give what is wanted.

    Missing inputs are filled in with the likeliest values, given the known inputs and outputs. With --target
    and a row, the smallest change of that row that gives the target is found. With --target and no row, an
    input is designed from nothing.

    What is "missed" is in units of the target's spread in the training part; "distance" is in standard
    deviations of the training inputs. Exit status 1 if no row reaches its target.
    """
    if probability is not None and (target is None or not 0.0 < probability < 1.0):
        raise typer.BadParameter(
            "--probability is of the class that --target names: give that, too"
            if target is None
            else f"--probability must be above 0 and below 1, got {probability:g}"
        )
    studied = Subject.load(run)
    print_notes(studied.notes)
    wish = Wish(
        free=tuple(name for part in free or [] for name in _names(part)),
        fixed=_fixed(fixed or []),
        bounds=_bounds(bounds or []),
        target=None if target is None else _target(target, studied.task.preprocessing.target.names),
        probability=probability,
        sparse=sparse,
        kappa=kappa,
        pins=_pins(pin or []),
        seed=seed,
    )
    rows = _rows(studied, wish, data, row, limit)
    with working(len(rows.X)) as advance:
        answer = infer_table(studied.network, studied.task, rows, wish, advance)
    print_notes(answer.notes)
    if output is not None:
        write_text(output, answer.cells.to_csv(index=False))
    if format_ == "csv":
        write_out(answer.cells.to_csv(index=False, lineterminator="\n"))
    elif format_ == "json":
        write_out(json.dumps(_told(answer, run, wish), indent=2, allow_nan=False) + "\n")
    else:
        _print(answer, rows, output, is_wanted=target is not None)
    if target is not None and not answer.rows["reached"].any():
        raise RunFailed(answer.out_of_reach)


def _rows(studied: Subject, wish: Wish, data: str | None, row: int | None, limit: int | None) -> Rows:
    preprocessing = studied.task.preprocessing
    if data is None and row is None and wish.target is not None:
        if wish.sparse:
            raise InputError("--sparse changes a row: choose one by --row, or rows by --data")
        return Rows.nothing(preprocessing, studied.network.n_outputs)
    if data is None or data in PARTS:
        return rows_of_task(studied.task, data, row, limit)
    notes: list[str] = []
    rows = rows_of_file(Path(data), preprocessing, written_of(studied.specification), notes, row, limit)
    print_notes(notes)
    return rows


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _fixed(given: Sequence[str]) -> dict[str, str | None]:
    """Read --fixed: names, each with a value or without."""
    fixed: dict[str, str | None] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if equals:
            fixed[name.strip()] = value.strip()
        else:
            fixed |= dict.fromkeys(_names(text))
    return fixed


def _bounds(given: Sequence[str]) -> dict[str, tuple[str, str]]:
    bounds = {}
    for text in given:
        name, equals, ends = text.partition("=")
        low, colon, high = ends.partition(":")
        if not (equals and colon) or not (low.strip() or high.strip()):
            raise InputError(f"--bounds {text}: write NAME=LOW:HIGH, such as age=18:99, age=18: or age=:99")
        if name.strip() in bounds:
            raise InputError(f"--bounds {name.strip()} is given twice; give both ends at once")
        bounds[name.strip()] = (low.strip(), high.strip())
    return bounds


def _target(given: Sequence[str], names: Sequence[str]) -> Mapping[str, str]:
    target = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals and len(names) == 1:
            name, value = names[0], text
        elif not equals:
            raise InputError(f"--target {text}: write NAME=VALUE, such as {names[0]}=...")
        if name.strip() in target:
            raise InputError(f"--target {name.strip()} is given twice; give it once")
        target[name.strip()] = value.strip()
    return target


def _pins(given: Sequence[str]) -> tuple[Pin, ...]:
    pins = []
    for text in given:
        try:
            pins.append(parse_pin(text, soft="@" in text))
        except ValueError as error:
            raise InputError(f"--pin {text}: {error}") from error
    return tuple(pins)


def _told(answer: Answer, run: Path, wish: Wish) -> dict[str, object]:
    return {
        "run": str(run),
        "target": wish.target,
        "probability": wish.probability,
        "notes": list(answer.notes),
        "rows": json_records(answer.rows),
        "inputs": json_records(answer.changes),
    }


def _print(answer: Answer, rows: Rows, output: Path | None, *, is_wanted: bool) -> None:
    cells, certificates = inference_tables(answer, rows.word)
    stdout().print(cells)
    if (hidden := len(inferred_cells(answer)) - MOST_CELLS) > 0:
        say(f"and {hidden:,} more inferred inputs")
    say()
    stdout().print(certificates)
    if (hidden := len(listed_rows(answer)) - MOST_ROWS) > 0:
        say(f"and {hidden:,} more rows")
    if len(answer.rows) > 1 and is_wanted:
        reached = int(answer.rows["reached"].sum())
        within = ", to 1% of its spread" if answer.is_quantity else ""
        say(f"{reached:,} of {len(answer.rows):,} rows give what is wanted{within}.")
    if output is not None:
        say(f"\nWritten: {output}")
