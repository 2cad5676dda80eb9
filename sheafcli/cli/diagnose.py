"""`sheaf diagnose`: where a network carries its prediction error, what is wrong with it, and where."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from sheafcli.cli.keeping import attempt, tell_unwritten, wants_figures
from sheafcli.cli.options import FiguresOption, FormatOption, RunArgument
from sheafcli.core.pinned import Pinned
from sheafcli.diagnostics.discord import most_first
from sheafcli.diagnostics.examination import Examination, examine_run, parts
from sheafcli.diagnostics.findings.finding import SEVERITIES
from sheafcli.diagnostics.metrics import metrics_table, run_metrics, write_metrics
from sheafcli.render.console import print_notes, say, say_filled, stdout, write_out
from sheafcli.render.examination import examination_tables, headlines
from sheafcli.render.metrics import metrics_tables
from sheafcli.render.progress import working
from sheafcli.render.tables import json_records, show_frame
from sheafcli.runs import RunDirectory
from sheafcli.runs.data_files import changed_data
from sheafcli.runs.files import write_text
from sheafcli.runs.samples import PARTS, Samples
from sheafcli.tasks.metrics import Metrics

MOST_NEURONS, MOST_SAMPLES = 10, 5
FIGURES = ("neurons", "edges", "network", "resistance", "tension")
FAILED_ON = 3
METRICS = ("metrics", "confusion")


def diagnose(
    run: RunArgument,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="test|train|FILE",
            help="Which samples: the run's own, or an .npz file of X and y.",
        ),
    ] = "test",
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Use only the first N samples.")
    ] = None,
    figures: FiguresOption = False,
    format_: FormatOption = "table",
    fail_on: Annotated[
        Literal["warning", "error"] | None,
        typer.Option("--fail-on", help="Exit with status 3 if any finding is at least this severe."),
    ] = None,
) -> None:
    """Show where a network goes wrong, and why.

    Input and true output are pinned, and the stalks between them solved for; every layer is checked for a
    fault. Writes diagnosis.csv (by edge), layers.csv, operations.csv, neurons.csv, samples.csv, classes.csv
    and findings.csv into the run directory, where they can be written. csv prints the edges; json prints
    every table, of neurons and samples only those that carry most.
    """
    directory = RunDirectory.existing(run)
    network = directory.network()
    samples = Samples.choose(directory, network, data, limit)
    print_notes(changed_data(directory))
    drawn = wants_figures(directory, FIGURES, asked=figures)
    with working(parts(network) + drawn) as advance:
        found = examine_run(directory, network, samples, advance)
        metrics = run_metrics(directory, network, found.samples.X, found.samples.y)
        unwritten = attempt(lambda: _write(directory, found, metrics, advance if drawn else None))
    if format_ == "csv":
        show_frame(found.diagnosis.edges, "csv")
    elif format_ == "json":
        _print_json(directory, found, metrics)
    else:
        _print_tables(found, metrics)
        if unwritten is None:
            _say_written(directory, found, drawn=drawn)
    if unwritten is not None:
        tell_unwritten(unwritten)
    if fail_on and any(_at_least(finding.severity, fail_on) for finding in found.findings):
        raise typer.Exit(FAILED_ON)


def _at_least(severity: str, threshold: str) -> bool:
    order: list[str] = list(SEVERITIES)
    return order.index(severity) <= order.index(threshold)


def _write(
    directory: RunDirectory,
    found: Examination,
    metrics: Metrics | None,
    advance: Callable[[str], object] | None,
) -> None:
    """Write the tables, and with `advance` draw pictures; an older classes.csv goes where no classes are."""
    tables = found.tables()
    for name, table in tables.items():
        write_text(directory / f"{name}.csv", table.to_csv(index=False))
    if "classes" not in tables:
        (directory / "classes.csv").unlink(missing_ok=True)
    if metrics is not None:
        write_metrics(directory, metrics)
    if advance is None:
        return
    advance("pictures")
    from sheafcli.render.diagnosis_figures import save_figures  # noqa: PLC0415  # half a second for matplotlib

    directory.make_figures()
    save_figures(found, directory.path.resolve().name, directory.figures)


def _print_json(directory: RunDirectory, found: Examination, metrics: Metrics | None) -> None:
    tables, equilibrium = found.tables(), found.diagnosis.equilibrium
    neurons, samples = (
        most_first(tables[name]).head(most)
        for name, most in (("neurons", MOST_NEURONS), ("samples", MOST_SAMPLES))
    )
    told = {
        "run": str(directory.path),
        "data": found.samples.part,
        "samples": len(found.samples.X),
        "edges": json_records(tables["diagnosis"]),
        "layers": json_records(tables["layers"]),
        "operations": json_records(tables["operations"]),
        "classes": json_records(tables["classes"]) if "classes" in tables else None,
        "metrics": None if metrics is None else json_records(metrics_table(metrics)),
        "worst_neurons": json_records(neurons),
        "worst_samples": json_records(samples),
        "findings": [
            finding | {"neurons": [int(neuron) for neuron in str(finding["neurons"]).split()]}
            for finding in json_records(tables["findings"])
        ],
    }
    if isinstance(equilibrium, Pinned):
        told["leaving"] = float(equilibrium.leaving.mean())
    write_out(json.dumps(told, indent=2, allow_nan=False) + "\n")


def _print_tables(found: Examination, metrics: Metrics | None) -> None:
    console = stdout()
    for line in headlines(found.samples, found.diagnosis):
        say_filled(line)
    told = [] if metrics is None else metrics_tables(metrics, _part(found))
    for table in (*told, *examination_tables(found, MOST_NEURONS, MOST_SAMPLES)):
        console.print()
        console.print(table)
    if not found.findings:
        say("\nNo findings.")


def _part(found: Examination) -> str:
    part = found.samples.part
    return f"{part} part" if part in PARTS else part


def _say_written(directory: RunDirectory, found: Examination, *, drawn: bool) -> None:
    tables = [*found.tables(), *(name for name in METRICS if (directory / f"{name}.csv").exists())]
    written = ", ".join([*(f"{name}.csv" for name in tables), *(["figures/"] if drawn else [])])
    say(f"\nWritten into {directory.path}:")
    say_filled(written, indent="  ")
