"""Tables for the terminal: results, discord, neurons, checks, and any DataFrame in three formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import pandas as pd
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from sheafcli.core.training.fit import Record
from sheafcli.diagnostics.check import Check
from sheafcli.diagnostics.discord import most_first
from sheafcli.printable import printable
from sheafcli.render.console import stdout, write_out
from sheafcli.render.formats import Format
from sheafcli.render.house_table import GAP, house_table
from sheafcli.render.numbers import MISSING, aligned, percent
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.share_bar import ShareBar

Part: TypeAlias = tuple[float, str]
Write: TypeAlias = Callable[[Sequence[float | None]], list[str]]
Best: TypeAlias = Callable[[Sequence[float]], float]

STATISTICS = ("std", "median", "max")


@dataclass(frozen=True)
class ResultRow:
    """What one method came to: its name, its last record, and the seconds it took."""

    label: str
    record: Record
    seconds: float


def result_table(rows: Sequence[ResultRow]) -> Table:
    """Return methods side by side: losses, accuracies if any, steps, seconds; the best in bold."""
    records = [row.record for row in rows]
    validated = any(record.validation_loss is not None for record in records)
    losses = partial(aligned, digits=4) if validated else aligned  # for which there is room
    columns: list[tuple[str, Sequence[float | None], Write, Best | None]] = [
        ("train\nloss", [record.train_loss for record in records], losses, min),
        ("validation\nloss", [record.validation_loss for record in records], losses, min),
        ("test\nloss", [record.test_loss for record in records], losses, min),
        ("train\naccuracy", [record.train_accuracy for record in records], _each(".2%"), max),
        ("test\naccuracy", [record.test_accuracy for record in records], _each(".2%"), max),
        ("\nsteps", [record.step for record in records], _each(",d"), None),
        ("\nseconds", [row.seconds for row in rows], _each(",.2f"), min),
    ]
    table = house_table("Result")
    table.add_column("\nmethod")
    cells = [[Text(row.label) for row in rows]]
    for header, values, write, best in columns:
        if any(value is not None for value in values):
            table.add_column(header, justify="right", no_wrap=True)
            cells.append(_with_best(write(values), values, best))
    for row in zip(*cells, strict=True):
        table.add_row(*row)
    return table


def discord_tables(frame: pd.DataFrame) -> list[Table]:
    """Return discord by edge, by layer and by operation, each with its share as a bar.

    `frame` has the columns layer, operation, edge, discord and share, its rows in path order; std,
    median and max are shown by edge where it has them, and the share of the resistance with the excess
    by layer. A layer's bar is stacked from its operations.
    """
    edges = [Text(str(edge), part[1]) for edge, part in zip(frame["edge"], _parts(frame), strict=True)]
    by_layer = _sums(frame, "layer")
    layers = [Text(str(layer)) for layer in by_layer.index]
    stacks = [_parts(frame[frame["layer"] == layer]) for layer in by_layer.index]
    by_operation = _sums(frame, "operation").reset_index()
    operations = [Text(name, OPERATION_COLOURS[name]) for name in by_operation["operation"]]
    return [
        _discord_table("edge", edges, frame, [[part] for part in _parts(frame)]),
        _discord_table("layer", layers, by_layer, stacks),
        _discord_table("operation", operations, by_operation, [[part] for part in _parts(by_operation)]),
    ]


def neurons_table(frame: pd.DataFrame, limit: int) -> Table:
    """Return the `limit` neurons of the largest discord, the largest first.

    `frame` has the columns layer, operation, edge, neuron, discord, share, and active: the share of the
    samples on which the neuron is.
    """
    top = most_first(frame).head(limit)  # both edges of an active neuron often tie
    table = house_table(f"Neurons that carry most ({len(top)} of {len(frame)})", spare=("", "active"))
    # A chain's edge is its operation and its layer; where layers have more, only its name tells it.
    layers = top["layer"].astype(str)
    by_layer = frame["edge"].eq(frame["operation"] + "_" + frame["layer"].astype(str)) | frame["edge"].eq(
        "output"
    )
    colours = [OPERATION_COLOURS[str(operation)] for operation in top["operation"]]
    if by_layer.all():
        table.add_column("layer", justify="right", no_wrap=True)
        table.add_column("neuron", justify="right", no_wrap=True)
        table.add_column("operation", no_wrap=True)
        places = [layers, top["neuron"].astype(str), map(Text, top["operation"], colours)]
    else:
        table.add_column("edge", overflow="fold", min_width=12)
        table.add_column("unit", justify="right", no_wrap=True)
        places = [map(Text, map(str, top["edge"]), colours), top["neuron"].astype(str)]
    for header in ("active", "discord", "share"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    columns = (
        *places,
        [percent(share) for share in top["active"]],
        aligned(top["discord"].tolist()),
        [percent(share) for share in top["share"]],
        [ShareBar((part,), top["share"].max()) for part in _parts(top)],
    )
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def checks_table(checks: Sequence[Check]) -> Table:
    """Return a row a theorem: what was measured, its figure, what is demanded of it, whether it holds."""
    table = house_table("Theorems", spare=("demand", "measured", "figure"))
    table.add_column("theorem")
    table.add_column("measured")
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("demand", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in checks:
        mark = Text("holds", "green") if check.holds else Text("FAILS", "bold red")
        table.add_row(Text(check.theorem), Text(check.measured), f"{check.figure:.3g}", check.demand, mark)
    return table


def frame_table(frame: pd.DataFrame, title: str | None = None) -> Table:
    """Return a DataFrame, without its index, as one table; numbers have 6 significant digits."""
    table = house_table(title)
    columns = [_column(frame[name], str(name)) for name in frame.columns]
    for column in columns:
        table.add_column(
            Text(column.header),
            justify="right" if column.numeric else "left",
            no_wrap=column.numeric,
            overflow="fold",
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*(Text(cell) for cell in row))
    return table


def show_frame(frame: pd.DataFrame, format: Format) -> None:
    """Print a DataFrame, without its index, on standard output.

    `csv` writes numbers that read back exactly. `json` is a list of one object a row, with null for
    what is not a finite number. `table` has 6 significant digits; columns that do not fit beside one
    another follow below, the first column repeated.
    """
    if format == "csv":
        write_out(frame.to_csv(index=False, lineterminator="\n"))
    elif format == "json":
        write_out(json.dumps(json_records(frame), indent=2, allow_nan=False) + "\n")
    else:
        console = stdout()
        for table in _frame_tables(frame, console.width):
            console.print(table)


def json_records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return one object a row, with None for what is not a finite number or is missing."""
    return [
        {str(name): _json_value(value) for name, value in row.items()} for row in frame.to_dict("records")
    ]


def _discord_table(by: str, names: list[Text], frame: pd.DataFrame, bars: Sequence[Sequence[Part]]) -> Table:
    """Return the discord of each name, with its statistics, its share, and the share as a bar."""
    table = house_table(f"Discord by {by}", spare=("", *reversed(STATISTICS)))
    table.add_column(by, no_wrap=True)
    columns = {"discord": aligned(frame["discord"].tolist())}
    columns |= {name: aligned(frame[name].tolist(), 4) for name in STATISTICS if name in frame}
    columns["share"] = [percent(share) for share in frame["share"]]
    if by == "layer" and "resistance" in frame:
        columns["resistance"] = [percent(share) for share in frame["resistance"]]
        columns["excess"] = aligned(
            (frame["share"] / frame["resistance"].where(frame["resistance"] > 0.0)).tolist(), 3
        )
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    longest = float(frame["share"].max())
    for name, bar, *cells in zip(names, bars, *columns.values(), strict=True):
        table.add_row(name, *cells, ShareBar(tuple(bar), longest))
    return table


def _parts(frame: pd.DataFrame) -> list[Part]:
    """Return each row's share with the colour of its operation."""
    pairs = zip(frame["share"], frame["operation"], strict=True)
    return [(float(share), OPERATION_COLOURS[str(operation)]) for share, operation in pairs]


def _sums(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    summed = [name for name in ("discord", "share", "resistance") if name in frame]
    return frame.groupby(by, sort=False)[summed].sum(min_count=1)


def _each(pattern: str) -> Write:
    """Return what writes every value of a column by a format specification."""
    return lambda values: [MISSING if value is None else f"{value:{pattern}}" for value in values]


def _with_best(texts: Sequence[str], values: Sequence[float | None], best: Best | None) -> list[Text]:
    """Return the cells of a column, in bold where the value is the best and not all are as good."""
    proper = [value for value in values if value is not None and not math.isnan(value)]
    if best is None or len(set(proper)) < 2:
        return [Text(text) for text in texts]
    winner = best(proper)
    return [Text(text, "bold" if value == winner else "") for text, value in zip(texts, values, strict=True)]


def _json_value(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _frame_tables(frame: pd.DataFrame, width: int) -> Iterable[Table]:
    """Lay a frame out in as many tables below one another as the width asks for."""
    widths = {name: _column(frame[name], str(name)).width for name in frame.columns}
    first = frame.columns[0]
    blocks: list[list[str]] = []
    room = 0
    for name, needed in widths.items():
        if not blocks or needed > room:
            blocks.append([first] if blocks else [])
            room = width - (widths[first] + GAP if len(blocks) > 1 else 0)
        blocks[-1].append(name)
        room -= needed + GAP
    return [frame_table(frame[block]) for block in blocks]


@dataclass(frozen=True)
class _Column:
    """A column of a frame as text."""

    header: str
    cells: list[str]
    numeric: bool

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in [*self.header.split("\n"), *self.cells])


def _column(values: pd.Series, name: str) -> _Column:
    header = printable(name).replace("_", "\n")
    if pd.api.types.is_float_dtype(values) or values.isna().all():
        return _Column(header, aligned(values.tolist()), numeric=True)
    cells = [MISSING if pd.isna(value) else printable(str(value)) for value in values]
    return _Column(header, cells, numeric=pd.api.types.is_integer_dtype(values))
