"""The implicit step where weights and rows are both many: what approximates it, beside Adam, in CPU seconds.

A step solves (J^T J + mu) dw = g, J with a row a sample and column of the curvature's root. Where neither
side is small, some approximation must do. Tried here, each in single precision on mini-batches:

- adam: our back-propagation with Adam, the rule to beat;
- rows: the exact dual step on a batch of 32, which has 9 rows a sample;
- drawn: one row a sample, the gradient at a class drawn from the prediction (the rows' mean square is J^T J),
  on a batch of 256, in its dual form;
- cg: conjugate gradients on J^T J + mu, a walk forwards and one backwards a product, ten products, on 1,000;
- kronecker: J^T J as a Kronecker product an edge of its own inputs and residuals, averaged over steps and
  inverted every ten (Martens & Grosse 2015), with a bound on how far a step changes the outputs.

Step sizes fall by a cosine over the budget; each method has two settings, and the better counts. `cg` takes
its damping from the gain (Martens 2010), measured on the next batch, as `rows` does. One thread.

    python benchmarks/large_form.py [--seconds 60] [--data images|digits] [--methods adam,drawn]

Adds to benchmarks/results/large_form.csv; a run that is there is not repeated. The images are those of
`make images`.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sheafcli.core.chain.network import Network
from sheafcli.core.outputs import Softmax
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.optimizers import Adam
from sheafcli.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "benchmarks" / "results" / "large_form.csv"
IMAGES = ROOT / "results" / "handwriting.npz"
WIDTHS = {"images": (784, 256, 256, 10), "digits": (64, 64, 10)}
# Method: the two settings of its step size or damping.
SETTINGS = {
    "adam": (0.001, 0.003),
    "rows": (0.1, 1.0),
    "drawn": (0.03, 0.1),
    "cg": (0.1, 1.0),
    "kronecker": (0.01, 0.02),
}
BATCH = {"adam": 128, "rows": 32, "drawn": 256, "cg": 1000, "kronecker": 128}
MOMENTUM, LOOKS, CLIP = 0.9, 12, 0.003
SOFTMAX = Softmax()


def data_of(name: str) -> dict[str, np.ndarray]:
    """Return training and test data by name."""
    if name == "images":
        with np.load(IMAGES, allow_pickle=False) as arrays:
            return {key: arrays[key].astype(np.float32) for key in arrays}
    task = TASKS["digits"](kind="digits").load(np.random.SeedSequence(0), "softmax")
    names = ("X_train", "y_train", "X_test", "y_test")
    return {key: np.asarray(getattr(task, key), np.float32) for key in names}


class Net:
    """A chain in single precision, [W_l, b_l] as views of one array, a row a sample."""

    def __init__(self, widths: tuple[int, ...]):
        start = Network.he(widths, "softmax", 0)
        H = [np.hstack([W, b[:, None]]) for W, b in zip(start.weights, start.biases, strict=True)]
        self.shapes = [h.shape for h in H]
        self.flat = np.concatenate([h.ravel() for h in H]).astype(np.float32)
        self.H = self.split(self.flat)

    def split(self, flat: np.ndarray) -> list[np.ndarray]:
        """Return the layers of a packed array."""
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])[:-1]
        parts = np.split(flat, ends)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def forward(self, x: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """Return what every layer reads, with a column of ones, and the outputs."""
        ones = np.ones((len(x), 1), np.float32)
        a = [np.hstack([x, ones])]
        for layer in self.H[:-1]:
            a.append(np.hstack([np.maximum(a[-1] @ layer.T, 0.0), ones]))
        return a, a[-1] @ self.H[-1].T

    def pulls(self, a: list[np.ndarray], top: np.ndarray) -> list[np.ndarray]:
        """Return the pull-backs of `top` at every layer; rows are samples, each as often as in top."""
        times = len(top) // len(a[0])
        G = [top]
        for layer, x in zip(self.H[:0:-1], a[:0:-1], strict=True):
            G.append((G[-1] @ layer[:, :-1]) * np.repeat(x[:, :-1] > 0.0, times, axis=0))
        return G[::-1]

    def loss(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the mean cross-entropy."""
        return SOFTMAX.loss(self.forward(x)[1], y)

    def network(self) -> Network:
        """Return the network as it is now."""
        H = [layer.astype(np.float64) for layer in self.H]
        return Network(tuple(h[:, :-1] for h in H), tuple(h[:, -1] for h in H), SOFTMAX)


def packed(G: list[np.ndarray], a: list[np.ndarray]) -> np.ndarray:
    """Return sum over the rows of G a^T, packed."""
    return np.concatenate([(g.T @ x).ravel() for g, x in zip(G, a, strict=True)])


class Rows:
    """Rows of J on a batch, K of them a sample, and the gradient of the mean loss."""

    def __init__(self, net: Net, x: np.ndarray, y: np.ndarray, rng: np.random.Generator | None):
        self.net, self.n = net, len(x)
        self.a, z = net.forward(x)
        p = SOFTMAX.value(z)
        self.gradient = packed(net.pulls(self.a, (p - y) / self.n), self.a)
        if rng is None:
            unit = np.broadcast_to(np.eye(z.shape[1], dtype=np.float32), (self.n, z.shape[1], z.shape[1]))
            top = SOFTMAX.root(z, unit)
        else:
            drawn = (p.cumsum(axis=1) > rng.random((self.n, 1))).argmax(axis=1)
            top = (p - np.eye(z.shape[1], dtype=np.float32)[drawn])[:, None]
        self.K = top.shape[1]
        self.G = net.pulls(self.a, np.ascontiguousarray(top.reshape(-1, z.shape[1]), np.float32))

    def kernel(self) -> np.ndarray:
        """Return J J^T / n."""
        shared = [np.kron(x @ x.T, np.ones((self.K, self.K), np.float32)) for x in self.a]
        return sum((g @ g.T) * s for g, s in zip(self.G, shared, strict=True)) / self.n

    def times(self, d: np.ndarray) -> np.ndarray:
        """Return J d."""
        layers = self.net.split(d)
        moved = (np.repeat(x @ D.T, self.K, axis=0) for x, D in zip(self.a, layers, strict=True))
        return sum(np.sum(g * m, axis=1) for g, m in zip(self.G, moved, strict=True))

    def transposed(self, u: np.ndarray) -> np.ndarray:
        """Return J^T u."""
        weighed = [(g * u[:, None]).reshape(self.n, self.K, -1).sum(axis=1) for g in self.G]
        return packed(weighed, self.a)

    def solved(self, mu: float) -> np.ndarray:
        """Return (J^T J / n + mu)^-1 g by the dual form."""
        A = self.kernel().astype(np.float64)
        A.flat[:: len(A) + 1] += mu
        inner = np.linalg.solve(A, self.times(self.gradient) / self.n).astype(np.float32)
        return (self.gradient - self.transposed(inner)) / np.float32(mu)

    def by_cg(self, mu: float, guess: np.ndarray, products: int = 10) -> np.ndarray:
        """Return nearly that by conjugate gradients."""

        def times(d: np.ndarray) -> np.ndarray:
            return self.transposed(self.times(d)) / self.n + np.float32(mu) * d

        x = guess.copy()
        r = self.gradient - times(x)
        d, rr = r.copy(), float(r @ r)
        for _ in range(products):
            q = times(d)
            step = np.float32(rr / float(d @ q))
            x, r = x + step * d, r - step * q
            rr, before = float(r @ r), rr
            if rr == 0.0 or not np.isfinite(rr):
                break
            d = r + np.float32(rr / before) * d
        return x

    def promised(self, dw: np.ndarray, mu: float) -> float:
        """Return by how much the model says that the mean loss falls for W - dw."""
        moved = self.times(dw)
        return float(self.gradient @ dw) - 0.5 * float(moved @ moved) / self.n - 0.5 * mu * float(dw @ dw)


Batches = Iterator[tuple[np.ndarray, np.ndarray]]


def by_gain(net: Net, batches: Batches, mu: float, solve: Callable) -> Iterator[None]:
    """Take damped steps: what one batch promised is told by the gain on the next."""
    x, y = next(batches)
    guess = np.zeros_like(net.flat)
    while True:
        rows = Rows(net, x, y, None)
        dw = solve(rows, mu, guess)
        guess = 0.9 * dw
        promised = rows.promised(dw, mu)
        x, y = next(batches)
        before, kept = net.loss(x, y), net.flat.copy()
        net.flat -= dw
        gain = (before - net.loss(x, y)) / max(promised, 1e-30)
        mu = min(max(mu * (1.5 if gain < 0.25 else 1.0 / 1.1 if gain > 0.5 else 1.0), 1e-6), 1e6)
        if gain < -1.0:
            net.flat[:] = kept
        yield


def bounded(dw: np.ndarray, gradient: np.ndarray, size: float) -> np.ndarray:
    """Return `size` of a step, shortened until size^2 dw . g, the change of the outputs, is at most 0.003."""
    length = size**2 * float(dw @ gradient)
    return np.float32(min(1.0, np.sqrt(CLIP / max(length, 1e-30))) * size) * dw


def drawn(net: Net, batches: Batches, mu: float, share: Callable[[], float]) -> Iterator[None]:
    """Take steps on one row a sample, with momentum."""
    rng, velocity = np.random.default_rng(1), np.zeros_like(net.flat)
    for x, y in batches:
        rows = Rows(net, x, y, rng)
        dw = rows.solved(mu)
        velocity = MOMENTUM * velocity + bounded(dw, rows.gradient, 0.02 * share())
        net.flat -= velocity
        yield


def kronecker(net: Net, batches: Batches, rate: float, share: Callable[[], float]) -> Iterator[None]:
    """Take steps by Kronecker factors, damped by 0.003 split between the two, with momentum."""
    rng, velocity = np.random.default_rng(1), np.zeros_like(net.flat)
    A = [np.eye(columns, dtype=np.float32) for _, columns in net.shapes]
    B = [np.eye(rows, dtype=np.float32) for rows, _ in net.shapes]
    inverses: list[tuple[np.ndarray, np.ndarray]] = []
    for step, (x, y) in enumerate(batches):
        rows = Rows(net, x, y, rng)
        keep = np.float32(min(0.95, step / (step + 1)))
        for i, (a, g) in enumerate(zip(rows.a, rows.G, strict=True)):
            A[i] = keep * A[i] + (1 - keep) * (a.T @ a) / rows.n
            B[i] = keep * B[i] + (1 - keep) * (g.T @ g) / rows.n
        if step % 10 == 0:
            inverses = []
            for f, g in zip(A, B, strict=True):
                root = np.sqrt(0.3 * 0.01)
                pi = np.sqrt((np.trace(f) / len(f)) / max(np.trace(g) / len(g), 1e-20))
                inverses.append((
                    np.linalg.inv(f + root * pi * np.eye(len(f), dtype=np.float32)).astype(np.float32),
                    np.linalg.inv(g + root / pi * np.eye(len(g), dtype=np.float32)).astype(np.float32),
                ))  # fmt: skip
        parts = zip(net.split(rows.gradient), inverses, strict=True)
        dw = np.concatenate([(g_inverse @ G @ a_inverse).ravel() for G, (a_inverse, g_inverse) in parts])
        velocity = MOMENTUM * velocity + bounded(dw, rows.gradient, rate * share())
        net.flat -= velocity
        yield


def batches_of(data: dict[str, np.ndarray], size: int) -> Batches:
    """Yield batches without end, every epoch in an order of its own."""
    rng, X, y = np.random.default_rng(0), data["X_train"], data["y_train"]
    while True:
        order = rng.permutation(len(X))
        for first in range(0, len(X) - size + 1, size):
            rows = order[first : first + size]
            yield X[rows], y[rows]


def figures(network: Network, data: dict[str, np.ndarray]) -> dict[str, object]:
    """Return losses and the accuracy on the test data."""
    X, y = data["X_train"][:10_000].astype(np.float64), data["y_train"][:10_000].astype(np.float64)
    z = network.logits(data["X_test"].astype(np.float64))
    return {
        "train_loss": SOFTMAX.loss(network.logits(X), y),
        "test_loss": SOFTMAX.loss(z, data["y_test"].astype(np.float64)),
        "test_accuracy": SOFTMAX.accuracy(z, data["y_test"]),
    }


def run(name: str, method: str, setting: float, data: dict, seconds: float) -> dict[str, object]:
    """Train for so many CPU seconds."""
    widths = WIDTHS[name]
    if method == "adam":
        return adam(widths, setting, data, seconds)
    net, batches, spent = Net(widths), batches_of(data, BATCH[method]), 0.0

    def share() -> float:
        return 0.5 * (1.0 + np.cos(np.pi * min(spent / seconds, 1.0)))

    steps = {
        "rows": lambda: by_gain(net, batches, setting, lambda rows, mu, _: rows.solved(mu)),
        "cg": lambda: by_gain(net, batches, setting, lambda rows, mu, guess: rows.by_cg(mu, guess)),
        "drawn": lambda: drawn(net, batches, setting, share),
        "kronecker": lambda: kronecker(net, batches, setting, share),
    }[method]()
    count, reached = 0, np.inf
    due = seconds / LOOKS
    while spent < seconds:
        began = time.process_time()
        next(steps)
        spent, count = spent + time.process_time() - began, count + 1
        if spent >= due and np.isinf(reached):
            reached = spent if figures(net.network(), data)["test_accuracy"] >= 0.97 else np.inf
            due += seconds / LOOKS
    return {"steps": count, "to_97": reached} | figures(net.network(), data)


def adam(widths: tuple[int, ...], rate: float, data: dict, seconds: float) -> dict[str, object]:
    """Train by our back-propagation in single precision."""
    network = Network.he(widths, "softmax", 0)
    options = {"optimizer": Adam(rate), "batch_size": BATCH["adam"], "precision": "single"}
    arrays = [data[key].astype(np.float64) for key in ("X_train", "y_train")]
    trial = Backprop(steps=10**6, **options).start(network, *arrays, 0)
    trial.advance(20)
    began = time.process_time()
    trial.advance(100)
    steps = max(int(100 * seconds / (time.process_time() - began)), 1)
    session = Backprop(steps=steps, schedule="cosine", **options).start(network, *arrays, 0)
    spent, reached = 0.0, np.inf
    while not session.finished:
        began = time.process_time()
        session.advance(max(steps // LOOKS, 1))
        spent += time.process_time() - began
        if np.isinf(reached) and figures(session.network(), data)["test_accuracy"] >= 0.97:
            reached = spent
    return {"steps": steps, "to_97": reached} | figures(session.network(), data)


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="CPU seconds of a run")
    parser.add_argument("--data", default="images", choices=list(WIDTHS), help="what to train on")
    parser.add_argument("--methods", default=",".join(SETTINGS), help="those to run")
    options = parser.parse_args()
    known: set[tuple[str, str, str, str]] = set()
    if RUNS.exists():
        with RUNS.open(newline="") as file:
            known = {(r["data"], r["method"], r["setting"], r["seconds"]) for r in csv.DictReader(file)}
    data = data_of(options.data)
    for method in options.methods.split(","):
        for setting in SETTINGS[method]:
            if (options.data, method, str(setting), str(options.seconds)) in known:
                continue
            row = {"data": options.data, "method": method, "setting": setting, "seconds": options.seconds}
            row |= run(options.data, method, setting, data, options.seconds)
            print(row, flush=True)
            new = not RUNS.exists()
            with RUNS.open("a", newline="") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
