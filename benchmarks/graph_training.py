"""Training steps of a LeNet against the same in PyTorch eager, and how well trained networks of two kinds do.

Steps run in one process on one thread, on the same batches, in turns (A B A B ...), each with Adam; PyTorch
works in single precision, which is the rule here for graph networks, double stands beside it. CPU seconds of
the process; medians over the rounds. Before that, both must agree on the first gradient. Then the LeNet is
trained on made handwriting (benchmarks/handwriting.py), a small residual network on scikit-learn's digits.
Last, two networks small enough for implicit steps learn 300 of the digits, beside Adam at two rates.

    python benchmarks/graph_training.py HANDWRITING.npz [--write]

`--write` keeps the tables as benchmarks/results/graph_training.csv.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from graph_steps import Draw, lenet
from rich.console import Console
from rich.table import Table

from sheafcli.core.graph import Graph, Node
from sheafcli.core.network import GraphNetwork
from sheafcli.core.operation import Operation
from sheafcli.core.operations import Add, Flatten, MaxPooling, Mean, ReLU
from sheafcli.core.outputs import Softmax
from sheafcli.core.training.backprop import Backprop
from sheafcli.core.training.cycle import CYCLE
from sheafcli.core.training.equilibrium import Equilibrium
from sheafcli.core.training.graph.backprop import BackpropRule
from sheafcli.core.training.graph.parameters import GraphParameters
from sheafcli.core.training.implicit import Implicit
from sheafcli.core.training.optimizers import Adam
from sheafcli.core.training.protocol import Method
from sheafcli.tasks import TASKS

torch.set_num_threads(1)

RESULTS = Path(__file__).parent / "results" / "graph_training.csv"
# The largest share of PyTorch's time that a step of back-propagation may take, and the least accuracies.
BAR, ACCURACY = 2.5, {"LeNet": 0.98, "residual": 0.96}
BATCHES, ROUNDS, SAMPLES, AGREEMENT = (32, 64, 128, 256), 9, 2_000, 1e-4
# The digits that implicit steps learn from.
FEW = 300


def torch_lenet(graph: Graph) -> torch.nn.Sequential:
    """Return the same network with the same weights."""
    nn = torch.nn
    module = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    ours = [array for fields in graph.parameters.values() for array in fields.values()]
    for parameter, array in zip(module.parameters(), ours, strict=True):
        parameter.data = torch.tensor(array, dtype=torch.float32)
    return module


class Eager:
    """PyTorch's training of the LeNet."""

    def __init__(self, X: np.ndarray, y: np.ndarray, size: int):
        self.module = torch_lenet(lenet())
        self.optimizer = torch.optim.Adam(self.module.parameters(), 0.001)
        self.X = torch.tensor(X, dtype=torch.float32).reshape(-1, 1, 28, 28)
        self.classes, self.size = torch.tensor(y.argmax(1)), size

    def gradient(self, rows: torch.Tensor) -> None:
        """Leave the gradient of a batch in the parameters."""
        self.optimizer.zero_grad()
        output = self.module(self.X[rows])
        torch.nn.functional.cross_entropy(output, self.classes[rows]).backward()

    def advance(self, steps: int) -> None:
        """Take so many steps."""
        for _ in range(steps):
            self.gradient(torch.randperm(len(self.X))[: self.size])
            self.optimizer.step()


def check_agreement(X: np.ndarray, y: np.ndarray) -> None:
    """Raise unless both find the same gradient of the first samples."""
    eager = Eager(X, y, 64)
    eager.gradient(torch.arange(64))
    theirs = np.concatenate([p.grad.numpy().ravel() for p in eager.module.parameters()])
    parameters = GraphParameters(GraphNetwork(lenet(), Softmax()), np.float32)
    batch = parameters.batch(64)
    batch.load(X[:64].reshape(-1, 1, 28, 28), y[:64])
    BackpropRule().evaluate(parameters, batch, None)
    difference = np.max(np.abs(parameters.gradient - theirs)) / np.max(np.abs(theirs))
    if not difference <= AGREEMENT:
        raise SystemExit(f"the two gradients differ by {difference:.1e} relative")


def race(contestants: dict[str, Callable[[int], None]], steps: int) -> dict[str, float]:
    """Return the median CPU milliseconds a step of each takes."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, advance in contestants.items():
            start = time.process_time()
            advance(steps)
            times[name].append((time.process_time() - start) / steps * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def residual() -> Graph:
    """Return a residual network of two blocks for images of 1 x 8 x 8 and 10 classes."""
    draw = Draw()
    nodes = [Node("conv", draw.convolution(1, 12, 3, 1, 1), ("x",)), Node("relu", ReLU(), ("conv",))]
    h, width = "relu", 12
    for name, wide, stride in (("first", 12, 1), ("second", 24, 2)):
        made: list[tuple[str, Operation, tuple[str, ...]]] = [
            (f"{name}.conv1", draw.convolution(width, wide, 3, stride, 1), (h,)),
            (f"{name}.relu1", ReLU(), (f"{name}.conv1",)),
            (f"{name}.conv2", draw.convolution(wide, wide, 3, 1, 1), (f"{name}.relu1",)),
        ]
        if width != wide:
            made.append((f"{name}.shortcut", draw.convolution(width, wide, 1, stride), (h,)))
            h = f"{name}.shortcut"
        made.append((f"{name}.add", Add(), (f"{name}.conv2", h)))
        made.append((f"{name}.relu2", ReLU(), (f"{name}.add",)))
        nodes += [Node(*node) for node in made]
        h, width = f"{name}.relu2", wide
    nodes += [Node("mean", Mean((-1, -2)), (h,)), Node("flatten", Flatten(), ("mean",))]
    return Graph((1, 8, 8), (*nodes, Node("dense", draw.dense(width, 10), ("flatten",))))


def trained(graph: Graph, method: Method, data: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the test accuracy after training, and the CPU seconds it took."""
    start = time.process_time()
    session = method.start(GraphNetwork(graph, Softmax()), data["X_train"], data["y_train"])
    while not session.finished:
        session.advance(1000)
    seconds = time.process_time() - start
    network = session.network()
    accuracy = network.output.accuracy(network.logits(data["X_test"]), data["y_test"])
    assert accuracy is not None
    return accuracy, seconds


def small_networks() -> dict[str, Graph]:
    """Return a LeNet and a residual network of a few hundred weights for images of 1 x 8 x 8."""
    draw = Draw()
    chain: dict[str, Operation] = {
        "conv1": draw.convolution(1, 6, 3, 1, 1),
        "relu1": ReLU(),
        "pool": MaxPooling((2, 2)),
        "conv2": draw.convolution(6, 8, 3, 1, 0),
        "relu2": ReLU(),
        "flatten": Flatten(),
        "dense": draw.dense(32, 10),
    }
    nodes = (
        Node("conv", draw.convolution(1, 6, 3, 1, 1), ("x",)),
        Node("relu", ReLU(), ("conv",)),
        Node("conv1", draw.convolution(6, 6, 3, 1, 1), ("relu",)),
        Node("relu1", ReLU(), ("conv1",)),
        Node("conv2", draw.convolution(6, 6, 3, 1, 1), ("relu1",)),
        Node("add", Add(), ("conv2", "relu")),
        Node("relu2", ReLU(), ("add",)),
        Node("pool", MaxPooling((2, 2)), ("relu2",)),
        Node("flatten", Flatten(), ("pool",)),
        Node("dense", draw.dense(96, 10), ("flatten",)),
    )
    return {"LeNet": Graph.path((1, 8, 8), chain), "residual": Graph((1, 8, 8), nodes)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("handwriting", type=Path, help="images that benchmarks/handwriting.py has made")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    given = parser.parse_args()
    console = Console()
    with np.load(given.handwriting, allow_pickle=False) as arrays:
        images = dict(arrays)
    X, y = images["X_train"][:SAMPLES], images["y_train"][:SAMPLES]
    check_agreement(X, y)

    table = Table(
        title="A training step of a LeNet at 28 x 28, CPU ms on one thread",
        caption=f"NumPy {np.__version__}, PyTorch {torch.__version__}; ratios to PyTorch in brackets",
    )
    network = GraphNetwork(lenet(), Softmax())
    rows: list[list[object]] = []
    for size in BATCHES:
        options = {"batch_size": size, "steps": 10**9, "optimizer": Adam(0.001)}
        contestants = {
            "backprop": Backprop(**options).start(network, X, y).advance,
            "equilibrium": Equilibrium(**options).start(network, X, y).advance,
            "backprop, double": Backprop(**options, precision="double").start(network, X, y).advance,
            "PyTorch": Eager(X, y, size).advance,
        }
        times = race(contestants, max(2, 512 // size))
        if not rows:
            for name in ("batch", *times):
                table.add_column(name, justify="right")
        ratios = {name: ms / times["PyTorch"] for name, ms in times.items()}
        mark = "[green]" if ratios["backprop"] <= BAR else "[red]"
        shown = [f"{mark}{ms:.1f} ({ratios[name]:.2f})" for name, ms in times.items()]
        table.add_row(str(size), *shown)
        rows += [["step", name, size, ms, ratios[name]] for name, ms in times.items()]
    console.print(table)

    table = Table(title="Test accuracy after training")
    for name in ("network", "method", "accuracy", "bar", "CPU s"):
        table.add_column(name, justify="left" if name in ("network", "method") else "right")
    digits = TASKS["digits"](kind="digits").load(np.random.SeedSequence(0), "softmax")
    kinds = {
        "LeNet": (lenet, {name: images[name] for name in images}, {"batch_size": 64, "epochs": 2}),
        "residual": (residual, vars(digits), {"batch_size": 32, "epochs": 25}),
    }
    for name, (build, data, options) in kinds.items():
        for method in (Backprop, Equilibrium):
            made = method(optimizer=Adam(0.003), schedule="cosine", **options)
            accuracy, seconds = trained(build(), made, data)
            mark = "[green]" if accuracy >= ACCURACY[name] else "[red]"
            table.add_row(
                name, method.__name__, f"{mark}{accuracy:.4f}", f"{ACCURACY[name]:.2f}", f"{seconds:.0f}"
            )
            rows.append(["accuracy", f"{name}, {method.__name__.lower()}", "", accuracy, seconds])
    console.print(table)

    table = Table(title=f"{FEW} digits: test accuracy")
    for name in ("network", "method", "accuracy", "CPU s"):
        table.add_column(name, justify="left" if name in ("network", "method") else "right")
    few = vars(digits) | {part: vars(digits)[part][:FEW] for part in ("X_train", "y_train")}
    methods = {f"implicit, {steps} steps": Implicit(steps=steps) for steps in (11, CYCLE)} | {
        f"Adam at {rate}": Backprop(optimizer=Adam(rate), schedule="cosine", batch_size=32, epochs=30)
        for rate in (0.003, 0.01)
    }
    for name, graph in small_networks().items():
        for method_name, method in methods.items():
            accuracy, seconds = trained(graph, method, few)
            table.add_row(name, method_name, f"{accuracy:.4f}", f"{seconds:.1f}")
            rows.append(["few", f"{name}, {method_name}", "", accuracy, seconds])
    console.print(table)

    if given.write:
        header = ["what", "name", "batch", "ms_or_accuracy", "ratio_or_cpu_s"]
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
