"""Implicit steps on random small problems: the best loss never rises, nothing is NaN, every run ends.

Widths of 1 to 6, up to six hidden layers, 1 to 12 samples, inputs, targets and weights of scales 1e-3 to 1e3;
in some, samples come twice, in some a whole layer is dead at the start, some decay or give way. A run is a
cycle and a third.

    python benchmarks/implicit_problems.py [--problems 10000] [--first 0]

Prints how many ran and how many failed, with their seeds; exit 1 if any did.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import sys

import numpy as np
from rich.console import Console
from rich.progress import track

from sheafcli.core.chain.network import Network
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.implicit import Implicit

STEPS, LOOKS = CYCLE + 20, 20


def problem(seed: int) -> tuple[Network, np.ndarray, np.ndarray, Implicit]:
    """Draw a network, data and options."""
    rng = np.random.default_rng(seed)
    output = str(rng.choice(["identity", "sigmoid", "softmax"]))
    widths = rng.integers(1, 7, size=rng.integers(2, 9)).tolist()
    if output == "softmax":
        widths[-1] = max(widths[-1], 2)
    n, (x_scale, y_scale, w_scale) = int(rng.integers(1, 13)), 10.0 ** rng.integers(-3, 4, size=3)
    start = Network.he(widths, output, rng)
    biases = [w_scale * rng.normal(size=b.shape) for b in start.biases]
    if start.depth and rng.random() < 0.3:
        biases[rng.integers(start.depth)][:] = -1e6
    network = Network(tuple(w_scale * W for W in start.weights), tuple(biases), start.output)
    X = x_scale * rng.normal(size=(n, widths[0]))
    if rng.random() < 0.3:
        X = X[rng.integers(0, n, size=n)]
    y = {
        "identity": lambda: y_scale * rng.normal(size=(n, widths[-1])),
        "sigmoid": lambda: rng.integers(0, 2, size=(n, widths[-1])).astype(float),
        "softmax": lambda: np.eye(widths[-1])[rng.integers(0, widths[-1], size=n)],
    }[output]()
    options: dict = [{}, {"weight_decay": 0.01}, {"kappa": 1.0}, {"regularise": "evidence"}][rng.integers(4)]
    return network, X, y, Implicit(steps=STEPS, **options)


def trouble(seed: int) -> str | None:
    """Run a problem; say what went wrong."""
    network, X, y, method = problem(seed)
    session = method.start(network, X, y)
    before = session._least
    while not session.finished:
        step = session.step
        session.advance(LOOKS)
        if not session.finished and session.step != step + LOOKS:
            return "steps are missing"
        # With the evidence another measure counts from the end of the first cycle on.
        if session._least > before and not (method.regularise and step < CYCLE <= session.step):
            return f"the loss rose from {before} to {session._least}"
        before = session._least
        if not all(np.isfinite(array).all() for array in session.state().values()):
            return "the state is not finite"
    trained = session.network()
    finite = np.isfinite(trained.output.loss(trained.logits(X), y)) and np.isfinite(session.energy())
    return None if finite else "loss or energy are not finite"


def main() -> None:
    """Run them all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", type=int, default=10_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    options = parser.parse_args()
    failed = 0
    seeds = range(options.first, options.first + options.problems)
    for seed in track(seeds, "problems", console=Console(stderr=True)):
        try:
            told = trouble(seed)
        except Exception as error:  # whatever it is, it is to be told
            told = repr(error)
        if told is not None:
            failed += 1
            print(f"seed {seed}: {told}", flush=True)
        if (seed + 1) % 100 == 0:
            print(f"{seed + 1 - options.first} ran, {failed} failed", flush=True)
    print(f"{options.problems} ran, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
