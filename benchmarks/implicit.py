"""Implicit steps beside other ways to a low loss, on the eight rows of the paper's table, in CPU time.

Every run starts from the reference implementation's own data and He draws, on one thread and in float64:

- implicit: ours, with its defaults; implicit_evidence: with `regularise: evidence`;
- trf: SciPy's least_squares with the exact Jacobian of the residuals, regressions only;
- lbfgs: SciPy's L-BFGS-B, scikit-learn's solver, with our gradient and without its tolerances;
- jax_adam: JAX and optax's Adam in one compiled loop, the better of two learning rates, cosine schedule;
- torch_compiled: PyTorch's Adam with loss and gradient compiled, at one learning rate, cosine schedule. (Its
  eager mode is in training_runs.csv.)

The goal is the training loss where our own back-propagation (Adam, the best of three rates) ended after ten
seconds, as training_runs.csv has it. Compilation is not counted; `compile` has its CPU seconds. Implicit
steps get two seconds, the others ten, unless --budget says otherwise. `last_test` is the test loss of the
network at the end, of implicit steps after one second: without a look at other data. Early stopping takes
the moment of least loss on 2,000 validation samples; test losses are those of 10,000 more.

    python benchmarks/implicit.py [--seeds 5] [--methods implicit,lbfgs] [--budget 10]

Writes benchmarks/results/implicit_runs.csv, a row a run; a run that is there is not repeated.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import contextlib
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize
from training import RUNS as DESCENTS
from training import Row, append, rows

from sheafcli.core.chain.network import Network
from sheafcli.core.chain.training.backprop import BackpropRule
from sheafcli.core.chain.training.layers import Batch, Parameters
from sheafcli.core.chain.training.least_squares import forward, sensitivities
from sheafcli.core.training.implicit import Implicit

RUNS = Path(__file__).resolve().parent / "results" / "implicit_runs.csv"
METHODS = "implicit,implicit_evidence,trf,lbfgs,jax_adam"
OUR_BUDGET, BUDGET = 2.0, 10.0
RATES, COMPILED_RATE = (0.01, 0.03), 0.01
MARKS = (0.1, 1.0, 10.0)
# Looks are this factor apart, and steps of JAX so many a call.
GROWTH, CHUNK = 1.04, 100

Look = tuple[float, Network]


class Spent(Exception):
    """The budget is used up."""


class Stopwatch:
    """CPU seconds of the training alone, and networks at times that grow by GROWTH."""

    def __init__(self, budget: float):
        self.seconds, self.budget, self.looks = 0.0, budget, list[Look]()
        self.compiling = 0.0
        self._due, self._started = 0.0, time.process_time()

    def start(self) -> None:
        """Count from here on."""
        self._started = time.process_time()

    def tick(self, network: Callable[[], Network]) -> None:
        """Note where the training stands; raise Spent at the end of the budget."""
        self.seconds += time.process_time() - self._started
        if self.seconds >= self._due:
            self.looks.append((self.seconds, network()))
            self._due = self.seconds * GROWTH
        if self.seconds >= self.budget:
            raise Spent
        self._started = time.process_time()


def implicit(method: Implicit) -> Callable[[Network, np.ndarray, np.ndarray, Stopwatch], None]:
    """Return what trains by implicit steps."""

    def train(network: Network, X: np.ndarray, y: np.ndarray, clock: Stopwatch) -> None:
        session = method.start(network, X, y)
        while not session.finished:
            session.advance(1)
            clock.tick(session.network)

    return train


def torch_compiled(network: Network, X: np.ndarray, y: np.ndarray, clock: Stopwatch) -> None:
    """Train by PyTorch's Adam with the model compiled."""
    from torch_training import TorchTraining  # noqa: PLC0415  (a benchmark without it runs the others)

    began = time.process_time()
    trial = TorchTraining(network, X, y, "adam", COMPILED_RATE, 10**6, compiled=True)
    trial.advance(CHUNK)
    clock.compiling = time.process_time() - began
    began = time.process_time()
    trial.advance(CHUNK)
    pace = (time.process_time() - began) / CHUNK
    arm = TorchTraining(network, X, y, "adam", COMPILED_RATE, int(clock.budget / pace), compiled=True)
    arm.advance(1)
    clock.start()
    while not arm.finished:
        arm.advance(20)
        clock.tick(arm.network)


def _network(parameters: Parameters, flat: np.ndarray) -> Network:
    parameters.flat[:] = flat
    return parameters.network()


def lbfgs(network: Network, X: np.ndarray, y: np.ndarray, clock: Stopwatch) -> None:
    """Train by L-BFGS-B; where it says that it has converged it begins anew, from there."""
    parameters, shown = Parameters(network, np.float64), Parameters(network, np.float64)
    batch, rule = Batch(network.widths, len(X), np.float64), BackpropRule()
    batch.load(X, y)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters.flat[:] = flat
        rule.evaluate(parameters, batch, None)
        return rule.loss(), parameters.gradient.copy()

    flat, options = parameters.flat.copy(), {"maxiter": 10**9, "maxfun": 10**9, "ftol": 0.0, "gtol": 0.0}
    while True:
        end = minimize(
            loss, flat, jac=True, method="L-BFGS-B", options=options,
            callback=lambda flat: clock.tick(lambda: _network(shown, flat)),
        )  # fmt: skip
        if np.array_equal(end.x, flat):
            return
        flat = end.x


def trf(network: Network, X: np.ndarray, y: np.ndarray, clock: Stopwatch) -> None:
    """Train by a trust region on the residuals; where it has converged it ends."""
    parameters, shown = Parameters(network, np.float64), Parameters(network, np.float64)
    inputs, hard = np.vstack([X.T, np.ones((1, len(X)))]), [0.0] * network.depth

    def residuals(flat: np.ndarray) -> np.ndarray:
        parameters.flat[:] = flat
        return forward(parameters.H, inputs, hard).f.ravel() - y.ravel()

    def jacobian(flat: np.ndarray) -> np.ndarray:
        parameters.flat[:] = flat
        here = forward(parameters.H, inputs, hard)
        M = sensitivities(parameters.W, here.slopes, np.ones((1, 1, len(X))))
        J = [(m * b[np.newaxis]).reshape(-1, len(X)) for m, b in zip(M, here.a, strict=True)]
        clock.tick(lambda: _network(shown, flat))
        return np.concatenate(J).T

    end = least_squares(
        residuals, parameters.flat.copy(), jacobian, method="trf", ftol=None, xtol=1e-15, gtol=None,
        max_nfev=10**9,
    )  # fmt: skip
    clock.looks.append((clock.seconds, _network(shown, end.x)))


def jax_adam(rate: float) -> Callable[[Network, np.ndarray, np.ndarray, Stopwatch], None]:
    """Return what trains by JAX's Adam of a learning rate."""

    def train(network: Network, X: np.ndarray, y: np.ndarray, clock: Stopwatch) -> None:
        import jax  # noqa: PLC0415  (a benchmark without it runs the others)
        import jax.numpy as jnp  # noqa: PLC0415
        import optax  # noqa: PLC0415

        jax.config.update("jax_enable_x64", True)
        inputs, targets = jnp.asarray(X), jnp.asarray(y)
        start = [
            (jnp.asarray(W), jnp.asarray(b)) for W, b in zip(network.weights, network.biases, strict=True)
        ]

        def loss(layers: list) -> jax.Array:
            a = inputs
            for W, b in layers[:-1]:
                a = jax.nn.relu(a @ W.T + b)
            z = a @ layers[-1][0].T + layers[-1][1]
            if network.output.name == "identity":
                return jnp.mean((z - targets) ** 2)
            if network.output.name == "sigmoid":
                return jnp.mean(optax.sigmoid_binary_cross_entropy(z, targets))
            return jnp.mean(optax.softmax_cross_entropy(z, targets))

        def chunk_of(steps: int):
            optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))

            def one(carry, _):
                layers, memory = carry
                updates, memory = optimizer.update(jax.grad(loss)(layers), memory)
                return (optax.apply_updates(layers, updates), memory), None

            @jax.jit
            def chunk(layers, memory):
                return jax.lax.scan(one, (layers, memory), None, length=CHUNK)[0]

            memory = optimizer.init(start)
            return chunk.lower(start, memory).compile(), memory

        def shown(layers: list) -> Network:
            weights, biases = zip(*((np.asarray(W), np.asarray(b)) for W, b in layers), strict=True)
            return Network(weights, biases, network.output)

        began = time.process_time()
        compiled, memory = chunk_of(10**6)
        jax.block_until_ready(compiled(start, memory))
        clock.compiling = time.process_time() - began
        began = time.process_time()
        for _ in range(5):
            jax.block_until_ready(compiled(start, memory))
        pace = (time.process_time() - began) / (5 * CHUNK)
        chunk, memory = chunk_of(int(clock.budget / pace))
        layers = start
        clock.start()
        while True:
            layers, memory = jax.block_until_ready(chunk(layers, memory))
            now = layers
            clock.tick(lambda: shown(now))  # noqa: B023

    return train


def arms(row: Row, methods: list[str]) -> Iterator[tuple[str, float | None, Callable]]:
    """List the runs: method, learning rate, and what trains."""
    plain = {
        "implicit": implicit(Implicit(steps=10**9)),
        "implicit_evidence": implicit(Implicit(steps=10**9, regularise="evidence")),
        "lbfgs": lbfgs,
        "trf": trf,
        "torch_compiled": torch_compiled,
    }
    for method in methods:
        if method == "jax_adam":
            yield from ((method, rate, jax_adam(rate)) for rate in RATES)
        elif method != "trf" or row.task in ("paraboloid", "saddle"):
            yield method, None, plain[method]


def summary(row: Row, looks: list[Look], goal: float, *, ours: bool) -> dict[str, object]:
    """Return the figures of a run: the best training loss so far counts, as it does for ours."""
    data = row.data()
    losses = {
        part: np.array([network.output.loss(network.logits(X), y) for _, network in looks])
        for part, (X, y) in data.items()
    }
    seconds, least = np.array([at for at, _ in looks]), np.minimum.accumulate(losses["train"])
    best = int(np.argmin(losses["validation"]))
    within = np.flatnonzero(seconds <= 1.0)
    early = within[np.argmin(losses["validation"][within])] if len(within) else 0
    found: dict[str, object] = {
        "seconds": seconds[-1], "goal": goal,
        "to_goal": float(seconds[least <= goal][0]) if least[-1] <= goal else np.inf,
        "stopped_at": seconds[best], "stopped_test": losses["large_test"][best],
        "stopped_test_1": losses["large_test"][early],
    }  # fmt: skip
    for mark in MARKS:
        found[f"train_{mark:g}"] = least[max(int(np.searchsorted(seconds, mark, side="right")) - 1, 0)]
    found["last_test"] = losses["large_test"][within[-1] if ours and len(within) else -1]
    return found


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="the first so many starts")
    parser.add_argument("--methods", default=METHODS, help="those to run")
    parser.add_argument("--budget", type=float, help="CPU seconds of a run")
    options = parser.parse_args()
    descents = pd.read_csv(DESCENTS).query("method == 'backprop' and budget == 10")
    goals = descents.groupby(["task", "widths", "seed"])["train"].min()
    known = set()
    if RUNS.exists():
        with RUNS.open(newline="") as file:
            known = {
                (r["task"], r["widths"], r["seed"], r["method"], r["rate"]) for r in csv.DictReader(file)
            }
    for row in rows():
        for method, rate, train in arms(row, options.methods.split(",")):
            name = (*map(str, row.key.values()), method, "" if rate is None else str(rate))
            if row.seed >= options.seeds or name in known:
                continue
            X, y = row.data()["train"]
            ours = method.startswith("implicit")
            clock = Stopwatch(options.budget or (OUR_BUDGET if ours else BUDGET))
            with contextlib.suppress(Spent):
                train(row.network(), X, y, clock)
            goal = float(goals[row.key["task"], row.key["widths"], row.seed])
            append(
                RUNS,
                [
                    row.key
                    | {"method": method, "rate": rate}
                    | summary(row, clock.looks, goal, ours=ours)
                    | {"compile": clock.compiling}
                ],
            )


if __name__ == "__main__":
    main()
