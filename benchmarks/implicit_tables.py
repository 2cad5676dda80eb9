"""Implicit steps on real tables beside scikit-learn, which neither is given validation data: five splits.

A quarter of each table is held out, features (and the target of a regression) are standardised by the rest,
and the networks have one hidden layer of 16:

- implicit: `regularise: evidence`, eight cycles (digits: two, in three splits, as a step takes a third of a
  second there);
- adam, lbfgs: scikit-learn's MLP by these solvers, at its defaults but for 2,000 iterations;
- boosting: scikit-learn's gradient boosting at its defaults.

Scores are R^2 and accuracies on the test part; CPU seconds on one thread. friedman1 is scikit-learn's,
1,000 x 10 with noise of deviation 1.

    python benchmarks/implicit_tables.py

Adds to benchmarks/results/implicit_tables.csv; a run that is there is not repeated.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import csv
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_friedman1
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from training import append

from sheafcli.core.chain.network import Network
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.implicit import Implicit

RESULTS = Path(__file__).resolve().parent / "results" / "implicit_tables.csv"
HIDDEN, SPLITS, CYCLES = 16, 5, 8
TABLES = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "friedman1": lambda: make_friedman1(1000, 10, noise=1.0, random_state=0),
    "breast_cancer": lambda: load_breast_cancer(return_X_y=True),
    "digits": lambda: load_digits(return_X_y=True),
}
METHODS = ("implicit", "adam", "lbfgs", "boosting")


def implicit(X: np.ndarray, y: np.ndarray, classes: int, seed: int, cycles: int) -> Any:
    """Return what predicts from features."""
    if classes == 0:
        output, targets = "identity", y[:, None]
    elif classes == 2:
        output, targets = "sigmoid", y[:, None].astype(float)
    else:
        output, targets = "softmax", np.eye(classes)[y]
    start = Network.he((X.shape[1], HIDDEN, targets.shape[1]), output, seed)
    session = Implicit(steps=cycles * CYCLE, regularise="evidence").start(start, X, targets)
    session.advance(cycles * CYCLE)
    trained = session.network()
    if classes == 0:
        return lambda Z: trained.logits(Z)[:, 0]
    if classes == 2:
        return lambda Z: (trained.logits(Z)[:, 0] >= 0.0).astype(int)
    return lambda Z: trained.logits(Z).argmax(axis=1)


def peer(method: str, X: np.ndarray, y: np.ndarray, classes: int, seed: int) -> Any:
    """Return what predicts from features, by scikit-learn."""
    if method == "boosting":
        kind = GradientBoostingClassifier if classes else GradientBoostingRegressor
        return kind(random_state=seed).fit(X, y).predict
    kind = MLPClassifier if classes else MLPRegressor
    made = kind(hidden_layer_sizes=(HIDDEN,), solver=method, max_iter=2000, max_fun=10**6, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return made.fit(X, y).predict


def run(table: str, method: str, seed: int) -> dict[str, object]:
    """Return the score of one split."""
    X, y = TABLES[table]()
    classes = 0 if table in ("diabetes", "friedman1") else len(np.unique(y))
    X, X_test, y, y_test = train_test_split(X, y, random_state=seed, stratify=y if classes else None)
    scaler = StandardScaler().fit(X)
    X, X_test = scaler.transform(X), scaler.transform(X_test)
    mean, deviation = (0.0, 1.0) if classes else (y.mean(), y.std())
    targets = y if classes else (y - mean) / deviation
    began = time.process_time()
    if method == "implicit":
        predict = implicit(X, targets, classes, seed, 2 if table == "digits" else CYCLES)
    else:
        predict = peer(method, X, targets, classes, seed)
    seconds = time.process_time() - began
    predicted = predict(X_test) * deviation + mean if not classes else predict(X_test)
    score = accuracy_score(y_test, predicted) if classes else r2_score(y_test, predicted)
    return {"table": table, "method": method, "seed": seed, "score": score, "seconds": seconds}


def main() -> None:
    """Run what is missing."""
    known = set()
    if RESULTS.exists():
        with RESULTS.open(newline="") as file:
            known = {(row["table"], row["method"], row["seed"]) for row in csv.DictReader(file)}
    for table in TABLES:
        for method in METHODS:
            for seed in range(3 if (table, method) == ("digits", "implicit") else SPLITS):
                if (table, method, str(seed)) not in known:
                    row = run(table, method, seed)
                    append(RESULTS, [row])
                    print(row, flush=True)


if __name__ == "__main__":
    main()
