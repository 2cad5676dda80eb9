"""The sections of the report: the figures and tables that a run's files allow, and what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from sheafcli.diagnostics.discord import most_first
from sheafcli.records.logged import AT_REST
from sheafcli.render.diagnosis_tables import kind_name
from sheafcli.render.numbers import MISSING, duration, percent
from sheafcli.render.panels import thinned
from sheafcli.render.report.contents import SOURCES, Contents
from sheafcli.render.report.diagnosis import (
    blame_figure,
    neuron_figure,
    resistance_figure,
    sample_figure,
    short,
)
from sheafcli.render.report.difference import difference_figure
from sheafcli.render.report.figure import Figure
from sheafcli.render.report.graph import graph_figure
from sheafcli.render.report.network import path_figure
from sheafcli.render.report.parts import SEVERITIES, Finding, Section, Text, Tile
from sheafcli.render.report.predictions import confusion_figure
from sheafcli.render.report.spectrum import eigenvalue_figure, eigenvector_figure
from sheafcli.render.report.tables import BLAME_WORDS, Table, are_numbers, table_of
from sheafcli.render.report.training import accuracy_figure, discord_figure, heat_map, loss_figure

ROWS = 20
# A finding names at most so many neurons.
MOST_NEURONS = 20
STATISTICS = ("discord", "std", "median", "max")
BLAME_COLUMNS = (
    *("layer", "blame", "kind", "kind_blame", "evidence", "part", "explainable"),
    *("loss", "fitted_loss", "repaired_loss"),
)
LAYER_COLUMNS = ("layer", "discord", "share", "resistance", "excess")
SAMPLE_COLUMNS = ("sample", "line", "row", "target", "predicted", "loss", "discord", "share", "worst_edge")
HISTORY = (
    *("step", "train_loss", "validation_loss", "test_loss", "train_accuracy", "test_accuracy"),
    *("test_r2", "test_rmse", "test_f1", "test_auc", "energy", "seconds"),
)
METRICS = ("target", "class", "samples", "precision", "recall", "f1", "auc", "r2", "rmse", "mae")
LAYER_AT_FAULT: Final = "layer-at-fault"


def sections(contents: Contents) -> list[Section]:
    """Return all sections in the order of the page."""
    makers: tuple[Callable[[Contents], Section | None], ...] = (
        _summary,
        _findings,
        _network,
        _training,
        _predictions,
        _diagnosis,
        _neurons,
        _samples,
        _difference,
        _spectrum,
        _configuration,
    )
    made = [make(contents) for make in makers]
    return [section for section in made if section is not None]


def subtitle(contents: Contents) -> list[str]:
    """Return what stands below the name: the task, the method, the network, when it was."""
    manifest = contents.manifest
    parts = [str(part) for part in (contents.task, manifest.get("method")) if part]
    if contents.network is not None:
        parts.append(f"a graph of {contents.network.graph.output_edge.layer} layers")
    elif contents.widths is not None:
        parts.append(" → ".join(map(str, contents.widths)))
    if manifest.get("output"):
        parts.append(f"{manifest['output']} output")
    when = str(manifest.get("ended") or manifest.get("started") or "")
    return [*parts, when[:16].replace("T", " ")] if when else parts


def _summary(contents: Contents) -> Section:
    manifest, final = contents.manifest, contents.final
    baseline: Mapping[str, Any] = manifest.get("baseline") or {}
    tiles = []
    for key, label, write in (
        ("test_accuracy", "Test accuracy", percent),
        ("test_loss", "Test loss", _figure),
        ("train_loss", "Train loss", _figure),
    ):
        value, other = _number(final.get(key)), _number(baseline.get(key))
        if value is not None:
            tiles.append(Tile(label, write(value), f"baseline {write(other)}" if other is not None else ""))
    tiles += _diagnosed(contents)
    if (seconds := _number(final.get("seconds"))) is not None:
        steps = final.get("step")
        tiles.append(Tile("Training", duration(seconds), f"{steps:,} steps" if type(steps) is int else ""))
    if type(manifest.get("parameters")) is int:
        samples = manifest.get("n_train")
        note = f"{samples:,} training samples" if type(samples) is int else ""
        tiles.append(Tile("Parameters", f"{manifest['parameters']:,}", note))
    message = str(manifest.get("message") or "")
    lead = contents.to_pass_on(f"{message[:1].upper()}{message[1:]}.") if message else ""
    missing = []
    if not final and not contents.is_imported:
        missing.append("No final figures: the run has not ended; `sheaf train --resume` continues it.")
    return Section("summary", "Summary", lead, tiles=tiles, missing=missing)


def _diagnosed(contents: Contents) -> list[Tile]:
    """Return what leads the findings, the layer at fault as they tell it, and the pinned discord."""
    tiles = []
    edges, found = contents.table("diagnosis"), contents.table("findings")
    if found is not None:
        grave = _causes_first(found)
        grave = grave[grave["severity"] != "info"]
        lead = grave.iloc[0] if len(grave) else None
        told = ("None", "nothing above info") if lead is None else (lead["rule"], lead["severity"])
        tiles.append(Tile("First cause", *told))
        # What the findings say of a layer, the summary says, too.
        blamed = found[found["rule"] == LAYER_AT_FAULT]
        if len(blamed) and blamed["severity"].iloc[0] == "info":
            tiles.append(Tile("Most to gain", *_blame(contents, blamed["layer"].iloc[0])))
        elif len(blamed):
            tiles.append(Tile("Layer at fault", *_blame(contents, blamed["layer"].iloc[0])))
        else:
            tiles.append(Tile("Layer at fault", "None", "no layer stands out"))
    if edges is not None:
        worst = edges.iloc[edges["share"].argmax()]
        tiles.append(
            Tile(
                "Pinned discord",
                _figure(edges["discord"].sum()),
                f"{percent(worst['share'])} on {worst['edge']}",
            )
        )
    return tiles


def _blame(contents: Contents, layer: float) -> tuple[str, str]:
    """Return a layer that a finding names, and its blame where the table of layers has it."""
    layers = contents.table("layers")
    known = layers is not None and "blame" in layers and (layers["layer"] == layer).any()
    if layers is None or not known:
        return f"Layer {layer:.0f}", ""
    return f"Layer {layer:.0f}", f"blame {percent(layers.loc[layers['layer'] == layer, 'blame'].iloc[0])}"


def _findings(contents: Contents) -> Section:
    table = contents.table("findings")
    if table is None:
        return Section("findings", "Findings", missing=[_missing("findings")])
    units = "neurons" if contents.network is None else "units"
    found = [
        Finding(row["severity"], row["rule"], _place(row, units), row["evidence"], row["advice"])
        for row in _causes_first(table).to_dict("records")
    ]
    lead = (
        "" if found else "Nothing found: no rule of the diagnosis has anything to say against this network."
    )
    return Section("findings", "Findings", lead, findings=found)


def _causes_first(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings as they were told, causes before what follows from them, but what is info last."""
    harmless = ~findings["severity"].isin(SEVERITIES[:2])
    return findings.loc[harmless.sort_values(kind="stable").index]


def _place(row: Mapping[Any, Any], units: str) -> str:
    """Return where a finding is: layer 0 are the inputs, no layer is the whole network."""
    if row["operation"] == "input":
        parts, units = [], "inputs"
    else:
        parts = [] if math.isnan(row["layer"]) else [f"layer {row['layer']:.0f}"]
        parts += [row["operation"]] if row["operation"] else []
    neurons = row["neurons"].split()
    more = f" and {len(neurons) - MOST_NEURONS:,} more" if len(neurons) > MOST_NEURONS else ""
    units = units.removesuffix("s") if len(neurons) == 1 else units
    parts += [f"{units} {', '.join(neurons[:MOST_NEURONS])}{more}"] if neurons else []
    return " · ".join(parts)


def _network(contents: Contents) -> Section:
    title = "Network"
    if (pinned := contents.table("diagnosis")) is not None:
        lead = "Input and true output pinned, and the stalks between them settled."
        return Section("network", title, lead, figures=[_drawn(contents, pinned, pinned=True)])
    missing = [_missing("diagnosis", "pinned discord")]
    if contents.manifest.get("method") in AT_REST:
        lead = (
            "In this training the inner edges agree at every step, and the output edge has all of the "
            "discord. Where the error sits shows once the true output is pinned."
        )
        return Section("network", title, lead, missing=missing)
    if (logged := contents.table("discord")) is not None:
        last = logged[logged["step"] == logged["step"].max()].reset_index(drop=True)
        lead = f"The training stalks as they were at step {last['step'].iloc[0]:,}."
        return Section(
            "network", title, lead, figures=[_drawn(contents, last, pinned=False)], missing=missing
        )
    return Section("network", title, missing=missing)


def _drawn(contents: Contents, edges: pd.DataFrame, *, pinned: bool) -> Figure:
    """Draw a plain chain as the path that it is, any other network as its graph."""
    if contents.network is None:
        return path_figure(edges, contents.widths, pinned=pinned)
    return graph_figure(contents.network, edges)


def _training(contents: Contents) -> Section:
    title = "Training"
    history, baseline = contents.table("history"), contents.table("baseline")
    discord = contents.table("discord")
    if contents.is_imported:
        return Section("training", title, missing=["No history: the network was trained elsewhere."])
    figures, tables, missing = [], [], []
    if history is not None:
        figures += _side_by_side(loss_figure(history, baseline), accuracy_figure(history, baseline))
        rows = history.iloc[thinned(len(history), 10)]
        tables.append(table_of(rows, HISTORY, "History"))
    else:
        missing.append(_missing("history"))
    if contents.manifest.get("method") in AT_REST:
        lead = "The inner edges agree at every step: all discord over time is that of the output, the loss."
        return Section("training", title, lead, figures=figures, tables=tables, missing=missing)
    if discord is not None:
        figures += [discord_figure(discord), heat_map(discord)]
    else:
        missing.append(_missing("discord", "discord over time"))
    return Section("training", title, figures=figures, tables=tables, missing=missing)


def _diagnosis(contents: Contents) -> Section:
    edges, layers = contents.table("diagnosis"), contents.table("layers")
    operations = contents.table("operations")
    figures: list[Figure] = []
    tables, missing, lead = [], [], ""
    if layers is not None:
        figures += _side_by_side(blame_figure(layers))
        if {"part", "evidence"} <= set(layers):
            # Where there is no evidence, nothing is likeliest.
            layers = layers.assign(part=layers["part"].where(layers["evidence"] >= 1.0, MISSING))
        if "kind" in layers:
            known = layers["kind"].notna() & layers["kind"].ne("")
            layers = (
                layers.assign(kind=[kind_name(str(kind)) for kind in layers["kind"]])
                if known.all()
                else (layers.drop(columns=["kind", "kind_blame"]))
            )
        # Of a graph, blame is of first order: there is neither a kind nor a fit.
        fitted = {"explainable", "fitted_loss"} & set(layers)
        layers = layers.drop(columns=[name for name in fitted if layers[name].isna().all()])
        if "blame" in layers:
            tables.append(table_of(layers, BLAME_COLUMNS, "What each layer alone would explain"))
        tables.append(table_of(layers, LAYER_COLUMNS, "By layer"))
        if "blame" in layers:
            lead = " ".join(words for column, words in BLAME_WORDS if column in layers)
    if edges is not None:
        figures.append(resistance_figure(edges))
        columns = ("edge", "operation", *STATISTICS, "share", "resistance", "excess")
        tables.append(table_of(edges, columns, "By edge"))
    else:
        missing.append(_missing("diagnosis", "pinned discord"))
    if operations is not None:
        tables.append(table_of(operations, ("operation", *STATISTICS, "share"), "By operation"))
    title = "Where the discord sits"
    return Section("diagnosis", title, lead, figures=figures, tables=tables, missing=missing)


def _neurons(contents: Contents) -> Section:
    neurons = contents.table("neurons")
    if neurons is None:
        return Section("neurons", "Neurons", missing=[_missing("neurons")])
    # Of a graph a layer may have several edges of one operation, and only the means are known.
    place = ("layer", "neuron", "operation") if contents.network is None else ("edge", "neuron", "operation")
    known = [name for name in STATISTICS if name in neurons and neurons[name].notna().any()]
    table = _leaders(neurons, (*place, "active", *known, "share"), "Edges of neurons")
    return Section("neurons", "Neurons", figures=[neuron_figure(neurons)], tables=[table])


def _samples(contents: Contents) -> Section:
    samples, classes = contents.table("samples"), contents.table("classes")
    if samples is None:
        return Section("samples", "Samples", missing=[_missing("samples")])
    shown = samples.assign(
        **{
            column: samples[column].map(short)
            for column in ("target", "predicted")
            if column in samples and not are_numbers(samples[column])
        }
    )
    tables = [_leaders(shown, SAMPLE_COLUMNS, "Samples")]
    if classes is not None:
        columns = ("class", "samples", "accuracy", "loss", *STATISTICS, "share")
        tables.insert(0, table_of(classes, columns, "By class"))
    drawn = sample_figure(samples, classified=classes is not None and "target" in samples)
    return Section("samples", "Samples", figures=[drawn], tables=tables)


def _predictions(contents: Contents) -> Section | None:
    """Return how good the predictions are, in the target's terms; older runs have no such section."""
    metrics, confusion = contents.table("metrics"), contents.table("confusion")
    if metrics is None:
        return None
    caption = "Scores by class" if "class" in metrics else "In the target's units"
    drawn = None if confusion is None else confusion_figure(confusion)
    figures = [] if drawn is None else [drawn]
    return Section(
        "predictions", "Predictions", figures=figures, tables=[table_of(metrics, METRICS, caption)]
    )


def _spectrum(contents: Contents) -> Section:
    spectrum = contents.table("spectrum")
    if spectrum is None:
        return Section("spectrum", "Spectrum", missing=[_missing("spectrum")])
    figures = _side_by_side(eigenvalue_figure(spectrum), eigenvector_figure(spectrum))
    columns = ["gap", "largest", "condition"]
    summary = spectrum[columns].agg(["min", "median", "max"]).rename_axis("over_samples").reset_index()
    table = table_of(summary, ["over_samples", *columns], f"Over {len(spectrum):,} samples")
    return Section("spectrum", "Spectrum", figures=figures, tables=[table])


def _difference(contents: Contents) -> Section | None:
    """Return what the last `sheaf diff` found; a run that was never compared has no such section."""
    rows = contents.table("diff")
    if rows is None:
        return None
    rows = rows.assign(significant=rows["significant"] == "True")
    told, lead = contents.diff, ""
    if told:
        lead = f"Compared with {told['other']}, rounding of {told['precision']}: {told['sentence']}."
    shown = rows.assign(
        vertex=rows["operation"],
        local_rms=rows["mean_square"] ** 0.5,
        size=rows["share"].abs(),
        kind_says=rows["kind_says"].str.removeprefix("it looks "),
    ).sort_values(["significant", "size"], ascending=False, kind="stable")
    columns = ["vertex", "local_rms", "times_rounding", "share", "kind_says"]
    if "segment" in rows and (rows["segment"] != rows["operation"]).any():
        columns.append("segment")
        others = zip(shown["segment"].str.split(), shown["operation"], strict=True)
        shown["segment"] = [" ".join(names) if set(names) != {own} else "" for names, own in others]
    caption = f"Operations by their share ({min(ROWS, len(rows)):,} of {len(rows):,}), beyond rounding first"
    table = table_of(shown.head(ROWS), columns, caption)
    return Section("difference", "Another run", lead, figures=[difference_figure(rows)], tables=[table])


def _configuration(contents: Contents) -> Section:
    texts = [Text("config.yaml", contents.to_pass_on(contents.configuration))]
    if notes := contents.manifest.get("notes"):
        texts.append(Text("Notes", contents.to_pass_on("\n".join(notes))))
    for key, title in (("source", "Where the network comes from"), ("versions", "Versions")):
        if entries := contents.manifest.get(key):
            texts.append(Text(title, contents.to_pass_on("\n".join(_lines(entries)))))
    return Section("configuration", "Configuration", texts=texts)


def _lines(entries: Mapping[str, Any], of: str = "") -> Iterator[str]:
    """Yield a line for each entry, and for each of those that an entry has itself."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{of}{name} ")
        else:
            yield f"{of}{name}: {value}"


def _leaders(frame: pd.DataFrame, columns: Iterable[str], what: str) -> Table:
    """Return a table of the rows that carry most."""
    top = most_first(frame).head(ROWS)
    return table_of(top, list(columns), f"{what} that carry most ({len(top):,} of {len(frame):,})")


def _missing(name: str, what: str = "") -> str:
    command = SOURCES[name].command
    argument = "CONFIG" if command == "sheaf train" else "RUN"
    return f"No {what or name}: `{command} {argument}` writes it."


def _side_by_side(*figures: Figure | None) -> list[Figure]:
    """Return those figures that there are, in halves if there are several."""
    there = [figure for figure in figures if figure is not None]
    return [replace(figure, half=True) for figure in there] if len(there) > 1 else there


def _number(value: object) -> float | None:
    """Return a finite number, None for all else that a manifest may hold."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _figure(value: float) -> str:
    return f"{value:.4g}"
