"""The paper's two networks, whose stalks relax to the forward pass: what is relaxed, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import OutputForce
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse
from sheafcli.core.integrators import Chebyshev, Euler
from sheafcli.core.trace import Recorder
from sheafcli.core.types import Array
from sheafcli.interop.networks import read_network

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
STEMS = ("convergence_2_4_1", "convergence_sigmoid")
# A relaxation ends when no stalk changes faster, or after so many steps.
REST, MOST_STEPS = 1e-12, 400_000
# Random starts are this many times as large as a standard normal draw.
SPREAD = 2.0


@dataclass(frozen=True, eq=False)
class Case:
    """A network of the reference implementation with inputs, start stalks and its stalks after some steps."""

    stem: str
    label: str
    network: Network
    X: Array
    start: Cochain
    dt: float
    output_force: OutputForce
    after: dict[int, Cochain]

    @classmethod
    def read(cls, stem: str, label: str, file: str) -> Case:
        """Read a case from the file that the reference implementation's arrays are kept in."""
        path = GOLDEN / f"{file}.npz"
        network = read_network(path)
        with np.load(path) as arrays:

            def cochain(prefix: str) -> Cochain:
                named = {key.removeprefix(prefix): arrays[key] for key in arrays if key.startswith(prefix)}
                stalks = {
                    key.replace("a_out", "y"): stalk
                    for key, stalk in named.items()
                    if not key.startswith("discord")
                }
                vertex = network.has_output_vertex
                return Cochain.from_stalks(network.widths, stalks, output_vertex=vertex)

            return cls(
                stem,
                label,
                network,
                arrays["X"],
                cochain("start_"),
                float(arrays["dt"]),
                cast(OutputForce, str(arrays["output_force"])),
                {int(step): cochain(f"step{step}_") for step in arrays["steps"]},
            )

    def forward(self, X: Array) -> Cochain:
        """Return the forward pass of inputs."""
        return Cochain.forward(self.network, X, output_vertex=self.network.has_output_vertex)


def cases() -> list[Case]:
    """Read the paper's two networks."""
    return [
        Case.read(STEMS[0], "[2, 4, 1] identity", "diffuse_free_1h"),
        Case.read(STEMS[1], "[2, 6, 4, 4, 1] sigmoid", "diffuse_free_sigmoid_3h"),
    ]


def relax(case: Case, start: Cochain, X: Array, integrator: Euler | Chebyshev) -> Recorder:
    """Follow the heat equation until no stalk changes faster than REST."""
    recorder = Recorder(reference=case.forward(X))
    diffuse(
        case.network,
        X,
        start=start,
        output_force=case.output_force,
        integrator=integrator,
        steps=MOST_STEPS,
        tolerance=REST,
        recorder=recorder,
    )
    return recorder


def distances(recorder: Recorder) -> tuple[Array, Array]:
    """Return times, and the distance to the forward pass, times x samples."""
    times = np.array([seen.time for seen in recorder.sightings])
    return times, np.array([seen.distance for seen in recorder.sightings])


def wide_start(network: Network, samples: int, *, seed: int) -> Cochain:
    """Return random stalks, SPREAD times as large as a standard normal draw."""
    start = Cochain.random(network.widths, samples, seed, output_vertex=network.has_output_vertex)
    for stalk in start.stalks().values():
        np.multiply(stalk, SPREAD, out=stalk)
    return start
