"""Runs for TensorBoard and MLflow: parameters, histories and pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from sheafcli.config.document import DocumentError, parse, write_value
from sheafcli.errors import InputError
from sheafcli.interop.contents import library
from sheafcli.records.logged import has_rows, read_log
from sheafcli.runs import RunDirectory

# MLflow takes so many at once.
METRICS_AT_ONCE, PARAMETERS_AT_ONCE, LONGEST_PARAMETER = 1000, 100, 500
EXPERIMENT, TAG = "sheafcli", "sheafcli.run"
STATUSES = {"finished": "FINISHED", "stopped": "FINISHED", "imported": "FINISHED", "running": "RUNNING"}

Series = Mapping[str, list[tuple[int, float]]]
"""Values by step, of every quantity; quantities are named with slashes, such as discord/affine_1."""


@dataclass(frozen=True)
class Tracked:
    """A run as trackers have it: parameters by dotted keys, series, pictures by name."""

    name: str
    status: str
    started: float
    ended: float | None
    parameters: Mapping[str, str]
    series: Series
    pictures: Mapping[str, Path]

    @classmethod
    def read(cls, run: RunDirectory, name: str) -> Tracked:
        """Read a run directory; InputError where it is damaged."""
        manifest = run.current_manifest()
        ended = _seconds(manifest.get("ended"))
        started = _seconds(manifest.get("started")) or ended or (run / "manifest.json").stat().st_mtime
        pictures = sorted(run.figures.glob("*.png")) if run.figures.is_dir() else []
        return cls(
            name,
            str(manifest.get("status")),
            started,
            ended,
            _parameters(run),
            _series(run),
            {path.stem: path for path in pictures},
        )


def to_tensorboard(runs: Mapping[str, RunDirectory], place: str | None) -> list[str]:
    """Write event files into folders below `place`, by the names of runs; return those that are new.

    `place` is the folder tensorboard unless given. A run whose folder is there is left out.
    """
    for module in ("tensorboard.summary.writer.event_file_writer", "tensorboard.plugins.hparams.summary_v2"):
        library(module, "tensorboard", "writing for TensorBoard")
    written = []
    for name, run in runs.items():
        folder = Path(place or "tensorboard") / name
        if not folder.exists():
            _write_events(Tracked.read(run, name), folder)
            written.append(name)
    return written


def to_mlflow(runs: Mapping[str, RunDirectory], place: str | None) -> list[str]:
    """Log runs to MLflow; return those that are new.

    `place` is a tracking URI, unless given MLflow's own: MLFLOW_TRACKING_URI, or a store in this folder. They
    go to the experiment `sheafcli`. A run that is there by its name is left out.
    """
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # of its database nobody asked
    mlflow = library("mlflow", "mlflow", "logging to MLflow")
    try:
        client = mlflow.MlflowClient(tracking_uri=place)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        number = client.create_experiment(EXPERIMENT) if experiment is None else experiment.experiment_id
        return [name for name, run in runs.items() if _log(mlflow, client, number, name, run)]
    except mlflow.exceptions.MlflowException as error:
        reason = " ".join(str(error).split())
        raise InputError(f"MLflow does not take the runs: {reason}") from error


def export(tool: str, runs: Mapping[str, RunDirectory], place: str | None) -> list[str]:
    """Write runs for a tool, "mlflow" or "tensorboard"; return the names of those that are new there."""
    try:
        return EXPORTS[tool](runs, place)
    except ImportError as error:
        raise InputError(str(error)) from error


EXPORTS: dict[str, Callable[[Mapping[str, RunDirectory], str | None], list[str]]] = {
    "mlflow": to_mlflow,
    "tensorboard": to_tensorboard,
}


def _write_events(tracked: Tracked, folder: Path) -> None:
    # Protocol buffers and writers of tensorboard's own; TensorFlow is not needed.
    from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415
    from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415
    from tensorboard.summary.writer.event_file_writer import EventFileWriter  # noqa: PLC0415

    writer = EventFileWriter(str(folder))
    try:
        writer.add_event(Event(wall_time=tracked.started, summary=hparams_pb(dict(tracked.parameters))))
        for tag, values in tracked.series.items():
            for step, value in values:
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                writer.add_event(Event(wall_time=tracked.started, step=step, summary=summary))
        for name, path in tracked.pictures.items():
            image = Summary.Image(encoded_image_string=path.read_bytes(), colorspace=4)
            summary = Summary(value=[Summary.Value(tag=f"figures/{name}", image=image)])
            writer.add_event(Event(wall_time=tracked.started, summary=summary))
    finally:
        writer.close()


def _log(mlflow: Any, client: Any, experiment: str, name: str, run: RunDirectory) -> bool:
    """Log a run unless one of its name is there; return whether it was not."""
    tag = name.replace("'", "")
    if client.search_runs([experiment], f"tags.`{TAG}` = '{tag}'", max_results=1):
        return False
    tracked = Tracked.read(run, name)
    started = round(1e3 * tracked.started)
    created = client.create_run(experiment, start_time=started, tags={TAG: tag}, run_name=tracked.name)
    number = created.info.run_id
    parameters = [
        mlflow.entities.Param(key, value[:LONGEST_PARAMETER]) for key, value in tracked.parameters.items()
    ]
    for at in range(0, len(parameters), PARAMETERS_AT_ONCE):
        client.log_batch(number, params=parameters[at : at + PARAMETERS_AT_ONCE])
    metrics = [
        mlflow.entities.Metric(tag, value, started, step)
        for tag, values in tracked.series.items()
        for step, value in values
    ]
    for at in range(0, len(metrics), METRICS_AT_ONCE):
        client.log_batch(number, metrics=metrics[at : at + METRICS_AT_ONCE])
    for path in tracked.pictures.values():
        client.log_artifact(number, str(path), "figures")
    ended = None if tracked.ended is None else round(1e3 * tracked.ended)
    client.set_terminated(number, STATUSES.get(tracked.status, "FAILED"), ended)
    return True


def _parameters(run: RunDirectory) -> dict[str, str]:
    """Return the configuration by dotted keys, as it is written."""
    path = run / "config.yaml"
    try:
        value = parse(path.read_text(encoding="utf-8")).value
    except (DocumentError, OSError, UnicodeDecodeError) as error:
        raise InputError(f"the file is damaged ({error})", path=path) from error
    return dict(_flat(value, "")) if isinstance(value, dict) else {}


def _flat(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in section.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", write_value(value)


def _series(run: RunDirectory) -> dict[str, list[tuple[int, float]]]:
    series: dict[str, list[tuple[int, float]]] = {}
    for name, prefix in (("history", ""), ("baseline", "baseline/")):
        if (run / f"{name}.csv").exists() and has_rows(run, f"{name}.csv"):
            table = read_log(run, f"{name}.csv")
            for column in table.select_dtypes(np.number).columns.drop("step"):
                series[f"{prefix}{column}"] = _finite(table["step"], table[column])
    if (run / "discord.csv").exists() and has_rows(run, "discord.csv"):
        table = read_log(run, "discord.csv")
        for edge, rows in table.groupby("edge", sort=False):
            series[f"discord/{edge}"] = _finite(rows["step"], rows["discord"])
    return {tag: values for tag, values in series.items() if values}


def _finite(steps: Any, values: Any) -> list[tuple[int, float]]:
    pairs = zip(steps.tolist(), values.tolist(), strict=True)
    return [(int(step), float(value)) for step, value in pairs if math.isfinite(value)]


def _seconds(time: object) -> float | None:
    try:
        return datetime.fromisoformat(str(time)).timestamp() if time else None
    except ValueError:
        return None
