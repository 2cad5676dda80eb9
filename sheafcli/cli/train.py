"""`sheaf train`: train from a configuration into a run directory, and show what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from matplotlib.figure import Figure

from sheafcli.cli.options import ConfigArgument, SetOption
from sheafcli.config.training import ImplicitSpec
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.fit import Record
from sheafcli.diagnostics.examination import check_memory, settled
from sheafcli.diagnostics.metrics import run_metrics, write_metrics
from sheafcli.errors import InputError
from sheafcli.records.logged import AT_REST, final_discord, read_log
from sheafcli.render.confusion import confusion_figure
from sheafcli.render.console import print_error, print_notes, remark, say, say_filled, stdout
from sheafcli.render.examination import headlines
from sheafcli.render.figures import discord_figure, loss_figure, save_figure
from sheafcli.render.heat_map import heat_map_figure
from sheafcli.render.learned import learned_figure
from sheafcli.render.metrics import metrics_tables
from sheafcli.render.progress import ProgressView, working
from sheafcli.render.tables import ResultRow, discord_tables, result_table
from sheafcli.runs import Experiment, RunDirectory, conduct
from sheafcli.runs.data_files import changed_data
from sheafcli.runs.samples import Samples
from sheafcli.tasks.metrics import Metrics

MOST_PINNED = 500
"""Of so many test samples the pinned discord is shown; `sheaf diagnose` takes all."""


def train(
    config: ConfigArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="DIR", help="The run directory to write.", show_default="results/NAME"
        ),
    ] = None,
    set_: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run that is there, unless it has finished.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show neither progress nor tables.")] = False,
) -> None:
    """Train the network of a configuration, and write a run directory."""
    if resume and overwrite:
        raise typer.BadParameter("--resume keeps the run that is there and --overwrite replaces it: give one")
    experiment = Experiment.load(config, set_ or ())
    print_notes(experiment.notes)
    run = RunDirectory(output or Path("results") / experiment.config.name)
    resume = resume and run.has_run
    if resume and run.status_of(experiment.config) == "finished":
        remark(f"{run.path}: already finished; --overwrite trains it again")
        print_notes(changed_data(run))
    else:
        _conduct(experiment, run, resume=resume, overwrite=overwrite, quiet=quiet)
    rows = [] if quiet else _result_rows(run)  # of a damaged run nothing is drawn
    _draw(experiment, run)
    metrics = run_metrics(run, run.network(), experiment.task.X_test, experiment.task.y_test)
    if metrics is not None:
        write_metrics(run, metrics)
        path = run.figures / "confusion.png"
        figure = None if path.exists() else confusion_figure(metrics, f"{experiment.config.name}: test part")
        if figure is not None:
            save_figure(figure, path)
    if not quiet:
        at_rest = experiment.config.training.method in AT_REST
        lead, discord = _pinned(run) if at_rest else _of_training(run)
        _show(run, rows, metrics, lead, discord)


def _conduct(
    experiment: Experiment, run: RunDirectory, *, resume: bool, overwrite: bool, quiet: bool
) -> None:
    if not resume:
        run.create(experiment.config, overwrite=overwrite)
    try:
        cycle = CYCLE if isinstance(experiment.config.training, ImplicitSpec) else None
        with ProgressView(quiet=quiet, cycle=cycle) as view:
            message = conduct(experiment, run, view, resume=resume)["message"]
        if message is not None:
            remark(f"{run.path}: {message}")
    except KeyboardInterrupt:
        print_error(f"interrupted; continue with --resume, what was written is in {run.path}")
        raise typer.Exit(1) from None


def _draw(experiment: Experiment, run: RunDirectory) -> None:
    """Draw the pictures of a finished run that are not there yet."""
    name = experiment.config.name
    figures: dict[str, Callable[[], Figure | None]] = {
        "loss": lambda: loss_figure(read_log(run, "history.csv"), _baseline(run), name),
        "learned": lambda: learned_figure(run.network(), experiment.task, name),
    }
    if experiment.config.training.method not in AT_REST:
        figures |= {
            "discord": lambda: discord_figure(read_log(run, "discord.csv"), name),
            "heat_map": lambda: heat_map_figure(read_log(run, "discord.csv"), name),
        }
    run.make_figures()
    for stem, draw in figures.items():
        path = run.figures / f"{stem}.png"
        if not path.exists() and (figure := draw()) is not None:
            save_figure(figure, path)


def _baseline(run: RunDirectory) -> pd.DataFrame | None:
    return read_log(run, "baseline.csv") if (run / "baseline.csv").exists() else None


def _of_training(run: RunDirectory) -> tuple[list[str], pd.DataFrame]:
    """Return what is to be said of the discord of the training stalks, and that."""
    discord = final_discord(run)
    return [f"Discord of the training stalks at step {discord['step'].iloc[0]:,}"], discord


def _pinned(run: RunDirectory) -> tuple[list[str], pd.DataFrame | None]:
    """Return what is to be said of the pinned discord, and that, where the training stalks are at rest."""
    network = run.network()
    try:
        check_memory(network)
        with working(1) as advance:
            advance("pinned discord")
            samples = Samples.choose(run, network, "test", MOST_PINNED)
            samples, diagnosis, unsettled = settled(network, samples)
    except InputError:  # `sheaf diagnose` says what the matter is
        return [], None
    if 2 * len(unsettled) > len(samples.X):
        return [], None
    return headlines(samples, diagnosis), diagnosis.edges


def _show(
    run: RunDirectory,
    rows: list[ResultRow],
    metrics: Metrics | None,
    lead: list[str],
    discord: pd.DataFrame | None,
) -> None:
    console = stdout()
    console.print(result_table(rows))
    for table in [] if metrics is None else metrics_tables(metrics, "test part"):
        console.print()
        console.print(table)
    for line in ["", *lead] if lead else []:
        say_filled(line)
    for table in [] if discord is None else discord_tables(discord):
        console.print()
        console.print(table)
    say(f"\nRun directory: {run.path}")


def _result_rows(run: RunDirectory) -> list[ResultRow]:
    config, manifest = run.config(), run.manifest()
    method = config.training.method
    finals = {"backprop" if method == "backprop" else f"sheaf ({method})": "final"}
    if config.baseline is not None:
        finals[f"baseline ({config.baseline.optimizer})"] = "baseline"
    try:
        return [_result_row(label, dict(manifest[key])) for label, key in finals.items()]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "the manifest is damaged; --overwrite trains the run anew", path=run / "manifest.json"
        ) from error


def _result_row(label: str, final: dict[str, Any]) -> ResultRow:
    seconds = final.pop("seconds")
    return ResultRow(label, Record(**final), seconds)
