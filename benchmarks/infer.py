"""How good are inferred inputs? Beside what else finds counterfactuals, and what else fills in missing cells.

*Changes.* The least change of a row, in units of the covariance of the training inputs, that makes a network
give the value of another row: by `infer`, and by L-BFGS on |w|^2 / 2 + penalty (f - y)^2 / 2 from 100 random
starts, of which the smallest change that hits the target counts. Networks: trained on the diabetes table, one
and two hidden layers, and random ones. Counted are the rows that hit the target to 1% of its spread, the
ratio of the changes, and CPU seconds a row.

*Missing cells.* A fifth of the cells of test rows is removed, their targets are known. Filled in by the mean,
by scikit-learn's IterativeImputer (fitted on training and test rows, the target among the columns), and by
`infer` with a network trained on the training rows. Scored is the root mean square error of the removed cells
in standard deviations. Where a class is known the prior is that of the class.

Penguins and cars are among the tables if the packages palmerpenguins and vega_datasets are there.

    python benchmarks/infer.py [--rows 100] [--restarts 100] [--seeds 5] [--part changes|cells|picture]

Writes benchmarks/results/infer_changes.csv and infer_cells.csv; the picture is docs/images/infer.png.
"""

from __future__ import annotations

import argparse
import time
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from rich.console import Console
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import sheafcli as sc
from sheafcli.core.inference.gaussian import Gaussian
from sheafcli.core.network import AnyNetwork
from sheafcli.core.types import Array
from sheafcli.render.style import INK, add_legend, new_figure, save_figure
from sheafcli.render.tables import frame_table

RESULTS = Path(__file__).parent / "results"
PENALTY, HIT = 1e4, 0.01


def scaled(X: Array) -> Array:
    return np.asarray((X - X.mean(axis=0)) / X.std(axis=0))


def fitted(X: Array, y: Array, hidden: list[int], output: str, seed: int, hold: int) -> sc.Network:
    """Train a network by Adam; of several numbers of epochs the last `hold` rows choose."""
    start = sc.Network.he([X.shape[1], *hidden, y.shape[1]], output=output, seed=seed)
    trials = []
    for epochs in (5, 10, 20, 40, 80):
        method = sc.Backprop(epochs=epochs, optimizer=sc.Adam(0.01), batch_size=32)
        network = sc.train(start, X[:-hold], y[:-hold], method).network
        trials.append((network.output.loss(network.logits(X[-hold:]), y[-hold:]), epochs, network))
    return min(trials, key=lambda trial: trial[:2])[2]


def subjects() -> dict[str, tuple[AnyNetwork, Array]]:
    """Return networks with one output, and the inputs that they are asked about."""
    X, y = load_diabetes(return_X_y=True)
    X, y = scaled(X), scaled(y[:, None])
    rng = np.random.default_rng(0)
    mixed = scaled(rng.normal(size=(442, 8)) @ rng.normal(size=(8, 8)))
    return {
        "diabetes [10, 20, 1]": (fitted(X, y, [20], "identity", 0, 88), X),
        "diabetes [10, 20, 20, 1]": (fitted(X, y, [20, 20], "identity", 1, 88), X),
        "random [8, 20, 20, 1]": (sc.Network.he([8, 20, 20, 1], seed=1), mixed),
    }


def smallest(
    network: sc.Network, x: Array, y: float, spread: float, root: Array, restarts: int, seed: int
) -> float:
    """Return the smallest change that L-BFGS finds among those that hit the target, else infinity."""
    rng, best = np.random.default_rng(seed), np.inf

    def cost(w: Array) -> tuple[float, Array]:
        a, passed = x + root @ w, []
        for W, b in zip(network.weights[:-1], network.biases[:-1], strict=True):
            z = W @ a + b
            passed.append(z > 0.0)
            a = np.maximum(z, 0.0)
        miss = (network.weights[-1] @ a + network.biases[-1] - y) / spread
        slope = network.weights[-1].T @ (PENALTY * miss / spread)
        for W, active in zip(network.weights[-2::-1], passed[::-1], strict=True):
            slope = W.T @ (slope * active)
        return float(0.5 * w @ w + 0.5 * PENALTY * miss @ miss), w + root.T @ slope

    for _ in range(restarts):
        w = minimize(cost, rng.normal(size=root.shape[1]), jac=True, method="L-BFGS-B").x
        if abs(network.predict((x + root @ w)[None])[0, 0] - y) <= HIT * spread:
            best = min(best, float(np.linalg.norm(w)))
    return best


def changes(rows: int, restarts: int) -> pd.DataFrame:
    """Compare least changes, row by row."""
    found = []
    for name, (network, X) in subjects().items():
        f = network.predict(X)
        spread, rng = float(f.std()), np.random.default_rng(7)
        chosen = rng.choice(len(X), size=rows, replace=False)
        y = f[rng.permutation(chosen)]
        began = time.process_time()
        answer = sc.infer(network, X[chosen], target=y, prior=X, scale=spread)
        ours = (time.process_time() - began) / rows
        missed = np.abs(answer.output - y)[:, 0] / spread
        root = Gaussian.of(X).root
        for i in range(rows):
            began = time.process_time()
            other = smallest(network, X[chosen[i]], float(y[i, 0]), spread, root, restarts, i)
            theirs = time.process_time() - began
            found.append((name, missed[i], answer.inferred.distance[i], other, ours, theirs))
    columns = ["network", "missed", "change", "lbfgs_change", "seconds", "lbfgs_seconds"]
    return pd.DataFrame(found, columns=columns)


def summary_of_changes(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a network."""
    ratio = frame["change"] / frame["lbfgs_change"]
    frame = frame.assign(ratio=ratio, hit=frame["missed"] <= HIT, no_more=ratio <= 1.001)
    grouped = frame.groupby("network", sort=False)
    return pd.DataFrame(
        {
            "rows": grouped.size(),
            "hit": grouped["hit"].sum(),
            "no_more": grouped["no_more"].sum(),
            "median_ratio": grouped["ratio"].median(),
            "largest_ratio": grouped["ratio"].max(),
            "seconds": grouped["seconds"].mean(),
            "lbfgs_seconds": grouped["lbfgs_seconds"].mean(),
        }
    ).reset_index()


def tables() -> dict[str, tuple[Array, Array, str]]:
    """Return small tables: standardised inputs, encoded targets, and the output that fits them."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    wine, kinds = load_wine(return_X_y=True)
    cancer, malign = load_breast_cancer(return_X_y=True)
    found = {
        "diabetes": (scaled(X), scaled(y[:, None]), "identity"),
        "wine": (scaled(wine), np.eye(3)[kinds], "softmax"),
        "breast cancer, 10 columns": (scaled(cancer[:, :10]), malign[:, None].astype(float), "sigmoid"),
    }
    if find_spec("palmerpenguins"):
        penguins = import_module("palmerpenguins").load_penguins().dropna()
        measured = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
        species = pd.get_dummies(penguins["species"]).to_numpy(dtype=float)
        found["penguins"] = (scaled(penguins[measured].to_numpy()), species, "softmax")
    if find_spec("vega_datasets"):
        cars = import_module("vega_datasets").data.cars().dropna()
        measured = ["Cylinders", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration"]
        miles = cars[["Miles_per_Gallon"]].to_numpy()
        found["cars"] = (scaled(cars[measured].to_numpy(dtype=float)), scaled(miles), "identity")
    return found


def by_class(X: Array, y: Array, wanted: Array) -> tuple[Array, Array]:
    """Return the mean of the class that is wanted of each row, and the covariance within classes."""
    labels, of_rows = (codes[:, 0] if codes.shape[1] == 1 else codes.argmax(axis=1) for codes in (y, wanted))
    kinds, places = np.unique(labels, return_inverse=True)
    means = np.stack([X[labels == kind].mean(axis=0) for kind in kinds])
    return means[np.searchsorted(kinds, of_rows)], np.cov((X - means[places]).T)


def cells(seeds: int) -> pd.DataFrame:
    """Compare how well removed cells are filled in."""
    found = []
    for name, (X, y, output) in tables().items():
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(X))
            test, hold, train = np.split(order, [len(X) // 5, 2 * len(X) // 5])
            known = np.concatenate([train, hold])
            network = fitted(X[known], y[known], [8], output, seed, len(hold))
            removed = rng.random(X[test].shape) < 0.2
            lacking = np.where(removed, np.nan, X[test])
            mean = np.broadcast_to(X[known].mean(axis=0), lacking.shape)
            stacked = np.vstack([np.hstack([X[known], y[known]]), np.hstack([lacking, y[test]])])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                iterated = IterativeImputer(random_state=0, max_iter=30).fit_transform(stacked)
            iterated = iterated[len(known) :, : X.shape[1]]
            error = 1.0
            if output == "identity":
                error = float(np.sqrt(np.mean((network.predict(X[hold]) - y[hold]) ** 2)))
            asked = removed.any(axis=1)
            filled = lacking.copy()
            prior = X[known] if output == "identity" else by_class(X[known], y[known], y[test][asked])
            answer = sc.infer(
                network,
                lacking[asked],
                target=y[test][asked],
                prior=prior,
                stiffness=1.0,
                scale=error,
                free=removed[asked],
            )
            filled[asked] = answer.X
            scores = {
                key: float(np.sqrt(np.mean((values - X[test])[removed] ** 2)))
                for key, values in (("mean", mean), ("iterative_imputer", iterated), ("infer", filled))
            }
            found.append({"table": name, "seed": seed, "cells": int(removed.sum())} | scores)
    return pd.DataFrame(found)


def picture() -> None:
    """Draw the least change of two inputs: where the network gives the target, and the prior around a row."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 2)) @ np.array([[1.0, 0.55], [0.0, 0.75]])
    y = (X[:, :1] ** 2 + X[:, 1:] ** 2) / 2.0
    network = sc.train(sc.Network.he([2, 12, 1], seed=4), X, y, sc.Implicit(steps=100)).network
    x, target = np.array([[-0.4, -0.3]]), 1.6
    found = sc.infer(network, x, target=np.array([[target]]), prior=X)
    figure, (axes,) = new_figure("The least change that gives the target", n_panels=1, size=(6.8, 5.4))
    axis = np.linspace(-3.2, 3.2, 321)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    f = network.predict(grid).reshape(len(axis), -1)
    shown = axes.contourf(axis, axis, f, levels=16, cmap="Greys", alpha=0.45)
    axes.contour(axis, axis, f, levels=[target], colors="#b03a2e", linewidths=2.0)
    off = np.linalg.solve(np.linalg.cholesky(np.cov(X.T)), (grid - x).T)
    distance = np.linalg.norm(off, axis=0).reshape(len(axis), -1)
    reached = float(found.inferred.distance[0])
    axes.contour(
        axis, axis, distance, levels=[reached / 3, 2 * reached / 3, reached], colors="#00629b", linewidths=1.0
    )
    axes.plot(*X.T, ".", color="#7a8794", markersize=3, alpha=0.6)
    axes.annotate("", found.X[0], x[0], arrowprops={"arrowstyle": "->", "linewidth": 1.8, "color": INK})
    axes.plot(*x[0], "o", color=INK)
    axes.plot(*found.X[0], "o", color="#b03a2e")
    handles = [
        Line2D([], [], color="#b03a2e", linewidth=2.0, label=f"network gives {target}"),
        Line2D([], [], color="#00629b", label="equally far"),
        Line2D([], [], color="#7a8794", marker=".", linestyle="", label="training inputs"),
    ]
    add_legend(axes, handles, "below")
    axes.set_xlabel("first input")
    axes.set_ylabel("second input")
    axes.set_aspect("equal")
    figure.colorbar(shown, ax=axes, label="what the network gives", shrink=0.8, ticks=range(0, 10, 2))
    save_figure(figure, RESULTS.parents[1] / "docs" / "images" / "infer.png")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--restarts", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--part", choices=["changes", "cells", "picture"])
    given = parser.parse_args()
    console = Console(width=110)
    if given.part in (None, "picture"):
        picture()
    if given.part in (None, "cells"):
        frame = cells(given.seeds)
        frame.to_csv(RESULTS / "infer_cells.csv", index=False)
        console.print(
            frame_table(
                frame.drop(columns="seed").groupby("table", sort=False).mean().reset_index(), "Removed cells"
            )
        )
    if given.part in (None, "changes"):
        frame = changes(given.rows, given.restarts)
        frame.to_csv(RESULTS / "infer_changes.csv", index=False)
        console.print(frame_table(summary_of_changes(frame), "Least changes"))


if __name__ == "__main__":
    main()
