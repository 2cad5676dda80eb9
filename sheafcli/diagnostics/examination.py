"""All that `sheaf diagnose` finds out about a run, as tables by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sheafcli.config.load import load_config
from sheafcli.config.training import TrainingSpec
from sheafcli.core.chain.network import Network
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.findings import Examined, Finding, examine, findings_frame, leading_cause
from sheafcli.diagnostics.pinned import Diagnosis, diagnose
from sheafcli.errors import InputError
from sheafcli.records.logged import read_log
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
    which. RunFailed if they are more than half; it says what else is the matter, as far as that shows
    without discord.
    """
    advance("pinned equilibrium")
    diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
    unsettled = tuple(diagnosis.unsettled)
    if 2 * len(unsettled) > len(samples.X):
        lead = leading_cause(_examined(run, network, samples, diagnosis))
        raise RunFailed(
            f"{len(unsettled)} of {len(samples.X)} samples did not reach the tolerance: "
            f"{', '.join(map(str, unsettled[:20]))}; nothing is written"
            + (f". {lead.rule}: {lead.evidence} {lead.advice}" if lead else "")
        )
    if unsettled:
        rows = np.flatnonzero(diagnosis.extension.converged)
        samples = replace(samples, X=samples.X[rows], y=samples.y[rows])
        diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
        diagnosis = replace(diagnosis, samples=diagnosis.samples.assign(sample=rows))
    advance("repairs")
    fault = fault_table(network, *samples.trained_on, lambda: advance("repairs"))
    advance("findings")
    examined = _examined(run, network, samples, diagnosis)
    findings = examine(replace(examined, fault=fault, unsettled=unsettled))
    return Examination(network, samples, diagnosis, diagnosis.layers.merge(fault, on="layer"), findings)


def _examined(run: RunDirectory, network: Network, samples: Samples, diagnosis: Diagnosis) -> Examined:
    return Examined(
        network,
        samples.X,
        samples.y,
        diagnosis,
        other=samples.other,
        part=samples.part,
        other_part=samples.other_part,
        features=samples.features,
        history=_history(run),
        status=run.manifest().get("status"),
        training=_training(run),
        start=samples.start if isinstance(samples.start, Network) else None,
    )


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_log(run, "history.csv") if (run / "history.csv").exists() else None


def _training(run: RunDirectory) -> TrainingSpec | None:
    """Return how the run trains; None where its configuration is not whole, as without data."""
    try:
        return load_config(run / "config.yaml").training
    except InputError:
        return None
