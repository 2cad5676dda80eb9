"""How long the heat equation takes on one sample, beside the spectral gap: the first law's figures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from power_law import fit_line

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Chebyshev
from sheafcli.core.spectrum import spectrum
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array
from sheafcli.diagnostics.diffusion import chain_decay_bound

# The time to shrink the distance by exp(-REDUCTION), about a thousandth; the tail, in shares of the start's.
REDUCTION = 7.0
TAIL = (1e-5, 1e-9)
# A finer tolerance than the integrator's own, which follows a decay to half a percent.
INTEGRATOR = Chebyshev(tolerance=0.01)
MOST_STEPS = 200_000


def timed(network: Network, x: Array, seed: int) -> dict[str, float]:
    """Let random stalks flow to the forward pass of one input x, 1 x n_0, and return the times it took.

    `gap` is the smallest eigenvalue of the final pattern, `smallest` that of all patterns met; `time` is
    the time until the distance is exp(-REDUCTION) of what it was; `constant` is the time constant of the
    tail, from a line through the logs of the distance where it lies in TAIL; `at_kinks` counts neurons
    that the forward pass has at z = 0 exactly.
    """
    gap = float(spectrum(network, x).gap[0])
    forward = Cochain.forward(network, x)
    recorder = Recorder(reference=forward)
    diffuse(
        network,
        x,
        seed=seed,
        integrator=INTEGRATOR,
        steps=MOST_STEPS,
        tolerance=0.1 * TAIL[1] * gap,
        recorder=recorder,
    )
    times = np.array([seen.time for seen in recorder.sightings])
    distances = np.array([seen.distance for seen in recorder.sightings]).ravel()
    constant, time = settling(times, distances)
    return {
        "gap": gap,
        "smallest": chain_decay_bound(network, recorder),
        "time": time,
        "constant": constant,
        "crossings": recorder.crossed,
        "at_kinks": sum(int(np.sum(forward.z[layer] == 0.0)) for layer in forward.a),
    }


def settling(times: Array, distances: Array) -> tuple[float, float]:
    """Return the time constant of a decay's tail, and the time to shrink by exp(-REDUCTION).

    The latter is interpolated where the distance is first so small, its log linear between two looks.
    """
    logs = np.log(distances / distances[0])
    first, last = (int(np.argmax(logs < np.log(share))) for share in TAIL)
    if last <= first:
        raise ArithmeticError(
            f"the distance came to {np.exp(logs[-1]):.1e} of its start, not to {TAIL[1]:.0e}"
        )
    tail = fit_line(times[first:last], logs[first:last])
    k = int(np.argmax(logs <= -REDUCTION))
    share = (logs[k - 1] + REDUCTION) / (logs[k - 1] - logs[k])
    return -1.0 / tail.slope, float(times[k - 1] + share * (times[k] - times[k - 1]))


def times_table(depths: Iterable[int], widths: Iterable[int], draws: int) -> pd.DataFrame:
    """Return a row a network: of every depth and width so many He draws, each with an input of its own."""
    rows = []
    for depth in depths:
        for width in widths:
            for draw in range(draws):
                rng = np.random.default_rng([depth, width, draw])
                network = Network.he([2, *[width] * depth, 1], seed=rng)
                found = timed(network, rng.standard_normal((1, 2)), seed=draw)
                rows.append({"hidden": depth, "width": width, "draw": draw} | found)
    return pd.DataFrame(rows)
