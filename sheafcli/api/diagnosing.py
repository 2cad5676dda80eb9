"""A diagnosis from a notebook."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from sheafcli.api.html import shown
from sheafcli.api.training import targets
from sheafcli.core.network import AnyNetwork, as_inputs, check_samples
from sheafcli.core.types import Array
from sheafcli.diagnostics.examination import Examination, examine_run, examine_samples
from sheafcli.diagnostics.findings import findings_frame
from sheafcli.render.examination import examination_tables, headlines
from sheafcli.render.numbers import MISSING
from sheafcli.runs.directory import RunDirectory
from sheafcli.runs.samples import Samples

MOST_NEURONS, MOST_SAMPLES = 5, 5
WIDTH = 80


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Where a network carries its error, and what is wrong with it. `print` shows all of it.

    Each table has the columns of the file of the same name that `sheaf diagnose` writes.

    Attributes
    ----------
    edges, operations, neurons, samples
        Pinned discord by edge, by operation, by neuron, by sample.
    layers
        By layer: pinned discord, and how likely the layer alone is at fault (`blame`, `evidence`).
    classes
        By class; None for a regression.
    findings
        What the rules found, worst first: severity, rule, place, evidence, advice.
    examination
        All that the tables were made of.

    Examples
    --------
    >>> print(sc.diagnose("results/paraboloid"))  # doctest: +SKIP
    >>> sc.diagnose(network, X, y).findings[["severity", "rule", "advice"]]  # doctest: +SKIP
    """

    examination: Examination

    @property
    def edges(self) -> pd.DataFrame:
        """Pinned discord by edge, beside the share of the resistance."""
        return self.examination.diagnosis.edges

    @property
    def layers(self) -> pd.DataFrame:
        """Pinned discord by layer, and how likely each alone is at fault."""
        return self.examination.layers

    @property
    def operations(self) -> pd.DataFrame:
        """Pinned discord by operation."""
        return self.examination.diagnosis.operations

    @property
    def neurons(self) -> pd.DataFrame:
        """Pinned discord by neuron."""
        return self.examination.diagnosis.neurons

    @property
    def samples(self) -> pd.DataFrame:
        """Pinned discord by sample, with loss, target and prediction."""
        return self.examination.diagnosis.samples

    @property
    def classes(self) -> pd.DataFrame | None:
        """Pinned discord, loss and accuracy by class; None for a regression."""
        return self.examination.diagnosis.classes

    @property
    def findings(self) -> pd.DataFrame:
        """What the rules found, a row a finding, worst first."""
        return findings_frame(self.examination.findings)

    def __repr__(self) -> str:
        counts = self.findings["severity"].value_counts()
        told = ", ".join(f"{counts[name]} {name}" for name in ("error", "warning", "info") if name in counts)
        n = len(self.samples)
        return (
            f"Diagnosis({n:,} samples, mean discord {self.samples['discord'].mean():.4g}; "
            f"findings: {told or 'none'})"
        )

    def __str__(self) -> str:
        text = io.StringIO()
        console = Console(
            file=text, width=WIDTH, color_system=None, highlight=False, markup=False, emoji=False
        )
        for line in headlines(self.examination.samples, self.examination.diagnosis):
            console.print(line)
        for table in examination_tables(self.examination, MOST_NEURONS, MOST_SAMPLES):
            console.print()
            console.print(table)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _repr_html_(self) -> str:
        layers = self.layers.reindex(
            columns=["layer", "blame", "evidence", "part", "repaired_loss", "share", "resistance"]
        )
        # As in the terminal: where there is no evidence, no part is likeliest; what is left is blame of none.
        layers["part"] = layers["part"].where(layers["evidence"] >= 1.0, MISSING)
        none = {"layer": "none", "blame": max(0.0, 1.0 - layers["blame"].sum())}
        layers = pd.concat([layers.astype({"layer": str}), pd.DataFrame([none])], ignore_index=True)
        edges = self.edges[["edge", "discord", "share", "resistance", "excess"]]
        told = self.findings.drop(columns="neurons")
        return shown(repr(self), {"Findings": told, "Layers": layers, "Edges": edges})


def diagnose(
    network: AnyNetwork | Path | str,
    X: Array | None = None,
    y: Array | None = None,
    *,
    X_train: Array | None = None,
    y_train: Array | None = None,
    features: Sequence[str] = (),
    classes: Sequence[str] = (),
) -> Diagnosis:
    """Show where a network falters, and what is wrong with it, as `sheaf diagnose` does.

    Input and true output are pinned, and the stalks between them solved for. Where a network disagrees with
    itself then is its discord. Every layer is asked whether it is at fault, and rules name causes.

    Parameters
    ----------
    network
        A network, however it was trained; or the directory of a run, whose test samples are taken.
    X, y
        Samples to look at, best such as were not trained on: inputs, samples x features, and true targets.
    X_train, y_train
        Samples that the network was trained on, if there are others. Faults are looked for there.
    features, classes
        Names of the inputs and of the classes, for tables and findings.

    Returns
    -------
    Diagnosis
        With the tables `layers`, `findings`, `edges`, `neurons`, `samples`, `classes`. Nothing is written.

    Examples
    --------
    >>> import numpy as np, sheafcli as sc
    >>> X = np.random.default_rng(0).uniform(-2, 2, size=(50, 2))
    >>> diagnosis = sc.diagnose(sc.Network.he([2, 8, 1]), X, (X**2).sum(axis=1))
    >>> diagnosis.edges["edge"].tolist()
    ['affine_1', 'activation_1', 'affine_2']
    """
    if isinstance(network, Path | str):
        if X is not None or y is not None:
            raise ValueError(
                "a run has samples of its own: give its network, sc.load(run), to look at others"
            )
        run = RunDirectory.existing(Path(network))
        own = run.network()
        return Diagnosis(examine_run(run, own, Samples.choose(run, own, "test", None), lambda _: None))
    if X is None or y is None:
        raise ValueError("give the samples to look at: X, samples x features, and y, their true targets")
    if (X_train is None) != (y_train is None):
        raise ValueError("give X_train and y_train, or neither")
    seen = _checked(network, X, y, "y")
    other = None if X_train is None else _checked(network, X_train, y_train, "y_train")
    part, other_part = ("given", "") if other is None else ("test", "train")
    samples = Samples(*seen, part, other, other_part, tuple(features), tuple(classes))
    return Diagnosis(examine_samples(network, samples))


def _checked(network: AnyNetwork, X: Array, y: Array | None, name: str) -> tuple[Array, Array]:
    """Return inputs, samples x features, and targets, samples x outputs."""
    inputs, outputs = as_inputs(network, X), targets(network, y, name)
    inputs = inputs.reshape(len(inputs), -1)
    check_samples(network, inputs, outputs)
    return inputs, outputs
