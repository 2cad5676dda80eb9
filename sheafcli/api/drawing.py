"""Pictures from a notebook."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from sheafcli.api.diagnosing import Diagnosis
from sheafcli.core.training.fit import Fit
from sheafcli.diagnostics.difference import Comparison
from sheafcli.records.logged import read_log
from sheafcli.render.diagnosis_figures import FIGURES
from sheafcli.render.difference import difference_figure
from sheafcli.render.figures import discord_figure, loss_figure
from sheafcli.runs.directory import RunDirectory


def plot(result: Fit | Diagnosis | Comparison | Path | str, kind: str | None = None) -> Figure:
    """Draw a result. In a notebook the figure shows itself; ``figure.savefig("a.png")`` writes it.

    Parameters
    ----------
    result
        What `train`, `diagnose` or `diff` returned; or the directory of a run, for its training.
    kind
        Which picture. Of a fit "loss". Of a diagnosis "resistance" (unless given), "neurons", "tension", and
        "edges" for a plain chain or "network" for another. Of a comparison "difference". Of a run "loss"
        (unless given) or "discord".

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> fit = sc.train(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1), sc.Implicit(steps=20))
    >>> sc.plot(fit).savefig("loss.png")  # doctest: +SKIP
    >>> sc.plot(sc.diagnose(fit.network, X, (X**2).sum(axis=1)), "neurons")  # doctest: +SKIP
    """
    if isinstance(result, Fit):
        _known(kind, ["loss"], "a fit")
        return loss_figure(pd.DataFrame([asdict(record) for record in result.history]), None, "training")
    if isinstance(result, Diagnosis):
        title = f"diagnosis of {len(result.samples):,} samples"
        chosen = _known(kind, list(FIGURES), "a diagnosis")
        return FIGURES[chosen](result.examination, title)
    if isinstance(result, Comparison):
        _known(kind, ["difference"], "a comparison")
        return difference_figure(result, "differences")
    if isinstance(result, Path | str):
        run = RunDirectory.existing(Path(result))
        if _known(kind, ["loss", "discord"], "a run") == "discord":
            return discord_figure(read_log(run, "discord.csv"), run.path.name)
        baseline = read_log(run, "baseline.csv") if (run / "baseline.csv").exists() else None
        return loss_figure(read_log(run, "history.csv"), baseline, run.path.name)
    raise TypeError(
        f"plot draws what train, diagnose or diff returned, or a run directory; got {type(result).__name__}"
    )


def _known(kind: str | None, kinds: list[str], what: str) -> str:
    if kind is not None and kind not in kinds:
        raise ValueError(f"no picture of {what} is called {kind!r}; there is {', '.join(kinds)}")
    return kind or kinds[0]
