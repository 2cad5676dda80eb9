"""What a run has logged, as tables."""

from __future__ import annotations

import pandas as pd

from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory


def read_log(run: RunDirectory, name: str) -> pd.DataFrame:
    """Return history.csv, baseline.csv or discord.csv of a run, numbers exactly as they were written."""
    path = run / name
    if not path.exists():
        raise InputError("the run has not logged this; train it first", path=path)
    try:
        log = pd.read_csv(path)
    except ValueError as error:
        raise InputError(f"the table is damaged ({error}); train the run again", path=path) from error
    if "step" not in log or not pd.api.types.is_integer_dtype(log["step"]):
        raise InputError("the table is damaged (no steps); train the run again", path=path)
    return log


def final_discord(run: RunDirectory) -> pd.DataFrame:
    """Return the rows of discord.csv at its last step."""
    discord = read_log(run, "discord.csv")
    last: pd.DataFrame = discord[discord["step"] == discord["step"].max()]
    return last.reset_index(drop=True)
