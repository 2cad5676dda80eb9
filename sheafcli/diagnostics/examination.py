"""All that `sheaf diagnose` finds out about a run, as tables by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sheafcli.config.load import load_config
from sheafcli.config.training import TrainingSpec
from sheafcli.core.network import Network
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.findings import Examined, Finding, examine, findings_frame
from sheafcli.diagnostics.findings.finding import listed
from sheafcli.diagnostics.findings.output import MOST_NAMED
from sheafcli.diagnostics.logged import read_log
from sheafcli.diagnostics.pinned import Diagnosis, diagnose
from sheafcli.errors import InputError
from sheafcli.runs import RunDirectory, RunFailed
from sheafcli.runs.samples import Samples


@dataclass(frozen=True, eq=False)
class Examination:
    """A diagnosis with what it means: `layers` says which of them is at fault, `findings` what is wrong."""

    network: Network
    samples: Samples
    diagnosis: Diagnosis
    layers: pd.DataFrame
    findings: list[Finding]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by the names of their files, without .csv."""
        found = {
            "diagnosis": self.diagnosis.edges,
            "layers": self.layers,
            "operations": self.diagnosis.operations,
            "neurons": self.diagnosis.neurons,
            "samples": self.diagnosis.samples,
            "findings": findings_frame(self.findings),
        }
        return found if self.diagnosis.classes is None else found | {"classes": self.diagnosis.classes}


def examine_run(
    run: RunDirectory, network: Network, samples: Samples, advance: Callable[[str], object]
) -> Examination:
    """Diagnose samples, ask every layer whether it is at fault, and apply the rules.

    `advance` is called with what is done next, before each of the depth + 4 parts of the work. Samples that
    did not reach the tolerance are left out, since their discord would say nothing, and a finding says
    which; RunFailed if that leaves none.
    """
    advance("pinned equilibrium")
    diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
    unsettled = tuple(diagnosis.unsettled)
    if unsettled:
        samples, diagnosis = _settled(network, samples, diagnosis)
    advance("repairs")
    fault = fault_table(network, *samples.trained_on, lambda: advance("repairs"))
    advance("findings")
    findings = examine(
        Examined(
            network,
            samples.X,
            samples.y,
            diagnosis,
            fault=fault,
            other=samples.other,
            part=samples.part,
            other_part=samples.other_part,
            features=samples.features,
            history=_history(run),
            status=run.manifest().get("status"),
            training=_training(run),
            start=samples.start,
            unsettled=unsettled,
        )
    )
    return Examination(network, samples, diagnosis, diagnosis.layers.merge(fault, on="layer"), findings)


def _settled(network: Network, samples: Samples, diagnosis: Diagnosis) -> tuple[Samples, Diagnosis]:
    """Return the samples that settled, under their own numbers, and their diagnosis."""
    unsettled = diagnosis.unsettled
    rows = np.flatnonzero(diagnosis.extension.converged)
    if len(rows) == 0:
        raise RunFailed(
            f"{len(unsettled)} of {len(samples.X)} samples did not reach the tolerance: "
            f"{listed(unsettled, MOST_NAMED)}; nothing is written"
        )
    samples = replace(samples, X=samples.X[rows], y=samples.y[rows])
    settled = diagnose(network, samples.X, samples.y, samples.classes)
    return samples, replace(settled, samples=settled.samples.assign(sample=rows))


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_log(run, "history.csv") if (run / "history.csv").exists() else None


def _training(run: RunDirectory) -> TrainingSpec | None:
    """Return how the run trains; None where its configuration is not whole, as without data."""
    try:
        return load_config(run / "config.yaml").training
    except InputError:
        return None
