"""Tables of a diagnosis for the terminal: which layer is at fault, findings, classes, samples."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from rich.table import Table
from rich.text import Text

from sheafcli.diagnostics.discord import most_first
from sheafcli.diagnostics.findings import Finding
from sheafcli.render.house_table import house_table
from sheafcli.render.numbers import MISSING, aligned, percent
from sheafcli.render.palette import OPERATION_COLOURS
from sheafcli.render.share_bar import ShareBar

SEVERITY_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
BLAME_STYLE = "red"
MOST_NEURONS = 12
# A kind is shown of layers with so much blame, where it is as likely as all others together.
LEAST_BLAME, LIKELY = 0.1, 0.5


def blame_title(layers: pd.DataFrame) -> str:
    """Return the question that blame answers; of a graph, whose evidence is of first order, no more."""
    if layers["fitted_loss"].isna().all():
        return "What a change of one layer alone explains, to first order"
    return "Which single layer, if any, is at fault"


def kind_name(kind: str) -> str:
    """Return the name of a kind in words."""
    return kind.replace("_", " ")


def blame_table(layers: pd.DataFrame, part: str) -> Table:
    """Return a row a layer: how likely the fault is there, in which part of it, and what repairs would do.

    `layers` has the columns of `sheafcli.diagnostics.fault`, measured on samples of a part such as train; the
    last row is for no fault at all.
    """
    layers = layers[layers["evidence"].notna()]  # layers without parameters have none
    samples = int(layers["samples"].iloc[0])
    table = house_table(f"{blame_title(layers)} (on {samples} {part} samples)")
    known = layers["kind"].notna().any()
    table.add_column("layer", no_wrap=True)
    table.add_column("blame", justify="right", no_wrap=True)
    if known:
        table.add_column("likeliest kind", no_wrap=True)
    table.add_column("evidence", justify="right", no_wrap=True)
    table.add_column("likeliest part", no_wrap=True)
    table.add_column("loss repaired", justify="right", no_wrap=True)
    if not known:  # a kind takes the room of the bars
        table.add_column("")
    none = max(0.0, 1.0 - float(layers["blame"].sum()))
    longest = max(none, float(layers["blame"].max()))
    # Where there is no evidence, nothing is likeliest.
    likeliest = (layers["part"], layers["evidence"])
    bars = [
        *(ShareBar(((blame, BLAME_STYLE),), longest) for blame in layers["blame"]),
        ShareBar(((none, "green"),), longest),
    ]
    kinds = [
        kind_name(kind) if blame >= LEAST_BLAME and sure >= LIKELY else MISSING
        for kind, blame, sure in zip(layers["kind"], layers["blame"], layers["kind_blame"], strict=True)
    ]
    columns = (
        [*layers["layer"].astype(str), "none"],
        [percent(blame) for blame in (*layers["blame"], none)],
        *([[*kinds, MISSING]] if known else []),
        [*(f"{round(nats, 1) + 0.0:,.1f}" for nats in layers["evidence"]), "0.0"],
        [
            *(part if nats >= 1.0 else MISSING for part, nats in zip(*likeliest, strict=True)),
            MISSING,
        ],
        aligned([*layers["repaired_loss"], float(layers["loss"].iloc[0])], 4),
        *([] if known else [bars]),
    )
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def findings_table(findings: Sequence[Finding]) -> Table:
    """Return a row a finding, worst first: how grave, where, the evidence, and below it what to do."""
    table = house_table("Findings")
    table.add_column("severity", no_wrap=True)
    table.add_column("where", overflow="fold", max_width=22)
    table.add_column("evidence, and what to do", overflow="fold")
    for finding in findings:
        told = Text.assemble(
            (f"{finding.rule}: ", "bold"), finding.evidence, "\n", (f"-> {finding.advice}", "italic")
        )
        table.add_row(Text(finding.severity, SEVERITY_STYLES[finding.severity]), _place(finding), told)
    return table


def class_table(classes: pd.DataFrame) -> Table:
    """Return the discord of every class, with its loss and accuracy."""
    table = house_table("Discord by class")
    table.add_column("class", overflow="fold")
    columns = {
        "samples": [f"{count:,}" for count in classes["samples"]],
        "accuracy": [percent(share) for share in classes["accuracy"]],
        "loss": aligned(classes["loss"].tolist(), 4),
        "discord": aligned(classes["discord"].tolist(), 4),
        "std": aligned(classes["std"].tolist(), 4),
        "share": [percent(share) for share in classes["share"]],
    }
    for header in columns:
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("")
    longest = float(classes["share"].max())
    bars = [ShareBar(((float(share), ""),), longest) for share in classes["share"]]
    for name, bar, *cells in zip(classes["class"], bars, *columns.values(), strict=True):
        table.add_row(Text(str(name)), *cells, bar)
    return table


def samples_table(samples: pd.DataFrame, edges: pd.DataFrame, limit: int) -> Table:
    """Return the `limit` samples of the largest discord, the largest first.

    `edges` is the table of the edges. Where it is known, the share of neurons that would leave their piece
    stands beside.
    """
    worst = most_first(samples).head(limit)
    table = house_table(f"Samples that carry most ({len(worst)} of {len(samples)})")
    place = next((word for word in ("line", "row") if word in worst), "sample")
    table.add_column(place, justify="right", no_wrap=True)
    columns = {"discord": aligned(worst["discord"].tolist()), "loss": aligned(worst["loss"].tolist(), 4)}
    for name in ("target", "predicted"):
        if name in worst:
            numbers = pd.api.types.is_float_dtype(worst[name])
            columns[name] = aligned(worst[name].tolist(), 4) if numbers else [str(v) for v in worst[name]]
    columns["share"] = [percent(share) for share in worst["share"]]
    if "leaving" in worst:
        columns["leaving"] = [percent(share) for share in worst["leaving"]]
    for header in columns:
        # Names of classes may be long; a number is never broken.
        names = header in ("target", "predicted") and not pd.api.types.is_float_dtype(worst[header])
        table.add_column(
            header,
            justify="right",
            overflow="fold",
            no_wrap=not names,
            min_width=len(header) if names else None,
        )
    table.add_column("most at", no_wrap=True)
    table.add_column("")
    operations = dict(zip(edges["edge"], edges["operation"], strict=True))
    longest = float(worst["share"].max())
    rows = zip(worst[place], worst["worst_edge"], worst["share"], *columns.values(), strict=True)
    for sample, edge, share, *cells in rows:
        colour = OPERATION_COLOURS[operations[edge]]
        bar = ShareBar(((float(share), colour),), longest)
        table.add_row(str(sample), *cells, Text(str(edge), colour), bar)
    return table


def _place(finding: Finding) -> Text:
    """Return where a finding is: layer, operation, neurons."""
    if finding.layer is None:
        return Text("run or data")
    if finding.operation == "input":
        where = Text("inputs")
    else:
        operation = finding.operation or ""
        where = Text.assemble(f"layer {finding.layer} ", (operation, OPERATION_COLOURS.get(operation, "")))
    if finding.neurons:
        most = " ".join(map(str, finding.neurons[:MOST_NEURONS]))
        more = len(finding.neurons) - MOST_NEURONS
        where.append(f"\n{most}" + (f" and {more:,} more" if more > 0 else ""))
    return where
