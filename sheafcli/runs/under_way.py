"""How far a run is that some other process is at work on, from what it has logged."""

from __future__ import annotations

import os
from pathlib import Path

from sheafcli.config import Config
from sheafcli.config.training import DescentSpec, HeatSpec, ImplicitSpec
from sheafcli.runs.directory import HISTORY, RunDirectory

TAIL = 1024


def share_done(run: RunDirectory, config: Config) -> float:
    """Return the share, from 0 to 1, of a run's steps up to its last logged row, over all its phases."""
    phases = {"training": config.training, "baseline": config.baseline}
    shares = [_share(run / HISTORY[name], spec) for name, spec in phases.items() if spec is not None]
    return sum(shares) / len(shares)


def _share(history: Path, spec: HeatSpec | DescentSpec | ImplicitSpec) -> float:
    row = _last_row(history)
    try:
        return share_at(spec, float(row["step"]), float(row["time"]))
    except (KeyError, ValueError):
        return 0.0


def share_at(spec: HeatSpec | DescentSpec | ImplicitSpec, step: float, time: float) -> float:
    """Return the share of a training that is done at a step and its time; see `Record` for what time is."""
    if spec.steps is not None:
        return min(1.0, step / spec.steps)
    length = spec.time if isinstance(spec, HeatSpec) else spec.epochs
    return min(1.0, time / length) if length is not None else 0.0


def _last_row(history: Path) -> dict[str, str]:
    """Return the last whole row of a log by column; nothing if there is none yet."""
    try:
        with history.open("rb") as file:
            header = file.readline(TAIL).decode()
            file.seek(max(file.tell(), os.fstat(file.fileno()).st_size - TAIL))
            rows = file.read().decode().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return {}
    whole = [row for row in rows if row.endswith("\n")]
    columns = header.strip().split(",")
    return dict(zip(columns, whole[-1].strip().split(","), strict=False)) if whole else {}
