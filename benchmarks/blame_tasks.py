"""Tasks and trained networks in which faults are planted to fit blame, and to measure it.

What is fitted and what is held out was settled before anything was measured:

- fit: networks on synthetic tasks, real tables, half moons and digits, of one to eight hidden layers;
- held_out: networks on tasks that are not there, of one to ten hidden layers, of which five, seven, nine and
  ten are not there, and of other widths.

They are small, and trained in many ways, shortly and long: what long training does to weights is no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from sheafcli.core.chain.network import Network
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.fit import train
from sheafcli.core.training.heat import Heat
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.optimizers import Adam
from sheafcli.core.types import Array
from sheafcli.tasks.synthetic import Blobs, Circular, Paraboloid, Saddle

DATA = Path(__file__).parents[1] / "experiments" / "data"
Rng = np.random.Generator
Drawn = tuple[Array, Array, str]
"""Inputs, targets, and the output's name."""


def one_hot(labels: Array, classes: int) -> Array:
    return labels.reshape(-1, 1).astype(float) if classes == 2 else np.eye(classes)[labels]


def classed(X: Array, labels: Array) -> Drawn:
    classes = int(labels.max()) + 1
    return X, one_hot(labels, classes), "sigmoid" if classes == 2 else "softmax"


def standard(X: Array) -> Array:
    return (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-12)


def synthetic(task: type, n: int, rng: Rng) -> Drawn:
    data = task(n_train=n, n_test=1).load(np.random.SeedSequence(int(rng.integers(1 << 30))), None)
    return data.X_train, data.y_train, data.output


def teacher(n: int, rng: Rng, classes: int) -> Drawn:
    """Draw a random network as the truth, of inputs that are correlated."""
    inputs, outputs = int(rng.integers(3, 25)), classes or int(rng.integers(1, 3))
    X = standard(
        rng.standard_normal((n, inputs)) @ rng.standard_normal((inputs, inputs))
        + rng.standard_normal((n, inputs))
    )
    f = standard(Network.he((inputs, 12, outputs), "identity", rng).logits(X))
    if not classes:
        return X, f + 0.1 * rng.standard_normal(f.shape), "identity"
    return classed(X, np.argmax(f + 0.2 * rng.standard_normal(f.shape), axis=1))


def clusters(n: int, rng: Rng) -> Drawn:
    inputs = int(rng.integers(6, 40))
    classes = int(rng.integers(2, 9))
    X, labels = datasets.make_classification(
        n,
        inputs,
        n_informative=max(5, inputs // 2),
        n_redundant=inputs // 5,
        n_classes=classes,
        n_clusters_per_class=1,
        class_sep=1.5,
        random_state=int(rng.integers(1 << 30)),
    )
    return classed(standard(X), labels)


def friedman(n: int, rng: Rng) -> Drawn:
    X, y = datasets.make_friedman1(
        n, int(rng.integers(5, 12)), noise=0.5, random_state=int(rng.integers(1 << 30))
    )
    return standard(X), standard(y[:, None]), "identity"


def moons(n: int, rng: Rng) -> Drawn:
    X, labels = datasets.make_moons(n, noise=0.15, random_state=int(rng.integers(1 << 30)))
    return classed(standard(X), labels)


def bundled(load: Callable[..., object], classes: bool) -> Callable[[int, Rng], Drawn]:
    def drawn(n: int, rng: Rng) -> Drawn:
        X, y = load(return_X_y=True)
        some = rng.permutation(len(X))[:n]
        X = standard(X[some])
        return classed(X, y[some]) if classes else (X, standard(y[some, None].astype(float)), "identity")

    return drawn


def generated(make: Callable[..., Drawn], classes: bool, **options: object) -> Callable[[int, Rng], Drawn]:
    """Return a task of scikit-learn's that is drawn anew for every network."""

    def drawn(n: int, rng: Rng) -> Drawn:
        X, y = make(n_samples=n, random_state=int(rng.integers(1 << 30)), **options)
        if classes:
            return classed(standard(X), (y > y.min()).astype(int) if len(set(y)) == 2 else y.astype(int))
        return standard(X), standard(y[:, None]), "identity"

    return drawn


def table(name: str, target: str, classes: bool) -> Callable[[int, Rng], Drawn]:
    """Return a table of experiments/data as a task: its numbers tell its target."""

    def drawn(n: int, rng: Rng) -> Drawn:
        rows = pd.read_csv(DATA / f"{name}.csv").dropna()
        rows = rows.iloc[rng.permutation(len(rows))[:n]]
        X = standard(rows.drop(columns=target).select_dtypes("number").to_numpy(dtype=float))
        if classes:
            return classed(X, pd.factorize(rows[target], sort=True)[0])
        return X, standard(rows[[target]].to_numpy(dtype=float)), "identity"

    return drawn


SYNTHETIC = {
    "paraboloid": partial(synthetic, Paraboloid),
    "teacher_values": lambda n, rng: teacher(n, rng, 0),
    "clusters": clusters,
    "friedman": friedman,
    "teacher_classes": lambda n, rng: teacher(n, rng, int(rng.integers(2, 11))),
    "blobs": partial(synthetic, Blobs),
    "saddle": partial(synthetic, Saddle),
    "circular": partial(synthetic, Circular),
}
REAL = {
    "breast_cancer": bundled(datasets.load_breast_cancer, True),
    "diabetes": bundled(datasets.load_diabetes, False),
    "digits": bundled(datasets.load_digits, True),
    "moons": moons,
    "wine": bundled(datasets.load_wine, True),
}
HELD_OUT = {
    "iris": bundled(datasets.load_iris, True),
    "friedman2": generated(datasets.make_friedman2, False),
    "circles": generated(datasets.make_circles, True, noise=0.08, factor=0.5),
    "cars": table("cars", "mpg", False),
    "quantiles": generated(datasets.make_gaussian_quantiles, True, n_features=5, n_classes=4),
    "s_curve": generated(datasets.make_s_curve, False, noise=0.05),
    "penguins": table("penguins", "species", True),
    "friedman3": generated(datasets.make_friedman3, False),
    "hastie": generated(datasets.make_hastie_10_2, True),
}
TASKS = {"fit": SYNTHETIC | REAL, "held_out": HELD_OUT}
# How many hidden layers, and the least and the most that their widths are drawn around.
DEPTHS = {"fit": [1, 2, 3, 4, 6, 8], "held_out": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}
WIDTHS = {"fit": (8, 24), "held_out": (6, 30)}
# On how many samples they are trained.
SAMPLES = {"fit": (60, 300), "held_out": (60, 140)}
# Networks of the fit are trained by heat from this number on.
FIRST_HEATED = 2560
# What seeds begin with.
SEEDS = {"fit": 10, "held_out": 14}


def trained(part: str, number: int) -> tuple[str, Network, Array, Array]:
    """Return the network of a number with its task and the samples of its training."""
    rng = np.random.default_rng([SEEDS[part], number])
    tasks = TASKS[part]
    name = list(tasks)[number % len(tasks)]
    n = int(rng.integers(SAMPLES[part][0], SAMPLES[part][1] + 1))
    X, y, output = tasks[name](n, rng)
    depth = int(rng.choice(DEPTHS[part]))
    width = int(rng.integers(WIDTHS[part][0], WIDTHS[part][1] + 1))
    hidden = (
        [max(4, int(width * rng.uniform(0.6, 1.4)))] * depth
        if rng.random() < 0.6
        else [max(4, int(width * rng.uniform(0.6, 1.4))) for _ in range(depth)]
    )
    start = Network.he((X.shape[1], *hidden, y.shape[1]), output, rng)
    batch = min(64, len(X))
    # As far as it takes, or shorter: what long training does to weights is no fault.
    short, long = number % 2 == 0, float(rng.choice([0.005, 0.01, 0.02]))
    method = [
        Implicit(steps=40 if depth < 5 else 25, weight_decay=float(rng.choice([0.0, 1e-4, 1e-3]))),
        Equilibrium(epochs=40, batch_size=batch, optimizer=Adam(0.005), schedule="cosine")
        if short
        else Equilibrium(steps=int(rng.integers(500, 3000)), optimizer=Adam(long), schedule="cosine"),
        Backprop(epochs=80, batch_size=batch, optimizer=Adam(0.005), schedule="cosine")
        if short
        else Backprop(steps=int(rng.integers(500, 3000)), optimizer=Adam(long), schedule="cosine"),
    ][number // len(tasks) % 3]
    if part == "fit" and number >= FIRST_HEATED:
        method = Heat(time=float(rng.choice([20, 60, 200])), stalks="forward", reset_time=5.0)
    return name, train(start, X, y, method, seed=number).network, X, y
