"""The exact solver, the stabilised integrator and the spectrum by sweeps, each beside what it replaces.

One thread, one run. Prints a table and, with --write, keeps it as benchmarks/results/theory.csv.

    python benchmarks/theory.py [--write]
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import csv
import resource
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from sheafcli.core.chain.cochain import Cochain
from sheafcli.core.chain.diffusion import HeatEquation
from sheafcli.core.chain.extension import extend
from sheafcli.core.chain.network import Network
from sheafcli.core.diffusion import diffuse, start_cochain
from sheafcli.core.integrators import Chebyshev, Euler
from sheafcli.core.outputs import Identity
from sheafcli.core.spectrum import spectrum
from sheafcli.core.sweep import assemble, linearize

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
NEAR = 1e-6


def pinned_discord() -> list[tuple[str, float, str]]:
    """Solve for a pinned equilibrium, and integrate to it by forward Euler."""
    with np.load(GOLDEN / "pinned_paraboloid_sgd.npz") as g:
        network = Network((g["W1"], g["W2"]), (g["b1"], g["b2"]), Identity())
        X, y = g["X"], g["Y"]
    times = []
    for _ in range(301):
        begin = time.perf_counter()
        settled = extend(network, X, target=y)
        times.append(time.perf_counter() - begin)
    exact = float(np.median(times))
    assert settled.converged.all()
    rows = [("pinned discord [2,30,1], 50 samples: exact, ms", 1e3 * exact, "")]
    for name, dt in (("the paper's dt 0.01", 0.01), ("just below its largest stable dt", "auto")):
        begin = time.perf_counter()
        flow = diffuse(network, X, start="forward", target=y, integrator=Euler(dt), tolerance=1e-10)
        seconds = time.perf_counter() - begin
        assert flow.converged.all()
        apart = float(np.max(np.abs(flow.cochain.data - settled.cochain.data)))
        note = f"{1e3 * seconds:.0f} ms, {flow.steps:,} steps, {apart:.0e} apart"
        rows.append((f"  times faster than Euler at {name}", seconds / exact, note))
    return rows


def deep_diffusion() -> list[tuple[str, float, str]]:
    """Count the force evaluations to the forward pass of a network of 30 layers of width 32."""
    network = Network.he([2, *[32] * 30, 1], "identity", 0)
    X = np.random.default_rng(0).normal(size=(1, 2))
    rest = Cochain.forward(network, X)
    largest = float(spectrum(network, X).largest[0])
    rows = []
    for name, integrator, every in (
        ("Runge-Kutta-Chebyshev", Chebyshev(), 1),
        ("forward Euler at 2 / lambda_max", Euler(0.999 * 2.0 / largest), 1000),
    ):
        cochain = start_cochain(network, X, "random", 1)
        equation = HeatEquation(network, X, cochain)
        begin = time.perf_counter()
        for step, _ in enumerate(integrator.steps(equation), start=1):
            if step % every == 0 and np.max(np.abs(cochain.data - rest.data)) < NEAR:
                break
        seconds = time.perf_counter() - begin
        rows.append((f"30 x 32 to 1e-6: {name}, evaluations", equation.evaluations, f"{seconds:.0f} s"))
    return [*rows, ("  times fewer", rows[1][1] / rows[0][1], "bar 5")]


def wide_networks() -> list[tuple[str, float, str]]:
    """Extend and analyse a network of 784 inputs."""
    rng = np.random.default_rng(0)
    network = Network.he([784, 256, 128, 10], "softmax", 0)
    X, y = rng.normal(size=(256, 784)), np.eye(10)[rng.integers(0, 10, 256)]
    begin = time.perf_counter()
    settled = extend(network, X, target=y)
    seconds = time.perf_counter() - begin
    assert settled.converged.all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.perf_counter()
    ends = spectrum(network, X[:20])
    ends_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    at = linearize(network.graph, X[:20])
    singular = np.array([np.linalg.svd(assemble(at, i).toarray(), compute_uv=False) for i in range(20)])
    dense_seconds = time.perf_counter() - begin
    apart = max(
        float(np.max(np.abs(ends.gap / singular[:, -1] ** 2 - 1))),
        float(np.max(np.abs(ends.largest / singular[:, 0] ** 2 - 1))),
    )
    return [
        ("[784,256,128,10], 256 pinned samples: extension, s", seconds, f"peak {peak:.0f} MB, bar 1000"),
        ("  both ends of 20 spectra, by sweeps, s", ends_seconds, f"dense {dense_seconds:.1f} s"),
        ("  sweeps against dense, relative", apart, "bar 1e-8"),
    ]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/theory.csv")
    write = parser.parse_args().write
    rows = [*pinned_discord(), *wide_networks(), *deep_diffusion()]
    table = Table("quantity", "figure", "note")
    for quantity, figure, note in rows:
        table.add_row(quantity, f"{figure:,.4g}" if figure < 1e4 else f"{figure:,.0f}", note)
    Console().print(table)
    if write:
        path = ROOT / "benchmarks" / "results" / "theory.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([("quantity", "figure", "note"), *rows])


if __name__ == "__main__":
    main()
