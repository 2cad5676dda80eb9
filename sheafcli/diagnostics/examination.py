"""All that `sheaf diagnose` finds out about a run, as tables by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sheafcli.config.load import load_config
from sheafcli.config.training import TrainingSpec
from sheafcli.core.chain.network import Network
from sheafcli.core.network import AnyNetwork
from sheafcli.core.operation import Learnable
from sheafcli.diagnostics.fault import edge_faults, fault_table, layers_of
from sheafcli.diagnostics.findings import Examined, Finding, examine, findings_frame, leading_cause
from sheafcli.diagnostics.pinned import PinnedDiscord, bytes_of_sample, diagnose
from sheafcli.errors import InputError
from sheafcli.records.logged import read_log
from sheafcli.runs import RunDirectory, RunFailed
from sheafcli.runs.samples import Samples


@dataclass(frozen=True, eq=False)
class Examination:
    """A diagnosis with what it means: `layers` says which of them is at fault, `findings` what is wrong."""

    network: AnyNetwork
    samples: Samples
    diagnosis: PinnedDiscord
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
    run: RunDirectory, network: AnyNetwork, samples: Samples, advance: Callable[[str], object]
) -> Examination:
    """Examine the network of a run, and how it was trained; see `examine_samples`."""
    return examine_samples(
        network,
        samples,
        advance,
        history=_history(run),
        status=run.manifest().get("status"),
        training=_training(run),
    )


def examine_samples(
    network: AnyNetwork,
    samples: Samples,
    advance: Callable[[str], object] = lambda _: None,
    *,
    history: pd.DataFrame | None = None,
    status: str | None = None,
    training: TrainingSpec | None = None,
) -> Examination:
    """Diagnose samples, ask every layer whether it is at fault, and apply the rules.

    `history`, `status` and `training` are what is known of the run that trained the network. `advance` is
    called with what is done next, before each of the `parts` of the work. Samples that
    did not reach the tolerance are left out, since their discord would say nothing, and a finding says
    which. RunFailed if they are more than half; it says what else is the matter, as far as that shows
    without discord.
    """
    check_memory(network)

    def examined(diagnosis: PinnedDiscord) -> Examined:
        return Examined(
            network,
            samples.X,
            samples.y,
            diagnosis,
            other=samples.other,
            part=samples.part,
            other_part=samples.other_part,
            features=samples.features,
            classes=samples.classes,
            history=history,
            status=status,
            training=training,
            start=samples.start,
            places={part: places for part, places in samples.known_places if places is not None},
            word=samples.word,
        )

    advance("pinned equilibrium")
    asked = samples
    samples, diagnosis, unsettled = settled(network, samples)
    if 2 * len(unsettled) > len(asked.X):
        lead = leading_cause(examined(diagnosis))
        raise RunFailed(
            f"{len(unsettled)} of {len(asked.X)} samples did not reach the tolerance: "
            f"{', '.join(map(str, unsettled[:20]))}; nothing is written"
            + (f". {lead.rule}: {lead.evidence} {lead.advice}" if lead else "")
        )
    advance("repairs")
    diagnosis, fault = _blamed(network, samples, diagnosis, lambda: advance("repairs"))
    advance("findings")
    findings = examine(replace(examined(diagnosis), fault=fault, unsettled=unsettled))
    diagnosis = replace(diagnosis, samples=_placed(diagnosis.samples, samples))
    return Examination(
        network, samples, diagnosis, diagnosis.layers.merge(fault, on="layer", how="left"), findings
    )


def settled(network: AnyNetwork, samples: Samples) -> tuple[Samples, PinnedDiscord, tuple[int, ...]]:
    """Diagnose samples without those that did not reach the tolerance, unless these are more than half.

    Returns the samples that are left, their diagnosis, and the places of the others.
    """
    diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
    unsettled = np.asarray(diagnosis.unsettled, dtype=np.intp)
    told = tuple((unsettled if samples.places is None else samples.places[unsettled]).tolist())
    if not len(unsettled) or 2 * len(unsettled) > len(samples.X):
        return samples, diagnosis, told
    rows = np.flatnonzero(diagnosis.settled)
    places = None if samples.places is None else samples.places[rows]
    samples = replace(samples, X=samples.X[rows], y=samples.y[rows], places=places)
    diagnosis = diagnose(network, samples.X, samples.y, samples.classes)
    return samples, replace(diagnosis, samples=diagnosis.samples.assign(sample=rows)), told


def parts(network: AnyNetwork) -> int:
    """Return how many parts the work of `examine_run` has."""
    learnable = sum(isinstance(node.operation, Learnable) for node in network.graph.nodes)
    return 3 + learnable


def check_memory(network: AnyNetwork) -> None:
    """Raise InputError where the work on one sample takes more memory than the machine has.

    Blocks of samples bound it, but a sample is whole: all its stalks, and the largest for every output.
    """
    needed, there = bytes_of_sample(network.graph), total_memory()
    if needed > there:
        raise InputError(
            f"the network has {network.graph.dimension:,} coordinates a sample, for which a diagnosis needs "
            f"{needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f} GB; --limit does not help, "
            "since that is for one sample: give smaller images, or use a larger machine"
        )


def total_memory() -> int:
    """Return the memory of this machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _blamed(
    network: AnyNetwork, samples: Samples, diagnosis: PinnedDiscord, advance: Callable[[], object]
) -> tuple[PinnedDiscord, pd.DataFrame]:
    """Return the table of faults by layer; of a graph's edges the evidence and blame stand beside discord."""
    if isinstance(network, Network):
        return diagnosis, fault_table(network, *samples.trained_on, advance)
    faults = edge_faults(network, *samples.trained_on, advance)
    by_edge = diagnosis.edges.merge(faults[["edge", "evidence", "blame"]], on="edge", how="left")
    return replace(diagnosis, edges=by_edge), layers_of(faults)


def _placed(table: pd.DataFrame, samples: Samples) -> pd.DataFrame:
    """Return a table of samples with where each stands in the user's own data, where that is known."""
    if samples.places is None:
        return table
    table = table.copy()
    table.insert(1, samples.word, samples.places)
    return table


def _history(run: RunDirectory) -> pd.DataFrame | None:
    return read_log(run, "history.csv") if (run / "history.csv").exists() else None


def _training(run: RunDirectory) -> TrainingSpec | None:
    """Return how the run trains; None where its configuration is not whole, as without data."""
    try:
        return load_config(run / "config.yaml").training
    except InputError:
        return None
