"""All that `sheaf diagnose` finds out about a run, as tables by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from sheafcli.config.load import load_config
from sheafcli.config.training import TrainingSpec
from sheafcli.core.network import Network
from sheafcli.diagnostics.fault import fault_table
from sheafcli.diagnostics.findings import Examined, Finding, examine, findings_frame
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

    `advance` is called with what is done next, before each of the depth + 4 parts of the work. RunFailed
    says which samples did not reach the tolerance: their discord would say nothing.
    """
    advance("pinned equilibrium")
    diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
    if diagnosis.unsettled:
        raise RunFailed(
            f"{len(diagnosis.unsettled)} of {len(samples.X)} samples did not reach the tolerance: "
            f"{', '.join(map(str, diagnosis.unsettled[:20]))}; nothing is written"
        )
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
        )
    )
    return Examination(network, samples, diagnosis, diagnosis.layers.merge(fault, on="layer"), findings)


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_log(run, "history.csv") if (run / "history.csv").exists() else None


def _training(run: RunDirectory) -> TrainingSpec | None:
    """Return how the run trains; None where its configuration is not whole, as without data."""
    try:
        return load_config(run / "config.yaml").training
    except InputError:
        return None
