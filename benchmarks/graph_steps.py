"""What the pinned equilibrium and the spectrum of convolutional networks cost, on one thread.

Networks are He-normal with random inputs and classes; batch normalisations are near the identity. A row has
the CPU seconds of the process (the fastest of some turns) and what its resident memory grew by at most, each
beside its bar. Pinned rows are of all samples together, in single precision; spectra are a sample's, in
double, both ends to a residual of 1e-3. Every row runs in a process of its own.

    python benchmarks/graph_steps.py [--write] [ROW ...]

`--write` keeps the table as benchmarks/results/graph_steps.csv. Rows are named as the table names them.
"""

from __future__ import annotations

import os

# Libraries read these when they are loaded.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import csv
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from sheafcli.core.graph import Graph, Node
from sheafcli.core.lanczos import spectrum_ends
from sheafcli.core.operation import Operation
from sheafcli.core.operations import (
    Add,
    BatchNormalization,
    Convolution,
    Dense,
    Flatten,
    MaxPooling,
    Mean,
    ReLU,
)
from sheafcli.core.outputs import Softmax
from sheafcli.core.pinned import pinned
from sheafcli.core.sweep import linearize

RESULTS = Path(__file__).parent / "results" / "graph_steps.csv"
MEGABYTE = 1e6


class Draw:
    """Operations with He-normal weights and no bias, all from one seed."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def normal(self, *shape: int) -> np.ndarray:
        """Return weights, outputs first."""
        return self.rng.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))

    def dense(self, inputs: int, outputs: int) -> Dense:
        """Return a dense layer."""
        return Dense(self.normal(outputs, inputs), np.zeros(outputs))

    def convolution(
        self, channels: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0
    ) -> Convolution:
        """Return a convolution of images."""
        return Convolution(self.normal(outputs, channels, kernel, kernel), None, stride, padding)

    def norm(self, channels: int) -> BatchNormalization:
        """Return a batch normalisation near the identity."""
        near = [0.1 * self.rng.normal(size=channels) for _ in range(4)]
        return BatchNormalization(1.0 + near[0], near[1], near[2], np.exp(near[3]))


def lenet() -> Graph:
    """Return LeNet-5 with ReLUs and maxima, for 28 x 28 images."""
    draw = Draw()
    operations: dict[str, Operation] = {
        "conv1": draw.convolution(1, 6, 5, padding=2),
        "relu1": ReLU(),
        "pool1": MaxPooling((2, 2)),
        "conv2": draw.convolution(6, 16, 5),
        "relu2": ReLU(),
        "pool2": MaxPooling((2, 2)),
        "flatten": Flatten(),
        "dense1": draw.dense(400, 120),
        "relu3": ReLU(),
        "dense2": draw.dense(120, 84),
        "relu4": ReLU(),
        "dense3": draw.dense(84, 10),
    }
    return Graph.path((1, 28, 28), operations)


def resnet(stem: list[Operation], widths: tuple[int, ...], blocks: int, side: int, classes: int) -> Graph:
    """Return a residual network of so many basic blocks a width, with 1 x 1 shortcuts where widths change."""
    draw, nodes = Draw(), []

    def add(operation: Operation, *parents: str) -> str:
        nodes.append(Node(f"v{len(nodes)}", operation, parents))
        return nodes[-1].name

    h, width = "x", widths[0]
    for operation in (draw.convolution(3, width, *stem[0]), draw.norm(width), ReLU(), *stem[1:]):
        h = add(operation, h)
    for stage, wide in enumerate(widths):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            a = add(draw.norm(wide), add(draw.convolution(width, wide, 3, stride, 1), h))
            a = add(draw.norm(wide), add(draw.convolution(wide, wide, 3, 1, 1), add(ReLU(), a)))
            if width != wide:
                h = add(draw.norm(wide), add(draw.convolution(width, wide, 1, stride), h))
            h, width = add(ReLU(), add(Add(), a, h)), wide
    add(draw.dense(width, classes), add(Flatten(), add(Mean((-1, -2)), h)))
    return Graph((3, side, side), tuple(nodes))


def resnet20() -> Graph:
    """Return a residual network of 20 layers for 32 x 32 images and 10 classes."""
    return resnet([(3, 1, 1)], (16, 32, 64), 3, 32, 10)


def resnet18() -> Graph:
    """Return a residual network of 18 layers for 224 x 224 images and 1,000 classes."""
    return resnet([(7, 2, 3), MaxPooling((3, 3), 2, 1)], (64, 128, 256, 512), 2, 224, 1000)


def chain() -> Graph:
    """Return a chain of dense layers [64, 64, 1000]."""
    draw = Draw()
    operations: dict[str, Operation] = {
        "affine_1": draw.dense(64, 64),
        "activation_1": ReLU(),
        "affine_2": draw.dense(64, 1000),
    }
    return Graph.path((64,), operations)


def inputs(graph: Graph, samples: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(samples, *graph.input_shape)).astype(dtype)


def pin(graph: Graph, samples: int) -> Callable[[], object]:
    """Return the work of pinning random classes."""
    X, classes = inputs(graph, samples, np.float32), graph.output.size
    y = np.eye(classes)[np.random.default_rng(2).integers(0, classes, samples)]
    return lambda: pinned(graph, Softmax(), X, y)


def ends(graph: Graph) -> Callable[[], object]:
    """Return the work of one sample's spectrum."""
    X = inputs(graph, 1, np.float64)
    return lambda: spectrum_ends(linearize(graph, X))


class Row(NamedTuple):
    """What is measured: how often, and which seconds and megabytes it may take."""

    prepare: Callable[[], Callable[[], object]]
    turns: int
    seconds: float
    megabytes: float | None = None


ROWS = {
    "pinned, LeNet 28 x 28, 500 samples": Row(lambda: pin(lenet(), 500), 5, 1.0),
    "pinned, ResNet-20 32 x 32, 500 samples": Row(lambda: pin(resnet20(), 500), 1, 20.0, 150.0),
    "pinned, ResNet-18 224 x 224, 1000 classes, 8 samples": Row(lambda: pin(resnet18(), 8), 1, 20.0),
    "pinned, [64, 64, 1000], 300 samples": Row(lambda: pin(chain(), 300), 5, 0.5),
    "spectrum, ResNet-20 32 x 32, a sample": Row(lambda: ends(resnet20()), 3, 2.0),
}


def measure(name: str) -> tuple[float, float]:
    """Return the CPU seconds of the fastest turn, and the megabytes that the first needed."""
    row = ROWS[name]
    work = row.prepare()
    before = _peak()
    times = []
    for turn in range(row.turns):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
        if turn == 0:
            grown = _peak() - before
    return min(times), grown


def _peak() -> float:
    """Return the largest resident size so far, in megabytes; Linux counts in kilobytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these rows")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name}")
    parser.add_argument("--measure", metavar="ROW", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    console, rows = Console(), []
    table = Table(
        title="The sheaf of convolutional networks on one thread", caption=f"NumPy {np.__version__}"
    )
    for name in ("what", "CPU s", "bar", "memory", "bar"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for name in given.rows or ROWS:
        if name not in ROWS:
            raise SystemExit(f"no row is called {name!r}; there are: {'; '.join(ROWS)}")
        command = [sys.executable, __file__, "--measure", name]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        seconds, grown = json.loads(printed)
        bar = ROWS[name]
        rows.append([name, seconds, bar.seconds, grown, bar.megabytes or ""])
        marks = [
            "[green]" if value <= (limit or np.inf) else "[red]"
            for value, limit in ((seconds, bar.seconds), (grown, bar.megabytes))
        ]
        room = "" if bar.megabytes is None else f"{bar.megabytes:.0f} MB"
        table.add_row(
            name, f"{marks[0]}{seconds:.2f}", f"{bar.seconds:.1f}", f"{marks[1]}{grown:.0f} MB", room
        )
    console.print(table)
    if given.write:
        with RESULTS.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["what", "cpu_s", "bar_s", "memory_mb", "bar_mb"], *rows])
        console.print(f"wrote {RESULTS}")


if __name__ == "__main__":
    main()
