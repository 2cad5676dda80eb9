"""What a diffusion's recorder has seen, as tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import State
from sheafcli.core.lanczos import largest_inverse
from sheafcli.core.network import AnyNetwork, as_inputs
from sheafcli.core.spectrum import pattern_gaps
from sheafcli.core.sweep import linearize
from sheafcli.core.trace import Crossing, Recorder
from sheafcli.core.types import Array

# The bound is the smallest gap over the patterns met, the last state's first: over 200 at most, and over
# fewer where their Laplacians are large.
MOST_PATTERNS, FEWEST_PATTERNS, PATTERN_WORK = 200, 10, 20_000


def patterns_for_bound(recorder: Recorder) -> NDArray[np.bool_]:
    """Return the patterns met that `decay_bound` looks at, a row each."""
    patterns = recorder.met_patterns()
    affordable = PATTERN_WORK // max(1, patterns.shape[1])
    return patterns[: min(MOST_PATTERNS, max(FEWEST_PATTERNS, affordable))]


def trace_table(recorder: Recorder) -> pd.DataFrame:
    """Return a row a sighting: step, time, evaluations, energy, distance, discord by edge, outputs.

    `distance` is the largest over samples of the 2-norm to the reference; `output_i` are the coordinates of
    the first sample's z_{k+1}; a watched coordinate has a column such as `z1[3]`.
    """
    rows = []
    for seen in recorder.sightings:
        row: dict[str, object] = {
            "step": seen.step,
            "time": seen.time,
            "evaluations": seen.evaluations,
            "energy": seen.energy,
            "distance": np.nan if seen.distance is None else seen.distance.max(),
        }
        row |= {f"discord_{edge.name}": value for edge, value in seen.discord.items()}
        row |= {f"output_{i}": value for i, value in enumerate(seen.output[0])}
        watched = zip(recorder.watch, seen.watched, strict=True)
        rows.append(row | {f"{name}[{index}]": value for (name, index), value in watched})
    return pd.DataFrame(rows)


def crossings_table(recorder: Recorder) -> pd.DataFrame:
    """Return a row a crossing: step, time, sample, layer, neuron, active (1 if it is now)."""
    columns = list(Crossing.__dataclass_fields__)
    rows = [[getattr(crossing, name) for name in columns] for crossing in recorder.crossings]
    return pd.DataFrame(rows, columns=columns).astype({"active": int})


def decay_bound(network: AnyNetwork, recorder: Recorder, X: Array, goal: Cochain | State) -> float:
    """Return the rate at which the flow decays at least, from the smallest eigenvalue met.

    Of a graph it is that at the equilibrium, `goal`, of inputs X: towards the end the flow is linear.
    """
    if isinstance(network, Network):
        return chain_decay_bound(network, recorder)
    at = linearize(network.graph, as_inputs(network, X), network.graph.split(goal.data))
    return 1.0 / float(largest_inverse(at)[0].max())


def chain_decay_bound(network: Network, recorder: Recorder) -> float:
    """Return the rate at which the flow of a plain chain decays at least, from the smallest eigenvalue g met.

    That is of L_Omega over the patterns that the diffusion went through; pins can only raise it. With an
    output vertex the flow is that of L_Omega and an output edge with the map K, K^2 the Jacobian of phi,
    ||K||^2 <= c: it decays at least as fast as the smallest eigenvalue of [[g + c, -sqrt c], [-sqrt c, 1]].
    """
    smallest = float(pattern_gaps(network, patterns_for_bound(recorder)).min())
    if not network.has_output_vertex:
        return smallest
    edge = np.sqrt(network.output.curvature)
    return float(np.linalg.eigvalsh([[smallest + edge**2, -edge], [-edge, 1.0]])[0])
