"""What a run has logged, as tables."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory

OPERATIONS = ("affine", "activation", "pool", "normalisation", "multiply", "output")
"""What an edge may do, in the order in which it is told."""
WORDS = ("operation", "edge")
"""The columns that do not hold numbers."""

AT_REST = ("equilibrium", "implicit", "backprop")
"""Methods whose inner edges agree at every step: all discord that they log is the output's, the loss."""
NEEDED = {
    "history.csv": ("step", "seconds", "train_loss"),
    "baseline.csv": ("step", "seconds", "train_loss"),
    "discord.csv": ("step", "layer", *WORDS, "discord", "share"),
}
AGAIN = "train the run again"


class NoRows(InputError):
    """A log that was begun, and has no row yet."""


def has_rows(run: RunDirectory, name: str) -> bool:
    """Say whether a log has a whole row: its header is written before anything is measured."""
    path = run / name
    return path.exists() and bool(_whole_lines(path)[1:])


def read_log(run: RunDirectory, name: str) -> pd.DataFrame:
    """Return history.csv, baseline.csv or discord.csv of a run, numbers exactly as they were written.

    A last row that was cut short, as by a kill, is left out. InputError names the line of what is no
    number, no operation or out of order.
    """
    path = run / name
    if not path.exists():
        raise InputError("the run has not logged this; train it first", path=path)
    lines = _whole_lines(path)
    if not lines:
        raise _damaged(path, "it is empty")
    if len(lines) == 1:
        raise NoRows("the run has logged no row of this yet; train it first", path=path)
    separators = lines[0].count(",")
    for number, line in enumerate(lines, start=1):
        if line.count(",") != separators:
            raise _damaged(path, "another number of values than the header has names", number)
    try:
        log = pd.read_csv(io.StringIO("".join(lines)), skip_blank_lines=False)
    except ValueError as error:
        raise _damaged(path, " ".join(str(error).split())) from error
    for column in NEEDED[name]:
        if column not in log:
            raise _damaged(path, f"no column {column}", 1)
    for column in log.columns:
        _check_column(log[column], path)
    return log


def final_discord(run: RunDirectory) -> pd.DataFrame:
    """Return the rows of discord.csv at the step of the network that was kept, or else at its last."""
    discord = read_log(run, "discord.csv")
    final = run.manifest().get("final") if run.has_run else None
    kept = final.get("step") if isinstance(final, dict) else None
    step = kept if (discord["step"] == kept).any() else discord["step"].max()
    last: pd.DataFrame = discord[discord["step"] == step]
    return last.reset_index(drop=True)


def _whole_lines(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else str(error)
        raise _damaged(path, str(what)) from error
    return [line for line in lines if line.endswith("\n")]


def _check_column(values: pd.Series, path: Path) -> None:
    """Raise InputError at the first line that does not have what the column of this name holds."""
    name = values.name
    if name in WORDS:
        wrong = ~values.isin(OPERATIONS) if name == "operation" else values.isna()
        what = f"no {name}"
    elif name in ("step", "layer"):
        wrong = ~values.astype(str).str.fullmatch(r"\d{1,18}")
        what = f"the {name} is no count"
        if name == "step" and not wrong.any():
            wrong, what = values.diff() < 0, "the step is before that of the line above"
    else:
        numbers = pd.api.types.is_numeric_dtype(values) and values.dtype != np.bool_
        wrong = pd.Series(data=False, index=values.index)
        if not numbers:
            wrong = values.notna() & pd.to_numeric(values.astype(str), errors="coerce").isna()
        what = f"{name} is no number"
    if wrong.any():
        raise _damaged(path, what, int(wrong.to_numpy().argmax()) + 2)


def _damaged(path: Path, what: str, line: int | None = None) -> InputError:
    return InputError(f"the table is damaged ({what}); {AGAIN}", path=path, line=line)
